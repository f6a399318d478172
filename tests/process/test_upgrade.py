"""USR2: a new master on the same sockets; what becomes of the old one, of paths and of files."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apps.client import GET
from apps.command import Project, started

from fastwsgi.testing import Process, raw, spawn

APP = """
    import os
    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"version 1 worker %d below %d " % (os.getpid(), os.getppid())]
    """


@contextlib.contextmanager
def serving(*args: str, cwd: Path) -> Iterator[Process]:
    """``spawn``, whose new masters are ended too."""
    with spawn(*args, "app:app", cwd=cwd) as server:
        try:
            yield server
        finally:
            end_new_masters(server)


@contextlib.contextmanager
def serving_where_the_file_says(where: Path) -> Iterator[Process]:
    """The same with the addresses of ./fastwsgi.conf.py; ``spawn`` gives one by a flag."""
    with started(["-m", "fastwsgi", "app:app"], where) as server:
        try:
            yield server
        finally:
            end_new_masters(server)


def end_new_masters(server: Process) -> None:
    """End the children of a server, which are not ours to wait for."""
    for pid in re.findall(r"started a new master \(pid (\d+)\)", server.output()):
        if runs(int(pid)):
            os.kill(int(pid), signal.SIGKILL)


def runs(pid: int) -> bool:
    """Whether a process is there and has not ended, as far as the system tells."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return state_of(pid) != "Z"


def state_of(pid: int) -> str | None:
    """The letter that the system gives to what a process is doing, where it tells."""
    state = Path(f"/proc/{pid}/stat")
    return state.read_text("ascii").rpartition(")")[2].split()[0] if state.exists() else None


