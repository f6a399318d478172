"""The page of the metrics: memory that a master shares with its workers and the next master.

Each worker writes into a slot of its own, without the interpreter lock and at once
(csrc/observe/metrics.h, whose layout this repeats). When it has ended, however that came, its
master adds the slot to the sums and clears it for the next one. So no count is lost with a worker,
but for the instant in which it dies. A new master (USR2) inherits the page and uses the slots with
odd numbers where the old one uses the even ones, or the other way round; each has sums of its own.
Either of the two can tell everything, because it is all here.

The page has more slots than will ever be used, and memory is taken only for those that are.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fastwsgi.worker.scoreboard import COUNTERS, NOW, nameless, now

LAYOUT = 3
BOUNDS_MOST = 24
METHODS = ("DELETE", "GET", "HEAD", "POST", "PUT", "OPTIONS", "PATCH", "other")
CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
STATES = ("open", "idle", "head", "body", "store", "file", "ready", "busy", "suspended", "flush",
          "linger")
LATE = ("handshake", "header", "body", "write", "keepalive", "application")
REFUSALS = (
    ("other", 0), ("bad_request", 400), ("forbidden", 403), ("timeout", 408), ("body_size", 413),
    ("line_size", 414), ("expectation", 417), ("header_size", 431), ("not_implemented", 501),
    ("version", 505), ("storage", 507), ("connections", 503), ("queue", 503), ("overload", 503),
    ("stopping", 503), ("unavailable", 503),
    ("spent", 503))
"""Reasons of refusals, and their status."""
HISTOGRAMS = ("queue", "application", "send", "total")
ROUTES = 100
OTHER = "other"
"""The route that stands for all that there is no room for."""
_NAME = 12  # numbers that the name of a route takes the place of
_CELLS = len(METHODS) * len(CLASSES)
_BUCKETS = BOUNDS_MOST + 2  # with the one above all bounds, and the sum

STARTS = ("start", "reload", "limit", "death", "scale")
ENDS = ("stop", "reload", "limit", "scale", "exit", "signal", "hang", "killed", "failed_start")
RELOADS = ("done", "refused", "abandoned")
"""What a master counts: workers that it has started and that have ended, by cause; reloads."""
KINDS = {"starts": STARTS, "ends": ENDS, "reloads": RELOADS}


def _places() -> tuple[dict[str, int], int]:
    """Return where each part of a slot begins, in numbers of 64 bits, and their sum."""
    sizes = {
        "layout": 1, "nbounds": 1, "bounds": BOUNDS_MOST, "pid": 1, "threads": 1, "started": 1,
        "busy": 1, "began": 1, "waiting": 1, "oldest": 1, "states": 12, "stats": 24,
        "suspended": 1, "lost_lines": 1, "late": 8, "refused": 24, "refused_requests": _CELLS,
        "busy_us": 1, "quick": 1, "queue": _BUCKETS, "application": _BUCKETS, "send": _BUCKETS,
        "total": _BUCKETS, "slow": 16, "cpu_us": 1, "off_cpu_us": 1, "lock_wait_us": 1,
        "answered": _CELLS, "statuses": 500, "file_requests": _CELLS, "file_statuses": 500,
        "nroutes": 1,
        "routes": ROUTES * (_NAME + _CELLS + _BUCKETS)}
    places, at = {}, 0
    for name, size in sizes.items():
        places[name], at = at, at + size
    return places, at


AT, SIZE = _places()
_ROUTE = _NAME + _CELLS + _BUCKETS
_STRIDE = 1 << 17  # bytes of a slot
_CPU, _CPU_BEFORE = SIZE, SIZE + 1  # behind a slot: us of its worker, and of those before it
_CUMULATIVE = slice(AT["stats"], AT["nroutes"])
_HEAD = 1 << 12  # bytes of the page before the first slot
_SEQ, _OWN, _OWN_SIZE = 2, 8, 128  # numbers in the head: see Page
LEAST, MOST = 256, 4096
"""Bounds of the number of slots, which is eight times that of the workers, as for siblings."""


class Figures(NamedTuple):
    """What all workers have done, and what they do now.

    ``moment`` is when they were read, as ``scoreboard.now`` tells it. ``counters`` are the parts of
    a slot behind ``stats``, summed; ``routes`` are requests by method and class, then the buckets
    and the sum of the time, by name. ``own`` is what the masters count. ``workers`` are slots in
    use, by number.
    """

    moment: float
    bounds: tuple[float, ...]
    counters: list[int]
    routes: dict[str, list[int]]
    own: list[int]
    workers: dict[int, list[int]]

    def part(self, name: str, size: int) -> list[int]:
        """Return a part of ``counters``."""
        start = AT[name] - AT["stats"]
        return self.counters[start : start + size]

    def one(self, name: str) -> int:
        """Return a counter."""
        return self.counters[AT[name] - AT["stats"]]

    @property
    def stats(self) -> dict[str, int]:
        """What the core counts anyway (``scoreboard.COUNTERS``)."""
        return dict(zip(COUNTERS, self.part("stats", len(COUNTERS) - 1), strict=False))

    def requests(self) -> list[int]:
        """Return the requests by method and class: answered, refused and for files."""
        parts = (self.part(name, _CELLS)
                 for name in ("answered", "refused_requests", "file_requests"))
        return [sum(cells) for cells in zip(*parts, strict=True)]

    def statuses(self) -> list[int]:
        """Return the answered and the refused requests by status, from 100 on."""
        found = [a + b for a, b in zip(self.part("statuses", 500),
                                       self.part("file_statuses", 500), strict=True)]
        for (_, status), count in zip(REFUSALS, self.part("refused", len(REFUSALS)), strict=True):
            if status:
                found[status - 100] += count
        return found

    def histogram(self, name: str) -> tuple[list[int], float]:
        """Return the requests of each bucket, the one above all bounds included, and the sum."""
        *counts, total = self.part(name, _BUCKETS)
        counts[0] += self.one("quick")
        return counts[: len(self.bounds) + 1], total / 1e6

    def masters(self, kind: str) -> dict[str, int]:
        """Return what the masters have counted of ``starts``, ``ends`` or ``reloads``, by cause."""
        return {cause: self.own[_own(kind, cause)] for cause in KINDS[kind]}

    def now(self, name: str) -> int:
        """Return the sum of a number of the moment over the workers."""
        return sum(slot[AT[name]] for slot in self.workers.values())

    def states(self) -> dict[str, int]:
        """Return the connections by state; "travelling" are those between two workers."""
        travelling = max(0, self.stats["passed_on"] - self.stats["taken_over"])
        return {**{state: sum(slot[AT["states"] + i] for slot in self.workers.values())
                   for i, state in enumerate(STATES)}, "travelling": travelling}

    def oldest(self) -> float:
        """Return for how many seconds the oldest of the waiting requests has waited."""
        times = [slot[AT["oldest"]] for slot in self.workers.values() if slot[AT["oldest"]]]
        return max(0.0, self.moment - min(times) / 1e6) if times else 0.0

    def busy_seconds(self) -> float:
        """Return the time for which threads have had turns, those that they are in included.

        It may be too little by one of these, and never too much.
        """
        running = sum(max(0.0, slot[AT["busy"]] * self.moment * 1e6 - slot[AT["began"]])
                      for slot in self.workers.values())
        return (self.one("busy_us") + running) / 1e6


class Page:
    """The page of a master; raises OSError when there is no memory for it.

    In its head are, from number 2 on, two that are odd while one of the two masters moves what is
    in a slot to its sums, and from number 8 on what each of them counts. Two slots follow for the
    sums of each, then those of the workers.
    """

    def __init__(self, count: int, bounds: tuple[float, ...], fd: int = -1, turn: int = 0) -> None:
        self.bounds = bounds
        self.count = count
        self.turn = turn
        size = _HEAD + (2 + self.count) * _STRIDE
        self.fd = fd if fd >= 0 else nameless(size)
        self._memory = mmap.mmap(self.fd, size)
        self._numbers = memoryview(self._memory).cast("Q")
        self._used: set[int] = set()

    @classmethod
    def for_workers(cls, workers: int, bounds: tuple[float, ...]) -> Page:
        """Return a page with slots for so many workers, and those that replace them."""
        return cls(max(LEAST, min(8 * workers, MOST)), bounds)

    # -- the next master -----------------------------------------------------------------------

    def described(self) -> dict[str, Any]:
        """Return what a new master has to know; it is to inherit ``fd``."""
        return {"layout": LAYOUT, "fd": self.fd, "turn": 1 - self.turn, "count": self.count,
                "bounds": self.bounds}

    @classmethod
    def inherited(cls, described: dict[str, Any], bounds: tuple[float, ...]) -> Page | None:
        """Return the page of the old master of an upgrade; None if it is not as ours would be."""
        fd = int(described["fd"])
        os.set_inheritable(fd, False)
        if described["layout"] != LAYOUT or tuple(described["bounds"]) != bounds:
            os.close(fd)
            return None
        return cls(int(described["count"]), bounds, fd, int(described["turn"]))

    def forget_other(self) -> None:
        """Note that the other master of an upgrade has ended, wherever that was in its work."""
        self._numbers[_SEQ + 1 - self.turn] &= ~1 & 0xFFFFFFFFFFFFFFFF

    # -- slots ---------------------------------------------------------------------------------

    def _at(self, slot: int) -> int:
        """Return where a slot begins, in numbers; -2 and -1 are the sums of the two masters."""
        return (_HEAD + (2 + slot) * _STRIDE) // 8

    def take(self) -> int | None:
        """Return a slot for a worker that is about to be forked, None if there is none."""
        own = next((slot for slot in range(self.turn, self.count, 2) if slot not in self._used),
                   None)
        if own is None:
            return None
        self._fold(own)  # what a master that was killed has left there
        self._used.add(own)
        at = self._at(own)
        self._numbers[at + AT["nbounds"]] = len(self.bounds)
        for i, bound in enumerate(self.bounds):
            self._numbers[at + AT["bounds"] + i] = round(bound * 1e6)
        self._numbers[at + AT["started"]] = round(now() * 1e6)
        self._numbers[at + AT["layout"]] = LAYOUT
        high = _OWN + self.turn * _OWN_SIZE
        self._numbers[high] = max(self._numbers[high], own + 1)
        return own

    def note(self, slot: int | None, pid: int) -> None:
        """Note who has the slot."""
        if slot is not None:
            self._numbers[self._at(slot) + AT["pid"]] = pid

    def memory(self, slot: int) -> memoryview:
        """Return the slot as the core takes it."""
        start = _HEAD + (2 + slot) * _STRIDE
        return memoryview(self._memory)[start : start + SIZE * 8]

    def give_back(self, slot: int | None) -> None:
        """Move what is in the slot of a worker that has ended to the sums."""
        if slot is not None:
            self._fold(slot)
            self._used.discard(slot)

    def _fold(self, slot: int) -> None:
        numbers, at, sums = self._numbers, self._at(slot), self._at(self.turn - 2)
        if not numbers[at + AT["layout"]]:
            return
        numbers[_SEQ + self.turn] += 1
        _add(numbers, sums + _CUMULATIVE.start, numbers[at + AT["stats"] : at + AT["nroutes"]])
        for name in NOW:
            if name in COUNTERS[:-1]:
                numbers[sums + AT["stats"] + COUNTERS.index(name)] = 0
        for name, figures in self._routes(at):
            _add(numbers, self._route(sums, name) + _NAME, figures)
        numbers[at : at + SIZE] = memoryview(bytes(SIZE * 8)).cast("Q")
        numbers[at + _CPU_BEFORE] += numbers[at + _CPU]
        numbers[at + _CPU] = 0
        numbers[_SEQ + self.turn] += 1

    def _routes(self, at: int) -> Iterator[tuple[str, memoryview]]:
        """Yield the names of routes and what is counted for them."""
        numbers = self._numbers
        for i in range(min(numbers[at + AT["nroutes"]], ROUTES)):
            start = at + AT["routes"] + i * _ROUTE
            name = numbers[start : start + _NAME].tobytes().partition(b"\0")[0]
            yield name.decode("utf-8", "replace"), numbers[start + _NAME : start + _ROUTE]

    def _route(self, at: int, wanted: str) -> int:
        """Return where a route is in a slot, which gets it if it has room: else the last one."""
        known = [name for name, _ in self._routes(at)]
        place = known.index(wanted) if wanted in known else len(known)
        if place == len(known) and place < ROUTES:
            text = (OTHER if place == ROUTES - 1 else wanted).encode("utf-8")
            start = (at + AT["routes"] + place * _ROUTE) * 8
            memoryview(self._memory)[start : start + len(text)] = text
            self._numbers[at + AT["nroutes"]] = place + 1
        return at + AT["routes"] + min(place, ROUTES - 1) * _ROUTE

    def count_cpu(self, slot: int, us: int) -> int:
        """Note the CPU time of a worker; return that of all that have had its slot."""
        at = self._at(slot)
        self._numbers[at + _CPU] = us
        return self._numbers[at + _CPU_BEFORE] + us

    # -- what the master counts ----------------------------------------------------------------

    def count_own(self, kind: str, cause: str) -> None:
        """Count the start or the end of a worker, or a reload."""
        self._numbers[_OWN + self.turn * _OWN_SIZE + 1 + _own(kind, cause)] += 1

    # -- reading -------------------------------------------------------------------------------

    def read(self, alive: Callable[[int], bool] = lambda _pid: True) -> Figures:
        """Return everything. ``alive`` tells by its id whether a worker still is."""
        for _ in range(100):
            before = self._numbers[_SEQ : _SEQ + 2].tolist()
            found = self._read(alive)
            if not any(n % 2 for n in before) and (
                    before == self._numbers[_SEQ : _SEQ + 2].tolist()):
                break
        return found

    def _read(self, alive: Callable[[int], bool]) -> Figures:
        numbers, moment = self._numbers, now()
        high = max(numbers[_OWN], numbers[_OWN + _OWN_SIZE])
        counters = [0] * (_CUMULATIVE.stop - _CUMULATIVE.start)
        routes: dict[str, list[int]] = {}
        workers = {}
        for slot in range(-2, high):
            at = self._at(slot)
            if slot >= 0 and not numbers[at + AT["layout"]]:
                continue
            # first: a turn that ends meanwhile is not to count twice
            busy_us = numbers[at + AT["busy_us"]]
            whole = numbers[at : at + AT["nroutes"]].tolist()
            whole[AT["busy_us"]] = busy_us
            counters = [a + b for a, b in zip(counters, whole[_CUMULATIVE.start :], strict=True)]
            for name, figures in self._routes(at):
                before = routes.get(name)
                routes[name] = (figures.tolist() if before is None else
                                [a + b for a, b in zip(before, figures, strict=True)])
            if slot >= 0 and whole[AT["pid"]] and alive(whole[AT["pid"]]):
                workers[slot] = whole
        own = [a + b for a, b in zip(
            numbers[_OWN + 1 : _OWN + _OWN_SIZE],
            numbers[_OWN + _OWN_SIZE + 1 : _OWN + 2 * _OWN_SIZE], strict=True)]
        return Figures(moment, self.bounds, counters, routes, own, workers)

    def close(self) -> None:
        """Close the descriptor; the memory goes with the last process that has it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _add(numbers: memoryview, start: int, more: memoryview) -> None:
    """Add numbers to those that begin at ``start``."""
    for i, number in enumerate(more):
        if number:
            numbers[start + i] += number


def _own(kind: str, cause: str) -> int:
    """Return the place of what a master counts."""
    return list(KINDS).index(kind) * 16 + KINDS[kind].index(cause)
