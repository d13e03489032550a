"""The OpenAI SDK for Python."""

from openai import BadRequestError, NotFoundError, OpenAI

from scenario import URL, expect, operation, raises

client = OpenAI(base_url=f"{URL}/v1", api_key="k", max_retries=0, timeout=20)
LLM = "Venice-Uncensored"
EMBEDDING = "Text-Embedding-BGE-M3"
TTS = "TTS-Kokoro"
STT = "Whisper-1"
IMAGE = "venice-sd35"
HELLO = [{"role": "user", "content": "hello – 你好"}]
FILE = ("a.wav", b"RIFF0000WAVE", "audio/wav")
PNG = ("a.png", b"\x89PNG\r\n\x1a\n", "image/png")


def chat(model, **more):
    return client.chat.completions.create(model=model, messages=HELLO, **more)


operation("chat", lambda: [chat(LLM).model], asks=LLM)
operation("chat stream", lambda: [c.model for c in chat(LLM, stream=True)], asks=LLM)
# An operator's alias is what the client asked for, and so what it reads.
operation("chat alias", lambda: [chat("gpt-4o-mini").model], asks="gpt-4o-mini")
# A fallback is never silent: the response names the model that served.
operation(
    "chat fallback", lambda: [chat("zzzz-9000").model], asks="zzzz-9000", reads="mistral-31-24b"
)


def near_miss():
    error = raises(NotFoundError, lambda: chat("venice-uncensord"))
    expect(error.code == "model_not_found", f"code {error.code}")
    suggestions = (error.body or {}).get("suggestions")
    expect("venice-uncensored" in (suggestions or []), f"suggestions {suggestions}")


# `venice-uncensord` is no model, but nearly one: a typo must not end at another model.
operation("chat near miss", near_miss, asks="venice-uncensord", upstream="nothing", reads="")


def upstream_error():
    messages = [{"role": "user", "content": "please fail"}]
    call = lambda: client.chat.completions.create(model=LLM, messages=messages)  # noqa: E731
    message = raises(BadRequestError, call).body["message"]
    expect(message == f"model {LLM} is overloaded", f"message {message!r}")


# The upstream's error names the model by its ID, the client reads its own name.
operation("chat error", upstream_error, asks=LLM)
# A response to a request without a model: the upstream's ID is replaced by the catalog's name.
operation(
    "chat retrieve",
    lambda: [client.chat.completions.retrieve("chatcmpl-1").model],
    reads="venice-uncensored",
)

operation("responses", lambda: [client.responses.create(model=LLM, input="hi").model], asks=LLM)
operation(
    "responses stream",
    lambda: [
        event.response.model
        for event in client.responses.create(model=LLM, input="hi", stream=True)
        if hasattr(event, "response")
    ],
    asks=LLM,
)
# A stored prompt has its own model: none may be inserted.
operation(
    "responses prompt",
    lambda: [client.responses.create(prompt={"id": "pmpt_1"}, input="hi").model],
    reads="venice-uncensored",
)
operation(
    "responses retrieve",
    lambda: [client.responses.retrieve("resp_1").model],
    reads="venice-uncensored",
)
operation(
    "responses cancel",
    lambda: [client.responses.cancel("resp_1").model],
    reads="venice-uncensored",
)

operation(
    "embeddings",
    lambda: [client.embeddings.create(model=EMBEDDING, input=["a", "b"]).model],
    asks=EMBEDDING,
)


def speech():
    audio = client.audio.speech.create(model=TTS, voice="alloy", input="hi").read()
    expect(audio == b"\xff\xfb\x90\x00" * 64, "other audio")


operation("audio speech", speech, asks=TTS, reads="")
operation(
    "audio transcription",
    lambda: expect(client.audio.transcriptions.create(model=STT, file=FILE).text, "no text"),
    asks=STT,
    reads="",
)
operation(
    "audio translation",
    lambda: expect(client.audio.translations.create(model=STT, file=FILE).text, "no text"),
    asks=STT,
    reads="",
)

# Images have no endpoint of their own: a catalog entry is replaced, and nothing falls back.
operation(
    "images generate",
    lambda: expect(client.images.generate(model=IMAGE, prompt="a cat").data, "no data"),
    asks=IMAGE,
    reads="",
)
operation(
    "images unknown",
    lambda: expect(client.images.generate(model="dall-e-3", prompt="a cat").data, "no data"),
    asks="dall-e-3",
    upstream="as sent",
    reads="",
)
operation(
    "images edit",
    lambda: expect(client.images.edit(model=IMAGE, image=PNG, prompt="a cat").data, "no data"),
    asks=IMAGE,
    reads="",
)

operation(
    "files create",
    lambda: expect(
        client.files.create(file=("b.jsonl", b'{"model":"venice-uncensored"}'), purpose="batch").id,
        "no ID",
    ),
)
operation("files list", lambda: expect(client.files.list().data, "no data"))
operation(
    "files content",
    # A file is the client's own, whatever it says.
    lambda: expect(client.files.content("file-1").read().count(b"anything") == 1, "other content"),
)

# Other paths with a model that the catalog does not have, and one that takes no model.
operation(
    "moderations",
    lambda: [client.moderations.create(model="omni-moderation-latest", input="hi").model],
    asks="omni-moderation-latest",
    upstream="as sent",
)
operation(
    "fine-tuning",
    lambda: [client.fine_tuning.jobs.create(model="davinci-002", training_file="file-1").model],
    asks="davinci-002",
    upstream="as sent",
)
operation(
    "threads message",
    lambda: expect(
        client.beta.threads.messages.create("t", role="user", content="hi").id, "no message"
    ),
)


def models_list():
    names = [model.id for model in client.models.list()]
    for name in ("venice-uncensored", "Claude Sonnet 5", "text-embedding-bge-m3"):
        expect(name in names, f"no {name} in {names}")


operation("models list", models_list, upstream="nothing")
operation(
    "models retrieve",
    lambda: expect(client.models.retrieve(LLM).id == "venice-uncensored", "another model"),
    upstream="nothing",
)
operation(
    "models unknown",
    lambda: raises(NotFoundError, lambda: client.models.retrieve("zzzz-9000")) and None,
    upstream="nothing",
)
