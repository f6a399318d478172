"""Requests that stay in the application for too long (--timeout), seen from their own worker.

A request may have a limit of its own, by its path (--timeout-path) or because its application has
said so (``environ["fastwsgi.timeout"]``). With --cancel-gone, requests whose clients have gone are
interrupted in the same way, by ClientGone: once, and nothing is replaced for it.

First the log gets one record: what was asked, by whom, for how long, and the Python stacks of the
worker. Then RequestTimeout is raised in the request, which ends Python code. In the main thread it
ends most system calls too. A request that continues is blocked outside of Python: the worker asks
to be replaced, and exits when its other requests are answered. If it cannot even do that, because C
code holds the interpreter lock, its master notices.
"""

from __future__ import annotations

import faulthandler
import itertools
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from fastwsgi.errors import ClientGone
from fastwsgi.worker.scoreboard import Call, now

if TYPE_CHECKING:
    from fastwsgi._core.core import Worker

INTERRUPT = signal.SIGURG
"""What interrupts waits in the main thread: ignored by default, and nothing else is told by it."""
DUMP = signal.SIGUSR2
"""What makes a worker write its stacks to the log, even when it hangs as a whole."""
LONGEST_WAIT, SHORTEST_WAIT = 1.0, 0.02
"""Seconds between two looks, at most and at least."""
GONE_WAIT = 0.1
"""Seconds between two looks for clients that have gone, at most."""
EXIT_GRACE = 2.0
"""Seconds that a worker in which nothing but given up requests is left may take to end."""
_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_SERVES = os.path.join(_PACKAGE, "worker", "process.py")


def grace(timeout: float) -> float:
    """Return the seconds that a request may take to end after RequestTimeout has been raised."""
    return min(max(timeout, 1.0), 5.0)


def shown(limit: float) -> str:
    """Write a limit for the log; what is less than milliseconds comes from a clock."""
    return f"{round(limit, 3):g}"


