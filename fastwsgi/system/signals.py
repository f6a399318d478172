"""Signals as events: handlers only enqueue, and the numbers are read later."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable


class SignalQueue:
    """Receives the given signals until ``close``, which restores the previous handlers.

    The kernel's number goes through the wake-up pipe; ``fd`` is readable when some are waiting, and
    ``fds`` are what a forked child has to close.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self.fd, self._wakeup = os.pipe()
        self.fds = (self.fd, self._wakeup)
        for fd in self.fds:
            os.set_blocking(fd, False)
        self._before = {number: signal.signal(number, _enqueued) for number in numbers}
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)

    def take(self) -> list[signal.Signals]:
        """Return the signals that have come since the last call, in order."""
        try:
            return [signal.Signals(number) for number in os.read(self.fd, 4096)]
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Restore the previous handlers."""
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        for fd in self.fds:
            os.close(fd)


def _enqueued(_number: int, _frame: object) -> None:
    """Do nothing: the number is in the wake-up pipe already."""
