"""``flask --app APP fastwsgi [OPTIONS]``: an entry point of Flask's commands.

All of our options can be given. With ``flask --debug`` workers restart when the code changes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
from flask.cli import ScriptInfo, pass_script_info
from flask.helpers import get_debug_flag

from fastwsgi import cli


@click.command("fastwsgi", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@pass_script_info
def command(info: ScriptInfo, options: tuple[str, ...]) -> None:
    """Serve the application with fastwsgi; its options follow."""
    words = list(options)
    if get_debug_flag() and "--preload" not in words:
        words.append("--reload")
    path = info.app_import_path
    sys.exit(cli.main([f"fastwsgi.frameworks.flask:application({path!r})", *words]))


def application(path: str | None) -> Callable[..., Any]:
    """Return the application that Flask finds by this name, or without one as Flask does."""
    found: Any = ScriptInfo(app_import_path=path).load_app()
    return found  # type: ignore[no-any-return]
