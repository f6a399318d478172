"""Streams cut at random places, and clients that leave at random moments, several at a time.

Rule: how a stream is cut never shows in what is made of it; a request that has not come whole is
never seen; whoever leaves, and however, nothing of it stays: no connection, no open iterable, and
the counters add up.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from apps.client import Client, chunked, request
from conformance.cases import short_requests
from hypothesis import given
from hypothesis import strategies as st
from oracles.bounds import bounded
from oracles.core import Core, core
from oracles.decisions import Recorder
from oracles.requests import spoilt, valid_requests

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# ---- cuts ----


@st.composite
def pieces_of(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same bytes in pieces: single ones, some, or cut where lines end."""
    how = draw(st.sampled_from(("places", "places", "line ends", "bytes")))
    if how == "bytes" and len(data) < 400:
        return [data[at : at + 1] for at in range(len(data))]
    if how == "line ends":
        marks = [at + draw(st.integers(0, 1)) for at, byte in enumerate(data) if byte in b"\r\n"]
        places = set(marks[:60])
    else:
        places = set(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    ends = sorted({0, len(data), *places})
    return [data[at:end] for at, end in itertools.pairwise(ends)]


CASES = short_requests()
streams = st.lists(
    st.one_of(valid_requests().map(lambda request: request.data), st.sampled_from(CASES),
              spoilt(st.sampled_from(CASES))),
    min_size=1, max_size=3).map(b"".join)


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    with core(made, body_memory=10) as server:
        made.address = server.address
        yield made


@bounded(150)
@given(st.data())
def test_the_decision_is_the_same_however_a_stream_is_cut(
    recorder: Recorder, data: st.DataObject
) -> None:
    stream = data.draw(streams)
    whole = recorder.decide([stream])
    assert recorder.decide(data.draw(pieces_of(stream))) == whole


# ---- departures ----

BIG = b"big" * 100_000


class Ledger:
    """An application that books every request that begins and every iterable that is closed."""

    def __init__(self) -> None:
        self.begun: dict[str, list[bytes]] = {}
        self.open = 0

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/settle":
            start_response("204 No Content", [])
            return []
        body = environ["wsgi.input"].read()
        self.begun.setdefault(environ["PATH_INFO"], []).append(body)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Booked(self, response_to(environ["QUERY_STRING"], body))


class Booked:
    """The blocks of one response."""

    def __init__(self, ledger: Ledger, blocks: list[bytes]) -> None:
        self.ledger, self.blocks = ledger, blocks
        ledger.open += 1

    def __iter__(self) -> Iterator[bytes]:
        yield from self.blocks

    def close(self) -> None:
        self.ledger.open -= 1


def response_to(kind: str, body: bytes) -> list[bytes]:
    """The blocks of the response of that kind."""
    return {"echo": [body], "blocks": [body] * 20, "big": [BIG, body], "none": []}[kind]


@dataclass(frozen=True)
class Asked:
    """One request of a script."""

    data: bytes
    kind: str
    body: bytes


@st.composite
def asked(draw: st.DrawFn, name: str) -> Asked:
    """A request whose path is `name`, with a body in memory, in a file, or in chunks."""
    kind = draw(st.sampled_from(("echo", "blocks", "big", "none")))
    body = draw(st.sampled_from((b"", b"x", b"small", b"memory" * 80, b"file" * 1500)))
    target = f"/{name}?{kind}"
    if draw(st.booleans()):
        size = draw(st.integers(1, 2000))
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        data = request(target, "Transfer-Encoding: chunked", method="PUT") + chunked(*pieces)
        return Asked(data, kind, body)
    return Asked(request(target, method="POST", body=body), kind, body)


@dataclass
class Script:
    """What one client does: it sends its pieces, reads some responses, and leaves."""

    name: str
    requests: list[Asked]
    end: int
    """Bytes of the stream that are sent."""
    pieces: list[bytes]
    reads: int
    """Responses that are read before leaving."""
    leaves: str

    @property
    def whole(self) -> int:
        """Requests that are sent to their end."""
        count, at = 0, 0
        for one in self.requests:
            at += len(one.data)
            count += at <= self.end
        return count

    @property
    def truncated(self) -> bool:
        """Whether it leaves inside a request."""
        return self.end > sum(len(one.data) for one in self.requests[: self.whole])

    def play(self, server: Core) -> Iterator[None]:
        """One step at a time."""
        client = Client(server.address)
        yield
        for piece in self.pieces:
            client.send(piece)
            yield
        if self.leaves == "half-closes":
            client.finish_sending()
            yield
            self.reads = self.whole
        for one in self.requests[: min(self.reads, self.whole)]:
            assert client.response().body == b"".join(response_to(one.kind, one.body))
            yield
        if self.leaves == "half-closes":
            assert client.rest() == b""
        (client.reset if self.leaves == "is reset" else client.close)()


@st.composite
def scripts(draw: st.DrawFn, name: str) -> Script:
    """A script whose requests all go to the path `name`."""
    requests = [draw(asked(name)) for _ in range(draw(st.integers(1, 4)))]
    stream = b"".join(one.data for one in requests)
    end = draw(st.one_of(st.just(len(stream)), st.integers(0, len(stream))))
    leaves = draw(st.sampled_from(("closes", "is reset", "half-closes")))
    return Script(name, requests, end, draw(pieces_of(stream[:end])),
                  draw(st.integers(0, 4)), leaves)


def interleave(scripts: list[Script], turns: list[int], server: Core) -> None:
    """Play the scripts, a step of one and a step of another."""
    plays: list[Iterator[Any]] = [script.play(server) for script in scripts]
    for turn in turns:
        next(plays[turn % len(plays)], None)
    for play in plays:
        for _ in play:
            pass


@pytest.fixture(scope="module")
def ledger() -> Iterator[tuple[Ledger, Core]]:
    made = Ledger()
    with core(made, body_memory=1000) as server:
        yield made, server
    assert made.open == 0


@bounded(120)
@given(st.data())
def test_nothing_stays_of_clients_that_leave_at_random(
    ledger: tuple[Ledger, Core], data: st.DataObject
) -> None:
    book, server = ledger
    cast = [data.draw(scripts(name)) for name in "abc"[: data.draw(st.integers(1, 3))]]
    turns = data.draw(st.lists(st.integers(0, 2), max_size=20))
    book.begun.clear()
    before = server.worker.stats()
    interleave(cast, turns, server)
    server.settle()
    after = server.worker.stats()
    assert book.open == 0
    assert server.log == []
    for script in cast:
        bodies = [one.body for one in script.requests[: script.whole]]
        begun = book.begun.get(f"/{script.name}", [])
        assert begun == bodies[: len(begun)]
        assert len(begun) >= min(script.reads, script.whole)
    polite = [script for script in cast if script.leaves == "half-closes"]
    grown = after["truncated"] - before["truncated"]
    assert grown >= sum(script.truncated for script in polite)
    assert grown <= sum(script.truncated for script in cast)
    assert after["refused"] == before["refused"]
