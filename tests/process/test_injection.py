"""A real server process whose system calls fail by schedule, and a client that checks every byte.

tests/injection/shim.c is preloaded into the server. What a careful program has
to bear without anybody noticing (interruptions, short reads and writes, "not now") may cost no
response at all. What takes a connection away may cost that connection, and nothing else: whatever
arrives is right as far as it goes, and the server, the same process, serves on when it is over.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from apps import TESTS
from apps.ahead import sampled
from apps.client import Client, chunked, request
from apps.faults import Injected, needs_injection
from apps.injected import SECRET, SWAPPED, pattern, proof

from fastwsgi import testing

pytestmark = needs_injection


# Nobody may notice these.
BEARABLE = {
    "interrupted": "recv=EINTR/2,send=EINTR/2,sendmsg=EINTR/2,sendfile=EINTR/2,accept4=EINTR/2,"
    "epoll_wait=EINTR/3,write=EINTR/2,pread=EINTR/2",
    "not-now": "recv=EAGAIN/3,send=EAGAIN/3,sendmsg=EAGAIN/3,sendfile=EAGAIN/3,accept4=EAGAIN/3",
    "short": "recv=1000/2,send=1000/2,sendmsg=1000/2,sendfile=1000/2,write=1000/2,pread=1000/2",
    "one-byte-in": "recv=1/2",
    "one-byte-out": "send=1/2,sendmsg=1/2,sendfile=1/2",
    "clients-that-changed-their-mind": "accept4=ECONNABORTED/2,accept4=EPERM/5",
    "no-sendfile": "sendfile=EINVAL/2,pread=17/3,pread=EINTR/4",
    "no-descriptors-for-a-moment": "accept4=EMFILE/3,accept4=ENFILE/5",
    "everything": "recv=EINTR/7,recv=EAGAIN/5,recv=3/3,send=EINTR/7,send=EAGAIN/5,send=3/3,"
    "sendmsg=EINTR/7,sendmsg=EAGAIN/5,sendmsg=3/3,sendfile=EINTR/7,sendfile=EAGAIN/5,"
    "sendfile=333/3,accept4=EINTR/3,epoll_wait=EINTR/5,write=EINTR/3,write=777/2,pread=777/2",
}

# These take connections, or single requests.
COSTLY = {
    "resets": "recv=ECONNRESET/5,send=EPIPE/7,sendmsg=ECONNRESET/7,sendfile=ECONNRESET/3",
    "no-registration": "epoll_ctl=ENOMEM/5,epoll_ctl=ENOSPC/9",
    "no-room-for-bodies": "open=EMFILE/4,open=ENOSPC/3,write=ENOSPC/29,write=EIO/37",
    "unreadable-bodies": "pread=EIO/2",
    "broken-lines": "recv=ETIMEDOUT/11,send=ECONNRESET/13",
    "no-socket-memory": "send=ENOBUFS/5,recv=ENOMEM/7,accept4=ENOMEM/9",
    "no-memory": "malloc=ENOMEM/5",
    "now-and-then-no-memory": "malloc=ENOMEM/17",
    "no-goodbye": "shutdown=ENOTCONN/2,recv=ECONNRESET/9",
}

if "asan" in os.environ.get("LD_PRELOAD", ""):  # a sanitizer hands out memory itself
    COSTLY = {name: schedule for name, schedule in COSTLY.items() if "malloc" not in schedule}

COMMAND = ("--body-memory", "20000", "apps.injected:app")

Exchange = tuple[str, bytes, bytes]


def exchanges(rounds: int) -> Iterator[Exchange]:
    """Method, request and body of the response: all ways in and out, in several sizes."""
    for number in range(rounds):
        yield "GET", request(f"/list/{number}"), pattern(number)
        for size in (10, 9000, 70_000, 1_500_000):
            body = pattern(size + number)
            yield "POST", request("/echo", method="POST", body=body), proof("POST", "/echo", body)
        body = pattern(120_000)
        head = request("/echo", "Transfer-Encoding: chunked", method="PUT")
        pieces = [body[at : at + 7001] for at in range(0, len(body), 7001)]
        yield "PUT", head + chunked(*pieces, trailers=b"T: t\r\n"), proof("PUT", "/echo", body)
        for kind in ("list", "blocks", "write", "file"):
            for size in (5, 30_000, 900_000):
                yield "GET", request(f"/{kind}/{size + number}"), pattern(size + number)


def check_all(client: Client, rounds: int) -> None:
    for method, sent, expected in exchanges(rounds):
        client.send(sent)
        response = client.response(method)
        assert response.status == 200, response
        assert response.body == expected, sent[:60]


@pytest.mark.parametrize("schedule", BEARABLE.values(), ids=BEARABLE.keys())
def test_nobody_notices(tmp_path: Path, shims: dict[bool, Path], schedule: str) -> None:
    injected = Injected(tmp_path, shims, schedule)
    with testing.spawn(*COMMAND, env=injected.environ, cwd=TESTS) as server:
        address = (server.host, server.port)
        with Client(address) as resident:
            for visit in sampled(range(4), range(2)):
                with Client(address) as visitor:
                    check_all(visitor, 1)
                resident.send(request("/list/77") * 10)  # pipelined
                for _ in range(10):
                    assert resident.response().body == pattern(77)
                resident.send(request(f"/blocks/{visit}"))
                assert resident.response().body == pattern(visit)
        assert injected.unused() == []
        assert server.terminate() == 0
    assert "Traceback" not in server.output()


def answer_to(address: tuple[str, int], sent: bytes) -> bytes:
    """All that arrives on a connection of its own, however it ends."""
    received = []
    with socket.create_connection(address, timeout=20) as connection:
        with contextlib.suppress(ConnectionError):  # refused midway: the reason may have come
            connection.sendall(sent)
        with contextlib.suppress(ConnectionError):
            while block := connection.recv(1 << 16):
                received.append(block)
    return b"".join(received)


def unchunked(data: bytes) -> bytes:
    """The chunks of a body as far as they came."""
    body = b""
    while b"\r\n" in data:
        size, _, data = data.partition(b"\r\n")
        body += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return body


def check_as_far_as_it_came(answer: bytes, expected: bytes) -> bool:
    """Whether the response is whole; what there is of it is right."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        assert b"HTTP/1.1 "[: len(head)] == head[:9]
        return False
    status = int(head.split(None, 2)[1])
    if status != 200:
        assert status in (408, 500, 503, 507), answer
        return False
    if b"\r\nTransfer-Encoding: chunked" in head:
        body = unchunked(body)
    assert expected.startswith(body), head
    return body == expected


