"""The contract in web.py."""

from __future__ import annotations

from collections.abc import Iterator

import web

from . import contract

# Unhandled exceptions go to `internalerror` rather than to web.py's debugging page.
web.config.debug = False


def text(body: str) -> str:
    web.header("Content-Type", "text/plain; charset=utf-8")
    return body


class Hello:
    def GET(self) -> str:
        return text(contract.HELLO)


class Greet:
    def GET(self, name: str) -> str:
        return text(contract.greeting(name))


class Form:
    def POST(self) -> str:
        fields = web.input()
        return text(contract.form_summary(fields.name, fields.colour))


class Upload:
    def POST(self) -> str:
        fields = web.input(file={})
        return text(contract.upload_summary(fields.file.filename, fields.file.file, fields.note))


class SetCookies:
    def GET(self) -> str:
        for name, value in contract.COOKIES.items():
            web.setcookie(name, value)
        return text("set")


class ShowCookies:
    def GET(self) -> str:
        return text(contract.cookie_summary(web.cookies()))


class Stream:
    def GET(self, port: str) -> Iterator[bytes]:
        web.header("Content-Type", "text/plain")
        return contract.lockstep(int(port))


class Boom:
    def GET(self) -> str:
        raise RuntimeError(contract.BOOM)


def missing() -> web.NotFound:
    error = web.NotFound(contract.missing(web.ctx.path))
    web.header("Content-Type", "text/plain; charset=utf-8", unique=True)
    return error


site = web.application(
    (
        "/", Hello,
        "/greet/([^/]+)", Greet,
        "/form", Form,
        "/upload", Upload,
        "/cookies/set", SetCookies,
        "/cookies/show", ShowCookies,
        r"/stream/(\d+)", Stream,
        "/boom", Boom,
    )
)  # fmt: skip
site.notfound = missing
app = site.wsgifunc()
