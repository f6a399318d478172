"""What ``fastwsgi top`` makes of two answers of a server: rates, ages, and nothing raw."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fastwsgi.control import view
from fastwsgi.control.lines import BadQuestion, parse


def status(**more: Any) -> dict[str, Any]:
    """A status as a server might say it."""
    counters = dict.fromkeys(("requests", "refused", "timeouts", "bytes_in", "bytes_out",
                              "waiting", "connections"), 0)
    call = {"tid": 7, "thread": 0, "seconds": 3.0, "phase": "application", "does": "waiting",
            "cpu_seconds": 1.0, "method": "GET", "target": "/a", "client": "::1", "limit": None}
    worker = {"pid": 5, "state": "serving", "current": True, "age": 9.0, "cpu_seconds": 1.0,
              "resident": 5_000_000, "threads": 1, "counters": counters, "calls": [call]}
    return {"version": "1", "pid": 4, "uptime": 10.0, "application": "a:b", "listening": ["x"],
            "state": "serving", "last_reload": None, "workers_wanted": 1, "counters": counters,
            "latency": {"0.1": 0, "1": 0, "inf": 0}, "workers": [worker]} | more


def test_rates_are_those_between_two_looks() -> None:
    before = status(latency={"0.1": 1000, "1": 0, "inf": 0})
    now = status(uptime=12.0, counters=before["counters"] | {"requests": 50, "bytes_out": 800},
                 latency={"0.1": 1000, "1": 99, "inf": 1})
    found = view.rates(now, before)
    assert (found.requests, found.bytes_out, found.p50, found.p99) == (25.0, 400.0, 1.0, 1.0)
    assert view.rates(before, before).p50 is None


def test_a_request_that_computes_is_told_from_one_that_waits() -> None:
    before, now = status(), status(uptime=12.0)
    (row,) = view.rows(now, before)
    assert view.why(row) == "waits"
    now["workers"][0]["calls"][0]["cpu_seconds"] = 2.8
    before = status()
    (row,) = view.rows(now, before)
    assert row.cpu == pytest.approx(0.9)
    assert view.why(row) == "computes"


def test_what_a_client_has_sent_does_not_reach_the_terminal_raw() -> None:
    now = status()
    now["workers"][0]["calls"][0]["target"] = "/\x1b[2J\x07\x9b"
    shown = view.text(now)
    assert "/\\x1b[2J\\x07\\x9b" in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)


def test_questions_are_read_as_documented() -> None:
    assert parse(b'{"command": "stop", "quick": true}') == ("stop", {"quick": True})
    with pytest.raises(BadQuestion):
        parse(b"")
