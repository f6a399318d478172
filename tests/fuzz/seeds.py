"""Writes the seed corpora of the fuzz targets, made of the data in tests/conformance.

Usage: python tests/fuzz/seeds.py DIRECTORY: request, uwsgi, chunks, spill, proxies, files, conn,
turns, tls and response become folders in it. uwsgi has the lines of some packets, files what they
are asked by. The last three are not made of the data: turns and tls have courses of events under
every setting; the inputs of response are mere dice, and what it wants is enough of them.

The bytes that stand in front of a request, and the scripts that fuzz_conn.c, fuzz_turns.c and
fuzz_tls.c play, are told in the targets; what is written here has to agree with them.
"""

from __future__ import annotations

import random
import sys
from hashlib import sha1
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from conformance.cases import all_cases
from conformance.model import RST, Case, HalfClose

LONGEST = 4000

# Actions of fuzz_conn.c.
SEND_RAW, SEND_CANNED, SEND_SOME, HEAR, RUN, CONNECT, SHUT, CLOSE, RESET = range(9)
PASS, FLOOD, FAIL_CALL, _WAKE, STOP = range(9, 14)
NOW, LATER = 0, 0x8000  # SEND_RAW: at once, or piece by piece
ALL = 255  # HEAR: everything


def keep(folder: Path, seed: bytes) -> None:
    """Write one seed under a name made of its content."""
    (folder / sha1(seed, usedforsecurity=False).hexdigest()[:16]).write_bytes(seed)


def send(data: bytes, when: int = NOW) -> bytes:
    """The action that sends these bytes."""
    return bytes([SEND_RAW]) + (len(data) | when).to_bytes(2, "big") + data


def script(case: Case, when: int) -> bytes:
    """What the client of this case does, with the loop running in between."""
    actions = b""
    for step in case.steps:
        if isinstance(step, bytes):
            actions += send(step, when)
            if when == LATER:
                actions += bytes([SEND_SOME, 6, RUN]) * 4 + bytes([SEND_SOME, 255])
        elif isinstance(step, HalfClose):
            actions += bytes([SHUT])
        elif step is RST:
            actions += bytes([RUN, RESET])
        else:
            actions += bytes([RUN, 0, 0, HEAR, ALL])
        actions += bytes([RUN])
    return actions


# Courses of events that no single request takes: (configuration, end, actions).
COURSES = (
    # A response that waits for its client, which reads, reads slowly, goes, or says nothing more.
    (2, 0, bytes([SEND_CANNED, 0, RUN, 0, 0x9D, 2, 2, 2, 2, HEAR, ALL, RUN, 2, 2, HEAR, ALL, RUN])),
    (2, 0, bytes([SEND_CANNED, 0, RUN, 0, 0x9E, 2, 2, 2, 2, 0x13, 9, 0x19, 1, 0x13, 200])),
    (2, 1, bytes([SEND_CANNED, 0, RUN, 0, 0x9D, 2, 2, 2, RESET, RUN])),
    (2, 2, bytes([SEND_CANNED, 0xC0, RUN, 0, 0x9D, 1, 1, 1, SHUT, RUN, HEAR, ALL, RUN])),
    (2, 3, bytes([SEND_CANNED, 0, RUN, 0, 0x9F, 1, 1, 1, PASS, 7, RUN])),
    # Time passes in every state.
    (0, 0, bytes([RUN, PASS, 6, RUN, PASS, 4, RUN, HEAR, ALL])),
    (0, 0, bytes([SEND_CANNED, 0, RUN, 0, 0, PASS, 7, RUN, HEAR, ALL])),
    (0, 0, bytes([SEND_CANNED, 0x20, 5, RUN, PASS, 6, RUN, PASS, 4, RUN])),
    (1, 0, bytes([SEND_CANNED, 8, RUN, HEAR, ALL, PASS, 6, RUN, SEND_CANNED, 0, RUN])),
    # More than one turn reads.
    (1, 3, bytes([SEND_CANNED, 9, FLOOD, 63, RUN, FLOOD, 63, RUN])),
    (0, 0, bytes([SEND_CANNED, 14, FLOOD, 63, RUN, FLOOD, 63, RUN, HEAR, ALL])),
    (0, 3, bytes([SEND_CANNED, 14, FLOOD, 63, RUN])),
    # Heads that come again.
    (0, 0, bytes([SEND_CANNED, 1, RUN, 0, 0, 0, HEAR, ALL]) * 4),
    (0, 0, bytes([SEND_CANNED, 0xC1, RUN, 0, 0, 0, 0, 0, 0, 0, HEAR, ALL]) * 2),
    # Several clients, one of them held back; limits on connections; stops.
    (2, 0, bytes([0x15, 0, 0x25, 7, SEND_CANNED, 0, 0x11, 1, 0x21, 7, RUN, 0, 0x9E, 2, 2, HEAR])),
    (12, 0, bytes([0x15, 0, 0x25, 0, 0x35, 0, RUN, SEND_CANNED, 0, 0x11, 0, RUN, 0, 0, 0, 0, RUN])),
    (4, 0, bytes([0x15, 0, 0x25, 0, 0x35, 0, RUN, SEND_CANNED, 2, RUN, 0, 0, 0, HEAR, ALL, RUN])),
    (0, 1, bytes([SEND_CANNED, 0x20, 5, RUN, STOP, RUN, SEND_SOME, 255, RUN, 0, 0, HEAR, ALL])),
    (0, 2, bytes([SEND_CANNED, 9, RUN, STOP | 0x40, RUN])),
    # System calls fail.
    *(
        (choice, 0, bytes([FAIL_CALL, call, how, first, SEND_CANNED, 10, RUN, 0, 4, 2, HEAR, ALL]))
        for call in range(17)
        for how in (0, 4, 0x9A)
        for first in (0, 1)
        for choice in (1,)
    ),
)  # fmt: skip


