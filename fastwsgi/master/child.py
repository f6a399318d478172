"""The processes below a master: forking one, reading its messages, learning of its end.

A child sends single bytes, and why it cannot start, through a pipe whose read end its master holds.
Here is what a child is and how it comes and goes; what is to be made of it is decided in master.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable

from fastwsgi.config.hooks import WorkerView
from fastwsgi.worker.process import REASON, in_child
from fastwsgi.worker.scoreboard import Board

WORKER = "worker"
UNKNOWN = 256
"""The exit code of a process that somebody else has collected; beyond any real one."""


class Child:
    """A process as its master knows it; times are those of ``time.monotonic``.

    ``begun`` is when it was forked;
    ``fd`` is the read end of the pipe it writes to, -1 once that has ended; ``view`` what hooks are
    shown of it; ``cpu`` the one it is bound to. ``replace_wanted`` says that it is to be replaced;
    ``board`` is where it shows what it does, at least every ``BEAT`` seconds if it ``beats``;
    ``slot`` is its place among its siblings, ``counted`` that in the metrics, if it has one;
    ``server`` is the fork server that has forked it, if one has, and ``gone`` says of a fork server
    that it has ended; ``hangs`` that it is replaced because it makes no progress, ``cause`` why it
    was asked to stop (``metrics.page.ENDS``); ``reason`` is why it cannot start, if it has reported
    that, and ``reason_logged`` whether the log has that from it.
    """

    def __init__(self, pid: int, generation: int, fd: int, role: str = WORKER) -> None:
        self.pid = pid
        self.generation = generation
        self.fd = fd
        self.role = role
        self.begun = time.monotonic()
        self.ready_at: float | None = None
        self.kill_at: float | None = None
        self.stopping = False
        self.replace_wanted = False
        self.view: WorkerView | None = None
        self.cpu: int | None = None
        self.board: Board | None = None
        self.slot: int | None = None
        self.counted: int | None = None
        self.reason = ""
        self.reason_logged = False
        self._partial_reason: bytes | None = None
        self.server: Child | None = None
        self.gone = False
        self.beats = False
        self.hangs = False
        self.cause = ""

    def receive(self) -> list[bytes]:
        """Return its messages since the last time, byte by byte."""
        said: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while self.fd >= 0:
                block = os.read(self.fd, 65536)
                if not block:
                    self.close()
                said += self._parse(block)
        return said

    def _parse(self, block: bytes) -> list[bytes]:
        said = []
        while block:
            if self._partial_reason is None:
                word, block = block[:1], block[1:]
                if word == REASON:
                    self._partial_reason = b""
                else:
                    said.append(word)
            else:
                part, end, block = block.partition(b"\0")
                self._partial_reason += part
                if end:
                    self.reason = self._partial_reason.decode("utf-8", "replace")
                    self._partial_reason = None
                    said.append(REASON)
        return said

    def close(self) -> None:
        """Read no more of it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def close_all(self) -> None:
        """Close all descriptors that lead to it."""
        self.close()
        if self.board is not None:
            self.board.close()

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Reap it and return its exit code, negative for a signal; None while it runs."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return UNKNOWN
        return os.waitstatus_to_exitcode(status) if pid else None


def open_pipe() -> tuple[int, int]:
    """Open the pipe of a child: the read end, which does not block, and the write end."""
    from_child, to_master = os.pipe()
    os.set_blocking(from_child, False)
    return from_child, to_master


def fork(main: Callable[[], int]) -> int:
    """Fork a process that runs ``main`` and ends with the code it returns; return its id.

    All signals are blocked until the child has handlers of its own (``main`` unblocks them), so
    that none meant for it reaches the parent through what it inherited. Raises OSError.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or none
            stream.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            in_child(main)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
