"""Ports for programs that can neither inherit a socket nor say which port they got.

Rule: a port is bound here, and not listened on, until its program has ended. So nobody else gets
it, and the program, which sets SO_REUSEADDR, does.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def reserved() -> Iterator[tuple[str, int]]:
    """An address of 127.0.0.1 that is the caller's as long as the block lasts."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()
