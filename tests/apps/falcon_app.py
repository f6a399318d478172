"""The contract in Falcon."""

from __future__ import annotations

import io
from typing import Any

import falcon

from . import contract


def text(resp: falcon.Response, body: str) -> None:
    resp.content_type = "text/plain; charset=utf-8"
    resp.text = body


class Hello:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        text(resp, contract.HELLO)


class Greet:
    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        text(resp, contract.greeting(name))


class Form:
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        fields = req.get_media()
        text(resp, contract.form_summary(fields["name"], fields["colour"]))


class Upload:
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        note, filename, content = "", "", b""
        for part in req.get_media():
            if part.name == "note":
                note = part.text
            else:
                filename, content = part.filename, part.stream.read()
        text(resp, contract.upload_summary(filename, io.BytesIO(content), note))


class SetCookies:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        for name, value in contract.COOKIES.items():
            resp.set_cookie(name, value, secure=False)
        text(resp, "set")


class ShowCookies:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        text(resp, contract.cookie_summary(req.cookies))


class Stream:
    def on_get(self, req: falcon.Request, resp: falcon.Response, port: int) -> None:
        resp.content_type = "text/plain"
        resp.stream = contract.lockstep(port)


class Boom:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        raise RuntimeError(contract.BOOM)


def missing(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]
) -> None:
    resp.status = falcon.HTTP_404
    text(resp, contract.missing(req.path))


app = falcon.App()
app.add_route("/", Hello())
app.add_route("/greet/{name}", Greet())
app.add_route("/form", Form())
app.add_route("/upload", Upload())
app.add_route("/cookies/set", SetCookies())
app.add_route("/cookies/show", ShowCookies())
app.add_route("/stream/{port:int}", Stream())
app.add_route("/boom", Boom())
app.add_error_handler(falcon.HTTPNotFound, missing)
