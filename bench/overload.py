"""What is served past capacity: `python -m bench.overload [--servers A,B] [--loads 0.8,2,5]`.

Requests arrive at random whether earlier ones have been answered or not, each on a connection of
its own, and every client gives up after one second (open loop). The application takes 5 ms of CPU,
or sleeps for 20 ms in each of 8 threads. Its capacity is measured first, by clients that wait. The
figures: answers that came in time, as a share of the capacity, their p50 and p99, and how many
requests were refused or given up. After each load comes a quiet second, at half the capacity, of
which all is to be served. The server has one core, the clients another.

"flask" and "django" are the computing application behind those. Where the application only sleeps,
the server's CPU time is its own; what is left of it when each answer is given what one cost at the
first load, the lightest, divided by the refusals, is what one of those costs, with its connection.
`--refusals` measures nothing but what a refusal costs on a kept connection, all that belongs to a
request included: of requests whose budget is spent, for then no overload has to be kept up.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bench import machine, peers
from bench.load import wrk
from bench.process import NotStarted, serve
from bench.scenarios import SCENARIOS
from bench.site_content import compute

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PATIENCE = 1.0  #: seconds that a client waits
SERVERS = "fastwsgi,gunicorn-sync,gunicorn-gthread,granian"


def computing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Use 5 ms of CPU."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [compute().encode("ascii")]


def sleeping(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Sleep for 20 ms."""
    time.sleep(0.02)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


#: name -> application, threads, path
PROFILES = {
    "computing": ("bench.overload:computing", 1, "/"),
    "sleeping": ("bench.overload:sleeping", 8, "/"),
    "flask": ("bench.site_flask:app", 1, "/compute"),
    "django": ("bench.site_django:app", 1, "/compute"),
}


@dataclass
class Outcome:
    """What became of the requests of one load: seconds of those answered in time, the rest."""

    times: list[float] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def all(self) -> int:
        """How many there were."""
        return len(self.times) + sum(self.others.values())

    def at(self, share: float) -> float:
        """Milliseconds that so many of the answers took at most."""
        times = sorted(self.times)
        return times[min(len(times) - 1, int(share * len(times)))] * 1000 if times else 0.0


async def ask(port: int, outcome: Outcome, path: str = "/", patience: float = PATIENCE) -> None:
    """Send one request on a connection of its own and note what becomes of it."""
    began = time.perf_counter()
    writer = None
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", port), patience
        )
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        left = patience - (time.perf_counter() - began)
        status = (await asyncio.wait_for(reader.read(), left))[9:12].decode("ascii")
        if status == "200":
            outcome.times.append(time.perf_counter() - began)
        else:
            outcome.others[status or "closed"] += 1
    except asyncio.TimeoutError:
        outcome.others["given up"] += 1
    except OSError:
        outcome.others["reset"] += 1
    finally:
        if writer is not None:
            writer.close()


async def _open_loop(port: int, path: str, rate: float, seconds: float) -> Outcome:
    outcome = Outcome()
    tasks: set[asyncio.Task[None]] = set()
    at = time.perf_counter()
    end = at + seconds
    while (at := at + random.expovariate(rate)) < end:
        if (left := at - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        task = asyncio.create_task(ask(port, outcome, path))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return outcome


async def closed_loop(port: int, path: str, clients: int, seconds: float) -> float:
    """Requests a second when a few clients wait for each answer."""
    outcome = Outcome()
    end = time.perf_counter() + seconds

    async def client() -> None:
        while time.perf_counter() < end:
            await ask(port, outcome, path, 30.0)

    await asyncio.gather(*(client() for _ in range(clients)))
    return len(outcome.times) / seconds


def measure(server: str, profile: str, loads: list[float], seconds: float, workers: int) -> None:
    """Print a line for each load."""
    app, threads, path = PROFILES[profile]
    allowed = os.sched_getaffinity(0)
    server_cpus, client_cpus = machine.cores()
    peer = peers.PEERS[server]
    try:
        with serve(
            peer, app, threads=threads if peer.threads else 1, workers=workers,
            cpus=server_cpus if workers == 1 else None, python=sys.executable,
        ) as running:  # fmt: skip
            machine.pin(client_cpus)
            port = running.address[1]
            capacity = asyncio.run(closed_loop(port, path, 2 * threads * workers, 3.0))
            answer = 0.0
            for load in loads:
                before = running.cpu()
                outcome = asyncio.run(_open_loop(port, path, load * capacity, seconds))
                spent = running.cpu() - before
                answer = answer or spent / max(1, len(outcome.times))
                quiet = asyncio.run(_open_loop(port, path, capacity / 2, 1.0))
                refused = outcome.others["503"]
                refusal = (spent - len(outcome.times) * answer) / max(1, refused) * 1e6
                print(
                    f"| {server} | {profile} | {load:g} "
                    f"| {len(outcome.times) / seconds / capacity:.2f} "
                    f"| {outcome.at(0.5):.0f} | {outcome.at(0.99):.0f} | {refused} "
                    f"| {sum(outcome.others.values()) - refused} "
                    f"| {f'{refusal:.0f}' if profile == 'sleeping' and refused else ''} "
                    f"| {sum(quiet.others.values())} of {quiet.all()} |",
                    flush=True,
                )
    except NotStarted as error:
        print(f"{server}: {error}", file=sys.stderr)
    finally:
        os.sched_setaffinity(0, allowed)


def measure_refusals(seconds: float) -> None:
    """Print the CPU time of a refusal on a kept connection."""
    machine.ensure("wrk")
    server_cpus, client_cpus = machine.cores()
    long_ago = (("Host", "localhost"), ("X-Request-Start", f"t={time.time() - 600:.3f}"))
    with serve(
        peers.PEERS[peers.OURS], "bench.apps:hello", workers=0, extra=("--request-budget", "1"),
        cpus=server_cpus, python=sys.executable,
    ) as running:  # fmt: skip
        for fields, what in ((long_ago, "refusal"), (long_ago[:1], "hello")):
            before = running.cpu()
            row = replace(SCENARIOS["hello"], headers=fields)
            found = wrk(row, running.address, seconds, client_cpus)
            spent = running.cpu() - before
            if found.errors["status"] != (found.requests if what == "refusal" else 0):
                raise SystemExit(f"{what}: {found}")
            print(f"a {what}: {spent / found.requests * 1e6:.1f} µs of CPU, of {found.requests}")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="what is served past capacity")
    parser.add_argument("--refusals", action="store_true", help="measure what one costs, alone")
    parser.add_argument("--servers", default=SERVERS)
    parser.add_argument("--profiles", default=",".join(PROFILES))
    parser.add_argument("--loads", default="0.8,1.5,2,5,10")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each load")
    parser.add_argument("--workers", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.refusals:
        measure_refusals(chosen.seconds)
        return
    print(
        "| server | application | arriving, of capacity | answered in time, of capacity | p50, ms "
        "| p99, ms | refused | late or lost | CPU of a refusal, µs "
        "| of a quiet second, not served |"
    )
    print("|---" * 10 + "|")
    loads = [float(load) for load in chosen.loads.split(",")]
    for profile in chosen.profiles.split(","):
        for server in chosen.servers.split(","):
            measure(server, profile, loads, chosen.seconds, chosen.workers)


if __name__ == "__main__":
    main()