class RequestTimeouts:
    """Watches the requests of ``worker`` with its ``threads``, each ``timeout`` seconds at most.

    0 is no limit; then only those are watched that have one of their own. With ``cancel_gone``
    those whose clients have gone are interrupted, too.
    ``give_up`` is called, once, when one does not end; None if nobody could replace this process.
    ``in_main_thread`` tells that the worker runs there and that ``INTERRUPT`` may be handled.
    """

    def __init__(
        self, worker: Worker, threads: int, timeout: float, log: Any,
        give_up: Callable[[], None] | None, *, in_main_thread: bool, cancel_gone: bool = False,
    ) -> None:
        self._worker = worker
        self._timeout = timeout
        self._cancel_gone = cancel_gone
        self._cancelled: set[tuple[int, int]] = set()
        self._started = False
        self._changed = threading.Event()
        self._interrupting = timeout
        self._threads = threads
        self._log = log
        self._give_up = give_up
        self._reported: dict[tuple[int, int], Call] = {}
        self._given_up: set[tuple[int, int]] = set()
        self._exiting_since = 0.0
        self._ended = False
        self._handler: Callable[[int, FrameType | None], None] | None = None
        if in_main_thread:
            self._handler = self._interrupted
            signal.signal(INTERRUPT, self._handler)

        worker.when_limited(self._limited)

    def start(self) -> None:
        """Watch, from a thread of its own, until ``stop``."""
        self._started = True  # first: while the thread starts, another one may come here
        try:
            threading.Thread(target=self._watch, name="fastwsgi-timeouts", daemon=True).start()
        except RuntimeError:  # the system has no more threads
            self._started = False
            raise

    def stop(self) -> None:
        """Watch no more."""
        self._worker.when_limited(None)
        self._ended = True
        self._changed.set()

    def _limited(self, _seconds: float) -> None:
        """Look at a request that has just set its own limit, and no later than that."""
        if not self._started:
            self.start()
        self._changed.set()

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        error = self._worker.take_overdue()
        if error is ClientGone:
            raise error("the client has gone (cancel_gone)")
        if error is not None:
            raise error(f"a request took longer than {shown(self._interrupting)} s (timeout)")

    def _watch(self) -> None:
        while not self._ended:
            self._changed.wait(self._check())
            self._changed.clear()

    def _check(self) -> float:
        """Deal with what is late; return the seconds to the next look."""
        calls = {}
        gone = []
        wait = min(LONGEST_WAIT, max((self._timeout or math.inf) / 10, SHORTEST_WAIT))
        if self._cancel_gone:
            wait = min(wait, GONE_WAIT)
        for index, number, at_work, since, method, target, client, ident, own, left, _ in (
                self._worker.calls()):
            calls[index, number] = at_work, ident, Call(
                index, number, 0, since, 0, method, client, target, own)
            if left and at_work:
                gone.append((index, number))
        for key in [key for key in self._reported if key not in calls]:
            call = self._reported.pop(key)
            self._log.info("%s has ended after %.1f s", call.request, now() - call.since)
            self._given_up.discard(key)
        for key, (at_work, ident, call) in calls.items():
            age, limit = now() - call.since, call.limit(self._timeout)
            if at_work and age >= limit:
                self._handle_late(key, call, ident, age, limit)
            next_look = limit - age if age < limit else limit / 10  # it is raised until it ends
            wait = min(wait, max(next_look, SHORTEST_WAIT))
        self._cancelled &= calls.keys()
        for key in gone:
            if key not in self._cancelled:
                self._cancel(key, *calls[key][1:])
        if self._given_up and self._worker.stopping:
            self._exit_when_idle()
        return wait

    def _cancel(self, key: tuple[int, int], ident: int, call: Call) -> None:
        by_signal = self._by_signal(call)
        if not self._worker.cancel(call.thread, call.number, by_signal):
            return
        self._cancelled.add(key)
        self._log.info("cancelling %s after %.1f s: its client has gone", call.request,
                       now() - call.since)
        if by_signal:
            signal.pthread_kill(ident, INTERRUPT)

    def _by_signal(self, call: Call) -> bool:
        return (call.thread == 0 and self._handler is not None
                and signal.getsignal(INTERRUPT) is self._handler)

    def _handle_late(
        self, key: tuple[int, int], call: Call, ident: int, age: float, limit: float,
    ) -> None:
        before = self._reported.get(key)
        if before is None or before.own_limit != call.own_limit:
            self._reported[key] = call
            self._worker.count_timeout()
            self._log.error(
                "%s has been in the application for %.1f s (timeout %s); interrupting it. Stacks "
                "of this worker:\n%s", call.request, age, shown(limit), stacks(ident))
        if age < limit + grace(limit):
            self._interrupting = limit
            self._interrupt(call, ident)
        elif key not in self._given_up:
            self._given_up.add(key)
            then = "replacing this worker" if self._give_up else "its thread is lost until it ends"
            self._log.error(
                "%s has not ended %.1f s after it began: it is blocked outside of Python, or "
                "ignores RequestTimeout; %s", call.request, age, then)
            if self._give_up:
                give_up, self._give_up = self._give_up, None
                give_up()

    def _interrupt(self, call: Call, ident: int) -> None:
        by_signal = self._by_signal(call)
        if self._worker.interrupt(
                call.thread, call.number, call.own_limit, by_signal) and by_signal:
            signal.pthread_kill(ident, INTERRUPT)

    def _exit_when_idle(self) -> None:
        """End a stopping worker when only stuck requests are left, or no thread is free."""
        if len(self._given_up) < min(self._threads, self._worker.stats()["connections"]):
            return
        if not self._exiting_since:
            self._exiting_since = time.monotonic()
            for key in self._given_up:
                self._log.error("exiting without an answer to %s", self._reported[key].request)
            self._worker.stop(graceful=False)
        elif time.monotonic() - self._exiting_since > EXIT_GRACE:  # the main thread hangs
            os._exit(1)


def write_stacks_on_signal(log: Any) -> None:
    """Let ``DUMP`` write the stacks of all threads, without the interpreter lock, to the log.

    Call it again when the log has been reopened.
    """
    try:
        faulthandler.register(DUMP, log.fileno(), all_threads=True)
    except (OSError, ValueError, RuntimeError):  # no log with a descriptor
        signal.signal(DUMP, signal.SIG_IGN)


def stacks(marked: int, *, alone: bool = False) -> str:
    """Return the Python stacks of the threads that run code of the application, ``marked`` first.

    Frames of the server and of the interpreter's start are left out; ``alone`` leaves out the other
    threads.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()
    parts = []
    for ident in sorted(frames, key=lambda ident: ident != marked):
        if alone and ident != marked:
            continue
        stack = _above_server(traceback.extract_stack(frames[ident]))
        if ident == marked or any(not frame.filename.startswith(_PACKAGE) for frame in stack):
            parts.append(f"{'--> ' if ident == marked else '    '}"
                         f"thread {names.get(ident, ident)}:\n")
            parts += traceback.format_list(stack)
    return "".join(parts).rstrip("\n")


def _above_server(stack: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    files = [frame.filename for frame in stack]
    if _SERVES in files:  # the main thread: the innermost such frame runs the worker
        return stack[len(files) - files[::-1].index(_SERVES) :]
    return list(itertools.dropwhile(
        lambda frame: frame.filename == threading.__file__, stack))
