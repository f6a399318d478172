"""Several workers: `python -m bench.workers [--servers ...] [--workers 4]`.

Per server, with one application thread per worker: how 32 kept connections that are opened one
after another come to the workers, and how many of 48 quick requests on new connections wait for a
worker that is in a call of 1.2 seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import sys
import time
from collections import Counter

from bench import peers
from bench.client import Client, Malformed
from bench.peers import Peer
from bench.process import NotStarted, serve

APP = "bench.apps:which"
CONNECTIONS = 32
QUICK = 48
LATE = 0.6  #: seconds after which an answer has waited for the call


def ask(client: Client, path: str) -> None:
    """Send a request."""
    client.send(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())


def spread(peer: Peer, workers: int) -> list[int]:
    """The numbers of connections of the workers, largest first."""
    with serve(peer, APP, workers=workers) as server, contextlib.ExitStack() as stack:
        time.sleep(1.0)  # all workers have started
        found: Counter[bytes] = Counter()
        for _ in range(CONNECTIONS):
            client = stack.enter_context(Client(server.address))
            ask(client, "/")
            found[client.read().body] += 1
        counts = sorted(found.values(), reverse=True)
        return counts + [0] * (workers - len(counts))


def waiting(peer: Peer, workers: int) -> int:
    """The number of quick requests that wait for the worker in the long call."""
    with serve(peer, APP, workers=workers) as server, contextlib.ExitStack() as stack:
        time.sleep(1.0)
        ask(stack.enter_context(Client(server.address)), "/busy")
        time.sleep(0.1)
        begin = time.monotonic()
        clients = [stack.enter_context(Client(server.address)) for _ in range(QUICK)]
        for client in clients:
            ask(client, "/")
        unanswered = {client.socket: client for client in clients}
        while unanswered and (left := LATE - (time.monotonic() - begin)) > 0:
            for ready in select.select(list(unanswered), [], [], left)[0]:
                with unanswered.pop(ready) as client:  # closed: some wait for that
                    client.read()
        return len(unanswered)


def main() -> None:
    """Print a line per server."""
    parser = argparse.ArgumentParser(description="several workers")
    parser.add_argument("--servers", help=f"of {', '.join(peers.PEERS)}")
    parser.add_argument("--workers", type=int, default=4)
    arguments = parser.parse_args()
    chosen = [peer for peer in peers.select(arguments.servers)
              if peer.workers and peer.name != peers.YARDSTICK]  # fmt: skip
    failed = peers.install_all(chosen)
    print(f"| {arguments.workers} workers x 1 thread | {CONNECTIONS} connections one after another"
          f" land as | one worker in a call of 1.2 s, {QUICK} quick requests meanwhile on new"
          " connections: how many wait for it |")  # fmt: skip
    print("|---|---|---|")
    for peer in chosen:
        if peer.name in failed:
            continue
        try:
            counts = ", ".join(map(str, spread(peer, arguments.workers)))
            late = waiting(peer, arguments.workers)
        except (NotStarted, Malformed, OSError) as error:
            print(f"{peer.name}: {error}", file=sys.stderr)
            continue
        print(f"| {peer.title} | {counts} | {late} |", flush=True)


if __name__ == "__main__":
    main()
