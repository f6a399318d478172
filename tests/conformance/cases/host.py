"""Host: RFC 9112 section 3.2, RFC 9110 section 7.2, RFC 3986 section 3.2."""

from __future__ import annotations

from ..model import MUST_400, REFUSED, Category, absent, get, one_of, refuse, req, serve

CATEGORY = Category("Host")
case = CATEGORY.case

LINE = b"GET /p HTTP/1.1"

case(
    "missing",
    req(LINE, host=None),
    refuse(),
    "RFC 9112 3.2",
    "HTTP/1.1 without Host MUST be refused with 400",
    also=MUST_400,
)
case(
    "missing-with-others",
    req(LINE, b"X-Host: h", b"Forwarded: host=h", host=None),
    refuse(),
    "RFC 9112 3.2",
    "no other field stands in for it",
    also=MUST_400,
)
case(
    "missing-in-1.0",
    req(b"GET /p HTTP/1.0", host=None),
    serve({"HTTP_HOST": absent}, end="close"),
    "RFC 9112 3.2",
    "HTTP/1.0 had no Host",
)
case(
    "sent-in-1.0",
    req(b"GET /p HTTP/1.0", host=b"old:80"),
    serve({"HTTP_HOST": "old:80"}, end="close"),
    "RFC 9112 3.2",
    "it may be sent all the same",
)
case(
    "missing-on-second",
    get() + req(LINE, host=None),
    serve() + refuse(),
    "RFC 9112 3.2",
    "each request needs its own",
    also=tuple(serve() + one for one in MUST_400),
)
for name, fields in (
    ("repeated", (b"Host: h", b"Host: other")),
    ("repeated-equal", (b"Host: h", b"Host: h")),
    ("repeated-other-case", (b"HOST: h", b"host: other")),
    ("repeated-apart", (b"Host: h", b"X-A: 1", b"Host: other")),
    ("repeated-empty", (b"Host: h", b"Host:")),
    ("repeated-with-absolute", (b"Host: h", b"Host: h")),
):
    line = b"GET http://h/p HTTP/1.1" if name == "repeated-with-absolute" else LINE
    case(
        name,
        req(line, *fields, host=None),
        refuse(),
        "RFC 9112 3.2",
        "more than one Host field MUST be refused with 400",
        also=MUST_400,
    )
case(
    "repeated-in-1.0",
    req(b"GET /p HTTP/1.0", b"Host: a", b"Host: b", host=None),
    refuse(),
    "RFC 9112 3.2",
    "in HTTP/1.0, too",
    also=MUST_400,
)
for name, value in (
    ("name", b"example.com"),
    ("name-port", b"example.com:8080"),
    ("upper-case", b"Example.COM"),
    ("ipv4", b"127.0.0.1"),
    ("ipv4-port", b"127.0.0.1:80"),
    ("ipv6", b"[::1]"),
    ("ipv6-port", b"[2001:db8::7]:80"),
    ("underscore", b"my_host"),
    ("trailing-dot", b"example.com."),
    ("sub-delims", b"a!$&'()*+,;=b"),
    ("escape", b"ex%41mple"),
    ("single-letter", b"x"),
    ("digits", b"12345"),
):
    case(
        "valid-" + name,
        req(LINE, host=value),
        serve({"HTTP_HOST": value.decode()}),
        "RFC 9110 7.2; RFC 3986 3.2.2",
        "uri-host with an optional port",
        # Names that no resolver knows may be refused as misdirected.
        also=REFUSED if name in ("sub-delims", "escape", "underscore", "trailing-dot") else (),
    )
case(
    "valid-empty-port",
    req(LINE, host=b"example.com:"),
    serve({"HTTP_HOST": one_of("example.com:", "example.com")}),
    "RFC 3986 3.2.3",
    "a port may be empty",
)
case(
    "valid-white-space-around",
    req(LINE, host=b"  h:1\t "),
    serve({"HTTP_HOST": "h:1"}),
    "RFC 9112 5.1",
    "white space around the value is not part of it",
)
case(
    "empty",
    req(LINE, host=b""),
    (serve({"HTTP_HOST": ""}), refuse()),
    "RFC 9112 3.2; RFC 9110 4.2.1",
    "an empty Host is for targets without an authority; http URIs have one",
    also=(serve(), *MUST_400),
)
for name, value in (
    ("two-words", b"a b"),
    ("tab-inside", b"a\tb"),
    ("slash", b"a/b"),
    ("path", b"h/p"),
    ("query", b"h?x"),
    ("fragment", b"h#f"),
    ("userinfo", b"user@h"),
    ("backslash", b"a\\b"),
    ("quote", b'"h"'),
    ("angle", b"<h>"),
    ("port-letters", b"h:http"),
    ("port-negative", b"h:-1"),
    ("port-plus", b"h:+80"),
    ("two-ports", b"h:1:2"),
    ("ipv6-bare", b"::1"),
    ("ipv6-open", b"[::1"),
    ("ipv6-closed", b"::1]"),
    ("ipv6-behind", b"[::1]x"),
    ("ipv6-letters", b"[::zz]"),
    ("brackets-empty", b"[]"),
    ("latin1", b"caf\xe9"),
    ("nul", b"a\x00b"),
    ("url", b"http://h/"),
    ("bad-escape", b"h%zz"),
    ("caret", b"a^b"),
    ("pipe", b"a|b"),
    ("braces", b"{h}"),
):
    case(
        "invalid-" + name,
        req(LINE, host=value),
        refuse(),
        "RFC 9112 3.2",
        "an invalid Host field value MUST be refused with 400",
        also=MUST_400,
    )
case(
    "list",
    req(LINE, host=b"a, b"),
    refuse(),
    "RFC 9112 3.2",
    "a comma and a space: no host has a space",
    also=MUST_400,
)
case(
    "host-only-port",
    req(LINE, host=b":80"),
    refuse(),
    "RFC 9110 4.2.1",
    "an http URI with an empty host is invalid",
    also=(*MUST_400, serve()),
)
case(
    "not-first",
    req(LINE, b"X-A: 1", b"Host: last", host=None),
    serve({"HTTP_HOST": "last"}),
    "RFC 9110 5.3",
    "the order of fields with different names does not matter",
)
case(
    "server-name-is-not-host",
    req(LINE, host=b"client.example:99"),
    serve(
        {
            "HTTP_HOST": "client.example:99",
            "SERVER_NAME": lambda found: found not in ("client.example", None, ""),
            "SERVER_PORT": lambda found: found not in ("99", None, ""),
        }
    ),
    "contract 5; RFC 3875 4.1.14",
    "the client does not name the server here",
    # CGI lets the server derive both from the request.
    also=serve(),
)
case(
    "folded",
    b"GET /p HTTP/1.1\r\nHost: h\r\n x\r\n\r\n",
    refuse(),
    "RFC 9112 5.2 and 3.2",
    "a folded Host is invalid either way",
    also=MUST_400,
)
