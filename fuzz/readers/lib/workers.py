"""Processes that host readers. `python/worker.py` describes their protocol."""

import os
import select
import signal
import struct
import subprocess
import time

from request import fields

# What a reader may take of a batch; then it skips the rest.
BUDGET_MS = 40
# A reader that has not responded by then hangs.
TIMEOUT_S = 10


class Ended(Exception):
    """The process has ended, or is killed because it hangs."""


class Worker:
    """Restarts its process when a reader ends or stops it."""

    def __init__(self, name, kind, registry, command, env=None, cwd=None):
        self.name, self.kind, self.registry = f"{name}-{kind}", kind, registry
        self.command, self.env, self.cwd = command, env, cwd
        self.batch = b""
        self.readers, self.failed = [], {}
        self.process = None
        self.closed = False

    def start(self):
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **(self.env or {})},
            cwd=self.cwd,
            start_new_session=True,
        )
        self.buffer = bytearray()
        self.deadline = time.monotonic() + 120
        started = [self._field() for _ in range(2 * self._number())]
        pairs = list(zip(started[::2], started[1::2]))
        self.readers = [name.decode() for name, error in pairs if not error]
        self.failed = {
            name.decode(): error.decode(errors="replace") for name, error in pairs if error
        }

    def close(self):
        """Ends the process for good, also while another thread reads."""
        self.closed = True
        self.stop()

    def stop(self):
        if self.process:
            try:
                self.exit_code = self.process.wait(0.1)
            except subprocess.TimeoutExpired:
                self.exit_code = None
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None

    def set_batch(self, batch):
        """Stores pairs of a content type and a body for the calls of `read` that follow."""
        pairs = [fields(pair) for pair in batch]
        self.batch = b"B" + struct.pack(">I", len(pairs)) + b"".join(pairs)
        self.size = len(pairs)
        self._send(self.batch)

    def read(self, reader, begin=0, budget_ms=BUDGET_MS):
        """Returns the reader's outcome for each body of the batch.

        Raises `Ended` after a restart if the process ended or hung.
        """
        message = b"R" + fields([reader.encode()]) + struct.pack(">II", begin, budget_ms)
        self.deadline = time.monotonic() + TIMEOUT_S + budget_ms / 1000
        try:
            self._send(message)
            return [self._field() for _ in range(self.size)]
        except (Ended, OSError) as error:
            hung = time.monotonic() >= self.deadline
            self.stop()
            if self.closed:
                raise Ended("is closed") from error
            code = self.exit_code
            self.start()
            self._send(self.batch)
            raise Ended("hangs" if hung else f"ends its process with {code}") from error

    def _send(self, message):
        self.process.stdin.write(message)
        self.process.stdin.flush()

    def _take(self, length):
        output = self.process.stdout.fileno()
        while len(self.buffer) < length:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([output], [], [], left)[0]:
                raise Ended
            data = os.read(output, 1 << 16)
            if not data:
                raise Ended
            self.buffer += data
        taken = bytes(self.buffer[:length])
        del self.buffer[:length]
        return taken

    def _number(self):
        return struct.unpack(">I", self._take(4))[0]

    def _field(self):
        return self._take(self._number())
