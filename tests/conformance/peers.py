"""The other servers: how each is installed into an environment of its own, and started.

Rule: each one with the options that serve it best; none of them knows the cases.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .channel import Channel
from .model import CONFIGS
from .servers import Command, free_port

START_BJOERN = (
    "import sys, importlib, bjoern; "
    "app = getattr(importlib.import_module('conformance.probe'), sys.argv[1]); "
    "bjoern.run(app, '127.0.0.1', int(sys.argv[2]))"
)
START_CHEROOT = (
    "import sys, importlib; from cheroot.wsgi import Server; "
    "app = getattr(importlib.import_module('conformance.probe'), sys.argv[1]); "
    "Server(('127.0.0.1', int(sys.argv[2])), app, numthreads=4).start()"
)
START_NAMESAKE = (
    "import sys; from importlib import import_module; import fastwsgi; "
    "app = getattr(import_module('conformance.probe'), sys.argv[1]); "
    "fastwsgi.run(app, host='127.0.0.1', port=int(sys.argv[2]))"
)


@dataclass(frozen=True)
class Peer:
    """One server.  `argv` gets the environment's bin folder, the application's name, the port."""

    name: str
    package: str
    argv: Callable[[Path, str, int], list[str]]
    system: tuple[tuple[str, str], ...] = ()  # (file that must exist, Debian package)


def _gunicorn(*options: str) -> Callable[[Path, str, int], list[str]]:
    def argv(bin_: Path, app: str, port: int) -> list[str]:
        return [
            str(bin_ / "gunicorn"),
            "-b",
            f"127.0.0.1:{port}",
            *options,
            f"conformance.probe:{app}",
        ]

    return argv


def _python(code: str) -> Callable[[Path, str, int], list[str]]:
    def argv(bin_: Path, app: str, port: int) -> list[str]:
        return [str(bin_ / "python"), "-c", code, app, str(port)]

    return argv


PEERS = (
    Peer("gunicorn sync", "gunicorn", _gunicorn("-k", "sync")),
    Peer("gunicorn gthread", "gunicorn", _gunicorn("-k", "gthread", "--threads", "4")),
    Peer(
        "uWSGI",
        "uwsgi",
        lambda bin_, app, port: [
            str(bin_ / "uwsgi"),
            "--http-socket",
            f"127.0.0.1:{port}",
            "--master",
            "--die-on-term",
            "--need-app",
            "--buffer-size",
            "65535",
            "--module",
            f"conformance.probe:{app}",
        ],
        (("/usr/bin/gcc", "gcc"), ("/usr/include/zlib.h", "zlib1g-dev")),
    ),
    Peer(
        "waitress",
        "waitress",
        lambda bin_, app, port: [
            str(bin_ / "waitress-serve"),
            f"--listen=127.0.0.1:{port}",
            f"conformance.probe:{app}",
        ],
    ),
    Peer("cheroot", "cheroot", _python(START_CHEROOT)),
    Peer(
        "granian",
        "granian",
        lambda bin_, app, port: [
            str(bin_ / "granian"),
            "--interface",
            "wsgi",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--blocking-threads",
            "4",
            f"conformance.probe:{app}",
        ],
    ),
    Peer(
        "bjoern",
        "bjoern",
        _python(START_BJOERN),
        (("/usr/bin/gcc", "gcc"), ("/usr/include/ev.h", "libev-dev")),
    ),
    Peer("PyPI fastwsgi", "fastwsgi", _python(START_NAMESAKE)),
)


def cache() -> Path:
    """Where the environments are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastwsgi-peers"


def install(peer: Peer) -> tuple[Path, str]:
    """Install a peer unless it is there; returns its bin folder and its version.

    Raises subprocess.CalledProcessError when that fails.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache() / f"{peer.package}-{python}"
    bin_ = folder / "bin"
    if not (folder / "installed").exists():
        _need(peer)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        # Built for this machine, not taken from a cache that was filled on another.
        subprocess.run([str(bin_ / "pip"), "install", "--quiet", peer.package], check=True)
        (folder / "installed").touch()
    code = f"import importlib.metadata as m; print(m.version({peer.package!r}))"
    shown = subprocess.run(
        [str(bin_ / "python"), "-I", "-c", code], check=True, capture_output=True, text=True
    )
    return bin_, shown.stdout.strip()


def _need(peer: Peer) -> None:
    missing = [package for file, package in peer.system if not Path(file).exists()]
    if not missing:
        return
    if os.geteuid() or not shutil.which("apt-get"):
        names = " ".join(missing)
        raise RuntimeError(f"{peer.name} needs {names}: install it, or run this as root on Debian")
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "install", "-qq", "-y", *missing], check=True)


def starter(peer: Peer, bin_: Path) -> Callable[[str, Channel], Command]:
    """What a Bench calls to start this peer in a configuration."""

    def start(config: str, channel: Channel) -> Command:
        port = free_port()
        return Command(peer.argv(bin_, CONFIGS[config][0], port), port, channel)

    return start
