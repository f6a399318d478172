"""systemd: sockets it passes, what it is told and when, the watchdog, the example units."""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from apps import ROOT, uwsgi
from apps.client import GET
from apps.command import Project, started

from fastwsgi.testing import Process, environment, raw, spawn

EXAMPLES = ROOT / "examples"

APP = """
    import os
    def app(environ, start_response):
        start_response("200 OK", [])
        seen = sorted(name for name in os.environ
                      if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_")))
        return [f"{environ['SERVER_NAME']} {environ['SERVER_PORT']} {seen}".encode()]
    """

# Keeps the interpreter lock in C, so that no thread of the worker runs, until the fifo is opened.
SILENT = """
    import ctypes, os
    def app(environ, start_response):
        ctypes.PyDLL(None).open(b"gate", os.O_RDONLY)
        start_response("200 OK", [])
        return [b"spoke"]
    """


class Manager:
    """The service manager's end of sd_notify(3)."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)

    def hears(self, word: str) -> dict[str, str]:
        """Wait for a message with ``word`` in it, and return that message."""
        self._socket.settimeout(30)
        while True:
            message = dict(line.split("=", 1) for line in
                           self._socket.recv(4096).decode().splitlines())
            if word in message:
                return message

    def waiting(self) -> list[str]:
        """Take the messages that have come so far."""
        found = []
        while select.select([self._socket], [], [], 0)[0]:
            found.append(self._socket.recv(4096).decode())
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with contextlib.closing(Manager(tmp_path / "notify")) as found:
        yield found


@contextlib.contextmanager
def activated(
    where: Path, listener: socket.socket, *args: str, pid: str = "os.getpid()",
) -> Iterator[Process]:
    """A server that is passed ``listener`` as systemd does: as descriptor 3, with its own pid."""
    script = f"""
