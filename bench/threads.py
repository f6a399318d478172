"""What threads and slow clients cost: `python -m bench.threads [--parts ...] [--out FILE]`.

One run answers everything that is promised about threads, with the server on one core and the load
on another; the rounds are interleaved, so that a slow minute of the machine hits all alike:

* load      rows of scenarios.py: hello with 1 and with 32 threads, 10 ms of sleep, the mix, streams
* bytes     when the first byte of a stream with pauses arrives, and the blocks behind it
* slow      a well-behaved client beside 5,000 slow ones, and the memory of 1,000 slow readers

How latency is taken: wrk's for the rows without a mix (closed loop, each connection asks again when
it was answered). In the mix a client of our own (load.py) notes for each request what kind it is
and takes the time from before its send to the last byte of its answer, so that waiting inside of
that client counts against the server, too. Beside slow clients it is one connection that asks every
5 ms (slow.py).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import apps, machine, peers, slow
from bench.client import Client, Malformed
from bench.pace import Pace
from bench.peers import OURS, PEERS, Peer
from bench.process import NotStarted, serve
from bench.run import Cell, measure
from bench.scenarios import SCENARIOS, applies

PARTS = ("load", "bytes", "slow")
#: row -> who runs it in each round, in this order; back and forth, so that a drift cancels out
LOADS: tuple[tuple[str, str], ...] = (
    ("hello", OURS),
    ("threads", OURS),
    ("threads", OURS),
    ("hello", OURS),
    ("sleep", OURS),
    ("sleep", "granian"),
    ("sleep", "uwsgi"),
    ("mix", OURS),
    ("mix", "gunicorn-gthread"),
    ("mix", "granian"),
    ("stream", OURS),
    ("stream", "granian"),
)
STREAMERS: tuple[tuple[str, int], ...] = ((OURS, 1), (OURS, 32), ("granian", 1))
STREAMS = 5  #: streams with pauses per server and round
AT_ONCE = 20.0  #: ms within which "at once" is believed on a busy machine
SHOWN = ("cpu_us", "rps", "p50_ms", "p99_ms", "busy", "client_busy", "failures")

Cores = tuple[set[int], set[int]]
Cells = dict[tuple[str, str], Cell]


@dataclass
class Verdict:
    """A goal and what was measured: `met` is None where a figure is missing."""

    question: str
    measured: float | None
    bound: float
    unit: str
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    def line(self) -> str:
        shown = "not measured" if self.measured is None else f"{self.measured:,.3g}"
        if self.measured is not None and self.measured >= 1000:
            shown = f"{self.measured:,.0f}"
        sign = "≥" if self.at_least else "≤"
        word = {True: "yes", False: "NO", None: "?"}[self.met]
        goal = f"{sign} {self.bound:,g} {self.unit}".rstrip()
        return f"| {self.question} | {goal} | {shown} {self.unit} | {word} | {self.note} |"


# -- load ----------------------------------------------------------------------------------------


def loads(rounds: int, seconds: float, cores: Cores, allowed: set[str]) -> Cells:
    """Measure each pair of LOADS in each round, the order turned around every other round."""
    cells: Cells = {pair: Cell() for pair in LOADS if pair[1] in allowed}
    pace = Pace(cores[0] | cores[1])
    for number in range(rounds):
        for row, name in LOADS if number % 2 == 0 else reversed(LOADS):
            cell = cells.get((row, name))
            if cell is None or cell.reason:
                continue
            scenario, peer = SCENARIOS[row], PEERS[name]
            cell.reason = applies(scenario, name, peer.threads)
            if not cell.reason:
                measure(scenario, peer, cell, seconds, cores, pace)
            last = cell.reason or f"{cell.rounds[-1]['cpu_us']:.2f} us"
            print(f"{number + 1}/{rounds} {row:8} {name:17} {last}", file=sys.stderr, flush=True)
    return cells


def middle(cells: Cells, row: str, name: str, figure: str) -> float | None:
    """The median of a figure over the rounds, or None when there is none."""
    cell = cells.get((row, name))
    if cell is None or cell.reason or not cell.rounds:
        return None
    return statistics.median(one[figure] for one in cell.rounds)


def ratio(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else round(a / b, 3)


def judge_loads(cells: Cells) -> list[Verdict]:
    """What the issue of threads has to show, row by row."""

    def mine(row: str, figure: str) -> float | None:
        return middle(cells, row, OURS, figure)

    one, many = mine("hello", "p99_ms"), mine("threads", "p99_ms")
    found = [
        Verdict(
            "hello: CPU per request, 32 threads over 1",
            ratio(mine("threads", "cpu_us"), mine("hello", "cpu_us")),
            1.03,
            "",
            note=f"{mine('threads', 'cpu_us')} and {mine('hello', 'cpu_us')} us",
        ),
        Verdict(
            "hello: p99, 32 threads minus 1",
            None if one is None or many is None else round(many - one, 3),
            1.0,
            "ms",
            note=f"{many} and {one} ms",
        ),
        Verdict(
            "10 ms sleep, 64 threads: requests", mine("sleep", "rps"), 6000, "/s", at_least=True
        ),
    ]
    for name in ("granian", "uwsgi"):
        theirs = middle(cells, "sleep", name, "cpu_us")
        found.append(
            Verdict(
                f"10 ms sleep: CPU per request over {PEERS[name].title}'s",
                ratio(mine("sleep", "cpu_us"), theirs),
                0.6,
                "",
                note=f"{mine('sleep', 'cpu_us')} and {theirs} us",
            )
        )
    beside = [
        f"{PEERS[name].title} {middle(cells, 'mix', name, 'p99_ms')} ms"
        for name in ("gunicorn-gthread", "granian")
    ]
    theirs = middle(cells, "stream", "granian", "cpu_us")
    return [
        *found,
        Verdict(
            "mix, 32 threads: p99 of the quick ones",
            mine("mix", "p99_ms"),
            15.0,
            "ms",
            note=", ".join(beside),
        ),
        Verdict(
            "10 yields of 1 KB: CPU per request over granian's",
            ratio(mine("stream", "cpu_us"), theirs),
            0.5,
            "",
            note=f"{mine('stream', 'cpu_us')} and {theirs} us",
        ),
    ]


def table_of_loads(cells: Cells) -> list[str]:
    """Every cell with its medians, or with the reason why it has none."""
    out = ["| row | server | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 2) + "|"]
    for (row, name), cell in cells.items():
        shown = " | ".join(str(middle(cells, row, name, figure)) for figure in SHOWN)
        figures = cell.reason + " |" * (len(SHOWN) - 1) if cell.reason else shown
        out.append(f"| {SCENARIOS[row].title} | {PEERS[name].title} | {figures} |")
    return out


# -- bytes ---------------------------------------------------------------------------------------


def arrivals(address: tuple[str, int]) -> list[float]:
    """When the blocks of /drip arrived, in ms since the request. Raises Malformed."""
    found = []
    with Client(address) as client:
        begin = time.perf_counter()
        client.send(b"GET /drip HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for number in range(3):
            while client.buffer.count(b"drip") <= number:
                if not client.more():
                    raise Malformed("the stream was cut")
            found.append((time.perf_counter() - begin) * 1e3)
    return found


def streams(rounds: int, cores: Cores, allowed: set[str]) -> dict[str, list[list[float]]]:
    """The arrivals of each server's streams; a server that fails has none."""
    found: dict[str, list[list[float]]] = {}
    for _ in range(rounds):
        for name, threads in STREAMERS:
            if name not in allowed:
                continue
            seen = found.setdefault(f"{PEERS[name].title}, {threads} threads", [])
            try:
                with serve(
                    PEERS[name], "bench.apps:probe", threads=threads, cpus=cores[0]
                ) as server:
                    arrivals(server.address)
                    seen += [arrivals(server.address) for _ in range(STREAMS)]
            except (NotStarted, Malformed, OSError) as error:
                print(f"{name}: {error}", file=sys.stderr)
    return found


