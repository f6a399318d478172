"""Install what a task needs into the running environment, when it is not there already.

Usage: python scripts/extra.py GROUP...

GROUP is ``build`` (the build system's requirements), ``run`` (the package's own) or one of the
extras in pyproject.toml. The package itself is not installed: the tasks work in the source tree.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path


def load(path: Path) -> dict:
    """The pyproject table; Python 3.10 has no tomllib, but pip carries one."""
    try:
        import tomllib
    except ModuleNotFoundError:
        from pip._vendor import tomli as tomllib
    return tomllib.loads(path.read_text(encoding="utf-8"))


def requirements(groups: list[str]) -> list[str]:
    """The requirement strings of the groups, in order."""
    table = load(Path(__file__).parent.parent / "pyproject.toml")
    known = {
        "build": table["build-system"]["requires"],
        "run": table["project"]["dependencies"],
        **table["project"]["optional-dependencies"],
    }
    return [line for group in groups for line in known[group]]


def satisfied(line: str) -> bool:
    """Whether a fitting version is installed, or the requirement is not for this Python."""
    from pip._vendor.packaging.requirements import Requirement

    need = Requirement(line)
    if need.marker and not need.marker.evaluate():
        return True
    try:
        return need.specifier.contains(importlib.metadata.version(need.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False


def main(groups: list[str]) -> int:
    missing = [line for line in requirements(groups) if not satisfied(line)]
    if not missing:
        return 0
    print("installing", ", ".join(missing))
    return subprocess.call([sys.executable, "-m", "pip", "install", "--quiet", *missing])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
