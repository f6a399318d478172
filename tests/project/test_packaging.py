"""Builds the sdist, from it the wheel, installs that where nothing else is, and starts it.

Slow, so it runs where it is named: by the gate, with the running interpreter only and a compiler
that does not optimise; by `make dist-test`, which sets FASTWSGI_EVERY_PYTHON, in earnest with every
supported CPython on the machine.
Packages come from the index that pip uses.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import pytest
from apps import ROOT
from apps.ahead import cores

import fastwsgi

LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "site", "*.so", "*.egg-info", "__pycache__", ".*_cache",
    ".hypothesis",
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="not in a source tree"),
]


IN_EARNEST = os.environ.get("FASTWSGI_EVERY_PYTHON", "0") not in ("", "0")


def pythons() -> list[str]:
    """The interpreters to build for, as paths."""
    if not IN_EARNEST:
        return [sys.executable]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {(sys.version_info[0], sys.version_info[1]): sys.executable}
    for minor in range(10, 15):
        places = [str(path) for path in sorted(pyenv.glob(f"3.{minor}.*/bin"), reverse=True)]
        path = os.pathsep.join([*places, os.environ.get("PATH", "")])
        if executable := shutil.which(f"python3.{minor}", path=path):
            found.setdefault((3, minor), executable)
    return [found[version] for version in sorted(found)]


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """The output of a command that has to succeed, run without this suite's own environment."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "LD_PRELOAD", "FASTWSGI_DEBUG")
    environ = {key: value for key, value in os.environ.items() if key not in hidden}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd, env=environ | variables, capture_output=True, text=True, errors="replace",
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def environment(interpreter: str | Path, home: Path) -> Path:
    """The interpreter of a new virtual environment without pip, which would take long."""
    run(interpreter, "-m", "venv", "--without-pip", home, cwd=home.parent)
    return home / "bin" / "python"


def pip(python: Path) -> list[str | Path]:
    """The words by which our pip works for that interpreter."""
    return [sys.executable, "-m", "pip", "--python", python]


def install(python: Path, *what: str | Path) -> None:
    run(*pip(python), "install", "--quiet", *what, cwd=python.parent)


