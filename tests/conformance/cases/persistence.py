"""Persistence: RFC 9112 section 9.  Peers may close after any response, but must say so."""

from __future__ import annotations

from ..model import Await, Category, Outcome, Reply, absent, codes, get, holds, one_of, req, serve
from .ask import ask, respond

CATEGORY = Category("persistence", strict_end=True)
case = CATEGORY.case

KEPT = serve(fields={"connection": one_of(None, "keep-alive", "Keep-Alive")})
CLOSED = serve(end="close", fields={"connection": lambda found: str(found).lower() == "close"})


case("default-1.1", get(), KEPT, "RFC 9112 9.3", "HTTP/1.1 persists by default", also=CLOSED)
case(
    "keep-alive-1.1",
    get(b"Connection: keep-alive"),
    KEPT,
    "RFC 9112 9.3",
    "asking for it changes nothing",
    also=CLOSED,
)
for name, fields in (
    ("", (b"Connection: close",)),
    ("-upper-case", (b"CONNECTION: CLOSE",)),
    ("-mixed-case", (b"Connection: cLoSe",)),
    ("-white-space", (b"Connection: \tclose ",)),
    ("-in-list", (b"Connection: x-a, close, x-b",)),
    ("-in-list-no-space", (b"Connection: x-a,close",)),
    ("-after-empty-element", (b"Connection: , close",)),
    ("-second-field", (b"Connection: x-a", b"Connection: close")),
    ("-first-field", (b"Connection: close", b"Connection: x-a")),
    ("-with-keep-alive", (b"Connection: keep-alive, close",)),
    ("-before-keep-alive", (b"Connection: close, keep-alive",)),
):
    case(
        "close" + name,
        get(*fields),
        CLOSED,
        "RFC 9112 9.6",
        "after close the server MUST close, and SHOULD say so; options are a case-insensitive list",
        also=serve(end="close"),
    )
for name, fields in (
    ("closed", (b"Connection: closed",)),
    ("x-close", (b"Connection: x-close",)),
    ("two-words", (b"Connection: not close",)),
    ("empty", (b"Connection:",)),
    ("proxy-connection", (b"Proxy-Connection: close",)),
    ("keep-alive-field", (b"Keep-Alive: timeout=0, max=0",)),
    ("nominated-field", (b"Connection: X-A", b"X-A: 1")),
):
    case(
        "no-close-" + name,
        get(*fields),
        KEPT,
        "RFC 9110 7.6.1",
        "only the option close ends a connection",
        also=serve(end="close"),
    )
case(
    "close-with-body",
    req(b"POST / HTTP/1.1", b"Connection: close", b"Content-Length: 5", body=b"hello"),
    Outcome(CLOSED.replies, "close", ({"body": b"hello"},)),
    "RFC 9112 9.6",
    "the body is still this request's",
    also=serve({"body": b"hello"}, end="close"),
)
case(
    "close-then-more",
    get(b"Connection: close") + get(target=b"/more"),
    CLOSED,
    "RFC 9112 9.6",
    "nothing after it is processed",
    also=serve(end="close"),
    ways="wbp",
)

# --- HTTP/1.0

case(
    "default-1.0",
    req(b"GET / HTTP/1.0"),
    serve(end="close"),
    "RFC 9112 9.3",
    "HTTP/1.0 ends by default",
)
case(
    "keep-alive-1.0",
    req(b"GET / HTTP/1.0", b"Connection: keep-alive"),
    serve(fields={"connection": lambda found: str(found).lower() == "keep-alive"}),
    "RFC 9112 9.3 and C.2.2",
    "honoured when the length is known, and the response says so",
    also=serve(end="close"),
)
case(
    "keep-alive-1.0-upper-case",
    req(b"GET / HTTP/1.0", b"Connection: KEEP-ALIVE"),
    serve(fields={"connection": lambda found: str(found).lower() == "keep-alive"}),
    "RFC 9110 7.6.1",
    "options are case-insensitive",
    also=serve(end="close"),
)
case(
    "keep-alive-1.0-close",
    req(b"GET / HTTP/1.0", b"Connection: keep-alive, close"),
    serve(end="close"),
    "RFC 9112 9.3",
    "close wins",
)
case(
    "keep-alive-1.0-unknown-length",
    respond("a", "b", kind="generator", version="1.0", fields=(b"Connection: keep-alive",)),
    serve(
        end="close",
        body=b"ab",
        fields={
            "connection": lambda found: str(found).lower() in ("close", "none"),
            "transfer-encoding": absent,
        },
    ),
    "RFC 9112 6.3 (8) and 6.1",
    "without a length the end of the connection ends the body; HTTP/1.0 knows no chunks",
    # A server that gathers the blocks knows the length.
    also=serve(end="any", body=b"ab", fields={"transfer-encoding": absent}),
)
case(
    "keep-alive-1.0-then-1.0",
    req(b"GET /a HTTP/1.0", b"Connection: keep-alive") + req(b"GET /b HTTP/1.0"),
    serve({"PATH_INFO": "/a"}, {"PATH_INFO": "/b"}, end="close"),
    "RFC 9112 9.3",
    "each request decides anew",
)
case(
    "no-keep-alive-1.0-then-more",
    req(b"GET /a HTTP/1.0") + req(b"GET /b HTTP/1.0"),
    serve({"PATH_INFO": "/a"}, end="close"),
    "RFC 9112 9.3",
    "the first is the last",
)

