"""An application whose calls stand still until the test lets them go.

Rule: nothing is timed.  A call says that it has begun before it waits, so a test that was told
knows where the application is; and every call is let go at the end, however the test ended.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from apps import TEXT
from apps.client import TIMEOUT, Client, request
from fastwsgi.testing import Server, serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Held:
    """Answers with the path and the body.

    /hold... stands still before, waiting; /compute... does so computing, which keeps the
    interpreter busy.  ``most`` is how many calls ran at the same time, ``threads`` in which.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._begun = threading.Semaphore(0)
        self._passes: Counter[str] = Counter()  # by path; "" is good for any
        self._over = False
        self._running = 0
        self.most = 0
        self.calls: list[str] = []
        self.threads: set[int] = set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        with self._changed:
            self._running += 1
            self.most = max(self.most, self._running)
            self.calls.append(path)
            self.threads.add(threading.get_ident())
        try:
            if path.startswith("/hold"):
                self._begun.release()
                with self._changed:
                    assert self._changed.wait_for(lambda: self._may(path), TIMEOUT), path
            elif path.startswith("/compute"):
                self._begun.release()
                self._compute(path)
        finally:
            with self._changed:
                self._running -= 1
        start_response("200 OK", TEXT)
        return [path.encode("latin-1") + environ["wsgi.input"].read()]

    def _compute(self, path: str) -> None:
        may = False
        while not may:
            sum(range(1000))
            with self._changed:
                may = self._may(path)

    def _may(self, path: str) -> bool:
        for name in (path, ""):
            if self._passes[name]:
                self._passes[name] -= 1
                return True
        return self._over

    def entered(self, count: int = 1) -> None:
        """Wait until so many further calls have begun to stand still."""
        for _ in range(count):
            assert self._begun.acquire(timeout=TIMEOUT), "the application was not called"

    def let_go(self, count: int = 1, path: str = "") -> None:
        """Let so many calls go on, those to come included: those of a path, or any."""
        with self._changed:
            self._passes[path] += count
            self._changed.notify_all()

    def end(self) -> None:
        """Let every call go on from now on."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @contextlib.contextmanager
    def served(self, **settings: Any) -> Iterator[Server]:
        """Serve it, and let every call go before the server stops."""
        with serve(self, **settings) as server:
            try:
                yield server
            finally:
                self.end()

    @contextlib.contextmanager
    def standing(self, server: Server, kind: str = "/hold") -> Iterator[None]:
        """A request of its own stands still in the application; its answer is read at the end."""
        with Client(server.address) as client:
            path = f"{kind}/{id(client)}"
            client.send(request(path))
            self.entered()
            yield
            self.let_go(path=path)
            assert client.response().body == path.encode()
