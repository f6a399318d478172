"""The contract in Bottle."""

from __future__ import annotations

from collections.abc import Iterator

from bottle import Bottle, HTTPError, request, response

from . import contract

app = Bottle()


def text(body: str) -> str:
    response.content_type = "text/plain; charset=utf-8"
    return body


@app.get("/")
def hello() -> str:
    return text(contract.HELLO)


@app.get("/greet/<name>")
def greet(name: str) -> str:
    return text(contract.greeting(name))


@app.post("/form")
def form() -> str:
    return text(contract.form_summary(request.forms.name, request.forms.colour))


@app.post("/upload")
def upload() -> str:
    sent = request.files["file"]
    return text(contract.upload_summary(sent.raw_filename, sent.file, request.forms.note))


@app.get("/cookies/set")
def set_cookies() -> str:
    for name, value in contract.COOKIES.items():
        response.set_cookie(name, value)
    return text("set")


@app.get("/cookies/show")
def show_cookies() -> str:
    return text(contract.cookie_summary(request.cookies))


@app.get("/stream/<port:int>")
def stream(port: int) -> Iterator[bytes]:
    response.content_type = "text/plain"
    return contract.lockstep(port)


@app.get("/boom")
def boom() -> str:
    raise RuntimeError(contract.BOOM)


@app.error(404)
def missing(error: HTTPError) -> str:
    return text(contract.missing(request.path))
