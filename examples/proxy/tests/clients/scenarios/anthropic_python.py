"""The Anthropic SDK for Python."""

from anthropic import Anthropic, BadRequestError, NotFoundError

from scenario import URL, expect, operation, raises

client = Anthropic(base_url=URL, api_key="k", max_retries=0, timeout=20)
# The slug of the catalog's "Claude Sonnet 5".
MODEL = "claude-sonnet-5"
HELLO = [{"role": "user", "content": "hello – 你好"}]


def create(model=MODEL, messages=HELLO, **more):
    return client.messages.create(model=model, max_tokens=9, messages=messages, **more)


operation("create", lambda: [create().model], asks=MODEL)
operation(
    "stream",
    lambda: [e.message.model for e in create(stream=True) if e.type == "message_start"],
    asks=MODEL,
)


def stream_helper():
    with client.messages.stream(model=MODEL, max_tokens=9, messages=HELLO) as stream:
        return [stream.get_final_message().model]


operation("stream helper", stream_helper, asks=MODEL)


def count_tokens():
    count = client.messages.count_tokens(model=MODEL, messages=HELLO)
    expect(count.input_tokens == 7, f"{count.input_tokens} tokens")


operation("count_tokens", count_tokens, asks=MODEL, reads="")


def not_found():
    error = raises(NotFoundError, lambda: create("claude-sonet-5"))
    expect(error.body["type"] == "error", f"type {error.body.get('type')}")
    kind = error.body["error"]["type"]
    expect(kind == "not_found_error", f"error type {kind}")


# A near miss of the catalog's model, rejected in Anthropic's dialect.
operation("not found", not_found, asks="claude-sonet-5", upstream="nothing", reads="")


def upstream_error():
    messages = [{"role": "user", "content": "please fail"}]
    error = raises(BadRequestError, lambda: create(messages=messages))
    message = error.body["error"]["message"]
    expect(message == f"model {MODEL} is overloaded", f"message {message!r}")


operation("upstream error", upstream_error, asks=MODEL)


def check(model):
    expect(model.type == "model", f"type {model.type}")
    expect(model.display_name, "no display_name")
    # Anthropic's SDK parses it into a date.
    expect(getattr(model.created_at, "year", 0) >= 2024, f"created_at {model.created_at!r}")


def models_list():
    page = client.models.list()
    expect(page.has_more is False, f"has_more {page.has_more}")
    expect(page.first_id == page.data[0].id, f"first_id {page.first_id}")
    expect(page.last_id == page.data[-1].id, f"last_id {page.last_id}")
    models = list(page)
    for model in models:
        check(model)
    expect("Claude Sonnet 5" in [model.id for model in models], "no Claude Sonnet 5")


def models_retrieve():
    model = client.models.retrieve(MODEL)
    check(model)
    expect(model.id == "Claude Sonnet 5", f"id {model.id}")


operation("models list", models_list, upstream="nothing")
operation("models retrieve", models_retrieve, upstream="nothing")
operation(
    "models unknown",
    lambda: raises(NotFoundError, lambda: client.models.retrieve("zzzz-9000")) and None,
    upstream="nothing",
)
