"""Connections that travel: waiting requests to who is free, idle connections to who goes on.

A call stands still until the test lets it go, so an answer that came before had not to wait for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apps.client import Client, Response, chunked, request
from apps.command import Project, ready
from apps.workers import APP, Calls, addresses, opened, opened_evenly

from fastwsgi.testing import Process, raw, spawn

# What came, and who answered.
ECHO = APP + """
    import zlib
    def echo(environ, start_response):
        if environ["PATH_INFO"].startswith(("/hold/", "/compute/")):
            return app(environ, start_response)
        if environ["PATH_INFO"] == "/":
            return app(environ, start_response)
        body = environ["wsgi.input"].read()
        said = " ".join(map(str, (
            os.getpid(), environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["REMOTE_ADDR"],
            environ["REMOTE_PORT"], environ["SERVER_PORT"], len(body), zlib.crc32(body)))).encode()
        start_response("200 OK", [("Content-Length", str(len(said)))])
        return [said]
    """


@pytest.fixture
def calls() -> Iterator[Calls]:
    with contextlib.closing(Calls()) as found:
        yield found


@pytest.fixture
def clients() -> Iterator[contextlib.ExitStack]:
    """Closes connections that stay open until the end of the test."""
    with contextlib.ExitStack() as stack:
        yield stack


class Occupied:
    """A worker whose threads are all in calls, and other connections that it has."""

    def __init__(
        self, clients: contextlib.ExitStack, calls: Calls, server: Process, *, workers: int = 2,
        threads: int = 1, kind: str = "hold", kept: int = 4,
    ) -> None:
        self.places = addresses(server)
        by_worker = defaultdict(list)
        count = workers * (threads + kept) * len(self.places)
        for pid, client in opened_evenly(clients, self.places, count, workers):
            by_worker[pid].append(client)
        self.pid, its = max(by_worker.items(), key=lambda item: len(item[1]))
        self.busy, self.kept = its[:threads], its[threads:]
        self.others = [pid for pid in by_worker if pid != self.pid]
        for client in self.busy:
            client.send(request(f"/{kind}/{calls.port}"))
            assert calls.entered() == self.pid

    def released(self, calls: Calls) -> list[Response]:
        """Let the calls go; their answers."""
        calls.let_go()
        return [client.response() for client in self.busy]


def told(response: Response) -> list[str]:
    """The words of an answer of ``echo``."""
    assert response.status == 200, response
    return response.body.decode().split()


# -- a waiting request goes to who is free -------------------------------------------------------


@pytest.mark.parametrize("way", ["tcp", "unix"])
@pytest.mark.parametrize("kind", ["hold", "compute"])
@pytest.mark.parametrize(("workers", "threads"), [(2, 1), (2, 4), (4, 1), (4, 4), (8, 2)])
def test_requests_on_kept_connections_do_not_wait_for_a_worker_in_calls(
    workers: int, threads: int, kind: str, way: str, project: Project, calls: Calls,
    clients: contextlib.ExitStack,
) -> None:
    where = project(app=APP)
    extra = ["--bind", f"unix:{where}/socket"] if way == "unix" else []
    command = ["-w", str(workers), "--threads", str(threads), *extra, "app:app"]
    with spawn(*command, cwd=where) as server:
        ready(server)
        one = Occupied(clients, calls, server, workers=workers, threads=threads, kind=kind)
        for client in one.kept:
            client.send(request())
        assert {int(client.response().body) for client in one.kept} <= set(one.others)
        assert {response.status for response in one.released(calls)} == {200}
        for client in one.busy + one.kept:  # each is where it is, and serves on
            assert client.fetch("/").status == 200


def sent(kind: str) -> tuple[bytes, bytes]:
    """A request with a body of some kind, and the body."""
    if kind == "none":
        return request("/x"), b""
    size = {"small": 10, "chunked": 50_000}.get(kind, 300_000)
    body = os.urandom(size)
    if kind.startswith("chunked"):
        pieces = [body[at : at + 7001] for at in range(0, size, 7001)]
        return request("/x", "Transfer-Encoding: chunked", method="PUT") + chunked(*pieces), body
    return request("/x", method="PUT", body=body), body


@pytest.mark.parametrize("kind", ["none", "small", "large", "file", "chunked", "chunked file"])
def test_a_request_arrives_whole(
    kind: str, project: Project, calls: Calls, clients: contextlib.ExitStack,
) -> None:
    extra = ["--body-memory", "1000" if "file" in kind else "1000000"]
    with spawn("-w", "2", *extra, "app:echo", cwd=project(app=ECHO)) as server:
        ready(server)
        one = Occupied(clients, calls, server)
        client = one.kept[0]
        data, body = sent(kind)
        client.send(data)
        pid, method, path, address, port, server_port, size, check = told(client.response())
        assert int(pid) in one.others
        assert (method, path) == ("PUT" if body else "GET", "/x")
        assert (address, int(port)) == client.socket.getsockname()[:2]
        assert int(server_port) == server.address[1]
        assert (int(size), int(check)) == (len(body), zlib.crc32(body))
        one.released(calls)


def test_leave_to_send_a_body_is_given_once(
    project: Project, calls: Calls, clients: contextlib.ExitStack,
) -> None:
    with spawn("-w", "2", "app:echo", cwd=project(app=ECHO)) as server:
        ready(server)
        one = Occupied(clients, calls, server)
        client = one.kept[0]
        client.send(request("/x", "Expect: 100-continue", "Content-Length: 5", method="PUT"))
        assert client.response().status == 100
        client.send(b"12345")
        assert told(client.response())[6] == "5"
        one.released(calls)


def test_pipelined_requests_are_answered_in_order(
    project: Project, calls: Calls, clients: contextlib.ExitStack,
) -> None:
    with spawn("-w", "2", "app:echo", cwd=project(app=ECHO)) as server:
        ready(server)
        one = Occupied(clients, calls, server)
        for client in one.kept:
            client.send(b"".join(request(f"/{n}", method="PUT", body=b"b" * n) for n in range(20)))
            client.send(request("/la")[:9])  # and the beginning of one more
        for client in one.kept:
            found = [told(client.response()) for _ in range(20)]
            assert [words[2] for words in found] == [f"/{n}" for n in range(20)]
            assert [int(words[6]) for words in found] == list(range(20))
            assert {int(words[0]) for words in found} <= set(one.others)
        for client in one.kept:
            client.send(request("/la")[9:])
            assert told(client.response())[2] == "/la"
        one.released(calls)


def test_of_several_listeners_a_request_keeps_its_own(
    project: Project, calls: Calls, clients: contextlib.ExitStack,
) -> None:
    where = project(app=ECHO)
    binds = ["--bind", f"unix:{where}/socket", "--bind", "127.0.0.1:0", "--bind", "127.0.0.1:0"]
    with spawn("-w", "2", *binds, "app:echo", cwd=where) as server:
        ready(server)
        one = Occupied(clients, calls, server, kept=9)
        for client in one.kept:
            client.send(request("/x"))
            pid, _, _, address, port, server_port, *_ = told(client.response()) if (
                client.socket.family.name == "AF_INET") else ["", "", "", "", "0", "0"]
            if pid:
                assert int(server_port) == client.socket.getpeername()[1]
                assert (address, int(port)) == client.socket.getsockname()[:2]
        one.released(calls)


def test_a_response_that_waits_for_its_client_stays(
    project: Project, calls: Calls, clients: contextlib.ExitStack,
) -> None:
    large = ECHO + """
    def sized(environ, start_response):
        if environ["PATH_INFO"] != "/large":
            return echo(environ, start_response)
        start_response("200 OK", [("Content-Length", str(20 * 1000 * 1000))])
        return [b"x" * (20 * 1000 * 1000)]
    """
    with spawn("-w", "2", "app:sized", cwd=project(app=large)) as server:
        ready(server)
        one = Occupied(clients, calls, server, kept=2)
        one.released(calls)
        reader, *_ = one.kept
        reader.send(request("/large") + request("/x"))  # most of it waits for the client to read
        assert reader.head().status == 200
        one.busy[0].send(request(f"/hold/{calls.port}"))
        calls.entered()
        assert reader.exactly(20 * 1000 * 1000) == b"x" * (20 * 1000 * 1000)
        assert told(reader.response())[2] == "/x"
        calls.let_go()


def test_each_request_is_logged_and_counted_once(
    project: Project, calls: Calls, clients: contextlib.ExitStack,
) -> None:
    where = project(app=ECHO)
    with spawn("-w", "2", "--access-logfile", "access.log", "app:echo", cwd=where) as server:
        ready(server)
        one = Occupied(clients, calls, server, kept=6)
        for n, client in enumerate(one.kept):
            client.send(request(f"/once/{n}"))
        for client in one.kept:
            assert int(told(client.response())[0]) in one.others
        kept = len(one.kept)
        one.released(calls)
        clients.close()
        assert server.terminate() == 0
        lines = (where / "access.log").read_text().splitlines()
        for n in range(kept):
            assert sum(f"GET /once/{n} " in line for line in lines) == 1
        assert f"stopped; requests: {len(lines)}," in server.output()


def test_a_request_comes_back_when_its_sender_is_free_first(
    project: Project, calls: Calls, clients: contextlib.ExitStack,
) -> None:
    with spawn("-w", "2", "app:app", cwd=project(app=APP)) as server:
        ready(server)
        one = Occupied(clients, calls, server)
        (sibling,) = one.others
        os.kill(sibling, signal.SIGSTOP)
        try:
            for client in one.kept:
                client.send(request())
            one.released(calls)
            assert {int(client.response().body) for client in one.kept} == {one.pid}
        finally:
            os.kill(sibling, signal.SIGCONT)


def test_what_a_dead_worker_was_sent_is_not_lost(
    project: Project, calls: Calls, clients: contextlib.ExitStack,
) -> None:
    with spawn("-w", "2", "--log-level", "debug", "app:app", cwd=project(app=APP)) as server:
        ready(server)
        one = Occupied(clients, calls, server)
        (sibling,) = one.others
        os.kill(sibling, signal.SIGSTOP)
        for client in one.kept:
            client.send(request())
        os.kill(sibling, signal.SIGKILL)
        found = {int(client.response().body) for client in one.kept}
        assert found.isdisjoint({one.pid, sibling}), "its replacement has answered"
        one.released(calls)


def test_when_all_are_in_calls_requests_wait_for_whoever_is_free_first(
    project: Project, calls: Calls, clients: contextlib.ExitStack,
) -> None:
    with spawn("-w", "2", "app:app", cwd=project(app=APP)) as server:
        ready(server)
        one = Occupied(clients, calls, server)
        (sibling,) = one.others
        second = Calls()
        with contextlib.closing(second):
            (other,) = [client for pid, client in opened(clients, server.address, 1)
                        if pid == sibling]
            other.send(request(f"/hold/{second.port}"))
            assert second.entered() == sibling
            for client in one.kept:
                client.send(request())
            second.let_go()
            assert {int(client.response().body) for client in one.kept} == {sibling}
        one.released(calls)


# -- a deploy closes nothing ---------------------------------------------------------------------


def kept_open(clients: contextlib.ExitStack, server: Process, count: int) -> list[Client]:
    """Idle connections: some have been used, some never."""
    used = [client for _, client in opened(clients, server.address, count - 3)]
    return used + [clients.enter_context(Client(server.address)) for _ in range(3)]


def serve_on(idle: list[Client], workers: set[int]) -> None:
    """Each connection is open, and belongs to one of these workers."""
    for client in idle:
        response = client.fetch("/")
        assert not response.closes
        assert int(response.body) in workers


def gone(server: Process, pids: list[int]) -> None:
    """Wait until these workers have ended."""
    for pid in pids:
        server.wait_for(rf"worker {pid} exited")


def after_reload(server: Process, before: list[int]) -> set[int]:
    server.signal(signal.SIGHUP)
    new = ready(server, 2)
    gone(server, before)
    return set(new)


def after_a_stop_of_one(server: Process, before: list[int]) -> set[int]:
    os.kill(before[0], signal.SIGTERM)
    server.wait_for(rf"worker {before[0]} ended unexpectedly")
    server.wait_for(r"worker \d+ is ready", count=len(before) + 1)
    started = re.findall(r"worker (\d+) is ready", server.output())
    return {int(pid) for pid in started} - {before[0]}


def after_fewer(server: Process, before: list[int]) -> set[int]:
    server.signal(signal.SIGTTOU)
    server.wait_for(r"worker \d+ exited")
    (left,) = re.findall(r"worker (\d+) exited", server.output())
    return set(before) - {int(left)}


DEPLOYS: dict[str, tuple[int, Callable[[Process, list[int]], set[int]]]] = {
    "reload": (2, after_reload),
    "reload of one": (1, after_reload),
    "stop of a worker": (2, after_a_stop_of_one),
    "fewer workers": (2, after_fewer),
}


WAYS = {"tcp": [], "unix": ["--bind", "unix:{where}/socket"], "preloaded": ["--preload"]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("deploy", DEPLOYS)
def test_idle_connections_outlive_their_worker(
    deploy: str, way: str, project: Project, clients: contextlib.ExitStack,
) -> None:
    workers, change = DEPLOYS[deploy]
    where = project(app=APP)
    extra = [word.format(where=where) for word in WAYS[way]]
    with spawn("-w", str(workers), "--log-level", "debug", *extra, "app:app", cwd=where) as server:
        before = ready(server)
        idle = kept_open(clients, server, 40)
        serve_on(idle, change(server, before))
        for client in idle:
            client.close()
        assert server.terminate() == 0


def test_a_worker_that_is_recycled_closes_nothing(
    project: Project, clients: contextlib.ExitStack,
) -> None:
    with spawn("--max-requests", "20", "--log-level", "debug", "app:app",
               cwd=project(app=APP)) as server:
        (before,) = ready(server)
        idle = kept_open(clients, server, 30)
        gone(server, [before])
        new = {int(pid) for pid in re.findall(r"worker (\d+) is ready", server.output())}
        for client in idle:
            response = client.fetch("/")
            assert response.status == 200
            assert not response.closes
        assert before in new


def upgraded(server: Process) -> int:
    """Start a new master, and wait until it is ready; its id."""
    server.signal(signal.SIGUSR2)
    line = server.wait_for(r"the new master \(pid \d+\) is ready")
    return int(re.findall(r"new master \(pid (\d+)\)", line)[0])


@pytest.mark.parametrize("ends", ["the old", "the new"])
def test_an_upgrade_closes_nothing(
    ends: str, project: Project, clients: contextlib.ExitStack,
) -> None:
    with spawn("-w", "2", "--log-level", "debug", "app:app", cwd=project(app=APP)) as server:
        old = ready(server)
        idle = kept_open(clients, server, 40)
        new_master = upgraded(server)
        new = ready(server, 2)
        try:
            idle += kept_open(clients, server, 40)
            if ends == "the old":
                server.signal(signal.SIGTERM)
                gone(server, old)
                serve_on(idle, set(new))
            else:
                os.kill(new_master, signal.SIGTERM)
                gone(server, new)
                serve_on(idle, set(old))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(new_master, signal.SIGTERM)


def test_a_connection_whose_request_outlasts_a_reload_serves_on(
    project: Project, calls: Calls, clients: contextlib.ExitStack,
) -> None:
    with spawn("--log-level", "debug", "app:app", cwd=project(app=APP)) as server:
        (before,) = ready(server)
        ((_, client),) = opened(clients, server.address, 1)
        client.send(request(f"/hold/{calls.port}"))
        assert calls.entered() == before
        server.signal(signal.SIGHUP)
        (new,) = ready(server, 2)
        calls.let_go()
        response = client.response()
        assert int(response.body) == before
        assert not response.closes
        gone(server, [before])
        assert int(client.fetch("/").body) == new


def test_a_request_under_way_when_its_worker_stops_is_answered(
    project: Project, clients: contextlib.ExitStack,
) -> None:
    with spawn("-w", "2", "--log-level", "debug", "app:echo", cwd=project(app=ECHO)) as server:
        before = ready(server)
        under_way = [client for _, client in opened(clients, server.address, 8)]
        body = b"b" * 5000
        for client in under_way:
            client.send(request("/x", method="PUT", body=body)[:-1000])
        server.signal(signal.SIGHUP)
        ready(server, 2)
        for client in under_way:
            client.send(body[-1000:])
            words = told(client.response())
            assert int(words[6]) == 5000
        gone(server, before)
        for client in under_way:
            assert client.fetch("/x").status == 200


def test_when_the_server_stops_idle_connections_end(
    project: Project, clients: contextlib.ExitStack,
) -> None:
    with spawn("-w", "4", "app:app", cwd=project(app=APP)) as server:
        ready(server)
        idle = [client for _, client in opened(clients, server.address, 40)]
        assert server.terminate() == 0
        assert all(client.ended() for client in idle)


def test_an_upgrade_from_another_layout_shares_nothing(tmp_path: Path) -> None:
    from fastwsgi.worker.siblings import Siblings

    with contextlib.closing(Siblings(2)) as siblings:
        described = siblings.described()
        assert described is not None
        copies = {fd: os.dup(fd) for fd in described["fds"]}
        described["fds"] = list(copies.values())
        described["layout"] += 1
        assert Siblings.inherited(described) is None
        for fd in copies.values():
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)


def test_new_connections_are_answered_while_others_travel(
    project: Project, clients: contextlib.ExitStack,
) -> None:
    with spawn("-w", "2", "app:app", cwd=project(app=APP)) as server:
        ready(server)
        idle = kept_open(clients, server, 200)
        for number in range(2, 5):
            server.signal(signal.SIGHUP)
            while server.output().count("] ready: ") < number:
                assert raw(server.address, request("/", "Connection: close")).startswith(
                    b"HTTP/1.1 200")
        for client in idle:
            assert client.fetch("/").status == 200
