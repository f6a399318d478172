"""What tests of the real command share: types of their fixtures, an application, its workers."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastwsgi.testing import Process, environment

Project = Callable[..., Path]
"""The fixture `project`: writes files into the test's directory."""
Command = Callable[..., "subprocess.CompletedProcess[str]"]
"""The fixture `command`: runs the command to its end."""

HELLO = """
    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"hello"]
    """
"""The source of an application, for `project`."""


@contextlib.contextmanager
def started(command: list[str], cwd: Path, **options: Any) -> Iterator[Process]:
    """Like `fastwsgi.testing.spawn`, with a command line and options of Popen of the test's own."""
    with subprocess.Popen(
        [sys.executable, *command], cwd=cwd, env=environment({}), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
    ) as popen:
        server = Process(popen)
        try:
            server._start()
            yield server
        finally:
            server._end()


def ready(server: Process, count: int = 1) -> list[int]:
    """Wait for the `count`-th line 'ready: 2 workers (pid 12, 13)'; the process ids in it."""
    line = server.wait_for(r"\] ready: ", count=count)
    return [int(pid) for pid in re.findall(r"\d+", line.rpartition("(pid ")[2])]
