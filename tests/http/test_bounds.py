"""What a client may take: connections, places among the waiting requests, time for its bytes.

Rule: a bound is reached by numbers that the test controls (connections, requests that wait while
the application thread is held), and what is beyond it is counted.  Which of several gets in is the
server's choice; how many is not.
"""

from __future__ import annotations

import resource
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from apps import TESTS
from apps.client import TIMEOUT, Client, Response, fetch, request
from apps.gated import Gate
from apps.held import Held

from fastwsgi.testing import spawn

LATER = 60.0
HEALTH = "/healthz"


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def answered(clients: list[Client], count: int) -> list[Client]:
    """Wait until so many of the clients have something to read; those are returned."""
    found: list[Client] = []
    while len(found) < count:
        waiting = [client.socket for client in clients if client not in found]
        ready = select.select(waiting, [], [], TIMEOUT)[0]
        assert ready, f"{len(found)} of {count} were answered"
        found += [client for client in clients if client.socket in ready]
    return found


# -- requests that wait for a thread -----------------------------------------------------------


@pytest.mark.parametrize("queue", [1, 5])
def test_refuses_requests_that_find_the_queue_full(held: Held, threads: int, queue: int) -> None:
    """With overload=503 exactly the surplus is told so at once; the others wait and are served."""
    surplus = 7
    with (
        held.served(threads=threads, queue=queue, overload="503", health_path=HEALTH) as server,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(Client(server.address)) for _ in range(queue + surplus)]
        standing = [stack.enter_context(held.standing(server)) for _ in range(threads)]
        for client in clients:
            client.send(request("/late"))
        refused = answered(clients, surplus)
        assert len(refused) == surplus
        for client in refused:
            response = client.response()
            assert response.status == 503
            assert response.get("Retry-After") == "1"
        assert fetch(server.address, HEALTH).status == 200
        assert fetch(server.address, "*").status == 400
        held.end()
        for client in clients:
            if client not in refused:
                assert client.response().body == b"/late"
        assert fetch(server.address, "/again").body == b"/again"
        assert len(standing) == threads
    assert held.calls.count("/late") == queue


def test_a_full_queue_is_open_again_when_its_requests_are_served(held: Held) -> None:
    with held.served(queue=2, overload="503") as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(6)]
        for _ in range(5):
            with held.standing(server):
                for client in clients:
                    client.send(request("/late"))
                refused = answered(clients, 4)
            statuses = [client.response().status for client in clients]
            assert sorted(statuses) == [200, 200, 503, 503, 503, 503]
            assert len(refused) == 4
            for client in clients:
                client.close()
            clients = [stack.enter_context(Client(server.address)) for _ in range(6)]


def test_a_full_queue_lets_everybody_wait(held: Held, threads: int) -> None:
    """With overload=wait nobody is refused, whether accepted before or waiting to be."""
    with held.served(threads=threads, queue=3) as server, ExitStack() as stack:
        before = [stack.enter_context(Client(server.address)) for _ in range(10)]
        for client in before:
            assert client.fetch("/warm").status == 200
        with ExitStack() as standing:
            for _ in range(threads):
                standing.enter_context(held.standing(server))
            for client in before:
                client.send(request("/accepted"))
            after = [stack.enter_context(Client(server.address)) for _ in range(50)]
            for client in after:
                client.send(request("/waiting"))
        for client in before:
            assert client.response().body == b"/accepted"
        for client in after:
            assert client.response().body == b"/waiting"
    assert held.most <= threads


def test_without_a_bound_as_many_wait_as_there_are_connections(held: Held) -> None:
    with held.served(overload="503") as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(100)]
        with held.standing(server):
            for client in clients:
                client.send(request("/late"))
        for client in clients:
            assert client.response().body == b"/late"


# -- connections -------------------------------------------------------------------------------


def test_refuses_connections_past_the_limit_meanwhile(held: Held) -> None:
    """The one application thread is held, so it is not that one which refuses."""
    with (
        held.served(worker_connections=3, overload="503") as server,
        ExitStack() as stack,
    ):
        stack.enter_context(held.standing(server))
        for _ in range(2):
            idle = stack.enter_context(Client(server.address))
            idle.send(b"GET ")
        for _ in range(3):
            with Client(server.address) as late:
                response = late.response()
                assert (response.status, response.closes) == (503, True)
                assert response.get("Retry-After")
                assert late.ended()


def test_connections_past_the_limit_wait_until_others_leave(held: Held) -> None:
    with held.served(worker_connections=4) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(20)]
        for client in clients:
            client.send(request("/turn", "Connection: close"))
        for client in clients:
            assert client.response().body == b"/turn"
            client.close()


