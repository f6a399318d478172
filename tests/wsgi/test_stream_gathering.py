"""Small blocks of a stream go out together, and yet none waits for one that does not come.

Rule: that nothing is held back is proved in lock-step, as in test_streaming.py: the application
stands still until the client says that it has what was made.  That blocks go together is counted:
the system tells a client how many segments of data it got, and a send makes one at least.
"""

from __future__ import annotations

import queue
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from apps.client import TIMEOUT, Client, fetch, request
from apps.held import TEXT, Held

from fastwsgi.testing import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

GATHERED = 16384
DATA_SEGMENTS_IN = 152  # offset of tcpi_data_segs_in in Linux' struct tcp_info

Blocks = Callable[[], Iterator[bytes]]


def yielding(blocks: Blocks, *headers: tuple[str, str]) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [*TEXT, *headers])
        return blocks()

    return app


def writing(blocks: Blocks, *headers: tuple[str, str]) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [*TEXT, *headers])
        for block in blocks():
            write(block)
        return []

    return app


WAYS = [yielding, writing]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest) -> Callable[..., WSGIApplication]:
    made: Callable[..., WSGIApplication] = request.param
    return made


@pytest.fixture(params=[1, 4], ids=["one thread", "four threads"])
def threads(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def segments(client: Client) -> int:
    """How many segments that carried data the client has got."""
    info = client.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, DATA_SEGMENTS_IN + 4)
    return int(struct.unpack_from("I", info, DATA_SEGMENTS_IN)[0])


# -- together ----------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux counts segments")
@pytest.mark.parametrize("length", [None, 4000], ids=["chunked", "with a length"])
def test_many_small_blocks_go_out_in_few_pieces(
    way: Callable[..., WSGIApplication], length: int | None
) -> None:
    """200 blocks of 20 bytes; sent one by one they come in dozens of segments."""
    pieces = [b"%019d\n" % number for number in range(200)]
    headers = [("Content-Length", str(length))] if length else []
    with serve(way(lambda: iter(pieces), *headers)) as server:
        counts = []
        for _ in range(20):
            with Client(server.address) as client:
                assert client.fetch().body == b"".join(pieces)
                counts.append(segments(client))
    assert min(counts) <= 8, counts


@pytest.mark.parametrize("size", [1, 100, GATHERED - 1, GATHERED, GATHERED + 1])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_gathered_blocks_arrive_whole_and_in_order(
    way: Callable[..., WSGIApplication], size: int, version: str
) -> None:
    pieces = [bytes([65 + number % 26]) * size for number in range(400)]
    with serve(way(lambda: iter(pieces))) as server, Client(server.address) as client:
        for _ in range(2 if version == "HTTP/1.1" else 1):
            assert client.fetch(version=version).body == b"".join(pieces)


def test_blocks_of_all_sizes_keep_their_order(way: Callable[..., WSGIApplication]) -> None:
    sizes = [1, GATHERED, 5, 100_000, 1, 1, 1, GATHERED - 2, 3, 1 << 20, 7, 0, 9]
    pieces = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    with serve(way(lambda: iter(pieces))) as server, Client(server.address) as client:
        client.send(request() * 4)
        for _ in range(4):
            assert client.response().body == b"".join(pieces)


# -- and yet at once ---------------------------------------------------------------------------


class Steps:
    """Blocks of which the next is made when the client has all before it."""

    def __init__(self, sizes: Iterable[int], burst: int = 1) -> None:
        self.bursts = [[bytes([65 + n % 26]) * size] * burst for n, size in enumerate(sizes)]
        self.taken = threading.Semaphore(0)

    def __call__(self) -> Iterator[bytes]:
        for blocks in self.bursts:
            yield from blocks
            assert self.taken.acquire(timeout=TIMEOUT), "a block never reached the client"

    def take(self, client: Client) -> None:
        """Read a response burst by burst."""
        assert client.head().status == 200
        for blocks in self.bursts:
            whole = b"".join(blocks)
            got = b""
            while len(got) < len(whole):
                got += client.chunk()
            assert got == whole
            self.taken.release()
        assert client.chunk() == b""


