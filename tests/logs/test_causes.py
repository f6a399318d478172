"""Why a request was slow: each cause, injected, is named right, again and again."""

from __future__ import annotations

import ctypes
import gc
import json
import math
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apps.client import Client, request
from apps.eventually import GUARD, eventually

from fastwsgi.testing import Server, raw, serve
from fastwsgi.worker import slow_request
from fastwsgi.worker.causes import CAUSES, Seen, Times, cause, parts
from fastwsgi.worker.slow_request import LEAST, SAMPLE, p99

TIMES = int(os.environ.get("FASTWSGI_CAUSES", "2"))
"""How often each cause is injected. 20 was tried, too."""
LASTS = 0.16
SLOW = 0.08
LARGE = 24 << 20
CLOSE = "Connection: close"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what threads do")

OTHERS = {"queue", "processor", "interpreter_lock", "computing"}
"""What a call may be slow for where other programs need the processors, too: if it took more than
twice as long as what is injected, and only then, that may have been the larger part."""
TRIES = 20

lock = threading.Lock()
at_the_lock = threading.Event()
libc = ctypes.PyDLL(None)  # its calls keep the interpreter lock


class Cyclic:
    """What a garbage collection takes long for: it visits the list again and again."""


def held_lock(_where: str) -> None:
    """Wait for a lock that another thread holds."""
    at_the_lock.set()
    with lock:
        pass


def c_call(_where: str) -> None:
    """Keep the interpreter lock in a call into C."""
    libc.usleep(int(LASTS * 1e6))


def busy_sqlite(where: str) -> None:
    """Ask a database that is locked by another connection."""
    connection = sqlite3.connect(where, timeout=LASTS)
    try:
        connection.execute("INSERT INTO t VALUES (1)")
    except sqlite3.OperationalError:
        pass
    finally:
        connection.close()


def garbage(_where: str) -> None:
    """Collect garbage until it has taken long."""
    end = time.monotonic() + LASTS
    while time.monotonic() < end:
        gc.collect()


def computes(_where: str) -> None:
    """Use a processor."""
    end = time.monotonic() + LASTS
    while time.monotonic() < end:
        pass


def sleeps(_where: str) -> None:
    """Sleep."""
    time.sleep(LASTS)


def briefly(_where: str) -> None:
    """Give the interpreter lock away, and want it again."""
    time.sleep(LASTS / 8)


