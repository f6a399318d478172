"""The tests' side of a connection: an HTTP/1.1 client that reads exactly what was framed.

Rule: it never reads past a message, so that what a server sends too much, too little or too
early shows in the next read.  Every wait ends after `TIMEOUT` seconds with an error.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType

TIMEOUT = 20.0

GET = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
"""A request whose answer ends with the connection, as `fastwsgi.testing.raw` wants it."""

Address = tuple[str, int] | str


@dataclass
class Response:
    """One response as it came: status line, fields in order, body decoded from its framing."""

    version: str
    status: int
    reason: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """Every value of the field `name`, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The only value of the field `name`, or None; a repeated field is an error."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} is repeated: {values}"
        return values[0] if values else None

    @property
    def chunked(self) -> bool:
        """Whether the body came in chunks."""
        return (self.get("Transfer-Encoding") or "").lower() == "chunked"

    @property
    def closes(self) -> bool:
        """Whether the server announced that it closes the connection."""
        return (self.get("Connection") or "").lower() == "close"


def request(
    target: str = "/",
    *fields: str,
    method: str = "GET",
    version: str = "HTTP/1.1",
    body: bytes | None = None,
) -> bytes:
    """The bytes of a request; a body brings its Content-Length."""
    lines = [f"{method} {target} {version}", "Host: test", *fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """`pieces` in the chunked coding, last chunk included."""
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return framed + b"0\r\n" + trailers + b"\r\n"


class Client:
    """One connection to `address`, a (host, port) pair or the path of a unix socket."""

    def __init__(
        self, address: Address, *, receive_buffer: int | None = None, source: str = ""
    ) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(TIMEOUT)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(address)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; once closed, nothing more happens."""
        self._file.close()
        self.socket.close()

    def reset(self) -> None:
        """End the connection with a TCP reset, as a client that is killed does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self.socket.sendall(data)

    def finish_sending(self) -> None:
        """Half-close: send nothing more, and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def head(self) -> Response:
        """Read one response head and no byte more."""
        version, _, rest = self._line().partition(" ")
        status, _, reason = rest.partition(" ")
        response = Response(version, int(status), reason)
        while line := self._line():
            name, _, value = line.partition(":")
            assert value.startswith(" ") or not value, f"odd field line {line!r}"
            response.fields.append((name, value[1:]))
        return response

    def chunk(self) -> bytes:
        """Read one chunk; b"" for the last one, whose empty trailer section is read too."""
        size = int(self._line(), 16)
        data = self.exactly(size)
        end = self._line()
        assert end == "", f"chunk of {size} bytes not followed by CRLF but {end!r}"
        return data

    def chunks(self) -> Iterator[bytes]:
        """Read the chunks of a body, without the last one."""
        while data := self.chunk():
            yield data

    def exactly(self, size: int) -> bytes:
        """Read `size` bytes; fewer are an error."""
        data = self._file.read(size)
        assert len(data) == size, f"connection ended after {len(data)} of {size} bytes"
        return data

    def rest(self) -> bytes:
        """Read to the end of the connection."""
        return self._file.read()

    def response(self, method: str = "GET") -> Response:
        """Read one whole response to a request made with `method`."""
        response = self.head()
        if method == "HEAD" or response.status in (204, 304) or response.status < 200:
            return response
        if response.chunked:
            assert response.get("Content-Length") is None
            response.body = b"".join(self.chunks())
        elif (length := response.get("Content-Length")) is not None:
            response.body = self.exactly(int(length))
        else:
            response.body = self.rest()
        return response

    def fetch(self, target: str = "/", *fields: str, **options: object) -> Response:
        """Send one request (the arguments of `request`) and read its response."""
        self.send(request(target, *fields, **options))  # type: ignore[arg-type]
        return self.response(str(options.get("method", "GET")))

    def ended(self) -> bool:
        """Wait for the server to close; False when it sends something instead."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def _line(self) -> str:
        line = self._file.readline(65536)
        assert line.endswith(b"\r\n"), f"line cut short or ended by a bare LF: {line!r}"
        return line[:-2].decode("latin-1")


def fetch(address: Address, target: str = "/", *fields: str, **options: object) -> Response:
    """One request on a connection of its own."""
    with Client(address) as client:
        return client.fetch(target, *fields, **options)
