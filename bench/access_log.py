"""What the access log costs a hello, beside peers with their own log on, in one run.

    python -m bench.access_log [--servers NAMES] [--rounds 2] [--seconds 2]

The figure is CPU time of the server per request, as in bench.run, without and with the log. Rounds
are interleaved, so a slow minute of the machine hits everyone alike; of each cell the least counts.
A server that writes no line for a request has no figure.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from bench import load, machine, peers
from bench.peers import Launch, Peer
from bench.process import NotStarted, serve
from bench.scenarios import SCENARIOS

LOGS = {
    "fastwsgi": ("--access-logfile", "{file}"),
    "gunicorn-gthread": ("--access-logfile", "{file}"),
    "gunicorn-sync": ("--access-logfile", "{file}"),
    "uwsgi": ("--logto", "{file}"),
    "granian": ("--access-log",),
}
"""Command-line words that turn a peer's log on; granian's goes to its output."""
WARM_UP = 1.0


def _talks(peer: Peer) -> Peer:
    """The peer without what its command says against a log."""

    def command(folder: Path, go: Launch) -> list[str]:
        return [word.replace("warning", "info") if peer.name == "granian" else word
                for word in peer.command(folder, go) if word != "--disable-logging"]

    return replace(peer, command=command)


def cost(peer: Peer, log: bool, seconds: float, cpus: tuple[set[int], set[int]]) -> float:
    """Microseconds of CPU of a hello; raises RuntimeError if the log has no line for each."""
    row = SCENARIOS["hello"]
    with tempfile.TemporaryDirectory(prefix="fastwsgi-bench-") as folder:
        file = Path(folder) / "access.log"
        extra = [word.format(file=file) for word in LOGS[peer.name]] if log else []
        with serve(_talks(peer) if log else peer, row.app, extra=extra, cpus=cpus[0]) as server:
            load.run(row, server.address, WARM_UP, cpus[1])
            before = server.cpu()
            seen = load.run(row, server.address, seconds, cpus[1])
            used = server.cpu() - before
        if not seen.requests:
            raise RuntimeError(f"{peer.name} answered nothing: {seen.errors}")
        if log and peer.name != "granian":
            with file.open("rb") as text:
                lines = sum(block.count(b"\n") for block in iter(lambda: text.read(1 << 20), b""))
            if lines < seen.requests:
                raise RuntimeError(f"{peer.name} wrote {lines} lines for {seen.requests} requests")
    return used * 1e6 / seen.requests


def main() -> None:
    """Print a row for each server."""
    parser = argparse.ArgumentParser(description="the cost of the access log, beside peers")
    parser.add_argument("--servers", default="fastwsgi,gunicorn-gthread,uwsgi,granian")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    chosen = peers.select(arguments.servers)
    unknown = [peer.name for peer in chosen if peer.name not in LOGS]
    if unknown:
        raise SystemExit(f"no log is known of {', '.join(unknown)}")
    machine.ensure("wrk")
    failed = peers.install_all(chosen)
    cpus = machine.cores()
    found: dict[tuple[str, bool], float] = {}
    for _ in range(arguments.rounds):
        for peer in chosen:
            for log in (False, True):
                if peer.name in failed:
                    continue
                try:
                    us = cost(peer, log, arguments.seconds, cpus)
                except (NotStarted, RuntimeError) as error:
                    failed[peer.name] = str(error)
                    continue
                found[peer.name, log] = min(us, found.get((peer.name, log), us))
    print("| server | us of CPU, no log | with its log | more |")
    print("|---|---|---|---|")
    for peer in chosen:
        if peer.name in failed:
            print(f"| {peer.name} | {failed[peer.name]} | | |")
            continue
        off, on = found[peer.name, False], found[peer.name, True]
        print(f"| {peer.name} | {off:.1f} | {on:.1f} | {on - off:.1f} ({on / off - 1:.1%}) |")


if __name__ == "__main__":
    main()
