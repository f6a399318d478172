"""An address to listen on, as ``--bind`` has it: parsing and formatting."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

DEFAULT_PORT = 8000


class Address(NamedTuple):
    """An address to listen on, as the operator wrote it.

    ``kind`` says which of the other fields count: ``host`` and ``port`` for tcp, ``path`` for unix
    (beginning with ``@`` for an abstract name on Linux), ``fd`` for an inherited descriptor.
    ``tls`` says whether it speaks TLS; None leaves that to whether there is a certificate.
    """

    kind: Literal["tcp", "unix", "fd"]
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1
    tls: bool | None = None

    def __str__(self) -> str:
        scheme = "" if self.tls is None else "https://" if self.tls else "http://"
        return f"{scheme}{self.place}"

    @property
    def place(self) -> str:
        """Where it listens, whatever it speaks there."""
        if self.kind == "unix":
            return f"unix:{self.path}"
        if self.kind == "fd":
            return f"fd://{self.fd}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def speaks_tls(self, certified: bool) -> bool:
        """Whether TLS is spoken there, if there is a certificate: not on unix sockets."""
        return (certified and self.kind != "unix") if self.tls is None else self.tls


def parse_address(text: str) -> Address:
    """Read ``host:port``, ``[v6]:port``, ``:port``, ``unix:path``, ``unix:@name`` or ``fd://N``.

    In front of each of them ``https://``, ``tls://`` or ``http://`` says what it speaks.
    """
    scheme = re.match(r"(https|tls|http)://", text)
    if scheme is not None:
        return _parse_place(text[scheme.end() :], text)._replace(tls=scheme[1] != "http")
    return _parse_place(text, text)


def _parse_place(text: str, whole: str) -> Address:
    if text.startswith("unix:"):
        path = text[len("unix:") :].removeprefix("//")
        if not path or path == "@" or "\0" in path:
            raise ValueError(f"unix:PATH or unix:@NAME, not {whole!r}")
        return Address("unix", path=path)
    if text.startswith("fd://"):
        number = text[len("fd://") :]
        if not re.fullmatch(r"\d{1,9}", number, re.ASCII):
            raise ValueError(f"fd://N with N a descriptor's number, not {whole!r}")
        return Address("fd", fd=int(number))
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/\s]*))(?::([+-]?\d+))?",
                         text.removeprefix("tcp://"), re.ASCII)
    if found is None or text.isdigit() or not text:
        raise ValueError(
            f"HOST:PORT, [IPV6]:PORT, :PORT, unix:PATH or fd://N, not {whole!r}")
    port = DEFAULT_PORT if found[3] is None else int(found[3][:20])
    if not 0 <= port <= 65535 or not (found[3] or "0").isdigit():
        raise ValueError(f"an address with a port from 1 to 65535, or 0 for any that is free, not "
                         f"{whole!r}")
    return Address("tcp", host=found[1] or found[2] or "0.0.0.0", port=port)
