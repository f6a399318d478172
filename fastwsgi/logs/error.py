"""The error log: what the server, its workers and the application's wsgi.errors write.

One record is one write, so that lines of several processes in one file stay whole. The master opens
the log once, the workers inherit it, and it is reopened on request after a rotation.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
from typing import TextIO

from fastwsgi.errors import ConfigError
from fastwsgi.system.paths import absolute, open_log
from fastwsgi.system.pipes import no_sigpipe

_FORMAT = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
_TIME = "%Y-%m-%d %H:%M:%S %z"


class ErrorLog:
    """The error log of one server.

    ``target`` is a path, ``-`` for stderr, or an open text file. ``level`` is the least severity
    written. ``owner`` (user and group id, -1 leaves it) is given a file that is created, so that
    workers under another account can reopen it. Calling the log is the form the compiled core
    uses: ``log(level, message, exception)`` with the exception for a traceback, or None.
    """

    def __init__(
        self, target: str | TextIO, level: str, owner: tuple[int, int] = (-1, -1),
    ) -> None:
        named = isinstance(target, str) and target != "-"
        self._path = absolute(str(target)) if named else None
        self._owner = owner
        self._handler = _Handler(target if not isinstance(target, str) else None)
        self._handler.setFormatter(logging.Formatter(_FORMAT, _TIME))
        # not logging.getLogger: several servers may live in one process, each with its own log
        self._logger = logging.Logger("fastwsgi.error", level.upper())
        self._logger.addHandler(self._handler)
        self.errors = ErrorStream(self._handler)
        try:
            self.reopen()
        except OSError as error:
            raise ConfigError(
                f"cannot write the error log {self._path}: {error.strerror}") from None

    def __call__(self, level: int, message: str, exc: BaseException | None = None) -> None:
        """Write one record, with the traceback of ``exc`` if there is one."""
        self._logger.log(level, message, exc_info=exc)

    def log(self, level: int, message: str, *values: object) -> None:
        """Write an event of a level of the logging module."""
        self._logger.log(level, message, *values)

    def debug(self, message: str, *values: object) -> None:
        """Write what only a developer of the server wants to know."""
        self._logger.debug(message, *values)

    def info(self, message: str, *values: object) -> None:
        """Write an event of normal operation."""
        self._logger.info(message, *values)

    def warning(self, message: str, *values: object) -> None:
        """Write what an operator should look at."""
        self._logger.warning(message, *values)

    def error(self, message: str, *values: object, exc: BaseException | None = None) -> None:
        """Write a failure, with the traceback of ``exc`` if there is one."""
        self._logger.error(message, *values, exc_info=exc)

    def critical(self, message: str, *values: object) -> None:
        """Write a failure that ends a service; for hooks, which know this name."""
        self._logger.critical(message, *values)

    def exception(self, message: str, *values: object) -> None:
        """Write a failure with the traceback of the exception that is being handled; for hooks."""
        self._logger.error(message, *values, exc_info=True)

    def fileno(self) -> int:
        """Return the descriptor written to; raise OSError or ValueError if there is none."""
        file = self._handler.file or sys.stderr
        if file is None:
            raise OSError("no standard error")
        return file.fileno()

    def set_level(self, level: str) -> None:
        """Change the least severity that is written."""
        self._logger.setLevel(level.upper())

    def reopen(self) -> None:
        """Reopen the file after it was moved away; raise OSError and keep the old one."""
        if not self._path:
            return
        file = _File(open_log(self._path, self._owner))
        old, self._handler.file = self._handler.file, file
        if old is not None:
            old.close()

    def close(self) -> None:
        """Write what wsgi.errors still holds and close the file, if the log opened it."""
        self.errors.flush_all()
        if self._path and self._handler.file is not None:
            self._handler.file.close()
            self._handler.file = None


class _File:
    """A log file without a buffer: on a full disk a record is lost, not kept for a later try.

    A buffer would grow with every record, and fail once more when the file is closed.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, text: str) -> None:
        """Write all of ``text``; raise OSError."""
        rest = memoryview(text.encode("utf-8", "backslashreplace"))
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def flush(self) -> None:
        """Do nothing: everything is written."""

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class _Handler(logging.Handler):
    """Write whole texts to the log's file, or to whatever stderr is now."""

    def __init__(self, file: TextIO | _File | None) -> None:
        super().__init__()
        self.file = file

    def emit(self, record: logging.LogRecord) -> None:
        self.put(self.format(record) + "\n")

    def put(self, text: str) -> None:
        """Write and flush; a log that cannot be written must not stop the service."""
        file = self.file or sys.stderr
        if file is None:
            return
        with contextlib.suppress(OSError, ValueError), no_sigpipe():
            try:
                file.write(text)
            except UnicodeEncodeError:
                file.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            file.flush()


class ErrorStream(io.TextIOBase):
    """``wsgi.errors`` (PEP 3333): a text stream into the error log.

    Whole lines are written at once and unchanged. An unfinished line waits, per thread, for its end
    or for ``flush()``. So lines of several threads and workers do not mix.
    """

    def __init__(self, handler: _Handler) -> None:
        self._handler = handler
        self._pending: dict[int, str] = {}

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the log file."""
        return "utf-8"

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str, /) -> int:
        """Write the whole lines of ``text`` now, keep the rest; return the length of ``text``."""
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        me = threading.get_ident()
        whole, newline, rest = (self._pending.pop(me, "") + text).rpartition("\n")
        if rest:
            self._pending[me] = rest
        if newline:
            self._put(whole + newline)
        return len(text)

    def flush(self) -> None:
        """Write the unfinished line of the calling thread, and end it."""
        rest = self._pending.pop(threading.get_ident(), "")
        if rest:
            self._put(rest + "\n")

    def flush_all(self) -> None:
        """Write the unfinished lines of all threads; for the end of the process."""
        while self._pending:
            self._put(self._pending.popitem()[1] + "\n")

    def _put(self, text: str) -> None:
        self._handler.acquire()
        try:
            self._handler.put(text)
        finally:
            self._handler.release()
