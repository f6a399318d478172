"""The address of the metrics: a few short HTTP exchanges, one after another, that never wait.

It lives in the master, beside everything else that the master waits for, so nothing here may block:
sockets do not, connections are few, and each has its time. A scraper that stops in the middle costs
one of them until its time is over. What is asked for is made from shared memory and from /proc,
without a word to a worker.

It is no server for the world: no TLS, no keep-alive, no bodies. It belongs on a loopback address,
or on a network of those who may read it.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Sequence

from fastwsgi.metrics.text import OPENMETRICS, PROMETHEUS, wants_openmetrics
from fastwsgi.system.sockets import Listener

MOST = 32
"""Connections at a time; one more takes the place of the oldest."""
LIFETIME = 10.0
"""Seconds that a connection may take."""
HEAD_MOST = 8192
"""Bytes of a request."""
PATH = "/metrics"
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
           431: "Request Header Fields Too Large", 503: "Service Unavailable"}

Probe = Callable[[str], "str | None"]
"""Says whether a path is a probe: None if it is none, what is wrong, or '' if all is well."""


class _Exchange:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.until = time.monotonic() + LIFETIME
        self.received = b""
        self.answer: memoryview | None = None


class Exporter:
    """Answers scrapers on some listeners, whenever ``serve`` is called.

    ``fileno`` is readable when there is something to do, and it is to be called at ``deadlines`` as
    well. ``text`` makes the metrics.
    """

    def __init__(
        self, listeners: Sequence[Listener], text: Callable[..., bytes],
        probe: Probe = lambda _path: None,
    ) -> None:
        self._listeners = listeners
        self._text = text
        self._probe = probe
        self._selector = selectors.DefaultSelector()
        self._open: dict[socket.socket, _Exchange] = {}
        for listener in listeners:
            self._selector.register(listener.socket, selectors.EVENT_READ)

    def fileno(self) -> int:
        """Return a descriptor to wait on."""
        return self._selector.fileno()

    def deadlines(self) -> list[float]:
        """Return the times at which a connection is to be closed."""
        return [exchange.until for exchange in self._open.values()]

    def serve(self) -> None:
        """Do what can be done now."""
        for key, _ in self._selector.select(0):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            exchange = self._open.get(sock)
            if exchange is None:
                self._accept(sock)
            else:
                try:
                    self._go_on(exchange)
                except OSError:
                    self._end(exchange)
        now = time.monotonic()
        for exchange in [one for one in self._open.values() if one.until <= now]:
            self._end(exchange)

    def close(self) -> None:
        """Close the connections; the listeners stay.

        Nothing is taken out of the selector first: a child that closes it shares it with its
        master.
        """
        self._selector.close()
        for sock in self._open:
            sock.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        if len(self._open) == MOST:
            self._end(next(iter(self._open.values())))
        self._open[sock] = _Exchange(sock)
        self._selector.register(sock, selectors.EVENT_READ)

    def _end(self, exchange: _Exchange) -> None:
        del self._open[exchange.socket]
        self._selector.unregister(exchange.socket)
        exchange.socket.close()

    def _go_on(self, exchange: _Exchange) -> None:
        if exchange.answer is None:
            if not self._receive(exchange):
                return
            exchange.answer = memoryview(self._answer(exchange.received))
            self._selector.modify(exchange.socket, selectors.EVENT_WRITE)
        with contextlib.suppress(BlockingIOError):
            while exchange.answer:
                exchange.answer = exchange.answer[exchange.socket.send(exchange.answer) :]
            exchange.socket.shutdown(socket.SHUT_WR)
            self._end(exchange)

    def _receive(self, exchange: _Exchange) -> bool:
        """Whether the head of the request is here, or it is too long."""
        try:
            block = exchange.socket.recv(HEAD_MOST)
        except BlockingIOError:
            return False
        if not block:
            raise ConnectionResetError
        exchange.received += block
        return (b"\r\n\r\n" in exchange.received or b"\n\n" in exchange.received
                or len(exchange.received) > HEAD_MOST)

    def _answer(self, head: bytes) -> bytes:
        if len(head) > HEAD_MOST:
            return _response(431, b"too long\n")
        line, *fields = head.decode("latin-1").replace("\r\n", "\n").split("\n")
        method, _, rest = line.partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not target.startswith("/"):
            return _response(400, b"this is no request\n")
        path = target.partition("?")[0]
        if method not in ("GET", "HEAD"):
            return _response(405, b"only GET and HEAD\n", more="Allow: GET, HEAD\r\n")
        trouble = self._probe(path)
        if trouble is not None:
            status, body, kind = (503 if trouble else 200), f"{trouble or 'ok'}\n".encode(), ""
        elif path == PATH:
            accept = ",".join(field.partition(":")[2] for field in fields
                              if field.lower().startswith("accept:"))
            openmetrics = wants_openmetrics(accept)
            status, body = 200, self._text(openmetrics=openmetrics)
            kind = OPENMETRICS if openmetrics else PROMETHEUS
        else:
            status, body, kind = 404, b"the metrics are at /metrics\n", ""
        return _response(status, body, kind, head=method == "HEAD")


def _response(
    status: int, body: bytes, kind: str = "", *, head: bool = False, more: str = "",
) -> bytes:
    return (f"HTTP/1.1 {status} {REASONS[status]}\r\n"
            f"Content-Type: {kind or 'text/plain; charset=utf-8'}\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n"
            f"X-Content-Type-Options: nosniff\r\n{more}Connection: close\r\n\r\n"
            ).encode("latin-1") + (b"" if head else body)