# Actions of fuzz_turns.c; a client's number stands in the bits above.
T_ASK, T_LATER, T_SOME, T_HEAR, T_RUN, T_FEW, T_STANDBY, T_PASS, T_CONNECT = range(9)
T_SHUT, T_FAIL, T_LEAVE, T_STOP, T_MANY = range(9, 14)
GET_ASKED, HEAD_ASKED, POST_ASKED, _, HEALTH_ASKED, HEALTH_HEAD, HEALTH_POST = range(7)

TURNS = (
    # Each kind of request, alone and pipelined, and all of them at once.
    *(bytes([T_ASK, kind, T_RUN, 0, 0, T_HEAR, ALL]) for kind in range(16)),
    *(bytes([T_LATER, kind] * 5 + [T_SOME, ALL, T_RUN, 0, 0, T_HEAR, ALL]) for kind in range(16)),
    *(bytes([T_MANY, kind | pipelined, T_RUN, 0, 0, 0, 0])
      for kind in range(16) for pipelined in (0, 192)),
    bytes(byte for kind in range(13) for byte in (T_LATER, kind))
    + bytes([T_SOME, ALL, T_SOME, ALL, T_RUN]),
    # Responses that are held, while the standby comes by.
    bytes([T_MANY, 0, T_FEW, 0, 0, T_STANDBY, 16, T_FEW, 4, 0, T_STANDBY, 64, T_RUN]),
    bytes([T_MANY, 64, T_FEW, 4, 0, T_STANDBY, 80, T_MANY, 1, 0x15, T_STANDBY, 33, T_RUN, 0, 0]),
    # The queue fills while a worker waits inside the application.
    bytes([T_ASK, 0, T_RUN, 0x9E, 2, 2, 2, T_MANY, 2, T_MANY, 4, T_MANY, 9, T_HEAR, ALL,
           T_RUN, 0, 0]),
    # Requests arrive slowly, in pieces.
    *(bytes([T_LATER, kind] + [T_SOME, 3, T_RUN, T_PASS, step] * 9)
      for kind in (0, 2, 3, 12) for step in (1, 4, 7)),
    # A client shuts its side, others leave, the server stops.
    bytes([T_LATER, 0, T_LATER, 2, T_SOME, ALL, T_SHUT, T_RUN, 0, 0, T_HEAR, ALL, T_RUN]),
    bytes([T_MANY, 2, T_FEW, 0, T_LEAVE, 0x5B, T_RUN, 0, 0, T_RUN]),
    bytes([T_MANY, 4, 0xCC, 0, T_MANY, 4, T_RUN, 0, 0, T_MANY, 0, T_RUN]),
)  # fmt: skip


# Lines of variables, which fuzz_uwsgi.c makes packets of.
PACKET = b"REQUEST_METHOD=GET\nREQUEST_URI=/a?b\nPATH_INFO=/a\nHTTP_HOST=h\n"
PACKETS = (
    b"", b"QUERY_STRING=b", b"CONTENT_LENGTH=5\nCONTENT_TYPE=a/b", b"CONTENT_LENGTH=",
    b"SERVER_PROTOCOL=HTTP/2.0\nSERVER_NAME=n\nSERVER_PORT=80", b"REMOTE_ADDR=::1\nREMOTE_PORT=1",
    b"REMOTE_ADDR=1.2.3.4", b"REMOTE_ADDR=unix:", b"HTTPS=on\nREQUEST_SCHEME=http",
    b"UWSGI_SCHEME=https", b"SCRIPT_NAME=/s\nPATH_INFO=/a", b"HTTP_X_Y=1\nHTTP_X_Y=2",
    b"HTTP_PROXY=p\nHTTP_CONTENT_LENGTH=7\nHTTP_TRANSFER_ENCODING=chunked", b"OWN=1\nOWN=2",
    b"HTTP_CONTENT_TYPE=t\nHTTP_EXPECT=100-continue\nHTTP_COOKIE=a=b", b"a.b=c\nREMOTE_USER=me",
)  # fmt: skip

