"""A hop between a client and the proxy that records each exchange and changes no byte."""

import asyncio
import contextlib
import itertools

import aiohttp
from aiohttp import web
from yarl import URL

from upstream import headers_of

# Connection headers, which each connection has for itself (RFC 9110, 7.6.1).
CONNECTION = {"connection", "keep-alive", "te", "transfer-encoding", "upgrade", "host"}
# What the client library would add to a request that has none of them.
DEFAULTS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class Exchange:
    """A request as the client sent it, and the response as the client got it."""

    def __init__(self, number, method, target, headers, body):
        self.number, self.method, self.target = number, method, target
        self.headers, self.body = headers, body
        self.status = self.response_headers = None
        self.response_body = b""
        self.done = asyncio.Event()


class Hop:
    def __init__(self, base):
        self.base = base
        self.exchanges = []
        self._numbers = itertools.count(1)
        self._session = None

    async def handle(self, request):
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False)
        body = await request.read()
        headers = headers_of(request.raw_headers)
        number = str(next(self._numbers))
        exchange = Exchange(number, request.method, request.raw_path, headers, body)
        self.exchanges.append(exchange)
        try:
            return await self._forward(request, exchange)
        finally:
            exchange.done.set()

    async def _forward(self, request, exchange):
        headers, body = exchange.headers, exchange.body
        forwarded = [(name, value) for name, value in headers if name not in CONNECTION]
        # Chunked as the client's, or not at all.
        data = _chunks(body) if "transfer-encoding" in dict(headers) else body or None
        async with self._session.request(
            request.method,
            URL(self.base + request.raw_path, encoded=True),
            headers=[*forwarded, ("x-exchange", exchange.number)],
            skip_auto_headers=DEFAULTS,
            data=data,
            allow_redirects=False,
        ) as upstream:
            exchange.status = upstream.status
            exchange.response_headers = headers_of(upstream.raw_headers)
            response = web.StreamResponse(status=upstream.status)
            for name, value in exchange.response_headers:
                if name not in CONNECTION:
                    response.headers.add(name, value)
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                exchange.response_body += chunk
                # Some clients close at the last event; the rest is recorded all the same.
                with contextlib.suppress(ConnectionError):
                    await response.write(chunk)
            return response

    async def close(self):
        if self._session:
            await self._session.close()


async def _chunks(body):
    yield body
