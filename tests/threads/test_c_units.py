"""Runs the unit tests of the C core, with sanitizers and leak detection on.

Each tests/c/test_<noun>.c is a program: it ends with 0 when all is well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apps.ahead import ahead, chosen
from apps.c_programs import UNITS, USABLE, WHY_NOT, Done, build, httptools_module, link, run

pytestmark = pytest.mark.skipif(not USABLE, reason=WHY_NOT)


@pytest.fixture(scope="module")
def done(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Path], Done]]:
    """What becomes of the program of a file."""
    core = build(tmp_path_factory.mktemp("c"), "address")

    def of(source: Path) -> Done:
        return run(
            link(source, core, "address"),
            FW_HTTPTOOLS=str(httptools_module()),
            ASAN_OPTIONS="detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
            UBSAN_OPTIONS="print_stacktrace=1",
        )

    longest_first = sorted(chosen(request, "source"), key=lambda path: path.stem != "test_sweep")
    with ahead(of, longest_first) as outcome:
        yield outcome


@pytest.mark.parametrize("source", UNITS, ids=[path.stem for path in UNITS])
def test_unit(source: Path, done: Callable[[Path], Done]) -> None:
    result = done(source)
    assert result.returncode == 0, result.stdout + result.stderr
