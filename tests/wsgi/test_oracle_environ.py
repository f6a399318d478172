"""The environ beside a plain Python twin, over requests that Hypothesis makes up.

Rule: `oracles.environ` reads the same bytes and says what the application must see; nothing more
and nothing less is accepted.  The same holds however often a request is repeated: a repeated
head takes a shorter way through the server (it remembers heads), and must not show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from apps.client import Client
from hypothesis import example, given
from hypothesis import strategies as st
from oracles.bounds import bounded
from oracles.core import Core, core
from oracles.environ import Seen, expect
from oracles.requests import HOSTS, METHODS, Valid, names, targets, valid_requests, values

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

GET = b"GET / HTTP/1.1\r\n"
OBJECTS = {"wsgi.input", "wsgi.errors", "wsgi.file_wrapper", "wsgi.early_hints"}
OURS = {"fastwsgi.client_gone", "fastwsgi.timeout"}  #: for each request, whatever is set


class Witness:
    """An application that keeps what it saw, and leaves the environ in ruins."""

    def __init__(self) -> None:
        self.saw: list[tuple[dict[str, Any], bytes]] = []

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        assert type(environ) is dict
        self.saw.append((dict(environ), environ["wsgi.input"].read()))
        environ.clear()
        environ["HTTP_HOST"] = "left behind"
        start_response("200 OK", [("Content-Length", "0")])
        return []

    def take(self) -> tuple[dict[str, Any], bytes]:
        """The oldest request that nobody has asked for."""
        return self.saw.pop(0)


class Line:
    """A connection that is made anew when the server has closed it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.client: Client | None = None

    def exchange(self, *requests: Valid, script_name: str = "") -> dict[str, str]:
        """Send requests at once, read their responses; the variables of the connection."""
        if self.client is None:
            self.client = Client(self.address)
        client = self.client
        host, port = client.socket.getsockname()
        client.send(b"".join(request.data for request in requests))
        for request in requests:
            outside = expect(request.data, script_name=script_name).outside
            text = outside and not request.line.strip().startswith(b"HEAD ")
            response = client.response("HEAD")
            while response.status == 100:
                response = client.response("HEAD")
            if text:
                client.exactly(int(response.get("Content-Length") or 0))
            assert response.status == (404 if outside else 200), response
            assert response.closes == request.closes
        if requests[-1].closes:
            assert client.ended()
            self.close()
        return {
            "REMOTE_ADDR": host, "REMOTE_PORT": str(port),
            "SERVER_NAME": self.address[0], "SERVER_PORT": str(self.address[1]),
        }

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
        self.client = None


def compare(saw: tuple[dict[str, Any], bytes], wanted: Seen, connection: dict[str, str]) -> None:
    """Nothing more and nothing less than the twin says."""
    environ, body = saw
    server = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": environ["SERVER_SOFTWARE"],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    found = {key: value for key, value in environ.items()
             if key not in OBJECTS and not key.startswith("fastwsgi.")}
    assert found == {**server, **connection, **wanted.variables}
    assert body == wanted.body
    assert environ.keys() >= OBJECTS
    assert {key for key in environ if key.startswith("fastwsgi.")} == {*OURS, "fastwsgi.version"}
    for key, value in environ.items():
        assert type(key) is str
        assert key in OBJECTS | OURS or type(value) is type(found.get(key, ""))
        assert not key.isupper() or type(value) is str


def compare_inside(
    witness: Witness, requests: list[Valid], options: dict[str, str], connection: dict[str, str],
) -> None:
    """The same for each request that is for the application; of the others it has seen none."""
    for request in requests:
        wanted = expect(request.data, **options)
        if not wanted.outside:
            compare(witness.take(), wanted, connection)
    assert witness.saw == []


# ---- the twin itself ----

