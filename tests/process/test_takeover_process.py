"""A socket that is taken over, and what an operator does meanwhile: stop, reload, limits, numbers.

Rule: whether the conversation goes on is asked by a word that the application answers in capitals,
and what has happened to the server is read from its log. Nothing sleeps.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from apps.client import Client, fetch, request
from apps.command import Project, ready
from apps.eventually import answer_with

from fastwsgi.testing import Process, spawn

APP = """
    import os, time

    def app(environ, start_response):
        sock, path = environ.get("gunicorn.socket"), environ["PATH_INFO"]
        if path == "/echo":
            sock.sendall(b"READY")
            while data := sock.recv(100):
                sock.sendall(data.upper())
            print("the client has left", file=environ["wsgi.errors"])
            return []
        if path == "/deaf":
            sock.sendall(b"READY")
            time.sleep(60)
        while path == "/loop":
            time.sleep(0.01)
        if path == "/child":
            pid = os.fork()
            if pid == 0:
                sock.sendall(b"READY")
                while data := sock.recv(100):
                    sock.sendall(data.upper())
                sock.close()
                os._exit(0)
            return [] if sock.taken_over else None
        if path == "/shared":
            sock.sendall(b"READY")
            pid = os.fork()
            if pid == 0:
                while data := sock.recv(100):
                    sock.sendall(data.upper())
                sock.close()
                os._exit(0)
            os.close(sock.detach())
            print("child", pid, file=environ["wsgi.errors"], flush=True)
            os.waitpid(pid, 0)
            print("the child has ended", file=environ["wsgi.errors"], flush=True)
            return []
        start_response("200 OK", [])
        return [b"%d" % os.getpid()]
    """
UPGRADE = ("Connection: upgrade", "Upgrade: echo")

Running = Callable[..., AbstractContextManager[Process]]


@contextmanager
def talking(server: Process, target: str = "/echo") -> Iterator[Client]:
    """A client that the application has taken over."""
    with Client(server.address) as client:
        client.send(request(target, *UPGRADE))
        assert client.exactly(5) == b"READY"
        yield client


def talks(client: Client) -> bool:
    client.send(b"word")
    return client.exactly(4) == b"WORD"


@pytest.fixture
def running(project: Project) -> Running:
    """Run the application with these options."""
    where = project(app=APP)
    return lambda *args: spawn("--threads", "2", *args, "app:app", cwd=where)


def test_timeout_is_not_for_it(running: Running) -> None:
    with running("--timeout", "0.5") as server, talking(server) as client:
        assert fetch(server.address, "/loop").status == 503  # one that has begun later
        assert fetch(server.address, "/loop").status == 503
        assert talks(client)
        client.finish_sending()
        assert client.rest() == b""
        assert "/echo" not in server.output()


def test_a_graceful_stop_waits_for_it(running: Running) -> None:
    with running("--graceful-timeout", "60") as server, talking(server) as client:
        server.signal(signal.SIGTERM)
        server.wait_for("stopping: finishing requests")
        assert talks(client)
        client.finish_sending()
        assert client.rest() == b""
        assert server.wait() == 0
        assert "the client has left" in server.output()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_and_shuts_it_when_its_time_is_over(
    running: Running, workers: str,
) -> None:
    with (
        running("--graceful-timeout", "0.5", "--workers", workers) as server,
        talking(server) as client,
    ):
        server.signal(signal.SIGTERM)
        assert client.rest() == b""
        assert server.wait() == 0
        assert "the client has left" in server.output()


def test_nobody_waits_for_one_that_does_not_listen(
    running: Running,
) -> None:
    with running("--graceful-timeout", "0.5") as server, talking(server, "/deaf") as client:
        server.signal(signal.SIGTERM)
        assert client.rest() == b""
        assert server.wait() == 0


def test_a_quick_stop_ends_it(running: Running) -> None:
    with running("--graceful-timeout", "60") as server, talking(server) as client:
        server.signal(signal.SIGQUIT)
        assert client.rest() == b""
        assert server.wait() == 0


def test_a_reload_leaves_it_with_the_old_worker(
    running: Running,
) -> None:
    with running("--graceful-timeout", "60", "--workers", "1") as server:
        (old,) = ready(server)
        with talking(server) as client:
            server.signal(signal.SIGHUP)
            (new,) = ready(server, 2)
            assert new != old
            answer_with(server.address, request("/", "Connection: close"), b"%d" % new)
            assert talks(client)
            client.finish_sending()
            assert client.rest() == b""


def test_max_requests_counts_it_and_the_replaced_worker_goes_on_with_it(
    running: Running,
) -> None:
    with (
        running("--graceful-timeout", "60", "--workers", "1", "--max-requests", "1",
                "--log-level", "debug") as server,
        talking(server) as client,
    ):
        server.wait_for(r"worker \d+ is ready", count=2)
        assert talks(client)


def test_a_child_may_speak_while_its_parent_lets_go(
    running: Running,
) -> None:
    with running() as server, talking(server, "/shared") as client:
        server.wait_for(r"child \d+")
        assert talks(client)
        client.finish_sending()
        assert client.rest() == b""
        server.wait_for("the child has ended")
        assert fetch(server.address).status == 200


def test_a_child_cannot_take_it_itself(running: Running) -> None:
    """It ends where it comes back to the server, as with write()."""
    with running() as server, Client(server.address) as client:
        response = client.fetch("/child", *UPGRADE)
        assert response.status == 500  # the parent's, whose application has returned None
        assert fetch(server.address).status == 200

