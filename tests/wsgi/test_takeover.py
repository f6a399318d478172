"""`gunicorn.socket`: a request that asks for an upgrade finds its socket, and may take it over.

The protocol of these tests is that of apps/taking.py.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from apps import TEXT
from apps.client import TIMEOUT, Client, request
from apps.eventually import eventually
from apps.taking import (
    ASKS,
    KEYS,
    READY,
    UPGRADE,
    Taking,
    Use,
    answers,
    echo,
    ended,
    nothing,
    switching,
    unfit,
    whole,
    written,
)

from fastwsgi.testing import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


# ---- offered ----


def test_is_there_under_both_keys_and_costs_nothing_unless_it_is_used() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        one, other = (environ[key] for key in KEYS)
        assert one is other
        assert isinstance(one, socket.socket)
        assert (one.family, one.type) == (socket.AF_INET, socket.SOCK_STREAM)
        assert not one.taken_over
        start_response("200 OK", TEXT)
        return [repr(one).encode()]

    with serve(app) as server, Client(server.address) as client:
        client.send(ASKS * 3 + request("/", *UPGRADE, method="HEAD"))
        for _ in range(3):
            assert client.response().body == b"<ClientSocket, not taken over>"
        assert client.response("HEAD").status == 200
        assert client.fetch("/", *UPGRADE).status == 200


ASKS_NOT = {
    "no fields": request(),
    "no Connection": request("/", "Upgrade: echo/1"),
    "another option": request("/", "Upgrade: echo/1", "Connection: keep-alive"),
    "a longer option": request("/", "Upgrade: echo/1", "Connection: upgrades"),
    "no Upgrade": request("/", "Connection: upgrade"),
    "HTTP/1.0": request("/", *UPGRADE, version="HTTP/1.0"),
    "a body": request("/", *UPGRADE, method="POST", body=b"x"),
    "chunks": request("/", *UPGRADE, "Transfer-Encoding: chunked", method="POST") + b"0\r\n\r\n",
}


@pytest.mark.parametrize("name", ASKS_NOT)
def test_is_not_there_for_any_other_request(name: str) -> None:
    with serve(Taking()) as server, Client(server.address) as client:
        client.send(ASKS_NOT[name])
        assert client.response().body == b"None"


@pytest.mark.parametrize("fields", [
    ("upgrade: a", "connection: UPGRADE"),
    ("Connection: a", "Upgrade: b", "Connection: b ,upgrade, c"),
    ("Connection: upgrade", "Upgrade: a", "Upgrade: b"),
    ("Content-Length: 0", *UPGRADE),
])
def test_is_there_however_the_fields_are_spelled(fields: tuple[str, ...]) -> None:
    with serve(Taking()) as server, Client(server.address) as client:
        assert client.fetch("/plain", *fields).body == b"<ClientSocket, not taken over>"


def test_is_each_request_s_own_however_its_environ_was_made() -> None:
    """Heads and environs are remembered: one of a request without the socket must not lack it."""
    with serve(Taking()) as server, Client(server.address) as client:
        for _ in range(12):
            for _ in range(6):
                assert client.fetch("/plain", *UPGRADE).body != b"None"
            for _ in range(6):
                assert client.fetch("/plain").body == b"None"


# ---- taken ----


@pytest.mark.parametrize("fields", [UPGRADE, (*UPGRADE, "Expect: 100-continue")])
def test_speaks_with_the_client_in_place_of_the_server(fields: tuple[str, ...]) -> None:
    app = Taking()
    with serve(app) as server, Client(server.address) as client:
        client.send(request("/", *fields))
        assert client.exactly(len(READY)) == READY
        assert answers(client)
        assert answers(client, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        client.finish_sending()
        assert client.rest() == b""
    assert app.results == [None]


@pytest.mark.parametrize("timeout", [None, 0.001])
def test_blocks_whatever_sockets_do_by_default(timeout: float | None) -> None:
    def use(sock: Any) -> tuple[float | None, bool]:
        found = sock.gettimeout(), os.get_blocking(sock.fileno())
        echo(sock)
        return found

    app = Taking(use)
    with serve(app) as server, Client(server.address) as client:
        socket.setdefaulttimeout(timeout)
        try:
            client.send(ASKS)
            assert client.exactly(len(READY)) == READY
            assert answers(client)
            client.finish_sending()
            assert client.rest() == b""
        finally:
            socket.setdefaulttimeout(None)
    assert app.results == [(None, True)]


def read_into(sock: Any) -> bytes:
    room = bytearray(4)
    assert sock.recv_into(room) == 4
    return bytes(room)


def read_from_into(sock: Any) -> bytes:
    room = bytearray(9)
    assert sock.recvfrom_into(room, 4) == (4, None)
    return bytes(room[:4])


def read_messages(sock: Any) -> bytes:
    rooms = bytearray(1), bytearray(3)
    assert sock.recvmsg_into(rooms)[0] == 4
    return b"".join(rooms)


def read_by_file(sock: Any) -> bytes:
    with sock.makefile("rb", buffering=0) as file:
        return file.read(4)  # type: ignore[no-any-return]


EARLY: dict[str, Use] = {
    "recv": lambda sock: sock.recv(4),
    "peek": lambda sock: sock.recv(5, socket.MSG_PEEK)[:4] and sock.recv(4),
    "recv_into": read_into,
    "recvfrom": lambda sock: sock.recvfrom(4)[0],
    "recvfrom_into": read_from_into,
    "recvmsg": lambda sock: sock.recvmsg(4)[0],
    "recvmsg_into": read_messages,
    "makefile": read_by_file,
}


@pytest.mark.parametrize("how", EARLY)
def test_first_reads_what_came_behind_the_request(how: str) -> None:
    def use(sock: Any) -> bytes:
        first = EARLY[how](sock)
        assert sock.recv(100) == b"er"
        assert sock.recv(100, socket.MSG_PEEK) == b"late"
        assert EARLY[how](sock) == b"late"
        return first  # type: ignore[no-any-return]

    app = Taking(use)
    sent = threading.Event()

    def gated(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        sock = environ[KEYS[0]]
        assert not sock.taken_over
        sent.set()
        return app(environ, start_response)

    with serve(gated) as server, Client(server.address) as client:
        client.send(ASKS + b"earlier"[:4] + b"er")
        assert sent.wait(TIMEOUT)
        client.send(b"late")
        assert app.over.wait(TIMEOUT)
        assert client.ended()
    assert app.results == [b"earl"] or app.results == [b"late"]


def test_reads_on_behind_it_if_asked_for_all() -> None:
    app = Taking(lambda sock: sock.recv(10, socket.MSG_WAITALL))
    with serve(app) as server, Client(server.address) as client:
        client.send(ASKS + b"early")
        client.send(b"later")
        assert client.ended()
    assert app.results == [b"earlylater"]


def test_comes_behind_the_responses_to_earlier_requests(tmp_path: Path) -> None:
    large = b"x" * 3_000_000

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        if environ["PATH_INFO"] == "/small":
            start_response("200 OK", TEXT)
            return [b"small"]
        if environ["PATH_INFO"] == "/large":
            start_response("200 OK", TEXT)
            return iter([large])
        environ["wsgi.early_hints"]([("Link", "<a>")])
        echo(environ[KEYS[0]])
        environ["wsgi.early_hints"]([("Link", "<b>")])  # nothing
        return []

    pipeline = request("/small") * 3 + request("/large") + request("/small") + ASKS
    for bind in ("127.0.0.1:0", f"unix:{tmp_path}/socket"):
        with serve(app, bind=bind, threads=2) as server, Client(server.address) as client:
            client.send(pipeline)
            bodies = [client.response().body for _ in range(5)]
            assert bodies == [b"small"] * 3 + [large, b"small"]
            assert client.response().status == 103
            assert client.exactly(len(READY)) == READY
            assert answers(client)
            client.finish_sending()
            assert client.rest() == b""


# ---- the response that follows ----


class Body:
    """An iterable that counts what is asked of it."""

    def __init__(self) -> None:
        self.asked = self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.asked += 1
        return b"block"

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("after", [whole, written, switching, nothing, unfit, ended])
def test_drops_the_response_that_follows_without_a_word(after: Callable[..., Any]) -> None:
    with serve(Taking(after=after)) as server, Client(server.address) as client:
        client.send(ASKS)
        client.finish_sending()
        assert client.rest() == READY
        assert "ERROR" not in "\n".join(server.log)


def test_closes_the_iterable_that_follows_once_and_asks_it_for_nothing() -> None:
    body = Body()
    app = Taking(after=lambda environ, start_response: body)
    with serve(app) as server, Client(server.address) as client:
        client.send(ASKS)
        client.finish_sending()
        assert client.rest() == READY
    assert (body.asked, body.closed) == (0, 1)


def test_may_be_taken_in_a_generator_which_is_asked_no_further() -> None:
    seen = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        try:
            start_response("200 OK", TEXT)
            yield b""
            echo(environ[KEYS[0]])
            seen.append("taken")
            yield b"block"
            seen.append("asked")
        finally:
            seen.append("closed")

    with serve(app) as server, Client(server.address) as client:
        client.send(ASKS)
        client.finish_sending()
        assert client.rest() == READY
    assert seen == ["taken", "closed"]


def test_reports_what_the_application_raises_and_answers_nothing() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        environ[KEYS[0]].sendall(READY)
        raise LookupError("lost the thread")

    with serve(app) as server, Client(server.address) as client:
        client.send(ASKS)
        assert client.rest() == READY
        eventually(lambda: "\n".join(server.log), lambda text: "lost the thread" in text)


def test_stop_iteration_is_an_error_as_any_without_it() -> None:
    with serve(ended) as server, Client(server.address) as client:
        assert client.fetch("/", *UPGRADE).status == 500
        assert "StopIteration" in "\n".join(server.log)
