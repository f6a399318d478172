"""The scoreboard: what a worker is doing, read from memory that it shares with its master.

The core writes it without the interpreter lock (csrc/observe/scoreboard.h, whose layout this
repeats), so the master can read it even when the worker is stuck. Neither side waits for the other:
each part has a number that is odd while the part is being written, and a reader then tries again.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import struct
import time
from typing import Any, NamedTuple

from fastwsgi.logs.masking import mask_secrets

LAYOUT = 7
_HEAD = struct.Struct("=4IQ15Q13Q8x")
_DRAINING = 248  # where the master says that it is going to stop
_CALL = struct.Struct("=2IQ2IQ24s48s408s")
_SEQ = struct.Struct("=I")
_TRIES = 1000
MOST_STACKS = 1 << 20
"""Bytes that the stacks of a worker may have; what does not fit is not written."""
LEVELS = ("debug", "info", "warning", "error", "critical")

COUNTERS = ("accepted", "requests", "refused", "timeouts", "truncated", "broken", "upgraded",
            "bytes_in", "bytes_out", "passed_on", "taken_over", "gone", "failed_handshakes",
            "connections", "waiting")
"""Counters since the worker's start: ``upgraded`` of requests whose socket the application has
taken over, ``passed_on`` and ``taken_over`` of connections that have gone to another worker and
come from one, ``failed_handshakes`` of connections that have ended in a handshake of TLS. The last
two are of the moment: open connections, and requests that wait for a thread.
"""
NOW = ("connections", "waiting")
BOUNDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))
"""Upper bounds, in seconds, of the classes of time that requests have spent in the application."""

NONE, APPLICATION, CLIENT, UPGRADED = 0, 1, 2, 3
"""Phases of a thread: nothing that lasts, in the application, waiting for its client in write(),
with a socket that the application has taken over."""


def now() -> float:
    """Return the time of the boards: seconds of CLOCK_MONOTONIC, the same in all processes."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


_NO_LIMIT = (1 << 64) - 1


class Call(NamedTuple):
    """A request in the application; ``since`` is when that began, in the time of ``now``.

    ``own_limit`` is how many seconds it may take in all, infinity for any number, or None: what the
    setting says.
    """

    thread: int
    number: int
    phase: int
    since: float
    tid: int
    method: str
    client: str
    target: str
    own_limit: float | None = None

    def limit(self, timeout: float) -> float:
        """Return the seconds that it may take, where the setting says ``timeout``."""
        return self.own_limit if self.own_limit is not None else timeout or math.inf

    @property
    def request(self) -> str:
        """The request and its client, for a log."""
        asked = f"{self.method} {mask_secrets(self.target)}" if self.method else "a request"
        return f"{asked} from {self.client}" if self.client else asked


class State(NamedTuple):
    """The contents of a board at one moment.

    ``latency`` has the number of requests for each of ``BOUNDS``; ``written`` is when counters were
    copied last, by whoever leads the core's loop.
    """

    pid: int
    threads: int
    written: float
    counters: dict[str, int]
    latency: tuple[int, ...]
    calls: tuple[Call, ...]


