"""`wsgi.file_wrapper`: what reaches the client is what reading the file would have given.

Rule (PEP 3333, "Optional Platform-Specific File Handling"): sending from a descriptor is an
optimisation that must not show.  So each kind of file is sent through the server and compared
with its own `read()`: whether it has a descriptor, none, or one that does not say what `read()`
says.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from apps import TESTS
from apps.client import TIMEOUT, Client, request

from fastwsgi.testing import serve, spawn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BINARY = [("Content-Type", "application/octet-stream")]


def content(size: int) -> bytes:
    """Bytes of that number in which no piece looks like another."""
    block = b"".join(hashlib.sha256(str(at).encode()).digest() for at in range(1024))
    return (block * (size // len(block) + 1))[:size]


def sending(
    make: Callable[[], Any], *headers: tuple[str, str], block_size: int = 8192
) -> WSGIApplication:
    """An application that answers every request with the file that `make` opens."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [*BINARY, *headers])
        return environ["wsgi.file_wrapper"](make(), block_size)  # type: ignore[no-any-return]

    return app


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes content into a file and says where."""

    def write(data: bytes) -> Path:
        path = tmp_path / "stored"
        path.write_bytes(data)
        return path

    return write


class Readable:
    """A file-like object with `read` alone: what PEP 3333 asks for, and no more."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.data.read(size)


