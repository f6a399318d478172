"""``fastwsgi ctl`` and ``fastwsgi top``: a running server is asked, and told what to do."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apps.client import GET
from apps.command import Project
from apps.eventually import eventually

from fastwsgi.control.client import Client, place
from fastwsgi.control.lines import LONGEST
from fastwsgi.control.server import MOST, PENDING, Connection
from fastwsgi.errors import ControlError
from fastwsgi.testing import Process, environment, raw, spawn

APP = """
    import os, re, sys
    def keep_the_lock():
        re.match("(a+)+b", 40 * "a")
    def wait_at_the_gate():
        print("at the gate", file=sys.stderr, flush=True)
        with open(os.environ["GATE"]) as gate:
            gate.read()
    def app(environ, start_response):
        path = environ["PATH_INFO"]
        if path.startswith("/hold"):
            wait_at_the_gate()
        if path == "/lock":
            print("keeps it", file=sys.stderr, flush=True)
            keep_the_lock()
        start_response("200 OK", [])
        return [b"well"]
    """


def get(path: str) -> bytes:
    return GET.replace(b"/", path.encode(), 1)


class Asked:
    """A server with a control socket, and a gate that holds its requests."""

    def __init__(self, server: Process, path: Path, gate: Path) -> None:
        self.server = server
        self.path = str(path)
        self._gate = gate
        self._clients: list[socket.socket] = []

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command, as an operator would."""
        return run("ctl", "--socket", self.path, *words)

    def status(self) -> dict[str, Any]:
        with Client(self.path) as client:
            return client.ask("status")

    def try_status(self) -> dict[str, Any]:
        """The status, or nothing while nobody answers."""
        with contextlib.suppress(ControlError):
            return self.status()
        return {}

    def call(self) -> dict[str, Any]:
        """The only request that lasts, as soon as the board shows it."""
        status = eventually(self.status, lambda status: status["workers"][0]["calls"])
        (call,) = status["workers"][0]["calls"]
        found: dict[str, Any] = call
        return found

    def hold(self, path: str = "/hold") -> None:
        """Leave a request standing in the application."""
        client = socket.create_connection((self.server.host, self.server.port), 30)
        client.sendall(get(path))
        self._clients.append(client)
        self.server.wait_for("at the gate|keeps it", count=len(self._clients))

    def let_go(self) -> None:
        with contextlib.suppress(OSError):
            os.close(os.open(self._gate, os.O_WRONLY | os.O_NONBLOCK))
        for client in self._clients:
            client.close()


def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastwsgi", *words], env=environment(more), capture_output=True,
        text=True, timeout=60)


@contextlib.contextmanager
def asked(place: Path, *options: str) -> Iterator[Asked]:
    path, gate = place / "control.sock", place / "gate"
    os.mkfifo(gate)
    with spawn("--control-socket", str(path), *options, "app:app", cwd=place,
               env={"GATE": str(gate)}) as server:
        one = Asked(server, path, gate)
        try:
            yield one
        finally:
            one.let_go()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A server that no test changes."""
    place = tmp_path_factory.mktemp("running")
    (place / "app.py").write_text("\n".join(line[4:] for line in APP.splitlines()))
    with asked(place, "--threads", "2") as one:
        yield one


def talk(path: str, *sent: bytes) -> list[dict[str, Any]]:
    """All answers to these bytes, after which nothing more is sent."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(path)
        for block in sent:
            client.sendall(block)
        client.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.recv(65536), b""))
    return [json.loads(line) for line in received.splitlines()]


# ---- what is said --------------------------------------------------------------------------------


