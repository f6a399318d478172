"""HAProxy: its health checks see what becomes of the server, and a client that leaves costs one."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
from collections.abc import Iterator

import pytest
from apps import TESTS
from apps.certificates import Authority
from apps.client import TIMEOUT, Address, Client, fetch, request
from apps.fronts import SETTINGS, Said, haproxy_said, home, missing

from fastwsgi.testing import Process, spawn

ALONE = ("--workers", "1", "--threads", "1")
pytestmark = pytest.mark.skipif(missing("haproxy"), reason="haproxy is not installed")


@contextlib.contextmanager
def pair(*settings: str) -> Iterator[tuple[Address, Process, Said]]:
    """HAProxy's address, the server, and what HAProxy says."""
    with (
        home() as place,
        spawn(*SETTINGS, *settings, "apps.proxied:app", cwd=TESTS) as server,
        haproxy_said(place, server) as (front, said),
    ):
        yield front, server, said


def test_health_checks_are_answered_while_all_threads_are_in_calls() -> None:
    """HAProxy counts as ready here once a check has found the server."""
    with (
        home() as place,
        spawn(*SETTINGS, *ALONE, "apps.proxied:app", cwd=TESTS) as server,
        socket.create_server(("127.0.0.1", 0)) as listener,
        Client(server.address) as client,
    ):
        listener.settimeout(TIMEOUT)
        client.send(request(f"/held/{listener.getsockname()[1]}"))
        side, _ = listener.accept()
        with side:
            with haproxy_said(place, server) as (front, said):
                for _ in range(3):
                    assert fetch(front, "/healthz").body == b"ok\n"
                assert "failed" not in said.text()
            side.sendall(b".")
        assert client.response().body == b"released"


def test_a_server_that_stops_is_left_before_it_is_gone() -> None:
    """No check is accepted any more, while the request at hand is finished."""
    with pair() as (front, server, said), socket.create_server(("127.0.0.1", 0)) as listener:
        with Client(front) as client:
            listener.settimeout(TIMEOUT)
            client.send(request(f"/held/{listener.getsockname()[1]}"))
            side, _ = listener.accept()
            with side:
                server.signal(signal.SIGTERM)
                said.wait_for("Health check for server shop/one failed")
                side.sendall(b".")
            assert client.response().body == b"released"
        assert server.wait() == 0
        assert fetch(front, "/large/1").status == 503


@pytest.mark.parametrize(("speaks", "option"), [
    ("v2", "send-proxy-v2"), ("v2", "send-proxy-v2-ssl"), ("v1", "send-proxy"),
    ("auto", "send-proxy-v2"),
])
def test_the_client_is_whom_the_proxy_protocol_names(speaks: str, option: str) -> None:
    """The health checks speak it, too: without their LOCAL header the server would not be up."""
    with (
        home() as place,
        spawn(*SETTINGS, "--proxy-protocol", speaks, "apps.proxied:app", cwd=TESTS) as server,
        haproxy_said(place, server, f"{option} check-send-proxy") as (front, said),
        Client(front) as client,
    ):
        for _ in range(3):
            environ = json.loads(client.fetch("/where").body)["environ"]
            assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == tuple(
                map(str, client.socket.getsockname()))
        assert "failed" not in said.text()


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_the_proxy_protocol_comes_before_tls(option: str) -> None:
    with home() as place:
        files = Authority(place).sign("localhost", "localhost")
        with (
            spawn(*SETTINGS, "--proxy-protocol", "--certfile", files.cert, "--keyfile", files.key,
                  "apps.proxied:app", cwd=TESTS) as server,
            haproxy_said(place, server, f"ssl verify none {option} check-send-proxy"
                         ) as (front, said),
            Client(front) as client,
        ):
            for _ in range(3):
                environ = json.loads(client.fetch("/where").body)["environ"]
                assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == tuple(
                    map(str, client.socket.getsockname()))
                assert environ["HTTPS"] == "on"
            assert "failed" not in said.text()


def test_a_client_that_has_gone_is_not_waited_for() -> None:
    """With option abortonclose HAProxy closes its connection to us, in the middle of the call."""
    with (
        pair(*ALONE) as (front, server, _),
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        listener.settimeout(TIMEOUT)
        for _ in range(3):
            client = Client(front)
            client.send(request(f"/held/{listener.getsockname()[1]}"))
            side, _ = listener.accept()
            client.close()
            with side:
                side.sendall(b".")
        assert fetch(front, "/large/10").body == b"x" * 10
    assert "Error" not in server.output()
