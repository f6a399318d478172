"""Handshakes that fail: what the log says of them, how often, and how they are counted."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from apps.certificates import Authority, Certified
from apps.tls_client import GET, PATIENCE, ByHand, answer, client_context, connect, hello

from fastwsgi._core.core import Worker
from fastwsgi.config.sources import from_keywords
from fastwsgi.testing import raw
from fastwsgi.tls import load_tls
from fastwsgi.worker.scoreboard import Board

LINE = re.compile(r"the TLS handshake with 127\.0\.0\.1:(\d+) failed: (.+?)"
                  r"(?: \(so did (\d+) others before\))?")


class Watched(NamedTuple):
    """A worker of one thread, with what it has said and counted."""

    address: tuple[str, int]
    said: list[tuple[int, str]]
    board: Board

    def failed(self) -> int:
        return self.board.state().counters["failed_handshakes"]

    def line(self, port: int) -> str:
        """The reason of the line about the client of this port, which others may stand before."""
        found: list[str] = []
        until(lambda: bool(found.extend(
            match[2] for _, text in self.said
            if (match := LINE.fullmatch(text)) and int(match[1]) == port) or found))
        return found[0]


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)  # nothing tells when: the loop does, between two polls


@pytest.fixture
def watched(authority: Authority, certified: Certified) -> Iterator[Watched]:
    board = Board(1)
    said: list[tuple[int, str]] = []
    config = from_keywords({
        "certfile": certified.cert, "keyfile": certified.key, "tls_handshake_timeout": 0.3,
        "ca_certs": authority.file, "cert_reqs": "optional"})
    tls = load_tls(config)
    assert tls is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        worker = Worker(hello, [(listener.fileno(), "localhost", "80")], config.core(),
                        log=lambda level, message, _error: said.append((level, message)),
                        errors=sys.stderr, board=board.memory, tls=tls.context(), tls_on=[0])
        runs = threading.Thread(target=worker.run)
        runs.start()
        try:
            yield Watched(listener.getsockname(), said, board)
        finally:
            worker.stop()
            runs.join(PATIENCE)


def begun(watched: Watched, context: ssl.SSLContext, size: int | None = None) -> ByHand:
    """A client that has sent its hello, or some of it."""
    client = ByHand(watched.address, context)
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client.send(client.records()[:size])
    return client


def of_other_ciphers(watched: Watched, context: ssl.SSLContext) -> socket.socket:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    return begun(watched, context).socket


def that_hangs_up(watched: Watched, context: ssl.SSLContext) -> socket.socket:
    sock = begun(watched, context, 40).socket
    sock.shutdown(socket.SHUT_WR)
    return sock


def that_resets(watched: Watched, context: ssl.SSLContext) -> socket.socket:
    sock = begun(watched, context, 40).socket
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return sock


def that_stops(watched: Watched, context: ssl.SSLContext) -> socket.socket:
    return begun(watched, context, 40).socket


def of_no_tls(watched: Watched, context: ssl.SSLContext) -> socket.socket:
    sock = socket.create_connection(watched.address, PATIENCE)
    sock.sendall(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
    return sock


def that_trusts_nobody(watched: Watched, context: ssl.SSLContext) -> socket.socket:
    client = ByHand(watched.address, ssl.create_default_context())
    with pytest.raises(ssl.SSLError):
        client.handshake()
    client.send(client.records())
    return client.socket


def with_a_strangers_certificate(watched: Watched, context: ssl.SSLContext) -> socket.socket:
    client = ByHand(watched.address, context)
    client.handshake()
    return client.socket


@pytest.mark.parametrize(("client", "reason"), [
    (of_other_ciphers, "no shared cipher"),
    (of_no_tls, r"length.(mismatch|too.short)|unexpected.message|bad.length"),
    (that_trusts_nobody, r"tlsv1 alert unknown ca"),
    (that_hangs_up, "the client has hung up"),
    (that_resets, "Connection reset by peer"),
    (that_stops, "it took too long"),
])
def test_the_log_says_why_and_with_whom(
    watched: Watched, context: ssl.SSLContext, reason: str,
    client: Callable[[Watched, ssl.SSLContext], socket.socket],
) -> None:
    with client(watched, context) as sock:
        port = sock.getsockname()[1]
        if client is that_resets:
            sock.close()
        assert re.fullmatch(f"(?i){reason}", watched.line(port))
    until(lambda: watched.failed() == 1)
    assert [level for level, _ in watched.said] == [20]  # info, as nginx


def test_a_certificate_that_is_not_accepted_is_a_failure(
    watched: Watched, context: ssl.SSLContext, own: Authority,
) -> None:
    context.load_cert_chain(*own.sign("stranger", "a stranger"))
    with with_a_strangers_certificate(watched, context) as sock:
        assert watched.line(sock.getsockname()[1]) == "certificate verify failed"


def test_many_failures_make_one_line_a_second(
    watched: Watched, authority: Authority, context: ssl.SSLContext,
) -> None:
    began = time.monotonic()
    for _ in range(40):
        raw(watched.address, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", half_close=True)
    until(lambda: watched.failed() == 40)
    told = 0
    while told < 40:
        matches = [LINE.fullmatch(text) for _, text in watched.said]
        told = sum(1 + int(match[3] or 0) for match in matches if match)
        assert len(matches) <= 2 + (time.monotonic() - began)
    with connect(watched.address, client_context(authority.file)) as sock:
        assert answer(sock, GET)[0] == 200


def test_what_has_not_begun_has_not_failed(watched: Watched, context: ssl.SSLContext) -> None:
    assert raw(watched.address, b"", half_close=True) == b""
    assert raw(watched.address, GET).startswith(b"HTTP/1.1 400 ")  # refused, and counted as that
    with connect(watched.address, context) as sock:
        assert answer(sock, GET)[0] == 200
        sock.detach()
    until(lambda: watched.board.state().counters["requests"] == 1)
    assert watched.failed() == 0
    assert not watched.said
