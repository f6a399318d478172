"""systemd: sockets that it passes on (LISTEN_FDS) and notifications to it (sd_notify).

Both protocols are a few lines of environment variables and datagrams, documented in
sd_listen_fds(3) and sd_notify(3), so no library is needed. The variables are removed from the
environment, so that neither workers nor programs that the application starts use them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

FIRST_FD = 3
"""SD_LISTEN_FDS_START."""
ASKED = "systemd"
"""What a listener is asked for by when systemd has opened it."""


def passed_descriptors() -> list[int]:
    """Return the descriptors of the sockets passed to this process; asked once, none are left."""
    environ = os.environ
    count, pid = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    if not count.isdecimal() or pid != str(os.getpid()):
        return []
    return list(range(FIRST_FD, FIRST_FD + int(count)))


def leave_to_successor(environ: MutableMapping[str, str]) -> None:
    """Take out of ``environ`` what is meant for this very process, before another inherits it."""
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"):
        environ.pop(name, None)


class Notifier:
    """Tells the service manager our status; without one, every call does nothing.

    ``watchdog`` is the time in seconds within which the manager wants a sign of life, or None.
    """

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog = watchdog if address else None

    @classmethod
    def take(cls) -> Notifier:
        """Build it from the environment variables, which are gone afterwards."""
        address = os.environ.pop("NOTIFY_SOCKET", "")
        interval = os.environ.pop("WATCHDOG_USEC", "")
        pid = os.environ.pop("WATCHDOG_PID", "")
        meant = pid in ("", str(os.getpid()))
        seconds = int(interval) / 1e6 if interval.isdecimal() and meant else 0
        return cls(address if address[:1] in ("/", "@") else "", seconds or None)

    def send(self, *lines: str) -> None:
        """Send one message; a manager that does not listen is ignored."""
        if not self._address:
            return
        with contextlib.suppress(OSError), \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto("\n".join(lines).encode(), self._address)

    def ready(self, status: str) -> None:
        """Report that all workers serve, after a start or a reload."""
        self.send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Report that a reload begins, with the time that Type=notify-reload needs."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}",
                 "STATUS=reloading")

    def stopping(self) -> None:
        """Report that the service ends."""
        self.send("STOPPING=1", "STATUS=stopping")

    def hand_over(self, pid: int) -> None:
        """Report that another process is the main process from now on."""
        self.send(f"MAINPID={pid}")

    def feed_watchdog(self) -> None:
        """Put off the watchdog."""
        self.send("WATCHDOG=1")
