"""Where the error log goes: a file, or a pipe, terminal or socket whose reader may sleep.

No request waits for a log. A pipe that nobody reads is waited for once, for a moment; until it
takes something again, records for it are lost at once. They are counted, and the log says how many
when it can.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import stat
from typing import TextIO

from fastwsgi.system.pipes import no_sigpipe, own_description

PATIENCE = 0.2
"""Seconds that a record waits for a reader that has kept up so far."""
_AT_ONCE = 4096  # bytes of a write that no other process can write into (PIPE_BUF)


class Outlet:
    """A descriptor that is written to without ever waiting long.

    A regular file is written to as it is. Raises OSError at its making for a closed descriptor.
    """

    def __init__(self, fd: int) -> None:
        found = os.fstat(fd)
        self._fd = fd
        self.of = (fd, found.st_dev, found.st_ino)
        self._own = -1
        self._socket: socket.socket | None = None
        self._stalled = False
        self.regular = stat.S_ISREG(found.st_mode)
        if stat.S_ISSOCK(found.st_mode):
            self._socket = socket.socket(fileno=os.dup(fd))
        elif not self.regular:
            self._own = own_description(fd)

    def write(self, data: bytes) -> None:
        """Write all of it; raise OSError if not even a part of it could be written in time."""
        rest, begun, refused = memoryview(data), False, False
        while rest:
            if not self.regular and not self._is_ready(begun):
                self._stalled = True
                raise BlockingIOError("nobody reads it")
            try:
                rest = rest[self._write_some(rest) :]
                begun = True
            except BlockingIOError:
                if self._stalled or refused:
                    raise
                refused = True
        self._stalled = False

    def _is_ready(self, begun: bool) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(PATIENCE * 1000 if begun or not self._stalled else 0))

    def _write_some(self, rest: memoryview) -> int:
        if self._socket is not None:
            return self._socket.send(rest, socket.MSG_DONTWAIT)
        if self.regular:
            return os.write(self._fd, rest)
        return os.write(self._own if self._own >= 0 else self._fd, rest[:_AT_ONCE])

    def close(self) -> None:
        """Close what was opened here."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._own >= 0:
            os.close(self._own)
            self._own = -1

    def __del__(self) -> None:
        self.close()


class File:
    """A log file without a buffer: on a full disk a record is lost, not kept for a later try.

    A buffer would grow with every record, and fail once more when the file is closed.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._outlet = Outlet(fd)

    def write(self, text: str) -> None:
        """Write all of ``text``; raise OSError."""
        self._outlet.write(text.encode("utf-8", "backslashreplace"))

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def flush(self) -> None:
        """Do nothing: everything is written."""

    def close(self) -> None:
        """Close the file."""
        self._outlet.close()
        os.close(self._fd)


class Handler(logging.Handler):
    """Write whole texts to the log's file, or to whatever stderr is now.

    ``lost`` is called, with a number, when something can be written again.
    """

    def __init__(self, file: TextIO | File | None) -> None:
        super().__init__()
        self.file = file
        self.lost = 0
        self._outlet: Outlet | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        if self.put(self.format(record) + "\n") and self.lost:
            lost, self.lost = self.lost, 0
            said = logging.LogRecord(
                "fastwsgi.error", logging.ERROR, "", 0, "The error log could not be written: %d "
                "records are lost", (lost,), None)
            if not self.put(self.format(said) + "\n"):
                self.lost += lost

    def put(self, text: str) -> bool:
        """Write and flush; a log that cannot be written must not stop the service."""
        import sys  # what it names may have changed

        file = self.file or sys.stderr
        if file is None:
            return True
        with contextlib.suppress(OSError, ValueError), no_sigpipe():
            outlet = self._outlet_of(file)
            if outlet is not None:
                outlet.write(text.encode("utf-8", "backslashreplace"))
                return True
            try:
                file.write(text)
            except UnicodeEncodeError:
                file.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            file.flush()
            return True
        self.lost += 1
        return False

    def _outlet_of(self, file: TextIO | File) -> Outlet | None:
        """Return the way around a stream that would wait for its reader; None if it needs none."""
        if isinstance(file, File):
            return None
        try:
            fd = file.fileno()
            found = os.fstat(fd)
        except (OSError, ValueError, AttributeError):
            return None
        if stat.S_ISREG(found.st_mode):
            return None
        if self._outlet is None or self._outlet.of != (fd, found.st_dev, found.st_ino):
            self._outlet = Outlet(fd)
        file.flush()  # what somebody else has written comes first
        return self._outlet
