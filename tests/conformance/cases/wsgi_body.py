"""PEP 3333: the iterable, write(), and the framing of what they give."""

from __future__ import annotations

from ..model import (
    ERROR_500,
    Category,
    Gate,
    Outcome,
    Reply,
    absent,
    codes,
    one_of,
    serve,
)
from .ask import ask, respond

CATEGORY = Category("WSGI response body")
case = CATEGORY.case

RULE = "PEP 3333 specification details"
STREAM = "PEP 3333 buffering and streaming"
TOLD = (ERROR_500, Outcome((), "close", ({},)))
CUT = serve(body=b"", cut=True, end="close")

# --- iterables

for kind in ("list", "tuple", "sized"):
    case(
        "kind-" + kind,
        respond("one ", "two ", "three", kind=kind),
        serve(body=b"one two three", fields={"content-length": "13"})
        if kind != "sized"
        else serve({"closed": 1}, body=b"one two three"),
        RULE + "; contract 4",
        "any iterable of bytes; the length of a list or tuple can be told",
        also=serve(body=b"one two three", end="any"),
    )
for kind in ("generator", "iterator", "sequence", "closing"):
    case(
        "kind-" + kind,
        respond("one ", "two ", "three", kind=kind),
        serve(body=b"one two three", coding="chunked"),
        RULE + "; contract 4",
        "of unknown length, so chunked",
        also=serve(body=b"one two three", end="any"),
    )
    case(
        f"kind-{kind}-1.0",
        respond("one ", "two ", "three", kind=kind, version="1.0"),
        serve(body=b"one two three", end="close", fields={"transfer-encoding": absent}),
        "RFC 9112 6.1",
        "HTTP/1.0 knows no chunks: the body ends with the connection",
    )
case(
    "one-block",
    respond("block"),
    serve(body=b"block", fields={"content-length": "5"}),
    "PEP 3333 handling the Content-Length header",
    "a list of one block has a known length",
    also=serve(body=b"block"),
)
case(
    "empty-list",
    respond(),
    serve(body=b""),
    RULE,
    "no block is an empty body",
)
case(
    "empty-iterator",
    respond(kind="iterator"),
    serve(body=b""),
    RULE,
    "no block is an empty body",
)
case(
    "empty-blocks-between",
    respond("", "a", "", "", "b", "", kind="closing"),
    serve({"closed": 1}, body=b"ab"),
    RULE,
    "empty blocks are not sent; a chunk of nothing would end the body",
)
case(
    "empty-blocks-in-list",
    respond("", "a", "", "b", ""),
    serve(body=b"ab"),
    RULE,
    "empty blocks add nothing to the length",
)
case(
    "binary",
    respond("\x00\x01\xff\r\n0\r\n\r\n", kind="closing"),
    serve({"closed": 1}, body=b"\x00\x01\xff\r\n0\r\n\r\n"),
    RULE,
    "blocks are octets",
)
case(
    "large-block",
    respond({"fill": 1000000}),
    serve(body=b"x" * 1000000),
    RULE,
    "of any length",
    ways="wt",
)
case(
    "large-blocks",
    respond(*({"fill": 200000} for _ in range(5)), kind="closing"),
    serve({"closed": 1}, body=b"x" * 1000000),
    RULE,
    "of any length, one after the other",
    ways="wt",
)
case(
    "many-blocks",
    respond("b", repeat=1500, kind="closing"),
    serve({"closed": 1}, body=b"b" * 1500),
    RULE,
    "as many as there are",
    ways="wt",
)
case(
    "bytes-subclass",
    respond({"bytes-subclass": "block"}, kind="closing"),
    (serve({"closed": 1}, body=b"block"), Outcome((Reply(codes(500)),), "any", ({"closed": 1},))),
    "PEP 3333 string types",
    "a subclass of bytes is bytes in Python",
    also=TOLD,
)
for kind in ("bytes", "str", "none", "int", "dict"):
    tolerated: tuple[Outcome, ...] = ()
    if kind in ("bytes", "none"):
        # Taken as one block, or as nothing, a well-formed response comes of it.
        tolerated = (serve(body=one_of(b"bare bytes", b""), end="any"),)
    if kind == "dict":
        tolerated = (serve(body=b"key", end="any"),)
    case(
        "returns-" + kind,
        respond(kind=kind),
        Outcome((Reply(codes(500)),), "any", ({},))
        if kind != "dict"
        else (serve(body=b"key"), Outcome((Reply(codes(500)),), "any", ({},))),
        RULE + "; contract 4",
        "what is no iterable of bytes is the application's error",
        also=(*TOLD, CUT, *tolerated),
        ways="wp",
    )
