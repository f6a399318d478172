"""HTTP through TLS: bytes, beginnings and ends, as Python's ssl sees them."""

from __future__ import annotations

import hashlib
import random
import re
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from apps.certificates import Authority, Certified
from apps.tls_client import (
    GET,
    LAST,
    PATIENCE,
    ByHand,
    answer,
    client_context,
    connect,
    hello,
    record_types,
    rest,
)

from fastwsgi.testing import Server, serve


def digest(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    found = hashlib.sha256()
    while block := environ["wsgi.input"].read(65536):
        found.update(block)
    return [found.hexdigest().encode()]


BLOB = bytes(range(256)) * 4096 * 8  # 8 MiB


def blob(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A large body in the ways there are to make one."""
    kind = environ["PATH_INFO"]
    if kind == "/file":
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
        file.write(BLOB)
        file.seek(0)
        start_response("200 OK", [("Content-Length", str(len(BLOB)))])
        return environ["wsgi.file_wrapper"](file)
    write = start_response("200 OK", [])
    if kind == "/whole":
        return [BLOB]
    if kind == "/write":
        for at in range(0, len(BLOB), 300_000):
            write(BLOB[at : at + 300_000])
        return []
    step = 1 << 20 if kind == "/blocks" else 5000
    return (BLOB[at : at + step] for at in range(0, len(BLOB), step))


@pytest.fixture(scope="module")
def large(certified: Certified) -> Iterator[Server]:
    with serve(blob, certfile=certified.cert, keyfile=certified.key) as server:
        yield server


# ---- the bytes of HTTP ----


def test_pipelined_requests_are_answered_in_order(server: Server, context: ssl.SSLContext) -> None:
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % i for i in range(60))
    last = LAST.replace(b"/ ", b"/last ", 1)
    with connect(server.address, context) as sock:
        sock.sendall(requests + last)
        found = rest(sock)
    assert re.findall(rb"hello /(\d+|last)", found) == [*(b"%d" % i for i in range(60)), b"last"]


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_records_may_come_in_pieces(server: Server, context: ssl.SSLContext, piece: int) -> None:
    with ByHand(server.address, context) as client:
        client.handshake(piece)
        for _ in range(3):
            client.tls.write(GET)
            client.send(client.records(), piece)
            assert client.read_until(b"hello /")
        for byte in LAST:  # and requests in many records
            client.tls.write(bytes([byte]))
        client.send(client.records())
        assert client.read_until(b"hello /")


@pytest.mark.parametrize("seed", range(12))
def test_records_and_segments_may_be_of_any_size(
    certified: Certified, context: ssl.SSLContext, seed: int,
) -> None:
    dice = random.Random(seed)
    bodies = [BLOB[: dice.choice([0, 1, 100, 5000, 40_000])] for _ in range(12)]
    requests = b"".join(
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        for body in bodies) + LAST
    with serve(digest, certfile=certified.cert, keyfile=certified.key,
               body_memory=dice.choice([1000, 1 << 20])) as server, ByHand(
            server.address, context) as client:
        client.handshake(dice.choice([1, 50, 1000]))
        at = 0
        while at < len(requests):
            size = dice.choice([1, 2, 10, 300, 16384])
            client.tls.write(requests[at : at + size])
            at += size
        records = client.records()
        at = 0
        while at < len(records):
            size = dice.choice([1, 5, 6, 40, 1000, 30_000])
            client.socket.sendall(records[at : at + size])
            at += size
        found = b"".join(client.read())
    expected = [hashlib.sha256(body).hexdigest().encode() for body in (*bodies, b"")]
    assert re.findall(rb"[0-9a-f]{64}", found) == expected


def test_a_request_that_is_cut_off_reaches_nobody(
    certified: Certified, context: ssl.SSLContext,
) -> None:
    seen = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(environ["PATH_INFO"])
        return hello(environ, start_response)

    with serve(app, certfile=certified.cert, keyfile=certified.key) as server:
        for cut in (1, 4, 5, 6, 30, -17, -16, -1):
            with ByHand(server.address, context) as client:
                client.handshake()
                client.tls.write(GET)
                client.send(client.records()[:cut])
                client.socket.shutdown(socket.SHUT_WR)
                assert b"".join(client.read()) == b""
        with connect(server.address, context) as sock:
            assert answer(sock, GET.replace(b"/", b"/whole", 1))[0] == 200
        assert seen == ["/whole"]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 16384, 3_000_001])
def test_bodies_arrive_whole(
    certified: Certified, context: ssl.SSLContext, chunked: bool, size: int,
) -> None:
    body = BLOB[:size]
    with serve(digest, certfile=certified.cert, keyfile=certified.key,
               body_memory=1 << 20) as server, connect(server.address, context) as sock:
        for _ in range(2):
            if chunked:
                head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                chunks = [body[at : at + 70_000] for at in range(0, size, 70_000)]
                sent = head + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks)
                sent += b"0\r\n\r\n"
            else:
                sent = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + body
            expected = hashlib.sha256(body).hexdigest().encode()
            assert answer(sock, sent, "POST") == (200, expected)


def test_a_body_is_asked_for(certified: Certified, context: ssl.SSLContext) -> None:
    with serve(digest, certfile=certified.cert, keyfile=certified.key) as server, connect(
            server.address, context) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
                     b"Expect: 100-continue\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert answer(sock, b"ab")[0] == 200


@pytest.mark.parametrize("kind", ["whole", "blocks", "small", "file", "write"])
def test_large_responses_arrive_whole(
    large: Server, context: ssl.SSLContext, kind: str,
) -> None:
    with connect(large.address, context) as sock:
        for _ in range(2):
            request = GET.replace(b"/", b"/" + kind.encode(), 1)
            status, body = answer(sock, request)
            assert (status, hashlib.sha256(body).digest()) == (200, hashlib.sha256(BLOB).digest())


def test_slow_readers_get_all_of_it_at_the_same_time(
    large: Server, authority: Authority,
) -> None:
    """More of them than threads: their responses are suspended, and resumed as they read."""
    wanted = hashlib.sha256(BLOB).digest()
    kinds = [b"blocks", b"small", b"file", b"whole"] * 3

    def narrow(request: bytes) -> ssl.SSLSocket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(large.address)
        tls = client_context(authority.file).wrap_socket(
            sock, server_hostname="localhost", suppress_ragged_eofs=False)
        tls.settimeout(PATIENCE)
        tls.sendall(request)
        return tls

    found = [bytearray() for _ in kinds]
    socks = [narrow(LAST.replace(b"/", b"/" + kind, 1)) for kind in kinds]
    at = dict(zip(socks, found, strict=True))
    while at:  # a little of each in turn
        for sock, body in list(at.items()):
            block = sock.recv(50_000)
            body += block
            if not block:
                sock.close()
                del at[sock]
    for kind, body in zip(kinds, found, strict=True):
        head, _, content = bytes(body).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        if b"chunked" in head:
            content = decoded(content)
        assert hashlib.sha256(content).digest() == wanted, kind


def decoded(chunks: bytes) -> bytes:
    found, at = [], 0
    while True:
        end = chunks.index(b"\r\n", at)
        size = int(chunks[at:end], 16)
        found.append(chunks[end + 2 : end + 2 + size])
        at = end + size + 4
        if size == 0:
            return b"".join(found)


def test_a_small_response_is_one_record(server: Server, context: ssl.SSLContext) -> None:
    """Head and body together, and pipelined ones too."""
    with ByHand(server.address, context) as client:
        client.handshake()
        client.tls.write(GET)
        client.send(client.records())
        client.read_until(b"hello /")
        client.tls.write(GET * 10)
        client.send(client.records())
        found = b""
        while found.count(b"hello /") < 10:
            data = client.socket.recv(65536)
            client.incoming.write(data)
            kinds = record_types(data)
            assert len(kinds) <= 2, kinds
            found += client.tls.read(65536)


# ---- limits and threads ----


def test_what_is_too_much_is_refused_through_tls(
    certified: Certified, context: ssl.SSLContext,
) -> None:
    with serve(hello, certfile=certified.cert, keyfile=certified.key, worker_connections=1,
               overload="503", tls_handshake_timeout=0.3) as server, connect(
            server.address, context) as first:
        assert answer(first, GET)[0] == 200
        for _ in range(3):
            with connect(server.address, context) as sock:
                assert rest(sock).startswith(b"HTTP/1.1 503 ")
        assert answer(first, GET)[0] == 200
        with socket.create_connection(server.address, PATIENCE) as silent:  # nor may it stay
            assert silent.recv(1) == b""


def test_who_takes_nothing_is_cut_off(certified: Certified, context: ssl.SSLContext) -> None:
    closed = threading.Event()

    def endless(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield BLOB[:100_000]
        finally:
            closed.set()

    with serve(endless, certfile=certified.cert, keyfile=certified.key,
               write_timeout=0.4) as server, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(PATIENCE)
        sock.connect(server.address)
        with context.wrap_socket(
                sock, server_hostname="localhost", suppress_ragged_eofs=False) as tls:
            tls.sendall(GET)
            assert closed.wait(PATIENCE)
            with pytest.raises((ssl.SSLEOFError, ConnectionError)):
                rest(tls)


def test_several_threads_and_several_kinds_at_once(
    certified: Certified, authority: Authority,
) -> None:
    """Streams that gather, suspended and held responses, bodies, ends in the middle."""
    failures: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            return digest(environ, start_response)
        return blob(environ, start_response) if len(environ["PATH_INFO"]) > 1 else hello(
            environ, start_response)

    def visit(number: int) -> None:
        try:
            context = client_context(authority.file)
            for turn in range(6):
                kind = [b"small", b"file", b"blocks", b"whole", b"write"][(number + turn) % 5]
                with connect(server.address, context) as sock:
                    assert answer(sock, GET * 1)[0] == 200
                    body = BLOB[: 70_000 * turn]
                    post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
                    assert answer(sock, post + body, "POST")[0] == 200
                    request = GET.replace(b"/", b"/" + kind, 1)
                    if turn % 3 == 2:
                        sock.sendall(request)
                        sock.recv(1000)
                        continue
                    assert len(answer(sock, request)[1]) == len(BLOB)
                    sock.sendall(GET * 20)
                    found = b""
                    while found.count(b"hello /") < 20:
                        found += sock.recv(65536)
        except BaseException as error:
            failures.append(error)

    with serve(app, certfile=certified.cert, keyfile=certified.key, threads=4,
               response_memory=2 << 20) as server:
        threads = [threading.Thread(target=visit, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert not [line for line in server.log if "ERROR" in line]


def test_many_handshakes_while_requests_run(server: Server, authority: Authority) -> None:
    failures: list[BaseException] = []

    def visit() -> None:
        try:
            context = client_context(authority.file)
            for _ in range(15):
                with connect(server.address, context) as sock:
                    assert answer(sock, GET)[0] == 200
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_stopping_server_answers_what_is_on_its_way(
    certified: Certified, context: ssl.SSLContext,
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def waits(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        entered.set()
        go_on.wait(PATIENCE)
        return hello(environ, start_response)

    found = []
    with serve(waits, certfile=certified.cert, keyfile=certified.key) as server:
        sock = connect(server.address, context)
        thread = threading.Thread(target=lambda: found.append(answer(sock, GET)))
        thread.start()
        assert entered.wait(PATIENCE)
        threading.Timer(0.1, go_on.set).start()
    thread.join()
    assert found == [(200, b"hello /")]
    with sock:
        assert rest(sock) == b""
