"""The client's side of TLS: what Link needs of a socket, over records.

Rule: like a non-blocking socket, except that whatever has been taken by send() goes out, and that
recv() returns all there is, so that a poll of the socket tells whether there is more.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time


class Secure(tuple[str, int]):
    """An address where TLS is spoken."""


class SecureSocket:
    """One connection; the handshake is made when it is."""

    def __init__(self, sock: socket.socket, patience: float) -> None:
        self._socket = sock
        self._patience = patience
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._left = b""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self._socket.setblocking(False)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send_records()
                self._take(patience)
            else:
                break
        self._send_records()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def setsockopt(self, *arguments: object) -> None:
        self._socket.setsockopt(*arguments)  # type: ignore[call-overload]

    def send(self, data: memoryview) -> int:
        taken = self._tls.write(data[:16384])
        self._send_records()
        return taken

    def shutdown(self, _how: int) -> None:
        """Say goodbye, and end the sending side."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._send_records()
        self._socket.shutdown(socket.SHUT_WR)

    def recv(self, _most: int) -> bytes:
        """Everything that is there; BlockingIOError if nothing is."""
        found = bytearray()
        ended = not self._take(0)
        while True:
            try:
                block = self._tls.read(1 << 18)
            except (ssl.SSLWantReadError, ssl.SSLSyscallError):
                break
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                ended = True
                break
            except ssl.SSLError as error:
                raise ConnectionError(str(error)) from error
            if not block:
                ended = True
                break
            found += block
        if not found and not ended:
            raise BlockingIOError
        return bytes(found)

    def _send_records(self) -> None:
        deadline = time.monotonic() + self._patience
        self._left += self._outgoing.read()
        while self._left:
            try:
                self._left = self._left[self._socket.send(self._left) :]
            except BlockingIOError:
                readable, _, _ = select.select(
                    [self._socket], [self._socket], [], max(0, deadline - time.monotonic()))
                if time.monotonic() > deadline:
                    raise ConnectionError("nothing is taken any more") from None
                if readable:
                    self._take(0)

    def _take(self, patience: float) -> bool:
        """Receive what is there, waiting for it; False at the end."""
        if patience and not select.select([self._socket], [], [], patience)[0]:
            raise ConnectionError("no answer to a hello")
        while True:
            try:
                data = self._socket.recv(1 << 18)
            except BlockingIOError:
                return True
            if not data:
                self._incoming.write_eof()
                return False
            self._incoming.write(data)
