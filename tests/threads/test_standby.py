"""A long application call stops nothing but the applications that wait for its thread.

Rule: there is one application thread, and it stands inside a call for as long as the test lets
it.  Whatever the client gets meanwhile, it got without that thread; a server that needed the
thread for it would keep the client waiting until its socket times out.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest
from apps import TESTS
from apps.client import Client, fetch, request
from apps.gated import Gate
from apps.held import TEXT, Held

from fastwsgi.testing import Server, serve, spawn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SOON = 0.3
HEALTH = "/healthz"

IMPATIENT = {"header_timeout": SOON, "body_timeout": SOON, "keepalive": SOON}


@pytest.fixture(params=["/hold", "/compute"], ids=["waiting", "computing"])
def path(request: pytest.FixtureRequest) -> str:
    """How the application passes its time."""
    return str(request.param)


@pytest.fixture
def server(held: Held, path: str) -> Iterator[Server]:
    """A server whose one application thread stands inside a call."""
    settings = {"limit_request_body": 1 << 20, "health_path": HEALTH}
    with held.served(**settings) as running, held.standing(running, path):
        yield running


# -- refusals and timeouts ---------------------------------------------------------------------

REFUSED = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "no such version": (b"GET / HTTP/9.9\r\nHost: test\r\n\r\n", 505),
    "a long line": (request("/" + "x" * 10_000), 414),
    "a long section": (request("/", *(f"X-{n}: {'y' * 4000}" for n in range(20))), 431),
    "a large body": (request("/", f"Content-Length: {1 << 30}", method="POST"), 413),
}


@pytest.mark.parametrize(("sent", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses_meanwhile(server: Server, sent: bytes, status: int) -> None:
    with Client(server.address) as client:
        client.send(sent)
        assert client.response().status == status
        assert client.ended()


def test_accepts_and_reads_many_meanwhile(server: Server) -> None:
    clients = [Client(server.address) for _ in range(100)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
    for client in clients:
        assert client.response().status == 400
        client.close()


TOO_SLOW = {
    "a head": b"GET / HTTP/1.1\r\nHost: test\r\n",
    "a body": request("/", "Content-Length: 10", method="POST") + b"half",
    "chunks": request("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhel",
}


@pytest.mark.parametrize("begun", TOO_SLOW.values(), ids=TOO_SLOW.keys())
def test_times_out_meanwhile(held: Held, path: str, begun: bytes) -> None:
    with (
        held.served(**IMPATIENT) as server,
        held.standing(server, path),
        Client(server.address) as client,
    ):
        client.send(begun)
        assert client.response().status == 408
        assert client.ended()


def test_closes_idle_connections_meanwhile(held: Held, path: str) -> None:
    """Both kinds: one that was answered before, and one that never says a word."""
    with held.served(**IMPATIENT) as server, Client(server.address) as answered:
        assert answered.fetch().status == 200
        with held.standing(server, path), Client(server.address) as silent:
            assert answered.rest() == b""
            assert silent.rest() == b""


def test_takes_a_whole_body_in_meanwhile(held: Held, path: str) -> None:
    """No socket buffer holds it, so when all of it is sent the server has it."""
    body = b"b" * (16 << 20)
    with held.served() as server, Client(server.address) as client:
        with held.standing(server, path):
            client.send(request("/upload", method="POST", body=body))
        assert client.response().body == b"/upload" + body


def test_says_continue_meanwhile(server: Server) -> None:
    with Client(server.address) as client:
        client.send(request("/", "Expect: 100-continue", "Content-Length: 4", method="POST"))
        assert client.head().status == 100


def test_lets_others_in_for_those_that_leave_meanwhile(held: Held, path: str) -> None:
    with held.served(worker_connections=2) as server, held.standing(server, path):
        first = Client(server.address)
        with Client(server.address) as second:
            second.send(b"GET / HTTP/1.1\r\n\r\n")
            first.close()
            assert second.response().status == 400


# -- responses that are on their way -----------------------------------------------------------


def test_sends_on_what_waits_for_its_client_meanwhile(path: str) -> None:
    """The application has returned a body that no socket takes at once; then the thread is gone."""
    held = Held()
    body = b"l" * (32 << 20)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/large":
            start_response("200 OK", TEXT)
            return [body]
        return held(environ, start_response)

    with serve(app) as server, Client(server.address) as client:
        client.send(request("/large"))
        assert client.head().status == 200
        try:
            with held.standing(server, path):
                assert client.exactly(len(body)) == body
        finally:
            held.end()


@pytest.mark.parametrize("ahead", [1, 7])
def test_holds_back_no_pipelined_response_for_a_slow_request_behind(
    held: Held, path: str, ahead: int
) -> None:
    with held.served() as server, Client(server.address) as client:
        client.send(b"".join(request(f"/quick/{n}") for n in range(ahead)) + request(path))
        held.entered()
        for number in range(ahead):
            assert client.response().body == f"/quick/{number}".encode()
        held.let_go()
        assert client.response().body == path.encode()


# -- requests that wait for the thread ---------------------------------------------------------


def test_serves_all_that_came_meanwhile_one_at_a_time(held: Held, path: str) -> None:
    with held.served() as server:
        clients = [Client(server.address) for _ in range(30)]
        with held.standing(server, path):
            for number, client in enumerate(clients):
                client.send(request(f"/a/{number}") + request(f"/b/{number}"))
            # Whoever came after them is refused, so they have been read.
            assert fetch(server.address, "*").status == 400
        for number, client in enumerate(clients):
            assert client.response().body == f"/a/{number}".encode()
            assert client.response().body == f"/b/{number}".encode()
            client.close()
    assert held.most == 1
    assert len(held.threads) == 1


def test_goes_in_and_out_of_long_calls_without_losing_a_request(held: Held) -> None:
    """Pipelines of quick and held requests: each held one is met by others that wait."""
    with held.served(health_path=HEALTH) as server, Client(server.address) as other:
        for number in range(50):
            with held.standing(server):
                assert other.fetch(HEALTH).status == 200
                other.send(request(f"/quick/{number}"))
            assert other.response().body == f"/quick/{number}".encode()


def test_forgets_a_request_whose_client_left_while_it_waited(held: Held, path: str) -> None:
    """Whether or not the application still hears of it, nothing else suffers."""
    with held.served() as server:
        with held.standing(server, path):
            for number in range(10):
                client = Client(server.address)
                client.send(request(f"/left/{number}"))
                client.reset()
            assert fetch(server.address, "*").status == 400
        for number in range(10):
            assert fetch(server.address, f"/{number}").body == f"/{number}".encode()


# -- the health path ---------------------------------------------------------------------------


def test_answers_the_health_path_meanwhile(server: Server) -> None:
    with Client(server.address) as client:
        for _ in range(3):
            response = client.fetch(HEALTH)
            assert (response.status, response.body) == (200, b"ok\n")
            assert response.get("Content-Type") == "text/plain; charset=utf-8"
            assert response.get("Content-Length") == "3"
            assert response.get("Date")
            assert not response.closes
        head = client.fetch(HEALTH, method="HEAD")
        assert (head.status, head.get("Content-Length")) == (200, "3")
        client.send(request(HEALTH) * 5)
        for _ in range(5):
            assert client.response().body == b"ok\n"


def test_closes_after_a_health_check_that_asks_for_it(server: Server) -> None:
    for fields, version in ((["Connection: close"], "HTTP/1.1"), ([], "HTTP/1.0")):
        with Client(server.address) as client:
            response = client.fetch(HEALTH, *fields, version=version)
            assert (response.status, response.body) == (200, b"ok\n")
            assert client.ended()


def test_answers_health_checks_in_their_place_of_a_pipeline(held: Held) -> None:
    with held.served(health_path=HEALTH) as server, Client(server.address) as client:
        client.send(request("/a") + request(HEALTH) + request("/hold") + request(HEALTH))
        assert client.response().body == b"/a"
        assert client.response().body == b"ok\n"
        held.entered()
        held.let_go()
        assert client.response().body == b"/hold"
        assert client.response().body == b"ok\n"
    assert held.calls == ["/a", "/hold"]


def test_the_application_gets_what_is_no_health_check(held: Held) -> None:
    with held.served(health_path=HEALTH) as server, Client(server.address) as client:
        for path in (HEALTH + "/", HEALTH + "y", "/health", "/a" + HEALTH, "/HEALTHZ"):
            assert client.fetch(path).body == path.encode()
        assert client.fetch(HEALTH, method="POST", body=b"!").body == HEALTH.encode() + b"!"
    with held.served() as server:
        assert fetch(server.address, HEALTH).body == HEALTH.encode()


def test_refuses_a_health_check_that_is_no_request(held: Held) -> None:
    with held.served(health_path=HEALTH) as server, Client(server.address) as client:
        client.send(f"GET {HEALTH} HTTP/1.1\r\n\r\n".encode())
        assert client.response().status == 400


@pytest.mark.parametrize("workers", ["0", "1"])
def test_answers_the_health_path_while_the_application_keeps_the_interpreter_lock(
    workers: str,
) -> None:
    with (
        Gate() as gate,
        spawn("-w", workers, "--health-path", HEALTH, "apps.gated:app", cwd=TESTS) as server,
        Client(server.address) as client,
        Client(server.address) as other,
    ):
        client.send(request(gate.grip))
        gate.entered()
        for _ in range(3):
            assert other.fetch(HEALTH).body == b"ok\n"
        assert fetch(server.address, "*").status == 400
        gate.let_go()
        assert client.response().body == b"grip False"


def test_the_health_path_says_503_while_the_worker_stops() -> None:
    """The check begins before the stop and ends after it; an idle connection shows when it is."""
    with (
        Gate() as gate,
        spawn("--health-path", HEALTH, "apps.gated:app", cwd=TESTS) as server,
        Client(server.address) as client,
        Client(server.address) as check,
        Client(server.address) as idle,
    ):
        client.send(request(gate.hold))
        gate.entered()
        sent = request(HEALTH)
        check.send(sent[:-2])
        assert idle.fetch(HEALTH).status == 200
        server.signal(signal.SIGTERM)
        assert idle.ended()
        check.send(sent[-2:])
        response = check.response()
        assert response.status == 503
        assert response.closes
        assert check.ended()
        check.close()
        gate.let_go()
        assert client.response().body == b"hold False"
        client.close()
        assert server.wait() == 0
