"""What tests of the real command share: types of their fixtures, an application, its workers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from fastwsgi.testing import Process

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


def ready(server: Process, count: int = 1) -> list[int]:
    """Wait for the `count`-th line 'ready: 2 workers (pid 12, 13)'; the process ids in it."""
    line = server.wait_for(r"\] ready: ", count=count)
    return [int(pid) for pid in re.findall(r"\d+", line.rpartition("(pid ")[2])]
