"""The direction of imports, what a start does without, the border to C, and the size of files."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fastwsgi"

# Each file, and the rooms of ours it may enter. Down only: cli -> server -> master -> process ->
# the rest.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "_version": set(),
    "access_format": set(),
    "access": {"access_format", "errors", "paths"},
    "config_values": {"access_format"},
    "config": {"access_format", "config_values"},  # the table and its kinds of values are one room
    "config_check": {"config", "errors", "hooks", "reloader"},
    "config_sources": {"config", "config_check", "config_values", "errors", "hooks"},
    "hooks": set(),
    "lifeline": set(),
    "signals": set(),
    "systemd": set(),
    "recycle": {"config_sources"},
    "request_hooks": {"hooks", "_core"},
    "surroundings": {"config_sources", "errors", "loader"},
    "reloader": set(),
    "masking": set(),
    "scoreboard": {"masking"},
    "overdue": {"errors", "recycle", "scoreboard", "_core"},
    "stuck": {"children", "logs", "masking", "overdue", "scoreboard"},
    "pulse": {"children", "logs", "scoreboard", "systemd"},
    "titles": set(),
    "warmup": {"errors"},
    "logs": {"errors", "paths", "pipes"},
    "loader": {"errors"},
    "paths": set(),
    "pidfile": {"errors", "paths"},
    "pipes": set(),
    "sockets": {"config_values", "errors", "paths"},
    "strict_rules": set(),
    "strict_report": {"masking", "strict_rules"},
    "strict_head": {"masking"},
    "strict_environ": {"masking", "strict_report"},
    "strict_exchange": {"strict_environ", "strict_head", "strict_report"},
    "strict": {"strict_environ", "strict_exchange", "strict_report", "_core"},
    "process": {"_version", "access", "config_sources", "errors", "hooks", "lifeline", "loader",
                "logs", "masking", "overdue", "pipes", "recycle", "reloader", "request_hooks",
                "scoreboard",
                "sockets", "strict", "surroundings", "titles", "warmup", "_core"},
    "children": {"hooks", "process", "scoreboard"},
    "forkserver": {"children", "errors", "hooks", "lifeline", "loader", "process", "scoreboard",
                   "titles"},
    "upgrade": {"errors", "logs", "pidfile", "sockets"},
    "daemon": set(),
    "crew": {"children", "forkserver", "hooks", "process", "scoreboard"},
    "master": {"access", "children", "config_sources", "crew", "errors", "hooks", "loader", "logs",
               "process", "pulse", "reloader", "signals", "sockets", "stuck", "surroundings",
               "systemd", "titles", "upgrade"},
    "server": {"_version", "access", "config_sources", "daemon", "errors", "hooks", "loader",
               "logs", "master", "pidfile", "process", "recycle", "sockets",
               "surroundings", "systemd", "titles", "upgrade"},
    "cli": {"_version", "config", "config_sources", "errors", "loader", "process", "server",
            "surroundings", "upgrade"},
    "testing": {"access", "config_sources", "errors", "logs", "process", "server", "sockets",
                "_core"},
    "__main__": {"cli"},
    "__init__": {"_version", "config_sources", "server"},
}

SOURCES = {
    path.relative_to(ROOT).as_posix(): path
    for folder in ("fastwsgi", "csrc", "tests", "scripts", "bench")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".pyx", ".pxd", ".pyi", ".c", ".h"}
    and not (folder == "fastwsgi" and path.suffix == ".c")  # what Cython generated
    and path.parent.name != "cases"  # the conformance suite's data
}


def rooms_entered(path: Path) -> set[str]:
    """The rooms of ours that a Python file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            base = str(node.module)
            names = ([f"fastwsgi.{alias.name}" for alias in node.names]
                     if base == "fastwsgi" else [base])
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("fastwsgi.")}
    return found


def test_every_python_file_has_its_place_in_the_order() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == set(ALLOWED)


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_go_down_only(room: str) -> None:
    assert rooms_entered(PACKAGE / f"{room}.py") <= ALLOWED[room]


def test_the_order_has_no_circles() -> None:
    done = {"_core"}
    while remaining := set(ALLOWED) - done:
        free = {room for room in remaining if ALLOWED[room] <= done}
        assert free, f"a circle among {sorted(remaining)}"
        done |= free


def test_the_core_imports_no_python_module_of_ours() -> None:
    pattern = re.compile(r"^\s*(?:from|c?import)\s+fastwsgi(?!\._core\b)", re.MULTILINE)
    sources = [path for path in (PACKAGE / "_core").glob("*") if path.suffix in {".pyx", ".pxd"}]
    assert sources
    assert [path.name for path in sources if pattern.search(path.read_text("utf-8"))] == []


def test_importing_the_package_imports_nothing_else() -> None:
    code = ("import sys; before = set(sys.modules); import fastwsgi; "
            "print(*sorted(set(sys.modules) - before - {'__future__'}))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["fastwsgi", "fastwsgi._version"]


def brought_by(*modules: str) -> set[str]:
    """What these import by themselves: Python 3.14's logging has inspect, dataclasses and ast."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_plain_start_does_without_what_only_some_starts_need(tmp_path: Path) -> None:
    """Each of these takes as long to import as many of our rooms together."""
    (tmp_path / "listing.py").write_text(
        "import sys\nprint(*sys.modules, flush=True)\nraise RuntimeError('seen enough')\n")
    settings = ("FASTWSGI_", "PORT", "WEB_CONCURRENCY")  # a name of ours that is none is looked up
    env = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    done = subprocess.run(
        [sys.executable, "-m", "fastwsgi", "listing:app", "--bind", "127.0.0.1:0"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4, done.stderr
    imported = set(done.stdout.split()) - brought_by("argparse", "logging")
    assert "fastwsgi._core.worker" in imported
    assert imported & {
        "ast", "asyncio", "dataclasses", "difflib", "importlib.metadata", "inspect", "json",
        "random", "shutil", "subprocess", "tempfile", "tomllib", "urllib.request"} == set()


def test_the_demo_needs_nothing_of_the_server() -> None:
    entered = set().union(*(rooms_entered(path) for path in (PACKAGE / "demo").rglob("*.py")))
    assert entered <= {"demo", "_version"}


def test_c_knows_no_python() -> None:
    sources = [path for name, path in SOURCES.items() if name.startswith("csrc/")]
    assert sources
    assert [path.name for path in sources if re.search(r"#\s*include\s*[<\"]Python\.h",
                                                       path.read_text("utf-8"))] == []


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_file_past_500_lines_says_why_in_its_first_comment(name: str) -> None:
    lines = SOURCES[name].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 500 or "more than 500 lines" in " ".join(lines[:20])
