"""The WSGI applications that the scenarios run: each does one thing, and nothing else costs
anything.

They are written to PEP 3333 and know no server, so every peer runs the same lines. `probe` gathers
the questions that verify.py asks before a server is measured (does it stream, does it close, does
it keep requests in order).
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import FileWrapper

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

HELLO = b"Hello, World!"
BLOCK = b"s" * 1024
BLOCKS = 10
PAGE = 100_000
DRIP = 0.200  #: seconds between the blocks of a slow stream
MEGABYTE = b"m" * (1 << 20)
_MEGABYTE_FILE = os.path.join(tempfile.gettempdir(), f"fastwsgi-bench-{os.getuid()}.bin")

_HELLO_HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(HELLO)))]


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """13 bytes of text."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [HELLO]


def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The request's body."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response(
        "200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))]
    )
    return [body]


def _blocks() -> Iterator[bytes]:
    for _ in range(BLOCKS):
        yield BLOCK


def stream(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Ten blocks of 1 KiB from a generator, length unknown to the server."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return _blocks()


def big(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """One `bytes` of 1 MiB."""
    start_response(
        "200 OK",
        [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(MEGABYTE)))],
    )
    return [MEGABYTE]


def file(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """A file of 1 MiB through wsgi.file_wrapper.

    A server that has none gets wsgiref's, as from a framework.
    """
    try:
        opened = open(_MEGABYTE_FILE, "rb")  # noqa: SIM115 (the server closes it)
    except FileNotFoundError:
        fresh = f"{_MEGABYTE_FILE}.{os.getpid()}"
        with open(fresh, "wb") as out:
            out.write(MEGABYTE)
        os.replace(fresh, _MEGABYTE_FILE)
        opened = open(_MEGABYTE_FILE, "rb")  # noqa: SIM115 (the server closes it)
    start_response(
        "200 OK",
        [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(MEGABYTE)))],
    )
    wrapped: Iterable[bytes] = environ.get("wsgi.file_wrapper", FileWrapper)(opened, 65536)
    return wrapped


def which(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The process that answers.

    /call/PID/UNTIL/KIND/PORT stays in the process PID: it tells PORT so by UDP, and sleeps or
    computes (KIND) until UNTIL of the monotonic clock. Another process answers at once.
    """
    parts = environ["PATH_INFO"].split("/")
    if parts[1] == "call" and int(parts[2]) == os.getpid():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as messenger:
            messenger.sendto(b"inside", ("127.0.0.1", int(parts[5])))
        until = float(parts[3])
        if parts[4] == "sleep":
            time.sleep(max(0.0, until - time.monotonic()))
        while time.monotonic() < until:
            pass
    body = b"%d" % os.getpid()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def sleep(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Hello after 10 ms of waiting, as for a database."""
    time.sleep(0.010)
    return hello(environ, start_response)


def mix(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Hello at once, or after 50 ms when the path is /slow: the client decides the share."""
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.050)
    return hello(environ, start_response)


def fifty(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """50 MB in blocks of 64 KiB for /generated, 100 KB made anew for /page, else hello."""
    path = environ["PATH_INFO"]
    if path not in ("/generated", "/page"):
        return hello(environ, start_response)
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [b"p" * PAGE] if path == "/page" else (b"g" * 65536 for _ in range(800))


def _drip() -> Iterator[bytes]:
    """Three blocks with 200 ms between them."""
    for number in range(3):
        if number:
            time.sleep(DRIP)
        yield b"drip"


class _Closing:
    """An iterable that counts how often its close() was called."""

    closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield HELLO

    def close(self) -> None:
        _Closing.closed += 1


def probe(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """/drip streams slowly, /closing returns an iterable with close(), /closed counts, other paths
    return themselves.
    """
    path = environ["PATH_INFO"]
    if path == "/drip":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return _drip()
    if path == "/closing":
        start_response("200 OK", list(_HELLO_HEADERS))
        return _Closing()
    body = str(_Closing.closed).encode() if path == "/closed" else path.encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
