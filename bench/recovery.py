"""A backend becomes ten times slower for a while: `python -m bench.recovery [--servers A,B]`.

The application waits for its backend, 20 ms in each of 8 threads. Requests arrive at random at 0.8
of what that can serve, each on a connection of its own, and every client gives up after one second.
After ten seconds a wait takes 200 ms for ten seconds: eight times as many arrive as can be served.
Then it takes 20 ms again. The figures of each part: answers that came in time, as a share of what
could be served of what arrived, their p99, and how many requests were refused or given up; and for
how long after the recovery there were still requests that were not served. The server has one core,
the clients another.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine, peers
from bench.overload import Outcome, ask, closed_loop
from bench.process import NotStarted, serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

WAIT, SLOWER = 0.02, 10  #: seconds that the backend takes, and how many times as long meanwhile
THREADS = 8
LOAD = 0.8  #: arriving requests, of the capacity of a quick backend
SIGN = "FASTWSGI_BENCH_SLOW"  #: names the file that is there while the backend is slow
SERVERS = "fastwsgi,gunicorn-gthread,granian,uwsgi"
PARTS = ("quick", "slow", "recovered")


def backend(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Wait for the backend."""
    time.sleep(WAIT * SLOWER if os.path.exists(os.environ[SIGN]) else WAIT)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


async def _served(port: int, outcome: Outcome, failed: list[float]) -> None:
    """Send one request; note when it began if it is not served."""
    began, mine = time.perf_counter(), Outcome()
    await ask(port, mine)
    outcome.times += mine.times
    outcome.others += mine.others
    if mine.others:
        failed.append(began)


async def _play(port: int, rate: float, seconds: float, sign: Path) -> tuple[list[Outcome], float]:
    """The outcome of each part, and how long after the recovery requests were not served."""
    outcomes = [Outcome() for _ in PARTS]
    failed: list[float] = []
    tasks: set[asyncio.Task[None]] = set()
    at = time.perf_counter()
    for part, outcome in zip(PARTS, outcomes, strict=True):
        if part == "slow":
            sign.touch()
        else:
            sign.unlink(missing_ok=True)
        begin = at
        while (at := at + random.expovariate(rate)) < begin + seconds:
            if (left := at - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            task = asyncio.create_task(_served(port, outcome, failed))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        at = begin + seconds
    recovery = begin
    await asyncio.gather(*tasks)
    return outcomes, max(0.0, max(failed, default=0.0) - recovery)


def measure(server: str, seconds: float) -> None:
    """Print a line for each part."""
    allowed = os.sched_getaffinity(0)
    server_cpus, client_cpus = machine.cores()
    peer = peers.PEERS[server]
    with tempfile.TemporaryDirectory(prefix="fastwsgi-bench-") as place:
        sign = Path(place) / "slow"
        os.environ[SIGN] = str(sign)
        try:
            with serve(
                peer, "bench.recovery:backend", threads=THREADS if peer.threads else 1, workers=1,
                cpus=server_cpus, python=sys.executable,
            ) as running:  # fmt: skip
                machine.pin(client_cpus)
                port = running.address[1]
                capacity = asyncio.run(closed_loop(port, "/", 2 * THREADS, 3.0))
                outcomes, rest = asyncio.run(_play(port, LOAD * capacity, seconds, sign))
        except NotStarted as error:
            print(f"{server}: {error}", file=sys.stderr)
            return
        finally:
            os.sched_setaffinity(0, allowed)
            del os.environ[SIGN]
    for part, outcome in zip(PARTS, outcomes, strict=True):
        could = min(outcome.all(), capacity * seconds / (SLOWER if part == "slow" else 1))
        print(
            f"| {server} | {part} | {len(outcome.times) / could:.2f} | {outcome.at(0.99):.0f} "
            f"| {outcome.others['503']} | {sum(outcome.others.values()) - outcome.others['503']} "
            f"| {f'{rest:.1f}' if part == 'recovered' else ''} |",
            flush=True,
        )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="a backend becomes slower, and recovers")
    parser.add_argument("--servers", default=SERVERS)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each of the three parts")
    chosen = parser.parse_args()
    print(
        "| server | backend | answered in time, of what could be | p99, ms | refused "
        "| late or lost | until all were served, s |"
    )
    print("|---" * 7 + "|")
    for server in chosen.servers.split(","):
        measure(server, chosen.seconds)


if __name__ == "__main__":
    main()
