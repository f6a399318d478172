"""Compiles the C core and the programs of tests/c that drive it, with sanitizers.

A program is linked with csrc and with the other files of tests/c; the system calls that faults.c
defines as __wrap_<call> reach the system through it. No interpreter runs in it; the parser comes
from the installed httptools all the same: its module is loaded beside empty definitions of the
interpreter's symbols, which nothing calls. The path of that module is in the variable FW_HTTPTOOLS.
FASTWSGI_CC names the compiler.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from apps import ROOT
from apps.ahead import cores

PLACE = ROOT / "tests" / "c"
UNITS = sorted(PLACE.glob("test_*.c"))
RACE = PLACE / "race.c"
RACES = [
    RACE, *sorted(PLACE.glob("test_thread*.c")), PLACE / "test_standby.c", PLACE / "test_held.c",
    PLACE / "test_store.c",
]  # fmt: skip
"""The programs in which several threads meet."""
SHARED = sorted(set(PLACE.glob("*.c")) - set(UNITS) - {RACE})
CC = os.environ.get("FASTWSGI_CC", "cc")
USABLE = sys.platform.startswith("linux") and shutil.which(CC) is not None
WHY_NOT = "needs Linux and a C compiler"

Done = subprocess.CompletedProcess[str]

FLAGS = (
    "-std=c11", "-g1", "-O1", "-D_GNU_SOURCE", "-DFW_DEBUG", "-fno-omit-frame-pointer",
    "-Wall", "-Wextra", "-Wshadow", "-Werror", f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests' / 'c'}",
)  # fmt: skip
SANITIZERS = {
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
    "thread": ("-fsanitize=thread",),
}


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A finished command; a library that the suite itself is preloaded with is not passed on."""
    environ = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    return subprocess.run(
        [str(word) for word in command],
        env=environ | variables, capture_output=True, text=True, errors="replace", timeout=240,
    )  # fmt: skip


def must(*command: str | Path) -> str:
    """The output of a command that has to succeed."""
    done = run(*command)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def httptools_module() -> Path:
    """The compiled module that carries llhttp."""
    import httptools.parser.parser

    return Path(httptools.parser.parser.__file__)


def interpreter_stub(module: Path) -> str:
    """C source that defines whatever the module expects of the interpreter."""
    symbols = must("nm", "-D", "--undefined-only", module).split()
    names = sorted({name for name in symbols if name.startswith(("Py", "_Py"))})
    return "".join(f"void *{name};\n" for name in names)


def build(place: Path, sanitizer: str) -> Path:
    """Put csrc and the shared files into *place*, as an archive, with the interpreter's stub."""
    ours = sorted(set((ROOT / "csrc").rglob("*.c")) - {ROOT / "csrc/io/poller_kqueue.c"})

    def compiled(source: Path) -> Path:
        made = place / f"{source.stem}.o"
        must(CC, *FLAGS, *SANITIZERS[sanitizer], "-c", source, "-o", made)
        return made

    with ThreadPoolExecutor(cores()) as pool:
        objects = list(pool.map(compiled, [*ours, *SHARED]))
    must("ar", "rcs", place / "libfw.a", *objects)
    (place / "stub.c").write_text(interpreter_stub(httptools_module()), encoding="ascii")
    must(CC, "-c", place / "stub.c", "-o", place / "stub.o")
    return place


def link(source: Path, core: Path, sanitizer: str) -> Path:
    """The program made of this file, not optimised to be quickly made, and what build has made."""
    program = core / source.stem
    must(
        CC, *FLAGS, *SANITIZERS[sanitizer], "-O0", source, core / "stub.o", core / "libfw.a",
        "-o", program, *wrapped(), "-rdynamic", "-ldl", "-pthread",
    )  # fmt: skip
    return program


def wrapped() -> list[str]:
    """The linker's orders to hand these calls to faults.c."""
    text = (ROOT / "tests" / "c" / "faults.c").read_text("utf-8")
    return [f"-Wl,--wrap={name}" for name in sorted(set(re.findall(r"__wrap_(\w+)\(", text)))]
