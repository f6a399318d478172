"""Where settings come from, and which value takes precedence.

Precedence, lowest first: defaults (with $PORT and $WEB_CONCURRENCY in their place), pyproject.toml,
the configuration file, $GUNICORN_CMD_ARGS, FASTWSGI_* variables, the command line. Each value keeps
its origin for ``--print-config`` and for errors. The ``ValueError`` of a converter becomes a
``ConfigError`` here, which names the setting and the origin of its value.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from fastwsgi.config.combinations import check_together
from fastwsgi.config.config import Config, Value
from fastwsgi.config.files import closest, read_file
from fastwsgi.config.gunicorn import OTHERS, remarks
from fastwsgi.config.hooks import ARGUMENTS, Hook, check
from fastwsgi.config.table import SETTINGS, SPELLINGS, Setting
from fastwsgi.errors import ConfigError

DEFAULT_FILE = "fastwsgi.conf.py"
GUNICORNS_FILE = "gunicorn.conf.py"


def gather(
    arguments: Mapping[str, object], environ: Mapping[str, str],
    gunicorns: Mapping[str, object] | None = None,
) -> Config:
    """Merge the values of all origins.

    ``arguments`` are the values of the command line by canonical name, only those that were given;
    ``gunicorns`` are those of $GUNICORN_CMD_ARGS. ``pyproject.toml`` and the default configuration
    file are looked for in the working directory. Raises ConfigError.
    """
    found = {name: _default(item, environ) for name, item in SETTINGS.items()}
    notices: list[str] = []
    _merge(found, _read_pyproject("pyproject.toml"), "pyproject.toml")
    variables, strangers = _read_environ(environ)
    notices += strangers
    gunicorns = gunicorns or {}
    path = _named_file(arguments, variables, gunicorns, found, notices)
    hooks: dict[str, Hook] = {}
    if path:
        hooks = _merge_file(found, path, notices)
        found["config"] = Value(path, found["config"].origin)
    _merge_flags(found, gunicorns, "environment GUNICORN_CMD_ARGS")
    for name, (text, origin) in variables.items():
        found[name] = _convert(SETTINGS[name], text, origin)
    _merge_flags(found, arguments, "command line")
    return _finish(found, notices, hooks)


def from_keywords(settings: Mapping[str, object]) -> Config:
    """Build the settings of ``fastwsgi.run``: defaults, a file named by ``config``, keywords."""
    found = {name: _default(item, {}) for name, item in SETTINGS.items()}
    given: dict[str, Value] = {}
    settings, hooks = _split(settings, "keyword")
    _merge(given, settings, "keyword")
    for name in ("wsgi_app", "paste"):
        if name in given:
            raise ConfigError(
                f"{name} is not a keyword: the application is the first argument")
    path = str(given["config"].value) if "config" in given else ""
    notices: list[str] = []
    if path:
        hooks = {**_merge_file(found, path, notices), **hooks}
    found.update(given)
    return _finish(found, notices, hooks)


def _finish(found: dict[str, Value], notices: list[str], hooks: Mapping[str, Hook]) -> Config:
    """Return the merged settings, without gunicorn's, if all of them go together."""
    _use_logging_of_paste(found)
    gunicorns = {name: found.pop(name) for name in OTHERS if name in found}
    notices += remarks(gunicorns)
    config = Config(found, notices + _remarks(found), hooks)
    check_together(config)
    return config


def _use_logging_of_paste(found: dict[str, Value]) -> None:
    """Take the logging that a PasteDeploy file configures, unless there is another."""
    path = str(found["paste"].value).removeprefix("config:").partition("#")[0]
    if not path or any(found[name].value for name in (
            "logconfig", "logconfig_json", "logconfig_dict")):
        return
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:  # which is told when the application is loaded
        return
    if re.search(r"^\[loggers\]", text, re.MULTILINE):
        found["logconfig"] = _convert(SETTINGS["logconfig"], path, f"[loggers] of {path}")


def _default(item: Setting, environ: Mapping[str, str]) -> Value:
    for variable, template in item.fallbacks:
        empty_counts = isinstance(item.default, tuple)  # a list may have no items: trust nobody
        if environ.get(variable) or (empty_counts and variable in environ):
            return _convert(item, template.format(environ[variable]), f"environment {variable}")
    return _convert(item, item.default, "default")


def _convert(item: Setting, value: object, origin: str) -> Value:
    try:
        return Value(item.read(value), origin)
    except ValueError as error:
        raise ConfigError(f"{item.name} must be {error} (from {origin})") from None


def _merge(found: dict[str, Value], given: Mapping[str, object], origin: str) -> None:
    for spelling, value in given.items():
        word = spelling.replace("-", "_")
        item = OTHERS.get(word) or SETTINGS.get(SPELLINGS.get(word, ""))
        if item is None:
            raise ConfigError(f"unknown setting {spelling!r} (from {origin}){_nearest(spelling)}")
        # gunicorn's files have None for what is not set
        found[item.name] = _convert(item, item.default if value is None else value, origin)


