"""An application of many habits that reports how much its process holds.

GET  /numbers   JSON: references, memory blocks, gc objects, descriptors and resident bytes
*    /list      a list of two blocks with the request's body
*    /blocks    the same from a generator
*    /write     the same through write()
*    /pause     the same after a call of some milliseconds
GET  /large     a stream larger than sockets and the server's queue take
GET  /open      how many of those streams are open
GET  /file      a real file by wsgi.file_wrapper, from its tenth byte
GET  /virtual   a file-like object by wsgi.file_wrapper
GET  /none      204
GET  /headers   twenty header fields
GET  /boom      an exception before the head
GET  /late      an exception after the head
GET  /short     less than its Content-Length
GET  /refused   a header field that must not be sent
"""

from __future__ import annotations

import ctypes
import gc
import io
import json
import os
import resource
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from apps import TEXT

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LARGE = [b"l" * 65536] * 12


class Large:
    """A stream; `opened` and `closed` count how many began and how many were closed."""

    opened: ClassVar[list[None]] = []  # whose append is one step, also among threads
    closed: ClassVar[list[None]] = []

    def __init__(self) -> None:
        self.opened.append(None)

    def __iter__(self) -> Iterator[bytes]:
        yield from LARGE

    def close(self) -> None:
        self.closed.append(None)

    @classmethod
    def count(cls) -> int:
        """How many are open."""
        return len(cls.opened) - len(cls.closed)


def keeps_freed_memory() -> bool:
    """Whether freed memory is kept on purpose (AddressSanitizer)."""
    return hasattr(ctypes.CDLL(None), "__asan_init")


def resident() -> int | None:
    """Bytes of memory resident; None where they tell nothing."""
    if keeps_freed_memory():
        return None
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except FileNotFoundError:  # not Linux: the peak, in bytes on macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def numbers() -> dict[str, int | None]:
    """What the process holds once all garbage is gone."""
    for _ in range(3):
        gc.collect()
    total = getattr(sys, "gettotalrefcount", None)
    return {
        "references": total() if total else None,
        "blocks": sys.getallocatedblocks(),
        "objects": len(gc.get_objects()),
        "descriptors": len(os.listdir("/dev/fd")),
        "resident": resident(),
    }


def blocks(environ: WSGIEnvironment) -> Iterator[bytes]:
    """Two blocks, the request's body the second, and perhaps an exception after the first."""
    yield b"body: "
    if environ["PATH_INFO"] == "/late":
        raise RuntimeError("after the head")
    yield environ["wsgi.input"].read()


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    match environ["PATH_INFO"]:
        case "/numbers":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(numbers()).encode()]
        case "/list":
            start_response("200 OK", list(TEXT))
            return list(blocks(environ))
        case "/pause":
            threading.Event().wait(0.003)
            start_response("200 OK", list(TEXT))
            return blocks(environ)
        case "/large":
            start_response("200 OK", list(TEXT))
            return Large()
        case "/open":
            start_response("200 OK", list(TEXT))
            return [str(Large.count()).encode()]
        case "/blocks" | "/late":
            start_response("200 OK", list(TEXT))
            return blocks(environ)
        case "/write":
            write = start_response("200 OK", list(TEXT))
            for block in blocks(environ):
                write(block)
            return []
        case "/file":
            start_response("200 OK", list(TEXT))
            file = open(__file__, "rb")  # noqa: SIM115 - the server closes it
            file.seek(10)
            return environ["wsgi.file_wrapper"](file)  # type: ignore[no-any-return]
        case "/virtual":
            start_response("200 OK", list(TEXT))
            return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 10_000), 1000)  # type: ignore[no-any-return]
        case "/none":
            start_response("204 No Content", [])
            return []
        case "/headers":
            start_response("200 OK", [(f"X-Field-{at}", "value" * at) for at in range(20)])
            return [b"headers"]
        case "/short":
            start_response("200 OK", [*TEXT, ("Content-Length", "100")])
            return [b"short"]
        case "/refused":
            start_response("200 OK", [*TEXT, ("X-Refused", "a\r\nb")])
            return [b"never sent"]
        case _:
            raise RuntimeError("before the head")
