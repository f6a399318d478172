"""The hooks around each request, pre_request and post_request, with gunicorn's arguments.

The application is wrapped only if one of them is set, so the core knows nothing of them. The
wrapper changes no response: environ, write and the errors of start_response are passed on, a list
stays a list with its length, the kernel still sends a file, and a stream goes block by block
(_core/on_close.pxi).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from fastwsgi._core.core import FileWrapper, OnClose
from fastwsgi.config.hooks import Hooks, WorkerView

Application = Callable[..., Any]


def wrap(application: Application, hooks: Hooks, worker: WorkerView) -> Application:
    """Return the application, within those of the two hooks that are set.

    ``worker`` is what they are given of the worker; its log gets what post_request raises.
    """
    if "post_request" in hooks:
        return lambda environ, start_response: _Exchange(
            application, hooks, worker, environ, start_response).answer()
    if "pre_request" in hooks:
        def begun(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            pid = os.getpid()
            hooks.call("pre_request", worker, RequestView.of(environ))
            if os.getpid() != pid:  # the hook has forked: the core ends the child
                return None
            return application(environ, start_response)

        return begun
    return application


@dataclass
class RequestView:
    """A request as a hook sees it: gunicorn's names.

    ``uri`` is the target as it was sent, ``path`` and ``query`` its parts, not decoded; ``version``
    is (1, 1) or (1, 0); ``headers`` are (NAME, value) in capitals, those that were repeated joined,
    without what the server dropped. ``remote_addr`` is (address, port), or an empty string behind
    a unix socket; ``body`` is ``wsgi.input``.
    """

    method: str
    uri: str
    path: str
    query: str
    version: tuple[int, int]
    headers: list[tuple[str, str]]
    remote_addr: tuple[str, int] | str
    scheme: str
    body: Any

    @classmethod
    def of(cls, environ: dict[str, Any]) -> RequestView:
        """Make it of an environ that the application has not touched yet."""
        uri = environ["RAW_URI"]
        path, _, query = uri.partition("?")
        if not path.startswith(("/", "*")):  # absolute-form (RFC 9112 3.2.2)
            path = urlsplit(path).path
        headers = [(name[5:].replace("_", "-"), value) for name, value in environ.items()
                   if name.startswith("HTTP_")]
        headers += [(name.replace("_", "-"), environ[name])
                    for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(name)]
        major, _, minor = environ["SERVER_PROTOCOL"].removeprefix("HTTP/").partition(".")
        port = environ.get("REMOTE_PORT", "")
        address = environ.get("REMOTE_ADDR", "")
        return cls(environ["REQUEST_METHOD"], uri, path, query, (int(major), int(minor)), headers,
                   (address, int(port or 0)) if address else "", environ["wsgi.url_scheme"],
                   environ["wsgi.input"])


@dataclass
class ResponseView:
    """A response as a hook sees it: gunicorn's names.

    ``status`` is the application's, such as ``"200 OK"``, ``status_code`` its number, ``headers``
    its header fields: None and empty if it has not called start_response. ``response_length`` is
    the Content-Length it set, or None; ``sent`` counts the bytes of the body that it has given.
    """

    status: str | None = None
    status_code: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    response_length: int | None = None
    sent: int = 0


class _Exchange:
    """One request between the two hooks."""

    def __init__(
        self, application: Application, hooks: Hooks, worker: WorkerView, environ: dict[str, Any],
        start_response: Callable[..., Any],
    ) -> None:
        self._application = application
        self._hooks = hooks
        self._worker = worker
        self._environ = environ
        self._start_response = start_response
        self._headers: Any = ()
        self._result: Any = None
        self._file: _File | None = None
        self._pid = os.getpid()
        self._req = RequestView.of(environ)
        self._resp = ResponseView()

    def answer(self) -> OnClose:
        """Call the application."""
        try:
            self._hooks.call("pre_request", self._worker, self._req)
            if self._in_child():
                return OnClose(None, self._end)
            self._result = self._application(self._environ, self._start)
            return OnClose(self._counted(), self._end)
        except BaseException:
            self._end()
            raise

    def _in_child(self) -> bool:
        """Whether this is a child forked in the request: the core ends it, with no hook."""
        return os.getpid() != self._pid

    def _start(self, *given: Any) -> Callable[[bytes], None]:
        write = self._start_response(*given)
        self._resp.status, self._headers = given[0], given[1]

        def counted(data: bytes) -> None:
            write(data)
            self._resp.sent += len(data)

        return counted

    def _counted(self) -> Any:
        """Return what the core is to send, such that its bytes are counted."""
        result, kind = self._result, type(self._result)
        if kind in (list, tuple):
            self._resp.sent += sum(len(block) for block in result if isinstance(block, bytes))
        elif kind is FileWrapper:
            self._file = _File(result.filelike)
        elif result is not None and not isinstance(result, (bytes, str, bytearray, memoryview)):
            return _Blocks(result, self._resp)
        return result  # unchanged, even if it is the application's error

    def _end(self) -> None:
        """Close what the application returned, and then always call the hook."""
        resp = self._resp
        if self._in_child():
            return
        if self._file is not None:
            resp.sent += self._file.read()
        try:
            close = getattr(self._result, "close", None)
            if close is not None:
                close()
        finally:
            if not self._in_child():
                with contextlib.suppress(Exception):  # the core reports what is wrong with it
                    self._describe(resp)
                self._hooks.attempt(self._worker.log, "post_request", self._worker, self._req,
                                    self._environ, resp)

    def _describe(self, resp: ResponseView) -> None:
        """Fill in what start_response was given; the application may have changed its list."""
        if resp.status is None:
            return
        resp.headers = list(self._headers)
        resp.status_code = int(resp.status[:3])
        for name, value in resp.headers:
            if name.lower() == "content-length":
                resp.response_length = int(value)
        if self._file is not None and resp.response_length is not None:
            resp.sent = min(resp.sent, resp.response_length)


class _Blocks:
    """The blocks of a response, counted."""

    def __init__(self, result: Any, resp: ResponseView) -> None:
        self._result = result
        self._resp = resp

    def __iter__(self) -> Iterator[Any]:
        self._iterator = iter(self._result)
        return self

    def __next__(self) -> Any:
        block = next(self._iterator)
        if isinstance(block, bytes):
            self._resp.sent += len(block)
        return block


class _File:
    """How much of a file is sent: what was read of it, or everything from its position."""

    def __init__(self, filelike: Any) -> None:
        self._filelike = filelike
        self._begin = self._position()

    def _position(self) -> int:
        try:
            return int(self._filelike.tell())
        except (AttributeError, OSError, ValueError):
            return 0

    def read(self) -> int:
        """Return the bytes; to be asked before the file is closed."""
        moved = self._position() - self._begin
        if moved:
            return moved
        try:
            return max(0, os.fstat(self._filelike.fileno()).st_size - self._begin)
        except (AttributeError, OSError, ValueError):
            return 0
