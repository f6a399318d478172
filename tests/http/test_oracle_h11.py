"""Accept or refuse, beside h11: on valid requests and on spoilt ones.

Rule: both read the same stream, and a request that both accept is the same request to both.
Where they part, a row of DISAGREEMENTS explains it: by what stands in the bytes, and by what the
RFC says of that.  Each row holds for one side only, and for the statuses that it names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import pytest
from conformance.cases import short_requests
from hypothesis import given
from hypothesis import strategies as st
from oracles.bounds import bounded
from oracles.core import core
from oracles.decisions import Decision, Recorder, decide
from oracles.requests import Valid, spoilt, valid_requests

LAST = b"GET /last HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n"

# ---- what the bytes are, read for the table alone ----

TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# RFC 3986 3.3 and the percent sign alone; and what browsers leave bare though it belongs escaped
# (WHATWG URL): brackets, and in the query what no parser reads in two ways.
PATH_BYTES = rb"[/A-Za-z0-9\-._~!$&'()*+,;=:@%\[\]]"
QUERY_BYTES = rb"[/A-Za-z0-9\-._~!$&'()*+,;=:@%\[\]?\\^`{|}]"
ORIGIN = re.compile(rb"/%b*(?:\?%b*)?\Z" % (PATH_BYTES, QUERY_BYTES))
ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)\Z", re.IGNORECASE | re.DOTALL)
NAME = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+\Z")
FUTURE = re.compile(rb"[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+\Z")
EXTENSIONS = re.compile(
    rb"(?:;%b+(?:=(?:%b+|\"(?:[^\"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*\"))?)*\Z"
    % (TCHAR, TCHAR))

# llhttp's, which are IANA's without those that only newer or older protocols have.
METHODS = frozenset(
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH"
    b" SEARCH UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY"
    b" SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK SOURCE QUERY".split())


def valid_host(value: bytes) -> bool:
    """uri-host [ ":" port ] of RFC 3986 3.2.2, with a port that TCP has."""
    host, colon, port = value, b"", b""
    if match := re.match(rb"(.*?)(:)([0-9]*)\Z", value, re.DOTALL):
        host, colon, port = match.groups()
        if value.startswith(b"[") and not host.endswith(b"]"):
            host, colon, port = value, b"", b""
    if colon and port and (len(port) > 5 or int(port) > 65535):
        return False
    if host.startswith(b"[") and host.endswith(b"]"):
        inner = host[1:-1]
        if FUTURE.match(inner):
            return True
        try:
            ipaddress.IPv6Address(inner.decode("ascii"))
        except ValueError:
            return False
        return b"%" not in inner
    return bool(NAME.match(host))


def section(data: bytes) -> bytes:
    """Field lines up to and with the empty line behind them, however lines end."""
    empty = re.search(rb"(?:\A|\n)\r?\n", data)
    return data[: empty.end()] if empty else data


class Message:
    """What begins with `data`, split where a lenient reader would split it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.text = data[2:] if data.startswith(b"\r\n") else data

    @cached_property
    def head(self) -> bytes:
        """Up to the first empty line, however its lines end."""
        return section(self.text)

    @cached_property
    def lines(self) -> list[bytes]:
        return [line.removesuffix(b"\r") for line in self.head.split(b"\n")]

    @cached_property
    def words(self) -> list[bytes]:
        """Method, target and version, with empty ones where there are fewer."""
        return [*self.lines[0].split(b" "), b"", b""]

    def values(self, name: bytes) -> list[bytes]:
        """The values of the fields of that name."""
        pairs = (line.partition(b":") for line in self.lines[1:])
        return [value.strip(b" \t") for found, _, value in pairs if found.lower() == name]

    def has(self, name: bytes) -> bool:
        return bool(self.values(name))

    @property
    def version(self) -> bytes:
        return self.words[2]

    @cached_property
    def body(self) -> tuple[list[bytes], bytes]:
        """(chunk headers, trailer section) as far as the body follows the chunked coding."""
        rest, found = self.text[len(self.head) :], []
        while self.has(b"transfer-encoding"):
            line, end, rest = rest.partition(b"\r\n")
            found.append(line)
            size = re.match(rb"[0-9A-Fa-f]+", line)
            if not end or not size:
                break
            if not int(size[0], 16):
                return found, section(rest)
            rest = rest[int(size[0], 16) + 2 :]
        return found, b""

    @property
    def chunks(self) -> list[bytes]:
        return self.body[0]

    @property
    def trailers(self) -> bytes:
        return self.body[1]


# ---- the table ----


@dataclass(frozen=True)
class Disagreement:
    """Why one accepts what the other does not."""

    accepts: Literal["h11", "we"]
    statuses: tuple[int, ...]
    """Those of our refusal; none when we accept."""
    rule: str
    applies: Callable[[Message], bool]
    example: bytes
    about_the_end: bool = False
    """Whether it is about what follows a request that both accept."""


