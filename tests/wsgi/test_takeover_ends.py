"""A socket that is taken over: misuse, clients that leave, its end, and what is said of it.

The protocol of these tests is that of apps/taking.py.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from apps import TEXT
from apps.client import TIMEOUT, Client, request
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
    whole,
    written,
)

from fastwsgi.testing import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


# ---- misuse ----


def test_cannot_be_taken_once_the_response_has_begun() -> None:
    found: list[str] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"one"
        for use in (lambda s: s.recv(1), lambda s: s.fileno(), lambda s: s.close()):
            try:
                use(environ[KEYS[0]])
            except RuntimeError as error:
                found.append(str(error))
        yield b"two"

    with serve(app) as server, Client(server.address) as client:
        assert client.fetch("/", *UPGRADE).body == b"onetwo"
        assert client.fetch("/", *UPGRADE).body == b"onetwo"  # the connection lives on
    assert found == ["the response has begun: it is too late to take the connection over"] * 6


def test_is_taken_by_the_thread_of_the_request_and_used_by_any() -> None:
    found: list[object] = []

    def in_thread(call: Callable[[], object]) -> None:
        def run() -> None:
            try:
                found.append(call())
            except Exception as error:
                found.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(TIMEOUT)

    def use(sock: Any) -> None:
        in_thread(lambda: sock.recv(1))
        assert not sock.taken_over
        sock.sendall(READY)
        in_thread(lambda: echo(sock))

    with serve(Taking(use)) as server, Client(server.address) as client:
        client.send(ASKS)
        assert client.exactly(len(READY)) == READY
        assert client.exactly(len(READY)) == READY
        assert answers(client)
        client.finish_sending()
        assert client.rest() == b""
    first, second = found
    assert isinstance(first, RuntimeError)
    assert "another thread" in str(first)
    assert second is None


def is_closed(sock: Any) -> None:
    for use in (lambda: sock.send(b"x"), lambda: sock.recv(1), lambda: sock.getpeername()):
        with pytest.raises(OSError) as error:
            use()
        assert error.value.errno == errno.EBADF


def test_is_of_no_use_when_its_request_is_over_without_it() -> None:
    app = Taking(repr, whole, keep=True)
    with serve(app) as server, Client(server.address) as client:
        assert client.fetch("/", *UPGRADE).body == b"page"
        assert client.fetch("/plain").status == 200
        is_closed(app.kept[0])
        app.kept[0].close()
        with app.kept[0]:
            pass


def test_who_still_has_it_when_its_request_is_over_can_say_last_words() -> None:
    app = Taking(lambda sock: sock.sendall(READY), keep=True)
    with serve(app, threads=1) as server, Client(server.address) as client:
        client.send(ASKS)
        assert client.exactly(len(READY)) == READY
        with Client(server.address) as other:  # served by the same thread: the request is over
            assert other.fetch("/plain").status == 200
        (sock,) = app.kept
        sock.sendall(b"last words")
        client.send(b"and yours?")
        assert sock.recv(100) == b"and yours?"
        client.send(b"more that nobody reads")
        sock.close()
        assert client.rest() == b"last words"
        is_closed(sock)


def test_a_socket_that_is_forgotten_ends_for_the_client() -> None:
    app = Taking(lambda sock: sock.sendall(READY), keep=True)
    with serve(app, threads=1) as server, Client(server.address) as client:
        client.send(ASKS)
        assert client.exactly(len(READY)) == READY
        with Client(server.address) as other:
            assert other.fetch("/plain").status == 200
        app.kept.clear()
        assert client.rest() == b""


def test_a_socket_that_is_kept_is_shut_nevertheless() -> None:
    app = Taking(lambda sock: sock.sendall(READY), keep=True)
    with serve(app) as server, Client(server.address) as client:
        client.send(ASKS)
        assert client.rest() == READY
        (sock,) = app.kept
        assert sock.recv(1) == b""
        with pytest.raises(BrokenPipeError):
            sock.send(b"x")
    sock.close()  # the server is gone
    is_closed(sock)


def test_ends_for_the_client_when_the_application_closes_it() -> None:
    go = threading.Event()

    def use(sock: Any) -> None:
        sock.sendall(READY)
        sock.close()
        is_closed(sock)
        sock.close()
        assert sock.fileno() == -1
        assert go.wait(TIMEOUT)  # the request goes on

    app = Taking(use, whole)
    with serve(app) as server, Client(server.address) as client:
        client.send(ASKS)
        assert client.rest() == READY
        assert not app.over.is_set()
        go.set()
    assert app.results == [None]


def test_closing_it_is_a_use_as_any() -> None:
    app = Taking(lambda sock: sock.close(), whole)
    with serve(app) as server, Client(server.address) as client:
        client.send(ASKS)
        assert client.rest() == b""


def test_a_file_over_it_keeps_it_open() -> None:
    def use(sock: Any) -> None:
        with sock, sock.makefile("rwb") as file:
            sock.close()
            file.write(READY)
            file.flush()
            for line in file:
                file.write(line.upper())
                file.flush()

    with serve(Taking(use)) as server, Client(server.address) as client:
        client.send(ASKS)
        assert client.exactly(len(READY)) == READY
        assert answers(client, b"a line\n")
        client.finish_sending()
        assert client.rest() == b""


def test_the_end_of_the_request_wakes_whoever_still_reads() -> None:
    """As simple-websocket does, with a thread that reads until the end."""
    results: list[object] = []
    threads: list[threading.Thread] = []

    def use(sock: Any) -> None:
        def read() -> None:
            try:
                while data := sock.recv(100):
                    results.append(data)
                results.append("end")
            except OSError as error:
                results.append(error.errno)

        sock.sendall(READY)
        thread = threading.Thread(target=read)
        threads.append(thread)
        thread.start()

    with serve(Taking(use)) as server, Client(server.address) as client:
        client.send(ASKS)
        assert client.rest() == READY  # and the client says nothing more
        threads[0].join(TIMEOUT)
        assert not threads[0].is_alive()
    assert results == ["end"]


def test_what_is_detached_outlives_the_request() -> None:
    app = Taking(lambda sock: sock.detach(), keep=True)
    with serve(app) as server, Client(server.address) as client:
        client.send(ASKS)
        assert app.over.wait(TIMEOUT)
        with Client(server.address) as other:  # served by the same thread: the request is over
            assert other.fetch("/plain").status == 200
        is_closed(app.kept[0])
        with socket.socket(fileno=app.results[0]) as own:
            own.sendall(b"still here")
            assert client.exactly(10) == b"still here"
        assert client.ended()


def test_detaches_nothing_while_there_are_bytes_that_only_it_can_read() -> None:
    def use(sock: Any) -> bytes:
        with pytest.raises(RuntimeError, match="have not been read"):
            sock.detach()
        return sock.recv(100)  # type: ignore[no-any-return]

    app = Taking(use)
    with serve(app) as server, Client(server.address) as client:
        client.send(ASKS + b"early")
        assert client.ended()
    assert app.results == [b"early"]


# ---- clients ----


def test_a_client_that_resets_is_an_error_of_the_call() -> None:
    gone = threading.Event()

    def use(sock: Any) -> None:
        sock.sendall(READY)
        assert gone.wait(TIMEOUT)
        while True:
            sock.sendall(b"x" * 1000)
            sock.recv(1)

    app = Taking(use)
    with serve(app, threads=1) as server:
        client = Client(server.address)
        client.send(ASKS)
        client.exactly(len(READY))
        client.reset()
        gone.set()
        with Client(server.address) as other:
            assert other.fetch("/plain").status == 200
    assert isinstance(app.results[0], ConnectionError)


def test_a_client_that_is_gone_before_it_is_taken() -> None:
    gone = threading.Event()

    def use(sock: Any) -> Any:
        assert gone.wait(TIMEOUT)
        return sock.recv(100)

    app = Taking(use)
    with serve(app, threads=1) as server:
        client = Client(server.address)
        client.send(ASKS)
        client.reset()
        gone.set()
        with Client(server.address) as other:
            assert other.fetch("/plain").status == 200
    assert app.results[0] == b"" or isinstance(app.results[0], OSError)


def test_what_the_client_still_sends_does_not_cost_it_the_last_words() -> None:
    """The connection lingers: no reset overtakes what the application has said."""
    app = Taking(lambda sock: sock.sendall(READY + b"y" * 200_000))
    with serve(app) as server, Client(server.address) as client:
        client.send(ASKS)
        assert app.over.wait(TIMEOUT)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(20):
                client.send(b"z" * 10_000)
        client.finish_sending()
        assert client.rest() == READY + b"y" * 200_000


# ---- what the server says and counts ----


def test_has_a_line_in_the_access_log(tmp_path: Path) -> None:
    log = tmp_path / "access"
    form = "%(r)s %(s)s %(b)s %(B)s %(st)s %({x-a}o)s"
    with serve(Taking(after=whole), access_logfile=str(log), access_log_format=form) as server:
        for _ in range(2):
            with Client(server.address) as client:
                client.send(ASKS)
                client.finish_sending()
                assert client.rest() == READY
    line = "GET / HTTP/1.1 101 0 0 Switching Protocols -"
    assert log.read_text().splitlines() == [line] * 2


def test_leaves_no_descriptor_and_no_connection_behind() -> None:
    uses: list[Use] = [
        echo, repr, lambda sock: sock.close(), lambda sock: os.close(sock.detach()),
        lambda sock: sock.shutdown(socket.SHUT_RDWR), lambda sock: sock.dup().close(),
        lambda sock: 1 / 0,
    ]

    def visit(address: Any, use: Use, reset: bool) -> None:
        app.use = use
        client = Client(address)
        client.send(ASKS + b"early" * reset)
        if not reset:
            client.finish_sending()
            with contextlib.suppress(ConnectionResetError):
                client.rest()
        client.reset()

    app = Taking(after=whole)
    with serve(app, threads=1) as server:
        visit(server.address, echo, False)
        with Client(server.address) as client:
            client.fetch("/plain")
        before = len(os.listdir("/proc/self/fd"))
        for use in uses:
            for reset in (False, True):
                visit(server.address, use, reset)
        with Client(server.address) as client:  # one thread: all of them are over
            client.fetch("/plain")
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def wait_until(holds: Callable[[], bool]) -> None:
    """Ask until it is so: a lingering connection ends when its client's reset has arrived."""
    moment = threading.Event()
    for _ in range(400):
        if holds():
            return
        moment.wait(0.05)
    raise AssertionError("it did not come")


