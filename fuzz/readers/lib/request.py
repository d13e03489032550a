"""A request, what the layer forwards of it, and the process that tells."""

import struct
import subprocess
import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    content_type: bytes
    body: bytes


@dataclass(frozen=True)
class Forwarded:
    """The rejection's code or `ok`, the ID that replaced the model, and what the readers get."""

    code: str
    id: bytes
    content_type: bytes
    body: bytes


def fields(values):
    return b"".join(struct.pack(">I", len(value)) + value for value in values)


class Layer:
    """The binary `forward`; any thread may ask it."""

    def __init__(self, binary):
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            [binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def forward(self, requests):
        """Returns what the layer makes of each request."""
        message = [struct.pack(">I", len(requests))]
        for request in requests:
            message.append(
                fields(
                    [
                        request.method.encode(),
                        request.target.encode(),
                        request.content_type,
                        request.body,
                    ]
                )
            )
        with self.lock:
            self.process.stdin.write(b"".join(message))
            self.process.stdin.flush()
            return [self._forwarded() for _ in requests]

    def close(self):
        """Ends the process, which ends with its input."""
        self.process.stdin.close()
        self.process.wait()

    def _forwarded(self):
        code, id, content_type, body = (self._field() for _ in range(4))
        # No server has blanks around the value of a header.
        return Forwarded(code.decode(), id, content_type.strip(b" \t"), body)

    def _field(self):
        length = self.process.stdout.read(4)
        if len(length) < 4:
            raise SystemExit("the layer's process has ended")
        return self.process.stdout.read(struct.unpack(">I", length)[0])
