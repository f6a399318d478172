"""The contract in Werkzeug alone: its routing, request and response, no framework above."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.exceptions import NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from . import contract

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

URLS = Map(
    [
        Rule("/", endpoint="hello", methods=["GET"]),
        Rule("/greet/<name>", endpoint="greet", methods=["GET"]),
        Rule("/form", endpoint="form", methods=["POST"]),
        Rule("/upload", endpoint="upload", methods=["POST"]),
        Rule("/cookies/set", endpoint="set_cookies", methods=["GET"]),
        Rule("/cookies/show", endpoint="show_cookies", methods=["GET"]),
        Rule("/stream/<int:port>", endpoint="stream", methods=["GET"]),
        Rule("/boom", endpoint="boom", methods=["GET"]),
    ]
)


def text(body: str, status: int = 200) -> Response:
    return Response(body, status=status, content_type="text/plain; charset=utf-8")


def hello(request: Request) -> Response:
    return text(contract.HELLO)


def greet(request: Request, name: str) -> Response:
    return text(contract.greeting(name))


def form(request: Request) -> Response:
    return text(contract.form_summary(request.form["name"], request.form["colour"]))


def upload(request: Request) -> Response:
    sent = request.files["file"]
    return text(contract.upload_summary(sent.filename or "", sent.stream, request.form["note"]))


def set_cookies(request: Request) -> Response:
    response = text("set")
    for name, value in contract.COOKIES.items():
        response.set_cookie(name, value)
    return response


def show_cookies(request: Request) -> Response:
    return text(contract.cookie_summary(request.cookies))


def stream(request: Request, port: int) -> Response:
    return Response(contract.lockstep(port), content_type="text/plain")


def boom(request: Request) -> Response:
    raise RuntimeError(contract.BOOM)


VIEWS = {
    view.__name__: view
    for view in (hello, greet, form, upload, set_cookies, show_cookies, stream, boom)
}


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    request = Request(environ)
    try:
        endpoint, arguments = URLS.bind_to_environ(environ).match()
    except NotFound:
        response = text(contract.missing(request.path), 404)
    else:
        response = VIEWS[endpoint](request, **arguments)
    return response(environ, start_response)
