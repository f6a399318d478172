"""The compiled worker in a thread of the test, below every layer of Python.

Rule: this is for what `fastwsgi.testing.serve` does not offer: the core's own settings
(`memo`), several listeners of one worker, and the worker's counters.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from apps.client import TIMEOUT, Client

from fastwsgi._core.core import Worker
from fastwsgi.config.sources import from_keywords

Application = Callable[..., Iterable[bytes]]


class Core:
    """A running worker: its listeners' addresses, its counters, what it has logged."""

    def __init__(self, worker: Worker, addresses: list[tuple[str, int]], log: list[str]) -> None:
        self.worker = worker
        self.addresses = addresses
        self.address = addresses[0]
        self.log = log

    def count(self, name: str) -> int:
        """One of the counters of `Worker.stats`."""
        return self.worker.stats()[name]

    def settle(self) -> None:
        """Return once the worker has let go of every connection, and ended their responses.

        It is asked over a connection of its own, at the path /settle: each answer means that it
        has ended the turn before, and so come nearer to the events that are still waiting.
        """
        with Client(self.address) as client:
            for _ in range(10_000):
                client.fetch("/settle")
                if self.count("connections") == 1:
                    client.fetch("/settle")
                    return
        raise AssertionError(f"{self.count('connections') - 1} connections are left")


@contextlib.contextmanager
def core(
    app: Application, *, listeners: int = 1, memo: bool = True, **settings: Any,
) -> Iterator[Core]:
    """Serve `app` with `settings` inside the block, on so many ports of 127.0.0.1."""
    log: list[str] = []
    failures: list[BaseException] = []

    def report(level: int, message: str, error: BaseException | None) -> None:
        log.append(message if error is None else f"{message}: {error!r}")

    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
                   for _ in range(listeners)]
        for sock in sockets:
            sock.setblocking(False)
        addresses: list[tuple[str, int]] = [sock.getsockname() for sock in sockets]
        worker = Worker(
            app,
            [(sock.fileno(), host, str(port))
             for sock, (host, port) in zip(sockets, addresses, strict=True)],
            from_keywords(settings).core(), log=report, errors=io.StringIO(), memo=memo)

        def run() -> None:
            try:
                worker.run()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run, name="fastwsgi-core", daemon=True)
        thread.start()
        try:
            yield Core(worker, addresses, log)
        finally:
            worker.stop(graceful=False)
            thread.join(TIMEOUT)
    assert not failures, failures
    assert not thread.is_alive(), "the worker did not stop"
