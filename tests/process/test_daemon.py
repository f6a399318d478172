"""--daemon: when the command returns and with what, what the daemon keeps, WINCH and upgrades."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apps.client import GET
from apps.command import Command, Project
from apps.fifo import Fifo

from fastwsgi.testing import raw, spawn

APP = """
    import os
    def app(environ, start_response):
        start_response("200 OK", [])
        kept = [os.readlink(f"/proc/self/fd/{n}") for n in range(3) if os.path.exists("/proc")]
        return [f"{os.getsid(0)} {os.getppid()} {' '.join(kept)}".encode()]
    """


class Daemon:
    """A server that ``start`` has started: its log, a named pipe; its pid file; its address."""

    def __init__(self, place: Path) -> None:
        self.address = str(place / "s")
        self.log = Fifo(place / "log")
        self._pidfile = place / "pid"

    @property
    def pid(self) -> int:
        return int(self._pidfile.read_text("ascii"))

    def stop(self) -> bool:
        """End it, and wait until the last of its processes has closed the log."""
        try:
            os.kill(self.pid, signal.SIGTERM)
        except (OSError, ValueError):  # it did not start
            return True
        return self.log.end()


@pytest.fixture
def start(tmp_path: Path, command: Command, project: Project) -> Iterator[Callable[..., Daemon]]:
    daemons = []

    def run(*args: str) -> Daemon:
        project(app=APP)
        daemon = Daemon(tmp_path)
        daemons.append(daemon)
        done = command("-D", "-b", f"unix:{daemon.address}", "-p", "pid", "--error-logfile", "log",
                       *args, "app:app")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return daemon

    yield run
    for daemon in daemons:
        assert daemon.stop(), daemon.log.text
        daemon.log.close()


def test_the_command_returns_when_the_daemon_serves(start: Callable[..., Daemon]) -> None:
    daemon = start()
    answer = raw(daemon.address, GET).rpartition(b"\r\n\r\n")[2].decode().split()
    session, master, *kept = answer
    assert int(master) == daemon.pid
    assert int(session) not in (os.getsid(0), daemon.pid)
    assert set(kept) <= {"/dev/null"}


def test_a_daemon_that_fails_is_told_by_the_exit_code(command: Command, project: Project) -> None:
    where = project(app="raise OSError('no database')")
    done = command("-D", "-b", "127.0.0.1:0", "--error-logfile", "log", "app:app")
    assert done.returncode == 4
    assert done.stderr == ("fastwsgi: error: the server ended before it was ready; its error log "
                           "says why\n")
    assert "OSError: no database" in (where / "log").read_text()


@pytest.mark.parametrize("workers", ["0", "1", "4"])
def test_the_log_of_a_daemon_that_fails_says_why_once(
    command: Command, project: Project, workers: str,
) -> None:
    where = project(app="raise OSError('no database')")
    done = command(
        "-D", "-w", workers, "-b", "127.0.0.1:0", "--error-logfile", "log", "app:app")
    assert done.returncode == 4
    lines = (where / "log").read_text().splitlines()
    assert lines[0].endswith("importing the application module 'app' failed: OSError: no database")
    assert lines[1:2] + lines[-1:] == [
        "Traceback (most recent call last):", "OSError: no database"]
    assert len(lines) == 5


def test_what_fails_before_it_detaches_is_told_on_the_terminal(
    command: Command, project: Project,
) -> None:
    project(app=APP)
    done = command("-D", "-b", "192.0.2.1:1", "--error-logfile", "log", "app:app")
    assert done.returncode == 1
    assert "cannot listen on 192.0.2.1:1" in done.stderr


def test_a_daemon_with_its_log_on_stderr_is_warned(command: Command, project: Project) -> None:
    project(app="raise OSError('never serves')")
    done = command("-D", "-b", "127.0.0.1:0", "app:app")
    assert "the error log is stderr, which a daemon does not have" in done.stderr


def test_a_pid_file_that_refuses_the_start_is_told_in_the_log(
    command: Command, project: Project,
) -> None:
    where = project({"pid": f"{os.getpid()}\n"}, app=APP)
    done = command("-D", "-b", "127.0.0.1:0", "-p", "pid", "--error-logfile", "log", "app:app")
    assert done.returncode == 1
    assert f"names process {os.getpid()}, which is running" in (where / "log").read_text()


def test_winch_stops_the_workers_and_hup_starts_them_again(start: Callable[..., Daemon]) -> None:
    daemon = start("--log-level", "debug")
    os.kill(daemon.pid, signal.SIGWINCH)
    daemon.log.line("SIGWINCH: stopping the workers")
    daemon.log.line(r"worker \d+ exited \(exit code 0\)")
    os.kill(daemon.pid, signal.SIGHUP)
    assert raw(daemon.address, GET, timeout=30).startswith(b"HTTP/1.1 200")


def test_winch_means_a_terminal_to_a_server_in_the_foreground(project: Project) -> None:
    with spawn("--log-level", "debug", "app:app", cwd=project(app=APP)) as server:
        server.signal(signal.SIGWINCH)
        server.wait_for("SIGWINCH ignored: not a daemon")
        assert raw(server.address, GET).startswith(b"HTTP/1.1 200")


def test_a_daemon_can_be_upgraded(start: Callable[..., Daemon]) -> None:
    daemon = start()
    old = daemon.pid
    os.kill(old, signal.SIGUSR2)
    new = int(re.findall(r"new master \(pid (\d+)\)", daemon.log.line("is ready; TERM to this"))[0])
    os.kill(old, signal.SIGTERM)
    daemon.log.line("the upgrade is finished")
    assert daemon.pid == new
    assert raw(daemon.address, GET).startswith(b"HTTP/1.1 200")
