"""Each phase of a connection has its own time limit, and its own ending.

Rule: the client here does nothing and waits for the server to act, so no test depends on how
fast anything is; a server that never acts fails the test when the client's socket times out.
The limits are small, and where a client makes progress they are far above the pace it keeps.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest
from apps import TEXT
from apps.client import TIMEOUT, Client, request

from fastwsgi.testing import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SOON = 0.3
LATER = 60.0

# A slow client that makes progress: its pauses are far below the limit, their sum is above.
LIMIT = 2.0
PAUSE = 0.15
PAUSES = 18


def pause() -> None:
    """The pace of a slow client; nothing waits for it."""
    threading.Event().wait(PAUSE)


class Echo:
    """Answers with the body, and remembers which paths it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        self.asked.append(environ["PATH_INFO"])
        start_response("200 OK", TEXT)
        return [environ["wsgi.input"].read()]


def limits(**changed: float) -> dict[str, float]:
    """All limits far away, save those that are named."""
    names = ("header_timeout", "body_timeout", "write_timeout", "keepalive")
    return {**dict.fromkeys(names, LATER), **changed}


# -- the head: RFC 9110 15.5.9 -----------------------------------------------------------------

UNFINISHED = {
    "one byte": b"G",
    "a request line": b"GET / HTTP/1.1\r\n",
    "a head without its end": b"GET / HTTP/1.1\r\nHost: test\r\n",
    "half a field": b"GET / HTTP/1.1\r\nHost: test\r\nX-Long: " + b"x" * 3000,
}


@pytest.mark.parametrize("begun", UNFINISHED.values(), ids=UNFINISHED.keys())
def test_says_408_to_a_head_that_does_not_end(begun: bytes) -> None:
    app = Echo()
    with (
        serve(app, **limits(header_timeout=SOON)) as server,
        Client(server.address) as client,
    ):
        client.send(begun)
        response = client.response()
        assert response.status == 408
        assert response.closes
        assert client.ended()
    assert app.asked == []


