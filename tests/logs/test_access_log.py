"""The access log's lines: what each atom says, which requests have one, that none can be forged."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import threading
from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from apps.client import Client, request
from apps.gated import Gate
from apps.gated import app as gated
from apps.logged import app, lines_of, log_of

from fastwsgi.errors import ConfigError
from fastwsgi.logs.format import DEFAULT, JSON, parse
from fastwsgi.testing import raw, serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

CLOSE = "Connection: close"
COMMON = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s'
RICH = request(
    "/some/page?color=red&n=1", "User-Agent: Browser/1.0 (test)", "Referer: http://h/from",
    "Authorization: Basic " + b64encode(b"anna:secret").decode(), "X-Mine: one", "x-mine: two",
    CLOSE)


def rich(place: Path, pattern: str) -> str:
    """The line of one rich request."""
    (line,) = log_of(place, pattern, RICH)
    return line


def test_the_default_format_is_the_combined_one(tmp_path: Path) -> None:
    line = rich(tmp_path, DEFAULT)
    assert re.fullmatch(
        r'127\.0\.0\.1 - anna \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] '
        r'"GET /some/page\?color=red&n=1 HTTP/1\.1" 200 5 "http://h/from" "Browser/1\.0 \(test\)"',
        line)


@pytest.mark.parametrize(("pattern", "text"), [
    ("%(h)s", "127.0.0.1"),
    ("%(l)s", "-"),
    ("%(u)s", "anna"),
    ("%(r)s", "GET /some/page?color=red&n=1 HTTP/1.1"),
    ("%(m)s", "GET"),
    ("%(U)s", "/some/page"),
    ("%(q)s", "color=red&n=1"),
    ("%(H)s", "HTTP/1.1"),
    ("%(s)s", "200"),
    ("%(st)s", "OK"),
    ("%(B)s", "5"),
    ("%(B)d", "5"),
    ("%(b)s", "5"),
    ("%(f)s", "http://h/from"),
    ("%(a)s", "Browser/1.0 (test)"),
    ("%(T)s", "0"),
    ("%({host}i)s", "test"),
    ("%({X-Mine}i)s", "two"),
    ("%({user-agent}i)s", "Browser/1.0 (test)"),
    ("%({x-none}i)s", "-"),
    ("%({x-tag}o)s", r"se\x22cond"),
    ("%({X-Other}o)s", r"\xE9"),
    ("%({x-none}o)s", "-"),
    ("%({REQUEST_METHOD}e)s", "GET"),
    ("%({request_method}e)s", "GET"),
    ("%({wsgi.url_scheme}e)s", "http"),
    ("%({wsgi.version}e)s", "(1, 0)"),
    ("%({NONE}e)s", "-"),
    ("%({NONE}e)s%({x-tag}o)s%({NONE}e)s", r"-se\x22cond-"),
    ("100%% of", "100% of"),
    ("nothing else", "nothing else"),
    ("", ""),
])  # fmt: skip
def test_each_atom(tmp_path: Path, pattern: str, text: str) -> None:
    assert rich(tmp_path, pattern) == text


def test_the_process_is_that_of_the_worker(tmp_path: Path) -> None:
    assert rich(tmp_path, "%(p)s") == f"<{os.getpid()}>"


def test_durations_agree_and_count_what_the_application_took(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    pattern = "%(T)s %(M)s %(D)s %(L)s"
    with Gate() as gate, \
            serve(gated, accesslog=str(path), access_log_format=pattern) as server, \
            Client(server.address) as client:
        client.send(request(gate.hold))
        gate.entered()
        threading.Event().wait(0.05)  # what is measured, not what is waited for
        gate.let_go()
        assert client.response().status == 200
    seconds, milli, micro, decimal = lines_of(path)[0].split()
    assert int(micro) >= 50_000
    assert (int(seconds), int(milli)) == (int(micro) // 1_000_000, int(micro) // 1000)
    assert decimal == f"{int(micro) // 1_000_000}.{int(micro) % 1_000_000:06d}"


def test_the_time_is_local_and_has_its_zone(tmp_path: Path) -> None:
    before = datetime.now().astimezone().replace(microsecond=0)
    text = rich(tmp_path, "%(t)s")
    found = datetime.strptime(text, "[%d/%b/%Y:%H:%M:%S %z]")
    assert before <= found <= datetime.now().astimezone()
    assert found.utcoffset() == before.utcoffset()


@pytest.mark.parametrize(("value", "user"), [
    ("Basic " + b64encode(b"anna:secret").decode(), "anna"),
    ("bASIC   " + b64encode(b"anna").decode(), "anna"),
    ("Basic " + b64encode(b"a b\n\"c:x").decode(), r"a\x20b\x0A\x22c"),
    ("Basic " + b64encode("zo\u00e9:x".encode()).decode(), r"zo\xC3\xA9"),
    ("Basic " + b64encode(b":x").decode(), "-"),
    ("Basic a*b", "-"),
    ("Basic", "-"),
    ("Bearer YW5uYQ==", "-"),
    ("Basic " + b64encode(b"n" * 4000).decode(), "n" * 256),
])
def test_the_user_of_basic_authentication(tmp_path: Path, value: str, user: str) -> None:
    assert log_of(tmp_path, "%(u)s", request("/", f"Authorization: {value}", CLOSE)) == [user]


# ---- which requests have a line, and what it says of them ----


@pytest.mark.parametrize(("sent", "line"), [
    (request("/", CLOSE), "/ 200 5 5 OK"),
    (request("/", CLOSE, method="HEAD"), "/ 200 0 0 OK"),
    (request("/empty", CLOSE), "/empty 204 0 0 No\\x20Content"),
    (request("/stream", CLOSE), "/stream 200 11 11 OK"),
    (request("/stream", version="HTTP/1.0"), "/stream 200 11 11 OK"),
    (request("/fail", CLOSE), "/fail 500 22 22 Internal\\x20Server\\x20Error"),
    (request("/mute", CLOSE), "/mute 500 22 22 Internal\\x20Server\\x20Error"),
    (request("/late", CLOSE), "/late 200 5 5 OK"),
    (request("*", CLOSE, method="OPTIONS"), "* 200 5 5 OK"),
    (request("http://h?x", CLOSE), "/ 200 5 5 OK"),
    (request("/", CLOSE, method="POST", body=b"x" * 1000), "/ 200 5 5 OK"),
])
def test_what_the_application_was_given_has_a_line(
    tmp_path: Path, sent: bytes, line: str,
) -> None:
    (found,) = log_of(tmp_path, "%(U)s %(s)s %(B)s %(b)s %(st)s", sent)
    assert found == line.replace("\\x20", " ")


@pytest.mark.parametrize(("sent", "line"), [
    (b"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1|400|GET|/||HTTP/1.1|-"),
    (b"GET /a%20b?q HTTP/1.1\r\nHost: a\r\nHost: b\r\nUser-Agent: me\r\n\r\n",
     r"GET /a%20b?q HTTP/1.1|400|GET|/a\x20b|q|HTTP/1.1|me"),
    (b"nonsense\r\n\r\n", "nonsense|400|nonsense|-||-|-"),
    (b"\x16\x03\x01\x02 \"x\r\n\r\n",
     r"\x16\x03\x01\x02 \x22x|400|\x16\x03\x01\x02|\x22x||-|-"),
    (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", None),
    (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", "GET / HTTP/2.0|505|GET|/||HTTP/2.0|-"),
    (b"GET / HTTP/1.1\r\nUser-Agent: me\r\nBad Name: x\r\n\r\n",
     "GET / HTTP/1.1|400|GET|/||HTTP/1.1|me"),
    (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
     "GET / HTTP/1.1|431|GET|/||HTTP/1.1|-"),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\n",
     "POST / HTTP/1.1|413|POST|/||HTTP/1.1|-"),
])
def test_what_the_core_refuses_has_a_line(tmp_path: Path, sent: bytes, line: str | None) -> None:
    pattern = "%(r)s|%(s)s|%(m)s|%(U)s|%(q)s|%(H)s|%(a)s"
    (found,) = log_of(tmp_path, pattern, sent, limit_request_body=50)
    if line is None:
        shown, path = "GET /" + "x" * (8192 - len("GET /")), "/" + "x" * 8191
        assert found == f"{shown}|414|GET|{path}||HTTP/1.1|-"
    else:
        assert found == line


def test_a_request_that_never_gets_whole_has_a_line_with_its_time(tmp_path: Path) -> None:
    (line,) = log_of(tmp_path, "%(r)s %(s)s %(b)s %(M)s", b"GET /slow HTTP/1.1\r\nHo",
                     header_timeout=0.05)
    assert re.fullmatch(r"GET /slow HTTP/1\.1 408 \d+ \d{2,5}", line)


def test_a_client_that_leaves_has_a_line_with_the_bytes_it_was_sent(tmp_path: Path) -> None:
    closed = threading.Event()

    class Endless:
        def __iter__(self) -> Endless:
            return self

        def __next__(self) -> bytes:
            return b"x" * 65536

        def close(self) -> None:
            closed.set()

    def endless(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return Endless()

    path = tmp_path / "access.log"
    with serve(endless, accesslog=str(path), access_log_format="%(r)s %(s)s %(B)s") as server:
        with Client(server.address, receive_buffer=4096) as client:
            client.send(request("/endless"))
            client.exactly(100_000)
            client.reset()
        assert closed.wait(30)
    (line,) = lines_of(path)
    size = int(re.fullmatch(r"GET /endless HTTP/1\.1 200 (\d+)", line)[1])  # type: ignore[index]
    assert 100_000 < size < 100_000_000


def test_a_file_that_is_not_taken_counts_as_far_as_it_went(tmp_path: Path) -> None:
    big, path = tmp_path / "big", tmp_path / "access.log"
    with big.open("wb") as file:
        file.truncate(1 << 30)
    closed = threading.Event()

    def download(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(1 << 30))])
        opened = big.open("rb")
        whole = opened.close
        opened.close = lambda: (whole(), closed.set())[0]  # type: ignore[method-assign,func-returns-value]
        return environ["wsgi.file_wrapper"](opened)  # type: ignore[no-any-return]

    with serve(download, accesslog=str(path), access_log_format="%(B)s") as server:
        with Client(server.address, receive_buffer=4096) as client:
            client.send(request("/"))
            client.exactly(100_000)
            client.reset()
        assert closed.wait(30)
    (line,) = lines_of(path)
    assert 90_000 < int(line) < 1 << 29


def test_every_request_of_a_connection_has_its_own_line(tmp_path: Path) -> None:
    # The same head again and again is recalled and not parsed; with another line in part.
    path = tmp_path / "access.log"
    targets = [f"/{'same' if n % 8 else n}" for n in range(64)]
    fields = ("User-Agent: robot", "Referer: here", "X-Unknown: mine")
    pattern = "%(U)s|%(a)s|%(f)s|%({x-unknown}i)s|%(u)s"
    with serve(app, accesslog=str(path), access_log_format=pattern) as server, \
            Client(server.address) as client:
        for target in targets:
            client.fetch(target, *fields)
        client.send(b"".join(request(target, *fields) for target in targets))
        for _ in targets:
            client.response()
    assert lines_of(path) == [f"{target}|robot|here|mine|-" for target in targets * 2]


def test_the_path_is_what_the_application_sees(tmp_path: Path) -> None:
    sent = [request(target, CLOSE) for target in ("/app/a%2Fb", "/app", "/apple", "/app%zz")]
    found = log_of(tmp_path, "%(U)s", *sent, script_name="/app")
    assert found == ["/a/b", "", "/apple", "/app%zz"]


def test_clients_of_other_families(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with serve(app, bind=f"unix:{tmp_path}/s", accesslog=str(path)) as server:
        raw(server.address, request("/", CLOSE))
    assert lines_of(path)[0].startswith("- - - [")
    if socket.has_ipv6:
        with serve(app, bind="[::1]:0", accesslog=str(path)) as server:
            raw(server.address, request("/", CLOSE))
        assert lines_of(path)[1].startswith("::1 - - [")


def test_health_checks_of_the_core_have_none(tmp_path: Path) -> None:
    assert log_of(tmp_path, "%(U)s", request("/health", CLOSE), request("/", CLOSE),
                  health_path="/health") == ["/"]


# ---- what is said beside gunicorn's atoms ----


@pytest.mark.parametrize(("name", "pattern"), [("combined", DEFAULT), ("common", COMMON)])
def test_formats_that_have_a_name(tmp_path: Path, name: str, pattern: str) -> None:
    assert parse(name) == parse(pattern)


def test_worker_and_thread_are_numbers(tmp_path: Path) -> None:
    assert rich(tmp_path, "%(worker)s %(thread)s") == "1 0"
    assert log_of(tmp_path, "%(worker)s %(thread)s", b"nonsense\r\n\r\n")[-1] == "1 -"


@pytest.mark.parametrize(("sent", "settings", "found"), [
    (request("/app/a%20b?x", CLOSE), {"script_name": "/app"}, r"/app/a\x20b test"),
    (request("/a", "X-Forwarded-Prefix: /one/", "X-Forwarded-Host: public", CLOSE),
     {"forwarded_follow": "prefix,host"}, "/one/a public"),
    (request("/a%2Fb", "X-Forwarded-Prefix: /x%20y, /two/", CLOSE),
     {"forwarded_follow": "prefix", "forwarded_allow_ips": "*"}, "/two/a/b test"),
    (request("/a", "X-Forwarded-Prefix: /one", "X-Forwarded-Host: public", CLOSE),
     {"forwarded_follow": "prefix,host", "forwarded_allow_ips": ""}, "/a test"),
    (request("/app/a", "SCRIPT_NAME: /app", CLOSE), {}, "/app/a test"),
    (request("http://other/a?b", CLOSE), {}, "/a other"),
    (b"GET /a?b HTTP/1.1\r\nHost: first\r\nX Y: z\r\n\r\n", {}, "/a first"),
    (b"nonsense\r\n\r\n", {}, "- -"),
])
def test_the_full_path_and_the_host(
    tmp_path: Path, sent: bytes, settings: dict[str, str], found: str,
) -> None:
    assert log_of(tmp_path, "%(full_path)s %(host)s", sent, **settings) == [found]


# ---- forging ----


HOSTILE = bytes({*range(1, 256)} - {*b"\r\n"})


def test_what_a_client_sends_cannot_forge_a_line_or_a_field(tmp_path: Path) -> None:
    header = bytes(c for c in HOSTILE if c >= 32 and c != 127)
    path = b"".join(b"%%%02X" % c for c in range(256))
    user = b64encode(bytes(set(HOSTILE + b"\r\n") - {ord(":")})).decode("ascii")
    sent = (b"GET /" + path + b' HTTP/1.1\r\nHost: h\r\nUser-Agent: a"b\\' + header + b"z\r\n"
            b'Referer: x" 200 5 "-" "-"\r\nAuthorization: Basic ' + user.encode() +
            b"\r\nConnection: close\r\n\r\n")  # fmt: skip
    (line,) = log_of(tmp_path, '%(u)s %(U)s "%(a)s" "%(f)s"', sent)
    assert re.fullmatch(r'[!-~]+ [!-~]+ "[ !#-~]*" "[ !#-~]*"', line)
    bare, shown = line.split(" ", 2)[:2]

    def back(text: str) -> bytes:
        return re.sub(rb"\\x([0-9A-F]{2})", lambda m: struct.pack("B", int(m[1], 16)),
                      text.encode())

    assert back(bare) == bytes(sorted(set(HOSTILE + b"\r\n") - {ord(":")}))
    assert back(shown) == b"/" + bytes(range(256))
    agent, referer = re.findall(r'"([^"]*)"', line)
    assert back(agent) == b'a"b\\' + header + b"z"
    assert back(referer) == b'x" 200 5 "-" "-"'


@pytest.mark.parametrize("length", [*range(20), 8191, 8192, 8193, 9000])
def test_escapes_wherever_they_stand(tmp_path: Path, length: int) -> None:
    text = "".join('"' if n % 7 == length % 7 else "y" for n in range(length))
    (line,) = log_of(tmp_path, "<%({x}i)s>", request("/", f"X: {text}", CLOSE),
                     limit_request_field_size=10000)
    assert line == "<" + text[:8192].replace('"', r"\x22") + ">"


def test_what_an_application_sets_cannot_forge_a_line(tmp_path: Path) -> None:
    class Odd:
        def __str__(self) -> str:
            return 'x\n"\u4f60'

    class Worse:
        def __str__(self) -> str:
            raise RuntimeError("on purpose")

    def sets(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["odd"], environ["worse"] = Odd(), Worse()
        start_response('200 "quoted"', [])
        return []

    path = tmp_path / "access.log"
    pattern = "%({odd}e)s %({worse}e)s %(st)s"
    with serve(sets, accesslog=str(path), access_log_format=pattern) as server:
        raw(server.address, request("/", CLOSE))
    assert lines_of(path) == [r"x\x0A\x22\xE4\xBD\xA0 - \x22quoted\x22"]


# ---- json ----


def test_json_is_one_object_per_line(tmp_path: Path) -> None:
    found = json.loads(rich(tmp_path, "json"))
    moment = datetime.fromisoformat(found.pop("time"))
    assert abs(datetime.now().astimezone() - moment).total_seconds() < 60
    assert 0 <= found.pop("duration") < 60
    assert found == {
        "client": "127.0.0.1", "method": "GET", "path": "/some/page", "query": "color=red&n=1",
        "protocol": "HTTP/1.1", "status": 200, "bytes": 5, "referer": "http://h/from",
        "user_agent": "Browser/1.0 (test)", "pid": os.getpid()}


def test_json_has_null_for_what_is_missing(tmp_path: Path) -> None:
    whole, broken = map(json.loads, log_of(
        tmp_path, "json", request("/", CLOSE), b"\xff\"\\\r\n\r\n", bind=f"unix:{tmp_path}/s"))
    assert [key for key, value in whole.items() if value is None] == [
        "client", "query", "referer", "user_agent"]
    assert (broken["method"], broken["path"], broken["status"]) == ('\xff"\\', None, 400)


def test_json_takes_any_bytes(tmp_path: Path) -> None:
    value = bytes(c for c in HOSTILE if c >= 32 and c != 127)
    (line,) = log_of(tmp_path, "json", b"GET /%00%0A%22%5C HTTP/1.1\r\nHost: h\r\nUser-Agent: <" +
                     value + b">\r\nConnection: close\r\n\r\n")
    found = json.loads(line)
    assert found["user_agent"] == f"<{value.decode('latin-1')}>"
    assert found["path"] == '/\0\n"\\'


@pytest.mark.parametrize("fields", [
    "request_id,host,full_path,trace={traceparent}i,@ms=D,script_name,tag=%({x-other}o)s,worker",
    {"request_id": "request_id", "host": "host", "full_path": "full_path",
     "trace": "{traceparent}i", "@ms": "D", "script_name": "script_name", "tag": "{x-other}o",
     "worker": "worker"},
])
def test_the_members_of_json_are_a_setting(tmp_path: Path, fields: str | dict[str, str]) -> None:
    (line,) = log_of(tmp_path, "json", request("/app/x", 'Traceparent: "t', CLOSE),
                     access_log_fields=fields, script_name="/app")
    found = json.loads(line)
    assert list(found) == ["request_id", "host", "full_path", "trace", "@ms", "script_name", "tag",
                           "worker"]
    assert re.fullmatch("[0-9a-f]{32}", found.pop("request_id"))
    assert isinstance(found.pop("@ms"), int)
    assert found == {"host": "test", "full_path": "/app/x", "trace": '"t', "script_name": "/app",
                     "tag": "\xe9", "worker": 1}


def test_every_member_that_is_known(tmp_path: Path) -> None:
    sent = [RICH, b"nonsense\r\n\r\n"]
    for line in log_of(tmp_path, "json", *sent, access_log_fields=",".join(JSON)):
        assert list(json.loads(line)) == list(JSON)


@pytest.mark.parametrize(("fields", "words"), [
    ("", "at least one"),
    ("path,path", "'path' twice"),
    ("nope", "'nope': they are time,"),
    ("a=", "not ''"),
    ('a"b=D', "letters, digits"),
    ("=D", "letters, digits"),
    ("a=l", "not 'l'"),
    ("a={x}y", "'{x}y'"),
    (5, "KEY or KEY=ATOM, or a list of them, not 5"),
    (",".join(f"k{n}={{a}}e" for n in range(33)), "at most 32"),
])
def test_wrong_members_of_json_are_named(fields: object, words: str) -> None:
    with (pytest.raises(ConfigError, match=f"^access_log_fields must be .*{re.escape(words)}"),
          serve(app, access_log_fields=fields)):
        pass


# ---- formats ----


@pytest.mark.parametrize(("pattern", "named"), [
    ("%(x)s", "'%(x)s'"),
    ("%(h)s %(nope)s", "'%(nope)s'"),
    ("%({x}y)s", "'%({x}y)s'"),
    ("%({}i)s", "'%({}i)s'"),
    ("%(h)", "'%(h)' should be"),
    ("%(h)d", "'%(h)d' should be"),
    ("%(h)5s", "'%(h)5' should be"),
    ("100%", "each '%'"),
    ("%s", "each '%'"),
    ("%(h", "each '%'"),
    ("a\nb", "one line"),
    ("%({a}e)s" * 33, "at most 32"),
])
def test_a_broken_format_is_named(pattern: str, named: str) -> None:
    with (pytest.raises(ConfigError, match=f"^access_log_format must be .*{re.escape(named)}"),
          serve(app, access_log_format=pattern)):
        pass


def test_as_many_atoms_as_are_allowed(tmp_path: Path) -> None:
    assert rich(tmp_path, "%({wsgi.url_scheme}e)s" * 32) == "http" * 32


def test_texts_of_a_format_are_joined() -> None:
    assert parse("a%%b%(l)sc %(h)s").pieces == [("text", "a%b-c "), ("h", ""), ("text", "\n")]
