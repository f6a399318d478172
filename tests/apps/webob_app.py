"""The contract in WebOb alone: its request and response behind a routing of a few lines."""

from __future__ import annotations

import re
from collections.abc import Callable

from webob import Request, Response
from webob.dec import wsgify

from . import contract


def text(body: str, status: int = 200) -> Response:
    return Response(text=body, status=status, content_type="text/plain", charset="utf-8")


def hello(request: Request) -> Response:
    return text(contract.HELLO)


def greet(request: Request, name: str) -> Response:
    return text(contract.greeting(name))


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


def stream(request: Request, port: str) -> Response:
    return Response(app_iter=contract.lockstep(int(port)), content_type="text/plain")


def boom(request: Request) -> Response:
    raise RuntimeError(contract.BOOM)


ROUTES: list[tuple[str, str, Callable[..., Response]]] = [
    ("GET", r"/", hello),
    ("GET", r"/greet/([^/]+)", greet),
    ("POST", r"/form", form),
    ("POST", r"/upload", upload),
    ("GET", r"/cookies/set", set_cookies),
    ("GET", r"/cookies/show", show_cookies),
    ("GET", r"/stream/(\d+)", stream),
    ("GET", r"/boom", boom),
]


@wsgify
def app(request: Request) -> Response:
    for method, pattern, view in ROUTES:
        found = re.fullmatch(pattern, request.path_info)
        if found and request.method in (method, "HEAD"):
            return view(request, *found.groups())
    return text(contract.missing(request.path_info), 404)
