"""fastwsgi: a WSGI (PEP 3333) server for CPython.

``fastwsgi.run(app)`` serves an application from Python, ``fastwsgi MODULE:APP`` from the shell, and
``fastwsgi.testing`` inside a test. Importing the package imports neither the compiled core nor
anything else that costs time. That happens when a server starts.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":  # a copy of the package: setup.py says the same
    raise ImportError(
        "fastwsgi runs on Linux and macOS only; on Windows use waitress (pip install waitress).")

from fastwsgi._version import __version__

TYPE_CHECKING = False  # type checkers know the name; importing typing takes longer than all of this
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["__version__", "run"]


def run(app: Callable[..., Any] | str, **settings: Any) -> int:
    """Serve ``app`` until the process is asked to stop.

    ``app`` is a WSGI callable, or its name as on the command line (``"pkg.mod:app"``,
    ``"pkg.mod:make_app()"``). Every setting of ``fastwsgi --help`` is a keyword
    (``bind="127.0.0.1:8000"``, ``workers=4``, ``keepalive=75``). Environment variables and
    configuration files are not read, except the file named by ``config=``.

    With ``workers=0`` the calling thread serves, without a fork: for embedding, debugging and
    profiling. In the main thread it handles SIGTERM, SIGINT, SIGQUIT and SIGUSR1 while it runs,
    and restores the previous handlers afterwards. In any other thread it touches no signal. With
    ``workers`` of 1 or more the calling process becomes the master of as many forked workers,
    which needs the main thread.

    Returns the exit code: 0 when asked to stop, 3 when the workers did not start, 4 when the
    application did not load in them. Raises the errors of :mod:`fastwsgi.errors`: ``ConfigError``
    for a wrong setting, ``ListenError`` when an address cannot be bound, ``AppImportError`` when
    ``workers=0`` and ``app`` cannot be loaded.
    """
    from fastwsgi.config.sources import from_keywords
    from fastwsgi.server import serve

    return serve(app, from_keywords(settings))
