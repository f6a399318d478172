"""Requests whose clients have gone: those that wait are not served, those that run are told.

The test learns that the server has read what it has sent by asking for the health path afterwards:
the loop reads in the order of arrival, and answers that itself.
"""

from __future__ import annotations

import contextlib
import socket
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from apps.client import Address, Client, fetch, request
from apps.workers import Calls

from fastwsgi.testing import Process, spawn

GUARD = 30.0
HEALTH = "/health"

# /hold/PORT stands still until the test lets it go. /ask/PORT answers each byte that comes from
# there with what it knows of its client.
APP = """
    import socket, threading, time
    seen = []
    def app(environ, start_response):
        path = environ["PATH_INFO"]
        seen.append(path)
        kind, port = (path + "//").split("/")[1:3]
        gone = environ["fastwsgi.client_gone"]
        said = b"ok"
        if kind in ("hold", "ask"):
            with socket.create_connection(("127.0.0.1", int(port))) as side:
                side.sendall(b"1\\n")
                while side.recv(1) and kind == "ask":
                    side.sendall(b"yes" if gone() else b"no ")
        elif kind in ("sleep", "loop"):
            try:
                with socket.create_connection(("127.0.0.1", int(port))) as side:
                    side.sendall(b"1\\n")
                while kind == "loop":
                    pass
                time.sleep(60)
            except Exception:
                print("taken for an error", file=environ["wsgi.errors"])
            finally:
                print("cleaned up after", path, file=environ["wsgi.errors"])
        elif kind == "seen":
            said = " ".join(seen).encode()
        elif kind == "elsewhere":
            told = []
            def call():
                try:
                    gone()
                except RuntimeError as error:
                    told.append(str(error))
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()
            said = told[0].encode()
        elif kind == "quick":
            said = repr(gone()).encode()
        start_response("200 OK", [("Content-Length", str(len(said)))])
        return [said]
    """


@contextlib.contextmanager
def started(place: Path, *options: str) -> Iterator[Process]:
    (place / "app.py").write_text(textwrap.dedent(APP))
    with spawn("--health-path", HEALTH, *options, "app:app", cwd=place) as found:
        found.wait_for(r"\] ready: ")
        yield found


@pytest.fixture
def calls() -> Iterator[Calls]:
    with contextlib.closing(Calls()) as found:
        yield found


@pytest.fixture(scope="module")
def drops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server for which a client that has shut its side is gone after a millisecond."""
    with started(tmp_path_factory.mktemp("drops"), "--queue-target", "0.001") as found:
        yield found


@pytest.fixture(scope="module")
def serves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server for which it is not; it listens on a unix socket, too."""
    place = tmp_path_factory.mktemp("serves")
    with started(place, "--client-gone", "serve", "--queue-target", "0.001", "--bind",
                 f"unix:{place}/sock", "--bind", "127.0.0.1:0") as found:
        yield found


def has_read(address: Address) -> None:
    """Return when the server has read what was sent before, and some time of its clock is over."""
    assert fetch(address, HEALTH).status == 200
    time.sleep(0.02)  # the time is what it is about: there is nothing to wait for


# ---- while they wait ----


@contextlib.contextmanager
def busy(server: Process, calls: Calls) -> Iterator[None]:
    """Let the only thread be in a call until the end of the block."""
    with Client(server.address) as client:
        client.send(request(f"/hold/{calls.port}"))
        calls.entered()
        yield
        has_read(server.address)
        calls.let_go()
        assert client.response().status == 200


def seen(server: Process) -> list[str]:
    """What the application has seen, by its path."""
    return fetch(server.address, "/seen").body.decode().split()


def test_a_request_whose_client_has_reset_the_connection_is_not_served(
    drops: Process, calls: Calls,
) -> None:
    with Client(drops.address) as there:
        with busy(drops, calls):
            gone = Client(drops.address)
            gone.send(request("/reset"))
            there.send(request("/there"))
            has_read(drops.address)
            gone.reset()
        assert there.response().status == 200
    assert "/there" in seen(drops)
    assert "/reset" not in seen(drops)


def test_many_clients_that_are_gone_are_passed_over_at_once(drops: Process, calls: Calls) -> None:
    with Client(drops.address) as there:
        with busy(drops, calls):
            for _ in range(300):
                gone = Client(drops.address)
                gone.send(request("/many"))
                gone.reset()
            there.send(request("/behind"))
        assert there.response().status == 200
    assert "/many" not in seen(drops)


def test_one_that_has_shut_its_side_and_waited_long_is_dropped(
    drops: Process, calls: Calls,
) -> None:
    with Client(drops.address) as half:
        with busy(drops, calls):
            half.send(request("/half"))
            half.finish_sending()
        assert half.ended()
    assert "/half" not in seen(drops)