class Built(NamedTuple):
    place: Path
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module", params=pythons(), ids=lambda path: Path(path).name)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """An sdist of the source tree, and a wheel made from that sdist alone."""
    place = tmp_path_factory.mktemp("dist")
    python = environment(request.param, place / "tools")
    build_needs = re.search(r"^requires = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.M)
    assert build_needs
    needs = re.findall(r'"([^"]+)"', build_needs[1])
    install(python, *needs)
    shutil.copytree(ROOT, place / "tree", ignore=LEFT_BEHIND)
    hook = "from setuptools import build_meta; build_meta.build_sdist('../dist')"
    run(python, "-c", hook, cwd=place / "tree")
    (sdist,) = (place / "dist").glob("*.tar.gz")
    (place / "all-cores.cfg").write_text(f"[build_ext]\nparallel = {cores()}\n")
    run(
        *pip(python), "wheel", "--quiet", "--no-deps", "--no-build-isolation",
        "--wheel-dir", place / "dist", sdist, cwd=place,
        DIST_EXTRA_CONFIG=str(place / "all-cores.cfg"), FASTWSGI_DEBUG="" if IN_EARNEST else "1",
    )  # fmt: skip
    (wheel,) = (place / "dist").glob("*.whl")
    return Built(place, sdist, wheel)


@pytest.fixture(scope="module")
def installed(built: Built) -> Iterator[Path]:
    """The bin directory of an environment that has the wheel and what it depends on, no more."""
    home = built.place / "installed"
    install(environment(built.place / "tools" / "bin" / "python", home), built.wheel)
    yield home / "bin"
    shutil.rmtree(built.place)


def test_sdist_holds_all_that_building_and_testing_need(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        path.relative_to(built.place / "tree").as_posix()
        for folder in ("csrc", "fastwsgi", "tests", "scripts", "docs")
        for path in (built.place / "tree" / folder).rglob("*")
        if path.is_file()
    }
    assert wanted <= names
    assert {"README.md", "LICENSE", "CHANGELOG.md", "Makefile", "setup.py"} <= names
    assert [name for name in names if name.startswith("build/") or name.endswith(".so")] == []


def test_wheel_holds_the_package_and_no_sources_of_c(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"fastwsgi", f"fastwsgi-{fastwsgi.__version__}.dist-info"}
    kinds = {Path(name).suffix for name in names if name.startswith("fastwsgi/")}
    assert kinds <= {".py", ".pyi", ".so", ".typed", ".html", ".css", ".js"}
    package = ROOT / "fastwsgi"
    for path in package.rglob("*"):
        if path.suffix in {".py", ".pyi", ".typed", ".html", ".css", ".js"}:
            assert path.relative_to(ROOT).as_posix() in names
    for source in package.glob("_core/*.pyx"):
        compiled = [name for name in names if name.startswith(f"fastwsgi/_core/{source.stem}.")]
        assert any(name.endswith(".so") for name in compiled), source.name


def test_wheel_says_what_it_is_made_of(built: Built) -> None:
    place = f"fastwsgi-{fastwsgi.__version__}.dist-info"
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith(f"{place}/")}
        bill = json.loads(archive.read(f"{place}/sboms/fastwsgi.cdx.json"))
        record = archive.read(f"{place}/RECORD").decode()
    assert {name.removeprefix(f"{place}/") for name in names} == {
        "METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE",
        "sboms/fastwsgi.cdx.json"}
    assert "sboms/fastwsgi.cdx.json,sha256=" in record
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["version"] == fastwsgi.__version__
    assert {item["name"] for item in bill["components"]} == {"Cython", "httptools"}
    references = {item["bom-ref"] for item in bill["components"]}
    assert {need for each in bill["dependencies"] for need in each["dependsOn"]} <= references


def test_wheel_depends_on_the_parser_alone(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        metadata = archive.read(f"fastwsgi-{fastwsgi.__version__}.dist-info/METADATA").decode()
    needs = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    without_extras = [line for line in needs if "extra ==" not in line]
    assert without_extras == ["Requires-Dist: httptools<0.10,>=0.7.1"]


WINDOWS = "fastwsgi runs on Linux and macOS only; on Windows use waitress (pip install waitress)."


def on_windows(code: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run code that takes its platform for Windows, and finds neither Cython nor a compiler."""
    hide = "import sys; sys.modules['Cython'] = None; import setuptools.build_meta as backend; "
    return subprocess.run(
        [sys.executable, "-c", f"{hide}sys.platform = 'win32'; {code}"], cwd=cwd,
        env={**os.environ, "PATH": "", "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60)


@pytest.mark.parametrize("code", [
    "import runpy; runpy.run_path('setup.py', run_name='__main__')",
    "backend.get_requires_for_build_wheel()",  # what pip asks for first
])
def test_a_build_on_windows_ends_with_one_sentence(code: str) -> None:
    done = on_windows(code)
    assert done.returncode == 1
    assert done.stderr == f"{WINDOWS}\n"
    assert done.stdout == ""


def test_an_import_on_windows_fails_with_the_same_sentence() -> None:
    done = on_windows("import fastwsgi")
    assert done.stderr.splitlines()[-1] == f"ImportError: {WINDOWS}"


def test_parser_range_is_the_one_the_core_names() -> None:
    native = (ROOT / "fastwsgi" / "_core" / "llhttp.pxi").read_text("utf-8")
    named = re.search(r'^SUPPORTED = "([^"]+)"$', native, re.M)
    assert named
    assert f'"httptools{named[1]}"' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_installed_command_tells_its_version(installed: Path) -> None:
    said = run(installed / "fastwsgi", "--version", cwd=installed)
    assert said.split() == ["fastwsgi", fastwsgi.__version__]


def test_installed_package_brings_its_types(installed: Path) -> None:
    script = (
        "import importlib.resources as r, fastwsgi; p = r.files(fastwsgi);"
        "print((p / 'py.typed').is_file(), (p / '_core' / 'core.pyi').is_file())"
    )
    assert run(installed / "python", "-c", script, cwd=installed).split() == ["True", "True"]


def test_installed_command_serves_the_demo(installed: Path) -> None:
    command = [str(installed / "fastwsgi"), "--bind", "127.0.0.1:0", "fastwsgi.demo:app"]
    # In the source tree, as the README has it: the modules there are not compiled, or others.
    server = subprocess.Popen(
        command, cwd=installed.parent.parent / "tree", stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr is not None
        url = next(
            found[0] for line in server.stderr if (found := re.search(r"http://\S+:\d+", line))
        )
        with urlopen(url, timeout=30) as response:
            page = response.read().decode()
        assert "Your server answers" in page
        assert "<b>fastwsgi" in page, "served by another server"
        server.terminate()
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()
        server.stderr.close()
