"""The checker of ``strict_wsgi``: it wraps the application and reports what it does wrong.

The rule: a list stays that list, a file wrapper stays that wrapper, and an error without the
checker is the same error with it. So the response does not depend on the setting. Any other
iterable is checked block by block. rules.py has the texts, report.py writes them, and exchange.py
follows the calls of one request.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
import stat
import tempfile
from collections.abc import Callable
from typing import Any

from fastwsgi._core.core import FileWrapper
from fastwsgi.strict.environ import ErrorsFace, FileFace, HintsFace, InputFace
from fastwsgi.strict.exchange import ENDED, ITERATING, Exchange, size_of
from fastwsgi.strict.report import (
    NOWHERE,
    Log,
    Place,
    Reports,
    caller,
    entrance,
    of_callable,
    of_iterator,
)

PLAIN_FILES = (io.FileIO, io.BufferedReader, io.BufferedRandom)


def check(application: Callable[..., Any], log: Log | None = None) -> Checker:
    """Wrap a WSGI application; misuse of PEP 3333 goes to ``log``, once per source line.

    The setting ``strict_wsgi`` wraps the whole application. Around the application beneath a
    middleware, it also reports what the middleware does wrong as that application's server. ``log``
    is called with a level of :mod:`logging`, a text and None; without it the logger
    ``fastwsgi.strict`` is used.
    """
    return Checker(application, log or _to_logging)


def _to_logging(level: int, message: str, error: BaseException | None) -> None:
    logging.getLogger("fastwsgi.strict").log(level, "%s", message, exc_info=error)


class Checker:
    """A WSGI application around another. Safe from threads."""

    def __init__(self, application: Callable[..., Any], log: Log) -> None:
        self.application = application
        self.reports = Reports(log)
        self._files: FileFace | None = None

    @entrance
    def __call__(self, environ: Any, start_response: Callable[..., Any]) -> Any:
        exchange = Exchange(self.application, self.reports, start_response)
        if type(environ) is dict:
            self._enter(environ, exchange)
        else:
            with contextlib.suppress(Exception):  # it may be anything
                self._enter(environ, exchange)
            exchange.report("environ-type", of_callable(self.application), found=environ)
        try:
            result = self.application(environ, exchange.start_response)
        except BaseException as error:
            exchange.phase = ENDED
            if isinstance(error, TypeError) and _raised_here(error):
                exchange.report(
                    "application-arguments", of_callable(self.application), error=str(error))
            raise
        return _judged(result, environ, exchange)

    def _enter(self, environ: Any, exchange: Exchange) -> None:
        """Note the request for the reports, and put faces in front of streams and files."""
        exchange.method = environ.get("REQUEST_METHOD", "")
        exchange.target = environ.get("RAW_URI") or environ.get("PATH_INFO", "")
        stream = environ.get("wsgi.input")
        if stream is not None:
            environ["wsgi.input"] = InputFace(stream, exchange.report_call)
        stream = environ.get("wsgi.errors")
        if stream is not None:
            environ["wsgi.errors"] = ErrorsFace(stream, exchange.report_call)
        hints = environ.get("wsgi.early_hints")
        if hints is not None:
            environ["wsgi.early_hints"] = HintsFace(hints, exchange.report_call)
        exchange.socket = environ.get("fastwsgi.socket")
        wrapper = environ.get("wsgi.file_wrapper")
        if wrapper is not None:
            face = self._files
            if face is None or face.wrapper is not wrapper:
                face = self._files = FileFace(wrapper, self._report_file)
            environ["wsgi.file_wrapper"] = face

    def _report_file(self, rule: str, **facts: object) -> None:
        self.reports.add(rule, caller() or NOWHERE, None, facts)

    def summarize(self) -> None:
        """Write how often each misuse was met; for the end of the process."""
        self.reports.summary()


def _judged(result: Any, environ: Any, exchange: Exchange) -> Any:
    """Check what the application returned; return what the server gets in its place."""
    if exchange.taken_over:
        exchange.phase = ENDED
        return result
    if exchange.trapped is not None:
        exchange.untrapped(exchange.nowhere)
    kind = type(result)
    if kind is list or kind is tuple:
        _judge_whole(result, environ, exchange)
        return result
    if result is None or isinstance(result, (bytes, str, bytearray, memoryview)):
        if result is None:
            exchange.report("return-not-iterable", None, found=None, hint="; is a return missing?")
        else:
            exchange.report("return-string", None, found=result)
        exchange.phase = ENDED
        return result
    if kind is FileWrapper:
        size = _size_of_plain_file(result.filelike)
        if size is not None:
            _judge_file(size, environ, exchange)
            return result
    exchange.phase = ITERATING
    return (SizedBody if hasattr(kind, "__len__") else Body)(exchange, result, environ)


def _judge_whole(blocks: Any, environ: Any, exchange: Exchange) -> None:
    """Check a list or tuple, which stays what it is: the server takes its length."""
    exchange.judge_environ(environ)
    if not exchange.started:
        exchange.report("start-missing", None, what="returned its body")
    total = 0
    for number, block in enumerate(blocks, 1):
        if type(block) is bytes:
            total += len(block)
        else:
            exchange.report("block-type", None, number=number, found=block)
            total += size_of(block)
    if total:
        exchange.count(total, exchange.nowhere)
    exchange.finish(exchange.nowhere)
    exchange.phase = ENDED


def _judge_file(size: int, environ: Any, exchange: Exchange) -> None:
    """Check a file that the server sends by itself, as far as Content-Length allows."""
    exchange.judge_environ(environ)
    if not exchange.started:
        exchange.report("start-missing", None, what="returned a file")
    if exchange.head is not None and exchange.head.length is not None:
        size = min(size, max(0, exchange.head.length - exchange.sent))
    if size:
        exchange.count(size, exchange.nowhere)
    exchange.finish(exchange.nowhere)
    exchange.phase = ENDED


def _raised_here(error: BaseException) -> bool:
    """Whether the exception comes from the call itself and not from the code called."""
    trace = error.__traceback__
    return trace is not None and trace.tb_next is None


def _size_of_plain_file(file: Any) -> int | None:
    """Bytes from the position of a regular file to its end; None for any other object."""
    if isinstance(file, tempfile._TemporaryFileWrapper):
        file = file.file
    if type(file) not in PLAIN_FILES:
        return None
    try:
        status = os.fstat(file.fileno())
        return max(0, status.st_size - file.tell()) if stat.S_ISREG(status.st_mode) else None
    except (OSError, ValueError):
        return None


class Body:
    """The iterable that the application returned, checked block by block.

    It always has ``close()``, which calls the close() of the returned object, not of the iterator
    that the object may have made.
    """

    __slots__ = (
        "_close", "_closed", "_ended", "_environ", "_exchange", "_iterator", "_made", "_result",
        "_said", "_unstarted",
    )

    def __init__(self, exchange: Exchange, result: Any, environ: Any) -> None:
        self._exchange = exchange
        self._result = result
        self._environ = environ
        self._iterator: Any = None
        self._made = 0
        self._said: int | None = None
        self._ended = self._closed = self._unstarted = False
        self._close = getattr(result, "close", None)
        if self._close is not None and not callable(self._close):
            exchange.report("close-not-callable", None, found=self._close)

    def _where(self) -> Place | None:
        return of_iterator(self._iterator)

    @entrance
    def __iter__(self) -> Body:
        try:
            self._iterator = iter(self._result)
        except TypeError as error:
            if _raised_here(error):
                hint = ""
                if inspect.isawaitable(self._result) or hasattr(type(self._result), "__aiter__"):
                    hint = ": WSGI applications are plain functions, not async ones"
                self._exchange.report("return-not-iterable", None, found=self._result, hint=hint)
            raise
        return self

    @entrance
    def __next__(self) -> Any:
        if self._iterator is None:
            iter(self)
        exchange = self._exchange
        if self._closed:
            exchange.report("read-after-close", None)
        try:
            block = next(self._iterator)
        except StopIteration:
            self._end()
            raise
        if exchange.taken_over:
            return block
        self._made += 1
        if exchange.trapped is not None:
            exchange.untrapped(self._where)
        if self._made == 1:
            exchange.judge_environ(self._environ)
        if not exchange.started and not (type(block) is bytes and not block):
            self._say_unstarted("yielded its first block")
        if type(block) is bytes:
            size = len(block)
        else:
            exchange.report("block-type", self._where(), number=self._made, found=block)
            size = size_of(block)
        if size:
            exchange.count(size, self._where)
        return block

    def _end(self) -> None:
        exchange = self._exchange
        if self._ended or exchange.taken_over:
            return
        self._ended = True
        if exchange.trapped is not None:
            exchange.untrapped(self._where)
        if self._made == 0:
            exchange.judge_environ(self._environ)
        if not exchange.started:
            self._say_unstarted("ended")
        if self._said is not None and self._said != self._made:
            exchange.report("length-inaccurate", self._where(), said=self._said, made=self._made)
        exchange.finish(self._where)

    def _say_unstarted(self, what: str) -> None:
        """Report, once, that there is a body but no head; empty blocks may come before it."""
        if not self._unstarted:
            self._unstarted = True
            self._exchange.report("start-missing", self._where(), what=what)

    @entrance
    def close(self) -> None:
        """Call close() of what the application returned."""
        self._closed = True
        self._exchange.phase = ENDED
        if self._close is not None:
            self._close()

    def __del__(self) -> None:
        if not self._closed and self._close is not None:
            with contextlib.suppress(Exception):  # at the end of the process everything may be gone
                self._exchange.report("close-missing", of_callable(self._exchange.application))


class SizedBody(Body):
    """A body whose iterable has a length, in blocks."""

    __slots__ = ()

    def __init__(self, exchange: Exchange, result: Any, environ: Any) -> None:
        super().__init__(exchange, result, environ)
        with contextlib.suppress(Exception):
            self._said = len(result)

    def __len__(self) -> int:
        return len(self._result)
