"""A process that serves: signals, wsgi.errors, environment of the worker, serving in place."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from apps.client import GET, Client
from apps.client import request as asking
from apps.command import Project

import fastwsgi
from fastwsgi.errors import AppImportError, ConfigError, ListenError
from fastwsgi.testing import environment, raw, serve, spawn

Start = Callable[..., Any]


# Says that it was entered, then waits until somebody writes to the fifo named by GATE. The answer
# is more than socket buffers hold, so that it takes a while to leave.
GATED = """
    import os
    def app(environ, start_response):
        print("entered", file=environ["wsgi.errors"])
        with open(os.environ["GATE"]) as gate:
            gate.read()
        body = bytes(16 << 20) + b"done"
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    """


def plain(body: bytes) -> Callable[..., Iterable[bytes]]:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    return app


class Request:
    """A request on its way in a thread of its own."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self.answer = b""
        self._thread = threading.Thread(target=self._go, args=(address,))
        self._thread.start()

    def _go(self, address: tuple[str, int] | str) -> None:
        self.answer = raw(address, GET, timeout=60)

    def wait(self) -> bytes:
        self._thread.join(60)
        return self.answer


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("workers", ["0", "1"])
def test_term_finishes_the_request_in_flight(project: Project, gate: Path, workers: str) -> None:
    with spawn("-w", workers, "app:app", cwd=project(app=GATED),
               env={"GATE": str(gate)}) as server:
        request = Request(server.address)
        server.wait_for("entered")
        server.signal(signal.SIGTERM)
        if workers != "0":
            server.wait_for("stopping: finishing requests for at most 30 s")
        gate.write_text("go")
        assert request.wait().endswith(b"done")
        assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_an_idle_server_stops_with_exit_code_0(
    project: Project, workers: str, number: signal.Signals,
) -> None:
    where = project(app="def app(e, s): s('200 OK', []); return []")
    with spawn("-w", workers, "app:app", cwd=where) as server:
        server.signal(number)
        assert server.wait() == 0
        assert "Traceback" not in server.output()
        assert "] stopped" in server.output().splitlines()[-1]


def test_in_place_a_second_int_leaves_a_request_that_does_not_end(
    project: Project, gate: Path,
) -> None:
    with spawn("-w", "0", "--health-path", "/health", "app:app", cwd=project(app=GATED),
               env={"GATE": str(gate)}) as server:
        with Client(server.address) as idle:
            assert idle.fetch("/health").status == 200
            request = Request(server.address)
            server.wait_for("entered")
            server.signal(signal.SIGINT)
            assert idle.rest() == b""  # closed: the first one has been heeded, so they are two
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        assert b"done" not in request.wait()


def test_a_stop_does_not_take_back_that_a_connection_is_kept(
    project: Project, gate: Path,
) -> None:
    app = """
        import os
        def app(environ, start_response):
            start_response("200 OK", [])
            yield b"begun"
            if environ["PATH_INFO"] == "/hold":
                with open(os.environ["GATE"]) as gate:
                    gate.read()
        """
    with (
        spawn("-w", "0", "--health-path", "/health", "app:app", cwd=project(app=app),
              env={"GATE": str(gate)}) as server,
        Client(server.address) as client,
    ):
        client.send(asking("/hold"))
        head = client.head()
        assert not head.closes
        with Client(server.address) as beside:
            server.signal(signal.SIGTERM)
            while beside.fetch("/health").status != 503:  # until the stop has begun
                pass
        gate.write_text("go")
        assert b"".join(client.chunks()) == b"begun"
        assert client.fetch("/next").closes  # it was on its way, for all the server knew
        assert client.ended()
        client.close()
        assert server.wait() == 0


