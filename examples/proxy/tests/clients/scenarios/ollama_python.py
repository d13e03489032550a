"""Ollama's library for Python, whose streams are NDJSON."""

import ollama

from scenario import URL, expect, operation

client = ollama.Client(host=URL, timeout=20)
MODEL = "Llama3.2:latest"
EMBEDDING = "Text-Embedding-BGE-M3"
HELLO = [{"role": "user", "content": "hello – 你好"}]

operation("chat", lambda: [client.chat(model=MODEL, messages=HELLO).model], asks=MODEL)
operation(
    "chat stream",
    lambda: [part.model for part in client.chat(model=MODEL, messages=HELLO, stream=True)],
    asks=MODEL,
)
operation("generate", lambda: [client.generate(model=MODEL, prompt="hi").model], asks=MODEL)
operation(
    "generate stream",
    lambda: [part.model for part in client.generate(model=MODEL, prompt="hi", stream=True)],
    asks=MODEL,
)
operation("embed", lambda: [client.embed(model=EMBEDDING, input="a").model], asks=EMBEDDING)
# Another path, and a model that the catalog does not have.
operation(
    "pull",
    lambda: expect(client.pull("all-minilm").status == "success", "no success"),
    asks="all-minilm",
    upstream="as sent",
    reads="",
)
