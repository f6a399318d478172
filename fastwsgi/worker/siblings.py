"""What the workers of one master share to distribute connections: a page, bells and a socket pair.

Who takes which connection is decided by the core (csrc/io/siblings.h and csrc/io/travel.h, whose
sizes this repeats). The master makes all of it before it forks, so that all workers inherit it,
gives each worker a slot and clears it when the worker has ended. Their number is fixed then: a
worker without a slot does not take part. A new master (USR2) gets the same from the old one, and
uses the slots with odd numbers where that one uses the even ones, or the other way round.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import sys
from typing import Any, NamedTuple

from fastwsgi.worker.scoreboard import nameless

_SLOT = 64  # bytes; the head of the page is as long
_WAITS, _ENDED = 4, 8  # bytes from the beginning of the page: what the master writes there
_LAYOUT = 1  # of the page and the messages; to be raised with every change
_RING = (1).to_bytes(8, sys.byteorder)
LEAST, MOST = 64, 1024
"""Bounds of the number of slots, which is eight times that of the workers: a reload doubles them,
and so does an upgrade, while those of the reloads before may still be at their last requests. A
worker without a slot has nobody to pass connections on to. Each is a descriptor in every worker, so
there are no more than can be of use."""


class Slot(NamedTuple):
    """What one worker gets: the page, its slot, the (read, write) descriptors of all bells, and the
    ends (to, from) of the socket pair through which connections travel."""

    page: mmap.mmap
    own: int
    bells: list[tuple[int, int]]
    travel: tuple[int, int]


class Siblings:
    """What a master's workers share; raises OSError when its descriptors cannot be opened."""

    def __init__(self, workers: int) -> None:
        count = max(LEAST, min(8 * workers, MOST))
        self._bells: list[tuple[int, int]] = []
        self._travel = (-1, -1)
        self._fd = -1
        self._turn = 0
        self._used: set[int] = set()
        try:
            for _ in range(count):
                self._bells.append(_bell())
            self._travel = _pair()
            size = (1 + count) * _SLOT
            if hasattr(os, "memfd_create"):
                self._fd = nameless(size)
            self._page = mmap.mmap(self._fd, size)
        except OSError:
            self.close()
            raise

    @classmethod
    def inherited(cls, described: dict[str, Any]) -> Siblings | None:
        """Return what the old master of an upgrade has described; None if it is not as ours."""
        fds = [int(fd) for fd in described["fds"]]
        for fd in fds:
            os.set_inheritable(fd, False)
        if described["layout"] != _LAYOUT:
            for fd in fds:
                os.close(fd)
            return None
        self = cls.__new__(cls)
        self._bells = [(int(read), int(write)) for read, write in described["bells"]]
        to, from_ = described["travel"]
        self._travel = (int(to), int(from_))
        self._fd = int(described["page"])
        self._turn = int(described["turn"])
        self._used = set()
        self._page = mmap.mmap(self._fd, (1 + len(self._bells)) * _SLOT)
        self._set(_ENDED + 4 * self._turn, 0)
        return self

    def described(self) -> dict[str, Any] | None:
        """Return what a new master has to know, None if it cannot have a share.

        ``fds`` are the descriptors that it is to inherit.
        """
        if self._fd < 0:
            return None
        return {"layout": _LAYOUT, "bells": self._bells, "travel": self._travel, "page": self._fd,
                "turn": 1 - self._turn, "fds": sorted(self._fds())}

    def _fds(self) -> set[int]:
        """Return all descriptors."""
        return {fd for pair in (*self._bells, self._travel, (self._fd, -1)) for fd in pair
                if fd >= 0}

    def _set(self, at: int, value: int) -> None:
        self._page[at : at + 4] = value.to_bytes(4, sys.byteorder)

    def take(self) -> int | None:
        """Return a slot for a worker that is about to be forked, None if there is none."""
        # the lowest, because a worker that looks for the best looks at all below the highest used
        slots = range(self._turn, len(self._bells), 2)
        own = next((slot for slot in slots if slot not in self._used), None)
        if own is not None:
            self._used.add(own)
        return own

    def give_back(self, own: int | None) -> None:
        """Clear the slot of a worker that has ended, for the next one.

        It may have died while it looked at what is in the socket: the others are to look again.
        """
        if own is not None:
            start = (1 + own) * _SLOT
            self._page[start : start + _SLOT] = bytes(_SLOT)
            self._used.discard(own)
            self._let_look()

    def _let_look(self) -> None:
        """Ring the bells of all workers, those of another master too: something may wait."""
        self._set(_WAITS, 1)
        for slot, (_, write) in enumerate(self._bells):
            start = (1 + slot) * _SLOT
            if slot in self._used or any(self._page[start : start + 4]):
                with contextlib.suppress(BlockingIOError):  # it is full of rings
                    os.write(write, _RING)

    def forget_others(self) -> None:
        """Clear the slots of the other master of an upgrade, which has ended.

        If it was killed, nobody has cleared them, and what is left to its workers is lost time.
        """
        self._set(_ENDED + 4 * (1 - self._turn), 1)
        for slot in range(1 - self._turn, len(self._bells), 2):
            start = (1 + slot) * _SLOT
            self._page[start : start + _SLOT] = bytes(_SLOT)
        self._let_look()

    def end(self) -> None:
        """Note that all workers of this master are going to stop: nothing is to come to them."""
        self._set(_ENDED + 4 * self._turn, 1)

    def slot(self, own: int) -> Slot:
        """Return what the worker in this slot gets."""
        return Slot(self._page, own, self._bells, self._travel)

    def close(self) -> None:
        """Close all descriptors; the memory goes with the last process that has it."""
        for fd in self._fds():
            os.close(fd)
        self._bells.clear()
        self._travel, self._fd = (-1, -1), -1


def _bell() -> tuple[int, int]:
    """Open a descriptor to read and one to write, neither of which blocks."""
    if hasattr(os, "eventfd"):
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return fd, fd
    ends = os.pipe()
    for fd in ends:
        os.set_blocking(fd, False)
    return ends


def _pair() -> tuple[int, int]:
    """Open the socket pair through which connections travel: where they are put, and taken."""
    to, from_ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (to, from_):
        end.setblocking(False)
    return to.detach(), from_.detach()
