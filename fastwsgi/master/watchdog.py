"""Feed systemd's watchdog while the service is alive.

A worker is alive when it writes to the scoreboard (which it does without the interpreter lock) and
has a thread whose request is within its time. The service is alive while one worker is. Timeouts
deal with the others, without a restart of everything.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastwsgi.logs.error import ErrorLog
from fastwsgi.master.child import Child
from fastwsgi.system.systemd import Notifier
from fastwsgi.worker.scoreboard import APPLICATION, Board, now

BOOT_TIMEOUT = 60.0
"""Seconds without a worker that serves, while one starts, that still count as life."""


class Watchdog:
    """Feeds the watchdog of ``notifier``, if there is one.

    ``heartbeat`` is the time in seconds between two signs of life of a worker, None for none.
    """

    def __init__(self, notifier: Notifier, log: ErrorLog) -> None:
        self._notifier = notifier
        self._log = log
        self._limit = notifier.watchdog
        self.heartbeat = self._limit / 6 if self._limit else None
        self._next = 0.0
        self._served_at = time.monotonic()
        self._silent = False

    def deadlines(self) -> list[float]:
        """Return the times at which ``feed`` is to be called at the latest."""
        return [self._next] if self._limit else []

    def feed(self, workers: Sequence[Child], *, timeout: float, paused: bool) -> None:
        """Feed the watchdog when it is time and a worker lives; ``paused`` has none on purpose.

        A request may be in the application for ``timeout`` seconds, 0 for as long as it likes, if
        it has no limit of its own.
        """
        moment = time.monotonic()
        if not self._limit or moment < self._next:
            return
        self._next = moment + self._limit / 3
        if paused or self._alive(workers, moment, timeout):
            self._notifier.feed_watchdog()
            self._silent = False
        elif not self._silent:
            self._silent = True
            self._log.error("no worker has shown a sign of life for %.3g s; the watchdog is no "
                            "longer fed", self._limit / 2)

    def _alive(self, workers: Sequence[Child], moment: float, timeout: float) -> bool:
        assert self._limit is not None
        boards = [child.board for child in workers
                  if child.ready_at is not None and child.board is not None]
        if boards:
            self._served_at = moment
            return any(is_alive(board, self._limit / 2, timeout) for board in boards)
        return moment - self._served_at < BOOT_TIMEOUT


def is_alive(board: Board, silence: float, timeout: float) -> bool:
    """Return whether a worker wrote within ``silence`` seconds and has a thread within its time."""
    state = board.state()
    late = [call for call in state.calls
            if call.phase == APPLICATION and now() - call.since > call.limit(timeout)]
    return now() - state.written < silence and len(late) < board.threads
