"""HTTP through TLS: what Python's ssl, curl and openssl see of a server."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
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
    rest,
)

from fastwsgi.testing import Server, raw, serve


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
    start_response("200 OK", [])
    if kind == "/whole":
        return [BLOB]
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


@pytest.mark.parametrize("kind", ["whole", "blocks", "small", "file"])
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
        tls = client_context(authority.file).wrap_socket(sock, server_hostname="localhost")
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


def record_types(data: bytes) -> list[int]:
    kinds, at = [], 0
    while at < len(data):
        kinds.append(data[at])
        at += 5 + int.from_bytes(data[at + 3 : at + 5], "big")
    return kinds


# ---- beginnings and ends ----


def test_plain_http_is_told_to_use_https(server: Server) -> None:
    for request in (GET, b"OPTIONS * HTTP/1.1\r\n\r\n", b"\r\nGET", b"hello?"):
        found = raw(server.address, request)
        assert found.startswith(b"HTTP/1.1 400 Bad Request\r\n"), request
        assert found.endswith(b"\r\n\r\nthis port speaks TLS: ask by https\n")


def test_a_hello_of_tls_is_told_that_the_port_is_plain(context: ssl.SSLContext) -> None:
    with serve(hello) as server, ByHand(server.address, context) as client:
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        found = raw(server.address, client.records())
    assert found.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert found.endswith(b"TLS on a port that speaks plain HTTP\n")


def test_plain_and_tls_side_by_side(certified: Certified, context: ssl.SSLContext) -> None:
    from fastwsgi.config.sources import from_keywords
    from fastwsgi.system.sockets import open_listeners
    bind = ["127.0.0.1:0", "http://127.0.0.1:0"]
    config = from_keywords({"bind": bind, "certfile": certified.cert, "keyfile": certified.key})
    listeners = open_listeners(config.bind, backlog=1, certified=config.tls)
    with closing(listeners[0]), closing(listeners[1]):
        assert [listener.tls for listener in listeners] == [True, False]
        assert [listener.url.partition(":")[0] for listener in listeners] == ["https", "http"]


def test_a_complete_response_ends_with_a_goodbye(
    server: Server, context: ssl.SSLContext,
) -> None:
    for request in (LAST, b"GET / HTTP/1.0\r\n\r\n", b"bad\r\n\r\n"):
        with connect(server.address, context) as sock:
            sock.sendall(request)
            assert rest(sock)  # SSLEOFError without it
            sock.unwrap()


def test_a_response_that_broke_off_ends_without(
    certified: Certified, context: ssl.SSLContext,
) -> None:
    def breaks(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"some"
        raise ValueError("and no more")

    with serve(breaks, certfile=certified.cert, keyfile=certified.key) as server, connect(
            server.address, context) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ssl.SSLEOFError):
            rest(sock)


def test_an_idle_connection_ends_with_a_goodbye(
    certified: Certified, context: ssl.SSLContext,
) -> None:
    with serve(hello, certfile=certified.cert, keyfile=certified.key,
               keepalive=0.05) as server, connect(server.address, context) as sock:
        assert answer(sock, GET)[0] == 200
        assert rest(sock) == b""


def test_a_client_that_has_said_goodbye_is_still_answered(
    server: Server, context: ssl.SSLContext,
) -> None:
    with ByHand(server.address, context) as client:
        client.handshake()
        client.tls.write(GET)
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        client.send(client.records())
        client.socket.shutdown(socket.SHUT_WR)
        received = b""
        while data := client.socket.recv(65536):
            received += data
    kinds = record_types(received)
    assert 23 in kinds  # what it says cannot be read after a goodbye with Python's ssl


def test_a_client_that_hangs_up_is_no_error(server: Server, context: ssl.SSLContext) -> None:
    for _ in range(3):
        with connect(server.address, context) as sock:
            answer(sock, GET)
            sock.detach()
    with connect(server.address, context) as sock:
        assert answer(sock, GET)[0] == 200
    assert not [line for line in server.log if "ERROR" in line]


def test_what_is_no_tls_gets_an_alert_and_hurts_nobody(
    server: Server, context: ssl.SSLContext,
) -> None:
    with ByHand(server.address, context) as client:
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        greeting = client.records()
    junk = [
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"\x16\x03\x01\xff\xff" + b"\0" * 100,
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x80\x2e\x01\x00\x02" + b"\0" * 50,
        b"\x17\x03\x03\x00\x10" + b"\1" * 16,
        greeting[:5] + bytes(len(greeting) - 5),
        greeting + b"\x17\x03\x03\x40\x00" + b"x" * 16384,
        greeting + b"GET / HTTP/1.1\r\n\r\n",
    ]
    for data in junk:
        found = raw(server.address, data, half_close=True)
        assert found == b"" or found[0] in (21, 22), data[:20]
    for size in range(0, len(greeting), 40):  # and those that do not come to an end
        assert raw(server.address, greeting[:size], half_close=True)[:1] in (b"", b"\x15")
    with connect(server.address, context) as sock:
        assert answer(sock, GET)[0] == 200


def test_a_broken_record_ends_its_connection(server: Server, context: ssl.SSLContext) -> None:
    with ByHand(server.address, context) as client:
        client.handshake()
        client.tls.write(GET)
        records = bytearray(client.records())
        records[-1] ^= 1
        client.send(bytes(records))
        with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
            for _ in client.read():
                pass


@pytest.mark.parametrize("part", [0, 1, 200])
def test_a_handshake_has_its_own_timeout(
    certified: Certified, context: ssl.SSLContext, part: int,
) -> None:
    with serve(hello, certfile=certified.cert, keyfile=certified.key, tls_handshake_timeout=0.3,
               header_timeout=60) as server, ByHand(server.address, context) as client:
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        client.send(client.records()[:part])
        client.socket.settimeout(PATIENCE)
        assert client.socket.recv(1000) == b""


def test_the_time_of_a_head_begins_behind_the_handshake(
    certified: Certified, context: ssl.SSLContext,
) -> None:
    with serve(hello, certfile=certified.cert, keyfile=certified.key, header_timeout=0.2) as server:
        with connect(server.address, context) as sock:
            assert rest(sock) == b""
        with connect(server.address, context) as sock:
            sock.sendall(b"GET / HT")
            assert rest(sock).startswith(b"HTTP/1.1 408 ")


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


# ---- other clients ----


def test_curl(server: Server, authority: Authority) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    done = subprocess.run(
        ["curl", "-sS", "--cacert", authority.file, "--resolve",
         f"localhost:{server.port}:127.0.0.1", "--max-time", "20",
         *(f"https://localhost:{server.port}/{i}" for i in range(3)),
         "-d", "x" * 100000], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("hello /0hello /1hello /2", "")


def s_client(server: Server, authority: Authority, *options: str, said: bytes) -> str:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", authority.file,
         "-servername", "localhost", "-ign_eof", *options],
        input=said, capture_output=True, timeout=60)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command")


@needs_openssl
def test_openssl_s_client(server: Server, authority: Authority) -> None:
    found = s_client(server, authority, said=LAST)
    assert "Verify return code: 0 (ok)" in found
    assert "hello /" in found
    assert "hello /" in s_client(server, authority, "-tls1_2", "-split_send_frag", "100", said=LAST)


@needs_openssl
def test_no_other_handshake_can_be_asked_for(server: Server, authority: Authority) -> None:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", authority.file,
         "-servername", "localhost", "-tls1_2"], input=b"R\n", capture_output=True, timeout=60)
    assert b"no renegotiation" in done.stderr


@needs_openssl
def test_keys_may_be_renewed(server: Server, authority: Authority) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile",
               authority.file, "-servername", "localhost", "-tls1_3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as client:
        assert client.stdin is not None and client.stdout is not None
        for _ in range(3):
            client.stdin.write(b"K\n")
            client.stdin.flush()
            for line in client.stdout:
                if b"KEYUPDATE" in line:
                    break
        client.stdin.write(LAST)
        client.stdin.flush()
        assert b"hello /" in client.stdout.read()
