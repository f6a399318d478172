"""Opening a path as root, without following it to somebody else's file.

A master that is root opens, renames and removes files in directories that others may write to, such
as the log directory of the workers' account. The rule: root follows a symbolic link only where
nobody but root can have put it, and in a directory that others may write to it opens only a regular
file with a single name. So each step of a path starts from an open directory and is checked before
it is taken.

A process that is not root opens paths as any program does, because it has only its own rights. Only
the workers of a master that is root check a log as their master does, so that either all keep the
old one or none.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

HANDLE = getattr(os, "O_PATH", 0)
"""The flag that opens what a name stands for without opening its contents; 0 on macOS."""
_DIRECTORY = (HANDLE or os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_TICK = 10_000_000  # nanoseconds that the time of a file just written may be behind
_MOST_LINKS = 40  # as the kernel has it
_TRIES = 10


def file_time() -> int:
    """Return a time, in nanoseconds, not later than that of any file written from now on."""
    return time.time_ns() - _TICK


def absolute(path: str) -> str:
    """Return ``path`` from the root on, its links and ``..`` as they are.

    pathlib would do, but takes longer to import than most of a start.
    """
    return "/" + "/".join(_steps(os.path.join(os.getcwd(), path)))


def _steps(path: str) -> list[str]:
    return [step for step in path.split("/") if step not in ("", ".")]


class Entry(NamedTuple):
    """A name in an open directory, for functions that take a ``dir_fd``.

    ``others`` says who besides root may change what the name stands for, in words that complete
    "in a directory that". It is empty when nobody may, and when this process is not root.
    ``linked`` is a link that the kernel makes to an open file (/proc/self/fd/1), which can only be
    followed.
    """

    name: str
    dir_fd: int | None = None
    others: str = ""
    linked: bool = False


@contextlib.contextmanager
def entry(
    path: str | os.PathLike[str], *, follow: bool = False, as_root: bool = False,
) -> Iterator[Entry]:
    """Reach the last directory of an absolute path; with ``follow`` that of the file itself.

    With ``as_root`` the rule is that for root, whoever this process is. Raises OSError with
    ``path`` as its file name; the refusal of a link has the errno EPERM.
    """
    if os.geteuid() != 0 and not as_root:
        yield Entry(os.fspath(path))
        return
    try:
        found = _walk(os.fspath(path), follow=follow)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        yield found
    finally:
        if found.dir_fd is not None:
            os.close(found.dir_fd)


def open_log(path: str | os.PathLike[str], owner: tuple[int, int] = (-1, -1)) -> int:
    """Open a file to append to, and create it if it is not there; return the descriptor.

    A new file is given to ``owner`` (user and group id, -1 leaves it), an existing one never is. An
    owner also means that a master that is root opens the same file. Raises OSError with ``path``
    as its file name.
    """
    as_root = owner != (-1, -1)
    try:
        if os.geteuid() != 0 and not as_root:
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with entry(path, follow=True, as_root=as_root) as at:
            return _open(at, owner)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _open(at: Entry, owner: tuple[int, int]) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    if not at.linked:
        flags |= os.O_NOFOLLOW
    if at.others:
        flags |= os.O_NONBLOCK  # a FIFO that somebody has put there must not hold the server up
    for _ in range(_TRIES):
        try:
            fd = os.open(at.name, flags, dir_fd=at.dir_fd)
        except FileNotFoundError:
            pass
        except OSError as error:
            if at.others and error.errno in (errno.ENXIO, errno.ELOOP, errno.EMLINK):
                raise _refused(f"it is not a regular file, in a directory that {at.others}"
                               ) from None
            raise
        else:
            try:
                _check(fd, at)
            except BaseException:
                os.close(fd)
                raise
            return fd
        try:
            fd = os.open(at.name, flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=at.dir_fd)
        except FileExistsError:  # somebody was quicker
            continue
        if owner != (-1, -1):
            with contextlib.suppress(OSError):  # not root, or a file system without owners
                os.fchown(fd, *owner)
        return fd
    raise OSError(errno.EAGAIN, "the file keeps appearing and disappearing")


def _check(fd: int, at: Entry) -> None:
    """Raise OSError for an open file that others can have put where the log should be."""
    if not at.others:
        return
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise _refused(f"it is not a regular file, in a directory that {at.others}")
    if found.st_nlink != 1:
        raise _refused(f"the file has {found.st_nlink} names, one of them in a directory that "
                       f"{at.others}")


def _refused(reason: str) -> OSError:
    return OSError(errno.EPERM, reason)


def _walk(path: str, *, follow: bool) -> Entry:
    """Take a path step by step; the caller closes ``dir_fd`` of what is returned."""
    steps = deque(_steps(path))
    here = os.open("/", _DIRECTORY)
    shown = "/"  # the directory that ``here`` is
    links = 0
    try:
        while steps:
            name = steps.popleft()
            last = not steps
            others = _others(os.fstat(here))
            if last and not follow:
                return Entry(name, here, others)
            found, target = _look(name, here)
            if target is None and last:
                return Entry(name, here, others)
            where = os.path.join(shown, name)
            linked = False
            if target is not None:
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                if found is None or _may_be_planted(os.fstat(here), found, last=last):
                    raise _refused(f"{where} is a symbolic link, in a directory that {others}")
                linked = _is_the_kernels(found)
                if linked and last:
                    return Entry(name, here, "", linked=True)
            if target is None or linked:
                following = 0 if linked else os.O_NOFOLLOW
                next_fd = os.open(name, _DIRECTORY | following, dir_fd=here)
                shown = where
            else:
                absolute = target.startswith("/")
                next_fd = os.open("/" if absolute else ".", _DIRECTORY, dir_fd=here)
                shown = "/" if absolute else shown
                steps.extendleft(reversed(list(_steps(target))))
                if not steps:  # a link to the root directory
                    steps.append(".")
            os.close(here)
            here = next_fd
        return Entry(".", here)
    except BaseException:
        os.close(here)
        raise


def _look(name: str, dir_fd: int) -> tuple[os.stat_result | None, str | None]:
    """Return what a name stands for, None if nothing, and where it leads if it is a link."""
    if not HANDLE:
        try:
            found = os.lstat(name, dir_fd=dir_fd)
        except FileNotFoundError:
            return None, None
        link = stat.S_ISLNK(found.st_mode)
        return found, os.readlink(name, dir_fd=dir_fd) if link else None
    try:
        fd = os.open(name, HANDLE | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    except FileNotFoundError:
        return None, None
    try:  # the link that is judged is the link that is read, whatever the name stands for by now
        found = os.fstat(fd)
        link = stat.S_ISLNK(found.st_mode)
        return found, os.readlink("", dir_fd=fd) if link else None
    finally:
        os.close(fd)


def _others(directory: os.stat_result) -> str:
    """Say who besides root may write to a directory; the empty text for nobody."""
    if directory.st_uid != 0:
        return f"user {directory.st_uid} owns"
    if directory.st_mode & stat.S_IWOTH:
        return "everybody may write"
    if directory.st_mode & stat.S_IWGRP and directory.st_gid != 0:
        return f"group {directory.st_gid} may write"
    return ""


def _may_be_planted(
    directory: os.stat_result, link: os.stat_result, *, last: bool,
) -> bool:
    """Whether somebody other than root can have put this link into this directory.

    In a directory of root's with the sticky bit, as /tmp, nobody else can move or remove a link of
    root's. A directory of root's that a group may write, as /var/log of some systems, has links to
    directories that the administrator has made; to the file itself none is followed there. With a
    second name it can be anybody's hard link to a link of root's.
    """
    if not _others(directory):
        return False
    if directory.st_uid != 0 or link.st_uid != 0 or link.st_nlink != 1:
        return True
    if directory.st_mode & stat.S_ISVTX:
        return False
    return last or not HANDLE or bool(directory.st_mode & stat.S_IWOTH)


def _is_the_kernels(link: os.stat_result) -> bool:
    """Whether a link is one of /proc, whose text need not be a path."""
    with contextlib.suppress(OSError):
        return os.stat("/proc").st_dev == link.st_dev
    return False
