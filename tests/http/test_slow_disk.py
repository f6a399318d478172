"""Bodies that go to files while the disk is slow, full, or not there at all.

Rule: nothing is timed. tests/injection/shim.c holds a call of the core until the test lets it go,
so whatever is answered meanwhile did not wait for it. What the server says of a disk that fails is
read from its log.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from apps import TESTS
from apps.client import Client, chunked, request
from apps.eventually import GUARD
from apps.faults import Injected, needs_injection

from fastwsgi.testing import Process, environment, spawn

MEMORY = 65536
LARGE = 1 << 20
BODY = bytes(range(256)) * (LARGE // 256)
COMMAND = ("--body-memory", str(MEMORY), "apps.stored:app")


@contextmanager
def held(
    place: Path, shims: dict[bool, Path], schedule: str, *options: str
) -> Iterator[tuple[Process, Injected]]:
    """A server whose calls of that name do not return before `stop`; at the end they do."""
    injected = Injected(place, shims, schedule)
    with spawn(*options, *COMMAND, cwd=TESTS, env=injected.environ) as server:
        try:
            yield server, injected
        finally:
            injected.stop()


def await_held(injected: Injected) -> None:
    """Until a call is held."""
    while injected.unused():
        pass


def begin(client: Client, *, chunks: bool, target: str = "/digest") -> None:
    framing = "Transfer-Encoding: chunked" if chunks else f"Content-Length: {LARGE}"
    client.send(request(target, framing, method="POST"))


def send_body(client: Client, *, chunks: bool) -> None:
    client.send(chunked(BODY) if chunks else BODY)


# -- a disk that does not answer -----------------------------------------------------------------


@needs_injection
@pytest.mark.parametrize("call", ["store", "open"])
@pytest.mark.parametrize("chunks", [False, True], ids=["with a length", "chunked"])
def test_a_disk_that_hangs_stops_only_the_upload_that_waits_for_it(
    tmp_path: Path, shims: dict[bool, Path], call: str, chunks: bool
) -> None:
    with held(tmp_path, shims, f"{call}=HOLD/1") as (server, injected), ExitStack() as stack:
        uploads = [stack.enter_context(Client(server.address)) for _ in range(8)]
        for client in uploads:
            begin(client, chunks=chunks)
        senders = [
            threading.Thread(target=send_body, args=(client,), kwargs={"chunks": chunks})
            for client in uploads
        ]
        for sender in senders:
            sender.start()
        await_held(injected)
        with Client(server.address) as other:
            for _ in range(50):
                assert other.fetch("/digest", method="POST", body=b"small").status == 200
        injected.stop()
        for sender, client in zip(senders, uploads, strict=True):
            sender.join()
            response = client.response()
            assert (response.status, response.body) == (200, str(sum(BODY)).encode())
        assert server.terminate() == 0


@needs_injection
def test_a_server_stops_although_the_disk_hangs(tmp_path: Path, shims: dict[bool, Path]) -> None:
    options = ("--graceful-timeout", "1")
    with (
        held(tmp_path, shims, "store=HOLD/1", *options) as (server, injected),
        Client(server.address) as client,
    ):
        begin(client, chunks=False)
        client.send(BODY[: 2 * MEMORY])
        await_held(injected)
        assert server.terminate() == 0
        assert "Traceback" not in server.output()


# -- reading back --------------------------------------------------------------------------------


@needs_injection
@pytest.mark.parametrize("how", ["read", "piece", "line", "lines", "iterate"])
def test_reading_a_body_back_holds_no_other_python_thread(
    tmp_path: Path, shims: dict[bool, Path], how: str
) -> None:
    """The application counts in a thread of its own, and lets the disk go when that has moved."""
    injected = Injected(tmp_path, shims, "pread=HOLD/1")
    env = injected.environ | {"RELEASE": str(injected.stop_file), "COUNTS": str(injected.counts)}
    with (
        spawn(*COMMAND, cwd=TESTS, env=env) as server,
        Client(server.address) as client,
    ):
        begin(client, chunks=False, target=f"/held/{how}")
        send_body(client, chunks=False)
        response = client.response()
        assert (response.status, response.body) == (200, b"moved")
        assert server.terminate() == 0


@needs_injection
def test_a_thread_that_still_reads_when_the_request_is_over_reads_its_own_file_or_nothing(
    tmp_path: Path, shims: dict[bool, Path]
) -> None:
    injected = Injected(tmp_path, shims, "pread=HOLD/1")
    env = injected.environ | {"COUNTS": str(injected.counts)}
    with spawn(*COMMAND, cwd=TESTS, env=env) as server, Client(server.address) as client:
        begin(client, chunks=False, target="/leave")
        send_body(client, chunks=False)
        assert client.response().body == b"left"
        before = client.fetch("/descriptors").body
        for _ in range(3):  # other files take the numbers that have become free
            client.send(request("/ignore", method="POST", body=BODY[::-1]))
            assert client.response().status == 200
        injected.stop()
        assert client.fetch("/left").body == str(sum(BODY)).encode()
        until = time.monotonic() + GUARD
        while int(client.fetch("/descriptors").body) >= int(before):
            assert time.monotonic() < until
        assert server.terminate() == 0


# -- no disk -------------------------------------------------------------------------------------


def complaints(server: Process) -> list[str]:
    return [line for line in server.output().splitlines() if "TMPDIR" in line]


def check_refusals(server: Process) -> None:
    """Large bodies get 507, small ones work, and one line of the log says why."""
    for fields in ((), ("Expect: 100-continue",)):
        with Client(server.address) as client:
            client.send(request("/digest", f"Content-Length: {LARGE}", *fields, method="POST"))
            response = client.response()
            assert (response.status, response.closes) == (507, True)
            client.send(BODY)  # a client that goes on talking reads it all the same
            client.finish_sending()
            assert client.ended()
    with Client(server.address) as client:
        begin(client, chunks=True)
        client.send(b"%x\r\n" % LARGE + BODY[: 4 * MEMORY])
        assert client.response().status == 507
    with Client(server.address) as client:
        for size in (0, 5, MEMORY):
            body = BODY[:size]
            response = client.fetch("/digest", method="POST", body=body)
            assert (response.status, response.body) == (200, str(sum(body)).encode())
            client.send(request("/digest", "Transfer-Encoding: chunked", method="POST"))
            client.send(chunked(*[body] if body else []))
            assert client.response().body == str(sum(body)).encode()
    assert server.terminate() == 0
    (line,) = complaints(server)
    assert "ERROR" in line
    assert "Traceback" not in server.output()


def test_without_a_directory_for_files_only_large_bodies_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "bodies"
    place.mkdir()
    with spawn(*COMMAND, cwd=TESTS, env={"TMPDIR": str(place)}) as server:
        place.rmdir()
        check_refusals(server)


def test_a_server_starts_where_no_directory_for_files_is_usable(
    tmp_path: Path, project: Callable[..., Path]
) -> None:
    """The library's search ends as it does in a container whose file system is read-only."""
    project(
        sitecustomize="""
        import tempfile

        def none():
            raise FileNotFoundError(2, "No usable temporary directory found")

        tempfile._get_default_tempdir = none
        """
    )
    before = environment({}).get("PYTHONPATH", "")
    env = {
        "TMPDIR": str(tmp_path / "missing"),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(tmp_path), before))),
    }
    with spawn(*COMMAND, cwd=TESTS, env=env) as server:
        check_refusals(server)


ISOLATED = ("unshare", "--user", "--map-root-user", "--mount")


def can_isolate() -> bool:
    if not sys.platform.startswith("linux") or shutil.which("unshare") is None:
        return False
    return subprocess.run([*ISOLATED, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_isolate(), reason="needs mount namespaces")
def test_a_read_only_container_starts_and_refuses_only_large_bodies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every directory that tempfile tries is read-only, the current one included."""
    places = [place for place in ("/tmp", "/var/tmp", "/usr/tmp", TESTS) if Path(place).is_dir()]
    python = tmp_path / "python"
    lines = [f"mount --bind {at} {at} && mount -o remount,bind,ro {at}" for at in places]
    inside = tmp_path / "inside"
    inside.write_text("\n".join(["set -e", *lines, f"cd {TESTS}", f'exec {sys.executable} "$@"']))
    python.write_text(f'#!/bin/sh\nexec {" ".join(ISOLATED)} sh {inside} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with spawn(*COMMAND, cwd=TESTS, env={"TMPDIR": None, "TEMP": None, "TMP": None}) as server:
        check_refusals(server)
