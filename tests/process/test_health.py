"""What probes are told: whether the server lives, and whether requests should come to it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from apps.client import Client, request
from apps.command import HELLO, Command, Project, ready
from apps.eventually import eventually
from apps.held import Held

from fastwsgi.testing import Process, raw, spawn

PATHS = HEALTH, LIVE, READY = ("/health", "/live", "/ready")
PROBES = ("--health-path", HEALTH, "--live-path", LIVE, "--ready-path", READY)
LONG = "60"
WAYS = ["0", "2"]


def probed(client: Client) -> list[int]:
    """The status of each path."""
    return [client.fetch(path).status for path in PATHS]


def until_it_drains(client: Client) -> None:
    """Probe until the worker has heard of it, which its master has logged before."""
    eventually(lambda: probed(client), lambda found: found == [503, 200, 503])


@contextlib.contextmanager
def draining(
    where: Path, workers: str, delay: str = LONG, env: dict[str, str | None] | None = None,
) -> Iterator[Process]:
    """A server that has been told to stop, and has a delay before it does."""
    with spawn("-w", workers, "--drain-delay", delay, *PROBES, "app:app", cwd=where,
               env=env) as server:
        server.signal(signal.SIGTERM)
        server.wait_for("draining")
        yield server


@pytest.mark.parametrize("workers", WAYS)
def test_while_it_drains_it_serves_and_is_not_ready(project: Project, workers: str) -> None:
    with draining(project(app=HELLO), workers) as server:
        with Client(server.address) as client:
            until_it_drains(client)
            assert client.fetch(READY).body == b"draining\n"
            assert client.fetch("/").body == b"hello"
        assert raw(server.address, request("/", "Connection: close")).endswith(b"hello")
        server.signal(signal.SIGTERM)  # it need not wait any longer
        assert server.wait() == 0
        assert "ended unexpectedly" not in server.output()


@pytest.mark.parametrize("workers", WAYS)
def test_the_delay_ends_by_itself_in_a_graceful_stop(
    project: Project, workers: str, tmp_path: Path,
) -> None:
    app = """
        import os
        def app(environ, start_response):
            environ["wsgi.errors"].write("entered\\n")
            with open(os.environ["GATE"]) as gate:
                gate.read()
            start_response("200 OK", [])
            return [b"done"]
        """
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with (
        draining(project(app=app), workers, "0.2", env={"GATE": str(gate)}) as server,
        Client(server.address) as client, Client(server.address) as idle,
    ):
        client.send(request("/"))
        server.wait_for("entered")
        assert idle.fetch(LIVE).status == 200
        assert idle.ended()  # the stop has begun
        gate.write_text("go")
        assert client.response().body == b"done"
        client.close()
        assert server.wait() == 0


@pytest.mark.parametrize("workers", WAYS)
def test_a_quick_stop_ends_the_delay(project: Project, workers: str) -> None:
    with draining(project(app=HELLO), workers) as server:
        server.signal(signal.SIGINT)
        assert server.wait() == 0


def test_a_worker_that_dies_in_the_delay_is_replaced_by_one_that_drains(project: Project) -> None:
    with spawn("-w", "1", "--drain-delay", LONG, *PROBES, "app:app",
               cwd=project(app=HELLO)) as server:
        (pid,) = ready(server)
        server.signal(signal.SIGTERM)
        server.wait_for("draining")
        os.kill(pid, signal.SIGKILL)
        server.wait_for("ended unexpectedly")
        with Client(server.address) as client:
            until_it_drains(client)


def test_neither_a_reload_nor_an_upgrade_begins_in_the_delay(project: Project) -> None:
    with draining(project(app=HELLO), "1") as server:
        server.signal(signal.SIGHUP)
        server.signal(signal.SIGUSR2)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "reloading" not in server.output()
        assert "upgrading" not in server.output()


def test_a_worker_that_is_replaced_does_not_drain(project: Project) -> None:
    with spawn("-w", "1", "--drain-delay", LONG, *PROBES, "--log-level", "debug", "app:app",
               cwd=project(app=HELLO)) as server:
        (old,) = ready(server)
        server.signal(signal.SIGHUP)
        server.wait_for(rf"worker {old} exited")  # which may take connections until then
        with Client(server.address) as client:
            assert probed(client) == [200, 200, 200]
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        assert "draining" not in server.output()


def test_an_overloaded_server_is_alive_and_not_ready(held: Held) -> None:
    with (
        held.served(queue=1, health_path=HEALTH, live_path=LIVE, ready_path=READY) as server,
        Client(server.address) as probe, Client(server.address) as waiting,
    ):
        assert probed(probe) == [200, 200, 200]
        with held.standing(server):
            waiting.send(request("/hold"))
            while probed(probe) != [200, 200, 503]:  # until it waits
                pass
            assert probe.fetch(READY).body == b"overloaded\n"
        held.let_go()
        assert waiting.response().status == 200
        assert probed(probe) == [200, 200, 200]


def test_heads_are_answered_and_other_methods_are_the_applications(held: Held) -> None:
    with (
        held.served(live_path=LIVE, ready_path=READY) as server, Client(server.address) as client,
    ):
        assert client.fetch(READY, method="HEAD").body == b""
        assert client.fetch(READY, method="POST").body == b"/ready"
        assert client.fetch(f"{LIVE}?full").body == b"ok\n"
        assert client.fetch(HEALTH).body == b"/health"


def test_a_path_has_one_meaning(command: Command) -> None:
    done = command("--live-path", "/up", "--ready-path", "/up", "app:app")
    assert done.returncode == 2
    assert ("ready_path (from command line --ready-path) and live_path (from command line "
            "--live-path) must differ: both are '/up'") in done.stderr
