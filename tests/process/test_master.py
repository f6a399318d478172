"""The master: births, deaths, signals, reload, and what remains when it is killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apps.client import GET
from apps.command import Project, ready
from apps.eventually import answer_with
from apps.fifo import Fifo

from fastwsgi.testing import Process, environment, raw, spawn

APP = """
    import os
    def app(environ, start_response):
        body = f"version 1 in {os.getpid()} env {os.environ.get('COLOUR')}".encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    """

# Says that it was entered and then never answers.
HANGING = """
    import signal
    def app(environ, start_response):
        print("entered", file=environ["wsgi.errors"])
        while True:
            signal.pause()
    """

# The same, and no other Python code runs in that process any more.
HELD = """
    import re
    def app(environ, start_response):
        print("entered", file=environ["wsgi.errors"])
        re.match("(a+)+$", "a" * 60 + "b")
    """


@pytest.fixture
def begin() -> Iterator[Callable[[Process], None]]:
    """Send a request whose answer nobody waits for, on a connection that stays open."""
    with contextlib.ExitStack() as stack:

        def send(server: Process) -> None:
            sock = stack.enter_context(socket.create_connection((server.host, server.port)))
            sock.sendall(GET)

        yield send


def test_forks_the_workers_wanted(project: Project) -> None:
    with spawn("-w", "3", "app:app", cwd=project(app=APP)) as server:
        pids = ready(server)
        assert len(set(pids)) == 3
        answer = raw(server.address, GET).decode()
        assert int(re.findall(r"in (\d+)", answer)[0]) in pids


def test_replaces_a_worker_that_dies(project: Project) -> None:
    with spawn("-w", "2", "--log-level", "debug", "app:app", cwd=project(app=APP)) as server:
        victim = ready(server)[0]
        os.kill(victim, signal.SIGKILL)
        server.wait_for(rf"worker {victim} ended unexpectedly \(signal SIGKILL\); replacing it")
        server.wait_for(r"worker \d+ is ready", count=3)
        assert raw(server.address, GET).startswith(b"HTTP/1.1 200")


def test_ttin_and_ttou_add_and_take_a_worker(project: Project) -> None:
    with spawn("app:app", cwd=project(app=APP)) as server:
        first = ready(server)
        server.signal(signal.SIGTTIN)
        both = ready(server, 2)
        assert first[0] in both
        assert len(both) == 2
        server.signal(signal.SIGTTOU)
        assert len(ready(server, 3)) == 1
        server.signal(signal.SIGTTOU)  # never below one
        assert len(ready(server, 4)) == 1
        assert raw(server.address, GET).startswith(b"HTTP/1.1 200")


def test_hup_reloads_application_and_settings_worker_by_worker(project: Project) -> None:
    where = project({"fastwsgi.conf.py": "workers = 2\nraw_env = ['COLOUR=red']"}, app=APP)
    with spawn("app:app", cwd=where) as server:
        before = ready(server)
        assert b"version 1 " in raw(server.address, GET)
        project({"fastwsgi.conf.py": "workers = 3\nraw_env = ['COLOUR=green']"},
                app=APP.replace("version 1", "version 22"))
        server.signal(signal.SIGHUP)
        after = ready(server, 2)
        assert len(after) == 3
        assert not set(before) & set(after)
        assert b"env green" in answer_with(server.address, GET, b"version 22 ")


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["", "preload"])
def test_a_reload_keeps_as_many_workers_ready_as_before(
    project: Project, preload: list[str],
) -> None:
    where = project(app=APP + "\n    import time; time.sleep(0.2)  # an import that takes its time")
    with spawn(*preload, "-w", "4", "--log-level", "debug", "app:app", cwd=where) as server:
        ready(server)
        server.signal(signal.SIGHUP)
        ready(server, 2)
        serving: set[str] = set()
        counts = []
        for pid, event in re.findall(r"\] worker (\d+) (is ready|is stopping)", server.output()):
            (serving.add if event == "is ready" else serving.remove)(pid)
            counts.append(len(serving))
        assert counts == [1, 2, 3, 4, 5, 4, 5, 4, 5, 4, 5, 4]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_reload_that_cannot_get_ready_leaves_the_old_workers(
    project: Project, workers: str,
) -> None:
    where = project(app=APP)
    with spawn("-w", workers, "app:app", cwd=where) as server:
        before = ready(server)
        project(app="raise OSError('half a deployment')")
        server.signal(signal.SIGHUP)
        server.wait_for("reload abandoned: the new worker did not get ready; the old ones stay")
        assert "OSError: half a deployment" in server.output()
        answer = raw(server.address, GET).decode()
        assert int(re.findall(r"in (\d+)", answer)[0]) in before
        project(app=APP.replace("version 1", "version 333"))
        server.signal(signal.SIGHUP)
        ready(server, 2)
        assert b"version 333 " in raw(server.address, GET)


def test_a_reload_with_wrong_settings_changes_nothing(project: Project) -> None:
    where = project({"fastwsgi.conf.py": "workers = 1"}, app=APP)
    with spawn("app:app", cwd=where) as server:
        before = ready(server)
        project({"fastwsgi.conf.py": "workers = 'lots'"})
        server.signal(signal.SIGHUP)
        server.wait_for(r"reload refused, nothing has changed: workers must be .*fastwsgi\.conf")
        answer = raw(server.address, GET).decode()
        assert re.findall(r"in (\d+)", answer) == [str(before[0])]


def test_a_reload_says_what_needs_a_restart(project: Project) -> None:
    where = project({"fastwsgi.conf.py": "backlog = 10"}, app=APP)
    with spawn("app:app", cwd=where) as server:
        project({"fastwsgi.conf.py": "backlog = 20"})
        server.signal(signal.SIGHUP)
        server.wait_for("a change of backlog takes effect after a restart")
        ready(server, 2)


def test_three_workers_in_a_row_that_do_not_boot_end_the_master_with_3(
    project: Project,
) -> None:
    where = project(app="import os; os._exit(9)")
    with (
        pytest.raises(RuntimeError, match=r"the server ended \(3\)") as caught,
        spawn("app:app", cwd=where),
    ):
        pass
    text = str(caught.value)
    assert len(re.findall(r"ended before it was ready \(exit code 9\)", text)) == 1
    assert "giving up: 3 workers in a row did not start" in text


def test_a_worker_that_again_and_again_cannot_be_replaced_is_told_each_time(
    project: Project,
) -> None:
    where = project(app=APP)
    with spawn("-w", "2", "app:app", cwd=where) as server:
        victim = ready(server)[0]
        project(app="raise OSError('no database')")
        os.kill(victim, signal.SIGKILL)
        server.wait_for(r"ended before it was ready \(exit code 4\)", count=2)
        assert len(re.findall("^OSError: no database", server.output(), re.MULTILINE)) == 1


def test_failures_count_only_in_a_row(project: Project) -> None:
    where = project(app="""
        import os
        with open("boots", "a+") as file:
            file.write("x")
            file.seek(0)
            boots = len(file.read())
        if boots in (1, 2, 4):
            os._exit(9)
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"boots: %d" % boots]
        """)
    with spawn("--log-level", "debug", "app:app", cwd=where) as server:
        os.kill(ready(server)[0], signal.SIGKILL)
        server.wait_for(r"worker \d+ is ready", count=2)
        assert raw(server.address, GET).endswith(b"boots: 5")


def test_a_worker_that_cannot_boot_does_not_end_a_master_whose_others_serve(
    project: Project,
) -> None:
    where = project(app=APP)
    with spawn("-w", "2", "app:app", cwd=where) as server:
        victim = ready(server)[0]
        project(app="import os; os._exit(9)")
        os.kill(victim, signal.SIGKILL)
        server.wait_for("ended before it was ready", count=3)
        assert b"version 1 " in raw(server.address, GET)
        project(app=APP.replace("version 1", "version 4444"))
        server.signal(signal.SIGHUP)
        ready(server, 2)
        assert b"version 4444 " in raw(server.address, GET)


def test_graceful_timeout_ends_what_does_not_end(
    project: Project, begin: Callable[[Process], None],
) -> None:
    with spawn("--graceful-timeout", "0.2", "app:app", cwd=project(app=HANGING)) as server:
        begin(server)
        server.wait_for("entered")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "did not stop in time; killed" in server.output()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait_for_requests(
    project: Project, begin: Callable[[Process], None], number: signal.Signals,
) -> None:
    with spawn("app:app", cwd=project(app=HANGING)) as server:
        begin(server)
        server.wait_for("entered")
        server.signal(signal.SIGTERM)
        server.wait_for("stopping: finishing requests")
        server.signal(number)
        assert server.wait() == 0


def test_nothing_remains_when_the_master_is_killed(project: Project) -> None:
    with spawn("-w", "2", "app:app", cwd=project(app=APP)) as server:
        ready(server)
        server.signal(signal.SIGKILL)
        # the output ends when the last process that can write to it has ended
        assert server.wait() == -signal.SIGKILL
        assert len(re.findall("the master is gone; stopping", server.output())) == 2
        with pytest.raises(ConnectionRefusedError):
            raw(server.address, GET)


@pytest.mark.parametrize("app", [HANGING, HELD], ids=["waiting", "holding the interpreter"])
def test_a_hanging_worker_does_not_outlive_its_master(
    project: Project, begin: Callable[[Process], None], app: str,
) -> None:
    with spawn("app:app", cwd=project(app=app)) as server:
        begin(server)
        server.wait_for("entered")
        server.signal(signal.SIGKILL)
        server.wait()
        with pytest.raises(ConnectionRefusedError):
            raw(server.address, GET)


def test_writes_guards_and_removes_the_pid_file(project: Project, tmp_path: Path) -> None:
    where = project({"server.pid": "999999999\n"}, app=APP)
    file = tmp_path / "server.pid"
    with spawn("--pid", "server.pid", "app:app", cwd=where) as server:
        assert file.read_text() == f"{server.pid}\n"
        with (
            pytest.raises(RuntimeError, match=rf"names process {server.pid}, which is running"),
            spawn("-p", "server.pid", "app:app", cwd=where),
        ):
            pass
        assert file.read_text() == f"{server.pid}\n"
        assert server.terminate() == 0
        assert not file.exists()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_usr1_opens_the_error_log_anew(
    project: Project, tmp_path: Path, workers: str,
) -> None:
    where = project(app="""
        def app(environ, start_response):
            print("said by the application", file=environ["wsgi.errors"])
            start_response("200 OK", [])
            return []
        """)
    log, address = tmp_path / "error.log", str(tmp_path / "s")
    before = Fifo(log)
    with subprocess.Popen(
        [sys.executable, "-m", "fastwsgi", "-w", workers, "-b", f"unix:{address}",
         "--error-logfile", "error.log", "app:app"], cwd=where, env=environment({}),
    ) as server:
        assert before.shows("ready")
        raw(address, GET)
        assert before.shows("said by the application\n")
        log.rename(tmp_path / "error.log.1")
        after = Fifo(log)
        server.send_signal(signal.SIGUSR1)
        for _ in range(600):  # each process opens it when the signal has come through to it
            raw(address, GET)
            if after.shows("said by the application\n", 0.05):
                break
        server.terminate()
        assert after.shows("stopped")
        assert server.wait(30) == 0
    assert not before.shows("stopped", 0.0)


def test_a_fork_that_fails_is_tried_again(project: Project) -> None:
    where = project(app=APP, refusing="""
        import errno, os, sys
        from fastwsgi.cli import main
        fork, left = os.fork, [2]
        def refuse():
            if left[0]:
                left[0] -= 1
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            return fork()
        os.fork = refuse
        sys.exit(main())
        """)
    with subprocess.Popen(
        [sys.executable, "refusing.py", "-b", "127.0.0.1:0", "app:app"], cwd=where,
        env=environment({}), stderr=subprocess.PIPE, text=True,
    ) as server:
        assert server.stderr is not None
        lines = []
        for line in server.stderr:
            lines.append(line)
            if "] ready: " in line:
                server.terminate()
        assert server.wait(30) == 0
    assert "".join(lines).count("cannot fork a worker: Resource temporarily unavailable") == 2


def test_a_signal_to_a_worker_just_born_does_not_reach_its_master(project: Project) -> None:
    where = project(app=APP, hasty="""
        import os, signal, sys
        from fastwsgi.cli import main
        fork, left = os.fork, [1]
        def fork_and_signal():
            pid = fork()
            if pid == 0 and left[0]:
                os.kill(os.getpid(), signal.SIGTERM)
            left[0] = 0
            return pid
        os.fork = fork_and_signal
        sys.exit(main())
        """)
    with subprocess.Popen(
        [sys.executable, "hasty.py", "-b", "127.0.0.1:0", "app:app"], cwd=where,
        env=environment({}), stderr=subprocess.PIPE, text=True,
    ) as server:
        assert server.stderr is not None
        seen = ""
        for line in server.stderr:
            seen += line
            if "] ready: " in line:
                server.terminate()
        assert server.wait(30) == 0
    assert "ended before it was ready (exit code 0)" in seen
    assert "] ready: 1 worker" in seen


def test_signals_to_a_worker_do_not_reach_its_master(project: Project) -> None:
    with spawn("--log-level", "debug", "app:app", cwd=project(app=APP)) as server:
        (pid,) = ready(server)
        os.kill(pid, signal.SIGTERM)
        server.wait_for(rf"worker {pid} ended unexpectedly \(exit code 0\); replacing it")
        server.wait_for(r"worker \d+ is ready", count=2)
        assert raw(server.address, GET).startswith(b"HTTP/1.1 200")
