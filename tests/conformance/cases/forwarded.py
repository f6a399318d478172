"""What trusted proxies say of a client, and what others try: contract 7, RFC 7239."""

from __future__ import annotations

from collections.abc import Mapping

from ..model import Category, Check, Outcome, absent, get, holds, lacks, refuse, serve

CATEGORY = Category("forwarded fields", config="following")

CLIENT = b"192.0.2.7"
FOLLOWED: Mapping[str, Check] = {
    "REMOTE_ADDR": "192.0.2.7",
    "wsgi.url_scheme": "https",
    "HTTP_HOST": "shop.example:8443",
    "SERVER_PORT": "8443",
    "SCRIPT_NAME": "/shop",
    "PATH_INFO": "/",
}
ALL = (
    b"X-Forwarded-For: " + CLIENT,
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: shop.example:8443",
    b"X-Forwarded-Port: 8443",
    b"X-Forwarded-Prefix: /shop",
)
SCHEME = "wsgi.url_scheme"
PLAIN = {SCHEME: "http"}
SECURE = {SCHEME: "https"}


def case(
    name: str,
    fields: bytes | tuple[bytes, ...],
    outcome: Outcome | Mapping[str, Check],
    why: str,
    *,
    rule: str = "contract 7",
    config: str | None = None,
    target: bytes = b"/",
    unix: bool = True,
) -> None:
    """Add a case of one GET with these fields."""
    CATEGORY.case(
        name,
        get(*((fields,) if isinstance(fields, bytes) else fields), target=target),
        outcome if isinstance(outcome, Outcome) else serve(outcome),
        rule,
        why,
        config=config,
        own=True,
        unix=unix,
    )


case("all", ALL, FOLLOWED, "the peer is trusted, and all of it is to be followed")
case(
    "all-by-default",
    ALL,
    {
        "REMOTE_ADDR": lambda found: found != "192.0.2.7",
        SCHEME: "https",
        "HTTP_HOST": "h",
        "SERVER_PORT": lambda found: found != "8443",
        "SCRIPT_NAME": "",
        "HTTP_X_FORWARDED_FOR": "192.0.2.7",
        "HTTP_X_FORWARDED_PREFIX": "/shop",
    },
    "the scheme alone is followed by default; the environ shows every field as it came",
    config="default",
)
case(
    "all-of-a-stranger",
    ALL,
    {
        "REMOTE_ADDR": "127.0.0.1",
        SCHEME: "http",
        "HTTP_HOST": "h",
        "SERVER_PORT": lambda found: found != "8443",
        "SCRIPT_NAME": "",
        "HTTP_X_FORWARDED_FOR": "192.0.2.7",
    },
    "from a peer that is not trusted they change nothing",
    config="following-nobody",
    unix=False,
)
case(
    "all-over-a-unix-socket",
    ALL,
    {SCHEME: lambda found: found in ("http", "https")},
    "a unix socket has no address: its peer is trusted always",
    config="following-nobody",
)

# --- the scheme, as gunicorn has it

for name, fields, seen in (
    ("proto", b"X-Forwarded-Proto: https", SECURE),
    ("proto-http", b"X-Forwarded-Proto: http", PLAIN),
    ("proto-other", b"X-Forwarded-Proto: wss", PLAIN),
    ("proto-capitals", b"X-Forwarded-Proto: HTTPS", PLAIN),
    ("proto-empty", b"X-Forwarded-Proto:", PLAIN),
    ("protocol", b"X-Forwarded-Protocol: ssl", SECURE),
    ("ssl", b"X-Forwarded-Ssl: on", SECURE),
    ("ssl-off", b"X-Forwarded-SSL: off", PLAIN),
):
    case(name, fields, seen, "compared as it is; every other value means http", config="default")
