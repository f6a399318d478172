"""The self-check of the parser's interface, against shared objects whose interface differs.

Each of them is compiled here. It hands the calls on to the llhttp of the installed httptools, but
for one difference: the kind that another version, or another build, could have. Every check runs
in a process of its own, so that one that crashes fails its test and nothing else.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from apps import ROOT

from fastwsgi import testing
from fastwsgi._core import core as native

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler on this machine")

FUNCTIONS = re.findall(r'"(llhttp_\w+)"', (ROOT / "csrc/http/llhttp.c").read_text("utf-8"))

FORWARD = r"""
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static void *real(const char *name)
{
    static void *handle;
    if (handle == NULL)
        handle = dlopen(HTTPTOOLS, RTLD_NOW);
    return dlsym(handle, name);
}
#define REAL(type, name) ((type)real(name))

typedef void (*init_f)(void *, int, const void *);
typedef int (*execute_f)(void *, const char *, size_t);
typedef int (*number_f)(void *);
typedef uint8_t (*small_f)(void *);
typedef const char *(*text_f)(void *);
typedef const char *(*name_f)(int);

#ifndef SHIFT
#define SHIFT 0
#endif
#ifndef EXCESS
#define EXCESS 0
#endif
#ifndef CODE
#define CODE(code) code
#endif
#ifndef METHOD
#define METHOD(method) method
#endif

/* The parser keeps the address: the settings it is given have to stay. */
void llhttp_init(void *parser, int type, const void *settings)
{
    static void *members[4][64];
    static int turn;
    void **mine = members[turn++ % 4];
    memset(mine, 0, sizeof members[0]);
    memcpy(mine + SHIFT, settings, 32 * sizeof(void *));
    memset(parser, 0, EXCESS);
    REAL(init_f, "llhttp_init")(parser, type, mine);
}
int llhttp_execute(void *parser, const char *data, size_t n)
{
    int code = REAL(execute_f, "llhttp_execute")(parser, data, n);
    return CODE(code);
}
int llhttp_get_errno(void *parser)
{
    int code = REAL(number_f, "llhttp_get_errno")(parser);
    return CODE(code);
}
void llhttp_resume(void *parser) { REAL(void (*)(void *), "llhttp_resume")(parser); }
const char *llhttp_get_error_pos(void *parser) { return REAL(text_f, "llhttp_get_error_pos")(parser); }
const char *llhttp_get_error_reason(void *parser) { return REAL(text_f, "llhttp_get_error_reason")(parser); }
uint8_t llhttp_get_method(void *parser)
{
    uint8_t method = REAL(small_f, "llhttp_get_method")(parser);
    return METHOD(method);
}
uint8_t llhttp_get_http_major(void *parser) { return REAL(small_f, "llhttp_get_http_major")(parser); }
#ifndef WITHOUT_MINOR
uint8_t llhttp_get_http_minor(void *parser) { return REAL(small_f, "llhttp_get_http_minor")(parser); }
#endif
const char *llhttp_method_name(int method) { return REAL(name_f, "llhttp_method_name")(METHOD(method)); }
"""  # noqa: E501

# What differs, as definitions for the compiler, and what the error has to say.
DIFFERENT = {
    "one-callback-more-in-front": (["SHIFT=1"], "does not stop at the end of the head"),
    "two-callbacks-more-in-front": (["SHIFT=2"], "does not stop at the end of the head"),
    "a-larger-parser": (["EXCESS=264"], "past the block"),
    "a-much-larger-parser": (["EXCESS=4000"], "past the block"),
    "other-error-numbers": (["CODE(c)=((c) > 0 && (c) < 21 ? c + 1 : (c))"], "numbers its errors"),
    "another-number-for-pause": (["CODE(c)=((c) == 21 ? 31 : (c))"], "does not pause"),
    "other-method-numbers": (["METHOD(m)=((m) ^ 1)"], "numbers its methods"),
    "a-function-less": (["WITHOUT_MINOR"], "does not carry llhttp_get_http_minor"),
}

ASK = """
import ctypes, sys
from fastwsgi._core import core as native
stub = ctypes.CDLL(sys.argv[1])
try:
    native.check_llhttp(sys.argv[1])
except ImportError as error:
    print("refused:", error)
else:
    print("accepted")
"""

REPLACE = """
import ctypes, sys, types
import httptools
stub = ctypes.CDLL(sys.argv[1])
module = types.ModuleType("httptools.parser.parser")
module.__file__ = sys.argv[1]
sys.modules["httptools.parser.parser"] = httptools.parser.parser = module
"""


def compile_stub(place: Path, definitions: list[str]) -> Path:
    import httptools.parser.parser

    source, stub = place / "stub.c", place / "stub.so"
    source.write_text(FORWARD, encoding="ascii")
    subprocess.run(
        [str(COMPILER), "-shared", "-fPIC", "-O1", str(source), "-o", str(stub), "-ldl",
         f'-DHTTPTOOLS="{httptools.parser.parser.__file__}"',
         *(f"-D{definition}" for definition in definitions)],
        check=True, timeout=120,
    )  # fmt: skip
    return stub


def python(program: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        capture_output=True, text=True, timeout=60, env=testing.environment({}),
    )  # fmt: skip


@needs_compiler
def test_every_function_of_the_table_has_a_stand_in() -> None:
    assert set(FUNCTIONS) == set(re.findall(r"^\S.*\b(llhttp_\w+)\(", FORWARD, re.M))


@needs_compiler
def test_a_stand_in_that_differs_in_nothing_is_accepted(tmp_path: Path) -> None:
    assert python(ASK, compile_stub(tmp_path, [])).stdout == "accepted\n"


@needs_compiler
@pytest.mark.parametrize(("definitions", "said"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_refuses_an_interface_that_differs(
    tmp_path: Path, definitions: list[str], said: str
) -> None:
    done = python(ASK, compile_stub(tmp_path, definitions))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused: httptools "), done.stdout
    assert re.search(said, done.stdout)
    assert importlib.metadata.version("httptools") in done.stdout
    assert f"supports httptools {native.SUPPORTED}" in done.stdout


def test_refuses_a_module_that_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match=r"not loaded.*fastwsgi supports httptools"):
        native.check_llhttp(str(tmp_path / "parser.so"))


@needs_compiler
def test_importing_the_server_tells_what_differs(tmp_path: Path) -> None:
    stub = compile_stub(tmp_path, ["METHOD(m)=((m) ^ 1)"])
    done = python(REPLACE + "import fastwsgi._core.core", stub)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert re.fullmatch(
        r"ImportError: httptools \S+ cannot be used: .*methods.*\. fastwsgi supports httptools .*",
        last,
    )


@needs_compiler
def test_a_server_that_cannot_use_the_parser_does_not_start(tmp_path: Path) -> None:
    stub = compile_stub(tmp_path, ["METHOD(m)=((m) ^ 1)"])
    start = "from fastwsgi.cli import main\nsys.exit(main(sys.argv[2:]))"
    done = python(REPLACE + start, stub, "--bind", "127.0.0.1:0", "fastwsgi.demo:app")
    assert done.returncode != 0
    assert "fastwsgi supports httptools" in done.stdout + done.stderr


def test_a_refusal_leaves_the_parser_in_use_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(ImportError):
        native.check_llhttp(os.devnull)
    with testing.serve(lambda environ, start: (start("200 OK", []), [b"served"])[1]) as server:
        answer = testing.raw(server.address, b"GET / HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"served")
