"""Applications that put greenlets in the place of threads, and those that only let calls yield."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from apps.client import Client

from fastwsgi.testing import spawn

APP = """
    from gevent import monkey
    monkey.patch_all({})
    import threading, time

    def app(environ, start_response):
        time.sleep(0.001)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [threading.current_thread().name.encode()]
    """
PATCH = """
    import _thread

    def start_new_thread(function, args, kwargs={}):
        raise RuntimeError("no threads here")

    start_new_thread.__module__ = "eventlet.green.thread"
    _thread.start_new_thread = start_new_thread

    def app(environ, start_response):
        start_response("200 OK", [])
        return []
    """


@pytest.mark.parametrize("options", [(), ("--threads", "4"), ("--preload",), ("-w", "0")],
                         ids=" ".join)
@pytest.mark.parametrize(("text", "advice"), [
    (APP.replace("{}", ""), "gevent.monkey.patch_all(thread=False)"),
    (PATCH, "eventlet.monkey_patch(thread=False)"),
], ids=["gevent", "eventlet"])
def test_threads_replaced_by_greenlets_end_the_start_with_one_sentence(
    project: Callable[..., Path], command: Callable[..., object], text: str, advice: str,
    options: tuple[str, ...],
) -> None:
    project(app=text)
    done = command(*options, "app:app")
    assert done.returncode == 4  # type: ignore[attr-defined]
    said = [line for line in done.stderr.splitlines() if line]  # type: ignore[attr-defined]
    assert len(said) == 1
    assert "has replaced Python's threads" in said[0]
    assert advice in said[0]
    assert "--threads" in said[0]


@pytest.mark.parametrize("threads", [1, 4])
def test_calls_that_yield_are_served_in_threads_of_the_server(
    project: Callable[..., Path], threads: int,
) -> None:
    where = project(app=APP.replace("{}", "thread=False"))
    with spawn("--threads", str(threads), "app:app", cwd=where) as server:
        with Client(server.address) as client:
            for _ in range(5):
                name = client.fetch().body.decode()
                assert name == "MainThread" or name.startswith("fastwsgi-")
        assert server.terminate() == 0


def test_a_wrapper_that_starts_threads_is_none_of_them(project: Callable[..., Path]) -> None:
    """As debuggers, profilers and tracers put one there."""
    where = project(app="""
        import _thread, threading

        start = _thread.start_new_thread

        def start_new_thread(function, args=(), kwargs={}):
            return start(function, args, kwargs)

        _thread.start_new_thread = threading._start_new_thread = start_new_thread

        def app(environ, start_response):
            threading.Thread(target=start_response, args=("200 OK", [])).run()
            return [b"fine"]
        """)
    with spawn("--threads", "2", "app:app", cwd=where) as server:
        with Client(server.address) as client:
            assert client.fetch().body == b"fine"
        assert server.terminate() == 0