case(
    "agree",
    (b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: on", b"X-Forwarded-Protocol: ssl"),
    SECURE,
    "three fields that say the same",
    config="default",
)
for name, fields in (
    ("proto-ssl", (b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: off")),
    ("ssl-proto", (b"X-Forwarded-Ssl: on", b"X-Forwarded-Proto: http")),
    ("proto-twice", (b"X-Forwarded-Proto: http", b"X-Forwarded-Proto: https")),
    ("proto-protocol", (b"X-Forwarded-Proto: http", b"X-Forwarded-Protocol: ssl")),
):
    case(
        "contradictory-" + name,
        fields,
        refuse(400),
        "fields that contradict each other are refused, as in gunicorn",
        config="default",
    )
    case(
        "contradictory-of-a-stranger-" + name,
        fields,
        PLAIN,
        "from a stranger they are not even read",
        config="following-nobody",
        unix=False,
    )
case(
    "custom-scheme",
    b"X-Front-End: tls",
    SECURE,
    "secure_scheme_headers may name any field",
    config="following-custom",
)
case(
    "custom-scheme-other-value",
    b"X-Front-End: plain",
    PLAIN,
    "any other value means http",
    config="following-custom",
)
case(
    "custom-scheme-not-the-usual",
    b"X-Forwarded-Proto: https",
    PLAIN,
    "secure_scheme_headers replaces the usual ones",
    config="following-custom",
)

# --- chains

for name, value, address in (
    ("one", b"192.0.2.7", "192.0.2.7"),
    ("through-a-proxy", b"192.0.2.7, 127.0.0.1", "192.0.2.7"),
    ("through-many", b"192.0.2.7,127.0.0.1 , ::1,\t127.0.0.1", "192.0.2.7"),
    ("forged", b"10.0.0.1, 192.0.2.7", "192.0.2.7"),
    ("forged-trusted", b"127.0.0.1, 192.0.2.7", "192.0.2.7"),
    ("forged-behind-a-proxy", b"10.0.0.1, 192.0.2.7, 127.0.0.1", "192.0.2.7"),
    ("all-trusted", b"127.0.0.1, ::1", "127.0.0.1"),
    ("port", b"192.0.2.7:4711", "192.0.2.7"),
    ("v6", b"2001:db8::7", "2001:db8::7"),
    ("v6-long", b"2001:0DB8:0:0:0:0:0:7", "2001:db8::7"),
    ("v6-brackets", b"[2001:db8::7]", "2001:db8::7"),
    ("v6-port", b"[2001:db8::7]:4711", "2001:db8::7"),
    ("mapped-proxy", b"192.0.2.7, ::ffff:127.0.0.1", "192.0.2.7"),
    ("empty-elements", b"192.0.2.7, ,, 127.0.0.1,", "192.0.2.7"),
    ("garbage-left", b"<script>, 192.0.2.7", "192.0.2.7"),
    ("unknown-behind-a-proxy", b"unknown, ::1", "::1"),
):
    case(
        "for-" + name,
        b"X-Forwarded-For: " + value,
        {"REMOTE_ADDR": address},
        "read from the right, as far as trusted proxies have written it",
    )
case(
    "for-port-known",
    b"X-Forwarded-For: 192.0.2.7:4711",
    {"REMOTE_ADDR": "192.0.2.7", "REMOTE_PORT": "4711"},
    "the port that the proxy names",
)
case(
    "for-port-unknown",
    b"X-Forwarded-For: 192.0.2.7",
    {"REMOTE_ADDR": "192.0.2.7", "REMOTE_PORT": ""},
    "the port of the proxy's connection is not the client's",
)
for name, value in (
    ("garbage", b"unknown"),
    ("empty", b""),
    ("commas", b", ,"),
    ("octal", b"0300.0.2.7"),
    ("short", b"192.0.2"),
    ("long", b"192.0.2.7.8"),
    ("large", b"192.0.2.256"),
    ("huge", b"192.0.2.99999999999999999999"),
    ("port-large", b"192.0.2.7:65536"),
    ("port-missing", b"192.0.2.7:"),
    ("v6-port-bare", b"[2001:db8::7]4711"),
    ("v6-open", b"[2001:db8::7"),
    ("v6-zone", b"fe80::1%eth0"),
    ("v6-longest", b"1:" * 500 + b":"),
    ("text", b"localhost"),
    ("quotes", b'"192.0.2.7"'),
):
    case(
        "for-nobody-" + name,
        b"X-Forwarded-For: " + value,
        {"REMOTE_ADDR": "127.0.0.1"},
        "what is no address names nobody: who was last known stays",
        unix=False,
    )
case(
    "for-two-fields",
    (b"X-Forwarded-For: 10.0.0.1, 192.0.2.7", b"X-Forwarded-For: 127.0.0.1"),
    {"REMOTE_ADDR": "192.0.2.7"},
    "several fields are one list",
    rule="RFC 9110 5.3",
)
case(
    "for-a-thousand",
    b"X-Forwarded-For: 192.0.2.7" + b",127.0.0.1" * 800,
    {"REMOTE_ADDR": "192.0.2.7"},
    "as many proxies as a field holds",
)
for name, proto, address, seen in (
    ("client", b"https, http", b"192.0.2.7, 127.0.0.1", SECURE),
    ("client-http", b"http, https", b"192.0.2.7, 127.0.0.1", PLAIN),
    ("forged", b"https, http", b"192.0.2.7", PLAIN),
    ("forged-longer", b"https, https, http, http", b"192.0.2.7, 127.0.0.1", PLAIN),
    ("shorter", b"https, http", b"192.0.2.7, 127.0.0.1, 127.0.0.1", SECURE),
    ("alone", b"https, http", b"", PLAIN),
):
    case(
        "proto-list-" + name,
        (b"X-Forwarded-Proto: " + proto, b"X-Forwarded-For: " + address),
        seen,
        "of a list, what the proxy said that the client was connected to",
    )
case(
    "host-list-forged",
    (b"X-Forwarded-Host: evil.example, shop.example", b"X-Forwarded-For: 192.0.2.7"),
    {"HTTP_HOST": "shop.example"},
    "what the client has written stands left of what the proxy says",
)
case(
    "host-list-client",
    (b"X-Forwarded-Host: shop.example, inner", b"X-Forwarded-For: 192.0.2.7, 127.0.0.1"),
    {"HTTP_HOST": "shop.example"},
    "the proxy that the client was connected to tells the host",
)
for name, value in (
    ("path", b"a/b"),
    ("userinfo", b"a@b"),
    ("space", b"a b"),
    ("port", b"a:99999"),
    ("brackets", b"[::1"),
    ("markup", b"<a>"),
):
    case(
        "host-invalid-" + name,
        b"X-Forwarded-Host: " + value,
        refuse(400),
        "a host by the rules of Host, or a refusal",
        rule="RFC 9110 7.2; contract 7",
    )
for name, value in (
    ("zero", b"0"),
    ("large", b"65536"),
    ("sign", b"+80"),
    ("text", b"http"),
    ("long", b"000080"),
):
    case(
        "port-invalid-" + name,
        b"X-Forwarded-Port: " + value,
        refuse(400),
        "a number from 1 to 65535, or a refusal",
    )
for name, value, script in (
    ("slash-at-end", b"/shop/", "/shop"),
    ("root", b"/", ""),
    ("escaped", b"/a%20b", "/a b"),
    ("deep", b"/a/b", "/a/b"),
    ("list", b"/a, /b/", "/b"),
    ("empty", b"", ""),
):
    case(
        "prefix-" + name,
        b"X-Forwarded-Prefix: " + value,
        {"SCRIPT_NAME": script, "PATH_INFO": "/x"},
        "what the proxy has taken from the front of the path",
        target=b"/x",
    )
case(
    "prefix-of-each-proxy",
    (b"X-Forwarded-Prefix: /evil, /a, /b", b"X-Forwarded-For: 192.0.2.7, 127.0.0.1"),
    {"SCRIPT_NAME": "/a/b", "PATH_INFO": "/"},
    "each proxy takes its part; of trusted ones they are joined",
)
for name, fields in (
    ("host", (b"X-Forwarded-Prefix: //evil.example",)),
    ("relative", (b"X-Forwarded-Prefix: shop",)),
    ("query", (b"X-Forwarded-Prefix: /a?b",)),
    ("markup", (b'X-Forwarded-Prefix: /"><a>',)),
    ("url", (b"X-Forwarded-Prefix: http://evil.example/",)),
    ("twice", (b"X-Forwarded-Prefix: /a", b"X-Forwarded-Prefix: /b")),
):
    case(
        "prefix-invalid-" + name,
        (*fields, b"X-Forwarded-For: 192.0.2.7, 127.0.0.1, ::1"),
        refuse(400),
        "a path, or a refusal; //host would lead a browser elsewhere",
    )

# --- Forwarded

for name, value, seen in (
    ("all", b"for=192.0.2.7;proto=https;host=shop.example:8443;by=_x", FOLLOWED),
    ("case", b"For=192.0.2.7;PROTO=HTTPS", {"REMOTE_ADDR": "192.0.2.7", **SECURE}),
    ("spaces", b"for=192.0.2.7 ;\tproto=https", {"REMOTE_ADDR": "192.0.2.7", **SECURE}),
    ("quoted", b'for="192.0.2.7:47";proto="https"', {"REMOTE_PORT": "47", **SECURE}),
    ("v6", b'for="[2001:db8::7]:47"', {"REMOTE_ADDR": "2001:db8::7", "REMOTE_PORT": "47"}),
    ("v6-bare", b"for=[2001:db8::7]", {"REMOTE_ADDR": "2001:db8::7"}),
    ("chain", b"for=192.0.2.7;proto=https, for=127.0.0.1;proto=http", {**SECURE}),
    ("forged", b"for=10.0.0.1;proto=https, for=192.0.2.7", {"REMOTE_ADDR": "192.0.2.7", **PLAIN}),
    ("forged-quoted", b'for="10.0.0.1, x", for=192.0.2.7', {"REMOTE_ADDR": "192.0.2.7"}),
    ("hidden", b"for=_gazonk, for=127.0.0.1", {"REMOTE_ADDR": "127.0.0.1"}),
    ("escaped", b'for="\\1.2.3.4", for=127.0.0.1', {"REMOTE_ADDR": "127.0.0.1"}),
    ("other-scheme", b"proto=wss", PLAIN),
    ("empty-elements", b", for=192.0.2.7;;, ,", {"REMOTE_ADDR": "192.0.2.7"}),
    ("extension", b'for=192.0.2.7;secret="a;b,c=\\"d"', {"REMOTE_ADDR": "192.0.2.7"}),
):
    shown = {key: check for key, check in seen.items() if key != "SCRIPT_NAME"}
    case(
        "rfc7239-" + name,
        b"Forwarded: " + value,
        shown,
        "read as X-Forwarded-* are, by its own syntax",
        rule="RFC 7239 4",
    )
case(
    "rfc7239-two-fields",
    (b"Forwarded: for=10.0.0.1, for=192.0.2.7", b"Forwarded: for=127.0.0.1;proto=https"),
    {"REMOTE_ADDR": "192.0.2.7", **PLAIN},
    "several fields are one list",
    rule="RFC 7239 4",
)
for name, fields in (
    ("open-quote", (b'Forwarded: for=", for=192.0.2.7',)),
    ("open-quote-in-one-of-two", (b'Forwarded: for="', b"Forwarded: for=192.0.2.7")),
    ("escape-at-end", (b'Forwarded: for="\\',)),
    ("no-value", (b"Forwarded: for=, for=192.0.2.7",)),
    ("no-equals", (b"Forwarded: for",)),
    ("repeated", (b"Forwarded: for=192.0.2.7;for=10.0.0.1",)),
    ("space", (b"Forwarded: for = 192.0.2.7",)),
    ("behind-a-quote", (b'Forwarded: for="192.0.2.7"x',)),
    ("host", (b"Forwarded: for=192.0.2.7;host=a/b",)),
    ("host-escaped", (b'Forwarded: for=192.0.2.7;host="a\\b"',)),
):
    case(
        "rfc7239-malformed-" + name,
        fields,
        refuse(400),
        "what is malformed might hide what a proxy has added behind it",
        rule="RFC 7239 4; contract 7",
    )
for name, fields in (
    ("for", (b"X-Forwarded-For: 192.0.2.7", b"Forwarded: for=192.0.2.8")),
    ("proto", (b"X-Forwarded-Proto: http", b"Forwarded: proto=https")),
    ("proto-too", (b"Forwarded: proto=http", b"X-Forwarded-Ssl: on")),
    ("host", (b"X-Forwarded-Host: a.example", b"Forwarded: host=b.example")),
):
    case(
        "both-contradictory-" + name,
        fields,
        refuse(400),
        "one of them is the client's, and nobody knows which",
    )
case(
    "both-agree",
    (*ALL, b'Forwarded: for="192.0.2.7:1";proto=https;host=SHOP.example:8443'),
    FOLLOWED,
    "they say the same",
)
case(
    "both-the-rest",
    (b"X-Forwarded-For: 192.0.2.7", b"Forwarded: host=evil.example;proto=https"),
    {"HTTP_HOST": "h", **PLAIN},
    "where X-Forwarded-* is used, Forwarded has no say of its own",
)

# --- forwarder headers, names with an underscore

case(
    "script-name",
    b"SCRIPT_NAME: /shop",
    {"SCRIPT_NAME": "/shop", "PATH_INFO": "/x y", "HTTP_SCRIPT_NAME": "/shop"},
    "it stands in front of the path, as in gunicorn",
    target=b"/shop/x%20y",
)
case(
    "script-name-elsewhere",
    b"SCRIPT_NAME: /shop",
    Outcome(serve(status=404).replies, "keep"),
    "a path that is not below it is nobody's",
    target=b"/shopping",
)
case(
    "script-name-of-a-stranger",
    b"SCRIPT_NAME: /shop",
    {"SCRIPT_NAME": "", "PATH_INFO": "/shop/x", "HTTP_SCRIPT_NAME": absent},
    "from a stranger it is dropped like every name with an underscore",
    target=b"/shop/x",
    config="following-nobody",
    unix=False,
)
case(
    "script-name-despite-refuse",
    b"SCRIPT_NAME: /shop",
    {"SCRIPT_NAME": "/shop", "PATH_INFO": "/"},
    "header_map is not for what a trusted proxy may send",
    target=b"/shop/",
    config="following-refuse",
)
for name, fields in (
    ("host", (b"SCRIPT_NAME: //evil.example",)),
    ("relative", (b"SCRIPT_NAME: shop",)),
    ("twice", (b"SCRIPT_NAME: /a", b"Script_Name: /b")),
):
    case("script-name-invalid-" + name, fields, refuse(400), "one path, or a refusal")
case(
    "path-info-is-shown",
    (b"PATH_INFO: /x", b"REMOTE_USER: root"),
    {"PATH_INFO": "/", "HTTP_PATH_INFO": "/x", "HTTP_REMOTE_USER": absent, "REMOTE_USER": absent},
    "forwarder_headers are shown as HTTP_ keys, and no others",
)
case(
    "underscores-do-not-forward",
    (b"X_Forwarded_For: 192.0.2.7", b"X_Forwarded_Proto: https"),
    {"REMOTE_ADDR": lambda found: found != "192.0.2.7", **PLAIN, "HTTP_X_FORWARDED_FOR": absent},
    "another name than X-Forwarded-For",
)
case(
    "names-with-more",
    (b"X-Forwarded-Fo: 192.0.2.7", b"X-Forwarded-For2: 192.0.2.7", b"X-Forwarded-Protos: https"),
    {"REMOTE_ADDR": lambda found: found != "192.0.2.7", **PLAIN},
    "another name than X-Forwarded-For",
)

# --- one after the other on one connection

CATEGORY.case(
    "each-request-anew",
    get(*ALL) + get(*ALL) + get(*ALL) + get(b"X-Forwarded-For: 192.0.2.8") + get() + get(*ALL),
    serve(
        FOLLOWED,
        FOLLOWED,
        FOLLOWED,
        {"REMOTE_ADDR": "192.0.2.8", "wsgi.url_scheme": "http", "SCRIPT_NAME": ""},
        {"REMOTE_ADDR": lambda found: found not in ("192.0.2.7", "192.0.2.8"), "HTTP_HOST": "h"},
        FOLLOWED,
    ),
    "contract 7",
    "nothing of one request shows in the next, and a repeated head says the same again",
    own=True,
)
CATEGORY.case(
    "remembered-behind-another-line",
    b"".join(get(*ALL, target=b"/" + b"x" * n) for n in (1, 1, 1, 30, 2, 300, 1)),
    serve(*({**FOLLOWED, "PATH_INFO": "/" + "x" * n} for n in (1, 1, 1, 30, 2, 300, 1))),
    "contract 7",
    "a header block that is remembered says the same behind another request line",
    own=True,
)
case(
    "absolute-target",
    ALL,
    {"HTTP_HOST": "shop.example:8443", "RAW_URI": holds("h.example")},
    "X-Forwarded-Host tells of the client's request, the target of the proxy's",
    target=b"http://h.example/",
)
case(
    "no-query-in-the-host",
    b"X-Forwarded-Host: a.example?b",
    refuse(400),
    "a host by the rules of Host, or a refusal",
)
case(
    "prefix-keeps-the-path",
    b"X-Forwarded-Prefix: /shop",
    {"SCRIPT_NAME": "/shop", "PATH_INFO": "/shop/x", "RAW_URI": lacks("/shop/shop")},
    "the proxy has taken it away: what is left is the application's",
    target=b"/shop/x",
)
