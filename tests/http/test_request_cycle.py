"""One request after the other over one connection: framing in, framing out, and what persists.

Rule: the client reads exactly what was framed, so anything sent too much or too little shows in
the next response.  RFC 9112 decides on framing and persistence, RFC 9110 on HEAD and Expect.
What the application's iterable may do is in test_streaming.py and test_iterable_close.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest
from apps import TEXT
from apps.client import Client, Response, chunked, request

from fastwsgi.testing import Server, serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answers with what came; the first path segment says how the answer is framed.

    /list: one list, so the server computes its length.  /length: a generator with a
    Content-Length.  /blocks: a generator without one.  /close: a list, and the application
    asks for the connection to be closed.  /204 and /304: these statuses and no body.
    """
    body = environ["wsgi.input"].read()
    said = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} ".encode()
    kind = environ["PATH_INFO"].split("/")[1]
    headers = [*TEXT, ("X-Content-Length", environ.get("CONTENT_LENGTH", "absent"))]
    if kind in ("204", "304"):
        start_response(f"{kind} Nothing", headers[1:])
        return []
    if kind == "length":
        headers.append(("Content-Length", str(len(said) + len(body))))
    if kind == "close":
        headers.append(("Connection", "close"))
    start_response("200 OK", headers)
    blocks = [said, body]
    return iter(blocks) if kind in ("length", "blocks") else blocks


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of `echo` that keeps bodies past 1,000 bytes in a file."""
    with serve(echo, body_memory=1000) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A connection to it."""
    with Client(server.address) as connected:
        yield connected


# -- persistence: RFC 9112 9.3 ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["list", "length", "blocks", "204", "304"])
def test_http11_keeps_the_connection(client: Client, kind: str) -> None:
    for number in range(3):
        response = client.fetch(f"/{kind}/{number}")
        assert not response.closes
        if kind in ("204", "304"):
            assert response.status == int(kind)
        else:
            assert response.body == f"GET /{kind}/{number} ".encode()


@pytest.mark.parametrize("kind", ["list", "length", "blocks", "204"])
@pytest.mark.parametrize(
    "field", ["Connection: close", "connection: Close", "Connection: x, close"]
)
def test_http11_closes_when_the_client_asks(client: Client, kind: str, field: str) -> None:
    assert client.fetch(f"/{kind}", field).closes
    assert client.ended()


def test_closes_when_the_application_asks(client: Client) -> None:
    response = client.fetch("/close")
    assert response.closes
    assert response.body == b"GET /close "
    assert client.ended()


@pytest.mark.parametrize("kind", ["list", "length", "blocks", "204"])
def test_http10_closes(client: Client, kind: str) -> None:
    response = client.fetch(f"/{kind}", version="HTTP/1.0")
    assert not response.chunked
    assert response.body == (b"" if kind == "204" else f"GET /{kind} ".encode())
    assert client.ended()


@pytest.mark.parametrize("kind", ["list", "length"])
def test_http10_keeps_the_connection_when_asked_and_the_length_is_known(
    client: Client, kind: str
) -> None:
    for number in range(3):
        response = client.fetch(f"/{kind}/{number}", "Connection: keep-alive", version="HTTP/1.0")
        assert (response.get("Connection") or "").lower() == "keep-alive"
        assert response.body == f"GET /{kind}/{number} ".encode()


def test_http10_closes_when_the_length_is_not_known(client: Client) -> None:
    response = client.fetch("/blocks", "Connection: keep-alive", version="HTTP/1.0")
    assert not response.chunked
    assert response.closes
    assert response.body == b"GET /blocks "
    assert client.ended()


def test_a_half_closed_client_still_gets_its_response(client: Client) -> None:
    client.send(request("/list"))
    client.finish_sending()
    assert client.response().body == b"GET /list "
    assert client.ended()


# -- pipelining: RFC 9112 9.3.2 ---------------------------------------------------------------


def test_answers_pipelined_requests_in_order(client: Client) -> None:
    kinds = ["list", "length", "blocks", "204", "304"] * 20
    client.send(b"".join(request(f"/{kind}/{at}") for at, kind in enumerate(kinds)))
    for at, kind in enumerate(kinds):
        response = client.response()
        if kind in ("204", "304"):
            assert response.status == int(kind)
        else:
            assert response.body == f"GET /{kind}/{at} ".encode()
    assert client.fetch("/list").status == 200


def test_takes_bodies_apart_from_pipelined_requests(client: Client) -> None:
    bodies = [b"", b"one", request("/not/a/request"), b"x" * 5000, b"\r\n\r\n", b"0\r\n\r\n"]
    data = b""
    for body in bodies:
        data += request("/list", method="POST", body=body)
        data += request("/list", "Transfer-Encoding: chunked", method="PUT")
        data += chunked(body) if body else chunked()
    client.send(data)
    for body in bodies:
        assert client.response().body == b"POST /list " + body
        assert client.response().body == b"PUT /list " + body


