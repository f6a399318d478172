"""Asking until the answer is the one that must come."""

from __future__ import annotations

import time

from fastwsgi.testing import raw

GUARD = 30.0


def answer_with(address: tuple[str, int] | str, request: bytes, wanted: bytes) -> bytes:
    """The first answer that holds `wanted`.

    After a reload the workers of before may take a request as long as they have not been told to
    leave yet: each asking is a request, so the wait is for the server and not for the clock.
    """
    until = time.monotonic() + GUARD
    while wanted not in (answer := raw(address, request)):
        assert time.monotonic() < until, answer
    return answer
