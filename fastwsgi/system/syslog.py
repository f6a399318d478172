"""Where syslog is: its address as a setting has it, and its facilities."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

FACILITIES = {
    name: number for number, name in enumerate(
        ("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
         "authpriv", "ftp"))} | {f"local{n}": 16 + n for n in range(8)} | {"security": 4}
"""RFC 5424, table 1, by the names that gunicorn has too."""
JOURNAL = "/run/systemd/journal/socket"
PORT = 514
_HOST = re.compile(r"(?:\[([:.%\w]+)\]|([^\s:/\[\]]+))(?::(\d{1,5}))?", re.ASCII)


class Place(NamedTuple):
    """Where messages go: ``kind`` is udp, tcp, dgram, stream or journal; ``host`` may be a path."""

    kind: str
    host: str
    port: int = 0

    @property
    def streams(self) -> bool:
        """Whether messages follow each other without a boundary."""
        return self.kind in ("tcp", "stream")

    def resolve(self) -> tuple[int, int, str | tuple[str, int]]:
        """Return family, type and address for a socket; raise OSError."""
        import socket  # not needed for --help

        sort = socket.SOCK_STREAM if self.streams else socket.SOCK_DGRAM
        if self.kind not in ("udp", "tcp"):
            path = "\0" + self.host[1:] if self.host.startswith("@") else self.host
            return socket.AF_UNIX, sort, path
        found = socket.getaddrinfo(self.host, self.port, type=sort)[0]
        return found[0], sort, found[4]  # type: ignore[return-value]


def parse_place(text: str) -> Place:
    """Parse an address; raise ValueError whose text completes "syslog_addr must be"."""
    wanted = ("udp://HOST:PORT, tcp://HOST:PORT, unix://PATH (#dgram or #stream behind it) or "
              f"journal, not {text!r}")
    if text == "journal":
        return Place("journal", JOURNAL)
    scheme, colon, rest = text.partition(":")
    rest = rest.removeprefix("//")
    if not colon or not rest:
        raise ValueError(wanted)
    if scheme in ("unix", "journal"):
        path, _, kind = rest.partition("#")
        if kind not in ("", "dgram", "stream") or not path or len(os.fsencode(path)) > 107:
            raise ValueError(wanted)
        return Place("journal" if scheme == "journal" else kind or "dgram", path)
    found = _HOST.fullmatch(rest)
    if scheme not in ("udp", "tcp") or found is None or not 0 < int(found[3] or PORT) < 65536:
        raise ValueError(wanted)
    return Place(scheme, found[1] or found[2], int(found[3] or PORT))
