"""PEP 3333: start_response, its status, the length it tells, and when it is called."""

from __future__ import annotations

from ..model import (
    ERROR_500,
    Category,
    Outcome,
    Reply,
    absent,
    codes,
    get,
    lacks,
    one_of,
    serve,
)
from .ask import ask, respond

CATEGORY = Category("WSGI start_response")
case = CATEGORY.case

RULE = "PEP 3333 the start_response() callable"
# The application's error: a 500, and nothing of what it wanted to send.
ERROR = Outcome(
    (Reply(codes(500), {"x-evil": absent, "x-first": absent, "set-cookie": absent}),), "any", ({},)
)
TOLD = (ERROR_500, Outcome((), "close", ({},)))

# --- status

for name, status, code in (
    ("200", "200 OK", 200),
    ("created", "201 Created", 201),
    ("redirect", "302 Found", 302),
    ("not-found", "404 Not Found", 404),
    ("unknown-code", "299 Something Else", 299),
    ("highest", "599 Last", 599),
    ("own-500", "500 Mine", 500),
    ("long-reason", "200 " + "very " * 30 + "good", 200),
    ("punctuation", '200 a: b; "c" (d)', 200),
):
    case(
        "status-" + name,
        respond("ok", status=status),
        serve(status=code, body=b"ok"),
        RULE,
        "a status string of the form 999 Message",
        ways="wbp",
    )
case(
    "status-latin1-reason",
    respond("ok", status="200 caf\xe9"),
    (serve(body=b"ok"), ERROR),
    "RFC 9112 4",
    "a reason phrase may hold obs-text",
    also=TOLD,
)
case(
    "status-subclass-of-str",
    respond("ok", status={"subclass": "200 OK"}),
    (serve(body=b"ok"), ERROR),
    "PEP 3333 string types",
    "native strings; a subclass is one in Python, and no wrong bytes come of it",
    also=TOLD,
)
for name, status in (
    ("two-digits", "99 Low"),
    ("600", "600 High"),
    ("four-digits", "1000 X"),
    ("letters", "abc OK"),
    ("no-space", "200OK"),
    ("negative", "-20 OK"),
    ("empty", ""),
    ("leading-space", " 200 OK"),
    ("continue", "100 Continue"),
    ("switching", "101 Switching Protocols"),
    ("crlf", "200 OK\r\nX-Evil: 1"),
    ("lf", "200 OK\nX-Evil: 1"),
    ("cr", "200 OK\rX-Evil: 1"),
    ("nul", "200 O\x00K"),
    ("control", "200 O\x01K"),
    ("del", "200 O\x7fK"),
    ("end-crlf", "200 OK\r\n"),
    ("snowman", "200 \u2603"),
    ("fullwidth-digits", "\uff12\uff10\uff10 OK"),
    ("superscript-digits", "20\xb2 OK"),
    ("bytes", {"bytes": "200 OK"}),
    ("int", {"int": 200}),
    ("none", {"none": 0}),
    ("tuple", {"tuple": [200, "OK"]}),
):
    # What makes a well-formed response may be sent as it is; nobody has to check for a peer's
    # sake.  Types, control characters and interim statuses are another matter.
    tolerated = name in ("600", "bytes", "int", "end-crlf", "no-space", "leading-space")
    case(
        "bad-status-" + name,
        respond("ok", status=status),
        ERROR,
        RULE,
        "a status that is none is the application's error",
        also=(*TOLD, *((Outcome((Reply(codes(200, 600)),), "any", ({},)),) if tolerated else ())),
        ways="wp",
    )
case(
    "status-only-code",
    respond("ok", status="200"),
    (ERROR, serve(body=b"ok")),
    RULE,
    "a status without its message: an error, or a line with an empty reason",
    also=TOLD,
)
case(
    "status-empty-reason",
    respond("ok", status="200 "),
    (serve(body=b"ok"), ERROR),
    "RFC 9112 4",
    "a reason phrase may be empty",
    also=TOLD,
)

