"""What ``strict_wsgi`` reports, about which line, and that it changes no response.

The applications that break the rules are in apps/misuse.py, one or more for each rule.
"""

from __future__ import annotations

import functools
import gc
import logging
import re
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apps import TESTS, contract
from apps.client import Client, fetch, request
from apps.misuse import CASES, TEXT, Case

from fastwsgi.strict.report import NOWHERE, Place, Reports, of_callable
from fastwsgi.strict.rules import RULES
from fastwsgi.testing import Server, raw, serve, spawn

MISUSE = TESTS / "apps" / "misuse.py"
REPORT = re.compile(r"strict WSGI: .* \[([a-z0-9-]+); [^]]+\], (.*)$")
BODY = b"a=1&b=2"


def asked(server: Server, method: str) -> bytes:
    """The bytes of the answer, without its Date."""
    request = f"{method} /page?q HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"
    if method == "POST":
        request += f"Content-Type: text/plain\r\nContent-Length: {len(BODY)}\r\n"
    answer = raw(server.address, request.encode() + b"\r\n" + (BODY if method == "POST" else b""))
    return re.sub(rb"Date: [^\r]*", b"Date", answer)


def reports(lines: Iterable[str]) -> list[tuple[str, str]]:
    """The (rule, place and request) of every report among lines of a log."""
    return [(found[1], found[2]) for line in lines if (found := REPORT.search(line))]


def one_line(case: Case) -> str:
    return case.name


