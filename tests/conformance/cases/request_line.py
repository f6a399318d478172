"""Request line: method, version, line ends: RFC 9112 sections 2 and 3, RFC 9110 section 9."""

from __future__ import annotations

from ..model import (
    DROP,
    FIN,
    REFUSED,
    Category,
    Outcome,
    Reply,
    absent,
    codes,
    get,
    one_of,
    refuse,
    req,
    serve,
)
from .target import path

CATEGORY = Category("request line")
case = CATEGORY.case

# --- method

for method in (b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"PROPFIND", b"PURGE"):
    case(
        "method-" + method.decode().lower(),
        req(method + b" /m HTTP/1.1", b"Content-Length: 0"),
        path("/m", REQUEST_METHOD=method.decode()),
        "RFC 9110 9.1",
        "a method is the application's business",
        also=REFUSED if method in (b"PROPFIND", b"PURGE") else (),
    )
case(
    "method-trace",
    req(b"TRACE /m HTTP/1.1"),
    path("/m", REQUEST_METHOD="TRACE"),
    "RFC 9110 9.3.8",
    "TRACE is passed on like the others; refusing it is common",
    also=REFUSED,
)
for name, method in (
    ("unknown", b"BREW"),
    ("lower-case", b"get"),
    ("mixed-case", b"Get"),
    ("prefix-of-known", b"GE"),
    ("known-and-more", b"GETS"),
    ("dash", b"M-POST"),
    ("all-token-characters", b"!#$%&'*+-.^_`|~09azAZ"),
    ("long", b"M" * 300),
):
    case(
        "method-" + name,
        req(method + b" /m HTTP/1.1"),
        refuse(501),
        "RFC 9110 9.1",
        "methods are case-sensitive tokens; one that is not implemented gets 501",
        also=(path("/m", REQUEST_METHOD=method.decode()), *REFUSED),
    )
for name, method in (
    ("with-parenthesis", b"G(T"),
    ("with-control", b"G\x01T"),
    ("with-high-byte", b"G\xc9T"),
    ("with-colon", b"GET:"),
    ("with-at", b"G@T"),
    ("quoted", b'"GET"'),
    ("with-nul", b"GET\x00"),
    ("with-comma", b"GET,POST"),
):
    case(
        "method-" + name,
        req(method + b" /m HTTP/1.1"),
        refuse(),
        "RFC 9110 9.1 and 5.6.2",
        "a method is a token",
        also=REFUSED,
    )
case(
    "method-missing",
    req(b" / HTTP/1.1"),
    refuse(),
    "RFC 9112 3",
    "no method",
    also=REFUSED,
)

# --- version

case(
    "version-1.0",
    req(b"GET /p HTTP/1.0"),
    serve({"SERVER_PROTOCOL": "HTTP/1.0"}, end="close"),
    "RFC 9112 9.3",
    "HTTP/1.0 without keep-alive ends with its response",
)
for version in (b"HTTP/1.2", b"HTTP/1.9"):
    case(
        "version-" + version[5:].decode(),
        req(b"GET /p " + version),
        refuse(505),
        "RFC 9110 2.5 and 6.2",
        "a higher minor version is served as 1.1 or refused",
        also=(serve(end="any"), *REFUSED),
    )
for version in (b"HTTP/2.0", b"HTTP/3.0", b"HTTP/0.9", b"HTTP/9.9"):
    case(
        "version-" + version[5:].decode(),
        req(b"GET /p " + version),
        refuse(505),
        "RFC 9110 15.6.6",
        "another major version is another protocol; a server MAY refuse it",
        also=(*REFUSED, serve(end="any")),
    )
