"""Which request a record of a log belongs to.

The compiled core knows what the calling thread is at; it is asked through ``provide``, because logs
know no core. A record of another thread belongs to no request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple


class Request(NamedTuple):
    """The request that a thread is at: ``path`` has no query, ``request_id`` may be empty."""

    request_id: str
    method: str
    path: str
    worker: int
    thread: int


_providers: list[Callable[[], tuple[str, str, str, int, int] | None]] = []


def provide(current: Callable[[], tuple[str, str, str, int, int] | None]) -> None:
    """Let ``current`` say which request the calling thread is at."""
    _providers[:] = [current]


def current() -> Request | None:
    """Return the request that the calling thread is at, None if there is none."""
    found = _providers[0]() if _providers else None
    return Request(*found) if found is not None else None


class RequestFilter(logging.Filter):
    """Gives each record what its format may name, empty where there is no request.

    ``request_id``, ``method``, ``path``, ``worker`` and ``wsgi_thread``. For a ``logging``
    configuration: ``"filters": {"request": {"()": "fastwsgi.logs.context.RequestFilter"}}``.
    A record that has them (``extra``) keeps them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True, always."""
        found = current()
        values = (found.request_id, found.method, found.path, found.worker, found.thread
                  ) if found is not None else ("", "", "", "", "")
        for name, value in zip(NAMES, values, strict=True):
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


NAMES = ("request_id", "method", "path", "worker", "wsgi_thread")
"""What a RequestFilter adds to a record."""
