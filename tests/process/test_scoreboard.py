"""The scoreboard as its readers see it: counters, calls, times, and what remains of workers."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fastwsgi._core.core import Worker
from fastwsgi.config.sources import from_keywords
from fastwsgi.testing import raw, spawn
from fastwsgi.worker.scoreboard import APPLICATION, BOUNDS, UPGRADED, Board, Totals, nameless, now

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

GET = b"GET /page?x=%FF HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
GUARD = 30.0


class Held:
    """An application whose calls the test lets go, or whose clients do that for a socket."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        if environ["QUERY_STRING"]:
            assert self.go.wait(GUARD)
        if "HTTP_UPGRADE" in environ:
            assert environ["fastwsgi.socket"].recv(1) == b""
            return []
        start_response("200 OK", [("Content-Length", "8")])
        return [b"answered"]


def quiet(level: int, message: str, error: BaseException | None) -> None:
    """A log that nobody reads."""


@contextmanager
def working(
    app: Held, board: Board, threads: int = 1, beat_ms: int = 0,
) -> Iterator[tuple[str, int]]:
    """A worker that shows itself on a board, and the address it serves."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        worker = Worker(app, [(listener.fileno(), "localhost", "80")],
                        from_keywords({"threads": threads}).core(), log=quiet, errors=sys.stderr,
                        board=board.memory, beat_ms=beat_ms)
        runs = threading.Thread(target=worker.run)
        runs.start()
        try:
            yield listener.getsockname()
        finally:
            app.go.set()
            worker.stop()
            runs.join(GUARD)


def until(holds: Callable[[], bool]) -> None:
    """Ask until it is so: others write the board, and nothing tells when."""
    end = time.monotonic() + GUARD
    while not holds():
        assert time.monotonic() < end
        os.sched_yield()


def test_a_fresh_board_says_nothing() -> None:
    board = Board(3)
    state = board.state()
    assert (state.pid, state.calls, set(state.counters.values())) == (0, (), {0})
    assert sum(state.latency) == 0
    board.close()


def test_counters_arrive_without_a_call_for_them() -> None:
    board = Board(1)
    with working(Held(), board) as address:
        for _ in range(5):
            raw(address, GET.replace(b"?x=%FF", b""))
        raw(address, b"GET / HTTP/9.9\r\n\r\n")
        until(lambda: board.state().counters["refused"] == 1)
        state = board.state()
    assert state.pid == os.getpid()
    assert state.counters["requests"] == 5
    assert state.counters["accepted"] == 6
    assert state.counters["bytes_out"] > 5 * len(b"answered")
    assert len(state.latency) == len(BOUNDS)
    assert sum(state.latency) == 5
    assert 0 < state.written <= now()


def test_a_call_in_flight_is_told_until_it_ends() -> None:
    app, board = Held(), Board(2)
    before = now()
    with working(app, board, threads=2) as address:
        with socket.create_connection(address) as client:
            client.sendall(GET)
            until(lambda: len(board.calls()) == 1)
            (call,) = board.calls()
            app.go.set()
            assert client.recv(4096).endswith(b"answered")
        until(lambda: board.calls() == [])
    assert (call.method, call.target, call.client) == ("GET", "/page?x=%FF", "127.0.0.1")
    assert call.request == "GET /page?x=%FF from 127.0.0.1"
    assert call.phase == APPLICATION
    assert before <= call.since <= now()


def test_a_call_with_a_socket_that_is_taken_over_is_told_as_that() -> None:
    app, board = Held(), Board(2)
    with working(app, board, threads=2) as address:
        with socket.create_connection(address) as client:
            client.sendall(
                b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            until(lambda: [call.phase for call in board.calls()] == [UPGRADED])
            until(lambda: board.state().counters["upgraded"] == 1)
            assert board.state().counters["connections"] == 1
            raw(address, GET.replace(b"?x=%FF", b""))
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b""
        until(lambda: board.calls() == [])
        until(lambda: board.state().counters["connections"] == 0)
        assert board.state().counters["requests"] == 2


def test_an_idle_worker_shows_that_its_loop_runs() -> None:
    board = Board(2)
    with working(Held(), board, threads=2, beat_ms=50):
        moments = set()

        def seen() -> int:
            moments.add(board.state().written)
            return len(moments)

        until(lambda: seen() > 5)


def test_totals_outlive_workers() -> None:
    totals = Totals()
    for _ in range(2):
        board = Board(1)
        with working(Held(), board) as address:
            for _ in range(3):
                raw(address, GET.replace(b"?x=%FF", b""))
            until(lambda board=board: board.state().counters["requests"] == 3)  # type: ignore[misc]
            living = board.state()
        totals.add(board.state())
    counters, latency = totals.with_living([living])
    assert counters["requests"] == 9
    assert sum(latency) == 9


def test_a_board_that_is_too_small_is_refused() -> None:
    board = Board(1)
    with pytest.raises(ValueError, match=r"needs \d+ bytes"):
        Worker(Held(), [], from_keywords({"threads": 2}).core(), log=quiet, errors=sys.stderr,
               board=board.memory)


@pytest.mark.parametrize("preload", [[], ["--preload"]])
def test_a_master_knows_what_its_workers_have_done(
    project: Callable[..., Path], preload: list[str],
) -> None:
    where = project(app="""
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"answered"]
        """)
    with spawn("-w", "2", *preload, "app:app", cwd=where) as server:
        for _ in range(7):
            raw(server.address, GET)
        raw(server.address, b"GET / HTTP/9.9\r\n\r\n")
        server.terminate()
        assert "stopped; requests: 7, refused: 1" in server.output()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux can keep a size")
@pytest.mark.parametrize("size", [0, 4096, 1 << 20], ids=["empty", "shorter", "longer"])
def test_nobody_can_cut_off_memory_that_another_process_reads(size: int) -> None:
    fd = nameless(8192)
    try:
        with pytest.raises(PermissionError):
            os.ftruncate(fd, size)
    finally:
        os.close(fd)


def test_stacks_are_as_long_as_what_was_written_last() -> None:
    board = Board(1)
    try:
        for written in (b"a long stack\n", b"short\n"):
            board.clear_stacks()
            assert (board.stacks_size(), board.stacks()) == (0, "")
            os.write(board.fd, written)
            assert (board.stacks_size(), board.stacks()) == (len(written), written.decode())
        assert board.state().pid == 0
        os.lseek(board.fd, 0, os.SEEK_SET)
        assert board.stacks() == ""
    finally:
        board.close()
