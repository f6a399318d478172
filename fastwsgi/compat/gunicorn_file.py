"""A gunicorn.conf.py made ours: the same file, with only that changed which is not understood.

The file is parsed and never run. What is computed stays computed; what would have no effect or be
refused becomes a comment that says why.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from fastwsgi.compat.draft import readable
from fastwsgi.config.gunicorn import GUNICORN, OTHERS
from fastwsgi.config.table import SETTINGS
from fastwsgi.errors import ConfigError

UNKNOWN = object()
"""The value of an expression that only running the file would tell."""


def rewritten(text: str, path: str) -> str:
    """Return the text of the configuration file for this server."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{path}, line {getattr(error, 'lineno', None) or 1}: "
                          f"{error.args[0] if error.args else error}") from None
    lines = re.split(r"\r\n|\r|\n", text.rstrip("\r\n"))  # as Python counts them
    edits = _edits(tree, _values(tree))
    notes = [note for _, _, note in edits if note]
    for node, nested, note in sorted(edits, key=lambda edit: -edit[0].lineno):
        start = min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", []))])
        end = node.end_lineno or start
        indent = " " * node.col_offset
        out = [f"{indent}# {line[node.col_offset:]}".rstrip() for line in lines[start - 1:end]]
        if nested:
            out.append(f"{indent}pass")
        lines[start - 1:end] = [f"{indent}# {readable(note)}", *out]
    head = [f"# fastwsgi.conf.py, made by fastwsgi migrate from {readable(path)}"]
    head += ([f"# {len(notes)} of its lines have been made comments, each with its reason."]
             if notes else ["# It is understood as it is: fastwsgi -c FILE reads it, too."])
    head += [f"# To be looked at: {item}" for item in _open_questions(tree, _values(tree))]
    return "\n".join([*head, "", *lines]) + "\n"


def _values(tree: ast.Module) -> dict[str, Any]:
    """Return the names that the file assigns once, at its top, with their values if they are
    written out."""
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found[node.id] = UNKNOWN if node.id in found else None
    single = {name for name, value in found.items() if value is None}
    values: dict[str, Any] = dict.fromkeys(found, UNKNOWN)
    for node in tree.body:
        for name, value in _assigned(node):
            if name in single:
                values[name] = _literal(value, values)
    return values


def _assigned(node: ast.AST) -> list[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        return [(target.id, node.value) for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
        return [(node.target.id, node.value)]
    return []


def _literal(node: ast.expr, values: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return values.get(node.id, UNKNOWN)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return UNKNOWN


def _edits(tree: ast.Module, values: dict[str, Any]) -> list[tuple[Any, bool, str]]:
    """Return the statements to make comments: each with whether it stands in a block, and why."""
    found: list[tuple[Any, bool, str]] = []
    waiting: list[tuple[ast.AST, bool]] = [(node, False) for node in tree.body]
    while waiting:
        node, nested = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if node.name in OTHERS:
                found.append((node, nested, f"{node.name} is not supported: "
                                            f"{GUNICORN[node.name].text}"))
            continue
        pairs = _assigned(node)
        reasons = [reason for name, value in pairs
                   if (reason := _reason(name, _literal(value, values)))]
        if reasons and len(pairs) == 1 and not _read(tree, pairs[0][0]):
            found.append((node, nested, reasons[0]))
        waiting.extend((child, True) for child in ast.iter_child_nodes(node)
                       if isinstance(child, (ast.stmt, ast.ExceptHandler)))
    return found


def _read(tree: ast.Module, name: str) -> bool:
    """Whether the file uses the name: then its assignment has to stay."""
    return any(isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
               for node in ast.walk(tree))


def _reason(name: str, value: Any) -> str:
    """Return why a setting cannot stay, or the empty string."""
    if name in OTHERS:
        item = GUNICORN[name]
        if value is not UNKNOWN and _is_default(name, value):
            return ""
        return f"{name} {'is not supported' if item.refused else 'has no effect'}: {item.text}"
    if name == "worker_class" and value is not UNKNOWN:
        try:
            kind = SETTINGS[name].read(value)
        except ValueError as error:
            return f"worker_class must be {error}"
        return "there is one kind of worker" if kind else ""
    if name in SETTINGS and name not in ("chdir", "user", "group") and value not in (UNKNOWN, None):
        try:
            SETTINGS[name].read(value)
        except ValueError as error:
            return f"{name} must be {error}"
    return ""


def _is_default(name: str, value: Any) -> bool:
    try:
        item = OTHERS[name]
        return value is None or bool(item.read(value) == item.read(item.default))
    except ValueError:
        return False


def _open_questions(tree: ast.Module, values: dict[str, Any]) -> list[str]:
    """Return what reading alone cannot decide."""
    found = []
    names = {name for node in ast.walk(tree) for name, _ in _assigned(node)}
    if "worker_class" in names and values.get("worker_class") is UNKNOWN:
        found.append("worker_class is computed; sync and gthread are accepted, others are refused "
                     "at the start")
    for node in ast.walk(tree):
        modules = ([alias.name for alias in node.names] if isinstance(node, ast.Import)
                   else [str(node.module)] if isinstance(node, ast.ImportFrom) else [])
        if any(module.partition(".")[0] == "gunicorn" for module in modules):
            found.append(f"line {getattr(node, 'lineno', 0)} imports gunicorn, which has to stay "
                         "installed then")
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            found.append(f"the settings of {node.module} are not looked at")
    return found