# -- descriptors -------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits another process: prlimit")
@pytest.mark.parametrize("threads", ["1", "2"])
def test_serves_on_without_descriptors_for_new_connections(threads: str) -> None:
    """Those it has are served meanwhile, those that wait are when there is room again."""
    with (
        Gate() as gate,
        spawn("-w", "0", "--threads", threads, "apps.gated:app", cwd=TESTS) as server,
        ExitStack() as stack,
    ):
        first = stack.enter_context(Client(server.address))
        assert first.fetch().status == 200
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        used = max(int(path.name) for path in Path(f"/proc/{server.pid}/fd").iterdir()) + 1
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used + 2, limits[1]))
        waiting = [stack.enter_context(Client(server.address)) for _ in range(10)]
        for client in waiting:
            client.send(request())
        server.wait_for("Out of file descriptors")
        for _ in range(5):
            assert first.fetch().status == 200
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        for client in waiting:
            assert client.response().status == 200
        assert server.output().count("Out of file descriptors") == 1
        first.send(request(gate.hold))
        gate.entered()
        gate.let_go()
        assert first.response().status == 200
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


# -- data rates --------------------------------------------------------------------------------

RATE = 10_000
GRACE = 0.2
HEAD = b"GET /slow HTTP/1.1\r\nHost: test\r\nX-Slow: "
BODY = request("/slow", "Content-Length: 100000", method="POST")
CHUNKS = request("/slow", "Transfer-Encoding: chunked", method="POST")
SLOW = {"head": (HEAD, b"x"), "body": (BODY, b"x"), "chunks": (CHUNKS, b"1\r\nx\r\n")}


def trickled(client: Client, first: bytes, piece: bytes) -> Response:
    """Send a piece now and then until there is an answer."""
    client.send(first)
    for _ in range(2000):
        if select.select([client.socket], [], [], 0.01)[0]:
            break
        client.send(piece)
    return client.response()


@pytest.fixture(params=[False, True], ids=["idle", "held"])
def meanwhile(request: pytest.FixtureRequest) -> bool:
    """Whether the one application thread is inside a call."""
    return bool(request.param)


def patient(**settings: float) -> dict[str, float]:
    """All other limits far away."""
    return {"header_timeout": LATER, "body_timeout": LATER, "keepalive": LATER, **settings}


@pytest.mark.parametrize(("first", "piece"), SLOW.values(), ids=SLOW.keys())
def test_says_408_to_bytes_that_come_too_slowly(
    held: Held, meanwhile: bool, first: bytes, piece: bytes
) -> None:
    limits = patient(min_rate=RATE, min_rate_grace=GRACE)
    with held.served(**limits) as server, ExitStack() as stack:
        if meanwhile:
            stack.enter_context(held.standing(server))
        client = stack.enter_context(Client(server.address))
        response = trickled(client, first, piece)
        assert (response.status, response.closes) == (408, True)
        assert client.ended()
    assert "/slow" not in held.calls


@pytest.fixture
def too_slow(held: Held) -> Iterator[tuple[str, int]]:
    """A server with a minimum rate, and no application in the way."""
    with held.served(**patient(min_rate=RATE, min_rate_grace=GRACE)) as server:
        assert isinstance(server.address, tuple)
        yield server.address


def test_fast_enough_on_average_is_fast_enough(too_slow: tuple[str, int]) -> None:
    """Half of a body came at once; when others have been told 408 its pause is still paid for."""
    body = b"b" * 200_000  # half of it is good for 10 s at that rate
    with Client(too_slow) as client:
        client.send(request("/fast", method="POST", body=body)[:-100_000])
        with Client(too_slow) as witness:
            assert trickled(witness, *SLOW["body"]).status == 408
        client.send(body[100_000:])
        assert client.response().body == b"/fast" + body


def test_an_idle_connection_has_no_rate_to_keep(too_slow: tuple[str, int]) -> None:
    with Client(too_slow) as client:
        assert client.fetch("/first").status == 200
        with Client(too_slow) as witness:
            assert trickled(witness, *SLOW["head"]).status == 408
        assert client.fetch("/second", method="POST", body=b"!").body == b"/second!"


def test_the_time_in_the_application_costs_no_rate(held: Held) -> None:
    """A pipelined request waits, whole or half, while the one before it is held."""
    with (
        held.served(**patient(min_rate=RATE, min_rate_grace=GRACE)) as server,
        Client(server.address) as client,
    ):
        client.send(request("/hold") + request("/next"))
        held.entered()
        with Client(server.address) as witness:
            assert trickled(witness, *SLOW["head"]).status == 408
        held.let_go()
        assert client.response().body == b"/hold"
        assert client.response().body == b"/next"


def test_without_a_minimum_rate_a_byte_now_and_then_is_enough(held: Held) -> None:
    """The default: a server beside it with a minimum says when the time would be up."""
    body = b"slowly"
    strict = Held()
    with (
        held.served(**patient()) as server,
        strict.served(**patient(min_rate=RATE, min_rate_grace=GRACE)) as other,
        Client(server.address) as client,
    ):
        client.send(request("/slow", f"Content-Length: {len(body)}", method="POST"))
        client.send(body[:1])
        with Client(other.address) as witness:
            assert trickled(witness, *SLOW["body"]).status == 408
        client.send(body[1:])
        assert client.response().body == b"/slow" + body