def h11_accepts(
    status: int, rule: str, applies: Callable[[Message], bool], example: bytes
) -> Disagreement:
    return Disagreement("h11", (status,), rule, applies, example)


def we_accept(
    rule: str, applies: Callable[[Message], bool], example: bytes, *, about_the_end: bool = False
) -> Disagreement:
    return Disagreement("we", (), rule, applies, example, about_the_end)


def get(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join((first, b"Host: h", *lines, b"", b""))


def post(*lines: bytes, body: bytes) -> bytes:
    return get(b"Transfer-Encoding: chunked", *lines, first=b"POST / HTTP/1.1") + body


def bare_lf(message: Message) -> bool:
    return bool(re.search(rb"(?<!\r)\n", message.head + message.trailers))


def bad_target(message: Message) -> bool:
    method, target = message.words[:2]
    absolute = ABSOLUTE.match(target)
    if absolute:
        return not (valid_host(absolute[1]) and ORIGIN.match(b"/" + absolute[2].lstrip(b"/")))
    return not ORIGIN.match(target) and not (target == b"*" and method == b"OPTIONS")


DISAGREEMENTS = (
    h11_accepts(
        400, "RFC 9112 2.2: a recipient MAY take a bare LF for a line end; two that differ in"
        " that can be made to see different requests",
        bare_lf, b"GET / HTTP/1.1\nHost: h\r\n\r\n"),
    h11_accepts(
        400, "RFC 9112 5.2: a server MUST refuse a folded line or replace the fold; h11 replaces",
        lambda message: bool(re.search(rb"\n[ \t]", message.head + b"\n" + message.trailers)),
        get(b"X-A: 1", b" 2")),
    h11_accepts(
        501, "RFC 9110 9.1: a method that the server does not know SHOULD be answered with 501;"
        " h11 leaves that to its user",
        lambda message: message.words[0] not in METHODS,
        get(first=b"FOO / HTTP/1.1")),
    h11_accepts(
        501, "RFC 9110 9.3.6: CONNECT is for proxies; h11 leaves that to its user",
        lambda message: message.words[0] == b"CONNECT",
        get(first=b"CONNECT h:1 HTTP/1.1")),
    h11_accepts(
        400, "RFC 9112 3: only the four forms of a target, in the characters of RFC 3986; h11"
        " takes any that can be seen",
        bad_target, get(first=b"GET /#a HTTP/1.1")),
    h11_accepts(
        505, "RFC 9110 15.6.6: a major version that is not 1, or a minor one past ours",
        lambda message: message.version not in (b"HTTP/1.0", b"HTTP/1.1"),
        get(first=b"GET / HTTP/2.0")),
    h11_accepts(
        400, "RFC 9112 3.2: a Host field with an invalid value MUST be refused; h11 does not look",
        lambda message: not all(map(valid_host, message.values(b"host"))),
        get().replace(b"Host: h", b"Host: a/b")),
    h11_accepts(
        400, "RFC 9110 8.3: Content-Type is one value, and two of them a matter of interpretation",
        lambda message: len(message.values(b"content-type")) > 1,
        get(b"Content-Type: a/b", b"Content-Type: a/b")),
    h11_accepts(
        400, "RFC 9110 8.6: a recipient MUST refuse a list in Content-Length or a repeated field,"
        " or replace equal numbers by one; h11 replaces",
        lambda message: b"," in b",".join(message.values(b"content-length")),
        get(b"Content-Length: 0, 0")),
    h11_accepts(
        400, "RFC 9112 6.1: Transfer-Encoding with Content-Length ought to be an error; h11 drops"
        " Content-Length",
        lambda message: message.has(b"transfer-encoding") and message.has(b"content-length"),
        post(b"Content-Length: 5", body=b"0\r\n\r\n")),
    h11_accepts(
        400, "RFC 9112 6.1: Transfer-Encoding in HTTP/1.0 MUST be taken for faulty framing",
        lambda message: message.has(b"transfer-encoding") and message.version == b"HTTP/1.0",
        post(body=b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")),
    h11_accepts(
        400, "RFC 9110 8.6: a length past what the server can count MUST not be guessed; h11"
        " counts further",
        lambda message: any(value.isdigit() and int(value) >= 1 << 63
                            for value in message.values(b"content-length")),
        get(b"Content-Length: 9223372036854775808")),
    h11_accepts(
        417, "RFC 9110 10.1.1: an expectation other than 100-continue MAY be answered with 417",
        lambda message: message.version == b"HTTP/1.1" and any(
            value.lower() != b"100-continue" for value in message.values(b"expect")),
        get(b"Expect: more")),
    h11_accepts(
        400, "RFC 9110 5.5: control characters in a value are dangerous; h11 refuses CR, LF and"
        " NUL, FF and VT only",
        lambda message: bool(re.search(
            rb"[\x01-\x08\x0e-\x1f\x7f]", message.head + message.trailers)),
        get(b"X-A: \x01")),
    h11_accepts(
        400, "RFC 9112 7.1: chunk-size is followed by no white space; h11 forgives it",
        lambda message: any(
            re.match(rb"[0-9A-Fa-f]+.*[ \t]\Z", line, re.DOTALL) for line in message.chunks),
        post(body=b"0 \r\n\r\n")),
    h11_accepts(
        400, "RFC 9112 7.1.1: a chunk extension is a token, perhaps with a token or a quoted"
        " string; h11 takes what is there",
        lambda message: not all(
            EXTENSIONS.match(line.strip(b" \t").lstrip(b"0123456789abcdefABCDEF"))
            for line in message.chunks),
        post(body=b"0;a b\r\n\r\n")),
    h11_accepts(
        400, "RFC 9112 7.1: a recipient MUST guard against chunk sizes past what it can count",
        lambda message: any(
            re.match(rb"[0-9A-Fa-f]{16}", line.lstrip(b"0")) for line in message.chunks),
        post(body=b"fffffffffffffffff\r\n\r\n")),
    h11_accepts(
        400, "contract 3: a chunk size has 16 digits at most, zeros in front included",
        lambda message: any(re.match(rb"0[0-9A-Fa-f]{16}", line) for line in message.chunks),
        post(body=b"0" * 17 + b"\r\n\r\n")),
    h11_accepts(
        400, "RFC 9110 6.5.1: a trailer MUST NOT say how a message is framed; h11 ignores it",
        lambda message: bool(re.search(
            rb"^(?:content-length|transfer-encoding):", message.trailers, re.I | re.M)),
        post(body=b"0\r\nContent-Length: 5\r\n\r\n")),
    we_accept(
        "RFC 9112 2.2: a server SHOULD ignore at least one empty line before the request line",
        lambda message: message.data.startswith(b"\r\n"),
        b"\r\n" + get()),
    we_accept(
        "RFC 9112 9.3: an HTTP/1.0 client that says keep-alive may be kept; h11 closes",
        lambda message: message.version == b"HTTP/1.0" and b"keep-alive" in b",".join(
            message.values(b"connection")).lower(),
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", about_the_end=True),
)


# ---- comparing ----


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    with core(made) as server:
        made.address = server.address
        yield made


@dataclass
class Parting:
    """Where the two part in a stream: one accepts, the other does not."""

    accepts: Literal["h11", "we"]
    status: int
    message: Message
    before: Message | None
    h11: Decision


def compare(recorder: Recorder, data: bytes) -> Parting | None:
    """Where they part, or None; what both accept must be equal."""
    accepted, status = recorder.decide([data])
    h11 = decide(data)
    both = min(len(accepted), len(h11.accepted))
    assert accepted[:both] == h11.accepted[:both]
    message = Message(data[h11.starts[both] :])
    before = Message(data[h11.starts[both - 1] :]) if both else None
    if len(h11.accepted) > both or (status and h11.end == "cut in a body"):
        return Parting("h11", status, message, before, h11)
    if len(accepted) > both or (status and h11.end == "closed") or (
            not status and h11.end == "refused"):
        return Parting("we", 0, message, before, h11)
    return None


def explanations(parting: Parting) -> list[Disagreement]:
    """The rows of the table that explain it."""
    return [
        row for row in DISAGREEMENTS
        if row.accepts == parting.accepts and row.statuses in ((), (parting.status,))
        and (message := parting.before if row.about_the_end else parting.message) is not None
        and row.applies(message)
    ]


def check(recorder: Recorder, data: bytes) -> None:
    """They agree, or the table says why not."""
    parting = compare(recorder, data)
    assert parting is None or explanations(parting), parting


@bounded(150)
@given(valid_requests())
def test_valid_requests_are_the_same_to_h11(recorder: Recorder, request: Valid) -> None:
    check(recorder, request.data + LAST)


CASES = short_requests()


@bounded(450)
@given(spoilt(st.one_of(
    valid_requests().map(lambda request: request.data), st.sampled_from(CASES))))
def test_spoilt_requests_are_judged_as_by_h11_unless_a_rule_says_otherwise(
    recorder: Recorder, data: bytes
) -> None:
    check(recorder, data + LAST)


@pytest.mark.parametrize("row", DISAGREEMENTS, ids=[row.rule for row in DISAGREEMENTS])
def test_each_disagreement_is_real_and_has_one_reason(
    recorder: Recorder, row: Disagreement
) -> None:
    parting = compare(recorder, row.example + LAST)
    assert parting is not None
    assert explanations(parting) == [row]
