"""The environ under ``strict_wsgi``: its values are checked, its streams are behind faces.

The rule for the faces: every call is passed on unchanged, so it does what it does without them,
errors included. What the call does against PEP 3333 is reported first. An attribute that the stream
lacks is missing in the face too, so that ``hasattr`` and ``getattr`` with a default, which only
ask, get the same answer and no report.
"""

from __future__ import annotations

import io
import opcode
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Protocol

from fastwsgi.logs.masking import value_of
from fastwsgi.strict.head import judge
from fastwsgi.strict.report import Place, arguments, calling_frame, of_assignment, of_object

Report = Callable[..., None]
"""``report(rule, **facts)``, about the line that calls into the checker right now."""

REQUIRED = ("REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL")
OF_WSGI = ("wsgi.version", "wsgi.url_scheme", "wsgi.input", "wsgi.errors", "wsgi.multithread",
           "wsgi.multiprocess", "wsgi.run_once")
CGI = frozenset((
    "AUTH_TYPE", "CONTENT_LENGTH", "CONTENT_TYPE", "GATEWAY_INTERFACE", "PATH_INFO",
    "PATH_TRANSLATED", "QUERY_STRING", "REMOTE_ADDR", "REMOTE_HOST", "REMOTE_IDENT", "REMOTE_USER",
    "REQUEST_METHOD", "SCRIPT_NAME", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL",
    "SERVER_SOFTWARE"))
NEEDED = frozenset((*REQUIRED, *OF_WSGI))
VERSION = (1, 0)
OF_SERVER = frozenset((
    *OF_WSGI, "wsgi.early_hints", "wsgi.file_wrapper", "wsgi.input_terminated"))
INPUT_METHODS = ("read", "readline", "readlines", "__iter__")
ERRORS_METHODS = ("write", "writelines", "flush")

_ACCESS = {opcode.opmap.get("LOAD_ATTR"), opcode.opmap.get("LOAD_METHOD")}
_STDLIB = (sysconfig.get_path("stdlib"), "<frozen ")


class _Described(Protocol):
    def __call__(self, rule: str, place: Place | None = None, **facts: object) -> None: ...


def judge_environ(environ: Any, report: _Described) -> None:
    """Check what an application has made of its environ, a dict that it may change."""
    if not environ.keys() >= NEEDED:
        for key in (*REQUIRED, *OF_WSGI):
            if key not in environ:
                report("environ-missing", key=key)
    for key in REQUIRED:
        if environ.get(key) == "":
            report("environ-missing", key=key)
    # most values are ASCII text, which is right for any key
    odd = [(key, value) for key, value in environ.items()
           if type(value) is not str or not value.isascii()]
    for key, value in odd:
        if key not in OF_SERVER and _of_cgi(key):
            if type(value) is not str:
                report("environ-value", key=key, found=value_of(key, value), wanted="str")
            elif max(value) > "\xff":
                report("environ-latin1", key=key, found=value_of(key, value))
    version = environ.get("wsgi.version", VERSION)
    if version is not VERSION and (type(version) is not tuple or version != VERSION):
        report("environ-value", key="wsgi.version", found=version, wanted="the tuple (1, 0)")
    scheme = environ.get("wsgi.url_scheme", "http")
    if type(scheme) is not str:
        report("environ-value", key="wsgi.url_scheme", found=scheme, wanted="str")
    _judge_paths(environ, report)
    stream = environ.get("wsgi.input")
    if type(stream) is not InputFace and "wsgi.input" in environ:
        _judge_stream("wsgi.input", stream, INPUT_METHODS, report)
    stream = environ.get("wsgi.errors")
    if type(stream) is not ErrorsFace and "wsgi.errors" in environ:
        _judge_stream("wsgi.errors", stream, ERRORS_METHODS, report)


def _judge_stream(key: str, stream: Any, methods: Sequence[str], report: _Described) -> None:
    for method in methods:
        if not hasattr(stream, method):
            place = of_assignment(key, stream) or of_object(stream)
            report("environ-stream", place=place, key=key, method=method, found=stream)


def _of_cgi(key: object) -> bool:
    return isinstance(key, str) and (key in CGI or key.startswith("HTTP_"))


def _judge_paths(environ: Any, report: _Described) -> None:
    script, path = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
    if isinstance(script, str) and script and (script == "/" or script[0] != "/"):
        problem = "must be empty for the root" if script == "/" else "does not begin with a slash"
        report("environ-path", key="SCRIPT_NAME", found=script, problem=problem)
    if isinstance(path, str) and path and path[0] != "/" and path != "*":
        report("environ-path", key="PATH_INFO", found=path, problem="does not begin with a slash")


