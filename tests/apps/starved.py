"""apps.injected for an interpreter that runs out of memory at a chosen allocation of the server's.

Rule: the application itself never lacks memory. /starve/N makes the N-th allocation fail, counted
from the end of its response to the next call of the application; the field X-Starve: N counts from
the end of its own call on.
"""

from __future__ import annotations

import _testcapi
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from apps import injected

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SEEN: ContextVar[str] = ContextVar("SEEN")


def starve(which: str) -> None:
    """Let the allocation of this number from now on fail."""
    _testcapi.set_nomemory(int(which), int(which) + 1)


class Last:
    """The body of the last response before the shortage."""

    def __init__(self, which: str) -> None:
        self.which = which

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"starving"])

    def close(self) -> None:
        starve(self.which)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """/starve/N, /sated, and what apps.injected has."""
    _testcapi.remove_mem_hooks()
    path = environ["PATH_INFO"]
    if SEEN.get(None) is not None:
        raise AssertionError("the context of another request")
    SEEN.set(path)
    if path.startswith("/starve/"):
        start_response("200 OK", [injected.TEXT])
        return Last(path.removeprefix("/starve/"))
    if path == "/sated":
        start_response("200 OK", [injected.TEXT])
        return [b"sated"]
    result = injected.app(environ, start_response)
    late = environ.get("HTTP_X_STARVE")
    if late is not None:
        starve(late)
    return result
