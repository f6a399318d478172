"""--preload: one import, shared memory, reloads that import anew, deaths that are noticed."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
from pathlib import Path

import pytest
from apps.client import GET
from apps.command import Project, ready
from apps.eventually import answer_with

from fastwsgi.testing import raw, spawn

APP = """
    import gc, os
    with open("imports", "a") as file:
        file.write(f"{os.getpid()}\\n")
    def app(environ, start_response):
        start_response("200 OK", [])
        frozen = gc.get_freeze_count() > 1000
        return [f"version 1 in {os.getpid()} below {os.getppid()} frozen {frozen}".encode()]
    """


def imports(where: Path) -> list[int]:
    """The processes that have imported the application."""
    return [int(line) for line in (where / "imports").read_text().split()]


def test_the_application_is_imported_once_for_all_workers(project: Project) -> None:
    where = project(app=APP)
    with spawn("--preload", "-w", "3", "app:app", cwd=where) as server:
        pids = ready(server)
        answer = raw(server.address, GET).decode()
        (importer,) = imports(where)
        assert importer not in (server.pid, *pids)
        assert f"below {importer} frozen True" in answer
        assert int(re.findall(r"in (\d+)", answer)[0]) in pids
        assert server.terminate() == 0
    assert "Traceback" not in server.output()


def test_a_reload_imports_what_was_preloaded_anew(project: Project) -> None:
    where = project(app=APP)
    with spawn("--preload", "-w", "2", "--log-level", "debug", "app:app", cwd=where) as server:
        before = ready(server)
        project(app=APP.replace("version 1", "version 22"))
        server.signal(signal.SIGHUP)
        assert not set(before) & set(ready(server, 2))
        answer_with(server.address, GET, b"version 22 ")
        old, new = imports(where)
        assert old != new
        server.wait_for(rf"fork server {old} exited \(exit code 0\)")


def test_a_reload_that_does_not_import_leaves_the_old_workers(project: Project) -> None:
    where = project(app=APP)
    with spawn("--preload", "app:app", cwd=where) as server:
        before = ready(server)
        project(app="raise OSError('half a deployment')")
        server.signal(signal.SIGHUP)
        server.wait_for("reload abandoned")
        assert "OSError: half a deployment" in server.output()
        os.kill(before[0], signal.SIGKILL)  # the fork server of old still makes workers
        server.wait_for(rf"worker {before[0]} ended unexpectedly \(signal SIGKILL\)")
        assert b"version 1 " in raw(server.address, GET)
        project(app=APP.replace("version 1", "version 333"))
        server.signal(signal.SIGHUP)
        ready(server, 2)
        assert b"version 333 " in raw(server.address, GET)


def test_an_application_that_cannot_be_preloaded_ends_the_master_with_4(project: Project) -> None:
    where = project(app="raise OSError('no database')")
    with (
        pytest.raises(RuntimeError, match=r"the server ended \(4\)") as caught,
        spawn("--preload", "app:app", cwd=where),
    ):
        pass
    assert "OSError: no database" in str(caught.value)


def test_a_worker_outlives_its_fork_server_and_is_replaced_after_it(project: Project) -> None:
    where = project(app=APP)
    with spawn("--preload", "--log-level", "debug", "app:app", cwd=where) as server:
        (worker,) = ready(server)
        (importer,) = imports(where)
        os.kill(importer, signal.SIGKILL)
        server.wait_for(rf"fork server {importer} ended unexpectedly \(signal SIGKILL\)")
        assert f"in {worker} ".encode() in raw(server.address, GET)
        assert f"worker {worker} ended" not in server.output()
        os.kill(worker, signal.SIGKILL)
        server.wait_for(rf"worker {worker} ended unexpectedly")
        server.wait_for(r"worker \d+ is ready", count=2)
        assert b"version 1 " in raw(server.address, GET)
        assert len(imports(where)) == 2
        assert server.terminate() == 0


def test_nothing_remains_when_the_master_is_killed(project: Project) -> None:
    where = project(app=APP)
    with spawn("--preload", "-w", "2", "app:app", cwd=where) as server:
        ready(server)
        server.signal(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL  # all that could write to the output have ended
        with pytest.raises(ConnectionRefusedError):
            raw(server.address, GET)


def test_a_fork_that_fails_in_the_fork_server_is_tried_again(project: Project) -> None:
    where = project(app=APP + """
    fork, left = os.fork, [2]
    def refuse():
        if left[0]:
            left[0] -= 1
            raise OSError(11, "never shown")
        return fork()
    os.fork = refuse
    """)
    with spawn("--preload", "app:app", cwd=where) as server:
        assert server.output().count("cannot fork a worker: Resource temporarily unavailable") == 2


def test_threads_that_the_fork_will_lose_are_told(project: Project) -> None:
    where = project(app=APP + """
    import threading
    threading.Thread(target=threading.Event().wait, name="feeder", daemon=True).start()
    """)
    with spawn("--preload", "app:app", cwd=where) as server:
        server.wait_for("started threads while it was imported, which workers forked from it do "
                        "not have: feeder")


def test_an_application_object_is_preloaded_too(project: Project) -> None:
    where = project(main="""
        import gc
        import fastwsgi
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"frozen" if gc.get_freeze_count() > 1000 else b"not frozen"]
        fastwsgi.run(app, bind="127.0.0.1:0", preload_app=True, workers=1)
        """, app="import main")
    with spawn("-w", "0", "app:app", cwd=where) as server:
        port = server.wait_for(r"listening on http://127.0.0.1:\d+ \(workers: 1,").split(":")[-3]
        assert raw(("127.0.0.1", int(port.split()[0])), GET).endswith(b"\r\nfrozen")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits another process: prlimit")
def test_a_fork_server_out_of_descriptors_forks_later(project: Project) -> None:
    with spawn("--preload", "--log-level", "debug", "app:app", cwd=project(app=APP)) as server:
        line = server.wait_for(r"fork server \d+ is ready")
        pid = int(re.findall(r"fork server (\d+)", line)[0])
        server.wait_for(r"\] ready: 1 worker ")
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        server.signal(signal.SIGTTIN)
        server.wait_for("cannot fork a worker: Too many open files")
        assert raw(server.address, GET).startswith(b"HTTP/1.1 200")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        server.wait_for(r"\] ready: 2 workers ")
