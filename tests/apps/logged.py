"""What the tests of the access log share: an application, its log as lines, and a log to wait for.

GET /fail        raises
GET /late        fails when the head is on its way
GET /mute        returns without start_response
GET /stream      three blocks without a length
GET /empty       204
anything else    `hello`, five bytes
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsgi.testing import raw, serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise RuntimeError("on purpose")
    if path == "/mute":
        return [b"unheard"]
    status = "204 No Content" if path == "/empty" else "200 OK"
    start_response(status, [("X-Tag", "first"), ("x-tag", 'se"cond'), ("X-Other", "\xe9")])
    if path == "/late":
        return late()
    if path == "/stream":
        return iter([b"one", b"two", b"three"])
    return [] if path == "/empty" else [b"hello"]


def late() -> Iterator[bytes]:
    yield b"begun"
    raise RuntimeError("on purpose")


def lines_of(path: Path) -> list[str]:
    """The lines of a log; every one of them has its end, and is ASCII."""
    text = path.read_bytes().decode("ascii")
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


def log_of(place: Path, pattern: str, *requests: bytes, **settings: Any) -> list[str]:
    """What the log says when each of the requests has come on a connection of its own."""
    path = place / "access.log"
    with serve(app, accesslog=str(path), access_log_format=pattern, **settings) as server:
        for request in requests:
            raw(server.address, request)
    return lines_of(path)


class Fifo:
    """A named pipe in the place of a log file: what is written there can be waited for."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            os.mkfifo(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.text = ""

    def shows(self, text: str, timeout: float = 30.0) -> bool:
        """Whether the text appears before the time is up."""
        end = time.monotonic() + timeout
        while text not in self.text and (left := end - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                block = os.read(self.fd, 65536)
                if not block:
                    break
                self.text += block.decode("ascii")
        return text in self.text

    def close(self) -> None:
        """Close our end of it: it is broken for who writes."""
        os.close(self.fd)
