"""Both logs in syslog (RFC 5424) and in the journal, whatever becomes of the receiver."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest
from apps.client import Client, request
from apps.logged import app

from fastwsgi.system.syslog import Place, parse_place
from fastwsgi.testing import raw, serve

CLOSE = "Connection: close"


RFC5424 = re.compile(
    r"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d \S+ (\S+) (\d+) (\S+) - "
    "(?:\ufeff)?(.*)", re.DOTALL)


def receiver(kind: str, place: Path) -> tuple[socket.socket, str]:
    """A socket that a syslog would have, and its address as a setting."""
    family = socket.AF_INET if kind in ("udp", "tcp") else socket.AF_UNIX
    sort = socket.SOCK_STREAM if kind in ("tcp", "stream") else socket.SOCK_DGRAM
    sock = socket.socket(family, sort)
    sock.settimeout(10)
    if family == socket.AF_INET:
        sock.bind(("127.0.0.1", 0))
        address = f"{kind}://127.0.0.1:{sock.getsockname()[1]}"
    else:
        sock.bind(str(place / kind))
        address = f"unix://{place / kind}#{kind}" if kind != "journal" else (
            f"journal:{place / kind}")
    if sort == socket.SOCK_STREAM:
        sock.listen()
    return sock, address


def messages(sock: socket.socket, until: str) -> list[str]:
    """The messages up to one that contains a text."""
    found: list[str] = []
    if sock.type == socket.SOCK_DGRAM:
        while not found or until not in found[-1]:
            found.append(sock.recv(1 << 16).decode())
        return found
    peer, _ = sock.accept()
    peer.settimeout(10)
    with peer, peer.makefile("rb") as file:
        while not found or until not in found[-1]:
            size = b""
            while not size.endswith(b" "):
                size += file.read(1)
            found.append(file.read(int(size)).decode())
            assert found[-1].endswith("\n")
    return [one[:-1] for one in found]


@pytest.mark.parametrize("kind", ["udp", "tcp", "dgram", "stream"])
def test_records_go_to_syslog(tmp_path: Path, kind: str) -> None:
    sock, address = receiver(kind, tmp_path)
    with sock, serve(app, syslog=True, syslog_addr=address, syslog_prefix="shop",
                     syslog_facility="local3", disable_redirect_access_to_syslog=True) as server:
        raw(server.address, request("/fail", CLOSE))
        found = [RFC5424.fullmatch(one) for one in messages(sock, "on purpose")]
        assert all(found)
        last = found[-1]
        assert last is not None
        assert last[1] == str((16 + 3) * 8 + 3)
        assert (last[2], last[3], last[4]) == ("fastwsgi.shop", str(os.getpid()), "error")
        assert "Traceback" in last[5]
        assert any("on purpose" in line for line in server.log)  # and to the file


def test_records_go_to_the_journal(tmp_path: Path) -> None:
    sock, address = receiver("journal", tmp_path)
    with sock, serve(app, syslog=True, syslog_addr=address, request_id="on",
                     disable_redirect_access_to_syslog=True) as server:
        raw(server.address, request("/fail", "X-Request-ID: my-id", CLOSE))
        entry = sock.recv(1 << 16)
    size = int.from_bytes(entry[8:16], "little")
    assert entry.startswith(b"MESSAGE\n")
    assert entry[16 : 16 + size].endswith(b"on purpose")
    rest = entry[16 + size :].decode().splitlines()
    assert {"PRIORITY=3", "SYSLOG_IDENTIFIER=fastwsgi", "SYSLOG_FACILITY=1",
            "FASTWSGI_REQUEST_ID=my-id", "FASTWSGI_PATH=/fail"} <= set(rest)


@pytest.mark.parametrize("kind", ["udp", "tcp", "dgram", "stream", "journal"])
def test_a_syslog_that_is_gone_costs_records_and_nothing_else(tmp_path: Path, kind: str) -> None:
    sock, address = receiver(kind, tmp_path)
    sock.close()
    with serve(app, syslog=True, syslog_addr=address,
               disable_redirect_access_to_syslog=True) as server, Client(server.address) as client:
        for _ in range(20):
            assert client.fetch("/fail").status == 500
        assert client.fetch("/").body == b"hello"
        (said,) = [line for line in server.log if "syslog cannot be reached" in line]
        assert re.search(r"\(.+\): \d+ records? (is|are) lost$", said)
        assert sum("Traceback" in line for line in server.log) == 20


@pytest.mark.parametrize("kind", ["udp", "tcp", "dgram", "stream", "journal"])
@pytest.mark.parametrize("file", [False, True])
def test_the_access_log_goes_to_syslog_too(tmp_path: Path, kind: str, *, file: bool) -> None:
    sock, address = receiver(kind, tmp_path)
    path = tmp_path / "access.log"
    with sock, serve(app, syslog=True, syslog_addr=address, accesslog=str(path) if file else "",
                     access_log_format="%(m)s %(U)s", loglevel="error") as server:
        raw(server.address, request("/one", CLOSE))
        raw(server.address, request("/two", CLOSE))
        found = messages(sock, "/two")
    if kind == "journal":
        assert [one.splitlines()[-1] for one in found] == ["MESSAGE=GET /one", "MESSAGE=GET /two"]
    else:
        matches = [RFC5424.fullmatch(one) for one in found]
        assert [(m[1], m[4], m[5]) for m in matches if m] == [
            ("14", "access", "GET /one"), ("14", "access", "GET /two")]
    assert (path.read_text() if path.exists() else "") == ("GET /one\nGET /two\n" if file else "")


def test_the_last_lines_go_to_syslog_before_a_worker_ends(tmp_path: Path) -> None:
    sock, address = receiver("dgram", tmp_path)
    with sock:
        with serve(app, syslog=True, syslog_addr=address, access_log_format="%(U)s",
                   loglevel="error") as server, Client(server.address) as client:
            client.send(b"".join(request(f"/{n}") for n in range(8)))
            for _ in range(8):
                client.response()
        assert len(messages(sock, "/7")) == 8


def test_a_syslog_that_comes_back_is_used_again(tmp_path: Path) -> None:
    sock, address = receiver("dgram", tmp_path)
    with serve(app, syslog=True, syslog_addr=address,
               disable_redirect_access_to_syslog=True) as server:
        raw(server.address, request("/fail", CLOSE))
        assert messages(sock, "on purpose")
        sock.close()
        (tmp_path / "dgram").unlink()
        sock, _ = receiver("dgram", tmp_path)
        raw(server.address, request("/fail", CLOSE))
        assert messages(sock, "on purpose")
        sock.close()


@pytest.mark.parametrize(("text", "place"), [
    ("udp://localhost:514", Place("udp", "localhost", 514)),
    ("udp://10.0.0.1", Place("udp", "10.0.0.1", 514)),
    ("tcp://[::1]:601", Place("tcp", "::1", 601)),
    ("unix:///dev/log", Place("dgram", "/dev/log")),
    ("unix:/dev/log#stream", Place("stream", "/dev/log")),
    ("unix://@name#dgram", Place("dgram", "@name")),
    ("journal", Place("journal", "/run/systemd/journal/socket")),
    ("journal:/x", Place("journal", "/x")),
])
def test_addresses_of_syslog(text: str, place: Place) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize("text", [
    "", "localhost:514", "udp://", "udp://h:0", "udp://h:70000", "udp://h:x", "http://h:1",
    "unix://", "unix://#stream", "unix:///x#other", "tcp://a b:1", "tcp://::1:5",
    "unix://" + "x" * 108,
])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"^udp://HOST:PORT, tcp"):
        parse_place(text)
