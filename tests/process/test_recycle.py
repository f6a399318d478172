"""Workers that are replaced: by requests, age and memory; never before the replacement is ready."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import pytest
from apps.client import GET
from apps.command import Project, ready

from fastwsgi.config.sources import from_keywords
from fastwsgi.testing import Process, raw, spawn
from fastwsgi.worker.recycle import Limits

APP = """
    import os
    kept = []
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/grow":
            kept.append(bytearray(os.urandom(1)) * (64 << 20))
        body = b"in %d" % os.getpid()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    """


def events(server: Process) -> list[tuple[str, str]]:
    """The comings and goings of workers, in order: (pid, event)."""
    return re.findall(r"\] worker (\d+) (is ready|is stopping|ended)", server.output())


def fewest_serving(server: Process) -> int:
    """How many workers served at the worst moment since all were ready."""
    serving: set[str] = set()
    counts: list[int] = []
    for pid, event in events(server):
        (serving.add if event == "is ready" else serving.discard)(pid)
        counts.append(len(serving))
    return min(counts[counts.index(max(counts)) :])


def test_a_worker_that_has_served_enough_is_replaced_without_a_gap(project: Project) -> None:
    where = project(app=APP)
    with spawn("--max-requests", "20", "--log-level", "debug", "app:app", cwd=where) as server:
        (first,) = ready(server)
        for _ in range(20):
            assert raw(server.address, GET).startswith(b"HTTP/1.1 200")
        server.wait_for(r"asking for a replacement: 2\d requests served")
        server.wait_for(rf"worker {first} exited \(exit code 0\)")
        assert f"in {first}".encode() not in raw(server.address, GET)
        assert fewest_serving(server) == 1


def test_an_idle_keep_alive_connection_outlives_its_worker(
    project: Project,
) -> None:
    where = project(app=APP)
    with (
        spawn("--max-requests", "20", "--log-level", "debug", "app:app", cwd=where) as server,
        socket.create_connection((server.host, server.port)) as sock,
    ):
        sock.settimeout(30)
        answers = sock.makefile("rb")
        for _ in range(20):
            sock.sendall(GET.replace(b"Connection: close\r\n", b""))
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            while answers.readline() != b"\r\n":
                pass
            assert answers.read(3) == b"in "
            answers.read(len(str(ready(server)[0])))
        server.wait_for(r"worker \d+ exited \(exit code 0\)")
        sock.sendall(GET)
        assert answers.read().startswith(b"HTTP/1.1 200 OK\r\n")


def test_workers_that_reach_a_limit_together_go_one_by_one(project: Project) -> None:
    where = project(app=APP)
    with spawn("-w", "3", "--max-lifetime", "0.3", "--log-level", "debug", "app:app",
               cwd=where) as server:
        first = ready(server)
        for pid in first:
            server.wait_for(rf"worker {pid} exited \(exit code 0\)")
        assert fewest_serving(server) == 3
        assert "asking for a replacement: served for 0.3 s" in server.output()
        assert raw(server.address, GET).startswith(b"HTTP/1.1 200")


def test_a_worker_that_has_grown_too_large_is_replaced(project: Project) -> None:
    where = project(app=APP)
    with spawn("--max-rss", "400", "--log-level", "debug", "app:app", cwd=where) as server:
        (first,) = ready(server)
        raw(server.address, GET)
        assert "asking" not in server.output()
        for _ in range(8):
            raw(server.address, GET.replace(b"/", b"/grow", 1))
        server.wait_for(r"asking for a replacement: [4-9]\d\d MiB of memory used")
        server.wait_for(rf"worker {first} exited \(exit code 0\)")
        assert raw(server.address, GET).startswith(b"HTTP/1.1 200")


def test_a_memory_limit_below_a_fresh_worker_is_not_kept(project: Project) -> None:
    with spawn("--max-rss", "1", "app:app", cwd=project(app=APP)) as server:
        server.wait_for(r"max_rss of 1 MiB is ignored: a new worker of this application takes")
        assert raw(server.address, GET).startswith(b"HTTP/1.1 200")
        assert "asking" not in server.output()


def test_a_worker_goes_on_when_its_replacement_does_not_start(project: Project) -> None:
    where = project(app=APP)
    with spawn("--max-requests", "1", "app:app", cwd=where) as server:
        (first,) = ready(server)
        project(app="import os; os._exit(9)")
        raw(server.address, GET)
        server.wait_for(r"worker \d+ ended before it was ready \(exit code 9\)", count=2)
        assert f"in {first}".encode() in raw(server.address, GET)
        assert server.terminate() == 0


def test_preloaded_workers_are_replaced_too(project: Project) -> None:
    where = project(app=APP)
    with spawn("--preload", "-w", "2", "--max-lifetime", "0.2", "--log-level", "debug", "app:app",
               cwd=where) as server:
        for pid in ready(server):
            server.wait_for(rf"worker {pid} exited \(exit code 0\)")
        assert fewest_serving(server) == 2


def test_a_jitter_spreads_the_limits() -> None:
    config = from_keywords({"max_requests": 1, "max_requests_jitter": 1_000_000})
    assert Limits(config, lambda: {"requests": 0}).reached() == ""
    drawn = {Limits(config, lambda: {"requests": 500_000}).reached() for _ in range(100)}
    assert drawn == {"", "500000 requests served"}


@pytest.mark.parametrize("flag", ["--max-requests", "--max-lifetime", "--max-rss"])
def test_limits_need_a_master(command: Callable[..., object], flag: str) -> None:
    done = command("-w", "0", flag, "5", "app:app")
    assert f"workers must be 1 or more for {flag[2:].replace('-', '_')} " in done.stderr


def test_a_jitter_of_nothing_is_noticed(project: Project) -> None:
    with spawn("--max-requests-jitter", "5", "app:app", cwd=project(app=APP)) as server:
        server.wait_for(r"max_requests_jitter \(from command line --max-requests-jitter\) has no")
