"""The application behind every server under test: it tells what it saw and behaves as asked.

Rule: pure standard library, no state between requests but a counter, and every fact goes to the
side channel before the response does, so a response on the wire proves that it was heard.

    /wsgi/<name>    the behaviour `name` of probe_wsgi.py
    anything else   reads its input and answers 200 with its PATH_INFO as body (to HEAD without)
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import threading

_LOCK = threading.Lock()
_COUNTER = itertools.count()
_LINK: dict[int, socket.socket] = {}
BODY_LIMIT = 1 << 16


def tell(event: str, key: str, **facts: object) -> None:
    """Send one message over the side channel and wait until it was taken."""
    path = os.environ.get("FASTWSGI_PROBE")
    if not path:
        return
    message = json.dumps({"event": event, "id": key, "pid": os.getpid(), **facts})
    with _LOCK:
        link = _LINK.get(os.getpid())
        if link is None:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            link.connect(path)
            _LINK[os.getpid()] = link
        link.sendall(message.encode() + b"\n")
        link.recv(1)


def plain(value: object) -> object:
    """An environ value as JSON can carry it."""
    if value is None or type(value) in (str, bool, int):
        return value
    if type(value) is tuple:
        return list(value)
    return f"<{type(value).__name__}>"


def enter(environ: dict) -> str:
    """Report a request; returns its key."""
    key = f"{os.getpid()}-{next(_COUNTER)}"
    shown = {str(name): plain(value) for name, value in environ.items()}
    tell("enter", key, environ=shown)
    return key


def read_all(environ: dict) -> bytes:
    """The whole input, as a careful application reads it."""
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    if length:
        return stream.read(int(length))
    if environ.get("wsgi.input_terminated") or "HTTP_TRANSFER_ENCODING" in environ:
        return stream.read()
    return b""


class Closing:
    """An iterable that reports its close()."""

    def __init__(self, key: str, blocks: object) -> None:
        self.key = key
        self.blocks = blocks

    def __iter__(self):
        return iter(self.blocks)

    def close(self) -> None:
        tell("close", self.key)


def app(environ, start_response):
    """The probe as a function."""
    key = enter(environ)
    path = environ.get("PATH_INFO", "")
    if path.startswith("/wsgi/"):
        from . import probe_wsgi

        behaviour = probe_wsgi.BEHAVIOURS.get(path[6:])
        if behaviour is not None:
            return behaviour(key, environ, start_response)
    body = read_all(environ)
    tell("body", key, body=body[:BODY_LIMIT].decode("latin-1"), length=len(body))
    shown = path.encode("latin-1", "replace") + b"\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(shown)))])
    return Closing(key, [] if environ["REQUEST_METHOD"] == "HEAD" else [shown])


class ClassApp:
    """The probe as a class: its instance is the iterable."""

    def __init__(self, environ, start_response) -> None:
        self.result = app(environ, start_response)

    def __iter__(self):
        return iter(self.result)

    def close(self) -> None:
        self.result.close()


class Instance:
    """The probe as an object with __call__."""

    def __call__(self, environ, start_response):
        return app(environ, start_response)


instance = Instance()
