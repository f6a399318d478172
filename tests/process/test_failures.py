"""What goes wrong around a server, and that the service goes on or ends as it should.

Workers that die, reloads that fail and forks that are refused are in test_master.py and
test_preload.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from apps.client import GET
from apps.command import Project
from apps.eventually import GUARD

from fastwsgi.testing import environment, raw, spawn

TALKATIVE = """
    def app(environ, start_response):
        for _ in range(100):
            print("x" * 1000, file=environ["wsgi.errors"])
        start_response("200 OK", [])
        return [b"answered"]
    """

# Says where it is while the application is imported, and stays there until the fifo is opened.
SLOW_IMPORT = """
    import os, sys
    os.write(2, b"importing\\n")
    open("gate").read()
    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"answered"]
    """

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux'")


def exchange(client: socket.socket, path: str) -> None:
    """Send a request and read its answer, on a connection that stays open."""
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    received = b""
    while not received.endswith(b"\r\n\r\nanswered"):
        received += client.recv(4096)


def answered(address: str) -> bool:
    """Whether a server serves on a unix socket."""
    try:
        return b"answered" in raw(address, GET)
    except OSError:
        return False


@needs_full
@pytest.mark.parametrize("log", ["file", "stderr"])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_full_disk_for_the_log_costs_no_request(
    project: Project, tmp_path: Path, log: str, workers: str,
) -> None:
    address = str(tmp_path / "s")
    name = "/dev/full" if log == "file" else "-"
    with open("/dev/full", "w") as full, subprocess.Popen(
        [sys.executable, "-m", "fastwsgi", "-w", workers, "-b", f"unix:{address}", "--log-file",
         name, "app:app"], cwd=project(app=TALKATIVE), env=environment({}), stderr=full,
    ) as server:
        try:
            end = time.monotonic() + 30
            while not answered(address):
                assert time.monotonic() < end
            for number in (signal.SIGUSR1, signal.SIGHUP if workers != "0" else signal.SIGUSR1):
                server.send_signal(number)
                for _ in range(5):
                    assert answered(address)
            server.terminate()
            assert server.wait(30) == 0
        finally:
            server.kill()


def test_all_requests_in_flight_are_answered_before_the_end(
    project: Project, tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "gate")
    where = project(app="""
        def app(environ, start_response):
            if environ["PATH_INFO"] == "/first":
                print("entered", file=environ["wsgi.errors"])
                open("gate").read()
            body = b"answered"
            start_response("200 OK", [("Content-Length", "8")])
            return [body]
        """)
    with spawn("app:app", cwd=where) as server, contextlib.ExitStack() as stack:
        clients = []
        for _ in range(20):
            client = stack.enter_context(socket.create_connection((server.host, server.port)))
            client.settimeout(60)
            clients.append(client)
            exchange(client, "/")
        clients[0].sendall(b"GET /first HTTP/1.1\r\nHost: h\r\n\r\n")
        server.wait_for("entered")
        for client in clients[1:]:
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        server.signal(signal.SIGTERM)
        server.wait_for("stopping: finishing requests")
        (tmp_path / "gate").write_text("go")
        for client in clients:
            with client.makefile("rb") as answers:
                assert answers.read().endswith(b"answered")
            client.close()
        assert server.wait() == 0


@pytest.mark.parametrize("args", [["-w", "2"], ["--preload"]], ids=" ".join)
def test_nothing_remains_of_a_master_killed_while_its_workers_import(
    project: Project, tmp_path: Path, args: list[str],
) -> None:
    os.mkfifo(tmp_path / "gate")
    with subprocess.Popen(
        [sys.executable, "-m", "fastwsgi", *args, "-b", "127.0.0.1:0", "app:app"],
        cwd=project(app=SLOW_IMPORT), env=environment({}), stderr=subprocess.PIPE, text=True,
    ) as server:
        assert server.stderr is not None
        for line in server.stderr:
            if line == "importing\n":
                break
        server.kill()
        began = time.monotonic()
        server.stderr.read()  # it ends when the last process that could write to it has ended
        assert time.monotonic() - began < GUARD


@pytest.mark.parametrize("args", [["-w", "2"], ["--preload"]], ids=" ".join)
def test_a_stop_does_not_wait_for_an_import(
    project: Project, tmp_path: Path, args: list[str],
) -> None:
    os.mkfifo(tmp_path / "gate")
    with subprocess.Popen(
        [sys.executable, "-m", "fastwsgi", *args, "-b", "127.0.0.1:0", "app:app"],
        cwd=project(app=SLOW_IMPORT), env=environment({}), stderr=subprocess.PIPE, text=True,
    ) as server:
        assert server.stderr is not None
        for line in server.stderr:
            if line == "importing\n":
                break
        server.terminate()
        assert "did not stop in time" not in server.stderr.read()
        assert server.wait(30) == 0
