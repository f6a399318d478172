"""The servers that are compared: how each is installed and how one is started.

    python -m bench.peers            # install them all and say what happened

Every peer lives in a virtual environment of its own under the cache folder, so none sees another's
dependencies; the web frameworks are installed once and shared, so every server runs the same Flask
and the same Django. An installation that fails is a result ("does not install"), not an error of
the benchmark. All of them are started with one worker process, no access log and the number of
application threads the scenario asks for.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import ROOT, Missing, build, cache, ensure

FRAMEWORKS = ("flask>=3,<4", "django>=5.2,<6", "sqlalchemy>=2,<3")
TOOLS = ("matplotlib>=3.8,<4",)


@dataclass(frozen=True)
class Launch:
    """What a server is asked to run."""

    app: str  #: "module:name"
    port: int  #: on 127.0.0.1
    threads: int = 1  #: application threads per worker
    workers: int = 1  #: worker processes; 0 = in the started process itself, where the server can
    extra: tuple[str, ...] = ()  #: further command-line words, the server's own
    body: int = 13  #: bytes of the canned server's reply; of no interest to the others
    python: str = ""  #: the interpreter of our own server, where not its environment's


@dataclass(frozen=True)
class Peer:
    """One server: `command` gives its argument list; `bin` holds its environment's programs."""

    name: str
    title: str
    command: Callable[[Path, Launch], list[str]]
    steps: tuple[tuple[str, ...], ...] = ()  #: pip's arguments, one tuple per run
    needs: tuple[str, ...] = ()  #: names for machine.ensure
    threads: bool = True  #: has a setting for application threads
    workers: bool = True  #: has a setting for worker processes
    version: str = ""  #: the distribution's name in the index
    program: Callable[[], Path] | None = None  #: finds or builds what is no Python package


def _runner(kind: str) -> Callable[[Path, Launch], list[str]]:
    def command(bin: Path, go: Launch) -> list[str]:
        return [str(bin / "python"), "-m", "bench.runner", kind, go.app, str(go.port)]

    return command


def _fastwsgi(bin: Path, go: Launch) -> list[str]:
    return [
        go.python or str(bin / "python"), "-m", "fastwsgi", "--bind", f"127.0.0.1:{go.port}",
        "--workers", str(go.workers), "--threads", str(go.threads), *go.extra, go.app,
    ]  # fmt: skip


def _gunicorn(kind: str) -> Callable[[Path, Launch], list[str]]:
    def command(bin: Path, go: Launch) -> list[str]:
        return [
            str(bin / "gunicorn"), "--bind", f"127.0.0.1:{go.port}", "--workers", str(go.workers),
            "-k", kind, "--threads", str(go.threads), "--worker-connections", "12000",
            "--keep-alive", "75", "--log-level", "warning", *go.extra, go.app,
        ]  # fmt: skip

    return command


def _uwsgi(bin: Path, go: Launch) -> list[str]:
    return [
        str(bin / "uwsgi"), "--http-socket", f"127.0.0.1:{go.port}", "--master", "--processes",
        str(go.workers), "--threads", str(go.threads), "--module", go.app, "--need-app",
        "--single-interpreter", "--disable-logging", "--die-on-term", "--listen", "1024",
        "--buffer-size", "16384", *go.extra,
    ]  # fmt: skip


def _waitress(bin: Path, go: Launch) -> list[str]:
    return [
        str(bin / "waitress-serve"), f"--listen=127.0.0.1:{go.port}", f"--threads={go.threads}",
        "--connection-limit=12000", "--backlog=2048", "--asyncore-use-poll", *go.extra, go.app,
    ]  # fmt: skip


def _cheroot(bin: Path, go: Launch) -> list[str]:
    return [
        str(bin / "cheroot"), "--bind", f"127.0.0.1:{go.port}", "--threads", str(go.threads),
        "--max-threads", str(go.threads), "--request-queue-size", "2048", *go.extra, go.app,
    ]  # fmt: skip


