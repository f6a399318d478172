"""The rules that every source file keeps, read from the files and from what they compile to.

The direction of imports and the size of files have a test of their own in test_imports.py.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from apps import ROOT

CSRC = ROOT / "csrc"
CORE = ROOT / "fastwsgi" / "_core"
HEADERS = sorted(CSRC.rglob("*.h"))
C_FILES = sorted(CSRC.rglob("*.c"))
CYTHON = sorted([*CORE.glob("*.pyx"), *CORE.glob("*.pxi"), *CORE.glob("*.pxd")])
TEXTS = sorted(
    path
    for folder in ("csrc", "fastwsgi", "tests", "scripts", "bench", "docs")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".c", ".h", ".py", ".pyx", ".pxi", ".pxd", ".pyi", ".md", ".css", ".js",
                       ".html"}
)

# Functions that print, end the process, or write without knowing how much room there is.
FORBIDDEN = re.compile(
    r"\b(printf|fprintf|vprintf|puts|fputs|putchar|perror|assert|abort|exit|_exit|gets|strcpy|"
    r"strcat|sprintf|vsprintf|strtok|atoi|atol|alloca|signal|setlocale)\s*\("
)
COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler on this machine")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code(path: Path) -> str:
    """A C file as a release is compiled, without its comments and string literals."""
    pattern = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"", re.DOTALL)
    debug = re.compile(r"^#ifdef FW_DEBUG\n.*?^#(?:else|endif)", re.DOTALL | re.MULTILINE)
    return pattern.sub("", debug.sub("", path.read_text("utf-8")))


@functools.cache
def compiled(source: Path) -> list[tuple[str, str]]:
    """The symbols of a C file as (kind, name), kinds as nm(1) tells them."""
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / f"{source.stem}.o"
        subprocess.run(
            [str(COMPILER), "-std=c11", "-O0", "-D_GNU_SOURCE", "-fno-pic", "-fno-pie", "-c",
             str(source), "-I", str(CSRC), "-o", str(output)],
            check=True, timeout=120,
        )  # fmt: skip
        listing = subprocess.run(
            ["nm", "--defined-only", str(output)], check=True, capture_output=True, text=True
        ).stdout
    return [(kind, symbol) for _, kind, symbol in map(str.split, listing.splitlines())]


def here(source: Path) -> bool:
    """Whether this system's compiler can compile the file."""
    return source.name != "poller_kqueue.c" and COMPILER is not None


def comments(path: Path) -> str:
    return " ".join(re.findall(r"/\*.*?\*/", path.read_text("utf-8"), re.DOTALL))


def defined_types(path: Path) -> list[str]:
    """The tags and the names of types that a C file defines, without declarations."""
    text = code(path)
    tags = re.findall(r"\b(?:struct|union|enum)\s+(\w+)\s*\{", text)
    names = re.findall(r"^\}\s*(\w+);|^typedef [^;{]*?\b(\w+)(?:\(|;)", text, re.MULTILINE)
    ours = {left or right for left, right in names}
    return sorted({*tags, *ours})


def test_there_is_source_to_read() -> None:
    assert HEADERS
    assert C_FILES
    assert CYTHON


@pytest.mark.parametrize("path", C_FILES + HEADERS, ids=name)
def test_c_neither_prints_nor_ends_the_process(path: Path) -> None:
    assert FORBIDDEN.findall(code(path)) == []


@pytest.mark.parametrize("path", C_FILES + HEADERS, ids=name)
def test_c_file_opens_with_its_rule(path: Path) -> None:
    assert path.read_text("utf-8").startswith(f"/* {path.name} - ")


@pytest.mark.parametrize("path", HEADERS, ids=name)
def test_header_guards_itself(path: Path) -> None:
    assert re.search(r"#ifndef (FW_\w*H)\n#define \1\n", path.read_text("utf-8"))


