"""Simulate how a queue behaves past capacity: `python -m bench.admission [--plot FILE.svg]`.

Requests arrive at random (Poisson), a number of threads serves them, and each client waits one
second. Two queues are compared: one in the order of arrival, and one that is judged as
csrc/io/admission.h says, whose rules and sources stand there. It is the same judgement, in another
language: what is decided there should be tried here first. Beside arrivals it shows a burst, and a
stall in which one call lasts long.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

PATIENCE = 1.0  #: seconds that a client waits
TARGET, MOST, INTERVAL = 0.05, 0.2, 0.1  #: seconds
LEAST, STRIKES, SERVED = 4, 3, 10
SWEEP = 0.02  #: seconds between two looks for those that have waited too long
LOADS = (0.5, 0.8, 0.9, 1.0, 1.1, 1.5, 2.0, 3.0, 5.0, 10.0)


@dataclass
class Outcome:
    """What became of the requests: seconds of those answered in time, and the rest counted."""

    times: list[float] = field(default_factory=list)
    late: int = 0
    refused: int = 0
    overloads: int = 0

    def percentile(self, share: float) -> float:
        """Milliseconds that so many of those answered in time took at most."""
        times = sorted(self.times)
        return times[min(len(times) - 1, int(share * len(times)))] * 1000 if times else 0.0


class Queue:
    """Requests that wait, by their time of arrival: the next one to serve is on the left."""

    def __init__(self, *, judged: bool) -> None:
        self.waiting: deque[tuple[float, float]] = deque()
        self.outcome = Outcome()
        self._judged = judged
        self._limit = TARGET
        self._overloaded = False
        self._above: float | None = None
        self._noted = self._taken = self._strikes = 0
        self._swept = 0.0

    def put(self, request: tuple[float, float]) -> None:
        """Let a request wait: its arrival, and how long it takes."""
        if self._overloaded:
            self.waiting.appendleft(request)
        else:
            self.waiting.append(request)

    def take(self, now: float) -> tuple[float, float]:
        """Return the next one to serve, and judge the queue by its wait."""
        request = self.waiting.popleft()
        if self._judged:
            self._judge(now, now - request[0])
        return request

    def sweep(self, now: float) -> None:
        """Refuse those that have waited too long."""
        if not self._overloaded or now - self._swept < SWEEP:
            return
        self._swept = now
        while self.waiting and now - self.waiting[-1][0] > 4 * self._limit:
            self.waiting.pop()
            self.outcome.refused += 1

    def _note(self, now: float) -> None:
        self._above, self._noted, self._taken = now, len(self.waiting), 0

    def _judge(self, now: float, wait: float) -> None:
        if self._overloaded:
            if not self.waiting:
                self._overloaded = False
        elif wait <= self._limit:
            self._above, self._strikes = None, 0
        elif self._above is None:
            self._note(now)
        else:
            self._taken += 1
            if self._taken >= LEAST and now - self._above >= INTERVAL:
                self._look(now, wait, now - self._above)

    def _look(self, now: float, wait: float, passed: float) -> None:
        grown = len(self.waiting) - self._noted
        steep = grown >= self._taken
        self._strikes = self._strikes + (2 if steep else 1) if grown > 0 else 0
        self._limit = min(max(TARGET, SERVED * passed / self._taken), max(TARGET, MOST))
        self._note(now)
        if self._strikes >= STRIKES and wait > self._limit:
            self._overloaded, self._above, self._strikes = True, None, 0
            self.outcome.overloads += 1
            self.waiting.reverse()


def simulate(arrivals: list[tuple[float, float]], threads: int, *, judged: bool) -> Outcome:
    """Serve requests (arrival, seconds of work), in order of arrival, by so many threads."""
    queue = Queue(judged=judged)
    busy: list[tuple[float, float]] = []
    following = 0
    while following < len(arrivals) or busy or queue.waiting:
        arrives = arrivals[following][0] if following < len(arrivals) else math.inf
        if busy and busy[0][0] < arrives:
            now, arrived = heapq.heappop(busy)
            if now - arrived <= PATIENCE:
                queue.outcome.times.append(now - arrived)
            else:
                queue.outcome.late += 1
        else:
            now = arrives
            queue.put(arrivals[following])
            following += 1
        queue.sweep(now)
        while len(busy) < threads and queue.waiting:
            arrived, work = queue.take(now)
            heapq.heappush(busy, (now + work, arrived))
    return queue.outcome


def poisson(rate: float, seconds: float, work: float, seed: int = 1) -> list[tuple[float, float]]:
    """Arrivals at random, `rate` a second on average."""
    source = random.Random(seed)
    found, at = [], 0.0
    while (at := at + source.expovariate(rate)) < seconds:
        found.append((at, work))
    return found


def stalled(rate: float, seconds: float, work: float, stall: float) -> list[tuple[float, float]]:
    """The same, and one request in the middle that takes `stall` seconds."""
    found = poisson(rate, seconds, work)
    middle = len(found) // 2
    found[middle] = (found[middle][0], stall)
    return found


def table(threads: int, work: float, seconds: float) -> list[tuple[float, Outcome, Outcome]]:
    """For each load: what a plain queue makes of it, and what a judged one does."""
    capacity = threads / work
    return [
        (
            load,
            simulate(poisson(load * capacity, seconds, work), threads, judged=False),
            simulate(poisson(load * capacity, seconds, work), threads, judged=True),
        )
        for load in LOADS
    ]


def plot(rows: list[tuple[float, Outcome, Outcome]], capacity: float, path: str) -> None:
    """Draw the share of the capacity that is answered in time over the load."""
    from bench import charts

    figure, axes = charts.plt.subplots(figsize=(6, 3))
    loads = [load for load, _, _ in rows]
    for name, column, colour in (("order of arrival", 1, charts.PEER), ("judged", 2, charts.OURS)):
        axes.plot(
            loads, [len(row[column].times) / capacity for row in rows], label=name, color=colour
        )
    axes.set_xlabel("arriving, of capacity")
    axes.set_ylabel("answered in time, of capacity")
    axes.set_xscale("log")
    axes.legend(frameon=False)
    charts._save(figure, charts.Path(path))


def main() -> None:
    """Print a table for some applications, and what becomes of a burst and a stall."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="simulated, for each load")
    parser.add_argument("--plot", metavar="FILE", help="draw the first table (needs matplotlib)")
    chosen = parser.parse_args()
    for number, (threads, work) in enumerate(((1, 0.005), (8, 0.02), (1, 0.001), (1, 0.1))):
        capacity = threads / work * chosen.seconds
        rows = table(threads, work, chosen.seconds)
        print(f"\n{threads} thread(s), {work * 1000:g} ms each")
        print("  load   plain: in time   judged: in time  refused   p50 ms   p99 ms  overloads")
        for load, plain, judged in rows:
            print(
                f"  {load:4g} {len(plain.times) / capacity:16.2f} "
                f"{len(judged.times) / capacity:17.2f} {judged.refused:8} "
                f"{judged.percentile(0.5):8.0f} {judged.percentile(0.99):8.0f} "
                f"{judged.overloads:10}"
            )
        if chosen.plot and not number:
            plot(rows, capacity, chosen.plot)
    burst = simulate([(0.0, 0.001)] * 900, 1, judged=True)
    print(f"\na burst of 900 requests of 1 ms: {burst.refused} refused, {burst.late} late")
    stall = simulate(stalled(100, 5, 0.005, 0.6), 1, judged=True)
    print(f"a call of 600 ms at half the capacity: {stall.refused} refused, {stall.late} late")


if __name__ == "__main__":
    main()
