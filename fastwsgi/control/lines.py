"""The protocol of the control socket: a JSON object on a line asks, one on a line answers.

``{"command": "status"}`` is asked; ``{"ok": true, ...}`` or ``{"ok": false, "error": "..."}`` is
the answer. Questions on one connection are answered in order. docs/operations.md has the commands.
"""

from __future__ import annotations

import json
from typing import Any

LONGEST = 4096
"""Bytes of a question, its newline included."""

LEVELS = ("debug", "info", "warning", "error", "critical")

COMMANDS: dict[str, dict[str, type]] = {
    "status": {"shares": bool},
    "stacks": {},
    "reload": {},
    "stop": {"quick": bool},
    "workers": {"count": int},
    "log-level": {"level": str},
}
"""Every command with its members and their types; ``count`` and ``level`` are needed."""
NEEDED = {"workers": "count", "log-level": "level"}
MOST_WORKERS = 1024


class BadQuestion(ValueError):
    """A question that is none; its text is for whoever has asked."""


def parse(line: bytes) -> tuple[str, dict[str, Any]]:
    """Return the command of a question and its members. Raises BadQuestion."""
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        raise BadQuestion("not a JSON object on one line") from None
    if not isinstance(asked, dict):
        raise BadQuestion("not a JSON object on one line")
    command = asked.pop("command", None)
    if not isinstance(command, str) or command not in COMMANDS:
        raise BadQuestion(f"no such command; there are {', '.join(COMMANDS)}")
    members = COMMANDS[command]
    for name, value in asked.items():
        if name not in members:
            raise BadQuestion(f"{command} has no member {name!r}")
        if type(value) is not members[name]:
            raise BadQuestion(f"{command}: {name} is not of type {members[name].__name__}")
    needed = NEEDED.get(command)
    if needed is not None and needed not in asked:
        raise BadQuestion(f"{command} needs the member {needed!r}")
    if command == "workers" and not 1 <= asked["count"] <= MOST_WORKERS:
        raise BadQuestion(f"workers: count is a whole number from 1 to {MOST_WORKERS}")
    if command == "log-level" and asked["level"] not in LEVELS:
        raise BadQuestion(f"log-level: level is one of {', '.join(LEVELS)}")
    return command, asked


def line(answer: dict[str, Any]) -> bytes:
    """Return an object as a line."""
    return json.dumps(answer, separators=(",", ":")).encode("ascii") + b"\n"
