"""``--help``: short by default, whole with ``all``, or one group or setting by its name.

Everything is taken from the parser, and so from the table of settings.
"""

from __future__ import annotations

import argparse
import copy
import os
import re
from collections.abc import Iterable, Mapping
from typing import TextIO

from fastwsgi.commandline.options import COMMANDS
from fastwsgi.config.table import FIRST, GROUPS, SETTINGS, SPELLINGS
from fastwsgi.errors import ConfigError

SIGNALS = "signals: TERM finishes requests and stops, INT stops at once, HUP reloads\n"

BOLD, NAME, VALUE, PLAIN = "\033[1m", "\033[36m", "\033[33m", "\033[0m"

Section = tuple[str, Iterable[argparse.Action]]


def brief(text: str) -> str:
    """Return the beginning of a setting's text, up to its first pause."""
    return re.split(r"[;:]| \(|\. ", text)[0].strip().rstrip(".,")


def text(parser: argparse.ArgumentParser, topic: str, *, colours: bool) -> str:
    """Return the help that is asked for: the short one for no topic or for an application.

    Raises ConfigError for a topic that there is not.
    """
    if topic == "all":
        found = parser.format_help()
    elif not topic or ":" in topic:
        found = _short(parser)
    elif topic in GROUPS:
        found = _shown(parser, [(group.title or "", group._group_actions)
                                for group in parser._action_groups if group.title == topic])
    else:
        found = _one(parser, topic)
    return coloured(found) if colours else found


def _short(parser: argparse.ArgumentParser) -> str:
    chosen = []
    for action in parser._actions:
        if action.dest in FIRST and action.help is not argparse.SUPPRESS:
            default = re.search(r" \[[^]]*\]$", action.help or "")
            short = copy.copy(action)
            short.help = brief(SETTINGS[action.dest].doc) + (default[0] if default else "")
            chosen.append((FIRST.index(action.dest), short))
    chosen.sort(key=lambda pair: pair[0])
    asking = [group._group_actions for group in parser._action_groups if group.title == "other"]
    formatter = parser._get_formatter()
    formatter.add_text(
        "fastwsgi --help all shows every setting, --help GROUP those of one group "
        f"({', '.join(GROUPS)}), --help SETTING one of them.")
    return (_shown(parser, [("settings to begin with", [action for _, action in chosen]),
                            ("other", asking[0])])
            + "\nother commands:\n"
            + "".join(f"  fastwsgi {name:<13}{does}\n" for name, does in COMMANDS.items())
            + f"\n{SIGNALS}\n" + formatter.format_help().rstrip() + "\n")


def _one(parser: argparse.ArgumentParser, topic: str) -> str:
    name = topic.lstrip("-").replace("-", "_")
    name = SPELLINGS.get(name, name)
    more = f"\nvariable: {SETTINGS[name].variable}\nin a file: {name} = VALUE\n" if (
        name in SETTINGS) else ""
    for action in parser._actions:
        named = action.dest == name or f"--{topic.lstrip('-')}" in action.option_strings
        if named and action.help is not argparse.SUPPRESS:
            return _shown(parser, [("", [action])]) + more
    if name in SETTINGS:
        return f"{name}: {SETTINGS[name].doc}.\n{more}"
    raise ConfigError(f"--help knows 'all', the groups {', '.join(GROUPS)} and the names of "
                      f"settings, not {topic!r}")


def _shown(parser: argparse.ArgumentParser, sections: list[Section]) -> str:
    formatter = parser._get_formatter()
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups)
    for title, actions in sections:
        formatter.start_section(title or None)
        formatter.add_arguments(actions)
        formatter.end_section()
    return formatter.format_help()


# ---- colours ----


def wants_colours(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether what is written there may have colours: https://no-color.org."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    try:
        return environ.get("TERM", "") not in ("", "dumb") and os.isatty(stream.fileno())
    except (OSError, ValueError):  # no file, or a closed one
        return False


def coloured(plain: str) -> str:
    """Return help with its headings, flags and their arguments marked."""
    marked = re.sub(r"^(usage:|[a-z][a-z ]*:)(?=$| )", rf"{BOLD}\1{PLAIN}", plain, flags=re.M)
    return re.sub(r"^  (-\S.*?)(?=  |$)", _flags, marked, flags=re.M)


def _flags(found: re.Match[str]) -> str:
    words = re.sub(r"(?<!\S)(--?[a-zA-Z][\w-]*)( [^,\n]+)?", _flag, found[1])
    return f"  {words}"


def _flag(found: re.Match[str]) -> str:
    argument = f" {VALUE}{found[2][1:]}{PLAIN}" if found[2] else ""
    return f"{NAME}{found[1]}{PLAIN}{argument}"