@pytest.fixture
def beneath(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines that checkers beneath a middleware have logged."""
    caplog.set_level(logging.INFO, "fastwsgi.strict")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("case", CASES, ids=one_line)
def test_reports_what_breaks_a_rule(case: Case, beneath: Callable[[], list[str]]) -> None:
    with serve(case.app, strict_wsgi=True) as server:
        asked(server, case.method)
        asked(server, case.method)  # by now the first request is over
        found = reports([*server.log, *beneath()])
    assert sorted({rule for rule, _ in found}) == sorted(case.rules)
    if case.line is not None:
        assert [place for _, place in found if f"{MISUSE}:{case.line} in " in place]


@pytest.mark.parametrize("case", CASES, ids=one_line)
def test_changes_no_response(case: Case) -> None:
    with serve(case.app) as server:
        without = asked(server, case.method)
    with serve(case.app, strict_wsgi=True) as server:
        assert asked(server, case.method) == without


def test_every_rule_is_tried() -> None:
    assert {rule for case in CASES for rule in case.rules} == set(RULES)


# -- how it is told ----------------------------------------------------------------------------


def no_type(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    if environ["PATH_INFO"] == "/other":
        start_response("200 OK", [])
        return [b"body"]
    start_response("200 OK", [])
    return [b"body"]


def test_tells_a_line_once_and_counts_on() -> None:
    with serve(no_type, strict_wsgi=True) as server:
        with Client(server.address) as client:
            for _ in range(25):
                assert client.fetch("/one").body == b"body"
        lines = [line for line in server.log if "content-type-missing" in line]
    told, again = lines
    assert " [WARNING] strict WSGI: a body without Content-Type" in told
    assert "; GET /one" in told
    assert "10 times by now: content-type-missing at " in again


def test_tells_each_line_that_breaks_the_same_rule() -> None:
    with serve(no_type, strict_wsgi=True) as server:
        with Client(server.address) as client:
            client.fetch("/one")
            client.fetch("/other")
            client.fetch("/one")
        places = [place for _, place in reports(server.log)]
    assert len(places) == 2
    first, second = (int(re.findall(r":(\d+) in no_type", place)[0]) for place in places)
    assert first == second + 2


def test_tells_each_header_that_breaks_a_rule_at_the_same_line() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [*TEXT, ("TE", "1"), ("Upgrade", "1"), ("TE", "2")])
        return [b"body"]

    with serve(app, strict_wsgi=True) as server:
        asked(server, "GET")
        told = [line for line in server.log if "hop-by-hop" in line and "strict WSGI" in line]
    assert [re.findall(r"header '(\w+)'", line) for line in told] == [["TE"], ["Upgrade"]]


def test_tells_a_must_as_an_error() -> None:
    case = next(case for case in CASES if case.name == "status_of_bytes")
    with serve(case.app, strict_wsgi=True) as server:
        asked(server, "GET")
        assert [line for line in server.log if "] [ERROR] strict WSGI: status is of type" in line]


def test_sums_up_when_the_server_ends(project: Callable[..., Path]) -> None:
    folder = project(website="""
        def app(environ, start_response):
            start_response("200 OK", [])
            return [environ["PATH_INFO"].encode()]
        """)
    with spawn("--strict-wsgi", "website:app", cwd=folder) as server:
        for path in ("/a", "/b", "/c"):
            assert fetch(server.address, path).body == path.encode()
        server.terminate()
        (line,) = [line for line in server.output().splitlines() if "in all" in line]
    assert re.search(r"content-type-missing at \S+website\.py:3 3 times$", line)


def test_says_so_when_there_was_nothing_to_report(project: Callable[..., Path]) -> None:
    folder = project(website="""
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"fine"]
        """)
    with spawn("website:app", cwd=folder, env={"FASTWSGI_STRICT_WSGI": "1"}) as server:
        fetch(server.address)
        server.terminate()
        assert "strict WSGI: nothing to report" in server.output()


def test_loads_no_checker_when_it_is_off(project: Callable[..., Path]) -> None:
    folder = project(website="""
        import sys
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [repr([name for name in sys.modules if "fastwsgi.strict" in name]).encode()]
        """)
    with spawn("website:app", cwd=folder) as server:
        assert fetch(server.address).body == b"[]"


class Hostile:
    """Nothing can be learned about it."""

    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")

    def __bool__(self) -> bool:
        raise RuntimeError("not to be judged")

    def __format__(self, spec: str) -> str:
        raise RuntimeError("not to be told")

    __str__ = __repr__
    __hash__ = None  # type: ignore[assignment]


def test_survives_values_that_cannot_be_shown() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[Any]:
        environ["REMOTE_USER"] = Hostile()
        environ["wsgi.url_scheme"] = Hostile()
        start_response("200 OK", [*TEXT, (Hostile(), Hostile())], Hostile())
        return [Hostile()]

    with serve(app, strict_wsgi=True) as server:
        assert asked(server, "GET").startswith(b"HTTP/1.1 500 ")
        assert {"environ-value", "header-name-type", "exc-info-type", "block-type"} <= {
            rule for rule, _ in reports(server.log)}


def test_tells_the_rule_when_the_request_cannot_be_shown() -> None:
    said: list[str] = []
    told = Reports(lambda level, text, error: said.append(text))
    told.add("start-after-end", Place("called at", "app.py", 1, "app"), (Hostile(), Hostile()), {})
    (text,) = said
    assert "start_response() was called after the response had ended" in text
    assert "app.py:1" in text


def test_bounds_what_it_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastwsgi.strict.report.MOST_PLACES", 3)
    said: list[str] = []
    told = Reports(lambda level, text, error: said.append(text))
    for line in range(5):
        told.add("start-after-end", Place("called at", "app.py", line, "app"), None, {})
    assert len(said) == 3
    told.summary()
    assert said[-1].endswith("; and 2 reports of further kinds")


def test_quotes_a_request_without_line_ends() -> None:
    said: list[str] = []
    told = Reports(lambda level, text, error: said.append(text))
    place = Place("called at", "app.py", 1, "app")
    told.add("start-after-end", place, ("GET", "/\n[ERROR] no"), {})
    assert "\n" not in said[0]


def test_finds_the_line_behind_wrappers() -> None:
    class Site:
        def __call__(self, environ: Any, start_response: Any) -> None:
            """Return nothing, and call nothing."""

        def method(self, environ: Any, start_response: Any) -> None:
            """Return nothing, and call nothing."""

    @functools.wraps(no_type)
    def wrapper(*args: Any) -> Any:
        return no_type(*args)

    for application, name in (
        (Site(), "Site.__call__"), (Site().method, "Site.method"), (wrapper, "no_type"),
        (functools.partial(functools.partial(no_type)), "no_type"),
    ):  # fmt: skip
        place = of_callable(application)
        assert place.file == __file__
        assert place.name.rpartition("<locals>.")[2] in (name, name.rpartition(".")[2])
    assert of_callable(print) == NOWHERE


def test_names_the_application_when_the_caller_is_compiled() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        return map(start_response, ["200"], [list(TEXT)])

    with serve(app, strict_wsgi=True) as server:
        asked(server, "GET")
        (place,) = [place for rule, place in reports(server.log) if rule == "status-form"]
    assert place.startswith(f"application defined at {__file__}:{app.__code__.co_firstlineno} in ")


class Limited:
    """The stream of a filter, which lacks readlines() and iteration."""

    def __init__(self, stream: Any) -> None:
        self.read = stream.read
        self.readline = stream.readline


class Limiting:
    """A filter (middleware) that hands on a stream of its own."""

    def __init__(self, application: Any, stream: Callable[[Any], Any] = Limited) -> None:
        self.application, self.stream = application, stream

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if self.stream is Limited:
            environ["wsgi.input"] = Limited(environ["wsgi.input"])  # the line to blame
        else:
            environ["wsgi.input"] = self.stream(environ["wsgi.input"])
        return self.application(environ, start_response)


class Framework:
    """An application that stands around its filters, as Flask's and Django's do."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self.inner = inner

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self.inner(environ, start_response)


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", list(TEXT))
    return [environ["wsgi.input"].read(7) or b"body"]


