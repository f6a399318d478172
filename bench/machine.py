"""What a measurement needs from the machine: tools, cores, descriptors, a cache folder, a
description.

Everything that is specific to the operating system's set-up is here, so that the tools can say
`ensure("wrk")` and go on.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: What must be there -> the Debian package that brings it. A path stands for a header file.
PACKAGES = {
    "wrk": "wrk",
    "valgrind": "valgrind",
    "callgrind_annotate": "valgrind",
    "strace": "strace",
    "cc": "gcc",
    "/usr/include/ev.h": "libev-dev",
    "/usr/include/openssl/ssl.h": "libssl-dev",
    "openssl": "openssl",
    "nginx": "nginx-light",
}


class Missing(Exception):
    """A tool that a measurement needs is not there and could not be installed."""


def cache() -> Path:
    """Where peers, wheels and builds are: $FASTWSGI_BENCH_CACHE or ~/.cache/fastwsgi-bench."""
    path = Path(os.environ.get("FASTWSGI_BENCH_CACHE", "~/.cache/fastwsgi-bench")).expanduser()
    path.mkdir(parents=True, exist_ok=True)
    return path


def present(name: str) -> bool:
    """Whether a command (or, for a name with a slash, a file) is there."""
    return Path(name).exists() if "/" in name else shutil.which(name) is not None


def ensure(*names: str) -> None:
    """Install the packages of the tools that are missing, by apt as root or with sudo.

    Raises Missing when that fails.
    """
    packages = sorted({PACKAGES[name] for name in names if not present(name)})
    if not packages:
        return
    apt = shutil.which("apt-get")
    if apt is None:
        raise Missing(f"install {', '.join(packages)} first: there is no apt-get here to do it")
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print(f"installing {' '.join(packages)}", file=sys.stderr)
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run([*prefix, apt, *arguments], env=env, capture_output=True, text=True)
    if done.returncode:
        raise Missing(
            f"apt-get could not install {', '.join(packages)}: {done.stderr.strip()[-300:]}"
        )


def raise_descriptor_limit() -> int:
    """Lift this process's descriptor limit (children inherit it) as far as it goes; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def cores() -> tuple[set[int], set[int]]:
    """The first core this process may use, for the server, and the last, for the client."""
    allowed = sorted(os.sched_getaffinity(0))
    return {allowed[0]}, {allowed[-1]}


def pin(cpus: set[int]) -> None:
    """Keep this process, and the children it starts from now on, on these cores."""
    os.sched_setaffinity(0, cpus)


def parse_cores(text: str) -> set[int]:
    """`0,2-3` -> {0, 2, 3}."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe() -> dict[str, object]:
    """What a reader has to know about the machine to judge the figures."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def build(source: str, *libraries: str) -> Path:
    """Compile bench/SOURCE into the cache when it, or a header here, is newer than its program;
    returns that. `libraries` are words for the linker.
    """
    path = ROOT / "bench" / source
    program = cache() / path.stem
    newest = max(file.stat().st_mtime for file in (path, *path.parent.glob("*.h")))
    if not program.exists() or program.stat().st_mtime < newest:
        ensure("cc")
        fresh = program.with_suffix(".new")
        subprocess.run(
            ["cc", "-O2", "-g", "-std=c11", "-Wall", "-Wextra", str(path), "-o", str(fresh),
             *libraries],
            check=True,
        )  # fmt: skip
        fresh.replace(program)
    return program