def test_each_line_of_wsgi_errors_stays_whole_in_the_error_log() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        errors = environ["wsgi.errors"]

        def talk(name: str) -> None:
            for _ in range(50):
                errors.write(name)
                errors.writelines([name * 40, "\n"])

        threads = [threading.Thread(target=talk, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        errors.write("begun and ")
        between = threading.Thread(target=errors.write, args=("between\n",))
        between.start()
        between.join()
        errors.write("ended\n")
        errors.write("no newline")
        errors.flush()
        start_response("200 OK", [])
        return []

    with serve(app) as server:
        raw(server.address, GET)
        lines = server.log
    assert sorted(lines[:200]) == sorted([name * 41 for name in "abcd"] * 50)
    assert lines[200:] == ["between", "begun and ended", "no newline"]


def test_an_application_error_is_logged_with_its_traceback() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        raise LookupError("a bug of the application's")

    with serve(app) as server:
        assert raw(server.address, GET).startswith(b"HTTP/1.1 500 ")
        log = "\n".join(server.log)
    assert "LookupError: a bug of the application's" in log
    assert "Traceback (most recent call last):" in log


def test_the_application_knows_whether_it_has_siblings() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [])
        return [str(environ["wsgi.multiprocess"]).encode()]

    for workers, answer in ((0, b"False"), (1, b"False"), (2, b"True")):
        with serve(app, process=True, workers=workers) as server:
            assert answer in raw(server.address, GET)


def test_workers_take_umask_user_and_group() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        mask = os.umask(0)
        os.umask(mask)
        start_response("200 OK", [])
        return [f"<{mask:o} {os.getuid()} {os.getgid()} {os.getgroups()}>".encode()]

    nobody = pwd.getpwnam("nobody")
    if os.geteuid() == 0:
        with serve(app, process=True, workers=1, umask="027", user="nobody") as server:
            wanted = f"<27 {nobody.pw_uid} {nobody.pw_gid} [{nobody.pw_gid}]>"
            assert wanted.encode() in raw(server.address, GET)
    else:
        with pytest.raises(ConfigError, match="only root can change to it"):
            fastwsgi.run(app, bind="127.0.0.1:0", user="nobody")
        with serve(app, process=True, workers=1, umask="027") as server:
            assert b"<27 " in raw(server.address, GET)


def free_number() -> int:
    """A user id without an account."""
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    return next(number for number in range(54321, 65000) if number not in taken)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")
@pytest.mark.parametrize("action", [(), ("--check-config",)])
def test_a_user_without_an_account_needs_a_group(
    command: Callable[..., subprocess.CompletedProcess[str]], project: Project,
    action: tuple[str, ...],
) -> None:
    where = project(app="raise SystemError('loaded')")
    path = where / "x.sock"
    done = command("--user", str(free_number()), "--bind", f"unix:{path}", *action, "app:app")
    assert done.returncode == (1 if action else 2)
    assert done.stderr == (
        f"fastwsgi: error: user {free_number()} (from command line --user) has no account "
        "with a main group: name a group with --group\n")
    assert not path.exists()
    done = command("--user", str(free_number()), "--group", "nogroup", "--initgroups", "app:app")
    assert done.returncode == 2
    assert "has no account and so no groups: drop initgroups (from command line" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")
@pytest.mark.parametrize(("settings", "wanted"), [
    ({"user": free_number(), "group": 54321}, f"{free_number()} 54321 [54321]"),
    ({"user": os.geteuid(), "group": 54321}, "0 54321 [54321]"),
    ({"group": 54321}, "0 54321 [54321]"),
    ({"group": 54321, "initgroups": True}, "0 54321 [54321]"),
    ({"user": "nobody", "group": 54321, "initgroups": True},
     f"{pwd.getpwnam('nobody').pw_uid} 54321 "
     f"{sorted(os.getgrouplist('nobody', 54321))}"),
])
def test_workers_keep_no_group_of_roots(settings: dict[str, Any], wanted: str) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [])
        return [f"<{os.getuid()} {os.getgid()} {sorted(os.getgroups())}>".encode()]

    before = os.getgroups()
    os.setgroups([0, 4, 27])
    try:
        with serve(app, process=True, workers=1, **settings) as server:
            assert f"<{wanted}>".encode() in raw(server.address, GET)
    finally:
        os.setgroups(before)


@pytest.mark.parametrize(("name", "value"), [("user", "nobody"), ("group", 54321)])
def test_without_a_master_nobody_changes_the_account(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"workers must be 1 or more for {name}"):
        fastwsgi.run(lambda *_: [], workers=0, bind="127.0.0.1:0", **{name: value})


def test_a_worker_runs_its_exit_functions_and_waits_for_its_threads(project: Project) -> None:
    where = project(app="""
        import atexit, sys, threading, concurrent.futures
        go = threading.Event()
        pool = concurrent.futures.ThreadPoolExecutor()
        pool.submit(int)
        def last():
            go.wait()
            print("thread done", file=sys.stderr, flush=True)
        threading.Thread(target=last).start()
        threading._register_atexit(go.set)
        atexit.register(lambda: print("exit function", file=sys.stderr, flush=True))
        def app(environ, start_response):
            start_response("200 OK", [])
            return []
        """)
    with spawn("app:app", cwd=where) as server:
        assert server.terminate() == 0
        assert server.output().index("thread done") < server.output().index("exit function")


def test_run_serves_in_the_main_thread_and_restores_its_signals(project: Project) -> None:
    where = project(script="""
        import os, signal, fastwsgi
        def app(environ, start_response):
            start_response("200 OK", [])
            os.kill(os.getpid(), signal.SIGTERM)
            return [b"last"]
        def mine(number, frame): pass
        signal.signal(signal.SIGTERM, mine)
        code = fastwsgi.run(app, bind="127.0.0.1:0", workers=0)
        print("code", code, signal.getsignal(signal.SIGTERM) is mine, signal.set_wakeup_fd(-1))
        """)
    with subprocess.Popen([sys.executable, "script.py"], cwd=where, env=environment({}),
                          stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as popen:
        assert popen.stderr is not None
        port = popen.stderr.readline().split("http://127.0.0.1:")[1].split()[0]
        assert raw(("127.0.0.1", int(port)), GET).endswith(b"last")
        out, err = popen.communicate(timeout=60)
    assert out == "code 0 True -1\n", err


def test_run_tells_a_wrong_start_by_exceptions() -> None:
    with pytest.raises(ConfigError, match="did you mean 'workers'"):
        fastwsgi.run(plain(b""), wokers=1)
    with pytest.raises(ListenError, match="cannot listen on unix:/no/such/dir/s"):
        fastwsgi.run(plain(b""), bind="unix:/no/such/dir/s", workers=0)
    with pytest.raises(AppImportError, match="cannot import 'no_such_module'"):
        fastwsgi.run("no_such_module:app", bind="127.0.0.1:0", workers=0)


def test_a_master_needs_the_main_thread() -> None:
    caught: list[BaseException] = []

    def run() -> None:
        try:
            fastwsgi.run(plain(b""), bind="127.0.0.1:0", workers=1)
        except ConfigError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert "workers must be 0 outside the main thread" in str(caught[0])
