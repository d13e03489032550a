"""The models of the tests' registry, and what each name that a scenario asks for stands for."""

import hashlib


def _id(name):
    return "0x" + hashlib.sha256(name.encode()).hexdigest()


_TYPES = {
    "venice-uncensored": "LLM",
    "Claude Sonnet 5": "LLM",
    "Gemini 3 Flash": "LLM",
    "Command A": "LLM",
    "llama3.2:latest": "LLM",
    # The default fallback models.
    "mistral-31-24b": "LLM",
    "text-embedding-bge-m3": "EMBEDDING",
    "tts-kokoro": "TTS",
    "whisper-1": "STT",
    # Types that no endpoint refuses.
    "Venice-SD35": "IMAGE",
    "BGE-Reranker-v2": "RERANK",
}

IDS = {name: _id(name) for name in _TYPES}

DOCUMENT = {
    "models": [
        {
            "Id": IDS[name],
            "Name": name,
            "Tags": [],
            "CreatedAt": 1748370689 + number,
            "IsDeleted": False,
            "ModelType": model_type,
        }
        for number, (name, model_type) in enumerate(_TYPES.items())
    ]
}

# `gpt-4o*` is the operator's; the proxy is started with it in MODEL_ALIASES.
OPERATOR_ALIASES = "gpt-4o*=venice-uncensored"

# Requested name → catalog name. A name that is missing here is unknown to the catalog.
RESOLUTIONS = {name: name for name in _TYPES} | {
    # Another letter case (DESIGN 4, rule 2).
    "Venice-Uncensored": "venice-uncensored",
    "Text-Embedding-BGE-M3": "text-embedding-bge-m3",
    "TTS-Kokoro": "tts-kokoro",
    "Whisper-1": "whisper-1",
    "Llama3.2:latest": "llama3.2:latest",
    "venice-sd35": "Venice-SD35",
    "bge-reranker-v2": "BGE-Reranker-v2",
    # The slug of a catalog name (rule 3).
    "claude-sonnet-5": "Claude Sonnet 5",
    "gemini-3-flash": "Gemini 3 Flash",
    "command-a": "Command A",
    # An operator's alias (rule 5).
    "gpt-4o-mini": "venice-uncensored",
    # Unknown, and near no name: the endpoint's fallback (rule 6).
    "zzzz-9000": "mistral-31-24b",
}


def resolve(requested):
    """Returns the ID of the model that a requested name stands for, or `None`."""
    name = RESOLUTIONS.get(requested)
    return name and IDS[name]
