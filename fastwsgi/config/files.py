"""Configuration files in Python: what a file assigns, and which of its names are settings.

A name that is a setting's or a hook's is one, however it got there: ``from base import *`` works.
Every other name is the file's own helper, unless the file does nothing with it. Then it is an error
if it is almost the name of a setting, and else a notice.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fastwsgi.config.gunicorn import GUNICORN, OTHERS
from fastwsgi.config.hooks import ARGUMENTS
from fastwsgi.config.table import SETTINGS, SPELLINGS
from fastwsgi.errors import ConfigError
from fastwsgi.system.paths import absolute

HOOK_LIKENESS = 0.84
"""How alike the names of a function and of a hook are (``difflib``'s ratio) when one is taken for a
misspelling of the other: post_frok, on_start and worker_init are, post_process is not."""

COMMON = ("env", "name", "pid", "config")
"""Spellings of flags that are common names of helpers, too: nothing is a misspelling of them."""

MAY_BE_CLASSES = ("worker_class", "logger_class")


class _Source(NamedTuple):
    """The text of a configuration file, and where it runs."""

    text: bytes
    path: str
    module: types.ModuleType


def read_file(location: str) -> tuple[dict[str, object], list[str]]:
    """Run a configuration file and return the settings and hooks it assigns, and notices.

    ``location`` is a path, with or without ``file:`` in front, or ``python:`` and the name of a
    module. Raises ConfigError.
    """
    source = _module(location) if location.startswith("python:") else _file(location)
    names = _run(source)
    known, others = {}, []
    for name, value in names.items():
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        if name in SETTINGS or name in OTHERS or name in ARGUMENTS:
            if not callable(value) or name in ARGUMENTS or name in OTHERS or (
                    name in MAY_BE_CLASSES):
                known[name] = value
        elif callable(value):
            if not isinstance(value, type):
                _check_function(name, source.path)
        elif not name.isupper():
            others.append(name)
    if not others and "config" not in known:
        return known, []
    return _sort(known, {name: names[name] for name in others}, source)


def _file(location: str) -> _Source:
    path = location.removeprefix("file:")
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from None
    module = types.ModuleType("fastwsgi_config")
    module.__file__ = absolute(path)
    sys.modules[module.__name__] = module  # where dataclasses look for the names of annotations
    return _Source(text, path, module)


def _module(location: str) -> _Source:
    """Find a module on the import path, with the current directory in front; it runs each time."""
    import importlib.util  # seldom needed

    name = location.removeprefix("python:")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"cannot import the configuration module {name!r}: {error}") from None
    if spec is None or spec.loader is None or not spec.has_location or spec.origin is None:
        raise ConfigError(
            f"cannot import the configuration module {name!r}: there is no such module in Python "
            f"on the import path (current directory {os.getcwd()})")
    module = importlib.util.module_from_spec(spec)
    source = _file(spec.origin)
    sys.modules[name] = module
    return _Source(source.text, spec.origin, module)


def _run(source: _Source) -> Mapping[str, object]:
    path = source.path
    try:
        exec(compile(source.text, path, "exec"), vars(source.module))
    except (SyntaxError, ValueError) as error:
        if isinstance(error, SyntaxError) and error.filename in (path, None):
            raise ConfigError(f"{path}, line {error.lineno or 1}: {error.args[0]}") from None
        raise _failed(error, path) from None
    except (Exception, SystemExit) as error:
        raise _failed(error, path) from None
    return vars(source.module)


def _failed(error: BaseException, path: str) -> ConfigError:
    text = f"{path}, line {_line_in(error, path)}: {type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] == "gunicorn":
        text += ("; the file imports gunicorn, which is not installed: remove what needs it, or "
                 "install it")
    return ConfigError(text)


def _line_in(error: BaseException, path: str) -> int:
    """Return the last line of ``path`` that an exception came through."""
    line = 1
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _check_function(name: str, path: str) -> None:
    if close := _misspelt_hook(name):
        raise ConfigError(
            f"unknown hook {name!r} (from {path}); did you mean {close!r}? If it is a "
            "helper of yours, begin its name with an underscore")


def _misspelt_hook(name: str) -> str:
    """Return the hook that a function's name is a misspelling of, or the empty string.

    A name that contains a hook's and more words, such as do_post_fork, is not a misspelling.
    """
    hooks = tuple(ARGUMENTS)
    spelling = name.lower().strip("_")
    if any(f"_{hook}_" in f"_{spelling}_" and hook != spelling for hook in hooks):
        return ""
    return closest(spelling, hooks, HOOK_LIKENESS)


def closest(spelling: str, names: Iterable[str], cutoff: float) -> str:
    """Return the name that is most like the given spelling, or the empty string."""
    import difflib  # only to complain

    return "".join(difflib.get_close_matches(spelling, list(names), 1, cutoff))


def _sort(
    known: dict[str, object], others: Mapping[str, object], source: _Source,
) -> tuple[dict[str, object], list[str]]:
    """Tell settings by other spellings from helpers, and helpers from mistakes."""
    assigned, used = _assigned_and_used(source.text)
    path, idle, notices = source.path, [], []
    for name, value in others.items():
        if name in used:
            continue
        if (setting := SPELLINGS.get(name)) is not None:
            if setting not in known:
                known[name] = value
        elif name in assigned:
            if close := _misspelt_setting(name):
                raise ConfigError(
                    f"unknown setting {name!r} (from {path}); did you mean {close!r}?")
            idle.append(name)
    if idle:
        what = "is not a setting" if len(idle) == 1 else "are not settings"
        notices.append(f"{', '.join(idle)} (from {path}) {what}, and nothing in the file uses "
                       f"{'it' if len(idle) == 1 else 'them'}")
    config = known.pop("config", None)
    if config is not None and config != GUNICORN["config"].default and "config" not in used:
        notices.append(f"config (from {path}) has no effect in a configuration file: name a file "
                       "with --config")
    return known, notices


def _assigned_and_used(text: bytes) -> tuple[set[str], set[str]]:
    """Return the names that a file assigns outside of functions, and those that it reads."""
    import ast  # only for helpers

    tree = ast.parse(text)
    assigned: set[str] = set()
    waiting: list[Any] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assigned.update(part.id for target in targets for part in ast.walk(target)
                            if isinstance(part, ast.Name))
        waiting.extend(ast.iter_child_nodes(node))
    used = {node.id for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return assigned, used


def _misspelt_setting(name: str) -> str:
    """Return the setting or hook that a name is a misspelling of, or the empty string."""
    spelling = name.lower().strip("_")
    most = 0 if len(spelling) < 4 else 1 if len(spelling) < 8 else 2
    known = [*SETTINGS, *OTHERS, *ARGUMENTS, *(item for item in SPELLINGS if item not in COMMON)]
    near = [(distance(spelling, item), item) for item in dict.fromkeys(known)
            if abs(len(item) - len(spelling)) <= most]
    steps, best = min(near, default=(most + 1, ""))
    return best if steps <= most else ""


def distance(one: str, other: str) -> int:
    """Count the characters to leave out, add, replace or swap with the next, to get the other."""
    before: list[int] = []
    last: list[int] = []
    row = list(range(len(other) + 1))
    for i, character in enumerate(one, 1):
        before, last, row = last, row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (character != wanted))
            if i > 1 and j > 1 and character == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
    return row[-1]
