"""Trailer section: RFC 9112 section 7.1.2, RFC 9110 section 6.5."""

from __future__ import annotations

from ..model import (
    DROP,
    FIN,
    REFUSED,
    Category,
    Check,
    Outcome,
    absent,
    get,
    one_of,
    post,
    refuse,
    serve,
)
from .chunked import BROKEN, READ_FAILED

CATEGORY = Category("trailers")
case = CATEGORY.case


def trailed(*lines: bytes, fields: tuple[bytes, ...] = ()) -> bytes:
    """A chunked POST of `hello` with these trailer lines."""
    section = b"".join(line + b"\r\n" for line in lines)
    return post(
        b"Transfer-Encoding: chunked",
        *fields,
        body=b"5\r\nhello\r\n0\r\n" + section + b"\r\n",
    )


def body(**more: Check) -> Outcome:
    """Served; the body is `hello` and the environ shows this."""
    return serve({"body": b"hello", **more})


# --- read and left out

case(
    "one",
    trailed(b"X-Sum: 1"),
    body(HTTP_X_SUM=absent),
    "RFC 9110 6.5.1",
    "trailers MUST NOT be merged without knowing the field; discarding is right",
)
case(
    "announced",
    trailed(b"X-Sum: 1", fields=(b"Trailer: X-Sum",)),
    body(HTTP_X_SUM=absent, HTTP_TRAILER=one_of("X-Sum", None)),
    "RFC 9110 6.6.2",
    "announcing it changes nothing",
)
case(
    "several",
    trailed(b"X-A: 1", b"X-B: 2", b"X-A: 3"),
    body(HTTP_X_A=absent, HTTP_X_B=absent),
    "RFC 9112 7.1.2",
    "any number within the limits",
)
case(
    "not-over-header",
    trailed(b"X-A: trailer", fields=(b"X-A: header",)),
    body(HTTP_X_A="header"),
    "RFC 9110 6.5.1",
    "a trailer does not touch a header field of its name",
)
case(
    "empty-value",
    trailed(b"X-A:"),
    body(HTTP_X_A=absent),
    "RFC 9112 5",
    "the syntax of field lines",
)
case(
    "obs-text",
    trailed(b"X-A: caf\xe9"),
    body(HTTP_X_A=absent),
    "RFC 9110 5.5",
    "the syntax of field values",
    also=(*REFUSED, *READ_FAILED),
)
case(
    "followed-at-once",
    trailed(b"X-A: 1") + get(b"X-B: 2", target=b"/next"),
    serve({"body": b"hello", "HTTP_X_A": absent}, {"PATH_INFO": "/next", "HTTP_X_A": absent}),
    "RFC 9112 7.1.2",
    "the next request begins behind the trailer section, and inherits nothing",
)
case(
    "next-chunked-plain",
    trailed(b"X-A: 1") + trailed() + trailed(b"X-B: 2"),
    serve({"body": b"hello"}, {"body": b"hello"}, {"body": b"hello", "HTTP_X_B": absent}),
    "RFC 9112 7.1.2",
    "a trailer section more or less makes no difference",
)

# --- fields that must not be in a trailer have no effect

for name, line, environ in (
    ("content-length", b"Content-Length: 100", {"CONTENT_LENGTH": one_of("5", "", None)}),
    ("transfer-encoding", b"Transfer-Encoding: chunked", {"body": b"hello"}),
    ("host", b"Host: evil.example", {"HTTP_HOST": "h"}),
    ("content-type", b"Content-Type: text/evil", {"CONTENT_TYPE": one_of("", None)}),
    ("authorization", b"Authorization: x", {"HTTP_AUTHORIZATION": absent}),
    ("cookie", b"Cookie: a=1", {"HTTP_COOKIE": absent}),
    ("forwarded", b"X-Forwarded-For: 1.2.3.4", {"HTTP_X_FORWARDED_FOR": absent}),
    ("underscore", b"X_A: 1", {"HTTP_X_A": absent}),
):
    case(
        "forbidden-" + name,
        trailed(line),
        (body(**environ), refuse()),
        "RFC 9110 6.5.1",
        "fields for framing, routing and authentication have no place here: ignored or refused",
        also=(*REFUSED, *READ_FAILED),
    )
case(
    "connection-close",
    trailed(b"Connection: close"),
    (body(), refuse()),
    "RFC 9110 6.5.1",
    "a trailer does not govern the connection",
    also=(*REFUSED, *READ_FAILED, serve({"body": b"hello"}, end="close")),
)
case(
    "expect",
    trailed(b"Expect: 100-continue"),
    (body(), refuse()),
    "RFC 9110 6.5.1",
    "an expectation behind the body makes no sense, and no 100",
    also=(*REFUSED, *READ_FAILED),
)

# --- checked like headers

for name, line in (
    ("space-before-colon", b"X-A : 1"),
    ("no-colon", b"X-A"),
    ("empty-name", b": 1"),
    ("space-in-name", b"X A: 1"),
    ("bad-name", b"X(A): 1"),
    ("nul-value", b"X-A: a\x00b"),
    ("control-value", b"X-A: a\x01b"),
    ("bare-cr", b"X-A: a\rb"),
    ("fold", b"X-A: 1\r\n 2"),
    ("leading-space", b" X-A: 1"),
    ("bare-lf", b"X-A: 1\nX-B: 2"),
    ("latin1-name", b"X-\xe9: 1"),
):
    # What is discarded unread by a server harms nobody, as long as it ends where it should.
    case(
        "invalid-" + name,
        trailed(line),
        refuse(),
        "RFC 9112 7.1.2 and 5",
        "trailer lines obey the rules of field lines",
        also=(*BROKEN, serve({"body": b"hello"})),
    )
case(
    "invalid-end-lf",
    (post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\nX-A: 1\n\n"), FIN),
    refuse(),
    "RFC 9112 2.2",
    "bare LF is no line end here",
    also=(*BROKEN, serve({"body": b"hello"}, end="close")),
)

# --- counted in the limits

case(
    "too-many",
    trailed(*(b"X-A: 1" for _ in range(150))),
    refuse(431),
    "RFC 9110 5.4",
    "trailers count as fields",
    also=(*BROKEN, serve({"body": b"hello"})),
    ways="wp",
)
case(
    "too-long",
    trailed(b"X-A: " + b"a" * 100000),
    refuse(431),
    "RFC 9110 5.4",
    "trailers have the length limit of fields",
    also=(*BROKEN, serve({"body": b"hello"})),
    ways="wp",
)
case(
    "too-many-with-fields",
    trailed(*(b"X-T: 1" for _ in range(60)), fields=tuple(b"X-H: 1" for _ in range(60))),
    refuse(431),
    "contract 3",
    "header fields and trailers together",
    also=(*BROKEN, serve({"body": b"hello"})),
    ways="wp",
)
case(
    "truncated",
    (post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\nX-A: 1\r\n"), FIN),
    (DROP, refuse()),
    "RFC 9112 8",
    "without the empty line the section is unfinished",
    also=(*BROKEN, serve({"body": b"hello"}, end="close")),
)
