"""The client's side: responses parsed strictly as they arrive, on a connection that cannot hang.

Rule: whatever a server does ends in a fact - a response, an end of file, a reset, or silence for
`patience` seconds.  What is no well-formed HTTP response (RFC 9112) ends in `Garbage`, never in
a guess; so a body after HEAD shows up as garbage in front of the next response.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .secure import Secure, SecureSocket

Address = tuple[str, int] | str

_STATUS_LINE = re.compile(rb"HTTP/(\d\.\d) (\d{3}) ([\t \x21-\x7e\x80-\xff]*)\Z")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t \x21-\x7e\x80-\xff]*?)[ \t]*\Z")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t \x21-\x7e\x80-\xff]*)?\Z")
_SIOCOUTQ = 0x5411


class Garbage(Exception):
    """The server sent something that is not a response."""


@dataclass
class Response:
    """One response as it came."""

    version: str
    status: int
    reason: bytes
    pairs: list[tuple[str, str]]
    coding: str  # chunked, length, close, none
    body: bytes = b""
    complete: bool = False
    fields: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.pairs:
            known = self.fields.get(name)
            self.fields[name] = value if known is None else f"{known}, {value}"

    @property
    def closes(self) -> bool:
        """Whether it announces the end of the connection (RFC 9112 section 9.3)."""
        options = [o.strip() for o in self.fields.get("connection", "").lower().split(",")]
        if "close" in options or self.coding == "close":
            return True
        return self.version == "1.0" and "keep-alive" not in options

    def __str__(self) -> str:
        shown = f"{self.status}"
        if not self.complete:
            shown += " (cut)"
        return shown + (" close" if self.closes else "")


class Parser:
    """Bytes in, responses out; `methods` of the requests decide about bodies, GET when used up."""

    def __init__(self, methods: Sequence[str]) -> None:
        self.methods = list(methods)
        self.final: list[Response] = []
        self.interim: list[Response] = []
        self.buffer = bytearray()
        self.current: Response | None = None

    @property
    def count(self) -> int:
        """How many responses, interim ones included, have come to their end."""
        return len(self.interim) + sum(response.complete for response in self.final)

    def feed(self, data: bytes) -> None:
        """Take in bytes; raises Garbage."""
        self.buffer += data
        while self._step():
            pass

    def eof(self) -> None:
        """The connection has ended; raises Garbage when that leaves an unfinished head."""
        if self.current is not None:
            self.current.complete = self.current.coding == "close"
            self.current = None
        elif self.buffer:
            raise Garbage(f"ended inside a response head: {bytes(self.buffer[:80])!r}")

    def _step(self) -> bool:
        if self.current is None:
            return bool(self.buffer) and self._head()
        coding = self.current.coding
        if coding == "chunked":
            return self._chunk(self.current)
        if coding == "length":
            self._take(self.current, self._left)
            return not self._left and self._finish()
        self._take(self.current, len(self.buffer))
        return False

    def _take(self, response: Response, size: int) -> None:
        part = bytes(self.buffer[:size])
        del self.buffer[:size]
        response.body += part
        self._left -= len(part)

    def _finish(self) -> bool:
        assert self.current is not None
        self.current.complete = True
        self.current = None
        return True

    def _head(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            if not b"HTTP/1.".startswith(bytes(self.buffer[:7])):
                raise Garbage(f"no response: {bytes(self.buffer[:80])!r}")
            return False
        line, *rest = bytes(self.buffer[:end]).split(b"\r\n")
        del self.buffer[: end + 4]
        match = _STATUS_LINE.match(line)
        if not match:
            raise Garbage(f"no status line: {line[:80]!r}")
        pairs = []
        for text in rest:
            found = _FIELD.match(text)
            if not found:
                raise Garbage(f"no field line: {text[:80]!r}")
            pairs.append((found[1].decode().lower(), found[2].decode("latin-1")))
        status = int(match[2])
        interim = 100 <= status < 200
        method = "GET"
        if not interim and self.methods:
            method = self.methods.pop(0)
        response = Response(match[1].decode(), status, match[3], pairs, "none")
        if interim:
            response.complete = True
            self.interim.append(response)
            return True
        self.final.append(response)
        self.current = response
        self._frame(response, method)
        return True

    def _frame(self, response: Response, method: str) -> None:
        lengths = [value for name, value in response.pairs if name == "content-length"]
        if len(lengths) > 1 or any(not re.fullmatch(r"\d{1,18}", length) for length in lengths):
            raise Garbage(f"Content-Length {lengths}")
        coding = response.fields.get("transfer-encoding")
        if coding is not None and (lengths or coding.lower() != "chunked"):
            raise Garbage(f"Transfer-Encoding {coding} with Content-Length {lengths}")
        self._left = 0
        if method == "HEAD" or response.status in (204, 304):
            self._finish()
        elif coding is not None:
            response.coding = "chunked"
            self._phase = "size"
        elif lengths:
            response.coding = "length"
            self._left = int(lengths[0])
            if not self._left:
                self._finish()
        else:
            response.coding = "close"

    def _chunk(self, response: Response) -> bool:
        if self._phase == "data":
            self._take(response, min(self._left, len(self.buffer)))
            if self._left:
                return False
            self._phase = "after"
        end = self.buffer.find(b"\r\n")
        if end < 0:
            if len(self.buffer) > 8192:
                raise Garbage("endless line in a chunked body")
            return False
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        if self._phase == "after":
            if line:
                raise Garbage(f"no CRLF after a chunk: {line[:80]!r}")
            self._phase = "size"
        elif self._phase == "size":
            match = _CHUNK.match(line)
            if not match:
                raise Garbage(f"chunk size {line[:80]!r}")
            self._left = int(match[1], 16)
            self._phase = "data" if self._left else "trailer"
        elif not line:
            return self._finish()
        return True


class Link:
    """One connection to a server.  `state` is open, eof, reset, hang or garbage."""

    def __init__(self, address: Address, methods: Sequence[str], patience: float) -> None:
        self.patience = patience
        self.parser = Parser(methods)
        self.state = "open"
        self.detail = ""
        self.writable = True
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket: Any = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(patience)
        self.socket.connect(address)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.unix = family == socket.AF_UNIX
        self.port = "" if self.unix else str(self.socket.getsockname()[1])
        if isinstance(address, Secure):
            self.socket = SecureSocket(self.socket, patience)
        self.poller = select.poll()

    def close(self) -> None:
        """Let go of the connection."""
        self.socket.close()

    def send(self, data: bytes, *, single: bool = False) -> None:
        """Send as far as the server takes it; reads meanwhile.

        `single` sends one byte at a time, of long data a thousandth.
        """
        view = memoryview(data)
        piece = 1 + len(data) // 1000
        deadline = time.monotonic() + self.patience
        while view and self.writable and self.state == "open":
            try:
                sent = self.socket.send(view[:piece] if single else view)
            except BlockingIOError:
                if not self._wait(select.POLLIN | select.POLLOUT, deadline):
                    self.writable = False
                continue
            except OSError:
                self.writable = False
                return
            view = view[sent:]
            deadline = time.monotonic() + self.patience
            if single:
                self._settle()
                self._receive()

    def half_close(self) -> None:
        """Shut down the sending side."""
        self.writable = False
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def expect(self, count: int) -> bool:
        """Read until `count` responses are complete; False if something else comes first."""
        deadline = time.monotonic() + self.patience
        while self.state == "open" and self.parser.count < count:
            if not self._wait(select.POLLIN, deadline):
                return False
        return self.parser.count >= count

    def expect_body(self, body: bytes) -> bool:
        """Read until the response under way holds `body`; False if something else comes first."""
        deadline = time.monotonic() + self.patience
        while self.state == "open":
            if self.parser.final and body in self.parser.final[-1].body:
                return True
            if not self._wait(select.POLLIN, deadline):
                return False
        return False

    def abort(self) -> None:
        """Reset the connection."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()
        self.writable = False
        self.state = "aborted"

    def until_eof(self) -> None:
        """Read until the server ends the connection or is silent for too long."""
        deadline = time.monotonic() + self.patience
        while self.state == "open":
            if not self._wait(select.POLLIN, deadline):
                self.state = "hang"

    def _settle(self) -> None:
        # A unix socket tells when the peer has read the byte; on TCP giving up the CPU must do.
        for _ in range(500 if self.unix and sys.platform == "linux" else 1):
            os.sched_yield()
            if not self.unix or sys.platform != "linux":
                return
            left = fcntl.ioctl(self.socket.fileno(), _SIOCOUTQ, b"\0\0\0\0")
            if not struct.unpack("i", left)[0]:
                return

    def _wait(self, events: int, deadline: float) -> bool:
        self.poller.register(self.socket, events)
        ready = self.poller.poll(max(0, int((deadline - time.monotonic()) * 1000)))
        if not ready:
            # Who has been silent once gets less time for the rest of the case.
            self.patience = min(self.patience, 0.5)
            return False
        if ready[0][1] & ~select.POLLOUT:
            self._receive()
        return True

    def _receive(self) -> None:
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            self.state = "reset"
            data = b""
        try:
            if data:
                self.parser.feed(data)
            else:
                self.state = "reset" if self.state == "reset" else "eof"
                self.parser.eof()
        except Garbage as error:
            self.state = "garbage"
            self.detail = str(error)
