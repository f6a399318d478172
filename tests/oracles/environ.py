"""The environ that a request must give, worked out the long way.

Rule: written from RFC 9112 (syntax), RFC 9110 (fields), RFC 3875 (names), PEP 3333 and the
contract.  The request is known to be valid, so nothing here judges; it only reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)([^?]*)(?:\?(.*))?\Z", re.IGNORECASE | re.DOTALL)
_WHITE = b" \t"


@dataclass
class Seen:
    """What the application must see of one request."""

    variables: dict[str, str]
    """The variables of the request itself: not those of the server or the connection."""
    body: bytes
    size: int
    """Bytes of the request on the wire."""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    outside: bool = False
    """It is for nothing below script_name: the server answers 404 by itself."""


def unquote(path: bytes) -> bytes:
    """Decode each percent-escape once, from left to right; what is no escape stays as it is."""
    return _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), path)


def text(data: bytes) -> str:
    """PEP 3333: a native string whose code points are the bytes."""
    return data.decode("latin-1")


def split_target(method: bytes, target: bytes) -> tuple[bytes | None, bytes, bytes]:
    """(authority or None, path before decoding, query) of a request target, RFC 9112 3.2."""
    if target == b"*":
        return None, b"*", b""
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        path, _, query = target.partition(b"?")
        return None, path, query
    authority, path, question = absolute.groups()
    if not path:
        # RFC 9110 4.2.3: an empty path is "/"; RFC 9112 3.2.4: unless OPTIONS has no query either
        path = b"*" if method == b"OPTIONS" and question is None else b"/"
    return authority, path, question or b""


def environ_name(name: bytes) -> str:
    """RFC 3875 4.1.18, and PEP 3333 for the two that have no HTTP_."""
    key = text(name).upper().replace("-", "_")
    return key if name.lower() in (b"content-type", b"content-length") else f"HTTP_{key}"


def read_fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """(name, value without white space around it) of each field line."""
    pairs = (line.split(b":", 1) for line in lines)
    return [(name, value.strip(_WHITE)) for name, value in pairs]


def dechunk(data: bytes) -> tuple[bytes, int]:
    """(the decoded body, the bytes that its chunked form takes), RFC 9112 7.1."""
    body, at = b"", 0
    while True:
        end = data.index(b"\r\n", at)
        size = int(data[at:end].split(b";")[0], 16)
        at = end + 2
        if size == 0:
            break
        body += data[at : at + size]
        at += size + 2
    while (end := data.index(b"\r\n", at)) != at:  # trailers: never in the environ
        at = end + 2
    return body, at + 2


def hidden(name: bytes, header_map: str) -> bool:
    """Whether the contract keeps a field out of the environ."""
    if name.lower() in (b"proxy", b"transfer-encoding"):
        return True
    return b"_" in name and header_map == "drop"


def expect(data: bytes, *, header_map: str = "drop", script_name: str = "") -> Seen:
    """What the application must see of the valid request that `data` begins with."""
    skipped = 2 if data.startswith(b"\r\n") else 0
    end = data.index(b"\r\n\r\n", skipped)
    line, *rest = data[skipped:end].split(b"\r\n")
    method, target, version = line.split(b" ")
    fields = read_fields(rest)
    authority, path, query = split_target(method, target)
    decoded = text(unquote(path))
    asterisk = decoded == "*"  # the server as a whole: no path, so below no other
    mounted = not asterisk and (decoded + "/").startswith(script_name + "/")
    variables = {
        "REQUEST_METHOD": text(method),
        "SERVER_PROTOCOL": text(version),
        "SCRIPT_NAME": script_name if mounted else "",
        "PATH_INFO": decoded[len(script_name) :] if mounted else decoded,
        "QUERY_STRING": text(query),
        "RAW_URI": text(target),
        "REQUEST_URI": text(target),
    }
    for name, value in fields:
        if hidden(name, header_map):
            continue
        key, shown = environ_name(name), text(value)
        if key in variables:
            shown = variables[key] + ("; " if key == "HTTP_COOKIE" else ", ") + shown
        variables[key] = shown
    if authority is not None:
        variables["HTTP_HOST"] = text(authority)
    head = end + 4
    names = {name.lower(): value for name, value in fields}
    if b"transfer-encoding" in names:
        body, taken = dechunk(data[head:])
        variables["CONTENT_LENGTH"] = str(len(body))
    else:
        taken = int(names.get(b"content-length", b"0"))
        body = data[head : head + taken]
    outside = not mounted and not asterisk
    return Seen(variables, body, head + taken, fields, outside)
