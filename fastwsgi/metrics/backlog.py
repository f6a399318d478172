"""How many connections wait in the kernel to be accepted (TCP on Linux)."""

from __future__ import annotations

import socket
import struct
import sys

_LISTEN = 10
_UNACKED = struct.Struct("=I")
_UNACKED_AT = 24  # tcpi_unacked in struct tcp_info (linux/tcp.h): of a listener, its accept queue


def backlog(listener: socket.socket) -> int | None:
    """Return the connections that a listening socket has in its queue; None: not known."""
    if sys.platform != "linux" or listener.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    except OSError:
        return None
    if len(info) < _UNACKED_AT + _UNACKED.size or info[0] != _LISTEN:
        return None
    return int(_UNACKED.unpack_from(info, _UNACKED_AT)[0])
