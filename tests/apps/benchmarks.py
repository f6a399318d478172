"""Importing this makes `bench` importable, without the tree's root on sys.path: there it would hide
an installed fastwsgi.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

PLACE = Path(__file__).resolve().parent.parent.parent / "bench"

if "bench" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "bench", PLACE / "__init__.py", submodule_search_locations=[str(PLACE)]
    )
    assert spec is not None and spec.loader is not None
    sys.modules["bench"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["bench"])
