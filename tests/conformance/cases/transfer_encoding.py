"""Transfer-Encoding: RFC 9112 sections 6.1, 6.3 and 7."""

from __future__ import annotations

from ..model import (
    MUST_400_CLOSE,
    REFUSALS,
    REFUSED,
    Category,
    Outcome,
    Reply,
    absent,
    codes,
    holds,
    one_of,
    post,
    refuse,
    req,
    serve,
)

CATEGORY = Category("Transfer-Encoding")
case = CATEGORY.case

BODY = b"5\r\nhello\r\n0\r\n\r\n"
SERVED = serve({"body": b"hello"})


def te(*values: bytes, body: bytes = BODY, more: tuple[bytes, ...] = ()) -> bytes:
    """A POST with one Transfer-Encoding field for each value."""
    return post(*(b"Transfer-Encoding: " + value for value in values), *more, body=body)


case("chunked", te(b"chunked"), SERVED, "RFC 9112 7.1", "every recipient MUST decode chunked")
case(
    "length-for-application",
    te(b"chunked"),
    serve({"body": b"hello", "CONTENT_LENGTH": "5", "HTTP_TRANSFER_ENCODING": absent}),
    "contract 3; RFC 9112 7.1.3",
    "the decoded body has a length, and no coding any more",
    also=SERVED,
)
for name, value in (
    ("upper-case", b"CHUNKED"),
    ("mixed-case", b"cHuNkEd"),
    ("white-space", b" \tchunked \t"),
):
    case(
        "chunked-" + name,
        te(value),
        SERVED,
        "RFC 9112 7",
        "coding names are case-insensitive, white space around is none of the value",
    )
case(
    "chunked-empty-elements",
    te(b", chunked ,"),
    (SERVED, refuse()),
    "RFC 9110 5.6.1.2",
    "a recipient MUST parse a reasonable number of empty list elements; refusing is safe",
    also=REFUSED,
)
case(
    "get-chunked",
    req(b"GET / HTTP/1.1", b"Transfer-Encoding: chunked", body=BODY),
    SERVED,
    "RFC 9112 6",
    "framing is independent of the method",
    also=REFUSED,
)
case(
    "head-chunked",
    req(b"HEAD / HTTP/1.1", b"Transfer-Encoding: chunked", body=BODY),
    SERVED,
    "RFC 9112 6",
    "framing is independent of the method",
    also=REFUSED,
)

# --- with Content-Length

for name, fields in (
    ("length-before", (b"Content-Length: 5", b"Transfer-Encoding: chunked")),
    ("length-after", (b"Transfer-Encoding: chunked", b"Content-Length: 5")),
    ("length-matching", (b"Content-Length: 15", b"Transfer-Encoding: chunked")),
    ("length-zero", (b"Content-Length: 0", b"Transfer-Encoding: chunked")),
    ("length-invalid", (b"Content-Length: x", b"Transfer-Encoding: chunked")),
):
    case(
        "with-" + name,
        post(*fields, body=BODY),
        refuse(),
        "RFC 9112 6.1 and 6.3 (3)",
        "both at once ought to be handled as an error; Transfer-Encoding wins otherwise, and the "
        "connection MUST be closed",
        also=(*MUST_400_CLOSE, serve({"body": b"hello"}, end="close")),
    )
case(
    "identity-with-length",
    te(b"identity", body=b"hello", more=(b"Content-Length: 5",)),
    refuse(400, 501),
    "RFC 9112 6.3 (4)",
    "identity is no transfer coding any more; chunked is not last",
    also=(*MUST_400_CLOSE, *REFUSED),
)
case(
    "unknown-with-length",
    te(b"x-unknown", body=b"hello", more=(b"Content-Length: 5",)),
    refuse(400, 501),
    "RFC 9112 6.3 (4)",
    "the length cannot be relied upon",
    also=(*MUST_400_CLOSE, *REFUSED),
)

# --- HTTP/1.0

