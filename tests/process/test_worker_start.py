"""Between fork and readiness: the warm-up request, CPU affinity, process titles."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from apps.client import GET
from apps.command import Command, Project, ready

from fastwsgi.testing import Process, raw, spawn

WARM = """
    import os
    requests = []
    class Answer(list):
        def close(self):
            requests.append("closed")
    def app(environ, start_response):
        requests.append(environ["PATH_INFO"] + "?" + environ["QUERY_STRING"])
        start_response(os.environ.get("STATUS", "200 OK"), [])
        return Answer([" ".join(requests).encode()])
    """


@pytest.mark.parametrize("args", [["-w", "1"], ["-w", "0"], ["--preload"]], ids=" ".join)
def test_the_warm_up_request_comes_before_all_others(project: Project, args: list[str]) -> None:
    with spawn(*args, "--warmup", "/a%20b?c=d", "app:app", cwd=project(app=WARM)) as server:
        assert b"\r\n/a b?c=d closed /?\r\n" in raw(server.address, GET)


@pytest.mark.parametrize(("target", "seen"), [
    ("/pre/warm?a", "/warm?a"), ("/p%72e/warm", "/warm?"), ("/pre", "?"),
])
def test_the_warm_up_request_is_below_script_name(
    project: Project, target: str, seen: str,
) -> None:
    where = project(app=WARM)
    with spawn("--script-name", "/pre", "--warmup", target, "app:app", cwd=where) as server:
        told = raw(server.address, GET.replace(b"/", b"/pre/", 1))
        assert f"\r\n{seen} closed /?\r\n".encode() in told


def test_the_warm_up_request_is_whole(project: Project) -> None:
    where = project(app="""
        from wsgiref.validate import validator
        @validator
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b""]
        """)
    with spawn("--warmup", "/", "app:app", cwd=where) as server:
        ready(server)


@pytest.mark.parametrize(("app", "reason"), [
    ("def app(e, s): s('503 Not Yet', []); return []",
     r"the warm-up request GET / was answered 503 Not Yet"),
    ("def app(e, s): raise OSError('no database')", r"OSError: no database"),
    ("def app(e, s): return []", r"the warm-up request GET / was answered nothing"),
], ids=["status", "exception", "nothing"])
def test_a_worker_that_is_not_warm_is_a_failure(
    project: Project, command: Command, app: str, reason: str,
) -> None:
    project(app=app)
    done = command("-b", "127.0.0.1:0", "--warmup", "/", "app:app")
    assert done.returncode == 3
    assert reason in done.stderr


def test_a_reload_whose_warm_up_fails_leaves_the_old_workers(project: Project) -> None:
    where = project({"fastwsgi.conf.py": "warmup = '/'"}, app=WARM)
    with spawn("app:app", cwd=where) as server:
        before = ready(server)
        project({"fastwsgi.conf.py": "warmup = '/'\nraw_env = ['STATUS=500 Broken']"})
        server.signal(signal.SIGHUP)
        server.wait_for("the warm-up request GET / was answered 500 Broken")
        server.wait_for("reload abandoned")
        assert raw(server.address, GET).startswith(b"HTTP/1.1 200")
        assert before == ready(server)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPU affinity is Linux'")
def test_each_worker_is_bound_to_a_cpu_in_turn(project: Project) -> None:
    where = project(app="def app(e, s): s('200 OK', []); return []")
    cpus = sorted(os.sched_getaffinity(0))
    with spawn("-w", str(len(cpus) + 1), "--cpu-affinity", "app:app", cwd=where) as server:
        bound = [os.sched_getaffinity(pid) for pid in ready(server)]
        assert sorted(min(one) for one in bound) == sorted([*cpus, cpus[0]])
        assert {len(one) for one in bound} == {1}


def titles(server: Process) -> dict[int, str]:
    """What ps(1) shows of the server's processes."""
    pids = [server.pid, *ready(server)]
    environ = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    shown = subprocess.run(["ps", "-o", "pid=,args=", "-p", ",".join(map(str, pids))], check=True,
                           capture_output=True, text=True, env=environ, timeout=30,
                           ).stdout.splitlines()
    return {int(line.split()[0]): line.split(None, 1)[1].strip() for line in shown}


@pytest.mark.parametrize(("args", "name"), [([], "app:app"), (["-n", "shop"], "shop")])
def test_processes_have_titles(project: Project, args: list[str], name: str) -> None:
    where = project(app="def app(e, s): s('200 OK', []); return []")
    with spawn(*args, "app:app", cwd=where) as server:
        (worker,) = ready(server)
        assert titles(server) == {server.pid: f"fastwsgi: master [{name}]",
                                  worker: f"fastwsgi: worker [{name}]"}


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="/proc is Linux'")
def test_a_title_leaves_the_environment_alone(project: Project) -> None:
    where = project(app="""
        import os
        def app(environ, start_response):
            start_response("200 OK", [])
            return [f"hint {os.environ.get('SPT_NOENV')}".encode()]
        """)
    with spawn("-n", "shop" * 1000, "app:app", cwd=where, env={"COLOUR": "red"}) as server:
        for pid in (server.pid, *ready(server)):
            assert b"COLOUR=red\0" in Path(f"/proc/{pid}/environ").read_bytes()
        assert b"hint None" in raw(server.address, GET)


def test_without_the_library_a_name_is_noticed(
    project: Project, without: Callable[[str], dict[str, str]],
) -> None:
    where = project(app="def app(e, s): s('200 OK', []); return []")
    with spawn("-n", "shop", "app:app", cwd=where, env=without("setproctitle")) as server:
        server.wait_for(r"process titles need the setproctitle library: pip install fastwsgi\[ti")
        assert sys.executable in titles(server)[server.pid]


@pytest.mark.parametrize("flag", ["--preload", "--cpu-affinity"])
def test_what_needs_a_master_is_refused_without_one(command: Command, flag: str) -> None:
    done = command("-w", "0", flag, "app:app")
    assert done.returncode == 2
    assert "workers must be 1 or more for" in done.stderr
    assert f"(from command line {flag})" in done.stderr
