"""A server that has served 20,000 requests of every kind holds what it held before.

Rule: the server process counts itself and answers with its numbers.  Every kind of request comes
a thousand times, so an object or a buffer that one of them leaves behind shows as a thousand;
the bounds below leave room for what caches and the allocator do, far less than that.
"""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from pathlib import Path

from apps import TESTS
from apps.client import Address, Client, chunked, fetch, request

from fastwsgi.testing import spawn

ROUNDS = 1000
WARM_UP = 150

# One round in one pipeline: (request, its method, the status that it earns).
PIPELINE = [
    (request("/list"), "GET", 200),
    (request("/list?a=1&b=2", "Cookie: a=1", "Accept: */*", "X-Odd: \xe9"), "GET", 200),
    (request("/list", method="HEAD"), "HEAD", 200),
    (request("/list", method="POST", body=b"small"), "POST", 200),
    (request("/list", method="POST", body=b"kept in a file" * 100), "POST", 200),
    (request("/blocks", method="PUT", body=b"kept in a file" * 100), "PUT", 200),
    (request("/list", "Transfer-Encoding: chunked", method="POST") + chunked(b"a", b"b"), "", 200),
    (request("/blocks"), "GET", 200),
    (request("/blocks", method="HEAD"), "HEAD", 200),
    (request("/write"), "GET", 200),
    (request("/file"), "GET", 200),
    (request("/virtual"), "GET", 200),
    (request("/none"), "GET", 204),
    (request("/headers"), "GET", 200),
]
DATA = b"".join(data for data, _, _ in PIPELINE)

# One round in connections of their own, which the server closes: (request, status).
ALONE = [
    (request("/boom", "Connection: close"), 500),
    (request("/late"), 200),
    (request("/short"), 200),
    (request("/refused", "Connection: close"), 500),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
]

# And one whose client leaves in the middle of its body.
LEFT = request("/list", "Content-Length: 5000", method="POST") + b"x" * 2000

PER_ROUND = len(PIPELINE) + len(ALONE) + 1
BOUNDS = {
    "references": ROUNDS // 4,
    "blocks": ROUNDS // 4,
    "objects": ROUNDS // 10,
    "descriptors": 0,
    "resident": 1 << 20,
}


def serve_rounds(address: Address, count: int) -> None:
    """Send `count` rounds."""
    with Client(address) as client:
        for _ in range(count):
            client.send(DATA)
            for _, method, status in PIPELINE:
                assert client.response(method).status == status
            for data, status in ALONE:
                with Client(address) as other:
                    other.send(data)
                    assert other.head().status == status
                    other.rest()
            with Client(address) as other:
                other.send(LEFT)


def numbers(address: Address) -> dict[str, int | None]:
    """What the server holds when it has let go of every client that left.

    It may answer a request before it turns to a connection that has ended, so it is asked, over
    one connection, until it holds no fewer descriptors than the time before, ten times running.
    """
    with Client(address) as client:
        least = json.loads(client.fetch("/numbers").body)
        same = 0
        for _ in range(200):
            now = json.loads(client.fetch("/numbers").body)
            same = same + 1 if now["descriptors"] >= least["descriptors"] else 0
            if now["descriptors"] <= least["descriptors"]:
                least = now
            if same == 10:
                break
    return least  # type: ignore[no-any-return]


def held_bounds(before: dict[str, int | None], after: dict[str, int | None]) -> None:
    """Assert that what the server holds has not grown past the bounds."""
    grown = {
        name: now - then
        for name, then in before.items()
        if then is not None and (now := after[name]) is not None
    }
    assert "blocks" in grown
    assert {name: by for name, by in grown.items() if by > BOUNDS[name]} == {}, grown


def test_twenty_thousand_mixed_requests_leave_nothing_behind() -> None:
    assert PER_ROUND * ROUNDS >= 20_000
    with spawn("--body-memory", "1000", "apps.counters:app", cwd=TESTS) as server:
        serve_rounds(server.address, WARM_UP)
        before = numbers(server.address)
        serve_rounds(server.address, ROUNDS)
        after = numbers(server.address)
    held_bounds(before, after)


# -- several threads ---------------------------------------------------------------------------

THREADS = VISITORS = 4
READERS = 2  # of each visitor at the same time: more in all than there are threads
LARGE = 12 * 65536  # what /large streams


def read_slowly(address: Address) -> None:
    """Large responses that are set aside: some are read to their end, the others' clients leave."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(address)) for _ in range(READERS)]
        for client in clients:
            client.send(request("/large"))
        for client in clients:
            assert client.head().status == 200
        clients.pop().reset()
        for client in clients:
            assert sum(map(len, client.chunks())) == LARGE


def leave_behind_requests(address: Address) -> None:
    """A pipeline whose client reads the first response and leaves."""
    with Client(address) as client:
        client.send(request("/list") * 5 + request("/pause") * 3)
        assert client.response().status == 200
        client.reset()


def visit(address: Address, count: int) -> None:
    """Send `count` rounds of what one visitor asks for, with other requests among them."""
    with Client(address) as client:
        for _ in range(count):
            assert client.fetch("/pause", method="PUT", body=b"kept in a file" * 100).status == 200
            serve_rounds(address, 1)
            read_slowly(address)
            leave_behind_requests(address)


def visit_together(address: Address, rounds: int) -> None:
    """Share so many rounds among visitors that come at the same time."""
    done: list[None] = []

    def go() -> None:
        visit(address, rounds // VISITORS)
        done.append(None)

    visitors = [threading.Thread(target=go, daemon=True) for _ in range(VISITORS)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert len(done) == VISITORS


def test_twenty_thousand_requests_to_several_threads_leave_nothing_behind(tmp_path: Path) -> None:
    """Over a unix socket, whose buffers do not grow: what is not read is set aside."""
    assert (PER_ROUND + READERS + 2) * ROUNDS >= 20_000
    command = ("--bind", f"unix:{tmp_path}/socket", "--threads", str(THREADS))
    with spawn(*command, "--body-memory", "1000", "apps.counters:app", cwd=TESTS) as server:
        with ExitStack() as stack:
            for _ in range(THREADS + 1):
                client = stack.enter_context(Client(server.address))
                client.send(request("/large"))
                assert client.head().status == 200
            assert fetch(server.address, "/open").body == str(THREADS + 1).encode()
        visit_together(server.address, WARM_UP)
        before = numbers(server.address)
        visit_together(server.address, ROUNDS)
        after = numbers(server.address)
        assert fetch(server.address, "/open").body == b"0"
    held_bounds(before, after)
