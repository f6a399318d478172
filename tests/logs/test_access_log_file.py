"""The access log's file: when lines are there, whole lines, rotation, reload, failures."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from apps.client import GET, Client, request
from apps.command import HELLO, Command, Project
from apps.fifo import Fifo
from apps.gated import Gate
from apps.gated import app as gated
from apps.logged import app, lines_of

from fastwsgi.errors import ConfigError
from fastwsgi.testing import Process, environment, raw, serve, spawn


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    pipe = Fifo(tmp_path / "access.log")
    yield pipe
    pipe.close()


# ---- when ----


def test_a_line_is_there_when_the_worker_has_nothing_else_to_do(
    tmp_path: Path, fifo: Fifo,
) -> None:
    with serve(app, accesslog=str(tmp_path / "access.log"), access_log_format="%(r)s") as server, \
            Client(server.address) as client:
        for n in range(5):
            client.fetch(f"/{n}")
            assert fifo.shows(f"/{n} HTTP/1.1\n")
        client.send(b"nonsense\r\n\r\n")
        assert fifo.shows("nonsense")


@pytest.mark.parametrize("threads", [1, 2])
def test_a_line_is_there_while_the_next_call_lasts(
    tmp_path: Path, fifo: Fifo, threads: int,
) -> None:
    with Gate() as gate, serve(
        gated, accesslog=str(tmp_path / "access.log"), access_log_format="%(U)s", threads=threads,
    ) as server, Client(server.address) as client:
        client.send(request("/quick") + request(gate.hold))
        gate.entered()
        assert client.response().status == 200
        assert fifo.shows("/quick\n")
        gate.let_go()
        assert client.response().status == 200
        assert fifo.shows(f"{gate.hold}\n")


def test_a_line_is_there_while_all_threads_are_in_slow_calls(tmp_path: Path, fifo: Fifo) -> None:
    with Gate() as gate, serve(
        gated, accesslog=str(tmp_path / "access.log"), access_log_format="%(q)s", threads=2,
    ) as server, contextlib.ExitStack() as stack:
        first, second, third = [stack.enter_context(Client(server.address)) for _ in range(3)]
        for n in range(12):  # enough for the regime of slow calls
            first.send(request(f"{gate.hold}?{n}"))
            gate.entered()
            threading.Event().wait(0.003)  # longer than what makes a call slow
            gate.let_go()
            first.response()
            assert fifo.shows(f"{n}\n")
        for client, name in ((first, "a"), (second, "b")):
            client.send(request(f"{gate.hold}?{name}"))
            gate.entered()
        third.send(request(f"{gate.hold}?c"))
        gate.let_go()
        gate.entered()
        assert fifo.shows("a\n")
        gate.let_go()
        gate.let_go()


def test_all_lines_are_there_when_the_server_has_stopped(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with serve(app, accesslog=str(path), access_log_format="%(U)s") as server, \
            Client(server.address) as client:
        client.send(b"".join(request(f"/{n}") for n in range(1000)))
        for _ in range(1000):
            client.response()
    assert lines_of(path) == [f"/{n}" for n in range(1000)]


def test_lines_do_not_wait_for_a_pause_that_does_not_come(tmp_path: Path) -> None:
    # all requests are here before the first is answered, and their lines are more than is gathered
    path, each, padding = tmp_path / "access.log", 40, "x" * 500
    with Gate() as gate, serve(
        gated, accesslog=str(path), access_log_format=f"%(U)s {padding}",
    ) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(32)]
        clients[0].send(request(gate.hold))
        gate.entered()
        for number, client in enumerate(clients):
            client.send(b"".join(request(f"/{number}-{n}") for n in range(each)))
        gate.let_go()
        assert clients[0].response().status == 200
        for client in clients:
            for _ in range(each):
                assert client.response().status == 200
    found = Counter(line.split()[0] for line in lines_of(path))
    assert found == Counter([gate.hold, *(f"/{number}-{n}" for number in range(32)
                                          for n in range(each))])


def test_stdout(project: Project) -> None:
    where = project(app=HELLO)
    with spawn("--access-logfile", "-", "app:app", cwd=where) as server:
        raw(server.address, GET)
        line = server.wait_for(r'"GET / HTTP/1\.1" 200 5 "-" "-"$')
        assert line.startswith("127.0.0.1 - - [")


# ---- whole lines ----


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_lines_of_threads_and_workers_stay_whole(tmp_path: Path, kind: str) -> None:
    path, clients, each = tmp_path / "access.log", 4, 300
    text: list[bytes] = []
    if kind == "pipe":
        os.mkfifo(path)
        reader = threading.Thread(target=lambda: text.append(path.read_bytes()))
        reader.start()

    def load(number: int) -> None:
        with Client(server.address) as client:
            for first in range(0, each, 30):
                client.send(b"".join(request(f"/{number}-{n}-" + "x" * (50 + n))
                                     for n in range(first, first + 30)))
                for _ in range(30):
                    assert client.response().status == 200

    with serve(app, process=True, workers=2, threads=2, accesslog=str(path),
               access_log_format="<%(U)s %(p)s>") as server:
        threads = [threading.Thread(target=load, args=(n,)) for n in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    if kind == "pipe":
        reader.join(30)
    lines = text[0].decode().splitlines() if kind == "pipe" else lines_of(path)
    found = Counter(re.fullmatch(r"</(\d+)-(\d+)-(x+) <\d+>>", line).groups()  # type: ignore[union-attr]
                    for line in lines)
    assert found == Counter((str(c), str(n), "x" * (50 + n))
                            for c in range(clients) for n in range(each))


# ---- failures ----


@pytest.mark.parametrize("threads", [1, 2])
def test_a_full_disk_costs_lines_and_nothing_else(threads: int) -> None:
    with serve(app, accesslog="/dev/full", threads=threads) as server, \
            Client(server.address) as client:
        for _ in range(100):
            assert client.fetch("/").body == b"hello"
        said = [line for line in server.log if "access log" in line]
    (line,) = said
    assert re.search(r"\[ERROR\] The access log cannot be written "
                     r"\(No space left on device\): \d+ lines? (is|are) lost$", line)


def test_a_pipe_without_a_reader_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    pipe = Fifo(tmp_path / "access.log")
    with serve(app, accesslog=str(tmp_path / "access.log")) as server, \
            Client(server.address) as client:
        assert client.fetch("/").body == b"hello"
        assert pipe.shows("200")
        pipe.close()
        for _ in range(100):
            assert client.fetch("/").body == b"hello"
        assert [line for line in server.log if "(Broken pipe)" in line]
        again = Fifo(tmp_path / "access.log")
        client.fetch("/back")
        assert again.shows("GET /back")
        again.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_reader_that_sleeps_costs_lines_and_no_request(
    tmp_path: Path, fifo: Fifo, threads: int,
) -> None:
    sent, padding = 300, "x" * 4000  # more than the pipe and the buffers hold
    with serve(app, accesslog=str(tmp_path / "access.log"), threads=threads,
               access_log_format=f"%(U)s {padding}") as server, Client(server.address) as client:
        for n in range(sent):
            assert client.fetch(f"/{n}").status == 200
        lines = [line for line in server.log if "access log cannot be written" in line]
        assert fifo.shows("/75 ")  # what is kept is written when it is read
        client.fetch("/last")
        assert fifo.shows("/last")
    assert re.search(r"\(its reader does not keep up\): \d+ lines are lost$", lines[0])
    numbers = [int(n) for n in re.findall(r"^/(\d+) x+$", fifo.text, re.MULTILINE)]
    assert numbers == list(range(len(numbers)))
    assert 75 < len(numbers) < sent


def test_what_a_reader_has_left_is_lost_at_the_end_and_said(tmp_path: Path, fifo: Fifo) -> None:
    with serve(app, accesslog=str(tmp_path / "access.log"),
               access_log_format="%(U)s " + "x" * 4000) as server, Client(server.address) as client:
        for n in range(40):
            client.fetch(f"/{n}")
        log = server._log
        server._log = open(os.dup(log.fileno()))  # noqa: SIM115, to be read when it has ended
    try:
        assert [line for line in server.log if re.search(r": \d\d lines are lost$", line)]
    finally:
        server._log.close()


def test_a_stdout_that_nobody_reads_costs_no_request(project: Project) -> None:
    where = project(app=HELLO)
    reading, writing = os.pipe()
    log = where / "log"
    child = subprocess.Popen(
        [sys.executable, "-m", "fastwsgi", "-b", f"unix:{where}/s", "--access-logfile", "-",
         "--access-logformat", "%(U)s " + "x" * 4000, "--error-logfile", str(log), "-w", "2",
         "app:app"], cwd=where, env=environment({}), stdout=writing)
    os.close(writing)
    try:
        for _ in range(1000):
            if log.exists() and "ready" in log.read_text():
                break
            threading.Event().wait(0.01)
        for _ in range(8):  # several connections: both workers
            with Client(str(where / "s")) as client:
                for _ in range(40):
                    assert client.fetch("/").status == 200
    finally:
        child.terminate()
        assert child.wait(20) == 0
    assert "its reader does not keep up" in log.read_text()
    os.close(reading)


def test_a_line_that_is_cut_is_not_continued_by_another(project: Project) -> None:
    where = project(app="""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        def app(environ, start_response):
            room = environ["QUERY_STRING"]
            if room:
                resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), resource.RLIM_INFINITY))
            start_response("200 OK", [])
            return [b"hello"]
        """)
    log = where / "access.log"
    with spawn("--access-logfile", str(log), "--access-logformat", "%(U)s", "app:app",
               cwd=where) as server, Client(server.address) as client:
        client.fetch("/12?10")
        client.fetch("/3456789")
        client.fetch("/late")
        client.fetch("/later?4096")
        client.fetch("/whole")
        server.wait_for("access log cannot be written")
        server.terminate()
    # what comes before there is room again is lost, or written later: as the worker gets to it
    assert re.fullmatch(r"/12\n/34567\n(/late\n)?(/later\n)?/whole\n", log.read_text())


# ---- settings, rotation, reload ----


@pytest.mark.parametrize(("args", "words"), [
    (("--access-logfile", "no/such/place"), "cannot write the access log /.*/no/such/place: No "
     "such file or directory"),
    (("--access-logformat", "%(wrong)s"), r"access_log_format must be .*'%\(wrong\)s'.* \(from "
     r"command line --access-logformat\)"),
])
def test_what_cannot_be_is_refused_at_the_start(
    command: Command, args: tuple[str, ...], words: str,
) -> None:
    done = command(*args, "app:app")
    assert done.returncode == 2
    assert re.search(words, done.stderr)


def test_a_file_that_cannot_be_opened_is_an_error_of_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot write the access log"), \
            serve(app, accesslog=str(tmp_path)):
        pass


def test_the_file_belongs_to_the_user_of_the_workers(tmp_path: Path) -> None:
    path, nobody = tmp_path / "access.log", pwd.getpwnam("nobody")
    root = os.geteuid() == 0
    with serve(app, process=True, workers=1, accesslog=str(path),
               **({"user": "nobody"} if root else {})) as server:
        raw(server.address, GET)
    found = path.stat()
    assert found.st_uid == (nobody.pw_uid if root else os.geteuid())
    assert stat.S_ISREG(found.st_mode)
    assert len(lines_of(path)) == 1


@pytest.mark.parametrize("more", [(), ("--preload",), ("--workers", "0")])
def test_usr1_opens_it_anew(project: Project, more: tuple[str, ...]) -> None:
    where = project(app=HELLO)
    log = where / "access.log"
    old = Fifo(log)
    with spawn("--access-logfile", str(log), "--access-logformat", "%(U)s %(p)s", *more, "app:app",
               cwd=where) as server:
        raw(server.address, request("/before", "Connection: close"))
        assert old.shows("/before ")
        log.rename(where / "access.log.1")
        new = Fifo(log)
        server.signal(signal.SIGUSR1)
        pid = writer(server, new, "/after")
        if more != ("--workers", "0"):
            os.kill(pid, signal.SIGKILL)  # a worker that is forked later has the new one, too
            assert writer(server, new, "/later") != pid
    new.close()
    old.close()


def writer(server: Process, log: Fifo, target: str) -> int:
    """Send requests until one of them is in the log; return which process has written that."""
    for _ in range(600):  # each process opens it when the signal has come through to it
        raw(server.address, request(target, "Connection: close"))
        if log.shows(f"{target} <", 0.05) and log.shows(">\n"):
            return int(log.text.split(f"{target} <")[1].split(">")[0])
    pytest.fail(f"no {target} in {log.text!r}")


def test_a_reload_takes_another_file_and_format(project: Project) -> None:
    where = project({"conf.py": "accesslog = 'one.log'\naccess_log_format = '%(U)s'\n"}, app=HELLO)
    (where / "conf.py").touch()
    with spawn("-c", "conf.py", "app:app", cwd=where) as server:
        raw(server.address, request("/first", "Connection: close"))
        reload(server, where, "accesslog = 'two.log'\naccess_log_format = 'now %(U)s'\n", 2)
        raw(server.address, request("/second", "Connection: close"))
        reload(server, where, "", 3)
        raw(server.address, request("/third", "Connection: close"))
    assert lines_of(where / "one.log") == ["/first"]
    assert lines_of(where / "two.log") == ["now /second"]


def reload(server: Process, where: Path, settings: str, count: int) -> None:
    """Let the server read other settings, and wait until new workers serve."""
    (where / "conf.py").write_text(settings)
    pids = re.search(r"\(pid (\d+)\)", server.wait_for(r"ready: ", count=count - 1))
    server.signal(signal.SIGHUP)
    server.wait_for(r"ready: ", count=count)
    assert pids is not None
    for _ in range(3000):  # the old worker leaves when it has been told
        try:
            os.kill(int(pids[1]), 0)
        except ProcessLookupError:
            return
        threading.Event().wait(0.01)
    pytest.fail("the old worker stays")


def test_a_reload_that_cannot_open_its_file_changes_nothing(project: Project) -> None:
    where = project({"conf.py": "accesslog = 'one.log'\naccess_log_format = '%(U)s'\n"}, app=HELLO)
    with spawn("-c", "conf.py", "app:app", cwd=where) as server:
        (where / "conf.py").write_text("accesslog = 'no/such/place'\n")
        server.signal(signal.SIGHUP)
        server.wait_for("reload refused.*cannot write the access log")
        raw(server.address, request("/still", "Connection: close"))
    assert lines_of(where / "one.log") == ["/still"]


def test_a_daemon_is_told_that_it_has_no_stdout(project: Project, command: Command) -> None:
    where = project(app=HELLO)
    done = command("-D", "-b", f"unix:{where}/s", "-p", "pid", "--error-logfile", "log",
                   "--access-logfile", "-", "app:app")
    try:
        assert done.returncode == 0
        assert "the access log is stdout, which a daemon does not have" in (
            where / "log").read_text()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(where / "s"))
    finally:
        os.kill(int((where / "pid").read_text()), signal.SIGTERM)
