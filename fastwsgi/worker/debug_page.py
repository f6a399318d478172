"""``--debug-page``: in development, an exception of the application is shown in the browser.

The page has code and data of the application in it. So it is for this machine only: the address,
the peer and the name in Host must be this machine's, and no proxy may stand between. Everybody else
gets the server's own 500, and the log has the exception in any case. Values whose names suggest a
secret are masked. The page runs no script.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterable, Iterator
from html import escape
from types import FrameType, TracebackType
from typing import Any

from fastwsgi.logs.error import ErrorLog
from fastwsgi.logs.masking import is_secret, mask_secrets
from fastwsgi.worker.loader import Application

LOCAL = ("127.0.0.1", "::1")
NAMES = ("localhost", "127.0.0.1", "[::1]")
PROXIED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST",
           "HTTP_X_REAL_IP", "HTTP_FORWARDED", "HTTP_VIA")
AROUND = 5
"""Lines of code before and after the one that is shown."""

LONGEST = 300
"""Characters of a value that are shown."""

DEEPEST = 50
"""Frames that are shown, the innermost ones."""

Failure = tuple[type[BaseException], BaseException, TracebackType]

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em }
pre, td, th { font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace; text-align: left }
pre { background: #f6f8fa; overflow-x: auto; padding: .6em }
td { overflow-wrap: anywhere } th { padding-right: 1em; vertical-align: top; font-weight: normal }
mark { background: #ffdcd7; display: inline-block; min-width: 100% }
h2 { font-size: 1em; margin: 1.5em 0 .3em }
@media (prefers-color-scheme: dark) {
  body { background: #0d1117; color: #e6edf3 } pre { background: #161b22 }
  mark { background: #67060c; color: inherit }
}"""


def wrap(application: Application, log: ErrorLog) -> Application:
    """Return the application with its exceptions as pages."""

    def shown(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not is_local(environ):
            return application(environ, start_response)  # type: ignore[no-any-return]

        def answer() -> list[bytes]:
            return _answer(environ, start_response, log)

        try:
            found = application(environ, start_response)
        except Exception:
            return answer()
        if isinstance(found, (list, tuple)) or type(found).__module__.startswith("fastwsgi."):
            return found  # type: ignore[no-any-return]
        return _Guarded(found, answer)

    return shown


def is_local(environ: dict[str, Any]) -> bool:
    """Whether a request comes from a browser of this machine, without a proxy in between."""
    host = str(environ.get("HTTP_HOST", ""))
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return (environ.get("REMOTE_ADDR") in LOCAL and name.lower() in NAMES
            and not any(field in environ for field in PROXIED))


class _Guarded:
    """The blocks of a response; an exception before the first one becomes the page."""

    def __init__(self, found: Iterable[bytes], answer: Callable[[], list[bytes]]) -> None:
        self._found = found
        self._answer = answer
        self._blocks: Iterator[bytes] | None = None

    def __iter__(self) -> _Guarded:
        return self

    def __next__(self) -> bytes:
        try:
            if self._blocks is None:
                self._blocks = iter(self._found)
            return next(self._blocks)
        except StopIteration:
            raise
        except Exception:
            self._blocks = iter(self._answer())
            return next(self._blocks)

    def close(self) -> None:
        close = getattr(self._found, "close", None)
        if close is not None:
            close()


def _answer(
    environ: dict[str, Any], start_response: Callable[..., Any], log: ErrorLog,
) -> list[bytes]:
    """Start the response anew with the page; raise the exception if it has been sent in part."""
    kind, error, trace = sys.exc_info()
    assert kind is not None and error is not None and trace is not None
    body = page(environ, (kind, error, trace)).encode("utf-8", "replace")
    start_response("500 Internal Server Error", [
        ("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"), ("X-Frame-Options", "DENY"),
        ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ("Cross-Origin-Resource-Policy", "same-origin")], (kind, error, trace))
    log.error("the application failed: %s %s", environ.get("REQUEST_METHOD"),
              mask_secrets(str(environ.get("PATH_INFO"))), exc=error)
    return [body]


def page(environ: dict[str, Any], failure: Failure) -> str:
    """Return the page for an exception."""
    kind, error, trace = failure
    title = escape(f"{kind.__name__}: {_cut(_text_of(error))}")
    frames = list(_frames(trace))
    hidden = f"<p>{len(frames) - DEEPEST} outer frames</p>" if len(frames) > DEEPEST else ""
    parts = [_frame(frame, line) for frame, line in frames[-DEEPEST:]]
    asked = escape(f"{environ.get('REQUEST_METHOD')} "
                   f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}")
    return (f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>{title}</title>"
            f"<style>{STYLE}</style><h1>{title}</h1><p>{asked}</p>{hidden}"
            f"{''.join(reversed(parts))}<h2>environ</h2>{_table(environ)}")


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        if trace.tb_frame.f_code.co_filename != __file__:
            yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _frame(frame: FrameType, number: int) -> str:
    file = frame.f_code.co_filename
    code = []
    for at in range(max(1, number - AROUND), number + AROUND + 1):
        line = linecache.getline(file, at, frame.f_globals).rstrip("\n")
        if line or at <= number:
            text = escape(f"{at:5} {line}")
            code.append(f"<mark>{text}</mark>" if at == number else text)
    return (f"<h2>{escape(file)}, line {number}, in {escape(frame.f_code.co_name)}</h2>"
            f"<pre>{chr(10).join(code)}</pre>"
            f"<details><summary>variables</summary>{_table(frame.f_locals)}</details>")


def _table(values: Any) -> str:
    rows = []
    for name, value in sorted(values.items(), key=lambda item: str(item[0])):
        text = f"<{len(str(value))} characters>" if is_secret(name) else _repr(value)
        rows.append(f"<tr><th>{escape(str(name))}<td>{escape(text)}")
    return f"<table>{''.join(rows)}</table>"


def _repr(value: object) -> str:
    """Return a value as text; a dictionary's secrets are masked, to one level."""
    if isinstance(value, dict):
        value = {name: f"<{len(str(item))} characters>" if is_secret(name) else item
                 for name, item in list(value.items())[:100]}
    try:
        text = repr(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    return _cut(mask_secrets(text) if "?" in text or "://" in text else text)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
