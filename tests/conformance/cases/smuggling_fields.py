"""Request smuggling by lines, names and connections: where a head ends, and when to stop.

Judged as in smuggling.py: by how many requests reach the application.
"""

from __future__ import annotations

from ..model import (
    MUST_400,
    REFUSED,
    Category,
    Outcome,
    absent,
    get,
    one_of,
    post,
    refuse,
    req,
    serve,
)
from .smuggling import COUNT, HIDDEN, UNSMUGGLED, length

CATEGORY = Category("request smuggling", also=UNSMUGGLED)
case = CATEGORY.case

BOTH = serve({}, {"PATH_INFO": "/smuggled"})
HEAD = b"GET / HTTP/1.1\r\nHost: h\r\n"

# --- the end of the head

for name, ending, lf_only in (
    ("lf-lf", b"X-A: 1\n\n", True),
    ("crlf-lf", b"X-A: 1\r\n\n", True),
    ("lf-crlf", b"X-A: 1\n\r\n", True),
    ("cr-cr", b"X-A: 1\r\r", False),
    ("crlf-cr", b"X-A: 1\r\n\r", False),
    ("cr-crlf", b"X-A: 1\r\r\n\r\n", False),
    ("nul-line", b"X-A: 1\r\n\x00\r\n", False),
    ("space-line", b"X-A: 1\r\n \r\n", False),
    ("vertical-tab-line", b"X-A: 1\r\n\x0b\r\n", False),
    ("lf-cr-lf", b"X-A: 1\n\r\r\n", False),
):
    # Bare LF may be taken as a line end.  In `cr-crlf` the bare CR becomes a space, and the head
    # is complete.
    served = (BOTH,) if lf_only or name == "cr-crlf" else ()
    case(
        "head-end-" + name,
        HEAD + ending + HIDDEN,
        refuse(),
        "RFC 9112 2.2",
        "a head ends with an empty line and in no other way",
        also=(*REFUSED, *served),
    )
case(
    "value-bare-cr-hides-field",
    get(b"X-A: 1\rContent-Length: %d" % COUNT) + HIDDEN,
    refuse(),
    "RFC 9112 2.2",
    "a bare CR is invalid or a space, never a line end",
    also=(
        *REFUSED,
        serve({"HTTP_X_A": f"1 Content-Length: {COUNT}"}, {"PATH_INFO": "/smuggled"}),
    ),
)
case(
    "value-bare-lf-hides-field",
    post(b"X-A: 1\nContent-Length: %d" % COUNT, body=HIDDEN),
    refuse(),
    "RFC 9112 2.2",
    "a bare LF is refused, or ends the line consistently",
    also=(*REFUSED, serve({"body": HIDDEN, "HTTP_X_A": "1"})),
)
case(
    "value-nul-hides-field",
    post(b"X-A: 1\x00Content-Length: %d" % COUNT, body=HIDDEN),
    refuse(),
    "RFC 9110 5.5",
    "NUL ends nothing",
    also=(
        *REFUSED,
        serve({"HTTP_X_A": f"1 Content-Length: {COUNT}"}, {"PATH_INFO": "/smuggled"}),
    ),
)
case(
    "value-escaped-crlf",
    get(b"X-A: 1%0d%0aContent-Length: 5") + HIDDEN,
    serve({"HTTP_X_A": "1%0d%0aContent-Length: 5"}, {"PATH_INFO": "/smuggled"}),
    "RFC 9110 5.5",
    "a field value knows no escapes",
)
case(
    "fold-hides-field",
    get(b"X-A: 1\r\n Content-Length: %d" % COUNT) + HIDDEN,
    refuse(),
    "RFC 9112 5.2",
    "a fold is refused or part of the value before it",
    also=(*MUST_400, BOTH),
)
case(
    "first-line-fold-hides-field",
    req(
        b"POST / HTTP/1.1\r\n Content-Length: %d" % COUNT,
    )
    + HIDDEN,
    refuse(),
    "RFC 9112 2.2",
    "white space before the first field: refused, or the line ignored",
    also=(*REFUSED, BOTH),
)
case(
    "colonless-line-hides-field",
    post(b"garbage", length(COUNT), body=HIDDEN),
    refuse(),
    "RFC 9112 5",
    "a malformed line is not skipped",
    also=REFUSED,
)
case(
    "request-line-in-fields",
    get(b"GET /smuggled HTTP/1.1"),
    refuse(),
    "RFC 9112 5",
    "a request line among the fields is a malformed field",
    also=REFUSED,
)
case(
    "request-line-in-fields-with-colon",
    get(b"GET /smuggled HTTP/1.1:x"),
    refuse(),
    "RFC 9112 5",
    "with a colon it is a name with spaces",
    also=REFUSED,
)

