"""What idle keep-alive connections cost in memory: `python -m bench.idle [--servers ...]
[--connections 10000]`.

Each connection is opened, answers one request and then stays silent. The growth of the server's
resident memory over that with no connection is the figure; the kernel's own memory for the sockets
is not in it, being the same for all.
"""

from __future__ import annotations

import argparse
import sys
import time

from bench import machine, peers
from bench.client import Client, Malformed
from bench.process import NotStarted, Server, serve
from bench.scenarios import SCENARIOS

#: Settings without which a server refuses so many connections.
EXTRA = {
    peers.OURS: ("--worker-connections", "20000"),
    "granian": ("--backpressure", "20000"),
}
SPARE_DESCRIPTORS = 200


def _settled(server: Server) -> int:
    """Resident bytes, once two readings in a row agree."""
    last = -1
    for _ in range(20):
        now = server.rss()
        if now == last:
            break
        last = now
        time.sleep(0.1)
    return last


def measure(server: Server, connections: int) -> tuple[int, int, int]:
    """(connections that are open, bytes before, bytes with them). Raises Malformed when the server
    keeps none.
    """
    request = SCENARIOS["hello"].request()
    warm = server.client()
    for _ in range(200):
        warm.send(request)
        warm.read()
    warm.socket.close()
    before = _settled(server)
    clients: list[Client] = []
    try:
        for _ in range(connections):
            client = server.client(5.0)
            clients.append(client)
            client.send(request)
            client.read()
    except (Malformed, OSError) as error:
        print(
            f"{server.peer.name}: stopped at {len(clients)} connections: {error}", file=sys.stderr
        )
    held = _settled(server)
    for client in clients:
        client.socket.close()
    return len(clients), before, held


def main() -> None:
    """Print a line per server."""
    parser = argparse.ArgumentParser(description="memory of idle keep-alive connections")
    parser.add_argument("--servers", default="fastwsgi,canned,namesake,bjoern,meinheld,granian")
    parser.add_argument("--connections", type=int, default=10_000)
    arguments = parser.parse_args()
    most = machine.raise_descriptor_limit() - SPARE_DESCRIPTORS
    if arguments.connections > most:
        raise SystemExit(
            f"the descriptor limit allows {most} connections, not {arguments.connections}"
        )
    chosen = peers.select(arguments.servers)
    failed = peers.install_all(chosen)
    print("| server | connections | RSS before, MB | RSS with them, MB | growth, MB | bytes each |")
    print("|---|---|---|---|---|---|")
    for peer in chosen:
        if peer.name in failed:
            continue
        try:
            with serve(peer, "bench.apps:hello", extra=EXTRA.get(peer.name, ())) as server:
                opened, before, held = measure(server, arguments.connections)
        except (NotStarted, Malformed, OSError) as error:
            print(f"{peer.name}: {error}", file=sys.stderr)
            continue
        growth = held - before
        print(
            f"| {peer.title} | {opened} | {before / 1e6:.1f} | {held / 1e6:.1f} "
            f"| {growth / 1e6:.1f} | {growth / max(1, opened):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
