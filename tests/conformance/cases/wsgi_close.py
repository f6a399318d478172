"""PEP 3333: close() and files."""

from __future__ import annotations

from ..model import (
    ERROR_500,
    FIN,
    RST,
    Category,
    Check,
    Gate,
    Outcome,
    Reply,
    codes,
    one_of,
    serve,
)
from .ask import jsonask, respond
from .wsgi_body import TOLD

CATEGORY = Category("WSGI response body")
case = CATEGORY.case

CLOSE = "PEP 3333 specification details (close)"
FILE = "PEP 3333 optional platform-specific file handling"

# --- close()

for name, blocks, outcome in (
    ("after-success", ("a", "b"), serve({"closed": 1}, body=b"ab")),
    ("after-nothing", (), serve({"closed": 1}, body=b"")),
    (
        "after-error",
        ({"raise": "ValueError"},),
        Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
    ),
    (
        "after-late-error",
        ("a", {"raise": "ValueError"}),
        serve({"closed": 1}, body=b"a", cut=True, end="close"),
    ),
    (
        "after-wrong-type",
        ({"str": "text"},),
        Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
    ),
):
    heard = {"closed": 1}
    case(
        "close-" + name,
        respond(*blocks, kind="closing"),
        outcome,
        CLOSE,
        "close() is called, once, whatever happened",
        also=(
            Outcome((Reply(codes(500)),), "any", (heard,)),
            Outcome((), "close", (heard,)),
            serve(heard, body=one_of(b"", b"a"), cut=True, end="close"),
        )
        if "error" in name or "type" in name
        else (),
    )
case(
    "close-head",
    respond("a", "b", kind="closing", method="HEAD"),
    serve({"closed": 1}, body=b""),
    CLOSE,
    "even when no block was wanted",
)
case(
    "close-bad-status",
    respond("a", kind="closing", status="bad"),
    Outcome((Reply(codes(500)),), "any", ({"closed": one_of(0, 1)},)),
    CLOSE,
    "start_response raises, so there may be no iterable to close",
    also=TOLD,
)
case(
    "close-bad-status-late",
    respond("a", kind="closing", status="bad", late=1),
    Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
    CLOSE,
    "if there is an iterable, it is closed",
    also=(
        Outcome((), "close", ({"closed": 1},)),
        Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
    ),
)
case(
    "close-raises",
    respond("ok", kind="broken-close"),
    serve({"closed": 1}, body=b"ok", end="any"),
    CLOSE,
    "the response is complete; an error in close() takes nothing back",
    # Blocks of unknown length are not complete before close() for everybody.
    also=serve({"closed": 1}, body=b"ok", cut=True, end="close"),
)
case(
    "close-raises-with-length",
    respond("ok", kind="broken-close", headers=[["Content-Length", "2"]]),
    serve({"closed": 1}, body=b"ok", end="any"),
    CLOSE,
    "the response is complete; an error in close() takes nothing back",
)
case(
    "close-iter-raises",
    respond(kind="broken-iter"),
    Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
    CLOSE,
    "an iterable that cannot be iterated is closed as well",
    also=Outcome((), "close", ({"closed": 1},)),
)
case(
    "close-client-gone",
    (
        respond("first", {"gate": 0}, *({"fill": 500000} for _ in range(20)), kind="closing"),
        Gate(b"first"),
        RST,
    ),
    Outcome((Reply(codes(200), cut=True),), "close", ({"closed": 1},)),
    CLOSE,
    "a client that is gone changes nothing about close()",
    ways="w",
)
case(
    "close-client-half-gone",
    (respond("a", "b", kind="closing"), FIN),
    serve({"closed": 1}, body=b"ab", end="close"),
    CLOSE,
    "nor does one that only stopped sending",
    also=Outcome((), "close", ({"closed": 1},)),
)
case(
    "close-1.0",
    respond("a", "b", kind="closing", version="1.0"),
    serve({"closed": 1}, body=b"ab", end="close"),
    CLOSE,
    "in HTTP/1.0 as well",
)

# --- files

CONTENT = bytes(range(256)) * 40


def file(**spec: object) -> bytes:
    """A file of 10000 octets unless `size` says otherwise, through wsgi.file_wrapper."""
    return jsonask("file", {"size": 10000, **spec})


def gives(body: Check, **reply: object) -> Outcome:
    """The file was sent so, and closed once."""
    return serve({"closed": 1}, body=body, **reply)


WHOLE = CONTENT[:10000]
case("file", file(), gives(WHOLE), FILE, "the file is the body, and it is closed")
case("file-block-size", file(block=100), gives(WHOLE), FILE, "a block size is a suggestion")
case("file-memory", file(memory=1), gives(WHOLE), FILE, "an object without a descriptor is read")
case(
    "file-position",
    file(skip=1000),
    gives(WHOLE[1000:]),
    FILE,
    "transmission begins at the current position of the file",
)
case(
    "file-position-read",
    file(read=10),
    gives(WHOLE[10:]),
    FILE,
    "the position is what the file object says, not what its buffer has read ahead",
)
case(
    "file-length",
    file(length=500),
    gives(WHOLE[:500], coding="length"),
    FILE,
    "no more than the Content-Length of the application",
    also=(gives(WHOLE[:500], end="close"), ERROR_500),
)
case(
    "file-position-length",
    file(skip=1000, length=500),
    gives(WHOLE[1000:1500], coding="length"),
    FILE,
    "a range of it",
    also=(gives(WHOLE[1000:1500], end="close"), ERROR_500),
)
case(
    "file-length-right",
    file(length=10000),
    gives(WHOLE, coding="length"),
    FILE,
    "with its length",
)
case(
    "file-shorter-than-length",
    file(length=20000),
    gives(WHOLE, cut=True, end="close"),
    FILE + "; RFC 9112 6.3",
    "the client must see that something is missing",
    also=(ERROR_500, Outcome((), "close", ({"closed": 1},)), gives(WHOLE, end="any")),
)
case("file-empty", file(size=0), gives(b""), FILE, "an empty file is an empty body")
case("file-at-end", file(skip=10000), gives(b""), FILE, "nothing is left of it")
case(
    "file-large",
    file(size=3000000),
    gives((CONTENT * 300)[:3000000]),
    FILE,
    "longer than any buffer",
    ways="wt",
)
case(
    "file-large-no-sendfile",
    file(size=3000000),
    gives((CONTENT * 300)[:3000000]),
    FILE,
    "without sendfile the same",
    ways="wt",
    config="no-sendfile",
    own=True,
)
case(
    "file-iterated",
    file(iterate="list"),
    serve(body=WHOLE),
    FILE,
    "the wrapper is an iterable like any other, also for middleware",
)
case(
    "file-wrapped",
    file(iterate="keep"),
    serve(body=WHOLE),
    FILE,
    "inside another iterable it is iterated",
)
case(
    "file-then-request",
    file() + respond("next"),
    Outcome(
        (Reply(codes(200), body=WHOLE), Reply(codes(200), body=b"next")),
        "keep",
        ({"closed": 1}, {}),
    ),
    FILE,
    "the next response comes behind it",
)
