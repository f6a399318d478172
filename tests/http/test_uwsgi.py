"""The uwsgi protocol over real connections: packets as nginx sends them, and hostile ones.

Rule: a packet is made here byte by byte; what real proxies send is in tests/fronts. There are more
than 500 lines because most of them are one table.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from apps import TEXT, proxied, uwsgi
from apps.client import TIMEOUT, Client, request
from apps.uwsgi import ask, fetch, packet, variables

from fastwsgi.config.sources import from_keywords
from fastwsgi.errors import ConfigError
from fastwsgi.system.address import parse_address
from fastwsgi.system.sockets import open_listeners
from fastwsgi.testing import Server, serve, spawn
from fastwsgi.testing import raw as raw_bytes

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Seen = list[dict[str, Any]]


@contextlib.contextmanager
def watched(**settings: Any) -> Iterator[tuple[Server, Seen]]:
    """A server on a TCP address, and the environs that its application has got."""
    seen: Seen = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        seen.append({**environ, "body": body})
        start_response("200 OK", TEXT)
        return [body or b"empty"]

    with serve(app, **{"protocol": "uwsgi", **settings}) as server:
        yield server, seen


def sent(pairs: Iterable[uwsgi.Variable]) -> bytes:
    """A packet of nginx's variables and these behind them."""
    return packet([*variables().items(), *pairs])


def behind(raw: bytes) -> bytes:
    """A packet of nginx's variables with these bytes behind them, counted in its size."""
    block = sent([])[4:] + raw
    return struct.pack("<BHB", 0, len(block), 0) + block


# ---- what the application sees ----


def test_takes_the_variables_of_the_packet() -> None:
    with watched() as (server, seen):
        response = fetch(
            server.address, "/a%20b/c?q=%20d", PATH_INFO="/a b/c", HTTP_ACCEPT_LANGUAGE="de",
            HTTP_X_OWN="\xe9", CONTENT_TYPE="text/plain", SERVER_NAME="shop.example",
            SERVER_PORT="8443", SERVER_PROTOCOL="HTTP/2.0", REMOTE_USER="me", OWN_ONE="x y")
    assert (response.status, response.body) == (200, b"empty")
    (environ,) = seen
    assert environ.items() >= {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/a b/c", "QUERY_STRING": "q=%20d",
        "RAW_URI": "/a%20b/c?q=%20d", "REQUEST_URI": "/a%20b/c?q=%20d", "HTTP_HOST": "test",
        "HTTP_ACCEPT_LANGUAGE": "de", "HTTP_X_OWN": "\xe9", "CONTENT_TYPE": "text/plain",
        "SERVER_NAME": "shop.example", "SERVER_PORT": "8443", "SERVER_PROTOCOL": "HTTP/2.0",
        "REMOTE_ADDR": "192.0.2.7", "REMOTE_PORT": "4711", "REMOTE_USER": "me", "OWN_ONE": "x y",
        "DOCUMENT_ROOT": "/srv", "wsgi.url_scheme": "http", "GATEWAY_INTERFACE": "CGI/1.1",
    }.items()  # fmt: skip
    assert "CONTENT_LENGTH" not in environ
    assert environ["SERVER_SOFTWARE"].startswith("fastwsgi")


def test_path_info_is_taken_as_it_is_once() -> None:
    path = "/%2e%2f/\xc3\xa9\r\n\0+"
    with watched() as (server, seen):
        assert fetch(server.address, "/x", PATH_INFO=path).status == 200
    assert seen[0]["PATH_INFO"] == path


def test_without_a_path_that_of_the_target_is_decoded() -> None:
    with watched() as (server, seen):
        fetch(server.address, "/a%20b?c", PATH_INFO=None, QUERY_STRING=None)
        fetch(server.address, "/", PATH_INFO="", SCRIPT_NAME="/shop")
        fetch(server.address, "*", "OPTIONS", PATH_INFO="*", QUERY_STRING=None)
    assert [(e["SCRIPT_NAME"], e["PATH_INFO"], e["QUERY_STRING"]) for e in seen] == [
        ("", "/a b", "c"), ("/shop", "", ""), ("", "*", "")]


