"""How quick the machine is just now, by a fixed piece of work.

A virtual machine shares its cores, and a busy neighbour slows them by a quarter for seconds at a
time. CPU time rises with it, so a figure of such seconds says nothing about a server.
"""

from __future__ import annotations

import hashlib
import os
import time

SLOWER = 1.08  #: times as long as at its best: what counts as slow
PATIENCE = 20.0  #: seconds to wait for a slow phase to end
_BLOCK = bytes(8 << 20)


def _job() -> float:
    """CPU seconds of the work: some of it in memory, some of it in the interpreter."""
    begin = time.process_time()
    hashlib.sha256(_BLOCK).digest()
    kept: dict[int, tuple[int]] = {}
    for number in range(60_000):
        kept[number & 1023] = (number,)
    return time.process_time() - begin


class Pace:
    """The pace of some cores, each compared with the best that it has shown."""

    def __init__(self, cpus: set[int]) -> None:
        self._best = dict.fromkeys(sorted(cpus), float("inf"))
        for _ in range(10):
            self.now()

    def now(self) -> float:
        """How many times as long as at its best the slowest of the cores takes."""
        allowed = os.sched_getaffinity(0)
        worst = 0.0
        try:
            for cpu, best in self._best.items():
                os.sched_setaffinity(0, {cpu})
                taken = min(_job(), _job())
                self._best[cpu] = min(best, taken)
                worst = max(worst, taken / self._best[cpu])
        finally:
            os.sched_setaffinity(0, allowed)
        return worst

    def settled(self) -> float:
        """Wait for a slow phase to end; returns the pace then, or that after PATIENCE."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.now()) > SLOWER and time.monotonic() < deadline:
            time.sleep(0.2)
        return found
