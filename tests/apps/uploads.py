"""An application that is told how large it got, and tells what its process holds.

POST /digest   SHA-256 of the body, read in pieces
POST /ignore   nothing of the body is read
POST /files    names in the directory of temporary files, while the body is there
GET  /peak     the most memory that the process ever held, in bytes (0 where freed memory is kept on
               purpose), and its open descriptors
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from apps.counters import keeps_freed_memory

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PIECE = 65536


def digest(environ: WSGIEnvironment) -> str:
    found = hashlib.sha256()
    while piece := environ["wsgi.input"].read(PIECE):
        found.update(piece)
    return found.hexdigest()


def peak() -> dict[str, int]:
    """Peak resident bytes (VmHWM of proc(5)) and the number of descriptors."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    descriptors = len(os.listdir("/proc/self/fd"))
    resident = 0 if keeps_freed_memory() else int(line.split()[1]) * 1024
    return {"resident": resident, "descriptors": descriptors}


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    said: object = "ignored"
    if environ["PATH_INFO"] == "/digest":
        said = digest(environ)
    elif environ["PATH_INFO"] == "/files":
        said = [os.listdir(tempfile.gettempdir()), environ["CONTENT_LENGTH"]]
    elif environ["PATH_INFO"] == "/peak":
        said = peak()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(said).encode()]
