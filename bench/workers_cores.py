"""A second worker on a second core: `python -m bench.workers_cores [--servers ...] [--rounds 2]
[--seconds 2] [--record]`.

Requests per second of one worker on one core, and of two on two. Where the machine has three cores
or more, wrk has those that the server does not use. Where it has two, wrk shares the cores of the
server in both cases, so that both parts of a comparison have the same place; its share of the CPU
time is shown. Rounds are interleaved, and the median counts. `--record` writes the figures into
docs/measured.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections import defaultdict

from bench import load, machine, peers, publish
from bench.client import Malformed
from bench.process import NotStarted, serve
from bench.scenarios import SCENARIOS

SERVERS = "fastwsgi,granian,uwsgi,gunicorn-gthread,gunicorn-sync"
ROWS = ("hello", "flask")
HEAD = ["", "1 worker, 1 core: requests/s", "2 workers, 2 cores", "ratio",
        "share of the client, 1 core", "2 cores"]  # fmt: skip


def places() -> tuple[dict[int, tuple[set[int], set[int]]], str]:
    """The cores of the server and of the client for each number of workers, and what to say."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("this needs two cores")
    rest = set(cores[2:])
    said = "The client has cores of its own." if rest else "The client shares the server's cores."
    return {n: (set(cores[:n]), rest or set(cores[:n])) for n in (1, 2)}, said


def main() -> None:
    """Print a line per server and application."""
    parser = argparse.ArgumentParser(description="a second worker on a second core")
    parser.add_argument("--servers", default=SERVERS, help=f"of {SERVERS}")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--record", action="store_true", help="write them into docs/measured")
    arguments = parser.parse_args()
    machine.ensure("wrk")
    machine.raise_descriptor_limit()
    chosen = peers.select(arguments.servers)
    failed = peers.install_all(chosen)
    where, said = places()
    rates: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    shares: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for _ in range(arguments.rounds):
        for name in ROWS:
            for peer in chosen:
                for workers, (server_cpus, client_cpus) in where.items():
                    if peer.name in failed or not peer.workers:
                        continue
                    row = SCENARIOS[name]
                    try:
                        with serve(peer, row.app, workers=workers, cpus=server_cpus) as server:
                            time.sleep(0.5)
                            load.run(row, server.address, 1.0, client_cpus)
                            before = server.cpu()
                            found = load.run(row, server.address, arguments.seconds, client_cpus)
                            used = server.cpu() - before
                    except (NotStarted, Malformed, OSError, RuntimeError) as error:
                        print(f"{peer.name}: {error}", file=sys.stderr)
                        continue
                    rates[peer.name, name, workers].append(found.requests / found.seconds)
                    shares[peer.name, name, workers].append(found.cpu / (found.cpu + used))
    rows = []
    for name in ROWS:
        for peer in chosen:
            keys = [(peer.name, name, workers) for workers in where]
            if not all(rates[key] for key in keys):
                continue
            one, two = (statistics.median(rates[key]) for key in keys)
            client = [f"{statistics.median(shares[key]):.0%}" for key in keys]
            rows.append([f"{SCENARIOS[name].title}: {peer.title}", f"{one:,.0f}", f"{two:,.0f}",
                         f"{two / one:.2f}", *client])  # fmt: skip
    print(publish.line(HEAD), publish.rule(HEAD), *map(publish.line, rows), sep="\n")
    if arguments.record:
        publish.keep("workers-cores", "python -m bench.workers_cores", HEAD, rows,
                     f"wrk on 64 connections. {said}")  # fmt: skip


if __name__ == "__main__":
    main()
