"""Which route a request has taken, for the metrics: a name for many paths.

An application says it in ``environ["fastwsgi.route"]``. The setting ``route_label`` names other
variables of the environ, and patterns of paths with the name of each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from typing import Any

KEY = "fastwsgi.route"
"""What an application names its route by."""


def finder(labels: Sequence[str]) -> Callable[[dict[str, Any]], str] | None:
    """Return what names the route of an environ after its request; None for KEY alone.

    The first that names one decides: KEY, then the labels in their order.
    """
    if not labels:
        return None
    steps: list[tuple[str, re.Pattern[str] | None]] = [(KEY, None)]
    for label in labels:
        pattern, _, name = label.partition("=")
        if pattern.startswith("/"):
            steps.append((name, re.compile(translate(pattern))))
        else:
            steps.append((label, None))

    def find(environ: dict[str, Any]) -> str:
        path = ""
        for name, pattern in steps:
            if pattern is None:
                found = environ.get(name)
                if found:
                    return str(found)
                continue
            path = path or f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
            if pattern.match(path):
                return name
        return ""

    return find
