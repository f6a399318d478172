"""An application in a process of its own whose calls the test holds, and the test's side of it.

GET /hold/<port>    connects to 127.0.0.1:<port>, says in which thread it runs, and waits for a byte
GET /grip/<port>    the same, without giving the interpreter lock away while it waits
anything else       `hello`
"""

from __future__ import annotations

import ctypes
import socket
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from apps.client import TIMEOUT

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def grip(side: socket.socket) -> None:
    """Receive a byte as an extension module would that never releases the lock."""
    ctypes.PyDLL(None).recv(side.fileno(), ctypes.create_string_buffer(1), 1, 0)


def stand(port: int, *, gripping: bool) -> None:
    """Say who waits, then wait for the byte, or for the end of the test."""
    thread = threading.current_thread()
    with socket.create_connection(("127.0.0.1", port)) as side:
        side.sendall(f"{thread.name} {thread.daemon}\n".encode())
        if gripping:
            grip(side)
        else:
            side.recv(1)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    first, _, port = environ["PATH_INFO"][1:].partition("/")
    if first in ("hold", "grip"):
        stand(int(port), gripping=first == "grip")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{first or 'hello'} {environ['wsgi.multithread']}".encode()]


class Gate:
    """The test's side: calls come in, and are let go one by one; at the end all of them are."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(TIMEOUT)
        self._waiting: list[socket.socket] = []
        self._port = self._listener.getsockname()[1]
        self.hold = f"/hold/{self._port}"
        self.grip = f"/grip/{self._port}"

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for side in (*self._waiting, self._listener):
            side.close()

    def entered(self) -> str:
        """Wait for the next call; the name of its thread and whether that is a daemon."""
        side, _ = self._listener.accept()
        side.settimeout(TIMEOUT)
        self._waiting.append(side)
        with side.makefile("r") as lines:
            return lines.readline().rstrip("\n")

    def let_go(self, number: int = 0) -> None:
        """Let a call go on: of those that wait the first, or the one with that number."""
        with self._waiting.pop(number) as side:
            side.sendall(b"g")
