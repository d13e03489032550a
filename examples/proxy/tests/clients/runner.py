"""Starts the servers and the proxy, runs the scenarios, and prints what differed.

client ─▶ hop ─▶ proxy ─▶ upstream: the hop records what the client sent and got, the upstream
what arrived and what it responded.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

from aiohttp import web

import catalog
import checks
import reference
from hop import Hop
from upstream import Upstream

HERE = Path(__file__).resolve().parent
CLIENT_TIMEOUT = 180
EXCHANGE_TIMEOUT = 20
# Unlimited: the hop and the upstream read whole bodies.
MAX_BODY = 1 << 30


class Operation:
    def __init__(self, client, fields):
        self.client = client
        self.name = fields["operation"]
        self.compresses = fields["compresses"]
        self.asks = fields["asks"]
        self.upstream = fields["upstream"]
        self.reads = fields["reads"]
        self.problems = []


class Runner:
    """Takes the scenarios' reports, and checks the exchanges between begin and end of each."""

    def __init__(self, hop, upstream, direct):
        self.hop, self.upstream, self.direct = hop, upstream, direct
        self.client = None
        self.operations = []
        self.open = None

    async def control(self, request):
        fields = await request.json()
        if request.path == "/begin":
            self.open = Operation(self.client, fields)
            self.operations.append(self.open)
            self.upstream.always_compresses = fields["compresses"] == "always"
            self.hop.exchanges.clear()
            self.upstream.requests.clear()
        else:
            operation, self.open = self.open, None
            done = [exchange.done.wait() for exchange in self.hop.exchanges]
            await asyncio.wait_for(asyncio.gather(*done), EXCHANGE_TIMEOUT)
            if self.direct:
                show(operation, self.hop.exchanges)
            else:
                operation.problems = [fields["error"]] if fields["error"] else []
                operation.problems += self.problems(operation)
        return web.Response()

    def problems(self, operation):
        """Returns what differs in the operation's exchanges."""
        problems = []
        if not self.hop.exchanges:
            problems.append("the client sent nothing")
        for exchange in self.hop.exchanges:
            arrived = self.upstream.requests.get(exchange.number, [])
            if operation.upstream == "nothing":
                problems += [f"upstream got {method} {target}" for method, target, _, _ in arrived]
                continue
            if len(arrived) != 1:
                problems.append(
                    f"upstream got {len(arrived)} requests, client got {exchange.status}"
                )
                continue
            model_id = None
            if operation.upstream == "replaced":
                model_id = catalog.resolve(operation.asks)
            problems += checks.request_problems(
                exchange, arrived[0], operation.asks, model_id, bool(operation.reads)
            )
            problems += checks.response_problems(
                exchange, self.upstream.responses[exchange.number], operation.reads
            )
        return problems

    async def run(self, client, command, environment, folder):
        """Runs a scenario to its end."""
        self.client = client
        process = await asyncio.create_subprocess_exec(*command, env=environment, cwd=folder)
        try:
            status = await asyncio.wait_for(process.wait(), CLIENT_TIMEOUT)
            problem = f"the scenario exited with {status}" if status else None
        except TimeoutError:
            process.kill()
            await process.wait()
            problem = f"the scenario took more than {CLIENT_TIMEOUT} s"
        if problem:
            name = self.open.name if self.open else "start"
            fields = {"operation": name, "compresses": "asked", "asks": None}
            operation = Operation(client, fields | {"upstream": "as sent", "reads": None})
            operation.problems = [problem]
            self.operations.append(operation)
            self.open = None


