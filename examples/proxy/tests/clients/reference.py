"""A naive proxy that does what the scenarios expect, or has one fault: the test of the tests.

It buffers whole bodies, replaces text, and knows only the requests that the scenarios send.
"""

import difflib
import gzip
import json
import re
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from yarl import URL

import catalog
from hop import CONNECTION, DEFAULTS
from upstream import accepted, decode, headers_of

TEMPLATE = re.compile(r"(?<=/models/)[^/:]+(?=:\w+$)|(?<=/deployments/)[^/]+(?=/)")
JSON_MODEL = re.compile(rb'(?:(?<=^\{)|(?<=,)|(?<=, ))"model":\s*"([^"]*)"')
FORM_MODEL = re.compile(rb'name="model"\r\n\r\n([^\r]*)')
INFERENCE = re.compile(
    r"/(chat/completions|messages|messages/count_tokens|responses|embeddings|audio/\w+"
    r"|api/chat|api/generate|api/embed|v2/chat|v2/embed|models/[^/]+:\w+)$"
)
READABLE = re.compile(r"json|event-stream")

# Fault → client → the operations that it must fail, and no others may.
FAULTS = {
    "none": None,
    "serialises bodies again": {
        "anthropic_python": {"create", "stream", "stream helper", "count_tokens", "upstream error"},
    },
    "drops a header": {
        "anthropic_python": {"create", "stream", "stream helper", "count_tokens", "upstream error"},
    },
    "leaves the URI": {
        "azure_python": {"chat", "chat spaces", "chat stream", "embeddings", "audio transcription"},
    },
    "falls back across kinds": {
        "openai_python": {"images unknown", "moderations", "fine-tuning"},
    },
    "inserts a model": {"openai_python": {"responses prompt", "responses cancel"}},
    "serves near misses": {
        "anthropic_python": {"not found"},
        "azure_python": {"near miss"},
    },
    "lets the upstream compress": {
        "anthropic_python": {"create", "stream", "stream helper", "upstream error"},
    },
    "leaves compressed responses": {
        "ollama_python": {"chat", "chat stream", "generate", "generate stream", "embed"},
    },
    "names the model that served": {
        "ollama_python": {"chat", "chat stream", "generate", "generate stream", "embed"},
    },
    "leaves errors": {"anthropic_python": {"upstream error"}},
    "leaves polls": {
        "openai_python": {
            "chat retrieve",
            "responses prompt",
            "responses retrieve",
            "responses cancel",
        },
    },
    "has one dialect": {
        "anthropic_python": {"not found"},
        "google_python": {"near miss"},
    },
    "lists models for OpenAI only": {
        "anthropic_python": {"models list", "models retrieve"},
        "mistral_python": {"models list"},
    },
}


