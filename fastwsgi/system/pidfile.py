"""The pid file of a master: written once it listens, removed when it ends, never stolen."""

from __future__ import annotations

import contextlib
import os
import stat

from fastwsgi.errors import PidFileError
from fastwsgi.system.paths import Entry, absolute, entry


class PidFile:
    """Holds the process id of the calling process at ``path``.

    Raises PidFileError when the file names another process that is still running, or cannot be
    written. A file whose process is gone is replaced. So is a symbolic link, which is not followed.
    ``beside`` is added to the name until ``move`` is called, while another process has its own file
    at ``path``.
    """

    def __init__(self, path: str, beside: str = "") -> None:
        self._final = absolute(path)
        self._path = self._final + beside
        self._pid = os.getpid()
        try:
            with entry(self._path) as at:
                other = _read(at)
                if other not in (None, self._pid) and _is_running(other):
                    raise PidFileError(f"the pid file {path} names process {other}, which is "
                                       "running; is it another server?")
                self._write(at)
        except OSError as error:
            raise PidFileError(f"cannot write the pid file {path}: {error.strerror}") from None

    def _write(self, at: Entry) -> None:
        """Write a file under another name, then rename it: readers never see half a file."""
        name = f"{at.name}.{self._pid}"
        try:
            fd = _create(name, at)
        except FileExistsError:  # left by a process that had our number, or put there
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=at.dir_fd)
            name += f".{os.urandom(8).hex()}"
            fd = _create(name, at)
        try:
            try:
                os.write(fd, f"{self._pid}\n".encode("ascii"))
            finally:
                os.close(fd)
            os.replace(name, at.name, src_dir_fd=at.dir_fd, dst_dir_fd=at.dir_fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=at.dir_fd)
            raise

    def move(self) -> None:
        """Take the name that another process used until now."""
        if self._path != self._final:
            with contextlib.suppress(OSError), entry(self._path) as at, \
                    entry(self._final) as place:
                os.replace(at.name, place.name, src_dir_fd=at.dir_fd, dst_dir_fd=place.dir_fd)
            self._path = self._final

    def remove(self) -> None:
        """Remove the file if it still names this process."""
        with contextlib.suppress(OSError), entry(self._path) as at:
            if _read(at) == self._pid:
                os.unlink(at.name, dir_fd=at.dir_fd)


def _create(name: str, at: Entry) -> int:
    """Create a file that is ours alone; raise OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o644, dir_fd=at.dir_fd)


def _read(at: Entry) -> int | None:
    """Return the number in a file; None if there is none, or it is no regular file."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(at.name, flags, dir_fd=at.dir_fd)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            return int(os.read(fd, 64).decode("ascii", "replace"))
        finally:
            os.close(fd)
    except (OSError, ValueError):
        return None


def _is_running(pid: int | None) -> bool:
    if pid is None or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs under another account
        return True
    return True
