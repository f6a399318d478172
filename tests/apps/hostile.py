"""An application that counts what it has begun and what it has ended, for clients that misbehave.

GET  /numbers  JSON: pid, descriptors, memory, iterables made and closed, requests begun
*    /echo     the request's body, from an iterable with close()
GET  /stream   blocks without end, or as many as the query says, of 64 KiB
GET  /write    the same through write()
GET  /file     a file of several megabytes by wsgi.file_wrapper
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING

from apps import TEXT

from .counters import resident

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BLOCK = b"0123456789abcdef" * 4096
FILE_SIZE = 4 << 20
ENDLESS = 1 << 30

counts = {"begun": 0, "made": 0, "closed": 0}


class Counted:
    """An iterable of blocks whose close() is counted."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.blocks = blocks
        counts["made"] += 1

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.blocks)

    def close(self) -> None:
        counts["closed"] += 1


def large_file() -> IO[bytes]:
    """A file that is gone when it is closed; a leak of it shows as a descriptor."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
    file.truncate(FILE_SIZE)
    return file


def numbers() -> dict[str, int | None]:
    """What the process holds."""
    return {
        **counts,
        "pid": os.getpid(),
        "descriptors": len(os.listdir("/dev/fd")),
        "blocks": sys.getallocatedblocks(),
        "resident": resident(),
    }


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/numbers":
        body = json.dumps(numbers()).encode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [body]
    counts["begun"] += 1
    count = int(environ["QUERY_STRING"] or ENDLESS) if path in ("/stream", "/write") else 0
    if path == "/file":
        start_response("200 OK", TEXT)
        return environ["wsgi.file_wrapper"](large_file())  # type: ignore[no-any-return]
    write = start_response("200 OK", TEXT)
    if path == "/stream":
        return Counted(BLOCK for _ in range(count))
    if path == "/write":
        for _ in range(count):
            write(BLOCK)
        return Counted([])
    return Counted([environ["wsgi.input"].read()])
