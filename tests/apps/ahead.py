"""Work of several tests done ahead of them, by all cores at once; each test judges its own.

For programs that compute and are compared with nothing but their own output.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def chosen(request: pytest.FixtureRequest, parameter: str) -> list[Any]:
    """The values of a parameter in those tests of the module that are to run, in order."""
    found = []
    for item in request.session.items:
        if item.path == request.path and (call := getattr(item, "callspec", None)) is not None:
            value = call.params.get(parameter)
            if value is not None and value not in found:
                found.append(value)
    return found


@contextlib.contextmanager
def ahead(work: Callable[[Any], Any], keys: Iterable[Any]) -> Iterator[Callable[[Any], Any]]:
    """Begin ``work`` for each key; yield what waits for the outcome of one, or its exception."""
    pool = ThreadPoolExecutor(cores())
    try:
        begun = {key: pool.submit(work, key) for key in keys}
        yield lambda key: begun[key].result()
    finally:
        pool.shutdown(cancel_futures=True)


def sampled(whole: Sequence[T], sample: Sequence[T]) -> Sequence[T]:
    """What a test goes through: a sample in the suite, the whole of it in `make thorough`."""
    return whole if os.environ.get("FASTWSGI_THOROUGH", "0") not in ("", "0") else sample


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
