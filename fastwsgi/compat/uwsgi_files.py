"""Reading uWSGI's configuration: INI, YAML, XML, JSON and the command line, into pairs.

Each file is read as uWSGI reads it: its INI has keys without values and conditions, its YAML is a
plain subset. XML is read without a document type, so entities cannot grow.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from xml.parsers import expat

from fastwsgi.compat.draft import variable
from fastwsgi.errors import ConfigError

INCLUDES = ("ini", "yaml", "yml", "xml", "json", "include", "inherit")


LONGEST = 16_384
"""Bytes of a line that are read, at most."""

MOST = 10_000
"""Options and files that are read, at most, with those of all included files."""


class Pair(NamedTuple):
    """An option with its value, empty for one without; ``condition`` is that of its block."""

    name: str
    value: str
    condition: str = ""


def ini(text: str, section: str = "uwsgi") -> Iterator[Pair]:
    """Yield the options of a section of an INI file."""
    here, condition = False, ""
    for line in text.splitlines():
        line = line.strip()
        if not line or line[0] in ";#":
            continue
        if line.startswith("["):
            here = line.partition("]")[0][1:].strip() == section
            continue
        if not here:
            continue
        name, equals, value = line.partition("=")
        name, value = name.strip(), value.strip()
        if name in ("endif", "end-if", "endfor", "end-for"):
            condition = ""
        elif name.startswith(("if-", "if", "for")) and (name.startswith("if") or name in (
                "for", "for-glob", "for-times", "for-readline")):
            condition = f"{name} = {value}"
        else:
            yield Pair(name, value if equals else "", condition)


def yaml(text: str) -> Iterator[Pair]:
    """Yield the options of a YAML file, in the plain subset that uWSGI reads by itself."""
    depth, parent = -1, ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = re.sub(r"(?:^|\s)#.*$", "", line) if '"' not in line and "'" not in line else line
        if not bare.strip() or bare.strip() in ("---", "..."):
            continue
        indent = len(bare) - len(bare.lstrip(" "))
        if indent == 0:
            depth = 0 if bare.strip() == "uwsgi:" else -1
            continue
        if depth < 0:
            continue
        item = re.match(r"\s*-\s+(.*)", bare)
        found = re.match(r"\s*([^\s:#\-][^:]*?)\s*:(?:\s+(.*))?$", bare)
        if item is not None and parent:
            yield Pair(parent, _scalar(item[1], number))
        elif found is not None:
            parent = found[1].strip("\"'")
            if found[2] and found[2].strip():
                yield Pair(parent, _scalar(found[2], number))
        else:
            raise ConfigError(f"line {number}: not 'option: value'")


def _scalar(text: str, number: int) -> str:
    text = text.strip()
    if text[:1] in ("&", "*", "!", "|", ">", "{", "["):
        raise ConfigError(f"line {number}: {text[:1]} is not part of the YAML that uWSGI reads")
    quoted = re.match(r"(\"[^\"]*\"|'[^']*')\s*(?:#.*)?$", text)
    if quoted is not None:
        return quoted[1][1:-1]
    return re.sub(r"\s#.*$", "", text).strip()


def xml(text: str) -> list[Pair]:
    """Return the options of an XML file; raise ConfigError for a document type, too."""
    found: list[Pair] = []
    stack: list[tuple[str, list[str], dict[str, str]]] = []
    reader = expat.ParserCreate()

    def refuse(*_: Any) -> None:
        raise ConfigError("a document type is not read, for its entities may grow without end")

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(stack) > 8:
            raise ConfigError("elements are nested too deeply")
        stack.append((tag, [], attributes))

    def end(tag: str) -> None:
        _, words, _ = stack.pop()
        value = " ".join("".join(words).split())
        if tag == "script" and stack and stack[-1][0] == "app":
            found.append(Pair("mount", f"{stack[-1][2].get('mountpoint', '/')}={value}"))
        elif tag != "app" and stack:
            found.append(Pair(tag, value))

    def characters(words: str) -> None:
        if stack:
            stack[-1][1].append(words)

    reader.StartDoctypeDeclHandler = refuse
    reader.EntityDeclHandler = refuse
    reader.StartElementHandler = start
    reader.EndElementHandler = end
    reader.CharacterDataHandler = characters
    try:
        reader.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise ConfigError(f"line {error.lineno}: {expat.ErrorString(error.code)}") from None
    return found


def from_json(text: str) -> Iterator[Pair]:
    """Yield the options of a JSON file."""
    try:
        table = json.loads(text)["uwsgi"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError("not a JSON object with one named uwsgi in it") from None
    for name, value in table.items() if isinstance(table, dict) else ():
        for item in value if isinstance(value, list) else [value]:
            word = {True: "true", False: "false"}.get(item, item) if isinstance(
                item, bool) else item
            yield Pair(str(name), str(word))


SHORT = {"s": "socket", "p": "processes", "w": "module", "H": "home", "d": "daemonize",
         "M": "master", "t": "harakiri", "T": "enable-threads", "b": "buffer-size",
         "L": "disable-logging", "l": "listen", "R": "max-requests", "i": "single-interpreter",
         "x": "xml", "y": "yaml", "j": "json", "z": "socket-timeout", "C": "chmod-socket",
         "m": "memory-report", "r": "reload-mercy", "A": "sharedarea", "Q": "spooler",
         "F": "file", "c": "chdir"}
"""The options of one letter."""


def arguments(words: Sequence[str], without: Sequence[str]) -> Iterator[Pair]:
    """Yield the options of a command line; those in ``without`` take no value."""
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not equals and name not in without and waiting and not waiting[0].startswith("-"):
                value = waiting.pop(0)
            yield Pair(name, value.strip())
        elif word.startswith("-") and len(word) > 1:
            name = SHORT.get(word[1], word[1])
            value = word[2:]
            if not value and name not in without and waiting:
                value = waiting.pop(0)
            yield Pair(name, value.strip())
        elif re.search(r"\.(ini|ya?ml|xml|json)(:\w+)?$", word):
            yield Pair("include", word)
        elif word.startswith((":", "/")) or re.fullmatch(r"[\w.]+:\w+", word):
            yield Pair("socket" if word[0] in ":/" else "module", word)
        else:
            yield Pair("", word)


def read(path: str, text: str, section: str = "uwsgi") -> list[Pair]:
    """Return the options of a file, with those of the files that it includes in their place."""
    return _included(path, text, section, 0, iter(range(MOST)))


def _included(
    path: str, text: str, section: str, depth: int, left: Iterator[int],
) -> list[Pair]:
    if depth > 8:
        raise ConfigError(f"{path}: files include each other")
    found: list[Pair] = []
    for pair in _pairs(path, text, section):
        if next(left, None) is None:
            raise ConfigError(f"{path}: more than {MOST} options, with those of included files")
        if pair.name not in INCLUDES:
            found.append(pair)
            continue
        target, _, other = pair.value.partition(":")
        if not target:
            found += _included(path, text, other, depth + 1, left)
            continue
        place = os.path.join(os.path.dirname(path), target)
        content = contents(place) if os.path.isfile(place) else None
        if content is None:
            found.append(Pair("include", target, pair.condition))
        else:
            found += _included(place, content, other or "uwsgi", depth + 1, left)
    return found


def contents(path: str) -> str:
    """Return the text of a file; raise ConfigError if it cannot be one of a configuration."""
    try:
        with open(path, "rb") as file:
            text = file.read((1 << 20) + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if len(text) > 1 << 20:
        raise ConfigError(f"{path} is larger than 1 MiB, too large for a configuration")
    if max(map(len, text.split(b"\n"))) > LONGEST:
        raise ConfigError(f"{path} has a line of more than {LONGEST} bytes, which no configuration "
                          "has")
    return text.decode("utf-8-sig", "replace").replace("\0", "")


def _pairs(path: str, text: str, section: str) -> list[Pair]:
    extension = os.path.splitext(path)[1].lower()
    try:
        if extension == ".xml" or text.lstrip().startswith("<"):
            found = xml(text)
        elif extension in (".yaml", ".yml") or re.search(r"^uwsgi:[ \t]*$", text, re.M):
            found = list(yaml(text))
        elif extension == ".json":
            found = list(from_json(text))
        else:
            found = list(ini(text, section))
    except ConfigError as error:
        raise ConfigError(f"{path}, {error}") from None
    return [pair._replace(value=_magic(pair.value, path)) for pair in found]


def _magic(value: str, path: str) -> str:
    """Replace what uWSGI puts in for the file and the environment."""
    whole = os.path.abspath(path)
    name = os.path.basename(whole)
    known = {"%d": os.path.dirname(whole) + "/", "%p": whole, "%s": name, "%k": "auto",
             "%n": os.path.splitext(name)[0], "%c": os.path.basename(os.path.dirname(whole)),
             "%%": "%"}
    value = re.sub(r"%[dpsknc%](?![\w(])|%%", lambda found: known[found[0]], value)
    return re.sub(r"\$\((\w+)\)", lambda found: variable(found[1]), value)