def test_names_the_filter_that_replaced_the_input() -> None:
    with serve(Framework(Limiting(page)), strict_wsgi=True) as server:
        asked(server, "POST")
        (line,) = [line for line in server.log if "environ-stream" in line]
    source = Path(__file__).read_text("utf-8").splitlines()
    number = next(at for at, text in enumerate(source, 1) if text.endswith("# the line to blame"))
    assert "of type Limited, without readlines()" in line
    assert f"replaced at {__file__}:{number} in " in line


@pytest.mark.parametrize("method", ["__init__", "read"])
def test_names_the_class_of_the_input_when_the_filter_is_not_found(method: str) -> None:
    def make(stream: Any) -> Any:
        def read(self: Any, size: int = -1) -> bytes:
            return stream.read(size)  # type: ignore[no-any-return]

        kind = type("Elsewhere", (Limited,) if method == "__init__" else (), {"read": read})
        return kind(stream) if method == "__init__" else kind()

    with serve(Framework(Limiting(page, make)), strict_wsgi=True) as server:
        asked(server, "POST")
        (place,) = {place for rule, place in reports(server.log) if rule == "environ-stream"}
    where = Limited.__init__ if method == "__init__" else make
    first = where.__code__.co_firstlineno + (method == "read")
    assert f"class is defined at {__file__}:{first} in " in place


# -- what stays as it is -----------------------------------------------------------------------


def test_a_list_stays_a_list_of_known_length() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", list(TEXT))
        return [b"one, ", b"two"]

    with serve(app, strict_wsgi=True) as server:
        response = fetch(server.address)
        assert (response.get("Content-Length"), response.body) == ("8", b"one, two")
        assert reports(server.log) == []


def test_a_file_is_sent_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", list(TEXT))
        body = environ["wsgi.file_wrapper"](path.open("rb"), 1024)
        assert isinstance(body, environ["wsgi.file_wrapper"])
        return body

    with serve(app, strict_wsgi=True) as server:
        response = fetch(server.address)
        # the server knows the length only if it has recognised the file
        assert (response.get("Content-Length"), len(response.body)) == ("100000", 100_000)
        assert reports(server.log) == []


def test_a_file_ends_at_its_content_length_without_a_report(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [*TEXT, ("Content-Length", "4")])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    with serve(app, strict_wsgi=True) as server:
        assert fetch(server.address).body == b"0123"
        assert reports(server.log) == []


def test_each_block_leaves_before_the_next_is_made() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", list(TEXT))
        return contract.lockstep(int(environ["PATH_INFO"][1:]))

    with (
        serve(app, strict_wsgi=True) as server,
        socket.create_server(("127.0.0.1", 0)) as listener,
        Client(server.address) as client,
    ):
        client.send(request(f"/{listener.getsockname()[1]}"))
        side, _ = listener.accept()
        with side:
            assert client.head().chunked
            for number in range(contract.BLOCKS):
                assert client.chunk() == contract.block(number)
                side.sendall(b".")
            assert client.chunk() == b""
        assert reports(server.log) == []


def test_closes_what_was_returned_and_not_its_iterator() -> None:
    closed: list[str] = []

    class Returned:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"body"])  # a list's iterator, which has no close()

        def close(self) -> None:
            closed.append("returned")

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", list(TEXT))
        return Returned()

    with serve(app, strict_wsgi=True) as server, Client(server.address) as client:
        for _ in range(2):
            assert client.fetch().body == b"body"
        assert closed[:1] == ["returned"]
        assert reports(server.log) == []
    assert closed == ["returned"] * 2


def test_closes_what_was_returned_when_the_client_has_gone() -> None:
    closed = threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", list(TEXT))
        try:
            while True:
                yield bytes(65536)
        finally:
            closed.set()

    with serve(app, strict_wsgi=True) as server:
        with Client(server.address) as client:
            client.send(request())
            client.head()
            client.reset()
        assert closed.wait(20)
        assert reports(server.log) == []


def test_releases_a_request_without_the_garbage_collector() -> None:
    alive: list[weakref.ref[Any]] = []

    class Held(Exception):
        """What the application keeps in its environ, or raises."""

    def failing(start_response: Callable[..., Any]) -> Iterator[bytes]:
        yield b"begun"
        try:
            raise Held
        except Held as error:
            alive.append(weakref.ref(error))
            start_response("500 Oops", list(TEXT), sys.exc_info())

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        held = Held()
        alive.append(weakref.ref(held))
        environ["test.held"] = held
        environ["test.start"] = start_response
        start_response("200 OK", list(TEXT))
        if environ["PATH_INFO"] == "/list":
            return [b"list"]
        return failing(start_response) if environ["PATH_INFO"] == "/late" else iter([b"block"])

    gc.collect()
    gc.disable()
    try:
        with serve(app, strict_wsgi=True) as server:
            for path in ("/list", "/block", "/late", "/list"):
                raw(server.address, request(path, "Connection: close"))
            # the last may still be on its way out of the worker
            assert [found() for found in alive[:4]] == [None] * 4
    finally:
        gc.enable()
