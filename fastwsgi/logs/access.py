"""The file of the access log: opened by the master, inherited by the workers, reopened by USR1.

The compiled core makes and writes its lines and knows only the descriptor. So a reopened file gets
the number of the old one.
"""

from __future__ import annotations

import os

from fastwsgi.errors import ConfigError
from fastwsgi.logs.format import FIELDS, parse, parse_fields
from fastwsgi.system.paths import absolute, open_log


class AccessFile:
    """The file of the access log of one server, as its settings say.

    ``path`` is a file's, or ``-`` for stdout. ``fields`` are for the format ``json``. ``owner``
    (user and group id, -1 leaves it) is given a file that is created, so that workers under another
    account can reopen it. It is closed when nobody refers to it any more, the core included.
    ``fd``, ``pieces`` and ``json`` are for the core's AccessLog. Raises ConfigError.
    """

    def __init__(
        self, path: str, pattern: str, fields: tuple[str, ...] = FIELDS,
        owner: tuple[int, int] = (-1, -1),
    ) -> None:
        self._path = None if path == "-" else absolute(path)
        self._owner = owner
        self.fd = -1
        self.pieces, self.json = parse_fields(fields) if pattern == "json" else parse(pattern)
        try:
            self.fd = 1 if self._path is None else self._open()
        except OSError as error:
            raise ConfigError(f"cannot write the access log {self._path}: {error.strerror}"
                              ) from None

    def says(self, kind: str) -> bool:
        """Whether a line has a piece of this kind."""
        return any(kind == piece for piece, _ in self.pieces)

    def _open(self) -> int:
        assert self._path is not None
        return open_log(self._path, self._owner)

    def reopen(self) -> None:
        """Reopen the file after it was moved away; raise OSError and keep the old one."""
        if self._path is None:
            return
        fd = self._open()
        try:
            os.dup2(fd, self.fd, inheritable=False)
        finally:
            os.close(fd)

    def __del__(self) -> None:
        if self._path is not None and self.fd >= 0:
            os.close(self.fd)
