"""What ps(1) shows of our processes, set by the setproctitle library when it is installed.

The library writes over the memory of the command line and, when that is short, over that of the
environment, to which C libraries may hold pointers. So it is told to leave the environment alone,
and a title longer than the command line is cut.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

KEEP_ENVIRONMENT = "SPT_NOENV"
"""The variable with which the library is told so; it is read at its first title."""

try:
    _library: Any = importlib.import_module("setproctitle")
except ImportError:
    _library = None

INSTALLED = _library is not None


def set_title(role: str, name: str) -> None:
    """Show this process as ``fastwsgi: ROLE [NAME]``; nothing happens without the library."""
    if _library is None:
        return
    before = os.environ.get(KEEP_ENVIRONMENT)
    os.environ[KEEP_ENVIRONMENT] = "1"
    try:
        _library.setproctitle(f"fastwsgi: {role} [{name}]" if name else f"fastwsgi: {role}")
    finally:
        if before is None:
            del os.environ[KEEP_ENVIRONMENT]
        else:
            os.environ[KEEP_ENVIRONMENT] = before
