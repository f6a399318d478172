"""The master's side of the control socket.

The rule: nobody who asks can hold the master up. Sockets do not block, a question has a longest
length, an answer that is not read is given up, and there are only so many connections. The path is
for its owner alone (mode 0600), and whoever connects has to be the owner's account or root.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from fastwsgi.control.lines import LONGEST, BadQuestion, line, parse
from fastwsgi.system.sockets import open_private

MOST = 16
"""Connections at a time; one more is turned away."""
PATIENCE = 60.0
"""Seconds without a question, or without reading an answer, after which a connection is closed."""
PENDING = 16
"""Questions of a connection that may wait for their answers."""
MOST_UNREAD = 1 << 16
"""Bytes of answers that its client has not read, from which on no question of it is read."""
AT_ONCE = 512
"""Bytes that are read at once: so many questions are answered before somebody else has a turn."""

Answer = dict[str, Any]
Reply = Callable[[Answer], None]


class ControlSocket:
    """The socket at ``path``, and whoever is connected.

    ``handle`` is called with a command, its members, who asks, and what takes the answer. With
    ``replace`` another server's socket at that path makes room. Raises ListenError.
    """

    def __init__(
        self, path: str, handle: Callable[[str, dict[str, Any], str, Reply], None], *,
        replace: bool = False,
    ) -> None:
        self._path = path
        self._handle = handle
        self._listener = open_private(path, replace=replace)
        self._connections: list[Connection] = []

    def fds(self) -> list[int]:
        """Return the descriptors that a forked child has to close."""
        return [self._listener.fileno(), *(one.fd for one in self._connections)]

    def interests(self) -> dict[int, tuple[int, Callable[[], None]]]:
        """Return what to poll: descriptor -> the events, and what to call when there are any."""
        found: dict[int, tuple[int, Callable[[], None]]] = {
            self._listener.fileno(): (select.POLLIN, self._accept)}
        for one in self._connections:
            found[one.fd] = one.events, partial(self._serve, one)
        return found

    def deadlines(self) -> list[float]:
        """Return the times at which ``expire`` is to be called."""
        return [one.deadline for one in self._connections]

    def expire(self) -> None:
        """Close connections that are done, and those on which nothing happens for too long."""
        now = time.monotonic()
        for one in [one for one in self._connections if one.done or now >= one.deadline]:
            self._close(one)

    def ensure(self) -> None:
        """Take the path again, if another server's socket has been there and is gone."""
        if not self._listener.is_in_place():
            with contextlib.suppress(Exception):
                listener = open_private(self._path)
                self._listener.close(remove=False)
                self._listener = listener

    def close(self) -> None:
        """Close everything, and remove the path unless it is somebody else's by now."""
        for one in self._connections[:]:
            self._close(one)
        self._listener.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.socket.accept()
        except OSError:
            return
        sock.setblocking(False)
        problem = ""
        if not may_ask(sock):
            problem = "only the account of the server and root may ask"
        elif len(self._connections) >= MOST:
            problem = f"{MOST} connections are open already"
        if problem:
            with sock, contextlib.suppress(OSError):
                sock.send(line({"ok": False, "error": problem}))
            return
        self._connections.append(Connection(sock))

    def _serve(self, one: Connection) -> None:
        try:
            for text in one.move():
                self._answer(one, text)
            one.flush()
        except (ConnectionError, OSError):
            one.done = True
        if one.done:
            self._close(one)

    def _answer(self, one: Connection, text: bytes) -> None:
        try:
            command, members = parse(text)
        except BadQuestion as error:
            one.reply(one.slot(), {"ok": False, "error": str(error)})
            return
        self._handle(command, members, one.who, partial(one.reply, one.slot()))

    def _close(self, one: Connection) -> None:
        one.close()
        if one in self._connections:
            self._connections.remove(one)


class Connection:
    """One who asks: bytes of questions, and answers in the order of their questions."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.fd = sock.fileno()
        self.who = peer(sock)
        self._input = b""
        self._output = bytearray()
        self._answers: list[list[bytes]] = []  # a slot for each question: empty until answered
        self._ended = False
        self._deaf = False  # it has sent too much, which is read and dropped until it ends
        self.done = False
        self.deadline = time.monotonic() + PATIENCE

    @property
    def events(self) -> int:
        """What to poll for."""
        keeps_up = len(self._answers) < PENDING and len(self._output) < MOST_UNREAD
        reads = not self._ended and (self._deaf or keeps_up)
        return (select.POLLIN if reads else 0) | (select.POLLOUT if self._output else 0)

    def move(self) -> list[bytes]:
        """Read what has come, and return whole lines. Raises OSError."""
        if not self.events & select.POLLIN:
            return []
        try:
            block = self._socket.recv(AT_ONCE)
        except BlockingIOError:
            return []
        self._ended = not block
        if self._deaf:
            return []
        self.deadline = time.monotonic() + PATIENCE
        *lines, self._input = (self._input + block).split(b"\n")
        if len(self._input) >= LONGEST:
            self.reply(self.slot(), {"ok": False,
                                     "error": f"a question has at most {LONGEST} bytes"})
            self._input, self._deaf = b"", True
        return [text for text in lines if text.strip()]

    def slot(self) -> list[bytes]:
        """Return the place of the next answer."""
        place: list[bytes] = []
        self._answers.append(place)
        return place

    def reply(self, place: list[bytes], answer: Answer) -> None:
        """Answer the question of that place."""
        place.append(line(answer))
        while self._answers and self._answers[0]:
            self._output += self._answers.pop(0)[0]
        with contextlib.suppress(OSError):
            self.flush()

    def flush(self) -> None:
        """Send what can be sent now. Raises OSError."""
        while self._output and self.fd >= 0:
            try:
                sent = self._socket.send(self._output)
            except BlockingIOError:
                return
            self.deadline = time.monotonic() + PATIENCE
            del self._output[:sent]
        if self._deaf and not self._output and self.fd >= 0:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        self.done = self._ended and not self._answers and not self._output

    def close(self) -> None:
        """Close it; an answer that comes later is dropped."""
        self._socket.close()
        self.fd = -1


def may_ask(sock: socket.socket) -> bool:
    """Return whether the process at the other end is of our account, or root's."""
    uid = peer_uid(sock)
    return uid is not None and uid in (0, os.geteuid())


def peer(sock: socket.socket) -> str:
    """Return who is at the other end, for the log."""
    uid = peer_uid(sock)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=3i"))
            return f"asked by process {struct.unpack('=3i', found)[0]} of user {uid}"
    return f"asked by user {uid}"


def peer_uid(sock: socket.socket) -> int | None:
    """Return the account of the other end of a unix socket, None if the system does not say."""
    try:
        if sys.platform == "darwin":  # LOCAL_PEERCRED, struct xucred: version, uid, groups
            found = sock.getsockopt(0, 1, 76)
            return int(struct.unpack_from("=II", found)[1])
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=3i"))
        return int(struct.unpack("=3i", found)[1])
    except (AttributeError, OSError, struct.error):
        return None