async def start(handler):
    """Serves on a free port of the loopback address, and returns the URL."""
    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_route("*", "/{path:.*}", handler)
    # Compressed requests are recorded as they are.
    runner = web.AppRunner(app, auto_decompress=False, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


async def start_proxy(path, upstream):
    async def models(_):
        return web.json_response(catalog.DOCUMENT)

    registry = await start(models)
    process = await asyncio.create_subprocess_exec(
        path,
        "--listen=127.0.0.1:0",
        f"--upstream={upstream}",
        f"--models-url={registry}/active_models.json",
        env={"MODEL_ALIASES": catalog.OPERATOR_ALIASES, "RUST_LOG": "error"},
        stdout=asyncio.subprocess.PIPE,
    )
    while line := await asyncio.wait_for(process.stdout.readline(), 30):
        if found := line.decode().strip().partition("listening on ")[2]:
            return process, found
    raise SystemExit(f"{path} did not start")


def show(operation, exchanges):
    if operation.compresses != "asked":
        return
    for exchange in exchanges:
        headers = dict(exchange.headers)
        framing = "chunked" if "transfer-encoding" in headers else len(exchange.body)
        print(f"{operation.client:18} {operation.name:20} {exchange.method} {exchange.target}")
        for name in ("content-type", "accept", "accept-encoding", "anthropic-version"):
            if name in headers:
                print(f"{'':39} {name}: {headers[name]}")
        if exchange.body:
            print(f"{'':39} {framing}: {exchange.body[:300]!r}")


def report(operations):
    """Prints a row for each operation, and returns the number of those that failed."""
    failed = 0
    print(f"{'client':18} {'operation':20} compresses what it may / always")
    rows = {}
    for operation in operations:
        rows.setdefault((operation.client, operation.name), []).append(operation)
    for (client, name), row in rows.items():
        marks = " / ".join("failed" if operation.problems else "ok" for operation in row)
        print(f"{client:18} {name:20} {marks}")
        seen = set()
        for operation in row:
            for problem in operation.problems:
                if problem not in seen:
                    print(f"{'':21}{operation.compresses}: {line(problem)}")
                    seen.add(problem)
        failed += any(operation.problems for operation in row)
    print(f"{len(rows) - failed} passed, {failed} failed", flush=True)
    return failed


def line(text):
    """Returns what fits into a line of a message, which may quote a body."""
    start = text.splitlines()[0][:300]
    return "".join(character if character.isprintable() else "?" for character in start)


def environment(options, hop, control):
    """Returns what a scenario gets: no settings of the user's, and no way out but loopback."""
    home = options.cache / "home"
    home.mkdir(parents=True, exist_ok=True)
    values = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore",
        "CLIENTS_URL": hop,
        "CLIENTS_CONTROL": control,
        # Nothing listens there: a client that calls home fails at once.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    if options.operation:
        values["CLIENTS_OPERATION"] = options.operation
    return values


async def run_clients(options, clients, proxy, upstream):
    """Runs the scenarios of the clients through a proxy, and returns their operations."""
    hop = Hop(proxy)
    runner = Runner(hop, upstream, options.direct)
    values = environment(options, await start(hop.handle), await start(runner.control))
    node = options.cache / "node"
    try:
        for client in clients:
            if client.endswith("_node"):
                # Node resolves packages from the folder of the script.
                for script in (HERE / "scenarios").glob("*.mjs"):
                    shutil.copy(script, node)
                command = ["node", str(node / f"{client}.mjs")]
            else:
                command = [sys.executable, str(HERE / "scenarios" / f"{client}.py")]
            await runner.run(client, command, values, options.cache)
    finally:
        await hop.close()
    return runner.operations


async def self_test(options, upstream, upstream_url):
    """Runs the clients against the reference proxy, as it is and with each fault."""
    passed = failed = skipped = 0
    for fault, expected in reference.FAULTS.items():
        clients = [c for c in expected if c in options.clients] if expected else options.clients
        if not clients:
            print(f"fault: {fault}: skipped, as its clients do not run")
            skipped += 1
            continue
        proxy = reference.Proxy(upstream_url, fault)
        operations = await run_clients(options, clients, await start(proxy.handle), upstream)
        await proxy.close()
        surprises = reference.surprises(fault, operations)
        failed += bool(surprises)
        passed += not surprises
        print(f"fault: {fault}: {'failed' if surprises else 'ok'}", flush=True)
        for surprise in surprises:
            print(f"  {surprise}")
        if fault == "none" and surprises:
            report(operations)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


async def main(options):
    upstream = Upstream()
    upstream_url = await start(upstream.handle)
    if options.self_test:
        return await self_test(options, upstream, upstream_url)
    if options.direct:
        await run_clients(options, options.clients, upstream_url, upstream)
        return 0
    process, url = await start_proxy(options.proxy, upstream_url)
    try:
        operations = await run_clients(options, options.clients, url, upstream)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
    failed = report(operations)
    return 1 if failed or not operations else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--proxy")
    parser.add_argument("--direct", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--operation")
    parser.add_argument("clients", nargs="+")
    sys.exit(asyncio.run(main(parser.parse_args())))
