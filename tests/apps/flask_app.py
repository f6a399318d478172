"""The contract in Flask."""

from __future__ import annotations

from flask import Flask, Response, request
from werkzeug.exceptions import NotFound

from . import contract

app = Flask(__name__)


def text(body: str) -> Response:
    return Response(body, content_type="text/plain; charset=utf-8")


@app.get("/")
def hello() -> Response:
    return text(contract.HELLO)


@app.get("/greet/<name>")
def greet(name: str) -> Response:
    return text(contract.greeting(name))


@app.post("/form")
def form() -> Response:
    return text(contract.form_summary(request.form["name"], request.form["colour"]))


@app.post("/upload")
def upload() -> Response:
    sent = request.files["file"]
    return text(contract.upload_summary(sent.filename or "", sent.stream, request.form["note"]))


@app.get("/cookies/set")
def set_cookies() -> Response:
    response = text("set")
    for name, value in contract.COOKIES.items():
        response.set_cookie(name, value)
    return response


@app.get("/cookies/show")
def show_cookies() -> Response:
    return text(contract.cookie_summary(request.cookies))


@app.get("/stream/<int:port>")
def stream(port: int) -> Response:
    return Response(contract.lockstep(port), content_type="text/plain")


@app.get("/boom")
def boom() -> Response:
    raise RuntimeError(contract.BOOM)


@app.errorhandler(404)
def missing(error: NotFound) -> tuple[Response, int]:
    return text(contract.missing(request.path)), 404
