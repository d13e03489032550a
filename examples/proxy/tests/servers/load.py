"""The clients: requests over a few connections, and what becomes of each."""

import asyncio
import collections
import json
import random
import time

import aiohttp

NAME = "venice-uncensored"
ID = "0xb603e5c973fae19c86079a068abdc5c119c276e6117fb418a2248f6efd95612d"
CONNECTIONS = 16
LARGE = 200_000
TIMEOUT = aiohttp.ClientTimeout(total=60)
# The servers close connections that are idle for a second: while the next requests are sent, and
# long before.
RACE, LATER = 1.0, 3.0
# What the proxy says if the upstream closed the connection after it had the request.
UNCERTAIN = "It may have processed"
# Such requests in a thousand, which servers that close connections cause.
MAX_UNCERTAIN = 50


class Load:
    """Sends requests with numbers, and keeps the outcome of each."""

    def __init__(self, base):
        self.url = base + "/v1/chat/completions"
        self.numbers = iter(range(1, 1 << 30))
        # `ok`, `uncertain`, or what is wrong.
        self.outcomes = {}

    async def run(self, count, bursts):
        """Sends `count` requests, of which `bursts` times one per connection after a pause.

        Returns what is wrong apart from single requests.
        """
        problems = []
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        async with aiohttp.ClientSession(
            connector=connector, timeout=TIMEOUT, auto_decompress=False
        ) as session:
            steady = count - bursts * CONNECTIONS
            await asyncio.gather(
                *(self._client(session, steady // CONNECTIONS) for _ in range(CONNECTIONS))
            )
            for burst in range(bursts):
                is_race = burst % 3 != 2
                await asyncio.sleep(RACE if is_race else LATER)
                before, start = self.count("uncertain"), time.monotonic()
                await asyncio.gather(*(self._client(session, 1) for _ in range(CONNECTIONS)))
                # On a slow machine, connections become idle within a burst.
                is_race |= time.monotonic() - start >= RACE / 2
                if not is_race and self.count("uncertain") > before:
                    problems.append("requests were sent on connections that had been closed")
        if self.count("uncertain") * 1_000 > MAX_UNCERTAIN * count:
            problems.append("too many connections were closed after a request was sent")
        return problems

    async def _client(self, session, count):
        for _ in range(count):
            number = next(self.numbers)
            try:
                self.outcomes[number] = await self._send(session, number)
            except (aiohttp.ClientError, TimeoutError) as error:
                self.outcomes[number] = f"no response: {error!r}"

    async def _send(self, session, number):
        body = request_body(number)
        # A third of them.
        data = chunks(body, number) if number % 3 == 0 else body
        headers = {
            "accept-encoding": "identity",
            "content-type": "application/json",
            "x-number": str(number),
        }
        async with session.post(self.url, data=data, headers=headers) as response:
            received = await response.read()
            if response.status == 502 and UNCERTAIN in received.decode(errors="replace"):
                return "uncertain"
            if response.status != 200:
                return f"status {response.status}: {received[:200]!r}"
            if response.headers.get("x-model-id") != ID:
                return "the response has no x-model-id"
            if received != body.replace(NAME.encode(), ID.encode()):
                return "the upstream received another body"
            return "ok"

    def problems(self, arrived):
        """Returns what is wrong, given the numbers of the requests that the upstream received."""
        counts = collections.Counter(arrived)
        for number, outcome in self.outcomes.items():
            least = 1 if outcome == "ok" else 0
            if not least <= counts[number] <= 1:
                yield f"request {number} ({outcome}) arrived {counts[number]} times"
            if outcome not in ("ok", "uncertain"):
                yield f"request {number}: {outcome}"

    def count(self, outcome):
        return sum(found == outcome for found in self.outcomes.values())


def request_body(number):
    """Returns a body of its own. An eighth are large, half of them with the model last."""
    text = f"{number}\u00e9 " * (LARGE // (len(str(number)) + 3) if number % 8 == 0 else 5)
    messages = [{"role": "user", "content": text}]
    first, last = {"messages": messages}, {"model": NAME}
    fields = {**first, **last} if number % 16 == 0 else {**last, **first}
    return json.dumps(fields, ensure_ascii=False).encode()


async def chunks(body, number):
    """Yields the body in chunks of different lengths."""
    sizes = random.Random(number)
    start = 0
    while start < len(body):
        end = start + sizes.choice([1, 100, 5_000, 50_000])
        yield body[start:end]
        start = end
        await asyncio.sleep(0)
