"""Large request bodies: whole before the application runs, in a file past the mark, bounded.

Rule: the server is a process that tells its own peak of memory and its descriptors, so nothing is
guessed from outside.  What reading wsgi.input gives is in test_input.py, framing in
test_request_cycle.py.
"""

from __future__ import annotations

import hashlib
import json
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from apps import TESTS
from apps.client import Address, Client, Response, fetch, request
from apps.faults import Injected, needs_injection
from apps.held import Held

from fastwsgi.testing import Process, spawn

MEMORY = 65536
LARGE = 64 << 20
PIECE = b"0123456789abcdef" * 65536
ROOM = 8 << 20  # what an allocator and a run of requests may take

needs_proc = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="Linux tells a process its peak"
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty directory for temporary files."""
    made = tmp_path / "bodies"
    made.mkdir()
    return made


@pytest.fixture
def server(place: Path) -> Iterator[Process]:
    """A server process that keeps 64 KiB of a body in memory."""
    with spawn(
        "--body-memory", str(MEMORY), "apps.uploads:app", cwd=TESTS, env={"TMPDIR": str(place)}
    ) as running:
        yield running


def peak(address: Address) -> dict[str, int]:
    found: dict[str, int] = json.loads(fetch(address, "/peak").body)
    return found


def upload(client: Client, target: str, size: int, *, chunks: bool) -> None:
    """Send a body of so many bytes in pieces of a megabyte."""
    framing = "Transfer-Encoding: chunked" if chunks else f"Content-Length: {size}"
    client.send(request(target, framing, method="POST"))
    for _ in range(size // len(PIECE)):
        client.send(b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunks else PIECE)
    if chunks:
        client.send(b"0\r\n\r\n")


def expected(size: int) -> str:
    found = hashlib.sha256()
    for _ in range(size // len(PIECE)):
        found.update(PIECE)
    return found.hexdigest()


# -- memory and disk ---------------------------------------------------------------------------


@needs_proc
@pytest.mark.parametrize("chunks", [False, True], ids=["with a length", "chunked"])
def test_a_large_upload_takes_no_memory(server: Process, chunks: bool) -> None:
    with Client(server.address) as client:
        upload(client, "/digest", len(PIECE), chunks=chunks)
        assert json.loads(client.response().body) == expected(len(PIECE))
        before = peak(server.address)
        for target, answer in (("/digest", expected(LARGE)), ("/ignore", "ignored")):
            upload(client, target, LARGE, chunks=chunks)
            assert json.loads(client.response().body) == answer
    after = peak(server.address)
    assert after["resident"] - before["resident"] < ROOM


@needs_proc
def test_many_uploads_at_once_take_their_mark_of_memory_each(server: Process) -> None:
    count, size = 50, 4 << 20
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(count)]
        before = peak(server.address)
        for client in clients:
            client.send(request("/digest", f"Content-Length: {size}", method="POST"))
        for _ in range(size // len(PIECE)):
            for client in clients:
                client.send(PIECE)
        for client in clients:
            assert json.loads(client.response().body) == expected(size)
        after = peak(server.address)
    assert after["resident"] - before["resident"] < count * MEMORY + ROOM


PLACES = """
import os
import sys

def app(environ, start_response):
    environ["wsgi.input"].read(1)
    open_files = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    start_response("200 OK", [("Content-Type", "text/plain")])
    held = [path for path in open_files if os.path.dirname(path).startswith(os.environ["ROOM"])]
    return [f"{os.path.basename(os.path.dirname(held[0]))} {'tempfile' in sys.modules}".encode()]
