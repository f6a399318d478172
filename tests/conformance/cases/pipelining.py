"""Pipelining: RFC 9112 section 9.3.2.  Peers may close after any response, but must say so."""

from __future__ import annotations

from ..model import (
    FIN,
    MUST_400,
    REFUSED,
    Await,
    Category,
    Outcome,
    Reply,
    chunked,
    codes,
    get,
    post,
    refuse,
    req,
    serve,
)
from .ask import ask, respond

CATEGORY = Category("pipelining", strict_end=True)
case = CATEGORY.case


def gets(*paths: str) -> bytes:
    """One GET for each path."""
    return b"".join(get(target=path.encode()) for path in paths)


def served(*paths: str, end: str = "keep") -> Outcome:
    """Each path served, in order."""
    return Outcome(
        tuple(Reply(codes(200), body=path.encode() + b"\n") for path in paths),
        end,  # type: ignore[arg-type]
        tuple({"PATH_INFO": path} for path in paths),
    )


def numbered(count: int) -> list[str]:
    """Paths of different lengths."""
    return [f"/n{'x' * (number % 7)}{number}" for number in range(count)]


case("two", gets("/a", "/b"), served("/a", "/b"), "RFC 9112 9.3.2", "responses in order")
case(
    "sixteen",
    gets(*numbered(16)),
    served(*numbered(16)),
    "RFC 9112 9.3.2",
    "in order, none lost",
)
case(
    "three-hundred",
    gets(*numbered(300)),
    served(*numbered(300)),
    "RFC 9112 9.3.2",
    "more than any look-ahead; none lost",
    ways="wp",
)
case(
    "bodies-between",
    post(b"Content-Length: 3", body=b"abc", target=b"/a")
    + get(target=b"/b")
    + chunked(b"2", b"de", b"0", b"")
    + get(target=b"/c"),
    serve(
        {"PATH_INFO": "/a", "body": b"abc"},
        {"PATH_INFO": "/b", "body": b""},
        {"PATH_INFO": "/", "body": b"de"},
        {"PATH_INFO": "/c", "body": b""},
    ),
    "RFC 9112 9.3.2",
    "each body belongs to its request",
)
case(
    "large-bodies-between",
    b"".join(
        post(b"Content-Length: 30000", body=letter * 30000, target=b"/" + letter)
        for letter in (b"a", b"b", b"c")
    ),
    serve(
        *({"PATH_INFO": "/" + letter, "body": letter.encode() * 30000} for letter in "abc"),
    ),
    "RFC 9112 9.3.2",
    "longer than a read",
)
case(
    "large-responses",
    b"".join(respond({"fill": 300000}) for _ in range(4)) + get(target=b"/end"),
    Outcome(
        (Reply(codes(200), body=b"x" * 300000),) * 4 + (Reply(codes(200), body=b"/end\n"),),
        "keep",
        ({},) * 5,
    ),
    "RFC 9112 9.3.2",
    "longer than a socket's buffer",
)
case(
    "head-then-get",
    respond("body", method="HEAD") + get(target=b"/b"),
    Outcome(
        (Reply(codes(200), body=b""), Reply(codes(200), body=b"/b\n")),
        "keep",
        ({"REQUEST_METHOD": "HEAD"}, {"PATH_INFO": "/b"}),
    ),
    "RFC 9110 9.3.2",
    "nothing of a body may stand before the next response",
    methods=("HEAD", "GET"),
)
case(
    "bodiless-then-get",
    respond("body", status="204 No Content")
    + get(target=b"/b")
    + respond("body", status="304 Not Modified")
    + get(target=b"/d"),
    Outcome(
        tuple(
            Reply(codes(code), body=body)
            for code, body in ((204, b""), (200, b"/b\n"), (304, b""), (200, b"/d\n"))
        ),
        "keep",
        ({},) * 4,
    ),
    "RFC 9112 6.3 (1)",
    "nothing of a body may stand before the next response",
)
case(
    "unread-body-then-get",
    ask("input-ignored", body=b"x" * 2000) + get(target=b"/b"),
    Outcome(
        (Reply(codes(200), body=b"ignored"), Reply(codes(200), body=b"/b\n")), "keep", ({}, {})
    ),
    "RFC 9112 9.3",
    "a body that the application left is skipped",
)
case(
    "streamed-then-get",
    respond("a", "b", "c", kind="closing") + get(target=b"/b"),
    Outcome(
        (Reply(codes(200), body=b"abc"), Reply(codes(200), body=b"/b\n")),
        "keep",
        ({"closed": 1}, {}),
    ),
    "RFC 9112 9.3.2",
    "a response without known length ends where it says",
)
case(
    "close-in-the-middle",
    gets("/a") + get(b"Connection: close", target=b"/b") + gets("/c"),
    served("/a", "/b", end="close"),
    "RFC 9112 9.6",
    "nothing is processed after a request with close",
)
case(
    "old-version-in-the-middle",
    gets("/a") + req(b"GET /b HTTP/1.0") + gets("/c"),
    served("/a", "/b", end="close"),
    "RFC 9112 9.3",
    "an HTTP/1.0 request without keep-alive is the last",
)
case(
    "application-closes",
    respond("a", headers=[["Connection", "close"], ["Content-Length", "1"]]) + gets("/b"),
    Outcome((Reply(codes(200), {"connection": "close"}, b"a"),), "close", ({},)),
    "RFC 9112 9.6; contract 4",
    "nothing is processed after a response with close",
    # PEP 3333 forbids applications the field; a server may ignore it or object.
    also=(
        Outcome((Reply(codes(200)), Reply(codes(200), body=b"/b\n")), "keep", ({}, {})),
        Outcome((Reply(codes(500)),), "close", ({},)),
        Outcome((Reply(codes(500)), Reply(codes(200))), "keep", ({}, {})),
    ),
)
for name, bad in (
    ("bad-line", b"GET\r\n\r\n"),
    ("bad-length", post(b"Content-Length: x")),
    ("bad-field", get(b"Bad Name: 1")),
):
    outcomes = MUST_400 if name == "bad-length" else REFUSED
    case(
        "refused-in-the-middle-" + name,
        gets("/a") + bad + gets("/c"),
        served("/a") + refuse(),
        "RFC 9112 2.2",
        "what came before is served, what comes after is not looked at",
        also=tuple(served("/a") + one for one in outcomes),
    )
