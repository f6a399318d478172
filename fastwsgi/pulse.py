"""Whether the service lives, for systemd's watchdog: told only while workers show that they do.

A worker that serves says ALIVE from a thread beside the one that runs the application, which takes
the interpreter lock: so a worker whose C code keeps that lock falls silent. One worker that is
heard is a service that lives; silent ones are the matter of their timeouts, not of a restart of
everything.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastwsgi.children import Child
from fastwsgi.logs import ErrorLog
from fastwsgi.systemd import Notifier

BOOT_PATIENCE = 60.0
"""Seconds without a worker that serves, while one starts, that still count as life."""


class Pulse:
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

    def moments(self) -> list[float]:
        """Return the moments at which ``beat`` is to be called at the latest."""
        return [self._next] if self._limit else []

    def beat(self, workers: Sequence[Child], *, resting: bool) -> None:
        """Feed the watchdog when it is time and a worker lives; ``resting`` has none on purpose."""
        now = time.monotonic()
        if not self._limit or now < self._next:
            return
        self._next = now + self._limit / 3
        if resting or self._alive(workers, now):
            self._notifier.alive()
            self._silent = False
        elif not self._silent:
            self._silent = True
            self._log.error("no worker has shown a sign of life for %.3g s; the watchdog is not "
                            "fed any more", self._limit / 2)

    def _alive(self, workers: Sequence[Child], now: float) -> bool:
        assert self._limit is not None
        serving = [child for child in workers if child.ready_at is not None]
        if serving:
            self._served_at = now
            return any(now - child.alive_at < self._limit / 2 for child in serving)
        return now - self._served_at < BOOT_PATIENCE
