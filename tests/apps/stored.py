"""An application that reads bodies from files, with a second thread beside the one that reads.

POST /digest      the sum of the body's bytes
POST /ignore      nothing of the body is read
POST /held/HOW    the body is read in one of the ways of wsgi.input while another thread waits until
                  the disk is held, and lets it go: that it could is the answer
POST /leave       a thread begins to read the body; the response does not wait for it
GET  /left        what that thread has read, once it has ended
GET  /descriptors how many the process has

COUNTS and RELEASE name the files of tests/injection/shim.c that count calls and end injection.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIEnvironment

WAYS: dict[str, Callable[[InputStream], object]] = {
    "read": lambda stream: stream.read(),
    "piece": lambda stream: stream.read(100),
    "line": lambda stream: stream.readline(),
    "lines": lambda stream: stream.readlines(),
    "iterate": list,
}

reader: threading.Thread | None = None
found: list[int] = []


def await_held() -> None:
    """Until a call is held: the first counter is not 0 any more."""
    counts = Path(os.environ["COUNTS"])
    while not any(counts.read_bytes()[:8]):
        pass


def release(moved: threading.Event) -> None:
    """Let the disk go."""
    await_held()
    moved.set()
    Path(os.environ["RELEASE"]).touch()


def read_held(stream: InputStream, how: str) -> str:
    moved = threading.Event()
    other = threading.Thread(target=release, args=(moved,))
    other.start()
    WAYS[how](stream)
    said = "moved" if moved.is_set() else "the disk was never held"
    other.join()
    return said


def leave(stream: InputStream) -> str:
    global reader
    reader = threading.Thread(target=lambda: found.append(sum(stream.read())))
    reader.start()
    await_held()
    return "left"


def left() -> str:
    assert reader is not None
    reader.join()
    return str(*found)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    path, stream = environ["PATH_INFO"], environ["wsgi.input"]
    said = "ignored"
    if path == "/digest":
        said = str(sum(stream.read()))
    elif path.startswith("/held/"):
        said = read_held(stream, path.rpartition("/")[2])
    elif path == "/leave":
        said = leave(stream)
    elif path == "/left":
        said = left()
    elif path == "/descriptors":
        said = str(len(os.listdir("/proc/self/fd")))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.encode()]