case(
    "preface-http2",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    refuse(505),
    "RFC 9113 3.4",
    "the preface was chosen so that an HTTP/1 server refuses it",
    also=REFUSED,
)
case(
    "simple-request",
    b"GET /\r\n\r\n",
    refuse(505),
    "RFC 9112 3",
    "HTTP/0.9 is not spoken here",
    also=REFUSED,
)
case(
    "simple-request-line",
    b"GET /\r\n",
    refuse(505),
    "RFC 1945 4.1; RFC 9112 3",
    "an HTTP/0.9 request is one line, and its client waits for the answer",
    also=(*REFUSED, Outcome((), "hang"), Outcome((Reply(codes(200)),), "close", ({},))),
)
for name, rest in (
    ("version-in-the-next-line", b" HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("field-behind-it", b"Host: h\r\n\r\n"),
    ("bad-field-behind-it", b"Host: h\r\n\x01: x\r\n\r\n"),
):
    case(
        f"simple-request-{name}",
        b"GET /\r\n" + rest,
        refuse(505),
        "RFC 9112 3",
        "the first line decides, whatever follows and however it arrives",
        also=(*REFUSED, Outcome((Reply(codes(200)),), "close", ({},))),
    )
case(
    "target-missing",
    req(b"GET HTTP/1.1"),
    refuse(),
    "RFC 9112 3",
    "a version, but no target",
    also=REFUSED,
)
for name, version in (
    ("lower-case", b"http/1.1"),
    ("no-minor", b"HTTP/1"),
    ("no-slash", b"HTTP1.1"),
    ("two-digits", b"HTTP/11.1"),
    ("minor-two-digits", b"HTTP/1.10"),
    ("leading-zero", b"HTTP/01.1"),
    ("other-protocol", b"HTTPS/1.1"),
    ("ice", b"ICE/1.0"),
    ("rtsp", b"RTSP/1.0"),
    ("letters", b"HTTP/x.y"),
    ("comma", b"HTTP/1,1"),
    ("more", b"HTTP/1.1x"),
    ("sign", b"HTTP/+1.1"),
    ("inner-space", b"HTTP/ 1.1"),
    ("trailing-space", b"HTTP/1.1 "),
    ("another-word", b"HTTP/1.1 HTTP/1.1"),
    ("tab-behind", b"HTTP/1.1\t"),
    ("nul-behind", b"HTTP/1.1\x00"),
):
    case(
        "version-" + name,
        req(b"GET /p " + version),
        # What looks like a higher version may be refused as such.
        refuse(400, 505) if name in ("no-minor", "two-digits", "minor-two-digits") else refuse(),
        "RFC 9112 2.3",
        'HTTP-version is "HTTP/" DIGIT "." DIGIT, case-sensitive',
        # Section 3 lets a recipient parse on word boundaries and strip white space behind.
        also=(
            *REFUSED,
            *((serve(),) if name in ("trailing-space", "tab-behind") else ()),
        ),
    )

# --- white space and line ends

for name, line in (
    ("two-spaces-before-target", b"GET  /p HTTP/1.1"),
    ("two-spaces-before-version", b"GET /p  HTTP/1.1"),
    ("tab-before-target", b"GET\t/p HTTP/1.1"),
    ("tab-before-version", b"GET /p\tHTTP/1.1"),
    ("vertical-tab", b"GET\x0b/p HTTP/1.1"),
    ("form-feed", b"GET /p\x0cHTTP/1.1"),
    ("leading-space", b" GET /p HTTP/1.1"),
    ("leading-tab", b"\tGET /p HTTP/1.1"),
):
    case(
        name,
        req(line),
        refuse(),
        "RFC 9112 3",
        "single spaces divide the line; being lenient is permitted and not wanted here",
        also=(*REFUSED, serve({"PATH_INFO": "/p"})),
    )
case(
    "bare-lf",
    b"GET /p HTTP/1.1\nHost: h\r\n\r\n",
    refuse(),
    "RFC 9112 2.2",
    "a bare LF may be taken as a line end; here it is refused",
    also=(*REFUSED, serve({"PATH_INFO": "/p"})),
)
case(
    "bare-cr",
    b"GET /p HTTP/1.1\rHost: h\r\n\r\n",
    refuse(),
    "RFC 9112 2.2",
    "a bare CR MUST be invalid or replaced by a space",
    also=REFUSED,
)
case(
    "cr-cr-lf",
    b"GET /p HTTP/1.1\r\r\nHost: h\r\n\r\n",
    refuse(),
    "RFC 9112 2.2",
    "the first CR is bare",
    # Replaced by a space it is trailing white space, which section 3 lets a server strip.
    also=(*REFUSED, serve({"PATH_INFO": "/p"})),
)
case(
    "one-empty-line-before",
    b"\r\n" + get(),
    path("/"),
    "RFC 9112 2.2",
    "at least one empty line before a request SHOULD be ignored",
    also=REFUSED,
)
case(
    "two-empty-lines-before",
    b"\r\n\r\n" + get(),
    refuse(),
    "RFC 9112 2.2",
    "one empty line is enough tolerance",
    also=(*REFUSED, path("/")),
)
case(
    "lf-before",
    b"\n" + get(),
    refuse(),
    "RFC 9112 2.2",
    "an empty line ends with CRLF",
    also=(*REFUSED, path("/")),
)
case(
    "cr-before",
    b"\r" + get(),
    refuse(),
    "RFC 9112 2.2",
    "a bare CR is no line",
    also=REFUSED,
)

# --- what is no HTTP at all

case(
    "tls-hello",
    bytes.fromhex("16030100c8010000c40303") + bytes(range(1, 61)) + b"\r\n\r\n",
    refuse(),
    "RFC 9112 2.2",
    "TLS on a plain port gets a readable refusal",
    also=REFUSED,
    methods=("GET",),
)
case(
    "garbage",
    b"\x00\xff\xfe\x01garbage\r\n\r\n",
    refuse(),
    "RFC 9112 2.2",
    "no request",
    also=REFUSED,
    methods=("GET",),
)
case(
    "response",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    refuse(),
    "RFC 9112 2.1",
    "a response is no request",
    also=REFUSED,
    methods=("GET",),
)
case("empty-connection", (b"", FIN), DROP, "RFC 9112 9.5", "nothing asked, nothing said", ways="w")
case(
    "truncated-line",
    (b"GET /p HT", FIN),
    (DROP, refuse()),
    "RFC 9112 8",
    "end of input inside the request line is no request",
    also=REFUSED,
)
case(
    "truncated-head",
    (b"GET /p HTTP/1.1\r\nHost: h\r\n", FIN),
    (DROP, refuse()),
    "RFC 9112 8",
    "end of input before the empty line is no request",
    also=REFUSED,
)
case(
    "half-close",
    (get(target=b"/p"), FIN),
    serve({"PATH_INFO": "/p", "SCRIPT_NAME": one_of("", None), "HTTP_PROXY": absent}, end="close"),
    "RFC 9112 9.6",
    "a client that has stopped sending still gets its response",
    also=(Outcome((), "close", ({},)), DROP),
)
