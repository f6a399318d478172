"""Responses whose clients read slowly are set aside, and go on where they began.

Rule: a client proves that it is slow by not reading.  Bodies are larger than what the socket and
the server take (a unix socket, whose buffers do not grow), so when the heads of more responses have
arrived than there are threads, and nobody has read on, all of them are set aside.  Then they are
read, and each block was made in the thread and in the context that the response began in.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from apps import TESTS
from apps.client import TIMEOUT, Address, Client, fetch, request
from apps.held import TEXT, Held

from fastwsgi.testing import serve, spawn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SOON = 0.3
LATER = 60.0
BLOCK = 65536
BLOCKS = 32  # 2 MiB, more than a unix socket and the server's queue take together
READERS = 12

NAME: ContextVar[str] = ContextVar("NAME", default="nobody's")


class Body:
    """A body that notes where each of its blocks was made, and where it was closed."""

    def __init__(self, name: str, blocks: int) -> None:
        self.name = name
        self.left = blocks
        self.seen: list[tuple[int, str]] = []
        self.closes = 0
        self.closed = threading.Event()
        self.note()

    def note(self) -> None:
        self.seen.append((threading.get_ident(), NAME.get()))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.note()
        if self.left == 0:
            raise StopIteration
        self.left -= 1
        return self.name.encode().ljust(BLOCK, b".")

    def close(self) -> None:
        self.note()
        self.closes += 1
        self.closed.set()

    def stayed_where_it_began(self) -> bool:
        """Whether all of it happened in one thread and in its own context."""
        return len(set(self.seen)) == 1 and self.seen[0][1] == self.name


class Streaming:
    """/large/NAME streams a Body in a context that knows NAME, other paths tell the context's."""

    def __init__(self, blocks: int = BLOCKS) -> None:
        self.blocks = blocks
        self.bodies: dict[str, Body] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        _, kind, *rest = environ["PATH_INFO"].split("/")
        start_response("200 OK", TEXT)
        if kind != "large":
            return [NAME.get().encode()]
        NAME.set(rest[0])
        body = self.bodies[rest[0]] = Body(rest[0], self.blocks)
        return body


def slow(stack: ExitStack, address: Address, name: str) -> Client:
    """A client that has the head of a large response and reads no further."""
    client = stack.enter_context(Client(address))
    client.send(request(f"/large/{name}"))
    assert client.head().status == 200
    return client


def readers(
    stack: ExitStack, address: Address, count: int = READERS, kind: str = "reader"
) -> dict[str, Client]:
    return {f"{kind}-{n}": slow(stack, address, f"{kind}-{n}") for n in range(count)}


@pytest.fixture
def place(tmp_path: Path) -> str:
    """The address to listen on."""
    return f"unix:{tmp_path}/socket"


