"""Several threads among clients that come, ask, and leave in the middle of anything.

Rule: what each client does is drawn from a seed.  Nobody is asked how it went but those who stayed:
their responses are right to the byte.  At the end every iterable has been closed once, all threads
are there (a barrier needs them all), and nothing is left on its way.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from apps.client import TIMEOUT, Address, Client, chunked, request
from apps.held import TEXT

from fastwsgi.testing import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

VISITORS = 8
VISITS = 60
BLOCK = b"0123456789abcdef" * 1024
LARGE = 400  # blocks of 16 KiB: more than sockets and the server take


class Counted:
    """Blocks that know how often they were closed."""

    def __init__(self, app: Application, blocks: int, wait: float) -> None:
        self.app, self.blocks, self.wait = app, blocks, wait

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self.blocks):
            if self.wait and number == 1:
                threading.Event().wait(self.wait)
            yield BLOCK

    def close(self) -> None:
        with self.app.lock:
            self.app.open -= 1


class Application:
    """/blocks/N, /pausing/N, /write/N send N blocks, /wait/ and /echo/ the body, /all/ waits for
    as many calls as there are threads.
    """

    def __init__(self, threads: int) -> None:
        self.lock = threading.Lock()
        self.open = 0
        self.barrier = threading.Barrier(threads)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        _, kind, number = environ["PATH_INFO"].split("/")
        if kind == "all":
            self.barrier.wait(TIMEOUT)
        elif kind == "wait":
            threading.Event().wait(0.004)
        write = start_response("200 OK", TEXT)
        if kind in ("blocks", "pausing"):
            with self.lock:
                self.open += 1
            return Counted(self, int(number), 0.004 if kind == "pausing" else 0)
        if kind == "write":
            for _ in range(int(number)):
                write(BLOCK)
            return []
        return [environ["wsgi.input"].read()]


Ask = tuple[bytes, bytes]  # a request, and the body that it earns


def draw(chance: random.Random) -> Ask:
    """One request of any kind."""
    kind = chance.choice(["blocks", "pausing", "write", "wait", "echo", "echo", "chunks"])
    if kind in ("blocks", "pausing", "write"):
        count = chance.choice([0, 1, 3, 30])
        return request(f"/{kind}/{count}"), BLOCK * count
    body = BLOCK[: chance.randrange(2000)] * chance.choice([1, 1, 100])
    if kind == "chunks":
        pieces = [body[at : at + 5000] for at in range(0, len(body), 5000)]
        head = request("/echo/", "Transfer-Encoding: chunked", method="POST")
        return head + chunked(*pieces), body
    return request(f"/{kind}/", method="POST", body=body), body


def stay(client: Client, chance: random.Random) -> None:
    """Some rounds of pipelined requests, and every byte of their responses."""
    for _ in range(chance.randrange(1, 4)):
        asked = [draw(chance) for _ in range(chance.choice([1, 1, 2, 5]))]
        client.send(b"".join(sent for sent, _ in asked))
        for _, due in asked:
            assert client.response().body == due


def leave_behind_requests(client: Client, chance: random.Random) -> None:
    client.send(b"".join(draw(chance)[0] for _ in range(chance.randrange(1, 5))))


def leave_in_a_request(client: Client, chance: random.Random) -> None:
    sent, _ = draw(chance)
    client.send(sent[: chance.randrange(len(sent))])


def leave_in_a_response(client: Client, chance: random.Random) -> None:
    client.send(request(f"/{chance.choice(['blocks', 'pausing'])}/{LARGE}") * 2)
    assert client.head().status == 200
    for _ in range(chance.randrange(30)):
        client.chunk()


def leave_in_a_write(client: Client, chance: random.Random) -> None:
    client.send(request(f"/write/{LARGE}"))
    assert client.head().status == 200


LEAVE: list[Callable[[Client, random.Random], None]] = [
    leave_behind_requests,
    leave_in_a_request,
    leave_in_a_response,
    leave_in_a_write,
]


def visit(address: Address, seed: int) -> None:
    """Come and go."""
    chance = random.Random(seed)
    for _ in range(VISITS):
        with Client(address) as client:
            if chance.random() < 0.5:
                stay(client, chance)
            else:
                chance.choice(LEAVE)(client, chance)
            if chance.random() < 0.5:
                client.reset()


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_survive_clients_that_leave_at_any_time(threads: int) -> None:
    app = Application(threads)
    failures: list[tuple[int, BaseException]] = []

    def go(address: Address, seed: int) -> None:
        try:
            visit(address, seed)
        except BaseException as error:
            failures.append((seed, error))

    with serve(app, threads=threads) as server:
        visitors = [
            threading.Thread(target=go, args=(server.address, seed), daemon=True)
            for seed in range(VISITORS)
        ]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join(3 * TIMEOUT)
        assert failures == []
        assert not any(visitor.is_alive() for visitor in visitors)
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(server.address)) for _ in range(threads)]
            for client in clients:
                client.send(request("/all/", method="POST", body=b"here"))
            for client in clients:
                assert client.response().body == b"here"
    assert app.open == 0
