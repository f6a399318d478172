"""The id of a request: whose word it is, what it may be, and where it is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest
from apps.client import Client, request
from apps.logged import lines_of

from fastwsgi.errors import ConfigError
from fastwsgi.testing import Server, raw, serve

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MADE = re.compile("[0-9a-f]{32}")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer the id that the environ has."""
    if environ["PATH_INFO"] == "/fail":
        raise RuntimeError("on purpose")
    fields = [("x-request-ID", "mine")] if environ["PATH_INFO"] == "/own" else []
    start_response("200 OK", fields)
    return [environ.get("fastwsgi.request_id", "none").encode("latin-1")]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(app, request_id="response") as found:
        yield found


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with Client(server.address) as found:
        yield found


@pytest.mark.parametrize(("fields", "wanted"), [
    (["X-Request-ID: a-Z_0.9~+/=:@"], "a-Z_0.9~+/=:@"),
    (["X-Request-ID: " + "x" * 200], "x" * 200),
    (["X-Request-ID: abc", f"traceparent: {PARENT}"], "abc"),
    ([f"traceparent: {PARENT}"], TRACE),
    (["X-Request-ID: <script>", f"traceparent: {PARENT}"], TRACE),
    ([f"traceparent: cc-{TRACE}-00f067aa0ba902b7-01-more"], TRACE),
])
def test_a_trusted_proxy_names_it(client: Client, fields: list[str], wanted: str) -> None:
    answer = client.fetch("/", *fields)
    assert answer.body.decode() == wanted
    assert answer.all("x-request-id") == [wanted]


@pytest.mark.parametrize("fields", [
    [],
    ["X-Request-ID:"],
    ["X-Request-ID: " + "x" * 201],
    ["X-Request-ID: a b"],
    ["X-Request-ID: a", "X-Request-ID: b"],
    ['X-Request-ID: a"b'],
    ["X-Request-ID: a\\x"],
    ["X-Request-ID: \xe9"],
    ["X_Request_ID: abc"],
    [f"traceparent: ff-{TRACE}-00f067aa0ba902b7-01"],
    [f"traceparent: 00-{'0' * 32}-00f067aa0ba902b7-01"],
    [f"traceparent: 00-{TRACE}-{'0' * 16}-01"],
    [f"traceparent: {PARENT.upper()}"],
    [f"traceparent: {PARENT}-more"],
    [f"traceparent: cc-{TRACE}-00f067aa0ba902b7-01more"],
    [f"traceparent: {PARENT[:-1]}"],
    [f"traceparent: {PARENT}", f"traceparent: {PARENT}"],
])
def test_what_is_no_id_is_replaced_by_one_of_ours(client: Client, fields: list[str]) -> None:
    assert MADE.fullmatch(client.fetch("/", *fields).body.decode())


def test_ids_that_are_made_differ(client: Client) -> None:
    found = [client.fetch("/").body for _ in range(500)]
    assert len(set(found)) == 500
    assert len({one[:8] for one in found}) > 490


def test_every_response_of_an_application_has_it_once(client: Client) -> None:
    (failed,) = client.fetch("/fail").all("x-request-id")
    assert MADE.fullmatch(failed)
    assert client.fetch("/own").all("x-request-id") == ["mine"]


def test_nobody_else_names_it(tmp_path: Path) -> None:
    with serve(app, request_id="on", forwarded_allow_ips="192.0.2.1") as server, \
            Client(server.address) as client:
        answer = client.fetch("/", "X-Request-ID: abc", f"traceparent: {PARENT}")
    assert MADE.fullmatch(answer.body.decode())
    assert answer.body.decode() != TRACE
    assert answer.all("x-request-id") == []


def test_the_access_log_has_the_same(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with serve(app, accesslog=str(path), access_log_format="%(request_id)s") as server, \
            Client(server.address) as client:
        answers = [client.fetch("/", *fields).body.decode()
                   for fields in ([], ["X-Request-ID: abc"], [])]
        raw(server.address, b"nonsense\r\n\r\n")
    assert lines_of(path) == [*answers, "-"]
    assert answers[1] == "abc"


@pytest.mark.parametrize(("value", "wanted"), [
    ("off", "-"), (False, "-"), ("on", "[0-9a-f]{32}"), (True, "[0-9a-f]{32}")])
def test_it_is_switched(tmp_path: Path, value: object, wanted: str) -> None:
    path = tmp_path / "log"
    with serve(app, request_id=value, accesslog=str(path),
               access_log_format="%(request_id)s") as server:
        raw(server.address, request("/", "Connection: close"))
    assert re.fullmatch(wanted, lines_of(path)[0])


def test_without_a_log_that_asks_there_is_none() -> None:
    with serve(app) as server, Client(server.address) as client:
        assert client.fetch("/", "X-Request-ID: abc").body == b"none"


def test_other_words_are_refused() -> None:
    with pytest.raises(ConfigError, match="^request_id must be auto, off, on or response, not "
                       r"'maybe' \(from keyword\)"), serve(app, request_id="maybe"):
        pass
