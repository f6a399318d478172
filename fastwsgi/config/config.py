"""The settings in effect, each with its origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fastwsgi.config.hooks import Hook, Hooks
from fastwsgi.config.table import SETTINGS
from fastwsgi.system.address import Address


class Value(NamedTuple):
    """The value of one setting and where it came from."""

    value: Any
    origin: str


class Config:
    """The effective settings: ``config.workers``; ``config.origin("workers")`` says whence.

    ``notices`` are lines an operator should see once at the start, ``hooks`` the functions of a
    configuration file that are called on events.
    """

    def __init__(
        self, found: Mapping[str, Value], notices: Iterable[str] = (),
        hooks: Mapping[str, Hook] | None = None,
    ) -> None:
        self._values = dict(found)
        self.notices = list(notices)
        self.hooks = Hooks(hooks or {})

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name].value
        except KeyError:
            raise AttributeError(name) from None

    def origin(self, name: str) -> str:
        """Say where the value of the setting ``name`` came from."""
        return self._values[name].origin

    def core(self) -> dict[str, object]:
        """Return the settings the compiled worker takes, under the names it knows."""
        return {name: self._values[name].value for name, item in SETTINGS.items() if item.core}

    def show(self) -> str:
        """Return every effective value with its origin, in the form of a configuration file."""
        pairs = [(f"{name} = {_literal(name, found.value)}", found.origin)
                 for name, found in self._values.items() if name != "config"]
        if self.config:  # a configuration file cannot name itself
            pairs.insert(1, (f"# config = {self.config!r}", self.origin("config")))
        width = min(48, max(len(assignment) for assignment, _ in pairs))
        return "".join(f"{assignment:<{width}}  # {origin}\n" for assignment, origin in pairs)


def _literal(name: str, value: object) -> str:
    """Write a value as Python that ``-c`` reads back."""
    if name == "umask" and isinstance(value, int):
        return f"0o{value:03o}"
    if isinstance(value, tuple):
        return repr([str(item) if isinstance(item, Address) else item for item in value])
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return repr(value)
