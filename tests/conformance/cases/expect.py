"""Expect: RFC 9110 section 10.1.1."""

from __future__ import annotations

from dataclasses import replace

from ..model import (
    MUST_400,
    REFUSED,
    Await,
    Category,
    Outcome,
    get,
    post,
    refuse,
    req,
    serve,
)
from .ask import ask

CATEGORY = Category("Expect")
case = CATEGORY.case

CONTINUE = b"Expect: 100-continue"
# The client waits for 100 before it sends the body; a server MUST send that or a final status.
CONTINUED = serve({"body": b"hello"}, interim=1)
EARLY = tuple(replace(one, interim=0) for one in REFUSED)
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


def waiting(*fields: bytes, body: bytes = b"hello", line: bytes = b"POST / HTTP/1.1"):
    """A request whose body follows when 100 has come (or has not come for too long)."""
    return req(line, *fields), Await(1), body


case(
    "continue",
    waiting(CONTINUE, b"Content-Length: 5"),
    CONTINUED,
    "RFC 9110 10.1.1",
    "100 comes before the body",
    also=EARLY,
)
case(
    "continue-chunked",
    waiting(CONTINUE, b"Transfer-Encoding: chunked", body=CHUNKS),
    CONTINUED,
    "RFC 9110 10.1.1",
    "for a chunked body, too",
    also=EARLY,
)
case(
    "continue-upper-case",
    waiting(b"Expect: 100-CONTINUE", b"Content-Length: 5"),
    CONTINUED,
    "RFC 9110 10.1.1",
    "the value is case-insensitive",
    also=EARLY,
)
case(
    "continue-white-space",
    waiting(b"eXpEcT: \t100-continue ", b"Content-Length: 5"),
    CONTINUED,
    "RFC 9112 5.1",
    "white space is not part of the value",
    also=EARLY,
)
case(
    "continue-put",
    waiting(CONTINUE, b"Content-Length: 5", line=b"PUT / HTTP/1.1"),
    CONTINUED,
    "RFC 9110 10.1.1",
    "whatever the method",
    also=EARLY,
)
case(
    "continue-twice-on-connection",
    (
        post(CONTINUE, b"Content-Length: 5"),
        Await(1),
        b"hello",
        Await(2),
        post(CONTINUE, b"Content-Length: 3"),
        Await(3),
        b"abc",
    ),
    serve({"body": b"hello"}, {"body": b"abc"}, interim=2),
    "RFC 9110 10.1.1",
    "each request has its own expectation",
    also=EARLY,
)
case(
    "body-at-once",
    post(CONTINUE, b"Content-Length: 5", body=b"hello"),
    serve({"body": b"hello"}),
    "RFC 9110 10.1.1",
    "a server MAY omit 100 when the body has begun to arrive",
    also=REFUSED,
)
case(
    "body-at-once-then-request",
    post(CONTINUE, b"Content-Length: 5", body=b"hello") + get(target=b"/next"),
    serve({"body": b"hello"}, {"PATH_INFO": "/next"}),
    "RFC 9110 10.1.1",
    "100 or not, the next request is found",
    also=REFUSED,
)
case(
    "no-body",
    get(CONTINUE),
    serve({"body": b""}),
    "RFC 9110 10.1.1",
    "nothing will follow, so there is nothing to wait for",
    also=REFUSED,
)
case(
    "empty-body",
    post(CONTINUE, b"Content-Length: 0"),
    serve({"body": b""}),
    "RFC 9110 10.1.1",
    "nothing will follow",
    also=REFUSED,
)
case(
    "in-1.0",
    (req(b"POST / HTTP/1.0", CONTINUE, b"Content-Length: 5"), b"hello"),
    serve({"body": b"hello"}, end="close", interim=0),
    "RFC 9110 10.1.1",
    "in HTTP/1.0 it MUST be ignored",
)
case(
    "unread-by-application",
    (
        ask("input-ignored", "", CONTINUE, b"Content-Length: 5", method="POST"),
        Await(1),
        b"hello",
    ),
    serve(interim=1, body=b"ignored"),
    "RFC 9110 10.1.1",
    "the body is read before the application runs, so 100 is sent",
    # Who asks the application first answers at once, and closes or reads the body.
    also=(serve(interim=0, body=b"ignored", end="any"), *EARLY),
    ways="wb",
)
for name, value in (
    ("other", b"Expect: something"),
    ("misspelt", b"Expect: 100-continued"),
    ("number", b"Expect: 100"),
    ("parameter", b"Expect: 100-continue=1"),
    ("another-beside", b"Expect: 100-continue, other"),
):
    case(
        "unknown-" + name,
        post(value, b"Content-Length: 0"),
        refuse(417),
        "RFC 9110 10.1.1",
        "an expectation that is not 100-continue MAY be answered with 417",
        also=(serve(), *REFUSED),
    )
case(
    "unknown-with-body",
    waiting(b"Expect: something", b"Content-Length: 5"),
    refuse(417),
    "RFC 9110 10.1.1",
    "refused before the body",
    also=(serve(), *REFUSED),
)
case(
    "unknown-in-1.0",
    req(b"POST / HTTP/1.0", b"Expect: something", b"Content-Length: 0"),
    (serve(end="close"), refuse(417)),
    "RFC 9110 10.1.1",
    "HTTP/1.0 knew no expectations",
    also=REFUSED,
)
case(
    "empty",
    post(b"Expect:", b"Content-Length: 0"),
    (serve(), refuse(417)),
    "RFC 9110 10.1.1",
    "an empty list expects nothing",
    also=REFUSED,
)
for name, fields, outcome in (
    ("bad-field", (b"Bad Name: 1",), refuse()),
    ("length-and-chunked", (b"Transfer-Encoding: chunked",), refuse()),
):
    head = req(
        b"POST / HTTP/1.1",
        CONTINUE,
        *fields,
        b"Content-Length: 5",
    )
    case(
        "refused-" + name,
        (head, Await(1)),
        outcome,
        "RFC 9110 10.1.1",
        "a head that is refused gets its refusal, and no 100",
        also=EARLY
        if name == "bad-field"
        else (*MUST_400, Outcome((), "close", ({},)), serve(end="any"), *REFUSED),
    )
case(
    "refused-too-large",
    (post(CONTINUE, b"Content-Length: 65"), Await(1)),
    refuse(413),
    "RFC 9110 10.1.1; contract 3",
    "413 before the body is sent, which is what the expectation is for",
    config="limits",
    own=True,
)
case(
    "accepted-within-limit",
    waiting(CONTINUE, b"Content-Length: 5"),
    CONTINUED,
    "RFC 9110 10.1.1; contract 3",
    "within the limit 100 is sent",
    config="limits",
    own=True,
)
