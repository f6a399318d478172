"""Listening sockets of every kind, and what is said when one cannot be had."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fastwsgi.errors import ListenError
from fastwsgi.system.address import parse_address
from fastwsgi.system.sockets import Listener, open_listeners


@contextmanager
def listening(*texts: str, backlog: int = 1, **options: object) -> Iterator[list[Listener]]:
    opened = open_listeners(
        [parse_address(text) for text in texts], backlog=backlog, **options)  # type: ignore[arg-type]
    try:
        yield opened
    finally:
        for listener in opened:
            listener.close()


def connects(listener: Listener) -> bool:
    with closing(socket.socket(listener.socket.family)) as client:
        client.connect(listener.address)
        return True


def test_listens_on_a_free_port() -> None:
    with listening("127.0.0.1:0") as (listener,):
        assert listener.url == f"http://127.0.0.1:{listener.port}"
        assert listener.core() == (listener.fileno(), "127.0.0.1", listener.port)
        assert int(listener.port) > 0
        assert connects(listener)


def test_listens_on_several_addresses(tmp_path: Path) -> None:
    with listening("127.0.0.1:0", "localhost:0", f"unix:{tmp_path}/s") as listeners:
        assert all(connects(listener) for listener in listeners)


def test_listeners_never_block_and_are_not_inherited_by_programs() -> None:
    with listening("127.0.0.1:0") as (listener,):
        assert not os.get_blocking(listener.fileno())
        assert not os.get_inheritable(listener.fileno())


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 on this platform")
def test_listens_on_ipv6_and_shares_a_port_with_ipv4() -> None:
    with listening("[::1]:0") as (listener,):
        assert listener.url == f"http://[::1]:{listener.port}"
        assert listener.name == "::1"
        assert connects(listener)
    with listening("0.0.0.0:0") as (four,):
        port = four.port
    with listening(f"0.0.0.0:{port}", f"[::]:{port}") as both:
        assert [listener.port for listener in both] == [port, port]


def test_a_unix_socket_is_open_to_all_unless_a_umask_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listening(f"unix:{path}") as (listener,):
        assert stat.S_IMODE(path.stat().st_mode) == 0o777
        assert listener.core() == (listener.fileno(), str(path), "")
        assert listener.url == f"unix:{path}"
    with listening(f"unix:{path}", umask=0o077):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_unix_path_is_removed_only_by_closing_and_only_if_it_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listening(f"unix:{path}") as (listener,):
        listener.close(remove=False)
        assert path.exists()
    assert not path.exists()
    with listening(f"unix:{path}"):
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with closing(socket.socket(socket.AF_UNIX)) as gone:
        gone.bind(str(path))
    with listening(f"unix:{path}") as (listener,):
        assert connects(listener)


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux'")
def test_listens_on_an_abstract_name() -> None:
    name = f"@fastwsgi-test-{os.getpid()}"
    with listening(f"unix:{name}") as (listener,):
        assert (listener.name, listener.port) == (name, "")
        assert connects(listener)


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_DEFER_ACCEPT is Linux'")
def test_connections_come_with_their_first_bytes() -> None:
    with listening("127.0.0.1:0") as (listener,), closing(socket.socket()) as client:
        client.connect(listener.address)
        with pytest.raises(BlockingIOError):  # the client's side is open, and it has said nothing
            listener.socket.accept()
        client.send(b"GET")
        connection, _ = listener.socket.accept()
        with closing(connection):
            assert connection.recv(3) == b"GET"


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_DEFER_ACCEPT is Linux'")
def test_a_silent_connection_comes_all_the_same() -> None:
    with listening("127.0.0.1:0") as (listener,), closing(socket.socket()) as client:
        client.connect(listener.address)
        listener.socket.settimeout(20)
        connection, _ = listener.socket.accept()
        connection.close()


def test_adopts_an_inherited_descriptor() -> None:
    with closing(socket.socket()) as given:
        given.bind(("127.0.0.1", 0))
        port = given.getsockname()[1]
        with listening(f"fd://{given.detach()}") as (listener,):
            assert listener.url == f"http://127.0.0.1:{port}"
            assert connects(listener)


def test_reuse_port_lets_two_share_an_address() -> None:
    with (
        listening("127.0.0.1:0", reuse_port=True) as (first,),
        listening(f"127.0.0.1:{first.port}", reuse_port=True) as (second,),
    ):
        assert second.port == first.port


def message(*texts: str) -> str:
    with pytest.raises(ListenError) as caught, listening(*texts):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_address_in_use_is_told() -> None:
    with listening("127.0.0.1:0") as (first,):
        address = f"127.0.0.1:{first.port}"
        assert message(address) == (
            f"cannot listen on {address}: address already in use; another process listens on it")


def test_a_unix_path_in_use_is_told(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    with listening(address) as (first,):
        assert "address already in use" in message(address)
        assert connects(first)  # the attempt took nothing away


def test_a_path_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("precious")
    assert message(f"unix:{path}").endswith("the path exists and is not a socket")
    assert path.read_text() == "precious"


@pytest.mark.parametrize(("text", "reason"), [
    ("no-such-host.invalid:80", "the host 'no-such-host.invalid' is unknown"),
    ("192.0.2.1:0", "it belongs to no interface of this machine"),
    ("unix:/no/such/directory/s", "no such file or directory"),
    (f"unix:/{'x' * 200}", "too long"),
    ("fd://987", "no such descriptor was inherited"),
])
def test_what_cannot_be_had_is_told(text: str, reason: str) -> None:
    told = message(text)
    assert told.startswith(f"cannot listen on {text}: ")
    assert reason in told


def test_a_descriptor_that_is_no_stream_socket_is_refused() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as wrong:
        assert message(f"fd://{wrong.detach()}").endswith("not a stream socket")
    reading, writing = os.pipe()
    try:
        assert "cannot listen" in message(f"fd://{reading}")
    finally:
        os.close(reading)
        os.close(writing)


def test_a_failure_leaves_no_listener_open(tmp_path: Path) -> None:
    path = tmp_path / "s"
    message(f"unix:{path}", "192.0.2.1:0")
    assert not path.exists()
