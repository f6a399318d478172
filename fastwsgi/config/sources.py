"""Where settings come from, and which value takes precedence.

Precedence, lowest first: defaults (with $PORT and $WEB_CONCURRENCY in their place), pyproject.toml,
the configuration file, FASTWSGI_* variables, the command line. Each value keeps its origin for
``--print-config`` and for errors. The ``ValueError`` of a converter becomes a ``ConfigError`` here,
which names the setting and the origin of its value.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any

from fastwsgi.config.combinations import check_together
from fastwsgi.config.config import Config, Value
from fastwsgi.config.hooks import ARGUMENTS, Hook, check
from fastwsgi.config.table import SETTINGS, SPELLINGS, Setting
from fastwsgi.errors import ConfigError
from fastwsgi.system.paths import absolute

DEFAULT_FILE = "fastwsgi.conf.py"
HOOK_LIKENESS = 0.84
"""How alike the names of a function and of a hook are (``difflib``'s ratio) when one is taken for a
misspelling of the other: post_frok, on_start and worker_init are, post_process is not."""


def gather(arguments: Mapping[str, object], environ: Mapping[str, str]) -> Config:
    """Merge the values of all origins.

    ``arguments`` are the values of the command line by canonical name, only those that were given.
    ``pyproject.toml`` and the default configuration file are looked for in the working directory.
    Raises ConfigError.
    """
    found = {name: _default(item, environ) for name, item in SETTINGS.items()}
    notices: list[str] = []
    _merge(found, _read_pyproject("pyproject.toml"), "pyproject.toml")
    variables, strangers = _read_environ(environ)
    notices += strangers
    path = _named_file(arguments, variables, found)
    hooks: dict[str, Hook] = {}
    if path:
        settings, hooks = _split(_read_file(path), path)
        _merge(found, settings, path)
        found["config"] = Value(path, found["config"].origin)
    for name, (text, origin) in variables.items():
        found[name] = _convert(SETTINGS[name], text, origin)
    for name, value in arguments.items():
        long = next((flag for flag in SETTINGS[name].flags if flag.startswith("--")), "")
        found[name] = _convert(SETTINGS[name], value, f"command line {long}".rstrip())
    config = Config(found, notices + _remarks(found), hooks)
    check_together(config)
    return config


def from_keywords(settings: Mapping[str, object]) -> Config:
    """Build the settings of ``fastwsgi.run``: defaults, a file named by ``config``, keywords."""
    found = {name: _default(item, {}) for name, item in SETTINGS.items()}
    given: dict[str, Value] = {}
    settings, hooks = _split(settings, "keyword")
    _merge(given, settings, "keyword")
    if "wsgi_app" in given:
        raise ConfigError("wsgi_app is not a keyword: the application is the first argument")
    path = str(given["config"].value) if "config" in given else ""
    if path:
        in_file, hooks_in_file = _split(_read_file(path), path)
        _merge(found, in_file, path)
        hooks = {**hooks_in_file, **hooks}
    found.update(given)
    config = Config(found, _remarks(found), hooks)
    check_together(config)
    return config


def _default(item: Setting, environ: Mapping[str, str]) -> Value:
    for variable, template in item.fallbacks:
        if environ.get(variable):
            return _convert(item, template.format(environ[variable]), f"environment {variable}")
    return _convert(item, item.default, "default")


def _convert(item: Setting, value: object, origin: str) -> Value:
    try:
        return Value(item.read(value), origin)
    except ValueError as error:
        raise ConfigError(f"{item.name} must be {error} (from {origin})") from None


def _merge(found: dict[str, Value], given: Mapping[str, object], origin: str) -> None:
    for spelling, value in given.items():
        name = SPELLINGS.get(spelling.replace("-", "_"))
        if name is None:
            raise ConfigError(f"unknown setting {spelling!r} (from {origin}){_nearest(spelling)}")
        found[name] = _convert(SETTINGS[name], value, origin)


def _nearest(spelling: str) -> str:
    close = _close(spelling.lower().replace("-", "_"), (*SPELLINGS, *ARGUMENTS), 0.6)
    return f"; did you mean {close!r}?" if close else ""


def _close(spelling: str, names: Iterable[str], cutoff: float) -> str:
    """Return the name that is most like the given spelling, or the empty string."""
    import difflib  # only to complain

    return "".join(difflib.get_close_matches(spelling, list(names), 1, cutoff))


def _misspelt_hook(name: str) -> str:
    """Return the hook that a function's name is a misspelling of, or the empty string.

    A name that contains a hook's and more words, such as do_post_fork, is not a misspelling.
    """
    hooks = tuple(ARGUMENTS)
    spelling = name.lower().strip("_")
    if any(f"_{hook}_" in f"_{spelling}_" and hook != spelling for hook in hooks):
        return ""
    return _close(spelling, hooks, HOOK_LIKENESS)


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
        elif close := _close(spelling, SPELLINGS, 0.8):
            notices.append(f"environment variable {variable} is not the name of a setting and "
                           f"is ignored; did you mean {SETTINGS[SPELLINGS[close]].variable}?")
    return variables, notices


def _named_file(
    arguments: Mapping[str, object], variables: Mapping[str, Value], found: Mapping[str, Value],
) -> str:
    """Return the configuration file to read, or the empty string."""
    path = arguments.get("config")
    if not path and "config" in variables:
        path = variables["config"].value
    path = path or found["config"].value
    if path:
        return str(path).removeprefix("file:")
    return f"./{DEFAULT_FILE}" if os.path.exists(DEFAULT_FILE) else ""


def _read_file(path: str) -> dict[str, object]:
    """Run a configuration file and return the settings it assigns.

    Modules, functions, classes, names in capitals and names that begin with an underscore are the
    file's own helpers, but for a function whose name is almost that of a hook; every other name
    must be a setting.
    """
    try:
        with open(path, "rb") as file:
            text = file.read()
        code = compile(text, path, "exec")
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise ConfigError(f"{path}, line {line or 1}: {error.args[0]}") from None
    names: dict[str, object] = {
        "__file__": absolute(path), "__name__": "fastwsgi_config"}
    try:
        exec(code, names)
    except Exception as error:
        raise ConfigError(
            f"{path}, line {_line_in(error, path)}: {type(error).__name__}: {error}") from None
    given = {}
    for name, value in names.items():
        if name.startswith("_") or name.isupper() or isinstance(value, (types.ModuleType, type)):
            continue
        if callable(value) and name not in ARGUMENTS:
            if close := _misspelt_hook(name):
                raise ConfigError(
                    f"unknown hook {name!r} (from {path}); did you mean {close!r}? If it is a "
                    "helper of yours, begin its name with an underscore")
            continue
        if name == "config":
            raise ConfigError(f"config (from {path}) cannot be set in a configuration file")
        given[name] = value
    return given


def _split(given: Mapping[str, object], origin: str) -> tuple[dict[str, object], dict[str, Hook]]:
    """Separate hooks from settings; raise ConfigError for a hook that cannot be called."""
    settings, hooks = dict(given), {}
    for name in ARGUMENTS:
        function = settings.pop(name, None)
        if function is None:
            continue
        if not callable(function):
            raise ConfigError(f"{name} must be a function, not {function!r} (from {origin})")
        try:
            hooks[name] = check(name, function)
        except ValueError as error:
            raise ConfigError(f"{name} must be {error} (from {origin})") from None
    return settings, hooks


def _line_in(error: BaseException, path: str) -> int:
    """Return the last line of ``path`` that an exception came through."""
    line = 1
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


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
