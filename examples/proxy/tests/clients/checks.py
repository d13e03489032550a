"""What must hold of an exchange. Each check returns what differs, or nothing.

The expectations are computed here from what the client sent, by plain text replacement, and know
nothing of how the proxy finds a model.
"""

import json
import re
from urllib.parse import quote

from catalog import IDS
from hop import CONNECTION
from upstream import accepted, decode

# Headers that the proxy sets for itself; every other one must arrive as the client sent it.
PROXY_HEADERS = {
    "accept-encoding",
    "content-length",
    "via",
    "x-exchange",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
}
FORM_MODEL = rb'(name="model"(?:\r\nContent-[^\r\n]+)*\r\n\r\n)%s(?=\r\n)'


def expected_request(exchange, asked, model_id):
    """Returns the target and the body with the name replaced in each place that has it.

    The places are the path segment of a URI template, the top-level `model` of JSON and the
    `model` part of a form. The name is replaced everywhere or nowhere: a request that names the
    model in its URI and in its body gets the ID in both (DESIGN 2).
    """
    target = exchange.target
    for prefix in ("/models/", "/deployments/"):
        target = re.sub(
            f"(?<={prefix}){re.escape(quote(asked, safe=':'))}(?=[/:?])", model_id, target
        )
    name = json.dumps(asked).encode()
    value = json.dumps(model_id).encode()
    body, count = re.subn(
        rb'("model":\s*)' + re.escape(name), lambda found: found[1] + value, exchange.body
    )
    if not count:
        body, count = re.subn(
            FORM_MODEL % re.escape(asked.encode()),
            lambda found: found[1] + model_id.encode(),
            exchange.body,
            flags=re.IGNORECASE,
        )
    assert count < 2, "the scenario's body says the model twice"
    assert count or target != exchange.target, f"the client did not send {asked!r}"
    return target, body


def request_problems(exchange, arrived, asked, model_id, response_names_model):
    """Compares the request that arrived upstream with the one that the client sent.

    `model_id` is the ID that must stand in place of `asked`; `None`: the request must arrive as
    it was sent.
    """
    method, target, headers, body = arrived
    want_target, want_body = exchange.target, exchange.body
    if model_id:
        want_target, want_body = expected_request(exchange, asked, model_id)
    if method != exchange.method:
        yield f"upstream got method {method}"
    if target != want_target:
        yield f"upstream got target {target}, not {want_target}"
    if body != want_body:
        yield f"upstream got body {excerpt(body, want_body)}, not {excerpt(want_body, body)}"

    arrived_headers = comparable(headers)
    sent_headers = comparable(exchange.headers)
    for name in sorted(arrived_headers.keys() | sent_headers.keys()):
        if arrived_headers.get(name) != sent_headers.get(name):
            got, sent = arrived_headers.get(name), sent_headers.get(name)
            yield f"upstream got header {name}: {got}, not {sent}"
    length = dict(headers).get("content-length")
    if ("content-length" in dict(exchange.headers)) != (length is not None):
        yield f"upstream got content-length {length}"
    elif length is not None and int(length) != len(body):
        yield f"upstream got content-length {length} for {len(body)} bytes"
    # A response whose model is to be set must not be compressed (DESIGN 6).
    encoding = dict(headers).get("accept-encoding")
    if model_id and response_names_model and encoding != "identity":
        yield f"upstream got accept-encoding: {encoding}, not identity"


def response_problems(exchange, answered, reads):
    """Compares the response that the client got with the upstream's.

    `reads` is the name that must stand in place of the ID; `None`: the response must come as the
    upstream sent it.
    """
    status, content_type, body = answered
    headers = dict(exchange.response_headers)
    if exchange.status != status:
        yield f"client got status {exchange.status}, not {status}"
    if headers.get("content-type") != content_type:
        yield f"client got content-type {headers.get('content-type')}"
    coding = headers.get("content-encoding")
    request_headers = dict(exchange.headers)
    if coding and coding not in accepted(request_headers.get("accept-encoding", "")):
        yield f"client got content-encoding {coding}, which it does not accept"
    try:
        got = decode(coding, exchange.response_body)
    except Exception as error:
        yield f"client got a body that is not {coding}: {error}"
        return
    want = expected_response(body, status, reads)
    if got != want:
        yield f"client got body {excerpt(got, want)}, not {excerpt(want, got)}"


def expected_response(body, status, reads):
    """Returns the body with IDs replaced by the name: in an error wherever they stand, else as
    the value of `model`. The upstream writes no `model` where it must stay."""
    if not reads:
        return body
    for model_id in IDS.values():
        if status >= 400:
            body = body.replace(model_id.encode(), reads.encode())
        else:
            body = body.replace(
                f'"model": "{model_id}"'.encode(), f'"model": {json.dumps(reads)}'.encode()
            )
    return body


def comparable(headers):
    fields = {}
    for name, value in headers:
        if name not in PROXY_HEADERS | CONNECTION:
            fields.setdefault(name, []).append(value)
    return fields


def excerpt(body, other, size=60):
    """Shows where a body differs from the other one."""
    pairs = zip(body, other, strict=False)
    start = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(body), len(other)))
    start = max(0, start - 20)
    text = body[start : start + size].decode("utf-8", "replace")
    return repr(("…" if start else "") + text + ("…" if start + size < len(body) else ""))