@pytest.mark.parametrize(("script_name", "path_info", "setting", "expected"), [
    ("/shop", "/a", "", ("/shop", "/a")),
    ("/", "/a", "", ("", "/a")),
    (None, "/shop/a", "/shop", ("/shop", "/a")),
    ("/shop", "/a", "/shop", ("/shop", "/a")),
    ("/shop", "", "/shop", ("/shop", "")),
    ("/sh", "/op", "/sh/op", ("/sh/op", "")),
    (None, "/other", "/shop", None),
    ("/other", "/shop/a", "/shop", None),
])
def test_script_name_of_the_front_and_of_the_setting(
    script_name: str | None, path_info: str, setting: str, expected: tuple[str, str] | None,
) -> None:
    with watched(script_name=setting) as (server, seen):
        response = fetch(server.address, "/t", SCRIPT_NAME=script_name, PATH_INFO=path_info)
    if expected is None:
        assert (response.status, seen) == (404, [])
    else:
        assert [(e["SCRIPT_NAME"], e["PATH_INFO"]) for e in seen] == [expected]


@pytest.mark.parametrize(("more", "scheme"), [
    ({"HTTPS": "on"}, "https"),
    ({"HTTPS": "", "REQUEST_SCHEME": "https"}, "https"),
    ({"UWSGI_SCHEME": "https"}, "https"),
    ({"UWSGI_SCHEME": "http", "HTTPS": "on"}, "http"),
    ({"HTTP_X_FORWARDED_PROTO": "https"}, "http"),
])
def test_the_scheme_is_that_of_the_front(more: dict[str, str], scheme: str) -> None:
    with watched() as (server, seen):
        fetch(server.address, **more)
    assert seen[0]["wsgi.url_scheme"] == scheme


@pytest.mark.parametrize(("address", "port", "expected"), [
    ("2001:DB8::1", "7", ("2001:db8::1", "7")),
    ("unix:", "", ("", "")),
    ("192.0.2.1", None, ("192.0.2.1", "")),
])
def test_the_client_is_that_of_the_front(
    address: str, port: str | None, expected: tuple[str, str],
) -> None:
    with watched() as (server, seen):
        fetch(server.address, REMOTE_ADDR=address, REMOTE_PORT=port)
    assert (seen[0]["REMOTE_ADDR"], seen[0]["REMOTE_PORT"]) == expected


def test_repeated_fields_are_joined_as_over_http() -> None:
    """nginx sends one variable for each field line before 1.23."""
    with watched() as (server, seen):
        response = ask(server.address, sent([
            ("HTTP_X_TWO", "a"), ("HTTP_COOKIE", "b=1"), ("HTTP_X_TWO", "c"), ("HTTP_ACCEPT", "d"),
            ("HTTP_COOKIE", "e=2"), ("HTTP_ACCEPT", "f"), ("REQUEST_SCHEME", "http")]))
    assert response.status == 200
    assert [seen[0][key] for key in ("HTTP_X_TWO", "HTTP_COOKIE", "HTTP_ACCEPT")] == [
        "a, c", "b=1; e=2", "d, f"]


def test_what_belongs_to_the_clients_own_hop_is_left_out() -> None:
    with watched() as (server, seen):
        response = fetch(
            server.address, method="POST", body=b"hello", HTTP_CONTENT_LENGTH="7",
            HTTP_CONTENT_TYPE="b/c", HTTP_TRANSFER_ENCODING="chunked", HTTP_PROXY="evil",
            HTTP_EXPECT="nonsense", HTTP_CONNECTION="keep-alive")
    assert response.body == b"hello"
    assert seen[0]["CONTENT_LENGTH"] == "5"
    assert not seen[0].keys() & {
        "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_PROXY",
        "CONTENT_TYPE"}


def test_no_variable_replaces_what_the_server_sets() -> None:
    with watched() as (server, seen):
        response = ask(server.address, sent([
            ("wsgi.input", "x"), ("wsgi.url_scheme", "gopher"), ("fastwsgi.version", "x"),
            ("gunicorn.socket", "x"), ("RAW_URI", "x"), ("SERVER_SOFTWARE", "x"), ("a b", "x"),
            ("GATEWAY_INTERFACE", "x"), ("downgrade-1.0", "1")]))
    assert response.status == 200
    assert seen[0]["body"] == b""
    assert "x" not in seen[0].values()
    assert "gopher" not in seen[0].values()
    assert "downgrade-1.0" not in seen[0]