for name, block in (
    ("str", {"str": "text"}),
    ("int", {"int": 5}),
    ("none", {"none": 0}),
    ("bytearray", {"bytearray": "block"}),
    ("memoryview", {"memoryview": "block"}),
    ("tuple", {"tuple": ["a"]}),
):
    harmless = name in ("bytearray", "memoryview", "none")
    case(
        "yields-" + name,
        respond(block, kind="closing"),
        Outcome((Reply(codes(500)),), "any", ({"closed": 1},)),
        RULE + "; contract 4",
        "blocks are bytes, nothing else",
        also=(
            *TOLD,
            serve(body=b"", cut=True, end="close"),
            *((serve(body=one_of(b"block", b""), end="any"),) if harmless else ()),
        ),
        ways="wp",
    )
    case(
        f"yields-{name}-later",
        respond("begin", block, kind="closing"),
        serve({"closed": 1}, body=b"begin", cut=True, end="close"),
        RULE + "; contract 4",
        "once the head is out, the client sees the truncation",
        also=(
            *TOLD,
            *((serve(body=one_of(b"beginblock", b"begin"), end="any"),) if harmless else ()),
        ),
        ways="wp",
    )
case(
    "yields-str-in-list",
    respond("begin", {"str": "text"}),
    (
        Outcome((Reply(codes(500)),), "any", ({},)),
        serve(body=one_of(b"", b"begin"), cut=True, end="close"),
    ),
    RULE + "; contract 4",
    "in a list as well",
    also=TOLD,
    ways="wp",
)

# --- streaming: each block is on its way before the next one is asked for

case(
    "block-by-block",
    (respond("first", {"gate": 0}, "second", kind="closing"), Gate(b"first")),
    serve({"closed": 1}, body=b"firstsecond"),
    STREAM,
    "a server must not delay a block until it asks for the next one",
    ways="wp",
)
case(
    "block-by-block-thrice",
    (
        respond("one", {"gate": 0}, "two", {"gate": 0}, "three", {"gate": 0}, kind="closing"),
        Gate(b"one"),
        Gate(b"onetwo"),
        Gate(b"onetwothree"),
    ),
    serve({"closed": 1}, body=b"onetwothree"),
    STREAM,
    "each of them",
    ways="wp",
)
case(
    "block-by-block-1.0",
    (respond("first", {"gate": 0}, "second", kind="closing", version="1.0"), Gate(b"first")),
    serve({"closed": 1}, body=b"firstsecond", end="close"),
    STREAM,
    "in HTTP/1.0 as well",
    ways="w",
)
case(
    "block-by-block-with-length",
    (
        respond("first", {"gate": 0}, "second", kind="closing", headers=[["Content-Length", "11"]]),
        Gate(b"first"),
    ),
    serve({"closed": 1}, body=b"firstsecond", coding="length"),
    STREAM,
    "with a length as well",
    ways="wp",
)
case(
    "block-by-block-iterator",
    (respond("first", {"gate": 0}, "second", kind="iterator"), Gate(b"first")),
    serve(body=b"firstsecond"),
    STREAM,
    "for any iterator",
    ways="w",
)
case(
    "write-is-sent",
    (ask("write-gated"), Gate(b"first")),
    serve({"closed": 1}, body=b"firstsecond"),
    "PEP 3333 the write() callable",
    "when write() returns, its data is on its way or a thread sends it",
    ways="wp",
)

# --- write()

WRITE = "PEP 3333 the write() callable"
case(
    "write",
    respond(write=["one ", "two"]),
    serve(body=b"one two"),
    WRITE,
    "data of write() is the body",
)
case(
    "write-then-iterate",
    respond("three", write=["one ", "two "], kind="closing"),
    serve({"closed": 1}, body=b"one two three"),
    WRITE,
    "what the iterable gives comes behind it",
)
case(
    "write-empty",
    respond("ok", write=["", ""]),
    serve(body=b"ok"),
    WRITE,
    "nothing written is nothing sent",
)
case(
    "write-with-length",
    respond("lo", write=["hel"], headers=[["Content-Length", "5"]]),
    serve(body=b"hello", coding="length"),
    WRITE,
    "both count against the length",
)
case(
    "write-large",
    respond(write=[{"fill": 300000}, "end"], kind="closing"),
    serve({"closed": 1}, body=b"x" * 300000 + b"end"),
    WRITE,
    "of any length",
    ways="wp",
)
case(
    "write-late",
    respond("two", write=["one "], late=1, kind="closing"),
    serve({"closed": 1}, body=b"one two"),
    WRITE,
    "from within the iteration as well",
)
case(
    "write-1.0",
    respond("two", write=["one "], kind="closing", version="1.0"),
    serve({"closed": 1}, body=b"one two", end="close", fields={"transfer-encoding": absent}),
    WRITE,
    "in HTTP/1.0 as well",
)
case(
    "write-str",
    ask("write-text"),
    Outcome((Reply(codes(500)),), "any", ({"note": "raised"},)),
    WRITE,
    "text is an error, and the application gets it",
    also=(*TOLD, CUT),
)
case(
    "write-then-error",
    respond(write=["begin"], raise_after="ValueError"),
    serve(body=b"begin", cut=True, end="close"),
    WRITE,
    "the head is out: the client sees the truncation",
    also=TOLD,
)
