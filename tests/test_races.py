"""Lets application threads, the standby and clients of all kinds meet under ThreadSanitizer.

tests/c/race.c drives the C core with a stub application, and the directed tests of threads are run
a second time with it: their interleavings are other ones than chance finds. No report is allowed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_c_units import CC, LINUX, ROOT, build, httptools_module, link, run

HERE = ROOT / "tests" / "c"
PROGRAMS = [HERE / "race.c", *sorted(HERE.glob("test_thread*.c")), HERE / "test_standby.c"]

pytestmark = pytest.mark.skipif(
    not LINUX or shutil.which(CC) is None, reason="needs Linux and a C compiler"
)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core and the tests' shared files, made for ThreadSanitizer."""
    return build(tmp_path_factory.mktemp("races"), "thread")


@pytest.mark.parametrize("source", PROGRAMS, ids=[path.stem for path in PROGRAMS])
def test_no_race_is_reported(source: Path, core: Path) -> None:
    done = run(
        link(source, core, "thread"),
        FW_HTTPTOOLS=str(httptools_module()),
        TSAN_OPTIONS="second_deadlock_stack=1",
    )
    assert "ThreadSanitizer" not in done.stderr, done.stderr[:8000]
    assert done.returncode == 0, done.stdout + done.stderr[:8000]
