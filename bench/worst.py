"""What a byte of a client's can cost: `python -m bench.worst [--seconds S] [--only NAMES]`.

Each row is a client that makes one phase of a request as dear as it can. The figure is the CPU of
the server's process tree over the bytes that such clients sent (or, where the row says so,
received); beside it the same per segment, request or connection, because a byte that is sent alone
costs a system call whatever the server does. The first row is the control: uploads in chunks of
32 KiB that go to a file. The server has one core, the clients another.

`--publish` writes docs/measured/worst.json and the table of docs/speed.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from bench import machine, peers
from bench.machine import ROOT
from bench.process import Server, serve

Found = dict[str, Any]
#: What a client says on one connection, one send each.
Talk = Callable[[], Iterator[bytes]]

SPEED = ROOT / "docs" / "speed.md"
PUBLISHED = ROOT / "docs" / "measured" / "worst.json"
BEGIN = "<!-- made by python -m bench.worst --publish -->\n"
END = "<!-- end of what it made -->\n"
CONTROL = "upload"

HOST = b"Host: h\r\n"
HEALTH = ("--health-path", "/health")
TO_FILES = ("--body-memory", "16384")
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
KIB = 1024
AT_ONCE = 65536  #: bytes of one send where segments do not matter
PATIENCE = 20.0  #: seconds in which a server has done what is left
QUIET = 0.0005  #: CPU seconds of a twentieth of a second in which a server does nothing
NOW = struct.pack("ii", 1, 0)  #: SO_LINGER: close by a reset


@dataclass(frozen=True)
class Row:
    """One phase: what its clients say, and what is counted besides bytes."""

    name: str
    title: str
    talk: Talk
    unit: str = ""  #: "segment", "request" or "connection"
    per: int = 0  #: bytes of one unit; 0: each send is one, or each connection
    connections: int = 16
    end: str = "wait"  #: after the last word: wait for the server's end, reset, shut, or again
    extra: tuple[str, ...] = ()
    app: str = "bench.apps:hello"
    reads: int = 0  #: bytes of one receive; what is received is what counts
    refused: bool = False  #: refusals are what it is about


# ---- what clients say ----------------------------------------------------------------------------


def repeated(unit: bytes, total: int = 4 << 20) -> bytes:
    """The unit as often as it fits."""
    return unit * max(1, total // len(unit))


def flood(*units: bytes) -> Talk:
    """The units again and again, in sends of about 64 KiB."""
    block = b"".join(units)
    block *= max(1, AT_ONCE // len(block))

    def talk() -> Iterator[bytes]:
        while True:
            yield block

    return talk


def body(head: bytes, unit: bytes, total: int, tail: bytes) -> Talk:
    """Requests whose body has `total` bytes of units, again and again."""
    block = unit * max(1, AT_ONCE // len(unit))
    rest = total // len(block)

    def talk() -> Iterator[bytes]:
        while True:
            yield head
            for _ in range(rest):
                yield block
            yield tail

    return talk


def pieces(text: bytes, size: int = 1) -> Talk:
    """The text again and again, so many bytes in each segment."""
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    return lambda: cycle(parts)


def slowly(head: bytes, piece: bytes) -> Talk:
    """A head at once, then a piece in each segment without end."""

    def talk() -> Iterator[bytes]:
        yield head
        while True:
            yield piece

    return talk


def once(*texts: bytes) -> Talk:
    """These, and no more."""
    return lambda: iter(texts)


def get(target: bytes, fields: bytes = b"", host: bytes = HOST) -> bytes:
    """A request without a body."""
    return b"GET " + target + b" HTTP/1.1\r\n" + host + fields + b"\r\n"


def different(make: Callable[[int], bytes], count: int = 97) -> Talk:
    """Requests that differ from each other: none is like the one before it."""
    return flood(b"".join(make(number) for number in range(count)))


def names(number: int, name: Callable[[int, int], bytes], count: int = 98) -> bytes:
    """A block of fields whose names are made of the request's number and the field's."""
    return b"".join(name(number, field) + b":\r\n" for field in range(count))


def letters(number: int) -> bytes:
    """A number in letters."""
    return bytes(97 + number // 26**place % 26 for place in range(3))


ONE = b"1\r\na\r\n"
LAST = b"0\r\n\r\n"
LINE = 8000
ROWS = (
    Row(CONTROL, "upload in chunks of 32 KiB, to a file (the control)",
        body(CHUNKED, b"8000\r\n" + b"a" * 32768 + b"\r\n", 32 << 20, LAST), extra=TO_FILES),
    Row("length", "upload of a known length, to a file",
        body(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 33554432\r\n\r\n", b"a" * 65536,
             32 << 20, b""), extra=TO_FILES),
    Row("line", "request line of 8,000 bytes", flood(get(b"/health?" + b"a" * LINE)),
        "request", LINE + 39, extra=HEALTH),
    Row("escapes", "the same, all percent-encoded, to the application",
        flood(get(b"/" + b"%41" * (LINE // 3))), "request", 3 * (LINE // 3) + 27),
    Row("absolute", "absolute target with a long query, to the application",
        flood(get(b"http://h/?" + b"a" * LINE)), "request", LINE + 36),
    Row("values", "seven values of 8,000 bytes",
        flood(get(b"/health", b"".join(b"X-%d: %s\r\n" % (n, b"a" * LINE) for n in range(7)))),
        "request", 7 * (LINE + 7) + 35, extra=HEALTH),
    Row("values-app", "the same, each different, to the application",
        different(lambda k: get(b"/", b"".join(
            b"X-%d: %03d%s\r\n" % (n, k, b"a" * LINE) for n in range(7)))),
        "request", 7 * (LINE + 10) + 28),
    Row("names", "98 empty fields with short names, each head different",
        different(lambda k: get(b"/health", names(k, lambda k, n: letters(k * 98 + n)))),
        "request", 98 * 6 + 35, extra=HEALTH),
    Row("names-app", "the same, to the application",
        different(lambda k: get(b"/", names(k, lambda k, n: letters(k * 98 + n)))),
        "request", 98 * 6 + 28),
    Row("underscores", "98 fields with underscores, which are dropped",
        different(lambda k: get(b"/", names(k, lambda k, n: b"_" + letters(k * 98 + n)))),
        "request", 98 * 7 + 28),
    Row("near-names", "98 fields with names like known ones",
        different(lambda k: get(b"/", names(
            k, lambda k, n: b"Accept-Encodin" + letters(k * 98 + n)[:2]))),
        "request", 98 * 19 + 28),
    Row("one-name", "98 fields of one name, which are joined",
        different(lambda k: get(b"/", b"".join(b"a:%02d\r\n" % (k % 90 + 1) for _ in range(98)))),
        "request", 98 * 6 + 28),
    Row("cookies", "98 Cookie fields, which are joined",
        different(lambda k: get(b"/", b"".join(b"Cookie:a=%02d\r\n" % k for _ in range(98)))),
        "request", 98 * 13 + 28),
    Row("extensions", "chunks of 1 KiB with as many bytes of extensions",
        body(CHUNKED, b"400;" + b"a" * 1015 + b"\r\n" + b"b" * 1024 + b"\r\n", 1 << 20, LAST)),
    Row("tiny-extensions", "chunks of one byte with an extension",
        body(CHUNKED, b"1;a\r\nb\r\n", 64 << 10, LAST), "chunk", 8),
    Row("chunks", "chunks of one byte, in memory", body(CHUNKED, ONE, 2 << 20, LAST), "chunk", 6),
    Row("chunks-file", "chunks of one byte, to a file",
        body(CHUNKED, ONE, 8 << 20, LAST), "chunk", 6, extra=TO_FILES),
    Row("zeros", "chunks of one byte, their sizes with leading zeros",
        body(CHUNKED, b"000000000000001\r\na\r\n", 2 << 20, LAST), "chunk", 20),
    Row("trailers", "98 trailer fields", flood(CHUNKED + b"0\r\n" + b"a:\r\n" * 98 + b"\r\n"),
        "request", len(CHUNKED) + 5 + 98 * 4),
    Row("pipelined", "pipelined requests, to the application", flood(get(b"/")), "request", 27),
    Row("pipelined-health", "pipelined requests that the loop answers", flood(get(b"/health")),
        "request", 34, extra=HEALTH),
    Row("pipelined-posts", "pipelined bodies of one byte, to the application",
        flood(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na"), "request", 49),
    Row("expect", "pipelined requests that expect 100-continue",
        pieces(b"POST / HTTP/1.1\r\n" + HOST
               + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\na", 71),
        "segment"),
    Row("bytes-line", "a request line of 8,000 bytes, byte by byte",
        pieces(get(b"/health?" + b"a" * LINE)), "segment", extra=HEALTH),
    Row("bytes-fields", "a header section of 56,000 bytes, byte by byte",
        pieces(get(b"/health", b"".join(b"X-%d: %s\r\n" % (n, b"a" * LINE) for n in range(7)))),
        "segment", extra=HEALTH),
    Row("bytes-heads", "small requests, byte by byte", pieces(get(b"/health")), "segment",
        extra=HEALTH),
    Row("bytes-bad", "a bad request line of 8,000 bytes, byte by byte",
        lambda: iter([bytes([one]) for one in b"GET /\x01" + b"a" * LINE]), "segment",
        end="reset", refused=True),
    Row("bytes-length", "a body of known length, byte by byte",
        slowly(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 999999999\r\n\r\n", b"a"),
        "segment", extra=TO_FILES),
    Row("bytes-chunked", "a chunked body, byte by byte", slowly(CHUNKED, b"1\r\na\r\n"), "segment"),
    Row("dribble", "a thousand connections, each byte by byte",
        pieces(get(b"/health", b"X: " + b"a" * 900 + b"\r\n")), "segment", connections=1000,
        extra=HEALTH),
    Row("resets", "a piece of a head, then a reset", once(b"GET / HTTP/1.1\r\n"), "connection",
        end="reset"),
    Row("half-closes", "a request, and the sending side is shut", once(get(b"/health")),
        "connection", end="shut", extra=HEALTH),
    Row("refusals", "requests that are refused", once(b"GET / HTTP/1.1\r\n\r\n"), "connection",
        end="shut", refused=True),
    Row("many-fields", "heads of 101 fields, which are refused",
        once(get(b"/", b"a:\r\n" * 101)), "connection", end="shut", refused=True),
    Row("lates", "heads that never end, refused after a second", once(b"G"), "connection",
        connections=500, extra=("--header-timeout", "1"), refused=True),
    Row("talks-on", "a refused client that goes on sending",
        slowly(b"GET / HTTP/1.1\r\n\r\n", b"a" * 32768), refused=True),
    Row("talks-on-bytes", "the same, byte by byte", slowly(b"GET / HTTP/1.1\r\n\r\n", b"a"),
        "segment", refused=True),
    Row("sips", "1 MiB of response, received in sips of 1 KiB", flood(get(b"/")), "sip",
        app="bench.apps:big", reads=1024, connections=4),
)  # fmt: skip


# ---- the clients ---------------------------------------------------------------------------------


class Connection:
    """One client: it sends what it may, throws away what it receives, and begins again."""

    def __init__(self, row: Row, address: tuple[str, int]) -> None:
        self.row = row
        self.address = address
        self.made = 0
        self.open()

    def open(self) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.row.reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(self.address)
        self.socket.setblocking(False)
        self.words = self.row.talk()
        self.left = memoryview(b"")
        self.over = False
        self.made += 1

    def again(self, *, reset: bool = False) -> None:
        """The next connection; one that lingers is not waited for."""
        if reset or self.row.end != "wait":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NOW)
        self.socket.close()
        self.open()

    def hear(self) -> int:
        """Throw away what has come; the bytes of it, -1 at the end. Raises RuntimeError for a
        refusal in a row that is not about refusals."""
        try:
            data = self.socket.recv(self.row.reads or 1 << 20)
        except BlockingIOError:
            return 0
        except ConnectionError:
            return -1
        if not self.row.refused and (b"HTTP/1.1 4" in data or b"HTTP/1.1 5" in data):
            raise RuntimeError(f"{self.row.name}: {data[-300:]!r}")
        return len(data) or -1

    def say(self) -> int:
        """One send: its bytes, 0 if the socket is full or all is said, -1 if it broke."""
        if not self.left:
            word = next(self.words, None)
            if word is None:
                self.finish()
                return 0
            self.left = memoryview(word)
        try:
            sent = self.socket.send(self.left)
        except BlockingIOError:
            return 0
        except ConnectionError:
            return -1
        self.left = self.left[sent:]
        return sent

    def finish(self) -> None:
        """All is said."""
        if self.row.end == "reset":
            self.again(reset=True)
        elif self.row.end == "shut" and not self.over:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
        self.over = True


@dataclass
class Counts:
    """Of all connections of a row."""

    sent: int = 0
    received: int = 0
    segments: int = 0
    sips: int = 0


def visit(one: Connection, counts: Counts, turn: int) -> bool:
    """A look at one connection; whether anything moved."""
    sent = 0 if one.over else one.say()
    counts.sent += max(0, sent)
    counts.segments += sent > 0
    if one.row.unit == "segment" and sent > 0 and turn % 64:
        return True  # the time of this process is better spent on segments
    heard = one.hear()
    counts.received += max(0, heard)
    counts.sips += heard > 0
    if sent < 0 or heard < 0:
        one.again()
        return True
    return sent > 0 or heard > 0


def waiting(server: Server) -> int:
    """Bytes on their way to the server that it has not received, and to clients that have not."""
    total = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, queues = line.split()[:5]
        if state != "0A" and server.port in (int(end[-4:], 16) for end in (local, remote)):
            total += sum(int(queue, 16) for queue in queues.split(":"))
    return total


def settle(server: Server, connections: list[Connection]) -> float:
    """CPU seconds of the server once it has done what there was to do."""
    end = time.monotonic() + PATIENCE
    before, now = -1.0, cpu(server)
    while (now - before > QUIET or waiting(server)) and time.monotonic() < end:
        for one in connections:
            while one.hear() > 0:
                pass
        time.sleep(0.05)
        before, now = now, cpu(server)
    return now


def cpu(server: Server) -> float:
    """Seconds of CPU of the tree, to the nanosecond."""
    total = 0
    for pid in server.pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except (OSError, IndexError):
                continue
    return total / 1e9


def measure(row: Row, server: Server, seconds: float) -> Found:
    """The figures of one row."""
    connections = [Connection(row, server.address) for _ in range(row.connections)]
    counts = Counts()
    made = sum(one.made for one in connections)
    begin_cpu = settle(server, [])
    begin = time.monotonic()
    turn = 0
    while (now := time.monotonic()) - begin < seconds:
        turn += 1
        moved = False
        for one in connections:
            moved |= visit(one, counts, turn)
        if not moved:
            sockets = [one.socket for one in connections]
            writers = [one.socket for one in connections if not one.over]
            select.select(sockets, writers, [], 0.05) if len(sockets) < 500 else time.sleep(0.001)
    wall = now - begin
    used = settle(server, connections) - begin_cpu
    made = sum(one.made for one in connections) - made
    for one in connections:
        one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NOW)
        one.socket.close()
    moved_bytes = counts.received if row.reads else counts.sent
    units = {"segment": counts.segments, "connection": made, "sip": counts.sips, "": 0}.get(
        row.unit, counts.sent // max(1, row.per)
    )
    return {
        "name": row.name,
        "title": row.title,
        "unit": row.unit,
        "bytes": moved_bytes,
        "units": units,
        "cpu": round(used, 6),
        "load": round(used / wall, 3),
        "ns_byte": round(used * 1e9 / max(1, moved_bytes), 3),
        "ns_unit": round(used * 1e9 / units, 1) if units else None,
    }


# ---- the report ----------------------------------------------------------------------------------


def number(value: float) -> str:
    """Three figures that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(found: Found) -> str:
    """The rows, in nanoseconds."""
    machine_ = found["machine"]
    lines = [
        f"Measured {found['date']}: {machine_['processor']}, Linux {machine_['kernel']}, Python "
        f"{machine_['python']}; {found['seconds']:g} s per row.",
        "",
        "| what clients do | ns per byte | | ns per unit |",
        "|---|---:|---|---:|",
    ]
    for row in found["rows"]:
        unit = number(row["ns_unit"]) if row["ns_unit"] else ""
        lines.append(f"| {row['title']} | {number(row['ns_byte'])} | {row['unit']} | {unit} |")
    return "\n".join(lines) + "\n"


