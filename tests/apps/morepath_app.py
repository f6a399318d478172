"""The contract in Morepath: models are published on paths, views belong to models."""

from __future__ import annotations

import morepath
from morepath import Response
from morepath.request import Request
from webob.exc import HTTPNotFound

from . import contract


class Site(morepath.App):
    pass


def text(body: str, status: int = 200) -> Response:
    return Response(text=body, status=status, content_type="text/plain", charset="utf-8")


@Site.path(path="/")
class Root:
    pass


@Site.view(model=Root)
def hello(self: Root, request: Request) -> Response:
    return text(contract.HELLO)


@Site.view(model=Root, name="form", request_method="POST")
def form(self: Root, request: Request) -> Response:
    return text(contract.form_summary(request.POST["name"], request.POST["colour"]))


@Site.view(model=Root, name="upload", request_method="POST")
def upload(self: Root, request: Request) -> Response:
    sent = request.POST["file"]
    return text(contract.upload_summary(sent.filename, sent.file, request.POST["note"]))


@Site.view(model=Root, name="boom")
def boom(self: Root, request: Request) -> Response:
    raise RuntimeError(contract.BOOM)


@Site.path(path="/greet/{name}")
class Guest:
    def __init__(self, name: str) -> None:
        self.name = name


@Site.view(model=Guest)
def greet(self: Guest, request: Request) -> Response:
    return text(contract.greeting(self.name))


@Site.path(path="/cookies")
class Jar:
    pass


@Site.view(model=Jar, name="set")
def set_cookies(self: Jar, request: Request) -> Response:
    response = text("set")
    for name, value in contract.COOKIES.items():
        response.set_cookie(name, value)
    return response


@Site.view(model=Jar, name="show")
def show_cookies(self: Jar, request: Request) -> Response:
    return text(contract.cookie_summary(request.cookies))


@Site.path(path="/stream/{port}")
class Feed:
    def __init__(self, port: int) -> None:
        self.port = port


@Site.view(model=Feed)
def stream(self: Feed, request: Request) -> Response:
    return Response(app_iter=contract.lockstep(self.port), content_type="text/plain")


@Site.view(model=HTTPNotFound)
def missing(self: HTTPNotFound, request: Request) -> Response:
    return text(contract.missing(request.path_info), 404)


morepath.autoscan()
Site.commit()
app = Site()
