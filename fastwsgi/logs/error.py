"""The error log: what the server, its workers and the application's wsgi.errors write.

One record is one write, so that lines of several processes in one file stay whole. The master opens
the log once, the workers inherit it, and it is reopened on request after a rotation. With a
configuration of ``logging`` the records are those of a logger, and its handlers write them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from fastwsgi.errors import ConfigError
from fastwsgi.logs.output import File, Handler
from fastwsgi.logs.streams import Printed, Stream
from fastwsgi.system.paths import absolute, open_log

_FORMAT = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
_TIME = "%Y-%m-%d %H:%M:%S %z"
NAME = "fastwsgi.error"
"""The logger of a configuration of ``logging``; gunicorn.error if only that is named there."""


class ErrorLog:
    """The error log of one server.

    ``target`` is a path, ``-`` for stderr, or an open text file. ``level`` is the least severity
    written. ``owner`` (user and group id, -1 leaves it) is given a file that is created, so that
    workers under another account can reopen it. ``form`` is that of its records, a line of text if
    none is given. ``configure`` sets up ``logging``, whose loggers then get the records. ``more``
    are handlers that get them, too. Calling the log is the form the compiled core uses:
    ``log(level, message, exception)`` with the exception for a traceback, or None.
    """

    def __init__(
        self, target: str | TextIO, level: str, owner: tuple[int, int] = (-1, -1), *,
        form: logging.Formatter | None = None, configure: Callable[[], None] | None = None,
        more: tuple[logging.Handler, ...] = (),
    ) -> None:
        named = isinstance(target, str) and target != "-"
        self._path = absolute(str(target)) if named else None
        self._owner = owner
        self._handler = Handler(target if not isinstance(target, str) else None)
        self._handler.setFormatter(form or logging.Formatter(_FORMAT, _TIME))
        self._more = more
        self._captured: tuple[int, ...] = ()
        self._routed = False
        self._wanted_level: Callable[[], str] = lambda: ""
        try:
            self.reopen()
        except OSError as error:
            raise ConfigError(
                f"cannot write the error log {self._path}: {error.strerror}") from None
        # not logging.getLogger: several servers may live in one process, each with its own log
        self._logger = logging.Logger(NAME, level.upper())
        self._routed = configure is not None
        if configure is not None:
            configure()
            self._logger = configured_logger(level)
        if not self._logger.hasHandlers():
            self._logger.addHandler(self._handler)
        for handler in more:
            self._logger.addHandler(handler)
        self._as_records = self._routed or form is not None or bool(more)
        if self._as_records:
            from fastwsgi.logs.context import RequestFilter  # needed where records have members

            self._logger.addFilter(RequestFilter())
        self.errors = Stream(self._record_written if self._as_records else self._put_text,
                             joined=self._as_records)

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

    def warning(
        self, message: str, *values: object, extra: dict[str, object] | None = None,
    ) -> None:
        """Write what an operator should look at; ``extra`` are members of the record."""
        self._logger.warning(message, *values, extra=extra)

    def error(self, message: str, *values: object, exc: BaseException | None = None) -> None:
        """Write a failure, with the traceback of ``exc`` if there is one."""
        self._logger.error(message, *values, exc_info=exc)

    def critical(self, message: str, *values: object) -> None:
        """Write a failure that ends a service; for hooks, which know this name."""
        self._logger.critical(message, *values)

    def exception(self, message: str, *values: object) -> None:
        """Write a failure with the traceback of the exception that is being handled; for hooks."""
        self._logger.error(message, *values, exc_info=True)

    def complain(self, text: str) -> None:
        """Say what is wrong with another place of this log, here only."""
        self._handler.handle(logging.LogRecord(NAME, logging.ERROR, "", 0, text, (), None))

    def fileno(self) -> int:
        """Return the descriptor written to; raise OSError or ValueError if there is none."""
        file = self._handler.file or sys.stderr
        if file is None:
            raise OSError("no standard error")
        return file.fileno()

    @property
    def level(self) -> str:
        """The least severity that is written."""
        return logging.getLevelName(self._logger.level).lower()

    def set_level(self, level: str) -> None:
        """Change the least severity that is written."""
        self._logger.setLevel(level.upper())
        # logging remembers what is enabled, and forgets it for loggers that it has a name for only
        getattr(self._logger, "_cache", {}).clear()

    def follow(self, wanted: Callable[[], str]) -> None:
        """Take the level from ``wanted``, if it names one, now and whenever the log is reopened."""
        self._wanted_level = wanted
        self._take_level()

    def _take_level(self) -> None:
        if level := self._wanted_level():
            self.set_level(level)

    def reopen(self) -> None:
        """Reopen the file after it was moved away; raise OSError and keep the old one."""
        self._take_level()
        if self._routed:
            reopen_files()
        if not self._path:
            return
        file = File(open_log(self._path, self._owner))
        old, self._handler.file = self._handler.file, file
        for fd in self._captured:
            os.dup2(file.fileno(), fd)
        if old is not None:
            old.close()

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Let what is written to stdout and stderr in the block come here.

        As text their descriptors are the log's, so that programs that the application starts write
        there, too. Where the log consists of records, what Python prints becomes some.
        """
        if self._as_records:
            yield from self._capture_prints()
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        saved = [os.dup(fd) for fd in (1, 2)]
        self._captured = (1, 2)
        try:
            target = self.fileno()
            for fd in self._captured:
                if fd != target:
                    os.dup2(target, fd)
            yield
        finally:
            self._captured = ()
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
            for fd, old in zip((1, 2), saved, strict=True):
                os.dup2(old, fd)
                os.close(old)

    def _capture_prints(self) -> Iterator[None]:
        before = sys.stdout, sys.stderr
        if self._handler.file is None:
            self._handler.file = sys.stderr
        out, err = (
            Printed(self._logger.getChild(name) if self._routed else self._child(name), level,
                    cast("Any", stream))
            for name, level, stream in (("stdout", logging.INFO, before[0]),
                                        ("stderr", logging.WARNING, before[1])))
        sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
        try:
            yield
        finally:
            for printed in (out, err):
                printed.flush_all()
            if sys.stdout is cast("Any", out):
                sys.stdout = before[0]
            if sys.stderr is cast("Any", err):
                sys.stderr = before[1]

    def _child(self, name: str) -> logging.Logger:
        child = logging.Logger(f"{NAME}.{name}")
        child.parent = self._logger
        for one in self._logger.filters:
            child.addFilter(one)
        return child

    def close(self) -> None:
        """Write what wsgi.errors still holds and close the file, if the log opened it."""
        self.errors.flush_all()
        for handler in self._more:
            self._logger.removeHandler(handler)
            handler.close()
        if self._routed:
            self._logger.removeHandler(self._handler)
        if self._path and self._handler.file is not None:
            self._handler.file.close()
            self._handler.file = None

    def _put_text(self, text: str) -> None:
        self._handler.acquire()
        try:
            self._handler.put(text)
        finally:
            self._handler.release()

    def _record_written(self, text: str) -> None:
        self._logger.error("%s", text.rstrip("\n"))


def configured_logger(level: str) -> logging.Logger:
    """Return the logger that a configuration of ``logging`` has for the server's records."""
    known = logging.root.manager.loggerDict
    other = "gunicorn.error"
    name = other if isinstance(known.get(other), logging.Logger) and NAME not in known else NAME
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:
        logger.setLevel(level.upper())
    return logger


def reopen_files() -> None:
    """Let the files of all handlers of ``logging`` be opened anew with the next record."""
    for reference in logging._handlerList:  # type: ignore[attr-defined]
        handler = reference()
        if isinstance(handler, logging.FileHandler):
            handler.acquire()
            try:
                if handler.stream is not None:
                    handler.stream.close()
                    handler.stream = None
            finally:
                handler.release()