def test_a_pipeline_cut_into_single_bytes_is_the_same_pipeline(client: Client) -> None:
    data = request("/list", method="POST", body=b"body") + request("/blocks")
    data += request("/length", "Transfer-Encoding: chunked", method="POST") + chunked(b"a", b"bc")
    for at in range(len(data)):
        client.send(data[at : at + 1])
    assert client.response().body == b"POST /list body"
    assert client.response().body == b"GET /blocks "
    assert client.response().body == b"POST /length abc"


@pytest.mark.parametrize(
    "closing",
    [request("/list", "Connection: close"), request("/close"), request(version="HTTP/1.0")],
    ids=["client asks", "application asks", "HTTP/1.0"],
)
def test_answers_nothing_behind_a_close(client: Client, closing: bytes) -> None:
    client.send(request("/list/first") + closing + request("/list/never"))
    assert client.response().body == b"GET /list/first "
    assert b"never" not in client.rest()


def test_a_pipeline_longer_than_any_buffer_loses_no_request(client: Client) -> None:
    """The client reads only when all is sent, so responses and requests pile up on both sides."""
    count = 2000
    client.send(b"".join(request(f"/list/{at}") for at in range(count)))
    for at in range(count):
        assert client.response().body == f"GET /list/{at} ".encode()


# -- bodies in: RFC 9112 6 and 7.1 -------------------------------------------------------------

SIZES = [0, 1, 999, 1000, 1001, 4096, 65535, 65536, 65537, 1_000_003]


def content(size: int) -> bytes:
    """Bytes of that number in which no piece looks like another."""
    out = bytearray()
    while len(out) < size:
        out += hashlib.sha256(str(len(out)).encode()).digest()
    return bytes(out[:size])


