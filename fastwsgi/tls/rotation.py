"""Certificates that change while the server runs: who notices, and how workers learn of it.

The process that may read the files looks at them a few times a second: the master, or a server
without one. What has changed is read when it has been the same at two looks, so that a change of
several files or links is complete. It is proven, then put into memory that the workers share. They
look at a number in there, and take over what is new for the handshakes from then on. Workers may
run as an account that cannot read the files, and nothing is looked at for each connection.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import stat
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastwsgi.errors import FastwsgiError
from fastwsgi.logs.error import ErrorLog
from fastwsgi.tls.files import Pair
from fastwsgi.tls.settings import Tls, reread
from fastwsgi.tls.tickets import TicketKeys, clock

if TYPE_CHECKING:
    from fastwsgi._core.core import TlsContext

PERIOD = 0.25
"""Seconds between two looks, at the files and at the memory that is shared."""

LEAST = 1 << 20
"""Bytes of the shared memory; those that have never been written take no room."""

NO_FILE = "it is no regular file"

_HEAD = struct.Struct("=QQ32s")


class Page:
    """Certificates, their keys and those of tickets, in memory that a master and its workers share.

    It must be made before they are forked. The master alone writes. Raises OSError.
    """

    def __init__(self, tls: Tls) -> None:
        content = _packed(tls)
        self._memory = mmap.mmap(-1, max(LEAST, 4 * (_HEAD.size + len(content))))
        self._put(content)

    def write(self, tls: Tls) -> bool:
        """Show the workers what is new; False if it is too large for this memory."""
        content = _packed(tls)
        if _HEAD.size + len(content) > len(self._memory):
            return False
        self._put(content)
        return True

    @property
    def number(self) -> int:
        """A number that is another one after each change."""
        return int(_HEAD.unpack_from(self._memory)[0])

    def read(self, tls: Tls) -> tuple[int, Tls] | None:
        """Return the number and what is there, with the settings of ``tls``.

        None while the master is writing, which takes less time than it takes to look again.
        """
        number, length, digest = _HEAD.unpack_from(self._memory)
        content = self._memory[_HEAD.size : _HEAD.size + length]
        # The digest tells a whole content from one that is being written, in whatever order the
        # bytes become visible here.
        if hashlib.sha256(number.to_bytes(8, "big") + content).digest() != digest:
            return None
        return number, _unpacked(content, tls)

    def _put(self, content: bytes) -> None:
        number, length, _ = _HEAD.unpack_from(self._memory)
        number += 1
        digest = hashlib.sha256(number.to_bytes(8, "big") + content).digest()
        self._memory[_HEAD.size : _HEAD.size + len(content)] = content
        rest = length - len(content)
        if rest > 0:  # nothing of a key that is not used any more stays here
            end = _HEAD.size + len(content)
            self._memory[end : end + rest] = bytes(rest)
        _HEAD.pack_into(self._memory, 0, number, len(content), digest)


def _packed(tls: Tls) -> bytes:
    def text(value: bytes | None) -> str | None:
        return None if value is None else value.decode("latin-1")

    return json.dumps({
        "pairs": [(pair.certfile, text(pair.pem), pair.keyfile, text(pair.key), pair.names,
                   pair.kind) for pair in tls.pairs],
        "authorities": text(tls.authorities),
        "tickets": text(tls.tickets.pack()),
    }).encode("ascii")


def _unpacked(content: bytes, tls: Tls) -> Tls:
    found: dict[str, Any] = json.loads(content)
    authorities = found["authorities"]
    return tls._replace(
        pairs=tuple(Pair(certfile, pem.encode("latin-1"), keyfile, key.encode("latin-1"),
                         tuple(names), kind)
                    for certfile, pem, keyfile, key, names, kind in found["pairs"]),
        authorities=None if authorities is None else authorities.encode("latin-1"),
        tickets=TicketKeys.unpack(found["tickets"].encode("latin-1")) or tls.tickets)


class Rotation:
    """What TLS is spoken with at the moment, in the process that may read the files.

    A context of the hook ``ssl_context`` cannot be changed: only a reload makes a new one.
    """

    def __init__(self, tls: Tls, log: ErrorLog) -> None:
        self.tls = tls
        self._log = log
        self._page: Page | None = None
        looks = _looks(tls)
        self._seen: object = None  # at the last look
        # what has been read, or could not be; a pipe, of which there is no more, is not read again
        self._done: object = looks if NO_FILE in looks else None
        self._next_look = 0.0

    @property
    def watched(self) -> bool:
        """Whether anything is going to be noticed."""
        return self.tls.foreign is None

    def page(self) -> Page | None:
        """Return the memory for workers that are forked from now on, None if they need none."""
        if self._page is None and self.watched:
            try:
                self._page = Page(self.tls)
            except OSError as error:
                self._log.warning("workers will not see that certificates have changed before the "
                                  "next reload: %s", error.strerror or error)
        return self._page

    def succeeded_by(self, tls: Tls) -> Rotation:
        """Return the one that a reload goes on with, which may be this one.

        Workers of before the reload follow as well, unless the settings are others.
        """
        if self.watched and self.tls.same_settings(tls):
            self._replace(tls)
            return self
        return Rotation(tls, self._log)

    def deadlines(self) -> list[float]:
        """Return the times at which ``check`` is due, of time.monotonic()."""
        return [self._next_look] if self.watched else []

    def check(self) -> bool:
        """Look whether something is due; True if ``tls`` has been replaced."""
        if not self.watched or time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + PERIOD
        changed = self._look()
        if clock() >= self.tls.tickets.until:
            self._replace(self.tls._replace(tickets=self.tls.tickets.rotated()))
            changed = True
        return changed

    def _look(self) -> bool:
        now = _looks(self.tls)
        settled, self._seen = now == self._seen, now
        if not settled or now == self._done:
            return False
        try:
            if NO_FILE in now:  # a pipe would be waited for
                where = self.tls.files[now.index(NO_FILE)]
                raise FastwsgiError(f"{where}: {NO_FILE}")
            tls = reread(self.tls)
        except FastwsgiError as error:
            if _looks(self.tls) == now:
                self._done = now
                self._log.error("the certificates have changed and cannot be used, the old ones "
                                "stay: %s", error)
            return False
        if _looks(self.tls) != now:  # it was not over
            return False
        self._done = now
        if tls == self.tls:
            return False
        self._replace(tls)
        self._log.info("the certificates have changed, handshakes get the new ones: %s",
                       ", ".join(pair.certfile for pair in tls.pairs))
        return True

    def _replace(self, tls: Tls) -> None:
        self.tls = tls
        if self._page is not None and not self._page.write(tls):
            self._log.error("the new certificates are too large to be passed on: a reload (HUP) "
                            "takes them into use")


def follow(
    page: Page, number: int, tls: Tls, use: Callable[[TlsContext], None], log: ErrorLog,
) -> Callable[[], bool]:
    """Return a function that takes over what is new in the memory, to be called every PERIOD.

    ``number`` is that of ``tls``, and ``use`` gets what new handshakes are to be made with.
    """
    seen = number

    def look() -> bool:
        nonlocal seen
        if page.number != seen and (found := page.read(tls)) is not None:
            seen, new = found
            try:
                use(new.context())
            except FastwsgiError as error:  # what the master could use, so something is short here
                log.error("the new certificates cannot be used, the old ones stay: %s", error)
        return True

    return look


def _looks(tls: Tls) -> tuple[object, ...]:
    """What the files look like from outside, through all links."""
    return tuple(_look(path) for path in tls.files)


def _look(path: str) -> object:
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    if not stat.S_ISREG(found.st_mode):
        return NO_FILE
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
