"""``fastwsgi --version --verbose``: what a report of a fault needs to say of the machine.

Nothing here fails: what cannot be found out is a line that says so.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import sysconfig
from collections.abc import Iterator

from fastwsgi._version import __version__
from fastwsgi.config.values import usable_cpus
from fastwsgi.errors import FastwsgiError

LLHTTP = {"0.7.0": "9.3.0", "0.7.1": "9.3.0", "0.8.0": "9.4.1", "0.9.0": "9.4.3"}
"""The llhttp in each release of httptools, whose binary does not tell."""

LIBRARIES = (
    ("setproctitle", "process titles"), ("watchfiles", "reload by inotify"), ("rich", "top"),
    ("PasteDeploy", "--paste"), ("cryptography", "an OpenSSL, where Python's is hidden"),
)
"""Libraries that a feature needs, by the names of their distributions."""


def report() -> str:
    """Return one line for each thing that matters, with its name in front."""
    return "".join(f"{name:<10} {text}\n" for name, text in _lines())


def _lines() -> Iterator[tuple[str, str]]:
    yield "fastwsgi", f"{__version__} ({os.path.dirname(os.path.dirname(__file__))})"
    yield "Python", _python()
    yield "core", _core()
    release = _release("httptools")
    yield "httptools", release or "not installed"
    yield "llhttp", LLHTTP.get(release, f"the one that httptools {release} ships"
                               if release else "none")
    yield "OpenSSL", _openssl()
    yield "kernel", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "libc", " ".join(platform.libc_ver()).strip() or "not known"
    yield "poller", "epoll" if sys.platform.startswith("linux") else "kqueue"
    yield "CPUs", f"{usable_cpus()} usable of {os.cpu_count() or 'an unknown number'}"
    yield "limits", _limits()
    yield "features", ", ".join(_features()) or "none beyond the core"


def _python() -> str:
    build = " free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    compiler = platform.python_compiler()
    return (f"{platform.python_version()} {platform.python_implementation()}{build}, "
            f"{compiler} ({sys.executable})")


def _core() -> str:
    try:
        from fastwsgi._core import core
    except ImportError as error:
        return f"cannot be used: {error}"
    return os.path.basename(core.__file__ or "")


def _openssl() -> str:
    try:
        from fastwsgi.tls.settings import use_library

        library = use_library()
    except (FastwsgiError, ImportError) as error:
        return f"none: {error}"
    return f"{library.text} ({library.origin})"


def _limits() -> str:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = "/".join("unlimited" if limit == resource.RLIM_INFINITY else str(limit)
                     for limit in (soft, hard))
    try:
        with open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
            return f"{files} open files, {int(file.read())} connections to be accepted"
    except (OSError, ValueError):  # not on macOS
        return f"{files} open files"


def _features() -> Iterator[str]:
    """Name what is there beyond the core, with the release of its library."""
    for name, purpose in LIBRARIES:
        if release := _release(name):
            yield f"{name} {release} ({purpose})"
    if (3, 12) <= sys.version_info < (3, 14):
        yield "--preload-memory immortal"
    if (3, 10) <= sys.version_info < (3, 14):
        yield "--gc request and idle"
    if sys.platform.startswith("linux"):
        yield "--cpu-affinity"


def _release(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
