"""Content-Length: RFC 9112 section 6.3, RFC 9110 section 8.6."""

from __future__ import annotations

from ..model import (
    DROP,
    FIN,
    MUST_400_CLOSE,
    REFUSALS,
    REFUSED,
    WAITING,
    Category,
    Outcome,
    Reply,
    absent,
    codes,
    one_of,
    post,
    refuse,
    req,
    serve,
)

CATEGORY = Category("Content-Length")
case = CATEGORY.case

# RFC 9112 6.3: incomplete, and closed.  An application that has the request already can tell by
# CONTENT_LENGTH; an error response is permitted (section 8).
INCOMPLETE = (
    *REFUSED,
    Outcome((), "close", ({},)),
    Outcome((Reply(REFUSALS | codes(200, 500)),), "close", ({},)),
)


INNER = b"GET /inner HTTP/1.1\r\nHost: inner\r\n\r\n"


def body(content: bytes, length: str | None = None) -> Outcome:
    """Served; the application read exactly this."""
    return serve({"body": content, "CONTENT_LENGTH": length or str(len(content))})


case(
    "exact",
    post(b"Content-Length: 5", body=b"hello"),
    body(b"hello"),
    "RFC 9112 6.3",
    "the plain case",
)
case("zero", post(b"Content-Length: 0"), body(b""), "RFC 9112 6.3", "a body of no octets")
case(
    "none",
    post(),
    serve({"body": b"", "CONTENT_LENGTH": one_of(None, "", "0")}),
    "RFC 9112 6.3",
    "a request without framing fields has no body",
)
case(
    "leading-zeros",
    post(b"Content-Length: 005", body=b"hello"),
    serve({"body": b"hello", "CONTENT_LENGTH": one_of("5", "005")}),
    "RFC 9110 8.6",
    "1*DIGIT, so zeros may lead",
    also=REFUSED,
)
case(
    "leading-zeros-not-octal",
    post(b"Content-Length: 010", body=b"0123456789"),
    serve({"body": b"0123456789"}),
    "RFC 9110 8.6",
    "decimal, whatever leads",
    also=REFUSED,
)
case(
    "white-space",
    post(b"Content-Length: \t 5 \t", body=b"hello"),
    body(b"hello", "5"),
    "RFC 9112 5.1",
    "white space around a value is not part of it",
)
case(
    "other-case",
    post(b"cONTENT-lENGTH: 5", body=b"hello"),
    body(b"hello"),
    "RFC 9110 5.1",
    "names are case-insensitive",
)
case(
    "get-with-body",
    req(b"GET / HTTP/1.1", b"Content-Length: 5", body=b"hello"),
    body(b"hello"),
    "RFC 9110 9.3.1; RFC 9112 6",
    "framing is independent of the method; refusing content in GET is permitted",
    also=REFUSED,
)
case(
    "delete-with-body",
    req(b"DELETE / HTTP/1.1", b"Content-Length: 5", body=b"hello"),
    body(b"hello"),
    "RFC 9110 9.3.5; RFC 9112 6",
    "framing is independent of the method",
    also=REFUSED,
)
case(
    "head-with-body",
    req(b"HEAD / HTTP/1.1", b"Content-Length: 5", body=b"hello"),
    body(b"hello"),
    "RFC 9110 9.3.2; RFC 9112 6",
    "framing is independent of the method",
    also=REFUSED,
)
case(
    "options-with-body",
    req(b"OPTIONS / HTTP/1.1", b"Content-Length: 5", body=b"hello"),
    body(b"hello"),
    "RFC 9110 9.3.7; RFC 9112 6",
    "framing is independent of the method",
    also=REFUSED,
)
case(
    "binary",
    post(b"Content-Length: 256", body=bytes(range(256))),
    body(bytes(range(256))),
    "RFC 9112 6",
    "a body is octets",
)
case(
    "looks-like-request",
    post(b"Content-Length: %d" % len(INNER), body=INNER),
    body(INNER),
    "RFC 9112 6",
    "a body is never read as a request",
)
case(
    "large",
    post(b"Content-Length: 50000", body=b"0123456789" * 5000),
    body(b"0123456789" * 5000),
    "RFC 9112 6",
    "longer than a read",
)
case(
    "larger-than-memory",
    post(b"Content-Length: 1000", body=b"0123456789" * 100),
    body(b"0123456789" * 100),
    "RFC 9112 6",
    "a body that goes to a file reads the same",
    config="spill",
)
case(
    "in-1.0",
    req(b"POST / HTTP/1.0", b"Content-Length: 5", body=b"hello"),
    serve({"body": b"hello"}, end="close"),
    "RFC 1945 7.2.2",
    "HTTP/1.0 has the same framing",
)
case(
    "in-1.0-none",
    req(b"POST / HTTP/1.0"),
    serve({"body": b"", "CONTENT_LENGTH": one_of(None, "", "0")}, end="close"),
    "RFC 9112 6.3",
    "a request's body never ends by closing",
    also=REFUSED,  # RFC 1945 8.3 asks HTTP/1.0 clients for a length: 400
)
case(
    "followed-at-once",
    post(b"Content-Length: 5", body=b"hello") + post(b"Content-Length: 3", body=b"abc"),
    serve({"body": b"hello"}, {"body": b"abc"}),
    "RFC 9112 9.3.2",
    "the next request begins after the last octet",
)