class Descriptorless(Readable):
    """A file-like object whose `fileno` says that there is no descriptor."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def spooled(data: bytes) -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    file.write(data)
    file.seek(0)
    return file


SIZES = [0, 1, 100, 8192, 8193, 200_000, 5 << 20]
VIRTUAL: dict[str, Callable[[bytes], Any]] = {
    "BytesIO": io.BytesIO,
    "read alone": Readable,
    "fileno that raises": Descriptorless,
    "spooled": spooled,
}


@pytest.mark.parametrize("sendfile", [True, False], ids=["sendfile", "no sendfile"])
@pytest.mark.parametrize("known", [True, False], ids=["with a length", "without a length"])
@pytest.mark.parametrize("size", SIZES)
def test_sends_a_file(
    stored: Callable[[bytes], Path], size: int, known: bool, sendfile: bool
) -> None:
    data = content(size)
    path = stored(data)
    headers = [("Content-Length", str(size))] if known else []
    with (
        serve(sending(lambda: path.open("rb"), *headers), sendfile=sendfile) as server,
        Client(server.address) as client,
    ):
        for _ in range(3):
            response = client.fetch()
            assert response.status == 200
            assert response.body == data


@pytest.mark.parametrize("buffering", [0, -1], ids=["unbuffered", "buffered"])
@pytest.mark.parametrize("skipped", [1, 10, 9000])
def test_sends_a_file_from_its_current_position(
    stored: Callable[[bytes], Path], skipped: int, buffering: int
) -> None:
    """A buffered file has read ahead: its descriptor stands further on than the file does."""
    data = content(100_000)
    path = stored(data)

    def opened() -> BinaryIO:
        file = path.open("rb", buffering=buffering)
        file.read(skipped)
        return file  # type: ignore[return-value]

    with serve(sending(opened)) as server, Client(server.address) as client:
        assert client.fetch().body == data[skipped:]
        assert client.fetch().body == data[skipped:]


def test_sends_nothing_of_a_file_at_its_end(stored: Callable[[bytes], Path]) -> None:
    path = stored(b"read already")

    def opened() -> BinaryIO:
        file = path.open("rb")
        file.seek(0, os.SEEK_END)
        return file

    with serve(sending(opened)) as server, Client(server.address) as client:
        assert client.fetch().body == b""
        assert client.fetch().status == 200


@pytest.mark.parametrize("kind", VIRTUAL.values(), ids=VIRTUAL.keys())
@pytest.mark.parametrize("size", [0, 1, 8192, 8193, 1 << 20])
def test_sends_a_file_that_has_no_descriptor(kind: Callable[[bytes], Any], size: int) -> None:
    data = content(size)
    with serve(sending(lambda: kind(data))) as server, Client(server.address) as client:
        for _ in range(2):
            assert client.fetch().body == data


def test_sends_what_read_gives_not_what_the_descriptor_holds(
    stored: Callable[[bytes], Path],
) -> None:
    """`GzipFile.fileno()` is the descriptor of the compressed file."""
    data = content(100_000)
    path = stored(gzip.compress(data))
    with (
        serve(sending(lambda: gzip.open(path, "rb"))) as server,
        Client(server.address) as client,
    ):
        assert client.fetch().body == data


def test_sends_what_a_buffered_reader_makes_of_the_file_below_it(
    stored: Callable[[bytes], Path],
) -> None:
    """Its `fileno()` is that of the file, whatever the layer between them does."""

    class Inverted(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            count = super().readinto(buffer) or 0
            buffer[:count] = bytes(byte ^ 255 for byte in bytes(buffer[:count]))
            return count

    data = content(100_000)
    path = stored(bytes(byte ^ 255 for byte in data))
    with (
        serve(sending(lambda: io.BufferedReader(Inverted(path)))) as server,
        Client(server.address) as client,
    ):
        assert client.fetch().body == data


def test_a_detached_file_is_the_applications_error(stored: Callable[[bytes], Path]) -> None:
    path = stored(b"x")

    def detached() -> Any:
        file = path.open("rb")
        file.detach().close()
        return file

    with serve(sending(detached)) as server, Client(server.address) as client:
        assert client.fetch().status == 500
        assert "detached" in "\n".join(server.log)


def test_sends_from_a_pipe() -> None:
    """A descriptor that sendfile cannot take and that has no position."""
    data = content(30_000)

    def piped() -> BinaryIO:
        reading, writing = os.pipe()
        with open(writing, "wb") as end:
            end.write(data)
        return open(reading, "rb")

    with serve(sending(piped)) as server, Client(server.address) as client:
        for _ in range(2):
            assert client.fetch().body == data


def test_sends_from_a_socket() -> None:
    data = content(30_000)

    def connected() -> Any:
        ours, theirs = socket.socketpair()
        ours.sendall(data)
        ours.close()
        with theirs:
            return theirs.makefile("rb")

    with serve(sending(connected)) as server, Client(server.address) as client:
        assert client.fetch().body == data


@pytest.mark.parametrize("real", [True, False], ids=["with a descriptor", "without"])
@pytest.mark.parametrize("length", [0, 1, 5000, 99_999])
def test_sends_no_more_than_the_content_length(
    stored: Callable[[bytes], Path], length: int, real: bool
) -> None:
    """A range is sent by seeking and a Content-Length: the rest of the file is not an error."""
    data = content(100_000)
    path = stored(data)
    make = (lambda: path.open("rb")) if real else (lambda: io.BytesIO(data))
    app = sending(make, ("Content-Length", str(length)))
    with serve(app) as server, Client(server.address) as client:
        client.send(request() + request("/", "Connection: close"))
        assert client.response().body == data[:length]
        rest = client.rest()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("real", [True, False], ids=["with a descriptor", "without"])
def test_closes_behind_a_file_shorter_than_the_content_length(
    stored: Callable[[bytes], Path], real: bool
) -> None:
    data = content(1000)
    path = stored(data)
    make = (lambda: path.open("rb")) if real else (lambda: io.BytesIO(data))
    with (
        serve(sending(make, ("Content-Length", "2000"))) as server,
        Client(server.address) as client,
    ):
        client.send(request())
        assert client.head().status in (200, 500)
        client.rest()


@pytest.mark.parametrize("real", [True, False], ids=["with a descriptor", "without"])
def test_answers_head_and_304_without_a_body(stored: Callable[[bytes], Path], real: bool) -> None:
    data = content(50_000)
    path = stored(data)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        modified = environ["PATH_INFO"] != "/304"
        start_response("200 OK" if modified else "304 Not Modified", [("X-Seen", "yes")])
        file = path.open("rb") if real else io.BytesIO(data)
        return environ["wsgi.file_wrapper"](file)  # type: ignore[no-any-return]

    with serve(app) as server, Client(server.address) as client:
        assert client.fetch("/", method="HEAD").get("X-Seen") == "yes"
        assert client.fetch("/304").status == 304
        assert client.fetch("/").body == data


def test_sends_chunks_or_a_length_to_http11_and_the_bare_file_to_http10(
    stored: Callable[[bytes], Path],
) -> None:
    data = content(50_000)
    path = stored(data)
    with serve(sending(lambda: path.open("rb"))) as server:
        with Client(server.address) as client:
            response = client.fetch()
            assert response.chunked or response.get("Content-Length") == str(len(data))
            assert response.body == data
        with Client(server.address) as client:
            response = client.fetch(version="HTTP/1.0")
            assert not response.chunked
            assert response.body == data


class Counting(io.FileIO):
    """A real file that counts how often it is closed by a call."""

    closes = 0

    def close(self) -> None:
        if not self.closed:
            type(self).closes += 1
        super().close()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_closes_the_file_once_it_is_sent(stored: Callable[[bytes], Path], method: str) -> None:
    data = content(3 << 20)
    path = stored(data)
    made: list[Any] = []

    def opened() -> Any:
        made.append(Counting(path))
        return made[-1]

    Counting.closes = 0
    with serve(sending(opened)) as server, Client(server.address) as client:
        for _ in range(3):
            assert client.fetch(method=method).body == (data if method == "GET" else b"")
    assert [file.closed for file in made] == [True] * 3
    assert Counting.closes == 3


def test_closes_the_file_when_the_client_leaves(stored: Callable[[bytes], Path]) -> None:
    path = stored(content(64 << 20))
    closed = threading.Event()

    class Telling(io.FileIO):
        def close(self) -> None:
            super().close()
            closed.set()

    with serve(sending(lambda: Telling(path))) as server:
        client = Client(server.address, receive_buffer=4096)
        client.send(request())
        assert client.head().status == 200
        client.reset()
        assert closed.wait(TIMEOUT)


def test_a_file_without_close_is_fine() -> None:
    with serve(sending(lambda: Readable(b"no close"))) as server, Client(server.address) as client:
        assert client.fetch().body == b"no close"


def test_is_an_iterable_that_middleware_can_read(stored: Callable[[bytes], Path]) -> None:
    data = content(100_000)
    path = stored(data)
    sizes: list[int] = []
    inner = sending(lambda: path.open("rb"), block_size=1000)

    def upper(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        blocks = inner(environ, start_response)
        for block in blocks:
            sizes.append(len(block))
            yield block.upper()
        blocks.close()  # type: ignore[attr-defined]

    with serve(upper) as server, Client(server.address) as client:
        assert client.fetch().body == data.upper()
    assert sizes == [1000] * 100


def test_takes_its_block_size_as_an_option(stored: Callable[[bytes], Path]) -> None:
    path = stored(b"a file")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", BINARY)
        return environ["wsgi.file_wrapper"](path.open("rb"))  # type: ignore[no-any-return]

    with serve(app) as server, Client(server.address) as client:
        assert client.fetch().body == b"a file"


def test_a_file_that_cannot_be_read_is_the_applications_error() -> None:
    class Broken:
        def read(self, size: int = -1) -> bytes:
            raise OSError("the disk is gone")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", BINARY)
        if environ["PATH_INFO"] == "/fine":
            return [b"fine"]
        return environ["wsgi.file_wrapper"](Broken())  # type: ignore[no-any-return]

    with serve(app) as server:
        with Client(server.address) as client:
            assert client.fetch("/").status == 500
        with Client(server.address) as client:
            assert client.fetch("/fine").body == b"fine"
        assert "the disk is gone" in "\n".join(server.log)


def test_writes_and_the_file_come_in_order(stored: Callable[[bytes], Path]) -> None:
    data = content(500_000)
    path = stored(data)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", BINARY)(b"written first, ")
        return environ["wsgi.file_wrapper"](path.open("rb"))  # type: ignore[no-any-return]

    with serve(app) as server, Client(server.address) as client:
        assert client.fetch().body == b"written first, " + data
        client.send(request() * 3)
        for _ in range(3):
            assert client.response().body == b"written first, " + data


class Lent:
    """An application that keeps what it returns, as one does that closes what lasts too long."""

    def __init__(self, path: Path, *headers: tuple[str, str]) -> None:
        self.path = path
        self.headers = headers
        self.files: list[BinaryIO] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [*BINARY, *self.headers])
        self.files.append(self.path.open("rb", buffering=0))
        return environ["wsgi.file_wrapper"](self.files[-1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("ahead", [0, 1], ids=["alone", "pipelined"])
@pytest.mark.parametrize("threads", [1, 2])
def test_sends_no_other_file_when_the_application_has_closed_this_one(
    stored: Callable[[bytes], Path], tmp_path: Path, threads: int, ahead: int
) -> None:
    """The number of its descriptor is that of a secret by the time the client reads on."""
    data = content(8 << 20)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret" * (2 << 20))
    app = Lent(stored(data))
    with (
        serve(app, bind=f"unix:{tmp_path / 'socket'}", threads=threads) as server,
        Client(server.address) as client,
        ExitStack() as stack,
    ):
        client.send(request() * (1 + ahead))
        assert client.head().status == 200
        assert client.exactly(1) == data[:1]
        number = app.files[0].fileno()
        app.files[0].close()
        while stack.enter_context(secret.open("rb")).fileno() != number:
            pass
        assert client.exactly(len(data) - 1) == data[1:]
        for _ in range(ahead):
            assert client.response().body == data


def test_reads_the_file_where_there_is_no_descriptor_to_spare(
    stored: Callable[[bytes], Path],
) -> None:
    """The process may open no more files: the one that the application has opened is still sent."""
    path = stored(content(1_000_000))
    with (
        spawn("-w", "0", "apps.lastfile:app", cwd=TESTS, env={"LAST_FILE": str(path)}) as server,
        Client(server.address) as client,
    ):
        for target in ("/length", "/chunks"):
            response = client.fetch(target)
            assert response.chunked == (target == "/chunks")
            assert response.body == path.read_bytes()
        with Client(server.address) as other:
            assert other.fetch("/length", version="HTTP/1.0").body == path.read_bytes()