def publish(found: Found) -> None:
    """Make it the measurement that the documents show."""
    PUBLISHED.write_text(json.dumps(found, indent=1) + "\n")
    text = SPEED.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{SPEED} has no lines {BEGIN.strip()} and {END.strip()}")
    SPEED.write_text(before + begin + "\n" + table(found) + "\n" + end + after)


def main() -> None:
    """Measure, print and perhaps publish."""
    parser = argparse.ArgumentParser(description="the worst cost of a byte")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", default="", metavar="NAMES", help="rows, separated by commas")
    parser.add_argument("--publish", action="store_true", help="write the documents' table")
    arguments = parser.parse_args()
    wanted = set(arguments.only.split(",")) - {""}
    if unknown := wanted - {row.name for row in ROWS}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    machine.raise_descriptor_limit()
    server_cpus, client_cpus = machine.cores()
    machine.pin(client_cpus)
    found: Found = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.describe(),
        "seconds": arguments.seconds,
        "rows": [],
    }
    for row in ROWS:
        if wanted and row.name not in wanted:
            continue
        with serve(
            peers.PEERS[peers.OURS], row.app, extra=row.extra, cpus=server_cpus,
            python=sys.executable,
        ) as server:  # fmt: skip
            one = measure(row, server, arguments.seconds)
        found["rows"].append(one)
        print(
            f"{row.name:18} {number(one['ns_byte']):>8} ns/byte "
            f"{number(one['ns_unit'] or 0):>9} ns/{row.unit or '-':10} "
            f"{one['bytes'] / 1e6:9.2f} MB  core {one['load']:.0%}",
            flush=True,
        )
    if arguments.publish:
        publish(found)


if __name__ == "__main__":
    main()
