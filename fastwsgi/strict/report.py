"""The reports of ``strict_wsgi``: once per rule and source line, and how that line is found.

The rule: a misuse that was reported costs one look-up in a dict from then on, so a staging server
can meet it in every request. Its count is reported at 10, 100, ... and at the end. A framework's
line stands for many faults of its users, so a report also counts as new when it is about another
header or variable. Source lines come from frames if there are any, otherwise from the code of
generators and callables.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import reprlib
import string
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FrameType, FunctionType, GeneratorType
from typing import Any, NamedTuple

from fastwsgi.logs.masking import Masked, mask_secrets
from fastwsgi.strict.rules import RULES

Log = Callable[[int, str, "BaseException | None"], None]
"""The log's face to the checker: level of the logging module, message, exception or None."""

MOST_PLACES = 1000
"""Kinds of reports that are told in one process; more are only counted, so memory is bounded."""
MOST_SUMMED_UP = 50

OURS = frozenset((
    "fastwsgi.strict.checker", "fastwsgi.strict.environ", "fastwsgi.strict.exchange", __name__))
_entrances: set[CodeType] = set()


def entrance(function: Any) -> Any:
    """Mark a function that calls the application: the search for a caller ends there."""
    _entrances.add(function.__code__)
    return function


class Place(NamedTuple):
    """A source line and what happened there: ``how`` is "called at" or the like."""

    how: str
    file: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.how} {self.file}:{self.line} in {self.name}" if self.file else self.how


NOWHERE = Place("source line unknown", "", 0, "")


def _name(code: CodeType) -> str:
    return getattr(code, "co_qualname", code.co_name)  # co_qualname: Python 3.11


def calling_frame() -> FrameType | None:
    """Return the application's frame that called into the checker; None if it is compiled."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in OURS:
        if frame.f_code in _entrances:
            return None
        frame = frame.f_back
    return frame


def caller() -> Place | None:
    """Return the line that calls into the checker right now; None if the caller is compiled."""
    frame = calling_frame()
    if frame is None:
        return None
    return Place("called at", frame.f_code.co_filename, frame.f_lineno, _name(frame.f_code))


Spot = tuple[CodeType, int]
"""A piece of code and the offset in it, which become a line when one is wanted."""


def spot() -> Spot | None:
    """Return where the checker is called from now, at a fraction of ``caller``'s cost."""
    frame = calling_frame()
    return None if frame is None else (frame.f_code, frame.f_lasti)


def of_spot(how: str, found: Spot | None) -> Place:
    """Return the line of a spot."""
    if found is None:
        return NOWHERE
    code, offset = found
    lines = [line for start, end, line in code.co_lines() if start <= offset < end]
    line = lines[0] if lines and lines[0] is not None else code.co_firstlineno
    return Place(how, code.co_filename, line, _name(code))


def of_code(how: str, code: CodeType) -> Place:
    """Return where a piece of code begins."""
    return Place(how, code.co_filename, code.co_firstlineno, _name(code))


def of_callable(application: Any) -> Place:
    """Return where a function, method, class or instance with ``__call__`` is defined."""
    with contextlib.suppress(Exception):  # attributes of an application may do anything
        return _of_callable(application)
    return NOWHERE


def _of_callable(application: Any) -> Place:
    for _ in range(8):  # wrappers around wrappers
        if isinstance(application, functools.partial):
            application = application.func
        elif hasattr(application, "__wrapped__"):
            application = application.__wrapped__
        else:
            break
    if isinstance(application, type):
        tried = (getattr(application, "__init__", None), getattr(application, "__iter__", None))
    else:
        tried = (application, type(application).__call__)
    for function in tried:
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if isinstance(code, CodeType):
            return of_code("application defined at", code)
    return NOWHERE


def of_object(found: Any) -> Place | None:
    """Return where the class of a stream's replacement is defined, or a function that it holds."""
    with contextlib.suppress(Exception):
        for holder in (type(found), found):
            for name in ("__init__", "read", "readline", "write", "flush"):
                function = getattr(holder, name, None)
                code = getattr(getattr(function, "__func__", function), "__code__", None)
                if isinstance(code, CodeType):
                    return of_code("the object's class is defined at", code)
    return None


def of_assignment(key: str, found: Any) -> Place | None:
    """Return the line ``environ[key] = ...`` that has put an object of a class there.

    An assignment to a dict cannot be observed, so it is searched afterwards: in the module of the
    class, in code that also names the class. Middleware and its stream are mostly in one module.
    """
    with contextlib.suppress(Exception):
        kind = type(found)
        module = sys.modules[kind.__module__]
        for code in _codes_of(module, 0):
            if key in code.co_consts and kind.__name__ in (
                    *code.co_names, *code.co_freevars, *code.co_varnames, *code.co_cellvars):
                line = _line_of_assignment(key, code)
                if line is not None:
                    return Place("replaced at", code.co_filename, line, _name(code))
    return None


