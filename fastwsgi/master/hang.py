"""Workers that hang as a whole, seen from their master through the scoreboard.

A request that is over its time is the matter of its own worker (worker/request_timeout.py).
What keeps a worker from that, or from serving at all, is found here, whatever it is:

1. A request is long over its time: C code keeps the interpreter lock.
2. The scoreboard falls silent. Whoever leads the core's loop writes there every ``BEAT`` seconds,
   without the interpreter lock; nobody does when nobody leads, or when the loop's lock is kept.
3. The loop runs, complete requests wait, a thread is in no call, and none is taken: somebody was
   not woken.

The log says which, has the stacks written by a signal that needs no lock, and the worker is
replaced. All threads in calls within their time are no cause, nor are slow clients, which wait in
the loop. A time without progress counts in steps between two looks, and no step for more than
``LONGEST_STEP``: so a machine, or a terminal's job, that was halted as a whole accuses nobody when
it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from fastwsgi.config.config import Config
from fastwsgi.logs.error import ErrorLog
from fastwsgi.master.child import Child
from fastwsgi.worker.request_timeout import DUMP, grace, shown
from fastwsgi.worker.scoreboard import APPLICATION, State, now

MARGIN = 2.0
"""Seconds that a worker may take to tell by itself that it wants to be replaced."""
PERIOD = 1.0
"""Seconds between two looks."""
LONGEST_STEP = 2 * PERIOD
"""Seconds without progress that one look can add at most."""
SHORTEST = 2.0
"""Seconds without progress that are nothing yet, however short ``timeout`` is; beside MARGIN."""


class Progress:
    """What a worker has been seen to do; ``silent`` and ``untaken`` are seconds without it."""

    def __init__(self, state: State, moment: float) -> None:
        self._state = state
        self._checked_at = moment
        self.silent = 0.0
        self.untaken = 0.0

    def check(self, state: State, moment: float) -> None:
        """Compare with what was seen before, and count the seconds without progress."""
        step, self._checked_at = min(moment - self._checked_at, LONGEST_STEP), moment
        if state.written == self._state.written:
            self.silent += step
            return
        self.silent = 0.0
        if has_starving_requests(state) and taken(state) == taken(self._state):
            self.untaken += min(state.written - self._state.written, LONGEST_STEP)
        else:
            self.untaken = 0.0
        self._state = state


def has_starving_requests(state: State) -> bool:
    """Return whether complete requests wait although a thread is free."""
    return state.counters["waiting"] > 0 and len(state.calls) < state.threads


def taken(state: State) -> int:
    """Return how many requests threads have taken."""
    return state.counters["requests"]


class HangDetector:
    """Checks the workers of a master periodically."""

    def __init__(self, log: ErrorLog) -> None:
        self._log = log
        self._next = 0.0
        self._seen: dict[int, Progress] = {}

    def deadlines(self, config: Config) -> list[float]:
        """Return the times at which ``check`` is to be called at the latest."""
        return [self._next] if config.timeout or config.timeout_path else []

    def check(self, workers: Iterable[Child], config: Config) -> None:
        """Have those replaced that hang: nothing may take ``timeout`` seconds, 0 for no limit.

        Requests may have limits of their own instead.
        """
        timeout = config.timeout
        if not timeout and not config.timeout_path:
            self._seen.clear()
            return
        moment = time.monotonic()
        if moment < self._next:
            return
        self._next = moment + PERIOD
        before, self._seen = self._seen, {}
        for child in workers:
            if child.ready_at is None or child.stopping or child.replace_wanted:
                continue
            if child.board is None:
                continue
            state = child.board.state()
            progress = before.get(child.pid)
            if progress is None:
                progress = Progress(state, moment)
            else:
                progress.check(state, moment)
            self._seen[child.pid] = progress
            why = _late_request(state, timeout)
            if not why and child.beats and timeout:
                why = _no_progress(state, progress, timeout)
            if why:
                child.replace_wanted = child.hangs = True
                self._log.error("%s %d is stuck: %s; replacing it. Its stacks follow",
                                child.role, child.pid, why)
                child.send_signal(DUMP)


def _late_request(state: State, timeout: float) -> str:
    """Say which request is so long over its time that its worker cannot deal with it."""
    for call in state.calls:
        limit, age = call.limit(timeout), now() - call.since
        if call.phase == APPLICATION and age > limit + grace(limit) + MARGIN:
            return (f"{call.request} has been in its application for {age:.1f} s (timeout "
                    f"{shown(limit)}) and no other request is served, as when C code holds the "
                    "interpreter lock")
    return ""


def _no_progress(state: State, progress: Progress, timeout: float) -> str:
    """Say what has made no progress for too long."""
    limit = max(timeout, SHORTEST) + MARGIN
    if progress.silent > limit:
        return (f"its loop has not run for {progress.silent:.1f} s (timeout {timeout:g}), so it "
                "neither accepts nor answers")
    if progress.untaken > limit:
        waiting, free = state.counters["waiting"], state.threads - len(state.calls)
        return (f"{waiting} complete request{'' if waiting == 1 else 's'} and {free} free "
                f"thread{'' if free == 1 else 's'} wait for each other, and none has been taken "
                f"for {progress.untaken:.1f} s (timeout {timeout:g})")
    return ""
