"""A thread that the application started runs whenever the server does not run the application.

Rule: the thread is asked, not timed.  It answers every byte that the test sends it over a
socket of its own, so an answer proves that it ran after the question: first while no request is
in sight, then while another client keeps the server busy without a pause.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from apps import TESTS
from apps.client import TIMEOUT, Client, fetch, request

from fastwsgi.testing import Process, spawn

QUESTIONS = bytes(range(50))


@pytest.fixture
def server() -> Iterator[Process]:
    """A server process whose application starts threads."""
    with spawn("apps.background:app", cwd=TESTS) as process:
        yield process


@pytest.fixture
def thread(server: Process) -> Iterator[socket.socket]:
    """A connection to a thread of the application."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        assert fetch(server.address, f"/start/{listener.getsockname()[1]}").body == b"started"
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(TIMEOUT)
            yield connection


def ask(thread: socket.socket, question: int) -> int:
    """Send the thread a byte and wait for its answer."""
    thread.sendall(bytes([question]))
    return thread.recv(1)[0]


def test_runs_while_the_server_is_idle(thread: socket.socket) -> None:
    assert bytes(ask(thread, question) for question in QUESTIONS) == QUESTIONS


def test_runs_while_idle_connections_are_open(server: Process, thread: socket.socket) -> None:
    clients = [Client(server.address) for _ in range(20)]
    try:
        for client in clients[:10]:
            assert client.fetch().body == b"hello"
        assert bytes(ask(thread, question) for question in QUESTIONS) == QUESTIONS
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("pipelined", [1, 32])
def test_runs_while_the_server_is_busy(
    server: Process, thread: socket.socket, pipelined: int
) -> None:
    """The load goes on until the thread has answered everything."""
    answered = threading.Event()
    running = threading.Event()
    served: list[int] = []

    def load() -> None:
        with Client(server.address) as client:
            while not answered.is_set():
                client.send(request() * pipelined)
                served.append(sum(client.response().status == 200 for _ in range(pipelined)))
                running.set()

    loader = threading.Thread(target=load)
    loader.start()
    try:
        assert running.wait(TIMEOUT)
        before = len(served)
        assert bytes(ask(thread, question) for question in QUESTIONS) == QUESTIONS
    finally:
        answered.set()
        loader.join(TIMEOUT)
    assert not loader.is_alive()
    assert set(served) == {pipelined}
    assert len(served) > before


def test_runs_while_a_client_is_slow(server: Process, thread: socket.socket) -> None:
    """A request that never becomes whole holds neither the server nor the thread."""
    with Client(server.address) as slow:
        slow.send(request("/", "Content-Length: 10", method="POST") + b"half")
        assert bytes(ask(thread, question) for question in QUESTIONS) == QUESTIONS
        assert fetch(server.address).body == b"hello"


@pytest.mark.parametrize("way", ["blocks", "write"])
def test_runs_while_a_client_does_not_take_its_response(
    server: Process, thread: socket.socket, way: str
) -> None:
    with Client(server.address, receive_buffer=4096) as slow:
        slow.send(request(f"/{way}"))
        assert slow.head().status == 200
        assert bytes(ask(thread, question) for question in QUESTIONS) == QUESTIONS
    assert fetch(server.address).body == b"hello"


def test_the_application_runs_in_the_main_thread_when_there_is_one_thread(server: Process) -> None:
    """Libraries that install signal handlers or use the main thread's event loop count on it."""
    assert fetch(server.address, "/main").body == b"True"
