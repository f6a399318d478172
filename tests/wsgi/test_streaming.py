"""How a response comes into being: start_response, write, and blocks sent one by one.

Rule (PEP 3333): each block is on its way before the next is asked for, and the head waits for
the first block that is not empty.  The first is proved in lock-step: the application stands
still after a block until the client says that it has it, so a server that held the block back
would stand still with it.  What the client sees is read chunk by chunk.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from apps import TEXT
from apps.client import TIMEOUT, Client, request

from fastwsgi.testing import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BLOCKS = [f"block {number};".encode() for number in range(6)]
LENGTH = ("Content-Length", str(len(b"".join(BLOCKS))))


class Lockstep:
    """Lets the application make a block only when the client has the one before."""

    def __init__(self) -> None:
        self.made = 0
        self.taken = threading.Semaphore(0)

    def blocks(self) -> Iterator[bytes]:
        """`BLOCKS`, each made when the one before has been taken."""
        for number, block in enumerate(BLOCKS):
            if number:
                self.wait()
            self.made = number + 1
            yield block
        self.wait()

    def wait(self) -> None:
        """Stand still until the client has the last block that was made."""
        assert self.taken.acquire(timeout=TIMEOUT), "the last block never reached the client"


def by_generator(steps: Lockstep, headers: list[tuple[str, str]]) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", headers)
        return steps.blocks()

    return app


def by_iterator_object(steps: Lockstep, headers: list[tuple[str, str]]) -> WSGIApplication:
    class Blocks:
        def __iter__(self) -> Iterator[bytes]:
            return steps.blocks()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", headers)
        return Blocks()

    return app


def by_write(steps: Lockstep, headers: list[tuple[str, str]]) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", headers)
        for block in steps.blocks():
            write(block)
        return []

    return app


def by_write_and_generator(steps: Lockstep, headers: list[tuple[str, str]]) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        write = start_response("200 OK", headers)
        blocks = steps.blocks()
        for _ in range(3):
            write(next(blocks))
        return blocks

    return app


def by_late_start(steps: Lockstep, headers: list[tuple[str, str]]) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", headers)
        yield from steps.blocks()

    return app


def by_generator_with_empty_blocks(
    steps: Lockstep, headers: list[tuple[str, str]]
) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", headers)
        for block in steps.blocks():
            yield b""
            yield block
            yield b""

    return app


WAYS = [
    by_generator,
    by_iterator_object,
    by_write,
    by_write_and_generator,
    by_late_start,
    by_generator_with_empty_blocks,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__[3:])
@pytest.mark.parametrize(
    ("version", "headers"),
    [("HTTP/1.1", TEXT), ("HTTP/1.1", [*TEXT, LENGTH]), ("HTTP/1.0", TEXT)],
    ids=["chunked", "with a length", "to the end of the connection"],
)
def test_sends_each_block_before_the_next_is_asked_for(
    way: Callable[..., WSGIApplication], version: str, headers: list[tuple[str, str]]
) -> None:
    steps = Lockstep()
    with serve(way(steps, list(headers))) as server, Client(server.address) as client:
        client.send(request("/", version=version))
        response = client.head()
        assert response.status == 200
        for number, block in enumerate(BLOCKS):
            got = client.chunk() if response.chunked else client.exactly(len(block))
            assert got == block
            assert steps.made == number + 1
            steps.taken.release()
        if response.chunked:
            assert client.chunk() == b""
        if response.closes:
            assert client.ended()


def test_a_block_past_every_buffer_is_followed_by_the_next_in_order() -> None:
    """Small blocks around one that no socket buffer takes whole: nothing overtakes."""
    blocks = [b"first", b"x" * (6 << 20), b"second", b"y" * (2 << 20), b"third"]

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield from blocks

    with serve(app) as server, Client(server.address) as client:
        client.send(request() * 3)
        for _ in range(3):
            assert client.response().body == b"".join(blocks)


@pytest.mark.parametrize("kind", [iter, list], ids=["generator", "list"])
def test_a_client_that_does_not_read_holds_up_no_other(kind: Callable[[Any], Any]) -> None:
    """Its response is set aside; the one application thread serves the others meanwhile."""
    blocks = [b"x" * 65536] * 512

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        start_response("200 OK", TEXT)
        return kind(blocks) if environ["PATH_INFO"] == "/large" else [b"small"]

    with serve(app) as server:
        slow = [Client(server.address, receive_buffer=65536) for _ in range(3)]
        for client in slow:
            client.send(request("/large"))
        for _ in range(20):
            with Client(server.address) as quick:
                assert quick.fetch("/small").body == b"small"
        for client in slow:
            assert client.response().body == b"".join(blocks)
            client.close()


# -- the head waits for the first block --------------------------------------------------------


def test_empty_blocks_do_not_send_the_head() -> None:
    """After three empty blocks the application still answers with another status."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("X-Which", "first")])
        yield b""
        yield b""
        yield b""
        try:
            raise LookupError("found out late")
        except LookupError:
            start_response("404 Not Found", [("X-Which", "second")], sys.exc_info())
        yield b"not here"

    with serve(app) as server, Client(server.address) as client:
        response = client.fetch()
        assert (response.status, response.reason) == (404, "Not Found")
        assert response.all("X-Which") == ["second"]
        assert response.body == b"not here"


