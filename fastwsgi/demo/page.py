"""Renders the demo's page from page.html.

Rule: whatever came from the network passes `escape` on its way into the page.
"""

from __future__ import annotations

from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastwsgi.demo.request import describe, fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from _typeshed.wsgi import WSGIEnvironment

    from fastwsgi.demo.form import Summary


def template(name: str) -> Template:
    """A template that lies beside this module."""
    return Template(resources.files("fastwsgi.demo").joinpath(name).read_text(encoding="utf-8"))


PAGE = template("page.html")
PROBLEM = template("problem.html")
LANE_CELLS = 20


def render(environ: WSGIEnvironment, parts: Sequence[Summary] | None = None) -> str:
    """The page; with ``parts``, the upload section shows what arrived."""
    request = describe(environ)
    facts = {
        "Client": request["client"] or "a unix socket",
        "Listening on": request["server"],
        "Software": request["software"],
        "Python": request["python"],
        "Process": str(request["process"]),
        "Thread": request["thread"],
        "Application threads": "several" if request["multithread"] else "one",
        "Worker processes": "several" if request["multiprocess"] else "one",
    }
    return PAGE.substitute(
        root=root(environ),
        software=escape(facts["Software"] or "The server"),
        client=escape(facts["Client"]),
        python=escape(facts["Python"]),
        process=facts["Process"],
        request_line=escape(f"{request['method']} {request['target']} {request['protocol']}"),
        header_lines="\n".join(
            f'<span class="in"><b>{escape(name)}:</b> {escape(value)}</span>'
            for name, value in fields(environ).items()
        ),
        facts=rows(facts.items()),
        environ=rows((key, repr(environ[key])) for key in sorted(environ)),
        cells="<i></i>" * LANE_CELLS,
        received=received(parts),
    )


def render_problem(environ: WSGIEnvironment, status: str, reason: str) -> str:
    """The page for a request that has no other answer."""
    code, _, phrase = status.partition(" ")
    return PROBLEM.substitute(
        code=escape(code), phrase=escape(phrase), reason=escape(reason), root=root(environ)
    )


def root(environ: WSGIEnvironment) -> str:
    """The path the application is mounted at, without a slash at its end, for links."""
    return escape(quote(environ.get("SCRIPT_NAME", "").encode("latin-1", "replace")).rstrip("/"))


def rows(pairs: Iterable[tuple[str, str]]) -> str:
    """Pairs as the inside of a description list."""
    return "\n".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs
    )


def received(parts: Sequence[Summary] | None) -> str:
    """The parts of an upload; empty before one."""
    if parts is None:
        return ""
    return "\n".join(map(received_part, parts)) or "<p>The form was empty.</p>"


def received_part(part: Summary) -> str:
    """One part, as page.js shows it too."""
    label = part["filename"] if part["filename"] is not None else part["name"]
    kind = part["type"] if part["filename"] is not None else "field"
    return (
        f'<article class="part"><h3>{escape(label or "no file chosen")}</h3>'
        f"<p><span>{escape(kind)}</span><span>{part['size']:,} bytes</span></p>"
        f"<code>{escape(part['preview'] or '(empty)')}</code>"
        f"<small>SHA-256 {part['sha256']}</small></article>"
    )