def test_a_type_is_defined_once() -> None:
    places: dict[str, set[str]] = {}
    for path in C_FILES + HEADERS:
        for each in defined_types(path):
            places.setdefault(each, set()).add(path.stem)
    assert "fw_conn" in places
    assert {each: where for each, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize("path", C_FILES + HEADERS, ids=name)
def test_comments_name_what_exists(path: Path) -> None:
    exist = {word for other in C_FILES + HEADERS for word in re.findall(r"\bfw_\w+", code(other))}
    assert set(re.findall(r"\bfw_\w*\w", comments(path))) - exist == set()


@needs_compiler
@pytest.mark.parametrize("path", HEADERS, ids=name)
def test_header_stands_alone(path: Path) -> None:
    done = subprocess.run(
        [str(COMPILER), "-std=c11", "-D_GNU_SOURCE", "-fsyntax-only", "-x", "c", "-I", str(CSRC),
         "-include", str(path), "-"],
        input="", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", list(filter(here, C_FILES)), ids=name)
def test_c_keeps_no_global_state(path: Path) -> None:
    # b, d and c: zeroed, initialised and common data, local or global
    assert [symbol for kind, symbol in compiled(path) if kind.lower() in "bdc"] == []


@pytest.mark.parametrize("path", list(filter(here, C_FILES)), ids=name)
def test_c_exports_only_names_of_its_own(path: Path) -> None:
    exported = [symbol for kind, symbol in compiled(path) if kind.isupper()]
    assert [symbol for symbol in exported if not symbol.startswith("fw_")] == []


@pytest.mark.parametrize("path", [path for path in CYTHON if path.name != "csrc.pxd"], ids=name)
def test_c_is_declared_in_csrc_pxd_only(path: Path) -> None:
    declared = re.findall(r'cdef extern from "([^"<]+)"', path.read_text("utf-8"))
    assert set(declared) & {header.relative_to(CSRC).as_posix() for header in HEADERS} == set()


def test_declarations_of_c_need_no_interpreter() -> None:
    blocks = re.findall(r"^cdef extern from .*$", (CORE / "csrc.pxd").read_text("utf-8"), re.M)
    assert blocks
    assert [block for block in blocks if not block.endswith("nogil:")] == []


def test_the_interpreter_lock_is_dropped_where_a_call_may_wait() -> None:
    """For a client, the disk, another thread, or work to do."""
    dropping = {path.stem for path in CYTHON if "with nogil:" in path.read_text("utf-8")}
    assert dropping == {
        "access_log", "causes", "input", "response", "statics", "worker", "worker_thread"}


# What the standby may write while an application thread runs: reading it is for those that pass the
# gate (thread.h).
SHARED_WITH_STANDBY = re.compile(r"\b(?:c|conn|conns|t|thread)\.(?:out|unsent|bytes_out|stats)\b")


@pytest.mark.parametrize("path", [path for path in CYTHON if path.suffix == ".pxi"], ids=name)
def test_what_the_standby_writes_is_read_through_doors(path: Path) -> None:
    lines = [line.split("#")[0] for line in path.read_text("utf-8").splitlines()]
    assert [line for line in lines if SHARED_WITH_STANDBY.search(line)] == []


def test_the_core_is_made_of_all_its_files() -> None:
    included = re.findall(r'^include "(\w+\.pxi)"', (CORE / "core.pyx").read_text("utf-8"), re.M)
    assert sorted(included) == sorted(path.name for path in CORE.glob("*.pxi"))


def test_compiled_module_tells_its_types() -> None:
    assert (CORE / "core.pyi").exists()


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_text_is_clean(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "\t" not in text
    assert "\r" not in text
    assert not re.search(r"[ ]+$", text, re.M), "white space at the end of a line"
    assert text == "" or text.endswith("\n")


@pytest.mark.parametrize("path", [path for path in TEXTS if path != Path(__file__)], ids=name)
def test_nothing_is_marked_as_left_undone(path: Path) -> None:
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text("utf-8"))
