"""`wsgi.early_hints`: a 103 ahead of the response, never where it would be taken for it.

Rule: that something is sent at once is proven by reading it while the application waits for the
test.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from apps import TEXT
from apps.client import TIMEOUT, Client, request

from fastwsgi.testing import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

KEY = "wsgi.early_hints"
LINK = ("Link", "</style.css>; rel=preload; as=style")
SCRIPT = ("Link", "</app.js>; rel=preload; as=script")
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n"


def hinting(*calls: Any, body: bytes = b"page") -> Callable[..., Iterable[bytes]]:
    """An application that gives these hints, one call each, and then answers."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for fields in calls:
            environ[KEY](fields)
        start_response("200 OK", TEXT)
        return [body]

    return app


def catching(use: Callable[[WSGIEnvironment], object]) -> Callable[..., Iterable[bytes]]:
    """An application that answers with the exception that *use* raises."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            use(environ)
            found = "nothing"
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        start_response("200 OK", TEXT)
        return [found.encode()]

    return app


def seen(app: Any, data: bytes = request(), **settings: Any) -> bytes:
    """All bytes that a client gets for *data*, whose last request closes."""
    with serve(app, **settings) as server, Client(server.address) as client:
        client.send(data)
        return client.rest()


LAST = request("/", "Connection: close")


def test_is_sent_before_the_response_is_begun() -> None:
    go = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEY]([LINK])
        assert go.wait(TIMEOUT)
        start_response("200 OK", TEXT)
        return [b"page"]

    with serve(app) as server, Client(server.address) as client:
        client.send(request())
        assert client.exactly(len(HINTS)) == HINTS
        go.set()
        assert client.response().body == b"page"
        client.send(request())  # and the connection lives on
        assert [client.response().status for _ in range(2)] == [103, 200]


def test_may_be_called_again_and_with_several_fields() -> None:
    data = seen(hinting([LINK], [LINK, SCRIPT], (SCRIPT,)), LAST)
    first, second, third, rest = data.split(b"\r\n\r\n", 3)
    assert first + b"\r\n\r\n" == HINTS
    assert second.count(b"Link: ") == 2
    assert third.endswith(b"</app.js>; rel=preload; as=script")
    assert rest.startswith(b"HTTP/1.1 200 OK")


def test_comes_between_start_response_and_the_head() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        environ[KEY]([LINK])
        yield b"page"
        environ[KEY]([LINK])  # too late: nothing

    data = seen(app, LAST)
    assert data.startswith(HINTS + b"HTTP/1.1 200 OK\r\n")
    assert data.count(b"103") == 1


def test_is_nothing_after_write() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)(b"page")
        environ[KEY]([LINK])
        return []

    assert b"103" not in seen(app, LAST)


@pytest.mark.parametrize("calls", [([],), ((),)], ids=["list", "tuple"])
def test_sends_nothing_for_no_fields(calls: Any) -> None:
    assert seen(hinting(*calls), LAST).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("fields", [(), ("Connection: keep-alive",)], ids=["plain", "keep-alive"])
def test_is_nothing_for_http_1_0(fields: tuple[str, ...]) -> None:
    with serve(hinting([LINK])) as server, Client(server.address) as client:
        assert client.fetch("/", *fields, version="HTTP/1.0").status == 200


def test_keeps_the_order_of_pipelined_responses() -> None:
    names = [f"/{n}" for n in range(20)]

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = environ["PATH_INFO"]
        environ[KEY]([("Link", f"<{name}>")])
        start_response("200 OK", TEXT)
        return [name.encode()]

    with serve(app) as server, Client(server.address) as client:
        client.send(b"".join(map(request, names)))
        for name in names:
            hints, response = client.response(), client.response()
            assert (hints.status, hints.fields) == (103, [("Link", f"<{name}>")])
            assert (response.status, response.body) == (200, name.encode())


def test_is_sent_for_head_and_with_a_body() -> None:
    with serve(hinting([LINK])) as server, Client(server.address) as client:
        client.send(request(method="HEAD"))
        assert [client.response("HEAD").status for _ in range(2)] == [103, 200]
        client.send(request(method="POST", body=b"x"))
        assert [client.response().status for _ in range(2)] == [103, 200]


BAD = {
    "line end": ([LINK, ("Link", "a\r\nSet-Cookie: b")],
                 "ValueError: control character in the value of header Link: character 2 of 16"),
    "null": ([("Link", "a\0")], "ValueError: control character in the value of header Link"),
    "name": ([("Li nk", "a")], "ValueError: invalid header name: 'Li', then character 3 of 5"),
    "empty name": ([("", "a")], "ValueError: invalid header name: it is empty"),
    "bytes": ([(b"Link", b"a")], "TypeError: header 1: name and value must be str in Latin-1, not"),
    "beyond": ([("Link", "\u20ac")], "TypeError: header 1: name and value must be str in Latin-1"),
    "no pair": (["Link"], "TypeError: header 1 must be a (name, value) tuple"),
    "no list": (7, "TypeError: 'int' object is not iterable"),
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_what_a_response_head_may_not_have_and_sends_nothing_of_it(name: str) -> None:
    fields, message = BAD[name]
    data = seen(catching(lambda environ: environ[KEY](fields)), LAST)
    assert data.startswith(b"HTTP/1.1 200 OK")
    assert message in data.decode()


def test_leaves_out_what_an_interim_response_may_not_have() -> None:
    fields = [("Content-Length", "5"), ("Transfer-Encoding", "chunked"), ("Connection", "close")]
    assert seen(hinting([*fields, LINK]), LAST).startswith(HINTS + b"HTTP/1.1 200 OK")


def test_an_error_after_it_is_still_answered() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEY]([LINK])
        raise LookupError("lost")

    data = seen(app, LAST)
    assert data.startswith(HINTS + b"HTTP/1.1 500 ")


def test_belongs_to_the_thread_of_the_request() -> None:
    found: list[str] = []

    def elsewhere(environ: WSGIEnvironment) -> None:
        def call() -> None:
            try:
                environ[KEY]([LINK])
            except RuntimeError as error:
                found.append(str(error))

        thread = threading.Thread(target=call)
        thread.start()
        thread.join(TIMEOUT)

    assert seen(catching(elsewhere), LAST).startswith(b"HTTP/1.1 200")
    assert found == ["wsgi.early_hints called in another thread than the one that runs the request"]


def test_kept_beyond_its_request_it_is_refused() -> None:
    kept: list[Any] = []
    with serve(hinting(), threads=1) as server, Client(server.address) as client:
        def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            kept.append(environ[KEY])
            start_response("200 OK", TEXT)
            return [b""]

        assert client.fetch().status == 200
        with serve(app) as other, Client(other.address) as second:
            assert second.fetch().status == 200
    with pytest.raises(RuntimeError, match="another thread"):
        kept[0]([LINK])


def test_does_not_wait_for_a_client_that_is_gone() -> None:
    went = threading.Event()
    done = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        assert went.wait(TIMEOUT)
        for _ in range(2000):
            environ[KEY]([("Link", "x" * 4000)])
        done.set()
        start_response("200 OK", TEXT)
        return [b""]

    with serve(app) as server:
        client = Client(server.address)
        client.send(request())
        client.reset()
        went.set()
        assert done.wait(TIMEOUT)


@pytest.mark.parametrize("reads", [True, False])
def test_endless_hints_wait_for_a_client_that_does_not_read(tmp_path: Path, reads: bool) -> None:
    """Until it reads, or is given up; a unix socket takes little that is not read."""
    count = 200
    left: list[int] = []
    over = threading.Event()
    begun = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for number in range(count):
            environ[KEY]([("Link", "x" * 60000)])
            left.append(number)
            begun.set()
        over.set()
        start_response("200 OK", TEXT)
        return [b"page"]

    settings = {} if reads else {"write_timeout": 1}
    with (
        serve(app, bind=f"unix:{tmp_path}/socket", **settings) as server,
        Client(server.address) as client,
    ):
        client.send(LAST)
        assert begun.wait(TIMEOUT)
        if reads:
            assert [client.response().status for _ in range(count)] == [103] * count
            assert client.response().body == b"page"
        else:
            assert over.wait(TIMEOUT)
            assert len(client.rest()) < 100 * 60000
    assert len(left) == count


def test_is_there_when_environs_are_remembered() -> None:
    """Whatever an environ was copied from, a call belongs to the request at hand."""
    with serve(hinting([LINK]), threads=4) as server:
        clients = [Client(server.address) for _ in range(8)]
        for _ in range(12):
            for client in clients:
                client.send(request())
            for client in clients:
                assert client.exactly(len(HINTS)) == HINTS
                assert client.response().body == b"page"
        for client in clients:
            client.close()

