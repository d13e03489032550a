"""Cohere's SDK for Python, version 2 of its API. The responses have no `model`."""

import cohere

from scenario import URL, expect, operation

client = cohere.ClientV2(api_key="k", base_url=URL, timeout=20, max_retries=0)
MODEL = "command-a"
EMBEDDING = "Text-Embedding-BGE-M3"
HELLO = [{"role": "user", "content": "hello – 你好"}]


def stream():
    kinds = [event.type for event in client.chat_stream(model=MODEL, messages=HELLO)]
    expect(kinds[0] == "message-start" and kinds[-1] == "message-end", f"events {kinds}")


def embed():
    vectors = client.embed(
        model=EMBEDDING, texts=["a"], input_type="search_query", embedding_types=["float"]
    )
    expect(vectors.embeddings.float_ == [[0.5]], f"embeddings {vectors.embeddings}")


def rerank(model):
    results = client.rerank(model=model, query="a", documents=["b", "c"]).results
    expect(len(results) == 2, f"results {results}")


operation(
    "chat",
    lambda: expect(client.chat(model=MODEL, messages=HELLO).message.content, "no content"),
    asks=MODEL,
    reads="",
)
operation("chat stream", stream, asks=MODEL, reads="")
operation("embed", embed, asks=EMBEDDING, reads="")
# Reranking has no endpoint of its own: a catalog entry is replaced, and nothing falls back.
operation("rerank", lambda: rerank("bge-reranker-v2"), asks="bge-reranker-v2", reads="")
operation(
    "rerank unknown",
    lambda: rerank("rerank-v3.5"),
    asks="rerank-v3.5",
    upstream="as sent",
    reads="",
)
