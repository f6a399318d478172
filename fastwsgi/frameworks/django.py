"""``manage.py runfastwsgi [ADDRPORT] [OPTIONS]``: runserver's usage, and all of our options.

The project's WSGI application is served. While DEBUG is on, static files are served too, if
``django.contrib.staticfiles`` is installed, and workers restart when the code changes.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from fastwsgi import cli

try:
    BaseCommand: Any = importlib.import_module("django.core.management.base").BaseCommand
except ImportError:  # nobody asks for the command then
    BaseCommand = object

ADDRESS = re.compile(r"(?:(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\]):)?(?P<port>\d{1,5})")
"""How runserver has its address: PORT or HOST:PORT."""

OWN = ("--noreload", "--nostatic", "--insecure")


class Command(BaseCommand):  # type: ignore[misc]
    """Serve the project with fastwsgi."""

    help = "Serves the project with fastwsgi; takes the options of fastwsgi, too."
    requires_system_checks: tuple[str, ...] = ()

    def run_from_argv(self, argv: Sequence[str]) -> None:
        """Take the command line of manage.py; the exit code is that of the server."""
        sys.exit(cli.main(command_line(argv[2:])))

    def handle(self, *words: str, **_options: Any) -> None:
        """Serve, for ``call_command("runfastwsgi", "8001", "--noreload")``."""
        cli.main(command_line(words))

    def add_arguments(self, parser: Any) -> None:
        """Take any words, for ``call_command``."""
        parser.add_argument("words", nargs="*")


def command_line(words: Sequence[str]) -> list[str]:
    """Return the command line of fastwsgi for one of ``manage.py runfastwsgi``."""
    settings = importlib.import_module("django.conf").settings
    own = {word for word in words if word in OWN}
    rest = [word for word in words if word not in OWN]
    if rest and (found := ADDRESS.fullmatch(rest[0])):
        host = {None: "127.0.0.1", "0": "0.0.0.0"}.get(found["host"], found["host"])
        rest[:1] = ["--bind", f"{host}:{found['port']}"]
    development = bool(settings.DEBUG)
    if development and "--noreload" not in own and "--preload" not in rest:
        rest.append("--reload")
    static = "--nostatic" not in own and (development or "--insecure" in own) and (
        "django.contrib.staticfiles" in settings.INSTALLED_APPS)
    return [f"fastwsgi.frameworks.django:application({static})", *rest]


def application(static: bool) -> Callable[..., Any]:
    """Return the application that WSGI_APPLICATION names, with static files if they are wanted."""
    basehttp = importlib.import_module("django.core.servers.basehttp")
    found: Callable[..., Any] = basehttp.get_internal_wsgi_application()
    if not static:
        return found
    handlers = importlib.import_module("django.contrib.staticfiles.handlers")
    wrapped: Callable[..., Any] = handlers.StaticFilesHandler(found)
    return wrapped
