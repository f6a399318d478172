"""An application with a thread of its own, as a metrics or cache thread would be.

GET /start/<port>   starts a thread that connects to 127.0.0.1:<port> and sends back every
                    byte that it gets, until the other side closes
GET /main           whether the application runs in its process's main thread
anything else       `hello`
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BLOCK = b"x" * (1 << 20)


def echo(port: int) -> None:
    """Send back what comes, a byte at a time."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as side:
        while byte := side.recv(1):
            side.sendall(byte)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    first, _, port = environ["PATH_INFO"][1:].partition("/")
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if first == "start":
        threading.Thread(target=echo, args=(int(port),), daemon=True).start()
        return [b"started"]
    if first == "blocks":
        return (BLOCK for _ in range(64))
    if first == "write":
        for _ in range(64):
            write(BLOCK)
        return []
    if first == "main":
        return [str(threading.current_thread() is threading.main_thread()).encode()]
    return [b"hello"]
