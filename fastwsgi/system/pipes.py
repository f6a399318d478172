"""Writing to a pipe whose reader may have gone."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

_PIPE = frozenset({signal.SIGPIPE})


@contextlib.contextmanager
def no_sigpipe() -> Iterator[None]:
    """Let a write in the block fail with EPIPE alone, where an application has SIGPIPE end us.

    The signal is held back in this thread and taken if it came. A thread that held it back for good
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
