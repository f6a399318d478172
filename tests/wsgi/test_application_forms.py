"""The forms that PEP 3333 lets an application take, bare and under layers of middleware.

Rule: one application, `answer`, said in every form; whatever the form and whatever is wrapped
around it, the client gets the same response and the iterable is closed once.  The standard
library's validator is one of the layers: it raises when the server departs from the PEP.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest
from apps.client import Client, request

from fastwsgi.testing import serve

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HEADERS = [("Content-Type", "text/plain"), ("X-Form", "one"), ("X-Form", "two")]


def answer(environ: WSGIEnvironment) -> list[bytes]:
    """The blocks that every form answers with: what was asked, and the body that came."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return [environ["REQUEST_METHOD"].encode(), b" ", environ["PATH_INFO"].encode(), b" ", body]


def function(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", list(HEADERS))
    return answer(environ)


def generator(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    """Nothing of this runs before the first block is asked for, `start_response` included."""
    start_response("200 OK", list(HEADERS))
    yield from answer(environ)


def writer(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    write = start_response("200 OK", list(HEADERS))
    *written, returned = answer(environ)
    for block in written:
        write(block)
    return [returned]


class Iterated:
    """The application is the class, its instance the iterable."""

    def __init__(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        self.environ = environ
        self.start = start_response

    def __iter__(self) -> Iterator[bytes]:
        self.start("200 OK", list(HEADERS))
        yield from answer(self.environ)


class OwnIterator(Iterated):
    """The same, but the instance is its own iterator, and starts when it is first asked."""

    blocks: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.blocks is None:
            self.start("200 OK", list(HEADERS))
            self.blocks = iter(answer(self.environ))
        return next(self.blocks)


class Called:
    """The application is an instance, called for each request."""

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> tuple[bytes, ...]:
        start_response("200 OK", list(HEADERS))
        return tuple(answer(environ))

    def method(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        return function(environ, start_response)

    @staticmethod
    def static(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        return function(environ, start_response)


def configured(
    setting: str, environ: WSGIEnvironment, start_response: StartResponse
) -> list[bytes]:
    assert setting == "a setting"
    return function(environ, start_response)


FORMS: dict[str, Any] = {
    "function": function,
    "generator function": generator,
    "function that uses write": writer,
    "class whose instance is iterable": Iterated,
    "class whose instance is an iterator": OwnIterator,
    "instance with __call__": Called(),
    "bound method": Called().method,
    "static method": Called.static,
    "partial": functools.partial(configured, "a setting"),
    "lambda": lambda environ, start_response: function(environ, start_response),
}


class Closing:
    """An iterable around another one that counts how often it is closed, and passes it on."""

    def __init__(self, blocks: Iterable[bytes], closed: list[int]) -> None:
        self.blocks = blocks
        self.closed = closed

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.blocks)

    def close(self) -> None:
        self.closed.append(1)
        if hasattr(self.blocks, "close"):
            self.blocks.close()


def passing(app: WSGIApplication) -> WSGIApplication:
    """Middleware that passes everything on."""
    return lambda environ, start_response: app(environ, start_response)


class HeaderAdding:
    """Middleware as an instance that replaces `start_response` by one of its own."""

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(
            status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None
        ) -> Callable[[bytes], object]:
            added = [*headers, ("X-Layer", type(self).__name__)]
            if exc_info is None:
                return start_response(status, added)
            return start_response(status, added, exc_info)

        return self.app(environ, start)


def regenerating(app: WSGIApplication) -> WSGIApplication:
    """Middleware that is a generator function and passes blocks on one by one."""

    def layer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        blocks = app(environ, start_response)
        try:
            yield from blocks
        finally:
            if hasattr(blocks, "close"):
                blocks.close()

    return layer


def joining(app: WSGIApplication) -> WSGIApplication:
    """Middleware that collects the whole body and answers with one block."""

    def layer(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        blocks = app(environ, start_response)
        try:
            return [b"".join(blocks)]
        finally:
            if hasattr(blocks, "close"):
                blocks.close()

    return layer


LAYERS: dict[str, list[Callable[[Any], Any]]] = {
    "bare": [],
    "validated": [validator],
    "one layer": [passing],
    "a layer that adds a header": [HeaderAdding],
    "layers of every kind": [passing, HeaderAdding, regenerating],
    "validators between layers": [validator, HeaderAdding, validator, regenerating, validator],
    "twenty layers": [passing, regenerating] * 10,
}


def wrapped(app: Any, layers: list[Callable[[Any], Any]]) -> Any:
    for layer in layers:
        app = layer(app)
    return app


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS.keys())
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_answers_alike_in_every_form_under_every_layer(
    form: Any, layers: list[Callable[[Any], Any]]
) -> None:
    closed: list[int] = []
    errors = io.StringIO()
    inner = wrapped(form, layers)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.errors"] = errors
        return Closing(inner(environ, start_response), closed)

    asked = [
        (request("/plain?q=1"), b"GET /plain ", "GET"),
        (request("/sent", method="POST", body=b"a body"), b"POST /sent a body", "POST"),
        (request("/head", method="HEAD"), b"", "HEAD"),
        (request("/last"), b"GET /last ", "GET"),
    ]
    with serve(app) as server, Client(server.address) as client:
        for data, expected, method in asked:
            client.send(data)
            response = client.response(method)
            assert (response.status, response.reason) == (200, "OK")
            assert response.all("X-Form") == ["one", "two"]
            assert response.all("X-Layer") == ["HeaderAdding"] * layers.count(HeaderAdding)
            assert response.body == expected
    assert len(closed) == len(asked)
    # Here the validator would say of an iterator that was never closed.
    assert errors.getvalue() == ""


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_layer_that_joins_the_body_gives_it_a_length(form: Any) -> None:
    """`write` bypasses the returned iterable, so what is written stays outside the join."""
    with serve(joining(form)) as server, Client(server.address) as client:
        response = client.fetch("/joined")
        assert response.body == b"GET /joined "
        if form is not writer:
            assert response.get("Content-Length") == str(len(response.body))


@pytest.mark.parametrize(
    "read",
    [
        lambda source: source.read(1000),
        lambda source: source.read(3) + source.read(2) + source.read(1000),
        lambda source: b"".join(iter(source.readline, b"")),
        lambda source: source.readline(4) + source.read(1000),
        lambda source: b"".join(source.readlines(1)) + source.read(1000),
        lambda source: b"".join(source),
    ],
    ids=["read", "read in parts", "readline", "readline(n)", "readlines", "iteration"],
)
def test_the_validator_accepts_the_input_stream(read: Callable[[Any], bytes]) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        body = read(environ["wsgi.input"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body]

    sent = b"one\ntwo lines\n\nno end"
    with serve(validator(app)) as server, Client(server.address) as client:
        assert client.fetch("/", method="POST", body=sent).body == sent
        assert client.fetch("/", method="POST", body=b"").body == b""
        assert client.fetch("/").body == b""


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_the_validator_accepts_the_environ_of_every_method(method: str) -> None:
    seen: list[WSGIEnvironment] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        seen.append(environ)
        start_response("204 No Content", [])
        return []

    with serve(validator(app)) as server, Client(server.address) as client:
        assert client.fetch("/", method=method).status == 204
    [environ] = seen
    assert type(environ) is dict
    assert environ["REQUEST_METHOD"] == method


def test_the_validator_accepts_the_error_stream() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        errors = environ["wsgi.errors"]
        errors.write("a line from the application\n")
        errors.writelines(["another, ", "in parts\n"])
        errors.flush()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"said"]

    with serve(validator(app)) as server, Client(server.address) as client:
        assert client.fetch("/").body == b"said"


def test_an_application_that_breaks_the_pep_fails_the_validator_not_the_server() -> None:
    """Shows that the validator is awake: what it raises is the application's error, a 500."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Status", "200 OK")])
        return [b"never sent"]

    with serve(validator(app)) as server, Client(server.address) as client:
        response = client.fetch("/")
        assert response.status == 500
        assert b"never sent" not in response.body
