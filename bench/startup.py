"""Start-up and size: `python -m bench.startup [--servers ...] [--runs 7] [--json FILE]`.

Per server: the time from its command to the first answered request, the time of its import, the
memory of its master and of one worker more, the size of its wheel and of what it puts on the disk,
dependencies apart.

Memory is counted as pages that nobody else has plus the share of those that processes have together
(PSS), because forked workers share most of theirs; the master's resident size (RSS) stands beside
it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from bench import machine, peers, process
from bench.peers import Peer
from bench.process import NotStarted, serve

#: What a program imports to have the server in its hands.
MODULES = {
    "fastwsgi": "fastwsgi",
    "namesake": "fastwsgi",
    "bjoern": "bjoern",
    "meinheld": "meinheld.server",
    "granian": "granian.server",
    "cheroot": "cheroot.wsgi",
    "waitress": "waitress",
    "gunicorn-gthread": "gunicorn.app.wsgiapp, gunicorn.workers.gthread",
    "gunicorn-sync": "gunicorn.app.wsgiapp, gunicorn.workers.sync",
}


def first_answer(peer: Peer) -> float:
    """Milliseconds from the command to the first byte of an answer."""
    begin = time.perf_counter()
    with serve(peer, "bench.apps:hello", wait=False) as server:
        while time.perf_counter() - begin < process.START_SECONDS:
            try:
                with socket.create_connection(server.address, timeout=5.0) as client:
                    client.sendall(
                        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                    )
                    if client.recv(1):
                        return (time.perf_counter() - begin) * 1e3
            except OSError:
                if not server.alive():
                    raise NotStarted(server.last_words()) from None
            time.sleep(0.0005)
    raise NotStarted("no answer")


def _settled(peer: Peer, workers: int) -> tuple[int, int]:
    """(RSS of the first process, PSS of the tree) with so many workers that have answered."""
    with serve(peer, "bench.apps:hello", workers=workers) as server:
        last = (-1, -1)
        for _ in range(40):
            now = (process.resident(server.process.pid), server.pss())
            if now == last:
                break
            last = now
            time.sleep(0.15)
        return last


def import_time(peer: Peer, runs: int) -> float:
    """Milliseconds that the import takes beyond the start of the interpreter."""
    python = str(peers.environment(peer) / "bin" / "python")
    env = {**os.environ, "PYTHONPATH": peers.python_path(ours=peer.name == peers.OURS)}

    def once(code: str) -> float:
        begin = time.perf_counter()
        subprocess.run([python, "-c", code], env=env, cwd=machine.cache(), check=True)
        return (time.perf_counter() - begin) * 1e3

    code = f"import {MODULES[peer.name]}"
    once(code)  # fills the caches
    pairs = [once(code) - once("pass") for _ in range(runs)]
    return statistics.median(pairs)


def _built_wheel(requirement: str, folder: Path) -> Path:
    """The wheel that pip builds or downloads for a requirement."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    command = [str(peers.tools()), "-m", "pip", "-q", "wheel", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, requirement], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def sizes(peer: Peer) -> tuple[int, int]:
    """(bytes of the wheel, bytes that it puts on the disk)."""
    folder = machine.cache() / "wheels" / peer.name
    if peer.name == peers.OURS:
        with peers.sources() as copy:
            wheel = _built_wheel(str(copy), folder)
    else:
        wheel = _built_wheel(peer.version, folder)
    with zipfile.ZipFile(wheel) as archive:
        return wheel.stat().st_size, sum(one.file_size for one in archive.infolist())


def measure(peer: Peer, runs: int) -> dict[str, Any]:
    """All figures of one server; a figure that does not exist is None."""
    found: dict[str, Any] = {"title": peer.title, "version": peers.version(peer)}
    first_answer(peer)
    found["start_ms"] = round(statistics.median(first_answer(peer) for _ in range(runs)), 1)
    found["import_ms"] = round(import_time(peer, runs), 1) if peer.name in MODULES else None
    master, one = _settled(peer, 1)
    found["master_mb"], found["one_worker_mb"] = round(master / 1e6, 1), round(one / 1e6, 1)
    found["worker_more_mb"] = None
    if peer.workers:
        _, three = _settled(peer, 3)
        found["worker_more_mb"] = round((three - one) / 2 / 1e6, 1)
    found["wheel_kb"] = found["installed_kb"] = None
    if peer.version:
        try:
            wheel, installed = sizes(peer)
            found["wheel_kb"], found["installed_kb"] = round(wheel / 1e3), round(installed / 1e3)
        except subprocess.CalledProcessError as error:
            print(f"{peer.name}: no wheel: {error.stderr.decode()[-200:]}", file=sys.stderr)
    return found


COLUMNS = (
    ("start_ms", "first answer, ms"),
    ("import_ms", "import, ms"),
    ("master_mb", "RSS of the first process, MB"),
    ("one_worker_mb", "all with one worker, MB"),
    ("worker_more_mb", "one worker more, MB"),
    ("wheel_kb", "wheel, kB"),
    ("installed_kb", "installed, kB"),
)


def main() -> None:
    """Print a line per server."""
    parser = argparse.ArgumentParser(description="start-up time and size")
    parser.add_argument("--servers", help=f"of {', '.join(peers.PEERS)}")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    chosen = peers.select(arguments.servers)
    failed = peers.install_all(chosen)
    print("| server | " + " | ".join(title for _, title in COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    figures = {}
    for peer in chosen:
        if peer.name in failed or peer.name == peers.YARDSTICK:
            continue
        try:
            found = measure(peer, arguments.runs)
        except (NotStarted, subprocess.CalledProcessError) as error:
            print(f"{peer.name}: {error}", file=sys.stderr)
            continue
        figures[peer.name] = found
        cells = ["" if found[key] is None else f"{found[key]:,}" for key, _ in COLUMNS]
        print(f"| {peer.title} {found['version']} | " + " | ".join(cells) + " |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
