"""A scripted upstream that speaks each API, names the model it was sent, and compresses."""

import asyncio
import base64
import itertools
import json
import re
import zlib

import brotli
import zstandard
from aiohttp import web

from catalog import IDS

CODINGS = ("gzip", "br", "deflate", "zstd")
# Stored objects name the model that made them, as the upstream knows it.
STORED = IDS["venice-uncensored"]
NAMES_AN_ID = re.compile(rb'"model": "0x|"message": "model 0x')


def encode(coding, chunks):
    """Yields the chunks compressed, each flushed so that a client can read it at once."""
    if coding == "gzip" or coding == "deflate":
        encoder = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
        for chunk in chunks:
            yield encoder.compress(chunk) + encoder.flush(zlib.Z_SYNC_FLUSH)
        yield encoder.flush()
    elif coding == "br":
        encoder = brotli.Compressor(quality=4)
        for chunk in chunks:
            yield encoder.process(chunk) + encoder.flush()
        yield encoder.finish()
    elif coding == "zstd":
        encoder = zstandard.ZstdCompressor().compressobj()
        for chunk in chunks:
            yield encoder.compress(chunk) + encoder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        yield encoder.flush()
    else:
        yield from chunks


def decode(coding, body):
    """Decodes a whole body; raises if it is not in the coding."""
    if coding == "gzip":
        return zlib.decompress(body, wbits=31)
    if coding == "deflate":
        return zlib.decompress(body)
    if coding == "br":
        return brotli.decompress(body)
    if coding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    assert coding in (None, "identity"), f"unknown coding {coding}"
    return body


def accepted(header):
    """Returns the content codings that an Accept-Encoding header allows."""
    allowed = {}
    for item in header.lower().split(","):
        name, _, parameters = item.partition(";")
        weight = re.search(r"q=([\d.]+)", parameters)
        allowed[name.strip()] = weight is None or float(weight[1]) > 0
    return [c for c in CODINGS if allowed.get(c, allowed.get("*", False))]


class Upstream:
    """Records each request under its `x-exchange` header, and responds by its path."""

    def __init__(self):
        # Compress also where the request says `identity`, as some servers and CDNs do.
        self.always_compresses = False
        self.requests = {}
        self.responses = {}
        self._turns = {True: itertools.count(), False: itertools.count()}

    async def handle(self, request):
        body = await request.read()
        number = request.headers.get("x-exchange")
        self.requests.setdefault(number, []).append(
            (request.method, request.raw_path, headers_of(request.raw_headers), body)
        )
        status, content_type, chunks = respond(request, body)
        self.responses[number] = (status, content_type, b"".join(chunks))

        response = web.StreamResponse(status=status, headers={"Content-Type": content_type})
        coding = self._coding(request, content_type, chunks)
        if coding:
            response.headers["Content-Encoding"] = coding
            response.headers["Vary"] = "Accept-Encoding"
        encoded = list(encode(coding, chunks))
        if len(chunks) == 1:
            response.content_length = sum(map(len, encoded))
        await response.prepare(request)
        for chunk in filter(None, encoded):
            await response.write(chunk)
            # Each event in a write of its own.
            await asyncio.sleep(0)
        return response

    def _coding(self, request, content_type, chunks):
        """Returns the next of the content codings that the response may have."""
        if not re.search(r"json|event-stream", content_type):
            return None
        codings = accepted(request.headers.get("Accept-Encoding", ""))
        # A response that names no ID gives no reason to read it, and so none to decode it: it is
        # compressed only as the client wants it.
        always = self.always_compresses and any(NAMES_AN_ID.search(chunk) for chunk in chunks)
        if always:
            codings = CODINGS
        return codings[next(self._turns[always]) % len(codings)] if codings else None


def headers_of(raw):
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]


def respond(request, body):
    """Returns the status, the content type and the chunks of the response."""
    path = request.path
    try:
        fields = json.loads(body) if body else {}
    except ValueError:
        fields = {}
    if request.content_type == "multipart/form-data":
        model = re.search(rb'name="model"[^\r]*(?:\r\n[^\r]+)*\r\n\r\n([^\r]*)', body)
        fields = {"model": model[1].decode()} if model else {}
    model = fields.get("model", STORED)
    # The text names the ID too: only the model may change on the way back.
    text = f"served by {model}"

    if b"please fail" in body:
        return error(path, model)
    for pattern, handler in ROUTES:
        if match := re.fullmatch(pattern, f"{request.method} {path}"):
            return handler(Call(model, text, fields, match))
    return 404, "application/json", [dump({"error": {"message": f"no {request.method} {path}"}})]


