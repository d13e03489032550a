"""Mistral's SDK for Python."""

from mistralai.client import Mistral

from scenario import URL, expect, operation

client = Mistral(api_key="k", server_url=URL, timeout_ms=20_000)
MODEL = "Venice-Uncensored"
HELLO = [{"role": "user", "content": "hello – 你好"}]

operation("chat", lambda: [client.chat.complete(model=MODEL, messages=HELLO).model], asks=MODEL)
operation(
    "chat stream",
    lambda: [event.data.model for event in client.chat.stream(model=MODEL, messages=HELLO)],
    asks=MODEL,
)
operation(
    "embeddings",
    lambda: [client.embeddings.create(model="Text-Embedding-BGE-M3", inputs=["a"]).model],
    asks="Text-Embedding-BGE-M3",
)


def models_list():
    # The SDK knows the types "base" and "fine-tuned", and keeps an item of any other one as
    # `raw`: the proxy's "model" is Anthropic's.
    items = [getattr(item, "raw", None) or item.model_dump() for item in client.models.list().data]
    names = [item["id"] for item in items]
    expect("venice-uncensored" in names, f"no venice-uncensored in {names}")


operation("models list", models_list, upstream="nothing")
