"""Certificates that change while the server runs."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apps.command import Project, ready
from apps.eventually import eventually
from apps.renewed import WHO, Certificate, Client, handshakes_get, make, serial, who, words

from fastwsgi.config.sources import from_keywords
from fastwsgi.testing import Process, serve, spawn
from fastwsgi.tls import load_tls, rotation
from fastwsgi.tls.rotation import Page, Rotation
from fastwsgi.tls.settings import Tls

CHANGED = "the certificates have changed, handshakes get the new ones"
BROKEN = "the certificates have changed and cannot be used, the old ones stay"


@pytest.fixture(scope="module")
def pairs() -> list[Certificate]:
    return [make("localhost"), make("localhost"), make("localhost")]


@pytest.fixture
def files(tmp_path: Path, pairs: list[Certificate]) -> tuple[Path, Path]:
    return pairs[0].put(tmp_path / "certificates")


@pytest.fixture
def two_workers(project: Project, files: tuple[Path, Path]) -> Iterator[Process]:
    with spawn("--workers", "2", *words(files), "app:app", cwd=project(app=WHO)) as server:
        yield server


# ---- by themselves ----


def test_a_changed_certificate_is_used_by_new_handshakes_and_ends_no_connection(
        two_workers: Process, files: tuple[Path, Path], pairs: list[Certificate]) -> None:
    address = two_workers.address
    with Client(address) as kept:
        before = kept.ask()
        assert kept.serial == pairs[0].serial
        pairs[1].put(files[0].parent)
        handshakes_get(address, pairs[1])
        assert kept.ask() == before, "the same worker answers on the same connection"
    two_workers.wait_for(f"{CHANGED}: {re.escape(str(files[0]))}")
    assert two_workers.output().count(CHANGED) == 1


def test_a_server_without_a_master_notices_too(
        files: tuple[Path, Path], pairs: list[Certificate]) -> None:
    with serve(who, certfile=[str(files[0])], keyfile=[str(files[1])]) as server:
        assert serial(server.address) == pairs[0].serial
        with Client(server.address) as kept:
            pairs[1].put(files[0].parent)
            handshakes_get(server.address, pairs[1])
            assert kept.ask()
        lines = eventually(lambda: server.log, bool)  # said after the handshakes get it
    assert [CHANGED in line for line in lines] == [True]


def test_follows_the_links_of_kubernetes(
        project: Project, tmp_path: Path, pairs: list[Certificate]) -> None:
    """A secret is a folder of links through ``..data``, which is replaced as a whole."""
    secret = tmp_path / "secret"
    pairs[0].put(secret / "..2026_01")
    (secret / "..data").symlink_to("..2026_01")
    for name in ("tls.crt", "tls.key"):
        (secret / name).symlink_to(f"..data/{name}")
    with spawn(*words((secret / "tls.crt", secret / "tls.key")), "app:app",
               cwd=project(app=WHO)) as server:
        for number, pair in ((2, pairs[1]), (3, pairs[2])):
            pair.put(secret / f"..2026_0{number}")
            (secret / "..data_tmp").symlink_to(f"..2026_0{number}")
            (secret / "..data_tmp").rename(secret / "..data")
            handshakes_get(server.address, pair)
        assert BROKEN not in server.output()


def test_follows_the_links_of_certbot(
        project: Project, tmp_path: Path, pairs: list[Certificate]) -> None:
    """``live`` has a link for each file into ``archive``, and they are replaced one by one."""
    archive, live = tmp_path / "archive", tmp_path / "live"
    live.mkdir()

    def link(number: int, pair: Certificate) -> None:
        pair.put(archive, f"tls{number}")
        for name, suffix in (("privkey.pem", "key"), ("fullchain.pem", "crt")):
            (live / name).unlink(missing_ok=True)
            (live / name).symlink_to(f"../archive/tls{number}.{suffix}")

    link(1, pairs[0])
    with spawn(*words((live / "fullchain.pem", live / "privkey.pem")), "app:app",
               cwd=project(app=WHO)) as server:
        assert serial(server.address) == pairs[0].serial
        link(2, pairs[1])
        handshakes_get(server.address, pairs[1])


@pytest.mark.parametrize("spoil", [
    lambda crt, key, other: key.write_bytes(other.key),
    lambda crt, key, other: crt.write_bytes(b"no certificate"),
    lambda crt, key, other: crt.unlink(),
    lambda crt, key, other: (crt.unlink(), os.mkfifo(crt)),
], ids=["another key", "no certificate", "no file", "a pipe"])
def test_a_broken_pair_leaves_the_old_one_with_one_line(
        two_workers: Process, files: tuple[Path, Path], pairs: list[Certificate],
        spoil: Callable[[Path, Path, Certificate], object]) -> None:
    spoil(*files, pairs[1])
    line = two_workers.wait_for(BROKEN)
    assert str(files[0]) in line
    with Client(two_workers.address) as client:
        assert client.serial == pairs[0].serial
        assert client.ask()
    if not files[0].is_file():
        files[0].unlink(missing_ok=True)
    pairs[2].put(files[0].parent)
    handshakes_get(two_workers.address, pairs[2])
    two_workers.wait_for(CHANGED)
    assert two_workers.output().count(BROKEN) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")
def test_workers_get_keys_that_only_root_can_read(
        files: tuple[Path, Path], pairs: list[Certificate]) -> None:
    files[0].parent.chmod(0o700)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        body = b"root" if os.access(files[1], os.R_OK) else b"nobody"
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    with serve(app, process=True, workers=2, user="nobody", certfile=[str(files[0])],
               keyfile=[str(files[1])]) as server:
        with Client(server.address) as client:
            assert client.ask() == b"nobody"
        pairs[1].put(files[0].parent)
        handshakes_get(server.address, pairs[1])


def test_a_worker_of_a_fork_server_begins_with_the_certificate_of_today(
        project: Project, files: tuple[Path, Path], pairs: list[Certificate]) -> None:
    with spawn("--preload", *words(files), "app:app", cwd=project(app=WHO)) as server:
        pairs[1].put(files[0].parent)
        handshakes_get(server.address, pairs[1])
        with Client(server.address) as client:
            first = int(client.ask())
        os.kill(first, signal.SIGKILL)
        server.wait_for(rf"worker {first} ended unexpectedly")
        with Client(server.address) as client:
            assert int(client.ask()) != first
            assert client.serial == pairs[1].serial


def test_handshakes_go_on_while_certificates_change(
        two_workers: Process, files: tuple[Path, Path], pairs: list[Certificate]) -> None:
    known = {pair.serial for pair in pairs}
    failures: list[BaseException] = []
    over = threading.Event()

    def ask() -> None:
        try:
            while not over.is_set():
                with Client(two_workers.address) as client:
                    assert client.serial in known
                    assert client.ask()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(1, 7):
            pair = pairs[turn % 3]
            for path in pair.put(files[0].parent / "next"):
                path.rename(files[0].parent / path.name)
            handshakes_get(two_workers.address, pair)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert failures == []


# ---- by a reload ----


def test_a_reload_takes_the_new_certificate(
        two_workers: Process, files: tuple[Path, Path], pairs: list[Certificate]) -> None:
    before = ready(two_workers)
    pairs[1].put(files[0].parent)
    two_workers.signal(signal.SIGHUP)
    after = ready(two_workers, 2)
    assert not set(before) & set(after)
    handshakes_get(two_workers.address, pairs[1])


def test_a_reload_with_a_broken_pair_changes_nothing(
        two_workers: Process, files: tuple[Path, Path], pairs: list[Certificate]) -> None:
    files[1].write_bytes(pairs[1].key)
    two_workers.signal(signal.SIGHUP)
    two_workers.wait_for("reload refused, nothing has changed: keyfile")
    assert serial(two_workers.address) == pairs[0].serial


def test_certificates_are_watched_after_a_reload_and_after_one_that_was_given_up(
        project: Project, two_workers: Process, files: tuple[Path, Path], tmp_path: Path,
        pairs: list[Certificate]) -> None:
    project(app="raise RuntimeError('not today')")
    two_workers.signal(signal.SIGHUP)
    two_workers.wait_for("reload abandoned")
    pairs[1].put(files[0].parent)
    handshakes_get(two_workers.address, pairs[1])
    project(app=WHO)
    two_workers.signal(signal.SIGHUP)
    ready(two_workers, 2)
    pairs[2].put(files[0].parent)
    handshakes_get(two_workers.address, pairs[2])


# ---- what workers share ----


class Log:
    """An error log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, text: str, *arguments: object) -> None:
        self.lines.append(text % arguments)

    info = warning = error


