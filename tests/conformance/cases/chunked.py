"""Chunked syntax: RFC 9112 section 7.1."""

from __future__ import annotations

from ..model import (
    DROP,
    FIN,
    REFUSALS,
    REFUSED,
    WAITING,
    Category,
    Outcome,
    Reply,
    chunked,
    codes,
    post,
    refuse,
    serve,
)

CATEGORY = Category("chunked syntax")
case = CATEGORY.case

# A server that streams has called the application before it meets the fault; then the
# application's read must fail, and the connection must end.
READ_FAILED = (
    Outcome((), "close", ({"body": None},)),
    Outcome((Reply(REFUSALS | codes(500)),), "close", ({"body": None},)),
    # What the application sent stays, but visibly cut.
    Outcome((Reply(codes(200), cut=True),), "close", ({"body": None},)),
)
BROKEN = (*REFUSED, *READ_FAILED)


def raw(body: bytes, *fields: bytes) -> bytes:
    """A chunked POST with exactly this body."""
    return post(b"Transfer-Encoding: chunked", *fields, body=body)


def body(content: bytes) -> Outcome:
    """Served; the application read this."""
    return serve({"body": content})


HELLO = body(b"hello")
HELLO_END = serve({"body": b"hello"}, end="close")

# --- valid

case("one-chunk", chunked(b"5", b"hello", b"0", b""), HELLO, "RFC 9112 7.1", "the plain case")
case("no-chunk", chunked(b"0", b""), body(b""), "RFC 9112 7.1", "an empty body")
case(
    "many-chunks",
    chunked(b"1", b"h", b"2", b"el", b"2", b"lo", b"0", b""),
    HELLO,
    "RFC 9112 7.1",
    "chunks add up",
)
case(
    "hex-lower",
    chunked(b"1a", b"abcdefghijklmnopqrstuvwxyz", b"0", b""),
    body(b"abcdefghijklmnopqrstuvwxyz"),
    "RFC 9112 7.1",
    "sizes are hexadecimal",
)
case(
    "hex-upper",
    chunked(b"1A", b"abcdefghijklmnopqrstuvwxyz", b"0", b""),
    body(b"abcdefghijklmnopqrstuvwxyz"),
    "RFC 9112 7.1",
    "in either case",
)
case(
    "hex-not-decimal",
    chunked(b"10", b"0123456789abcdef", b"0", b""),
    body(b"0123456789abcdef"),
    "RFC 9112 7.1",
    "10 is sixteen",
)
case(
    "leading-zeros",
    chunked(b"0005", b"hello", b"0", b""),
    HELLO,
    "RFC 9112 7.1",
    "1*HEXDIG, so zeros may lead",
)
case(
    "sixteen-digits",
    chunked(b"0" * 15 + b"5", b"hello", b"0" * 16, b""),
    HELLO,
    "RFC 9112 7.1",
    "as many as a 64-bit size has",
    also=BROKEN,
)
case(
    "seventeen-digits",
    chunked(b"0" * 16 + b"5", b"hello", b"0", b""),
    refuse(),
    "RFC 9112 7.1",
    "a recipient must anticipate large numerals: bytes without end that are no body",
    also=(HELLO, *BROKEN),
)
case(
    "last-chunk-seventeen-digits",
    chunked(b"5", b"hello", b"0" * 17, b""),
    refuse(),
    "RFC 9112 7.1",
    "the last chunk is no exception",
    also=(HELLO, *BROKEN),
)
case(
    "many-leading-zeros",
    chunked(b"0" * 30 + b"5", b"hello", b"0", b""),
    refuse(),
    "RFC 9112 7.1",
    "valid, and suspicious; never anything but five",
    also=(HELLO, *BROKEN),
)
case(
    "last-chunk-zeros",
    chunked(b"5", b"hello", b"0000", b""),
    HELLO,
    "RFC 9112 7.1",
    "last-chunk is 1*0",
)
case(
    "crlf-inside",
    chunked(b"9", b"a\r\n0\r\n\r\nb", b"0", b""),
    body(b"a\r\n0\r\n\r\nb"),
    "RFC 9112 7.1",
    "chunk data is counted, not searched",
)
case(
    "binary",
    chunked(b"100", bytes(range(256)), b"0", b""),
    body(bytes(range(256))),
    "RFC 9112 7.1",
    "chunk data is octets",
)
case(
    "large",
    chunked(b"c350", b"0123456789" * 5000, b"0", b""),
    body(b"0123456789" * 5000),
    "RFC 9112 7.1",
    "longer than a read",
)
case(
    "tiny-chunks",
    raw(b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n"),
    body(b"x" * 2000),
    "RFC 9112 7.1",
    "as many as the client likes",
)
case(
    "spilled",
    raw(b"20\r\n" + b"y" * 32 + b"\r\n" + b"1\r\nx\r\n" * 200 + b"0\r\n\r\n"),
    body(b"y" * 32 + b"x" * 200),
    "RFC 9112 7.1",
    "a body that goes to a file reads the same",
    config="spill",
)
case(
    "followed-at-once",
    chunked(b"5", b"hello", b"0", b"") + chunked(b"3", b"abc", b"0", b""),
    serve({"body": b"hello"}, {"body": b"abc"}),
    "RFC 9112 9.3.2",
    "the next request begins after the last CRLF",
)

# --- extensions

for name, extension in (
    ("value", b";a=b"),
    ("name-only", b";a"),
    ("several", b";a=b;c;d=e"),
    ("quoted", b';a="b;c"'),
    ("quoted-escape", b';a="b\\"c"'),
    ("quoted-space", b';a="b c"'),
    ("hundred", b";" + b"a" * 100),
):
    case(
        "extension-" + name,
        chunked(b"5" + extension, b"hello", b"0", b""),
        HELLO,
        "RFC 9112 7.1.1",
        "unrecognised extensions MUST be ignored",
    )
case(
    "extension-on-last",
    chunked(b"5", b"hello", b"0;a=b", b""),
    HELLO,
    "RFC 9112 7.1.1",
    "on the last chunk, too",
)
case(
    "extension-looks-like-size",
    chunked(b"5;8", b"hello", b"0", b""),
    HELLO,
    "RFC 9112 7.1.1",
    "a name of digits is a token",
)
for name, line in (
    ("space-before", b"5 ;a=b"),
    ("tab-before", b"5\t;a=b"),
):
    case(
        "extension-" + name,
        chunked(line, b"hello", b"0", b""),
        refuse(),
        "RFC 9112 7.1.1; contract 3",
        "bad white space is to be read and never sent; here a size is a size",
        also=(HELLO, *BROKEN),
    )
for name, line in (
    ("space-behind-semicolon", b"5; a=b"),
    ("space-around-equals", b"5;a = b"),
    ("empty", b"5;"),
    ("empty-between", b"5;;a"),
    ("no-name", b"5;=b"),
    ("no-value", b"5;a="),
):
    case(
        "extension-" + name,
        chunked(line, b"hello", b"0", b""),
        (HELLO, refuse()),
        "RFC 9112 7.1.1",
        "ignored or refused, never another size",
        also=BROKEN,
    )
for name, line in (
    ("nul", b"5;a\x00b"),
    ("control", b"5;a\x01b"),
    ("bare-cr", b"5;a\rb"),
    ("bare-lf", b"5;a\nb"),
    ("quoted-open", b'5;a="b'),
    ("quoted-lf", b'5;a="b\nc"'),
    ("quoted-nul", b'5;a="b\x00c"'),
):
    open_quote = (HELLO,) if name in ("quoted-open", "control") else ()
    case(
        "extension-" + name,
        chunked(line, b"hello", b"0", b""),
        refuse() if not open_quote else (refuse(), *open_quote),
        "RFC 9112 7.1.1 and 2.2",
        "what may end a line elsewhere must not hide in an extension",
        # A bare LF may end the line; then `b` is the data and the count is wrong anyway.
        also=(*BROKEN, HELLO) if name in ("nul", "control", "quoted-nul") else BROKEN,
    )
case(
    "extension-too-long",
    chunked(b"5;" + b"a" * 200000, b"hello", b"0", b""),
    refuse(),
    "RFC 9112 7.1.1",
    "the total length of extensions is limited, with an appropriate 4xx",
    also=(HELLO, *BROKEN),
    ways="wp",
)
case(
    "extensions-too-long-together",
    raw((b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 300 + b"0\r\n\r\n"),
    refuse(),
    "RFC 9112 7.1.1",
    "in total, not only each",
    also=(body(b"x" * 300), *BROKEN),
    ways="wp",
)

# --- invalid sizes

for name, size in (
    ("empty", b""),
    ("letter", b"g"),
    ("hex-prefix", b"0x5"),
    ("plus", b"+5"),
    ("minus", b"-5"),
    ("fraction", b"5.0"),
    ("underscore", b"0_5"),
    ("comma", b"5,0"),
    ("letter-behind", b"5g"),
    ("hash", b"5#"),
    ("leading-space", b" 5"),
    ("trailing-space", b"5 "),
    ("leading-tab", b"\t5"),
    ("trailing-tab", b"5\t"),
    ("vertical-tab", b"5\x0b"),
    ("form-feed", b"\x0c5"),
    ("fullwidth", b"\xef\xbc\x95"),
    ("nul", b"5\x00"),
    ("leading-nul", b"\x005"),
    ("quoted", b'"5"'),
    ("word", b"five"),
    ("leading-cr", b"\r5"),
    ("leading-lf", b"\n5"),
    ("leading-crlf", b"\r\n5"),
    ("overflow-17-digits", b"10000000000000005"),
    ("overflow-64-bits", b"ffffffffffffffff"),
    ("overflow-33-digits", b"100000000000000000000000000000005"),
    ("equals", b"5=6"),
):
    # Trailing white space is bad white space with the extension missing.
    tolerated = name in ("trailing-space", "trailing-tab")
    case(
        "size-" + name,
        chunked(size, b"hello", b"0", b""),
        refuse(),
        "RFC 9112 7.1",
        "chunk-size is 1*HEXDIG; overflow MUST be anticipated",
        also=(
            *BROKEN,
            *((HELLO,) if tolerated else ()),
            *(WAITING if name.startswith("overflow") else ()),
        ),
    )
case(
    "last-size-minus-zero",
    chunked(b"5", b"hello", b"-0", b""),
    refuse(),
    "RFC 9112 7.1",
    "no sign, not even on zero",
    also=BROKEN,
)
case(
    "last-size-hex-prefix",
    chunked(b"5", b"hello", b"0x0", b""),
    refuse(),
    "RFC 9112 7.1",
    "no prefix",
    also=BROKEN,
)

# --- line ends and lengths

for name, content in (
    ("size-lf", b"5\nhello\r\n0\r\n\r\n"),
    ("data-lf", b"5\r\nhello\n0\r\n\r\n"),
    ("last-size-lf", b"5\r\nhello\r\n0\n\r\n"),
    ("end-lf", b"5\r\nhello\r\n0\r\n\n"),
    ("all-lf", b"5\nhello\n0\n\n"),
):
    case(
        name,
        # Who takes CRLF alone for a line end waits for one, so the input has to end.
        (raw(content), FIN),
        refuse(),
        "RFC 9112 7.1 and 2.2",
        "lines end with CRLF here; the leave to accept a bare LF is for start line and fields",
        # The trailer section consists of lines that fall under that leave.
        also=(*BROKEN, *((HELLO_END,) if name == "end-lf" else ())),
    )
for name, content in (
    ("size-cr", b"5\rhello\r\n0\r\n\r\n"),
    ("size-cr-x", b"5\rXhello\r\n0\r\n\r\n"),
    ("size-cr-cr-lf", b"5\r\r\nhello\r\n0\r\n\r\n"),
    ("data-cr", b"5\r\nhello\r0\r\n\r\n"),
    ("data-cr-cr-lf", b"5\r\nhello\r\r\n0\r\n\r\n"),
    ("data-no-crlf", b"5\r\nhello0\r\n\r\n"),
    ("data-two-octets", b"5\r\nhelloXX0\r\n\r\n"),
    ("data-too-long", b"5\r\nhello!\r\n0\r\n\r\n"),
    ("data-too-short", b"5\r\nhell\r\n0\r\n\r\n"),
    ("data-space", b"5\r\nhello \r\n0\r\n\r\n"),
    ("extra-crlf", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    ("end-cr", b"5\r\nhello\r\n0\r\n\rX-A: 1\r\n\r\n"),
    ("missing-first-size", b"\r\nhello\r\n0\r\n\r\n"),
):
    case(
        name,
        raw(content),
        refuse(),
        "RFC 9112 7.1",
        "chunk-data is exactly chunk-size octets, then CRLF",
        # A trailer section may be discarded unread.
        also=(*BROKEN, HELLO) if name == "end-cr" else BROKEN,
    )

# --- incomplete

for name, content in (
    ("before-size", b""),
    ("in-size", b"5"),
    ("after-size", b"5\r\n"),
    ("in-data", b"5\r\nhel"),
    ("after-data", b"5\r\nhello"),
    ("after-chunk", b"5\r\nhello\r\n"),
    ("in-last-size", b"5\r\nhello\r\n0"),
    ("before-end", b"5\r\nhello\r\n0\r\n"),
    ("in-end", b"5\r\nhello\r\n0\r\n\r"),
):
    case(
        "truncated-" + name,
        (raw(content), FIN),
        (DROP, refuse()),
        "RFC 9112 8",
        "without the last chunk the message is incomplete, and the application must not be told "
        "otherwise",
        also=(
            *BROKEN,
            # The last chunk has come: whole enough for a server that does not wait for trailers.
            *(
                (serve({"body": b"hello"}, end="close"),)
                if name in ("before-end", "in-end")
                else ()
            ),
        ),
    )
