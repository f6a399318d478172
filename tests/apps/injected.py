"""An application whose every response can be computed by its client: the path says what it sends.

Rule: it keeps nothing between requests, and what it says of a request's body proves every byte.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BLOCK = 10007
SWAPPED = 50_000
SECRET = b"!"
TEXT = ("Content-Type", "text/plain")


def pattern(size: int) -> bytes:
    """`size` bytes in which a lost, doubled or displaced piece shows."""
    words = b"".join(b"%08d" % number for number in range(size // 8 + 1))
    return words[:size]


def proof(method: str, path: str, body: bytes) -> bytes:
    """What /echo answers."""
    return f"{method} {path} {len(body)} {hashlib.sha256(body).hexdigest()}".encode()


def blocks(data: bytes) -> Iterator[bytes]:
    """`data` piece by piece."""
    for start in range(0, len(data), BLOCK):
        yield data[start : start + BLOCK]


def swapped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """A file in chunks, behind a first one; once it is closed its descriptor is a secret's."""
    number = os.memfd_create("open")
    os.write(number, pattern(SWAPPED))
    os.lseek(number, 0, os.SEEK_SET)
    raw = io.FileIO(number)
    file = tempfile._TemporaryFileWrapper(raw, "open", delete=False)

    def close() -> None:
        raw.close()
        other = os.memfd_create("other")
        os.write(other, SECRET * SWAPPED)
        if other != number:
            os.dup2(other, number)

    file.close = close  # type: ignore[method-assign]
    start_response("200 OK", [TEXT])(b"first")
    wrapper: Iterable[bytes] = environ["wsgi.file_wrapper"](file, BLOCK)
    return wrapper


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """/echo, /swapped, and /list, /blocks, /write or /file with a number of bytes."""
    path = environ["PATH_INFO"]
    kind, _, size = path[1:].partition("/")
    if kind == "swapped":
        return swapped(environ, start_response)
    if kind == "echo":
        start_response("200 OK", [TEXT])
        return [proof(environ["REQUEST_METHOD"], path, environ["wsgi.input"].read())]
    data = pattern(int(size))
    if kind == "file":
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the wrapper closes it
        file.write(data)
        file.seek(0)
        start_response("200 OK", [TEXT])
        wrapper: Iterable[bytes] = environ["wsgi.file_wrapper"](file, BLOCK)
        return wrapper
    write = start_response("200 OK", [TEXT])
    if kind == "blocks":
        return blocks(data)
    if kind == "write":
        for block in blocks(data):
            write(block)
        return []
    return [data]
