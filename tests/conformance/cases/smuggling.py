"""Request smuggling by framing: two readings of where a body ends.

Each payload hides a request for /smuggled.  It is judged by how many requests reach the
application: the hidden one never does, unless by the only right reading it is a request.
"""

from __future__ import annotations

from ..model import (
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
from .ask import ask
from .chunked import BROKEN

# One request and then the end of the connection: right or wrong, nothing was smuggled.  Whether
# it should have been served at all is asked in the other categories.
UNSMUGGLED = (
    Outcome((), "close", ({},)),
    Outcome((Reply(REFUSALS | codes(200, 500)),), "close", ({},)),
    Outcome((Reply(codes(200), cut=True),), "close", ({},)),
)
CATEGORY = Category("request smuggling", also=UNSMUGGLED)
case = CATEGORY.case

HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
# Read as chunked this is an empty body and then a request; read by length it is all body.
AFTER_END = b"0\r\n\r\n" + HIDDEN
# Read as chunked this is a body; read by the length of its first line a request follows.
IN_CHUNK = b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n"
FIRST_LINE = len(IN_CHUNK.split(b"\r\n")[0]) + 2


def length(value: int) -> bytes:
    """A Content-Length field."""
    return b"Content-Length: %d" % value


def body(content: bytes, end: str = "keep") -> Outcome:
    """Served as one request with this body."""
    return serve({"body": content}, end=end)  # type: ignore[arg-type]


# --- CL.TE and TE.CL: both fields, plainly

for name, fields in (
    ("length-first", (length(len(AFTER_END)), CHUNKED)),
    ("chunked-first", (CHUNKED, length(len(AFTER_END)))),
    ("lower-case", (length(len(AFTER_END)), b"transfer-encoding: chunked")),
    ("upper-case-value", (length(len(AFTER_END)), b"Transfer-Encoding: CHUNKED")),
    ("tab", (length(len(AFTER_END)), b"Transfer-Encoding:\tchunked")),
    ("no-space", (length(len(AFTER_END)), b"Transfer-Encoding:chunked")),
    ("trailing-space", (length(len(AFTER_END)), b"Transfer-Encoding: chunked ")),
    ("length-zero", (length(0), CHUNKED)),
    ("length-twice", (length(len(AFTER_END)), length(len(AFTER_END)), CHUNKED)),
):
    case(
        "cl-te-" + name,
        post(*fields, body=AFTER_END),
        refuse(),
        "RFC 9112 6.1",
        "refused, or chunked and then closed; the rest is never a request",
        also=(*MUST_400_CLOSE, body(b"", "close")),
    )
for name, fields in (
    ("length-first", (length(FIRST_LINE), CHUNKED)),
    ("chunked-first", (CHUNKED, length(FIRST_LINE))),
    ("length-of-all", (CHUNKED, length(len(IN_CHUNK)))),
    ("lower-case", (length(FIRST_LINE), b"transfer-encoding:chunked")),
):
    case(
        "te-cl-" + name,
        post(*fields, body=IN_CHUNK),
        refuse(),
        "RFC 9112 6.1",
        "refused, or chunked and then closed; length never wins",
        also=(*MUST_400_CLOSE, body(HIDDEN, "close")),
    )
case(
    "cl-te-on-get",
    req(b"GET / HTTP/1.1", length(len(AFTER_END)), CHUNKED, body=AFTER_END),
    refuse(),
    "RFC 9112 6.1",
    "whatever the method",
    also=(*MUST_400_CLOSE, body(b"", "close")),
)
case(
    "cl-te-in-1.0",
    req(
        b"POST / HTTP/1.0",
        b"Connection: keep-alive",
        length(len(AFTER_END)),
        CHUNKED,
        body=AFTER_END,
    ),
    refuse(),
    "RFC 9112 6.1",
    "faulty framing, closed after it, whichever reading",
    also=(*REFUSED, serve(end="close")),
)
case(
    "te-in-1.0-keep-alive",
    req(b"POST / HTTP/1.0", b"Connection: keep-alive", CHUNKED, body=AFTER_END),
    refuse(),
    "RFC 9112 6.1",
    "faulty framing, closed after it, whichever reading",
    also=(*REFUSED, serve(end="close")),
)

# --- TE.TE: a field that one reader takes for chunked and another does not

ALL = length(len(AFTER_END))
for name, field in (
    ("space-before-colon", b"Transfer-Encoding : chunked"),
    ("tab-before-colon", b"Transfer-Encoding\t: chunked"),
    ("vertical-tab-before-value", b"Transfer-Encoding: \x0bchunked"),
    ("form-feed-behind-value", b"Transfer-Encoding: chunked\x0c"),
    ("nul-behind-value", b"Transfer-Encoding: chunked\x00"),
    ("nul-behind-name", b"Transfer-Encoding\x00: chunked"),
    ("nbsp", b"Transfer-Encoding:\xa0chunked"),
    ("prefix", b"Transfer-Encoding: xchunked"),
    ("suffix", b"Transfer-Encoding: chunkedx"),
    ("quoted", b'Transfer-Encoding: "chunked"'),
    ("single-quoted", b"Transfer-Encoding: 'chunked'"),
    ("parameter", b"Transfer-Encoding: chunked;x=1"),
    ("two-words", b"Transfer-Encoding: x chunked"),
    ("comma-behind", b"Transfer-Encoding: chunked,"),
    ("comma-before", b"Transfer-Encoding: ,chunked"),
    ("identity", b"Transfer-Encoding: identity"),
    ("identity-chunked", b"Transfer-Encoding: identity, chunked"),
    ("chunked-identity", b"Transfer-Encoding: chunked, identity"),
    ("cow", b"Transfer-Encoding: chunked, cow"),
    ("cow-before", b"Transfer-Encoding: cow, chunked"),
    ("chunked-twice", b"Transfer-Encoding: chunked, chunked"),
    ("second-field", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x"),
    ("second-field-first", b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked"),
    ("two-fields", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    ("empty-field-first", b"Transfer-Encoding:\r\nTransfer-Encoding: chunked"),
    ("folded", b"Transfer-Encoding:\r\n chunked"),
    ("folded-tab", b"Transfer-Encoding:\r\n\tchunked"),
    ("folded-name", b"Transfer-Encoding\r\n : chunked"),
    ("colon-twice", b"Transfer-Encoding:: chunked"),
    ("high-byte", b"Transfer-Encoding: \xffchunked"),
    ("kelvin-sign", b"Transfer-Encoding: chun\xe2\x84\xaaed"),
    ("bare-lf-before", b"X: x\nTransfer-Encoding: chunked"),
    ("bare-cr-before", b"X: x\rTransfer-Encoding: chunked"),
    ("lf-inside", b"Transfer-Encoding:\n chunked"),
    ("cr-inside", b"Transfer-Encoding:\rchunked"),
    ("nul-before-name", b"\x00Transfer-Encoding: chunked"),
    ("semicolon-in-name", b"Transfer-Encoding;: chunked"),
    ("space-in-name", b"Transfer Encoding: chunked"),
    ("high-byte-in-name", b"Transfer-\xc4ncoding: chunked"),
):
    # All the well-formed ones are framing that has to be refused or, where chunked stands last,
    # may be read so and closed.
    also = list(REFUSED)
    if name.startswith(("folded", "comma", "empty-field", "bare-lf", "lf-inside", "cr-inside")):
        also.append(body(b"", "close"))
    if name == "bare-cr-before":
        # Each bare CR becomes a space, and the field a part of X.
        also.append(serve({"body": AFTER_END, "HTTP_X": "x Transfer-Encoding: chunked"}))
    case(
        "te-te-" + name,
        post(ALL, field, body=AFTER_END),
        refuse(400, 501),
        "RFC 9112 6.1, 6.3 and 5",
        "no two readers may differ about this field",
        also=tuple(also),
    )
for name, field in (
    ("underscore", b"Transfer_Encoding: chunked"),
    ("suffix-name", b"Transfer-Encoding-X: chunked"),
    ("prefix-name", b"X-Transfer-Encoding: chunked"),
    ("te", b"TE: chunked"),
    ("content-encoding", b"Content-Encoding: chunked"),
    ("spelt", b"Transfer-Encodin: chunked"),
    ("dots", b"Transfer.Encoding: chunked"),
):
    case(
        "te-te-other-name-" + name,
        post(ALL, field, body=AFTER_END),
        serve({"body": AFTER_END, "HTTP_TRANSFER_ENCODING": absent}),
        "RFC 9112 6.3",
        "another field is no framing, however alike it looks",
        also=REFUSED,
    )
for name, field in (
    ("prefix", b"Transfer-Encoding: xchunked"),
    ("suffix", b"Transfer-Encoding: chunkedx"),
    ("identity-behind", b"Transfer-Encoding: chunked, identity"),
    ("identity", b"Transfer-Encoding: identity"),
    ("empty", b"Transfer-Encoding:"),
    ("nul", b"Transfer-Encoding: chunked\x00"),
    ("quoted", b'Transfer-Encoding: "chunked"'),
    ("vertical-tab", b"Transfer-Encoding: \x0bchunked"),
):
    case(
        "te-cl-obfuscated-" + name,
        post(length(FIRST_LINE), field, body=IN_CHUNK),
        refuse(400, 501),
        "RFC 9112 6.3 (4)",
        "the length must not be fallen back to",
        also=REFUSED,
    )

# --- CL.CL: a length that two readers read in two ways

COUNT = len(HIDDEN)
for name, fields in (
    ("zero-first", (length(0), length(COUNT))),
    ("zero-last", (length(COUNT), length(0))),
    ("list", (b"Content-Length: 0, %d" % COUNT,)),
    ("list-last", (b"Content-Length: %d, 0" % COUNT,)),
    ("plus", (b"Content-Length: +%d" % COUNT,)),
    ("minus", (b"Content-Length: -%d" % COUNT,)),
    ("hexadecimal", (b"Content-Length: 0x%x" % COUNT,)),
    ("trailing-letter", (b"Content-Length: %dx" % COUNT,)),
    ("trailing-space-digit", (b"Content-Length: 0 %d" % COUNT,)),
    ("vertical-tab", (b"Content-Length: \x0b%d" % COUNT,)),
    ("nul", (b"Content-Length: %d\x00" % COUNT,)),
    ("wrapped-64-bits", (b"Content-Length: %d" % (2**64 + COUNT),)),
    ("fraction", (b"Content-Length: %d.0" % COUNT,)),
    ("exponent", (b"Content-Length: %de0" % COUNT,)),
    ("quoted", (b'Content-Length: "%d"' % COUNT,)),
    ("empty", (b"Content-Length:",)),
    ("space-before-colon", (b"Content-Length : %d" % COUNT,)),
    ("nul-in-name", (b"Content-Length\x00: %d" % COUNT,)),
    ("folded", (b"Content-Length:\r\n %d" % COUNT,)),
    ("folded-zero", (b"Content-Length: 0\r\n %d" % COUNT,)),
    ("bare-lf-inside", (b"Content-Length:\n%d" % COUNT,)),
    ("bare-cr-inside", (b"Content-Length: 0\r%d" % COUNT,)),
    ("arabic-digits", ("Content-Length: \u0663\u0664".encode(),)),
):
    also_served = (body(HIDDEN),) if name in ("folded",) else ()
    case(
        "cl-cl-" + name,
        post(*fields, body=HIDDEN),
        refuse(),
        "RFC 9112 6.3 (5)",
        "an invalid length MUST be refused and the connection closed",
        also=(*REFUSED, *also_served, *(WAITING if name == "wrapped-64-bits" else ())),
    )
for name, field in (
    ("underscore", b"Content_Length: %d" % COUNT),
    ("suffix-name", b"Content-Length-X: %d" % COUNT),
    ("prefix-name", b"X-Content-Length: %d" % COUNT),
):
    case(
        "cl-other-name-" + name,
        post(field, body=HIDDEN),
        serve({"body": b"", "CONTENT_LENGTH": one_of(None, "", "0")}, {"PATH_INFO": "/smuggled"}),
        "RFC 9112 6.3 (7)",
        "another field is no framing: the body is empty, what follows is plainly a request",
        also=REFUSED,
    )

# --- CL.0: a body that nobody reads is still a body

for method in ("GET", "HEAD", "DELETE", "OPTIONS", "PUT", "TRACE"):
    case(
        "cl-0-" + method.lower(),
        req(method.encode() + b" / HTTP/1.1", length(COUNT), body=HIDDEN),
        body(HIDDEN),
        "RFC 9112 6.3",
        "the length counts for every method",
        also=REFUSED,
    )
case(
    "cl-0-unread",
    ask("input-ignored", body=HIDDEN),
    serve(body=b"ignored"),
    "RFC 9112 9.3",
    "what the application leaves is skipped or the connection closed",
    also=serve(body=b"ignored", end="close"),
)
case(
    "cl-0-unread-chunked",
    ask("input-ignored", "", CHUNKED, method="POST") + IN_CHUNK,
    serve(body=b"ignored"),
    "RFC 9112 9.3",
    "chunked as well",
    also=serve(body=b"ignored", end="close"),
)
case(
    "cl-0-partly-read",
    ask("input", "read:3", body=HIDDEN),
    serve(body=b'["GET"]'),
    "RFC 9112 9.3",
    "a part left is skipped as well",
    also=serve(end="close"),
)
case(
    "cl-0-bodiless-status",
    ask("respond", "%7B%22status%22:%22204%20No%20Content%22%7D", body=HIDDEN),
    serve(status=204),
    "RFC 9112 9.3",
    "whatever the response is",
    also=serve(status=204, end="close"),
)
case(
    "cl-0-application-error",
    ask("respond", "%7B%22raise%22:%22ValueError%22%7D", body=HIDDEN),
    Outcome(serve(status=500).replies, "any", ({},)),
    "RFC 9112 9.3",
    "even after an error",
    also=Outcome((), "close", ({},)),
)
case(
    "cl-0-expect",
    post(b"Expect: 100-continue", length(COUNT), body=HIDDEN),
    body(HIDDEN),
    "RFC 9110 10.1.1",
    "a body that did not wait for 100 is a body",
    also=REFUSED,
)
case(
    "cl-0-expect-unread",
    ask("input-ignored", "", b"Expect: 100-continue", body=HIDDEN),
    serve(body=b"ignored"),
    "RFC 9110 10.1.1",
    "unread or not",
    also=(serve(body=b"ignored", end="close"), *REFUSED),
)
case(
    "cl-0-expect-refused",
    post(b"Expect: other", length(COUNT), body=HIDDEN),
    refuse(417),
    "RFC 9110 10.1.1",
    "after a refusal the body must not be taken for a request",
    also=(body(HIDDEN), *REFUSED),
)
case(
    "cl-0-upgrade",
    post(b"Connection: Upgrade", b"Upgrade: websocket", length(COUNT), body=HIDDEN),
    body(HIDDEN),
    "RFC 9110 7.8",
    "an upgrade that is ignored changes no framing",
    also=REFUSED,
)

# --- chunks that two readers read in two ways


def tricky(*parts: bytes) -> bytes:
    """A chunked POST with this body."""
    return post(CHUNKED, body=b"".join(parts))


def then(prefix: bytes) -> bytes:
    """A chunk that holds an end and the hidden request, behind something."""
    inner = b"0\r\n\r\n" + HIDDEN
    return prefix + b"%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n"


for name, content in (
    ("extension-bare-lf", then(b"2;\nxx\r\n")),
    ("extension-name-bare-lf", then(b"2;a\nxx\r\n")),
    ("extension-bare-cr", then(b"2;\rxx\r\n")),
    ("extension-quoted-lf", then(b'2;a="\nxx\r\n')),
    ("extension-quoted-crlf", then(b'2;a="\r\nxx\r\n')),
    ("extension-nul", then(b"2;\x00\nxx\r\n")),
    ("size-lf", then(b"2\nxx\r\n")),
    ("size-cr", then(b"2\rxx\r\n")),
    ("size-cr-cr-lf", then(b"2\r\r\nxx\r\n")),
    ("data-end-lf", b"2\r\nxx\n" + AFTER_END),
    ("data-end-cr", b"2\r\nxx\r" + AFTER_END),
    ("data-end-missing", b"2\r\nxx" + AFTER_END),
    ("data-end-any-two", b"2\r\nxxYY" + AFTER_END),
    ("size-empty", b"\r\n\r\n" + HIDDEN),
    ("size-extension-only", b";a=b\r\n\r\n" + HIDDEN),
    ("size-letter", b"x\r\n\r\n" + HIDDEN),
    ("size-space-zero", b" 0\r\n\r\n" + HIDDEN),
    ("size-plus-zero", b"+0\r\n\r\n" + HIDDEN),
    ("size-minus-zero", b"-0\r\n\r\n" + HIDDEN),
    ("size-minus-one", b"-1\r\n\r\n" + HIDDEN),
    ("size-hex-prefix", b"0x%x\r\n" % COUNT + HIDDEN + b"\r\n0\r\n\r\n"),
    ("size-underscore", b"0_0\r\n\r\n" + HIDDEN),
    ("size-wraps-64-bits", b"10000000000000000\r\n\r\n" + HIDDEN),
    ("size-wraps-128-bits", b"1" + b"0" * 32 + b"\r\n\r\n" + HIDDEN),
    ("size-comma", b"0,5\r\n\r\n" + HIDDEN),
    ("size-fraction", b"0.0\r\n\r\n" + HIDDEN),
    ("size-nul", b"0\x00\r\n\r\n" + HIDDEN),
    ("size-vertical-tab", b"0\x0b\r\n\r\n" + HIDDEN),
    ("end-lf-lf", b"0\n\n" + HIDDEN),
    ("end-crlf-lf", b"0\r\n\n" + HIDDEN),
    ("end-cr-cr", b"0\r\r" + HIDDEN),
    ("end-crlf-cr", b"0\r\n\r" + HIDDEN),
    ("end-missing", b"0\r\n" + HIDDEN),
    ("end-junk", b"0\r\nxx\r\n" + HIDDEN),
    ("trailer-request", b"0\r\nX-A: 1\r\n" + HIDDEN),
    ("trailer-bare-lf", b"0\r\nX-A: 1\n\n" + HIDDEN),
    ("trailer-bare-cr", b"0\r\nX-A: 1\r\r" + HIDDEN),
):
    # RFC 9112 2.2 allows a bare LF as the end of a field line; in the trailer section the hidden
    # request then stands behind a complete message.
    lenient: tuple[Outcome, ...] = ()
    if name in ("end-crlf-lf", "trailer-bare-lf"):
        lenient = (serve({"body": b""}, {"PATH_INFO": "/smuggled"}),)
    # A trailer section may be discarded unread, up to its empty line.
    if name.startswith(("end-missing", "end-junk", "end-crlf", "trailer")):
        lenient += (body(b""),)
    case(
        "chunk-" + name,
        tricky(content),
        refuse(),
        "RFC 9112 7.1",
        "what is not exactly a chunk is refused, and nothing behind it is read",
        also=(*BROKEN, *lenient, *(WAITING if name.startswith("size-wraps") else ())),
    )
case(
    "chunk-inside-is-data",
    tricky(IN_CHUNK),
    body(HIDDEN),
    "RFC 9112 7.1",
    "a request inside a chunk is data",
)
case(
    "chunk-trailer-length",
    post(CHUNKED, body=b"0\r\nContent-Length: %d\r\n\r\n" % COUNT + HIDDEN),
    (serve({"body": b""}, {"PATH_INFO": "/smuggled"}), refuse()),
    "RFC 9110 6.5.1",
    "a length in the trailer section frames nothing: what follows is plainly a request",
    also=BROKEN,
)
