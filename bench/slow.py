"""What slow clients do to the others: `python -m bench.slow [--servers ...] [--phases ...]`.

A crowd of slow clients hangs on one worker: 5,000 that send one byte a second in the head ("head")
or in the body ("body") of a request or take one byte a second of a page of 100 KB ("read"), 1,000
that read 50 MB of generated response at 10 KB/s ("generated"), or 2,000 that take nothing of it
("silent"). Beside them a well-behaved
client asks for hello, first without the crowd, then with it. The figures are the change of its
latency and the growth of the server's resident memory. The crowd lives in a process of its own; the
server has one core, the clients another.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time

from bench import machine, peers
from bench.client import Malformed
from bench.process import NotStarted, Server, serve
from bench.scenarios import SCENARIOS

HEAD = b"GET /slow HTTP/1.1\r\nHost: localhost\r\nX-Padding: "
BODY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
PAGE = b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n"
GENERATED = b"GET /generated HTTP/1.1\r\nHost: localhost\r\n\r\n"

#: phase -> (what is sent at once, sent each second, taken each second, clients)
PHASES = {
    "head": (HEAD, b"p", 0, 5000),
    "body": (BODY, b"p", 0, 5000),
    "read": (PAGE, b"", 1, 5000),
    "generated": (GENERATED, b"", 10_000, 1000),
    "silent": (GENERATED, b"", 0, 2000),
}
TURNS = 100  #: the crowd is fed in so many parts of a second, for its clients are no chorus
ASKED, PAUSE = 1000, 0.005  #: requests of the well-behaved client, seconds between two


def crowd(phase: str, port: int, count: int) -> None:
    """Open the slow clients, say so, then feed each once a second until the parent ends."""
    machine.raise_descriptor_limit()
    first, fed, taken, _ = PHASES[phase]
    clients = []
    for _ in range(count):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10.0)
        client.connect(("127.0.0.1", port))
        client.sendall(first)
        client.setblocking(False)
        clients.append(client)
    print("ready", flush=True)
    parent, turn = os.getppid(), 0
    begin = time.monotonic()
    while os.getppid() == parent:
        gone = [client for client in clients[turn::TURNS] if not feed(client, fed, taken)]
        for client in gone:
            clients.remove(client)
            client.close()
        if gone:
            print(f"gone {len(gone)}", flush=True)
        turn = (turn + 1) % TURNS
        begin += 1 / TURNS
        time.sleep(max(0.0, begin - time.monotonic()))


def feed(client: socket.socket, fed: bytes, taken: int) -> bool:
    """A second's worth for one slow client; False when the server has ended its connection."""
    try:
        if fed:
            client.send(fed)
        if not taken:
            return True
        return client.recv(taken) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def polite(server: Server) -> tuple[float, float]:
    """(50th, 99th) percentile of the well-behaved client's latency, milliseconds."""
    request = SCENARIOS["hello"].request()
    times = []
    with server.client(30.0) as client:
        for _ in range(ASKED):
            begin = time.perf_counter()
            client.send(request)
            client.read()
            times.append((time.perf_counter() - begin) * 1e3)
            time.sleep(PAUSE)
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.99)]


def measure(server: Server, phase: str, count: int) -> dict[str, float]:
    """The polite client's latency and the server's memory, without and with the crowd."""
    found = dict(zip(("p50_before", "p99_before"), polite(server), strict=True))
    before = server.rss()
    words = [sys.executable, "-m", "bench.slow", "--crowd", phase, str(server.port), str(count)]
    with subprocess.Popen(words, cwd=machine.ROOT, stdout=subprocess.PIPE, text=True) as feeding:
        try:
            assert feeding.stdout is not None
            if feeding.stdout.readline().strip() != "ready":
                raise NotStarted("the crowd could not connect")
            found |= dict(zip(("p50_with", "p99_with"), polite(server), strict=True))
            found["rss_mb"] = server.rss() / 1e6
            found["growth_mb"] = found["rss_mb"] - before / 1e6
        finally:
            feeding.terminate()
        gone = [int(line.split()[1]) for line in feeding.stdout if line.startswith("gone")]
    found["ended"] = sum(gone)
    return found


def main() -> None:
    """Print a line per server and phase; with --crowd, be the crowd."""
    parser = argparse.ArgumentParser(description="slow clients")
    parser.add_argument("--servers", default=peers.OURS)
    parser.add_argument("--phases", default=",".join(PHASES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clients", type=int, help="instead of the numbers above")
    parser.add_argument("--crowd", nargs=3, metavar=("PHASE", "PORT", "COUNT"))
    arguments = parser.parse_args()
    if arguments.crowd:
        phase, port, count = arguments.crowd
        crowd(phase, int(port), int(count))
        return
    machine.raise_descriptor_limit()
    chosen = peers.select(arguments.servers)
    failed = peers.install_all(chosen)
    server_cpus, client_cpus = machine.cores()
    machine.pin(client_cpus)
    print(
        "| server | phase | clients | p50, ms | p50 with them | p99, ms | p99 with them "
        "| RSS growth, MB | ended by the server |"
    )
    print("|---" * 9 + "|")
    for peer in chosen:
        for phase in arguments.phases.split(","):
            if peer.name in failed:
                continue
            count = arguments.clients or PHASES[phase][3]
            try:
                with serve(
                    peer, "bench.apps:fifty", threads=arguments.threads, cpus=server_cpus
                ) as server:
                    one = measure(server, phase, count)
            except (NotStarted, Malformed, OSError) as error:
                print(f"| {peer.title} | {phase} | {count} | {error} | | | | | |", flush=True)
                continue
            print(
                f"| {peer.title} | {phase} | {count} | {one['p50_before']:.2f} "
                f"| {one['p50_with']:.2f} | {one['p99_before']:.2f} | {one['p99_with']:.2f} "
                f"| {one['growth_mb']:.1f} | {one['ended']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
