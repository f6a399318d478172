"""Workers that serve nobody, whatever the cause: their master finds them, says why, replaces them.

The causes are injected into real processes by tests/injection/shim.c. What must not be taken for
one is played to the judge itself, with boards as they would look.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from apps.client import GET
from apps.command import Project
from apps.faults import Injected, needs_injection

from fastwsgi.master.hang import LONGEST_STEP, PERIOD, Progress
from fastwsgi.testing import Process, raw, spawn
from fastwsgi.worker.scoreboard import APPLICATION, CLIENT, Call, State

APP = """
    import ctypes, os, threading, time
    def keep_lock():
        ctypes.PyDLL(None).sleep(300)
    def app(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/lock":
            threading.Thread(target=keep_lock, daemon=True).start()
        time.sleep(2.5 if path == "/long" else 0.01)
        start_response("200 OK", [])
        return [str(os.getpid()).encode()]
    """
GROUPS = 6
OPTIONS = ("--timeout", "0.5", "--graceful-timeout", "0.5", "--threads", "2", "app:app")


def ask(server: Process, path: str = "/") -> bytes:
    answer = raw(server.address, GET.replace(b"/", path.encode(), 1), timeout=40)
    assert answer.startswith(b"HTTP/1.1 200 ")
    return answer.rpartition(b"\r\n\r\n")[2]


def another_than(server: Process, pid: bytes) -> None:
    """Ask until another worker answers: the old one still has clients, and takes them with it."""
    for _ in range(1000):
        answer = raw(server.address, GET, timeout=40)
        if answer.startswith(b"HTTP/1.1 200 ") and not answer.endswith(b"\r\n\r\n" + pid):
            return
    raise AssertionError("no other worker answers")


@contextlib.contextmanager
def waiting(server: Process, count: int) -> Iterator[None]:
    """Clients that have asked and get no answer."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            client = socket.create_connection((server.host, server.port), 30)
            stack.enter_context(client).sendall(GET)
        yield


def stuck(server: Process, pid: bytes, asking: contextlib.ExitStack) -> str:
    """Ask until the worker stands still: requests that come one by one need nobody to be woken."""
    for _ in range(GROUPS):
        asking.enter_context(waiting(server, 4))
        with contextlib.suppress(TimeoutError):
            return server.wait_for(f"worker {pid.decode()} is stuck: ", timeout=30 / GROUPS)
    raise AssertionError(server.output())


@needs_injection
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["forked", "preloaded"])
@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("recv=HANG/1", "its loop has not run"),
        ("epoll_wait=HANG/1", "its loop has not run"),
        ("pthread_cond_signal=LOST/1",
         r"\d complete requests? and 2 free threads wait for each other"),
    ],
    ids=["the lock is kept", "nobody polls", "nobody is woken"],
)  # fmt: skip
def test_a_worker_that_stands_still_is_replaced(
    project: Project, tmp_path: Path, shims: dict[bool, Path], schedule: str, why: str,
    preload: list[str],
) -> None:
    injected = Injected(tmp_path, shims, schedule)
    start = injected.hold(tmp_path)
    with spawn(*preload, *OPTIONS, env=injected.environ, cwd=project(app=APP)) as server:
        with ThreadPoolExecutor(8) as pool:  # enough that threads take requests from the queue
            (pid,) = set(pool.map(lambda _: ask(server), range(80)))
        start.touch()
        with contextlib.ExitStack() as asking:
            line = stuck(server, pid, asking)
            injected.stop()
            assert re.search(rf"{why}.* \d+\.\d s \(timeout 0\.5\).*; replacing it", line)
            server.wait_for(r'File ".*process\.py", line \d+ in run_worker')
        assert injected.unused() == []
        another_than(server, pid)
        assert server.terminate() == 0


def test_a_lock_that_a_thread_of_the_application_keeps_is_found(project: Project) -> None:
    with spawn(*OPTIONS, cwd=project(app=APP)) as server:
        pid = ask(server)
        with contextlib.suppress(OSError, AssertionError):  # its answer may not come any more
            raw(server.address, GET.replace(b"/", b"/lock", 1), timeout=1)
        with waiting(server, 3):
            server.wait_for(f"worker {pid.decode()} is stuck: ")
            server.wait_for(r"in keep_lock")
        another_than(server, pid)


def test_threads_that_are_busy_within_their_time_are_no_wedge(project: Project) -> None:
    """Requests wait for longer than the limit, because the calls before them take their time."""
    with spawn("--timeout", "3", "--threads", "1", "app:app", cwd=project(app=APP)) as server:
        with ThreadPoolExecutor(4) as pool:
            pids = set(pool.map(lambda _: ask(server, "/long"), range(4)))
        assert len(pids) == 1
        assert "stuck" not in server.output()


# ---- the judge ----


def board(written: float, *, requests: int = 0, waiting: int = 0, phases: tuple[int, ...] = (),
          threads: int = 2) -> State:
    counters = {"requests": requests, "waiting": waiting}
    calls = tuple(Call(i, 1, phase, 0.0, 1, "GET", "", "/") for i, phase in enumerate(phases))
    return State(1, threads, written, counters, (), calls)


def seen(boards: list[State], step: float = PERIOD) -> Progress:
    """What is known after these boards have been looked at, one every so many seconds."""
    progress = Progress(boards[0], 0.0)
    for number, each in enumerate(boards[1:], 1):
        progress.check(each, number * step)
    return progress


def test_waiting_requests_that_nobody_takes_add_up() -> None:
    progress = seen([board(i, requests=7, waiting=1, phases=(APPLICATION,)) for i in range(11)])
    assert (progress.silent, progress.untaken) == (0.0, 10.0)


def test_a_silent_board_adds_up() -> None:
    assert seen([board(5.0) for _ in range(11)]).silent == 10.0


@pytest.mark.parametrize(
    "boards",
    [
        [board(i) for i in range(11)],
        [board(i, requests=i, waiting=9) for i in range(11)],
        [board(i, waiting=9, phases=(APPLICATION, APPLICATION)) for i in range(11)],
        [board(i, waiting=9, phases=(APPLICATION, CLIENT)) for i in range(11)],
        [board(i, waiting=9, phases=(CLIENT, CLIENT)) for i in range(11)],
        [board(i, waiting=i % 2) for i in range(11)],
    ],
    ids=["idle", "many wait and some are taken", "all are busy", "busy or wait for a client",
         "all wait for clients", "now and then one waits"],
)  # fmt: skip
def test_these_are_signs_of_life(boards: list[State]) -> None:
    progress = seen(boards)
    assert progress.silent == 0.0
    assert progress.untaken <= 1.0


@pytest.mark.parametrize("gap", [5.0, 5000.0])
def test_a_halt_of_the_whole_machine_accuses_nobody(gap: float) -> None:
    """All stand still, master and worker, and what both see next is an old board."""
    assert seen([board(1.0, waiting=1), board(1.0, waiting=1)], gap).silent == LONGEST_STEP
    assert seen([board(1.0, waiting=1), board(1.0 + gap, waiting=1)], gap).untaken == LONGEST_STEP