class Call:
    def __init__(self, model, text, fields, match):
        self.model, self.text, self.fields, self.match = model, text, fields, match
        self.streams = fields.get("stream") is True


def dump(value):
    return json.dumps(value).encode()


def as_json(value):
    return 200, "application/json", [dump(value)]


def as_lines(values):
    return 200, "application/x-ndjson", [dump(value) + b"\n" for value in values]


def as_events(values, named=False, done=False):
    chunks = [
        (f"event: {value['type']}\n".encode() if named else b"") + b"data: " + dump(value) + b"\n\n"
        for value in values
    ]
    return 200, "text/event-stream", chunks + ([b"data: [DONE]\n\n"] if done else [])


def error(path, model):
    message = f"model {model} is overloaded"
    if "/messages" in path:
        value = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    elif "/models/" in path:
        value = {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
    else:
        value = {
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "param": None,
                "code": "busy",
            }
        }
    return 400, "application/json", [dump(value)]


# OpenAI

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def chat(call):
    if not call.streams:
        message = {"role": "assistant", "content": call.text}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return as_json(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": call.model,
                "choices": [choice],
                "usage": USAGE,
            }
        )

    def chunk(delta, finish=None):
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": call.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }

    deltas = [chunk({"role": "assistant", "content": ""})]
    deltas += [chunk({"content": word}) for word in call.text.split(" ")]
    return as_events(deltas + [chunk({}, "stop")], done=True)


def response_object(call, status="completed"):
    part = {"type": "output_text", "text": call.text, "annotations": []}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    done = status == "completed"
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": call.model,
        "output": [message] if done else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "metadata": {},
        "usage": {
            "input_tokens": 1,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 3,
        }
        if done
        else None,
    }