def _use_of(name: str, frame: FrameType | None) -> bool:
    """Whether the frame uses the attribute, as ``x.name``, instead of asking for it."""
    if frame is None or frame.f_lasti < 0 or name.startswith("__"):
        return False
    code = frame.f_code
    if (name != "close" and code.co_filename.startswith(_STDLIB)
            and "-packages" not in code.co_filename):
        return False  # print() and traceback ask for more than PEP 3333 names
    return code.co_code[frame.f_lasti] in _ACCESS


class InputFace:
    """``wsgi.input``: read, readline, readlines and iteration (PEP 3333)."""

    __slots__ = ("_report", "_stream")

    def __init__(self, stream: Any, report: Report) -> None:
        self._stream = stream
        self._report = report

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        """``read(size)``, with all that is left for no size."""
        self._judge("read", args, kwargs)
        return self._stream.read(*args, **kwargs)  # type: ignore[no-any-return]

    def readline(self, *args: Any, **kwargs: Any) -> bytes:
        """``readline()``, optionally with a size."""
        self._judge("readline", args, kwargs)
        return self._stream.readline(*args, **kwargs)  # type: ignore[no-any-return]

    def readlines(self, *args: Any, **kwargs: Any) -> list[bytes]:
        """``readlines(hint)``, the hint optional."""
        self._judge("readlines", args, kwargs)
        return self._stream.readlines(*args, **kwargs)  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def __next__(self) -> bytes:
        return next(self._stream)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        if _use_of(name, calling_frame()):
            if name == "close":
                self._report("input-close")
            else:
                self._report("input-attribute", name=name)
        return getattr(self._stream, name)

    def _judge(self, method: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        # None and -1 stand for "all", as in the Python Library Reference that PEP 3333 refers to
        if (kwargs or len(args) > 1
                or (args and args[0] is not None and not hasattr(type(args[0]), "__index__"))):
            self._report("input-arguments", method=method, given=arguments(tuple(args), kwargs))


class ErrorsFace:
    """``wsgi.errors``: write, writelines and flush (PEP 3333)."""

    __slots__ = ("_report", "_stream")

    def __init__(self, stream: Any, report: Report) -> None:
        self._stream = stream
        self._report = report

    def write(self, *args: Any, **kwargs: Any) -> Any:
        """``write(str)``."""
        if kwargs or len(args) != 1 or not isinstance(args[0], str):
            self._report("errors-arguments", method="write", wanted="takes one str",
                         given=arguments(args, kwargs))
        return self._stream.write(*args, **kwargs)

    def writelines(self, *args: Any, **kwargs: Any) -> Any:
        """``writelines(seq)``."""
        if kwargs or len(args) != 1 or (
                isinstance(args[0], (list, tuple))
                and not all(isinstance(item, str) for item in args[0])):
            self._report("errors-arguments", method="writelines", wanted="takes a sequence of str",
                         given=arguments(args, kwargs))
        return self._stream.writelines(*args, **kwargs)

    def flush(self) -> Any:
        """``flush()``."""
        return self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        if _use_of(name, calling_frame()):
            if name == "close":
                self._report("errors-close")
            else:
                self._report("errors-attribute", name=name)
        return getattr(self._stream, name)


class HintsFace:
    """``wsgi.early_hints``: its fields are judged as those of a response."""

    __slots__ = ("_hints", "_report")

    def __init__(self, hints: Any, report: Report) -> None:
        self._hints = hints
        self._report = report

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != 1 or not isinstance(args[0], (list, tuple)):
            self._report("hints-arguments", given=arguments(args, kwargs))
        else:
            head = judge("200 OK", list(args[0]))
            for rule, facts in head.faults:
                self._report(rule, **facts)
            if head.length is not None:
                self._report("hints-length")
        return self._hints(*args, **kwargs)


class FileFace:
    """``wsgi.file_wrapper``: a callable, and still the class to ``isinstance``.

    One for all requests, so its reports know the source line and not the request.
    """

    def __init__(self, wrapper: Any, report: Report) -> None:
        self.wrapper = wrapper
        self._report = report

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if (kwargs or not 1 <= len(args) <= 2
                or (len(args) == 2 and not hasattr(type(args[1]), "__index__"))):
            self._report("file-arguments", given=arguments(args, kwargs))
        if args:
            if isinstance(args[0], io.TextIOBase):
                self._report("file-text", found=args[0])
            elif not hasattr(args[0], "read"):
                self._report("file-read", found=args[0])
        return self.wrapper(*args, **kwargs)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self.wrapper)

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self.wrapper)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[object, ...]:
        return (self.wrapper,)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapper, name)