@pytest.mark.parametrize("size", SIZES)
def test_reads_a_body_of_known_length(client: Client, size: int) -> None:
    body = content(size)
    response = client.fetch("/list", method="POST", body=body)
    assert response.get("X-Content-Length") == str(size)
    assert response.body == b"POST /list " + body
    assert client.fetch("/list").body == b"GET /list "


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [7, 1000, 300_000], ids=lambda step: f"chunks of {step}")
def test_reads_a_chunked_body_and_says_its_length(client: Client, size: int, step: int) -> None:
    step = max(step, size // 1000)
    body = content(size)
    pieces = [body[at : at + step] for at in range(0, size, step)]
    client.send(request("/list", "Transfer-Encoding: chunked", method="POST") + chunked(*pieces))
    response = client.response()
    assert response.get("X-Content-Length") == str(size)
    assert response.body == b"POST /list " + body
    assert client.fetch("/list").body == b"GET /list "


@pytest.mark.parametrize("memory", [0, 1, 4096, 40_000, 65_536, 1 << 20])
def test_reads_a_body_that_outgrows_memory_on_its_way(memory: int) -> None:
    """Around the mark: the body is in memory, just fits, or moves to a file when it has begun."""
    with serve(echo, body_memory=memory) as server, Client(server.address) as client:
        for size in (memory - 1, memory, memory + 1, memory + 70_000, 2 * memory + 500_000):
            body = content(max(size, 0))
            assert client.fetch("/list", method="POST", body=body).body == b"POST /list " + body
            client.send(request("/list", "Transfer-Encoding: chunked", method="POST"))
            client.send(chunked(body[:100], body[100:]) if body[100:] else chunked(b"short"))
            assert client.response().body == b"POST /list " + (body if body[100:] else b"short")


def test_reads_a_body_that_comes_in_parts(client: Client) -> None:
    """Each part is on its way alone: the server must have polled for the next one."""
    body = content(3000)
    client.send(request("/list", f"Content-Length: {len(body)}", method="POST"))
    for at in range(0, len(body), 100):
        client.send(body[at : at + 100])
    assert client.response().body == b"POST /list " + body


def test_ignores_chunk_extensions_and_trailers(client: Client) -> None:
    client.send(
        request("/list", "Transfer-Encoding: chunked", method="POST")
        + b'4;name=value;quoted="x y"\r\nbody\r\n0;last\r\nX-Content-Length: 99\r\n\r\n'
    )
    response = client.response()
    assert response.get("X-Content-Length") == "4"
    assert response.body == b"POST /list body"


def test_a_request_without_a_body_has_none(client: Client) -> None:
    for method in ("GET", "DELETE", "POST"):
        response = client.fetch("/list", method=method)
        assert response.get("X-Content-Length") == "absent"
        assert response.body == f"{method} /list ".encode()


def test_a_body_that_nobody_reads_does_not_become_a_request() -> None:
    def deaf(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [environ["REQUEST_METHOD"].encode()]

    smuggled = request("/smuggled") * 100
    with serve(deaf, body_memory=1000) as server, Client(server.address) as client:
        for body in (b"small", smuggled):
            client.send(request(method="POST", body=body) + request())
            assert client.response().body == b"POST"
            assert client.response().body == b"GET"


def test_an_unfinished_body_never_reaches_the_application() -> None:
    seen: list[str] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", TEXT)
        return [environ["wsgi.input"].read()]

    with serve(app, body_memory=1000) as server:
        for framing, sent in [
            ("Content-Length: 10000", b"x" * 20),
            ("Content-Length: 10000", b"x" * 5000),
            ("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
            ("Transfer-Encoding: chunked", b"2000\r\n" + b"x" * 5000),
        ]:
            with Client(server.address) as client:
                client.send(request("/unfinished", framing, method="POST") + sent)
                client.finish_sending()
                client.rest()
        with Client(server.address) as client:
            assert client.fetch("/list").status == 200
    assert seen == ["/list"]


# -- bodies out --------------------------------------------------------------------------------


def test_computes_the_length_of_a_list(client: Client) -> None:
    response = client.fetch("/list")
    assert not response.chunked
    assert response.get("Content-Length") == str(len(b"GET /list "))


def test_sends_an_unknown_length_in_chunks(client: Client) -> None:
    response = client.fetch("/blocks")
    assert response.chunked
    assert response.body == b"GET /blocks "


@pytest.mark.parametrize("kind", ["list", "length", "blocks"])
def test_sends_a_body_larger_than_any_buffer(client: Client, kind: str) -> None:
    body = content(8 << 20)
    response = client.fetch(f"/{kind}", method="POST", body=body)
    assert response.body == f"POST /{kind} ".encode() + body
    assert client.fetch("/list").body == b"GET /list "


# -- HEAD: RFC 9110 9.3.2 ----------------------------------------------------------------------


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("kind", ["list", "length", "blocks"])
def test_head_sends_the_head_of_get_and_no_body(client: Client, kind: str, version: str) -> None:
    keep = "Connection: keep-alive"
    head = client.fetch(f"/{kind}", keep, method="HEAD", version=version)
    expected = str(len(f"HEAD /{kind} ")) if kind != "blocks" else None
    assert head.get("Content-Length") == expected
    if head.closes:
        # The length is not known, so HTTP/1.0 may end here as GET would.
        assert (version, kind) == ("HTTP/1.0", "blocks")
        assert client.ended()
    else:
        assert client.fetch("/list").body == b"GET /list "


# -- Expect: 100-continue, RFC 9110 10.1.1 -----------------------------------------------------


@pytest.mark.parametrize("size", [5, 5000])
@pytest.mark.parametrize("field", ["Expect: 100-continue", "expect: 100-Continue"])
def test_says_100_before_the_body_is_sent(client: Client, field: str, size: int) -> None:
    body = content(size)
    client.send(request("/list", field, f"Content-Length: {size}", method="POST"))
    assert client.head() == Response("HTTP/1.1", 100, "Continue")
    client.send(body)
    assert client.response().body == b"POST /list " + body
    assert client.fetch("/list").body == b"GET /list "


def test_says_100_before_a_chunked_body_is_sent(client: Client) -> None:
    fields = ("Expect: 100-continue", "Transfer-Encoding: chunked")
    client.send(request("/list", *fields, method="POST"))
    assert client.head() == Response("HTTP/1.1", 100, "Continue")
    client.send(chunked(b"body"))
    assert client.response().body == b"POST /list body"


def test_says_no_100_when_the_body_is_there_already(client: Client) -> None:
    response = client.fetch("/list", "Expect: 100-continue", method="POST", body=b"body")
    assert (response.status, response.body) == (200, b"POST /list body")


def test_says_no_100_to_http10(client: Client) -> None:
    head = request(
        "/list", "Expect: 100-continue", "Content-Length: 4", method="POST", version="HTTP/1.0"
    )
    client.send(head)
    client.send(b"body")
    response = client.response()
    assert (response.status, response.body) == (200, b"POST /list body")


def test_refuses_another_expectation(client: Client) -> None:
    client.send(request("/list", "Expect: a-miracle", "Content-Length: 4", method="POST"))
    assert client.response().status == 417
    assert client.ended()


@pytest.mark.parametrize("framing", ["Content-Length: 101", "Content-Length: 9000000000"])
def test_says_413_and_no_100_to_a_body_past_the_limit(framing: str) -> None:
    with serve(echo, limit_request_body=100) as server:
        with Client(server.address) as client:
            client.send(request("/list", "Expect: 100-continue", framing, method="POST"))
            assert client.response().status == 413
            assert client.ended()
        with Client(server.address) as client:
            assert client.fetch("/list", method="POST", body=b"x" * 100).status == 200
            client.send(request("/list", "Transfer-Encoding: chunked", method="POST"))
            client.send(b"65\r\n" + b"x" * 101)
            assert client.response().status == 413
