"""An application that takes its socket over, and how a client asks for that.

Rule: the other protocol is an echo in capitals, which begins with `READY`.  So a client knows that
it speaks with the application and not with the server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from apps import TEXT
from apps.client import Client, request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

KEYS = ("gunicorn.socket", "fastwsgi.socket")
UPGRADE = ("Connection: keep-alive, Upgrade", "Upgrade: echo/1")
ASKS = request("/", *UPGRADE)
READY = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo/1\r\nConnection: upgrade\r\n\r\n"

Use = Callable[[Any], object]


def echo(sock: Any) -> None:
    """Speak the protocol until the client has shut its side."""
    sock.sendall(READY)
    while data := sock.recv(1000):
        sock.sendall(data.upper())


class Taking:
    """An application that uses the socket so, and then does what ``after`` does.

    ``results`` are what came of the uses, exceptions too, ``kept`` the sockets if it is to ``keep``
    them, and ``over`` is set when one has been used. /plain, and a request without a socket, are
    answered with its repr.
    """

    def __init__(
        self, use: Use = echo, after: Callable[..., Any] | None = None, *, keep: bool = False,
    ) -> None:
        self.use = use
        self.after = after
        self.keep = keep
        self.results: list[Any] = []
        self.kept: list[Any] = []
        self.over = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        sock = environ.get(KEYS[0])
        if sock is None or environ["PATH_INFO"] == "/plain":
            start_response("200 OK", TEXT)
            return [repr(sock).encode()]
        if self.keep:
            self.kept.append(sock)
        try:
            self.results.append(self.use(sock))
        except Exception as error:
            self.results.append(error.with_traceback(None))  # whose frames hold the socket
        self.over.set()
        if self.after is None:
            return []
        return self.after(environ, start_response)


def answers(client: Client, word: bytes = b"word") -> bool:
    """Whether the application speaks with the client."""
    client.send(word)
    return client.exactly(len(word)) == word.upper()


# ---- what an application may do afterwards ----


def whole(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
    start_response("200 OK", [*TEXT, ("Content-Length", "4")])
    return [b"page"]


def written(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
    start_response("200 OK", TEXT)(b"page")
    return ()


def nothing(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
    return None


def unfit(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
    return 3.5


def ended(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
    raise StopIteration


def switching(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
    start_response("101 Switching Protocols", [("Upgrade", "echo/1"), ("Connection", "upgrade")])
    return []