# --- the request line

for name, line in (
    ("bare-lf-target", b"GET /a\nGET /smuggled HTTP/1.1"),
    ("bare-cr-target", b"GET /a\rGET /smuggled HTTP/1.1"),
    ("second-line", b"GET /a HTTP/1.1 GET /smuggled HTTP/1.1"),
    ("simple-first", b"GET /a\r\nGET /smuggled HTTP/1.1"),
    ("simple-first-empty-line", b"GET /a\r\n\r\nGET /smuggled HTTP/1.1"),
    ("nul-version", b"GET /a HTTP/1.1\x00\r\nGET /smuggled HTTP/1.1"),
    ("bare-lf-version", b"GET /a HTTP/1.1\nGET /smuggled HTTP/1.1"),
):
    case(
        "line-" + name,
        req(line),
        refuse(400, 505) if name.startswith(("simple", "bare-lf-target")) else refuse(),
        "RFC 9112 3",
        "one line, one request",
        also=REFUSED,
    )
case(
    "line-target-with-escaped-crlf",
    get(target=b"/a%20HTTP/1.1%0d%0aHost:%20x%0d%0a%0d%0aGET%20/smuggled"),
    serve({"PATH_INFO": "/a HTTP/1.1\r\nHost: x\r\n\r\nGET /smuggled"}),
    "RFC 3986 2.1",
    "escapes are decoded after parsing",
    also=REFUSED,
)
case(
    "absolute-target-over-host",
    req(b"GET http://front.example/a HTTP/1.1", host=b"back.example"),
    serve({"HTTP_HOST": "front.example", "PATH_INFO": "/a"}),
    "RFC 9112 3.2.2",
    "the target's host MUST win over the field, for every reader",
)
case(
    "absolute-target-userinfo",
    req(b"GET http://front.example@back.example/a HTTP/1.1", host=b"front.example"),
    refuse(),
    "RFC 9110 4.2.4",
    "userinfo hides which host is meant",
    also=(*REFUSED, serve({"PATH_INFO": "/a"})),
)
case(
    "host-twice-other-names",
    req(b"GET /a HTTP/1.1", b"X-Forwarded-Host: evil", b"X-Host: evil", host=b"good"),
    serve({"HTTP_HOST": "good"}),
    "RFC 9112 3.2",
    "no other field stands in for Host",
)

# --- names

for name, field, key in (
    ("underscore", b"X_Real_IP: 6.6.6.6", "HTTP_X_REAL_IP"),
    ("mixed", b"X-Real_IP: 6.6.6.6", "HTTP_X_REAL_IP"),
    ("leading-underscore", b"_X-A: 1", "HTTP__X_A"),
    ("host", b"HTTP_HOST: evil", "HTTP_HTTP_HOST"),
):
    case(
        "name-" + name,
        get(field),
        serve({key: absent}),
        "contract 2",
        "a name that CGI would confuse with another does not reach the application",
        also=(serve(), *REFUSED),
    )
for name, field in (
    ("underscore-host", b"Ho_st: evil"),
    ("remote-user", b"Remote-User: admin"),
    ("remote-addr", b"Remote-Addr: 6.6.6.6"),
    ("script-name", b"Script-Name: /evil"),
    ("path-info", b"Path-Info: /evil"),
    ("request-method", b"Request-Method: DELETE"),
    ("server-name", b"Server-Name: evil"),
    ("wsgi-key", b"wsgi.url_scheme: https"),
    ("https", b"HTTPS: on"),
):
    case(
        "name-is-no-variable-" + name,
        get(field, target=b"/real"),
        serve(
            {
                "HTTP_HOST": "h",
                "REQUEST_METHOD": "GET",
                "PATH_INFO": "/real",
                "SCRIPT_NAME": one_of("", None),
                "REMOTE_USER": absent,
                "wsgi.url_scheme": "http",
                "HTTPS": one_of(None, "off"),
                "REMOTE_ADDR": lambda found: found != "6.6.6.6",
                "SERVER_NAME": lambda found: found != "evil",
            }
        ),
        "RFC 3875 4.1.18",
        "a field of the client is HTTP_ something, never a variable of the server",
        also=REFUSED,
    )

