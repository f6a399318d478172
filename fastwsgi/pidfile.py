"""The pid file of a master: written once it listens, removed when it ends, never stolen."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from fastwsgi.errors import PidFileError


class PidFile:
    """Holds the process id of the calling process at ``path``.

    Raises PidFileError when the file names another process that is still running, or cannot be
    written. A file left over by a process that is gone is replaced. ``beside`` is added to the name
    until ``move`` is called, while another process has its own file at ``path``.
    """

    def __init__(self, path: str, beside: str = "") -> None:
        self._final = Path(path).absolute()
        self._path = self._final.with_name(self._final.name + beside)
        self._pid = os.getpid()
        other = self._read()
        if other not in (None, self._pid) and _is_running(other):
            raise PidFileError(f"the pid file {path} names process {other}, which is running; "
                               "is it another server?")
        new = self._path.with_name(f"{self._path.name}.{self._pid}")
        try:
            new.write_text(f"{self._pid}\n", "ascii")
            new.replace(self._path)  # readers see the old file or the whole new one
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()
            raise PidFileError(f"cannot write the pid file {path}: {error.strerror}") from None

    def move(self) -> None:
        """Take the place that another process had until now."""
        if self._path != self._final:
            with contextlib.suppress(OSError):
                self._path.replace(self._final)
            self._path = self._final

    def remove(self) -> None:
        """Remove the file if it still names this process."""
        if self._read() == self._pid:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _read(self) -> int | None:
        try:
            return int(self._path.read_text("ascii", "replace"))
        except (OSError, ValueError):
            return None


def _is_running(pid: int | None) -> bool:
    if pid is None or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as somebody else
        return True
    return True
