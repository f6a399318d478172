"""PEP 3333: the headers of a response and how they reach the wire, the server's own among them."""

from __future__ import annotations

from ..model import (
    Category,
    Check,
    Outcome,
    Reply,
    absent,
    codes,
    one_of,
    present,
    serve,
)
from .ask import respond
from .wsgi_start import ERROR, RULE, TOLD

CATEGORY = Category("WSGI start_response")
case = CATEGORY.case


def sent(body: bytes = b"ok", **fields: Check) -> Outcome:
    """Served with this body and these fields (dashes as underscores)."""
    checks = {name.replace("_", "-"): check for name, check in fields.items()}
    return serve(body=body, fields=checks)


# --- headers

case(
    "headers-sent",
    respond("ok", headers=[["X-A", "1"], ["x-b", "two words"], ["X-C", ""]]),
    sent(x_a="1", x_b="two words", x_c=""),
    RULE,
    "what the application gives is what the client gets",
)
case(
    "headers-repeated",
    respond("ok", headers=[["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"]]),
    sent(set_cookie="a=1, b=2"),
    "RFC 9110 5.3",
    "Set-Cookie cannot be joined, so every field is sent by itself",
)
case(
    "headers-latin1",
    respond("ok", headers=[["X-A", "caf\xe9 \xff"]]),
    sent(x_a="caf\xe9 \xff"),
    "PEP 3333 string types",
    "Latin-1 text as its octets",
)
case(
    "headers-none",
    respond("ok", headers=[]),
    sent(content_length=one_of("2", None), date=present),
    RULE,
    "an empty list is a list",
)
case(
    "headers-many",
    respond("ok", headers=[[f"X-{number}", "v"] for number in range(120)]),
    sent(x_0="v", x_119="v"),
    RULE,
    "as many as the application likes",
    ways="wp",
)
case(
    "headers-long",
    respond("ok", headers=[["X-A", {"long": 5000}]]),
    sent(x_a="a" * 5000),
    RULE,
    "as long as the application likes",
    ways="wp",
)
case(
    "headers-tab",
    respond("ok", headers=[["X-A", "a\tb"]]),
    sent(x_a="a\tb"),
    "RFC 9110 5.5",
    "a tab is allowed inside of a value",
    # PEP 3333 forbids control characters without an exception.
    also=TOLD,
)
for name, headers in (
    ("name-empty", [["", "1"]]),
    ("name-space", [["X Evil", "1"]]),
    ("name-colon", [["X-Evil:", "1"]]),
    ("name-crlf", [["A: 1\r\nX-Evil", "1"]]),
    ("name-lf", [["A: 1\nX-Evil", "1"]]),
    ("name-nul", [["X-\x00Evil", "1"]]),
    ("name-latin1", [["X-\xe9", "1"]]),
    ("name-snowman", [["X-\u2603", "1"]]),
    ("name-trailing-space", [["X-Evil ", "1"]]),
    ("name-bytes", [[{"bytes": "X-Evil"}, "1"]]),
    ("name-int", [[{"int": 1}, "1"]]),
    ("value-crlf", [["A", "1\r\nX-Evil: 1"]]),
    ("value-lf", [["A", "1\nX-Evil: 1"]]),
    ("value-cr", [["A", "1\rX-Evil: 1"]]),
    ("value-crlf-crlf", [["A", "1\r\n\r\n<html>"]]),
    ("value-fold", [["A", "1\r\n X-Evil: 1"]]),
    ("value-end-lf", [["A", "1\n"]]),
    ("value-nul", [["A", "a\x00b"]]),
    ("value-control", [["A", "a\x01b"]]),
    ("value-del", [["A", "a\x7fb"]]),
    ("value-escape", [["A", "a\x1b[1mb"]]),
    ("value-snowman", [["A", "\u2603"]]),
    ("value-bytes", [["A", {"bytes": "1"}]]),
    ("value-int", [["A", {"int": 1}]]),
    ("value-none", [["A", {"none": 0}]]),
    ("value-crlf-second", [["X-First", "1"], ["A", "1\r\nX-Evil: 1"]]),
    ("pair-of-one", [["A"]]),
    ("pair-of-three", [["A", "1", "2"]]),
    ("pair-is-str", [{"str": "AB"}]),
    ("pair-is-int", [{"int": 1}]),
    ("list-is-none", {"none": 0}),
    ("list-is-int", {"int": 1}),
    ("list-is-str", {"str": "X-Evil: 1"}),
):
    # Where a server turns another type into text, well-formed bytes come of it.
    tolerated = name in (
        "name-bytes",
        "name-int",
        "value-bytes",
        "value-int",
        "value-none",
        "name-trailing-space",
        "value-end-lf",
        "value-fold",
        "pair-of-three",
        "pair-is-str",
        "list-is-none",
    )
    case(
        "bad-header-" + name,
        respond("ok", headers=headers),
        ERROR,
        RULE,
        "no header that is none reaches the wire",
        also=(
            *TOLD,
            *(
                (Outcome((Reply(codes(200), {"x-evil": absent}),), "any", ({},)),)
                if tolerated
                else ()
            ),
        ),
        ways="wp",
    )
