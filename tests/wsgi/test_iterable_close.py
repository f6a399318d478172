"""`close()` of the iterable: exactly once, however the response ends.

Rule (PEP 3333): if the iterable has a `close` method, the server calls it when the request is
over, whether it completed normally, was cut short by an error or lost its client.  A count is
final only when the server has stopped, so each test looks at it after that.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from apps import TEXT
from apps.client import TIMEOUT, Client, request

from fastwsgi.testing import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Watched:
    """An iterable that counts how often it and the iterator that it hands out are closed."""

    def __init__(self, blocks: Callable[[], Iterator[Any]]) -> None:
        self.blocks = blocks
        self.closes = 0
        self.iterator_closes = 0
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        return WatchedIterator(self)

    def close(self) -> None:
        self.closes += 1
        self.closed.set()


class WatchedIterator:
    """The iterator of a `Watched`; nobody is to close it."""

    def __init__(self, iterable: Watched) -> None:
        self.iterable = iterable
        self.blocks = iterable.blocks()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self.blocks)

    def close(self) -> None:
        self.iterable.iterator_closes += 1


def fail() -> Iterator[bytes]:
    raise RuntimeError("the application broke")
    yield b""


def fail_late() -> Iterator[bytes]:
    yield b"begun"
    raise RuntimeError("the application broke")


def exit_late() -> Iterator[bytes]:
    yield b"begun"
    raise SystemExit(3)


@dataclass
class Ending:
    """One way in which a response ends."""

    status: str
    blocks: Callable[[], Iterator[Any]]
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "GET"
    version: str = "HTTP/1.1"


ENDINGS = {
    "blocks": Ending("200 OK", lambda: iter([b"one", b"two"])),
    "one block": Ending("200 OK", lambda: iter([b"one"])),
    "no block": Ending("200 OK", lambda: iter([])),
    "empty blocks": Ending("200 OK", lambda: iter([b"", b""])),
    "a length": Ending("200 OK", lambda: iter([b"one"]), (("Content-Length", "3"),)),
    "HTTP/1.0": Ending("200 OK", lambda: iter([b"one"]), version="HTTP/1.0"),
    "a large body": Ending("200 OK", lambda: iter([b"x" * (4 << 20)] * 2)),
    "HEAD": Ending("200 OK", lambda: iter([b"one", b"two"]), method="HEAD"),
    "HEAD that fails": Ending("200 OK", fail, method="HEAD"),
    "204": Ending("204 No Content", lambda: iter([b"one"])),
    "304": Ending("304 Not Modified", lambda: iter([])),
    "failure before the head": Ending("200 OK", fail),
    "failure after the head": Ending("200 OK", fail_late),
    "exit after the head": Ending("200 OK", exit_late),
    "a body too long": Ending("200 OK", lambda: iter([b"12345"] * 9), (("Content-Length", "7"),)),
    "a body too short": Ending("200 OK", lambda: iter([b"12345"]), (("Content-Length", "7"),)),
    "a block of str": Ending("200 OK", lambda: iter(["text"])),
    "a late block of str": Ending("200 OK", lambda: iter([b"bytes", "text"])),
    "a bad status": Ending("99 Bad", lambda: iter([b"one"])),
    "a bad header": Ending("200 OK", lambda: iter([b"one"]), (("X-Bad", "a\r\nb"),)),
}


def starter(ending: Ending, start_response: StartResponse) -> None:
    """Start the response; a refusal by the server is swallowed, so that the body comes too."""
    try:
        start_response(ending.status, [*TEXT, *ending.headers])
    except Exception:
        if ending.status == "200 OK" and not any("\r" in value for _, value in ending.headers):
            raise


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_is_called_once_when_the_response(ending: Ending) -> None:
    made: list[Watched] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        starter(ending, start_response)
        made.append(Watched(ending.blocks))
        return made[-1]

    with serve(app) as server:
        for _ in range(2):
            with Client(server.address) as client:
                client.send(request(method=ending.method, version=ending.version))
                client.finish_sending()
                client.rest()
    assert [watched.closes for watched in made] == [1, 1]
    # PEP 3333 speaks of the iterable that was returned, not of the iterator made from it.
    assert [watched.iterator_closes for watched in made] == [0, 0]


def test_is_called_once_for_each_of_many_pipelined_requests() -> None:
    made: list[Watched] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        made.append(Watched(lambda: iter([b"one", b"two"])))
        return made[-1]

    with serve(app) as server, Client(server.address) as client:
        client.send(request() * 50)
        for _ in range(50):
            assert client.response().body == b"onetwo"
    assert [watched.closes for watched in made] == [1] * 50


def test_is_called_before_the_next_request_of_the_connection_runs() -> None:
    made: list[Watched] = []
    open_when_called: list[int] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        open_when_called.append(sum(watched.closes == 0 for watched in made))
        start_response("200 OK", TEXT)
        made.append(Watched(lambda: iter([b"one", b"two"])))
        return made[-1]

    with serve(app) as server, Client(server.address) as client:
        client.send(request() * 10)
        for _ in range(10):
            client.response()
    assert open_when_called == [0] * 10


def test_is_called_once_when_start_response_never_was() -> None:
    watched = Watched(lambda: iter([b"one"]))
    with serve(lambda environ, start_response: watched) as server, Client(server.address) as client:
        assert client.fetch().status == 500
    assert watched.closes == 1


def test_is_called_once_when_the_iterable_cannot_be_iterated() -> None:
    class Closable:
        closes = 0

        def close(self) -> None:
            self.closes += 1

    closable = Closable()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        start_response("200 OK", TEXT)
        return closable

    with serve(app) as server, Client(server.address) as client:
        assert client.fetch().status == 500
    assert closable.closes == 1


def test_is_called_once_when_the_iterable_is_a_list_with_a_close() -> None:
    class Closing(list[bytes]):
        closes = 0

        def close(self) -> None:
            self.closes += 1

    returned = Closing([b"one", b"two"])

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", TEXT)
        return returned

    with serve(app) as server, Client(server.address) as client:
        assert client.fetch().body == b"onetwo"
    assert returned.closes == 1


def test_is_called_once_when_write_was_used() -> None:
    watched = Watched(lambda: iter([b"two"]))

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)(b"one")
        return watched

    with serve(app) as server, Client(server.address) as client:
        assert client.fetch().body == b"onetwo"
    assert watched.closes == 1


def test_is_called_once_when_exc_info_cuts_the_response_short() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"one"
        try:
            raise ValueError("in the middle")
        except ValueError:
            starters[-1]("500 Oops", TEXT, sys.exc_info())

    starters: list[Any] = []
    watched = Watched(blocks)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        starters.append(start_response)
        start_response("200 OK", TEXT)
        return watched

    with serve(app) as server, Client(server.address) as client:
        client.send(request())
        client.rest()
    starters.clear()
    assert watched.closes == 1


def test_may_fail_without_harm_to_the_response_or_the_server() -> None:
    calls: list[int] = []

    class Failing:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"all ", b"sent"])

        def close(self) -> None:
            calls.append(1)
            raise RuntimeError("close broke")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [*TEXT, ("Content-Length", "8")])
        return Failing()

    with serve(app) as server:
        for _ in range(3):
            with Client(server.address) as client:
                assert client.fetch().body == b"all sent"
        assert "RuntimeError: close broke" in "\n".join(server.log)
    assert len(calls) == 3


@pytest.mark.parametrize("leave", [Client.reset, Client.close], ids=["resets", "closes"])
@pytest.mark.parametrize("when", ["before the head", "after the head"])
def test_is_called_once_when_the_client(when: str, leave: Callable[[Client], None]) -> None:
    """The client leaves while the application stands still, which then makes 64 MiB."""
    running, gone = threading.Event(), threading.Event()

    def blocks() -> Iterator[bytes]:
        if when == "after the head":
            yield b"begun"
        running.set()
        assert gone.wait(TIMEOUT)
        for _ in range(1024):
            yield b"x" * 65536

    watched = Watched(blocks)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return [b"still here"] if environ["PATH_INFO"] == "/fine" else watched

    with serve(app) as server:
        client = Client(server.address)
        client.send(request())
        assert running.wait(TIMEOUT)
        leave(client)
        gone.set()
        assert watched.closed.wait(TIMEOUT)
        with Client(server.address) as other:
            assert other.fetch("/fine").body == b"still here"
    assert watched.closes == 1


def test_is_called_once_when_the_client_leaves_during_a_single_large_block() -> None:
    """No socket buffer takes the block, so the server holds it when the client resets."""
    watched = Watched(lambda: iter([b"x" * (64 << 20)]))

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return watched

    with serve(app) as server:
        client = Client(server.address, receive_buffer=4096)
        client.send(request())
        assert client.head().status == 200
        client.reset()
        assert watched.closed.wait(TIMEOUT)
    assert watched.closes == 1


@pytest.mark.parametrize("written", [False, True], ids=["blocks", "write"])
def test_is_called_once_when_the_server_gives_up_a_client_at_its_end(written: bool) -> None:
    """The client never reads; past graceful_timeout the response is cut, not waited for."""
    watched = Watched(lambda: iter([b"x" * (1 << 20)] * 1024))
    raised: list[BaseException] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", TEXT)
        try:
            while written:
                write(b"x" * (1 << 20))
        except BaseException as error:
            raised.append(error)
            raise
        return watched

    with serve(app, graceful_timeout=0.3) as server:
        client = Client(server.address, receive_buffer=4096)
        client.send(request())
        assert client.head().status == 200
    client.close()
    assert watched.closes == (0 if written else 1)
    assert [isinstance(error, OSError) for error in raised] == [True] * written


def test_a_write_to_a_client_that_left_raises() -> None:
    """There is no iterable yet that could be closed, so the application is told by an error."""
    running, gone, over = threading.Event(), threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", TEXT)
        if environ["PATH_INFO"] == "/fine":
            return [b"still here"]
        running.set()
        assert gone.wait(TIMEOUT)
        try:
            for _ in range(1024):
                write(b"x" * 65536)
        except BaseException as error:
            raised.append(error)
            raise
        finally:
            over.set()
        return []

    with serve(app) as server:
        client = Client(server.address)
        client.send(request())
        assert running.wait(TIMEOUT)
        client.reset()
        gone.set()
        assert over.wait(TIMEOUT)
        with Client(server.address) as other:
            assert other.fetch("/fine").body == b"still here"
    assert [isinstance(error, OSError) for error in raised] == [True]


def test_is_called_once_when_the_server_stops_during_the_response() -> None:
    """The application itself asks its process to stop in the middle of a response."""
    closes, closing = os.pipe()

    class Stopping:
        def __iter__(self) -> Iterator[bytes]:
            yield b"begun, "
            os.kill(os.getpid(), signal.SIGTERM)
            yield b"and ended"

        def close(self) -> None:
            os.write(closing, b"c")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return Stopping()

    with serve(app, process=True) as server, Client(server.address) as client:
        assert client.fetch().body == b"begun, and ended"
        assert client.ended()
        os.close(closing)
        with open(closes, "rb") as pipe:  # its end is the end of the process
            assert pipe.read() == b"c"
