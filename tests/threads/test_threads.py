"""Several application threads: what runs at the same time, what waits, and how they end.

Rule: calls are held by the test (apps/held.py, apps/gated.py), so what runs at the same time is
counted, not timed.  A server with too few threads keeps a call from beginning and the test from
going on; one with too many lets more begin than it may.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from apps import TESTS
from apps.client import TIMEOUT, Address, Client, fetch, request
from apps.gated import Gate
from apps.held import TEXT, Held

from fastwsgi.testing import serve, spawn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

COUNTS = [1, 2, 4, 32]


# -- how many at a time ------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_says_truthfully_whether_there_are_several(threads: int) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [repr(environ["wsgi.multithread"]).encode()]

    with serve(app, threads=threads) as server, Client(server.address) as client:
        for _ in range(3):
            assert client.fetch().body == repr(threads > 1).encode()


@pytest.mark.parametrize("threads", COUNTS)
def test_runs_as_many_calls_at_once_as_there_are_threads(threads: int) -> None:
    """Nobody gets past the barrier before all of them are there."""
    barrier = threading.Barrier(threads)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        barrier.wait(TIMEOUT)
        start_response("200 OK", TEXT)
        return [environ["PATH_INFO"].encode()]

    with serve(app, threads=threads) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(threads)]
        for _ in range(20):
            for number, client in enumerate(clients):
                client.send(request(f"/{number}"))
            for number, client in enumerate(clients):
                assert client.response().body == f"/{number}".encode()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("path", ["/hold", "/compute"])
def test_no_more_calls_than_threads_run_at_once(held: Held, threads: int, path: str) -> None:
    count = threads * 4
    with held.served(threads=threads) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(count)]
        for client in clients:
            client.send(request(path))
        held.entered(threads)
        # One more begins for each that ends.
        for _ in range(count - threads):
            held.let_go()
            held.entered()
        held.let_go(threads)
        for client in clients:
            assert client.response().body == path.encode()
    assert held.most == threads
    assert len(held.threads) == threads


@pytest.mark.parametrize("path", ["/hold", "/compute"])
@pytest.mark.parametrize("threads", [2, 4])
def test_serves_others_while_one_thread_is_left(held: Held, threads: int, path: str) -> None:
    with held.served(threads=threads) as server, ExitStack() as stack:
        for _ in range(threads - 1):
            stack.enter_context(held.standing(server, path))
        with Client(server.address) as kept:
            for number in range(50):
                assert kept.fetch(f"/{number}").body == f"/{number}".encode()
                assert fetch(server.address, method="POST", body=b"new").body == b"/new"
        assert held.most <= threads


def test_a_request_that_waits_is_taken_by_the_first_thread_that_is_free(held: Held) -> None:
    with held.served(threads=2) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(3)]
        for client in clients[:2]:
            client.send(request("/hold"))
        held.entered(2)
        clients[2].send(request("/quick"))
        held.let_go()  # either of the two
        assert clients[2].response().body == b"/quick"
        held.let_go()
        for client in clients[:2]:
            assert client.response().body == b"/hold"


def test_requests_already_read_go_to_threads_that_are_free(held: Held) -> None:
    """Many connections become ready at once, and a held request is the first among them."""
    with held.served(threads=2) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(40)]
        for _ in range(10):
            with held.standing(server):  # the only thread left takes all that follow
                for client in clients:
                    client.send(request("/quick"))
                for client in clients:
                    assert client.response().body == b"/quick"
            first, *others = clients
            first.send(request("/hold"))
            for client in others:
                client.send(request("/quick"))
            for client in others:
                assert client.response().body == b"/quick"
            held.entered()
            held.let_go()
            assert first.response().body == b"/hold"


# -- one connection ----------------------------------------------------------------------------


def test_requests_of_one_connection_never_run_at_once_and_keep_their_order(held: Held) -> None:
    paths = [f"/{number}" if number % 10 else f"/hold/{number}" for number in range(100)]
    with held.served(threads=8) as server, Client(server.address) as client:
        client.send(b"".join(map(request, paths)))
        for path in paths:
            if path.startswith("/hold"):
                held.entered()
                held.let_go()
            assert client.response().body == path.encode()
    assert held.most == 1
    assert held.calls == paths


def test_threads_share_out_pipelines_and_mix_nothing_up() -> None:
    """Each client proves what it gets; the application is quick, slow, large, small in turn."""
    clients, rounds = 16, 60

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        path = environ["PATH_INFO"]
        _, kind, name = path.split("/")
        body = environ["wsgi.input"].read()
        if kind == "wait":
            threading.Event().wait(0.003)
        start_response("200 OK", [*TEXT, ("X-Name", name), ("X-Asked", environ["HTTP_X_ASKED"])])
        return [path.encode(), body * (200 if kind == "large" else 1)]

    failures: list[BaseException] = []

    def visit(address: Address, number: int) -> None:
        chance = random.Random(number)
        try:
            with Client(address) as client:
                for turn in range(rounds):
                    kinds = chance.choices(["quick", "wait", "large"], [8, 1, 1], k=3)
                    names = [f"{number}.{turn}.{at}" for at in range(len(kinds))]
                    asked = list(zip(kinds, names, strict=True))
                    client.send(b"".join(
                        request(f"/{kind}/{name}", f"X-Asked: {name}", method="POST",
                                body=name.encode())
                        for kind, name in asked))  # fmt: skip
                    for kind, name in asked:
                        response = client.response()
                        assert response.get("X-Name") == name
                        assert response.get("X-Asked") == name
                        repeated = name * (200 if kind == "large" else 1)
                        assert response.body.decode() == f"/{kind}/{name}" + repeated
        except BaseException as error:
            failures.append(error)
            raise

    with serve(app, threads=4) as server:
        visitors = [
            threading.Thread(target=visit, args=(server.address, number), daemon=True)
            for number in range(clients)
        ]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join(2 * TIMEOUT)
            assert not visitor.is_alive()
    assert failures == []


def test_each_call_has_an_environ_of_its_own() -> None:
    """All requests are the same bytes; each call changes its environ while the others run."""
    threads = 4
    barrier = threading.Barrier(threads)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        clean = [environ["HTTP_X_SAME"], environ["PATH_INFO"], environ.get("mine")]
        mark = object()
        environ["HTTP_X_SAME"] = environ["PATH_INFO"] = "changed"
        environ["mine"] = mark
        barrier.wait(TIMEOUT)
        own = environ.pop("mine") is mark
        start_response("200 OK", TEXT)
        return [repr((clean, own)).encode()]

    with serve(app, threads=threads) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(threads)]
        for _ in range(10):
            for client in clients:
                client.send(request("/same", "X-Same: same"))
            for client in clients:
                assert client.response().body == repr((["same", "/same", None], True)).encode()


def test_goes_from_quick_to_slow_and_back_without_losing_a_request(held: Held) -> None:
    """Bursts of quick calls, then bursts that all stand still, over the same connections."""
    with held.served(threads=4) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(8)]
        for burst in range(20):
            path = "/hold" if burst % 2 else "/quick"
            for _ in range(10):
                for client in clients:
                    client.send(request(path))
                if burst % 2:
                    held.let_go(len(clients))
                for client in clients:
                    assert client.response().body == path.encode()


# -- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_an_error_ends_no_thread(error: type[BaseException]) -> None:
    """All threads fail at the same time, again and again; afterwards all of them are there."""
    threads = 4
    barrier = threading.Barrier(threads)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        barrier.wait(TIMEOUT)
        if environ["PATH_INFO"] == "/fail":
            raise error("on purpose")
        start_response("200 OK", TEXT)
        return [b"fine"]

    with serve(app, threads=threads) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(threads)]
        for path, status in (("/fail", 500), ("/fail", 500), ("/fine", 200)):
            for client in clients:
                client.send(request(path))
            for client in clients:
                assert client.response().status == status
                client.close()
            clients = [stack.enter_context(Client(server.address)) for _ in range(threads)]
        assert sum("on purpose" in line for line in server.log) >= 2 * threads


def test_lines_of_the_error_log_stay_whole() -> None:
    threads, lines = 4, 200
    barrier = threading.Barrier(threads)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        barrier.wait(TIMEOUT)
        for number in range(lines):
            print("begin", environ["PATH_INFO"], number, "end", file=environ["wsgi.errors"])
        start_response("200 OK", TEXT)
        return []

    with serve(app, threads=threads) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(threads)]
        for number, client in enumerate(clients):
            client.send(request(f"/{number}"))
        for client in clients:
            assert client.response().status == 200
        found = [line.partition("begin ")[2] for line in server.log if "begin " in line]
    expected = [f"/{n} {line} end" for n in range(threads) for line in range(lines)]
    assert sorted(found) == sorted(expected)


# -- which threads, and how they end: in processes of their own --------------------------------


def holding(stack: ExitStack, address: Address, gate: Gate, count: int) -> list[Client]:
    """So many connections, each with a call that stands still."""
    clients = [stack.enter_context(Client(address)) for _ in range(count)]
    for client in clients:
        client.send(request(gate.hold))
    return clients


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as made:
        yield made


@pytest.mark.parametrize("workers", ["0", "1"])
def test_the_first_thread_is_the_main_thread_and_the_others_are_named(
    gate: Gate, workers: str
) -> None:
    command = ("-w", workers, "--threads", "3", "apps.gated:app")
    with spawn(*command, cwd=TESTS) as server, ExitStack() as stack:
        clients = holding(stack, server.address, gate, 3)
        assert {gate.entered() for _ in clients} == {
            "MainThread False", "fastwsgi-1 True", "fastwsgi-2 True",
        }  # fmt: skip
        for _ in clients:
            gate.let_go()
        for client in clients:
            assert client.response().body == b"hold True"


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_graceful_stop_answers_what_every_thread_has_at_hand(
    gate: Gate, workers: str, threads: int
) -> None:
    """Those that wait for a thread are in flight as well."""
    command = ("-w", workers, "--threads", str(threads), "apps.gated:app")
    with spawn(*command, cwd=TESTS) as server, ExitStack() as stack:
        idle = stack.enter_context(Client(server.address))
        assert idle.fetch().status == 200
        clients = holding(stack, server.address, gate, threads + 2)
        for _ in range(threads):
            gate.entered()
        assert fetch(server.address, "*").status == 400  # so those before it have been read
        server.signal(signal.SIGTERM)
        assert idle.ended()
        for _ in range(2):
            gate.let_go()
            gate.entered()
        for _ in range(threads):
            gate.let_go()
        for client in clients:
            response = client.response()
            assert response.body == f"hold {threads > 1}".encode()
            assert response.closes
            assert client.ended()
            client.close()
        assert server.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            fetch(server.address)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("hanging", [1, 2, 3])
def test_a_quick_stop_waits_for_no_hanging_thread(
    gate: Gate, number: signal.Signals, hanging: int
) -> None:
    """The calls are never let go; a server that waited for them would not end in time."""
    command = ("--threads", "3", "--graceful-timeout", "3600", "apps.gated:app")
    with spawn(*command, cwd=TESTS) as server, ExitStack() as stack:
        clients = holding(stack, server.address, gate, hanging)
        for _ in clients:
            gate.entered()
        server.signal(number)
        assert server.wait(TIMEOUT) == 0
        for client in clients:
            assert client.ended()


def test_calls_that_outlast_the_graceful_timeout_are_cut(gate: Gate) -> None:
    command = ("--threads", "3", "--graceful-timeout", "0.2", "apps.gated:app")
    with spawn(*command, cwd=TESTS) as server, ExitStack() as stack:
        clients = holding(stack, server.address, gate, 3)
        for _ in clients:
            gate.entered()
        server.signal(signal.SIGTERM)
        assert server.wait(TIMEOUT) == 0
        for client in clients:
            assert client.ended()


def test_a_second_term_does_not_wait_for_the_threads(gate: Gate) -> None:
    command = ("-w", "0", "--threads", "2", "--graceful-timeout", "3600", "apps.gated:app")
    with spawn(*command, cwd=TESTS) as server, ExitStack() as stack:
        idle = stack.enter_context(Client(server.address))
        assert idle.fetch().status == 200
        # Without a master only the end of the main thread ends the process, so that must be free.
        clients = holding(stack, server.address, gate, 2)
        names = [gate.entered() for _ in clients]
        gate.let_go(names.index("MainThread False"))
        server.signal(signal.SIGTERM)
        assert idle.ended()
        server.signal(signal.SIGTERM)
        assert server.wait(TIMEOUT) == 0
