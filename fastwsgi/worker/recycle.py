"""A worker that reaches a limit (--max-requests, --max-lifetime, --max-rss) asks to be replaced.

The worker only asks, and continues to serve. Its master starts one replacement at a time, and stops
the worker when that is ready. So no request is refused, and workers that reach a limit together do
not stop together.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Mapping

from fastwsgi.config.config import Config

PERIOD = 0.1
"""Seconds between two looks at the limits."""


class Limits:
    """The limits of one worker, counted from now on.

    ``counters`` tells the worker's counters, of which ``requests`` is used. Each worker draws a
    jitter of its own, up to ``max_requests_jitter``.
    """

    def __init__(self, config: Config, counters: Callable[[], Mapping[str, int]]) -> None:
        self._counters = counters
        self._requests = config.max_requests
        if self._requests:
            # not the shared generator, from which forked siblings would draw the same
            import random

            self._requests += random.SystemRandom().randint(0, config.max_requests_jitter)
        self._lifetime = config.max_lifetime
        self._end = time.monotonic() + config.max_lifetime
        self._rss = config.max_rss

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return bool(self._requests or self._lifetime or self._rss)

    def too_small(self) -> str:
        """Say what is wrong with ``max_rss`` if a new worker exceeds it; then ignore it."""
        if not self._rss or (size := resident()) < self._rss:
            return ""
        limit, self._rss = self._rss, 0
        return (f"max_rss of {limit} MiB is ignored: a new worker of this application takes "
                f"{size:.0f} MiB")

    def reached(self) -> str:
        """Say which limit has been reached, empty for none."""
        if self._requests and (count := self._counters()["requests"]) >= self._requests:
            return f"{count} requests served"
        if self._lifetime and time.monotonic() >= self._end:
            return f"served for {self._lifetime:g} s"
        if self._rss and (size := resident()) >= self._rss:
            return f"{size:.0f} MiB of memory used"
        return ""


def resident() -> float:
    """Return the resident memory of this process in MiB; on macOS the most it has ever had."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, else KiB
        return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def every(seconds: float, call: Callable[[], bool | None], name: str) -> None:
    """Call ``call`` in a thread of its own, again and again until it returns False."""
    def run() -> None:
        clock = threading.Event()  # never set
        while call() is not False:
            clock.wait(seconds)

    threading.Thread(target=run, name=f"fastwsgi-{name}", daemon=True).start()
