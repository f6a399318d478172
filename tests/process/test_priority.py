"""--priority-path: some requests are taken before others that wait, and refused after them.

The only thread is in a call while the others arrive, and the application tells in which order it
has seen them.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from apps.client import Client, fetch, request
from apps.workers import Calls

from fastwsgi.testing import Process, spawn

IN_A_ROW = 8

# /hold/PORT stands still until the test lets it go.
APP = """
    import socket
    seen = []
    def app(environ, start_response):
        path = environ["PATH_INFO"]
        said = " ".join(seen).encode()
        if path.startswith("/hold/"):
            with socket.create_connection(("127.0.0.1", int(path[6:]))) as side:
                side.sendall(b"1\\n")
                side.recv(1)
        elif path != "/seen":
            seen.append(path)
        start_response("200 OK", [("Content-Length", str(len(said)))])
        return [said]
    """


@pytest.fixture
def calls() -> Iterator[Calls]:
    with contextlib.closing(Calls()) as found:
        yield found


@contextlib.contextmanager
def started(place: Path, *options: str) -> Iterator[Process]:
    (place / "app.py").write_text(textwrap.dedent(APP))
    with spawn("--queue-target", "0", "--priority-path", "/login,/hooks/*", "--health-path",
               "/health", *options, "app:app", cwd=place) as found:
        found.wait_for(r"\] ready: ")
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with started(tmp_path_factory.mktemp("priority")) as found:
        yield found


def statuses(server: Process, calls: Calls, *paths: str) -> list[int]:
    """What becomes of requests that arrive in this order while the thread is in a call."""
    with contextlib.ExitStack() as stack:
        holding, *waiting = (stack.enter_context(Client(server.address)) for _ in ["", *paths])
        holding.send(request(f"/hold/{calls.port}"))
        calls.entered()
        for client, path in zip(waiting, paths, strict=True):
            client.send(request(path))
            assert fetch(server.address, "/health").status == 200  # it has been read
        calls.let_go()
        assert holding.response().status == 200
        return [client.response().status for client in waiting]


def order(server: Process, calls: Calls, *paths: str) -> list[str]:
    """In which order those are served."""
    before = len(fetch(server.address, "/seen").body.split())
    assert set(statuses(server, calls, *paths)) == {200}
    return fetch(server.address, "/seen").body.decode().split()[before:]


def test_they_are_served_first_and_in_their_order(server: Process, calls: Calls) -> None:
    assert order(server, calls, "/a", "/hooks/1", "/b", "/%68ooks/2", "/loginn", "/login") == [
        "/hooks/1", "/hooks/2", "/login", "/a", "/b", "/loginn"]


def test_others_have_a_turn_now_and_then(server: Process, calls: Calls) -> None:
    found = order(server, calls, "/a", "/b", "/c", *["/login"] * 20)
    assert found == [*["/login"] * IN_A_ROW, "/a", *["/login"] * IN_A_ROW, "/b",
                     *["/login"] * 4, "/c"]


def test_they_are_refused_last_by_a_full_queue(tmp_path: Path, calls: Calls) -> None:
    with started(tmp_path, "--queue", "2", "--overload", "503") as server:
        assert statuses(server, calls, "/a", "/b", "/c", "/login", "/login", "/login", "/d") == [
            200, 200, 503, 200, 200, 503, 503]


def test_several_threads_serve_all_of_them(tmp_path: Path, calls: Calls) -> None:
    with started(tmp_path, "--threads", "2") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(42)]
        for client in clients[:2]:
            client.send(request(f"/hold/{calls.port}"))
            calls.entered()
        for number, client in enumerate(clients[2:]):
            client.send(request("/login" if number % 4 == 0 else f"/{number}"))
        calls.let_go()
        assert {client.response().status for client in clients} == {200}
