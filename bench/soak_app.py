"""The application of soak.py: every answer says who gave it and can be checked to its last byte.

`/plain/SIZE/TOKEN` answers with one block, `/stream/SIZE/TOKEN` with four, `/slow/SIZE/TOKEN` after
SLOW seconds, having said "entered" in the error log. A body that is sent comes back in front of the
padding. With SOAK_IMPORT in the environment the import takes so many seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SLOW = 2.0  #: seconds a request to /slow takes

time.sleep(float(os.environ.get("SOAK_IMPORT", "0")))


def content(pid: int, token: bytes, size: int, sent: bytes = b"") -> bytes:
    """The body of an answer: whose it is, which one, what was sent, padding."""
    head = b"%d %s\n%s" % (pid, token, sent)
    return head + (token * (size // len(token) + 1))[:size]


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer one request."""
    _, kind, size, token = environ["PATH_INFO"].split("/")
    sent = environ["wsgi.input"].read()
    if kind == "slow":
        print("entered", file=environ["wsgi.errors"])
        time.sleep(SLOW)
    body = content(os.getpid(), token.encode(), int(size), sent)
    fields = [("Content-Type", "application/octet-stream")]
    if kind != "stream":
        start_response("200 OK", fields)
        return [body]
    start_response("200 OK", fields)
    step = len(body) // 4 + 1
    return (body[at : at + step] for at in range(0, len(body), step))
