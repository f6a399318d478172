"""Check status and header fields by PEP 3333 and RFC 9110.

The rule: nothing here changes anything or raises. Faults are returned as names of rules with their
facts. Valid status lines and header names are remembered, up to a limit.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fastwsgi.logs.masking import name_of, value_of

Fault = tuple[str, dict[str, object]]
"""The name of a rule, and what its text needs."""

PLAIN, HOP, LENGTH, TYPE, STATUS, CHALLENGE, UPGRADE = range(7)

SPECIAL = {
    "connection": HOP,
    "content-length": LENGTH,
    "content-type": TYPE,
    "keep-alive": HOP,
    "proxy-authenticate": CHALLENGE,
    "proxy-authorization": HOP,
    "proxy-connection": HOP,
    "status": STATUS,
    "te": HOP,
    "trailer": HOP,
    "trailers": HOP,
    "transfer-encoding": HOP,
    "upgrade": UPGRADE,
}

REQUIRED = {CHALLENGE: 407, UPGRADE: 426}
"""Hop-by-hop fields that a response of one status must have (RFC 9110 15.5.8, 15.5.22)."""

# A tab in a value is one too: PEP 3333 forbids "any control characters", RFC 9110 5.5 allows it.
_control = re.compile(r"[\x00-\x1f\x7f]").search
_beyond_latin1 = re.compile(r"[^\x00-\xff]").search
_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch  # RFC 9110 5.6.2
_status_form = re.compile(r"[0-9]{3} \S(?:.*\S)?", re.DOTALL).fullmatch
_code = re.compile(r"[0-9]{3}(?![0-9])").match

_MOST_KNOWN = 512
_known_statuses: dict[str, int] = {}
_known_names: dict[str, int] = {}


class Head(NamedTuple):
    """The facts found: status code (0 for none), Content-Length, whether there is a type."""

    code: int
    length: int | None
    typed: bool
    faults: list[Fault]

    @property
    def bodiless(self) -> bool:
        """Whether a response to GET with this status is without a body on the wire."""
        return self.code in (204, 304)


def judge(status: object, headers: object) -> Head:
    """Check the first two arguments of ``start_response``."""
    faults: list[Fault] = []
    code = _known_statuses.get(status) if type(status) is str else None
    if code is None:
        code = _judge_status(status, faults)
    if type(headers) is not list:
        faults.append(("headers-type", {"found": headers}))
        if not isinstance(headers, (list, tuple)):
            return Head(code, None, True, faults)
    length: int | None = None
    lengths = types = number = 0
    for item in headers:
        number += 1
        if not isinstance(item, tuple) or len(item) != 2:
            faults.append(("header-pair", {"number": number, "found": item, "shape": _shape(item)}))
            continue
        name, value = item
        kind = _known_names.get(name) if type(name) is str else None
        if kind is None:
            kind = _judge_name(name, faults)
        if type(value) is not str or not (value.isascii() and value.isprintable()):
            _judge_value(name, value, faults)
        if kind == PLAIN:
            continue
        if kind == TYPE:
            types += 1
        elif kind == LENGTH:
            lengths += 1
            if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) < 20:
                length = int(value)
            else:
                faults.append(("content-length-form", {"found": value_of(name, value)}))
        elif kind == HOP or kind in REQUIRED:
            if REQUIRED.get(kind) != code:
                faults.append(("hop-by-hop", {"name": name, "found": value_of(name, value)}))
        else:
            faults.append(("header-status", {}))
    if lengths > 1:
        faults.append(("content-length-repeated", {}))
    if types > 1:
        faults.append(("content-type-repeated", {}))
    if code in (204, 304):
        if lengths and (code == 204 or not length):  # a length other than 0 is probably that of GET
            faults.append((f"content-length-{code}", {"found": length}))
        if types:
            faults.append(("content-type-bodiless", {"code": code}))
    return Head(code, length, types > 0, faults)


def _judge_status(status: object, faults: list[Fault]) -> int:
    before = len(faults)
    if type(status) is not str:
        faults.append(("status-type", {"found": value_of("status", status)}))
        if not isinstance(status, str):
            return 0
    if _beyond_latin1(status):
        faults.append(("status-latin1", {"found": value_of("status", status)}))
    if _control(status):
        faults.append(("status-control", {"found": value_of("status", status)}))
    elif not _status_form(status):
        faults.append(("status-form", {"found": value_of("status", status)}))
    found = _code(status)
    code = int(found[0]) if found else 0
    if found and not 200 <= code <= 599:
        faults.append(("status-code", {"found": value_of("status", status)}))
    if len(faults) == before and len(_known_statuses) < _MOST_KNOWN:
        _known_statuses[status] = code
    return code


def _judge_name(name: object, faults: list[Fault]) -> int:
    before = len(faults)
    if type(name) is not str:
        faults.append(("header-name-type", {"found": name_of(name)}))
        if not isinstance(name, str):
            return PLAIN
    if not _token(name):
        faults.append(("header-name", {"found": name_of(name)}))
    elif not name[-1].isalnum():
        faults.append(("header-name-end", {"found": name}))
    kind = SPECIAL.get(name.lower(), PLAIN)
    if len(faults) == before and len(_known_names) < _MOST_KNOWN:
        _known_names[name] = kind
    return kind


def _judge_value(name: object, value: object, faults: list[Fault]) -> None:
    facts = {"name": name_of(name), "found": value_of(name, value)}
    if type(value) is not str:
        faults.append(("header-value-type", facts))
        if not isinstance(value, str):
            return
    if _control(value):
        faults.append(("header-value-control", facts))
    if _beyond_latin1(value):
        faults.append(("header-value-latin1", facts))


def _shape(item: object) -> str:
    """Describe what should be a pair, without its values."""
    kind = type(item).__name__
    if not isinstance(item, (list, tuple)):
        return kind
    return f"{kind} of {', '.join(type(part).__name__ for part in item[:4]) or 'nothing'}"
