"""Clients that misbehave: none ends the worker, holds up another client, or leaves a trace.

Rule: the server is a process of its own and counts itself: descriptors, memory, iterables made
and closed.  A client of good manners keeps asking meanwhile.  What the server owes the others -
a readable refusal, a whole response, nothing - is said for each of them.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import pytest
from apps import TESTS
from apps.client import TIMEOUT, Client, Response, chunked, request
from apps.hostile import BLOCK, FILE_SIZE
from oracles.core import Core, core

from fastwsgi.testing import Process, raw, spawn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BODY_MEMORY = 1000


class Guest:
    """A client of good manners: one connection that must be served whatever others do."""

    def __init__(self, server: Process) -> None:
        self.server = server
        self.client = Client(server.address)
        self.asked = 0

    def ask(self) -> None:
        """One request, one response."""
        self.asked += 1
        text = b"%d" % self.asked
        response = self.client.fetch("/echo", method="POST", body=text)
        assert (response.status, response.body) == (200, text)

    def numbers(self) -> dict[str, int]:
        """What the server holds."""
        numbers: dict[str, int] = json.loads(self.client.fetch("/numbers").body)
        return numbers

    def settled(self, descriptors: int) -> dict[str, int]:
        """What the server holds once it has let go of those who left.

        It may answer before it turns to a connection that has ended, so it is asked until it
        holds so many descriptors and has closed its iterables, or has had every chance to.
        """
        for _ in range(2000):
            numbers = self.numbers()
            if numbers["descriptors"] <= descriptors and numbers["made"] == numbers["closed"]:
                break
        return numbers


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    """One server for all, which must end as it began: by being asked to, with code 0."""
    with spawn("--body-memory", str(BODY_MEMORY), "apps.hostile:app", cwd=TESTS) as running:
        yield running
        assert running.terminate() == 0
        assert "Traceback" not in running.output(), running.output()


@pytest.fixture(scope="module")
def guest(server: Process) -> Iterator[Guest]:
    made = Guest(server)
    yield made
    made.client.close()


def refusal(answer: bytes) -> Response:
    """The one response that `answer` consists of, which must be a readable refusal."""
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.decode("ascii").split("\r\n")
    version, status, reason = line.split(" ", 2)
    response = Response(version, int(status), reason, body=body)
    response.fields = [(name, value) for name, _, value in (
        field.partition(": ") for field in fields)]
    assert response.version == "HTTP/1.1"
    assert response.closes
    assert response.get("Content-Length") == str(len(body))
    assert body.decode("ascii").strip().isprintable()
    return response


# ---- those who say something that is no request, and are told so ----

HELLO = b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


def client_hello() -> bytes:
    """What a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(
            incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


BABBLE = {
    "a TLS hello": (client_hello(), {400}, "TLS"),
    "an SSH banner": (b"SSH-2.0-OpenSSH_9.6\r\n", {400, 505}, ""),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505}, "HTTP/1.1"),
    "SMTP": (b"EHLO mail.example.org\r\n", {400, 505}, ""),
    "a WebSocket frame": (b"\x81\x05hello", {400}, ""),
    "zeros": (bytes(70_000), {400}, ""),
    "all bytes": (bytes(range(256)) * 300, {400}, ""),
    "empty lines": (b"\r\n" * 40_000, {400}, ""),
    "spaces": (b" " * 70_000, {400, 414}, ""),
    "a request line of 100 KB": (b"GET /" + b"a" * 100_000, {414}, "long"),
    "100 KB of a method": (b"G" * 100_000, {400, 414, 501}, ""),
    "100 KB of one field": (
        b"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n", {431}, "long"),
    "100 KB of a name": (
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a" * 100_000 + b": 1\r\n\r\n", {431}, "long"),
    "100 KB of fields": (
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X-A: 123\r\n" * 10_000 + b"\r\n", {431}, "many"),
    "100 KB of long fields": (
        b"GET / HTTP/1.1\r\nHost: h\r\n" + (b"X-A: " + b"a" * 8000 + b"\r\n") * 13 + b"\r\n",
        {431}, "long"),
    "100 KB of trailers": (HELLO + b"0\r\n" + b"X-A: 123\r\n" * 10_000 + b"\r\n", {431}, "many"),
    "100 KB of a chunk extension": (HELLO + b"1;" + b"a" * 100_000 + b"\r\nx", {400}, "long"),
    "a chunk that lies": (HELLO + b"5\r\nabcdefgh\r\n0\r\n\r\n", {400}, "chunk"),
}


@pytest.mark.parametrize("half_close", [False, True], ids=["", "then a half-close"])
@pytest.mark.parametrize("babble", BABBLE.values(), ids=BABBLE.keys())
def test_is_told_what_is_wrong_with(
    server: Process, guest: Guest, babble: tuple[bytes, set[int], str], half_close: bool
) -> None:
    data, statuses, why = babble
    before = guest.numbers()
    for pieces in ([data], [data[:1], data[1:1000], data[1000:]]):
        with Client(server.address) as client:
            for piece in pieces:
                client.send(piece)  # to the end: the server listens on, so that it is heard
            if half_close:
                client.finish_sending()
            response = refusal(client.rest())  # and ends without a reset
        assert response.status in statuses
        assert why.encode() in response.body
        guest.ask()
    after = guest.settled(before["descriptors"])
    assert after["descriptors"] == before["descriptors"]
    assert after["begun"] == before["begun"] + 2  # those of the guest


def test_a_refusal_is_not_overtaken_by_a_reset_when_much_is_left_unread() -> None:
    """All of the input, its end included, is there before the server turns to it."""
    gate = Gate()
    with core(gate) as server, Client(server.address) as first, Client(server.address) as client:
        assert client.fetch("/").status == 200
        first.send(request("/wait"))
        gate.entered.wait(TIMEOUT)
        client.send(b"\x01" + b"x" * 100_000)
        client.finish_sending()
        gate.opened.set()
        assert refusal(client.rest()).status == 400


class Gate:
    """An application that stays inside /wait until it is let go."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/wait":
            self.entered.set()
            self.opened.wait(TIMEOUT)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read()]


def test_a_tls_client_gets_an_error_at_once_and_not_a_timeout(server: Process) -> None:
    with socket.create_connection(server.address, TIMEOUT) as plain, \
            pytest.raises(ssl.SSLError):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")


def test_noise_is_refused_or_ignored_and_never_becomes_a_request(
    server: Process, guest: Guest
) -> None:
    noise = random.Random("noise")
    before = guest.numbers()
    for _ in range(100):
        raw(server.address, noise.randbytes(noise.randint(1, 3000)), half_close=True)
    after = guest.settled(before["descriptors"])
    assert after["begun"] == before["begun"]
    assert after["descriptors"] == before["descriptors"]


# ---- those who are odd, but right ----


def odd_requests() -> Iterator[tuple[str, list[bytes], bytes]]:
    """(name, pieces as they are sent, the body that they carry)."""
    plain = request("/echo", "X-A: b", method="POST", body=b"a body that comes slowly")
    yield "a request in single bytes", [bytes([byte]) for byte in plain], plain[-24:]
    framed = HELLO + chunked(b"one", b"two", trailers=b"X-T: 1\r\n")
    yield "a chunked request in single bytes", [bytes([byte]) for byte in framed], b"onetwo"
    tiny = [b"1\r\n%c\r\n" % (97 + at % 26) for at in range(10_000)]
    letters = bytes(97 + at % 26 for at in range(10_000))
    yield "10,000 tiny chunks at once", [HELLO + b"".join(tiny) + b"0\r\n\r\n"], letters
    yield "10,000 tiny chunks one by one", [HELLO, *tiny, b"0\r\n\r\n"], letters
    large = random.Random("large").randbytes(300_000)
    yield "300 KB in odd pieces", [
        request("/echo", "Content-Length: 300000", method="POST"),
        *(large[at : at + 7919] for at in range(0, len(large), 7919))], large
    yield "an extension on each of 2,000 chunks", [
        HELLO + b"1;x=\"yz\"\r\na\r\n" * 2000 + b"0;end\r\n\r\n"], b"a" * 2000
    yield "95 fields", [request(
        "/echo", *(f"X-{at}: {at}" for at in range(95)), method="POST", body=b"fields")], b"fields"


ODD = {name: (pieces, body) for name, pieces, body in odd_requests()}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("half_close", [False, True], ids=["", "then a half-close"])
def test_is_served_with(
    server: Process, guest: Guest, odd: tuple[list[bytes], bytes], half_close: bool
) -> None:
    pieces, body = odd
    before = guest.numbers()
    with Client(server.address) as client:
        for at, piece in enumerate(pieces):
            client.send(piece)
            if at % max(1, len(pieces) // 8) == 0:
                guest.ask()
        if half_close:
            client.finish_sending()
        response = client.response()
        assert (response.status, response.body) == (200, body)
        if half_close:
            assert client.ended()
    after = guest.settled(before["descriptors"])
    assert after["descriptors"] == before["descriptors"]


def test_urgent_data_is_no_part_of_the_stream(server: Process, guest: Guest) -> None:
    with Client(server.address) as client:
        client.send(b"GET /echo HTTP/1.1\r\nHo")
        client.socket.send(b"!", socket.MSG_OOB)
        client.send(b"st: h\r\n\r\n")
        guest.ask()
        assert client.response().status == 200


# ---- those who leave ----

CUT = request("/echo", "X-A: b", method="POST", body=b"x" * 50)
CUT_LARGE = request("/echo", "Content-Length: 5000", method="POST") + b"x" * 3000
CUT_CHUNKS = HELLO + chunked(b"x" * 40, b"y" * 3000)
PIPELINE = request("/echo", method="POST", body=b"pipelined") * 100

Departure = Callable[[Client], None]


def leave(client: Client) -> None:
    """Close, as a client that has had enough."""
    client.close()


def reset(client: Client) -> None:
    """Close with a reset, as a client that is killed."""
    client.reset()


def half_close(client: Client) -> None:
    """Say that no more will come, take what does come, and leave."""
    client.finish_sending()
    with contextlib.suppress(ConnectionError):
        client.rest()
    client.close()


def unfinished() -> Iterator[tuple[str, bytes]]:
    """Requests cut off at places of every kind."""
    yield "nothing", b""
    for at in (1, 4, 20, 22, 30, CUT.index(b"\r\n\r\n") + 2, CUT.index(b"\r\n\r\n") + 3):
        yield f"{at} bytes of a head", CUT[:at]
    yield "an empty line", b"\r\n"
    yield "a head without its body", CUT[:-50]
    yield "half of a body", CUT[:-25]
    yield "a body in a file", CUT_LARGE
    for at in (1, 2, 4, 10, 44, 46, 50, 3000):
        yield f"{at} bytes of a chunked body", CUT_CHUNKS[: len(HELLO) + at]
    yield "a last chunk without its end", CUT_CHUNKS[:-2]
    yield "a request that waits for 100", CUT[:-50].replace(b"X-A: b", b"Expect: 100-continue")
    yield "a request and half of another", request("/echo") + CUT[:-25]


def answered() -> Iterator[tuple[str, bytes, int]]:
    """(name, what is sent, bytes of the response that are read before leaving)."""
    yield "before the response", request("/echo"), 0
    yield "before any of 100 responses", PIPELINE, 0
    yield "after some of 100 responses", PIPELINE, 1000
    for path in ("/stream", "/write?400", "/file"):
        yield f"before {path}", request(path), 0
        yield f"in the head of {path}", request(path), 10
        yield f"in the middle of {path}", request(path), 200_000
    yield "in /stream with more to come", request("/stream") + PIPELINE, 100_000


LEAVING = {
    **{f"after {name}": (data, 0) for name, data in unfinished()},
    **{name: (data, size) for name, data, size in answered()},
}
WAYS: dict[str, Departure] = {"leaves": leave, "is reset": reset}


def go(address: tuple[str, int], data: bytes, size: int, depart: Departure) -> None:
    """Be that client."""
    client = Client(address)
    client.send(data)
    if size:
        client.exactly(size)
    depart(client)


@pytest.mark.parametrize("depart", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("case", LEAVING.values(), ids=LEAVING.keys())
def test_nothing_is_left_of_a_client_that(
    server: Process, guest: Guest, case: tuple[bytes, int], depart: Departure
) -> None:
    before = guest.numbers()
    for _ in range(5):
        go(server.address, *case, depart)
        guest.ask()
    after = guest.settled(before["descriptors"])
    assert after["descriptors"] == before["descriptors"]
    assert after["made"] == after["closed"]
    assert after["pid"] == before["pid"]


@pytest.mark.parametrize("data", dict(unfinished()).values(), ids=dict(unfinished()).keys())
def test_gets_no_response_to_an_unfinished_request_but_the_end(
    server: Process, guest: Guest, data: bytes
) -> None:
    before = guest.numbers()
    answer = raw(server.address, data, timeout=TIMEOUT, half_close=True)
    whole = int(data.startswith(request("/echo")))
    assert answer.count(b"HTTP/1.1 200") == whole
    assert answer.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"") == b"" or whole
    after = guest.settled(before["descriptors"])
    assert after["descriptors"] == before["descriptors"]
    assert after["begun"] == before["begun"] + whole


WHOLE = {
    "an echo": (request("/echo", method="POST", body=b"z" * 3000), 3000),
    "a stream": (request("/stream?20"), 20 * len(BLOCK)),
    "a file": (request("/file"), FILE_SIZE),
}


@pytest.mark.parametrize("case", WHOLE.values(), ids=WHOLE.keys())
def test_a_half_close_behind_a_request_costs_nothing_of_the_response(
    server: Process, guest: Guest, case: tuple[bytes, int]
) -> None:
    data, size = case
    with Client(server.address) as client:
        client.send(data)
        client.finish_sending()
        guest.ask()
        response = client.response()
        assert len(response.body) == size
        assert client.ended()


# ---- many of them at once ----


def test_a_crowd_in_every_unfinished_state_holds_up_nobody(server: Process, guest: Guest) -> None:
    # without those that have the application itself wait, inside write(), on its only thread
    requests = [data for data, _ in LEAVING.values() if b"/write" not in data]
    before = guest.numbers()
    crowd = []
    for data in requests * 6:
        crowd.append(Client(server.address))
        crowd[-1].send(data)
    for _ in range(20):
        guest.ask()
    with Client(server.address) as other:  # and somebody new is let in
        assert other.fetch("/echo").status == 200
    assert guest.numbers()["descriptors"] > before["descriptors"] + len(crowd) / 2
    for at, client in enumerate(crowd):
        (leave, reset, half_close_and_leave)[at % 3](client)
    after = guest.settled(before["descriptors"])
    assert after["descriptors"] == before["descriptors"]
    assert after["made"] == after["closed"]
    assert after["pid"] == before["pid"]


def half_close_and_leave(client: Client) -> None:
    """Say that no more will come, and leave at once."""
    with contextlib.suppress(OSError):
        client.finish_sending()
    client.close()


def test_a_thousand_of_them_leave_no_memory_behind(server: Process, guest: Guest) -> None:
    cases = list(LEAVING.values()) + [(data, 0) for data, _, _ in BABBLE.values()]

    def all_of_them(rounds: int) -> dict[str, int]:
        start = guest.numbers()["descriptors"]
        for _ in range(rounds):
            for at, case in enumerate(cases):
                with contextlib.suppress(ConnectionError):  # refused while it still talks
                    go(server.address, *case, (leave, reset)[at % 2])
        return guest.settled(start)

    all_of_them(5)
    before = all_of_them(1)
    rounds = 1000 // len(cases)
    after = all_of_them(rounds)
    assert after["descriptors"] == before["descriptors"]
    assert after["blocks"] - before["blocks"] < rounds * len(cases) / 4
    if after["resident"] is not None:
        assert after["resident"] - before["resident"] < 1 << 20


# ---- what the server counts ----


@pytest.fixture(scope="module")
def counting() -> Iterator[Core]:
    with core(Gate()) as server:
        yield server


ENDINGS = {
    "a whole request": (request("/"), half_close, ""),
    "a refused request": (b"\x01", half_close, "refused"),
    "the end in a head": (CUT[:20], half_close, "truncated"),
    "the end in a body": (CUT[:-1], half_close, "truncated"),
    "the end in a chunked body": (CUT_CHUNKS[:-2], half_close, "truncated"),
    "no word at all": (b"", half_close, ""),
    "a reset in a head": (CUT[:20], reset, "broken"),
    "a reset in a body": (CUT[:-1], reset, "broken"),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_is_counted_once(counting: Core, ending: tuple[bytes, Departure, str]) -> None:
    data, depart, counter = ending
    counting.settle()
    before = counting.worker.stats()
    for _ in range(3):
        go(counting.address, data, 0, depart)
    counting.settle()
    after = counting.worker.stats()
    grown = {name: after[name] - before[name]
             for name in ("refused", "truncated", "broken", "timeouts", "app_errors")}
    assert grown == {name: 3 * (name == counter) for name in grown}
    assert after["accepted"] - before["accepted"] == 3 + 1  # one to see that all is settled