def upgrade(server: Process, count: int = 1) -> int:
    """Start a new master and wait until it is ready; return its process id."""
    server.signal(signal.SIGUSR2)
    line = server.wait_for(r"the new master \(pid \d+\) is ready", count=count)
    return int(re.findall(r"new master \(pid (\d+)\)", line)[0])


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Within it, a process does nothing: it does not even wait for connections."""
    os.kill(pid, signal.SIGSTOP)
    try:
        while state_of(pid) not in {"T", None}:
            os.sched_yield()
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def below(server: Process) -> int:
    """The master of the worker that answers a request."""
    return int(re.findall(rb"below (\d+)", raw(server.address, GET))[0])


def test_term_to_the_old_master_finishes_an_upgrade(
    project: Project, tmp_path: Path,
) -> None:
    file, beside = tmp_path / "pid", tmp_path / "pid.2"
    with serving("-p", "pid", cwd=project(app=APP)) as server:
        assert below(server) == server.pid
        project(app=APP.replace("version 1", "version 22"))
        new = upgrade(server)
        assert (file.read_text(), beside.read_text()) == (f"{server.pid}\n", f"{new}\n")
        server.signal(signal.SIGTERM)
        server.wait_for(rf"the old master \(pid {server.pid}\) has ended")
        assert b"version 22 " in raw(server.address, GET)
        assert below(server) == new
        assert file.read_text() == f"{new}\n"
        assert not beside.exists()
        os.kill(new, signal.SIGTERM)
        assert server.wait() == 0  # and its output has ended, which the new one writes to as well
        assert not file.exists()


def test_both_masters_serve_during_an_upgrade(project: Project) -> None:
    with serving(cwd=project(app=APP)) as server:
        new = upgrade(server)
        answer = raw(server.address, GET)
        worker, first = map(int, re.findall(rb"worker (\d+) below (\d+)", answer)[0])
        with stopped(worker):
            second = below(server)
        assert {first, second} == {server.pid, new}
        os.kill(new, signal.SIGTERM)
        server.wait_for(rf"the new master \(pid {new}\) has ended \(exit code 0\); this one")
        assert below(server) == server.pid
        assert upgrade(server, 2) != new


def test_a_path_of_a_unix_socket_goes_with_its_last_master(
    project: Project, tmp_path: Path,
) -> None:
    path = tmp_path / "s"
    with serving("-b", f"unix:{path}", cwd=project(app=APP)) as server:
        new = upgrade(server)
        os.kill(new, signal.SIGTERM)
        server.wait_for("has ended")
        assert path.exists()
        new = upgrade(server, 2)
        server.signal(signal.SIGTERM)
        server.wait_for("the upgrade is finished")
        assert below(server) == new
        os.kill(new, signal.SIGTERM)
        assert server.wait() == 0  # the end of all output
        assert not path.exists()


@pytest.mark.parametrize(("fault", "reason"), [
    ({"app.py": "raise OSError('half a release')"}, r"\(exit code 4\); this one continues"),
    ({"fastwsgi.conf.py": "workers = 'lots'"},
     r"\(exit code 2\): workers must be .* \(from \./fastwsgi\.conf\.py\); this one continues"),
    ({"fastwsgi.conf.py": "bind = '192.0.2.1:1'"}, r"cannot listen on 192\.0\.2\.1:1: .*continues"),
], ids=["application", "settings", "address"])
def test_an_upgrade_that_fails_leaves_the_old_master(
    project: Project, tmp_path: Path, fault: dict[str, str], reason: str,
) -> None:
    where = project({"fastwsgi.conf.py": f"bind = 'unix:{tmp_path}/s'"}, app=APP)
    with serving_where_the_file_says(where) as server:
        project(fault)
        server.signal(signal.SIGUSR2)
        server.wait_for(rf"upgrade failed: the new master .* before it was ready .*{reason}")
        assert below(server) == server.pid


def test_one_upgrade_at_a_time(project: Project) -> None:
    with serving(cwd=project(app=APP)) as server:
        new = upgrade(server)
        server.signal(signal.SIGUSR2)
        server.wait_for(rf"no upgrade: a new master \(pid {new}\) is already running")
        os.kill(new, signal.SIGUSR2)
        server.wait_for(rf"no upgrade: the old master \(pid {server.pid}\) has not ended yet")


def test_a_new_master_begins_where_the_old_one_did(project: Project) -> None:
    where = project({"below/app.py": """
        import os
        def app(environ, start_response):
            start_response("200 OK", [])
            from setproctitle import getproctitle
            name = getproctitle().partition("[")[2].rstrip("]")
            return [f"colour {os.environ.get('COLOUR', 'none')} name {name}".encode()]
        """, "fastwsgi.conf.py": "chdir = 'below'\nraw_env = ['COLOUR=red']"})
    with serving(cwd=where) as server:
        assert raw(server.address, GET).endswith(b"colour red name app:app")
        project({"fastwsgi.conf.py": "chdir = 'below'\nproc_name = 'green'"})
        upgrade(server)
        server.signal(signal.SIGTERM)
        server.wait_for("the upgrade is finished")
        assert raw(server.address, GET).endswith(b"colour none name green")


def test_a_directory_that_is_a_link_is_followed_anew(project: Project, tmp_path: Path) -> None:
    for name in ("one", "two"):
        project({f"{name}/app.py": APP.replace("version 1", f"release {name}")})
    link = tmp_path / "current"
    link.symlink_to("one")
    with spawn("app:app", cwd=link, env={"PWD": str(link)}) as server:
        try:
            assert b"release one" in raw(server.address, GET)
            link.unlink()
            link.symlink_to("two")
            upgrade(server)
            server.signal(signal.SIGTERM)
            server.wait_for("the upgrade is finished")
            assert b"release two" in raw(server.address, GET)
        finally:
            end_new_masters(server)


def test_a_new_master_uses_sockets_that_are_still_wanted_and_opens_others(
    project: Project, tmp_path: Path,
) -> None:
    one, two, three = (str(tmp_path / name) for name in "abc")
    where = project({"fastwsgi.conf.py": f"bind = ['unix:{one}', 'unix:{two}']"}, app=APP)
    with serving_where_the_file_says(where) as server:
        kept = os.stat(one).st_ino
        project({"fastwsgi.conf.py": f"bind = ['unix:{three}', 'unix:{one}']"})
        upgrade(server)
        server.signal(signal.SIGTERM)
        server.wait_for("the upgrade is finished")
        assert os.stat(one).st_ino == kept
        assert raw(one, GET).startswith(b"HTTP/1.1 200")
        assert raw(three, GET).startswith(b"HTTP/1.1 200")
        with pytest.raises(OSError, match="refused"):
            raw(two, GET)


def test_something_else_in_the_variable_is_refused(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = command("app:app", env={"FASTWSGI_UPGRADE": "nonsense"})
    assert done.returncode == 1
    assert "FASTWSGI_UPGRADE is not from a running master" in done.stderr
