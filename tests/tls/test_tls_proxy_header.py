"""A PROXY header on an address that speaks TLS: in plain bytes, ahead of the handshake."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from apps.certificates import Certified
from apps.tls_client import GET, PATIENCE, ByHand, answer, connect, hello, listing
from conformance.cases.proxy_protocol import SIGNATURE, SOURCE4, SOURCE6, binary, line, tlv

from fastwsgi.testing import Server, raw, serve

LONGEST = binary(0x11, SOURCE4 + tlv(4, b"x" * (4096 - 16 - len(SOURCE4) - 3)))
HEADERS = [
    (line(b"TCP4 192.0.2.7 127.0.0.1 4711 80"), "192.0.2.7", "4711"),
    (binary(0x11, SOURCE4), "192.0.2.7", "4711"),
    (binary(0x21, SOURCE6), "2001:db8::7", "4711"),
    (LONGEST, "192.0.2.7", "4711"),
    (line(b"UNKNOWN"), "127.0.0.1", None),
    (binary(0, command=0x20), "127.0.0.1", None),
]
NAMES = ("line", "IPv4", "IPv6", "longest", "UNKNOWN", "LOCAL")


@pytest.fixture(scope="module")
def proxied(certified: Certified) -> Iterator[Server]:
    with serve(listing, certfile=certified.cert, keyfile=certified.key,
               proxy_protocol="auto", tls_handshake_timeout=PATIENCE) as server:
        yield server


def shown(client: ByHand) -> dict[str, str]:
    """What the application sees of a request."""
    client.tls.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    client.send(client.records())
    lines = b"".join(client.read()).decode().partition("\r\n\r\n")[2].splitlines()
    return {name: value.strip("'") for name, _, value in (one.partition("=") for one in lines)}


@pytest.mark.parametrize(("header", "address", "port"), HEADERS, ids=NAMES)
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_names_the_client(
    proxied: Server, context: ssl.SSLContext, header: bytes, address: str, port: str | None,
    piece: int,
) -> None:
    with ByHand(proxied.address, context) as client:
        client.send(header, max(piece, len(header) // 64))
        client.handshake(max(piece, 16))
        seen = shown(client)
        own = str(client.socket.getsockname()[1])
        assert (seen["REMOTE_ADDR"], seen["REMOTE_PORT"]) == (address, port or own)
        assert (seen["wsgi.url_scheme"], seen["HTTPS"]) == ("https", "on")


def test_header_and_hello_may_come_together(proxied: Server, context: ssl.SSLContext) -> None:
    for cut in (None, 10, 16, 20, len(binary(0x11, SOURCE4)) + 3):
        with ByHand(proxied.address, context) as client:
            with pytest.raises(ssl.SSLWantReadError):
                client.tls.do_handshake()
            together = binary(0x11, SOURCE4) + client.records()
            client.send(together[:cut])
            if cut is not None:
                client.send(together[cut:])
            client.handshake()
            assert shown(client)["REMOTE_ADDR"] == "192.0.2.7"


@pytest.mark.parametrize(("said", "reason"), [
    (GET, "no PROXY header, which proxy_protocol requires from this address"),
    (b"\x16\x03\x01\x02\0\1", "no PROXY header, which proxy_protocol requires from this address"),
    (b"PROXY TCP4 1.2.3.4\r\n", "malformed PROXY line"),
    (b"PROXY " + b"x" * 200, "a PROXY line that does not end"),
    (binary(0x11, SOURCE4[:4]), "a PROXY header that is too short for its addresses"),
    (binary(0x11, SOURCE4, length=5000), "a PROXY header that is too long"),
    (binary(0x11, SOURCE4 + tlv(4, b"x", 9)), "a PROXY header with a malformed TLV"),
    (binary(0x12, SOURCE4), "a PROXY header for something other than a stream"),
    (SIGNATURE + b"\x31\x11\0\0", "a PROXY header of an unknown version"),
], ids=("GET", "hello", "short line", "endless line", "short", "long", "TLV", "UDP", "version 3"))
def test_what_is_none_is_refused_in_plain_text(proxied: Server, said: bytes, reason: str) -> None:
    for piece in (1, len(said)):
        with socket.create_connection(proxied.address, PATIENCE) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(said), piece):
                try:
                    sock.sendall(said[at : at + piece])
                except OSError:  # refused meanwhile
                    break
            found = b""
            while block := sock.recv(65536):
                found += block
        assert found.startswith(b"HTTP/1.1 400 "), said
        assert found.endswith(f"\r\n\r\n{reason}\n".encode()), said


def test_a_header_that_breaks_off_is_no_request(proxied: Server) -> None:
    for header in (b"PRO", line(b"UNKNOWN")[:-1], SIGNATURE, LONGEST[:-1], LONGEST):
        assert raw(proxied.address, header, half_close=True) == b""


@pytest.mark.parametrize("settings", [{"proxy_protocol": "v2", "proxy_allow_ips": "192.0.2.1"}, {}],
                         ids=["from elsewhere", "off"])
def test_whoever_may_send_none_is_told_so(
    certified: Certified, context: ssl.SSLContext, settings: dict[str, Any],
) -> None:
    expected = (b"403 ", b"a PROXY header from an address that proxy_allow_from does not have\n"
                ) if settings else (b"400 ", b"a PROXY header, but proxy_protocol is off\n")
    with serve(listing, certfile=certified.cert, keyfile=certified.key, **settings) as server:
        for header in (line(b"UNKNOWN"), binary(0x11, SOURCE4)):
            found = raw(server.address, header + GET)
            assert found.startswith(b"HTTP/1.1 " + expected[0]), header
            assert found.endswith(b"\r\n\r\n" + expected[1]), header
        assert b"this port speaks TLS" in raw(server.address, GET)
        with connect(server.address, context) as sock:  # others speak TLS as ever
            assert b"REMOTE_ADDR='127.0.0.1'" in answer(sock, GET)[1]
        with connect(server.address, context) as sock:  # and none comes behind the handshake
            status, why = answer(sock, binary(0x11, SOURCE4) + GET)
            assert status in (400, 403)
            assert b"PROXY header" in why


def test_the_time_of_the_handshake_is_the_headers_too(certified: Certified) -> None:
    headers = (b"", b"PROXY TCP4 ", binary(0x11, SOURCE4))
    with serve(hello, certfile=certified.cert, keyfile=certified.key, proxy_protocol="auto",
               tls_handshake_timeout=0.3, header_timeout=60) as server, \
            contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(server.address, PATIENCE))
                   for _ in headers]
        for sock, header in zip(clients, headers, strict=True):
            sock.sendall(header)
        assert [sock.recv(1000) for sock in clients] == [b""] * 3


def test_forwarded_fields_are_the_named_clients(
    certified: Certified, context: ssl.SSLContext,
) -> None:
    """The peer is trusted, the client that it names is not."""
    request = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.9\r\n\r\n")
    with serve(listing, certfile=certified.cert, keyfile=certified.key, proxy_protocol="v2",
               forwarded_follow="scheme,address") as server:
        for header, expected in ((binary(0x11, SOURCE4), b"192.0.2.7"),
                                 (binary(0, command=0x20), b"198.51.100.9")):
            with ByHand(server.address, context) as client:
                client.send(header)
                client.handshake()
                client.tls.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                client.send(client.records())
                assert b"REMOTE_ADDR='" + expected + b"'" in b"".join(client.read())
