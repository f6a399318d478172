"""What ps(1) shows of our processes, set by the setproctitle library when it is installed."""

from __future__ import annotations

import importlib
from typing import Any

try:
    _library: Any = importlib.import_module("setproctitle")
except ImportError:
    _library = None

INSTALLED = _library is not None


def set_title(role: str, name: str) -> None:
    """Show this process as ``fastwsgi: ROLE [NAME]``; nothing happens without the library."""
    if _library is not None:
        _library.setproctitle(f"fastwsgi: {role} [{name}]" if name else f"fastwsgi: {role}")
