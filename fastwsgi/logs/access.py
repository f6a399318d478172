"""The file of the access log: opened by the master, inherited by the workers, reopened by USR1.

The compiled core makes and writes its lines and knows only the descriptor. So a reopened file gets
the number of the old one. With syslog, each worker has a pipe in its place, from which a thread
sends the lines on (forward.py).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastwsgi.errors import ConfigError
from fastwsgi.logs.format import FIELDS, parse, parse_fields
from fastwsgi.system.paths import absolute, open_log
from fastwsgi.system.pipes import own_description

if TYPE_CHECKING:
    from fastwsgi.logs.forward import Forwarder
    from fastwsgi.logs.syslog import Sender


class AccessFile:
    """The access log of one server, as its settings say.

    ``path`` is a file's, or ``-`` for stdout; it may be empty with a ``sender``, which sends the
    lines to syslog. ``fields`` are for the format ``json``. ``owner`` (user and group id, -1 leaves
    it) is given a file that is created, so that workers under another account can reopen it. It is
    closed when nobody refers to it any more, the core included. ``leaves`` says that this process
    is about to leave its stdout. ``fd``, ``pieces``, ``json`` and
    ``finish`` are for the core's AccessLog. Raises ConfigError.
    """

    def __init__(
        self, path: str, pattern: str, fields: tuple[str, ...] = FIELDS,
        owner: tuple[int, int] = (-1, -1), sender: Sender | None = None, *,
        leaves: bool = False,
    ) -> None:
        self._path = absolute(path) if path not in ("", "-") else None
        self._owner = owner
        self._sender = sender
        self._forwarder: Forwarder | None = None
        self._file = -1
        self._ours = -1  # what is to be closed
        self.pieces, self.json = parse_fields(fields) if pattern == "json" else parse(pattern)
        try:
            if self._path is not None:
                self._file = self._ours = self._open()
            elif path:
                self._ours = -1 if leaves else own_description(1)
                self._file = self._ours if self._ours >= 0 else 1
        except OSError as error:
            raise ConfigError(f"cannot write the access log {self._path}: {error.strerror}"
                              ) from None
        self.fd = self._file

    def says(self, kind: str) -> bool:
        """Whether a line has a piece of this kind."""
        return any(kind == piece for piece, _ in self.pieces)

    def begin(self, complain: Callable[[str], None]) -> None:
        """Begin to be written to, in the process that does; ``complain`` says what is lost."""
        if self._sender is not None:
            from fastwsgi.logs.forward import Forwarder  # needed with syslog only

            self._forwarder = Forwarder(self._sender, self._file, complain)
            self.fd = self._forwarder.fd

    def finish(self) -> None:
        """End it: the last line has been written."""
        if self._forwarder is not None:
            self._forwarder.close()

    def _open(self) -> int:
        assert self._path is not None
        fd = open_log(self._path, self._owner)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.set_blocking(fd, False)  # no request waits for a reader
        return fd

    def reopen(self) -> None:
        """Reopen the file after it was moved away; raise OSError and keep the old one."""
        if self._path is None:
            return
        fd = self._open()
        try:
            os.dup2(fd, self._file, inheritable=False)
        finally:
            os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_ours", -1) >= 0:
            os.close(self._ours)
