"""Real frameworks over a real socket: one contract of URLs, one server process for each.

Rule: a test speaks HTTP only; what the application is made of shows in nothing but the name
that the server is given.  The contract stands in `apps/contract.py`.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from apps import TESTS, contract
from apps.client import Client, chunked
from apps.frameworks import FORM, URLENCODED, installable

from fastwsgi.testing import spawn


@pytest.fixture(scope="module", params=installable())
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """The (host, port) of a server process that serves one framework's application."""
    with spawn(f"apps.{request.param}_app:app", cwd=TESTS) as process:
        yield process.host, process.port


@pytest.fixture
def connection(server: tuple[str, int]) -> Iterator[http.client.HTTPConnection]:
    """A keep-alive connection to the framework's server."""
    made = http.client.HTTPConnection(*server, timeout=20)
    yield made
    made.close()


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | None = None,
    **fields: str,
) -> tuple[http.client.HTTPResponse, str]:
    """One request; the response and its text.  `content_type=` is sent as Content-Type."""
    headers = {name.replace("_", "-").title(): value for name, value in fields.items()}
    connection.request(method, target, body, headers)
    response = connection.getresponse()
    return response, response.read().decode()


def test_serves_the_root(connection: http.client.HTTPConnection) -> None:
    response, text = ask(connection, "GET", "/")
    assert (response.status, text) == (200, contract.HELLO)
    assert response.headers.get_content_type() == "text/plain"


@pytest.mark.parametrize("name", ["Ada", "Grace Hopper", "Jürgen", "日本"])
def test_routes_by_a_decoded_path_segment(
    connection: http.client.HTTPConnection, name: str
) -> None:
    response, text = ask(connection, "GET", f"/greet/{quote(name)}")
    assert (response.status, text) == (200, contract.greeting(name))


def test_head_has_no_body_and_keeps_the_connection_in_step(server: tuple[str, int]) -> None:
    with Client(server) as client:
        head = client.fetch("/", method="HEAD")
        # A framework that routes HEAD apart from GET may refuse it (405) or not find it (404).
        assert head.status in (200, 404, 405)
        assert client.fetch("/").body.decode() == contract.HELLO


FORM_TEXT = contract.form_summary("Ada L.", "bleu foncé")


def test_reads_a_posted_form(connection: http.client.HTTPConnection) -> None:
    response, text = ask(connection, "POST", "/form", FORM, content_type=URLENCODED)
    assert (response.status, text) == (200, FORM_TEXT)


def test_reads_a_form_posted_in_chunks(server: tuple[str, int]) -> None:
    with Client(server) as client:
        client.send(
            b"POST /form HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: %s\r\n\r\n" % URLENCODED.encode()
        )
        client.send(chunked(FORM[:3], FORM[3:20], FORM[20:]))
        assert client.response().body.decode() == FORM_TEXT


def test_takes_an_upload_of_five_megabytes(connection: http.client.HTTPConnection) -> None:
    content = bytes(range(256)) * (5 * 1024 * 1024 // 256)
    boundary = b"a-boundary-that-is-not-in-the-file"
    body = b"".join(
        [
            b"--%s\r\nContent-Disposition: form-data; name=note\r\n\r\n" % boundary,
            b"with a note\r\n",
            b"--%s\r\nContent-Disposition: form-data; name=file; " % boundary,
            b'filename="five.bin"\r\nContent-Type: application/octet-stream\r\n\r\n',
            content,
            b"\r\n--%s--\r\n" % boundary,
        ]
    )
    kind = f"multipart/form-data; boundary={boundary.decode()}"
    response, text = ask(connection, "POST", "/upload", body, content_type=kind)
    assert response.status == 200
    assert json.loads(text) == {
        "filename": "five.bin",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "note": "with a note",
    }
    assert ask(connection, "GET", "/")[1] == contract.HELLO


def test_sets_and_reads_cookies(connection: http.client.HTTPConnection) -> None:
    response, _ = ask(connection, "GET", "/cookies/set")
    jar = [value.split(";")[0] for value in response.headers.get_all("Set-Cookie") or []]
    assert jar == [f"{name}={value}" for name, value in contract.COOKIES.items()]
    response, text = ask(connection, "GET", "/cookies/show", cookie="; ".join(jar))
    assert (response.status, text) == (200, contract.cookie_summary(contract.COOKIES))


def test_streams_each_block_before_the_next_is_made(server: tuple[str, int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Client(server) as client:
        listener.settimeout(20)
        port = listener.getsockname()[1]
        client.send(f"GET /stream/{port} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        side, _ = listener.accept()
        with side:
            response = client.head()
            assert (response.status, response.chunked) == (200, True)
            for number in range(contract.BLOCKS):
                assert client.chunk() == contract.block(number)
                side.sendall(b".")
            assert client.chunk() == b""
        assert client.fetch("/").status == 200


def test_shows_the_applications_own_page_for_an_unknown_path(
    connection: http.client.HTTPConnection,
) -> None:
    response, text = ask(connection, "GET", "/nowhere/at-all")
    # CherryPy pads its error pages with white space, for the sake of an old browser.
    assert (response.status, text.rstrip()) == (404, contract.missing("/nowhere/at-all"))
    assert ask(connection, "GET", "/")[1] == contract.HELLO


def test_answers_500_when_a_view_raises_and_serves_on(server: tuple[str, int]) -> None:
    with Client(server) as client:
        response = client.fetch("/boom")
        assert response.status == 500
        assert contract.BOOM.encode() not in response.body
    with Client(server) as client:
        assert client.fetch("/").status == 200
