"""Writing to a pipe whose reader may have gone."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

_PIPE = frozenset({signal.SIGPIPE})


@contextlib.contextmanager
def no_sigpipe() -> Iterator[None]:
    """Make a write in the block fail with EPIPE only, even if the application has reset SIGPIPE.

    The signal is blocked in this thread and consumed if it came. A thread that blocked it for good
    would pass that on to the application's children.
    """
    if signal.getsignal(signal.SIGPIPE) is not signal.SIG_DFL:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PIPE)
    try:
        yield
    finally:
        if signal.SIGPIPE not in before:
            if signal.SIGPIPE in signal.sigpending():
                signal.sigwait(_PIPE)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def own_description(fd: int) -> int:
    """Open what ``fd`` refers to once more, to write without waiting; -1 if that cannot be.

    O_NONBLOCK is a property of an open file description, which others have too: the shell, or the
    application that prints. So it is set for one of our own.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        own = os.open(f"/proc/self/fd/{fd}", flags)
    except OSError:  # no /proc, a socket, or a terminal of somebody else's
        return -1
    here, there = os.fstat(fd), os.fstat(own)
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
        os.close(own)
        return -1
    return own