def test_empty_blocks_do_not_end_a_chunked_body() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"")
        write(b"a")
        write(b"")
        yield b""
        yield b"b"
        yield b""
        yield b"c"

    with serve(app) as server, Client(server.address) as client:
        client.send(request())
        assert client.head().chunked
        assert list(client.chunks()) == [b"a", b"b", b"c"]
        assert client.fetch().body == b"abc"


@pytest.mark.parametrize("blocks", [[], [b""], [b"", b""]], ids=["none", "one", "two"])
@pytest.mark.parametrize("kind", [list, tuple, iter], ids=lambda kind: kind.__name__)
def test_a_body_of_no_bytes_still_has_its_head(kind: Callable[[Any], Any], blocks: Any) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        start_response("201 Created", TEXT)
        return kind(blocks)

    with serve(app) as server, Client(server.address) as client:
        for _ in range(2):
            response = client.fetch()
            assert (response.status, response.reason, response.body) == (201, "Created", b"")


def test_start_response_may_be_called_when_the_first_block_is_asked_for() -> None:
    class Late:
        def __init__(self, start_response: StartResponse) -> None:
            self.start_response = start_response
            self.blocks = iter([b"late, ", b"but there"])
            self.started = False

        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            if not self.started:
                self.started = True
                self.start_response("200 OK", [*TEXT, ("X-When", "late")])
            return next(self.blocks)

    with (
        serve(lambda environ, start_response: Late(start_response)) as server,
        Client(server.address) as client,
    ):
        response = client.fetch()
        assert response.get("X-When") == "late"
        assert response.body == b"late, but there"


def test_a_block_before_start_response_is_an_error() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        yield b"too early"
        start_response("200 OK", TEXT)

    with serve(app) as server, Client(server.address) as client:
        response = client.fetch()
        assert response.status == 500
        assert b"too early" not in response.body


# -- exc_info: PEP 3333, "The start_response() Callable" ---------------------------------------


def test_exc_info_replaces_a_head_that_was_not_sent() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("X-Which", "first"), ("Content-Length", "1000")])
        try:
            raise ValueError("changed its mind")
        except ValueError:
            start_response("503 Sorry", [("X-Which", "second")], sys.exc_info())
        return [b"sorry"]

    with serve(app) as server, Client(server.address) as client:
        for _ in range(2):
            response = client.fetch()
            assert (response.status, response.reason) == (503, "Sorry")
            assert response.all("X-Which") == ["second"]
            assert response.get("Content-Length") == "5"
            assert response.body == b"sorry"


def test_exc_info_in_a_first_call_is_an_ordinary_start() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        try:
            raise ValueError("caught")
        except ValueError:
            start_response("500 Caught", TEXT, sys.exc_info())
        return [b"the application's own page"]

    with serve(app) as server, Client(server.address) as client:
        response = client.fetch()
        assert (response.status, response.reason) == (500, "Caught")
        assert response.body == b"the application's own page"


@pytest.mark.parametrize("started", ["by a block", "by write"])
def test_exc_info_after_the_head_raises_what_was_given(started: str) -> None:
    raised: list[BaseException] = []
    error = ValueError("in the middle")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        write = start_response("200 OK", TEXT)
        if started == "by a block":
            yield b"begun"
        else:
            write(b"begun")
        try:
            raise error
        except ValueError:
            try:
                start_response("500 Oops", [("X-Never", "sent")], sys.exc_info())
            except BaseException as again:
                raised.append(again)
                raise
        yield b"never sent"

    with serve(app) as server:
        with Client(server.address) as client:
            client.send(request())
            assert client.head().status == 200
            assert client.chunk() == b"begun"
            # Closed without the last chunk, so that the client sees the truncation.
            assert client.ended()
        with Client(server.address) as client:
            client.send(request())
            assert client.head().status == 200
    assert raised == [error, error]