@pytest.fixture
def tls(files: tuple[Path, Path]) -> Tls:
    found = load_tls(from_keywords({"certfile": [str(files[0])], "keyfile": [str(files[1])]}))
    assert found is not None
    return found


def test_a_page_shows_what_was_written(tls: Tls, pairs: list[Certificate]) -> None:
    page = Page(tls)
    assert page.read(tls) == (1, tls)
    other = tls._replace(tickets=tls.tickets.rotated(), authorities=pairs[2].pem)
    assert page.write(other)
    assert page.read(tls) == (2, other)


def test_a_page_that_is_being_written_is_not_read(tls: Tls) -> None:
    page = Page(tls)
    at = rotation._HEAD.size + 10
    page._memory[at] ^= 1
    assert page.read(tls) is None
    page._memory[at] ^= 1
    assert page.read(tls) is not None


def test_a_page_keeps_nothing_of_an_old_key(tls: Tls) -> None:
    page = Page(tls)
    assert b"PRIVATE KEY" in page._memory[:]
    short = tls._replace(pairs=())
    assert page.write(short)
    assert b"PRIVATE KEY" not in page._memory[:]


def test_what_is_too_large_for_a_page_is_not_passed_on(tls: Tls) -> None:
    log = Log()
    watch = Rotation(tls, log)  # type: ignore[arg-type]
    page = watch.page()
    assert page is not None
    watch._replace(tls._replace(authorities=b"x" * rotation.LEAST))
    assert page.read(tls) == (1, tls)
    assert "too large to be passed on: a reload" in log.lines[0]


def test_keys_rotate_when_their_time_is_over(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Rotation(tls, Log())  # type: ignore[arg-type]
    page = watch.page()
    assert page is not None
    assert not watch.check()
    monkeypatch.setattr(rotation, "clock", lambda: tls.tickets.until + 1)
    watch._next_look = 0.0
    assert watch.check()
    assert watch.tls.tickets.previous == tls.tickets.current
    assert page.read(tls) == (2, watch.tls)


def test_looks_now_and_then_only(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[object] = []
    watch = Rotation(tls, Log())  # type: ignore[arg-type]
    monkeypatch.setattr(rotation, "_looks", lambda tls: looks.append(tls) or ())
    for _ in range(5):
        watch.check()
    assert len(looks) == 1
    assert watch.deadlines()[0] > time.monotonic()
