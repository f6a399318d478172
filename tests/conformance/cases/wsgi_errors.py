"""PEP 3333: error handling.  No application's error ends a server."""

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
    post,
    serve,
)
from .ask import ask, respond

CATEGORY = Category("WSGI errors")
case = CATEGORY.case

RULE = "PEP 3333 error handling"
CLOSED = Outcome((), "close", ({},))
# A 500 that tells the client nothing of the inside.
ERROR = Outcome(
    (Reply(codes(500), {"date": lambda found: found is not None}, lacks(b"Traceback")),),
    "any",
    ({},),
)
PERMITTED = (ERROR_500, CLOSED)

for name in (
    "ValueError",
    "SystemExit",
    "KeyboardInterrupt",
    "GeneratorExit",
    "StopIteration",
    "RecursionError",
    "MemoryError",
    "OSError",
    "Odd",
    "Mute",
):
    spelt = name.lower()
    ending = name in ("SystemExit", "KeyboardInterrupt")
    case(
        "raises-" + spelt,
        respond(**{"raise": name}),
        ERROR,
        RULE + "; contract 4",
        "an exception in the application is that request's 500, whatever its class",
        also=PERMITTED,
        ways="wp",
        may_end=ending,
    )
    case(
        f"raises-{spelt}-after-start",
        respond(raise_after=name, headers=[["X-First", "1"]]),
        Outcome((Reply(codes(500), {"x-first": absent}),), "any", ({},)),
        RULE + "; contract 4",
        "nothing has been sent yet, so the client gets a 500",
        also=PERMITTED,
        ways="wp",
        may_end=ending,
    )
    case(
        f"raises-{spelt}-in-iteration",
        respond({"raise": name}, kind="closing"),
        Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
        RULE + "; contract 4",
        "before the first block it is a 500, and the iterable is closed",
        also=(
            Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
            Outcome((), "close", ({"closed": 1},)),
            serve({"closed": 1}, body=b"", cut=True, end="close"),
        ),
        ways="wp",
        may_end=ending,
    )
    case(
        f"raises-{spelt}-in-mid-stream",
        respond("begin", {"raise": name}, kind="closing"),
        serve({"closed": 1}, body=b"begin", cut=True, end="close"),
        RULE + "; RFC 9112 8",
        "the client must see the truncation: no final chunk",
        also=(
            Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
            Outcome((), "close", ({"closed": 1},)),
        ),
        ways="wp",
        may_end=ending,
    )
case(
    "mid-stream-with-length",
    respond(
        "begin",
        {"raise": "ValueError"},
        kind="closing",
        headers=[["Content-Length", "20"]],
    ),
    serve({"closed": 1}, body=b"begin", cut=True, end="close"),
    RULE + "; RFC 9112 6.3",
    "the connection ends before the length is reached",
    also=(
        Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
        Outcome((), "close", ({"closed": 1},)),
    ),
)
case(
    "mid-stream-1.0",
    respond("begin", {"raise": "ValueError"}, kind="closing", version="1.0"),
    Outcome((Reply(codes(200), body=b"begin"),), "close", ({"closed": 1},)),
    RULE,
    "HTTP/1.0 has no way to tell; the connection ends",
    also=(
        Outcome((Reply(codes(200), body=b"begin", cut=True),), "close", ({"closed": 1},)),
        Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
        Outcome((), "close", ({"closed": 1},)),
    ),
)
case(
    "after-all-blocks",
    respond("whole", {"raise": "ValueError"}, kind="closing", headers=[["Content-Length", "5"]]),
    serve({"closed": 1}, body=b"whole", end="any"),
    RULE,
    "the response was complete before the error",
    also=(
        Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
        Outcome((), "close", ({"closed": 1},)),
    ),
)
case(
    "raises-with-unread-body",
    post(
        b"Content-Length: 5", body=b"hello", target=b"/wsgi/respond?%7B%22raise%22:%22OSError%22%7D"
    ),
    ERROR,
    RULE,
    "the body does not turn into a request",
    also=PERMITTED,
    ways="wp",
)
case(
    "raises-on-head",
    respond(method="HEAD", **{"raise": "ValueError"}),
    Outcome((Reply(codes(500), body=b"", coding="none"),), "any", ({},)),
    "RFC 9110 9.3.2",
    "a 500 to HEAD has no body",
    also=CLOSED,
    ways="wp",
)
case(
    "no-traceback-to-client",
    respond(**{"raise": "ValueError"}),
    Outcome((Reply(codes(500), body=lacks(b"asked for")),), "any", ({},)),
    "contract 4",
    "what went wrong is for the log",
    also=PERMITTED,
    ways="wp",
)
case(
    "wrong-query",
    ask("respond", "no-json"),
    ERROR,
    RULE,
    "an error in the application's own code",
    also=PERMITTED,
    ways="wp",
)
case(
    "served-after-error",
    respond(**{"raise": "OSError"}) + get(target=b"/next"),
    (
        Outcome((Reply(codes(500)), Reply(codes(200), body=b"/next\n")), "keep", ({}, {})),
        Outcome((Reply(codes(500), {"connection": "close"}),), "close", ({},)),
    ),
    RULE,
    "one request's error is no other request's",
    also=(ERROR_500, CLOSED),
)
