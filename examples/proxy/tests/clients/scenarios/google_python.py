"""Google's Gen AI SDK for Python, which names the model in the path.

Its bodies pass unread. They name no model, but `batchEmbedContents`, whose `requests` say
`models/NAME` again. Responses have no `model`.
"""

from google import genai
from google.genai import errors, types

from scenario import URL, expect, operation, raises

client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=URL, timeout=20_000))
models = client.models
MODEL = "gemini-3-flash"
EMBEDDING = "Text-Embedding-BGE-M3"


def stream():
    texts = [c.text for c in models.generate_content_stream(model=MODEL, contents="hello – 你好")]
    expect(texts == ["hello", "hello"], f"texts {texts}")


operation(
    "generate",
    lambda: expect(models.generate_content(model=MODEL, contents="hi").text == "hello", "no text"),
    asks=MODEL,
    reads="",
)
operation("stream", stream, asks=MODEL, reads="")
operation(
    "count",
    lambda: expect(models.count_tokens(model=MODEL, contents="hi").total_tokens == 7, "no count"),
    asks=MODEL,
    reads="",
)
operation(
    "embed",
    lambda: expect(
        models.embed_content(model=EMBEDDING, contents=["a", "b"]).embeddings, "no embeddings"
    ),
    asks=EMBEDDING,
    reads="",
)


def near_miss():
    call = lambda: models.generate_content(model="gemini-3-flas", contents="hi")  # noqa: E731
    error = raises(errors.ClientError, call)
    # Gemini's dialect: {"error":{"code","message","status"}}.
    expect(error.code == 404, f"code {error.code}")
    expect(error.status == "NOT_FOUND", f"status {error.status}")
    expect(error.message, "no message")


operation("near miss", near_miss, asks="gemini-3-flas", upstream="nothing", reads="")
