"""HEAD, and statuses without a body: RFC 9110 sections 9.3.2, 8.6 and 15, RFC 9112 section 6.3."""

from __future__ import annotations

from ..model import (
    DROP,
    ERROR_500,
    REFUSALS,
    Category,
    Outcome,
    Reply,
    absent,
    codes,
    get,
    one_of,
    refuse,
    req,
    serve,
)
from .ask import ask, jsonask, respond

CATEGORY = Category("HEAD and bodiless")
case = CATEGORY.case

HEAD = {"method": "HEAD"}
LENGTH = {"content-length": "5"}
MAY_LENGTH = {"content-length": one_of("5", None)}


def bodiless(status: int, **reply: object) -> Outcome:
    """One response without any body."""
    return serve(status=status, body=b"", coding="none", **reply)


# --- HEAD

case(
    "head",
    req(b"HEAD /head HTTP/1.1"),
    bodiless(200, fields={"content-length": "6"}),
    "RFC 9110 9.3.2",
    "the fields of GET, nothing of its body",
    also=bodiless(200),
)
case(
    "head-computed-length",
    respond("hello", **HEAD),
    bodiless(200, fields=LENGTH),
    "RFC 9110 9.3.2; contract 4",
    "the length that GET would have, computed as for GET",
    also=bodiless(200, fields=MAY_LENGTH),
)
case(
    "head-own-length",
    respond(headers=[["Content-Length", "1000"]], **HEAD),
    bodiless(200, fields={"content-length": "1000"}),
    "RFC 9110 8.6",
    "an application may save itself the body and still tell its length",
    # Leaving it out is permitted; another value is not.
    also=bodiless(200, fields={"content-length": one_of("1000", None)}),
)
case(
    "head-own-length-with-body",
    respond("hello", headers=[["Content-Length", "5"]], kind="closing", **HEAD),
    serve({"closed": 1}, body=b"", coding="none", fields=LENGTH),
    "RFC 9110 9.3.2; PEP 3333 handling of close",
    "the body is not sent, its iterable still closed",
    also=serve({"closed": 1}, body=b"", coding="none", fields=MAY_LENGTH),
)
case(
    "head-streamed",
    respond("a", "b", kind="closing", **HEAD),
    serve(
        {"closed": 1},
        body=b"",
        coding="none",
        fields={"content-length": absent, "transfer-encoding": one_of(None, "chunked")},
    ),
    "RFC 9112 6.1",
    "no chunk framing; the field may tell what GET would get",
    also=serve({"closed": 1}, body=b"", coding="none"),
)
case(
    "head-written",
    respond(write=["written"], kind="closing", **HEAD),
    serve({"closed": 1}, body=b"", coding="none"),
    "RFC 9110 9.3.2",
    "write() sends nothing either",
)
case(
    "head-large",
    respond({"fill": 200000}, kind="closing", **HEAD),
    serve({"closed": 1}, body=b"", coding="none"),
    "RFC 9110 9.3.2",
    "however long it is",
)
case(
    "head-error-status",
    respond("hello", status="404 Not Found", **HEAD),
    bodiless(404, fields=MAY_LENGTH),
    "RFC 9110 9.3.2",
    "whatever the status",
)
case(
    "head-file",
    jsonask("file", {"size": 1000}, method="HEAD"),
    serve({"closed": 1}, body=b"", coding="none"),
    "RFC 9110 9.3.2; PEP 3333 optional file handling",
    "a file is not sent, and closed",
)
case(
    "head-1.0",
    respond("hello", version="1.0", **HEAD),
    bodiless(200, end="close"),
    "RFC 9110 9.3.2",
    "in HTTP/1.0 as well",
)
case(
    "head-1.0-keep-alive-streamed",
    respond("a", "b", kind="closing", version="1.0", fields=(b"Connection: keep-alive",), **HEAD),
    serve({"closed": 1}, end="any", body=b"", coding="none", fields={"transfer-encoding": absent}),
    "RFC 9112 6.1",
    "no Transfer-Encoding for HTTP/1.0, not even as a field",
)
case(
    "head-application-error",
    respond(**{"raise": "ValueError"}, **HEAD),
    Outcome((Reply(codes(500), body=b"", coding="none"),), "any", ({},)),
    "RFC 9110 9.3.2",
    "an error page has no body either",
)
case(
    "head-refused",
    req(b"HEAD / HTTP/1.1", b"Bad Name: 1"),
    refuse(head=True),
    "RFC 9110 9.3.2",
    "a refusal of HEAD has no body either",
    also=(
        DROP,
        Outcome((Reply(REFUSALS, body=b"", coding="none"),), "any"),
        # Refused before it is known to be HEAD: all that comes ends with the connection.
        Outcome((Reply(REFUSALS, body=b""),), "garbage"),
    ),
)
case(
    "head-lower-case-is-not-head",
    req(b"head / HTTP/1.1"),
    refuse(501),
    "RFC 9110 9.1",
    "methods are case-sensitive",
    also=(
        serve({"REQUEST_METHOD": "head"}),
        Outcome((Reply(codes(400, 405, 501)),), "any"),
        Outcome((), "close"),
    ),
    methods=("GET",),
)

# --- 204, 304 and the like