def test_the_socket_is_for_its_owner_alone(running: Asked) -> None:
    mode = os.stat(running.path).st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_the_status_counts_what_clients_have_got(project: Project) -> None:
    with asked(project(app=APP), "--workers", "2") as one:
        for _ in range(30):
            assert raw(one.server.address, get("/")).endswith(b"well")
        status = one.status()
        assert status["pid"] == one.server.pid
        assert status["state"] == "serving"
        assert status["listening"] == [one.server.url]
        assert [worker["state"] for worker in status["workers"]] == ["serving", "serving"]
        for worker in status["workers"]:
            assert os.stat(f"/proc/{worker['pid']}").st_uid == os.getuid()
            assert worker["resident"] > 1_000_000
        # boards are written a few times a second
        status = eventually(one.status, lambda status: status["counters"]["requests"] >= 30)
        assert status["counters"]["requests"] == 30
        assert sum(worker["counters"]["requests"] for worker in status["workers"]) == 30


def test_a_request_that_lasts_is_shown_with_its_path_and_age_but_no_secret(
    project: Project,
) -> None:
    with asked(project(app=APP)) as one:
        one.hold("/hold/orders?token=5ecret&page=2")
        call = eventually(one.call, lambda call: call["does"] == "waiting")
        assert call["target"] == "/hold/orders?token=<6 characters>&page=2"
        assert call["method"] == "GET"
        assert call["phase"] == "application"
        assert call["seconds"] >= 0
        shown = one.ctl("status").stdout
        assert re.search(r"waits +GET /hold/orders\?token=<6 characters>&page=2 from 127", shown)


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["forked", "preloaded"])
def test_stacks_are_shown_even_of_a_worker_whose_interpreter_lock_is_kept(
    project: Project, preload: tuple[str, ...],
) -> None:
    with asked(project(app=APP), "--timeout", "0", "--graceful-timeout", "0.1", *preload) as one:
        one.hold("/lock")
        one.call()
        done = one.ctl("stacks")
        assert done.returncode == 0
        assert "in keep_the_lock" in done.stdout
        assert "GET /lock" in done.stdout
        assert done.stdout.count("in keep_the_lock") == 1
        assert one.ctl("stacks").stdout.count("in keep_the_lock") == 1  # not the old ones too


# ---- what is done --------------------------------------------------------------------------------


def test_a_reload_is_waited_for(project: Project) -> None:
    with asked(project(app=APP)) as one:
        before = one.status()
        assert one.ctl("reload").returncode == 0
        after = one.status()
        assert after["last_reload"] == "done"
        assert after["generation"] == before["generation"] + 1
        serving = [worker["pid"] for worker in after["workers"] if worker["current"]]
        assert serving != [worker["pid"] for worker in before["workers"]]


def test_a_reload_that_fails_is_no_success(project: Project) -> None:
    place = project({"fastwsgi.conf.py": "threads = 2\n"}, app=APP)
    with asked(place) as one:
        (place / "fastwsgi.conf.py").write_text("threads = 'many'\n")
        done = one.ctl("reload")
        assert done.returncode == 1
        assert "refused, nothing has changed: threads" in done.stderr
        (place / "fastwsgi.conf.py").write_text("threads = 2\n")
        (place / "app.py").write_text("1 / 0\n")
        done = one.ctl("reload")
        assert done.returncode == 1
        assert "the reload was abandoned: the new worker did not get ready" in done.stderr
        assert raw(one.server.address, get("/")).endswith(b"well")


def test_another_number_of_workers(project: Project) -> None:
    with asked(project(app=APP)) as one:
        for count in ("3", "1"):
            assert one.ctl("workers", count).returncode == 0
            serving = [worker for worker in one.status()["workers"]
                       if worker["state"] == "serving"]
            assert len(serving) == int(count)
        assert one.ctl("workers", "0").returncode == 2


def test_the_log_says_more_until_the_next_reload(project: Project) -> None:
    with asked(project(app=APP)) as one:
        assert one.ctl("log-level", "debug").returncode == 0
        assert one.status()["log_level"] == "debug"
        assert one.ctl("workers", "2").returncode == 0
        one.server.wait_for(r"\[DEBUG\] worker \d+ is ready")
        assert one.ctl("reload").returncode == 0
        assert one.status()["log_level"] == "info"
        assert one.ctl("log-level", "loud").returncode == 2


