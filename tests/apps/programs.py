"""Programs that tests run and that are not Python's."""

from __future__ import annotations

import os


def plain_environ() -> dict[str, str]:
    """The environment without the sanitizer's library, which they do without."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
