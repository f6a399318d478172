"""Asking until the answer is the one that must come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from fastwsgi.testing import raw

GUARD = 30.0
T = TypeVar("T")


def eventually(ask: Callable[[], T], wanted: Callable[[T], object]) -> T:
    """The first answer that is the one wanted; each asking has somebody do something."""
    until = time.monotonic() + GUARD
    while not wanted(answer := ask()):
        assert time.monotonic() < until, answer
    return answer


def answer_with(address: tuple[str, int] | str, request: bytes, wanted: bytes) -> bytes:
    """The first answer that holds `wanted`.

    After a reload the workers of before may take a request as long as they have not been told to
    leave yet: each asking is a request, so the wait is for the server and not for the clock.
    """
    until = time.monotonic() + GUARD
    while wanted not in (answer := raw(address, request)):
        assert time.monotonic() < until, answer
    return answer