def test_a_head_that_trickles_in_gains_no_time() -> None:
    """The limit is on the whole head, so a byte now and then does not keep it open."""
    app = Echo()
    with (
        serve(app, **limits(header_timeout=SOON)) as server,
        Client(server.address) as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\nX-Slow: ")
        client.socket.settimeout(0.05)
        answer = b""
        for _ in range(400):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.send(b"x")
            with contextlib.suppress(TimeoutError):
                answer = client.socket.recv(65536)
                break
        assert answer.startswith(b"HTTP/1.1 408 ")
    assert app.asked == []


def test_says_408_to_a_second_head_that_does_not_end() -> None:
    with (
        serve(Echo(), **limits(header_timeout=SOON)) as server,
        Client(server.address) as client,
    ):
        client.send(request() + b"GET /second HTT")
        assert client.response().status == 200
        assert client.response().status == 408
        assert client.ended()


def test_closes_silently_on_a_client_that_says_nothing() -> None:
    with (
        serve(Echo(), **limits(header_timeout=SOON)) as server,
        Client(server.address) as client,
    ):
        assert client.rest() == b""


# -- between requests: RFC 9112 9.5 ------------------------------------------------------------


def test_closes_an_idle_connection_silently() -> None:
    with serve(Echo(), **limits(keepalive=SOON)) as server, Client(server.address) as client:
        for _ in range(3):
            assert client.fetch().status == 200
        assert client.rest() == b""


def test_an_idle_connection_is_not_held_to_the_header_timeout() -> None:
    """A second connection shows that the header timeout is over; the first is still served."""
    with (
        serve(Echo(), **limits(header_timeout=SOON)) as server,
        Client(server.address) as idle,
        Client(server.address) as witness,
    ):
        assert idle.fetch().status == 200
        witness.send(b"GET")
        assert witness.response().status == 408
        assert idle.fetch("/again").status == 200


def test_keeps_each_of_many_idle_connections_for_its_time() -> None:
    with serve(Echo(), **limits(keepalive=SOON)) as server:
        clients = [Client(server.address) for _ in range(50)]
        for client in clients:
            assert client.fetch().status == 200
        for client in clients:
            assert client.rest() == b""
            client.close()


# -- the body ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("framing", "begun"),
    [
        ("Content-Length: 10", b""),
        ("Content-Length: 10", b"half"),
        ("Content-Length: 100000", b"x" * 50_000),
        ("Transfer-Encoding: chunked", b""),
        ("Transfer-Encoding: chunked", b"5\r\nhel"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\nX-Trailer: "),
    ],
)
def test_says_408_to_a_body_that_does_not_end(framing: str, begun: bytes) -> None:
    app = Echo()
    with (
        serve(app, body_memory=1000, **limits(body_timeout=SOON)) as server,
        Client(server.address) as client,
    ):
        client.send(request("/unfinished", framing, method="POST") + begun)
        response = client.response()
        assert response.status == 408
        assert response.closes
        assert client.ended()
    assert app.asked == []


def test_says_408_to_a_client_that_was_told_to_continue_and_does_not() -> None:
    with (
        serve(Echo(), **limits(body_timeout=SOON)) as server,
        Client(server.address) as client,
    ):
        fields = ("Expect: 100-continue", "Content-Length: 10")
        client.send(request("/", *fields, method="POST"))
        assert client.head().status == 100
        assert client.response().status == 408


def test_a_body_that_makes_progress_may_take_longer_than_the_limit() -> None:
    """The limit is on the time between reads: here every pause is far shorter, their sum longer."""
    body = b"x" * PAUSES
    with (
        serve(Echo(), **limits(body_timeout=LIMIT)) as server,
        Client(server.address) as client,
    ):
        client.send(request("/", f"Content-Length: {len(body)}", method="POST"))
        for _ in range(PAUSES):
            pause()
            client.send(b"x")
        assert client.response().body == body


def test_the_time_in_the_application_counts_for_no_limit() -> None:
    """While the application runs, a second server's timeout passes; then it answers."""
    witnessed = threading.Event()

    def slow(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        body = environ["wsgi.input"].read()
        assert witnessed.wait(TIMEOUT)
        start_response("200 OK", TEXT)
        return [body]

    short = limits(header_timeout=SOON, body_timeout=SOON, write_timeout=SOON, keepalive=SOON)
    with (
        serve(slow, **short) as server,
        serve(Echo(), **limits(keepalive=SOON)) as other,
        Client(server.address) as client,
    ):
        client.send(request("/", method="POST", body=b"patience"))
        for _ in range(2):
            with Client(other.address) as witness:
                assert witness.fetch().status == 200
                assert witness.rest() == b""
        witnessed.set()
        assert client.response().body == b"patience"


# -- the response ------------------------------------------------------------------------------


class Endless:
    """A body of `blocks`, more than any socket takes, that tells when it is closed."""

    def __init__(self, blocks: list[bytes]) -> None:
        self.blocks = blocks
        self.closes = 0
        self.closed = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return [b"still here"] if environ["PATH_INFO"] == "/fine" else self

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.blocks)

    def close(self) -> None:
        self.closes += 1
        self.closed.set()


def test_closes_on_a_client_that_does_not_take_its_response() -> None:
    app = Endless([b"x" * (1 << 20)] * 1024)
    with serve(app, **limits(write_timeout=SOON)) as server:
        with Client(server.address, receive_buffer=4096) as client:
            client.send(request())
            assert client.head().status == 200
            assert app.closed.wait(TIMEOUT)
            # What was on its way may still come; then the connection is over.
            with contextlib.suppress(ConnectionResetError):
                client.rest()
        with Client(server.address) as client:
            assert client.fetch("/fine").body == b"still here"
    assert app.closes == 1


def test_closes_on_a_client_that_stops_in_a_single_large_block() -> None:
    app = Endless([b"x" * (64 << 20)])
    with (
        serve(app, **limits(write_timeout=SOON)) as server,
        Client(server.address, receive_buffer=4096) as client,
    ):
        client.send(request())
        assert client.head().status == 200
        assert app.closed.wait(TIMEOUT)
        with contextlib.suppress(ConnectionResetError):
            client.rest()
    assert app.closes == 1


def test_gives_up_a_write_that_a_client_does_not_take() -> None:
    """`write` waits for its client, but no longer than a response does."""
    ended: list[BaseException] = []
    over = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", TEXT)
        if environ["PATH_INFO"] == "/fine":
            return [b"still here"]
        try:
            for _ in range(1024):
                write(b"x" * (1 << 20))
        except BaseException as error:
            ended.append(error)
            raise
        finally:
            over.set()
        return []

    with serve(app, **limits(write_timeout=SOON)) as server:
        with Client(server.address, receive_buffer=4096) as client:
            client.send(request())
            assert client.head().status == 200
            assert over.wait(TIMEOUT)
        with Client(server.address) as client:
            assert client.fetch("/fine").body == b"still here"
    assert [isinstance(error, OSError) for error in ended] == [True]


def test_a_client_that_takes_its_response_slowly_is_served_to_the_end() -> None:
    """Each read makes room for the next write, so the limit starts anew; the sum is longer."""
    size = 8 << 20
    step = size // PAUSES

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [b"x" * size]

    with (
        serve(app, **limits(write_timeout=LIMIT)) as server,
        Client(server.address, receive_buffer=65536) as client,
    ):
        client.send(request())
        assert client.head().get("Content-Length") == str(size)
        for taken in range(0, size, step):
            pause()
            assert client.exactly(min(step, size - taken)).count(b"x") == min(step, size - taken)
        assert client.fetch().status == 200


def test_pipelined_requests_do_not_outlive_a_client_that_takes_nothing() -> None:
    """The responses are small, the client never reads: sooner or later the server gives up."""
    with (
        serve(Echo(), **limits(write_timeout=SOON)) as server,
        Client(server.address, receive_buffer=4096) as client,
    ):
        client.socket.settimeout(TIMEOUT)
        data = request(method="POST", body=b"y" * 50_000)
        with pytest.raises((ConnectionError, BrokenPipeError)):
            for _ in range(4000):
                client.send(data)


# -- a refused client still gets its answer ----------------------------------------------------


def test_a_refusal_reaches_a_client_that_is_still_sending() -> None:
    """Closed at once, the unread input would make the system reset and drop the answer."""
    with (
        serve(Echo(), limit_request_body=100, **limits()) as server,
        Client(server.address) as client,
    ):
        client.send(request(method="POST", body=b"x" * 300_000))
        assert client.response().status == 413
        client.finish_sending()
        assert client.ended()
