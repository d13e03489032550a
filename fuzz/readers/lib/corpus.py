"""Checks the requests of `corpus.toml`: what the layer refuses, and what it must accept."""

import tomllib
from pathlib import Path

from request import Request

CORPUS = Path(__file__).resolve().parent.parent / "corpus.toml"
IDS = {"V": b"0xb603e5c973fae19c86079a068abdc5c119c276e6117fb418a2248f6efd95612d"}
# The layer's rejections with status 400 and 415.
REFUSALS = {
    "invalid_json",
    "invalid_multipart",
    "duplicate_model",
    "ambiguous_model",
    "invalid_model",
    "unsupported_content_encoding",
    "unsupported_media_type",
}


def request(row):
    content_type = row.get("content_type", "application/json")
    body = row["body"]
    is_form = content_type.lower().startswith("multipart/")
    if is_form and not row.get("verbatim"):
        body = body.replace("\n", "\r\n")
    body = body.replace("{DEEP}", '{"a":[' * 511 + "1" + "]}" * 511)
    # Bytes that are no UTF-8 are spelled as the characters of Latin-1.
    encoding = "latin-1" if row.get("latin1") else "utf-8"
    target = "/v1/audio/transcriptions" if is_form else "/v1/chat/completions"
    return Request(
        row.get("method", "POST"),
        row.get("target", target),
        content_type.encode("latin-1"),
        body.encode(encoding),
    )


def check(comparison):
    """Returns the errors, and has the readers read what the layer forwards."""
    rows = tomllib.loads(CORPUS.read_text())
    errors, forwarded = [], {"json": [], "form": []}
    for expected in ("refused", "accepted"):
        requests = [request(row) for row in rows[expected]]
        for row, sent, response in zip(
            rows[expected], requests, comparison.layer.forward(requests)
        ):
            if response.code == "ok":
                kind = "form" if b"multipart" in response.content_type.lower() else "json"
                forwarded[kind].append((sent, response))
            if expected == "refused":
                codes = {row["code"]} if "code" in row else REFUSALS
                is_right = response.code in codes
            else:
                is_right = response.code == "ok" and response.id == IDS["V"]
            if not is_right:
                errors.append(
                    f"the corpus has as {expected}: {row['why']}; the layer: {response.code}\n"
                    f"  {sent.method} {sent.target} {sent.content_type!r}\n  {sent.body[:200]!r}"
                )
        print(f"corpus: {len(requests)} requests are to be {expected}", flush=True)
    comparison.compare(forwarded)
    return errors
