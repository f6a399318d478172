"""What the workers of one master share to distribute new connections: a page and bells.

Who takes which connection is decided by the core (csrc/io/siblings.h, whose sizes this repeats).
The master makes the page and the bells before it forks, so that all workers inherit them, gives
each worker a slot and clears it when the worker has ended. Their number is fixed then: a worker
without a slot does not take part.
"""

from __future__ import annotations

import mmap
import os
from typing import NamedTuple

_SLOT = 64  # bytes; the head of the page is as long
LEAST, MOST = 16, 1024
"""Bounds of the number of slots, which is twice that of the workers: a reload doubles them. Each is
a descriptor in every worker, so there are no more than can be of use."""


class Slot(NamedTuple):
    """What one worker gets: the page, its slot, and the (read, write) descriptors of all bells."""

    page: mmap.mmap
    own: int
    bells: list[tuple[int, int]]


class Siblings:
    """The page and the bells of a master's workers; raises OSError when bells cannot be opened."""

    def __init__(self, workers: int) -> None:
        count = max(LEAST, min(2 * workers, MOST))
        self._bells: list[tuple[int, int]] = []
        try:
            for _ in range(count):
                self._bells.append(_bell())
            self._page = mmap.mmap(-1, (1 + count) * _SLOT)
        except OSError:
            self.close()
            raise
        self._used: set[int] = set()

    def take(self) -> int | None:
        """Return a slot for a worker that is about to be forked, None if there is none."""
        # the lowest, because a worker that looks for the best looks at all below the highest used
        own = next((slot for slot in range(len(self._bells)) if slot not in self._used), None)
        if own is not None:
            self._used.add(own)
        return own

    def give_back(self, own: int | None) -> None:
        """Clear the slot of a worker that has ended, for the next one."""
        if own is not None:
            start = (1 + own) * _SLOT
            self._page[start : start + _SLOT] = bytes(_SLOT)
            self._used.discard(own)

    def slot(self, own: int) -> Slot:
        """Return what the worker in this slot gets."""
        return Slot(self._page, own, self._bells)

    def close(self) -> None:
        """Close the bells; the memory goes with the last process that has it."""
        for fd in {fd for bell in self._bells for fd in bell}:
            os.close(fd)
        self._bells.clear()


def _bell() -> tuple[int, int]:
    """Open a descriptor to read and one to write, neither of which blocks."""
    if hasattr(os, "eventfd"):
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return fd, fd
    ends = os.pipe()
    for fd in ends:
        os.set_blocking(fd, False)
    return ends