@pytest.mark.parametrize("schedule", COSTLY.values(), ids=COSTLY.keys())
def test_only_the_connection_at_hand_is_lost(
    tmp_path: Path, shims: dict[bool, Path], schedule: str
) -> None:
    injected = Injected(tmp_path, shims, schedule)
    with testing.spawn(*COMMAND, env=injected.environ, cwd=TESTS) as server:
        address = (server.host, server.port)
        whole = 0
        for _ in sampled(range(3), range(2)):
            # whose end the server lingers for
            assert b" 200 " not in answer_to(address, b"GET / nonsense\r\n\r\n")
            for _, sent, expected in exchanges(1):
                closing = sent.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
                whole += check_as_far_as_it_came(answer_to(address, closing), expected)
        assert whole > 0
        assert injected.unused() == []
        injected.stop()
        with Client(address) as client:
            check_all(client, 1)
        assert server.terminate() == 0
    assert "ended unexpectedly" not in server.output()


def closing(sent: bytes) -> bytes:
    """The same request, the last on its connection."""
    return sent.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def fields(count: int) -> tuple[str, ...]:
    return tuple(f"X-Field-{number}: value {number}" for number in range(count))


def upload(size: int) -> bytes:
    body = pattern(size)
    pieces = [body[at : at + 7001] for at in range(0, len(body), 7001)]
    return request("/echo", "Transfer-Encoding: chunked", method="PUT") + chunked(*pieces)


#: What a client asks, and the body of the right answer (None: a refusal is the right one).
REQUESTS: dict[str, tuple[bytes, bytes | None]] = {
    "plain": (request("/list/10"), pattern(10)),
    "fields": (request("/list/11", *fields(14)), pattern(11)),
    "many-fields": (request("/list/12", *fields(60)), pattern(12)),
    "posted": (
        request("/echo", method="POST", body=pattern(900)),
        proof("POST", "/echo", pattern(900)),
    ),
    "to-a-file": (
        request("/echo", method="POST", body=pattern(70_000)),
        proof("POST", "/echo", pattern(70_000)),
    ),
    "chunked": (upload(9000), proof("PUT", "/echo", pattern(9000))),
    "chunked-to-a-file": (upload(120_000), proof("PUT", "/echo", pattern(120_000))),
    "large": (request("/list/900000"), pattern(900_000)),
    "streamed": (request("/blocks/300000"), pattern(300_000)),
    "written": (request("/write/300000"), pattern(300_000)),
    "file": (request("/file/300000"), pattern(300_000)),
    "refused": (b"GET / nonsense\r\n\r\n", None),
    "without-host": (b"GET / HTTP/1.1\r\n\r\n", None),
}
MOST_ALLOCATIONS = 600
STARVED = 400  #: allocations of the interpreter, more than the server needs for any of these
SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")
#: What is asked while the interpreter starves: a few where everything takes ten times as long, a
#: sample in the suite, all of it in `make thorough`.
SAMPLE = ("plain", "posted", "chunked-to-a-file", "streamed", "file", "refused", "without-host")
STARVING = (*SAMPLE[:2], "streamed", "refused") if SANITIZED else sampled(tuple(REQUESTS), SAMPLE)
UNHARMED = 30  #: right answers in a row behind which no allocation is to be expected
LOGGED = ("--access-logfile", os.devnull, "--access-logformat", "%(r)s %({x-y}e)s %({x-z}o)s")


