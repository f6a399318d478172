"""Behind real proxies: nginx, HAProxy, Apache and Caddy, with the configurations of examples/.

Rule: a proxy reads our framing more strictly than any test, and answers 502 when we send too much,
too little, or close where we should not. What all of them have to show is here; what one of them
does beside it is in a file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from apps.client import Address, Client, Response, chunked, fetch, request
from apps.eventually import eventually
from apps.fronts import FRONTS, before

from fastwsgi.testing import Process

Pair = tuple[Address, Process]


@pytest.fixture(scope="module", params=FRONTS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A proxy's address, and the server behind it."""
    with before(request.param) as found:
        yield found


@pytest.fixture
def front(pair: Pair) -> Address:
    return pair[0]


def speaks_uwsgi(pair: Pair) -> bool:
    return pair[1].url.startswith("uwsgi:")


def where(front: Address, target: str, *fields: str) -> dict[str, Any]:
    """The environ of a request."""
    response = fetch(front, target, *fields)
    assert response.status == 200, response
    return json.loads(response.body)["environ"]  # type: ignore[no-any-return]


def whole(front: Address, *sent: bytes) -> Response:
    """The answer to a request with a body; of Caddy the first one that is whole.

    Caddy 2.6 looks once more for the end of a body when it has passed all of it on. If the answer
    comes before that, it closes its connection to the server while it reads from it ("reading from
    backend: use of closed network connection"), whatever the server is.
    """

    def ask() -> Response | None:
        with Client(front) as client:
            for piece in sent:
                client.send(piece)
            try:
                return client.response()
            except AssertionError:
                if not isinstance(front, str):  # only Caddy is on a unix socket
                    raise
                return None

    response = eventually(ask, bool)
    assert response is not None
    return response


def test_passes_a_get_with_its_environ(pair: Pair) -> None:
    environ = where(pair[0], "/where/a%20b%25?c=%20d&e", "X-Own: f", "Proxy: evil")
    assert environ.items() >= {
        "REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1", "SCRIPT_NAME": "",
        "PATH_INFO": "/where/a b%", "QUERY_STRING": "c=%20d&e", "HTTP_X_OWN": "f",
        "REQUEST_URI": "/where/a%20b%25?c=%20d&e", "HTTP_HOST": "test", "wsgi.url_scheme": "http",
    }.items()  # fmt: skip
    assert "HTTP_PROXY" not in environ


def test_the_client_is_told(pair: Pair) -> None:
    environ = where(pair[0], "/where")
    if speaks_uwsgi(pair):
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert environ["REMOTE_PORT"].isdigit()
    elif not isinstance(pair[0], str):  # Caddy's client has a unix socket, and no address
        assert environ["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
        assert environ["HTTP_X_FORWARDED_PROTO"] == "http"


def test_repeated_fields_are_not_lost(front: Address) -> None:
    environ = where(front, "/where", "X-Own: 1", "X-Own: 2", "Cookie: a=b")
    assert environ["HTTP_X_OWN"].replace(" ", "") == "1,2"
    assert environ["HTTP_COOKIE"] == "a=b"


@pytest.mark.parametrize("size", [0, 1, 5000, 1 << 20, (5 << 20) + 1])
def test_passes_a_post_and_its_answer(front: Address, size: int) -> None:
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    response = whole(front, request("/echo", method="POST", body=body))
    assert response.status == 200
    assert response.get("X-Method") == "POST"
    assert response.body == body


def test_passes_a_chunked_post(pair: Pair) -> None:
    pieces = [b"%x\r\n%s\r\n" % (len(piece), piece)
              for piece in (b"one ", b"two " * 10_000, b"three")]
    response = whole(pair[0], request(
        "/echo", "Transfer-Encoding: chunked", method="POST"), *pieces, chunked())
    if response.status == 411:  # mod_proxy_uwsgi has no way to tell of such a body
        assert speaks_uwsgi(pair)
    else:
        assert response.body == b"one " + b"two " * 10_000 + b"three"
        assert response.get("X-Length") == str(len(response.body))


def test_passes_a_large_response(front: Address) -> None:
    with Client(front) as client:
        for _ in range(2):
            response = client.fetch("/large/3000000")
            assert response.status == 200
            assert response.body == b"x" * 3_000_000


def test_passes_a_head_and_goes_on(front: Address) -> None:
    with Client(front) as client:
        for _ in range(5):
            assert client.fetch("/echo", method="HEAD").status == 200
            assert client.fetch("/large/10").body == b"x" * 10


def test_a_close_that_was_announced_costs_no_request(front: Address) -> None:
    for _ in range(20):
        assert fetch(front, "/close").body == b"closing"
        assert fetch(front, "/large/10").status == 200


def test_passes_the_500_of_an_application_and_goes_on(front: Address) -> None:
    for _ in range(5):
        assert fetch(front, "/boom").status == 500
        assert fetch(front, "/large/10").status == 200


def test_loses_none_of_many_requests(front: Address) -> None:
    clients = [Client(front) for _ in range(8)]
    try:
        for number in range(60):
            for client in clients:
                client.send(request("/echo", method="POST", body=str(number).encode()))
            for client in clients:
                response = client.response()
                assert (response.status, response.body) == (200, str(number).encode())
    finally:
        for client in clients:
            client.close()
