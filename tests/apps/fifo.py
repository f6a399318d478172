"""A named pipe in the place of a log file: what is written there can be waited for."""

from __future__ import annotations

import os
import re
import select
import time
from pathlib import Path

GUARD = 30.0


class Fifo:
    """The reading end, which is there before a server opens the pipe to write."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            os.mkfifo(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.text = ""

    def close(self) -> None:
        """Close it: who writes from now on gets EPIPE."""
        os.close(self.fd)

    def shows(self, text: str, timeout: float = GUARD) -> bool:
        """Wait for a text; False if it does not come in time, or everybody has closed the pipe."""
        return self._wait(re.escape(text), timeout) is not None

    def line(self, pattern: str) -> str:
        """Wait for a line that matches, and return it."""
        found = self._wait(f"^.*{pattern}.*$", GUARD)
        assert found is not None, self.text
        return found

    def end(self) -> bool:
        """Wait until everybody who writes has closed the pipe; False if that takes too long."""
        self._wait(r"\Zx", GUARD)  # which never matches
        return self._ended

    def _wait(self, pattern: str, timeout: float) -> str | None:
        wanted = re.compile(pattern, re.MULTILINE)
        self._ended = False
        until = time.monotonic() + timeout
        while (found := wanted.search(self.text)) is None:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                return None
            block = os.read(self.fd, 65536)
            if not block:
                self._ended = True
                return None
            self.text += block.decode()
        return found[0]
