"""Slow requests among quick ones: `python -m bench.workers_mix [--servers ...] [--seconds 20]
[--record]`.

Requests come at random moments, at a rate far below what the server can do, over 64 kept
connections: all of them quick, and then 19 of 20 quick and one of 50 ms. Both loads have the same
rate, and all servers get the same moments. What is shown is the time of the quick requests, from
before the send to the last byte. Servers that close each connection get a new one for each request.
What nobody could do better stands first: the same moments, computed for one queue in which whoever
is free takes the next request at once, and a quick request takes no time. A short run may have bad
luck even there. `--record` writes the figures into docs/measured.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import random
import select
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from bench import machine, peers, publish
from bench.client import Client, Malformed, keeps
from bench.load import SLOW_SHARE
from bench.peers import Peer
from bench.process import NotStarted, serve

APP = "bench.apps:mix"
SERVERS = "fastwsgi,granian,uwsgi,gunicorn-gthread,gunicorn-sync"
CONNECTIONS = 64
#: workers, threads, requests per second: 4 x 1 could do 1,600
SIZES = ((4, 1, 200), (4, 4, 800))
WARM = 0.5  #: seconds at the beginning that do not count
SLOW_SECONDS = 0.05  #: what a slow request of bench.apps:mix takes
HEAD = ["workers x threads, requests/s: ms of the quick ones",
        *(f"{said}: {name}" for said in ("all quick", "5 % of 50 ms")
          for name in ("p50", "p99", "max"))]  # fmt: skip

Address = tuple[str, int]


@dataclass
class Asked:
    """A request on its way."""

    client: Client
    slow: bool
    since: float


class Mix:
    """The client: one thread, which keeps to the moments whatever the server does."""

    def __init__(self, address: Address) -> None:
        self.times: list[float] = []  #: of the quick requests, in seconds
        self._address = address
        self._idle: list[Client] = []
        self._under_way: dict[int, Asked] = {}
        self._queue: deque[tuple[float, bool]] = deque()
        self.keeps = keeps(address)
        self._chance = random.Random(7)

    def run(self, rate: int, slow_share: float, seconds: float) -> None:
        """Ask for so long. Raises Malformed, OSError."""
        self.times.clear()
        if self.keeps and not self._idle:
            self._open()
        to_come = moments(rate, slow_share, WARM + seconds)
        begin = time.perf_counter()
        coming = next(to_come, None)
        while coming or self._under_way or self._queue:
            now = time.perf_counter()
            while coming and begin + coming[0] <= now:
                self._queue.append((begin + coming[0], coming[1]))
                coming = next(to_come, None)
            self._send_queued(now)
            left = max(0.0, begin + coming[0] - now) if coming else 5.0
            self._receive(left, begin + WARM)

    def close(self) -> None:
        """Close the kept connections."""
        for client in self._idle:
            client.socket.close()

    def _open(self) -> None:
        """Open the connections that are kept, each of which is used once."""
        for _ in range(CONNECTIONS):
            client = Client(self._address)
            client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.read()
            self._idle.append(client)

    def _send_queued(self, now: float) -> None:
        """Send what is due, from the moment at which it was due if there was no connection."""
        while self._queue and (self._idle or not self.keeps):
            due, slow = self._queue.popleft()
            waited = self.keeps and len(self._under_way) == CONNECTIONS
            since = due if waited else time.perf_counter()
            if self.keeps:
                client = self._idle.pop(self._chance.randrange(len(self._idle)))
            else:
                client = Client(self._address)
            path = b"/slow" if slow else b"/"
            client.send(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            self._under_way[client.socket.fileno()] = Asked(client, slow, since)

    def _receive(self, seconds: float, counts_from: float) -> None:
        for number in select.select(list(self._under_way), [], [], seconds)[0]:
            asked = self._under_way.pop(number)
            answer = asked.client.read()
            if not asked.slow and asked.since >= counts_from:
                self.times.append(time.perf_counter() - asked.since)
            if self.keeps and not answer.closes:
                self._idle.append(asked.client)
                continue
            asked.client.socket.close()
            if self.keeps:
                self._idle.append(Client(self._address))


def figures(times: list[float]) -> list[float]:
    """p50, p99 and the largest, in milliseconds."""
    times = sorted(times)
    return [one * 1e3 for one in (times[len(times) // 2], times[int(len(times) * 0.99)], times[-1])]


def moments(rate: int, slow_share: float, end: float) -> Iterator[tuple[float, bool]]:
    """When each request is due, in seconds from the beginning, and whether it is a slow one."""
    chance = random.Random(20)
    due = 0.0
    while due < end:
        yield due, chance.random() < slow_share
        due += chance.expovariate(rate)


def computed(servers: int, rate: int, slow_share: float, seconds: float) -> list[float]:
    """The three figures of one queue for so many that serve, where only the slow ones take time."""
    free = [0.0] * servers
    times = []
    for due, slow in moments(rate, slow_share, WARM + seconds):
        begun = max(due, heapq.heappop(free))
        heapq.heappush(free, begun + SLOW_SECONDS * slow)
        if not slow and due >= WARM:
            times.append(begun - due)
    return figures(times)


def measure(peer: Peer, workers: int, threads: int, rate: int, seconds: float) -> list[float]:
    """The six figures of a server. Raises NotStarted, Malformed, OSError."""
    with serve(peer, APP, workers=workers, threads=threads) as server:
        time.sleep(1.0)  # all workers have started
        mix = Mix(server.address)
        found = []
        for share in (0.0, SLOW_SHARE):
            mix.run(rate, share, seconds)
            found += figures(mix.times)
        mix.close()
        return found


def main() -> None:
    """Print a line per server and size."""
    parser = argparse.ArgumentParser(description="slow requests among quick ones")
    parser.add_argument("--servers", default=SERVERS, help=f"of {SERVERS}")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load")
    parser.add_argument("--record", action="store_true", help="write them into docs/measured")
    arguments = parser.parse_args()
    machine.raise_descriptor_limit()
    chosen = peers.select(arguments.servers)
    failed = peers.install_all(chosen)
    gc.disable()
    rows = []
    print(publish.line(HEAD), publish.rule(HEAD), sep="\n", flush=True)
    for workers, threads, rate in SIZES:
        slots = workers * threads
        found = [figure for share in (0.0, SLOW_SHARE)
                 for figure in computed(slots, rate, share, arguments.seconds)]  # fmt: skip
        rows.append([f"computed, {slots} from one queue, {rate}/s",
                     *(f"{one:.1f}" for one in found)])  # fmt: skip
        print(publish.line(rows[-1]), flush=True)
        for peer in chosen:
            if peer.name in failed or not peer.workers or (threads > 1 and not peer.threads):
                continue
            try:
                found = measure(peer, workers, threads, rate, arguments.seconds)
            except (NotStarted, Malformed, OSError) as error:
                print(f"{peer.name}: {error}", file=sys.stderr)
                continue
            title = f"{peer.title}, {workers} x {threads}, {rate}/s"
            rows.append([title, *(f"{one:.1f}" for one in found)])
            print(publish.line(rows[-1]), flush=True)
    if arguments.record:
        publish.keep("workers-mix", "python -m bench.workers_mix", HEAD, rows,
                     f"{CONNECTIONS} kept connections; uWSGI and gunicorn's sync worker get "
                     "a new one for each request.")  # fmt: skip


if __name__ == "__main__":
    main()
