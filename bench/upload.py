"""What a large upload costs: `python -m bench.upload [--size MIB] [--threads N]`.

One client sends 2 GiB, with a Content-Length and then chunked, to an application that reads it
through; the other settings have their defaults, so it passes through a temporary file. The figures
are the peak of the worker's memory over what it held before (VmHWM of proc(5)), which may not pass
`--body-memory` and a few megabytes, and the latency of a second client that asks for a small page
all the while. The server has one core, the clients another.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine, peers
from bench.client import Client
from bench.process import Server, serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PIECE = bytes(range(256)) * 4096  #: 1 MiB
READ = 65536  #: bytes the application takes at a time
MEMORY = 1 << 20  #: the default of body_memory
ROOM = 8 << 20  #: what an allocator may take besides
PAUSE = 0.005  #: seconds between two requests of the second client
PATIENCE = 600.0


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the body's length and checksum."""
    size = check = 0
    while piece := environ["wsgi.input"].read(READ):
        size += len(piece)
        check = zlib.crc32(piece, check)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{size} {check}".encode()]


class Second(threading.Thread):
    """The second client, from its start to `stop`; `times` are its latencies in milliseconds."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.times: list[float] = []
        self.over = threading.Event()

    def run(self) -> None:
        with Client(self.address, PATIENCE) as client:
            while not self.over.is_set():
                begin = time.perf_counter()
                client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if client.read().body != b"0 0":
                    return
                self.times.append((time.perf_counter() - begin) * 1e3)
                time.sleep(PAUSE)

    def stop(self) -> list[float]:
        """End it; its latencies in order. Raises RuntimeError if it had ended before."""
        alive = self.is_alive()
        self.over.set()
        self.join()
        if not alive:
            raise RuntimeError("the second client was not served")
        return sorted(self.times)


def memory(server: Server, field: str) -> int:
    """Bytes of a field of the worker's status; the worker is the last of the tree."""
    for line in Path(f"/proc/{server.pids[-1]}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc: this measurement needs Linux")


@dataclass
class Measured:
    """One upload: seconds until it was sent, seconds until it was answered, bytes, milliseconds."""

    sent: float
    answered: float
    before: int
    growth: int
    latencies: list[float]


def upload(server: Server, pieces: int, *, chunks: bool) -> Measured:
    """Send so many pieces and check the answer. Raises RuntimeError if it is wrong."""
    framing = "Transfer-Encoding: chunked" if chunks else f"Content-Length: {pieces * len(PIECE)}"
    second = Second(server.address)
    second.start()
    before = memory(server, "VmRSS:")
    begin = time.perf_counter()
    check = 0
    with Client(server.address, PATIENCE) as client:
        client.send(f"POST / HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n".encode())
        for _ in range(pieces):
            client.send(b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunks else PIECE)
            check = zlib.crc32(PIECE, check)
        if chunks:
            client.send(b"0\r\n\r\n")
        sent = time.perf_counter() - begin
        answer = client.read().body
        answered = time.perf_counter() - begin
    if answer != f"{pieces * len(PIECE)} {check}".encode():
        raise RuntimeError(f"the application read something else: {answer!r}")
    growth = memory(server, "VmHWM:") - before
    return Measured(sent, answered, before, growth, second.stop())


def row(name: str, one: Measured) -> str:
    """A line of the table."""
    times = one.latencies
    verdict = "within" if one.growth <= MEMORY + ROOM else "TOO MUCH"
    return (
        f"| {name} | {one.sent:.1f} | {one.answered:.1f} | {one.before / 1e6:.1f} "
        f"| {one.growth / 1e6:.1f} ({verdict}) | {len(times)} | {times[len(times) // 2]:.2f} "
        f"| {times[int(len(times) * 0.99)]:.2f} | {times[-1]:.1f} |"
    )


def main() -> None:
    """Print a line per framing; exit with 1 if the memory was not kept."""
    parser = argparse.ArgumentParser(description="a large upload")
    parser.add_argument("--size", type=int, default=2048, metavar="MIB")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    place = tempfile.gettempdir()
    if shutil.disk_usage(place).free < 2 * arguments.size * len(PIECE):
        raise SystemExit(f"{place} has less than twice that much room: set TMPDIR")
    server_cpus, client_cpus = machine.cores()
    machine.pin(client_cpus)
    print(
        "| body | sent, s | answered, s | RSS before, MB | growth of its peak, MB "
        "| requests of the second client | p50, ms | p99, ms | longest, ms |"
    )
    print("|---" * 9 + "|")
    kept = True
    for name, chunks in (("Content-Length", False), ("chunked", True)):
        with serve(
            peers.PEERS[peers.OURS],
            "bench.upload:app",
            threads=arguments.threads,
            cpus=server_cpus,
            python=sys.executable,
        ) as server:
            one = upload(server, arguments.size, chunks=chunks)
        print(row(name, one), flush=True)
        kept = kept and one.growth <= MEMORY + ROOM
    raise SystemExit(0 if kept else 1)


if __name__ == "__main__":
    main()
