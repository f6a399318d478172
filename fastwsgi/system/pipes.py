"""Writing to a pipe whose reader may have gone."""

from __future__ import annotations

import contextlib
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
