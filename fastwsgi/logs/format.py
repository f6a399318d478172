"""Parse the format of the access log: a text with gunicorn's atoms, or the word ``json``.

This happens once, at the start. The compiled core makes each line from the pieces.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

DEFAULT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
"""gunicorn's, which is the "combined" format of Apache and nginx."""

ATOMS = {
    "h": "address of the client; with `address` in `forwarded_follow`, the one that a trusted "
    "proxy names", "l": "'-' (formerly the user of identd)", "u": "user of basic "
    "authentication", "t": "date of the request, local time", "r": "request line",
    "m": "request method", "U": "path without query", "q": "query", "H": "protocol",
    "s": "status", "st": "reason phrase of the status", "B": "bytes of the response body",
    "b": "the same, '-' without a response", "f": "referer", "a": "user agent",
    "T": "duration in whole seconds", "D": "duration in microseconds",
    "M": "duration in milliseconds", "L": "duration in seconds, with a fraction",
    "p": "process id, in angle brackets",
}
"""What a format may hold as ``%(NAME)s``, besides ``%({NAME}i)s`` and its like for fields."""

FIELDS = {"i": "field NAME of the request", "o": "field NAME of the response, as set by the "
          "application", "e": "variable NAME of the environ"}
"""What a format may hold as ``%({NAME}X)s``."""

NUMBERS = frozenset("TDMB")
LOOKED_UP = 32
"""Atoms of a format that are looked up in Python objects, at most: what access_log.pxi can hold."""

_JSON = (
    ("time", "iso"), ("client", "h"), ("method", "m"), ("path", "U"), ("query", "q"),
    ("protocol", "H"), ("status", "s"), ("bytes", "B"), ("duration", "L"), ("referer", "f"),
    ("user_agent", "a"), ("pid", "pid"))
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
        return Format(_merged(_json_pieces()), True)
    if "\n" in text or "\r" in text or "\0" in text:
        raise ValueError("a format of one line")
    pieces: list[tuple[str, str]] = []
    end = 0
    for found in _PLACE.finditer(text):
        pieces += [("text", text[end : found.start()]), _piece(found)]
        end = found.end()
    pieces += [("text", text[end:]), ("text", "\n")]
    if sum(kind in ("o", "e") for kind, _ in pieces) > LOOKED_UP:
        raise ValueError(f"a format with at most {LOOKED_UP} atoms of the kinds o and e")
    return Format(_merged(pieces), False)


def _json_pieces() -> list[tuple[str, str]]:
    pieces = []
    for i, (key, atom) in enumerate(_JSON):
        pieces += [("text", f'{", " if i else "{"}"{key}": '), _SHORT.get(atom, (atom, ""))]
    return [*pieces, ("text", "}\n")]


def _piece(found: re.Match[str]) -> tuple[str, str]:
    """Return the piece of one ``%...``."""
    whole, name, conversion = found[0], found[1], found[2]
    if whole == "%%":
        return ("text", "%")
    if name is None:
        raise ValueError("a format in which each '%' begins an atom such as %(h)s or is doubled")
    if conversion != "s" and not (conversion == "d" and name in NUMBERS):
        raise ValueError(f"a format of known atoms: {whole!r} should be '%({name})s'")
    if name in ATOMS:
        return _SHORT.get(name, (name, ""))
    field = re.fullmatch(r"\{([^{}]+)\}([ioe])", name)
    if field is None:
        known = ", ".join([*ATOMS, *(f"{{NAME}}{kind}" for kind in FIELDS)])
        raise ValueError(f"a format of known atoms, not {whole!r}: they are {known}")
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
