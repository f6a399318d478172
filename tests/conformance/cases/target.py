"""Request target: RFC 9112 section 3.2, RFC 3986, RFC 9110 sections 4.2 and 7."""

from __future__ import annotations

from ..model import (
    MUST_400,
    REFUSED,
    Category,
    Check,
    Outcome,
    get,
    one_of,
    refuse,
    req,
    serve,
)

CATEGORY = Category("request line")
case = CATEGORY.case


def path(info: str, query: str = "", **more: Check) -> Outcome:
    """Served with this PATH_INFO and QUERY_STRING, and these further environ values."""
    return serve({"PATH_INFO": info, "QUERY_STRING": one_of(query, query or None), **more})


# --- origin-form

case("root", get(), path("/"), "RFC 9112 3.2.1", "the plain case")
case(
    "decoded-once",
    get(target=b"/a%2520b"),
    path("/a%20b"),
    "PEP 3333 environ; RFC 3986 2.4",
    "percent-decoding happens exactly once",
)
case(
    "space-escape",
    get(target=b"/a%20b"),
    path("/a b"),
    "RFC 3986 2.1",
    "PATH_INFO is the decoded path",
)
case(
    "slash-escape",
    get(target=b"/a%2Fb%2fc"),
    path("/a/b/c"),
    "RFC 3875 4.1.5",
    "an escaped slash decodes like any other octet; RFC 3875 lets a server refuse it",
    also=REFUSED,
)
case("plus", get(target=b"/a+b"), path("/a+b"), "RFC 3986 2.2", "plus is no space in a path")
case(
    "params",
    get(target=b"/a;p=1/b;q"),
    path("/a;p=1/b;q"),
    "RFC 3986 3.3",
    "path parameters belong to the path",
)
case(
    "query",
    get(target=b"/p?x=1&y=%20+z"),
    path("/p", "x=1&y=%20+z"),
    "RFC 3875 4.1.7",
    "QUERY_STRING stays undecoded",
)
case("query-empty", get(target=b"/p?"), path("/p"), "RFC 3986 3.4", "an empty query is a query")
case(
    "query-question-mark",
    get(target=b"/p?a?b/c"),
    path("/p", "a?b/c"),
    "RFC 3986 3.4",
    "only the first question mark divides",
)
case(
    "query-encoded-question-mark",
    get(target=b"/p%3Fx=1"),
    path("/p?x=1"),
    "RFC 3986 2.2",
    "an escaped question mark is part of the path",
)
case(
    "utf8-escape",
    get(target=b"/caf%C3%A9"),
    path("/caf\xc3\xa9"),
    "PEP 3333 unicode",
    "the octets of the path as Latin-1 text",
)
case(
    "latin1-escape",
    get(target=b"/%E9%ff"),
    path("/\xe9\xff"),
    "PEP 3333 unicode",
    "octets that are no UTF-8 stay what they are",
)
case(
    "nul-escape",
    get(target=b"/a%00b"),
    path("/a\x00b"),
    "RFC 3875 4.1.5; RFC 3986 7.3",
    "%00 decodes to its octet; a server may refuse it",
    also=REFUSED,
)
case(
    "crlf-escape",
    get(target=b"/a%0d%0aX:%20y"),
    path("/a\r\nX: y"),
    "RFC 3986 2.1",
    "escaped line ends are data",
    also=REFUSED,
)
for name, target, info in (
    ("bad-escape", b"/a%zzb", "/a%zzb"),
    ("short-escape", b"/a%2", "/a%2"),
    ("lone-percent", b"/100%", "/100%"),
    ("half-bad-escape", b"/%4G%41", "/%4GA"),
    ("percent-before-escape", b"/%%41", "/%A"),
):
    case(
        name,
        get(target=target),
        path(info),
        "RFC 3986 2.1",
        "an invalid escape stays as it is; refusing it is as good",
        also=REFUSED,
    )
case(
    "dot-segments",
    get(target=b"/a/../b/./c"),
    path("/a/../b/./c"),
    "RFC 9110 7.1",
    "normalising is not the server's business; doing it is permitted",
    also=(serve({"PATH_INFO": "/b/c"}), *REFUSED),
)
case(
    "double-slash",
    get(target=b"//a//b"),
    path("//a//b"),
    "RFC 9112 3.2.1",
    "two slashes at the start are no authority in origin-form",
)
case(
    "double-slash-host-like",
    get(target=b"//evil.example/x"),
    path("//evil.example/x"),
    "RFC 9112 3.2.1",
    "origin-form starts with a slash, so there is no authority in it",
)
case(
    "colon-in-path",
    get(target=b"/http://other/x"),
    path("/http://other/x"),
    "RFC 9112 3.2.1",
    "a URI inside a path is path",
)
case(
    "sub-delims",
    get(target=b"/-._~!$&'()*+,;=:@"),
    path("/-._~!$&'()*+,;=:@"),
    "RFC 3986 3.3",
    "every character that a path may hold",
)
case(
    "raw-target",
    get(target=b"/a%20b?x=%41"),
    path("/a b", "x=%41", RAW_URI="/a%20b?x=%41", REQUEST_URI="/a%20b?x=%41"),
    "contract 1",
    "the undecoded target is there for who needs it",
    also=path("/a b", "x=%41"),
)

# --- absolute-form

