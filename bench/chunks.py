"""What uploads in tiny chunks cost: `python -m bench.chunks [--uploads N] [--seconds S]`.

Clients send chunked bodies without pause, past the mark from which a body goes to a file: once in
chunks of 32 KiB (the control), once in chunks of one byte, once in small ones with an extension.
The figures are the server's CPU time per byte on the wire, and the latency of another client that
asks for a small page all the while. The promise: at most 8 ns per byte, and a p50 of at most twice
that of the control. The server has one core, the clients another.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import selectors
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from typing import TYPE_CHECKING

from bench import machine, peers
from bench.process import Server, serve
from bench.upload import Second

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MEMORY = 65536  #: --body-memory
BLOCK = 1 << 18  #: bytes handed to the kernel at a time
MOST_NS = 8.0  #: CPU nanoseconds per byte on the wire
MOST_RATIO = 2.0  #: p50 of the other client over that of the control
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"

SHAPES = {
    "32 KiB": b"8000\r\n" + bytes(32768) + b"\r\n",
    "1 byte": b"1\r\nx\r\n",
    "2 bytes with an extension": b"2;a\r\nxx\r\n",
}


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer as bench.upload's second client expects."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"0 0"]


def flood(
    address: tuple[str, int], uploads: int, chunk: bytes, sent: Synchronized[int], cpus: set[int]
) -> None:
    """Send on so many connections until the process is ended; `sent` counts the bytes."""
    machine.pin(cpus)
    os.nice(5)  # the other client comes first
    block = chunk * max(1, BLOCK // len(chunk))
    selector = selectors.DefaultSelector()
    for _ in range(uploads):
        client = socket.create_connection(address)
        client.sendall(HEAD)
        client.setblocking(False)
        selector.register(client, selectors.EVENT_WRITE, [0])
    view = memoryview(block)
    while True:
        for key, _ in selector.select():
            try:
                done = key.fileobj.send(view[key.data[0] :])  # type: ignore[union-attr]
            except BlockingIOError:
                continue
            except ConnectionError:
                selector.unregister(key.fileobj)
                continue
            key.data[0] = (key.data[0] + done) % len(block)
            sent.value += done


@dataclass
class Measured:
    """Bytes a second, CPU nanoseconds per byte, latencies of the other client in milliseconds."""

    rate: float
    ns: float
    latencies: list[float]

    def at(self, part: float) -> float:
        """A quantile of the latencies."""
        return self.latencies[int((len(self.latencies) - 1) * part)]


def measure(server: Server, chunk: bytes, uploads: int, seconds: float) -> Measured:
    """Let the uploads run so long, after as much again as they need to pass the mark."""
    sent = multiprocessing.Value("Q", 0)
    process = multiprocessing.get_context("fork").Process(
        target=flood,
        args=(server.address, uploads, chunk, sent, machine.cores()[1]),
        daemon=True,
    )
    process.start()
    try:
        mark = uploads * MEMORY * (6 if len(chunk) < 100 else 1)
        while sent.value < 2 * mark:
            time.sleep(0.05)
        second = Second(server.address)
        second.start()
        begin, cpu, before = time.perf_counter(), server.cpu(), sent.value
        time.sleep(seconds)
        took, used = time.perf_counter() - begin, server.cpu() - cpu
        wire = sent.value - before
        latencies = second.stop()
    finally:
        process.kill()
        process.join()
    return Measured(wire / took, used / wire * 1e9, latencies)


def main() -> None:
    """Print a line per shape; exit with 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(description="uploads in tiny chunks")
    parser.add_argument("--uploads", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    allowed = os.sched_getaffinity(0)
    server_cpus, client_cpus = machine.cores()
    print("| chunks of | MB/s | CPU, ns per byte | p50, ms | p99, ms | longest, ms |")
    print("|---" * 6 + "|")
    kept = True
    control = 0.0
    for name, chunk in SHAPES.items():
        os.sched_setaffinity(0, allowed)
        with serve(
            peers.PEERS[peers.OURS],
            "bench.chunks:app",
            threads=arguments.threads,
            extra=("--body-memory", str(MEMORY)),
            cpus=server_cpus,
            python=sys.executable,
        ) as server:
            machine.pin(client_cpus)
            one = measure(server, chunk, arguments.uploads, arguments.seconds)
        print(
            f"| {name} | {one.rate / 1e6:.0f} | {one.ns:.1f} | {one.at(0.5):.1f} "
            f"| {one.at(0.99):.1f} | {one.latencies[-1]:.1f} |",
            flush=True,
        )
        control = control or one.at(0.5)
        kept = kept and one.ns <= MOST_NS and one.at(0.5) <= MOST_RATIO * control
    raise SystemExit(0 if kept else 1)


if __name__ == "__main__":
    main()