case(
    "headers-tuple",
    respond("ok", headers={"tuple": [{"tuple": ["X-A", "1"]}]}),
    (sent(x_a="1"), ERROR),
    RULE,
    "it must be a list; taking a tuple does no harm",
    also=TOLD,
)
case(
    "header-subclass-of-str",
    respond("ok", headers=[[{"subclass": "X-A"}, {"subclass": "1"}]]),
    (sent(x_a="1"), ERROR),
    "PEP 3333 string types",
    "native strings; a subclass is one in Python",
    also=TOLD,
)

# --- fields of the server

case(
    "date-added",
    respond("ok"),
    sent(date=lambda found: isinstance(found, str) and found.endswith(" GMT") and len(found) == 29),
    "RFC 9110 6.6.1",
    "a server with a clock MUST send Date",
)
case(
    "date-kept",
    respond("ok", headers=[["Date", "Tue, 15 Nov 1994 08:12:31 GMT"]]),
    sent(date="Tue, 15 Nov 1994 08:12:31 GMT"),
    "PEP 3333 the start_response() callable; RFC 9110 6.6.1",
    "the application's own stays, once",
    # RFC 9110 6.6.1 lets a recipient in the way replace what is missing only; one Date is due.
    also=sent(date=lambda found: isinstance(found, str) and found.count("GMT") == 1),
)
case(
    "date-kept-lower-case",
    respond("ok", headers=[["date", "Tue, 15 Nov 1994 08:12:31 GMT"]]),
    sent(date="Tue, 15 Nov 1994 08:12:31 GMT"),
    "RFC 9110 5.1 and 6.6.1",
    "in any case",
    also=sent(date=lambda found: isinstance(found, str) and found.count("GMT") == 1),
)
case(
    "headers-white-space",
    respond("ok", headers=[["X-A", " v "]]),
    (sent(x_a="v"), ERROR),
    "RFC 9112 5.1",
    "white space around a value does not arrive",
    also=TOLD,
)
case(
    "server-added",
    respond("ok"),
    sent(server=present),
    "contract 4",
    "Server is added when absent",
    also=serve(),
)
case(
    "server-kept",
    respond("ok", headers=[["Server", "mine/1"]]),
    sent(server="mine/1"),
    "contract 4",
    "the application's own stays, once",
    also=sent(server=lambda found: "," not in str(found)),
)
case(
    "server-kept-upper-case",
    respond("ok", headers=[["SERVER", "mine/1"]]),
    sent(server="mine/1"),
    "contract 4",
    "in any case",
    also=sent(server=lambda found: "," not in str(found)),
)
case(
    "content-type-not-invented",
    respond("ok", headers=[]),
    sent(content_type=absent),
    "RFC 9110 8.3",
    "without Content-Type the recipient may sniff; a server does not know better",
    also=serve(body=b"ok"),
)
for name, header in (
    ("transfer-encoding", ["Transfer-Encoding", "chunked"]),
    ("transfer-encoding-other", ["Transfer-Encoding", "gzip"]),
    ("keep-alive", ["Keep-Alive", "timeout=5"]),
    ("upgrade", ["Upgrade", "h2c"]),
    ("te", ["TE", "trailers"]),
    ("trailer", ["Trailers", "X-A"]),
    ("proxy-authenticate", ["Proxy-Authenticate", "Basic"]),
    ("connection-upgrade", ["Connection", "Upgrade"]),
):
    field = header[0].lower()
    dropped: dict[str, Check] = {field: absent}
    if field == "connection":
        dropped = {field: one_of(None, "keep-alive")}
    case(
        "hop-by-hop-" + name,
        respond("ok", headers=[header]),
        serve(body=b"ok", fields=dropped),
        "PEP 3333 other HTTP features",
        "hop-by-hop fields are the server's alone",
        # It is a fatal error for the application; what is passed on must not break the framing.
        also=(*TOLD, serve(body=b"ok", end="any")),
    )