def test_a_second_start_response_without_exc_info_is_an_error() -> None:
    refused: list[BaseException] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", TEXT)
        try:
            start_response("201 Created", TEXT)
        except BaseException as error:
            refused.append(error)
            raise
        return [b"never sent"]

    with serve(app) as server, Client(server.address) as client:
        assert client.fetch().status == 500
    assert len(refused) == 1
    assert isinstance(refused[0], Exception)


def test_exc_info_none_is_no_exc_info() -> None:
    """Middleware passes `exc_info=None` on by position."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", TEXT, None)
        return [b"fine"]

    with serve(app) as server, Client(server.address) as client:
        assert client.fetch().body == b"fine"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_empty_blocks_may_come_before_start_response(method: str) -> None:
    """PEP 3333 wants them of middleware that waits for more of its application."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        yield b""
        yield b""
        start_response("201 Created", TEXT)
        yield b""
        yield b"late"

    with serve(app) as server, Client(server.address) as client:
        for _ in range(2):
            response = client.fetch("/", method=method)
            assert response.status == 201
            assert response.body == (b"late" if method == "GET" else b"")
        assert server.log == []


@pytest.mark.parametrize("blocks", [[b"", b"early"], [b"", b""], [b"early"], []])
def test_a_body_without_start_response_is_a_500(blocks: list[bytes]) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/list":
            return blocks
        return iter(blocks)

    with serve(app) as server:
        for path in ("/list", "/stream"):
            with Client(server.address) as client:
                response = client.fetch(path)
            assert response.status == 500
            assert b"early" not in response.body
        assert "\n".join(server.log).count("AssertionError: the application did not") == 2


@pytest.mark.parametrize("blocks", [[b"", b"body"], [b"", b"", b"body", b""]])
def test_a_list_may_begin_with_empty_blocks(blocks: list[bytes]) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return blocks

    with serve(app) as server, Client(server.address) as client:
        response = client.fetch()
        assert (response.body, response.get("Content-Length")) == (b"body", "4")


def test_an_empty_write_sends_no_head() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"")
        try:
            raise ValueError
        except ValueError:
            start_response("202 Accepted", TEXT, sys.exc_info())
        return [b"accepted"]

    with serve(app) as server, Client(server.address) as client:
        assert client.fetch().status == 202


# -- an exception on the way -------------------------------------------------------------------


@pytest.mark.parametrize("where", ["call", "iteration", "first block", "after empty blocks"])
def test_an_exception_before_the_head_is_a_500(where: str) -> None:
    def blocks(start_response: StartResponse) -> Iterator[bytes]:
        if where == "after empty blocks":
            start_response("200 OK", TEXT)
            yield b""
        raise RuntimeError("a secret of the application")
        yield b"never"

    class Broken:
        def __iter__(self) -> Iterator[bytes]:
            raise RuntimeError("a secret of the application")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/fine":
            start_response("200 OK", TEXT)
            return [b"fine"]
        if where == "call":
            raise RuntimeError("a secret of the application")
        return Broken() if where == "iteration" else blocks(start_response)

    with serve(app) as server:
        with Client(server.address) as client:
            response = client.fetch()
            assert response.status == 500
            assert b"secret" not in response.body
        with Client(server.address) as client:
            assert client.fetch("/fine").body == b"fine"
        logged = "\n".join(server.log)
    assert "Traceback" in logged
    assert "RuntimeError: a secret of the application" in logged


@pytest.mark.parametrize("length", [None, "1000"], ids=["chunked", "with a length"])
def test_an_exception_after_the_head_cuts_the_response_short(length: str | None) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [*TEXT, *([("Content-Length", length)] if length else [])])
        yield b"a beginning"
        raise RuntimeError("in the middle")

    with serve(app) as server:
        for _ in range(2):
            with Client(server.address) as client:
                client.send(request())
                response = client.head()
                assert response.status == 200
                if length:
                    assert client.exactly(11) == b"a beginning"
                else:
                    assert client.chunk() == b"a beginning"
                assert client.ended()
        # The second request came after the first was over, its log line included.
        assert "RuntimeError: in the middle" in "\n".join(server.log)
