"""More requests than can be served: the newest are served, what waits too long is refused.

A flood goes on until what is waited for has come, so nothing depends on how fast the machine is.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import select
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from apps.client import TIMEOUT, Address, Client, Response, fetch, request
from apps.command import Project, ready
from apps.workers import Calls

from fastwsgi.testing import raw, spawn

GUARD = 60.0

# 10 ms for each request; /hold/PORT stands still until the test lets it go.
APP = """
    import os, socket, time
    seen = []
    def app(environ, start_response):
        path = environ["PATH_INFO"]
        seen.append(path)
        said = b"ok"
        if path.startswith("/hold/"):
            with socket.create_connection(("127.0.0.1", int(path[6:]))) as side:
                side.sendall(b"%d\\n" % os.getpid())
                side.recv(1)
        elif path == "/seen":
            said = " ".join(seen).encode()
        elif path.startswith("/slow"):
            time.sleep(0.01)
        start_response("200 OK", [("Content-Length", str(len(said)))])
        return [said]
    """


@pytest.fixture
def calls() -> Iterator[Calls]:
    with contextlib.closing(Calls()) as found:
        yield found


class Flood:
    """Clients that send requests whether they are answered or not, on connections of their own."""

    def __init__(self, address: Address, *fields: str, each: float = 0.002) -> None:
        self.statuses: Counter[int] = Counter()
        self.refusal: Response | None = None
        self._address, self._fields, self._each = address, fields, each
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def until(self, wanted: int, count: int = 1) -> None:
        """Wait until so many answers with this status have come."""
        end = time.monotonic() + GUARD
        while self.statuses[wanted] < count:
            assert time.monotonic() < end, self.statuses
            self._over.wait(0.01)

    def _run(self) -> None:
        open_now: list[Client] = []
        for number in itertools.count():
            if self._over.wait(self._each):
                break
            client = Client(self._address)
            client.send(request(f"/slow/{number}", "Connection: close", *self._fields))
            open_now.append(client)
            open_now = self._answered(open_now, 0)
        while open_now:
            open_now = self._answered(open_now, TIMEOUT)

    def _answered(self, clients: list[Client], timeout: float) -> list[Client]:
        sockets = [client.socket for client in clients]
        there = set(select.select(sockets, [], [], timeout)[0])
        assert there or not timeout, "requests are neither answered nor refused"
        for client in clients:
            if client.socket in there:
                with client:
                    response = client.response()
                self.statuses[response.status] += 1
                if response.status == 503:
                    self.refusal = response
        return [client for client in clients if client.socket not in there]


@pytest.mark.parametrize("extra", [[], ["--threads", "4"], ["-w", "2"]],
                         ids=["one", "threads", "workers"])
def test_an_overload_is_refused_in_part_and_told_of(extra: list[str], project: Project) -> None:
    with spawn(*extra, "--priority-path", "/login", "app:app", cwd=project(app=APP)) as server:
        ready(server)
        with Flood(server.address, each=0.0005) as flood:
            flood.until(503, 20)
            assert {fetch(server.address, "/login").status for _ in range(10)} == {200}
            served = flood.statuses[200]
            flood.until(200, served + 20)
            server.wait_for(r"overload: more requests come than can be served: [1-9]\d* wait, and "
                            r"the last one to be taken had waited [1-9]\d* ms; the newest are")
        assert set(flood.statuses) == {200, 503}
        assert flood.refusal is not None
        assert flood.refusal.get("Retry-After") == "1"
        assert flood.refusal.body == b"overloaded\n"
        assert raw(server.address, request("/", "Connection: close")).startswith(b"HTTP/1.1 200")
        line = server.wait_for("the overload is over")
        assert re.search(r"after [\d.]+ s: [1-9]\d* requests were refused, after [1-9]\d* ms", line)


def test_without_a_target_nobody_is_refused(project: Project) -> None:
    with spawn("--queue-target", "0", "app:app", cwd=project(app=APP)) as server:
        ready(server)
        with Flood(server.address, each=0.004) as flood:
            flood.until(200, 150)
        assert set(flood.statuses) == {200}
        assert "overload" not in server.output()


def test_what_has_waited_for_a_stall_is_served(project: Project, calls: Calls) -> None:
    with spawn("--queue-target", "0.001", "app:app", cwd=project(app=APP)) as server:
        ready(server)
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(Client(server.address))
            first.send(request(f"/hold/{calls.port}"))
            calls.entered()
            others = [stack.enter_context(Client(server.address)) for _ in range(60)]
            for number, client in enumerate(others):
                client.send(request(f"/slow/{number}"))
            calls.let_go()
            assert {client.response().status for client in [first, *others]} == {200}
            seen = others[0].fetch("/seen").body.decode().split()
        assert seen[1:-1] == [f"/slow/{number}" for number in range(60)], "in the order of arrival"


def test_a_connection_outlives_a_refusal(project: Project) -> None:
    with spawn("app:app", cwd=project(app=APP)) as server:
        ready(server)
        with contextlib.ExitStack() as stack:
            with Flood(server.address, each=0.0005) as flood:
                flood.until(503)
                clients = [stack.enter_context(Client(server.address)) for _ in range(40)]
                end = time.monotonic() + GUARD
                refused: list[Client] = []
                while not refused:
                    assert time.monotonic() < end
                    for client in clients:
                        client.send(request("/slow/kept"))
                    refused = [client for client in clients if client.response().status == 503]
            assert {client.fetch("/").status for client in refused} == {200}
