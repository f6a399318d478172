"""A write whose reader has gone fails by itself, whatever the application does to SIGPIPE.

Rule: the application gives the signal its default effect in the process that serves it, then each
thing that the server writes to is taken away, and the same process answers afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from apps import TESTS
from apps.client import TIMEOUT, Client, fetch, request
from apps.fifo import Fifo
from apps.gated import Gate

from fastwsgi.testing import environment, spawn

APP = "apps.sigpipe:app"


@pytest.fixture(params=["1", "2"], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_file_is_sent_to_a_client_that_has_gone(threads: str) -> None:
    """The head still leaves; the client's reset meets the bytes of the file behind it."""
    with Gate() as gate, spawn("-w", "0", "--threads", threads, APP, cwd=TESTS) as server:
        assert fetch(server.address).body == b"hello"
        for _ in range(3):
            with Client(server.address) as client:
                client.send(request(gate.hold.replace("/hold/", "/file/")))
                gate.entered()
            gate.let_go()
        assert fetch(server.address).body == b"hello"
        assert server.wait_for("hello")


def served(*arguments: str, output: int | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "fastwsgi", "-w", "0", *arguments, APP]
    return subprocess.Popen(command, cwd=TESTS, env=environment({}), stderr=output)


def answers(address: str) -> None:
    for _ in range(5):
        with Client(address) as client:
            for _ in range(3):
                assert client.fetch().body == b"hello"


@pytest.mark.parametrize("named", [True, False], ids=["a named pipe", "stderr"])
def test_the_error_log_is_a_pipe_that_nobody_reads(
    tmp_path: Path, threads: str, named: bool
) -> None:
    place = str(tmp_path / "socket")
    pipe = Fifo(tmp_path / "log")
    writing = os.open(tmp_path / "log", os.O_WRONLY)
    log = str(tmp_path / "log") if named else "-"
    server = served("-b", f"unix:{place}", "--threads", threads, "--error-logfile", log,
                    output=writing)  # fmt: skip
    try:
        assert pipe.shows("ready")
        assert fetch(place).body == b"hello"
        assert pipe.shows("hello")
        pipe.close()
        os.close(writing)
        answers(place)
    finally:
        server.terminate()
        assert server.wait(TIMEOUT) == 0


def test_the_access_log_is_a_pipe_that_nobody_reads(tmp_path: Path, threads: str) -> None:
    pipe = Fifo(tmp_path / "log")
    arguments = ("-w", "0", "--threads", threads, "--access-logfile", str(tmp_path / "log"), APP)
    with spawn(*arguments, cwd=TESTS) as server:
        assert fetch(server.address).body == b"hello"
        assert pipe.shows("GET /")
        pipe.close()
        assert isinstance(server.address, tuple)
        for _ in range(5):
            with Client(server.address) as client:
                for _ in range(3):
                    assert client.fetch().body == b"hello"
        server.wait_for("Broken pipe")
