"""A small blocking HTTP/1.1 client that shows framing instead of hiding it: for checks, callgrind,
strace and idle.

It believes nothing: a response is read to the end that its own head announces, and what does not
fit is a Malformed.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field


class Malformed(Exception):
    """The server's bytes are not the response they should be."""


@dataclass
class Response:
    """One response as it was on the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    framing: str  #: "length", "chunked" or "close"
    size: int = 0  #: bytes on the wire, head and framing included
    named: dict[str, str] = field(default_factory=dict)

    @property
    def closes(self) -> bool:
        """Whether the connection ends after it."""
        return self.framing == "close" or self.named.get("connection", "").lower() == "close"


class Client:
    """One connection, in TLS with a context; an address that is a path is that of a unix socket."""

    def __init__(
        self,
        address: tuple[str, int] | str,
        timeout: float = 10.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout=timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = bytearray()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def more(self) -> bool:
        """Receive once into the buffer; False at the end of input. Raises Malformed."""
        try:
            data = self.socket.recv(1 << 20)
        except TimeoutError:
            raise Malformed("no (further) response in time") from None
        except ConnectionError as error:
            raise Malformed(f"connection broken: {error.strerror}") from None
        self.buffer += data
        return bool(data)

    def _until(self, mark: bytes) -> bytes:
        while (at := self.buffer.find(mark)) < 0:
            if not self.more():
                raise Malformed(
                    "connection closed before a response" if not self.buffer else "response cut"
                )
        return self._take(at + len(mark))

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self.more():
                raise Malformed("response cut")
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def read(self, *, head_only: bool = False) -> Response:
        """Read one response; `head_only` for the answer to HEAD. Raises Malformed."""
        head = self._until(b"\r\n\r\n")
        lines = head[:-4].decode("latin-1").split("\r\n")
        words = lines[0].split(" ", 2)
        if not words[0].startswith("HTTP/1.") or len(words) < 2 or not words[1].isdigit():
            raise Malformed(f"not a status line: {lines[0][:60]!r}")
        headers = [
            (name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])
        ]
        response = Response(int(words[1]), headers, b"", "length")
        response.named = {name.lower(): value for name, value in headers}
        size = len(head)
        if head_only or response.status in (204, 304):
            pass
        elif "content-length" in response.named:
            response.body = self._take(int(response.named["content-length"]))
        elif response.named.get("transfer-encoding", "").lower() == "chunked":
            response.framing = "chunked"
            response.body, extra = self._chunks()
            size += extra
        else:
            response.framing = "close"
            while self.more():
                pass
            response.body = self._take(len(self.buffer))
        response.size = size + len(response.body)
        return response

    def _chunks(self) -> tuple[bytes, int]:
        parts, framing = [], 0
        while True:
            line = self._until(b"\r\n")
            size = int(line.split(b";")[0], 16)
            parts.append(self._take(size))
            if self._take(2) != b"\r\n":
                raise Malformed("chunk without its end")
            framing += len(line) + 2
            if not size:
                return b"".join(parts), framing

    def skip(self, size: int) -> None:
        """Receive exactly `size` bytes without looking at them (a response of known length)."""
        size -= len(self.buffer)
        del self.buffer[:]
        while size > 0:
            data = self.socket.recv(min(size, 1 << 20))
            if not data:
                raise Malformed("connection closed")
            size -= len(data)

    def ended(self) -> bool:
        """Whether the server closes now, with nothing more to say."""
        return not self.buffer and not self.more()


def keeps(address: tuple[str, int] | str) -> bool:
    """Whether the server answers a second request on a connection; some close it unannounced."""
    with Client(address) as client:
        try:
            for _ in range(2):
                client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                client.read()
        except (Malformed, OSError):
            return False
    return True
