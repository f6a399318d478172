"""What the tests share: a directory for applications, and the command as an operator runs it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apps.ahead import cores
from apps.faults import compiled
from apps.held import Held

from fastwsgi import testing
from fastwsgi.config.table import SETTINGS

LONGEST = (
    "test_injection",
    "test_hang",
    "test_budgets",
    "test_request_timeout",
    "test_siblings",
    "test_conformance",
    "test_model",
    "test_c_units",
    "test_master",
)
"""Files that take longest, which begin first: whoever comes to one last is waited for by all."""
PACKAGES = "test_packaging"


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: tests wait for servers about a third of their time."""
    return cores() + 1


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Build packages where that is asked for by name, as the gate and `make dist-test` do."""
    named = any(PACKAGES in argument for argument in config.args)
    return True if collection_path.stem == PACKAGES and not named else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the order is otherwise as it was."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


def pytest_collection_finish() -> None:
    """Leave the tests, more than ten thousand, out of every garbage collection from here on."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    """Keep the settings of whoever runs the suite out of the servers it starts."""
    names = {"PORT", "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS",
             *(setting.variable for setting in SETTINGS.values())}
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    yield
    os.environ.update(before)


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """Write files into an empty directory: ``project(hello_py="...", "conf.toml"=...)``."""

    def write(files: dict[str, str] | None = None, **modules: str) -> Path:
        for name, text in {**(files or {}), **{f"{n}.py": t for n, t in modules.items()}}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def without(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Make the environment of a server that does not find an installed library."""

    def hide(library: str) -> dict[str, str]:
        place = tmp_path / "hide"
        place.mkdir()
        (place / "sitecustomize.py").write_text(f"import sys; sys.modules[{library!r}] = None")
        before = testing.environment({}).get("PYTHONPATH", "")
        return {"PYTHONPATH": os.pathsep.join(filter(None, (str(place), before)))}

    return hide


@pytest.fixture
def held() -> Held:
    """An application whose calls the test lets go."""
    return Held()


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python -m fastwsgi ARGS...`` to its end in the test's directory."""

    def run(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fastwsgi", *args],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            env=testing.environment(env or {}),
        )

    return run


@pytest.fixture(scope="session")
def shims(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """The compiled shim of apps/faults.py, without and with its hold on memory."""
    return compiled(tmp_path_factory.mktemp("shim"))