case(
    "absolute",
    req(b"GET http://other:81/p?x HTTP/1.1"),
    path("/p", "x", HTTP_HOST="other:81"),
    "RFC 9112 3.2.2",
    "a server MUST accept absolute-form and MUST take its host over the Host field",
)
case(
    "absolute-no-path",
    req(b"GET http://other HTTP/1.1"),
    path("/", HTTP_HOST="other"),
    "RFC 9112 3.2.2; RFC 9110 4.2.3",
    "an empty path is /",
)
case(
    "absolute-query-no-path",
    req(b"GET http://other?x=1 HTTP/1.1"),
    path("/", "x=1", HTTP_HOST="other"),
    "RFC 3986 3.3",
    "the path may be empty before a query",
)
case(
    "absolute-upper-case",
    req(b"GET HTTP://other/p HTTP/1.1"),
    path("/p", HTTP_HOST="other"),
    "RFC 3986 3.1",
    "schemes are case-insensitive",
)
case(
    "absolute-https",
    req(b"GET https://other/p HTTP/1.1"),
    (path("/p", HTTP_HOST="other"), refuse(400, 421)),
    "RFC 9112 3.2.2; RFC 9110 7.4",
    "another scheme is served, or refused as misdirected",
    also=(path("/p"), *REFUSED),
)
case(
    "absolute-ipv6",
    req(b"GET http://[::1]:81/p HTTP/1.1"),
    path("/p", HTTP_HOST="[::1]:81"),
    "RFC 3986 3.2.2",
    "an IP literal holds colons",
)
case(
    "absolute-empty-port",
    req(b"GET http://other:/p HTTP/1.1"),
    path("/p", HTTP_HOST=one_of("other:", "other")),
    "RFC 3986 3.2.3",
    "a port may be empty",
)
case(
    "absolute-no-host-field",
    req(b"GET http://other/p HTTP/1.1", host=None),
    refuse(),
    "RFC 9112 3.2",
    "HTTP/1.1 needs its Host field with absolute-form, too",
    also=MUST_400,
)
for name, target in (
    ("absolute-userinfo", b"http://user@other/p"),
    ("absolute-no-authority", b"http:///p"),
    ("absolute-bad-port", b"http://other:8x/p"),
    ("absolute-space-host", b"http://oth er/p"),
):
    case(
        name,
        req(b"GET " + target + b" HTTP/1.1"),
        refuse(),
        "RFC 9110 4.2.1 and 4.2.4; RFC 3986 3.2",
        "this is no http URI to serve",
        # userinfo SHOULD be treated as an error; the others break the grammar.
        also=(*REFUSED, *((path("/p"),) if name == "absolute-userinfo" else ())),
    )

# --- asterisk-form, authority-form

case(
    "options-asterisk",
    req(b"OPTIONS * HTTP/1.1"),
    path("*", REQUEST_METHOD="OPTIONS"),
    "RFC 9112 3.2.4",
    "OPTIONS * asks about the server; PATH_INFO says so",
    also=(path("/*"), path(""), path("/"), serve(end="any"), Outcome(serve().replies, "any")),
)
case(
    "get-asterisk",
    req(b"GET * HTTP/1.1"),
    refuse(),
    "RFC 9112 3.2.4",
    "asterisk-form is for OPTIONS alone",
    also=REFUSED,
)
case(
    "options-asterisk-more",
    req(b"OPTIONS *x HTTP/1.1"),
    refuse(),
    "RFC 9112 3.2",
    "none of the four forms",
    also=REFUSED,
)
case(
    "connect",
    req(b"CONNECT other:443 HTTP/1.1"),
    refuse(501),
    "RFC 9110 9.3.6",
    "this server is no proxy; an origin server MAY accept it",
    also=(*REFUSED, serve(end="any")),
)
case(
    "authority-form-get",
    req(b"GET other:443 HTTP/1.1"),
    refuse(400, 501),
    "RFC 9112 3.2.3",
    "authority-form is for CONNECT alone",
    also=REFUSED,
)
case(
    "connect-origin-form",
    req(b"CONNECT /p HTTP/1.1"),
    refuse(400, 501),
    "RFC 9112 3.2.3",
    "CONNECT takes authority-form",
    also=REFUSED,
)
case(
    "relative-target",
    req(b"GET p HTTP/1.1"),
    refuse(),
    "RFC 9112 3.2",
    "a target without a slash is none of the four forms",
    also=REFUSED,
)
case(
    "query-only-target",
    req(b"GET ?x HTTP/1.1"),
    refuse(),
    "RFC 9112 3.2.1",
    "origin-form has an absolute path",
    also=REFUSED,
)
case(
    "empty-target",
    req(b"GET  HTTP/1.1"),
    refuse(),
    "RFC 9112 3",
    "the target is missing",
    also=REFUSED,
)

# --- bytes that no target may hold

for name, target in (
    ("fragment", b"/p#f"),
    ("tab-in-target", b"/a\tb"),
    ("nul-in-target", b"/a\x00b"),
    ("del-in-target", b"/a\x7fb"),
    ("control-in-target", b"/a\x01b"),
    ("high-byte-in-target", b"/caf\xe9"),
    ("utf8-in-target", b"/caf\xc3\xa9"),
    ("space-in-target", b"/a b"),
    ("cr-in-target", b"/a\rb"),
):
    # Raw octets above 127 are out of the grammar, but widely taken; a recipient may.
    taken = name in ("high-byte-in-target", "utf8-in-target", "fragment")
    case(
        name,
        get(target=target),
        refuse(),
        "RFC 9112 3.2; RFC 3986 2",
        "no character of a URI",
        also=(*REFUSED, *((serve(),) if taken else ())),
    )
