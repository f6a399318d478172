"""start_response, write and wsgi.input, called by whom they are not for.

Rule: the first two are for the thread that runs the request, until its response is over. Any other
call is a RuntimeError, and neither this response nor another one shows it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from apps import TEXT
from apps.client import TIMEOUT, Client, request

from fastwsgi.testing import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

threads = pytest.mark.parametrize("threads", [1, 4])


def elsewhere(call: Callable[[], object]) -> BaseException | None:
    """What comes of a call that is made in a thread of its own."""
    came: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            came.append(error)
        else:
            came.append(None)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(TIMEOUT)
    return came[0]


def refusal(error: BaseException | None) -> str:
    """The text of the RuntimeError that it has to be."""
    assert type(error) is RuntimeError, error
    return str(error)


@threads
def test_write_is_for_the_thread_of_the_request(threads: int) -> None:
    came = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", TEXT)
        came.append(elsewhere(lambda: write(b"foreign")))
        write(b"own")
        came.append(elsewhere(lambda: write(b"")))
        return [b"ed"]

    with serve(app, threads=threads) as server, Client(server.address) as client:
        for _ in range(20):
            assert client.fetch().body == b"owned"
    assert len(came) == 40
    assert {refusal(error) for error in came} == {
        "write called in another thread than the one that runs the request"}


@threads
def test_start_response_is_for_the_thread_of_the_request(threads: int) -> None:
    came = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        came.append(elsewhere(lambda: start_response("299 Foreign", TEXT)))
        start_response("200 OK", TEXT)
        came.append(elsewhere(lambda: start_response("299 Foreign", TEXT)))
        return [b"fine"]

    with serve(app, threads=threads) as server, Client(server.address) as client:
        for _ in range(20):
            assert client.fetch().status == 200
    assert {refusal(error) for error in came} == {
        "start_response called in another thread than the one that runs the request"}


@threads
def test_both_are_over_with_the_response(threads: int) -> None:
    """Also for its own thread in a later request, while another response is on its way."""
    kept: list[tuple[Any, Any]] = []
    came: list[BaseException | None] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for write, start in kept:
            for call in (lambda write=write: write(b"late"),
                         lambda start=start: start("299 Late", TEXT)):
                came.append(elsewhere(call))
                try:
                    call()
                except BaseException as error:
                    came.append(error)
        kept[:] = [(start_response("200 OK", TEXT), start_response)]
        return [b"fine"]

    with serve(app, threads=threads) as server, Client(server.address) as client:
        for _ in range(10):
            assert (response := client.fetch()).status == 200
            assert response.body == b"fine"
        came.append(elsewhere(lambda: kept[0][0](b"late")))
        came.append(elsewhere(lambda: kept[0][1]("200 OK", [])))
    came += [elsewhere(lambda: kept[0][0](b"late")), elsewhere(lambda: kept[0][1]("200 OK", []))]
    assert len(came) == 40
    assert {refusal(error) for error in came} == {
        "write called after the response has ended",
        "start_response called after the response has ended"}


def test_nothing_is_written_behind_the_end_by_close() -> None:
    came: list[BaseException] = []

    class Body:
        def __init__(self, start_response: StartResponse) -> None:
            self.start_response = start_response
            self.write = start_response("200 OK", TEXT)

        def __iter__(self) -> Iterator[bytes]:
            yield b"whole"

        def close(self) -> None:
            for call in (lambda: self.write(b"behind"),
                         lambda: self.start_response("299 Late", TEXT)):
                try:
                    call()
                except BaseException as error:
                    came.append(error)

    with (
        serve(lambda environ, start_response: Body(start_response)) as server,
        Client(server.address) as client,
    ):
        client.send(request() * 3)
        assert [client.response().body for _ in range(3)] == [b"whole"] * 3
    assert [refusal(error) for error in came] == [
        "write called after the response has ended",
        "start_response called after the response has ended"] * 3


def test_the_write_of_a_suspended_response_is_not_for_another_request_of_its_thread() -> None:
    """With one thread, both are run by it; the queue of the first is the loop's meanwhile."""
    block = b"x" * 65536
    kept: list[Any] = []
    came: list[BaseException | None] = []
    suspended = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", TEXT)
        if environ["PATH_INFO"] == "/large":
            kept.append(write)
            return (block for _ in range(400))
        for call in (lambda: kept[0](b"foreign"), lambda: kept[0](block)):
            try:
                call()
            except BaseException as error:
                came.append(error)
            came.append(elsewhere(call))
        suspended.set()
        return [b"fine"]

    with (
        serve(app) as server,
        Client(server.address, receive_buffer=4096) as slow,
        Client(server.address) as other,
    ):
        slow.send(request("/large"))
        head = slow.head()
        assert head.status == 200
        assert other.fetch().body == b"fine"
        assert suspended.is_set()
        assert b"".join(slow.chunks()) == block * 400
    assert {refusal(error) for error in came} == {
        "write called while the response waits for its client"}
    assert len(came) == 4


@threads
def test_threads_that_write_all_the_time_change_nothing(threads: int) -> None:
    refused = [0]

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        write = start_response("200 OK", TEXT)
        over = threading.Event()

        def intrude() -> None:
            while not over.is_set():
                try:
                    write(b"foreign")
                except RuntimeError:
                    refused[0] += 1

        others = [threading.Thread(target=intrude) for _ in range(3)]
        for other in others:
            other.start()
        for number in range(50):
            yield b"%d " % number
        over.set()
        for other in others:
            other.join()

    wanted = b"".join(b"%d " % number for number in range(50))
    with serve(app, threads=threads) as server, Client(server.address) as client:
        for _ in range(5):
            assert client.fetch().body == wanted
        assert server.log == []
    assert refused[0] > 0


@threads
@pytest.mark.parametrize("size", [100, 300_000], ids=["in memory", "in a file"])
def test_the_body_is_read_from_any_thread_and_is_empty_after_the_end(
    threads: int, size: int,
) -> None:
    body = (b"line\n" * size)[:size]
    kept: list[Any] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        read: list[bytes] = []
        stream = environ["wsgi.input"]
        kept.append(stream)
        assert elsewhere(lambda: read.append(stream.readline())) is None
        assert elsewhere(lambda: read.extend(stream)) is None
        start_response("200 OK", TEXT)
        return [b"".join(read)]

    with (
        serve(app, threads=threads, body_memory=1000) as server,
        Client(server.address) as client,
    ):
        for _ in range(3):
            assert client.fetch("/", method="POST", body=body).body == body
        for stream in kept:
            assert stream.read() == stream.readline() == b""
            assert stream.readlines() == list(stream) == []
            assert elsewhere(stream.read) is None
