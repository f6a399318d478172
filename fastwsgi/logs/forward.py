"""Lines of the access log on their way to syslog: a pipe, and a thread that empties it.

The core writes lines into the pipe and never waits for it, so a receiver that is slow or gone costs
lines and no request. The lines go to the file of the access log too, if there is one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable

from fastwsgi.logs.records import iso_time
from fastwsgi.logs.syslog import Sender, Transport

_ROOM = 1 << 20  # bytes that the pipe may hold
_LAST = 1.0  # seconds that the thread may take for the last lines
_INFO = 6


class Forwarder:
    """Sends lines that are written to ``fd``, and writes them to ``file`` if that is not -1."""

    def __init__(self, sender: Sender, file: int, complain: Callable[[str], None]) -> None:
        self._sender = sender
        self._file = file
        self._reading, self.fd = os.pipe()
        os.set_blocking(self.fd, False)
        with contextlib.suppress(OSError, AttributeError):  # Linux, up to what an account may have
            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, _ROOM)
        self._transport = Transport(sender, complain)
        self._thread = threading.Thread(target=self._run, name="fastwsgi-syslog", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        rest = b""
        while data := os.read(self._reading, 65536):
            if self._file >= 0:
                with contextlib.suppress(OSError):
                    os.write(self._file, data)
            *lines, rest = (rest + data).split(b"\n")
            self._send(lines)

    def _send(self, lines: list[bytes]) -> None:
        moment, process = iso_time(time.time()), str(os.getpid())
        if self._sender.place.kind == "journal":
            head = (f"PRIORITY={_INFO}\nSYSLOG_IDENTIFIER={self._sender.name}\n"
                    f"SYSLOG_FACILITY={self._sender.facility}\nLOGGER=fastwsgi.access\nMESSAGE="
                    ).encode()
            end = b"\n"
        else:
            head = self._sender.head(_INFO, "access", moment, process).encode("ascii")
            end = b""
        for line in lines:
            self._transport.send(head + line + end)

    def close(self) -> None:
        """Let the thread send what is left, for a moment."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._thread.join(_LAST)
            if not self._thread.is_alive():
                os.close(self._reading)
                self._transport.close()