class Board:
    """The board of one worker with so many threads, as its master holds it.

    The memory has no name; ``fd`` leads to it until ``close_fd``, for a process that was not forked
    from this one. Behind the board is room for stacks: ``fd`` has a position, which both have in
    common, and what is before it has been written. Raises OSError.
    """

    def __init__(self, threads: int, fd: int = -1) -> None:
        self.threads = threads
        size = _HEAD.size + threads * _CALL.size
        self.fd = fd if fd >= 0 else nameless(size + MOST_STACKS)
        try:
            self.memory = mmap.mmap(self.fd, size)
        except OSError:
            self.close_fd()
            raise

    def close_fd(self) -> None:
        """Close the descriptor; the memory stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def close(self) -> None:
        """Release the memory, unless the core uses it: then it lasts as long as the process."""
        self.close_fd()
        with contextlib.suppress(BufferError):
            self.memory.close()

    def want_level(self, level: str) -> None:
        """Tell the worker which records its error log is to write, once it is told to look."""
        _SEQ.pack_into(self.memory, _DRAINING + _SEQ.size, LEVELS.index(level) + 1)

    def level(self) -> str:
        """Return the level that the master wants, empty if it wants no other one."""
        (wanted,) = _SEQ.unpack_from(self.memory, _DRAINING + _SEQ.size)
        return LEVELS[wanted - 1] if 0 < wanted <= len(LEVELS) else ""

    def clear_stacks(self) -> None:
        """Make room for stacks, which its worker writes behind the board on a signal.

        The descriptor has to be open, here and there: both have its position in common.
        """
        os.lseek(self.fd, len(self.memory), os.SEEK_SET)

    def stacks_size(self) -> int:
        """Return how many bytes of stacks are there."""
        return max(0, os.lseek(self.fd, 0, os.SEEK_CUR) - len(self.memory))

    def stacks(self) -> str:
        """Return the stacks, as far as they are there."""
        size = min(self.stacks_size(), MOST_STACKS)
        return os.pread(self.fd, size, len(self.memory)).decode("utf-8", "replace")

    def drain(self) -> None:
        """Tell the worker that the server is going to stop: it serves, and says it is not ready."""
        _SEQ.pack_into(self.memory, _DRAINING, 1)

    def calls(self) -> list[Call]:
        """Return the requests that are in the application and have lasted for milliseconds."""
        found = []
        for thread in range(self.threads):
            _, phase, since, number, tid, limit, *texts = self._read(
                _CALL, _HEAD.size + thread * _CALL.size)
            if phase != NONE:
                method, client, target = (text.partition(b"\0")[0].decode("latin-1")
                                          for text in texts)
                found.append(Call(thread, number, phase, since / 1e6, tid, method, client, target,
                                  _seconds(limit)))
        return found

    def state(self) -> State:
        """Return everything."""
        _, layout, pid, _, written, *numbers = self._read(_HEAD, 0)
        if layout not in (0, LAYOUT):  # 0: not written yet
            raise ValueError(f"a scoreboard of layout {layout}, not {LAYOUT}")
        calls = tuple(self.calls())
        counters = dict(zip(COUNTERS, numbers, strict=False))
        quick, *slow = numbers[len(COUNTERS) :]
        # requests that the core never had to show took less than the first bound
        quick = max(quick, counters["requests"] - counters["waiting"] - sum(slow) - len(calls))
        return State(pid, self.threads, written / 1e6, counters, (quick, *slow), calls)

    def _read(self, part: struct.Struct, offset: int) -> tuple[Any, ...]:
        """Return the values of a part; they may be inconsistent if its writer died."""
        for _ in range(_TRIES):
            (before,) = _SEQ.unpack_from(self.memory, offset)
            block = self.memory[offset : offset + part.size]
            if before % 2 == 0 and _SEQ.unpack_from(self.memory, offset) == (before,):
                break
        return part.unpack(block)


def _seconds(limit: int) -> float | None:
    """Return an own limit as ``Call`` has it."""
    if not limit:
        return None
    return math.inf if limit == _NO_LIMIT else limit / 1e6


def nameless(size: int) -> int:
    """Open zeroed memory of ``size`` bytes that no name leads to, for a master and its workers.

    Linux keeps its size from everybody: whoever reads memory that another has cut off is ended by
    SIGBUS, and workers may run as another account than their master does.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("fastwsgi", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, size)
        if hasattr(os, "memfd_create"):
            import fcntl

            fcntl.fcntl(fd, fcntl.F_ADD_SEALS,
                        fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except OSError:
        os.close(fd)
        raise
    return fd


class Totals:
    """Counters summed over workers, those that have left included."""

    def __init__(self) -> None:
        self._counters = dict.fromkeys(COUNTERS, 0)
        self._latency = [0] * len(BOUNDS)

    def add(self, state: State) -> None:
        """Add the counters of a worker that has ended."""
        for name in COUNTERS:
            if name not in NOW:
                self._counters[name] += state.counters[name]
        self._latency = [a + b for a, b in zip(self._latency, state.latency, strict=True)]

    def with_living(self, states: list[State]) -> tuple[dict[str, int], tuple[int, ...]]:
        """Return counters and latency classes with those of living workers."""
        counters, latency = dict(self._counters), list(self._latency)
        for state in states:
            for name in COUNTERS:
                counters[name] += state.counters[name]
            latency = [a + b for a, b in zip(latency, state.latency, strict=True)]
        return counters, tuple(latency)