def test_workers_log_from_the_new_level_too(project: Project) -> None:
    hooks = """
        def post_request(worker, request, environ, response):
            worker.log.debug("seen by a worker")
        """
    place = project({"fastwsgi.conf.py": hooks}, app=APP)
    with asked(place) as one:
        raw(one.server.address, get("/"))
        assert one.ctl("log-level", "debug").returncode == 0
        eventually(lambda: raw(one.server.address, get("/")) and one.server.output(),
                   lambda output: "seen by a worker" in output)


def test_a_stop_is_waited_for_and_leaves_no_path(project: Project) -> None:
    with asked(project(app=APP)) as one:
        assert one.ctl("stop").returncode == 0
        assert one.server.wait() == 0
        assert not os.path.exists(one.path)
        done = one.ctl("status")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert f"no server answers at {one.path}" in done.stderr


# ---- who asks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"status\n", "not a JSON object"),
        (b"[]\n", "not a JSON object"),
        (b"[" * 3000 + b"\n", "not a JSON object"),
        (b"\xff\xfe\n", "not a JSON object"),
        (b'{"command": "halt"}\n', "no such command; there are status, "),
        (b'{"command": ["status"]}\n', "no such command"),
        (b'{"command": "status", "pss": 1}\n', "status has no member 'pss'"),
        (b'{"command": "status", "shares": 1}\n', "shares is not of type bool"),
        (b'{"command": "workers"}\n', "workers needs the member 'count'"),
        (b'{"command": "workers", "count": true}\n', "count is not of type int"),
        (b'{"command": "workers", "count": 100000}\n', "from 1 to 1024"),
        (b'{"command": "log-level", "level": "x"}\n', "level is one of debug, "),
        (b"x" * (LONGEST + 1), f"at most {LONGEST} bytes"),
    ],
)
def test_what_is_no_question_is_refused(running: Asked, sent: bytes, error: str) -> None:
    (answer,) = talk(running.path, sent)
    assert answer["ok"] is False
    assert error in answer["error"]


def test_questions_are_answered_in_order_however_they_come(running: Asked) -> None:
    sent = b'{"command": "stacks"}\n{"command": "x"}\n\n{"command": "status"}\n'
    answers = talk(running.path, *(sent[at : at + 1] for at in range(len(sent))))
    assert [sorted(answer) for answer in answers[:2]] == [["ok", "workers"], ["error", "ok"]]
    assert answers[2]["ok"]


def test_whoever_does_not_read_holds_up_nobody(running: Asked) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(running.path)
        silent.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(100_000):
                silent.send(b'{"command": "status"}\n')
        assert running.status()["state"] == "serving"
        assert len(talk(running.path, b'{"command": "status"}\n' * (3 * PENDING))) == 3 * PENDING


def test_answers_that_nobody_reads_are_not_heaped_up() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for side in (ours, theirs):
            side.setblocking(False)
        one = Connection(ours)
        for _ in range(2000):
            if not one.events & select.POLLIN:
                return
            with contextlib.suppress(BlockingIOError):
                theirs.send(b"{}\n" * 100)
            for _ in one.move():
                one.reply(one.slot(), {"text": 2000 * "x"})
    pytest.fail("it goes on reading")


def test_one_more_than_there_may_be_is_turned_away(running: Asked) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(running.path)) for _ in range(MOST)]
        for client in clients:
            client.ask("status")
        with pytest.raises(ControlError, match="connections are open already"):
            running.status()
    eventually(running.try_status, bool)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_another_account_is_refused_even_where_the_path_is_open(project: Project) -> None:
    place = project(app=APP)
    place.chmod(0o755)
    for folder in place.parents:
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o005)
    with asked(place) as one:
        os.chmod(one.path, 0o666)
        code = ("import os; from fastwsgi.control.client import Client; os.setgid(65534); "
                f"os.setuid(65534); Client({one.path!r}).ask('status')")
        done = subprocess.run([sys.executable, "-c", code], env=environment({}),
                              capture_output=True, text=True)
        assert done.returncode == 1
        assert "only the account of the server and root may ask" in done.stderr