# --- Content-Length of the application

# Visibly cut, or with the length put right.
SHORTER = (
    serve(body=one_of(b"", b"hello"), cut=True, end="close"),
    serve(body=one_of(b"", b"hello"), end="any"),
)
LENGTHS = RULE + "; PEP 3333 handling the Content-Length header"


def told(length: str, *blocks: object, kind: str = "closing") -> bytes:
    """An application that tells this length and yields these blocks."""
    return respond(*blocks, headers=[["Content-Length", length]], kind=kind)


case(
    "length-right",
    told("5", "hel", "lo"),
    serve({"closed": 1}, body=b"hello", coding="length"),
    LENGTHS,
    "used as it is",
)
case(
    "length-other-case",
    respond("hello", headers=[["content-LENGTH", "5"]]),
    serve(body=b"hello", coding="length"),
    LENGTHS,
    "names are case-insensitive, also for the server",
)
case(
    "length-body-longer",
    told("3", "hello", "more"),
    serve({"closed": 1}, body=b"hel", coding="length"),
    LENGTHS,
    "a server must not send more than the length: cut there, or an error",
    also=(ERROR_500, serve({"closed": 1}, body=b"hel", end="close")),
)
case(
    "length-list-longer",
    told("3", "hello", kind="list"),
    serve(body=b"hel", coding="length"),
    LENGTHS,
    "for a list as well",
    also=(*TOLD, serve(body=b"hel", end="close")),
)
case(
    "length-written-longer",
    respond(headers=[["Content-Length", "3"]], write=["hello"], kind="closing"),
    (
        serve({"closed": 1}, body=b"hel", coding="length"),
        serve({"closed": one_of(0, 1)}, body=b"hel", coding="length", end="any"),
    ),
    LENGTHS,
    "for write() as well",
    also=(ERROR_500, serve(body=b"hel", end="any")),
)
case(
    "length-zero-with-body",
    told("0", "hello"),
    serve({"closed": 1}, body=b""),
    LENGTHS,
    "nothing means nothing",
    also=(ERROR_500, serve(body=b"", end="any")),
)
case(
    "length-body-shorter",
    told("10", "hello"),
    serve({"closed": 1}, body=b"hello", cut=True, end="close"),
    LENGTHS,
    "the client must see that something is missing",
    also=(*TOLD, *SHORTER),
)
case(
    "length-list-shorter",
    told("10", "hello", kind="list"),
    serve(body=b"hello", cut=True, end="close"),
    LENGTHS,
    "for a list as well",
    also=(*TOLD, *SHORTER),
)
case(
    "length-no-body",
    told("10"),
    serve({"closed": 1}, body=b"", cut=True, end="close"),
    LENGTHS,
    "for no block at all as well",
    also=(*TOLD, *SHORTER),
)
for name, length in (
    ("letters", "abc"),
    ("negative", "-1"),
    ("plus", "+2"),
    ("fraction", "2.0"),
    ("hexadecimal", "0x2"),
    ("empty", ""),
    ("list", "2, 2"),
    ("huge", "9" * 30),
):
    case(
        "length-invalid-" + name,
        told(length, "ok", kind="list"),
        (ERROR, serve(body=b"ok")),
        "RFC 9110 8.6",
        "a server MUST NOT send a Content-Length that is known to be invalid",
        also=(*TOLD, serve(body=b"ok", end="close")),
    )
case(
    "length-twice",
    respond("ok", headers=[["Content-Length", "2"], ["Content-Length", "2"]]),
    (ERROR, serve(body=b"ok")),
    "RFC 9110 8.6",
    "one length, however often it was said",
    also=TOLD,
)
case(
    "length-twice-different",
    respond("ok", headers=[["Content-Length", "2"], ["Content-Length", "1"]]),
    (ERROR, serve(body=one_of(b"ok", b"o"))),
    "RFC 9110 8.6",
    "one length, however often it was said",
    also=TOLD,
)
case(
    "length-with-transfer-encoding",
    respond("ok", headers=[["Content-Length", "2"], ["Transfer-Encoding", "chunked"]]),
    serve(body=b"ok"),
    "RFC 9112 6.2",
    "a sender MUST NOT send both",
    also=TOLD,
)

