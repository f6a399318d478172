"""System calls that fail by schedule: tests/injection/shim.c, compiled and put before a server.

Rule: a schedule is data, written as shim.c reads it, and tells afterwards which rules were met.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

COMPILER = shutil.which("cc")
GLIBC = sys.platform.startswith("linux") and hasattr(os, "confstr") and "CS_GNU_LIBC_VERSION" in (
    os.confstr_names
)  # fmt: skip
needs_injection = pytest.mark.skipif(
    not GLIBC or COMPILER is None, reason="needs Linux with glibc and a C compiler"
)

SOURCE = Path(__file__).parent.parent / "injection" / "shim.c"
RULES = 32


def compiled(place: Path) -> dict[bool, Path]:
    """The shim, without and with its hold on memory."""
    made = {}
    for with_memory in (False, True):
        made[with_memory] = place / f"shim{with_memory:d}.so"
        subprocess.run(
            [str(COMPILER), "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-shared",
             "-fPIC", "-fno-builtin", *(["-DWITH_MEMORY"] if with_memory else []),
             str(SOURCE), "-o", str(made[with_memory]), "-ldl"],
            check=True, timeout=120,
        )  # fmt: skip
    return made


class Injected:
    """The environment of a server with a schedule, and what became of the schedule."""

    def __init__(self, place: Path, shims: dict[bool, Path], schedule: str) -> None:
        self.schedule = schedule.split(",")
        self.counts = place / "counts"
        self.stop_file = place / "stop"
        shim = shims["malloc" in schedule]
        before = os.environ.get("LD_PRELOAD", "")
        self.environ = {
            "LD_PRELOAD": f"{shim} {before}".strip(),
            "INJECT": schedule,
            "INJECT_COUNTS": str(self.counts),
            "INJECT_STOP": str(self.stop_file),
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0",
        }

    def hold(self, place: Path) -> Path:
        """Let no call count before the path that is returned exists."""
        start = place / "start"
        self.environ["INJECT_START"] = str(start)
        return start

    def stop(self) -> None:
        """From now on no call is touched."""
        self.stop_file.touch()

    def arm(self, number: int) -> None:
        """Let the call of this number from now on fail that falls under the first rule, whose
        period is 0; 0: none."""
        with self.counts.open("r+b") as file:
            file.seek(8 * RULES)
            file.write(struct.pack("Q", number))

    def armed(self) -> bool:
        """Whether that call has not come yet."""
        (left,) = struct.unpack("Q", self.counts.read_bytes()[8 * RULES : 8 * RULES + 8])
        return bool(left)

    def unused(self) -> list[str]:
        """The rules that no call fell under."""
        counts = struct.unpack(f"{RULES}Q", self.counts.read_bytes()[: 8 * RULES])
        return [rule for rule, count in zip(self.schedule, counts, strict=False) if count == 0]
