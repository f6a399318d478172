"""Functions of the configuration file that the server calls on events.

Names and arguments are gunicorn's. Hooks get a small view of server and worker: the attributes that
hooks written for gunicorn use, and nothing that they could break.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import inspect

Hook = Callable[..., object]

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "on_starting": ("server",),
    "on_reload": ("server",),
    "when_ready": ("server",),
    "pre_fork": ("server", "worker"),
    "post_fork": ("server", "worker"),
    "post_worker_init": ("worker",),
    "worker_int": ("worker",),
    "worker_abort": ("worker",),
    "pre_request": ("worker", "req"),
    "post_request": ("worker", "req", "environ", "resp"),
    "pre_exec": ("server",),
    "child_exit": ("server", "worker"),
    "worker_exit": ("server", "worker"),
    "nworkers_changed": ("server", "new_value", "old_value"),
    "on_exit": ("server",),
    "ssl_context": ("config", "default_ssl_context_factory"),
}
"""The hooks there are, and what each is called with."""

WITHOUT_MASTER = ("on_starting", "pre_request", "post_request", "ssl_context")
"""The hooks that are called with ``workers = 0``, too."""


def check(name: str, function: Hook) -> Hook:
    """Return ``function`` if it can be called as the hook ``name``; raise ValueError otherwise.

    A post_request with fewer parameters, as gunicorn once had, gets those that it takes.
    """
    import inspect

    arguments = ARGUMENTS[name]
    try:
        taken = inspect.signature(function)
    except ValueError:  # a builtin without a signature
        return function
    if _takes(taken, arguments):
        return function
    if name == "post_request":
        for count in (3, 2):
            if _takes(taken, arguments[:count]):
                return _of_first(count, function)
    raise ValueError(f"a function of ({', '.join(arguments)}), not of {taken}")


def _takes(signature: inspect.Signature, arguments: tuple[str, ...]) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _of_first(count: int, function: Hook) -> Hook:
    """Return a function of all arguments that passes on as many of the first as it takes."""
    return lambda *arguments: function(*arguments[:count])


class Hooks:
    """The hooks of one server, by name."""

    def __init__(self, functions: Mapping[str, Hook]) -> None:
        self.functions = functions

    def __contains__(self, name: str) -> bool:
        return name in self.functions

    def call(self, name: str, *arguments: object) -> None:
        """Call a hook if there is one; what it raises is raised."""
        function = self.functions.get(name)
        if function is not None:
            function(*arguments)

    def attempt(self, log: Any, name: str, *arguments: object) -> None:
        """Call a hook if there is one; what it raises is logged, and the server goes on."""
        try:
            self.call(name, *arguments)
        except Exception as error:
            log.error("the hook %s failed", name, exc=error)


class ServerView:
    """The server as a hook sees it: gunicorn's names.

    ``cfg`` has the settings as attributes, ``log`` the methods debug, info, warning, error,
    critical and exception; ``address`` holds what the listening sockets are bound to.
    """

    def __init__(
        self, cfg: Any, log: Any, address: Iterable[Any] = (), num_workers: int = 0,
    ) -> None:
        self.cfg = cfg
        self.log = log
        self.address = list(address)
        self.num_workers = num_workers
        self.pid = os.getpid()


class WorkerView:
    """A worker as a hook sees it: gunicorn's names.

    ``age`` counts the workers of a master from 1; ``pid`` is None before the fork; ``wsgi`` is the
    application once it is loaded, in the worker.
    """

    def __init__(
        self, age: int, cfg: Any, log: Any,
        pid: int | None = None, ppid: int | None = None, wsgi: Any = None,
    ) -> None:
        self.age = age
        self.cfg = cfg
        self.log = log
        self.pid = pid
        self.ppid = ppid
        self.wsgi = wsgi