def is_right(sent: bytes, expected: bytes | None, answer: bytes) -> bool:
    """Whether the answer is the right one; what there is of it is no wrong one."""
    if expected is not None:
        return check_as_far_as_it_came(answer, expected)
    assert not answer or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 503 ")), answer
    return answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.skipif(SANITIZED, reason="needs a hold on memory")
@pytest.mark.parametrize("options", sampled([(), LOGGED[:2]], [LOGGED[:2]]))
def test_any_allocation_of_the_core_may_fail(
    tmp_path: Path, shims: dict[bool, Path], options: tuple[str, ...]
) -> None:
    injected = Injected(tmp_path, shims, "malloc=ENOMEM/0")
    with testing.spawn(*options, *COMMAND, env=injected.environ, cwd=TESTS) as server:
        address = (server.host, server.port)
        failed = 0
        for name, (sent, expected) in REQUESTS.items():
            last = closing(sent) if expected is not None else sent
            for number in range(1, MOST_ALLOCATIONS):
                injected.arm(number)
                right = is_right(last, expected, answer_to(address, last))
                met = not injected.armed()
                injected.arm(0)
                assert is_right(last, expected, answer_to(address, last)), (name, number)
                if not met:
                    assert right, (name, number)
                    break
                failed += 1
            else:
                pytest.fail(f"{name}: no end of allocations")
        assert failed > len(REQUESTS)
        with Client(address) as client:
            check_all(client, 1)
        assert server.terminate() == 0
    assert "ended unexpectedly" not in server.output()


needs_shortage = pytest.mark.skipif(
    importlib.util.find_spec("_testcapi") is None, reason="needs an interpreter with _testcapi"
)


def starved(options: tuple[str, ...]) -> contextlib.AbstractContextManager[testing.Process]:
    return testing.spawn(*options, *COMMAND[:-1], "apps.starved:app", cwd=TESTS)


def check_sated(address: tuple[str, int]) -> None:
    """Memory is there again; what was left of the shortage may take the first request."""
    answers = [answer_to(address, closing(request("/sated"))) for _ in range(2)]
    assert answers[1].endswith(b"sated"), answers


def check_survived(server: testing.Process) -> None:
    assert server.terminate() == 0
    output = server.output()
    assert "ended unexpectedly" not in output
    assert "the worker failed" not in output


@needs_shortage
@pytest.mark.parametrize("options", sampled([(), LOGGED], [LOGGED]))
def test_any_allocation_of_the_interpreter_before_the_application_may_fail(
    options: tuple[str, ...]
) -> None:
    with starved(options) as server:
        address = (server.host, server.port)
        for name in STARVING:
            sent, expected = REQUESTS[name]
            last = closing(sent) if expected is not None else sent
            right = 0
            for number in range(STARVED):
                answer_to(address, closing(request(f"/starve/{number}")))
                right = right + 1 if is_right(last, expected, answer_to(address, last)) else 0
                check_sated(address)
                assert is_right(last, expected, answer_to(address, last)), (name, number)
                if right == UNHARMED:
                    break
            assert right == UNHARMED, name
        check_survived(server)


@needs_shortage
@pytest.mark.parametrize("options", sampled([(), LOGGED], [LOGGED]))
def test_any_allocation_of_the_interpreter_behind_the_application_may_fail(
    options: tuple[str, ...]
) -> None:
    with starved(options) as server:
        address = (server.host, server.port)
        for name in STARVING:
            sent, expected = REQUESTS[name]
            if expected is None:
                continue
            right = 0
            for number in range(STARVED):
                late = closing(sent.replace(b"\r\n", f"\r\nX-Starve: {number}\r\n".encode(), 1))
                right = right + 1 if is_right(sent, expected, answer_to(address, late)) else 0
                check_sated(address)
                assert is_right(sent, expected, answer_to(address, closing(sent))), (name, number)
                if right == UNHARMED:
                    break
            assert right == UNHARMED, name
        check_survived(server)


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="needs a hold on memory")
def test_without_memory_no_other_file_is_sent_in_place_of_a_closed_one(
    tmp_path: Path, shims: dict[bool, Path]
) -> None:
    expected = b"first" + pattern(SWAPPED)
    outcomes = []
    injected = Injected(tmp_path, shims, "malloc=ENOMEM/0")
    with testing.spawn(*COMMAND, env=injected.environ, cwd=TESTS) as server:
        for number in range(1, 13):  # the allocation for the request that fails
            injected.arm(number)
            answer = answer_to((server.host, server.port), request("/swapped", "Connection: close"))
            injected.arm(0)
            assert SECRET not in answer.partition(b"\r\n\r\n")[2]
            outcomes.append(check_as_far_as_it_came(answer, expected))
    assert set(outcomes) == {False, True}
