"""The options of the command as completions and the manual page need them, from the parser.

What a shell may offer for an argument is read from the placeholder in the table of settings: FILE
and DIR are paths, ``drop|serve`` are the words to choose from.
"""

from __future__ import annotations

import argparse
import re
from typing import NamedTuple

from fastwsgi.config.table import GROUPS

FILE, DIRECTORY, WORDS, ANYTHING, NOTHING = "file", "directory", "words", "anything", "nothing"

COMMANDS = {
    "top": "show what a running server is doing",
    "ctl": "ask a running server, or tell it what to do",
    "migrate": "print the configuration for one of another server",
    "completion": "print what completes this command in bash, zsh or fish",
    "man": "print the manual page",
}
"""What may stand in the place of the application."""

CTL = ("status", "stacks", "reload", "stop", "workers", "log-level", "--socket", "--no-wait")
SHELLS = ("bash", "zsh", "fish")


class Option(NamedTuple):
    """One option: ``argument`` is its placeholder, ``optional`` whether it may be left out."""

    group: str
    flags: tuple[str, ...]
    argument: str
    optional: bool
    kind: str
    words: tuple[str, ...]
    text: str

    @property
    def longs(self) -> tuple[str, ...]:
        """The flags of two dashes, without them."""
        return tuple(flag[2:] for flag in self.flags if flag.startswith("--"))

    @property
    def shorts(self) -> tuple[str, ...]:
        """The letters."""
        return tuple(flag[1:] for flag in self.flags if not flag.startswith("--"))


def options(parser: argparse.ArgumentParser) -> list[Option]:
    """Return the options that the help shows, in its order."""
    return [_option(group.title or "", action) for group in parser._action_groups
            for action in group._group_actions
            if action.option_strings and action.help is not argparse.SUPPRESS]


def _option(group: str, action: argparse.Action) -> Option:
    argument = "" if action.nargs == 0 else str(action.metavar or "")
    kind, words = _offered(argument)
    text = (action.help or "").replace("%%", "%")
    return Option(group, tuple(action.option_strings), argument, action.nargs == "?", kind, words,
                  text)


def _offered(argument: str) -> tuple[str, tuple[str, ...]]:
    if not argument:
        return NOTHING, ()
    if argument == "FILE" or argument == "PATH":
        return FILE, ()
    if argument in ("DIR", "DIRS"):
        return DIRECTORY, ()
    if argument == "TOPIC":
        return WORDS, ("all", *GROUPS)
    if re.fullmatch(r"[a-z0-9]+(\|[a-z0-9]+)+", argument):
        return WORDS, tuple(argument.split("|"))
    return ANYTHING, ()
