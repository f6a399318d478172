"""A limit of its own for each request: --timeout-path, and environ["fastwsgi.timeout"].

That a request outlasts a limit which is not its own is not timed: another request, which begins
later, is ended by that limit meanwhile.
"""

from __future__ import annotations

import contextlib
import math
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from apps.client import Address, Client, fetch, request
from apps.workers import Calls

from fastwsgi.master.hang import MARGIN, _late_request
from fastwsgi.master.watchdog import is_alive
from fastwsgi.testing import Process, serve, spawn
from fastwsgi.worker.request_timeout import grace
from fastwsgi.worker.scoreboard import APPLICATION, CLIENT, Board, Call, State, now

# The query says what limit the request sets; /hold/PORT stands still until the test lets it go.
APP = """
    import socket, threading
    kept = []
    def hold(port):
        with socket.create_connection(("127.0.0.1", port)) as side:
            side.sendall(b"1\\n")
            side.recv(1)
    def stream(port):
        for _ in range(40):
            yield b"x" * 1000000
        hold(port)
        yield b"end"
    def app(environ, start_response):
        kind, port = (environ["PATH_INFO"] + "//").split("/")[1:3]
        limit = environ["fastwsgi.timeout"]
        if environ["QUERY_STRING"]:
            limit(float(environ["QUERY_STRING"]))
        said = b"ok"
        if kind == "hold":
            hold(int(port))
        elif kind == "stream":
            start_response("200 OK", [])
            return stream(int(port))
        elif kind == "loop":
            while True:
                pass
        elif kind == "again":
            from fastwsgi.errors import RequestTimeout
            try:
                while True:
                    pass
            except RequestTimeout:
                limit(60)
                hold(int(port))
        elif kind == "wrong":
            said = []
            for value in (-1, float("nan"), float("inf"), 1e9, "5", None):
                try:
                    limit(value)
                except (TypeError, ValueError) as error:
                    said.append(type(error).__name__)
            said = " ".join(said).encode()
        elif kind == "elsewhere":
            told = []
            def call():
                try:
                    limit(1)
                except RuntimeError as error:
                    told.append(str(error))
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()
            said = told[0].encode()
        start_response("200 OK", [("Content-Length", str(len(said)))])
        return [said]
    """


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One whose requests may take 0.3 s."""
    place = tmp_path_factory.mktemp("limits")
    with started(place, "--timeout", "0.3", "--threads", "3", "--timeout-path", "/hold/*/free=0",
                 "--timeout-path", "/hold/*/long=60", "--timeout-path", "*/long=0.1") as found:
        yield found


@contextlib.contextmanager
def started(place: Path, *options: str) -> Iterator[Process]:
    (place / "app.py").write_text(textwrap.dedent(APP))
    with spawn(*options, "app:app", cwd=place) as found:
        found.wait_for(r"\] ready: ")
        yield found


@pytest.fixture
def calls() -> Iterator[Calls]:
    with contextlib.closing(Calls()) as found:
        yield found


def pass_the_limit(address: Address) -> None:
    """Return when a request that has begun now has been ended by the server's limit."""
    assert fetch(address, "/loop").status == 503


@pytest.mark.parametrize("target", ["/hold/{}?60", "/hold/{}?0", "/hold/{}/free", "/hold/{}/long",
                                    "/%68old/{}/%6Cong?"])
def test_a_request_may_take_longer_than_others(server: Process, calls: Calls, target: str) -> None:
    with Client(server.address) as client:
        client.send(request(target.format(calls.port)))
        calls.entered()
        pass_the_limit(server.address)
        calls.let_go()
        assert client.response().body == b"ok"


def test_a_shorter_limit_ends_a_request_earlier(tmp_path: Path) -> None:
    with started(tmp_path, "--timeout", "60", "--timeout-path", "*/short=0.1") as server:
        assert fetch(server.address, "/loop?0.2").status == 503
        server.wait_for(r"GET /loop\?0\.2 from 127\.0\.0\.1 has been in the application for .* "
                        r"\(timeout 0\.2\d*\); interrupting it")
        assert fetch(server.address, "/loop/short").status == 503
        server.wait_for(r"GET /loop/short from .* \(timeout 0\.1\); interrupting it")


