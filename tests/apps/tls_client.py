"""A client of TLS for tests: sockets, responses, and records cut as a test wants them.

Also the applications that they ask.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from typing import Any

PATIENCE = 20.0
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello " + environ["PATH_INFO"].encode()]


def listing(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    pairs = ((key, value) for key, value in environ.items() if isinstance(value, str))
    return ["".join(f"{key}={value!r}\n" for key, value in sorted(pairs)).encode("latin-1")]


def client_context(authority: str, **changes: Any) -> ssl.SSLContext:
    """A client's context that trusts one authority; `changes` are attributes of it."""
    context = ssl.create_default_context(cafile=authority)
    for name, value in changes.items():
        setattr(context, name, value)
    return context


def connect(
    address: Any, context: ssl.SSLContext, name: str = "localhost",
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """A connection whose handshake is done."""
    sock = socket.create_connection(address, PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return context.wrap_socket(
            sock, server_hostname=name, suppress_ragged_eofs=False, session=session)
    except BaseException:
        sock.close()
        raise


def answer(sock: ssl.SSLSocket, request: bytes, method: str = "GET") -> tuple[int, bytes]:
    """Status and body of the response to a request."""
    sock.sendall(request)
    response = http.client.HTTPResponse(sock, method=method)
    response.begin()
    return response.status, response.read()


def rest(sock: ssl.SSLSocket) -> bytes:
    """Everything up to the goodbye; without one SSLEOFError is raised."""
    found = []
    while block := sock.recv(65536):
        found.append(block)
    return b"".join(found)


def record_types(data: bytes) -> list[int]:
    """The types of the records in these bytes."""
    kinds, at = [], 0
    while at < len(data):
        kinds.append(data[at])
        at += 5 + int.from_bytes(data[at + 3 : at + 5], "big")
    return kinds


class ByHand:
    """A client that holds its records in its hands: `outgoing` takes what it would send."""

    def __init__(
        self, address: Any, context: ssl.SSLContext, name: str = "localhost",
    ) -> None:
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    def __enter__(self) -> ByHand:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def records(self) -> bytes:
        """What is to be sent."""
        return self.outgoing.read()

    def send(self, data: bytes, piece: int = 1 << 20) -> None:
        for at in range(0, len(data), piece):
            self.socket.sendall(data[at : at + piece])

    def receive(self) -> bool:
        """Receive once; False at the end."""
        data = self.socket.recv(65536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()
        return bool(data)

    def handshake(self, piece: int = 1 << 20) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.send(self.records(), piece)
                self.receive()
            else:
                self.send(self.records(), piece)
                return

    def read(self) -> Iterator[bytes]:
        """What comes, until the end."""
        while True:
            try:
                block = self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.receive()
                continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return
            if not block:
                return
            yield block

    def read_until(self, end: bytes) -> bytes:
        found = b""
        for block in self.read():
            found += block
            if found.endswith(end):
                return found
        raise AssertionError(found)
