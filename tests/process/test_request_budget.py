"""Budgets: how long a request is worth answering, counted from when it came to the proxy.

The fields themselves are tests/c/test_budget.c's; here is what becomes of the requests.
"""

from __future__ import annotations

import contextlib
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from apps.client import Client, fetch, request
from apps.uwsgi import fetch as fetch_by_packet
from apps.workers import Calls

from fastwsgi.testing import Process, serve, spawn

# /hold/PORT stands still until the test lets it go; every answer is what is left of the budget.
APP = """
    import socket, time
    seen = []
    def app(environ, start_response):
        path = environ["PATH_INFO"]
        seen.append(path)
        left = environ.get("fastwsgi.deadline", time.monotonic() - 1) - time.monotonic()
        said = f"{left}".encode()
        if path.startswith("/hold/"):
            with socket.create_connection(("127.0.0.1", int(path[6:]))) as side:
                side.sendall(b"1\\n")
                side.recv(1)
        elif path == "/seen":
            said = " ".join(seen).encode()
        start_response("200 OK", [("Content-Length", str(len(said)))])
        return [said]
    """
CLOCKS = 10.0
"""Seconds between looks at two clocks, at most: the server reads one after the other."""
BUDGET = ("--request-budget", "1000", "--budget-header", "X-Wait")


@contextlib.contextmanager
def started(place: Path, *options: str) -> Iterator[Process]:
    (place / "app.py").write_text(textwrap.dedent(APP))
    with spawn(*options, "app:app", cwd=place) as found:
        found.wait_for(r"\] ready: ")
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with started(tmp_path_factory.mktemp("budget"), *BUDGET) as found:
        yield found


@pytest.fixture
def calls() -> Iterator[Calls]:
    with contextlib.closing(Calls()) as found:
        yield found


def ago(seconds: float) -> str:
    return f"X-Request-Start: t={time.time() - seconds:.3f}"


def test_the_application_knows_its_deadline(server: Process) -> None:
    assert 900 < float(fetch(server.address, "/").body) <= 1000
    assert 400 < float(fetch(server.address, "/", ago(500)).body) <= 500 + CLOCKS
    assert 400 < float(fetch(server.address, "/", "X-Wait: 500").body) <= 500


def test_heads_that_are_repeated_have_a_deadline_each(server: Process) -> None:
    with Client(server.address) as client:
        found = [float(client.fetch("/", "X-Wait: 500").body) for _ in range(5)]
        found += [float(client.fetch(f"/{i}", "X-Wait: 500").body) for i in range(5)]
        assert all(400 < left <= 500 for left in found)
        assert len(set(found)) == len(found)
        assert 900 < float(client.fetch("/").body) <= 1000


def test_a_spent_budget_is_refused_before_the_application_sees_it(server: Process) -> None:
    with Client(server.address) as client:
        response = client.fetch("/spent", ago(1200))
        assert response.status == 503
        assert response.get("Retry-After") == "1"
        assert response.body == b"the time for this request is over\n"
        assert client.fetch("/spent/wait", ago(20), "X-Wait: 10").status == 503
        assert client.fetch("/alive").status == 200
        seen = client.fetch("/seen").body.decode().split()
    assert "/alive" in seen
    assert not [path for path in seen if path.startswith("/spent")]


def test_one_that_waits_for_a_thread_is_refused_when_its_time_comes(
    server: Process, calls: Calls,
) -> None:
    with contextlib.ExitStack() as stack:
        holding, late, later, patient = (
            stack.enter_context(Client(server.address)) for _ in range(4))
        holding.send(request(f"/hold/{calls.port}"))
        calls.entered()
        patient.send(request("/patient"))
        later.send(request("/late", "X-Wait: 0.2"))
        late.send(request("/late", "X-Wait: 0.1") + request("/behind"))
        assert late.response().status == 503  # while the only thread is in a call
        assert later.response().status == 503
        calls.let_go()
        assert {client.response().status for client in (holding, patient, late)} == {200}
    assert "/late" not in fetch(server.address, "/seen").body.decode().split()


def test_only_a_trusted_proxy_is_believed(tmp_path: Path) -> None:
    with started(tmp_path, *BUDGET, "--forwarded-allow-ips", "192.0.2.1") as server:
        assert 900 < float(fetch(server.address, "/", ago(500), "X-Wait: 5").body) <= 1000


def test_without_a_budget_there_is_no_deadline(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        assert float(fetch(server.address, "/", ago(500), "X-Wait: 5").body) < 0


def test_a_proxy_alone_may_say_it(tmp_path: Path) -> None:
    with started(tmp_path, "--budget-header", "x-wait") as server:
        assert float(fetch(server.address, "/").body) < 0
        assert 0 < float(fetch(server.address, "/", "X-Wait: 500").body) <= 500


def test_it_may_come_in_a_packet() -> None:
    def app(environ: dict[str, object], start_response: object) -> list[bytes]:
        assert callable(start_response)
        start_response("200 OK", [])
        deadline = environ["fastwsgi.deadline"]
        assert isinstance(deadline, float)
        return [str(deadline - time.monotonic()).encode()]

    with serve(app, request_budget=1000, protocol="uwsgi") as server:
        answers = [fetch_by_packet(server.address, HTTP_X_REQUEST_START=f"t={time.time() - ago}")
                   for ago in (500, 1500)]
        assert 400 < float(answers[0].body) <= 500 + CLOCKS
        assert answers[1].status == 503
