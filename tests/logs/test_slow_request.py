"""Where the time of a request goes: atoms of the access log, and records of slow requests."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from apps.client import Client, request
from apps.eventually import eventually
from apps.gated import Gate
from apps.gated import app as gated
from apps.logged import app as quick
from apps.logged import lines_of, log_of

from fastwsgi.testing import Server, raw, serve

CLOSE = "Connection: close"
SLOW = 0.05


def lingers_here(seconds: float) -> None:
    """What a stack shows."""
    threading.Event().wait(seconds)


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/slow":
        lingers_here(4 * SLOW)
    if environ["PATH_INFO"] == "/long":
        lingers_here(20 * SLOW)
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/fails":
        lingers_here(4 * SLOW)
        raise RuntimeError("on purpose")
    return [b"hello"]


def records(server: Server) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in server.log]
    return [one for one in found if "slow request" in one["message"]]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_slow_request_is_one_record_with_phases_and_stack(threads: int) -> None:
    with serve(app, slow_request=SLOW, log_format="json", threads=threads) as server, \
            Client(server.address) as client:
        client.fetch("/")
        client.fetch("/slow?token=S3CR3T", "X-Request-ID: my-id")
        client.fetch("/")
        client.fetch("/fails")
        first, second = eventually(  # a quick one may be slow, too
            lambda: [one for one in records(server) if one["path"] != "/"],
            lambda found: len(found) == 2)
    assert re.match(r"slow request: GET /slow\?token=<6 characters> took \d\.\d{3} s, mostly "
                    r"waiting for a lock or another thread: \d\.\d{3} s "
                    r"waiting for a thread, \d\.\d{3} s in the application, \d\.\d{3} s waiting "
                    r"for its client; \d\.\d{3} s with a processor\. Its stack after "
                    r"\d\.\d{3} s:\n", first["message"])
    assert "lingers_here" in first["message"]
    assert (first["level"], first["request_id"], first["path"]) == ("WARNING", "my-id", "/slow")
    assert 4 * SLOW <= first["application"] <= first["duration"]
    assert first["queue"] < 4 * SLOW
    assert "GET /fails" in second["message"]


def test_a_request_that_waits_for_a_thread_is_slow_too() -> None:
    with Gate() as gate, serve(gated, slow_request=SLOW, log_format="json") as server, \
            Client(server.address) as first, Client(server.address) as second:
        first.send(request(gate.hold))
        gate.entered()
        second.send(request("/waits"))
        threading.Event().wait(4 * SLOW)  # what is measured
        gate.let_go()
        first.response()
        second.response()
        second.fetch("/")
        (found,) = [one for one in records(server) if one["path"] == "/waits"]
    assert found["queue"] > 2 * SLOW
    assert found["queue"] > found["application"]
    assert "stack" not in found["message"]


def test_a_request_that_lasts_has_its_record_before_it_ends() -> None:
    with serve(app, slow_request=SLOW, log_format="json") as server:
        raw(server.address, request("/long", CLOSE))
        (found,) = records(server)
    assert "has been in the application for" in found["message"]
    assert "and goes on. Its stack after" in found["message"]
    assert "lingers_here" in found["message"]


def test_a_slow_client_is_told_apart_from_a_slow_application() -> None:
    blocks = 300

    def streams(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return (b"x" * 65536 for _ in range(blocks))

    with serve(streams, slow_request=SLOW, log_format="json") as server, \
            Client(server.address, receive_buffer=4096) as client:
        client.send(request("/stream"))
        client.head()
        threading.Event().wait(4 * SLOW)  # what is measured
        assert sum(len(chunk) for chunk in client.chunks()) == blocks * 65536
        client.fetch("/")
        found = next(one for one in records(server) if "/stream" in one["message"])
    assert found["client_wait"] > 2 * SLOW
    assert found["application"] < found["client_wait"]


def test_quick_requests_have_none() -> None:
    with serve(quick, slow_request=30, log_format="json") as server, \
            Client(server.address) as client:
        for _ in range(50):
            client.fetch("/")
        assert records(server) == []


def test_the_access_log_tells_queue_and_application(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with Gate() as gate, serve(
        gated, accesslog=str(path), access_log_format="%(U)s %(queue)s %(application)s %(L)s",
    ) as server, Client(server.address) as client:
        client.send(request(gate.hold) + request("/behind"))
        gate.entered()
        threading.Event().wait(SLOW)  # what is measured
        gate.let_go()
        client.response()
        client.response()
    held, behind = [line.split() for line in lines_of(path)]
    assert float(held[2]) >= SLOW
    assert float(held[1]) < float(held[2]) <= float(held[3])
    assert float(behind[2]) < SLOW
    assert all(re.fullmatch(r"\d+\.\d{6}", text) for text in (*held[1:], *behind[1:]))


def test_a_refused_request_has_no_such_times(tmp_path: Path) -> None:
    assert log_of(tmp_path, "%(queue)s %(application)s", b"nonsense\r\n\r\n") == ["- -"]