case(
    "in-1.0",
    req(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked", body=BODY),
    refuse(),
    "RFC 9112 6.1",
    "in HTTP/1.0 it MUST be treated as faulty framing, and the connection closed",
    also=(*MUST_400_CLOSE, serve(end="close"), Outcome((Reply(REFUSALS),), "close")),
)
case(
    "in-1.0-keep-alive",
    req(b"POST / HTTP/1.0", b"Connection: keep-alive", b"Transfer-Encoding: chunked", body=BODY),
    refuse(),
    "RFC 9112 6.1",
    "the connection MUST be closed after it",
    also=(*MUST_400_CLOSE, serve(end="close"), Outcome((Reply(REFUSALS),), "close")),
)
case(
    "in-1.0-with-length",
    req(b"POST / HTTP/1.0", b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"hello"),
    refuse(),
    "RFC 9112 6.1",
    "even if a Content-Length is present",
    also=(*MUST_400_CLOSE, serve(end="close"), Outcome((Reply(REFUSALS),), "close")),
)

# --- other codings.  A server SHOULD answer 501 to one it does not know; where chunked is not
# last, the length is unknown and it MUST answer 400 and close.

NOT_KNOWN = (Outcome((Reply(codes(400, 415, 501)),), "close"), *REFUSED)

for name, value in (
    ("gzip", b"gzip, chunked"),
    ("deflate", b"deflate, chunked"),
    ("compress", b"compress, chunked"),
    ("two", b"gzip, deflate, chunked"),
):
    case(
        "coded-" + name,
        te(value),
        refuse(501),
        "RFC 9112 6.1",
        "a coding that is not decoded here SHOULD be answered with 501",
        # Whoever passes the coding on to the application leaves the decoding to it.
        also=(*NOT_KNOWN, serve({"HTTP_TRANSFER_ENCODING": value.decode(), "body": b"hello"})),
    )
case(
    "coded-in-two-fields",
    te(b"gzip", b"chunked"),
    refuse(501, 400),
    "RFC 9110 5.3; RFC 9112 6.1",
    "two fields are one list",
    also=(
        *NOT_KNOWN,
        serve({"HTTP_TRANSFER_ENCODING": holds("gzip"), "body": b"hello"}, end="any"),
    ),
)
for name, value in (
    ("identity-chunked", b"identity, chunked"),
    ("unknown-chunked", b"x-foo, chunked"),
    ("quoted", b'"chunked"'),
    ("parameter", b"chunked;q=1"),
    ("single-quoted", b"'chunked'"),
    ("misspelt", b"chunkd"),
    ("prefix", b"xchunked"),
    ("suffix", b"chunkedx"),
    ("dash", b"x-chunked"),
    ("identity", b"identity"),
    ("empty", b""),
    ("gzip-alone", b"gzip"),
    ("chunked-gzip", b"chunked, gzip"),
    ("chunked-identity", b"chunked, identity"),
    ("chunked-twice", b"chunked, chunked"),
    ("chunked-comma-no-space-twice", b"chunked,chunked"),
    ("two-words", b"chunked foo"),
    ("two-words-before", b"foo chunked"),
    ("vertical-tab", b"\x0bchunked"),
    ("form-feed", b"chunked\x0c"),
    ("nul", b"chunked\x00"),
    ("latin1", b"chunked\xff"),
    ("kelvin", b"chun\xe2\x84\xaaed"),
    ("semicolon", b"chunked;"),
    ("colon", b": chunked"),
    ("equals", b"=chunked"),
    ("brackets", b"[chunked]"),
):
    case(
        "obfuscated-" + name,
        te(value),
        refuse(400, 501) if name in ("identity-chunked", "unknown-chunked") else refuse(),
        "RFC 9112 6.1 and 6.3 (4)",
        "what is not exactly chunked at the end leaves the length unknown: 400, closed",
        # identity did nothing while there was such a coding.
        also=(*NOT_KNOWN, SERVED) if name == "identity-chunked" else NOT_KNOWN,
    )
case(
    "two-fields-chunked",
    te(b"chunked", b"chunked"),
    refuse(),
    "RFC 9112 6.1",
    "chunked MUST NOT be applied twice",
    also=NOT_KNOWN,
)
case(
    "two-fields-identity-last",
    te(b"chunked", b"identity"),
    refuse(),
    "RFC 9112 6.3 (4)",
    "chunked is not last",
    also=NOT_KNOWN,
)
case(
    "two-fields-empty-last",
    te(b"chunked", b""),
    (SERVED, refuse()),
    "RFC 9110 5.6.1.2",
    "an empty element is no element; refusing is safe",
    also=NOT_KNOWN,
)
case(
    "folded",
    post(b"Transfer-Encoding:\r\n chunked", body=BODY),
    refuse(),
    "RFC 9112 5.2",
    "folding MUST be refused or replaced by spaces",
    also=(*MUST_400_CLOSE, SERVED),
)
case(
    "space-before-colon",
    post(b"Transfer-Encoding : chunked", body=BODY),
    refuse(),
    "RFC 9112 5.1",
    "white space before the colon MUST be refused",
    also=tuple(one for one in REFUSED if one.replies),
)
case(
    "underscore",
    post(b"Transfer_Encoding: chunked", b"Content-Length: 5", body=b"hello"),
    serve({"body": b"hello", "HTTP_TRANSFER_ENCODING": absent}),
    "RFC 9112 6.1",
    "another name, so no framing; and the application must not take it for one",
    also=REFUSED,
)
case(
    "te-is-no-framing",
    post(b"TE: chunked", b"Connection: TE", b"Content-Length: 5", body=b"hello"),
    serve({"body": b"hello", "CONTENT_LENGTH": "5"}),
    "RFC 9110 10.1.4",
    "TE says what a response may be, nothing about this body",
)
case(
    "content-encoding-is-no-framing",
    post(b"Content-Encoding: chunked", b"Content-Length: 5", body=b"hello"),
    serve({"body": b"hello", "HTTP_CONTENT_ENCODING": one_of("chunked")}),
    "RFC 9110 8.4",
    "Content-Encoding belongs to the content",
)