def _granian(bin: Path, go: Launch) -> list[str]:
    return [
        str(bin / "granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(go.port),
        "--http", "1", "--no-ws", "--workers", str(go.workers), "--blocking-threads",
        str(go.threads), "--runtime-threads", "1", "--backlog", "2048", "--log-level", "warning",
        *go.extra, go.app,
    ]  # fmt: skip


def _canned_program() -> Path:
    return build("canned.c")


def _canned(bin: Path, go: Launch) -> list[str]:
    return [str(_canned_program()), str(go.port), str(go.body)]


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "canned",
            "canned C server",
            _canned,
            threads=False,
            workers=False,
            program=_canned_program,
        ),
        Peer("fastwsgi", "fastwsgi", _fastwsgi, version="fastwsgi"),
        Peer(
            "namesake",
            "PyPI's fastwsgi",
            _runner("namesake"),
            (("fastwsgi", "setuptools<81"),),
            threads=False,
            workers=False,
            version="fastwsgi",
        ),
        Peer(
            "bjoern",
            "bjoern",
            _runner("bjoern"),
            (("bjoern",),),
            needs=("/usr/include/ev.h", "cc"),
            threads=False,
            workers=False,
            version="bjoern",
        ),
        # Its pin of greenlet 0.4 does not compile on current Pythons; it runs with a current one.
        Peer(
            "meinheld",
            "meinheld",
            _runner("meinheld"),
            (
                ("greenlet", "setuptools", "wheel"),
                ("--no-deps", "--no-build-isolation", "meinheld"),
            ),
            needs=("cc",),
            threads=False,
            workers=False,
            version="meinheld",
        ),
        Peer("granian", "granian", _granian, (("granian",),), version="granian"),
        Peer("uwsgi", "uWSGI", _uwsgi, (("uwsgi",),), needs=("cc",), version="uwsgi"),
        Peer("cheroot", "cheroot", _cheroot, (("cheroot",),), workers=False, version="cheroot"),
        Peer(
            "waitress", "waitress", _waitress, (("waitress",),), workers=False, version="waitress"
        ),
        Peer(
            "gunicorn-gthread",
            "gunicorn gthread",
            _gunicorn("gthread"),
            (("gunicorn",),),
            version="gunicorn",
        ),
        Peer(
            "gunicorn-sync",
            "gunicorn sync",
            _gunicorn("sync"),
            (("gunicorn",),),
            threads=False,
            version="gunicorn",
        ),
    )
}

OURS = "fastwsgi"
YARDSTICK = "canned"


def _home() -> Path:
    """Environments are kept apart by interpreter: an extension module fits one."""
    return cache() / f"python{sys.version_info[0]}.{sys.version_info[1]}"


def environment(peer: Peer) -> Path:
    """The folder of the peer's virtual environment; gunicorn's two classes share one."""
    return _home() / peer.name.partition("-")[0]


def python_path(*, ours: bool) -> str:
    """PYTHONPATH of a server: `bench`, but nothing else of this tree, and the frameworks.

    The tree's own `fastwsgi` must stay out of sight of the peer of the same name; only our server
    gets the tree.
    """
    folder = cache() / f"path-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"
    folder.mkdir(exist_ok=True)
    link = folder / "bench"
    if not link.is_symlink():
        link.symlink_to(ROOT / "bench")
    paths = [str(folder), str(_home() / "frameworks")]
    if ours and built_in_tree():
        paths.append(str(ROOT))
    return os.pathsep.join(paths)


def built_in_tree() -> bool:
    """Whether the tree holds extension modules for this interpreter (`make build`)."""
    core = ROOT / "fastwsgi" / "_core"
    return any(
        (core / f"core{suffix}").exists() for suffix in importlib.machinery.EXTENSION_SUFFIXES
    )


def _pip(python: Path | str, *arguments: str) -> None:
    done = subprocess.run(
        [str(python), "-m", "pip", "--disable-pip-version-check", "-q", *arguments],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = [
            line
            for line in done.stderr.splitlines()
            if line.strip() and not line.startswith("WARNING")
        ]
        raise Missing("pip: " + " / ".join(line.strip(" ×╰─>") for line in lines[-3:])[:300])


def _venv(path: Path) -> Path:
    python = path / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(path)], check=True)
    return python


def _once(stamp: Path, wanted: object, install: Callable[[], None]) -> None:
    """Run `install` unless the stamp says that just this was done."""
    text = json.dumps(wanted)
    if stamp.exists() and stamp.read_text() == text:
        return
    install()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(text)