# ---- the path ------------------------------------------------------------------------------------


def test_a_socket_that_is_left_over_makes_room_and_a_file_does_not(project: Project) -> None:
    place = project(app=APP)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place / "control.sock"))
    with asked(place) as one:
        assert one.status()["state"] == "serving"
    (place / "control.sock").write_text("precious")
    done = run("--control-socket", str(place / "control.sock"), "-b", "127.0.0.1:0", "--chdir",
               str(place), "app:app")
    assert done.returncode == 1
    assert "control.sock: the path exists and is not a socket" in done.stderr
    assert (place / "control.sock").read_text() == "precious"


def test_a_socket_of_another_server_stays(project: Project) -> None:
    place = project(app=APP)
    with asked(place) as one:
        done = run("--control-socket", one.path, "-b", "127.0.0.1:0", "--chdir", str(place),
                   "app:app")
        assert done.returncode == 1
        assert "another process listens on it" in done.stderr
        assert one.status()["pid"] == one.server.pid


def test_after_an_upgrade_the_new_master_answers_and_the_old_one_if_it_is_taken_back(
    project: Project,
) -> None:
    with asked(project(app=APP)) as one:
        one.server.signal(signal.SIGUSR2)
        one.server.wait_for(r"\] ready: ", count=2)
        new = eventually(one.try_status, lambda status: status.get(
            "pid", one.server.pid) != one.server.pid)["pid"]
        os.kill(new, signal.SIGTERM)
        one.server.wait_for("taken back|goes on|has ended")
        eventually(one.try_status, lambda status: status.get("pid") == one.server.pid)


def test_without_a_master_there_is_nobody_to_ask(project: Project) -> None:
    done = run("--control-socket", "x.sock", "--workers", "0", "--chdir", str(project(app=APP)),
               "app:app")
    assert done.returncode == 2
    assert "workers must be 1 or more for control_socket" in done.stderr


def test_the_socket_is_found_by_variable_and_by_configuration(
    running: Asked, tmp_path: Path,
) -> None:
    assert run("ctl", "status", FASTWSGI_CONTROL_SOCKET=running.path).returncode == 0
    (tmp_path / "fastwsgi.conf.py").write_text(f"control_socket = {running.path!r}\n")
    done = subprocess.run([sys.executable, "-m", "fastwsgi", "ctl", "status"], cwd=tmp_path,
                          env=environment({}), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    with pytest.raises(ControlError, match="--control-socket PATH"):
        place("")


# ---- top -----------------------------------------------------------------------------------------


def test_top_prints_once_as_text_and_as_json(running: Asked) -> None:
    done = run("top", "--socket", running.path, "--once", "--interval", "0.1")
    assert done.returncode == 0
    assert "workers 1 of 1, threads busy 0 of 2" in done.stdout
    done = run("top", "--socket", running.path, "--once", "--json")
    assert json.loads(done.stdout)["pid"] == running.server.pid


def test_top_draws_until_a_key_ends_it(project: Project) -> None:
    with asked(project(app=APP)) as one:
        one.hold("/hold/reports/2026")
        one.call()
        ours, theirs = pty.openpty()
        top = subprocess.Popen(
            [sys.executable, "-m", "fastwsgi", "top", "--socket", one.path, "--interval", "0.2"],
            stdin=theirs, stdout=theirs, stderr=theirs,
            env=environment({"COLUMNS": "80", "LINES": "24", "TERM": "xterm"}))
        os.close(theirs)
        seen = ""

        def see(text: str) -> None:
            nonlocal seen
            while text not in seen:
                assert select.select([ours], [], [], 30)[0], seen
                seen += os.read(ours, 65536).decode()

        see("/hold/reports/2026")
        os.write(ours, b"s")
        see("order path")
        os.write(ours, b"/orders\n")
        see("search 'orders'")
        see("0 requests that last")
        os.write(ours, b"p")
        see("PAUSED")
        os.write(ours, b"q")
        assert top.wait(30) == 0
        os.close(ours)
