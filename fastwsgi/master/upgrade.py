"""A new master on the same sockets (USR2): what the old one passes on and how the two agree.

The old master runs its own command again, with its listening descriptors and one end of a socket
pair, the link. Through the link the new one reports that it is ready, or why it is not. When the
link closes, the other one has ended. Both serve until one is asked to stop: TERM to the old one
finishes the upgrade, TERM to the new one takes it back.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fastwsgi.errors import FastwsgiError
from fastwsgi.logs.error import ErrorLog
from fastwsgi.system.sockets import Listener, adopt

if TYPE_CHECKING:
    from fastwsgi.metrics.metrics import Metrics
    from fastwsgi.system.pidfile import PidFile
    from fastwsgi.worker.siblings import Siblings

VARIABLE = "FASTWSGI_UPGRADE"
"""The environment variable that tells a new master what it inherits, in JSON."""
BESIDE = ".2"
"""What is added to the name of the pid file while the old master lives, as gunicorn does."""


class Start(NamedTuple):
    """How this process was started, so that it can be started again."""

    command: list[str]
    directory: str
    environ: dict[str, str]

    @classmethod
    def of_this_process(cls) -> Start:
        """Record it; to be called before directory and environment are changed."""
        directory = os.getcwd()
        environ = dict(os.environ)
        with contextlib.suppress(KeyError, OSError):
            # by the shell's name for it: it may be a link to another release by now
            if os.path.samefile(directory, environ["PWD"]):
                directory = environ["PWD"]
        return cls([sys.executable, *sys.orig_argv[1:]], directory, environ)


class Predecessor(NamedTuple):
    """The master that started this one: its process id, our end of the link, its sockets, and what
    its workers share.

    ``tickets`` are its keys of session tickets, packed; empty if it has none. ``metrics`` is what
    its metrics are, as ``Metrics.described`` puts it.
    """

    pid: int
    link: socket.socket
    sockets: list[tuple[int, str, str]]
    siblings: Siblings | None = None
    tickets: bytes = b""
    metrics: dict[str, Any] | None = None

    @classmethod
    def take(cls) -> Predecessor | None:
        """Return it if this process is the new master of an upgrade; later calls return None."""
        text = os.environ.pop(VARIABLE, "")
        if not text:
            return None
        import json

        try:
            inherited = json.loads(text)
            link = socket.socket(fileno=int(inherited["link"]))
            os.set_inheritable(link.fileno(), False)
            sockets = [(int(fd), str(asked), str(path))
                       for fd, asked, path in inherited["sockets"]]
            shared = inherited.get("siblings")
            siblings = None
            if shared is not None:
                from fastwsgi.worker.siblings import Siblings  # imported where somebody has any

                siblings = Siblings.inherited(shared)
            tickets = _read(int(inherited.get("tickets", -1)))
            metrics = inherited.get("metrics")
            for fd in metrics["fds"] if metrics is not None else ():
                os.set_inheritable(int(fd), False)
            return cls(int(inherited["pid"]), link, sockets, siblings, tickets, metrics)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise FastwsgiError(f"{VARIABLE} is not from a running master: {error}") from None

    def adopt(self, backlog: int) -> list[Listener]:
        """Take over its listening sockets."""
        return [adopt(fd, backlog, path=path, asked=asked) for fd, asked, path in self.sockets]

    def send(self, text: str) -> None:
        """Send it our status."""
        with contextlib.suppress(OSError):
            self.link.sendall(text.encode("utf-8", "replace"))


class Successor:
    """A new master that this one has started."""

    def __init__(
        self, start: Start, listeners: Sequence[Listener], siblings: Siblings | None,
        tickets: bytes = b"", metrics: Metrics | None = None,
    ) -> None:
        import json
        import subprocess

        self.link, theirs = socket.socketpair()
        self.received = ""
        shared = siblings.described() if siblings is not None else None
        counted = metrics.described() if metrics is not None else None
        with theirs, _filled_pipe(tickets) as secret:
            inherited = json.dumps({
                "pid": os.getpid(), "link": theirs.fileno(), "tickets": secret, "siblings": shared,
                "metrics": counted,
                "sockets": [(item.fileno(), item.asked, item.path) for item in listeners]})
            fds = [theirs.fileno(), secret, *(item.fileno() for item in listeners),
                   *(shared["fds"] if shared is not None else ()),
                   *(counted["fds"] if counted is not None else ())]
            try:
                self._popen = subprocess.Popen(
                    start.command, cwd=start.directory, env={**start.environ, VARIABLE: inherited},
                    pass_fds=[fd for fd in fds if fd >= 0])
            except BaseException:
                self.link.close()
                raise
        self.pid = self._popen.pid

    def receive(self) -> str:
        """Return what it has sent, empty when it will send no more."""
        try:
            text = self.link.recv(65536).decode("utf-8", "replace")
        except OSError:
            text = ""
        self.received += text
        return text

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self._popen.poll()


class Upgrade:
    """What a master knows of the one before it and the one after it."""

    def __init__(
        self, start: Start, listeners: Sequence[Listener], log: ErrorLog,
        predecessor: Predecessor | None = None, metrics: Metrics | None = None,
    ) -> None:
        self.successor: Successor | None = None
        self.predecessor = predecessor
        self.pidfile: PidFile | None = None
        self.on_finished: Callable[[], None] = lambda: None
        self.on_other_ended: Callable[[], None] = lambda: None
        self.tickets: Callable[[], bytes] = lambda: b""
        self._start = start
        self._listeners = listeners
        self._metrics = metrics
        self._log = log

    @property
    def shared(self) -> bool:
        """Whether another master serves on these sockets, so that they are not ours to remove."""
        return self.successor is not None or self.predecessor is not None

    def links(self) -> dict[int, Callable[[], None]]:
        """Return the descriptors to wait on, each with what is to be called when it is readable."""
        found: dict[int, Callable[[], None]] = {}
        if self.predecessor is not None:
            found[self.predecessor.link.fileno()] = self._on_predecessor
        if self.successor is not None and self.successor.link.fileno() >= 0:
            found[self.successor.link.fileno()] = self._on_successor
        return found

    def begin(
        self, pre_exec: Callable[[], None] = lambda: None, siblings: Siblings | None = None,
    ) -> None:
        """Start a new master, unless an upgrade is already under way. Failures are logged.

        ``siblings`` is what our workers share; its workers get a share in it.
        """
        if self.predecessor is not None:
            self._log.error("no upgrade: the old master (pid %d) has not ended yet",
                            self.predecessor.pid)
            return
        if self.successor is not None:
            self._log.error("no upgrade: a new master (pid %d) is already running",
                            self.successor.pid)
            return
        try:
            pre_exec()
            self.successor = Successor(
                self._start, self._listeners, siblings, self.tickets(), self._metrics)
        except Exception as error:
            self._log.error("upgrade failed, nothing has changed: %s", error)
            return
        self._log.info("upgrading: started a new master (pid %d)", self.successor.pid)

    def _on_successor(self) -> None:
        successor = self.successor
        if successor is None:
            return
        text = successor.receive()
        if not text:
            successor.link.close()  # SIGCHLD reports its end
        elif successor.received == "ready":
            self._log.info("the new master (pid %d) is ready; TERM to this one (pid %d) finishes "
                           "the upgrade", successor.pid, os.getpid())

    def _on_predecessor(self) -> None:
        predecessor = self.predecessor
        if predecessor is None:
            return
        with contextlib.suppress(OSError):
            if predecessor.link.recv(4096):
                return
        predecessor.link.close()
        self.predecessor = None
        if self.pidfile is not None:
            self.pidfile.move()
        self.on_other_ended()
        self.on_finished()
        self._log.info("the old master (pid %d) has ended; the upgrade is finished",
                       predecessor.pid)

    def reap(self) -> None:
        """Note the end of the new master."""
        successor = self.successor
        if successor is None or (code := successor.poll()) is None:
            return
        while successor.link.fileno() >= 0 and successor.receive():
            pass
        successor.link.close()
        self.successor = None
        self.on_other_ended()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if successor.received.startswith("ready"):
            self._log.warning("the new master (pid %d) has ended (%s); this one continues",
                              successor.pid, how)
        else:
            reason = f": {successor.received}" if successor.received else ""
            self._log.error("upgrade failed: the new master (pid %d) ended before it was ready "
                            "(%s)%s; this one continues", successor.pid, how, reason)

    def ready(self) -> None:
        """Report to the old master that the workers of this one serve."""
        if self.predecessor is not None:
            self.predecessor.send("ready")


@contextlib.contextmanager
def _filled_pipe(content: bytes) -> Iterator[int]:
    """Yield a descriptor to read a secret from, which is neither on disk nor in an environment.

    It is -1 for none. A pipe has room for what is written here.
    """
    if not content:
        yield -1
        return
    reading, writing = os.pipe()
    try:
        try:
            os.write(writing, content)
        finally:
            os.close(writing)
        yield reading
    finally:
        os.close(reading)


def _read(fd: int) -> bytes:
    """Read what is in a pipe that ``_filled_pipe`` has filled, and close it."""
    if fd < 0:
        return b""
    try:
        return os.read(fd, select.PIPE_BUF)
    finally:
        os.close(fd)


def refuse(reason: object) -> None:
    """Report to the old master, if there is one, why this process cannot replace it."""
    predecessor = Predecessor.take()
    if predecessor is not None:
        predecessor.send(str(reason))
