"""Syslog (RFC 5424) and the journal of systemd, for both logs.

A message is one datagram, or in a stream its length and itself (RFC 6587, octet counting); it ends
with a line feed there, which receivers that count drop, and those that look for lines need. Nothing
here waits for a receiver: what it does not take is lost, counted, and said by the log. One that has
gone is looked for again once a second.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from fastwsgi.logs.records import iso_time
from fastwsgi.system.syslog import Place

_MOST = 60_000  # bytes of a message, so that it fits a datagram
_AGAIN = 1.0  # seconds between two attempts to reach a receiver
_SAID = 60.0  # seconds between two records that tell of lost ones
_SEVERITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class Sender(NamedTuple):
    """Who speaks: where to, under which name and facility."""

    place: Place
    name: str
    facility: int

    def head(self, severity: int, kind: str, moment: str, process: str) -> str:
        """Return what stands in front of a message of RFC 5424."""
        return (f"<{self.facility * 8 + severity}>1 {moment} {_word(socket.gethostname(), 255)} "
                f"{_word(self.name, 48)} {process} {kind} - ")


def _word(text: str, most: int) -> str:
    """Return a text as a word of RFC 5424: visible ASCII, or a dash for nothing."""
    return re.sub(r"[^!-~]", "_", text)[:most] or "-"


class Transport:
    """Sends messages, or counts them as lost. ``complain`` is told, seldom, how many those are."""

    def __init__(self, sender: Sender, complain: Callable[[str], None]) -> None:
        self._sender = sender
        self._complain = complain
        self._socket: socket.socket | None = None
        self._pid = 0
        self._rest = b""  # of a message that a stream has taken a part of
        self._try_at = 0.0
        self._lost = 0
        self._said_at = -_SAID

    def send(self, message: bytes) -> None:
        """Send one message, or count it as lost."""
        try:
            self._send(message)
        except OSError as error:
            self._lose(error)

    def _send(self, message: bytes) -> None:
        if self._pid != os.getpid():  # a stream is not to be shared with another process
            self._disconnect()
            self._pid = os.getpid()
        if self._socket is None:
            self._connect()
        if self._sender.place.streams:
            self._send_in_stream(b"%d %s\n" % (len(message) + 1, message))
            return
        try:
            self._now().send(message)
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.ENOTCONN, errno.ECONNRESET):
                raise
            self._disconnect()
            if self._sender.place.kind == "udp":  # that was said of an earlier one
                self._count(error)
            self._connect()
            self._now().send(message)

    def _send_in_stream(self, framed: bytes) -> None:
        if self._rest:
            self._rest = self._rest[self._now().send(self._rest) :]
        if self._rest:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        try:
            self._rest = framed[self._now().send(framed) :]
        except BlockingIOError:
            raise
        except OSError:
            self._disconnect()
            self._connect()
            self._rest = framed[self._now().send(framed) :]

    def _now(self) -> socket.socket:
        assert self._socket is not None
        return self._socket

    def _connect(self) -> None:
        now = time.monotonic()
        if now < self._try_at:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        self._try_at = now + _AGAIN
        family, sort, address = self._sender.place.resolve()
        one = socket.socket(family, sort)
        try:
            one.settimeout(_AGAIN / 5)
            one.connect(address)
            one.setblocking(False)
        except BaseException:
            one.close()
            raise
        self._socket = one
        self._try_at = 0.0

    def _disconnect(self) -> None:
        self._rest = b""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _lose(self, error: OSError) -> None:
        if not isinstance(error, BlockingIOError):
            self._disconnect()
        self._count(error)

    def _count(self, error: OSError) -> None:
        self._lost += 1
        now = time.monotonic()
        if now - self._said_at >= _SAID:
            self._said_at = now
            lost, self._lost = self._lost, 0
            self._complain(f"syslog cannot be reached ({error.strerror or error}): {lost} "
                           f"record{' is' if lost == 1 else 's are'} lost")

    def close(self) -> None:
        """Close the socket."""
        self._disconnect()


class SyslogHandler(logging.Handler):
    """Sends records; ``complain`` as above."""

    def __init__(self, sender: Sender, complain: Callable[[str], None]) -> None:
        super().__init__()
        self._sender = sender
        self._transport = Transport(sender, complain)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record, or count it as lost."""
        self._transport.send(self._message(record))

    def _message(self, record: logging.LogRecord) -> bytes:
        severity = next((number for level, number in _SEVERITIES if record.levelno >= level), 7)
        text = self.format(record)
        if self._sender.place.kind == "journal":
            return _journal_entry(self._sender, record, severity, text)
        head = self._sender.head(severity, "error", iso_time(record.created), str(record.process))
        body = text.encode("utf-8", "backslashreplace")
        if not body.isascii():
            body = b"\xef\xbb\xbf" + body  # RFC 5424 6.4
        return head.encode("ascii") + body[:_MOST]

    def close(self) -> None:
        """Close the socket."""
        self._transport.close()
        super().close()


def _journal_entry(
    sender: Sender, record: logging.LogRecord, severity: int, text: str,
) -> bytes:
    """Return an entry of the journal (systemd: Native Journal Protocol)."""
    fields = {
        "MESSAGE": text, "PRIORITY": str(severity), "SYSLOG_IDENTIFIER": sender.name,
        "SYSLOG_FACILITY": str(sender.facility), "LOGGER": record.name}
    for name in ("request_id", "method", "path", "worker"):
        value = getattr(record, name, "")
        if value != "":
            fields[f"FASTWSGI_{name.upper()}"] = str(value)
    entry = b""
    for name, value in fields.items():
        data = value.encode("utf-8", "backslashreplace")[:_MOST]
        if b"\n" in data:
            entry += b"%s\n%s%s\n" % (name.encode(), len(data).to_bytes(8, "little"), data)
        else:
            entry += b"%s=%s\n" % (name.encode(), data)
    return entry
