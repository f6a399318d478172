"""Lets application threads, the standby and clients of all kinds meet under ThreadSanitizer.

tests/c/race.c drives the C core with a stub application, and the directed tests of threads are run
a second time with it: their interleavings are other ones than chance finds. No report is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apps.ahead import ahead, chosen
from apps.c_programs import RACES, USABLE, WHY_NOT, Done, build, httptools_module, link, run

pytestmark = pytest.mark.skipif(not USABLE, reason=WHY_NOT)


@pytest.fixture(scope="module")
def done(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Path], Done]]:
    """What becomes of a program made for ThreadSanitizer, with the tests' shared files."""
    core = build(tmp_path_factory.mktemp("races"), "thread")

    def of(source: Path) -> Done:
        return run(
            link(source, core, "thread"),
            FW_HTTPTOOLS=str(httptools_module()),
            TSAN_OPTIONS="second_deadlock_stack=1",
        )

    with ahead(of, chosen(request, "source")) as outcome:
        yield outcome


@pytest.mark.parametrize("source", RACES, ids=[path.stem for path in RACES])
def test_no_race_is_reported(source: Path, done: Callable[[Path], Done]) -> None:
    result = done(source)
    assert "ThreadSanitizer" not in result.stderr, result.stderr[:8000]
    assert result.returncode == 0, result.stdout + result.stderr[:8000]
