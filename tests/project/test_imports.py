"""The direction of imports, what a start does without, the border to C, and the size of files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from apps import ROOT
from apps.project_map import project_map

PACKAGE = ROOT / "fastwsgi"

SOURCES = {
    path.relative_to(ROOT).as_posix(): path
    for folder in ("fastwsgi", "csrc", "tests", "scripts", "bench")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".pyx", ".pxi", ".pxd", ".pyi", ".c", ".h"}
    and not (folder == "fastwsgi" and path.suffix == ".c")  # what Cython generated
    and path.parent.name != "cases"  # the conformance suite's data
}


def test_every_python_file_is_in_a_wing() -> None:
    assert {project_map.wing(room) for room in project_map.ROOMS} == set(project_map.WINGS)


def test_imports_go_down_only_and_not_in_circles() -> None:
    assert project_map.complaints_about_python() == []


def test_includes_go_down_only_and_not_in_circles() -> None:
    assert project_map.complaints_about_c() == []


def test_a_circle_is_found() -> None:
    assert project_map.circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert project_map.circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_the_core_imports_no_python_module_of_ours() -> None:
    pattern = re.compile(r"^\s*(?:from|c?import)\s+fastwsgi(?!\._core\b)", re.MULTILINE)
    sources = sorted((PACKAGE / "_core").glob("*.p[yx][xid]"))
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
    assert "fastwsgi._core.core" in imported
    assert imported & {
        "ast", "asyncio", "dataclasses", "difflib", "importlib.metadata", "inspect", "json",
        "pathlib", "random", "shutil", "subprocess", "tempfile", "tomllib", "urllib.parse",
        "fastwsgi.master.forkserver", "fastwsgi.system.daemon", "fastwsgi.system.pidfile",
        "fastwsgi.worker.reloader", "fastwsgi.worker.warmup"} == set()


def test_the_demo_needs_nothing_of_the_server() -> None:
    rooms = (PACKAGE / "demo").rglob("*.py")
    entered = set().union(*(project_map.rooms_entered(path) for path in rooms))
    assert {project_map.wing(room) for room in entered} <= {"demo", "_version"}


def test_c_knows_no_python() -> None:
    sources = [path for name, path in SOURCES.items() if name.startswith("csrc/")]
    assert sources
    assert [path.name for path in sources if re.search(r"#\s*include\s*[<\"]Python\.h",
                                                       path.read_text("utf-8"))] == []


def test_http_and_observe_know_no_socket() -> None:
    calls = re.compile(r"\b(?:socket|accept4?|connect|recv\w*|send\w*|shutdown|setsockopt)\(")
    lower = [path for wing in ("http", "observe") for path in (ROOT / "csrc" / wing).iterdir()]
    assert lower
    assert [path.name for path in lower if calls.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_file_past_500_lines_says_why_in_its_first_comment(name: str) -> None:
    lines = SOURCES[name].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 500 or "more than 500 lines" in " ".join(lines[:20])
