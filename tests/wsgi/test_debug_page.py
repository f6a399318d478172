"""``--debug-page``: an exception as a page, for browsers of this machine, without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from apps.client import Client, Response, request

from fastwsgi.config.sources import from_keywords
from fastwsgi.errors import ConfigError
from fastwsgi.testing import Server, serve

H = "hid" + "den"
"""What secrets begin with; it is not in the code, which pages show."""


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def deeper(depth: int) -> None:
    api_token = f"{H}-local"
    url = f"http://u:{H}-user@h/?token={H}-query"
    shown, hostile = {"password": f"{H}-item", "colour": "<b>red</b>"}, Hostile()
    if depth:
        deeper(depth - 1)
    raise ValueError(f"<script>{len(api_token) + len(url) + len(shown)}</script> {bool(hostile)}")


def app(environ: dict[str, Any], start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    if path == "/late":
        return late(start_response)
    if path == "/started":
        start_response("200 OK", [])
    if path == "/middle":
        return middle(start_response)
    if path == "/fine":
        start_response("200 OK", [])
        return iter([b"a", b"b"])
    return deeper(100 if path == "/deep" else 0)


def late(start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("X-Mine", "1")])
    deeper(0)
    yield b""


def middle(start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "10")])
    yield b"12345"
    raise ValueError("too late")


def ask(client: Client, path: str, *fields: str) -> Response:
    """Ask with a Host of the test's own."""
    client.send(request(path, *fields).replace(b"Host: test\r\n", b""))
    return client.response()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(app, debug_page=True) as found:
        yield found


@pytest.mark.parametrize("path", ["/", "/late", "/started", "/deep"])
def test_an_exception_is_a_page_without_secrets_and_scripts(server: Server, path: str) -> None:
    with Client(server.address) as client:
        response = ask(client, path, "Host: localhost:1", f"Cookie: id={H}-cookie",
                                f"Authorization: Basic {H}-authorization")
    assert response.status == 500
    assert response.get("Content-Type") == "text/html; charset=utf-8"
    assert response.get("X-Mine") is None
    assert "default-src 'none'" in str(response.get("Content-Security-Policy"))
    text = response.body.decode()
    assert "<h1>ValueError: &lt;script&gt;" in text
    assert "<mark>" in text
    assert "in deeper</h2>" in text
    assert "&lt;b&gt;red&lt;/b&gt;" in text
    assert "whose repr raises RuntimeError" in text
    assert H not in text
    assert "<script" not in text
    assert any("the application failed: GET" in line for line in server.log)


@pytest.mark.parametrize("fields", [
    ["Host: shop.example"], ["Host: localhost", "X-Forwarded-For: 1.2.3.4"],
    ["Host: localhost", "Via: 1.1 proxy"], ["Host: 127.0.0.1.example:80"],
], ids=repr)
def test_others_get_the_servers_own_answer(server: Server, fields: list[str]) -> None:
    with Client(server.address) as client:
        response = ask(client, "/", *fields)
    assert response.status == 500
    assert b"deeper" not in response.body


def test_what_works_and_what_has_begun_stay_as_they_are(server: Server) -> None:
    with Client(server.address) as client:
        assert ask(client, "/fine", "Host: [::1]:80").body == b"ab"
        client.send(request("/middle").replace(b"Host: test", b"Host: localhost"))
        assert client.head().status == 200
        assert client.rest() == b"12345"


@pytest.mark.parametrize("bind", ["0.0.0.0:80", "unix:/tmp/x", "192.0.2.1:80"])
def test_an_address_that_others_reach_is_refused(bind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_keywords({"debug_page": True, "bind": bind})
    assert str(caught.value) == (
        "debug_page (from keyword) shows code and data of the application: bind (from keyword) "
        f"must be 127.0.0.1, ::1 or localhost, not {bind}")
