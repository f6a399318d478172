"""Requests that take long (--slow-request): one record each, with its phases, cause and a stack.

The core measures and tells of a slow request when it ends. A thread beside it looks at the calls in
flight and keeps the stack of one that has come to the threshold. A request that does not end has
its record after ten times the threshold, so that somebody hears of it.

The threshold is a number of seconds, or that of each route which 99 of 100 of its calls keep to
(p99). There may be many of those, so their records are limited; all of them are counted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastwsgi.worker.causes import CAUSES, NUMBERS, NativeStacks, Seen, Times, cause, parts
from fastwsgi.worker.recycle import every
from fastwsgi.worker.request_timeout import stacks
from fastwsgi.worker.scoreboard import Call, now

if TYPE_CHECKING:
    from fastwsgi._core.core import Worker

AT_LAST = 10
"""Thresholds after which a request that lasts has its record."""
P99 = "p99"
LEAST = 0.01
"""Seconds that a call takes at least to be slow by the p99 of its route."""
SAMPLE = 100
"""Calls of a route of which that is known, at least."""
RENEW = 1.0
"""Seconds between two looks at what the p99 is."""
PAUSE = 1.0
"""Seconds between two records of requests that are slow by it, at least."""
LOOKS = 10
"""Looks at the native stack of a call, at most."""


class _Sample:
    """What was seen of a call that lasts."""

    def __init__(self) -> None:
        self.age = 0.0
        self.stack = ""
        self.looks = 0
        self.in_sqlite = 0


class SlowRequests:
    """Writes the records to ``log``; to be called as the core's Causes does.

    ``threshold`` is ``P99``, or in seconds; as an attribute, 0 stands for the former.
    """

    def __init__(self, threshold: float | str, log: Any) -> None:
        self.threshold = 0.0 if threshold == P99 else float(threshold)
        self._log = log
        self._limits: list[float] = []
        self._renewed = -math.inf
        self._samples: dict[tuple[int, int], _Sample] = {}
        self._told: set[tuple[int, int]] = set()
        self._native = NativeStacks()
        self._count: Callable[[int], None] = lambda _cause: None
        self._written = -math.inf
        self._unwritten = 0
        self._ended = False

    def watch(self, worker: Worker) -> None:
        """Look at the calls of ``worker`` from threads of their own, until it has stopped."""
        self._count = worker.count_slow
        period = min(1.0, max(self.threshold / 5, 0.02))
        every(period, lambda: self._check(worker), "slow requests")
        every(period, lambda: self._witness(worker), "interpreter lock")

    def __call__(
        self, thread: int, number: int, request: str, request_id: str, measured: tuple[float, ...],
        doing: tuple[Any, ...],
    ) -> None:
        """Write the record of a request that has ended."""
        times, seen = Times(*measured), Seen(*doing)
        key = thread, number
        sample = self._samples.pop(key, None) or _Sample()
        why = cause(parts(times, seen, sqlite=2 * sample.in_sqlite > sample.looks))
        self._count(NUMBERS[why])
        if key in self._told:
            self._told.discard(key)
            return
        if not self._may_write():
            return
        what = CAUSES[why]
        if why == "interpreter_lock" and seen.keeper is not None:
            method, target, client = seen.keeper
            what += f", which {Call(0, 0, 0, 0.0, 0, method, client, target).request} kept"
        text = (f"slow request: {request} took {times.total:.3f} s, mostly {what}: "
                f"{times.queue:.3f} s waiting for a thread, {times.application:.3f} s in the "
                f"application, {times.client:.3f} s waiting for its client; {times.cpu:.3f} s with "
                "a processor")
        members: dict[str, Any] = {"cause": why, **{name: round(seconds, 6) for name, seconds in (
            ("duration", times.total), ("queue", times.queue),
            ("application", times.application), ("client_wait", times.client), ("cpu", times.cpu),
            ("lock_wait", times.lock_wait + seen.interpreter_lock), ("garbage", times.garbage))}}
        if request_id:
            members["request_id"] = request_id
        self._write(text, sample, members)

    def _may_write(self) -> bool:
        """Count what is too much, where the p99 decides."""
        if self.threshold:
            return True
        if time.monotonic() - self._written < PAUSE:
            self._unwritten += 1
            return False
        self._written = time.monotonic()
        return True

    def _write(self, text: str, sample: _Sample, members: dict[str, Any]) -> None:
        if self._unwritten:
            text += f" ({self._unwritten} others since the last record)"
            self._unwritten = 0
        if sample.stack:
            text += f". Its stack after {sample.age:.3f} s:\n{sample.stack}"
        self._log.warning("%s", text, extra=members)

    def _witness(self, worker: Worker) -> bool:
        """Take the interpreter lock, and nothing else.

        Whoever reads a file gives it away and waits for it again, many times while another thread
        computes, and would take that one for one that keeps it.
        """
        worker.witness()
        return not self._ended

    def _check(self, worker: Worker) -> bool:
        self._renew(worker)
        seen = set()
        for index, number, at_work, since, method, target, client, ident, *_, tid in worker.calls():
            key, age = (index, number), now() - since
            seen.add(key)
            limit = self._limit(worker, index)
            if not at_work or age < limit / 2:
                continue
            sample = self._samples.setdefault(key, _Sample())
            self._look(sample, tid)
            if age < limit:
                continue
            if not sample.stack:
                sample.age, sample.stack = age, stacks(ident, alone=True)
            elif age >= AT_LAST * limit and key not in self._told and self.threshold:
                self._told.add(key)
                call = Call(index, number, 0, since, 0, method, client, target)
                self._write(f"slow request: {call.request} has been in the application for "
                            f"{age:.3f} s, and goes on", sample, {"application": round(age, 6)})
        for key in [*self._samples]:
            if key not in seen:
                self._samples.pop(key, None)
        self._told &= seen
        self._ended = not seen and worker.stopping
        return not self._ended

    def _look(self, sample: _Sample, tid: int) -> None:
        if sample.looks < LOOKS:
            found = self._native.is_in_sqlite(tid)
            if found is not None:
                sample.looks += 1
                sample.in_sqlite += found

    def _limit(self, worker: Worker, index: int) -> float:
        if self.threshold:
            return self.threshold
        route = worker.route_of_call(index)
        return self._limits[route] if route < len(self._limits) else math.inf

    def _renew(self, worker: Worker) -> None:
        """Look at what the p99 is by now."""
        if self.threshold or time.monotonic() - self._renewed < RENEW:
            return
        self._renewed = time.monotonic()
        bounds, counts = worker.durations()
        self._limits = [p99(bounds, calls) for calls in counts]
        worker.limit_slow(self._limits)


def p99(bounds: tuple[float, ...], counts: list[int]) -> float:
    """Return the bound that 99 of 100 calls keep to; infinity if few are known."""
    calls = sum(counts)
    if calls < SAMPLE:
        return math.inf
    below = 0
    for bound, count in zip(bounds, counts, strict=False):
        below += count
        if below >= 0.99 * calls:
            return max(bound, LEAST)
    return max(bounds[-1], LEAST)
