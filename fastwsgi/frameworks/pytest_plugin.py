"""For pytest: the fixture ``fastwsgi_server``, and the setting ``fastwsgi_live_server``."""

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


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the line of the configuration that changes Django's live servers."""
    parser.addini("fastwsgi_live_server", type="bool", default=False, help=(
        "let the live servers of Django and pytest-django be fastwsgi"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Change them when Django has been set up, before the first test."""
    if session.config.getini("fastwsgi_live_server"):
        from fastwsgi.frameworks.live_server import use

        use()