@pytest.fixture(params=[1, 4], ids=["one thread", "four threads"])
def threads(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_goes_on_in_the_thread_and_in_the_context_it_began_in(place: str, threads: int) -> None:
    app = Streaming()
    with serve(app, bind=place, threads=threads) as server, ExitStack() as stack:
        clients = readers(stack, server.address)
        assert all(body.left for body in app.bodies.values())
        for _ in range(BLOCKS):  # in turn, so that all of them are resumed many times
            for name, client in clients.items():
                assert client.chunk() == name.encode().ljust(BLOCK, b".")
        for client in clients.values():
            assert client.chunk() == b""
            assert client.fetch("/context").body == b"nobody's"
    for body in app.bodies.values():
        assert body.closes == 1
        assert body.stayed_where_it_began(), body.seen


def test_holds_no_thread_and_shows_its_context_to_no_other(place: str, threads: int) -> None:
    app = Streaming()
    with serve(app, bind=place, threads=threads) as server, ExitStack() as stack:
        clients = readers(stack, server.address)
        for _ in range(20):
            assert fetch(server.address, "/context").body == b"nobody's"
        for name, client in clients.items():
            assert b"".join(client.chunks()) == name.encode().ljust(BLOCK, b".") * BLOCKS
            assert fetch(server.address, "/context").body == b"nobody's"


def test_is_closed_where_it_began_when_its_client_leaves(place: str, threads: int) -> None:
    app = Streaming()
    with serve(app, bind=place, threads=threads) as server, ExitStack() as stack:
        clients = readers(stack, server.address)
        for client in clients.values():
            client.reset()
        for body in app.bodies.values():
            assert body.closed.wait(TIMEOUT)
        assert fetch(server.address, "/context").body == b"nobody's"
    for body in app.bodies.values():
        assert body.closes == 1
        assert body.left
        assert body.stayed_where_it_began(), body.seen


def test_is_closed_where_it_began_when_nobody_reads_it(place: str, threads: int) -> None:
    app = Streaming()
    with (
        serve(app, bind=place, threads=threads, write_timeout=SOON, keepalive=LATER) as server,
        ExitStack() as stack,
    ):
        clients = readers(stack, server.address)
        for body in app.bodies.values():
            assert body.closed.wait(TIMEOUT)
        assert fetch(server.address, "/context").body == b"nobody's"
        for client in clients.values():
            with suppress(ConnectionResetError):
                client.rest()
    for body in app.bodies.values():
        assert body.closes == 1
        assert body.left
        assert body.stayed_where_it_began(), body.seen


def test_is_closed_where_it_began_when_it_is_read_too_slowly(place: str, threads: int) -> None:
    app = Streaming()
    with (
        serve(app, bind=place, threads=threads, write_timeout=LATER, min_rate=1_000_000_000,
              min_rate_grace=SOON) as server,
        ExitStack() as stack,
    ):
        clients = readers(stack, server.address)
        for body in app.bodies.values():
            assert body.closed.wait(TIMEOUT)
        assert fetch(server.address, "/context").body == b"nobody's"
        for client in clients.values():
            with suppress(ConnectionResetError):
                client.rest()
    for body in app.bodies.values():
        assert body.closes == 1
        assert body.left
        assert body.stayed_where_it_began(), body.seen


def test_goes_on_however_little_memory_there_is(place: str, threads: int) -> None:
    """Each block waits for the last one; who reads is not held up by who does not."""
    app = Streaming()
    with (
        serve(app, bind=place, threads=threads, response_memory=1) as server,
        ExitStack() as stack,
    ):
        clients = readers(stack, server.address)
        left = {name: app.bodies[name].left for name in clients}
        name, client = clients.popitem()
        assert b"".join(client.chunks()) == name.encode().ljust(BLOCK, b".") * BLOCKS
        assert all(app.bodies[other].left == left[other] > 0 for other in clients)
        for name, client in clients.items():
            assert b"".join(client.chunks()) == name.encode().ljust(BLOCK, b".") * BLOCKS
    for body in app.bodies.values():
        assert body.closes == 1
        assert body.stayed_where_it_began(), body.seen


def test_its_client_has_little_in_the_system_when_memory_is_short() -> None:
    """Sockets that are full of megabytes leave others no room, whose blocks then wait with us."""
    app = Streaming(blocks=1000)
    with serve(app, response_memory=1) as server, ExitStack() as stack:
        for name in ("first", "second"):
            client = stack.enter_context(Client(server.address, receive_buffer=4096))
            client.send(request(f"/large/{name}"))
            assert client.head().status == 200
            assert fetch(server.address, "/context").body == b"nobody's"  # it has been set aside
        assert 1000 - app.bodies["second"].left <= 4
        for _ in range(100):
            assert client.chunk() == b"second".ljust(BLOCK, b".")


def test_is_closed_where_it_began_when_the_server_stops(place: str, threads: int) -> None:
    """Past graceful_timeout nobody waits for readers that do not read."""
    app = Streaming()
    with ExitStack() as stack:
        with serve(app, bind=place, threads=threads, graceful_timeout=SOON) as server:
            readers(stack, server.address)
        for body in app.bodies.values():
            assert body.closes == 1
            assert body.left
            assert body.stayed_where_it_began(), body.seen


def test_a_graceful_stop_sends_it_to_its_end(place: str, threads: int) -> None:
    """One client reads on while the server stops; the stop ends when it has all of it."""
    app = Streaming()
    with ExitStack() as stack, ExitStack() as serving:
        patient = serve(app, bind=place, threads=threads, graceful_timeout=TIMEOUT)
        server = serving.enter_context(patient)
        idle = stack.enter_context(Client(server.address))
        assert idle.fetch("/context").status == 200
        clients = readers(stack, server.address)
        stopping = threading.Thread(target=serving.pop_all().close, daemon=True)
        stopping.start()
        assert idle.ended()
        for name, client in clients.items():
            assert b"".join(client.chunks()) == name.encode().ljust(BLOCK, b".") * BLOCKS
        for client in clients.values():
            assert client.ended()
            client.close()
        stopping.join(TIMEOUT)
        assert not stopping.is_alive()
    for body in app.bodies.values():
        assert body.closes == 1
        assert body.stayed_where_it_began(), body.seen


def test_a_thread_in_a_long_call_delays_its_own_responses_only(place: str) -> None:
    """Each of two threads begins responses while the other is held; then one is held again."""
    held = Held()
    streaming = Streaming()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        begins = environ["PATH_INFO"].startswith("/large")
        return (streaming if begins else held)(environ, start_response)

    def took(kind: str) -> set[int]:
        return {body.seen[0][0] for name, body in streaming.bodies.items() if kind in name}

    with serve(app, bind=place, threads=2) as server, ExitStack() as stack:
        stack.callback(held.end)
        first, second = ExitStack(), ExitStack()
        first.enter_context(held.standing(server))
        second.enter_context(held.standing(server))
        first.close()
        delayed = readers(stack, server.address, 4, "delayed")
        first.enter_context(held.standing(server))
        second.close()
        free = readers(stack, server.address, 4, "free")
        for client in free.values():
            assert sum(map(len, client.chunks())) == BLOCK * BLOCKS
        assert any(streaming.bodies[name].left for name in delayed)
        first.close()
        for client in delayed.values():
            assert sum(map(len, client.chunks())) == BLOCK * BLOCKS
    assert len(took("delayed")) == len(took("free")) == 1
    assert took("delayed") != took("free")
    assert all(body.stayed_where_it_began() for body in streaming.bodies.values())


# -- write(), which cannot be set aside --------------------------------------------------------


def writing(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """/large writes more than sockets take, other paths a line."""
    write = start_response("200 OK", TEXT)
    for _ in range(BLOCKS if environ["PATH_INFO"] == "/large" else 0):
        write(b"w" * BLOCK)
    return [b"end"]


def test_a_write_that_waits_for_its_client_holds_one_thread_and_nothing_else(place: str) -> None:
    with serve(writing, bind=place, threads=2) as server, Client(server.address) as client:
        client.send(request("/large"))
        assert client.head().status == 200
        for _ in range(20):
            assert fetch(server.address, "/small").body == b"end"
        assert b"".join(client.chunks()) == b"w" * BLOCK * BLOCKS + b"end"


def test_a_write_that_waits_in_the_only_thread_leaves_the_connections_alive(place: str) -> None:
    with (
        serve(writing, bind=place, health_path="/healthz", header_timeout=SOON) as server,
        Client(server.address) as client,
    ):
        client.send(request("/large"))
        assert client.head().status == 200
        assert fetch(server.address, "/healthz").body == b"ok\n"
        assert fetch(server.address, "*").status == 400
        with Client(server.address) as late:
            late.send(b"GET")
            assert late.response().status == 408
        with Client(server.address) as other:
            other.send(request("/small"))
            assert b"".join(client.chunks()) == b"w" * BLOCK * BLOCKS + b"end"
            assert other.response().body == b"end"


# -- frameworks that notice --------------------------------------------------------------------

FRAMEWORK_READERS = 50
ROWS = 12_000


def lines(name: str, count: int) -> bytes:
    """What the applications stream to the reader of that name."""
    return b"".join(b"%s %07d %s\n" % (name.encode(), n, b"-" * 80) for n in range(count))


@pytest.mark.parametrize("app", ["django_stream", "flask_stream"])
def test_serves_many_slow_readers_of(
    app: str, place: str, threads: int, tmp_path: Path
) -> None:
    """Django refuses its connection in another thread; Flask's request needs its own context."""
    environ = {"STREAM_PLACE": str(tmp_path), "STREAM_ROWS": str(ROWS)}
    command = ("--bind", place, "--threads", str(threads), f"apps.{app}:app")
    with spawn(*command, cwd=TESTS, env=environ) as server, ExitStack() as stack:
        clients = {}
        for number in range(FRAMEWORK_READERS):
            client = stack.enter_context(Client(server.address))
            client.send(request(f"/rows?name=reader-{number}"))
            assert client.head().status == 200
            clients[f"reader-{number}"] = client
        assert fetch(server.address, "/open").body == str(FRAMEWORK_READERS).encode()
        for name, client in clients.items():
            assert b"".join(client.chunks()) == lines(name, ROWS)
        assert fetch(server.address, "/open").body == b"0"
        assert server.terminate() == 0
    assert "Traceback" not in server.output()