import os, sys
os.dup2({listener.fileno()}, 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str({pid}))
os.execv(sys.executable, [sys.executable, "-m", "fastwsgi", *sys.argv[1:]])
"""
    command = ["-c", script, *args, "app:app"]
    with started(command, where, pass_fds=[listener.fileno()]) as server:
        yield server


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.mark.parametrize("workers", ["0", "1"])
def test_serves_on_the_sockets_that_systemd_passes(
    project: Project, listening: socket.socket, workers: str,
) -> None:
    port = listening.getsockname()[1]
    with activated(project(app=APP), listening, "-w", workers) as server:
        assert server.port == port
        assert f"127.0.0.1 {port} []".encode() in raw(("127.0.0.1", port), GET)


def test_sockets_of_systemd_speak_what_protocol_says(
    project: Project, listening: socket.socket,
) -> None:
    with activated(project(app=APP), listening, "--protocol", "uwsgi") as server:
        assert server.url.startswith("uwsgi://127.0.0.1:")
        assert b"front 80 []" in uwsgi.fetch(listening.getsockname()).body


def test_bind_beside_sockets_of_systemd_is_noticed(
    project: Project, listening: socket.socket,
) -> None:
    with activated(project(app=APP), listening, "-b", "127.0.0.1:1") as server:
        server.wait_for(r"bind \(from command line --bind\) is not used: systemd has opened the")


def test_sockets_meant_for_another_process_are_left_alone(
    project: Project, listening: socket.socket,
) -> None:
    with activated(project(app=APP), listening, "-b", "127.0.0.1:0", pid="1") as server:
        assert server.port != listening.getsockname()[1]


def test_a_path_that_systemd_has_opened_stays(project: Project, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        with activated(project(app=APP), sock) as server:
            assert b"localhost 80 []" in raw(path, GET)
            assert server.terminate() == 0
    assert Path(path).exists()


def test_something_that_is_no_stream_socket_is_refused(project: Project) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(RuntimeError, match=r"cannot listen on a socket from systemd: not a stream"),
        activated(project(app=APP), sock),
    ):
        pass


@pytest.mark.parametrize("workers", ["0", "2"])
def test_tells_readiness_and_stop(project: Project, manager: Manager, workers: str) -> None:
    where = project(app=APP)
    with spawn("-w", workers, "app:app", cwd=where, env={"NOTIFY_SOCKET": manager.path}) as server:
        assert manager.hears("READY")["READY"] == "1"
        assert raw(server.address, GET).count(b" []") == 1
        server.signal(signal.SIGTERM)
        assert manager.hears("STOPPING")["STOPPING"] == "1"
        assert server.wait() == 0


def test_tells_a_reload_and_its_end(project: Project, manager: Manager) -> None:
    where = project(app=APP)
    before = time.monotonic_ns() // 1000
    with spawn("app:app", cwd=where, env={"NOTIFY_SOCKET": manager.path}) as server:
        manager.hears("READY")
        server.signal(signal.SIGHUP)
        told = manager.hears("RELOADING")
        assert before < int(told["MONOTONIC_USEC"]) < time.monotonic_ns() // 1000
        assert manager.hears("READY")["STATUS"] == "1 workers serve"
        project(app="raise OSError")
        server.signal(signal.SIGHUP)
        manager.hears("RELOADING")
        assert "abandoned" in manager.hears("READY")["STATUS"]
        project({"fastwsgi.conf.py": "workers = 'lots'"})
        server.signal(signal.SIGHUP)
        manager.hears("RELOADING")
        assert "refused" in manager.hears("READY")["STATUS"]


def test_an_abstract_address_of_the_manager_is_understood(project: Project) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("abstract names are Linux'")
    name = f"fastwsgi-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        sock.settimeout(30)
        with spawn("app:app", cwd=project(app=APP), env={"NOTIFY_SOCKET": f"@{name}"}):
            assert b"READY=1" in sock.recv(4096)


def test_an_upgrade_hands_the_service_over(project: Project, manager: Manager) -> None:
    where = project(app=APP)
    with spawn("app:app", cwd=where, env={"NOTIFY_SOCKET": manager.path}) as server:
        manager.hears("READY")
        server.signal(signal.SIGUSR2)
        manager.hears("READY")
        line = server.wait_for(r"the new master \(pid \d+\) is ready")
        new = int(re.findall(r"new master \(pid (\d+)\)", line)[0])
        try:
            server.signal(signal.SIGTERM)
            assert int(manager.hears("MAINPID")["MAINPID"]) == new
            assert manager.hears("READY")["STATUS"] == "the upgrade is finished"
        finally:
            os.kill(new, signal.SIGTERM)
        assert server.wait() == 0
        manager.hears("STOPPING")


def test_an_upgrade_keeps_the_sockets_of_systemd(
    project: Project, listening: socket.socket,
) -> None:
    with activated(project(app=APP), listening) as server:
        server.signal(signal.SIGUSR2)
        line = server.wait_for(r"the new master \(pid \d+\) is ready")
        new = int(re.findall(r"new master \(pid (\d+)\)", line)[0])
        try:
            server.signal(signal.SIGTERM)
            server.wait_for("the upgrade is finished")
            assert b"200 OK" in raw(listening.getsockname(), GET)
        finally:
            os.kill(new, signal.SIGTERM)


@pytest.mark.parametrize("args", [["-w", "0"], ["-w", "2"], ["--preload"]], ids=" ".join)
def test_feeds_the_watchdog_while_workers_live(
    project: Project, manager: Manager, args: list[str],
) -> None:
    where = project(app=APP)
    with spawn(*args, "app:app", cwd=where,
               env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "600000"}):
        for _ in range(6):
            manager.hears("WATCHDOG")


def test_a_watchdog_of_another_process_is_not_fed(project: Project, manager: Manager) -> None:
    where = project(app=APP)
    with spawn("app:app", cwd=where, env={
            "NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}) as server:
        manager.hears("READY")
        server.terminate()
        assert not [text for text in manager.waiting() if "WATCHDOG" in text]


def test_the_watchdog_starves_when_no_worker_shows_life(
    project: Project, manager: Manager, tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "gate")
    where = project(app=SILENT)
    with spawn("--timeout", "0.1", "app:app", cwd=where, env={
            "NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "600000"}) as server:
        manager.hears("WATCHDOG")
        with socket.create_connection((server.host, server.port)) as sock:
            sock.sendall(GET)
            try:
                server.wait_for("no worker has shown a sign of life for 0.3 s; the watchdog is no")
                manager.waiting()
            finally:  # whatever happens: nothing but SIGKILL would end that worker
                os.close(os.open(tmp_path / "gate", os.O_RDWR))
            # its answer, or the 503 of a request that is over its time
            assert sock.makefile("rb").readline().startswith(b"HTTP/1.1 ")
        manager.hears("WATCHDOG")


def units() -> list[Path]:
    return sorted(EXAMPLES.glob("fastwsgi.*"))


def unit(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


def test_flags_of_the_example_exist() -> None:
    start = unit(EXAMPLES / "fastwsgi.service")["Service"]["ExecStart"]
    shown = subprocess.run([sys.executable, "-m", "fastwsgi", "--help", "all"], check=True,
                           text=True, capture_output=True,
                           env=environment({"COLUMNS": "200"})).stdout
    flags = set(re.findall(r"(?<!\S)--?[a-z][\w-]*", start))
    assert flags
    assert flags <= set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", shown))


def test_the_example_starts(project: Project) -> None:
    start = unit(EXAMPLES / "fastwsgi.service")["Service"]["ExecStart"].split()
    where = project({"shop/__init__.py": "", "shop/wsgi.py": APP.replace("app(", "application(")})
    with spawn(*start[1:], cwd=where) as server:
        assert raw(server.address, GET).startswith(b"HTTP/1.1 200")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_finds_no_fault_in_the_examples(tmp_path: Path) -> None:
    for path in units():  # which name a program that is not here
        text = path.read_text(encoding="utf-8")
        (tmp_path / path.name).write_text(
            text.replace("/srv/shop/venv/bin/fastwsgi", "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if "fastwsgi" in line]
    assert ours == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_finds_little_that_the_example_exposes() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20",
         str(EXAMPLES / "fastwsgi.service")], capture_output=True, text=True, timeout=60)
    if "Overall exposure level" not in done.stdout + done.stderr:
        pytest.skip("this systemd cannot judge units that are not installed")
    assert done.returncode == 0, done.stdout + done.stderr
