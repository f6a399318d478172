"""The state of one request under ``strict_wsgi``: its calls, its head, its bytes.

The rule: check, report, and pass on. Every call of ``start_response`` and ``write`` reaches the
server unchanged, and what the server raises is raised.

An exchange refers to no environ, and an environ to no response. So there are no reference cycles,
and the application's objects are released when they would be without the checker.
"""

from __future__ import annotations

import contextlib
import inspect
import operator
import os
from collections.abc import Callable
from typing import Any

from fastwsgi.strict.environ import judge_environ
from fastwsgi.strict.head import Head, judge
from fastwsgi.strict.report import (
    Place,
    Reports,
    Spot,
    arguments,
    caller,
    of_callable,
    of_spot,
    spot,
)

CALLED, ITERATING, ENDED = range(3)

WITHOUT_BODY = frozenset((204, 205, 304))


class Exchange:
    """What has happened in one request so far."""

    __slots__ = (
        "_write", "application", "began", "excess", "head", "headers", "method", "opened", "phase",
        "pid", "reports", "sent", "snapshot", "socket", "start", "started", "target", "trapped",
    )

    def __init__(
        self, application: Callable[..., Any], reports: Reports, start: Callable[..., Any],
    ) -> None:
        self.application = application
        self.reports = reports
        self.start = start
        self.method: object = ""
        self.target: object = ""
        self.phase = CALLED
        self.pid = os.getpid()
        self.socket: Any = None             # of a request that asks for an upgrade
        self.started = False
        self.began: Spot | None = None      # the call of start_response that counts
        self.trapped: Place | None = None   # a call that raised although it had exc_info
        self.head: Head | None = None       # as the server has it
        self.headers: list[Any] | None = None
        self.snapshot: list[Any] = []
        self.opened = False                 # the head is on its way
        self.excess = False
        self.sent = 0
        self._write: Any = None             # the server's, once start_response has returned it

    def report(self, rule: str, place: Place | None, **facts: object) -> None:
        """Report a misuse at ``place``, or at the best line known.

        In a child that the application has forked nothing is reported: it ends without an answer.
        """
        if os.getpid() != self.pid:
            return
        self.reports.add(rule, place or self.nearest(), (self.method, self.target), facts)

    @property
    def taken_over(self) -> bool:
        """Whether the application speaks with its client itself: then there is no response."""
        return self.socket is not None and bool(self.socket.taken_over)

    def report_call(self, rule: str, **facts: object) -> None:
        """Report a misuse with the line that calls into the checker now."""
        self.report(rule, caller(), **facts)

    def nearest(self) -> Place:
        """Return the best line for a fault without a frame: where the response began."""
        if self.began is not None:
            return of_spot("start_response called at", self.began)
        return of_callable(self.application)

    # -- start_response and write --------------------------------------------------------------

    def start_response(self, *args: Any, **kwargs: Any) -> Any:
        """Check the call, then pass it on unchanged."""
        if self.taken_over:
            return self.start(*args, **kwargs)
        began = spot()
        try:
            excused = self._judge_call(args, kwargs)
            head = headers = None
            if len(args) > 1:
                headers = args[1]
                head = judge(args[0], headers)
                for rule, facts in head.faults:
                    self.report_call(rule, **facts)
            if not self.started:
                self.started = True
                self.began = began
            try:
                write = self.start(*args, **kwargs)
            except BaseException:
                if excused:
                    self.trapped = of_spot("called at", began)
                raise
            self.began = began
            self.head = head
            if type(headers) is list:
                self.headers, self.snapshot = headers, list(headers)
            if not callable(write):
                self.report("start-result", of_callable(self.start), found=write)
                return write
            self._write = write
            return self.write
        finally:
            args, kwargs = (), {}  # no cycle through exc_info's traceback and this frame

    def _judge_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Check all but status and headers; return whether the call has exc_info."""
        if kwargs or not 2 <= len(args) <= 3:
            self.report_call("start-arguments", given=arguments(args, kwargs))
        if self.phase == ENDED:
            self.report_call("start-after-end")
        exc_info = args[2] if len(args) > 2 else kwargs.get("exc_info")
        if exc_info is None:
            if self.started:
                self.report_call("start-repeated", first=of_spot("at", self.began))
            return False
        why = _fault_of_exc_info(exc_info)
        if why is not None:
            self.report_call("exc-info-type", found=exc_info, why=why)
        return True

    def write(self, *args: Any, **kwargs: Any) -> Any:
        """Check the call, then pass it on unchanged."""
        data = args[0] if args else None
        if kwargs or len(args) != 1:
            self.report_call("write-arguments", given=arguments(args, kwargs))
        elif type(data) is not bytes:
            self.report_call("write-type", found=data)
        if self.phase == ITERATING:
            self.report_call("write-in-iteration")
        elif self.phase == ENDED:
            self.report_call("write-after-end")
        size = size_of(data)
        if size:
            self.count(size, caller)
        return self._write(*args, **kwargs)

    # -- the body ------------------------------------------------------------------------------

    def count(self, size: int, where: Callable[[], Place | None]) -> None:
        """Note one or more bytes of the body, which come from ``where``."""
        self.open(where)
        head = self.head
        if head is None:
            return
        if self.sent == 0:
            if head.code in WITHOUT_BODY:
                self.report("body-forbidden", where(), code=head.code)
            elif not head.typed and self.method != "HEAD":  # where the server drops the body
                self.report("content-type-missing", None)
        self.sent += size
        if (head.length is not None and self.sent > head.length and not self.excess
                and not head.bodiless):
            self.excess = True
            self.report("body-long", where(), length=head.length)

    def open(self, where: Callable[[], Place | None]) -> None:
        """Note that the head is sent."""
        if self.opened:
            return
        self.opened = True
        headers = self.headers
        if headers is not None and not (
                len(headers) == len(self.snapshot)
                and all(map(operator.is_, headers, self.snapshot))):
            self.report("headers-changed", where())
        self.headers = None

    def finish(self, where: Callable[[], Place | None]) -> None:
        """Note that the body is complete."""
        self.open(where)
        head = self.head
        if (head is not None and head.length is not None and self.sent < head.length
                and not head.bodiless and self.method != "HEAD"):
            self.report("body-short", where(), sent=self.sent, length=head.length)

    def untrapped(self, where: Callable[[], Place | None]) -> None:
        """Report that the application continued after start_response raised."""
        place, self.trapped = self.trapped, None
        self.report("exc-info-trapped", place or where())

    def nowhere(self) -> None:
        """Stand for "no better place than the nearest"."""

    def judge_environ(self, environ: Any) -> None:
        """Check the environ when the application is done with it."""
        with contextlib.suppress(Exception):  # keys and values may be anything
            judge_environ(environ, self._report_environ)

    def _report_environ(self, rule: str, place: Place | None = None, **facts: object) -> None:
        self.report(rule, place or of_callable(self.application), **facts)


def size_of(block: object) -> int:
    """Bytes of a block as the server counts them, 0 for what it does not take."""
    return bytes.__len__(block) if issubclass(type(block), bytes) else 0  # type: ignore[arg-type]


def _fault_of_exc_info(found: Any) -> str | None:
    """Say what is wrong with an exc_info that is not None; None when nothing is."""
    if not isinstance(found, tuple):
        return ""
    if len(found) != 3:
        return f" of {len(found)} items"
    kind, error, trace = found
    if kind is None and error is None:
        return " of None: no exception is being handled"
    if not (isinstance(kind, type) and isinstance(error, kind)
            and isinstance(error, BaseException)):
        return " without an exception and its type"
    if trace is not None and not inspect.istraceback(trace):
        return " without a traceback"
    return None