case(
    "204",
    respond(status="204 No Content", headers=[]),
    bodiless(204, fields={"content-length": absent, "transfer-encoding": absent}),
    "RFC 9110 8.6; RFC 9112 6.1",
    "neither Content-Length nor Transfer-Encoding MUST be sent in 204",
)
case(
    "204-with-body",
    respond("body", status="204 No Content", headers=[]),
    bodiless(204, fields={"content-length": absent, "transfer-encoding": absent}),
    "RFC 9110 15.3.5",
    "what the application adds is dropped",
    also=ERROR_500,
)
case(
    "204-streamed",
    respond("a", "b", status="204 No Content", headers=[], kind="closing"),
    serve(
        {"closed": 1},
        status=204,
        body=b"",
        coding="none",
        fields={"content-length": absent, "transfer-encoding": absent},
    ),
    "RFC 9112 6.1",
    "no chunk framing, and the iterable is closed",
    also=ERROR_500,
)
case(
    "204-with-length",
    respond(status="204 No Content", headers=[["Content-Length", "0"]]),
    bodiless(204, fields={"content-length": absent}),
    "RFC 9110 8.6",
    "a server MUST NOT send Content-Length in 204, even 0, even if asked",
    also=ERROR_500,
)
case(
    "204-written",
    respond(status="204 No Content", headers=[], write=["body"]),
    bodiless(204, fields={"content-length": absent, "transfer-encoding": absent}),
    "RFC 9110 15.3.5",
    "write() sends nothing either",
    also=ERROR_500,
)
case(
    "304",
    respond(status="304 Not Modified", headers=[["ETag", '"x"']]),
    bodiless(304, fields={"etag": '"x"'}),
    "RFC 9110 15.4.5",
    "no body, the fields stay",
)
case(
    "304-with-body",
    respond("body", status="304 Not Modified", headers=[]),
    bodiless(304, fields={"transfer-encoding": absent}),
    "RFC 9110 15.4.5",
    "what the application adds is dropped",
    also=(bodiless(304), ERROR_500),
)
case(
    "304-with-length",
    respond(status="304 Not Modified", headers=[["Content-Length", "1234"]]),
    bodiless(304, fields={"content-length": one_of("1234", None)}),
    "RFC 9110 8.6",
    "the length is the one that 200 would have; it may stay or go",
)
case(
    "304-streamed",
    respond("a", "b", status="304 Not Modified", headers=[], kind="closing"),
    serve({"closed": 1}, status=304, body=b"", coding="none"),
    "RFC 9112 6.3 (1)",
    "ends with its head, and the iterable is closed",
    also=ERROR_500,
)
case(
    "head-204",
    respond(status="204 No Content", headers=[], **HEAD),
    bodiless(204, fields={"content-length": absent, "transfer-encoding": absent}),
    "RFC 9110 8.6",
    "both at once",
)
case(
    "head-304",
    respond("body", status="304 Not Modified", headers=[], **HEAD),
    bodiless(304),
    "RFC 9110 15.4.5",
    "both at once",
    also=ERROR_500,
)
case(
    "204-in-1.0",
    respond("body", status="204 No Content", headers=[], version="1.0"),
    bodiless(204, end="close"),
    "RFC 9110 15.3.5",
    "in HTTP/1.0 as well",
    also=ERROR_500,
)
case(
    "204-in-1.0-keep-alive",
    respond(
        status="204 No Content",
        headers=[],
        version="1.0",
        fields=(b"Connection: keep-alive",),
    ),
    bodiless(204, fields={"connection": lambda found: str(found).lower() == "keep-alive"}),
    "RFC 9112 9.3",
    "the length is known to be none, so the connection may stay",
    also=bodiless(204, end="close"),
)

# --- 205, and bodies of no length

case(
    "205",
    respond(status="205 Reset Content", headers=[]),
    serve(status=205, body=b""),
    "RFC 9110 15.3.6",
    "no content, but framed like any other",
)
case(
    "205-with-body",
    respond("body", status="205 Reset Content", headers=[]),
    serve(status=205, body=b""),
    "RFC 9110 15.3.6",
    "a server MUST NOT generate content in 205",
    also=ERROR_500,
)
case(
    "205-streamed",
    respond("a", "b", status="205 Reset Content", headers=[], kind="closing"),
    serve({"closed": 1}, status=205, body=b""),
    "RFC 9110 15.3.6",
    "nor piece by piece",
    also=ERROR_500,
)
case(
    "200-empty-list",
    respond(headers=[]),
    serve(body=b"", fields={"content-length": "0"}),
    "RFC 9110 8.6; contract 4",
    "a length of nothing is a length",
    also=serve(body=b""),
)
case(
    "200-empty-generator",
    respond(kind="closing", headers=[]),
    serve({"closed": 1}, body=b""),
    "RFC 9112 6.3",
    "an empty body is framed as well",
)
case(
    "200-only-empty-blocks",
    respond("", "", "", kind="closing", headers=[]),
    serve({"closed": 1}, body=b""),
    "PEP 3333 specification details",
    "empty blocks must not end a chunked body",
)
case(
    "not-bodiless-after-head",
    respond("a", **HEAD) + get(target=b"/b") + respond("c", **HEAD) + get(target=b"/d"),
    Outcome(
        tuple(Reply(codes(200), body=body) for body in (b"", b"/b\n", b"", b"/d\n")),
        "keep",
        ({},) * 4,
    ),
    "RFC 9110 9.3.2",
    "each method frames its own response",
    methods=("HEAD", "GET", "HEAD", "GET"),
)
case(
    "options-has-body",
    ask("echo", body=b"hello", method="OPTIONS"),
    serve(body=b"hello"),
    "RFC 9110 9.3.7",
    "only HEAD is without",
)
