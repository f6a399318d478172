"""Reads budgets.toml: the instructions per request that the hot path may cost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path(__file__).with_name("budgets.toml")


def load(version: str = "", file: Path = FILE) -> dict[str, int]:
    """Scenario -> most instructions, for a Python version such as "3.13" (default: the running
    one).

    Raises ValueError for a value that is no positive whole number.
    """
    document: dict[str, Any] = tomllib.loads(file.read_text())
    version = version or f"{sys.version_info[0]}.{sys.version_info[1]}"
    found = {**document["budget"], **document.get(version, {})}
    for name, value in found.items():
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"{file.name}: {name} = {value!r} is no number of instructions")
    return found