def late(seen: list[list[float]], block: int) -> float | None:
    """By how many ms the block came late, at worst."""
    due = block * apps.DRIP * 1e3
    return round(max(one[block] - due for one in seen), 2) if seen else None


def judge_streams(found: dict[str, list[list[float]]]) -> list[Verdict]:
    """A stream's first byte is there at once, and no block waits for the one behind it."""
    verdicts = []
    for name, seen in found.items():
        if name.startswith(PEERS[OURS].title):
            title = f"stream with {apps.DRIP * 1e3:.0f} ms pauses, {name}"
            for block, words in ((0, "first byte after, at worst"), (2, "third block late by")):
                verdicts.append(Verdict(f"{title}: {words}", late(seen, block), AT_ONCE, "ms"))
    return verdicts


# -- slow clients --------------------------------------------------------------------------------


def crowds(peer: Peer, cores: Cores, clients: int | None) -> dict[str, dict[str, float]]:
    """The figures of slow.py for each of its phases, with one application thread."""
    found: dict[str, dict[str, float]] = {}
    for phase, (*_, count) in slow.PHASES.items():
        try:
            with serve(peer, "bench.apps:fifty", cpus=cores[0]) as server:
                found[phase] = slow.measure(server, phase, clients or count)
        except (NotStarted, Malformed, OSError) as error:
            print(f"{phase}: {error}", file=sys.stderr)
        else:
            print(f"slow {phase}: {found[phase]}", file=sys.stderr, flush=True)
    return found


