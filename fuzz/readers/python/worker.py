"""Serves readers to the script: the common part of every Python worker.

A message on stdin is a letter and fields, each with its length (32 bits, big endian) before it:
`B` stores a batch (a number of bodies, and for each its content type and the body), `R` names a
reader, the index to begin at and the milliseconds that it may take. The response to `R` is one
field for each body: `V` and the value, `A` (absent), `E` and the error, or `S` (skipped, the time
was up). The first output is the readers: a number, and for each its name and the error with which
it failed to start.
"""

import os
import struct
import sys
import time

ABSENT = object()


def model_of(data):
    """Returns what a program reads as `data["model"]`."""
    try:
        return data.get("model", ABSENT)
    except AttributeError:
        raise TypeError(f"not a mapping: {type(data).__name__}") from None


def outcome(read, content_type, body):
    try:
        value = read(content_type, body)
        if value is ABSENT or value is None:
            return b"A"
        if isinstance(value, (bytes, bytearray)):
            return b"V" + bytes(value)
        if not isinstance(value, str):
            value = repr(value)
        return b"V" + value.encode("utf-8", "surrogatepass")
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # Rust's panics and SystemExit are errors, too.
        return b"E" + f"{type(error).__name__}: {error}"[:200].encode("utf-8", "replace")


def serve(makers):
    """Starts the readers, a function by name, and serves them until stdin ends."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.setrecursionlimit(5000)

    def write(fields):
        for field in fields:
            output.write(struct.pack(">I", len(field)))
            output.write(field)
        output.flush()

    def number():
        return struct.unpack(">I", sys.stdin.buffer.read(4))[0]

    def field():
        return sys.stdin.buffer.read(number())

    readers, started = {}, []
    for name, make in makers.items():
        error = b""
        try:
            readers[name] = make()
        except BaseException as failure:
            error = f"{type(failure).__name__}: {failure}".encode()
        started += [name.encode(), error]
    output.write(struct.pack(">I", len(makers)))
    write(started)

    batch = []
    while kind := sys.stdin.buffer.read(1):
        if kind == b"B":
            batch = [(field().decode("latin-1"), field()) for _ in range(number())]
            continue
        read, begin, milliseconds = readers[field().decode()], number(), number()
        end = time.monotonic() + milliseconds / 1000
        outcomes = [b"S"] * len(batch)
        for offset in range(len(batch)):
            at = (begin + offset) % len(batch)
            outcomes[at] = outcome(read, *batch[at])
            if time.monotonic() > end:
                break
        write(outcomes)
