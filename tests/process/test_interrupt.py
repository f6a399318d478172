"""A signal handler that raises inside the server ends it, and leaves nothing half done behind."""

from __future__ import annotations

import gc
import socket
import sys
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest

from fastwsgi._core.core import Worker
from fastwsgi.config.sources import from_keywords

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Faulty:
    """A body that breaks off; it counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return self

    def __iter__(self) -> Iterator[bytes]:
        yield b"first"
        raise ValueError("the body breaks off")

    def close(self) -> None:
        self.closed += 1


def interrupted(level: int, message: str, error: BaseException | None) -> None:
    """A log that is written to at the moment of a Ctrl-C."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("threads", [1, 4])
def test_an_interrupt_inside_the_log_leaves_no_connection_and_no_open_iterable(
    threads: int,
) -> None:
    application = Faulty()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        place = [(listener.fileno(), "localhost", "80")]
        worker = Worker(
            application, place, from_keywords({"threads": threads}).core(), log=interrupted,
            errors=sys.stderr)
        for turn in (1, 2):  # and it can run again
            with socket.create_connection(listener.getsockname(), timeout=20) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                with pytest.raises(KeyboardInterrupt):
                    worker.run()
                received = b"".join(iter(lambda: client.recv(4096), b""))
            assert b"first" in received
            assert not received.endswith(b"0\r\n\r\n")
            assert application.closed == turn
            assert worker.stats()["connections"] == 0
        worker.stop()
        worker.run()


@pytest.mark.parametrize("threads", [1, 4])
def test_a_worker_that_its_application_refers_to_is_collected(threads: int) -> None:
    """Collecting a cycle, the interpreter may empty the worker's parts before the worker itself."""

    class Holder:
        worker: Worker

        def __call__(self, environ: object, start_response: object) -> list[bytes]:
            return []

    gone: list[object] = []
    for _ in range(20):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            place = [(listener.fileno(), "localhost", "80")]
            holder = Holder()
            weakref.finalize(holder, gone.append, None)
            holder.worker = Worker(
                holder, place, from_keywords({"threads": threads}).core(), log=interrupted,
                errors=sys.stderr)
            del holder
            gc.collect()
    assert len(gone) == 20