TWIN = {
    "plain": (
        b"GET /a%20b/%E2%82%AC?x=%20+1 HTTP/1.1\r\nHost: h\r\n\r\n",
        {"PATH_INFO": "/a b/\xe2\x82\xac", "QUERY_STRING": "x=%20+1", "HTTP_HOST": "h",
         "RAW_URI": "/a%20b/%E2%82%AC?x=%20+1", "REQUEST_METHOD": "GET"},
        b"",
    ),
    "decoded once": (
        b"GET /%252F%2F%%41%4 HTTP/1.0\r\n\r\n",
        {"PATH_INFO": "/%2F/%A%4", "SERVER_PROTOCOL": "HTTP/1.0"},
        b"",
    ),
    "absolute": (
        b"GET http://A:1?q HTTP/1.1\r\nHost: b\r\n\r\n",
        {"PATH_INFO": "/", "QUERY_STRING": "q", "HTTP_HOST": "A:1", "RAW_URI": "http://A:1?q"},
        b"",
    ),
    "asterisk": (b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", {"PATH_INFO": "*"}, b""),
    "mounted": (
        b"GET /app/x HTTP/1.1\r\nHost: h\r\n\r\n",
        {"PATH_INFO": "/x", "SCRIPT_NAME": "/app", "REQUEST_URI": "/app/x"},
        b"",
    ),
    "beside the mount": (
        b"GET /apple HTTP/1.1\r\nHost: h\r\n\r\n",
        {"PATH_INFO": "/apple", "SCRIPT_NAME": ""},
        b"",
    ),
    "fields": (
        b"GET / HTTP/1.1\r\nX-A:\t1 \r\nx_a: 2\r\nx-a: \xe9\r\nCookie: a\r\ncookie: b\r\n"
        b"Proxy: p\r\nHost: h\r\n\r\n",
        {"HTTP_X_A": "1, \xe9", "HTTP_COOKIE": "a; b"},
        b"",
    ),
    "a body of known length": (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: a/b\r\nContent-Length: 3\r\n\r\nabcGET",
        {"CONTENT_TYPE": "a/b", "CONTENT_LENGTH": "3"},
        b"abc",
    ),
    "a chunked body": (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2;x\r\nab\r\n1\r\nc\r\n0\r\nX-T: 1\r\n\r\nGET",
        {"CONTENT_LENGTH": "3"},
        b"abc",
    ),
}


@pytest.mark.parametrize("case", TWIN.values(), ids=TWIN.keys())
def test_the_twin_reads_what_the_specifications_say(
    case: tuple[bytes, dict[str, str], bytes]
) -> None:
    data, variables, body = case
    mounted = variables.get("SCRIPT_NAME", "")
    seen = expect(data, script_name=mounted)
    assert {key: seen.variables[key] for key in variables} == variables
    assert seen.body == body
    assert data[seen.size :] in (b"", b"GET")
    assert not seen.variables.keys() & {"HTTP_PROXY", "HTTP_TRANSFER_ENCODING", "HTTP_X_T"}


# ---- one request, one environ ----


@pytest.fixture(scope="module", params=[
    ("drop", ""), ("drop", "/app"), ("dangerous", ""), ("refuse", "/app")], ids=" ".join)
def way(request: pytest.FixtureRequest) -> Iterator[tuple[Witness, Line, dict[str, str]]]:
    """A server in one of the modes that change the environ, one connection, and the mode."""
    header_map, script_name = request.param
    witness = Witness()
    options = {"header_map": header_map, "script_name": script_name}
    with core(witness, **options) as server:
        line = Line(server.address)
        yield witness, line, options
        line.close()


@bounded(120)
@example(Valid(GET, b"Accept_Encoding: a\r\nAccept-Encoding: b\r\nHost: h\r\n\r\n"))
@example(Valid(GET, b"Accept-Encoding: a\r\nAccept_Encoding: b\r\nHost: h\r\n\r\n"))
@example(Valid(GET, b"Host: [v1.a:b]:80\r\n\r\n"))
@example(Valid(b"GET /" + b"%41" * 2000 + b" HTTP/1.1\r\n", b"Host: h\r\n\r\n"))
@given(valid_requests())
def test_a_valid_request_gives_the_environ_that_the_twin_says(
    way: tuple[Witness, Line, dict[str, str]], request: Valid
) -> None:
    witness, line, options = way
    if options["header_map"] == "refuse":
        request = without_underscores(request)
    connection = line.exchange(request, script_name=options["script_name"])
    compare_inside(witness, [request], options, connection)


def without_underscores(request: Valid) -> Valid:
    """The same request where no field name has an underscore."""
    lines = [name.replace(b"_", b"-") + colon + value
             for name, colon, value in (line.partition(b":")
                                        for line in request.block.split(b"\r\n"))]
    return Valid(request.line, b"\r\n".join(lines), request.body)


@bounded(40)
@given(valid_requests(lasting=True), valid_requests(lasting=True), valid_requests())
def test_pipelined_requests_give_the_environs_that_the_twin_says(
    way: tuple[Witness, Line, dict[str, str]], first: Valid, second: Valid, last: Valid
) -> None:
    witness, line, options = way
    requests = [first, second, last]
    if options["header_map"] == "refuse":
        requests = [without_underscores(request) for request in requests]
    connection = line.exchange(*requests, script_name=options["script_name"])
    compare_inside(witness, requests, options, connection)


# ---- many requests with equal heads ----


class Pair:
    """Two servers that differ in `memo` alone, and connections to both."""

    def __init__(self, servers: dict[bool, tuple[Core, Witness]]) -> None:
        self.servers = servers
        self.lines = {memo: [Line(server.addresses[at % 2]) for at in range(4)]
                      for memo, (server, _) in servers.items()}
        self.examples = 0
        self.shared = {True: 0, False: 0}

    def exchange(self, memo: bool, at: int, *requests: Valid) -> list[dict[str, Any]]:
        """Send requests over connection number `at`; what the application saw, compared."""
        connection = self.lines[memo][at].exchange(*requests)
        witness = self.servers[memo][1]
        found = []
        for request in requests:
            saw = witness.take()
            compare(saw, expect(request.data), connection)
            found.append(saw[0])
        return found

    def close(self) -> None:
        for lines in self.lines.values():
            for line in lines:
                line.close()


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    remembering, forgetful = Witness(), Witness()
    with core(remembering, memo=True, listeners=2) as one, \
            core(forgetful, memo=False, listeners=2) as other:
        made = Pair({True: (one, remembering), False: (other, forgetful)})
        yield made
        made.close()


MARK = b"X-Mark: this value is long enough to be an object of its own\r\n"


def marks(environs: Iterable[dict[str, Any]]) -> int:
    """How many objects hold the value of the field X-Mark."""
    return len({id(environ["HTTP_X_MARK"]) for environ in environs})


def test_a_repeated_head_is_remembered_and_an_unequal_one_is_not(pair: Pair) -> None:
    """So that the tests below compare two ways through the server, not one with itself."""
    plain = Valid(b"GET /one HTTP/1.1\r\n", b"Host: memo\r\n" + MARK + b"\r\n")
    other = Valid(b"GET /two?q HTTP/1.1\r\n", plain.block)
    for memo in (True, False):
        equal = [pair.exchange(memo, 0, plain)[0] for _ in range(8)]
        line_differs = [pair.exchange(memo, 0, other)[0] for _ in range(4)]
        elsewhere = [pair.exchange(memo, 2, plain)[0] for _ in range(4)]
        if memo:
            assert marks(equal) < 6
            assert marks([equal[-1], *line_differs, *elsewhere]) == 1
        else:
            assert marks([*equal, *line_differs, *elsewhere]) == 16


@st.composite
def alike(draw: st.DrawFn) -> list[Valid]:
    """Requests that share header blocks and request lines in every combination."""
    pairs = draw(st.lists(st.tuples(names, values), max_size=4))
    fields = b"".join(name + b": " + value + b"\r\n" for name, value in pairs)
    host = b"Host: " + draw(st.sampled_from(HOSTS)) + b"\r\n"
    twist = draw(st.sampled_from((
        b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Content-Length: 0\r\n",
        b"Expect: 100-continue\r\n", b"X_Mark: hidden\r\n", b"Proxy: hidden\r\n",
        b"Cookie: a\r\nCookie: b\r\n", b"X-Mark: twice\r\n", b"")))
    # same length, same end, same middle as the first: alike for a table that looks no closer
    first = MARK + host + fields + b"\r\n"
    near = MARK.replace(b"this value", b"that value") + host + fields + b"\r\n"
    blocks = [first, draw(st.sampled_from((near, MARK + twist + host + fields + b"\r\n")))]
    lines = [
        method + b" " + draw(targets(method)) + b" " + version + b"\r\n"
        for method, version in draw(st.lists(
            st.tuples(st.sampled_from(METHODS),
                      st.sampled_from((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"))),
            min_size=2, max_size=3))
    ]
    if draw(st.booleans()):
        lines[-1] = b"\r\n" + lines[-1]
    return [Valid(line, block) for line in lines for block in blocks]


@bounded(60)
@given(alike(), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(1, 5)),
                         min_size=1, max_size=6))
def test_the_environ_is_the_same_whether_heads_are_remembered_or_not(
    pair: Pair, requests: list[Valid], turns: list[tuple[int, int, int]]
) -> None:
    pair.examples += 1
    for memo in (True, False):
        environs = []
        for at, which, times in [*turns, *turns, (0, 0, 5), (1, 0, 5)]:
            request = requests[which % len(requests)]
            batch = [request] if request.closes else [request] * times  # pipelined
            environs += pair.exchange(memo, at, *batch)
            environs += pair.exchange(memo, at, request)
        pair.shared[memo] += len(environs) - marks(environs)


@st.composite
def similar(draw: st.DrawFn) -> list[Valid]:
    """Requests that have the same fields in the same order, and other values in them.

    Each has a place for the number of its turn.
    """
    fields = draw(st.lists(names, max_size=6))
    length, near = draw(st.booleans()), draw(st.booleans())
    place = draw(st.integers(0, len(fields)))
    requests = []
    for _ in range(draw(st.integers(2, 4))):
        method, body = draw(st.sampled_from(METHODS)), b""
        version = draw(st.sampled_from((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0")))
        lines = [name + b": " + draw(values) for name in fields]
        if near:  # or with one name that is only as long as the other's
            lines.insert(0, draw(st.sampled_from((b"X-One: 1", b"X-Two: 1"))))
        lines.insert(place, b"Host: " + draw(st.sampled_from(HOSTS)))
        if length:
            body = draw(st.binary(max_size=20))
            lines.insert(0, b"Content-Length: %d" % len(body))
        lines += draw(st.sampled_from(([], [], [], [b"Connection: close"], [b"X_Mark: hidden"])))
        line = method + b" " + draw(targets(method)) + b" " + version + b"\r\n"
        requests.append(Valid(
            line, MARK + b"X-Turn: @\r\n" + b"\r\n".join(lines) + b"\r\n\r\n", body))
    return requests


@bounded(60)
@given(similar(), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)),
                           min_size=5, max_size=12))
def test_the_environ_is_the_same_whether_one_is_made_from_the_last_or_not(
    pair: Pair, requests: list[Valid], turns: list[tuple[int, int]]
) -> None:
    pair.examples += 1
    for memo in (True, False):
        environs = []
        for turn, (at, which) in enumerate([*turns, *turns]):
            one = requests[which % len(requests)]
            block = one.block.replace(b"X-Turn: @", b"X-Turn: %d" % turn)  # no head comes twice
            environs += pair.exchange(memo, at, Valid(one.line, block, one.body))
        pair.shared[memo] += len(environs) - marks(environs)


def test_the_examples_above_took_both_ways(pair: Pair) -> None:
    if pair.examples:  # else they were deselected
        assert pair.shared[True] > pair.examples
        assert pair.shared[False] == 0
