"""Mask what the error log must not show of a request or response.

More people read a log than may know its secrets. Of a field, variable or parameter whose name
suggests a secret, the log shows the length of the value. Of a wrong value it shows only the
position of the fault.
"""

from __future__ import annotations

import re

_WORDS = ("auth", "cookie", "credential", "csrf", "jwt", "key", "pass", "pwd", "query_string",
          "secret", "sess", "signature", "token")
_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]*").match  # RFC 9110 5.6.2
_plain = re.compile(r"[\x20-\x7e]*").match
_parameter = re.compile(r"([?&;])([^=&;\s]*)=([^&;\s]*)").sub
_userinfo = re.compile(r"//([^/?#@\s]*)@").sub


class Masked:
    """Replaces a value of the type named ``kind`` in a text."""

    def __init__(self, value: object, text: str = "") -> None:
        self.kind = type(value).__name__
        self._text = text or f"<{length(value)}>"

    def __repr__(self) -> str:
        return self._text


def is_secret(name: object) -> bool:
    """Whether a value with this name must not be logged.

    ``name`` is that of a header field in any form (Set-Cookie, HTTP_COOKIE), of a variable or of a
    parameter. A text that is not a name may contain anything.
    """
    if isinstance(name, (bytes, bytearray)):
        name = name.decode("latin-1")
    if not isinstance(name, str):
        return True
    lower = name.lower()
    return any(word in lower for word in _WORDS)


def length(value: object) -> str:
    """Describe a value by its length, or its type if it has none."""
    if isinstance(value, str):
        return f"{len(value)} character{'' if len(value) == 1 else 's'}"
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} byte{'' if len(value) == 1 else 's'}"
    return type(value).__name__


def value_of(name: object, value: object) -> object:
    """Return what a log may show of the value of ``name``, for its repr().

    Nothing is shown beyond the first character that is not visible ASCII, because what has got into
    a value may be another field.
    """
    found = _plain(value) if isinstance(value, str) else None
    at = found.end() if found is not None and isinstance(value, str) else -1
    if isinstance(value, str) and 0 <= at < len(value):
        fault = f"character {at + 1} of {len(value)}"
        return Masked(value, fault if is_secret(name) else f"{value[:at]!r}, then {fault}")
    return Masked(value) if is_secret(name) else value


def name_of(name: object) -> object:
    """Return what a log may show of a name: its valid part, with the position of the fault."""
    text = name.decode("latin-1") if isinstance(name, (bytes, bytearray)) else name
    if not isinstance(text, str):
        return Masked(name)
    found = _token(text)
    end = found.end() if found else 0
    if text and end == len(text):
        return name
    return Masked(name, f"{text[:end]!r}, then character {end + 1} of {len(text)}")


def mask_secrets(text: str) -> str:
    """Return a request line, target or URL with its user information and secret parameters masked.

    A name with an escape counts as a secret's name, and so does a value that contains parameters
    with such a name.
    """
    if "?" in text:
        text = _parameter(_mask_parameter, text)
    if "@" in text:
        text = _userinfo(lambda found: f"//<{length(found[1])}>@", text)
    return text


def _mask_parameter(found: re.Match[str]) -> str:
    before, name, value = found.groups()
    inner = value.lower().rpartition("%3d")[0]
    if value and ("%" in name or is_secret(name) or (inner and is_secret(inner))):
        value = f"<{length(value)}>"
    return f"{before}{name}={value}"
