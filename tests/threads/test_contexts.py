"""Each request has a contextvars.Context of its own, which ends with it.

Rule: what a request has set is looked for in all threads, each of which runs one probe, because a
probe waits until there are as many of them as threads.  A thread that runs a probe has done with
what it ran before, so whatever it still holds then, it would hold for good.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from apps.client import TIMEOUT, Address, Client, request
from apps.held import TEXT

from fastwsgi.testing import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BLOCK = b"x" * 65536
BLOCKS = 32  # 2 MiB, more than a unix socket and the server's queue take together


class Value:
    """Something that a weak reference can watch."""


SECRET: ContextVar[Value | None] = ContextVar("SECRET", default=None)
SETTING: ContextVar[str] = ContextVar("SETTING", default="none")


class Setting:
    """Every request but /probe sets SECRET; /probe tells whether it sees any, in every thread."""

    def __init__(self, threads: int) -> None:
        self.barrier = threading.Barrier(threads)
        self.values: list[weakref.ref[Value]] = []
        self.closed = threading.Semaphore(0)

    def set(self) -> None:
        """To be called in the frame of a request that keeps no reference."""
        value = Value()
        self.values.append(weakref.ref(value))
        SECRET.set(value)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/probe":
            self.barrier.wait(TIMEOUT)
            start_response("200 OK", TEXT)
            return [f"{SECRET.get()} {SETTING.get()}".encode()]
        if path != "/at-the-end":
            assert SECRET.get() is None
            self.set()
        if path == "/error":
            raise RuntimeError("on purpose")
        write = start_response("200 OK", TEXT)
        if path == "/write":
            write(b"written")
        if path in ("/list", "/write"):
            return [b"list"]
        return Blocks(self, path)


class Blocks:
    """Two blocks, or a great many, or one and an error; closed in the context of its request."""

    def __init__(self, app: Setting, path: str) -> None:
        self.app, self.path = app, path

    def __iter__(self) -> Iterator[bytes]:
        for number in range(BLOCKS if self.path == "/large" else 2):
            if self.path == "/late" and number == 1:
                raise RuntimeError("on purpose, after the head")
            yield BLOCK if self.path == "/large" else b"block"

    def close(self) -> None:
        if self.path == "/at-the-end":
            self.app.set()
        else:
            assert SECRET.get() is self.app.values[-1]()
        self.app.closed.release()


def read(client: Client, path: str) -> None:
    client.send(request(path))
    assert client.response().status == (500 if path == "/error" else 200)


def break_off(client: Client, path: str) -> None:
    client.send(request(path))
    assert client.head().status == 200
    assert not client.rest().endswith(b"0\r\n\r\n")


def leave(client: Client, path: str) -> None:
    """Read a head, which comes before the response is set aside, and leave."""
    client.send(request(path))
    assert client.head().status == 200
    client.reset()


def read_slowly(client: Client, path: str) -> None:
    client.send(request(path))
    assert client.head().status == 200
    assert b"".join(client.chunks()) == BLOCK * BLOCKS


KINDS: dict[str, tuple[str, Callable[[Client, str], None]]] = {
    "a list": ("/list", read),
    "write()": ("/write", read),
    "an error": ("/error", read),
    "a stream": ("/blocks", read),
    "an error in a stream": ("/late", break_off),
    "a set-aside stream": ("/large", read_slowly),
    "a set-aside stream whose client leaves": ("/large", leave),
    "close()": ("/at-the-end", read),
}


def probes(address: Address, threads: int) -> set[bytes]:
    """What all threads see in a request that sets nothing."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(address)) for _ in range(threads)]
        for client in clients:
            client.send(request("/probe"))
        return {client.response().body for client in clients}


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(("path", "visit"), KINDS.values(), ids=KINDS.keys())
def test_what_a_request_sets_is_never_seen_by_another_and_ends_with_it(
    path: str, visit: Callable[[Client, str], None], threads: int, tmp_path: Path
) -> None:
    app = Setting(threads)
    rounds = 4
    with serve(app, bind=f"unix:{tmp_path}/socket", threads=threads) as server:
        for _ in range(rounds):
            with Client(server.address) as client:
                visit(client, path)
            if path not in ("/list", "/write", "/error"):
                assert app.closed.acquire(timeout=TIMEOUT)
            assert probes(server.address, threads) == {b"None none"}
            assert [value for value in app.values if value() is not None] == []
    assert len(app.values) == rounds


@pytest.mark.parametrize("threads", [1, 4])
def test_requests_of_a_pipeline_do_not_see_each_other(threads: int) -> None:
    """/list asserts that nobody has set anything before it."""
    app = Setting(threads)
    with serve(app, threads=threads) as server, Client(server.address) as client:
        for _ in range(10):
            client.send(request("/list") * 20)
            for _ in range(20):
                assert client.response().status == 200
        client.send(request("/probe") if threads == 1 else request("/list"))
        assert client.response().status == 200


@pytest.mark.parametrize("threads", [1, 4])
def test_every_request_begins_with_what_was_set_before_serving(threads: int) -> None:
    """As an application does when it is imported; what requests set is gone all the same."""
    token = SETTING.set("everybody's")
    try:
        with serve(Setting(threads), threads=threads, process=True) as server:
            for _ in range(3):
                with Client(server.address) as client:
                    read(client, "/list")
                assert probes(server.address, threads) == {b"None everybody's"}
    finally:
        SETTING.reset(token)