# --- when to stop


def stopped(before: bytes, outcome: Outcome, name: str, why: str, *also: Outcome) -> None:
    """After this nothing on the connection is a request."""
    case("stop-" + name, before + HIDDEN, outcome, "RFC 9112 9.6 and 2.2", why, also=also)


CLOSED = serve(end="close")
stopped(
    get(b"Connection: close"),
    CLOSED,
    "after-close",
    "close means that nothing after it is processed",
)
stopped(req(b"GET / HTTP/1.0"), CLOSED, "after-1.0", "HTTP/1.0 ends with its response")
stopped(
    req(b"POST / HTTP/1.0", b"Content-Length: 1", body=b"x"),
    CLOSED,
    "after-1.0-body",
    "with a body as well",
)
stopped(
    post(b"Content-Length: x"),
    refuse(),
    "after-bad-length",
    "after faulty framing nothing can be found",
    *MUST_400,
)
stopped(
    post(b"Transfer-Encoding: x"),
    refuse(400, 501),
    "after-bad-coding",
    "after faulty framing nothing can be found",
    *REFUSED,
)
stopped(
    post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    refuse(501),
    "after-unknown-coding",
    "the body was not read",
    *REFUSED,
    serve({"body": b""}, {"PATH_INFO": "/smuggled"}),
)
stopped(
    post(b"Transfer-Encoding: chunked", body=b"zz\r\n\r\n"),
    refuse(),
    "after-bad-chunk",
    "after faulty framing nothing can be found",
    *REFUSED,
    Outcome((), "close", ({"body": None},)),
    Outcome((REFUSED[0].replies[0],), "close", ({"body": None},)),
    Outcome(serve(status=500).replies, "close", ({"body": None},)),
)
stopped(get(b"Bad Name: 1"), refuse(), "after-bad-field", "the head was not understood", *REFUSED)
stopped(b"GET\r\n\r\n", refuse(), "after-bad-line", "the line was not understood", *REFUSED)
stopped(
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    refuse(505),
    "after-preface",
    "another protocol follows",
    *REFUSED,
)
stopped(
    req(b"CONNECT other:443 HTTP/1.1"),
    refuse(501),
    "after-connect",
    "whoever sends CONNECT thinks of what follows as a tunnel",
    *REFUSED,
    CLOSED,
    *(
        Outcome((*one.replies, *serve().replies), "any", ({"PATH_INFO": "/smuggled"},))
        for one in REFUSED[:1]
    ),
)
stopped(
    req(b"POST / HTTP/1.1", length(COUNT), host=None),
    refuse(),
    "after-missing-host",
    "a refused request's body is not a request",
    *MUST_400,
    serve({"body": HIDDEN}),
)
case(
    "stop-after-413",
    post(length(COUNT + 100), body=b"x" * 100 + HIDDEN) + HIDDEN,
    refuse(413),
    "RFC 9110 15.5.14",
    "a body that is too large is not read as requests",
    config="limits",
    own=True,
)
case(
    "stop-after-414",
    get(target=b"/" + b"a" * 9000) + HIDDEN,
    refuse(414),
    "RFC 9110 15.5.15",
    "a line that is too long ends the connection",
    also=(*REFUSED, BOTH, Outcome((*REFUSED[0].replies, *serve().replies), "any", ({},))),
)
case(
    "stop-after-431",
    get(b"X-A: " + b"a" * 9000) + HIDDEN,
    refuse(431),
    "RFC 6585 5",
    "a field that is too long ends the connection",
    also=(*REFUSED, BOTH, Outcome((*REFUSED[0].replies, *serve().replies), "any", ({},))),
)
case(
    "stop-after-upgrade",
    get(b"Connection: Upgrade", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk") + HIDDEN,
    BOTH,
    "RFC 9110 7.8",
    "an ignored upgrade leaves HTTP/1.1: what follows is plainly a request",
    also=CLOSED,
)
