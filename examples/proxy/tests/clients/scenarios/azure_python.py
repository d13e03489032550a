"""Azure's client in the OpenAI SDK for Python, which names the model in the path and the body."""

from openai import AzureOpenAI, NotFoundError

from scenario import URL, expect, operation, raises

client = AzureOpenAI(
    azure_endpoint=URL, api_key="k", api_version="2024-10-21", max_retries=0, timeout=20
)
LLM = "Venice-Uncensored"
# A name that is percent-encoded in the path, and replaced there as a whole.
SPACED = "Claude Sonnet 5"
EMBEDDING = "Text-Embedding-BGE-M3"
STT = "Whisper-1"
HELLO = [{"role": "user", "content": "hello – 你好"}]


def chat(model, **more):
    return client.chat.completions.create(model=model, messages=HELLO, **more)


operation("chat", lambda: [chat(LLM).model], asks=LLM)
operation("chat spaces", lambda: [chat(SPACED).model], asks=SPACED)
operation("chat stream", lambda: [c.model for c in chat(LLM, stream=True) if c.choices], asks=LLM)
operation(
    "embeddings",
    lambda: [client.embeddings.create(model=EMBEDDING, input="a").model],
    asks=EMBEDDING,
)
operation(
    "audio transcription",
    lambda: expect(
        client.audio.transcriptions.create(model=STT, file=("a.wav", b"RIFF0000WAVE")).text,
        "no text",
    ),
    asks=STT,
    reads="",
)
operation(
    "near miss",
    lambda: raises(NotFoundError, lambda: chat("venice-uncensord")) and None,
    asks="venice-uncensord",
    upstream="nothing",
    reads="",
)
