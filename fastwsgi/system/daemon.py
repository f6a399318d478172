"""Leaving the terminal (--daemon): the command returns when the server is ready, or has failed.

The process that the shell started waits for a byte from the server below it and ends with that
exit code, so that a script knows whether the server runs.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn


class Daemon:
    """The server's side, without a terminal from here on.

    Building it forks twice: the calling process waits and never returns, its grandchild does, in a
    session that it does not lead, with /dev/null for stdin, stdout and stderr.
    """

    READY = 0
    """What the waiting process ends with when the server is ready."""

    def __init__(self) -> None:
        read_end, self._fd = os.pipe()
        if os.fork():
            os.close(self._fd)
            _wait(read_end)
        os.close(read_end)
        os.setsid()
        if os.fork():  # only the leader of a session can get a terminal again
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        os.close(null)

    def report(self, code: int) -> None:
        """Let the command return with ``code``; only the first call counts."""
        if self._fd >= 0:
            os.write(self._fd, bytes([code]))
            os.close(self._fd)
            self._fd = -1


def _wait(read_end: int) -> NoReturn:
    code = 1
    try:
        byte = os.read(read_end, 1)
        code = byte[0] if byte else 1
        if code != Daemon.READY:
            sys.stderr.write("fastwsgi: error: the server ended before it was ready; its error "
                             "log says why\n")
            sys.stderr.flush()
    finally:
        os._exit(code)
