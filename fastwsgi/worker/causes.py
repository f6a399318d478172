"""Why a request was slow: one word for what took most of its time.

The core measures (fastwsgi/_core/stopwatch.pxi) and looks at calls from the side
(csrc/observe/doing.h). Here the figures become parts of the time of the request, which do not
overlap, and the largest part is its cause.
"""

from __future__ import annotations

import bisect
import os
import struct
import sys
from typing import NamedTuple

CAUSES = {
    "queue": "waiting for a thread",
    "client": "waiting for its client",
    "garbage": "garbage collection",
    "c_call": "a call into C that kept the interpreter lock",
    "interpreter_lock": "waiting for the interpreter lock",
    "lock": "waiting for a lock or another thread",
    "sqlite": "waiting for SQLite, which was busy",
    "sleep": "sleeping",
    "network": "waiting for the network or another process",
    "disk": "waiting for a file",
    "processor": "waiting for a processor",
    "computing": "computing",
    "other": "waiting for something else",
}
"""What a cause is called in metrics and records, and what it is. Metrics count by the order."""
NUMBERS = {cause: i for i, cause in enumerate(CAUSES)}


class Times(NamedTuple):
    """Seconds of a request, as its own thread has measured them."""

    queue: float
    application: float
    total: float
    client: float
    cpu: float
    lock_wait: float
    garbage: float
    garbage_of_others: float


class Seen(NamedTuple):
    """Seconds of a call, by what its thread was seen to do.

    ``kept`` are those in which it kept the interpreter lock from others; ``keeper`` is the call
    that kept it from this one, as method, target and client, or None.
    """

    run: float
    interpreter_lock: float
    lock: float
    sleep: float
    network: float
    disk: float
    other: float
    kept: float
    keeper: tuple[str, str, str] | None


def parts(times: Times, seen: Seen, *, sqlite: bool = False) -> dict[str, float]:
    """Return the seconds of a request by cause. ``sqlite``: it was seen to sleep in SQLite."""
    door = min(times.lock_wait, times.queue)
    waited = seen.interpreter_lock + door
    stopped = min(times.garbage_of_others, waited)
    found = dict.fromkeys(CAUSES, 0.0)
    found["queue"] = times.queue - door
    found["client"] = times.client
    found["garbage"] = times.garbage + stopped
    found["interpreter_lock"] = waited - stopped
    was = {"computing": seen.run, "sleep": seen.sleep, "other": seen.other,
           "network": seen.network, "disk": seen.disk, "lock": seen.lock}
    found["c_call"] = max(0.0, seen.kept - times.garbage)
    taken = found["c_call"] + times.garbage
    for cause, seconds in was.items():
        less = min(seconds, taken)
        taken -= less
        found[cause] = seconds - less
    unseen = max(0.0, times.application - sum(seen[:7]))
    computed = max(0.0, min(times.cpu - times.garbage, unseen))
    found["other"] += max(0.0, unseen - computed - taken)
    found["computing"] += computed
    ran = max(0.0, times.cpu - times.garbage)
    if not seen.kept and found["computing"] > ran:
        found["processor"] = found["computing"] - ran
        found["computing"] = ran
    if sqlite:
        found["sqlite"], found["sleep"] = found["sleep"], 0.0
    return found


def cause(found: dict[str, float]) -> str:
    """Return the largest part."""
    return max(found, key=lambda name: found[name])


class NativeStacks:
    """Tells whether a thread of this process waits inside of SQLite, by the addresses on its stack.

    Only Linux shows where a thread waits. Elsewhere, and where SQLite is a part of the interpreter,
    nothing is found.
    """

    FIRST = 3
    """Addresses of code outside of the C library that are looked at, from the innermost on."""
    _BYTES = 8192
    _C = ("libc.", "libc-", "ld-", "libpthread", "[vdso]")

    def __init__(self) -> None:
        self._modules = 0
        self._starts: list[int] = []
        self._ranges: list[tuple[int, int, str]] = []

    def is_in_sqlite(self, tid: int) -> bool | None:
        """Look at a thread by the system's number; None if it does not wait, or nobody knows."""
        if sys.platform != "linux" or struct.calcsize("P") != 8 or "sqlite3" not in sys.modules:
            return None
        try:
            with open(f"/proc/self/task/{tid}/syscall", encoding="ascii") as file:
                fields = file.read().split()
            if len(fields) != 9:
                return None
            fd = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
            try:
                block = os.pread(fd, self._BYTES, int(fields[7], 16))
            finally:
                os.close(fd)
            if len(sys.modules) != self._modules:  # a library may have come with one
                self._read_ranges()
        except (OSError, ValueError, OverflowError):
            return None
        words = struct.unpack(f"={len(block) // 8}Q", block[: len(block) // 8 * 8])
        names = [name for word in words if (name := self._home(word))]
        return sum("sqlite3" in name for name in names[: self.FIRST]) >= 2

    def _read_ranges(self) -> None:
        self._modules = len(sys.modules)
        self._ranges = []
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            for line in file:
                place, rights, *rest = line.split(maxsplit=5)
                if "x" in rights and len(rest) == 4:
                    start, _, end = place.partition("-")
                    name = os.path.basename(rest[3].strip())
                    self._ranges.append((int(start, 16), int(end, 16), name))
        self._starts = [start for start, _, _ in self._ranges]

    def _home(self, address: int) -> str:
        """Return the name of the file that an address is code of; empty for the C library."""
        i = bisect.bisect_right(self._starts, address) - 1
        if i < 0 or address >= self._ranges[i][1]:
            return ""
        name = self._ranges[i][2]
        return "" if name.startswith(self._C) else name