def test_many_at_a_time_never_read_each_other_s_bytes() -> None:
    """Sockets are closed by the end of their requests while other threads read from them."""
    mixed: list[bytes] = []
    readers: list[threading.Thread] = []

    def use(sock: Any) -> None:
        name = sock.recv(4)

        def read() -> None:
            with contextlib.suppress(OSError):
                while data := sock.recv(4):
                    if data != name:
                        mixed.append(name + data)

        thread = threading.Thread(target=read)
        readers.append(thread)
        thread.start()
        sock.sendall(name)

    def visit(n: int) -> None:
        word = b"%04d" % n
        with Client(server.address) as client:
            client.send(ASKS + word)
            if client.exactly(4) != word:
                mixed.append(word)
            with contextlib.suppress(OSError):
                for _ in range(5):
                    client.send(word)

    with serve(Taking(use), threads=8) as server:
        for start in range(0, 200, 8):
            visitors = [threading.Thread(target=visit, args=(n,)) for n in range(start, start + 8)]
            for visitor in visitors:
                visitor.start()
            for visitor in visitors:
                visitor.join(TIMEOUT)
        for thread in readers:
            thread.join(TIMEOUT)
    assert mixed == []
    assert not any(thread.is_alive() for thread in readers)


def test_a_unix_socket_can_be_taken_too(tmp_path: Path) -> None:
    app = Taking(lambda sock: (sock.family, echo(sock)))
    with serve(app, bind=f"unix:{tmp_path}/socket") as server, Client(server.address) as client:
        client.send(ASKS)
        assert client.exactly(len(READY)) == READY
        assert answers(client)
        client.finish_sending()
        assert client.rest() == b""
    assert app.results == [(socket.AF_UNIX, None)]


# ---- strict_wsgi and hooks ----


@pytest.mark.parametrize("after", [nothing, switching, written, ended])
def test_strict_wsgi_expects_no_response(after: Callable[..., Any]) -> None:
    with serve(Taking(after=after), strict_wsgi=True) as server, Client(server.address) as client:
        client.send(ASKS)
        client.finish_sending()
        assert client.rest() == READY
        assert "strict WSGI" not in "\n".join(server.log)


def test_strict_wsgi_expects_none_of_a_generator_either() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        echo(environ[KEYS[0]])
        if environ["QUERY_STRING"]:
            yield b"block"

    for target in ("/", "/?more"):
        with serve(app, strict_wsgi=True) as server, Client(server.address) as client:
            client.send(request(target, *UPGRADE))
            client.finish_sending()
            assert client.rest() == READY
            assert "strict WSGI" not in "\n".join(server.log)


def test_strict_wsgi_expects_a_response_of_a_socket_that_was_not_taken() -> None:
    with serve(Taking(repr), strict_wsgi=True) as server, Client(server.address) as client:
        assert client.fetch("/", *UPGRADE).status == 500
        assert "strict WSGI" in "\n".join(server.log)
