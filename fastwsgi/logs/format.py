"""Parse the format of the access log: a text with gunicorn's atoms, or the name of a format.

This happens once, at the start. The compiled core makes each line from the pieces.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

DEFAULT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
"""gunicorn's, which is the "combined" format of Apache and nginx."""

NAMED = {"combined": DEFAULT, "common": '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s'}
"""Formats that have a name, as Apache calls them; ``json`` is not a text."""

ATOMS = {
    "h": "address of the client; with `address` in `forwarded_follow`, the one that a trusted "
    "proxy names", "l": "'-' (formerly the user of identd)", "u": "user of basic "
    "authentication", "t": "date of the request, local time", "r": "request line",
    "m": "request method", "U": "path without query", "q": "query", "H": "protocol",
    "s": "status", "st": "reason phrase of the status", "B": "bytes of the response body",
    "b": "the same, '-' without a response", "f": "referer", "a": "user agent",
    "T": "duration in whole seconds", "D": "duration in microseconds",
    "M": "duration in milliseconds", "L": "duration in seconds, with a fraction",
    "p": "process id, in angle brackets", "worker": "number of the worker among those of its "
    "master", "thread": "number of the application thread in its worker, from 0",
    "request_id": "id of the request", "host": "what the client has asked: Host, the target's, or "
    "with `host` in `forwarded_follow` the one that a trusted proxy names",
    "full_path": "path with SCRIPT_NAME in front, without query",
    "queue": "time that the complete request has waited for a thread, in seconds with a fraction",
    "application": "time in the application, likewise, without waiting for the client",
    "cpu": "time with a processor of that, likewise, to within 0.1 ms", "off_cpu": "the rest of it",
    "lock_wait": "time that its thread waited for the interpreter lock to begin, likewise",
    "send": "time that it waited for its client until all was handed over, likewise",
}
"""What a format may hold as ``%(NAME)s``, besides ``%({NAME}i)s`` and its like for fields."""

NAMED_ATOMS = {"i": "field NAME of the request", "o": "field NAME of the response, as set by the "
          "application", "e": "variable NAME of the environ"}
"""What a format may hold as ``%({NAME}X)s``."""

NUMBERS = frozenset("TDMB")
LOOKED_UP = 32
"""Atoms of a format that are looked up in Python objects, at most: what access_log.pxi can hold."""

JSON = {
    "time": "iso", "client": "h", "user": "u", "line": "r", "method": "m", "path": "U",
    "full_path": "full_path", "query": "q", "protocol": "H", "status": "s", "reason": "st",
    "bytes": "B", "duration": "L", "referer": "f", "user_agent": "a", "host": "host",
    "script_name": "{SCRIPT_NAME}e", "scheme": "{wsgi.url_scheme}e", "request_id": "request_id",
    "pid": "pid", "worker": "worker", "thread": "thread", "queue": "queue",
    "application": "application", "cpu": "cpu", "off_cpu": "off_cpu", "lock_wait": "lock_wait",
    "send": "send"}
"""What a line in JSON may have, and the atom that says it; ``iso`` and ``pid`` are no atoms."""

FIELDS = ("time", "client", "method", "path", "query", "protocol", "status", "bytes", "duration",
          "referer", "user_agent", "pid")
"""What it has if nobody says otherwise."""

_SHORT = {"f": ("i", "referer"), "a": ("i", "user-agent"), "l": ("text", "-")}
_PLACE = re.compile(r"%(?:\(([^()]*)\)(.?)|%|)", re.DOTALL)


class Format(NamedTuple):
    """A parsed format: ``pieces`` are (kind, text), kinds as access_log.pxi knows them."""

    pieces: list[tuple[str, str]]
    json: bool


@lru_cache(maxsize=4)
def parse(text: str) -> Format:
    """Parse a format; raise ValueError whose text completes "access_log_format must be"."""
    if text == "json":
        return parse_fields(FIELDS)
    text = NAMED.get(text, text)
    if "\n" in text or "\r" in text or "\0" in text:
        raise ValueError("a format of one line")
    pieces: list[tuple[str, str]] = []
    end = 0
    for found in _PLACE.finditer(text):
        pieces += [("text", text[end : found.start()]), _piece(found)]
        end = found.end()
    pieces += [("text", text[end:]), ("text", "\n")]
    _check_number(pieces)
    return Format(_merged(pieces), False)


@lru_cache(maxsize=4)
def parse_fields(fields: tuple[str, ...]) -> Format:
    """Parse the members of a line in JSON, ``KEY`` or ``KEY=ATOM``; raise ValueError as above."""
    pieces: list[tuple[str, str]] = []
    keys: list[str] = []
    for field in fields:
        key, equals, name = field.partition("=")
        piece = _field(name if equals else key)
        if key in keys:
            raise ValueError(f"names that differ, not {key!r} twice")
        if not re.fullmatch(r"[A-Za-z0-9_.@$-]+", key):
            raise ValueError("KEY or KEY=ATOM with a KEY of letters, digits and _.@$-, not "
                             f"{field!r}")
        pieces += [("text", f'{", " if keys else "{"}"{key}": '), piece]
        keys.append(key)
    if not keys:
        raise ValueError("at least one field")
    _check_number(pieces)
    return Format(_merged([*pieces, ("text", "}\n")]), True)


def _field(name: str) -> tuple[str, str]:
    """Return the piece of one member: a word of JSON, or an atom with or without ``%(...)s``."""
    name = name.removeprefix("%(").removesuffix(")s") if name.startswith("%(") else name
    name = JSON.get(name, name)
    piece = (name, "") if name in ("iso", "pid") else _atom(name)
    if piece is None or name == "l":
        raise ValueError(f"fields that are known, not {name!r}: they are {', '.join(JSON)}, or an "
                         "atom such as D or {X-Name}i")
    return piece


def _check_number(pieces: list[tuple[str, str]]) -> None:
    if sum(kind in ("o", "e") for kind, _ in pieces) > LOOKED_UP:
        raise ValueError(f"a format with at most {LOOKED_UP} atoms of the kinds o and e")


def _piece(found: re.Match[str]) -> tuple[str, str]:
    """Return the piece of one ``%...``."""
    whole, name, conversion = found[0], found[1], found[2]
    if whole == "%%":
        return ("text", "%")
    if name is None:
        raise ValueError("a format in which each '%' begins an atom such as %(h)s or is doubled")
    if conversion != "s" and not (conversion == "d" and name in NUMBERS):
        raise ValueError(f"a format of known atoms: {whole!r} should be '%({name})s'")
    piece = _atom(name)
    if piece is None:
        known = ", ".join([*ATOMS, *(f"{{NAME}}{kind}" for kind in NAMED_ATOMS)])
        raise ValueError(f"a format of known atoms, not {whole!r}: they are {known}")
    return piece


def _atom(name: str) -> tuple[str, str] | None:
    """Return the piece of what stands in the parentheses; None if that is nothing we know."""
    if name in ATOMS:
        return _SHORT.get(name, (name, ""))
    field = re.fullmatch(r"\{([^{}]+)\}([ioe])", name)
    if field is None:
        return None
    kind = field[2]
    return (kind, field[1] if kind == "e" else field[1].lower())


def _merged(pieces: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Join adjacent texts and drop empty ones."""
    merged: list[tuple[str, str]] = []
    for kind, text in pieces:
        if kind == "text" and merged and merged[-1][0] == "text":
            merged[-1] = ("text", merged[-1][1] + text)
        elif kind != "text" or text:
            merged.append((kind, text))
    return merged
