"""Requests to the probe's behaviours, for the data modules."""

from __future__ import annotations

import json
from urllib.parse import quote

from ..model import req


def ask(
    behaviour: str,
    query: str = "",
    *fields: bytes,
    method: str = "GET",
    version: str = "1.1",
    body: bytes | None = None,
) -> bytes:
    """A request to the behaviour of that name; `body` adds a Content-Length."""
    target = f"/wsgi/{behaviour}" + (f"?{query}" if query else "")
    if body is not None:
        fields = (*fields, b"Content-Length: %d" % len(body))
        method = "POST" if method == "GET" else method
    return req(f"{method} {target} HTTP/{version}".encode(), *fields, body=body or b"")


def respond(
    *blocks: object,
    method: str = "GET",
    version: str = "1.1",
    fields: tuple[bytes, ...] = (),
    **spec: object,
) -> bytes:
    """A request to which the application answers exactly so; see probe_wsgi.respond.

    In names of `spec` an underscore stands for a dash.
    """
    given = {name.replace("_", "-"): value for name, value in spec.items()}
    if blocks:
        given["blocks"] = blocks
    return jsonask("respond", given, *fields, method=method, version=version)


def jsonask(
    behaviour: str, spec: object, *fields: bytes, method: str = "GET", version: str = "1.1"
) -> bytes:
    """A request with its JSON in the query string."""
    query = quote(json.dumps(spec, separators=(",", ":")), safe=",:")
    return ask(behaviour, query, *fields, method=method, version=version)
