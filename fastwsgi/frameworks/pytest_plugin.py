"""Fixtures for pytest: ``fastwsgi_server`` starts servers that end with the test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastwsgi.testing import Server


@pytest.fixture
def fastwsgi_server() -> Iterator[Callable[..., Server]]:
    """Call it with an application, and settings if need be; what it returns has ``.url``.

    The server runs in a thread of the test's process, until the test ends.
    """
    from fastwsgi.testing import serve  # not before somebody wants one

    with contextlib.ExitStack() as stack:
        def start(app: Callable[..., Any], **settings: Any) -> Server:
            return stack.enter_context(serve(app, **settings))

        yield start
