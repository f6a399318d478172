"""A configuration of ``logging``: a file as ``logging.config`` reads it, or a dictionary.

It is read once, before workers are forked, so what is wrong with it is an error of settings.
Loggers that are there already go on. What it does not name stays as it is.
"""

from __future__ import annotations

import json
import logging
import logging.config
import os
from typing import Any

from fastwsgi.errors import ConfigError

_DEFAULTS: dict[str, Any] = {"version": 1, "disable_existing_loggers": False}


def use_file(path: str, origin: str) -> None:
    """Read a file in the format of ``logging.config.fileConfig``; raise ConfigError."""
    try:
        with open(path, encoding="utf-8"):
            pass
        logging.config.fileConfig(
            path, {"__file__": path, "here": os.path.dirname(os.path.abspath(path))},
            disable_existing_loggers=False)
    except Exception as error:
        raise _wrong("logconfig", path, origin, error) from None


def use_json(path: str, origin: str) -> None:
    """Read a file with the dictionary of ``dictConfig`` in JSON; raise ConfigError."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        if not isinstance(found, dict):
            raise ValueError("not an object")
        logging.config.dictConfig(_DEFAULTS | found)
    except Exception as error:
        raise _wrong("logconfig_json", path, origin, error) from None


def use_dict(found: dict[str, Any], origin: str) -> None:
    """Use a dictionary as ``logging.config.dictConfig`` does; raise ConfigError."""
    try:
        logging.config.dictConfig(_DEFAULTS | found)
    except Exception as error:
        raise _wrong("logconfig_dict", "", origin, error) from None


def _wrong(name: str, path: str, origin: str, error: Exception) -> ConfigError:
    if isinstance(error, OSError) and error.strerror and path:
        reason = error.strerror
    else:
        cause = f": {error.__cause__}" if error.__cause__ is not None else ""
        reason = f"{type(error).__name__}: {error}{cause}"
    shown = f" {path!r}" if path else ""
    return ConfigError(f"{name}{shown} must be a configuration of logging (from {origin}): "
                       f"{reason}")