# --- Upgrade is ignored

for name, fields in (
    ("websocket", (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")),
    ("h2c", (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")),
    ("unknown", (b"Connection: upgrade", b"Upgrade: x/1")),
    ("without-connection", (b"Upgrade: websocket",)),
    ("tls", (b"Connection: Upgrade", b"Upgrade: TLS/1.0")),
):
    case(
        "upgrade-" + name,
        get(*fields),
        serve(fields={"upgrade": absent}),
        "RFC 9110 7.8",
        "a server MAY ignore Upgrade; the request is served as it is",
        also=serve(end="any"),
    )
case(
    "upgrade-with-body",
    req(
        b"POST / HTTP/1.1",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Content-Length: 5",
        body=b"hello",
    )
    + get(target=b"/next"),
    serve({"body": b"hello"}, {"PATH_INFO": "/next", "body": b""}),
    "RFC 9110 7.8",
    "the body is the request's, what follows is the next request",
)
case(
    "upgrade-with-chunks",
    req(
        b"POST / HTTP/1.1",
        b"Connection: Upgrade",
        b"Upgrade: h2c",
        b"Transfer-Encoding: chunked",
        body=b"5\r\nhello\r\n0\r\n\r\n",
    )
    + get(target=b"/next"),
    serve({"body": b"hello"}, {"PATH_INFO": "/next"}),
    "RFC 9110 7.8",
    "chunked as well",
)
case(
    "upgrade-then-get",
    get(b"Connection: Upgrade", b"Upgrade: websocket") + get(target=b"/next"),
    serve({}, {"PATH_INFO": "/next"}),
    "RFC 9110 7.8",
    "the protocol was not switched",
)

# --- what responses do to the connection

case(
    "after-404",
    respond("gone", status="404 Not Found"),
    Outcome((Reply(codes(404), body=b"gone"),), "keep", ({},)),
    "RFC 9112 9.3",
    "the application's status does not end the connection",
)
case(
    "after-413-by-application",
    respond("no", status="413 Content Too Large"),
    Outcome((Reply(codes(413), body=b"no"),), "keep", ({},)),
    "RFC 9112 9.3",
    "nor does one that the server uses itself",
)
case(
    "after-chunked-response",
    respond("a", "b", kind="generator"),
    serve(body=b"ab"),
    "RFC 9112 9.3",
    "chunked frames itself",
)
case(
    "after-unread-body",
    ask("input-ignored", body=b"x" * 500),
    serve(body=b"ignored"),
    "RFC 9112 9.3",
    "a body that the application left is skipped",
)
case(
    "application-close",
    respond("bye", headers=[["Connection", "close"]]),
    serve(end="close", body=b"bye", fields={"connection": holds("close")}),
    "contract 4",
    "the one hop-by-hop field that is honoured",
    also=(serve(body=b"bye"), Outcome((Reply(codes(500)),), "any", ({},))),
)
case(
    "application-keep-alive",
    respond("stay", headers=[["Connection", "keep-alive"]]),
    serve(body=b"stay", fields={"connection": one_of(None, "keep-alive")}),
    "PEP 3333 other HTTP features",
    "hop-by-hop fields are not the application's",
    also=(serve(body=b"stay"), Outcome((Reply(codes(500)),), "any", ({},))),
)
case(
    "application-keep-alive-against-close",
    respond("bye", headers=[["Connection", "keep-alive"]], fields=(b"Connection: close",)),
    serve(end="close", body=b"bye", fields={"connection": "close"}),
    "RFC 9112 9.6",
    "the client wants to close, whatever the application says",
    also=(serve(end="close", body=b"bye"), Outcome((Reply(codes(500)),), "any", ({},))),
)
case(
    "twenty-in-turn",
    (
        *tuple(step for turn in range(1, 20) for step in (get(target=b"/t%d" % turn), Await(turn))),
        get(target=b"/t20"),
    ),
    serve(*({"PATH_INFO": f"/t{turn}"} for turn in range(1, 21))),
    "RFC 9112 9.3",
    "a connection serves as long as it is wanted",
)
