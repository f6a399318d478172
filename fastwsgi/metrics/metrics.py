"""The metrics of one server: the page that its workers write, and the addresses that tell of it."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastwsgi.config.config import Config
from fastwsgi.metrics.exporter import Exporter, Probe
from fastwsgi.metrics.families import Families
from fastwsgi.metrics.page import Page
from fastwsgi.system.sockets import Listener, adopt, open_listeners

if TYPE_CHECKING:
    from fastwsgi.metrics.statsd import Statsd

_BACKLOG = 64
_UMASK = 0o177  # a unix socket of the metrics is for their server's user


class Metrics:
    """What is opened for the metrics; raises ListenError and OSError.

    ``old`` is what the old master of an upgrade has described. Its sums go on if it counts in the
    same way.
    """

    def __init__(self, config: Config, old: dict[str, Any] | None = None) -> None:
        bounds = config.metrics_buckets
        before = Page.inherited(old["page"], bounds) if old is not None else None
        self.begins_anew = old is not None and before is None
        self.page = before or Page.for_workers(max(1, config.workers), bounds)
        ready = [adopt(int(fd), _BACKLOG, path=str(path), asked=str(asked))
                 for fd, asked, path in (old["sockets"] if old is not None else ())]
        self.listeners: Sequence[Listener] = open_listeners(
            config.metrics_bind, backlog=_BACKLOG, umask=_UMASK, ready=ready)
        self._config = config
        self._exporter: Exporter | None = None
        self._statsd: Statsd | None = None

    @property
    def urls(self) -> list[str]:
        """Where people find them."""
        return [f"{listener.url}/metrics" if listener.port else listener.url
                for listener in self.listeners]

    def begin(
        self, listeners: Sequence[Listener], complain: Callable[[str], None],
        probe: Probe = lambda _path: None,
    ) -> None:
        """Tell of them from now on, whenever a link is readable or a deadline has come.

        ``listeners`` are those that clients use; ``complain`` writes a warning.
        """
        self._exporter = Exporter(self.listeners, Families(self.page, listeners).text, probe)
        config = self._config
        if config.statsd_host is not None:
            from fastwsgi.metrics.statsd import Statsd  # imported where somebody wants it

            self._statsd = Statsd(config.statsd_host, config.statsd_prefix, config.dogstatsd_tags,
                                  self.page, listeners, complain)

    def begin_beside(
        self, listeners: Sequence[Listener], complain: Callable[[str], None],
    ) -> Callable[[], None]:
        """Tell of them in a thread; return a function that ends that."""
        self.begin(listeners, complain)
        ours, theirs = socket.socketpair()

        def run() -> None:
            todo = self.links()
            poll = select.poll()
            for fd in (theirs.fileno(), *todo):
                poll.register(fd, select.POLLIN)
            while True:
                until = min(self.deadlines(), default=None)
                ready = [fd for fd, _ in poll.poll(
                    None if until is None else max(0.0, until - time.monotonic()) * 1000 + 1)]
                if theirs.fileno() in ready:
                    break
                for fd in ready:
                    todo[fd]()
                self.check()
            theirs.close()

        thread = threading.Thread(target=run, name="fastwsgi-metrics", daemon=True)
        thread.start()

        def end() -> None:
            ours.close()
            thread.join(1.0)

        return end

    def links(self) -> dict[int, Callable[[], None]]:
        """Return a descriptor to wait on, with what is to be called when it is readable."""
        if self._exporter is None:
            return {}
        return {self._exporter.fileno(): self._exporter.serve}

    def deadlines(self) -> list[float]:
        """Return the times at which a connection is to be closed."""
        found = self._exporter.deadlines() if self._exporter is not None else []
        return found + (self._statsd.deadlines() if self._statsd is not None else [])

    def check(self) -> None:
        """Do what is due by now."""
        if self._exporter is not None and self._exporter.deadlines():
            self._exporter.serve()
        if self._statsd is not None:
            self._statsd.check()

    def described(self) -> dict[str, Any]:
        """Return what a new master has to know; ``fds`` are the descriptors it is to inherit."""
        return {"page": self.page.described(),
                "sockets": [(item.fileno(), item.asked, item.path) for item in self.listeners],
                "fds": [self.page.fd, *(item.fileno() for item in self.listeners)]}

    def leave(self) -> None:
        """In a child: close what is the master's."""
        if self._exporter is not None:
            self._exporter.close()
            self._exporter = None
        if self._statsd is not None:
            self._statsd.leave()
            self._statsd = None
        for listener in self.listeners:
            listener.close(remove=False)

    def close(self) -> None:
        """Tell nobody any more; the listeners stay open."""
        if self._exporter is not None:
            self._exporter.close()
            self._exporter = None
        if self._statsd is not None:
            self._statsd.close()
            self._statsd = None
        self.page.close()


def open_metrics(config: Config, old: dict[str, Any] | None) -> Metrics | None:
    """Return what the settings want, None if they want none."""
    if config.counts:
        return Metrics(config, old)
    for fd in old["fds"] if old is not None else ():
        os.close(fd)
    return None
