"""--gc: full collections of garbage run between requests."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from apps.client import Client, fetch, request
from apps.eventually import eventually
from apps.workers import Calls

from fastwsgi.errors import ConfigError
from fastwsgi.testing import serve

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="from 3.14 on collections are short")

FULL, MIDDLE = 2, 1


class Watched:
    """An application that makes garbage, and knows of the collections that happened meanwhile."""

    def __init__(self) -> None:
        self.running = 0
        self.inside: list[int] = []
        self.outside: list[int] = []
        self.hold: int | None = None
        gc.callbacks.append(self.see)

    def see(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "stop" and info["generation"] == FULL:
            (self.inside if self.running else self.outside).append(info["generation"])

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.running += 1
        if environ["PATH_INFO"] == "/garbage":
            for _ in range(21):
                gc.collect(MIDDLE)  # as if so much had been made; 10 to 20 make a full one due
        elif environ["PATH_INFO"].startswith("/hold/"):
            import socket
            with socket.create_connection(("127.0.0.1", int(environ["PATH_INFO"][6:]))) as side:
                side.sendall(b"1\n")
                side.recv(1)
        start_response("200 OK", [("Content-Length", "2")])
        self.running -= 1
        return [b"ok"]


@pytest.fixture
def app() -> Iterator[Watched]:
    found = Watched()
    thresholds = gc.get_threshold()
    gc.set_threshold(1 << 30, 10, 10)  # nothing but what the application does
    yield found
    gc.set_threshold(*thresholds)
    gc.callbacks.remove(found.see)


@pytest.fixture
def calls() -> Iterator[Calls]:
    with contextlib.closing(Calls()) as found:
        yield found


@pytest.mark.parametrize("mode", ["request", "idle"])
def test_a_full_collection_follows_the_answer(app: Watched, mode: str) -> None:
    with serve(app, gc=mode) as server, Client(server.address) as client:
        client.fetch("/")
        assert not app.outside
        client.fetch("/garbage")
        client.fetch("/")
        assert app.outside
        assert not app.inside
        assert gc.get_threshold()[FULL] > 1 << 20
    assert gc.get_threshold() == (1 << 30, 10, 10)


def test_by_default_the_interpreter_does_it(app: Watched) -> None:
    with serve(app) as server:
        fetch(server.address, "/garbage")
        fetch(server.address, "/")
        assert gc.get_threshold() == (1 << 30, 10, 10)
    assert not app.outside


@pytest.mark.parametrize(("mode", "waits"), [("request", False), ("idle", True)])
def test_idle_waits_for_requests_that_are_in_the_application(
    app: Watched, calls: Calls, mode: str, waits: bool,
) -> None:
    with serve(app, gc=mode, threads=2) as server, Client(server.address) as holding:
        holding.send(request(f"/hold/{calls.port}"))
        calls.entered()
        fetch(server.address, "/garbage")
        fetch(server.address, "/")
        assert bool(app.inside) != waits
        calls.let_go()
        assert holding.response().status == 200
        # the client has its answer before the collection begins, and the other thread answers on
        eventually(lambda: fetch(server.address, "/"), lambda _: app.inside or app.outside)


def test_it_does_not_wait_for_ever(app: Watched, calls: Calls) -> None:
    with serve(app, gc="idle", threads=2) as server, Client(server.address) as holding:
        holding.send(request(f"/hold/{calls.port}"))
        calls.entered()
        for _ in range(12):
            fetch(server.address, "/garbage")
        assert app.inside
        calls.let_go()
        assert holding.response().status == 200


def test_an_application_that_wants_no_collection_gets_none(app: Watched) -> None:
    gc.disable()
    try:
        with serve(app, gc="request") as server:
            fetch(server.address, "/garbage")
            fetch(server.address, "/")
        assert not app.inside + app.outside
    finally:
        gc.enable()


def test_other_words_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"gc must be request, idle or default, not 'never'"):
        serve(Watched(), gc="never").__enter__()
