"""The demo application: what a first ``fastwsgi fastwsgi.demo:app`` shows in a browser.

Rule: standard library only, nothing from other hosts, no state between requests. It uses the server
only through PEP 3333, so it runs under any WSGI server.

==========  =============  ==================================================================
path        methods        what it shows
==========  =============  ==================================================================
``/``       GET            the page, with the request as the server received it
``/time``   GET            the server's clock as JSON; the page asks for it every second
``/clock``  GET            the clock as a stream: ``?blocks=N`` lines of JSON, one each 100 ms
``/upload`` POST           what arrived in a form, as JSON or as the page
``/json``   GET and others the request as JSON, with a small body if there was one
==========  =============  ==================================================================
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, quote

from fastwsgi.demo import page
from fastwsgi.demo.form import FormError, read_body, read_form
from fastwsgi.demo.request import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["app"]

BLOCK_SECONDS = 0.1
"""Pause between two blocks of the streaming clock."""

MAX_BLOCKS = 20
"""Blocks of one stream at most: it occupies its application thread while it lasts."""

MAX_UPLOAD = 64 << 20
"""Bytes of one upload at most; the form is taken apart in memory."""

MAX_ECHO = 64 << 10
"""Bytes of a body that ``/json`` shows at most."""

# The page brings its own style and script and may load nothing else.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

ASSETS = {
    name: (kind, resources.files(__name__).joinpath(name).read_bytes())
    for name, kind in (
        ("style.css", "text/css; charset=utf-8"),
        ("page.js", "text/javascript; charset=utf-8"),
    )
}


class Reply(NamedTuple):
    """A handler's answer: status, media type, blocks of the body, further fields."""

    status: str
    kind: str
    body: Iterable[bytes]
    fields: tuple[tuple[str, str], ...] = ()


def html(text: str, status: str = "200 OK", *fields: tuple[str, str]) -> Reply:
    """A page."""
    return Reply(
        status,
        "text/html; charset=utf-8",
        [text.encode()],
        (("Content-Security-Policy", POLICY), *fields),
    )


def data(value: object, status: str = "200 OK") -> Reply:
    """A JSON document, indented for the eye."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return Reply(status, "application/json", [text.encode("utf-8", "replace") + b"\n"])


def show_page(environ: WSGIEnvironment) -> Reply:
    """The page."""
    return html(page.render(environ))


def show_time(environ: WSGIEnvironment) -> Reply:
    """The server's clock, once."""
    return data(now())


def show_clock(environ: WSGIEnvironment) -> Reply:
    """The server's clock as a stream, every block sent when it is made."""
    wanted = parse_qs(environ.get("QUERY_STRING", "")).get("blocks", [""])[0]
    count = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 9 else MAX_BLOCKS
    return Reply("200 OK", "application/x-ndjson", ticks(max(1, min(count, MAX_BLOCKS))))


def ticks(count: int) -> Iterator[bytes]:
    """``count`` lines of JSON, one each ``BLOCK_SECONDS``."""
    for number in range(1, count + 1):
        if number > 1:
            time.sleep(BLOCK_SECONDS)
        yield json.dumps({"block": number, "of": count, **now()}).encode() + b"\n"


def now() -> dict[str, str | int]:
    """The local time, for reading and for reckoning (milliseconds since the epoch)."""
    moment = datetime.now().astimezone()
    offset = moment.strftime("%z")
    return {
        "time": moment.strftime("%H:%M:%S"),
        "date": moment.strftime("%A, %d %B %Y"),
        "zone": f"UTC{offset[:3]}:{offset[3:5]}",
        "epoch_ms": int(moment.timestamp() * 1000),
    }


def take_upload(environ: WSGIEnvironment) -> Reply:
    """What arrived in a form: as JSON for scripts, as the page for a plain browser."""
    as_page = "text/html" in environ.get("HTTP_ACCEPT", "")
    try:
        parts = [part.summary() for part in read_form(environ, MAX_UPLOAD)]
    except FormError as error:
        if as_page:
            return html(page.render_problem(environ, error.status, str(error)), error.status)
        return data({"error": str(error)}, error.status)
    if as_page:
        return html(page.render(environ, parts))
    return data({"parts": parts})


def show_json(environ: WSGIEnvironment) -> Reply:
    """The request as the application sees it."""
    report: dict[str, object] = dict(describe(environ))
    body = read_body(environ, MAX_ECHO)
    if body:
        report["body"] = body.decode("utf-8", "replace")
    return data(report)


ROUTES: dict[str, tuple[tuple[str, ...], Callable[[WSGIEnvironment], Reply]]] = {
    "/": (("GET", "HEAD"), show_page),
    "/time": (("GET", "HEAD"), show_time),
    "/clock": (("GET", "HEAD"), show_clock),
    "/upload": (("POST",), take_upload),
    "/json": ((), show_json),  # any method
}


def respond(environ: WSGIEnvironment) -> Reply:
    """The reply to a request."""
    path = environ.get("PATH_INFO", "") or "/"
    method = environ["REQUEST_METHOD"]
    if path[1:] in ASSETS and method in ("GET", "HEAD"):
        kind, content = ASSETS[path[1:]]
        return Reply("200 OK", kind, [content], (("Cache-Control", "no-cache"),))
    if path not in ROUTES:
        # PATH_INFO carries the bytes of the path as Latin-1 (PEP 3333); show what was meant.
        shown = path.encode("latin-1").decode("utf-8", "replace")
        reason = f"There is nothing at {shown}"
        return html(page.render_problem(environ, "404 Not Found", reason), "404 Not Found")
    methods, handler = ROUTES[path]
    if methods and method not in methods:
        status = "405 Method Not Allowed"
        reason = f"{quote(path)} answers {' and '.join(methods)}, not {method}"
        allow = ("Allow", ", ".join(methods))
        return html(page.render_problem(environ, status, reason), status, allow)
    return handler(environ)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The WSGI application."""
    reply = respond(environ)
    fields = [
        ("Content-Type", reply.kind),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        *reply.fields,
    ]
    if isinstance(reply.body, list):
        fields.append(("Content-Length", str(sum(map(len, reply.body)))))
    if not any(name == "Cache-Control" for name, _ in fields):
        fields.append(("Cache-Control", "no-store"))
    start_response(reply.status, fields)
    return reply.body
