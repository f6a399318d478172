"""A container without Docker: namespaces of processes and mounts, a root that is read only.

Rule: what a container promises the server is made by the same calls of the kernel. The server is
process 1 of its namespace.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from apps.command import started
from apps.eventually import eventually
from fastwsgi.testing import Process

# The file system of the test is writable nowhere but below tmp, which is memory.
INSIDE = """
mount -t tmpfs tmpfs "$TMPDIR" &&
mount -o remount,bind,ro / &&
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""
APART = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]


def possible() -> bool:
    """Whether this user may make such namespaces here."""
    try:
        return subprocess.run([*APART, "setpriv", "true"], capture_output=True,
                              timeout=30).returncode == 0
    except OSError:
        return False


def first_process(outside: int) -> int:
    """The process id, seen from outside, of process 1 of the namespace that `outside` has made."""
    children = Path(f"/proc/{outside}/task/{outside}/children")
    return int(eventually(lambda: children.read_text().split(), bool)[0])


class Container:
    """A server inside, its log, and signals for process 1."""

    def __init__(self, server: Process) -> None:
        self.server = server
        self._first = first_process(server.pid)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._first, number)


@contextlib.contextmanager
def container(place: Path, command: Sequence[str]) -> Iterator[Container]:
    """A command of Python, such as `-m fastwsgi ...`, as process 1 in a container."""
    (place / "tmp").mkdir()
    shell = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
    inside = ["sh", "-c", INSIDE, "sh", sys.executable, *command]
    with started(["-c", shell, "env", f"TMPDIR={place / 'tmp'}", *APART, *inside], place) as server:
        yield Container(server)
