"""What ``strict_wsgi`` has nothing to say about: frameworks, middleware, and what looks odd only.

A false report is worse than none, because it teaches to ignore the others. What is expected here
beside nothing is true, and explained.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import demo_app
from wsgiref.validate import validator
from xml.sax.saxutils import XMLGenerator

import pytest
from apps import TESTS, TEXT, contract
from apps.client import Client, fetch, request
from apps.frameworks import FORM, URLENCODED, installable
from conformance import servers
from conformance.cases import all_cases
from conformance.servers import Bench

import fastwsgi.demo
from fastwsgi.testing import Process, serve, spawn

Start = Callable[..., Any]

UPLOAD = (
    b"--edge\r\nContent-Disposition: form-data; name=note\r\n\r\nwith a note\r\n"
    b'--edge\r\nContent-Disposition: form-data; name=file; filename="a"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + bytes(range(256)) + b"\r\n--edge--\r\n"
)


def told(lines: list[str]) -> list[str]:
    """What the checker says among lines of a log; of a report, its rule."""
    said = [line.partition("strict WSGI: ")[2] for line in lines if "strict WSGI: " in line]
    return [text.partition(" [")[2].partition(";")[0] or text for text in said]


def tour(server: Process) -> None:
    """Visit every page of the contract, as the framework tests do."""
    with Client(server.address) as client:
        statuses = [client.fetch(page).status for page in (
            "/", "/greet/Ada", "/cookies/set", "/nowhere/at-all")]  # fmt: skip
        assert statuses == [200, 200, 200, 404]
        assert client.fetch("/cookies/show", "Cookie: flavour=chocolate").status == 200
        assert client.fetch("/", method="HEAD").status in (200, 405)
        kind = f"Content-Type: {URLENCODED}"
        assert client.fetch("/form", kind, method="POST", body=FORM).status == 200
        kind = "Content-Type: multipart/form-data; boundary=edge"
        assert client.fetch("/upload", kind, method="POST", body=UPLOAD).status == 200
    assert fetch(server.address, "/boom").status == 500
    with socket.create_server(("127.0.0.1", 0)) as listener, Client(server.address) as client:
        client.send(request(f"/stream/{listener.getsockname()[1]}"))
        side, _ = listener.accept()
        with side:
            client.head()
            for _ in range(contract.BLOCKS):
                client.chunk()
                side.sendall(b".")
            assert client.chunk() == b""


@pytest.mark.parametrize("name", installable())
def test_frameworks_earn_no_report(name: str) -> None:
    with spawn("--strict-wsgi", f"apps.{name}_app:app", cwd=TESTS) as server:
        tour(server)
        server.terminate()
        found = told(server.output().splitlines())
    assert found == ["nothing to report"]


def silent(
    app: Callable[..., Any], method: str = "GET", body: bytes | None = None, path: str = "/page",
) -> None:
    """One request; the application works, and nothing is reported."""
    with serve(app, strict_wsgi=True) as server, Client(server.address) as client:
        for _ in range(2):  # the second has come when the first is over
            assert client.fetch(path, method=method, body=body).status in (200, 204, 304, 404)
        assert told(server.log) == []


def test_a_validated_application_is_fine() -> None:
    silent(validator(demo_app))


def test_the_demo_is_fine() -> None:
    silent(fastwsgi.demo.app)


# A server drops the body of an answer to HEAD (RFC 9110 9.3.2), so PEP 3333 asks an application for
# nothing: it may answer as it answers GET, and files are sent like this by Django and by werkzeug.


@pytest.mark.parametrize("path", ["/", "/static/style.css", "/nothing"])
def test_the_demo_is_fine_when_it_is_asked_by_head(path: str) -> None:
    silent(fastwsgi.demo.app, "HEAD", path=path)


@pytest.mark.parametrize("length", [[], [("Content-Length", "8")]], ids=["unknown", "known"])
@pytest.mark.parametrize("way", ["list", "iterator", "generator", "file", "plain file", "write"])
def test_a_body_that_answers_head_is_fine(tmp_path: Path, way: str, length: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one, two")

    def app(environ: dict[str, Any], start_response: Start) -> Any:
        write = start_response("200 OK", [*TEXT, *length])
        if way == "write":
            write(b"one, two")
            return []
        return {
            "list": lambda: [b"one, two"],
            "iterator": lambda: iter([b"one, ", b"two"]),
            "generator": lambda: (block for block in (b"one, ", b"two")),
            "file": lambda: environ["wsgi.file_wrapper"](path.open("rb")),
            "plain file": lambda: path.open("rb"),
        }[way]()

    silent(app, "HEAD")


def test_a_length_with_304_is_fine_when_200_may_have_the_same() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("304 Not Modified", [("ETag", '"1"'), ("Content-Length", "8")])
        return []

    silent(app)


def test_a_class_as_application_is_fine() -> None:
    class Application:
        def __init__(self, environ: dict[str, Any], start_response: Start) -> None:
            self.start = start_response

        def __iter__(self) -> Iterator[bytes]:
            self.start("200 OK", list(TEXT))
            yield b""
            yield b"body"

    silent(Application)


def test_every_call_that_streams_allow_is_fine() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        body = environ["wsgi.input"]
        assert body.read(1) + body.read(0) + body.readline() + body.readline(2) == b"a\nb\n"
        assert [next(iter(body)), *body.readlines(1)] == [b"c\n", b"d\n"]
        assert body.read() + body.read(-1) + body.read(None) + body.readline() == b""
        errors = environ["wsgi.errors"]
        errors.write("text\n")
        errors.writelines(["more ", "text\n"])
        errors.flush()
        start_response("200 OK", list(TEXT))
        return [b"body"]

    silent(app, "POST", b"a\nb\nc\nd\n")


def test_a_question_for_more_than_streams_have_is_fine() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        assert not hasattr(environ["wsgi.input"], "close")
        assert getattr(environ["wsgi.input"], "seek", None) is None
        assert hasattr(environ["wsgi.errors"], "isatty")
        start_response("200 OK", list(TEXT))
        return [b"body"]

    silent(app)


def test_the_standard_library_may_write_to_wsgi_errors() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        errors = environ["wsgi.errors"]
        print("a line", file=errors)
        logger = logging.Logger("of the application")
        logger.addHandler(logging.StreamHandler(errors))
        logger.error("a record")
        try:
            raise ValueError("a traceback")
        except ValueError:
            traceback.print_exc(file=errors)
        with contextlib.redirect_stderr(errors):
            sys.stderr.write("redirected\n")
        XMLGenerator(errors)  # asks for seekable() and tell()
        start_response("200 OK", list(TEXT))
        return [b"body"]

    silent(app)


def test_an_error_page_by_exc_info_is_fine() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        start_response("201 Created", list(TEXT))
        try:
            raise ValueError("before the first block")
        except ValueError:
            start_response("200 OK", list(TEXT), sys.exc_info())
        yield b"body"

    silent(app)


def test_an_exception_by_exc_info_that_gets_through_is_fine() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        start_response("200 OK", list(TEXT))
        yield b"body"
        try:
            raise ValueError("after the first block")
        except ValueError:
            start_response("500 Oops", list(TEXT), sys.exc_info())

    with serve(app, strict_wsgi=True) as server:
        for _ in range(2):
            with Client(server.address) as client:
                client.send(request())
                assert client.head().chunked
                assert client.chunk() == b"body"
                assert client.rest() == b""
        assert told(server.log) == []


def test_writing_before_the_return_is_fine() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        write = start_response("200 OK", [*TEXT, ("Content-Length", "8")])
        write(b"one ")
        write(b"")
        return [b"two", b"!"]

    silent(app)


def test_changes_of_environ_are_fine() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = "/page", ""
        environ["PATH_INFO"] = "/caf\xc3\xa9"
        environ["REMOTE_USER"] = "me"
        environ["app.object"] = object()
        environ["wsgi.input"] = io.BytesIO(b"decoded")
        environ["wsgi.errors"] = io.StringIO()
        environ.pop("wsgi.file_wrapper")
        environ.pop("HTTP_HOST")
        start_response("200 OK", list(TEXT))
        return [b"body"]

    silent(app)


def test_a_response_without_content_is_fine() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> tuple[bytes, ...]:
        start_response("204 No Content", [])
        return ()

    silent(app)


def test_a_wrapped_object_without_a_descriptor_is_fine() -> None:
    def app(environ: dict[str, Any], start_response: Start) -> Any:
        start_response("200 OK", [*TEXT, ("Content-Length", "4")])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"body"), 2)

    silent(app)


def test_an_accurate_length_is_fine() -> None:
    class Blocks:
        def __len__(self) -> int:
            return 2

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"one ", b"two"])

    def app(environ: dict[str, Any], start_response: Start) -> Any:
        start_response("200 OK", list(TEXT))
        return Blocks()

    silent(app)


# -- the conformance suite's applications, which do everything ---------------------------------

WSGI_CASES = {
    name: case
    for name, case in all_cases().items()
    if case.category.startswith("WSGI") and "w" in case.ways
}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        settings = {name: (app, {**given, "strict_wsgi": True})
                    for name, (app, given) in servers.CONFIGS.items()}
        patch.setattr(servers, "CONFIGS", settings)
        bench = Bench(servers.Ours, patience=5.0, lenient=False)
        yield bench
        bench.close()


@pytest.mark.parametrize("name", WSGI_CASES)
def test_keeps_the_contract_under_the_checker(bench: Bench, name: str) -> None:
    case = WSGI_CASES[name]
    reason, _ = bench.run(case, "w", "tcp")
    assert reason is None, f"{case.why} ({case.rule}): {reason}"
