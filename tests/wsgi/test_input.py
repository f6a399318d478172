"""`wsgi.input`: a file of the request's body, whole before the application runs.

Rule: the oracle is `io.BytesIO` over the same bytes.  Whatever sequence of reads an application
makes, in memory or in a file, it gets what BytesIO gives; only the hint of `readlines` is a hint
(PEP 3333), so there the lines are compared and not where they stop.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from apps import TEXT
from apps.client import Client, chunked, request
from hypothesis import given, settings
from hypothesis import strategies as st

from fastwsgi.testing import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIEnvironment

    Use = Callable[[InputStream], Any]

BODY_MEMORY = 1000
LINES = b"one\n\ntwo\r\nthree\n" + b"x" * 100 + b"\nno end"
BODIES = {
    "empty": b"",
    "one byte": b"a",
    "a line end": b"\n",
    "lines": LINES,
    "no line end": b"y" * 500,
    "as much as memory takes": b"0123456789" * (BODY_MEMORY // 10),
    "one byte more": b"0123456789" * (BODY_MEMORY // 10) + b"!",
    "lines in a file": LINES * 100,
    "long lines in a file": (b"z" * 70_000 + b"\n") * 3 + b"end",
}


class Reader:
    """Runs a piece of code over `wsgi.input` inside a server and brings back what it returned."""

    client: Client

    def __init__(self) -> None:
        self.use: Use | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.environ: WSGIEnvironment = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        assert self.use is not None
        self.environ = environ
        try:
            self.result = self.use(environ["wsgi.input"])
        except BaseException as error:
            self.error = error
        start_response("200 OK", TEXT)
        return [b"read"]

    def over(self, data: bytes, use: Use) -> Any:
        """What `use` returns over the input of the request `data`."""
        self.use, self.result, self.error = use, None, None
        self.client.send(data)
        assert self.client.response().body == b"read"
        if self.error is not None:
            raise self.error
        return self.result


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """A reader whose server keeps `BODY_MEMORY` bytes in memory."""
    made = Reader()
    with serve(made, body_memory=BODY_MEMORY) as server, Client(server.address) as client:
        made.client = client
        yield made


def whole(body: bytes) -> bytes:
    """A request with a Content-Length."""
    return request(method="POST", body=body)


def in_chunks(body: bytes) -> bytes:
    """The same in the chunked coding, cut at odd places."""
    size = max(7, len(body) // 13)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return request("/", "Transfer-Encoding: chunked", method="POST") + chunked(*pieces)


def until_empty(read: Callable[[], bytes]) -> list[bytes]:
    """What `read` gives until it gives nothing."""
    return list(iter(read, b""))


USES: dict[str, Use] = {
    "read()": lambda source: [source.read(), source.read()],
    "read(-1)": lambda source: [source.read(-1), source.read(-1)],
    "read(None)": lambda source: [source.read(None), source.read(None)],  # type: ignore[arg-type]
    "read(1)": lambda source: until_empty(lambda: source.read(1))[:300],
    "read(7)": lambda source: until_empty(lambda: source.read(7)),
    "read(4096)": lambda source: until_empty(lambda: source.read(4096)),
    "read(0)": lambda source: [source.read(0), source.read(1), source.read(0), source.read()],
    "read past the end": lambda source: [source.read(10**9), source.read(10**9), source.read(1)],
    "read a size past all memory": lambda source: [source.read(2**62), source.read(2)],
    "read(2), read()": lambda source: [source.read(2), source.read()],
    "readline()": lambda source: [*until_empty(source.readline), source.readline()],
    "readline(-1)": lambda source: until_empty(lambda: source.readline(-1)),
    "readline(None)": lambda source: until_empty(
        lambda: source.readline(None)  # type: ignore[arg-type]
    ),
    "readline(0)": lambda source: [source.readline(0), source.readline(), source.readline(0)],
    "readline(1)": lambda source: until_empty(lambda: source.readline(1))[:300],
    "readline(4)": lambda source: until_empty(lambda: source.readline(4)),
    "readline(100000)": lambda source: until_empty(lambda: source.readline(100_000)),
    "readlines()": lambda source: [source.readlines(), source.readlines()],
    "readlines(-1)": lambda source: source.readlines(-1),
    "readlines(0)": lambda source: source.readlines(0),
    "readlines(None)": lambda source: source.readlines(None),  # type: ignore[arg-type]
    "iteration": lambda source: [list(source), list(source)],
    "next": lambda source: [next(iter(source), None), source.read()],
    "iteration, then the rest": lambda source: [
        [line for line, _ in zip(source, range(2), strict=False)],
        source.readline(),
        source.read(),
    ],
    "all in turn": lambda source: [
        source.readline(),
        source.read(3),
        source.readline(2),
        next(iter(source), None),
        source.read(),
        source.readline(),
        source.readlines(),
        list(source),
        source.read(),
    ],
}


@pytest.mark.parametrize("framed", [whole, in_chunks], ids=["with a length", "in chunks"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_reads_as_a_file_of_the_body(
    reader: Reader, use: Use, body: bytes, framed: Callable[[bytes], bytes]
) -> None:
    got = reader.over(framed(body), use)
    assert got == use(io.BytesIO(body))


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_request_without_a_body_has_an_empty_file(reader: Reader, use: Use) -> None:
    assert reader.over(request(), use) == use(io.BytesIO())


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("hint", [1, 5, 100, 10_000_000])
def test_the_hint_of_readlines_bounds_no_line(reader: Reader, body: bytes, hint: int) -> None:
    some, rest = reader.over(
        whole(body),
        lambda source: (source.readlines(hint), source.readlines()),
    )
    assert some + rest == io.BytesIO(body).readlines()
    assert sum(map(len, some)) >= min(hint, len(body))


STEP = st.one_of(
    st.tuples(st.just("read"), st.integers(-1, 300)),
    st.tuples(st.just("readline"), st.integers(-1, 300)),
    st.tuples(st.sampled_from(["read", "readline", "readlines", "iterate", "next"]), st.none()),
)


def steps_over(source: Any, steps: list[tuple[str, int | None]]) -> list[Any]:
    """What each step gives, and at the end whether the source is used up."""
    got: list[Any] = []
    for name, size in steps:
        if name == "iterate":
            got.append([line for line, _ in zip(source, range(3), strict=False)])
        elif name == "next":
            got.append(next(iter(source), None))
        else:
            method = getattr(source, name)
            got.append(method() if size is None else method(size))
    return [*got, source.read(), source.read()]


@given(
    body=st.lists(st.sampled_from([b"\n", b"a", b"bc\r\n", b"d" * 90, b"e" * 1200])).map(b"".join),
    steps=st.lists(STEP, max_size=12),
    chunks=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_any_sequence_of_reads_is_that_of_a_file(
    reader: Reader, body: bytes, steps: list[tuple[str, int | None]], chunks: bool
) -> None:
    data = in_chunks(body) if chunks else whole(body)
    got = reader.over(data, lambda source: steps_over(source, steps))
    assert got == steps_over(io.BytesIO(body), steps)


@pytest.mark.parametrize("body", [b"short", b"long" * 1000], ids=["memory", "file"])
def test_says_how_long_it_is_and_that_it_ends(reader: Reader, body: bytes) -> None:
    for framed in (whole, in_chunks):
        reader.over(framed(body), lambda source: source.read())
        assert reader.environ["CONTENT_LENGTH"] == str(len(body))
        assert reader.environ["wsgi.input_terminated"] is True
        assert "HTTP_TRANSFER_ENCODING" not in reader.environ
        assert "HTTP_CONTENT_LENGTH" not in reader.environ


def test_gives_bytes_and_nothing_else(reader: Reader) -> None:
    def use(source: InputStream) -> set[type]:
        parts = [source.read(2), source.readline(), *source.readlines(1), *source, source.read()]
        return {type(part) for part in parts}

    for body in (LINES, LINES * 100):
        assert reader.over(whole(body), use) == {bytes}


@pytest.mark.parametrize("argument", ["1", 1.5, b"1", [1]], ids=repr)
def test_refuses_a_size_that_is_no_number(reader: Reader, argument: Any) -> None:
    for name in ("read", "readline", "readlines"):
        with pytest.raises(TypeError):
            reader.over(
                whole(LINES),
                lambda source, name=name: getattr(source, name)(argument),
            )


def test_the_input_of_one_request_ends_before_the_next(reader: Reader) -> None:
    """Two pipelined requests: no read of the first reaches into the second."""
    seen: list[bytes] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        source = environ["wsgi.input"]
        seen.append(source.read(3) + source.readline(10**6) + source.read(10**6) + source.read())
        start_response("200 OK", TEXT)
        return []

    with serve(app, body_memory=BODY_MEMORY) as server, Client(server.address) as client:
        bodies = [b"first", b"second" * 500, b"", b"third"]
        client.send(b"".join(whole(body) for body in bodies))
        for _ in bodies:
            assert client.response().status == 200
    assert seen == bodies


@pytest.mark.parametrize("body", [b"", b"short", b"long" * 1000], ids=["none", "memory", "file"])
def test_an_input_kept_past_its_request_harms_nobody(body: bytes) -> None:
    """A late read gives the rest of the old body, nothing, or an error: never foreign bytes."""
    kept: list[InputStream] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        kept.append(environ["wsgi.input"])
        start_response("200 OK", TEXT)
        return []

    with serve(app, body_memory=BODY_MEMORY) as server, Client(server.address) as client:
        for _ in range(3):
            assert client.fetch(method="POST", body=body).status == 200
        client.send(whole(b"foreign" * 1000))
        client.response()
        for source in kept[:3]:
            try:
                late = source.read()
            except (ValueError, OSError):
                continue
            assert late in (body, b"")
    for source in kept:
        try:
            source.read()
        except (ValueError, OSError):
            continue
