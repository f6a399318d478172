"""Sends the file $LAST_FILE with the last descriptor that its process may open; `/chunks` without
a length."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
    file = Path(os.environ["LAST_FILE"]).open("rb")  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_NOFILE, (file.fileno() + 1, HARD))
    write = start_response("200 OK", [("Content-Type", "application/octet-stream")])
    if environ["PATH_INFO"] == "/chunks":
        write(b"")
    return environ["wsgi.file_wrapper"](file)  # type: ignore[no-any-return]
