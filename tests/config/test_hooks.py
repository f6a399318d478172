"""Hooks of the configuration file: when each is called, with what, and what its failure means."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from apps.client import GET
from apps.command import HELLO, Command, Project, ready

from fastwsgi.config.hooks import ARGUMENTS
from fastwsgi.testing import raw, spawn

# Each hook writes its name, the process it runs in and what it is given into one file.
TELLING = """
import os
def _tell(name, text=""):
    with open("calls", "a") as file:
        file.write(f"{name} in {os.getpid()} {text}\\n")
def on_starting(server):
    _tell("on_starting", f"pid {server.pid} workers {server.cfg.workers}")
def on_reload(server):
    _tell("on_reload", f"warmup {server.cfg.warmup!r}")
def when_ready(server):
    server.log.info("when_ready: %s", server.address)
    _tell("when_ready", f"address {len(server.address)} workers {server.num_workers}")
def pre_fork(server, worker):
    _tell("pre_fork", f"age {worker.age} pid {worker.pid}")
def post_fork(server, worker):
    _tell("post_fork", f"age {worker.age} pid {worker.pid} ppid {worker.ppid} of {server.pid}")
def post_worker_init(worker):
    worker.log.info("post_worker_init: %s", worker.cfg.workers)
    _tell("post_worker_init", f"callable {callable(worker.wsgi)}")
def worker_int(worker):
    _tell("worker_int", f"age {worker.age}")
def worker_abort(worker):
    _tell("worker_abort", f"age {worker.age}")
def pre_request(worker, req):
    _tell("pre_request", f"{worker.age} {req.path}")
def post_request(worker, req, environ, resp):
    _tell("post_request", f"{worker.age} {req.path} {resp.status}")
def pre_exec(server):
    _tell("pre_exec", f"pid {server.pid}")
def child_exit(server, worker):
    _tell("child_exit", f"age {worker.age} pid {worker.pid}")
def worker_exit(server, worker):
    _tell("worker_exit", f"age {worker.age}")
def nworkers_changed(server, new_value, old_value):
    _tell("nworkers_changed", f"{old_value} {new_value} {server.num_workers}")
def on_exit(server):
    _tell("on_exit")
