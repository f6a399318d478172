"""How workers share new connections: evenly, and never with one whose threads are all in calls.

Nothing is timed. A call stands still until the test lets it go, so an answer that came before had
not to wait for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from collections import Counter
from collections.abc import Iterator

import pytest
from apps.client import GET, Client, request
from apps.command import Project, ready, started
from apps.eventually import answer_with
from apps.workers import APP, TRIES, Calls, addresses, occupied, opened, opened_evenly

from fastwsgi.testing import raw, spawn
from fastwsgi.worker.siblings import LEAST, Siblings


@pytest.fixture
def calls() -> Iterator[Calls]:
    with contextlib.closing(Calls()) as found:
        yield found


@pytest.fixture
def clients() -> Iterator[contextlib.ExitStack]:
    """Closes connections that stay open until the end of the test."""
    with contextlib.ExitStack() as stack:
        yield stack


WAYS = {
    "tcp": [],
    "unix": ["--bind", "unix:{where}/socket"],
    "several": ["--bind", "127.0.0.1:0", "--bind", "unix:{where}/socket"],
    "reuse_port": ["--reuse-port"],
    "preload": ["--preload"],
}


@pytest.mark.parametrize("at_once", [False, True], ids=["one_by_one", "at_once"])
@pytest.mark.parametrize("way", WAYS)
def test_connections_are_spread_evenly(
    way: str, at_once: bool, project: Project, clients: contextlib.ExitStack,
) -> None:
    where = project(app=APP)
    extra = [word.format(where=where) for word in WAYS[way]]
    with spawn("-w", "4", *extra, "app:app", cwd=where) as server:
        ready(server)
        opened_evenly(clients, addresses(server), 32, 4, at_once=at_once)


def test_connections_to_an_inherited_socket_are_spread_evenly(
    project: Project, clients: contextlib.ExitStack,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = ["-m", "fastwsgi", "-w", "4", "--bind", f"fd://{listener.fileno()}", "app:app"]
        with started(command, project(app=APP), pass_fds=[listener.fileno()]) as server:
            ready(server)
            opened_evenly(clients, [listener.getsockname()], 32, 4)


@pytest.mark.parametrize("kind", ["hold", "compute"])
@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("workers", [2, 4])
def test_new_connections_do_not_wait_for_a_worker_in_calls(
    workers: int, threads: int, kind: str, project: Project, calls: Calls,
    clients: contextlib.ExitStack,
) -> None:
    extra = ["-w", str(workers), "--threads", str(threads)]
    with spawn(*extra, "app:app", cwd=project(app=APP)) as server:
        ready(server)
        victim = occupied(clients, calls, server.address, workers, threads, kind)
        for at_once in (False, True):
            answered = opened(clients, server.address, 24, at_once=at_once)
            assert victim not in {pid for pid, _ in answered}
        calls.let_go()


def test_new_connections_of_a_unix_socket_do_not_wait_either(
    project: Project, calls: Calls, clients: contextlib.ExitStack,
) -> None:
    where = project(app=APP)
    with spawn("-w", "2", "--bind", f"unix:{where}/socket", "app:app", cwd=where) as server:
        ready(server)
        victim = occupied(clients, calls, server.address, 2, 1)
        answered = opened(clients, server.address, 48, at_once=True)
        assert victim not in {pid for pid, _ in answered}
        calls.let_go()


def test_when_all_are_in_calls_connections_are_accepted(
    project: Project, calls: Calls, clients: contextlib.ExitStack,
) -> None:
    with spawn("-w", "2", "--health-path", "/health", "app:app", cwd=project(app=APP)) as server:
        ready(server)
        by_worker = dict(opened_evenly(clients, [server.address], 4, 2))
        for client in by_worker.values():
            client.send(request(f"/hold/{calls.port}"))
            calls.entered()
        waiting = [clients.enter_context(Client(server.address)) for _ in range(8)]
        for client in waiting:
            client.send(request())
        assert raw(server.address, request("/health", "Connection: close")).startswith(
            b"HTTP/1.1 200")
        calls.let_go()
        assert {client.response().status for client in waiting} == {200}


def test_a_stopped_worker_does_not_keep_connections_waiting(
    project: Project, clients: contextlib.ExitStack,
) -> None:
    with spawn("-w", "2", "app:app", cwd=project(app=APP)) as server:
        stopped, other = ready(server)
        opened_evenly(clients, [server.address], 8, 2)
        os.kill(stopped, signal.SIGSTOP)
        try:
            found = opened(clients, server.address, 8)
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert {pid for pid, _ in found} == {other}


def test_a_worker_that_replaces_a_dead_one_gets_its_share(
    project: Project, clients: contextlib.ExitStack,
) -> None:
    with spawn("-w", "2", "--log-level", "debug", "app:app", cwd=project(app=APP)) as server:
        dead, other = ready(server)
        opened_evenly(clients, [server.address], 8, 2)
        os.kill(dead, signal.SIGKILL)
        new = int(re.findall(r"worker (\d+)", server.wait_for(r"worker \d+ is ready", count=3))[0])
        for _ in range(TRIES):  # as in opened_evenly
            counts = Counter(pid for pid, _ in opened(clients, server.address, 8))
            assert set(counts) <= {new, other}
            if counts[new] > counts[other]:
                break
        else:
            raise AssertionError(counts)


def test_a_reload_answers_all_new_connections(project: Project) -> None:
    with spawn("-w", "2", "app:app", cwd=project(app=APP)) as server:
        before = {str(pid).encode() for pid in ready(server)}
        server.signal(signal.SIGHUP)
        while True:
            answer = raw(server.address, GET)
            assert answer.startswith(b"HTTP/1.1 200")
            if server.output().count("] ready: ") == 2:
                break
        new = {str(pid).encode() for pid in ready(server, 2)}
        assert not before & new
        pid = answer_with(server.address, GET, b"200").rpartition(b"\r\n")[2]
        assert pid in before | new
        assert server.terminate() == 0


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["plain", "preload"])
def test_reloads_keep_connections_while_earlier_workers_are_in_calls(
    project: Project, calls: Calls, clients: contextlib.ExitStack, preload: list[str],
) -> None:
    flags = ["-w", "2", "--threads", "1", *preload]
    with spawn(*flags, "app:app", cwd=project(app=APP)) as server:
        kept = []
        for reloads in range(6):
            kept += [client for _, client in opened(clients, server.address, 6)]
            callers = [clients.enter_context(Client(server.address)) for _ in range(2)]
            for client in callers:
                client.send(request(f"/hold/{calls.port}"))
            assert {calls.entered() for _ in callers} == set(ready(server, reloads + 1))
            server.signal(signal.SIGHUP)
            new = set(ready(server, reloads + 2))
            for client in kept:
                client.send(request())
                answer = client.response()
                assert int(answer.body) in new
                assert not answer.closes, reloads
        calls.let_go()
        assert server.terminate() == 0


def test_a_slot_is_used_again_and_their_number_is_bounded() -> None:
    with contextlib.closing(Siblings(2)) as siblings:
        slots = [siblings.take() for _ in range(LEAST // 2)]
        assert slots == list(range(0, LEAST, 2)), "the others are for the new master of an upgrade"
        assert siblings.take() is None
        page = siblings.slot(6).page
        page[7 * 64 : 7 * 64 + 4] = b"\1\1\1\1"
        siblings.give_back(6)
        assert page[7 * 64 : 8 * 64] == bytes(64)
        assert siblings.take() == 6
        siblings.give_back(None)


def rung(siblings: Siblings) -> set[int]:
    """Return the slots whose bells have been rung since the last time."""
    found = set()
    for slot, (read, _) in enumerate(siblings.slot(0).bells):
        with contextlib.suppress(BlockingIOError):
            os.read(read, 8)
            found.add(slot)
    return found


def test_when_a_worker_has_ended_all_others_look_for_what_was_sent() -> None:
    with contextlib.closing(Siblings(2)) as siblings:
        first, second = siblings.take(), siblings.take()
        page = siblings.slot(0).page
        page[6 * 64 : 6 * 64 + 4] = b"\1\1\1\1"  # of the other master of an upgrade
        siblings.give_back(first)
        assert page[4] == 1
        assert rung(siblings) == {second, 5}


def test_the_slots_of_a_master_that_was_killed_in_an_upgrade_are_cleared() -> None:
    with contextlib.closing(Siblings(2)) as old:
        old.take()
        own = old.take()
        page = old.slot(0).page
        described = old.described()
        assert described is not None
        described["fds"] = []  # it is the same process
        new = Siblings.inherited(described)
        assert new is not None
        theirs = new.take()
        assert (own, theirs) == (2, 1)
        page[64:192] = b"\1" * 128
        page[3 * 64 : 4 * 64] = b"\2" * 64
        new.forget_others()
        assert page[64:128] == bytes(64) == page[3 * 64 : 4 * 64]
        assert page[128:192] == b"\1" * 64
        assert page[8:16] == b"\1\0\0\0\0\0\0\0", "no worker of it is an heir"
        assert rung(old) == {theirs}
