"""What each framework's application has to offer, so that one test module drives them all.

    GET  /                      200 text/plain, `hello`
    GET  /greet/<name>          200 text/plain; charset=utf-8, `greeting(name)`
    POST /form                  200, urlencoded fields name and colour -> `form_summary`
    POST /upload                200, multipart field note and file field file -> `upload_summary`
    GET  /cookies/set           200, the fields of `COOKIES` as separate Set-Cookie headers
    GET  /cookies/show          200, `cookie_summary` of the request's cookies
    GET  /stream/<port>         200, streams `lockstep(port)`
    GET  /boom                  raises RuntimeError(BOOM): a 500, the framework's or the server's
    GET  anything else          404 with a body written by the application: `missing(path)`

The functions below are the answers; a framework's module only routes to them.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from typing import BinaryIO

HELLO = "hello from a framework"
BOOM = "the application broke"
COOKIES = {"flavour": "chocolate", "size": "large"}
BLOCKS = 5


def greeting(name: str) -> str:
    """The body of `/greet/<name>`."""
    return f"hello, {name}"


def form_summary(name: str, colour: str) -> str:
    """The body of `/form`."""
    return f"name={name};colour={colour}"


def upload_summary(filename: str, file: BinaryIO, note: str) -> str:
    """JSON with the uploaded file's name, its size in bytes and its SHA-256, and the note."""
    digest = hashlib.sha256()
    size = 0
    while piece := file.read(65536):
        digest.update(piece)
        size += len(piece)
    return json.dumps(
        {"filename": filename, "size": size, "sha256": digest.hexdigest(), "note": note}
    )


def cookie_summary(cookies: Mapping[str, str | None]) -> str:
    """The cookies that `/cookies/set` sets, as the request brought them back."""
    return ";".join(f"{name}={cookies.get(name)}" for name in COOKIES)


def missing(path: str) -> str:
    """The body of the application's own page for an unknown path."""
    return f"nothing at {path}"


def block(number: int) -> bytes:
    """The streamed block of that number."""
    return f"block {number} of {BLOCKS}\n".encode()


def lockstep(port: int) -> Iterator[bytes]:
    """Yield `BLOCKS` blocks; after each, wait until the test says on `port` that it has it.

    The test listens on 127.0.0.1:`port` and writes one byte per block that it has read from
    its HTTP connection.  A server that holds a block back until it has the next one never
    hears from the test, and the read here fails after its timeout.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=20) as side:
        for number in range(BLOCKS):
            yield block(number)
            if side.recv(1) != b".":
                raise ConnectionError("the test has gone")