"""


def calls(where: Path) -> list[tuple[str, int, str]]:
    """What the hooks have told: name, process, text."""
    found = []
    for line in (where / "calls").read_text().splitlines():
        name, pid, text = re.fullmatch(r"(\w+) in (\d+) (.*)", line).groups()
        found.append((name, int(pid), text))
    return found


def test_a_life_of_a_server_in_hooks(project: Project) -> None:
    where = project({"fastwsgi.conf.py": TELLING}, app=HELLO)
    with spawn("app:app", cwd=where) as server:
        (worker,) = ready(server)
        server.wait_for(rf"when_ready: \[\('127.0.0.1', {server.port}\)\]")
        server.wait_for("post_worker_init: 1")
        assert server.terminate() == 0
        master = server.pid
    assert calls(where) == [
        ("on_starting", master, f"pid {master} workers 1"),
        ("when_ready", master, "address 1 workers 1"),
        ("nworkers_changed", master, "None 1 1"),
        ("pre_fork", master, "age 1 pid None"),
        ("post_fork", worker, f"age 1 pid {worker} ppid {master} of {master}"),
        ("post_worker_init", worker, "callable True"),
        ("worker_exit", worker, "age 1"),
        ("child_exit", master, f"age 1 pid {worker}"),
        ("on_exit", master, ""),
    ]


def test_hooks_on_events(project: Project) -> None:
    where = project({"fastwsgi.conf.py": TELLING + "warmup = ''\n"}, app=HELLO)
    with spawn("app:app", cwd=where) as server:
        (first,) = ready(server)
        server.signal(signal.SIGTTIN)
        second = ready(server, 2)[-1]
        assert raw(server.address, GET).endswith(b"hello")
        os.kill(second, signal.SIGABRT)
        server.wait_for(rf"worker {second} ended unexpectedly \(exit code 1\)")
        os.kill(first, signal.SIGQUIT)
        server.wait_for(rf"worker {first} ended unexpectedly \(exit code 0\)")
        project({"fastwsgi.conf.py": TELLING + "warmup = '/'\n"})
        server.signal(signal.SIGHUP)
        ready(server, 3)
        server.signal(signal.SIGUSR2)
        line = server.wait_for(r"the new master \(pid \d+\) is ready")
        os.kill(int(re.findall(r"new master \(pid (\d+)\)", line)[0]), signal.SIGTERM)
        server.wait_for(r"the new master \(pid \d+\) has ended")
        assert server.terminate() == 0
        master = server.pid
    told = calls(where)
    assert ("nworkers_changed", master, "1 2 2") in told
    assert ("worker_abort", second, "age 2") in told
    assert ("worker_int", first, "age 1") in told
    assert ("child_exit", master, f"age 2 pid {second}") in told
    assert ("on_reload", master, "warmup '/'") in told
    assert ("pre_exec", master, f"pid {master}") in told
    assert {name for name, _, _ in told} == set(ARGUMENTS) - {"ssl_context"}  # of TLS


def test_with_preload_pre_fork_is_called_where_the_fork_is(project: Project) -> None:
    where = project({"fastwsgi.conf.py": TELLING}, app=HELLO)
    with spawn("--preload", "app:app", cwd=where) as server:
        (worker,) = ready(server)
        told = {name: (pid, text) for name, pid, text in calls(where)}
        parent, _ = told["pre_fork"]
        assert parent not in (server.pid, worker)
        assert told["post_fork"] == (
            worker, f"age 1 pid {worker} ppid {parent} of {server.pid}")
        os.kill(worker, signal.SIGKILL)
        server.wait_for("ended unexpectedly")
        assert ("child_exit", server.pid, f"age 1 pid {worker}") in calls(where)


@pytest.mark.parametrize("name", ["when_ready", "pre_fork", "nworkers_changed", "child_exit",
                                  "worker_exit", "on_exit"])
def test_a_failure_of_a_hook_is_logged_and_the_server_goes_on(project: Project, name: str) -> None:
    where = project({"fastwsgi.conf.py": f"def {name}(*args): raise OSError('in the hook')"},
                    app=HELLO)
    with spawn("app:app", cwd=where) as server:
        assert raw(server.address, GET).endswith(b"hello")
        assert server.terminate() == 0
        assert f"the hook {name} failed" in server.output()
        assert "OSError: in the hook" in server.output()


@pytest.mark.parametrize(("name", "code"), [
    ("on_starting", 2), ("post_fork", 3), ("post_worker_init", 3),
])
def test_a_failure_before_service_begins_is_a_failed_start(
    project: Project, command: Command, name: str, code: int,
) -> None:
    project({"fastwsgi.conf.py": f"def {name}(*args): raise OSError('in the hook')"}, app=HELLO)
    done = command("-b", "127.0.0.1:0", "app:app")
    assert done.returncode == code
    assert "OSError: in the hook" in done.stderr


def test_a_failure_of_pre_exec_stops_the_upgrade(project: Project) -> None:
    where = project({"fastwsgi.conf.py": "def pre_exec(server): raise OSError('not today')"},
                    app=HELLO)
    with spawn("app:app", cwd=where) as server:
        server.signal(signal.SIGUSR2)
        server.wait_for("upgrade failed, nothing has changed: not today")
        assert raw(server.address, GET).endswith(b"hello")


def test_hooks_are_keywords_too(project: Project) -> None:
    where = project(main="""
        import fastwsgi
        def told(server, worker):
            worker.log.info("post_fork of %d", worker.age)
        fastwsgi.run("app:app", bind="127.0.0.1:0", post_fork=told)
        """, app=HELLO, starter="import main")
    with spawn("-w", "0", "starter:app", cwd=where) as server:
        server.wait_for("post_fork of 1")


def test_without_a_master_hooks_that_need_one_are_noticed(project: Project) -> None:
    where = project({"fastwsgi.conf.py": TELLING}, app=HELLO)
    with spawn("-w", "0", "app:app", cwd=where) as server:
        server.wait_for("without a master only on_starting, pre_request, post_request, "
                        "ssl_context are called")
        assert [name for name, _, _ in calls(where)] == ["on_starting"]