SIZES = [1, 1000, GATHERED - 1, GATHERED, GATHERED + 1, 100_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("burst", [1, 5])
def test_what_was_made_arrives_while_the_next_is_not(
    way: Callable[..., WSGIApplication], threads: int, size: int, burst: int
) -> None:
    steps = Steps([size] * 4, burst)
    with serve(way(steps), threads=threads) as server, Client(server.address) as client:
        client.send(request())
        steps.take(client)


def test_event_streams_arrive_while_every_other_thread_is_held(threads: int) -> None:
    """With one thread the stream itself is what holds it, in each of its pauses."""
    held = Held()
    steps = Steps([10] * 50)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/stream":
            return yielding(steps)(environ, start_response)
        return held(environ, start_response)

    with serve(app, threads=threads) as server:
        clients = [Client(server.address) for _ in range(threads - 1)]
        try:
            for client in clients:
                client.send(request("/hold"))
            held.entered(len(clients))
            with Client(server.address) as reader:
                reader.send(request("/stream"))
                steps.take(reader)
        finally:
            held.end()
        for client in clients:
            assert client.response().body == b"/hold"
            client.close()


def test_many_event_streams_at_once_arrive_each_at_its_own_pace() -> None:
    count = 8
    streams = [Steps([10] * 10) for _ in range(count)]

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return yielding(streams[int(environ["PATH_INFO"][1:])])(environ, start_response)

    with serve(app, threads=count) as server:
        clients = [Client(server.address) for _ in streams]
        for number, client in enumerate(clients):
            client.send(request(f"/{number}"))
        for steps, client in reversed(list(zip(streams, clients, strict=True))):
            steps.take(client)
            client.close()


def test_the_head_goes_out_with_the_first_block_and_waits_for_no_other() -> None:
    """The first block is tiny, and the second never comes while the client waits for the head."""
    go = threading.Event()

    def blocks() -> Iterator[bytes]:
        yield b"1"
        assert go.wait(TIMEOUT)
        yield b"2"

    with serve(yielding(blocks)) as server, Client(server.address) as client:
        client.send(request())
        assert client.head().status == 200
        assert client.chunk() == b"1"
        go.set()
        assert list(client.chunks()) == [b"2"]


# -- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [None, 1000], ids=["chunked", "with a length"])
def test_what_was_gathered_before_an_error_is_sent_and_the_rest_is_missing(
    way: Callable[..., WSGIApplication], length: int | None
) -> None:
    def blocks() -> Iterator[bytes]:
        for _ in range(5):
            yield b"block"
        raise RuntimeError("in the middle")

    headers = [("Content-Length", str(length))] if length else []
    with serve(way(blocks, *headers)) as server:
        with Client(server.address) as client:
            client.send(request())
            assert client.head().status == 200
            body = client.rest()
            assert body.count(b"block") == 5
            assert not body.endswith(b"0\r\n\r\n")
        with Client(server.address) as client:
            client.send(request())
            assert client.head().status == 200
        assert "RuntimeError: in the middle" in "\n".join(server.log)


@pytest.mark.parametrize("pace", ["as fast as it can", "one by one"])
@pytest.mark.parametrize("leave", [Client.reset, Client.close], ids=["resets", "closes"])
def test_a_client_that_has_gone_ends_the_stream(
    threads: int, pace: str, leave: Callable[[Client], None]
) -> None:
    """However small the blocks: after some of them the iteration is over and finally has run."""
    ended = threading.Event()
    more = threading.Semaphore(0)

    def blocks() -> Iterator[bytes]:
        try:
            for _ in range(1_000_000):
                yield b"tick\n"
                if pace == "one by one":
                    assert more.acquire(timeout=TIMEOUT)
        finally:
            ended.set()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return blocks() if environ["PATH_INFO"] == "/ticks" else [b"fine"]

    with serve(app, threads=threads) as server:
        client = Client(server.address)
        client.send(request("/ticks"))
        assert client.head().status == 200
        assert client.chunk() == b"tick\n"
        leave(client)
        for _ in range(1000):
            more.release()
            if ended.wait(0.01):
                break
        assert ended.wait(TIMEOUT)
        assert fetch(server.address).body == b"fine"


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_what_a_full_socket_did_not_take_follows_while_the_application_makes_the_next_block(
    family: str, tmp_path: Path,
) -> None:
    """More blocks each time, until so many wait that the only thread serves another client."""
    block = b"x" * 60000
    reached: queue.SimpleQueue[str] = queue.SimpleQueue()
    taken = threading.Semaphore(0)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        if environ["PATH_INFO"] == "/other":
            reached.put("other")
            return
        for _ in range(int(environ["PATH_INFO"][1:])):
            yield block
        reached.put("end")
        assert taken.acquire(timeout=TIMEOUT), "the last block never reached the client"

    bind = "127.0.0.1:0" if family == "tcp" else f"unix:{tmp_path}/socket"
    with serve(app, bind=bind, threads=1) as server:
        for number in range(1, 1000):
            with (Client(server.address, receive_buffer=4096) as client,
                  Client(server.address) as other):
                client.send(request(f"/{number}", version="HTTP/1.0"))
                assert client.head().status == 200
                other.send(request("/other"))
                if reached.get(timeout=TIMEOUT) == "other":
                    assert number > 1
                    return
                assert client.exactly(number * len(block)) == number * block
                taken.release()
                assert client.rest() == b""
                assert reached.get(timeout=TIMEOUT) == "other"
        raise AssertionError("a server that queues without end")
