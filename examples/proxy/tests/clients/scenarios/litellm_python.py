"""LiteLLM as a client of OpenAI's and Anthropic's APIs."""

import os

# Its price list comes with the package; the default is a download.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402

from scenario import URL, operation  # noqa: E402

litellm.telemetry = False
litellm.num_retries = 0
LLM = "Venice-Uncensored"
CLAUDE = "claude-sonnet-5"
EMBEDDING = "Text-Embedding-BGE-M3"
HELLO = [{"role": "user", "content": "hello – 你好"}]
OPENAI = {"api_base": f"{URL}/v1", "api_key": "k", "timeout": 20, "max_retries": 0}
ANTHROPIC = {"api_base": URL, "api_key": "k", "timeout": 20, "max_retries": 0}


def chat(model, place, **more):
    return litellm.completion(model=model, messages=HELLO, **place, **more)


operation("openai chat", lambda: [chat(f"openai/{LLM}", OPENAI).model], asks=LLM)
operation(
    "openai stream",
    lambda: [chunk.model for chunk in chat(f"openai/{LLM}", OPENAI, stream=True)],
    asks=LLM,
)
operation(
    "openai embedding",
    lambda: [litellm.embedding(model=f"openai/{EMBEDDING}", input=["a"], **OPENAI).model],
    asks=EMBEDDING,
)
operation("anthropic chat", lambda: [chat(f"anthropic/{CLAUDE}", ANTHROPIC).model], asks=CLAUDE)
operation(
    "anthropic stream",
    lambda: [chunk.model for chunk in chat(f"anthropic/{CLAUDE}", ANTHROPIC, stream=True)],
    asks=CLAUDE,
)
