"""Limits on size: RFC 9112 section 3, RFC 9110 section 5.4, and the settings of the contract.

Every server draws its own lines, so all that peers owe is a proper 4xx or a proper service.
"""

from __future__ import annotations

from ..model import (
    FIN,
    REFUSED,
    WAITING,
    Await,
    Category,
    Outcome,
    Reply,
    absent,
    chunked,
    codes,
    get,
    post,
    refuse,
    req,
    serve,
)

CATEGORY = Category("limits")
case = CATEGORY.case

OPEN = (serve(end="any"), *REFUSED)


def line(length: int) -> bytes:
    """A GET whose request line has this many octets without its CRLF."""
    target = b"/" + b"a" * (length - len(b"GET / HTTP/1.1"))
    return get(target=target)


def field(length: int, name: bytes = b"X-A") -> bytes:
    """A field line of this many octets without its CRLF."""
    return name + b": " + b"a" * (length - len(name) - 2)


# --- the defaults

case(
    "line-8190",
    line(8190),
    serve(),
    "RFC 9112 3; contract 1",
    "at least 8000 octets are RECOMMENDED; the limit itself is within it",
    also=OPEN,
)
case(
    "line-8191",
    line(8191),
    refuse(414),
    "RFC 9112 3; contract 1",
    "longer than the limit",
    also=OPEN,
)
case(
    "line-8000-in-query",
    get(target=b"/?" + b"q" * 7980),
    serve(),
    "RFC 9112 3",
    "at least 8000 octets are RECOMMENDED",
    also=OPEN,
)
case(
    "line-100000",
    line(100000),
    refuse(414),
    "RFC 9112 3",
    "longer than a buffer",
    also=OPEN,
    ways="wp",
)
case(
    "line-endless",
    (b"GET /" + b"a" * 100000, FIN),
    refuse(414),
    "RFC 9112 3",
    "refused before its end is known",
    also=REFUSED,
    ways="wp",
)
case(
    "line-endless-in-query",
    (b"GET /?" + b"a" * 100000, FIN),
    refuse(414),
    "RFC 9112 3",
    "refused before its end is known",
    also=REFUSED,
    ways="wp",
)
case(
    "method-endless",
    (b"A" * 100000, FIN),
    refuse(414, 501, 400),
    "RFC 9112 3",
    "a method longer than any gets 501, a line without end 414",
    also=REFUSED,
    ways="wp",
    methods=("GET",),
)
case(
    "fields-100",
    get(*(b"X-%d: 1" % number for number in range(99))),
    serve({"HTTP_X_98": "1"}),
    "RFC 9110 5.4; contract 2",
    "as many as the limit, Host included",
    also=OPEN,
)
case(
    "fields-101",
    get(*(b"X-%d: 1" % number for number in range(100))),
    refuse(431),
    "RFC 9110 5.4; RFC 6585 5",
    "one too many",
    also=OPEN,
)
case(
    "fields-5000",
    get(*(b"X-%d: 1" % number for number in range(5000))),
    refuse(431),
    "RFC 9110 5.4; RFC 6585 5",
    "far too many",
    also=OPEN,
    ways="wp",
)
case(
    "field-8190",
    get(field(8190)),
    serve(),
    "RFC 9110 5.4; contract 2",
    "as long as the limit",
    also=OPEN,
)
case(
    "field-8191",
    get(field(8191)),
    refuse(431),
    "RFC 9110 5.4; RFC 6585 5",
    "one octet too long",
    also=OPEN,
)
case(
    "field-100000",
    get(field(100000)),
    refuse(431),
    "RFC 9110 5.4; RFC 6585 5",
    "longer than a buffer",
    also=OPEN,
    ways="wp",
)
case(
    "field-endless",
    (b"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + b"a" * 200000, FIN),
    refuse(431),
    "RFC 9110 5.4; RFC 6585 5",
    "refused before its end is known",
    also=REFUSED,
    ways="wp",
)
case(
    "field-name-endless",
    (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a" * 200000, FIN),
    refuse(431),
    "RFC 9110 5.4; RFC 6585 5",
    "a name without a colon in sight",
    also=REFUSED,
    ways="wp",
)
case(
    "field-name-long",
    get(b"X" * 9000 + b": 1"),
    refuse(431),
    "RFC 9110 5.4; RFC 6585 5",
    "a name counts like a value",
    also=OPEN,
)
case(
    "section-64k",
    get(*(field(8000, b"X-%d" % number) for number in range(8))),
    serve(),
    "RFC 9110 5.4; contract 2",
    "just within the limit of the section",
    also=OPEN,
    ways="wp",
)
case(
    "section-100k",
    get(*(field(8000, b"X-%d" % number) for number in range(13))),
    refuse(431),
    "RFC 9110 5.4; RFC 6585 5",
    "each field is fine, together they are too much",
    also=OPEN,
    ways="wp",
)
case(
    "section-1m",
    get(*(field(8000, b"X-%d" % number) for number in range(130))),
    refuse(431),
    "RFC 9110 5.4; RFC 6585 5",
    "the refusal arrives although the client is still sending",
    also=OPEN,
    ways="w",
)
case(
    "body-1m",
    post(b"Content-Length: 1048577", body=b"x" * 1048577),
    serve({"CONTENT_LENGTH": "1048577"}),
    "RFC 9110 8.6; contract 3",
    "no limit on bodies by default",
    also=OPEN,
    ways="wp",
)

# --- limits that are set; for peers these are ordinary requests

SMALL = {"config": "limits"}

case(
    "set-line-at",
    line(200),
    serve(),
    "contract 1 (limit_request_line)",
    "as long as the limit",
    also=OPEN,
    **SMALL,
)
case(
    "set-line-over",
    line(201),
    refuse(414),
    "contract 1 (limit_request_line)",
    "one octet too long",
    also=OPEN,
    **SMALL,
)
case(
    "set-line-over-query",
    get(target=b"/?" + b"q" * 250),
    refuse(414),
    "contract 1 (limit_request_line)",
    "the query is part of the line",
    also=OPEN,
    **SMALL,
)
case(
    "set-line-over-host-missing",
    req(b"GET /" + b"a" * 250 + b" HTTP/1.1", host=None),
    refuse(414),
    "contract 1 (limit_request_line)",
    "what comes first is refused first",
    own=True,
    **SMALL,
)
case(
    "set-fields-at",
    get(*(b"X-%d: 1" % number for number in range(9))),
    serve(),
    "contract 2 (limit_request_fields)",
    "as many as the limit",
    also=OPEN,
    **SMALL,
)
case(
    "set-fields-over",
    get(*(b"X-%d: 1" % number for number in range(10))),
    refuse(431),
    "contract 2 (limit_request_fields)",
    "one too many",
    also=OPEN,
    **SMALL,
)
case(
    "set-fields-over-repeated",
    get(*(b"X-A: 1" for _ in range(10))),
    refuse(431),
    "contract 2 (limit_request_fields)",
    "repeated fields count each",
    also=OPEN,
    **SMALL,
)
case(
    "set-fields-over-dropped",
    get(*(b"X_%d: 1" % number for number in range(10))),
    refuse(431),
    "contract 2 (limit_request_fields)",
    "fields that are dropped count, too",
    also=OPEN,
    **SMALL,
)
case(
    "set-field-at",
    get(field(100)),
    serve({"HTTP_X_A": "a" * 95}),
    "contract 2 (limit_request_field_size)",
    "as long as the limit",
    also=OPEN,
    **SMALL,
)
case(
    "set-field-over",
    get(field(101)),
    refuse(431),
    "contract 2 (limit_request_field_size)",
    "one octet too long",
    also=OPEN,
    **SMALL,
)
case(
    "set-field-over-name",
    get(b"X-" + b"n" * 120 + b": v"),
    refuse(431),
    "contract 2 (limit_request_field_size)",
    "the name counts",
    also=OPEN,
    **SMALL,
)
case(
    "set-section-over",
    get(*(field(90, b"X-%d" % number) for number in range(5))),
    refuse(431),
    "contract 2 (limit_request_header)",
    "each field is fine, together they are too much",
    also=OPEN,
    **SMALL,
)
case(
    "set-section-within",
    get(*(field(90, b"X-%d" % number) for number in range(3))),
    serve(),
    "contract 2 (limit_request_header)",
    "well within",
    also=OPEN,
    **SMALL,
)
case(
    "set-limits-per-request",
    b"".join(get(*(field(90, b"X-%d" % number) for number in range(3))) for _ in range(4)),
    serve({}, {}, {}, {}),
    "contract 2",
    "limits are a request's, not a connection's",
    also=OPEN,
    **SMALL,
)
case(
    "set-body-at",
    post(b"Content-Length: 64", body=b"x" * 64),
    serve({"body": b"x" * 64}),
    "contract 3 (limit_request_body)",
    "as long as the limit",
    also=OPEN,
    **SMALL,
)
case(
    "set-body-over",
    post(b"Content-Length: 65", body=b"x" * 65),
    refuse(413),
    "contract 3 (limit_request_body)",
    "one octet too long",
    also=OPEN,
    **SMALL,
)
case(
    "set-body-over-unsent",
    (post(b"Content-Length: 1000000"), Await(1)),
    refuse(413),
    "contract 3 (limit_request_body)",
    "refused before any of it is read",
    own=True,
    **SMALL,
)
case(
    "set-body-over-63-bits",
    post(b"Content-Length: 9223372036854775808", body=b"x"),
    refuse(400),
    "contract 3",
    "an overflow is invalid before it is too large",
    also=(*REFUSED, *WAITING),
    **SMALL,
)
case(
    "set-chunked-at",
    chunked(b"20", b"x" * 32, b"20", b"x" * 32, b"0", b""),
    serve({"body": b"x" * 64}),
    "contract 3 (limit_request_body)",
    "the body after decoding counts",
    also=OPEN,
    **SMALL,
)
case(
    "set-chunked-over",
    chunked(b"20", b"x" * 32, b"21", b"x" * 33, b"0", b""),
    refuse(413),
    "contract 3 (limit_request_body)",
    "one octet too long, in the second chunk",
    also=OPEN,
    **SMALL,
)
case(
    "set-chunked-over-first",
    chunked(b"41", b"x" * 65, b"0", b""),
    refuse(413),
    "contract 3 (limit_request_body)",
    "one chunk alone",
    also=OPEN,
    **SMALL,
)
case(
    "set-chunked-over-announced",
    (post(b"Transfer-Encoding: chunked", body=b"fffff\r\n"), Await(1)),
    refuse(413),
    "contract 3 (limit_request_body)",
    "the size line is enough to know",
    own=True,
    **SMALL,
)
case(
    "set-trailers-over",
    post(
        b"Transfer-Encoding: chunked",
        body=b"1\r\nx\r\n0\r\n" + b"X-T: 1\r\n" * 10 + b"\r\n",
    ),
    refuse(431),
    "contract 3",
    "trailers count as fields",
    also=OPEN,
    **SMALL,
)
case(
    "set-trailer-over",
    post(
        b"Transfer-Encoding: chunked",
        body=b"1\r\nx\r\n0\r\nX-T: " + b"a" * 100 + b"\r\n\r\n",
    ),
    refuse(431),
    "contract 3",
    "a trailer has the length limit of a field",
    also=OPEN,
    **SMALL,
)
case(
    "set-proxy-still-dropped",
    get(b"Proxy: x"),
    serve({"HTTP_PROXY": absent}),
    "contract 2",
    "other rules hold under any limits",
    also=Outcome((Reply(codes(200)),), "any", ({},)),
    **SMALL,
)