for name, value in (
    ("plus", b"+5"),
    ("minus", b"-5"),
    ("minus-zero", b"-0"),
    ("list", b"5,5"),
    ("list-space", b"5, 5"),
    ("list-different", b"5, 6"),
    ("list-trailing-comma", b"5,"),
    ("two-words", b"5 5"),
    ("semicolon", b"5;"),
    ("hexadecimal", b"0x5"),
    ("hex-digits", b"a"),
    ("fraction", b"5.0"),
    ("exponent", b"5e0"),
    ("underscore", b"5_0"),
    ("empty", b""),
    ("word", b"five"),
    ("quoted", b'"5"'),
    ("fullwidth", b"\xef\xbc\x95"),
    ("superscript", b"\xb2"),
    ("arabic", b"\xd9\xa5"),
    ("vertical-tab", b"5\x0b"),
    ("nul", b"5\x00"),
    ("leading-vertical-tab", b"\x0b5"),
    ("chunked", b"chunked"),
):
    equal = name in ("list", "list-space", "list-trailing-comma")
    case(
        "invalid-" + name,
        post(b"Content-Length: " + value, body=b"hello"),
        refuse(),
        "RFC 9112 6.3 (5)",
        "an invalid Content-Length MUST be refused with 400 and the connection closed",
        # A list of equal values may be taken as that value.
        also=(*MUST_400_CLOSE, *((serve({"body": b"hello"}),) if equal else ())),
    )
case(
    "invalid-on-get",
    req(b"GET / HTTP/1.1", b"Content-Length: x"),
    refuse(),
    "RFC 9112 6.3 (5)",
    "whatever the method",
    also=MUST_400_CLOSE,
)
case(
    "invalid-in-1.0",
    req(b"POST / HTTP/1.0", b"Content-Length: x", body=b"hello"),
    refuse(),
    "RFC 9112 6.3 (5)",
    "whatever the version",
    also=MUST_400_CLOSE,
)
for name, value in (
    ("63-bits", b"9223372036854775808"),
    ("64-bits", b"18446744073709551616"),
    ("64-bits-wrapped", b"18446744073709551621"),
    ("many-digits", b"5" * 60),
):
    case(
        "overflow-" + name,
        post(b"Content-Length: " + value, body=b"hello"),
        # Past any limit on bodies 413 says the same.
        refuse(),
        "RFC 9110 8.6",
        "large numerals must not overflow into small ones",
        also=(*REFUSED, *WAITING),
    )
case(
    "above-32-bits",
    (post(b"Content-Length: 4294967301", body=b"hello"), FIN),
    (DROP, refuse()),
    "RFC 9110 8.6",
    "not five octets: the body is incomplete",
    also=INCOMPLETE,
)
case(
    "below-overflow",
    (post(b"Content-Length: 9223372036854775807", body=b"hello"), FIN),
    (DROP, refuse(), refuse(413)),
    "RFC 9110 8.6",
    "the largest length; the body is incomplete",
    also=INCOMPLETE,
)
for name, first, second in (
    ("equal", b"5", b"5"),
    ("different", b"5", b"0"),
    ("zero-first", b"0", b"5"),
    ("padded", b"5", b"05"),
):
    case(
        "repeated-" + name,
        post(b"Content-Length: " + first, b"Content-Length: " + second, body=b"hello"),
        refuse(),
        "RFC 9112 6.3 (5)",
        "differing values MUST be refused; equal ones may be, and are",
        also=(*MUST_400_CLOSE, *((serve({"body": b"hello"}),) if name == "equal" else ())),
    )
case(
    "repeated-three",
    post(
        b"Content-Length: 5", b"X-A: 1", b"content-length: 5", b"Content-Length: 6", body=b"hello"
    ),
    refuse(),
    "RFC 9112 6.3 (5)",
    "wherever they stand",
    also=MUST_400_CLOSE,
)
case(
    "space-before-colon",
    post(b"Content-Length : 5", body=b"hello"),
    refuse(),
    "RFC 9112 5.1",
    "white space before the colon MUST be refused",
    also=tuple(one for one in REFUSED if one.replies),
)
case(
    "truncated",
    (post(b"Content-Length: 10", body=b"hello"), FIN),
    (DROP, refuse()),
    "RFC 9112 6.3",
    "an incomplete request is no request",
    also=INCOMPLETE,
)
case(
    "truncated-at-once",
    (post(b"Content-Length: 10"), FIN),
    (DROP, refuse()),
    "RFC 9112 6.3",
    "an incomplete request is no request",
    also=INCOMPLETE,
)
case(
    "no-twin",
    post(b"Content-Length: 5", body=b"hello"),
    serve({"HTTP_CONTENT_LENGTH": absent}),
    "RFC 3875 4.1.2",
    "CONTENT_LENGTH has no HTTP_ twin",
    also=serve(),
)