case(
    "refused-first",
    get(b"Bad Name: 1", target=b"/bad") + gets("/c"),
    refuse(),
    "RFC 9112 2.2",
    "what comes after a refusal is not looked at",
    also=REFUSED,
)
case(
    "half-close",
    (gets("/a", "/b"), FIN),
    served("/a", "/b", end="close"),
    "RFC 9112 9.6",
    "the client has stopped sending, not reading",
    also=(Outcome((), "close"), served("/a", end="close"), Outcome((), "close", ({},))),
)
case(
    "second-truncated",
    (gets("/a") + b"GET /b HT", FIN),
    (served("/a", end="close"), served("/a") + refuse()),
    "RFC 9112 8",
    "the first is answered, the second is none",
    also=tuple(served("/a") + one for one in REFUSED),
)
case(
    "one-after-the-other",
    (gets("/a"), Await(1), gets("/b"), Await(2), gets("/c")),
    served("/a", "/b", "/c"),
    "RFC 9112 9.3",
    "without pipelining the same",
)
case(
    "pairs",
    (gets("/a", "/b"), Await(2), gets("/c", "/d"), Await(4), gets("/e")),
    served("/a", "/b", "/c", "/d", "/e"),
    "RFC 9112 9.3.2",
    "bursts on one connection",
)
case(
    "split-in-second",
    (gets("/a") + b"GET /b HTTP/1.1\r\nHo", Await(1), b"st: h\r\n\r\n"),
    served("/a", "/b"),
    "RFC 9112 9.3.2",
    "the first is answered while the second is still on its way",
)
case(
    "split-in-body",
    (gets("/a") + post(b"Content-Length: 5", body=b"he"), Await(1), b"llo" + gets("/c")),
    Outcome(
        (Reply(codes(200)),) * 3,
        "keep",
        ({"PATH_INFO": "/a"}, {"body": b"hello"}, {"PATH_INFO": "/c"}),
    ),
    "RFC 9112 9.3.2",
    "the first is answered while the second's body is still on its way",
)
case(
    "error-in-the-middle",
    gets("/a") + respond(**{"raise": "ValueError"}) + gets("/c"),
    (
        served("/a") + Outcome((Reply(codes(500)),), "keep", ({},)) + served("/c"),
        served("/a") + Outcome((Reply(codes(500), {"connection": "close"}),), "close", ({},)),
    ),
    "RFC 9110 15.6.1",
    "the application's error is one request's",
)
