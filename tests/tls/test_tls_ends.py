"""How a connection through TLS begins and ends, well or badly."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from apps.certificates import Certified
from apps.tls_client import (
    GET,
    LAST,
    PATIENCE,
    ByHand,
    answer,
    connect,
    hello,
    record_types,
    rest,
)

from fastwsgi.testing import Server, raw, serve

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