def test_without_a_limit_for_all_one_has_its_own(tmp_path: Path) -> None:
    with started(tmp_path, "--timeout", "0") as server:
        assert fetch(server.address, "/loop?0.1").status == 503
        assert fetch(server.address, "/").status == 200


def test_a_limit_is_for_one_request_only(server: Process) -> None:
    with Client(server.address) as client:
        assert client.fetch("/?60").status == 200
        assert client.fetch("/loop").status == 503


def test_a_response_that_has_waited_for_its_client_keeps_its_limit(
    server: Process, calls: Calls,
) -> None:
    with Client(server.address, receive_buffer=65536) as slow:
        slow.send(request(f"/stream/{calls.port}?60", "Connection: close"))
        slow.head()
        size = sum(len(slow.chunk()) for _ in range(40))
        calls.entered()
        pass_the_limit(server.address)
        calls.let_go()
        assert size + sum(map(len, slow.chunks())) == 40_000_003


def test_one_that_is_over_its_time_may_have_more(server: Process, calls: Calls) -> None:
    with Client(server.address) as client:
        client.send(request(f"/again/{calls.port}"))
        calls.entered()
        pass_the_limit(server.address)
        calls.let_go()
        assert client.response().body == b"ok"


def test_what_is_no_number_of_seconds_is_refused(server: Process) -> None:
    said = fetch(server.address, "/wrong").body
    assert said.split() == [b"ValueError"] * 4 + [b"TypeError"] * 2


def test_only_the_thread_of_the_request_may_set_it(server: Process) -> None:
    assert b"in another thread than the one that runs the request" in fetch(
        server.address, "/elsewhere").body


def test_it_is_there_in_a_server_of_this_process() -> None:
    def app(environ: dict[str, object], start_response: object) -> list[bytes]:
        limit = environ["fastwsgi.timeout"]
        assert callable(limit)
        assert callable(start_response)
        limit(0.1)
        while environ["PATH_INFO"] == "/loop":
            pass
        start_response("200 OK", [])
        return [b"ok"]

    with serve(app, timeout=0) as server:
        assert fetch(server.address, "/loop").status == 503
        assert fetch(server.address, "/").status == 200


# ---- what the master makes of it ----


def call(age: float, limit: float | None, phase: int = APPLICATION) -> Call:
    return Call(0, 1, phase, now() - age, 1, "GET", "192.0.2.1", "/report", limit)


def board(*calls: Call) -> State:
    return State(1, 1, now(), {"requests": 1, "waiting": 0}, (), calls)


@pytest.mark.parametrize(
    ("timeout", "limit", "age", "late"),
    [(30, None, 30, False), (30, None, 38, True), (30, 60, 38, False), (30, 60, 68, True),
     (30, 1.0, 5, True), (30, math.inf, 1e6, False), (0, None, 1e6, False), (0, 1.0, 5, True)],
)  # fmt: skip
def test_its_master_judges_a_request_by_its_own_limit(
    timeout: float, limit: float | None, age: float, late: bool,
) -> None:
    assert bool(_late_request(board(call(age, limit)), timeout)) == late
    assert not _late_request(board(call(age, limit, CLIENT)), timeout)


def test_the_latest_of_several_is_found() -> None:
    found = _late_request(board(call(40, 60), call(1 + grace(1) + MARGIN + 0.1, 1)), 30)
    assert "GET /report from 192.0.2.1" in found
    assert "(timeout 1)" in found


class Shown(Board):
    """A board that shows this call."""

    def __init__(self, found: Call) -> None:
        super().__init__(1)
        self._found = found

    def state(self) -> State:
        return board(self._found)


@pytest.mark.parametrize(("limit", "alive"), [(None, False), (60.0, True), (0.5, False)])
def test_the_watchdog_judges_a_request_by_its_own_limit(limit: float | None, alive: bool) -> None:
    assert is_alive(Shown(call(5, limit)), 10, 3) == alive
