"""What the tests of the access log share: an application, and its log as lines.

GET /fail        raises
GET /late        fails when the head is on its way
GET /mute        returns without start_response
GET /stream      three blocks without a length
GET /empty       204
anything else    `hello`, five bytes
"""

from __future__ import annotations

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