# --- calls

case(
    "not-called",
    respond("ok", silent=1, kind="closing"),
    Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
    RULE,
    "a response without start_response is the application's error",
    also=TOLD,
)
case(
    "not-called-empty",
    respond(silent=1, kind="closing"),
    Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
    RULE,
    "even without a body",
    also=TOLD,
)
case(
    "late",
    respond("ok", late=1, headers=[["X-A", "1"]], kind="closing"),
    serve({"closed": 1}, body=b"ok", fields={"x-a": "1"}),
    "PEP 3333 specification details",
    "start_response may be called from within the iteration, before the first block",
)
case(
    "late-status",
    respond("gone", late=1, status="404 Not Found", headers=[["X-A", "1"]], kind="iterator"),
    serve(status=404, body=b"gone", fields={"x-a": "1"}),
    "PEP 3333 specification details",
    "its status and headers are the ones that count",
)
case(
    "late-no-block",
    respond(late=1, status="404 Not Found", kind="closing"),
    serve({"closed": 1}, status=404, body=b""),
    "PEP 3333 specification details",
    "even when no block follows",
)
case(
    "twice",
    ask("start-twice"),
    Outcome((Reply(codes(500), body=lacks(b"second call")),), "any", ({"note": "raised"},)),
    RULE,
    "a second call without exc_info is an error, and the application gets it",
    also=TOLD[1:],
)
case(
    "exc-info-replaces",
    ask("start-replaced"),
    serve(
        status=503,
        body=b"error page",
        fields={"x-first": absent, "content-type": "text/html"},
    ),
    RULE,
    "before anything was sent, exc_info lets status and headers be replaced",
)
case(
    "exc-info-first-call",
    ask("start-replaced-first"),
    serve(status=503, body=b"error page"),
    RULE,
    "exc_info may come with the first call",
)
case(
    "exc-info-after-head",
    ask("start-replaced-late"),
    serve(
        {"closed": 1, "note": "raised ValueError"},
        body=b"begin",
        cut=True,
        end="close",
    ),
    RULE,
    "after the head has gone it must raise that exception, and the response is cut",
    # A server that has held the head back may still replace it.
    also=serve({"closed": 1}, status=503, end="any"),
)
case(
    "exc-info-none",
    ask("start-none"),
    serve(body=b"fine"),
    RULE,
    "None is no exc_info",
)
case(
    "write-returned",
    ask("write"),
    serve({"closed": 1, "note": ""}, body=b"one two three"),
    RULE,
    "it returns a write(body_data) callable",
)
case(
    "head-waits-for-body",
    respond({"raise": "ValueError"}, kind="closing"),
    Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
    RULE,
    "the head must not be sent before the first block: an error can still be told",
    also=(*TOLD, serve({}, cut=True, end="close", body=b"")),
)
case(
    "head-waits-for-nonempty-block",
    respond("", "", {"raise": "ValueError"}, kind="closing"),
    Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
    RULE,
    "empty blocks do not send it",
    also=(*TOLD, serve({}, cut=True, end="close", body=b"")),
)
case(
    "middleware",
    ask("middleware"),
    serve(
        {"closed": 1},
        body=b"INNER",
        fields={"x-inner": "1", "x-middle": "1", "x-outer": "1"},
    ),
    "PEP 3333 middleware",
    "layers of generators, wrapped start_response and all",
)
case(
    "status-then-plain",
    respond("gone", status="410 Gone", headers=[["X-A", "1"]]) + get(target=b"/next"),
    Outcome(
        (
            Reply(codes(410), {"x-a": "1"}, b"gone"),
            Reply(codes(200), {"x-a": absent}, b"/next\n"),
        ),
        "keep",
        ({}, {}),
    ),
    RULE,
    "nothing of one response shows in the next",
)
