"""Session tickets: where sessions resume, and what becomes of the keys."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apps.command import Project, ready
from apps.eventually import GUARD
from apps.renewed import (
    WHO,
    Client,
    client_context,
    handshakes_get,
    make,
    until,
    who,
    words,
)

from fastwsgi.master.upgrade import VARIABLE, Predecessor, Start, Successor
from fastwsgi.testing import Process, Server, serve, spawn
from fastwsgi.tls.tickets import PERIOD, SIZE, TicketKeys


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return make("localhost").put(tmp_path / "certificates")


@pytest.fixture
def two_workers(project: Project, files: tuple[Path, Path]) -> Iterator[Process]:
    with spawn("--workers", "2", *words(files), "app:app", cwd=project(app=WHO)) as server:
        yield server


def session_of(client: Client) -> ssl.SSLSession:
    session = client.socket.session
    assert session is not None
    return session


def resumes_at_another(address: Any, context: ssl.SSLContext, first: int,
                       session: ssl.SSLSession) -> None:
    """Sessions resume at whoever answers, and another process than the first does at last."""
    end = time.monotonic() + GUARD
    while True:
        with Client(address, context, session) as client:
            answered = int(client.ask())
            assert client.socket.session_reused
            session = session_of(client)
        if answered != first:
            return
        assert time.monotonic() < end, "always the same worker"


def context_of(version: str) -> ssl.SSLContext:
    context = client_context()
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    return context


def first_session(address: Any, context: ssl.SSLContext) -> tuple[int, ssl.SSLSession]:
    with Client(address, context) as client:
        pid = int(client.ask())
        assert not client.socket.session_reused
        return pid, session_of(client)


versions = pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])


@versions
def test_sessions_resume_over_all_workers(two_workers: Process, version: str) -> None:
    context = context_of(version)
    with Client(two_workers.address, context) as busy:  # the next one goes to the other worker
        pid, session = int(busy.ask()), session_of(busy)
        resumes_at_another(two_workers.address, context, pid, session)


@versions
def test_sessions_resume_after_a_reload(two_workers: Process, version: str) -> None:
    context = context_of(version)
    pid, session = first_session(two_workers.address, context)
    two_workers.signal(signal.SIGHUP)
    ready(two_workers, 2)
    resumes_at_another(two_workers.address, context, pid, session)


@versions
def test_sessions_resume_after_a_change_of_certificates(
        two_workers: Process, files: tuple[Path, Path], version: str) -> None:
    context = context_of(version)
    _, session = first_session(two_workers.address, context)
    other = make("localhost")
    other.put(files[0].parent)
    handshakes_get(two_workers.address, other)
    with Client(two_workers.address, context, session) as client:
        client.ask()
        assert client.socket.session_reused


def test_sessions_resume_after_an_upgrade(
        project: Project, files: tuple[Path, Path]) -> None:
    with spawn(*words(files), "app:app", cwd=project(app=WHO)) as server:
        context = context_of("TLSv1_3")
        pid, session = first_session(server.address, context)
        server.signal(signal.SIGUSR2)
        line = server.wait_for(r"the new master \(pid \d+\) is ready")
        new = int(re.findall(r"new master \(pid (\d+)\)", line)[0])
        try:
            server.signal(signal.SIGTERM)
            server.wait_for("has ended; the upgrade is finished")
            resumes_at_another(server.address, context, pid, session)
        finally:
            os.kill(new, signal.SIGKILL)


def test_keys_are_passed_on_by_a_descriptor_and_not_by_the_environment() -> None:
    keys = TicketKeys.new().pack()
    code = f"import os, sys; sys.stdout.write(os.environ[{VARIABLE!r}])"
    with tempfile.TemporaryFile("w+") as output:
        before = os.dup(1)
        os.dup2(output.fileno(), 1)
        try:
            successor = Successor(Start([sys.executable, "-c", code], "/", {}), [], None, keys)
            until(lambda: successor.poll() is not None, "its end")
        finally:
            os.dup2(before, 1)
            os.close(before)
            successor.link.close()
        output.seek(0)
        inherited = json.loads(output.read())
    assert isinstance(inherited["tickets"], int)
    assert {type(value) for value in inherited.values()} == {int, list, type(None)}


def test_a_master_without_keys_passes_none_on(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        monkeypatch.setenv(VARIABLE, json.dumps(
            {"pid": 1, "link": theirs.detach(), "sockets": []}))  # as another release does
        predecessor = Predecessor.take()
        assert predecessor is not None
        predecessor.link.close()
    assert predecessor.tickets == b""


@pytest.fixture
def with_keys(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Serve with these keys of tickets."""

    def run(keys: TicketKeys) -> Any:
        monkeypatch.setattr(TicketKeys, "new", classmethod(lambda _: keys))
        return serve(who, certfile=[str(files[0])], keyfile=[str(files[1])])

    return run


@versions
def test_a_key_that_was_replaced_opens_tickets_and_an_older_one_does_not(
        with_keys: Callable[[TicketKeys], Any], version: str) -> None:
    now, context = time.monotonic(), context_of(version)
    old, new, newest = (bytes([n]) * SIZE for n in (1, 2, 3))
    server: Server
    with with_keys(TicketKeys(old, None, now)) as server:
        _, session = first_session(server.address, context)
    with (with_keys(TicketKeys(new, old, now)) as server,
          Client(server.address, context, session) as client):
        client.ask()
        assert client.socket.session_reused
        renewed = session_of(client)
    with with_keys(TicketKeys(newest, new, now)) as server:
        with Client(server.address, context, session) as client:
            client.ask()
            assert not client.socket.session_reused, "the ticket of the oldest key"
        with Client(server.address, context, renewed) as client:
            client.ask()
            assert client.socket.session_reused, "it was given out in place of the old one"


def test_a_changed_ticket_is_not_opened(with_keys: Callable[[TicketKeys], Any]) -> None:
    """The seal is checked: the same name of a key does not suffice."""
    now, context = time.monotonic(), context_of("TLSv1_3")
    key = b"n" * 16 + b"s" * 32 + b"c" * 32
    with with_keys(TicketKeys(key, None, now)) as server:
        _, session = first_session(server.address, context)
    with (with_keys(TicketKeys(b"n" * 16 + b"S" * 32 + b"c" * 32, None, now)) as server,
          Client(server.address, context, session) as client):
        client.ask()
        assert not client.socket.session_reused


def test_keys_are_passed_on_as_they_are() -> None:
    first = TicketKeys.new()
    second = first.rotated()
    assert second.previous == first.current != second.current
    assert second.all == second.current + first.current
    for keys in (first, second):
        assert TicketKeys.unpack(keys.pack()) == keys
    assert TicketKeys.unpack(b"of another release") is None
    assert str(first.current) not in repr(first)


def test_keys_from_the_future_are_of_today() -> None:
    future = TicketKeys(b"k" * SIZE, None, time.monotonic() + 1e6)
    read = TicketKeys.unpack(future.pack())
    assert read is not None
    assert read.until <= time.monotonic() + PERIOD
