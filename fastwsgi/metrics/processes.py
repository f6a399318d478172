"""Memory and CPU time of other processes, from /proc; where there is none, nothing is said.

The proportional share of memory (PSS) takes the kernel a walk over all pages of the process, so it
is not asked for at every scrape: each scrape has a budget of time for it, and what has not been
asked for in this scrape is told as it was.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

PSS_BUDGET = 0.002
"""Seconds of a scrape that may go into walks over pages; at least one process is asked."""
PSS_AGE = 10.0
"""Seconds for which a share is told again."""


class Usage(NamedTuple):
    """Seconds of CPU, bytes of resident memory and of the share in it; None for not known."""

    cpu: float
    resident: int
    share: int | None


class Processes:
    """What is known of some processes."""

    def __init__(self) -> None:
        self._shares: dict[int, tuple[float, int | None]] = {}
        self._tick = os.sysconf("SC_CLK_TCK")
        self._page = os.sysconf("SC_PAGE_SIZE")

    def usage(self, pids: list[int], *, shares: bool = True) -> dict[int, Usage]:
        """Return the usage of those processes that there are, and their shares if wanted."""
        found = {}
        for pid in pids:
            try:
                with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            found[pid] = Usage((int(fields[11]) + int(fields[12])) / self._tick,
                               int(fields[21]) * self._page, None)
        if shares:
            self._ask_for_shares(list(found))
        return {pid: usage._replace(share=self._shares.get(pid, (0.0, None))[1])
                for pid, usage in found.items()}

    def _ask_for_shares(self, pids: list[int]) -> None:
        start = time.monotonic()
        self._shares = {pid: self._shares[pid] for pid in pids if pid in self._shares}
        due = sorted(pids, key=lambda pid: self._shares.get(pid, (0.0, None))[0])
        for number, pid in enumerate(due):
            moment = time.monotonic()
            if number and moment - start > PSS_BUDGET:
                return
            if moment - self._shares.get(pid, (-PSS_AGE, None))[0] < PSS_AGE:
                return
            self._shares[pid] = moment, _share(pid)


def _share(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):  # another user's, or no such file
        pass
    return None


def alive(pid: int) -> bool:
    """Tell whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