class Proxy:
    def __init__(self, upstream, fault):
        self.upstream, self.fault = upstream, fault
        self._session = None

    async def close(self):
        if self._session:
            await self._session.close()

    async def handle(self, request):
        if request.method == "GET" and request.path.startswith("/v1/models"):
            return self._models(request.path)
        body = await request.read()
        asked = asked_for(request, body)
        model_id, reads = catalog.resolve(asked), asked
        if asked == "zzzz-9000":
            reads = "mistral-31-24b"
        elif asked and not model_id:
            if INFERENCE.search(request.path) and self._near_miss(asked):
                return self._not_found(request.path, asked)
            if self.fault == "falls back across kinds":
                model_id = catalog.IDS["mistral-31-24b"]
        elif self.fault == "names the model that served":
            reads = catalog.RESOLUTIONS.get(asked)
        path, mark, query = request.raw_path.partition("?")
        if model_id and self.fault != "leaves the URI":
            path = TEMPLATE.sub(model_id, path)
        body = self._body(request, body, asked, model_id)
        return await self._forward(request, path + mark + query, body, reads)

    def _near_miss(self, asked):
        if self.fault == "serves near misses":
            return []
        slugs = {name.lower().replace(" ", "-"): name for name in catalog.IDS}
        return [slugs[slug] for slug in difflib.get_close_matches(asked, slugs, cutoff=0.85)]

    def _body(self, request, body, asked, model_id):
        if not asked and self.fault == "inserts a model" and "/responses" in request.path:
            return b'{"model":"0x1"}' if request.method == "POST" else body
        # Gemini's bodies pass unread.
        if not model_id or "/models/" in request.path:
            return body
        if self.fault == "serialises bodies again" and request.content_type == "application/json":
            return json.dumps(json.loads(body) | {"model": model_id}).encode()
        for pattern in (JSON_MODEL, FORM_MODEL):
            if found := pattern.search(body):
                return body[: found.start(1)] + model_id.encode() + body[found.end(1) :]
        return body

    async def _forward(self, request, target, body, reads):
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False)
        accepts = request.headers.get("accept-encoding", "")
        lost = {"anthropic-version"} if self.fault == "drops a header" else set()
        headers = [
            (name, value)
            for name, value in headers_of(request.raw_headers)
            if name not in CONNECTION | lost | {"content-length", "accept-encoding"}
        ]
        compresses = self.fault == "lets the upstream compress"
        headers.append(("accept-encoding", accepts if compresses else "identity"))
        if "content-length" in request.headers:
            headers.append(("content-length", str(len(body))))
        async with self._session.request(
            request.method,
            URL(self.upstream + target, encoded=True),
            headers=headers,
            skip_auto_headers=DEFAULTS,
            data=body or None,
        ) as upstream:
            content_type = upstream.headers["content-type"]
            coding = upstream.headers.get("content-encoding")
            response = {"content-type": content_type}
            data = await upstream.read()
            if READABLE.search(content_type):
                if coding and self.fault == "leaves compressed responses":
                    response["content-encoding"] = coding
                else:
                    data = self._named(decode(coding, data), upstream.status, reads)
                    if "gzip" in accepted(accepts) and "event-stream" not in content_type:
                        response["content-encoding"], data = "gzip", gzip.compress(data)
            return web.Response(status=upstream.status, headers=response, body=data)

    def _named(self, data, status, reads):
        if (status >= 400 and self.fault == "leaves errors") or (
            not reads and self.fault == "leaves polls"
        ):
            return data
        for name, model_id in catalog.IDS.items():
            name = reads or name
            if status >= 400:
                data = data.replace(model_id.encode(), name.encode())
            old, new = (f'"model": "{value}"'.encode() for value in (model_id, name))
            data = data.replace(old, new)
        return data

    def _not_found(self, path, asked):
        message = f"{asked} does not exist"
        if self.fault != "has one dialect" and path.startswith("/v1/messages"):
            value = {"type": "error", "error": {"type": "not_found_error", "message": message}}
        elif self.fault != "has one dialect" and "/models/" in path:
            value = {"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}
        else:
            value = {
                "error": {
                    "message": message,
                    "type": "invalid_request_error",
                    "param": "model",
                    "code": "model_not_found",
                    "suggestions": self._near_miss(asked),
                }
            }
        return web.json_response(value, status=404)

    def _models(self, path):
        items = [self._item(name) for name in catalog.IDS]
        asked = unquote(path.removeprefix("/v1/models").strip("/"))
        if not asked:
            page = {"has_more": False, "first_id": items[0]["id"], "last_id": items[-1]["id"]}
            extra = {} if self.fault == "lists models for OpenAI only" else page
            return web.json_response({"object": "list", "data": items} | extra)
        name = catalog.RESOLUTIONS.get(asked)
        if name not in catalog.IDS or asked == "zzzz-9000":
            return self._not_found(path, asked)
        return web.json_response(self._item(name))

    def _item(self, name):
        item = {"id": name, "object": "model", "created": 1748370689, "owned_by": "unknown"}
        if self.fault == "lists models for OpenAI only":
            return item
        return item | {
            "type": "model",
            "display_name": name,
            "created_at": "2025-05-27T18:31:29Z",
        }


def asked_for(request, body):
    if found := TEMPLATE.search(request.raw_path.partition("?")[0]):
        return unquote(found[0])
    if request.content_type == "application/json":
        found = JSON_MODEL.search(body)
    elif request.path.startswith("/v1/files"):
        found = None
    else:
        found = FORM_MODEL.search(body)
    return found and found[1].decode()


def surprises(fault, operations):
    """Returns what a run against the proxy found too little or too much."""
    found = []
    expected = FAULTS[fault]
    failed = {}
    for operation in operations:
        names = failed.setdefault(operation.client, set())
        if operation.problems:
            names.add(operation.name)
    for client, names in failed.items():
        wanted = expected[client] if expected else set()
        if names != wanted:
            found.append(f"{client}: failed {sorted(names)}, not {sorted(wanted)}")
    return found
