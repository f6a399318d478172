"""What an application does wrong, and what the client then sees: right framing, never a lie.

Rule: a fault of the application costs its own request, at most its connection; the next request
is served.  Each fault leaves a line in the error log that says what was wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from apps import TEXT
from apps.client import Client, Response, request

from fastwsgi.testing import Server, serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def beside_a_good_one(faulty: Callable[..., Any]) -> WSGIApplication:
    """The faulty application, but `/fine` is answered properly."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/fine":
            return faulty(environ, start_response)  # type: ignore[no-any-return]
        start_response("200 OK", TEXT)
        return [b"fine"]

    return app


def log_after(server: Server) -> str:
    """The error log once a further request was served, so that no line is still to come."""
    with Client(server.address) as client:
        assert client.fetch("/fine").body == b"fine"
    return "\n".join(server.log)


def refused(faulty: Callable[..., Any]) -> tuple[Response, str]:
    """The 500 that the faulty application earns, and the error log."""
    with serve(beside_a_good_one(faulty)) as server:
        with Client(server.address) as client:
            response = client.fetch("/faulty")
            assert response.status == 500
            assert response.get("Content-Type") is not None
            if response.closes:
                assert client.ended()
            else:
                assert client.fetch("/fine").body == b"fine"
        return response, log_after(server)


# -- Content-Length that does not hold: RFC 9112 6.2 -------------------------------------------

LONG = {
    "list": lambda: [b"12345", b"67890"],
    "one block": lambda: [b"1234567890"],
    "generator": lambda: iter([b"12345", b"67890", b"more"]),
    "block behind the end": lambda: iter([b"1234567", b"890"]),
}


@pytest.mark.parametrize("body", LONG.values(), ids=LONG.keys())
def test_cuts_a_body_at_its_content_length(body: Callable[[], Iterable[bytes]]) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [*TEXT, ("Content-Length", "7")])
        return body()

    with serve(beside_a_good_one(app)) as server:
        with Client(server.address) as client:
            client.send(request() + request("/fine", "Connection: close"))
            assert client.response().body == b"1234567"
            # The connection may end here, or go on; what was cut off is not sent behind.
            rest = client.rest()
            assert rest == b"" or rest.startswith(b"HTTP/1.1 200 OK\r\n")
        assert "content-length" in log_after(server).lower()


def test_cuts_what_is_written_at_the_content_length() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [*TEXT, ("Content-Length", "7")])
        write(b"12345")
        write(b"67890")
        return [b"more"]

    with serve(beside_a_good_one(app)) as server:
        with Client(server.address) as client:
            client.send(request())
            assert client.response().body == b"1234567"
        assert "content-length" in log_after(server).lower()


SHORT = {
    "list": lambda: [b"123", b"45"],
    "generator": lambda: iter([b"123", b"45"]),
    "nothing": list,
}


