"""Parses a form upload (multipart/form-data, RFC 7578), in memory.

Rule: a wrong upload is a `FormError` with the status to answer, never another exception.
"""

from __future__ import annotations

import hashlib
from email.message import Message
from email.parser import HeaderParser
from typing import TYPE_CHECKING, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed.wsgi import WSGIEnvironment

MAX_PARTS = 100
PREVIEW = 120  # characters of a part that are shown


class FormError(Exception):
    """An upload that cannot be shown; `status` is the answer's status line."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Summary(TypedDict):
    """The description of a part."""

    name: str
    filename: str | None
    type: str
    size: int
    sha256: str
    preview: str


class Part(NamedTuple):
    """One part of a form: a field, or a file if it has a `filename`."""

    name: str
    filename: str | None
    type: str
    content: bytes

    def summary(self) -> Summary:
        """The part in a few words."""
        return {
            "name": self.name,
            "filename": self.filename,
            "type": self.type,
            "size": len(self.content),
            "sha256": hashlib.sha256(self.content).hexdigest(),
            "preview": preview(self.content),
        }


def preview(content: bytes) -> str:
    """The beginning of the content: as text if it is text, else as hexadecimal digits."""
    start = content[: PREVIEW * 4]
    try:
        shown = start.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character cut in two by the slice is no reason to call it binary.
        shown = start[: error.start].decode("utf-8") if error.start > len(start) - 4 else "\0"
    if all(character.isprintable() or character.isspace() for character in shown):
        return shown[:PREVIEW] + ("…" if len(content) > PREVIEW else "")
    return content[:24].hex(" ") + (" …" if len(content) > 24 else "")


def read_form(environ: WSGIEnvironment, limit: int) -> list[Part]:
    """The parts of the request's form; a body past ``limit`` bytes is refused."""
    head = Message()
    head["Content-Type"] = environ.get("CONTENT_TYPE") or "none"
    boundary = head.get_param("boundary")
    if head.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise FormError("415 Unsupported Media Type", "A form sends multipart/form-data")
    body = read_body(environ, limit + 1)
    if len(body) > limit:
        reason = f"This demo takes up to {limit >> 20} MiB"
        raise FormError("413 Content Too Large", reason)
    return list(split(body, boundary.encode("latin-1", "replace")))


def read_body(environ: WSGIEnvironment, most: int) -> bytes:
    """The request's body, at most ``most`` bytes of it.

    It never reads past CONTENT_LENGTH, because PEP 3333 does not require a server to stop there.
    """
    length = environ.get("CONTENT_LENGTH", "")
    content: bytes = environ["wsgi.input"].read(min(most, int(length))) if length else b""
    return content


def split(body: bytes, boundary: bytes) -> Iterator[Part]:
    """The parts between the boundaries (RFC 2046, section 5.1.1)."""
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise FormError("400 Bad Request", "The form ends before its last boundary")
    if len(pieces) > MAX_PARTS + 2:
        raise FormError("413 Content Too Large", f"This demo takes up to {MAX_PARTS} parts")
    for piece in pieces[1:-1]:
        head, separator, content = piece.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not separator:
            raise FormError("400 Bad Request", "A part of the form has no end of its head")
        yield part(HeaderParser().parsestr(head.decode("utf-8", "replace")), content)


def part(head: Message, content: bytes) -> Part:
    """A part from its header fields and its content."""
    name = head.get_param("name", header="content-disposition")
    if not isinstance(name, str):
        raise FormError("400 Bad Request", "A part of the form has no name")
    return Part(name, head.get_filename(), head.get_content_type(), content)