def test_no_environ_is_left_over_from_the_request_before() -> None:
    """Whatever is remembered of requests over HTTP is not used for packets, and the reverse."""
    with watched(protocol="http", bind=["127.0.0.1:0", "uwsgi://127.0.0.1:0"]) as (server, seen):
        (other,) = [address for address in all_addresses(server) if address != server.address]
        with Client(server.address) as client:
            for number in range(12):
                client.fetch(f"/{number}", "X-Of-Http: 1")
                fetch(other, f"/{number}", HTTP_X_OF_PACKET=str(number), OWN=str(number))
    assert [e.get("HTTP_X_OF_HTTP") for e in seen] == ["1", None] * 12
    assert [e.get("HTTP_X_OF_PACKET") for e in seen[1::2]] == [str(i) for i in range(12)]
    assert [e.get("OWN") for e in seen] == [
        None if i % 2 == 0 else str(i // 2) for i in range(24)]


def all_addresses(server: Server) -> list[tuple[str, int]]:
    """The TCP addresses that this process listens on."""
    found = []
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as sock:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                found.append(sock.getsockname())
    return [address for address in found if isinstance(address, tuple)]


# ---- bodies and responses ----


@pytest.mark.parametrize("size", [1, 5000, (1 << 20) + 1])
def test_a_body_follows_content_length(size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    with watched(body_memory=100_000) as (server, seen):
        response = fetch(server.address, method="POST", body=body[:size])
    assert response.body == body[:size]
    assert seen[0]["CONTENT_LENGTH"] == str(size)


def test_a_packet_arrives_byte_by_byte() -> None:
    data = packet(variables(method="POST", CONTENT_LENGTH="3").items()) + b"abc"
    with watched() as (server, seen), Client(server.address) as client:
        for i in range(len(data)):
            client.send(data[i : i + 1])
        assert client.response().body == b"abc"
        assert client.ended()
    assert len(seen) == 1


def test_a_packet_larger_than_the_receive_buffer() -> None:
    with watched(limit_request_field_size=0) as (server, seen):
        assert fetch(server.address, HTTP_X_LARGE="x" * 60_000).status == 200
    assert seen[0]["HTTP_X_LARGE"] == "x" * 60_000


def test_a_second_packet_behind_the_first_is_not_looked_at() -> None:
    one = packet(variables().items())
    with watched() as (server, seen), Client(server.address) as client:
        client.send(one + one)
        assert client.response().body == b"empty"
        assert client.ended()
    assert len(seen) == 1


def test_a_response_of_unknown_length_ends_with_the_connection() -> None:
    with serve(proxied.app, protocol="uwsgi") as server:
        response = fetch(server.address, "/large/300000")
        assert response.get("Content-Length") is None
        assert response.body == b"x" * 300_000


def test_head_has_no_body() -> None:
    with watched() as (server, seen):
        response = fetch(server.address, method="HEAD")
    assert (response.status, response.get("Content-Length")) == (200, "5")
    assert seen[0]["REQUEST_METHOD"] == "HEAD"


# ---- refusals ----

REFUSED: dict[str, tuple[int, bytes]] = {
    "crlf in a field": (400, sent([("HTTP_X", "a\r\nSet-Cookie: b")])),
    "nul in a field": (400, sent([("HTTP_X", "a\0b")])),
    "cr in a variable": (400, sent([("OWN", "a\rb")])),
    "no method": (400, packet([("REQUEST_URI", "/")])),
    "unknown method": (501, packet(variables(method="FROB").items())),
    "method with a space": (400, packet(variables(method="GET /x").items())),
    "bad target": (400, packet(variables("/a b").items())),
    "bad query": (400, packet(variables(QUERY_STRING="a\r\nb").items())),
    "space at the length": (400, packet(variables(CONTENT_LENGTH=" 5").items())),
    "signed length": (400, packet(variables(CONTENT_LENGTH="+5").items())),
    "two lengths": (400, sent([("CONTENT_LENGTH", "1"), ("CONTENT_LENGTH", "1")])),
    "two paths": (400, sent([("PATH_INFO", "/other")])),
    "two hosts": (400, sent([("HTTP_HOST", "test")])),
    "bad host": (400, packet(variables(HTTP_HOST="a b").items())),
    "second spelling": (400, sent([("HTTP_X-OWN", "a")])),
    "client's address": (400, packet(variables(REMOTE_ADDR="localhost").items())),
    "no end": (400, sent([])[:4] + b"\xff\xff" + sent([])[6:]),
    "value past the end": (400, behind(b"\1\0X\5\0four")),
    "name past the end": (400, behind(b"\5\0four")),
    "no value": (400, behind(b"\1\0X")),
    "field without a name": (400, sent([("HTTP_", "x")])),
    "empty packet": (400, packet([])),
    "no target": (400, packet(variables(REQUEST_URI=None).items())),
    "no token in a field": (400, sent([("HTTP_A B", "a")])),
    "field in lower case": (400, sent([("HTTP_own", "a")])),
    "path without a slash": (400, packet(variables(PATH_INFO="x").items())),
    "mount without a slash": (400, packet(variables(SCRIPT_NAME="x").items())),
    "another scheme": (400, packet(variables(UWSGI_SCHEME="ftp").items())),
    "length past 64 bits": (400, packet(variables(CONTENT_LENGTH="9" * 20).items())),
    "another plugin": (400, packet(variables().items(), modifier1=5)),
    "another modifier": (400, packet(variables().items(), modifier2=1)),
    "plain HTTP": (400, request()),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00"),
    "too many fields": (431, sent([("HTTP_X", "a")] * 101)),
    "long field": (431, sent([("HTTP_X", "a" * 9000)])),
    "long target": (414, packet(variables("/" + "a" * 9000).items())),
}


@pytest.fixture(scope="module")
def hostile() -> Iterator[tuple[Server, Seen]]:
    with watched() as server_and_seen:
        yield server_and_seen


@pytest.mark.parametrize("piece", [1 << 20, 100, 7], ids=("whole", "100", "7"))
@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_two_readers_could_read_in_two_ways(
    hostile: tuple[Server, Seen], name: str, piece: int,
) -> None:
    server, seen = hostile
    status, data = REFUSED[name]
    with Client(server.address) as client:
        for at in range(0, len(data), piece):
            with contextlib.suppress(ConnectionError):  # it is refused as soon as that is known
                client.send(data[at : at + piece])
        response = client.response()
        assert response.status == status
        assert response.body.count(b"\n") == 1
        assert client.ended()
    assert not seen, seen.pop()


def test_a_body_over_the_limit_is_refused_before_it_comes() -> None:
    with watched(limit_request_body=10) as (server, seen):
        head = packet(variables(method="POST", CONTENT_LENGTH="11").items())
        assert ask(server.address, head).status == 413
        assert seen == []


def test_a_refusal_of_head_has_no_body() -> None:
    with watched() as (server, _):
        response = ask(server.address, packet(variables("/a b", "HEAD").items()), "HEAD")
        assert response.status == 400


@pytest.mark.parametrize("data", [b"\0", packet(variables().items())[:-1]])
def test_a_packet_that_does_not_arrive_in_time(data: bytes) -> None:
    with watched(header_timeout=0.2) as (server, seen):
        assert ask(server.address, data).status == 408
        assert seen == []


def test_a_body_that_does_not_arrive_in_time() -> None:
    with watched(body_timeout=0.2) as (server, seen):
        data = packet(variables(method="POST", CONTENT_LENGTH="2").items()) + b"a"
        assert ask(server.address, data).status == 408
        assert seen == []


def test_a_client_that_leaves_amid_a_packet_costs_nothing() -> None:
    with watched() as (server, seen):
        for cut in (1, 3, 5, 100):
            assert raw_bytes(server.address, sent([])[:cut], half_close=True) == b""
        assert fetch(server.address).status == 200
    assert len(seen) == 1


# ---- who may speak it ----


@pytest.mark.parametrize(("allowed", "status"), [
    ("127.0.0.1", 200), ("127.0.0.0/8,10.0.0.1", 200), ("*", 200), ("10.0.0.0/8", 403), ("", 403),
])
def test_only_the_allowed_may_speak_it(allowed: str, status: int) -> None:
    with watched(uwsgi_allow_ips=allowed) as (server, seen):
        assert fetch(server.address).status == status
    assert len(seen) == (status == 200)


def test_who_is_not_allowed_is_refused_at_the_first_byte() -> None:
    with watched(uwsgi_allow_ips="10.0.0.0/8") as (server, _):
        response = ask(server.address, b"\0")
        assert response.status == 403
        assert b"uwsgi_allow_ips" in response.body


def test_a_unix_socket_is_not_restricted(tmp_path: Path) -> None:
    with watched(bind=f"unix:{tmp_path}/s", uwsgi_allow_ips="") as (server, seen):
        assert server.url == f"uwsgi://unix:{tmp_path}/s"
        assert fetch(server.address).status == 200
    assert seen[0]["REMOTE_ADDR"] == "192.0.2.7"


def test_a_port_of_http_says_that_it_is_one() -> None:
    with watched(protocol="http") as (server, seen):
        response = ask(server.address, packet(variables().items()))
    assert response.status == 400
    assert response.body == b"the uwsgi protocol on a port that speaks HTTP\n"
    assert not seen, seen.pop()


# ---- what belongs to a request ----


def test_the_access_log_has_the_client_and_its_request(tmp_path: Path) -> None:
    log = tmp_path / "access"
    pattern = '%(h)s "%(r)s" %(m)s %(U)s %(q)s %(H)s %(s)s %({x-own}i)s %({own}i)s'
    with watched(accesslog=str(log), access_log_format=pattern) as (server, _):
        fetch(server.address, "/a%20b?c=d", HTTP_X_OWN="e", OWN="f", SERVER_PROTOCOL="HTTP/2.0")
        fetch(server.address, "/a b")
        ask(server.address, b"\x05")
    assert log.read_text().splitlines() == [
        r'192.0.2.7 "GET /a%20b?c=d HTTP/2.0" GET /a\x20b c=d HTTP/2.0 200 e -',
        '127.0.0.1 "GET /a b HTTP/1.1" GET /a  HTTP/1.1 400 - -',
        '127.0.0.1 "-" - -  - 400 - -',
    ]


def test_the_health_path_is_answered() -> None:
    with watched(health_path="/healthz") as (server, seen):
        assert fetch(server.address, "/healthz").body == b"ok\n"
        assert fetch(server.address, "/healthz", "POST").body == b"empty"
    assert len(seen) == 1


def test_strict_wsgi_finds_nothing_wrong() -> None:
    with watched(strict_wsgi=True) as (server, seen):
        fetch(server.address, "/a", SERVER_NAME="", SERVER_PORT="", SERVER_PROTOCOL=None)
        fetch(server.address, "/a", "POST", b"body", SCRIPT_NAME="/")
        log = "\n".join(server.log)
    assert len(seen) == 2
    assert "PEP 3333" not in log
    assert seen[0]["SERVER_PROTOCOL"] == "HTTP/1.0"
    assert seen[0]["SERVER_NAME"] == "127.0.0.1"


def test_a_stuck_request_is_named_with_its_client() -> None:
    held = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        while not held.wait(0.05):  # in steps, between which it can be interrupted
            pass
        start_response("200 OK", TEXT)
        return [b"late"]

    with serve(app, protocol="uwsgi", timeout=0.3) as server, Client(server.address) as client:
        client.send(packet(variables("/slow").items()))
        try:
            client.response()
        finally:
            held.set()
        assert any("GET /slow" in line and "192.0.2.7" in line for line in server.log), server.log


def test_many_packets_at_the_same_time() -> None:
    with watched(threads=4) as (server, seen):
        def work(number: int) -> None:
            for _ in range(20):
                assert fetch(server.address, f"/{number}").status == 200

        workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(TIMEOUT)
    assert len(seen) == 160


# ---- addresses and settings ----


def test_a_real_server_speaks_each_protocol_at_its_address(tmp_path: Path) -> None:
    with spawn("--bind", "uwsgi://127.0.0.1:0", "--bind", f"unix:{tmp_path}/http", "--workers", "2",
               "fastwsgi.demo:app") as server:
        assert server.url.startswith("uwsgi://127.0.0.1:")
        assert fetch(server.address).status == 200
        with Client(f"{tmp_path}/http") as client:
            assert client.fetch().status == 200
        assert ask(server.address, request()).status == 400


def test_an_upgrade_keeps_the_socket_whatever_is_spoken_there() -> None:
    """What changes in front of the address is no other address."""
    (first,) = open_listeners([parse_address("127.0.0.1:0")], backlog=1)
    (again,) = open_listeners(
        [parse_address("uwsgi://127.0.0.1:0")], backlog=1, ready=[first])
    try:
        assert again is first
        assert again.protocol == "uwsgi"
    finally:
        again.close()


@pytest.mark.parametrize("bad", [
    "10.0.0.1/8", "10.0.0.0/33", "::/129", "localhost", "10.0.0.0/", "1.2.3", "fe80::1%lo", "*/0"])
def test_refuses_what_is_no_network(bad: str) -> None:
    with pytest.raises(ConfigError, match="uwsgi_allow_ips must be"):
        from_keywords({"protocol": "uwsgi", "uwsgi_allow_ips": bad})


def test_notes_that_networks_without_the_protocol_do_nothing() -> None:
    def told(**more: Any) -> bool:
        notices = from_keywords({"uwsgi_allow_ips": "*", **more}).notices
        return any("uwsgi_allow_ips" in text for text in notices)

    assert told()
    assert not told(protocol="uwsgi")
    assert not told(bind="uwsgi://:3031")
    assert told(protocol="uwsgi", bind="http://:3031")
