"""Workers that are stuck as a whole, seen from their master through the scoreboard.

A request that is over its time is the matter of its own worker (overdue.py). When C code keeps the
interpreter lock nothing of that happens: then the master names the request, has the stacks written
by a signal that needs no lock, and replaces the worker.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from fastwsgi.children import Child
from fastwsgi.logs import ErrorLog
from fastwsgi.overdue import DUMP, grace
from fastwsgi.scoreboard import APPLICATION, Call, now

MARGIN = 2.0
"""Seconds that a worker may take to tell by itself that it wants to be replaced."""
PERIOD = 1.0
"""Seconds between two looks."""


def longest(child: Child) -> Call | None:
    """Return the request that has been in the application of a worker for the longest time."""
    if child.board is None:
        return None
    calls = [call for call in child.board.calls() if call.phase == APPLICATION]
    return min(calls, key=lambda call: call.since, default=None)


class Watch:
    """Looks at the workers of a master now and then."""

    def __init__(self, log: ErrorLog) -> None:
        self._log = log
        self._next = 0.0

    def moments(self, timeout: float) -> list[float]:
        """Return the moments at which ``look`` is to be called at the latest."""
        return [self._next] if timeout else []

    def look(self, workers: Iterable[Child], timeout: float) -> None:
        """Make those outworn that are stuck: their requests are over ``timeout`` (0: for ever)."""
        if not timeout or time.monotonic() < self._next:
            return
        patience = timeout + grace(timeout) + MARGIN
        self._next = time.monotonic() + PERIOD
        for child in workers:
            if child.ready_at is None or child.leaving or child.outworn:
                continue
            call = longest(child)
            if call is not None and (age := now() - call.since) > patience:
                child.outworn = True
                self._log.error(
                    "%s %d is stuck: %s has been in its application for %.1f s (timeout %g) and "
                    "nothing else gets through, as when C code keeps the interpreter lock; "
                    "replacing it. Its stacks follow", child.role, child.pid, call.request, age,
                    timeout)
                child.tell(DUMP)
