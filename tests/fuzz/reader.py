"""Strict reading of what a server sends: what does not belong there ends the run of the fuzzer."""

from __future__ import annotations

import re
import select
import socket
from typing import NoReturn

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([2-9][0-9]{2}) [\t\x20-\x7e\x80-\xff]*")
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(?: ([\t\x20-\x7e\x80-\xff]*))?")
CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,8})")
WAIT = 10.0  # seconds in which a server that lives has said something


def found(what: str, data: bytes) -> NoReturn:
    """End the run: libFuzzer keeps the input."""
    raise AssertionError(f"{what}; received {data[:600]!r} ({len(data)} bytes)")


def line(data: bytes, at: int) -> tuple[bytes, int]:
    """The line at `at` without its CRLF, and where the next one begins."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise EOFError
    return data[at:end], end + 2


def read_head(data: bytes) -> tuple[int, dict[bytes, list[bytes]], int]:
    """Status, fields by lower-case name, and where the body begins."""
    first, at = line(data, 0)
    status = STATUS_LINE.fullmatch(first)
    if status is None:
        found("a bad status line", data)
    fields: dict[bytes, list[bytes]] = {}
    while True:
        text, at = line(data, at)
        if not text:
            return int(status[1]), fields, at
        field = FIELD_LINE.fullmatch(text)
        if field is None:
            found(f"a bad field line {text[:100]!r}", data)
        fields.setdefault(field[1].lower(), []).append(field[2] or b"")


def read_chunks(data: bytes, at: int) -> tuple[bytes, int, bool]:
    """Decoded body, its end, and whether it is whole."""
    body = b""
    while True:
        try:
            text, at = line(data, at)
        except EOFError:
            return body, len(data), False
        size = CHUNK_LINE.fullmatch(text)
        if size is None:
            found(f"a bad chunk size {text[:100]!r}", data)
        n = int(size[1], 16)
        body += data[at : at + n]
        end = data[at + n : at + n + 2]
        if len(end) < 2:
            return body, len(data), False
        if end != b"\r\n":
            found("a chunk without its CRLF", data)
        at += n + 2
        if n == 0:
            return body, at, True


def exchange(address: tuple[str, int], request: bytes, slow: bool) -> bytes:
    """Send, and receive to the end."""
    received = []
    with socket.socket() as client:
        if slow:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(address)
        client.sendall(request)
        while True:
            if not select.select([client], [], [], WAIT)[0]:
                found("no end", b"".join(received))
            try:
                data = client.recv(1 << 20)
            except ConnectionResetError:
                break
            if not data:
                break
            received.append(data)
    return b"".join(received)
