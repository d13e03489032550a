"""Web frameworks from PyPI, whose requests have both JSON and forms."""

import asyncio
import io
from json import loads

from worker import ABSENT, model_of

JSON_FRAMEWORKS = {}
FORM_FRAMEWORKS = {}


def json(make):
    JSON_FRAMEWORKS[make.__name__] = make
    return make


def form(make):
    FORM_FRAMEWORKS[make.__name__.removesuffix("_form")] = make
    return make


def environ(content_type, body):
    """Returns a WSGI request."""
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def scope(content_type, body):
    """Returns the head of an ASGI request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", content_type.encode("latin-1")),
            (b"content-length", str(len(body)).encode()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
        "extensions": {},
    }


def receive(body):
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def next_message():
        return next(messages, {"type": "http.disconnect"})

    return next_message


def from_async(read):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return lambda content_type, body: loop.run_until_complete(read(content_type, body))


def text(value):
    """Returns `ABSENT` for a file, which is no form value."""
    return value if isinstance(value, (str, bytes, type(None))) else ABSENT


@json
def flask_json():
    from flask import Flask, Request

    Flask(__name__)
    return lambda content_type, body: model_of(Request(environ(content_type, body)).get_json())


@form
def flask_form():
    from flask import Request

    return lambda content_type, body: Request(environ(content_type, body)).form.get("model")


@form
def werkzeug_form():
    from werkzeug.formparser import parse_form_data

    return lambda content_type, body: parse_form_data(environ(content_type, body))[1].get("model")


def django():
    from django.conf import settings

    if not settings.configured:
        import django

        settings.configure(ALLOWED_HOSTS=["*"], USE_TZ=True)
        django.setup()
    from django.core.handlers.wsgi import WSGIRequest

    return WSGIRequest


@form
def django_form():
    request = django()
    return lambda content_type, body: request(environ(content_type, body)).POST.get("model")


def rest_framework():
    request = django()
    from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
    from rest_framework.request import Request

    def read(content_type, body):
        parsers = [JSONParser(), FormParser(), MultiPartParser()]
        return text(model_of(Request(request(environ(content_type, body)), parsers=parsers).data))

    return read


@json
def rest_framework_json():
    return rest_framework()


@form
def rest_framework_form():
    return rest_framework()


@json
def starlette_json():
    from starlette.requests import Request

    async def read(content_type, body):
        return model_of(await Request(scope(content_type, body), receive(body)).json())

    return from_async(read)


@form
def starlette_form():
    from starlette.requests import Request

    async def read(content_type, body):
        async with Request(scope(content_type, body), receive(body)).form() as form:
            return text(form.get("model"))

    return from_async(read)


def aiohttp_request(content_type, body):
    from aiohttp import StreamReader
    from aiohttp.base_protocol import BaseProtocol
    from aiohttp.test_utils import make_mocked_request

    loop = asyncio.get_running_loop()
    payload = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    payload.feed_data(body)
    payload.feed_eof()
    headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
    return make_mocked_request("POST", "/", headers=headers, payload=payload)


@json
def aiohttp_json():
    async def read(content_type, body):
        return model_of(await aiohttp_request(content_type, body).json())

    return from_async(read)


@form
def aiohttp_form():
    async def read(content_type, body):
        return text((await aiohttp_request(content_type, body).post()).get("model"))

    return from_async(read)


@json
def falcon_json():
    import falcon

    return lambda content_type, body: model_of(
        falcon.Request(environ(content_type, body)).get_media()
    )


@form
def falcon_form():
    import falcon

    options = falcon.RequestOptions()

    def read(content_type, body):
        form = falcon.Request(environ(content_type, body), options=options).get_media()
        if isinstance(form, dict):
            return form.get("model")
        values = [part.text for part in form if part.name == "model"]
        return values[0] if len(values) == 1 else values or ABSENT

    return read


def sanic_request():
    from sanic import Sanic
    from sanic.compat import Header
    from sanic.request import Request

    Sanic.test_mode = True
    app = Sanic(f"readers-{id(Request)}-{len(Sanic._app_registry)}")

    def make(content_type, body):
        headers = Header({"content-type": content_type})
        request = Request(b"/", headers, "1.1", "POST", None, app)
        request.body = body
        return request

    return make


@json
def sanic_json():
    make = sanic_request()
    return lambda content_type, body: model_of(make(content_type, body).json)


@form
def sanic_form():
    make = sanic_request()
    return lambda content_type, body: make(content_type, body).form.get("model")


def served(app):
    """Reads by an ASGI application that responds with the model."""

    async def read(content_type, body):
        status, response = [], []

        async def send(message):
            status.append(message.get("status"))
            response.append(message.get("body", b""))

        await app(scope(content_type, body), receive(body), send)
        if status[0] != 200:
            raise ValueError(f"{status[0]}: {b''.join(response)}")
        return model_of(loads(b"".join(response)))

    return from_async(read)


def replied(form):
    value = form.get("model")
    return {"model": value} if isinstance(value, str) else {}


@json
def litestar_json():
    from litestar import Litestar, Request, post

    @post("/", status_code=200)
    async def handler(request: Request) -> dict:
        return replied(await request.json())

    return served(Litestar([handler], logging_config=None))


@form
def litestar_form():
    from litestar import Litestar, Request, post

    @post("/", status_code=200)
    async def handler(request: Request) -> dict:
        return replied(await request.form())

    return served(Litestar([handler], logging_config=None))


@json
def bottle_json():
    from bottle import BaseRequest

    return lambda content_type, body: model_of(BaseRequest(environ(content_type, body)).json)


@form
def bottle_form():
    from bottle import BaseRequest

    return lambda content_type, body: BaseRequest(environ(content_type, body)).forms.get("model")


@json
def webob_json():
    from webob import Request

    return lambda content_type, body: model_of(Request(environ(content_type, body)).json)


@form
def webob_form():
    from webob import Request

    return lambda content_type, body: text(Request(environ(content_type, body)).POST.get("model"))


@form
def cherrypy_form():
    from cherrypy._cpreqbody import RequestBody
    from cherrypy.lib.httputil import HeaderMap

    def read(content_type, body):
        import cherrypy

        headers = cherrypy.serving.request.headers = HeaderMap()
        headers["Content-Type"] = content_type
        headers["Content-Length"] = str(len(body))
        entity = RequestBody(io.BytesIO(body), headers)
        entity.process()
        return text(entity.params.get("model"))

    return read


@form
def tornado_form():
    from tornado.httputil import parse_body_arguments

    def read(content_type, body):
        arguments, files = {}, {}
        parse_body_arguments(content_type, body, arguments, files)
        return arguments.get("model", [ABSENT])[-1]

    return read


@json
def baize_json():
    from baize.wsgi import Request

    return lambda content_type, body: model_of(Request(environ(content_type, body)).json)


@form
def baize_form():
    from baize.wsgi import Request

    return lambda content_type, body: text(Request(environ(content_type, body)).form.get("model"))


@form
def quart_form():
    from quart.formparser import FormDataParser
    from quart.wrappers.request import Body
    from werkzeug.datastructures import Headers
    from werkzeug.http import parse_options_header

    async def read(content_type, body):
        stream = Body(None, None)
        stream.append(body)
        stream.set_complete()
        mimetype, options = parse_options_header(content_type)
        parsed = await FormDataParser().parse(stream, mimetype, len(body), options)
        return parsed[0].get("model")

    return from_async(read)


def blacksheep(parse):
    from blacksheep import Application, json
    from blacksheep.server.routing import Router

    app = Application(router=Router())

    @app.router.post("/")
    async def handler(request):
        return json(replied(await parse(request) or {}))

    asyncio.new_event_loop().run_until_complete(app.start())
    return served(app)


@json
def blacksheep_json():
    return blacksheep(lambda request: request.json())


@form
def blacksheep_form():
    return blacksheep(lambda request: request.form())
