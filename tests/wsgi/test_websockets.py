"""WebSocket and Socket.IO as applications speak them: Flask-Sock, Flask-SocketIO, real clients.

Rule: the clients are the library `websockets`, and Chromium where it is installed. All clients of
a test are connected before one of them says a word, so they are served at the same time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from apps import TESTS
from apps.browser import browser, installed
from apps.client import TIMEOUT, Client, request

from fastwsgi.testing import Process, spawn

pytest.importorskip("flask_sock")
pytest.importorskip("flask_socketio")
pytest.importorskip("websockets")

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_now

MANY = 200
LONG = 60.0


def served(app: str, *args: str) -> Any:
    return spawn("--threads", str(MANY + 10), *args, f"apps.{app}:app", cwd=TESTS)


@pytest.fixture(scope="module")
def echo() -> Iterator[Process]:
    with served("flask_sock_app") as server:
        yield server


@pytest.fixture(scope="module")
def socketio() -> Iterator[Process]:
    with served("flask_socketio_app") as server:
        yield server


def at(server: Process, path: str) -> str:
    return f"ws://{server.host}:{server.port}{path}"


def together(*clients: Coroutine[Any, Any, None]) -> None:
    """Run them all, which must come to their ends."""

    async def run() -> None:
        await asyncio.wait_for(asyncio.gather(*clients), LONG)

    asyncio.run(run())


class Meeting:
    """Lets nobody go on before all are here."""

    def __init__(self) -> None:
        self._here = 0
        self._complete = asyncio.Event()

    async def complete(self) -> None:
        self._here += 1
        if self._here == MANY:
            self._complete.set()
        await self._complete.wait()


HANDSHAKE = request(
    "/echo", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
WORD = b"\x81\x84\0\0\0\0word"
"""A frame with a text, masked with zeros."""
ANSWER = b"\x81\x04WORD"


def by_hand(server: Process) -> Client:
    """A client for which the handshake is done, and nothing else."""
    client = Client(server.address)
    client.send(HANDSHAKE)
    response = client.head()
    assert response.status == 101
    assert response.get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 1.3
    return client


def is_well(server: Process) -> bool:
    """Whether it answers, and has reported nothing."""
    with urlopen(f"{server.url}/hello", timeout=TIMEOUT) as response:
        answered = response.read() == b"hello"
    return answered and "ERROR" not in server.output() and "Traceback" not in server.output()


# ---- Flask-Sock ----


@pytest.mark.parametrize("compression", ["deflate", None])
def test_flask_sock_speaks_with_200_at_a_time(echo: Process, compression: str | None) -> None:
    meeting = Meeting()

    async def talk(number: int) -> None:
        async with connect(at(echo, "/echo"), compression=compression, open_timeout=LONG) as ws:
            await meeting.complete()
            for word in (f"word {number}", "x" * 5000, f"last {number}"):
                await ws.send(word)
                assert await ws.recv() == word.upper()
            await ws.send(b"bytes")
            assert await ws.recv() == b"BYTES"

    together(*map(talk, range(MANY)))
    assert is_well(echo)


def test_flask_sock_sends_large_messages_whole(echo: Process) -> None:
    large = "abc" * 1_000_000
    with connect_now(at(echo, "/echo"), compression=None, max_size=None) as ws:
        ws.send(large)
        assert ws.recv(TIMEOUT) == large.upper()
    assert is_well(echo)


def test_flask_sock_may_end_the_conversation(echo: Process) -> None:
    """The client reads the last words and the close, though a thread of the server still reads."""
    for _ in range(50):
        with connect_now(at(echo, "/echo")) as ws:
            ws.send("bye")
            assert ws.recv(TIMEOUT) == "BYE"
            with pytest.raises(ConnectionClosed) as closed:
                ws.recv(TIMEOUT)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000
    assert is_well(echo)


def test_flask_sock_loses_nothing_that_is_sent_at_the_end(echo: Process) -> None:
    with connect_now(at(echo, "/count?to=5000")) as ws:
        assert list(ws) == [str(number) for number in range(5000)]
    assert is_well(echo)


def test_a_client_that_resets_ends_its_conversation_alone(echo: Process) -> None:
    with connect_now(at(echo, "/echo")) as other:
        for _ in range(20):
            client = by_hand(echo)
            client.send(WORD)
            assert client.exactly(6) == ANSWER
            client.reset()
        other.send("word")
        assert other.recv(TIMEOUT) == "WORD"
    assert is_well(echo)


def test_an_error_in_a_conversation_is_reported() -> None:
    with served("flask_sock_app") as server:
        with connect_now(at(server, "/fail")) as ws:
            ws.send("word")
            with pytest.raises(ConnectionClosed):
                ws.recv(TIMEOUT)
        server.wait_for("an error within the conversation")


def test_garbage_in_place_of_frames_ends_the_conversation(echo: Process) -> None:
    for garbage in (b"\xff" * 100, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"\x81\xfe", b""):
        with by_hand(echo) as client:
            client.send(garbage)
            client.finish_sending()
            assert ANSWER not in client.rest()
    assert is_well(echo)


def test_a_frame_that_comes_with_the_handshake_is_read(echo: Process) -> None:
    """No client may do that, and nothing is lost if one does."""
    with Client(echo.address) as client:
        client.send(HANDSHAKE + WORD * 3)
        assert client.head().status == 101
        assert client.exactly(18) == ANSWER * 3
    assert is_well(echo)


def test_an_upgrade_that_the_application_does_not_speak_is_answered(echo: Process) -> None:
    with Client(echo.address) as client:
        for _ in range(3):
            response = client.fetch("/hello", "Connection: upgrade", "Upgrade: another")
            assert response.body == b"hello"


@pytest.mark.skipif(installed() is None, reason="no Chromium on this machine")
def test_chromium_speaks_with_flask_sock(echo: Process) -> None:
    with browser(str(installed())) as page:
        page.open(echo.url)
        words = ["word", "grüße", "x" * 100_000]
        found = page.ask(f"talk({json.dumps(words)})")
        assert found == [1000, True, *(word.upper() for word in words)]
        names = f"Array.from({{length: {MANY}}}, (_, n) => talk([`a${{n}}`, `b${{n}}`]))"
        many = page.ask(f"Promise.all({names})")
        assert many == [[1000, True, f"A{n}", f"B{n}"] for n in range(MANY)]
        assert page.errors == [] or all("favicon" in error for error in page.errors)
    assert is_well(echo)


# ---- Flask-SocketIO: Engine.IO 4, spelled out ----


async def join(ws: Any) -> None:
    """The handshake of Engine.IO, and of Socket.IO within it."""
    assert (await ws.recv()).startswith("0{")
    await ws.send("40")
    assert (await ws.recv()).startswith("40{")


async def said(ws: Any) -> list[str]:
    """The next event; pings are answered."""
    while (message := await ws.recv()) == "2":
        await ws.send("3")
    assert message.startswith("42"), message
    return json.loads(message[2:])  # type: ignore[no-any-return]


SOCKETIO = "/socket.io/?EIO=4&transport=websocket"


def test_flask_socketio_speaks_with_200_at_a_time(socketio: Process) -> None:
    meeting = Meeting()

    async def talk(number: int) -> None:
        async with connect(at(socketio, SOCKETIO), open_timeout=LONG) as ws:
            await join(ws)
            await meeting.complete()
            await ws.send(f'42["word","word {number}"]')
            assert await said(ws) == ["word", f"WORD {number}"]

    together(*map(talk, range(MANY)))
    assert is_well(socketio)


def test_flask_socketio_tells_all(socketio: Process) -> None:
    async def run() -> None:
        async with connect(at(socketio, SOCKETIO)) as one, connect(at(socketio, SOCKETIO)) as other:
            await join(one)
            await join(other)
            await one.send('42["all","news"]')
            assert await said(one) == ["all", "news"]
            assert await said(other) == ["all", "news"]

    together(run())
    assert is_well(socketio)


def test_flask_socketio_upgrades_from_polling(socketio: Process) -> None:
    base = f"{socketio.url}/socket.io/?EIO=4&transport=polling"
    with urlopen(base, timeout=TIMEOUT) as response:
        session = json.loads(response.read()[1:])["sid"]

    async def run() -> None:
        async with connect(at(socketio, f"{SOCKETIO}&sid={session}")) as ws:
            await ws.send("2probe")
            assert await ws.recv() == "3probe"
            await ws.send("5")
            await ws.send("40")
            while (message := await ws.recv()) == "6":  # which would have ended a poll
                pass
            assert message.startswith("40{")
            await ws.send('42["word","polled"]')
            assert await said(ws) == ["word", "POLLED"]

    together(run())
    assert is_well(socketio)
