"""statsd, with gunicorn's names: what the workers have counted is sent once a second.

gunicorn sends a datagram or three for each request. Here sums are sent, of which statsd makes the
same: counters add up, and a time that stands for several requests has a sample rate. Times are
those of the histogram's buckets, each by its middle. Nothing waits: a datagram that has no room is
lost, and a host without an address is looked for again later.
"""

from __future__ import annotations

import itertools
import math
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence

from fastwsgi.metrics.backlog import backlog
from fastwsgi.metrics.page import Figures, Page
from fastwsgi.metrics.processes import alive
from fastwsgi.system.address import Address
from fastwsgi.system.sockets import Listener

PERIOD = 1.0
"""Seconds between two sendings."""
RETRY = 60.0
"""Seconds until a host is looked for again that has had no address."""


class Statsd:
    """Sends the metrics of a page to ``host``, whenever ``check`` is called and they are due."""

    def __init__(
        self, host: Address, prefix: str, tags: str, page: Page, listeners: Sequence[Listener],
        complain: Callable[[str], None],
    ) -> None:
        self._host = host
        self._prefix = re.sub(r"^(.+[^.]+)\.*$", "\\g<1>.", prefix)
        self._tags = f"|#{tags}" if tags else ""
        self._page = page
        self._listeners = listeners
        self._complain = complain
        self._socket: socket.socket | None = None
        self._looked_at = -math.inf
        self._next = time.monotonic() + PERIOD
        self._before = page.read(alive)

    def deadlines(self) -> list[float]:
        """Return the time at which something is to be sent."""
        return [self._next]

    def check(self) -> None:
        """Send, if it is time."""
        if time.monotonic() >= self._next:
            self.send()

    def send(self) -> None:
        """Send what has happened since the last time."""
        self._next = time.monotonic() + PERIOD
        sock = self._connected()
        if sock is None:
            return
        figures = self._page.read(alive)
        before, self._before = self._before, figures
        for line in _lines(before, figures, self._listeners):
            try:
                sock.send(f"{self._prefix}{line}{self._tags}".encode("ascii", "replace"))
            except OSError:  # nobody is there, or there is no room
                continue

    def close(self) -> None:
        """Send the rest, and close the socket."""
        if self._socket is not None:
            self.send()
            self._socket.close()
            self._socket = None

    def leave(self) -> None:
        """In a child: close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket | None:
        if self._socket is None and time.monotonic() - self._looked_at >= RETRY:
            self._looked_at = time.monotonic()
            try:
                self._socket = _connect(self._host)
            except OSError as error:
                self._complain(f"statsd_host: cannot send to {self._host}: "
                               f"{error.strerror or error}; the next try is in {RETRY:g} s")
        return self._socket


def _connect(host: Address) -> socket.socket:
    if host.kind == "unix":
        family = socket.AF_UNIX
        path = host.path
        where: object = f"\0{path[1:]}" if path.startswith("@") else path
    else:
        family, _, _, _, where = socket.getaddrinfo(
            host.host, host.port, type=socket.SOCK_DGRAM)[0]
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(where)  # type: ignore[arg-type]
    except OSError:
        sock.close()
        raise
    return sock


def _lines(before: Figures, now: Figures, listeners: Sequence[Listener]) -> Iterator[str]:
    """Yield what is to be sent, without prefix and tags."""
    statuses = [new - old for old, new in zip(
        before.statuses(), now.statuses(), strict=True)]
    requests = sum(statuses)
    if requests:
        yield f"gunicorn.requests:{requests}|c|@1.0"
    for code, count in enumerate(statuses, 100):
        if count:
            yield f"gunicorn.request.status.{code}:{count}|c|@1.0"
    yield from _times(before, now)
    yield f"gunicorn.workers:{len(now.workers)}|g"
    waiting = [found for found in (backlog(listener.socket) for listener in listeners)
               if found is not None]
    if waiting:
        yield f"gunicorn.backlog:{sum(waiting)}|h"


def _times(before: Figures, now: Figures) -> Iterator[str]:
    counts_before, sum_before = before.histogram("total")
    counts, total = now.histogram("total")
    counts = [new - old for old, new in zip(counts_before, counts, strict=True)]
    total -= sum_before
    bounds = (0.0, *now.bounds)
    middles = [(low + high) / 2 for low, high in itertools.pairwise(bounds)]
    middles.append(bounds[-1] * 1.5)
    if sum(map(bool, counts)) == 1:  # then their mean is known
        middles = [total / sum(counts)] * len(middles)
    for middle, count in zip(middles, counts, strict=True):
        if count > 0:
            rate = "" if count == 1 else f"|@{1 / count:.6g}"
            yield f"gunicorn.request.duration:{middle * 1000:.3f}|ms{rate}"
