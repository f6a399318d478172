"""PEP 3333: wsgi.input."""

from __future__ import annotations

import json

from ..model import DROP, FIN, Category, Check, Outcome, chunked, refuse, req, serve
from .ask import ask

CATEGORY = Category("WSGI input")
case = CATEGORY.case

RULE = "PEP 3333 input and error streams"
TEXT = b"one\ntwo\r\nthree"
LINES = ["one\n", "two\r\n", "three"]
ALL = TEXT.decode()


def gives(*results: object) -> Check:
    """The calls gave these results."""

    def check(found: object) -> bool:
        try:
            return json.loads(found) == list(results)  # type: ignore[arg-type]
        except ValueError:
            return False

    check.__name__ = json.dumps(results)
    return check


def script(
    name: str,
    calls: str,
    results: tuple[object, ...],
    why: str,
    *also: tuple[object, ...],
    text: bytes = TEXT,
    ways: str = "wt",
) -> None:
    """The calls on wsgi.input give these results, with a length and with chunks."""
    permitted = tuple(serve(body=gives(*other)) for other in also)
    case(
        name,
        ask("input", calls, body=text),
        serve(body=gives(*results)),
        RULE,
        why,
        also=permitted,
        ways=ways,
    )
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (text[:4], text[4:]) if part)
    case(
        name + "-chunked",
        req(
            b"POST /wsgi/input?" + calls.encode() + b" HTTP/1.1",
            b"Transfer-Encoding: chunked",
            body=chunks + b"0\r\n\r\n",
        ),
        serve(body=gives(*results)),
        RULE,
        why + " (chunked)",
        also=permitted,
        ways=ways,
    )


script("read-all", "read", (ALL,), "read() gives everything", ways="wbpt")
script("read-minus-one", "read:-1", (ALL,), "as does read(-1)")
script("read-none", "read:None", (ALL,), "and read(None)")
script("read-zero", "read:0,read", ("", ALL), "read(0) gives nothing and takes nothing")
script(
    "read-pieces",
    "read:3,read:4,read:100,read:1",
    ("one", "\ntwo", "\r\nthree", ""),
    "read(n) gives n octets until the end",
)
script("read-one", "read:1,read:1,read", ("o", "n", ALL[2:]), "one octet at a time")
script("read-more", "read:1000", (ALL,), "more than there is gives what there is")
script("read-exact", "read:14,read:1", (ALL, ""), "all of it, and then the end")
script("read-past-end", "read,read,read:5", (ALL, "", ""), "after the end always empty bytes")
script(
    "readline",
    "readline,readline,readline,readline",
    (*LINES, ""),
    "lines with their ends, then empty bytes",
)
# Servers should support the size of readline, but may omit it.
OMITTED = "<TypeError>"
script(
    "readline-size",
    "readline:2,readline:100,readline:-1",
    ("on", "e\n", "two\r\n"),
    "a size limits a line",
    (OMITTED, OMITTED, OMITTED),
)
script(
    "readline-zero",
    "readline:0,readline",
    ("", "one\n"),
    "a size of nothing takes nothing",
    (OMITTED, "one\n"),
)
script("readlines", "readlines,readlines", (LINES, []), "all lines, then none")
script(
    "readlines-hint",
    "readlines:5,read",
    (LINES[:2], "three"),
    "lines until the hint is reached",
    # The hint is optional for both sides.
    (LINES, ""),
    (LINES[:1], "two\r\nthree"),
    (OMITTED, ALL),
)
script("iterate", "iter,read", (LINES, ""), "iteration gives lines")
script("next-line", "next,readline,read", ("one\n", "two\r\n", "three"), "in any mixture")
script(
    "mixed",
    "read:1,readline,readlines,read",
    ("o", "ne\n", LINES[1:], ""),
    "methods share one position",
)
script("one-long-line", "readline,readline", ("x" * 3000, ""), "no line end", text=b"x" * 3000)
script("only-newlines", "readlines", (["\n", "\n", "\n"],), "empty lines are lines", text=b"\n\n\n")
script(
    "binary",
    "read",
    (bytes(range(256)).decode("latin-1"),),
    "octets unchanged",
    text=bytes(range(256)),
)
script("empty-read", "read,read:1", ("", ""), "an empty body is at its end", text=b"")
script("empty-readline", "readline,iter", ("", []), "without lines", text=b"")

