"""System calls per keep-alive GET in the steady state, by strace.

    python -m bench.syscalls [--servers fastwsgi,canned,...] [--connections 1,16]

strace is attached to the warmed-up server; each round sends one request on every connection and
then reads every answer, so with several connections a poll finds more than one of them ready. As in
callgrind.py the calls of a short run are taken from those of a long one, so what belongs to no
request cancels out.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter as Tally
from contextlib import ExitStack
from pathlib import Path

from bench import machine, peers
from bench.client import Client, Malformed
from bench.process import NotStarted, Server, serve
from bench.scenarios import SCENARIOS

ROUNDS = (50, 250)
_CALL = re.compile(r"^(?:\d+\s+)?(?:<\.\.\. )?(\w+)(?:\(| resumed)")


def _calls(log: Path) -> Tally[str]:
    """Calls of a strace log; one that stands on two lines is counted by its first."""
    found: Tally[str] = Tally()
    for line in log.read_text(errors="replace").splitlines():
        match = _CALL.match(line)
        if match and "resumed>" not in line:
            found[match[1]] += 1
    return found


def _attached(server: Server, log: Path) -> subprocess.Popen[str]:
    targets = [word for pid in server.pids for word in ("-p", str(pid))]
    tracer = subprocess.Popen(
        ["strace", "-f", "-o", str(log), *targets], stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr is not None
    for _ in server.pids:
        tracer.stderr.readline()  # "strace: Process N attached"
    return tracer


def _round(clients: list[Client], request: bytes, size: int) -> None:
    for client in clients:
        client.send(request)
    for client in clients:
        client.skip(size)


def per_request(server: Server, connections: int) -> dict[str, float]:
    """Call -> how often per request, the most frequent first. Malformed without keep-alive."""
    request = SCENARIOS["hello"].request()
    tallies = []
    with tempfile.TemporaryDirectory(prefix="fastwsgi-bench-") as folder, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(connections)]
        size = 0
        for client in clients:
            client.send(request)
            size = client.read().size
        for rounds in ROUNDS:
            for _ in range(10):
                _round(clients, request, size)
            log = Path(folder) / f"log{rounds}"
            tracer = _attached(server, log)
            try:
                for _ in range(rounds):
                    _round(clients, request, size)
            finally:
                time.sleep(0.05)  # the calls after the last answer
                tracer.terminate()
                tracer.wait(10)
            tallies.append(_calls(log))
    requests = (ROUNDS[1] - ROUNDS[0]) * connections
    found = {
        name: round((tallies[1][name] - tallies[0][name]) / requests, 2) for name in tallies[1]
    }
    return dict(sorted(((n, v) for n, v in found.items() if v >= 0.01), key=lambda one: -one[1]))


def main() -> None:
    """Print a line per server and number of connections."""
    parser = argparse.ArgumentParser(description="system calls per keep-alive GET")
    parser.add_argument("--servers", default="fastwsgi,canned,namesake,bjoern,meinheld,granian")
    parser.add_argument("--connections", default="1,16")
    arguments = parser.parse_args()
    machine.ensure("strace")
    chosen = peers.select(arguments.servers)
    failed = peers.install_all(chosen)
    print("| server | connections | system calls per request | which |")
    print("|---|---|---|---|")
    for peer in chosen:
        if peer.name in failed:
            continue
        for connections in map(int, arguments.connections.split(",")):
            try:
                with serve(peer, "bench.apps:hello") as server:
                    found = per_request(server, connections)
            except (NotStarted, Malformed, OSError) as error:
                print(f"{peer.name}: {error}", file=sys.stderr)
                continue
            which = ", ".join(f"{name} {value:g}" for name, value in found.items())
            print(
                f"| {peer.title} | {connections} | {sum(found.values()):.2f} | {which} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
