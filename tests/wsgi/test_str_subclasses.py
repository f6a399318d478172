"""Status and headers of a subclass of str, as frameworks have them, are sent as they read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastwsgi.testing import raw, serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Marked(str):
    """A str that says it is something else when asked politely."""

    __slots__ = ()

    def lower(self) -> str:
        raise AssertionError("not to be called by a server")


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response(
        Marked("200 Fine"),
        [
            (Marked("X-Name"), Marked("value")),
            (Marked("Content-Length"), Marked("2")),
            (Marked("Keep-Alive"), Marked("timeout=5")),
            (Marked("Connection"), Marked("close")),
        ],
    )
    return [b"hi"]


def test_status_and_headers_of_a_subclass_of_str_are_sent() -> None:
    with serve(app) as server:
        answer = raw(server.address, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 Fine\r\nX-Name: value\r\n")
    assert b"\r\nContent-Length: 2\r\n" in answer
    assert b"\r\nConnection: close\r\n" in answer
    assert b"Keep-Alive" not in answer
    assert answer.endswith(b"\r\n\r\nhi")