for name, calls, results in (
    ("read", "read", ("",)),
    ("read-size", "read:10", ("",)),
    ("readline", "readline", ("",)),
    ("readlines", "readlines", ([],)),
    ("iterate", "iter", ([],)),
):
    case(
        "no-body-" + name,
        ask("input", calls),
        serve(body=gives(*results)),
        RULE,
        "without a body nothing blocks: empty bytes from an exhausted input",
    )
case(
    "stops-at-length",
    ask("input", "read:1000,read", body=b"hello") + ask("input", "read", body=b"next"),
    Outcome(
        (
            *serve(body=gives("hello", "")).replies,
            *serve(body=gives("next")).replies,
        ),
        "keep",
        ({}, {}),
    ),
    RULE,
    "the end of the body is an end of file, whatever follows on the connection",
)
case(
    "sum-100k",
    ask("input-sum", body=b"0123456789" * 10000),
    serve({"note": ""}, body=b"100000 %d" % (sum(b"0123456789") * 10000 % 65521)),
    RULE,
    "a long body in pieces",
    ways="wbp",
)
case(
    "sum-3m",
    ask("input-sum", body=b"0123456789" * 300000),
    serve({"note": ""}, body=b"3000000 %d" % (sum(b"0123456789") * 300000 % 65521)),
    RULE,
    "a body longer than the memory for bodies",
    ways="wp",
)
case(
    "sum-chunked-3m",
    req(
        b"POST /wsgi/input-sum HTTP/1.1",
        b"Transfer-Encoding: chunked",
        body=(b"2710\r\n" + b"0123456789" * 1000 + b"\r\n") * 300 + b"0\r\n\r\n",
    ),
    serve({"note": ""}, body=b"3000000 %d" % (sum(b"0123456789") * 300000 % 65521)),
    RULE,
    "in chunks as well",
    ways="wp",
)
for calls, results in (
    ("read", (ALL * 20,)),
    ("readline,readline,read:3", ("one\n", "two\r\n", "thr")),
    ("readlines:2,read:2", (["one\n"], "tw")),
    ("read:100,read:200,read", ((ALL * 20)[:100], (ALL * 20)[100:300], "")),
):
    case(
        "spilled-" + calls.replace(":", "-").replace(",", "-"),
        ask("input", calls, body=TEXT * 20),
        serve(body=gives(*results)),
        RULE,
        "a body that went to a file reads the same",
        # The hint is optional.
        also=serve() if "readlines" in calls else (),
        config="spill",
        ways="wbt",
    )
case(
    "echo",
    ask("echo", body=b"\x00\xff hello"),
    serve({"body": b"\x00\xff hello"}, body=b"\x00\xff hello"),
    RULE,
    "in and out unchanged",
)
case(
    "unread",
    ask("input-ignored", body=b"x" * 3000),
    serve(body=b"ignored"),
    RULE,
    "an application need not read",
)
case(
    "unread-chunked",
    ask("input-ignored", "", b"Transfer-Encoding: chunked", method="POST") + b"1\r\nx\r\n0\r\n\r\n",
    serve(body=b"ignored"),
    RULE,
    "an application need not read",
)
case(
    "read-while-answering",
    ask("input-late", body=b"hello"),
    serve({"closed": 1}, body=b"begin hello end"),
    RULE,
    "the input can be read while the response is on its way",
)
case(
    "read-while-answering-chunked",
    ask("input-late", "", b"Transfer-Encoding: chunked", method="POST")
    + chunked(b"5", b"hello", b"0", b"").split(b"\r\n\r\n", 1)[1],
    serve({"closed": 1}, body=b"begin hello end"),
    RULE,
    "chunked as well",
)
case(
    "never-short",
    (ask("input", "read", b"Content-Length: 10", method="POST") + b"hello", FIN),
    (DROP, refuse()),
    "PEP 3333 input and error streams; RFC 9112 8",
    "a body that was cut off must not pass for a whole one",
    also=(
        Outcome((), "close", ({},)),
        Outcome(serve(status=500).replies, "close", ({},)),
        # The application can tell by CONTENT_LENGTH, or gets an error from read().
        serve(end="close"),
        *(Outcome((one,), "close") for one in refuse(408).replies),
    ),
)