@pytest.mark.parametrize("body", SHORT.values(), ids=SHORT.keys())
def test_closes_behind_a_body_shorter_than_its_content_length(
    body: Callable[[], Iterable[bytes]],
) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [*TEXT, ("Content-Length", "7")])
        return body()

    with serve(beside_a_good_one(app)) as server:
        with Client(server.address) as client:
            client.send(request())
            response = client.head()
            # Either the client learns of the fault at once or it sees fewer bytes than announced.
            if response.status == 200:
                assert response.get("Content-Length") == "7"
                assert client.rest() == b"".join(body())
            else:
                assert response.status == 500
        assert "content-length" in log_after(server).lower()


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_drops_the_body_of_a_status_that_has_none(status: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response(status, [("X-Seen", "yes")])
        return [b"a body that must not be sent"]

    with serve(beside_a_good_one(app)) as server, Client(server.address) as client:
        client.send(request() + request("/fine"))
        assert client.response().get("X-Seen") == "yes"
        assert client.response().body == b"fine"


# -- exceptions that are more than errors ------------------------------------------------------


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
@pytest.mark.parametrize("where", ["call", "iteration", "close"])
def test_no_exception_ends_the_worker(kind: type[BaseException], where: str) -> None:
    class Raising:
        def __iter__(self) -> Iterator[bytes]:
            if where == "iteration":
                raise kind("from the application")
            yield b"whole"

        def close(self) -> None:
            if where == "close":
                raise kind("from the application")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if where == "call":
            raise kind("from the application")
        start_response("200 OK", TEXT)
        return Raising()

    with serve(beside_a_good_one(app)) as server:
        for _ in range(2):
            with Client(server.address) as client:
                client.send(request())
                assert client.head().status == (200 if where == "close" else 500)
        assert kind.__name__ in log_after(server)


# -- a head that must not be sent: RFC 9110 5.5, 5.6.2; RFC 9112 4 -----------------------------

FIELDS: dict[str, Any] = {
    "CRLF in a value": ("X-Bad", "a\r\nX-Injected: yes"),
    "LF in a value": ("X-Bad", "a\nX-Injected: yes"),
    "CR in a value": ("X-Bad", "a\rX-Injected: yes"),
    "NUL in a value": ("X-Bad", "a\0b"),
    "CRLF at the end of a value": ("X-Bad", "X-Injected\r\n"),
    "CRLF in a name": ("X-Bad\r\nX-Injected", "yes"),
    "space in a name": ("X Injected", "yes"),
    "colon in a name": ("X-Injected: yes, X", "yes"),
    "empty name": ("", "X-Injected"),
    "name outside Latin-1": ("X-Injected\u20ac", "yes"),
    "name outside ASCII": ("X-Injected\xe9", "yes"),
    "value outside Latin-1": ("X-Injected", "\u20ac"),
    "lone surrogate in a value": ("X-Injected", "\udcff"),
    "bytes as a name": (b"X-Injected", "yes"),
    "bytes as a value": ("X-Injected", b"yes"),
    "number as a value": ("X-Injected", 1),
    "None as a value": ("X-Injected", None),
    "one item": ("X-Injected",),
    "three items": ("X-Injected", "yes", "no"),
    "no pair": "X-Injected",
    "no sequence": 1,
}


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
def test_refuses_a_field_that_is_none(field: Any) -> None:
    def app(environ: WSGIEnvironment, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Before", "injected"), field])
        return [b"injected"]

    response, log = refused(app)
    sent = repr(response).lower()
    assert "inject" not in sent
    assert "Traceback" in log or "header" in log.lower()


STATUSES: dict[str, Any] = {
    "CRLF": "200 OK\r\nX-Injected: yes",
    "LF": "200 OK\nX-Injected: yes",
    "NUL": "200 O\0K",
    "two digits": "99 X",
    "four digits": "2000 OK",
    "no digits": "OK",
    "informational": "100 Continue",
    "switching protocols": "101 Switching Protocols",
    "past 599": "600 X",
    "letters": "2OO OK",
    "other digits": "\u0662\u0660\u0660 OK",
    "leading space": " 200 OK",
    "sign": "+20 OK",
    "no space": "200OK",
    "empty": "",
    "outside Latin-1": "200 \u20ac",
    "bytes": b"200 OK",
    "number": 200,
    "None": None,
}


@pytest.mark.parametrize("status", STATUSES.values(), ids=STATUSES.keys())
def test_refuses_a_status_that_is_none(status: Any) -> None:
    def app(environ: WSGIEnvironment, start_response: Any) -> list[bytes]:
        start_response(status, [*TEXT, ("X-Before", "injected")])
        return [b"injected"]

    response, log = refused(app)
    assert "inject" not in repr(response).lower()
    assert "Traceback" in log or "status" in log.lower()


def test_refuses_headers_that_are_no_list() -> None:
    def app(environ: WSGIEnvironment, start_response: Any) -> list[bytes]:
        start_response("200 OK", None)
        return [b"never"]

    refused(app)


@pytest.mark.parametrize("length", ["-1", "+5", "five", "1_0", "5, 5", "", "0x5", "9" * 30])
def test_refuses_a_content_length_that_is_no_number(length: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [*TEXT, ("Content-Length", length)])
        return [b"hello"]

    refused(app)


def test_keeps_what_latin1_can_say() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 Tr\xe8s bien", [*TEXT, ("X-Name", "J\xfcrgen\tM."), ("X-Empty", "")])
        return [b"fine"]

    with serve(app) as server, Client(server.address) as client:
        response = client.fetch()
        assert response.reason == "Tr\xe8s bien"
        assert response.get("X-Name") == "J\xfcrgen\tM."
        assert response.get("X-Empty") == ""


# -- a body that is none -----------------------------------------------------------------------

BODIES: dict[str, tuple[Any, str]] = {
    "bytes": (b"a body", "bytes"),
    "str": ("a body", "str"),
    "None": (None, "None"),
    "number": (7, "int"),
    "list of str": (["a body"], "str"),
    "list of numbers": ([1, 2], "int"),
    "list of None": ([None], "None"),
    "list of bytearray": ([bytearray(b"a body")], "bytearray"),
    "list of memoryview": ([memoryview(b"a body")], "memoryview"),
    "tuple of str": (("a body",), "str"),
    "dict": ({"a": "body"}, "str"),
    "empty str": ("", "str"),
    "empty bytes": (b"", "bytes"),
}


@pytest.mark.parametrize(("body", "named"), BODIES.values(), ids=BODIES.keys())
def test_refuses_a_body_that_is_no_iterable_of_bytes(body: Any, named: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        start_response("200 OK", TEXT)
        return body

    _, log = refused(app)
    assert named in log, "the log says what it got"
    assert "bytes" in log or "iterable" in log, "and what it wants"


def test_says_of_a_body_that_is_one_string_what_the_pep_wants() -> None:
    """bytes are iterable, but into numbers: the commonest mistake deserves the clearest line."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        start_response("200 OK", TEXT)
        return b"a body"

    _, log = refused(app)
    assert "PEP 3333" in log


@pytest.mark.parametrize("block", ["text", 7, None, bytearray(b"x")], ids=repr)
def test_refuses_to_write_anything_but_bytes(block: Any) -> None:
    def app(environ: WSGIEnvironment, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)(block)
        return []

    _, log = refused(app)
    assert "bytes" in log


@pytest.mark.parametrize("block", ["text", 7, None], ids=repr)
def test_cuts_the_response_at_a_late_block_that_is_no_bytes(block: Any) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[Any]:
        start_response("200 OK", TEXT)
        yield b"begun"
        yield block

    with serve(beside_a_good_one(app)) as server:
        with Client(server.address) as client:
            client.send(request())
            assert client.head().status == 200
            assert client.chunk() == b"begun"
            assert client.ended()
        assert type(block).__name__ in log_after(server)


def test_a_list_with_a_late_block_that_is_no_bytes_is_never_a_whole_response() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        start_response("200 OK", TEXT)
        return [b"begun", "text"]

    with serve(beside_a_good_one(app)) as server:
        with Client(server.address) as client:
            client.send(request())
            response = client.head()
            if response.status == 200:  # the head had left with the first block
                assert b"0\r\n\r\n" not in client.rest()
            else:
                assert response.status == 500
        assert "str" in log_after(server)


def test_a_subclass_of_bytes_is_bytes() -> None:
    class Block(bytes):
        pass

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [Block(b"a "), Block(b"block")]

    with serve(app) as server, Client(server.address) as client:
        assert client.fetch().body == b"a block"


def test_an_application_that_never_starts_its_response_is_a_500() -> None:
    for returned in ([b"a body"], [], iter([b"a body"]), iter([])):
        refused(lambda environ, start_response, returned=returned: returned)


# -- hop-by-hop fields: RFC 9110 7.6.1 ---------------------------------------------------------


REQUIRED = [("407 Proxy Authentication Required", "Proxy-Authenticate", 'Basic realm="a"'),
            ("426 Upgrade Required", "Upgrade", "HTTP/2.0, TLS/1.2")]


@pytest.mark.parametrize(("status", "name", "value"), REQUIRED)
def test_keeps_the_hop_by_hop_field_that_a_status_must_have(
    status: str, name: str, value: str,
) -> None:
    """RFC 9110 15.5.8 and 15.5.22; in any other response it is dropped as before."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        right = environ["PATH_INFO"] == "/right"
        start_response(status if right else "401 Unauthorized", [*TEXT, (name, value), ("X", "y")])
        return [b"no"]

    with serve(app, strict_wsgi=True) as server, Client(server.address) as client:
        for _ in range(2):
            response = client.fetch("/right")
            assert response.status == int(status[:3])
            assert response.get(name) == value
            assert response.get("X") == "y"
            assert response.get("Connection") == ("upgrade" if name == "Upgrade" else None)
        assert server.log == []
        response = client.fetch("/wrong")
        assert response.get(name) is None
        assert response.get("Connection") is None
        assert any(name in line and "hop-by-hop" in line for line in server.log)


def test_drops_hop_by_hop_fields_and_says_so_once() -> None:
    fields = [
        ("Connection", "keep-alive"),
        ("Keep-Alive", "timeout=1"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "websocket"),
        ("X-Kept", "yes"),
    ]

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [*TEXT, *fields])
        return [b"fine"]

    with serve(app) as server:
        with Client(server.address) as client:
            for _ in range(3):
                response = client.fetch("/fine")
                assert response.body == b"fine"
                assert response.get("X-Kept") == "yes"
                assert response.get("Content-Length") == "4"
                for name in ("Keep-Alive", "Transfer-Encoding", "Upgrade"):
                    assert response.get(name) is None
                assert (response.get("Connection") or "keep-alive").lower() == "keep-alive"
        log = log_after(server).lower()
        assert log.count("keep-alive") >= 1
        assert log.count("upgrade") == 1