"""


@needs_proc
@pytest.mark.parametrize(("named", "told", "answer"), [
    ("{room}/first", "", b"first False"),
    ("/nowhere/at/all", "", b"second True"),
    ("not/absolute", "", b"second True"),
    ("{room}/first", "import tempfile\ntempfile.tempdir = '{room}/third'\n", b"third True"),
], ids=["usable", "missing", "relative", "told by the application"])
def test_the_directory_of_temporary_files(
    project: Callable[..., Path], tmp_path: Path, named: str, told: str, answer: bytes
) -> None:
    """The first usable of TMPDIR and TEMP, unless the application has told tempfile another one."""
    room = tmp_path / "room"
    for name in ("first", "second", "third"):
        (room / name).mkdir(parents=True)
    where = project(app=told.format(room=room) + PLACES)
    env = {"ROOM": str(room), "TMPDIR": named.format(room=room), "TEMP": str(room / "second")}
    with (
        spawn("--body-memory", str(MEMORY), "app:app", cwd=where, env=env) as running,
        Client(running.address) as client,
    ):
        upload(client, "/", len(PIECE), chunks=False)
        assert client.response().body == answer


def test_temporary_files_have_no_names_and_end_with_their_request(
    server: Process, place: Path
) -> None:
    with Client(server.address) as client:
        before = peak(server.address) if sys.platform.startswith("linux") else None
        for chunks in (False, True):
            upload(client, "/files", 4 << 20, chunks=chunks)
            assert json.loads(client.response().body) == [[], str(4 << 20)]
        with Client(server.address) as leaving:
            leaving.send(request("/files", "Content-Length: 10000000", method="POST") + PIECE)
            assert list(place.iterdir()) == []
            leaving.reset()
        assert client.fetch("/ignore").status == 200
    if before is not None:
        assert settled(server.address, before["descriptors"]) <= before["descriptors"]


def settled(address: Address, wanted: int) -> int:
    """The descriptors of the server once connections that ended are closed there too."""
    for _ in range(200):
        found = peak(address)["descriptors"]
        if found <= wanted:
            break
    return found


# -- whole or not at all -----------------------------------------------------------------------


def test_unfinished_uploads_hold_no_thread() -> None:
    held = Held()
    half = request("/never", f"Content-Length: {4 << 20}", method="POST") + PIECE
    with held.served(body_memory=MEMORY) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(50)]
        for client in clients:
            client.send(half)
        for number in range(20):
            assert fetch(server.address, f"/{number}").body == f"/{number}".encode()
    assert "/never" not in held.calls


LIMIT = 1 << 20
PAST = {
    "a length": (f"Content-Length: {LIMIT + 1}", b""),
    "chunks": ("Transfer-Encoding: chunked", b"%x\r\n%s\r\n1\r\n" % (LIMIT, b"x" * LIMIT)),
    "one chunk": ("Transfer-Encoding: chunked", b"%x\r\n" % (LIMIT + 1)),
    "far past": ("Transfer-Encoding: chunked", b"7fffffffffff\r\n"),
}


@pytest.mark.parametrize("memory", [1024, LIMIT * 2], ids=["in a file", "in memory"])
@pytest.mark.parametrize(("framing", "sent"), PAST.values(), ids=PAST.keys())
def test_a_body_past_the_limit_is_413_and_one_at_the_limit_is_not(
    framing: str, sent: bytes, memory: int
) -> None:
    held = Held()
    with held.served(limit_request_body=LIMIT, body_memory=memory) as server:
        with Client(server.address) as client:
            client.send(request("/past", framing, method="POST") + sent)
            response = client.response()
            assert (response.status, response.closes) == (413, True)
            client.finish_sending()
            assert client.ended()
        body = b"y" * LIMIT
        assert fetch(server.address, "/at", method="POST", body=body).body == b"/at" + body
    assert held.calls == ["/at"]


# -- a full disk -------------------------------------------------------------------------------

FULL = {
    "no room": "store=ENOSPC/1",
    "room for a while": "store=ENOSPC/20",
    "a fault": "store=EIO/1",
}


def begun(client: Client, *, chunks: bool) -> Response:
    """Send an upload until there is an answer; it never becomes whole."""
    framing = "Transfer-Encoding: chunked" if chunks else f"Content-Length: {LARGE}"
    piece = PIECE[:MEMORY]
    client.send(request("/never", framing, method="POST"))
    for _ in range(LARGE // MEMORY - 1):
        client.send(b"%x\r\n%s\r\n" % (MEMORY, piece) if chunks else piece)
        if select.select([client.socket], [], [], 0)[0]:
            break
    return client.response()


@needs_injection
@pytest.mark.parametrize("schedule", FULL.values(), ids=FULL.keys())
@pytest.mark.parametrize("chunks", [False, True], ids=["with a length", "chunked"])
def test_a_disk_that_takes_no_more_costs_the_upload_and_nothing_else(
    tmp_path: Path, shims: dict[bool, Path], schedule: str, chunks: bool
) -> None:
    """507 (RFC 4918 11.5) for a full disk, 500 for a broken one; small bodies need none."""
    status = 507 if "ENOSPC" in schedule else 500
    injected = Injected(tmp_path, shims, schedule)
    command = ("--body-memory", str(MEMORY), "apps.uploads:app")
    with (
        spawn(*command, cwd=TESTS, env=injected.environ) as server,
        Client(server.address) as other,
    ):
        for _ in range(3):
            with Client(server.address) as client:
                assert begun(client, chunks=chunks).status == status
            assert other.fetch("/digest", method="POST", body=b"small").status == 200
        injected.stop()
        upload(other, "/digest", 8 << 20, chunks=chunks)
        assert json.loads(other.response().body) == expected(8 << 20)
        assert injected.unused() == []
        assert server.terminate() == 0
    assert "Traceback" not in server.output()


@needs_injection
@needs_proc
@pytest.mark.parametrize("chunks", [False, True], ids=["with a length", "chunked"])
def test_an_upload_that_meets_a_full_disk_takes_no_other_one_with_it(
    tmp_path: Path, shims: dict[bool, Path], chunks: bool
) -> None:
    """One is in its file when the disk fills up in the middle of another, and ends when it may."""
    injected = Injected(tmp_path, shims, "store=ENOSPC/3")
    start = injected.hold(tmp_path)
    first, rest = PIECE[: MEMORY + 1], PIECE[MEMORY + 1 :]
    framing = "Transfer-Encoding: chunked" if chunks else f"Content-Length: {len(PIECE)}"
    command = ("--threads", "2", "--body-memory", str(MEMORY), "apps.uploads:app")
    with (
        spawn(*command, cwd=TESTS, env=injected.environ) as server,
        Client(server.address) as other,
        Client(server.address) as watching,
    ):
        other.send(request("/digest", framing, method="POST"))
        before = descriptors(watching)
        other.send(b"%x\r\n%s\r\n" % (len(first), first) if chunks else first)
        assert any(descriptors(watching) > before for _ in range(2000))  # its file
        assert watching.fetch("/ignore").status == 200  # what was being stored then, is now
        start.touch()
        with Client(server.address) as client:
            assert begun(client, chunks=True).status == 507
        injected.stop()
        other.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest) if chunks else rest)
        assert json.loads(other.response().body) == expected(len(PIECE))
        # one more: the log has its pipe twice since its first line, not to wait for a reader
        assert any(descriptors(watching) <= before + 1 for _ in range(2000))
        assert injected.unused() == []
        assert server.terminate() == 0
    assert "Traceback" not in server.output()


def descriptors(client: Client) -> int:
    """How many the server has, asked over a connection that stays."""
    return int(json.loads(client.fetch("/peak").body)["descriptors"])
