"""From the name of an application to the WSGI callable.

``pkg.mod:attr``, ``pkg.mod:attr.attr``, ``pkg.mod`` (the attribute is ``application``) and
``pkg.mod:factory()`` with literal arguments. The rule: a wrong name is one clear line, and only an
exception out of the application's own code comes with a traceback (as the ``__cause__``).
"""

from __future__ import annotations

import _thread
import importlib
import os
import sys
from collections.abc import Callable
from keyword import iskeyword
from types import TracebackType
from typing import Any

from fastwsgi.errors import AppImportError

Application = Callable[..., Any]


def load(target: Application | str) -> Application:
    """Return the WSGI callable that ``target`` is or names; raise AppImportError otherwise."""
    try:
        found = _load(target)
    except AppImportError:
        _refuse_greenlets()  # then the import fails, too: its lock is held by a thread that is gone
        raise
    _refuse_greenlets()
    return found


def _refuse_greenlets() -> None:
    """Raise AppImportError if the system's threads have been replaced by greenlets.

    The server's threads wait in the core, where no other greenlet of the same thread can run, and
    another thread has to notice a timeout.
    """
    library = str(getattr(_thread.start_new_thread, "__module__", "")).partition(".")[0]
    call = {"gevent": "gevent.monkey.patch_all(thread=False)",
            "eventlet": "eventlet.monkey_patch(thread=False)"}.get(library)
    if call is None:  # the interpreter's, or a wrapper of it: a debugger's, a profiler's
        return
    raise AppImportError(
        f"the application has replaced Python's threads ({library}), and the server needs real "
        f"threads: use {call}, or omit the patch and set --threads to the number of requests that "
        "may wait at the same time") from None


def _load(target: Application | str) -> Application:
    if not isinstance(target, str):
        return _checked(target, "the object passed to fastwsgi")
    module_name, _, expression = target.partition(":")
    names, call = _parse(expression or "application", target)
    if not module_name or not all(part.isidentifier() for part in module_name.split(".")):
        raise AppImportError(_bad_module(module_name, target))
    module = _import(module_name, target)
    found: Any = module
    for name in names:
        found = _attribute(found, name, module_name, target)
    if call is None:
        return _checked(found, repr(target), found_in=module)
    if not callable(found):
        raise AppImportError(f"cannot call {target!r}: {_kind(found)} is not callable")
    arguments, keywords = call
    try:
        made = found(*arguments, **keywords)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise AppImportError(f"cannot call {target!r}: {error}") from None
        raise _failed(f"the application factory {target!r} failed", error) from error
    except AppImportError:  # a factory of this package's own, which says it all
        raise
    except (Exception, SystemExit) as error:
        raise _failed(f"the application factory {target!r} failed", error) from error
    return _checked(made, f"what {target!r} returned")


def _parse(
    expression: str, target: str,
) -> tuple[list[str], tuple[list[Any], dict[str, Any]] | None]:
    """Split ``a.b`` or ``a.b(1, x="y")`` into its names and the arguments of the call, if any."""
    wrong = (f"{target!r} is not MODULE:APP: the colon is followed by a name, or by the call of a "
             "factory with literal arguments, such as make_app()")
    names = expression.strip().split(".")
    if all(name.isascii() and name.isidentifier() and not iskeyword(name) for name in names):
        return names, None
    import ast  # only needed for calls

    try:
        node = ast.parse(expression.strip(), mode="eval").body
        call = None
        if isinstance(node, ast.Call):
            positional = [ast.literal_eval(item) for item in node.args]
            keywords = {item.arg: ast.literal_eval(item.value) for item in node.keywords}
            if None in keywords:
                raise AppImportError(wrong)
            call = positional, {str(name): value for name, value in keywords.items()}
            node = node.func
        names = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
    except (SyntaxError, ValueError):
        raise AppImportError(wrong) from None
    if not isinstance(node, ast.Name):
        raise AppImportError(wrong)
    return [node.id, *reversed(names)], call


def _bad_module(name: str, target: str) -> str:
    text = f"{target!r} is not MODULE:APP: {name!r} is not the name of a module"
    if name.endswith(".py") or os.sep in name:
        dotted = name.removesuffix(".py").removeprefix("./").strip(os.sep).replace(os.sep, ".")
        text += f"; did you mean {dotted}:{target.partition(':')[2] or 'app'}?"
    return text


def _import(name: str, target: str) -> Any:
    """Import a module; a missing module is the operator's error, any other is the module's."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == name and name.endswith(".py"):
            raise AppImportError(_bad_module(name, target)) from None
        if missing == name or name.startswith(f"{missing}."):
            where = "a module" if missing == name else f"{missing!r}, a part of it,"
            raise AppImportError(
                f"cannot import {name!r}: there is no {where.removeprefix('a ')} on the import "
                f"path (current directory {os.getcwd()})") from None
        raise _failed(f"importing the application module {name!r} failed", error) from error
    except (Exception, SystemExit) as error:
        raise _failed(f"importing the application module {name!r} failed", error) from error


def _attribute(owner: Any, name: str, module_name: str, target: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        pass
    text = f"cannot find {target!r}: {_kind(owner)} has no attribute {name!r}"
    if getattr(owner, "__name__", None) == module_name:
        text = f"module {module_name!r} has no attribute {name!r}"
        text += _hint(owner, name)
    raise AppImportError(text)


def _hint(owner: Any, name: str) -> str:
    """Suggest a name in a module: one spelled alike, otherwise a common one that exists."""
    import difflib  # only to complain

    names = [item for item in dir(owner) if not item.startswith("_")]
    close = difflib.get_close_matches(name, names, 1)
    usual = [item for item in ("app", "application", "wsgi", "create_app", "make_app")
             if item in names and callable(getattr(owner, item, None))]
    found = (close or usual)[:1]
    if not found:
        return ""
    makes = found[0] in ("create_app", "make_app") and not name.endswith("_app")
    call = "()" if makes else ""
    return f"; did you mean {owner.__name__}:{found[0]}{call}?"


def _checked(found: Any, label: str, found_in: Any = None) -> Application:
    if callable(found):
        return found  # type: ignore[no-any-return]
    text = f"{label} is not a WSGI application: {_kind(found)} is not callable"
    if found_in is not None and found is found_in:
        text += "; name the application in it after a colon"
    raise AppImportError(text)


def _kind(found: Any) -> str:
    if type(found).__name__ == "module":
        return f"the module {found.__name__!r}"
    name = type(found).__name__
    return "None" if found is None else f"an object of type {name!r}"


def _failed(text: str, error: BaseException) -> AppImportError:
    """Describe an exception of the application's own, its traceback cut to its own frames."""
    error.__traceback__ = _own_frames(error.__traceback__)
    return AppImportError(f"{text}: {type(error).__name__}: {error}")


def _own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Drop the leading frames that are ours or the import system's."""
    ours = (__file__, importlib.__file__)
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name not in ours and not name.startswith("<frozen importlib"):
            break
        trace = trace.tb_next
    return trace


def prefer_directory(path: str) -> None:
    """Put a directory at the front of the import path, once."""
    if path in sys.path:
        sys.path.remove(path)
    sys.path.insert(0, path)
