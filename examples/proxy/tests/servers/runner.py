"""Starts each server with a proxy in front, sends the load, and prints a table."""

import argparse
import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

import trustme
from aiohttp import web

from load import CONNECTIONS, ID, NAME, Load
from servers import ORIGINS, SERVERS

REQUESTS = 2_000
# Bursts of requests after pauses.
BURSTS, FAST_BURSTS = 15, 6
START_TIMEOUT = 30
# Longer than any pause: only the servers under test close connections.
KEEPALIVE = 600
CATALOG = {"models": [{"Id": ID, "Name": NAME, "ModelType": "LLM"}]}


async def echo(request):
    body = await request.read()
    with open(request.app["log"], "a") as log:
        log.write(request.headers["x-number"] + "\n")
    return web.Response(body=body, content_type="application/octet-stream")


async def catalog(_):
    return web.json_response(CATALOG)


async def serve(stack, method, handler, **state):
    """Serves on a free port of the loopback address, and returns the port."""
    app = web.Application(client_max_size=1 << 30)
    app.update(state)
    app.router.add_route(method, "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=KEEPALIVE)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner.addresses[0][1]


async def spawn(stack, command, log, **variables):
    """Starts a process, which ends with the stack."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(log.parent), **variables}
    with open(log, "wb") as output:
        process = await asyncio.create_subprocess_exec(
            *map(str, command), stdout=output, stderr=output, env=environment, cwd=log.parent
        )
    stack.push_async_callback(end, process)
    return process


async def end(process):
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


async def until_listening(process, port):
    start = time.monotonic()
    while time.monotonic() - start < START_TIMEOUT:
        if process.returncode is not None:
            raise OSError(f"the process exited with {process.returncode}")
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise OSError(f"nothing listens on port {port}")


async def run(name, proxy, folder, bursts):
    """Runs the load through a proxy in front of this server. Returns it with the problems."""
    numbers = folder / "numbers"
    numbers.touch()
    # For servers whose workers have another user.
    folder.chmod(0o755)
    scheme, server_command = SERVERS[name]
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    async with contextlib.AsyncExitStack() as stack:
        echo_port = await serve(stack, "POST", echo, log=numbers)
        registry = await serve(stack, "GET", catalog)
        port, proxy_port = free_port(), free_port()
        server = await spawn(
            stack,
            server_command(folder, port, echo_port),
            folder / "server.log",
            ECHO_LOG=str(numbers),
            PYTHONPATH=str(ORIGINS),
            PYTHONDONTWRITEBYTECODE="1",
        )
        await until_listening(server, port)
        command = [
            proxy,
            f"--listen=127.0.0.1:{proxy_port}",
            f"--upstream={scheme}://localhost:{port}",
            f"--models-url=http://127.0.0.1:{registry}/active_models.json",
        ]
        certificates = {"SSL_CERT_FILE": str(folder / "ca.pem")}
        gateway = await spawn(stack, command, folder / "proxy.log", **certificates)
        await until_listening(gateway, proxy_port)
        load = Load(f"http://127.0.0.1:{proxy_port}")
        problems = await load.run(REQUESTS, bursts)
        problems += load.problems(map(int, numbers.read_text().split()))
        if gateway.returncode is not None:
            problems.append(f"the proxy exited with {gateway.returncode}")
    return load, problems


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--proxy", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("names", nargs="+")
    options = parser.parse_args()
    bursts = FAST_BURSTS if options.fast else BURSTS
    print(f"{REQUESTS} requests each, over {CONNECTIONS} connections")
    print(f"{'server':12} {'ok':>6} {'uncertain':>9} {'failed':>6} {'seconds':>7}", flush=True)
    failed = 0
    for name in options.names:
        with tempfile.TemporaryDirectory(prefix="servers-") as folder:
            folder, start = Path(folder), time.monotonic()
            try:
                load, problems = await run(name, options.proxy, folder, bursts)
                good, uncertain = load.count("ok"), load.count("uncertain")
            except OSError as error:
                good, uncertain, problems = 0, 0, [str(error)]
            seconds = time.monotonic() - start
            row = f"{name:12} {good:6} {uncertain:9} {len(problems):6} {seconds:7.1f}"
            print(row, flush=True)
            for problem in problems[:5]:
                print(f"{'':12} {problem}")
            if problems:
                failed += 1
                for log in ("server.log", "proxy.log"):
                    if (folder / log).exists():
                        lines = (folder / log).read_text(errors="replace").splitlines()[-5:]
                        print(*(f"{'':12} {log}: {line[:300]}" for line in lines), sep="\n")
    print(f"{len(options.names) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
