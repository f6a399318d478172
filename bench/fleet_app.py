"""The application of fleet.py: an answer says which release gave it, on which host.

What a host has begun, ordered and ended stands in a file of its own, which outlives the host.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SLOW = 0.05  #: seconds that a request takes at most


def make_app(release: str) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """The application of one release."""
    host = os.environ["FLEET_HOST"]
    record = os.open(os.environ["FLEET_RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = environ.get("HTTP_X_REQUEST_ID", "-")
        os.write(record, f"in {name}\n".encode())
        time.sleep(random.uniform(0, SLOW))
        if environ["REQUEST_METHOD"] == "POST":
            os.write(record, f"order {name}\n".encode())
        start_response("200 OK", [("Content-Type", "text/plain")])
        os.write(record, f"out {name}\n".encode())
        return [f"{release} {host} {name}".encode()]

    return app