# Actions of fuzz_tls.c, and its ends.
MOVE, RECEIVE, QUEUE, SEND_QUEUED, GOODBYE, SPOIL = 0, 3, 5, 6, 8, 9
CLIENT, SERVER = 0, 1


def act(action: int, end: int, size: int = 255) -> bytes:
    """One action of one end; a large size takes two bytes."""
    if size < 256:
        return bytes([action << 1 | end, size])
    return bytes([0x80 | (action - 4) % 10 << 1 | end]) + size.to_bytes(2, "big")


def records(piece: int, size: int, rounds: int, *, spoilt: bytes = b"") -> bytes:
    """A handshake and `size` bytes, two times, on a wire that moves so many bytes at a time."""
    turn = b"".join(act(RECEIVE, end, 3000) + bytes([SEND_QUEUED << 1 | end, 0]) +
                    act(MOVE, end, piece) for end in (CLIENT, SERVER))
    ends = b"".join(act(GOODBYE, end, 0) for end in (CLIENT, SERVER))
    both = act(QUEUE, CLIENT, size) + act(QUEUE, SERVER, size)
    return (act(QUEUE, CLIENT, size) + turn * rounds + spoilt + both + turn * rounds + ends + turn)


MORE = 0x40  # with GOODBYE other keys, with SPOIL that it is done
CHANGES = bytes([MORE | 6 << 1 | CLIENT, 0, MORE | 6 << 1 | SERVER, 1])
SPOILS = (b"", CHANGES, b"\x4e\0\0\0\x10", b"\x4e\0\1\0\7GET / HT", b"\x4f\0\2\0\5")

FILES = (b"/static/a/b.css", b"/s/%61/..%2f", b"/s//.git", b"bytes=0-1,5-,-7", b"bytes=9999999999-",
         b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT",
         b"Sun Nov  6 08:49:37 1994", b"gzip;q=0.5, br, zstd;q=0, *;q=0.1, identity")


def main(place: Path) -> None:
    """Write all corpora below `place`."""
    folders = [place / name for name in
               ("request", "uwsgi", "chunks", "spill", "proxies", "files", "conn", "turns",
                "tls", "response")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    request, uwsgi, chunks, spill, proxies, files, conn, turns, tls, response = folders
    for setting in range(16):
        for course in ((39000, 100, 8), (200, 20000, 40), (1, 9, 60), (999, 39999, 30)):
            for spoilt in SPOILS:
                keep(tls, bytes([setting]) + records(*course, spoilt=spoilt))
    dice = random.Random(1)
    for number in range(400):
        keep(response, dice.randbytes(20 + number))
    for number in range(64):  # a mark, a piece, and every shape of fuzz_spill.c many times over
        shapes = b"".join(bytes([number + more, more * 37, more, 200]) for more in range(4))
        keep(spill, bytes([number % 8, number // 8, number, 1]) + shapes)
    for number, more in enumerate(PACKETS):
        for base in (b"", PACKET):
            for choice in (0x80, 0x91, 0xA2):
                keep(uwsgi, bytes([choice, number, 7 * number]) + base + more)
    for number, case in enumerate(all_cases().values()):
        raw = case.raw[:LONGEST]
        if not raw:
            continue
        keep(request, bytes([0, number % 256, number % 64]) + raw)
        if case.category in ("forwarded fields", "PROXY protocol"):
            keep(proxies, bytes([number * 2 % 256 | 1]) + raw)
            keep(proxies, bytes([0xF8 | number * 2 % 8]) + raw)
        if number % 4 == 0:
            keep(request, bytes([0x71, number % 256, number % 64]) + raw)
        head, found, body = raw.partition(b"\r\n\r\n")
        if found and body and b"chunked" in head.lower():
            keep(chunks, bytes([number & 0x07, number % 256, 1, 0x7F]) + body)
            keep(chunks, bytes([number & 0x7F, number % 256, 2, 3]) + body)
        if len(case.raw) < LONGEST // 2:
            last = bytes([RUN, 0, 0, HEAR, ALL, RUN])
            keep(conn, bytes([0, number % 4]) + script(case, NOW) + last)
            if number % 3 == 0:
                keep(conn, bytes([number & 0x33, 0]) + script(case, LATER) + last)
    for text in FILES:
        keep(files, b"\x11" + text)
    for number, actions in enumerate(TURNS):
        for first in (0x00, 0x07, 0x0B, 0x31, 0x8B):
            second = dice.randrange(256)
            keep(turns, bytes([first, second, 3 | number % 8 << 3]) + actions)
    for choice, end, actions in COURSES:
        keep(conn, bytes([choice, end]) + actions)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
