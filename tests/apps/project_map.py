"""scripts/map.py as a module: the tables of the wings, and what imports and includes what."""

from __future__ import annotations

import importlib.util

from apps import ROOT

spec = importlib.util.spec_from_file_location("project_map", ROOT / "scripts" / "map.py")
assert spec is not None and spec.loader is not None
project_map = importlib.util.module_from_spec(spec)
spec.loader.exec_module(project_map)
