"""A description of a request, for the page and ``/json``.

Rule: only what came with the request or belongs to the serving process; never the process's own
environment variables.
"""

from __future__ import annotations

import os
import platform
import threading
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Field names whose customary spelling is not that of a title.
SPELLINGS = {"Dnt": "DNT", "Te": "TE", "Www-Authenticate": "WWW-Authenticate"}


class Description(TypedDict):
    """What `describe` returns; every value is safe to show as JSON."""

    method: str
    target: str
    protocol: str
    scheme: str
    path: str
    query: str
    script_name: str
    headers: dict[str, str]
    client: str
    server: str
    software: str
    python: str
    process: int
    thread: str
    multithread: bool
    multiprocess: bool


def text(value: str) -> str:
    """The characters a native string means: its bytes are UTF-8, shown as Latin-1 (PEP 3333)."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


def field_name(key: str) -> str:
    """``HTTP_USER_AGENT`` -> ``User-Agent``."""
    name = key.removeprefix("HTTP_").replace("_", "-").title().replace("Sec-Ch-Ua", "Sec-CH-UA")
    return SPELLINGS.get(name, name)


def fields(environ: WSGIEnvironment) -> dict[str, str]:
    """The header fields of the request, Host first, names spelled as is customary."""
    found = {
        field_name(key): text(value)
        for key, value in environ.items()
        if key.startswith("HTTP_") or (key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
    }
    host = {"Host": found.pop("Host")} if "Host" in found else {}
    return host | found


def target(environ: WSGIEnvironment) -> str:
    """The request target as it was sent, or reassembled if the server does not provide it."""
    for key in ("RAW_URI", "REQUEST_URI"):
        if environ.get(key):
            return text(environ[key])
    query = environ.get("QUERY_STRING", "")
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return text(path + (f"?{query}" if query else ""))


def joined(host: str, port: str) -> str:
    """``host:port``, with brackets around an IPv6 address; the host alone without a port."""
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def describe(environ: WSGIEnvironment) -> Description:
    """Everything that the demo shows about a request."""
    return {
        "method": environ["REQUEST_METHOD"],
        "target": target(environ),
        "protocol": environ.get("SERVER_PROTOCOL", ""),
        "scheme": environ["wsgi.url_scheme"],
        "path": text(environ.get("PATH_INFO", "")),
        "query": text(environ.get("QUERY_STRING", "")),
        "script_name": text(environ.get("SCRIPT_NAME", "")),
        "headers": fields(environ),
        "client": joined(environ.get("REMOTE_ADDR", ""), str(environ.get("REMOTE_PORT", ""))),
        "server": joined(environ.get("SERVER_NAME", ""), str(environ.get("SERVER_PORT", ""))),
        "software": environ.get("SERVER_SOFTWARE", ""),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "process": os.getpid(),
        "thread": threading.current_thread().name,
        "multithread": bool(environ["wsgi.multithread"]),
        "multiprocess": bool(environ["wsgi.multiprocess"]),
    }
