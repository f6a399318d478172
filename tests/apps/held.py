"""An application whose calls stand still until the test lets them go.

Rule: nothing is timed.  A call says that it has begun before it waits, so a test that was told
knows where the application is; and every call is let go at the end, however the test ended.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from apps.client import TIMEOUT, Client, request
from fastwsgi.testing import Server, serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

TEXT = [("Content-Type", "text/plain")]


class Held:
    """Answers with the path and the body.

    /hold... stands still before, waiting; /compute... does so computing, which keeps the
    interpreter busy.  ``most`` is how many calls ran at the same time, ``threads`` in which.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = threading.Semaphore(0)
        self._go = threading.Semaphore(0)
        self._over = False
        self._running = 0
        self.most = 0
        self.calls: list[str] = []
        self.threads: set[int] = set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
            self.calls.append(path)
            self.threads.add(threading.get_ident())
        try:
            if path.startswith("/hold"):
                self._begun.release()
                assert self._go.acquire(timeout=TIMEOUT), "nobody let the call go"
            elif path.startswith("/compute"):
                self._begun.release()
                self._compute()
        finally:
            with self._lock:
                self._running -= 1
        start_response("200 OK", TEXT)
        return [path.encode("latin-1") + environ["wsgi.input"].read()]

    def _compute(self) -> None:
        while not self._go.acquire(blocking=False) and not self._over:
            sum(range(1000))

    def entered(self, count: int = 1) -> None:
        """Wait until so many further calls have begun to stand still."""
        for _ in range(count):
            assert self._begun.acquire(timeout=TIMEOUT), "the application was not called"

    def let_go(self, count: int = 1) -> None:
        """Let so many calls go on, those to come included."""
        self._go.release(count)

    @contextlib.contextmanager
    def served(self, **settings: Any) -> Iterator[Server]:
        """Serve it, and let every call go before the server stops."""
        with serve(self, **settings) as server:
            try:
                yield server
            finally:
                self._over = True
                self.let_go(10_000)

    @contextlib.contextmanager
    def standing(self, server: Server, path: str = "/hold") -> Iterator[Client]:
        """A connection whose request stands still in the application; its answer is due after."""
        with Client(server.address) as client:
            client.send(request(path))
            self.entered()
            yield client
            self.let_go()
            assert client.response().body == path.encode()
