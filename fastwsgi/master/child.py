"""The processes below a master: forking one, hearing what it says, learning of its end.

A child says single bytes, and why it cannot start, through a pipe whose read end its master holds.
Here is what a child is and how it comes and goes; what is to be made of it is decided in master.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable

from fastwsgi.config.hooks import WorkerView
from fastwsgi.worker.process import REASON, in_child
from fastwsgi.worker.scoreboard import Board

WORKER = "worker"
UNKNOWN = 256
"""The exit code of a process that somebody else has collected; beyond any real one."""


class Child:
    """A process as its master knows it; moments are those of ``time.monotonic``.

    ``fd`` is the read end of the pipe it speaks through, -1 once that has ended; ``view`` what
    hooks are shown of it; ``cpu`` the one it is bound to. ``outworn`` is one that has asked for a
    replacement; ``board`` is where it shows what it does, at least every ``BEAT`` seconds if it
    ``beats``; ``reason`` is why it cannot start, if it has said so, and ``told`` whether the log
    has that from it.
    """

    def __init__(self, pid: int, generation: int, fd: int, role: str = WORKER) -> None:
        self.pid = pid
        self.generation = generation
        self.fd = fd
        self.role = role
        self.ready_at: float | None = None
        self.kill_at: float | None = None
        self.leaving = False
        self.outworn = False
        self.view: WorkerView | None = None
        self.cpu: int | None = None
        self.board: Board | None = None
        self.reason = ""
        self.told = False
        self._unfinished: bytes | None = None
        self.beats = False

    def hear(self) -> list[bytes]:
        """Return what it has said since the last time, byte by byte."""
        said: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while self.fd >= 0:
                block = os.read(self.fd, 65536)
                if not block:
                    self.close()
                said += self._words(block)
        return said

    def _words(self, block: bytes) -> list[bytes]:
        said = []
        while block:
            if self._unfinished is None:
                word, block = block[:1], block[1:]
                if word == REASON:
                    self._unfinished = b""
                else:
                    said.append(word)
            else:
                part, end, block = block.partition(b"\0")
                self._unfinished += part
                if end:
                    self.reason = self._unfinished.decode("utf-8", "replace")
                    self._unfinished = None
                    said.append(REASON)
        return said

    def close(self) -> None:
        """Hear no more of it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def let_go(self) -> None:
        """Close all that leads to it."""
        self.close()
        if self.board is not None:
            self.board.close()

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)

    def ended(self) -> int | None:
        """Collect it and return its exit code, negative for a signal; None while it runs."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return UNKNOWN
        return os.waitstatus_to_exitcode(status) if pid else None


def voice() -> tuple[int, int]:
    """Open the pipe of a child: the end to hear at, which does not block, and the end to speak."""
    heard, speaking = os.pipe()
    os.set_blocking(heard, False)
    return heard, speaking


def fork(life: Callable[[], int]) -> int:
    """Fork a process that runs ``life`` and ends with the code it returns; return its id.

    All signals are blocked until the child has handlers of its own (``life`` unblocks them), so
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
            in_child(life)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
