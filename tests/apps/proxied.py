"""An application for the far side of a reverse proxy.

GET  /where           JSON: the request's environ as far as it is text, and the inode of
                      every socket that the process holds, which names its connections
*    /echo            (and /upload/echo) the request's body; X-Method and X-Length say what came
GET  /large/<bytes>   a generator of that many bytes
GET  /stream/<port>   `contract.lockstep`
GET  /unbuffered/<port>  the same with X-Accel-Buffering: no
GET  /accel           that field alone
GET  /held/<port>     connects there, and answers when a byte has come
GET  /close           asks for the connection to be closed
GET  /boom            an exception
"""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING

from apps import TEXT

from . import contract

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def sockets() -> list[int]:
    """The inodes of the sockets that are open in this process."""
    found = []
    for name in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:  # the directory itself, closed by now
            continue
        if stat.S_ISSOCK(status.st_mode):
            found.append(status.st_ino)
    return sorted(found)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    first, _, argument = environ["PATH_INFO"][1:].partition("/")
    match first:
        case "where":
            text = {key: value for key, value in environ.items() if isinstance(value, str)}
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps({"environ": text, "sockets": sockets()}).encode()]
        case "echo" | "upload":
            body = environ["wsgi.input"].read()
            length = environ.get("CONTENT_LENGTH", "absent")
            method = environ["REQUEST_METHOD"]
            start_response("200 OK", [*TEXT, ("X-Length", length), ("X-Method", method)])
            return [body]
        case "large":
            start_response("200 OK", TEXT)
            size = int(argument)
            return (b"x" * min(65536, size - at) for at in range(0, size, 65536))
        case "stream":
            start_response("200 OK", TEXT)
            return contract.lockstep(int(argument))
        case "unbuffered":
            start_response("200 OK", [*TEXT, ("X-Accel-Buffering", "no")])
            return contract.lockstep(int(argument))
        case "accel":
            start_response("200 OK", [*TEXT, ("X-Accel-Buffering", "no")])
            return [b"not buffered"]
        case "held":
            with socket.create_connection(("127.0.0.1", int(argument)), timeout=20) as side:
                side.recv(1)
            start_response("200 OK", TEXT)
            return [b"released"]
        case "close":
            start_response("200 OK", [*TEXT, ("Connection", "close")])
            return [b"closing"]
        case _:
            raise RuntimeError(contract.BOOM)
