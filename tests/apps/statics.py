"""Folders of files for the tests of --static, and what stands beside them and is not to be had."""

from __future__ import annotations

import os
import socket
from pathlib import Path

SMALL = b"body { color: red }\n"
TEN = bytes(range(256)) * 40
LARGE = bytes(i * 7 % 251 for i in range(1000)) * 1500
SECRET = b"not to be had"

APP = """
    def app(environ, start_response):
        body = ("app:" + environ["SCRIPT_NAME"] + environ["PATH_INFO"]).encode("latin-1")
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    """


def folder(place: Path) -> Path:
    """Make ``place/public`` with files of all kinds, and ``place/secret`` outside of it."""
    public = place / "public"
    for name in ("docs/deep", "bare", "assets", ".git", "index.html.d"):
        (public / name).mkdir(parents=True)
    (place / "secret").write_bytes(SECRET)
    (place / "beyond").mkdir()
    (place / "beyond" / "file").write_bytes(SECRET)
    for name, content in {
        "a.css": SMALL, "ten.bin": TEN, "large.bin": LARGE, "empty.txt": b"", "page.HTML": b"<p>",
        "docs/index.html": b"<h1>docs</h1>", "docs/deep/x.json": b"{}", "noending": b"?",
        "assets/app.0f3a.js": b"let a", ".env": SECRET, ".git/config": SECRET, "a b.txt": b"blank",
        "\xfc.txt": b"umlaut", "+;=@.txt": b"signs", "..;": SECRET, "archive.tar.gz": b"packed",
        "x" * 251 + ".txt": b"long",
    }.items():
        (public / name).write_bytes(content)
    (public / "inside").symlink_to("docs/index.html")
    (public / "folder").symlink_to("docs")
    (public / "out").symlink_to("../secret")
    (public / "away").symlink_to("../beyond")
    (public / "absolute").symlink_to(place / "secret")
    (public / "circle").symlink_to("circle")
    (public / "device").symlink_to("/dev/zero")
    os.mkfifo(public / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(public)  # a path of a socket may not be long
    try:
        listener.bind("socket")
    finally:
        os.chdir(here)
        listener.close()
    return public