def judge_crowds(found: dict[str, dict[str, float]]) -> list[Verdict]:
    verdicts = []
    for phase in slow.PHASES:
        one = found.get(phase)
        rise = None if one is None else round(one["p99_with"] - one["p99_before"], 3)
        note = f"from {one['p99_before']:.2f} ms" if one else ""
        growth = None if one is None else round(one["growth_mb"], 1)
        if phase == "generated":
            total = None if one is None else round(one["rss_mb"], 1)
            verdicts.append(
                Verdict("1,000 readers of 50 MB at 10 KB/s: RSS", total, 400, "MB", note=note)
            )
            continue
        if phase == "silent":
            total = None if one is None else round(one["rss_mb"], 1)
            verdicts.append(Verdict("2,000 that read nothing of a stream: RSS", total, 150, "MB"))
            continue
        title = f"5,000 slow in {phase}, one thread"
        verdicts.append(Verdict(f"{title}: p99 of the polite rises by", rise, 5.0, "ms", note=note))
        verdicts.append(Verdict(f"{title}: RSS grows by", growth, 60, "MB"))
    return verdicts


# -- the run -------------------------------------------------------------------------------------


def main() -> int:
    """Measure, print what was asked and found, write JSON; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description="threads and slow clients")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--servers", default="fastwsgi,granian,uwsgi,gunicorn-gthread")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of load per cell and round")
    parser.add_argument("--clients", type=int, help="slow ones, instead of 5,000 (1,000)")
    parser.add_argument("--out", type=Path, help="file for the figures, as JSON")
    parser.add_argument("--server-cores", type=machine.parse_cores)
    parser.add_argument("--client-cores", type=machine.parse_cores)
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    machine.ensure("wrk")
    machine.raise_descriptor_limit()
    standard = machine.cores()
    cores = (arguments.server_cores or standard[0], arguments.client_cores or standard[1])
    chosen = peers.select(arguments.servers)
    failed = peers.install_all(chosen)
    allowed = {peer.name for peer in chosen if peer.name not in failed}
    document: dict[str, Any] = {"machine": machine.describe(), "failed": failed}
    machine.pin(cores[1])
    verdicts: list[Verdict] = []
    tables: list[str] = []
    if "load" in parts:
        cells = loads(arguments.rounds, arguments.seconds, cores, allowed)
        verdicts += judge_loads(cells)
        tables += ["", *table_of_loads(cells)]
        document["load"] = {
            f"{row} {name}": {"reason": cell.reason, "rounds": cell.rounds}
            for (row, name), cell in cells.items()
        }
    if "bytes" in parts:
        seen = streams(1, cores, allowed)
        verdicts += judge_streams(seen)
        document["bytes"] = seen
        tables += ["", *(f"{name}: first byte {late(one, 0)} ms" for name, one in seen.items())]
    if "slow" in parts and OURS in allowed:
        document["slow"] = crowds(PEERS[OURS], cores, arguments.clients)
        verdicts += judge_crowds(document["slow"])
    document["goals"] = [asdict(verdict) | {"met": verdict.met} for verdict in verdicts]
    print("| question | goal | measured | met | beside it |", "|---" * 5 + "|", sep="\n")
    print(*(verdict.line() for verdict in verdicts), *tables, sep="\n")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(document, indent=1) + "\n")
    return int(any(verdict.met is not True for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
