"""A refusal has content unless the client asked by HEAD (RFC 9110 9.3.2).

Rule: every way to be refused is asked in every method, of those that are four letters long like
HEAD as well.  The client knows what it asked for, so content that is left out, or sent in answer to
HEAD, shows in what it reads next.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import ExitStack

import pytest
from apps.client import TIMEOUT, Client, Response, request
from apps.held import Held

from fastwsgi.testing import serve

HEALTH = "/healthz"
METHODS = ["HEAD", "GET", "POST", "LOCK", "COPY", "MOVE", "LINK"]


def checked(client: Client, method: str, status: int) -> Response:
    """The refusal: content of the length that it says, or none for HEAD, and then the end."""
    response = client.response(method)
    assert response.status == status
    assert int(response.get("Content-Length") or 0) > 0
    assert client.ended()
    return response


def nothing(environ: object, start_response: object) -> Iterable[bytes]:
    raise AssertionError("the application was called")


@pytest.mark.parametrize("method", METHODS)
def test_a_request_that_finds_the_queue_full(method: str) -> None:
    held = Held()
    with held.served(queue=1, overload="503") as server, ExitStack() as stack:
        stack.enter_context(held.standing(server))
        clients = [stack.enter_context(Client(server.address)) for _ in range(2)]
        clients[0].send(request("/first"))
        clients[1].send(request("/second"))
        late = stack.enter_context(Client(server.address))
        late.send(request("/late", method=method))
        checked(late, method, 503)


@pytest.mark.parametrize("method", METHODS)
def test_a_head_that_is_not_acceptable(method: str) -> None:
    with serve(nothing) as server, Client(server.address) as client:  # type: ignore[arg-type]
        client.send(request("/", "Host: second", method=method))
        checked(client, method, 400)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("field", ["Spaced Name: 1", "X-Long: " + "x" * 9000])
def test_a_head_that_is_refused_before_its_end(method: str, field: str) -> None:
    with serve(nothing) as server, Client(server.address) as client:  # type: ignore[arg-type]
        client.send(request("/", field, method=method)[:-2])
        checked(client, method, 400 if field.startswith("Spaced") else 431)


@pytest.mark.parametrize("method", METHODS)
def test_a_head_that_does_not_arrive_in_time(method: str) -> None:
    with (
        serve(nothing, header_timeout=0.2) as server,  # type: ignore[arg-type]
        Client(server.address) as client,
    ):
        client.send(f"{method} / HTTP/1.1\r\nHost: te".encode())
        checked(client, method, 408)


@pytest.mark.parametrize("method", METHODS)
def test_a_body_that_does_not_arrive_in_time(method: str) -> None:
    with (
        serve(nothing, body_timeout=0.2) as server,  # type: ignore[arg-type]
        Client(server.address) as client,
    ):
        client.send(request("/", "Content-Length: 9", method=method))
        checked(client, method, 408)


@pytest.mark.parametrize("method", METHODS)
def test_a_body_that_is_not_acceptable(method: str) -> None:
    with serve(nothing) as server, Client(server.address) as client:  # type: ignore[arg-type]
        client.send(request("/", "Transfer-Encoding: chunked", method=method))
        client.send(b"no size\r\n")
        checked(client, method, 400)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_the_health_path_of_a_server_that_stops(method: str) -> None:
    """An idle connection is closed when the stop has begun; a request that has begun goes on."""
    held = Held()
    with ExitStack() as serving, ExitStack() as clients:
        server = serving.enter_context(held.served(health_path=HEALTH))
        standing = clients.enter_context(Client(server.address))
        standing.send(request("/hold"))
        held.entered()
        asking = clients.enter_context(Client(server.address))
        asking.send(request(HEALTH, method=method)[:-2])
        idle = clients.enter_context(Client(server.address))
        assert idle.fetch(HEALTH).status == 200
        stopping = threading.Thread(target=serving.pop_all().close, daemon=True)
        stopping.start()
        assert idle.ended()
        asking.send(b"\r\n")
        checked(asking, method, 503)
        stopping.join(TIMEOUT)


@pytest.mark.parametrize("method", ["POST", "LOCK", "COPY", "MOVE"])
def test_the_health_path_is_the_applications_in_any_other_method(method: str) -> None:
    with Held().served(health_path=HEALTH) as server, Client(server.address) as client:
        client.send(request(HEALTH, method=method))
        assert client.response(method).body == HEALTH.encode()
