"""Limits on time: the contract's section 6, RFC 9110 section 15.5.9.

Peers are not asked: when to lose patience is a server's own choice.
"""

from __future__ import annotations

from ..model import DROP, Await, Category, Outcome, chunked, get, post, refuse, serve

CATEGORY = Category("patience", config="impatient")
case = CATEGORY.case

MINE = {"own": True, "ways": "wp"}
SILENT = Outcome((), "close")

case(
    "no-byte",
    b"",
    DROP,
    "contract 6",
    "who says nothing is not answered",
    own=True,
    ways="w",
)
case(
    "half-line",
    b"GET / HT",
    refuse(408),
    "RFC 9110 15.5.9",
    "a head that does not come to its end",
    **MINE,
)
case(
    "half-head",
    b"GET / HTTP/1.1\r\nHost: h\r\nX-A: ",
    refuse(408),
    "RFC 9110 15.5.9",
    "a head that does not come to its end",
    **MINE,
)
case(
    "head-without-end",
    b"GET / HTTP/1.1\r\nHost: h\r\n",
    refuse(408),
    "RFC 9110 15.5.9",
    "the empty line is missing",
    **MINE,
)
case(
    "idle",
    (get(), Await(1)),
    serve(end="close"),
    "contract 6; RFC 9112 9.5",
    "an idle connection is closed in silence",
    own=True,
    ways="wb",
)
case(
    "idle-half-next",
    (get(), Await(1), b"GET /next HT"),
    serve() + refuse(408),
    "contract 6",
    "the next head has its own time",
    own=True,
    ways="w",
)
case(
    "no-body",
    post(b"Content-Length: 5"),
    refuse(408),
    "RFC 9110 15.5.9",
    "a body that does not come",
    **MINE,
)
case(
    "half-body",
    post(b"Content-Length: 5", body=b"he"),
    refuse(408),
    "RFC 9110 15.5.9",
    "a body that stops coming",
    **MINE,
)
case(
    "half-chunk",
    chunked(b"5", b"hello") + b"5\r\nhe",
    refuse(408),
    "RFC 9110 15.5.9",
    "a chunk that stops coming",
    **MINE,
)
case(
    "no-last-chunk",
    chunked(b"5", b"hello"),
    refuse(408),
    "RFC 9110 15.5.9",
    "a chunked body without its end",
    **MINE,
)
case(
    "half-trailer",
    chunked(b"5", b"hello", b"0") + b"X-A: ",
    refuse(408),
    "RFC 9110 15.5.9",
    "a trailer section without its end",
    **MINE,
)
case(
    "expect-unanswered",
    (post(b"Expect: 100-continue", b"Content-Length: 5"), Await(1)),
    Outcome(refuse(408).replies, "close", (), 1),
    "RFC 9110 10.1.1",
    "a client that is told to continue and does not",
    own=True,
    ways="wp",
)
