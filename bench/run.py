"""The comparison: `make bench`, or `python -m bench.run [--only ROWS] [--servers NAMES] [--rounds
N] [--seconds S]`.

For each round, for each row, each server in turn is started on its core, checked (verify.py, the
first time), warmed up and loaded from the other core. Rounds are interleaved, so a slow minute of
the machine hits everyone alike; the order of the servers turns by one each round. The figures of a
cell are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from bench import load, machine, peers, report, verify
from bench.pace import SLOWER, Pace
from bench.peers import Peer
from bench.process import NotStarted, Server, serve
from bench.scenarios import SCENARIOS, Scenario, applies, select

FIGURES = (
    "cpu_us",
    "both_us",
    "rps",
    "p50_ms",
    "p99_ms",
    "rss_mb",
    "pss_mb",
    "busy",
    "client_busy",
    "failures",
    "slowed",
)
WARM_UP = 1.0  #: seconds
ATTEMPTS = 4  #: at a round that the machine lets through at its usual pace
IDLE = 0.15  #: when neither the server nor the client is busier than this, the server stalls


class Cell:
    """One server in one row: its rounds, or the reason why there are none."""

    def __init__(self) -> None:
        self.rounds: list[dict[str, float]] = []
        self.errors: dict[str, int] = {}
        self.reason = ""
        self.verified = False

    def summary(self, row: Scenario) -> dict[str, Any]:
        """Medians, the spread of the CPU figure, and remarks."""
        if self.reason or not self.rounds:
            return {"reason": self.reason or "not measured"}
        found: dict[str, Any] = {
            name: round(statistics.median(one[name] for one in self.rounds), 3) for name in FIGURES
        }
        costs = [one["cpu_us"] for one in self.rounds]
        found["spread"] = round((max(costs) - min(costs)) / statistics.median(costs), 3)
        found["errors"] = {kind: count for kind, count in self.errors.items() if count}
        found["rounds"] = self.rounds
        waits = row.app in ("bench.apps:sleep", "bench.apps:mix")
        if not waits and max(found["busy"], found["client_busy"]) < IDLE:
            found["remark"] = f"stalls: its core is {found['busy']:.0%} busy, the client's as idle"
        return found


def measure(
    row: Scenario,
    peer: Peer,
    cell: Cell,
    seconds: float,
    cpus: tuple[set[int], set[int]],
    pace: Pace,
) -> None:
    """One round of one server in one row, added to the cell.

    A round in a slow phase of the machine is repeated; of several such rounds the one that was
    slowed least counts.
    """
    server_cpus, client_cpus = cpus
    extra = row.extra if peer.name == peers.OURS else ()
    try:
        with serve(
            peer, row.app, threads=row.threads, extra=extra, body=row.reply, cpus=server_cpus
        ) as server:
            if not cell.verified:
                cell.reason = verify.check(server, row)
                if cell.reason:
                    return
                cell.verified = True
            load.run(row, server.address, min(WARM_UP, seconds), client_cpus)
            tried: list[dict[str, float]] = []
            while len(tried) < ATTEMPTS and not (tried and tried[-1]["slowed"] <= SLOWER):
                tried.append(_attempt(row, server, cell, seconds, client_cpus, pace))
            cell.rounds.append(min(tried, key=lambda one: one["slowed"]))
    except (NotStarted, RuntimeError) as error:
        cell.reason = str(error)


def _attempt(
    row: Scenario, server: Server, cell: Cell, seconds: float, client_cpus: set[int], pace: Pace
) -> dict[str, float]:
    """Load the server once; raises RuntimeError when it gives no answers."""
    slowed = pace.settled()
    before = server.cpu()
    seen = load.run(row, server.address, seconds, client_cpus)
    used = server.cpu() - before
    slowed = max(slowed, pace.now())
    if not server.alive():
        raise RuntimeError(f"ended under load: {server.last_words()}")
    if not seen.requests:
        raise RuntimeError(f"answered nothing under load: {seen.errors}")
    for kind, count in seen.errors.items():
        cell.errors[kind] = cell.errors.get(kind, 0) + count
    return {
        "cpu_us": round(used * 1e6 / seen.requests, 3),
        "both_us": round((used + seen.cpu) * 1e6 / seen.requests, 3),
        "rps": round(seen.requests / seen.seconds, 1),
        "p50_ms": round(seen.p50_ms, 3),
        "p99_ms": round(seen.p99_ms, 3),
        "rss_mb": round(server.rss() / 1e6, 1),
        "pss_mb": round(server.pss() / 1e6, 1),
        "busy": round(used / seen.seconds, 3),
        "client_busy": round(seen.cpu / seen.seconds, 3),
        "failures": seen.failures,
        "slowed": round(slowed, 3),
    }


def run(
    rows: list[Scenario],
    chosen: list[Peer],
    *,
    rounds: int,
    seconds: float,
    cpus: tuple[set[int], set[int]],
) -> dict[str, Any]:
    """Measure everything; returns the document that report.py and charts.py read."""
    description = machine.describe()
    failed = peers.install_all(chosen)
    servers: dict[str, dict[str, Any]] = {}
    known: dict[str, verify.Traits] = {}
    for peer in chosen:
        servers[peer.name] = {"title": peer.title, "reason": failed.get(peer.name, "")}
        if peer.name not in failed:
            known[peer.name] = verify.traits(peer, cpus[0])
            servers[peer.name] |= {"version": peers.version(peer), "traits": vars(known[peer.name])}
    cells = {(row.name, peer.name): Cell() for row in rows for peer in chosen}
    pace = Pace(cpus[0] | cpus[1])
    begin, total, done = time.monotonic(), rounds * len(cells), 0
    for number in range(rounds):
        order = chosen[number % len(chosen) :] + chosen[: number % len(chosen)]
        for row in rows:
            for peer in order:
                cell = cells[row.name, peer.name]
                done += 1
                cell.reason = (
                    cell.reason
                    or failed.get(peer.name, "")
                    or applies(row, peer.name, peer.threads)
                )
                if cell.reason:
                    continue
                measure(row, peer, cell, seconds, cpus, pace)
                last = cell.reason or f"{cell.rounds[-1]['cpu_us']:9.2f} us"
                left = (time.monotonic() - begin) / done * (total - done) / 60
                print(
                    f"{number + 1}/{rounds} {row.name:15} {peer.name:17} {last}"
                    f"  (~{left:.0f} min left)",
                    file=sys.stderr,
                    flush=True,
                )
    return {
        "machine": {**description, "load_after": machine.describe()["load_before"]},
        "settings": {
            "rounds": rounds,
            "seconds": seconds,
            "server_cores": sorted(cpus[0]),
            "client_cores": sorted(cpus[1]),
            "date": time.strftime("%Y-%m-%d"),
        },
        "servers": servers,
        "rows": [
            {
                "name": row.name,
                "title": row.title,
                "pipeline": row.pipeline,
                "cells": {peer.name: cells[row.name, peer.name].summary(row) for peer in chosen},
            }
            for row in rows
        ],
    }


def main() -> int:
    """Measure as the command line says; write JSON, Markdown, charts; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description="compare WSGI servers")
    parser.add_argument("--only", help=f"rows, comma-separated: {', '.join(SCENARIOS)}")
    parser.add_argument("--servers", help=f"servers, comma-separated: {', '.join(peers.PEERS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of load per cell and round")
    parser.add_argument("--out", type=Path, default=machine.ROOT / "bench" / "results")
    parser.add_argument("--server-cores", type=machine.parse_cores, help="such as 0 or 0,2-3")
    parser.add_argument("--client-cores", type=machine.parse_cores)
    parser.add_argument("--no-charts", action="store_true")
    arguments = parser.parse_args()
    machine.ensure("wrk")
    machine.raise_descriptor_limit()
    server_cpus, client_cpus = machine.cores()
    found = run(
        select(arguments.only),
        peers.select(arguments.servers),
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        cpus=(arguments.server_cores or server_cpus, arguments.client_cores or client_cpus),
    )
    goals = report.judge(found)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    text = report.markdown(found)
    (out / "results.md").write_text(text)
    if not arguments.no_charts:
        report.draw(out)
    print(text)
    print(f"written to {out}", file=sys.stderr)
    return int(any(goal["met"] is False for goal in goals))


if __name__ == "__main__":
    sys.exit(main())
