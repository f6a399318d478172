"""A server that has served 20,000 requests of every kind holds what it held before.

Rule: the server process counts itself and answers with its numbers.  Every kind of request comes
a thousand times, so an object or a buffer that one of them leaves behind shows as a thousand;
the bounds below leave room for what caches and the allocator do, far less than that.
"""

from __future__ import annotations

import json
from pathlib import Path

from apps.client import Address, Client, chunked, request

from fastwsgi.testing import spawn

TESTS = Path(__file__).parent
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


def test_twenty_thousand_mixed_requests_leave_nothing_behind() -> None:
    assert PER_ROUND * ROUNDS >= 20_000
    with spawn("--body-memory", "1000", "apps.counters:app", cwd=TESTS) as server:
        serve_rounds(server.address, WARM_UP)
        before = numbers(server.address)
        serve_rounds(server.address, ROUNDS)
        after = numbers(server.address)
    grown = {
        name: now - before[name]
        for name, now in after.items()
        if now is not None and before[name] is not None
    }
    assert "blocks" in grown
    assert {name: by for name, by in grown.items() if by > BOUNDS[name]} == {}, grown