CALLS: dict[str, Callable[[str], None]] = {
    "lock": held_lock, "c_call": c_call, "sqlite": busy_sqlite, "garbage": garbage,
    "computing": computes, "sleep": sleeps, "briefly": briefly}


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    name = environ["PATH_INFO"][1:]
    start_response("200 OK", [])
    if name == "large":
        return [b"x" * LARGE]
    if name in CALLS:
        CALLS[name](environ["QUERY_STRING"])
    return [b"done"]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database that is locked as long as the tests last."""
    where = str(tmp_path_factory.mktemp("database") / "busy.db")
    connection = sqlite3.connect(where, isolation_level=None)
    connection.execute("CREATE TABLE t (a)")
    connection.execute("BEGIN EXCLUSIVE")
    yield where
    connection.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    keep = [Cyclic() for _ in range(50_000)]
    with serve(app, slow_request=SLOW, log_format="json", threads=3) as running:
        yield running
    assert keep


def records(server: Server, path: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in server.log]
    return [one for one in found
            if "slow request: " in one["message"] and f" {path}" in one["message"]
            and "cause" in one]  # one that goes on has a record without


def causes(server: Server, path: str, act: Callable[[], object], *names: str) -> None:
    """Do it until these names were said often enough of the requests for a path.

    A machine that is overloaded may be slower than what is injected, and is then named instead. A
    request that it has not disturbed so much has to be named right each time.
    """
    before = len(records(server, path))
    for done in range(1, TIMES * TRIES + 1):
        act()
        eventually(lambda: len(records(server, path)), (before + done).__le__)
        found = records(server, path)[before:]
        wrong = [one for one in found if one["cause"] not in names]
        assert all(one["cause"] in OTHERS and one["duration"] > 2 * LASTS for one in wrong), wrong
        if len(found) - len(wrong) == TIMES:
            return
    raise AssertionError(wrong)


@pytest.mark.parametrize("name", ["c_call", "garbage", "sleep"])
def test_what_the_thread_does_is_named(server: Server, name: str) -> None:
    causes(server, f"/{name}", lambda: raw(server.address, request(f"/{name}", CLOSE)), name)


def test_a_call_that_computes_is_told_from_one_that_waits(server: Server) -> None:
    causes(server, "/computing", lambda: raw(
        server.address, request("/computing", CLOSE)), "computing", "processor")


def test_a_held_lock_is_named(server: Server) -> None:
    def wait_for_it() -> None:
        with Client(server.address) as client:
            at_the_lock.clear()
            with lock:
                client.send(request("/lock", CLOSE))
                assert at_the_lock.wait(GUARD)
                time.sleep(LASTS)  # what is measured
            client.response()

    causes(server, "/lock", wait_for_it, "lock")


def test_a_busy_database_is_named(server: Server, database: str) -> None:
    causes(server, "/sqlite", lambda: raw(
        server.address, request(f"/sqlite?{database}", CLOSE)), "sqlite")


def test_a_slow_reader_is_named(server: Server) -> None:
    def reads_slowly() -> None:
        with Client(server.address, receive_buffer=4096) as client:
            client.send(request("/large", CLOSE))
            client.head()
            time.sleep(LASTS)  # what is measured
            while client.socket.recv(1 << 20):
                pass

    causes(server, "/large", reads_slowly, "client")
    assert all(one["client_wait"] >= SLOW for one in records(server, "/large"))


def test_who_waits_for_a_kept_interpreter_lock_is_told_who_keeps_it(server: Server) -> None:
    def ask() -> list[str]:
        with Client(server.address) as first, Client(server.address) as second:
            first.send(request("/briefly"))
            second.send(request("/c_call"))
            first.response()
            second.response()
        return [one["message"] for one in records(server, "/briefly")
                if one["cause"] == "interpreter_lock"]

    (found, *_) = eventually(ask, len)
    assert "waiting for the interpreter lock, which GET /c_call from 127.0.0.1 kept" in found


def test_parts_do_not_overlap_and_the_largest_is_the_cause() -> None:
    times = Times(queue=0.2, application=1.0, total=1.5, client=0.3, cpu=0.4, lock_wait=0.1,
                  garbage=0.3, garbage_of_others=0.05)
    seen = Seen(0.5, 0.1, 0.0, 0.4, 0.0, 0.0, 0.0, 0.0, None)
    found = parts(times, seen)
    assert found["queue"] == pytest.approx(0.1)
    assert found["garbage"] == pytest.approx(0.35)
    assert found["interpreter_lock"] == pytest.approx(0.15)
    assert found["computing"] == pytest.approx(0.1)
    assert found["processor"] == pytest.approx(0.1)
    assert sum(found.values()) == pytest.approx(1.5, abs=0.001)
    assert cause(found) == "sleep"
    assert cause(parts(times, seen, sqlite=True)) == "sqlite"
    assert set(found) == set(CAUSES)


def test_a_call_that_nobody_has_seen_is_told_by_its_clocks() -> None:
    nothing = Seen(*[0.0] * 8, None)
    times = Times(0.0, 1.0, 1.0, 0.0, 0.9, 0.0, 0.0, 0.0)
    assert cause(parts(times, nothing)) == "computing"
    assert cause(parts(times._replace(cpu=0.1), nothing)) == "other"


def test_a_call_that_outlasts_the_p99_of_its_route_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slow_request, "RENEW", 0.0)
    lasts = threading.Event()
    long = 4 * LASTS  # than which 99 of 100 quick calls are quicker, however busy the machine is

    def routed(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["fastwsgi.route"] = environ["PATH_INFO"]
        if lasts.is_set():
            time.sleep(long if environ["PATH_INFO"] == "/known" else LASTS)
        start_response("200 OK", [])
        return [b"done"]

    with serve(routed, slow_request="p99", log_format="json", threads=2) as server, \
            Client(server.address) as client:
        for _ in range(4 * SAMPLE):
            client.fetch("/known")
        lasts.set()

        def ask() -> list[dict[str, Any]]:
            client.fetch("/known")
            return [one for one in records(server, "/known") if one["cause"] == "sleep"]

        client.fetch("/new")  # of which no others are known
        found = eventually(ask, len)[0]
        assert records(server, "/new") == []
    assert "time.sleep(long if" in found["message"]


def test_the_p99_is_a_bound_that_99_of_100_calls_keep_to() -> None:
    bounds = (0.005, 0.1, 1.0)
    assert p99(bounds, [SAMPLE - 1, 0, 0, 0]) == math.inf
    assert p99(bounds, [990, 10, 0, 0]) == LEAST
    assert p99(bounds, [980, 20, 0, 0]) == 0.1
    assert p99(bounds, [0, 0, 0, 500]) == 1.0


def test_the_response_tells_its_times_if_asked() -> None:
    with serve(app, server_timing=True) as server, Client(server.address) as client:
        text = client.fetch("/sleep").get("Server-Timing")
    assert text is not None
    found = dict(part.strip().split(";dur=") for part in text.split(","))
    assert set(found) == {"queue", "app", "cpu", "lock"}
    assert float(found["app"]) >= LASTS * 1000 > 2 * float(found["cpu"])


def test_the_access_log_tells_with_and_without_a_processor(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    form = "%(U)s %(application)s %(cpu)s %(off_cpu)s %(lock_wait)s %(send)s"
    with serve(app, accesslog=str(path), access_log_format=form) as server, \
            Client(server.address) as client:
        client.fetch("/sleep")
        client.fetch("/computing")
    slept, computed = [[float(text) for text in line.split()[1:]]
                       for line in path.read_text().splitlines()]
    assert slept[2] >= LASTS > 2 * slept[1]
    assert computed[1] > slept[1]
    assert all(one[1] + one[2] == pytest.approx(one[0]) for one in (slept, computed))
