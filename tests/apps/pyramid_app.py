"""The contract in Pyramid, configured imperatively."""

from __future__ import annotations

from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response

from . import contract


def text(body: str, status: int = 200) -> Response:
    return Response(text=body, status=status, content_type="text/plain", charset="utf-8")


def hello(request: Request) -> Response:
    return text(contract.HELLO)


def greet(request: Request) -> Response:
    return text(contract.greeting(request.matchdict["name"]))


def form(request: Request) -> Response:
    return text(contract.form_summary(request.POST["name"], request.POST["colour"]))


def upload(request: Request) -> Response:
    sent = request.POST["file"]
    return text(contract.upload_summary(sent.filename, sent.file, request.POST["note"]))


def set_cookies(request: Request) -> Response:
    response = text("set")
    for name, value in contract.COOKIES.items():
        response.set_cookie(name, value)
    return response


def show_cookies(request: Request) -> Response:
    return text(contract.cookie_summary(request.cookies))


def stream(request: Request) -> Response:
    port = int(request.matchdict["port"])
    return Response(app_iter=contract.lockstep(port), content_type="text/plain")


def boom(request: Request) -> Response:
    raise RuntimeError(contract.BOOM)


def missing(request: Request) -> Response:
    return text(contract.missing(request.path_info), 404)


ROUTES = [
    ("/", "GET", hello),
    ("/greet/{name}", "GET", greet),
    ("/form", "POST", form),
    ("/upload", "POST", upload),
    ("/cookies/set", "GET", set_cookies),
    ("/cookies/show", "GET", show_cookies),
    ("/stream/{port}", "GET", stream),
    ("/boom", "GET", boom),
]

with Configurator() as config:
    for pattern, method, view in ROUTES:
        config.add_route(view.__name__, pattern)
        config.add_view(view, route_name=view.__name__, request_method=method)
    config.add_notfound_view(missing)
    app = config.make_wsgi_app()