def _codes_of(holder: Any, depth: int) -> Iterator[CodeType]:
    """Yield the code of a module's functions and methods, and of what is defined inside them."""
    if isinstance(holder, CodeType):
        yield holder
        for constant in holder.co_consts:
            if isinstance(constant, CodeType):
                yield from _codes_of(constant, depth)
        return
    for value in tuple(vars(holder).values()):
        function = getattr(value, "__func__", value)  # a static method or one of a class
        if isinstance(function, FunctionType):
            yield from _codes_of(function.__code__, depth)
        elif isinstance(value, type) and depth == 0 and value.__module__ == holder.__name__:
            yield from _codes_of(value, depth + 1)


def _line_of_assignment(key: str, code: CodeType) -> int | None:
    """Return the line of ``x[key] = y`` in a piece of code."""
    import dis  # only needed here, and once per incomplete stream

    line: int | None = None
    before: object = None
    for step in dis.get_instructions(code):
        line = getattr(step, "line_number", step.starts_line) or line  # line_number: Python 3.13
        if step.opname == "STORE_SUBSCR" and before == key:
            return line
        if step.opname not in ("CACHE", "EXTENDED_ARG"):
            before = step.argval
    return None


def of_iterator(iterator: Any) -> Place | None:
    """Return the line that yielded last: a generator's own, else where ``__next__`` is defined."""
    if isinstance(iterator, GeneratorType):
        frame = iterator.gi_frame
        code = iterator.gi_code
        if frame is None:
            return of_code("generator defined at", code)
        return Place("yielded at", code.co_filename, frame.f_lineno, _name(code))
    code_of_next = getattr(getattr(type(iterator), "__next__", None), "__code__", None)
    if isinstance(code_of_next, CodeType):
        return of_code("yielded by", code_of_next)
    return None


_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 100


class _Formatter(string.Formatter):
    """``{x!r}`` cut to a readable length; ``{x!t}`` the name of the type."""

    def convert_field(self, value: Any, conversion: Any) -> Any:
        if conversion == "r":
            return _brief.repr(value)
        if conversion == "t":
            if isinstance(value, Masked):
                return value.kind
            return "None" if value is None else type(value).__name__
        return super().convert_field(value, conversion)


_formatter = _Formatter()


def arguments(args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
    """Describe the arguments of a call by their types, for a report."""
    given = ["None" if value is None else type(value).__name__ for value in args]
    given += [f"{name}={type(value).__name__}" for name, value in kwargs.items()]
    return f"({', '.join(given)})"


_Key = tuple[str, str, int, str]
"""Rule, file, line, and the header, variable or attribute that it is about."""


class Reports:
    """What one process has reported. Thread-safe."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._counts: dict[_Key, int] = {}
        self._lock = threading.RLock()  # garbage collection inside may end a body and report it
        self._untold = 0

    def add(
        self, name: str, place: Place, request: tuple[object, object] | None,
        facts: Mapping[str, object],
    ) -> None:
        """Count a report of the rule ``name``, and write it if it is new.

        ``request`` is its method and target, if known. Never raises: whatever an application's
        objects do when they are described, its response continues.
        """
        about = facts.get("name", facts.get("key"))
        key = (name, place.file, place.line, about if type(about) is str else "")
        with self._lock:
            count = self._counts.get(key, 0) + 1
            if count == 1 and len(self._counts) >= MOST_PLACES:
                self._untold += 1
                return
            self._counts[key] = count
        rule = RULES[name]
        if count > 1:
            if str(count).strip("0") == "1":  # 10, 100, 1000, ...
                self._say(rule.level, f"strict WSGI: {count} times by now: {_labelled(key)}")
            return
        try:
            text = _formatter.vformat(rule.text, (), facts)
            subject = mask_secrets("; {} {}".format(*request)) if request else ""
        except Exception as error:  # a __repr__ or __format__ of the application's
            text = f"{rule.text} ({type(error).__name__} while describing it)"
            subject = ""
        self._say(
            rule.level,
            f"strict WSGI: {text} [{name}; {rule.clause}], {place}{ascii(subject)[1:-1]}")

    def summary(self) -> None:
        """Write the counts; for the end of the process."""
        with self._lock:
            counts = sorted(self._counts.items(), key=lambda item: -item[1])
            untold = self._untold
        if not counts:
            self._say(logging.INFO, "strict WSGI: nothing to report")
            return
        told = "; ".join(f"{_labelled(key)} {_times(n)}" for key, n in counts[:MOST_SUMMED_UP])
        rest = len(counts) - MOST_SUMMED_UP
        told += f"; and {rest} more" if rest > 0 else ""
        told += f"; and {untold} reports of further kinds" if untold else ""
        self._say(logging.WARNING, f"strict WSGI, in all: {told}")

    def _say(self, level: int, message: str) -> None:
        with contextlib.suppress(Exception):  # a log that fails must not fail the request
            self._log(level, message, None)


def _labelled(key: _Key) -> str:
    name, file, line, about = key
    label = f"{name} ({ascii(about)[1:-1]})" if about else name
    return f"{label} at {file}:{line}" if file else label


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
