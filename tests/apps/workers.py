"""Several workers, and calls that stand still until the test lets them go.

So nothing is timed: an answer that came before had not to wait for such a call.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections import Counter, defaultdict

from apps.client import TIMEOUT, Address, Client, request
from fastwsgi.testing import Process

# /hold/PORT says at that port which process it runs in, and waits there for a byte; /compute/PORT
# keeps the interpreter busy meanwhile. Every answer is the id of the process.
APP = """
    import os, socket
    def app(environ, start_response):
        _, kind, port = (environ["PATH_INFO"] + "//").split("/")[:3]
        if kind in ("hold", "compute"):
            with socket.create_connection(("127.0.0.1", int(port))) as side:
                side.sendall(b"%d\\n" % os.getpid())
                side.setblocking(kind == "hold")
                while True:
                    try:
                        side.recv(1)
                        break
                    except BlockingIOError:
                        sum(range(1000))
        start_response("200 OK", [("Content-Length", str(len(str(os.getpid()))))])
        return [str(os.getpid()).encode()]
    """


TRIES = 20


class Calls:
    """The test's side of calls that stand still: they come in, and are let go at the end."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(TIMEOUT)
        self._sides: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]

    def entered(self) -> int:
        """Wait for the next call; the process that it runs in."""
        side, _ = self._listener.accept()
        side.settimeout(TIMEOUT)
        self._sides.append(side)
        with side.makefile("r") as lines:
            return int(lines.readline())

    def sides(self) -> list[socket.socket]:
        """The test's ends of the calls that stand still, in the order in which they came."""
        return list(self._sides)

    def let_go(self) -> None:
        """End all calls."""
        for side in self._sides:
            side.close()
        self._sides.clear()

    def close(self) -> None:
        """End all calls, and take no more."""
        self.let_go()
        self._listener.close()


def opened(
    clients: contextlib.ExitStack, address: Address, count: int, *, at_once: bool = False,
) -> list[tuple[int, Client]]:
    """Open connections, one after another or at once; each with the worker that has it."""
    found = []
    if at_once:
        several = [clients.enter_context(Client(address)) for _ in range(count)]
        for client in several:
            client.send(request())
        return [(int(client.response().body), client) for client in several]
    for _ in range(count):
        client = clients.enter_context(Client(address))
        client.send(request())
        found.append((int(client.response().body), client))
    return found


def is_even(found: list[tuple[int, Client]], workers: int) -> bool:
    """Whether connections have come to all workers, within two of each other."""
    counts = Counter(pid for pid, _ in found).values()
    return len(counts) == workers and max(counts) - min(counts) <= 2


def opened_evenly(
    clients: contextlib.ExitStack, places: list[Address], count: int, workers: int, *,
    at_once: bool = False,
) -> list[tuple[int, Client]]:
    """Open connections until they have come to all workers evenly.

    A worker that gets no CPU for 20 ms is passed over, so a busy machine has several tries.
    """
    found: list[tuple[int, Client]] = []
    for _ in range(TRIES):
        with contextlib.ExitStack() as these:
            found = [one for place in places
                     for one in opened(these, place, count // len(places), at_once=at_once)]
            if is_even(found, workers):
                clients.push(these.pop_all())
                return found
    raise AssertionError(Counter(pid for pid, _ in found))


def addresses(server: Process) -> list[Address]:
    """All that the server listens on."""
    line = server.wait_for("listening on ")
    places = re.split("listening on ", line)[1].split(" (")[0].split(", ")
    return [place[5:] if place.startswith("unix:") else
            ("127.0.0.1", int(place.rpartition(":")[2])) for place in places]


def occupied(
    clients: contextlib.ExitStack, calls: Calls, address: Address, workers: int, threads: int,
    kind: str = "hold",
) -> int:
    """Let all threads of one worker be in calls; its id."""
    by_worker = defaultdict(list)
    for pid, client in opened(clients, address, workers * threads):
        by_worker[pid].append(client)
    victim, its = max(by_worker.items(), key=lambda item: len(item[1]))
    for client in its[:threads]:
        client.send(request(f"/{kind}/{calls.port}"))
        assert calls.entered() == victim
    return victim
