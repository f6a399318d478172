"""Text streams into the error log: wsgi.errors, and what the application prints.

As text the log has what is written, unchanged. Where it consists of records, the whole lines of one
write are one record, so that a traceback that is written at once is one.
"""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Callable

TRACEBACK = "Traceback (most recent call last):\n"


class Stream(io.TextIOBase):
    """A text stream that gives whole lines to ``put``.

    Whole lines are given at once and unchanged. An unfinished line waits, per thread, for its end
    or for ``flush()``. So lines of several threads and workers do not mix. With ``joined`` a
    traceback that is written in pieces waits for its last line.
    """

    def __init__(self, put: Callable[[str], object], *, joined: bool = False) -> None:
        self._put = put
        self._joined = joined
        self._pending: dict[int, str] = {}

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the log file."""
        return "utf-8"

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str, /) -> int:
        """Give the whole lines of ``text`` now, keep the rest; return the length of ``text``."""
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        me = threading.get_ident()
        whole, newline, rest = (self._pending.pop(me, "") + text).rpartition("\n")
        if newline and self._joined and _is_begun(whole):
            self._pending[me] = whole + newline + rest
            return len(text)
        if rest:
            self._pending[me] = rest
        if newline:
            self._put(whole + newline)
        return len(text)

    def flush(self) -> None:
        """Give the unfinished line of the calling thread, and end it."""
        rest = self._pending.pop(threading.get_ident(), "")
        if rest:
            self._put(rest if rest.endswith("\n") else rest + "\n")

    def flush_all(self) -> None:
        """Give the unfinished lines of all threads; for the end of the process."""
        while self._pending:
            rest = self._pending.popitem()[1]
            self._put(rest if rest.endswith("\n") else rest + "\n")


def _is_begun(text: str) -> bool:
    """Whether this is a traceback without the line that ends it."""
    at = text.rfind(TRACEBACK.rstrip())
    return at == 0 and text.rpartition("\n")[2].startswith((" ", "Traceback"))


class Printed(Stream):
    """What takes the place of ``sys.stdout`` or ``sys.stderr``: records of ``logger``.

    A handler of the logger that prints by itself would come back here: that goes to ``before``, the
    stream that was there.
    """

    def __init__(self, logger: logging.Logger, level: int, before: io.TextIOBase) -> None:
        super().__init__(self._record, joined=True)
        self._logger = logger
        self._level = level
        self._before = before
        self._inside = threading.local()

    def _record(self, text: str) -> None:
        if getattr(self._inside, "now", False):
            with contextlib.suppress(OSError, ValueError):
                self._before.write(text)
            return
        self._inside.now = True
        try:
            self._logger.log(self._level, "%s", text.rstrip("\n"))
        finally:
            self._inside.now = False

    def fileno(self) -> int:
        """Return the descriptor of the stream that was there, for what needs one."""
        return self._before.fileno()

    def isatty(self) -> bool:
        """Return False."""
        return False