def _merge_file(found: dict[str, Value], path: str, notices: list[str]) -> dict[str, Hook]:
    """Merge the settings of a configuration file and return its hooks."""
    given, more = read_file(path)
    notices += more
    settings, hooks = _split(given, path)
    _merge(found, settings, path)
    return hooks


def _merge_flags(found: dict[str, Value], arguments: Mapping[str, object], origin: str) -> None:
    for name, value in arguments.items():
        item = OTHERS.get(name) or SETTINGS[name]
        long = next((flag for flag in item.flags if flag.startswith("--")), "")
        found[name] = _convert(item, value, f"{origin} {long}".rstrip())


def _nearest(spelling: str) -> str:
    close = closest(spelling.lower().replace("-", "_"), (*SPELLINGS, *OTHERS, *ARGUMENTS), 0.6)
    return f"; did you mean {close!r}?" if close else ""


def _read_environ(environ: Mapping[str, str]) -> tuple[dict[str, Value], list[str]]:
    """Return the texts of FASTWSGI_* variables, and a notice for each that names no setting."""
    variables: dict[str, Value] = {}
    notices = []
    for variable in sorted(environ):
        if not variable.startswith("FASTWSGI_"):
            continue
        spelling = variable.removeprefix("FASTWSGI_").lower()
        name = SPELLINGS.get(spelling)
        if name is not None:
            variables[name] = Value(environ[variable], f"environment {variable}")
        elif close := closest(spelling, SPELLINGS, 0.8):
            notices.append(f"environment variable {variable} is not the name of a setting and "
                           f"is ignored; did you mean {SETTINGS[SPELLINGS[close]].variable}?")
    return variables, notices


def _named_file(
    arguments: Mapping[str, object], variables: Mapping[str, Value],
    gunicorns: Mapping[str, object], found: Mapping[str, Value], notices: list[str],
) -> str:
    """Return the configuration file to read, or the empty string."""
    path = (arguments.get("config") or (variables["config"].value if "config" in variables else "")
            or gunicorns.get("config") or found["config"].value)
    if path:
        return str(path).removeprefix("file:")
    if os.path.exists(DEFAULT_FILE):
        return f"./{DEFAULT_FILE}"
    if os.path.exists(GUNICORNS_FILE):
        notices.append(f"the settings of ./{GUNICORNS_FILE} are in effect, because there is no "
                       f"./{DEFAULT_FILE}")
        return f"./{GUNICORNS_FILE}"
    return ""


def _split(given: Mapping[str, object], origin: str) -> tuple[dict[str, object], dict[str, Hook]]:
    """Separate hooks from settings; raise ConfigError for a hook that cannot be called."""
    settings, hooks = dict(given), {}
    for name in ARGUMENTS:
        function = settings.pop(name, None)
        if function is None:
            continue
        if isinstance(function, str) and "." in function:
            function = _imported(name, function, origin)
        if not callable(function):
            raise ConfigError(f"{name} must be a function, not {function!r} (from {origin})")
        try:
            hooks[name] = check(name, function)
        except ValueError as error:
            raise ConfigError(f"{name} must be {error} (from {origin})") from None
    return settings, hooks


def _imported(name: str, path: str, origin: str) -> object:
    """Return the function that ``module.function`` names, as gunicorn's hooks may be given."""
    module, _, function = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{name} must be a function or the name of one, but {path!r} cannot be imported: "
            f"{error} (from {origin})") from None


def _read_pyproject(path: str) -> Mapping[str, object]:
    """Return the [tool.fastwsgi] table, if there is one; TOML is not even parsed otherwise."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return {}
    if not re.search(r"^\s*\[\s*tool\s*\.\s*[\"']?fastwsgi[\"']?\s*\]", text, re.MULTILINE):
        return {}
    reader = _toml_reader(path)
    try:
        table = reader.loads(text)["tool"]["fastwsgi"]
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return dict(table)


def _toml_reader(path: str) -> Any:
    """Return a TOML parser: the standard library's, or tomli on Python 3.10 if it is there."""
    try:
        return importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ImportError:
        raise ConfigError(f"{path} has a [tool.fastwsgi] table; to read it, Python 3.10 needs the "
                          "package tomli (pip install tomli)") from None


def _remarks(found: Mapping[str, Value]) -> list[str]:
    """List settings that are accepted but have another meaning here than elsewhere."""
    kind = found["worker_class"]
    if kind.value:
        return [f"worker_class {kind.value} (from {kind.origin}): fastwsgi has one kind of worker, "
                "which holds any number of slow clients; drop the option"]
    return []