def responses(call):
    whole = response_object(call)
    if not call.streams:
        return as_json(whole)
    item = whole["output"][0]
    part = item["content"][0]
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    begun = response_object(call, "in_progress")
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": item | {"status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **place, "part": part | {"text": ""}},
        {"type": "response.output_text.delta", **place, "delta": call.text, "logprobs": []},
        {"type": "response.output_text.done", **place, "text": call.text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return as_events([e | {"sequence_number": n} for n, e in enumerate(events)], named=True)


def embeddings(call):
    inputs = call.fields["input"]
    vector = [0.5, -0.25]
    if call.fields.get("encoding_format") == "base64":
        vector = base64.b64encode(b"\0\0\0?\0\0\x80\xbe").decode()
    return as_json(
        {
            # Mistral's.
            "id": "embd-1",
            "object": "list",
            "model": call.model,
            "data": [
                {"object": "embedding", "index": index, "embedding": vector}
                for index in range(len(inputs) if isinstance(inputs, list) else 1)
            ],
            "usage": {"prompt_tokens": 1, "total_tokens": 1},
        }
    )


def images(_):
    return as_json({"created": 1, "data": [{"b64_json": "AAAA"}]})


def speech(_):
    return 200, "audio/mpeg", [b"\xff\xfb\x90\x00" * 64]


def transcription(call):
    return as_json({"text": call.text, "usage": {"type": "duration", "seconds": 1}})


def file(_):
    return as_json(FILE)


FILE = {
    "id": "file-1",
    "object": "file",
    "bytes": 2,
    "created_at": 1,
    "filename": "batch.jsonl",
    "purpose": "batch",
    "status": "processed",
}


def files(_):
    return as_json({"object": "list", "data": [FILE], "has_more": False})


def file_content(_):
    return 200, "application/octet-stream", [b'{"body": {"model": "anything"}}\n']


def moderation(call):
    return as_json({"id": "modr-1", "model": call.model, "results": []})


def fine_tuning_job(call):
    return as_json(
        {
            "id": "ftjob-1",
            "object": "fine_tuning.job",
            "created_at": 1,
            "model": call.model,
            "status": "queued",
            "training_file": "file-1",
            "hyperparameters": {"n_epochs": "auto"},
            "organization_id": "org-1",
            "result_files": [],
            "seed": 1,
        }
    )


def thread_message(_):
    return as_json(
        {
            "id": "msg_1",
            "object": "thread.message",
            "created_at": 1,
            "thread_id": "t",
            "role": "user",
            "content": [],
            "attachments": [],
            "metadata": {},
        }
    )


# Anthropic


def messages(call):
    whole = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [{"type": "text", "text": call.text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    if not call.streams:
        return as_json(whole)
    begun = whole | {"content": [], "stop_reason": None}
    text = {"type": "text_delta", "text": call.text}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    events = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": text},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    return as_events(events, named=True)


def count_tokens(_):
    return as_json({"input_tokens": 7})


# Google. Its responses have no `model`, and `modelVersion` is not one.


def gemini(call):
    verb = call.match[1]
    if verb == "countTokens":
        return as_json({"totalTokens": 7})
    if verb == "embedContent":
        return as_json({"embedding": {"values": [0.5]}})
    if verb == "batchEmbedContents":
        return as_json({"embeddings": [{"values": [0.5]} for _ in call.fields["requests"]]})
    content = {"role": "model", "parts": [{"text": "hello"}]}
    value = {
        "candidates": [{"content": content, "index": 0, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
        "modelVersion": "001",
        "responseId": "1",
    }
    return as_events([value, value]) if verb == "streamGenerateContent" else as_json(value)


# Cohere. Its responses have no `model` either.


def cohere_chat(call):
    usage = {"tokens": {"input_tokens": 1, "output_tokens": 2}}
    if not call.streams:
        content = [{"type": "text", "text": call.text}]
        message = {"role": "assistant", "content": content}
        return as_json({"id": "1", "finish_reason": "COMPLETE", "message": message, "usage": usage})
    start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    begun = {"message": {"content": {"type": "text", "text": ""}}}
    delta = {"message": {"content": {"text": call.text}}}
    events = [
        {"type": "message-start", "id": "1", "delta": {"message": start}},
        {"type": "content-start", "index": 0, "delta": begun},
        {"type": "content-delta", "index": 0, "delta": delta},
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
    ]
    return as_events(events, named=True, done=True)


def cohere_embed(call):
    texts = call.fields["texts"]
    return as_json({"id": "1", "embeddings": {"float": [[0.5] for _ in texts]}, "texts": texts})


def cohere_rerank(call):
    count = range(len(call.fields["documents"]))
    return as_json({"id": "1", "results": [{"index": i, "relevance_score": 0.5} for i in count]})


# Ollama, whose responses stream unless they are told not to


def _ollama(call, part):
    def line(text, done):
        return {
            "model": call.model,
            "created_at": "2025-01-01T00:00:00Z",
            **part(text),
            "done": done,
        }

    if call.fields.get("stream") is False:
        return as_json(line(call.text, True))
    lines = [line(word, False) for word in call.text.split(" ")]
    return as_lines([*lines, line("", True)])


def ollama_chat(call):
    return _ollama(call, lambda text: {"message": {"role": "assistant", "content": text}})


def ollama_generate(call):
    return _ollama(call, lambda text: {"response": text})


def ollama_embed(call):
    return as_json({"model": call.model, "embeddings": [[0.5]]})


def ollama_pull(_):
    return as_json({"status": "success"})


# The prefix of Azure and of servers that have none.
_OPENAI = r"POST (?:/v1|/openai/v1|/openai/deployments/[^/]+)"
ROUTES = [
    (_OPENAI + "/chat/completions", chat),
    (_OPENAI + "/embeddings", embeddings),
    (_OPENAI + "/responses", responses),
    (_OPENAI + "/images/(?:generations|edits)", images),
    (_OPENAI + "/audio/speech", speech),
    (_OPENAI + "/audio/(?:transcriptions|translations)", transcription),
    ("GET /v1/chat/completions/[^/]+", chat),
    ("GET /v1/responses/[^/]+", responses),
    ("POST /v1/responses/[^/]+/cancel", responses),
    ("(?:POST /v1/files|GET /v1/files/[^/]+)", file),
    ("GET /v1/files", files),
    ("GET /v1/files/[^/]+/content", file_content),
    ("POST /v1/moderations", moderation),
    ("POST /v1/fine_tuning/jobs", fine_tuning_job),
    ("POST /v1/threads/[^/]+/messages", thread_message),
    ("POST /v1/messages", messages),
    ("POST /v1/messages/count_tokens", count_tokens),
    (r"POST /v1(?:beta|alpha)?/models/[^/]+:(\w+)", gemini),
    ("POST /v2/chat", cohere_chat),
    ("POST /v[12]/embed", cohere_embed),
    ("POST /v[12]/rerank", cohere_rerank),
    ("POST /api/chat", ollama_chat),
    ("POST /api/generate", ollama_generate),
    ("POST /api/embed", ollama_embed),
    ("POST /api/pull", ollama_pull),
]
