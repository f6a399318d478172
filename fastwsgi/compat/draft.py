"""A configuration in the making: what ``fastwsgi migrate`` prints.

It is a configuration file in Python. Every setting has the option that it comes from beside it.
What has no counterpart stands below, each with what to do instead. A value is checked by the
setting's own converter, unless it depends on the machine or on a variable of the environment.
"""

from __future__ import annotations

import re
from typing import Any

from fastwsgi.config.gunicorn import GUNICORN, OTHERS
from fastwsgi.config.table import SETTINGS

VARIABLE = re.compile("\0(\\w+)(?:\1([^\2]*))?\2")
"""How a text holds a variable of the environment, and its default: see ``variable``."""

OF_THE_MACHINE = ("chdir", "user", "group")
"""Settings whose values are right or wrong on the machine that serves."""


def variable(name: str, default: str | None = None) -> str:
    """Return what stands for a variable of the environment within a text."""
    return f"\0{name}\2" if default is None else f"\0{name}\1{default}\2"


def readable(value: object) -> str:
    """Return a value as a person writes it, variables in the shell's way."""
    def written(found: re.Match[str]) -> str:
        return f"${found[1]}" if found[2] is None else f"${{{found[1]}:-{found[2]}}}"

    text = " ".join(VARIABLE.sub(written, str(value)).split())
    return "".join(character if character.isprintable() else "?" for character in text)


class Draft:
    """Settings, and what is to be said about the rest."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.settings: dict[str, list[tuple[Any, str]]] = {}
        self.notes: list[str] = []
        self.needless: list[str] = []

    def set(self, name: str, value: Any, origin: str) -> None:
        """Give a setting a value, in the place of one that it has."""
        self.settings.pop(name, None)
        self.add(name, value, origin)

    def add(self, name: str, value: Any, origin: str) -> None:
        """Give a setting a value, or another one if it is a list."""
        item = SETTINGS[name]
        if "$(" in str(value) or "`" in str(value):
            self.note(origin, f"{name} is {readable(value)}, which only a shell can tell")
            return
        if name not in OF_THE_MACHINE and not VARIABLE.search(str(value)):
            try:
                found = item.read(value)
            except ValueError as error:
                self.note(origin, f"{name} must be {error}")
                return
            if isinstance(found, (int, float)) and str(value).strip().isdigit():
                value = int(found) if found == int(found) else found
        if not (isinstance(item.default, tuple) or name == "bind"):
            self.settings.pop(name, None)
        self.settings.setdefault(name, []).append((value, origin))

    def value(self, name: str) -> Any:
        """Return the last value of a setting, None without one."""
        return self.settings[name][-1][0] if name in self.settings else None

    def note(self, origin: str, text: str) -> None:
        """Say what to do about an option that has no counterpart."""
        line = f"{readable(origin)}: {readable(text)}"
        if line not in self.notes:
            self.notes.append(line)

    def fine(self, origin: str) -> None:
        """Take note of an option whose effect is there without any."""
        if origin not in self.needless:
            self.needless.append(origin)

    def from_gunicorn(self, name: str, value: Any, origin: str) -> None:
        """Take a setting of gunicorn, by its name here."""
        if name in OTHERS:
            self.note(origin, GUNICORN[name].text)
        elif name == "worker_class" and value in ("sync", "gthread"):
            self.fine(origin)
        elif name == "config":
            self.note(origin, "name it with --config, as with gunicorn; what it sets is understood "
                              "as it is, and fastwsgi migrate says what is not")
        else:
            self.add(name, value, origin)

    def render(self) -> str:
        """Return the configuration file."""
        lines = [f"# fastwsgi.conf.py, made by fastwsgi migrate from {readable(self.source)}"]
        order = [name for name in SETTINGS if name in self.settings]
        body = [(f"{name} = {_source(name, [value for value, _ in self.settings[name]])}",
                 ", ".join(dict.fromkeys(readable(origin) for _, origin in self.settings[name])))
                for name in order]
        if any("os.environ" in text for text, _ in body):
            lines += ["import os", ""]
        width = min(48, max((len(text) for text, _ in body), default=0))
        lines += [f"{text:<{width}}  # {origin}" for text, origin in body]
        if self.needless:
            lines += ["", "# Not needed here, because it is so without:"]
            lines += [f"#   {text}" for text in _wrapped([*map(readable, self.needless)])]
        if self.notes:
            lines += ["", "# Without a counterpart, or to be looked at:"]
            lines += [f"#   {note}" for note in self.notes]
        return "\n".join(lines) + "\n"


def _wrapped(words: list[str]) -> list[str]:
    lines = [""]
    for place, word in enumerate(words):
        word += "," if place < len(words) - 1 else ""
        if lines[-1] and len(lines[-1]) + len(word) > 90:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _source(name: str, values: list[Any]) -> str:
    """Return the values of a setting as Python."""
    if isinstance(SETTINGS[name].default, tuple) or name == "bind":
        flat = [item for value in values
                for item in (value if isinstance(value, (list, tuple)) else [value])]
        return f"[{', '.join(map(_literal, flat))}]"
    return _literal(values[-1])


def _literal(value: Any) -> str:
    if not isinstance(value, str) or not VARIABLE.search(value):
        return repr(value)
    parts, end = [], 0
    for found in VARIABLE.finditer(value):
        if found.start() > end:
            parts.append(repr(value[end:found.start()]))
        parts.append(f"os.environ[{found[1]!r}]" if found[2] is None
                     else f"os.environ.get({found[1]!r}, {found[2]!r})")
        end = found.end()
    if end < len(value):
        parts.append(repr(value[end:]))
    return " + ".join(parts)