def test_it_is_served_where_the_setting_says_so(serves: Process, calls: Calls) -> None:
    with Client(serves.address) as half:
        with busy(serves, calls):
            half.send(request("/half"))
            half.finish_sending()
        assert half.response().status == 200


def test_one_that_has_shut_its_side_a_moment_ago_is_served(tmp_path: Path, calls: Calls) -> None:
    with (started(tmp_path, "--queue-target", "60") as server,
          Client(server.address) as half):
        with busy(server, calls):
            half.send(request("/half"))
            half.finish_sending()
        assert half.response().status == 200


# ---- while they are served ----


class Asked:
    """A request that says when asked whether its client is gone."""

    def __init__(self, address: Address, calls: Calls) -> None:
        self.client = Client(address)
        self.client.send(request(f"/ask/{calls.port}"))
        calls.entered()
        (self._side,) = calls.sides()

    def is_gone(self) -> bool:
        self._side.sendall(b"?")
        said = self._side.recv(3, socket.MSG_WAITALL)
        assert said in (b"yes", b"no ")
        return said == b"yes"

    def becomes_gone(self) -> bool:
        end = time.monotonic() + GUARD
        while not self.is_gone():
            assert time.monotonic() < end
        return True


def test_one_that_has_reset_the_connection_is_gone(serves: Process, calls: Calls) -> None:
    asked = Asked(serves.address, calls)
    assert not asked.is_gone()
    asked.client.reset()
    assert asked.becomes_gone()


def test_the_first_question_tells_what_has_happened_before(serves: Process, calls: Calls) -> None:
    asked = Asked(serves.address, calls)
    asked.client.reset()
    assert asked.is_gone()


def test_one_that_has_shut_its_side_is_gone(drops: Process, calls: Calls) -> None:
    asked = Asked(drops.address, calls)
    assert not asked.is_gone()
    asked.client.finish_sending()
    assert asked.becomes_gone()


def test_it_is_not_gone_where_the_setting_says_so(serves: Process, calls: Calls) -> None:
    asked = Asked(serves.address, calls)
    asked.client.finish_sending()
    has_read(serves.address)
    assert not asked.is_gone()
    calls.let_go()
    assert asked.client.response().body == b"ok"


def test_one_that_closes_a_unix_socket_is_gone(serves: Process, calls: Calls) -> None:
    (path,) = (line.rpartition("unix:")[2] for line in serves.output().splitlines()
               if "unix:" in line and "listening" in line)
    asked = Asked(path.split()[0].rstrip(",;)"), calls)
    assert not asked.is_gone()
    asked.client.close()
    assert asked.becomes_gone()


def test_a_client_of_several_requests_is_told_of_in_each(drops: Process, calls: Calls) -> None:
    with Client(drops.address) as client:
        assert client.fetch("/quick").body == b"False"
        assert client.fetch("/quick").body == b"False"
        client.send(request(f"/ask/{calls.port}"))
        calls.entered()
        client.reset()
    (side,) = calls.sides()
    side.sendall(b"?")
    assert side.recv(3, socket.MSG_WAITALL) == b"yes"


def test_one_that_says_all_at_once_is_answered(drops: Process) -> None:
    """As nc -N does. Its time of a millisecond may be over here and there: then it is not."""
    with Client(drops.address) as half:
        half.send(request("/quick"))
        half.finish_sending()
        assert half.response().status == 200


def test_only_the_thread_of_the_request_may_ask(drops: Process) -> None:
    assert b"in another thread than the one that runs the request" in fetch(
        drops.address, "/elsewhere").body


# ---- cancelled ----


@pytest.mark.parametrize(("kind", "options"), [
    ("sleep", []), ("loop", []), ("loop", ["--threads", "2", "--timeout", "0"])])
def test_a_request_whose_client_has_gone_is_cancelled(
    kind: str, options: list[str], tmp_path: Path, calls: Calls,
) -> None:
    with started(tmp_path, "--cancel-gone", *options) as server:
        for _ in range(len(options) // 2 + 1):
            client = Client(server.address)
            client.send(request(f"/{kind}/{calls.port}"))
            calls.entered()
            client.close()
        server.wait_for(rf"\[INFO\] cancelling GET /{kind}/\d+ from 127\.0\.0\.1 after \d")
        server.wait_for(f"^cleaned up after /{kind}/", count=len(options) // 2 + 1)
        assert fetch(server.address, "/").status == 200
        assert "Traceback" not in server.output()
        assert "taken for an error" not in server.output()


def test_one_that_ends_in_time_is_not_cancelled(tmp_path: Path, calls: Calls) -> None:
    with started(tmp_path, "--cancel-gone", "--client-gone", "serve") as server:
        asked = Asked(server.address, calls)
        asked.client.finish_sending()
        assert not asked.is_gone()
        calls.let_go()
        assert asked.client.response().body == b"ok"
        assert "cancelling" not in server.output()
