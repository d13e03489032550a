"""What the Python scenarios share: an operation's expectations, and its report to the runner."""

import json
import os
import urllib.request

URL = os.environ["CLIENTS_URL"]
_CONTROL = os.environ["CLIENTS_CONTROL"]
_ONLY = os.environ.get("CLIENTS_OPERATION")


def operation(name, call, *, asks=None, upstream=None, reads=None):
    """Runs an operation of a client twice, and reports the models that it read: once the upstream
    compresses what the request allows, and once always.

    call      makes the requests, and returns the list of every `.model` that it read from the
              responses, or `None` where the client shows none. A failed assertion or an exception
              fails the operation.
    asks      the model that the client names.
    upstream  "replaced": upstream gets what the client sent with the model's ID for the name.
              "as sent": upstream gets what the client sent.
              "nothing": the proxy responds by itself.
              By default "replaced" where the client names a model, else "as sent".
    reads     what the responses say as their model, also where the client does not show it; by
              default what the client asked for. `""`: the responses name no model.
    """
    if _ONLY and name != _ONLY:
        return
    upstream = upstream or ("replaced" if asks else "as sent")
    reads = asks if reads is None else reads
    fields = {"operation": name, "asks": asks, "upstream": upstream, "reads": reads}
    for compresses in ("asked", "always"):
        _post("begin", fields | {"compresses": compresses})
        _post("end", {"error": _error(call, reads)})


def _error(call, reads):
    """Returns why the call failed, or `None`."""
    try:
        models = call()
    except Exception as exception:
        return f"{type(exception).__name__}: {exception}"
    if models == []:
        return "the client read no model"
    wrong = [model for model in models or [] if model != reads]
    return f"the client read model {wrong[0]!r}, not {reads!r}" if wrong else None


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def raises(kind, call):
    """Returns the exception of a call that must fail."""
    try:
        call()
    except kind as exception:
        return exception
    raise AssertionError(f"no {kind.__name__}")


def _post(event, fields):
    data = json.dumps(fields).encode()
    with urllib.request.urlopen(f"{_CONTROL}/{event}", data=data, timeout=30) as response:
        response.read()
