"""Requests that take long (--slow-request): one record each, with its phases and a stack.

The core measures and tells of a slow request when it ends. A thread beside it looks at the calls in
flight and keeps the stack of one that has come to the threshold. A request that does not end has
its record after ten times the threshold, so that somebody hears of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastwsgi.worker.recycle import every
from fastwsgi.worker.request_timeout import stacks
from fastwsgi.worker.scoreboard import Call, now

if TYPE_CHECKING:
    from fastwsgi._core.core import Worker

AT_LAST = 10
"""Thresholds after which a request that lasts has its record."""


class SlowRequests:
    """Writes the records to ``log``; to be called as the core's Stopwatch does."""

    def __init__(self, threshold: float, log: Any) -> None:
        self._threshold = threshold
        self._log = log
        self._stacks: dict[tuple[int, int], tuple[float, str]] = {}
        self._told: set[tuple[int, int]] = set()

    def watch(self, worker: Worker) -> None:
        """Look at the calls of ``worker`` from a thread of its own, until it has stopped."""
        period = min(1.0, max(self._threshold / 5, 0.02))
        every(period, lambda: self._check(worker), "slow requests")

    def __call__(
        self, thread: int, number: int, request: str, request_id: str, queue: float,
        application: float, total: float,
    ) -> None:
        """Write the record of a request that has ended."""
        key = thread, number
        age, stack = self._stacks.pop(key, (0.0, ""))
        if key in self._told:
            self._told.discard(key)
            return
        client = max(0.0, total - queue - application)
        text = (f"slow request: {request} took {total:.3f} s: {queue:.3f} s waiting for a thread, "
                f"{application:.3f} s in the application, {client:.3f} s waiting for its client")
        members = {"duration": round(total, 6), "queue": round(queue, 6),
                   "application": round(application, 6), "client_wait": round(client, 6)}
        if request_id:
            members["request_id"] = request_id  # type: ignore[assignment]
        self._write(text, age, stack, members)

    def _write(self, text: str, age: float, stack: str, members: dict[str, Any]) -> None:
        if stack:
            text += f". Its stack after {age:.3f} s:\n{stack}"
        self._log.warning("%s", text, extra=members)

    def _check(self, worker: Worker) -> bool:
        seen = set()
        for index, number, at_work, since, method, target, client, ident, *_ in worker.calls():
            key, age = (index, number), now() - since
            seen.add(key)
            if not at_work or age < self._threshold:
                continue
            if key not in self._stacks:
                self._stacks[key] = age, stacks(ident, alone=True)
            elif age >= AT_LAST * self._threshold and key not in self._told:
                self._told.add(key)
                call = Call(index, number, 0, since, 0, method, client, target)
                begun, stack = self._stacks[key]
                self._write(f"slow request: {call.request} has been in the application for "
                            f"{age:.3f} s, and goes on", begun, stack,
                            {"application": round(age, 6)})
        for key in [*self._stacks]:
            if key not in seen:
                self._stacks.pop(key, None)
        self._told &= seen
        return bool(seen) or not worker.stopping
