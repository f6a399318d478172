"""The keys of session tickets, which a master makes for all of its workers.

A key seals tickets for a while, and opens them for as long again. Keys live in the memory of
processes only. A new master gets them through a pipe, so that sessions survive an upgrade.
"""

from __future__ import annotations

import os
import struct
import time
from typing import NamedTuple

SIZE = 80
"""Bytes of a key (csrc/tls/tickets.h)."""

PERIOD = 6 * 3600.0
"""Seconds for which a key seals: more than the two hours for which OpenSSL lets a session live."""

_PACKED = struct.Struct(f"=d{SIZE}s{SIZE}s?")


def clock() -> float:
    """Return the time of keys: seconds, the same in all processes."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class TicketKeys(NamedTuple):
    """The key that seals, since ``made``, and the one before it, which still opens."""

    current: bytes
    previous: bytes | None
    made: float

    def __repr__(self) -> str:
        return f"TicketKeys(made={self.made!r})"  # the keys are for no log

    @classmethod
    def new(cls) -> TicketKeys:
        """Make the first key."""
        return cls(os.urandom(SIZE), None, clock())

    @property
    def all(self) -> bytes:
        """All keys for the core, the one that seals first."""
        return self.current + (self.previous or b"")

    @property
    def until(self) -> float:
        """When the key that seals has done so for long enough."""
        return self.made + PERIOD

    def rotated(self) -> TicketKeys:
        """Return keys of which a new one seals."""
        return TicketKeys(os.urandom(SIZE), self.current, clock())

    def pack(self) -> bytes:
        """Return the keys as a new master reads them."""
        return _PACKED.pack(self.made, self.current, self.previous or bytes(SIZE),
                            self.previous is not None)

    @classmethod
    def unpack(cls, packed: bytes) -> TicketKeys | None:
        """Read them; None if they are none of ours, as from a master of another release."""
        if len(packed) != _PACKED.size:
            return None
        made, current, previous, both = _PACKED.unpack(packed)
        return cls(current, previous if both else None, min(made, clock()))
