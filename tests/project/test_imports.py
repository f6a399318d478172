"""The direction of imports, what a start does without, the border to C, and the size of files."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "fastwsgi"

# Each wing of the package, and the wings that it may enter: down only.
WINGS: dict[str, set[str]] = {
    "errors": set(),
    "_version": set(),
    "_core": set(),
    "demo": {"_version"},
    "system": {"errors"},
    "logs": {"errors", "system"},
    "config": {"errors", "logs", "system"},
    "strict": {"logs", "_core"},
    "worker": {"_core", "_version", "config", "errors", "logs", "strict", "system"},
    "master": {"config", "errors", "logs", "system", "worker"},
    "server": {"_version", "config", "errors", "logs", "master", "system", "worker"},
    "cli": {"_version", "config", "errors", "master", "server", "worker"},
    "testing": {"_core", "config", "errors", "logs", "server", "system", "worker"},
    "__main__": {"cli"},
    "__init__": {"_version", "config", "server"},
}

# The wings of the C core, the lowest first: a file includes its own wing and lower ones, and fw.h.
C_WINGS = ("system", "http", "observe", "io", "threads")

# Includes that still go up. To be emptied: the store's threads are to move to csrc/threads.
C_STILL_UP: set[tuple[str, str]] = set()

SOURCES = {
    path.relative_to(ROOT).as_posix(): path
    for folder in ("fastwsgi", "csrc", "tests", "scripts", "bench")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".pyx", ".pxd", ".pyi", ".c", ".h"}
    and not (folder == "fastwsgi" and path.suffix == ".c")  # what Cython generated
    and path.parent.name != "cases"  # the conformance suite's data
}


def room_of(path: Path) -> str:
    """``worker.process`` for fastwsgi/worker/process.py; a wing's __init__ goes by its name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


ROOMS = {room_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def rooms_entered(path: Path) -> set[str]:
    """The rooms of ours that a Python file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            base = str(node.module)
            names = [full if (full := f"{base}.{alias.name}").removeprefix("fastwsgi.") in ROOMS
                     else base for alias in node.names]
        else:
            continue
        found |= {name.removeprefix("fastwsgi.") for name in names if name.startswith("fastwsgi.")}
    return found


def wing(room: str) -> str:
    return room.split(".")[0]


def test_every_python_file_is_in_a_wing() -> None:
    assert {wing(room) for room in ROOMS} | {"_core"} == set(WINGS)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_imports_go_down_only(room: str) -> None:
    assert {wing(other) for other in rooms_entered(ROOMS[room])} - {wing(room)} <= WINGS[wing(room)]


def without_circles(entered: dict[str, set[str]]) -> None:
    """Take away what enters nothing that is left, again and again, until nothing is left."""
    done: set[str] = set()
    while remaining := entered.keys() - done:
        free = {room for room in remaining if entered[room] & remaining <= {room}}
        assert free, f"a circle among {sorted(remaining)}"
        done |= free


def test_neither_wings_nor_rooms_go_in_circles() -> None:
    without_circles(WINGS)
    without_circles({room: rooms_entered(path) for room, path in ROOMS.items()})


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
    assert {wing(room) for room in entered} <= {"demo", "_version"}


def test_c_knows_no_python() -> None:
    sources = [path for name, path in SOURCES.items() if name.startswith("csrc/")]
    assert sources
    assert [path.name for path in sources if re.search(r"#\s*include\s*[<\"]Python\.h",
                                                       path.read_text("utf-8"))] == []


C_FILES = {path.relative_to(ROOT / "csrc").as_posix(): path
           for name, path in SOURCES.items() if name.startswith("csrc/")}


def included(path: Path) -> set[str]:
    """What of ours a C file includes."""
    names = re.findall(r'^\s*#\s*include\s*"([^"]+)"', path.read_text("utf-8"), re.MULTILINE)
    assert set(names) <= set(C_FILES), f"{path.name} names an include from where it lies"
    return set(names)


def c_floor(name: str) -> int:
    """How high a C file lies; fw.h lies below all wings."""
    return -1 if name == "fw.h" else C_WINGS.index(name.split("/")[0])


@pytest.mark.parametrize("name", sorted(C_FILES))
def test_c_includes_go_down_only(name: str) -> None:
    up = {other for other in included(C_FILES[name]) if c_floor(other) > c_floor(name)}
    assert {(name, other) for other in up} == {pair for pair in C_STILL_UP if pair[0] == name}


def test_c_includes_do_not_go_in_circles() -> None:
    without_circles({name: included(path) for name, path in C_FILES.items()})


def test_http_and_observe_know_no_socket() -> None:
    calls = re.compile(r"\b(?:socket|accept4?|connect|recv\w*|send\w*|shutdown|setsockopt)\(")
    lower = [path for name, path in C_FILES.items() if name.startswith(("http/", "observe/"))]
    assert lower
    assert [path.name for path in lower if calls.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_file_past_500_lines_says_why_in_its_first_comment(name: str) -> None:
    lines = SOURCES[name].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 500 or "more than 500 lines" in " ".join(lines[:20])