def requirement() -> str:
    """Our runtime dependency as pyproject.toml states it."""
    for line in (ROOT / "pyproject.toml").read_text().splitlines():
        start = line.find('"httptools')
        if start >= 0:
            return line[start + 1 : line.index('"', start + 1)]
    return "httptools"


@contextmanager
def sources() -> Iterator[Path]:
    """A copy of what a source distribution is made of, so that no build writes into the tree."""
    with tempfile.TemporaryDirectory(prefix="fastwsgi-bench-") as folder:
        for name in ("csrc", "fastwsgi"):
            shutil.copytree(
                ROOT / name,
                Path(folder) / name,
                ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.o"),
            )
        for path in ROOT.iterdir():
            if path.is_file():
                shutil.copy2(path, folder)
        yield Path(folder)


def _install_ours(path: Path) -> None:
    """The tree itself where it is built for this interpreter, else a wheel of it."""
    python = _venv(path)
    if built_in_tree():
        # as pip does for the others; servers run without leave to write byte code
        subprocess.run([python, "-m", "compileall", "-q", str(ROOT / "fastwsgi")], check=True)
        _once(path / "tree.stamp", requirement(), lambda: _pip(python, "install", requirement()))
        return
    files = [*ROOT.glob("csrc/**/*.[ch]"), *ROOT.glob("fastwsgi/**/*.p*"), ROOT / "pyproject.toml"]
    newest = max((file.stat().st_mtime for file in files if file.exists()), default=0.0)

    def build() -> None:
        with sources() as copy:
            _pip(python, "install", "--force-reinstall", str(copy))

    _once(path / "wheel.stamp", newest, build)


def install(peer: Peer) -> Path:
    """Make sure that the peer can be started; returns its environment's bin folder.

    Raises Missing with the reason.
    """
    frameworks = _home() / "frameworks"
    path = environment(peer)
    if peer.program:
        ensure(*peer.needs)
        peer.program()
        return path
    tools()
    _once(
        _home() / "frameworks.stamp",
        FRAMEWORKS,
        lambda: _pip(tools(), "install", "--upgrade", "--target", str(frameworks), *FRAMEWORKS),
    )
    if peer.name == OURS:
        _install_ours(path)
    else:
        ensure(*peer.needs)

        def steps() -> None:
            for step in peer.steps:
                _pip(_venv(path), "install", *step)

        _once(path / "installed.stamp", peer.steps, steps)
    return path / "bin"


def tools(*requirements: str) -> Path:
    """An interpreter that has the harness's own libraries (matplotlib, or those asked for)."""
    wanted = requirements or TOOLS
    path = _home() / (
        "tools" if not requirements else "tools-" + requirements[0].partition("=")[0].strip("<>~")
    )
    python = _venv(path)
    _once(path / "installed.stamp", wanted, lambda: _pip(python, "install", *wanted))
    return python


def version(peer: Peer) -> str:
    """The installed version, or nothing for our own yardstick."""
    if not peer.version:
        return ""
    if peer.name == OURS:
        text = (ROOT / "fastwsgi" / "_version.py").read_text()
        found = re.search(r"""__version__[^=]*= *["']([^"']+)""", text)
        return found[1] if found else "?"
    code = f"import importlib.metadata as m; print(m.version({peer.version!r}))"
    done = subprocess.run(
        [str(environment(peer) / "bin" / "python"), "-I", "-c", code],
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or "?"


def select(names: str | None) -> list[Peer]:
    """The peers of a comma-separated list (all of them for none), in the table's order."""
    if not names:
        return list(PEERS.values())
    wanted = names.split(",")
    unknown = [name for name in wanted if name not in PEERS]
    if unknown:
        raise SystemExit(f"no server called {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return [peer for peer in PEERS.values() if peer.name in wanted]


def install_all(peers: Sequence[Peer]) -> dict[str, str]:
    """Install each; returns name -> the reason of a failure."""
    failed = {}
    for peer in peers:
        try:
            install(peer)
            print(f"{peer.title:18} {version(peer)}", file=sys.stderr)
        except (Missing, OSError, subprocess.CalledProcessError) as error:
            failed[peer.name] = f"does not install: {error}"
            print(f"{peer.title:18} {failed[peer.name]}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    install_all(select(",".join(sys.argv[1:]) or None))
