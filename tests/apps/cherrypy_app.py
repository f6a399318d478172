"""The contract in CherryPy, as an application under a foreign server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cherrypy

from . import contract


def text(body: str) -> bytes:
    cherrypy.response.headers["Content-Type"] = "text/plain; charset=utf-8"
    return body.encode()


class Cookies:
    @cherrypy.expose
    def set(self) -> bytes:
        for name, value in contract.COOKIES.items():
            cherrypy.response.cookie[name] = value
        return text("set")

    @cherrypy.expose
    def show(self) -> bytes:
        sent = cherrypy.request.cookie
        return text(contract.cookie_summary({name: sent[name].value for name in sent}))


class Site:
    cookies = Cookies()

    @cherrypy.expose
    def index(self) -> bytes:
        return text(contract.HELLO)

    @cherrypy.expose
    def greet(self, name: str) -> bytes:
        return text(contract.greeting(name))

    @cherrypy.expose
    @cherrypy.tools.allow(methods=["POST"])
    def form(self, name: str, colour: str) -> bytes:
        return text(contract.form_summary(name, colour))

    @cherrypy.expose
    @cherrypy.tools.allow(methods=["POST"])
    def upload(self, file: Any, note: str) -> bytes:
        return text(contract.upload_summary(file.filename, file.file, note))

    @cherrypy.expose
    @cherrypy.config(**{"response.stream": True})
    def stream(self, port: str) -> Iterator[bytes]:
        cherrypy.response.headers["Content-Type"] = "text/plain"
        return contract.lockstep(int(port))

    @cherrypy.expose
    def boom(self) -> bytes:
        raise RuntimeError(contract.BOOM)


def missing(status: str, message: str, traceback: str, version: str) -> bytes:
    return text(contract.missing(cherrypy.request.path_info))


cherrypy.config.update({"environment": "embedded", "log.screen": False})
app = cherrypy.Application(Site(), "", {"/": {"error_page.404": missing}})
