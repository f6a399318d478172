"""Header section: RFC 9112 section 5, RFC 9110 section 5, CGI's names (RFC 3875 section 4.1.18)."""

from __future__ import annotations

from ..model import (
    MUST_400,
    REFUSED,
    Category,
    Check,
    Outcome,
    absent,
    get,
    one_of,
    post,
    refuse,
    req,
    serve,
)

CATEGORY = Category("header section")
case = CATEGORY.case


def field(**saw: Check) -> Outcome:
    """Served, and the application saw these environ values."""
    return serve(saw)


# --- values

case(
    "plain",
    get(b"X-Plain: value"),
    field(HTTP_X_PLAIN="value"),
    "RFC 3875 4.1.18",
    "name upper-case, dashes to underscores, HTTP_ in front",
)
case(
    "name-case",
    get(b"x-pLaIn: value"),
    field(HTTP_X_PLAIN="value"),
    "RFC 9110 5.1",
    "names are case-insensitive",
)
case(
    "no-space-after-colon",
    get(b"X-A:v"),
    field(HTTP_X_A="v"),
    "RFC 9112 5",
    "white space behind the colon is optional",
)
case(
    "white-space-around",
    get(b"X-A: \t  v w \t "),
    field(HTTP_X_A="v w"),
    "RFC 9112 5.1",
    "leading and trailing white space is no part of the value",
)
case(
    "inner-white-space",
    get(b"X-A: v \t  w"),
    field(HTTP_X_A="v \t  w"),
    "RFC 9110 5.5",
    "white space inside of the value stays",
)
case(
    "empty-value",
    get(b"X-A:"),
    field(HTTP_X_A=""),
    "RFC 9110 5.5",
    "a value may be empty",
)
case(
    "blank-value",
    get(b"X-A:  \t "),
    field(HTTP_X_A=""),
    "RFC 9112 5.1",
    "nothing but white space is an empty value",
)
case(
    "colon-in-value",
    get(b"X-A: b: c:d"),
    field(HTTP_X_A="b: c:d"),
    "RFC 9112 5",
    "the first colon divides",
)
case(
    "leading-colon-in-value",
    get(b"X-A::b"),
    field(HTTP_X_A=":b"),
    "RFC 9112 5",
    "the first colon divides",
)
case(
    "latin1-value",
    get(b"X-A: caf\xe9"),
    field(HTTP_X_A="caf\xe9"),
    "RFC 9110 5.5; PEP 3333 unicode",
    "obs-text SHOULD be treated as opaque data",
    also=REFUSED,
)
case(
    "utf8-value",
    get(b"X-A: \xe2\x98\x83 \x80\xff"),
    field(HTTP_X_A="\xe2\x98\x83 \x80\xff"),
    "RFC 9110 5.5; PEP 3333 unicode",
    "the octets as Latin-1 text, whatever they meant",
    also=REFUSED,
)
case(
    "all-visible-value",
    get(b"X-A: " + bytes(range(0x21, 0x7F))),
    field(HTTP_X_A=bytes(range(0x21, 0x7F)).decode()),
    "RFC 9110 5.5",
    "every visible character is a value's",
)
case(
    "all-token-name",
    get(b"X!#$%&'*+.^`|~09: v"),
    serve({"HTTP_X!#$%&'*+.^`|~09": "v"}),
    "RFC 9110 5.1",
    "a name is a token, strange as it may be",
    # gunicorn and others leave out or refuse what makes no variable name.
    also=(serve(), *REFUSED),
)
case(
    "long-name",
    get(b"X-" + b"a" * 200 + b": v"),
    serve({"HTTP_X_" + "A" * 200: "v"}),
    "RFC 9110 5.4",
    "no limit is near",
)

# --- repeated fields

case(
    "repeated",
    get(b"X-A: 1", b"X-B: x", b"x-a: 2", b"X-A: 3"),
    field(HTTP_X_A="1, 2, 3", HTTP_X_B="x"),
    "RFC 9110 5.2; RFC 3875 4.1.18",
    "joined in order, by comma and optional white space",
    also=field(HTTP_X_A="1,2,3", HTTP_X_B="x"),
)
case(
    "repeated-empty",
    get(b"X-A:", b"X-A: 2"),
    field(HTTP_X_A=", 2"),
    "RFC 9110 5.3 and 5.6.1",
    "an empty list element may stay or go",
    also=field(HTTP_X_A=one_of(",2", "2", ", 2")),
)
case(
    "repeated-cookie",
    get(b"Cookie: a=1", b"Cookie: b=2"),
    field(HTTP_COOKIE="a=1; b=2"),
    "RFC 9113 8.2.3; RFC 6265 5.4",
    "a cookie string is divided by semicolons, so a comma would change it",
    also=(field(HTTP_COOKIE=one_of("a=1;b=2", "a=1, b=2", "a=1,b=2")), *REFUSED),
)
case(
    "repeated-content-type",
    post(b"Content-Type: text/plain", b"Content-Type: text/html", b"Content-Length: 0"),
    refuse(),
    "RFC 9110 5.3 and 8.3",
    "a singleton field twice says two things",
    also=(*REFUSED, serve()),
)
case(
    "repeated-content-type-equal",
    post(b"Content-Type: text/plain", b"Content-Type: text/plain", b"Content-Length: 0"),
    refuse(),
    "RFC 9110 5.3 and 8.3",
    "a singleton field twice, even if equal",
    also=(*REFUSED, serve()),
)

# --- names that CGI treats in its own way

case(
    "content-type",
    post(b"Content-Type: text/x", b"Content-Length: 0"),
    field(CONTENT_TYPE="text/x", CONTENT_LENGTH="0", HTTP_CONTENT_TYPE=absent),
    "RFC 3875 4.1.3",
    "Content-Type and Content-Length have their own names, and no twin",
    also=field(CONTENT_TYPE="text/x", CONTENT_LENGTH=one_of("0", "")),
)
case(
    "proxy",
    get(b"Proxy: http://evil.example"),
    field(HTTP_PROXY=absent),
    "RFC 3875 4.1.18 (CVE-2016-5385)",
    "HTTP_PROXY means something to programs that read their environment",
    also=(field(), *REFUSED),
)
case(
    "proxy-mixed-case",
    get(b"pRoXy: http://evil.example"),
    field(HTTP_PROXY=absent),
    "RFC 3875 4.1.18 (CVE-2016-5385)",
    "in any case",
    also=(field(), *REFUSED),
)
case(
    "underscore-dropped",
    get(b"X_A: 1"),
    field(HTTP_X_A=absent),
    "contract 2",
    "X_A would be read as X-A",
    also=(field(), *REFUSED),
)
case(
    "underscore-does-not-win",
    get(b"X-A: real", b"X_A: forged"),
    field(HTTP_X_A="real"),
    "RFC 3875 4.1.18",
    "two fields must not be confused; joining them is what the letter of CGI asks for",
    also=(field(HTTP_X_A=one_of("real,forged", "real, forged")), *REFUSED),
)
case(
    "underscore-first-does-not-win",
    get(b"X_A: forged", b"X-A: real"),
    field(HTTP_X_A="real"),
    "RFC 3875 4.1.18",
    "whatever the order",
    also=(field(HTTP_X_A=one_of("forged,real", "forged, real")), *REFUSED),
)
case(
    "underscore-content-length",
    get(b"Content_Length: 5"),
    field(CONTENT_LENGTH=one_of(None, ""), HTTP_CONTENT_LENGTH=absent),
    "RFC 9112 6.3",
    "Content_Length is no framing field and must not look like one",
    also=(field(CONTENT_LENGTH=one_of(None, "")), *REFUSED),
)
case(
    "underscore-content-type",
    post(b"Content_Type: text/evil", b"Content-Length: 0"),
    field(CONTENT_TYPE=one_of(None, "")),
    "RFC 3875 4.1.3",
    "nor is Content_Type a media type",
    also=REFUSED,
)
case(
    "underscore-refused",
    get(b"X_A: 1"),
    refuse(),
    "contract 2 (header_map)",
    "header_map = refuse answers 400",
    config="refuse",
    own=True,
)
case(
    "underscore-kept",
    get(b"X_A: 1"),
    field(HTTP_X_A="1"),
    "contract 2 (header_map)",
    "header_map = dangerous keeps it",
    config="dangerous",
    own=True,
)
case(
    "underscore-kept-content-length",
    get(b"Content_Length: 5"),
    field(CONTENT_LENGTH=one_of(None, "")),
    "RFC 9112 6.3",
    "even header_map = dangerous does not turn it into framing",
    config="dangerous",
    own=True,
)
case(
    "dash-name-refuse-mode",
    get(b"X-A: 1"),
    field(HTTP_X_A="1"),
    "contract 2 (header_map)",
    "header_map = refuse has nothing against dashes",
    config="refuse",
    own=True,
)

# --- line ends and folding

for name, section in (
    ("bare-lf", b"Host: h\nX-A: 1\r\n\r\n"),
    ("bare-lf-all", b"Host: h\nX-A: 1\n\n"),
    ("bare-lf-at-end", b"Host: h\r\nX-A: 1\r\n\n"),
    ("bare-lf-last-field", b"Host: h\r\nX-A: 1\n\r\n"),
):
    case(
        name,
        b"GET /p HTTP/1.1\r\n" + section,
        refuse(),
        "RFC 9112 2.2",
        "a bare LF may be taken as a line end; here it is refused",
        also=(*REFUSED, serve({"PATH_INFO": "/p"})),
    )
for name, section in (
    ("bare-cr", b"Host: h\rX-A: 1\r\n\r\n"),
    ("bare-cr-in-value", b"Host: h\r\nX-A: 1\r2\r\n\r\n"),
    ("bare-cr-before-crlf", b"Host: h\r\nX-A: 1\r\r\n\r\n"),
    ("bare-cr-line", b"Host: h\r\n\rX-A: 1\r\n\r\n"),
    ("bare-cr-in-name", b"Host: h\r\nX-\rA: 1\r\n\r\n"),
):
    # RFC 9112 2.2: invalid, or each bare CR replaced by a space before anything else.
    replaced = {
        "bare-cr": (),
        "bare-cr-in-value": (field(HTTP_X_A="1 2"),),
        "bare-cr-before-crlf": (field(HTTP_X_A="1"),),
    }.get(name, ())
    case(
        name,
        b"GET /p HTTP/1.1\r\n" + section,
        refuse(),
        "RFC 9112 2.2",
        "a bare CR MUST be invalid or replaced by a space",
        also=(*REFUSED, *replaced),
    )
for name, section in (
    ("obs-fold-space", b"X-A: 1\r\n 2"),
    ("obs-fold-tab", b"X-A: 1\r\n\t2"),
    ("obs-fold-empty", b"X-A:\r\n 1"),
):
    value = "1" if name == "obs-fold-empty" else "1 2"
    case(
        name,
        get(section),
        refuse(),
        "RFC 9112 5.2",
        "folding MUST be refused with 400 or replaced by spaces",
        also=(
            *MUST_400,
            field(HTTP_X_A=lambda found, value=value: " ".join(str(found).split()) == value),
        ),
    )
case(
    "obs-fold-first-line",
    b"GET /p HTTP/1.1\r\n Host: h\r\n\r\n",
    refuse(),
    "RFC 9112 2.2",
    "white space between the request line and the first field MUST be refused or its lines ignored",
    also=REFUSED,
)
case(
    "blank-first-line",
    b"GET /p HTTP/1.1\r\n \r\nHost: h\r\n\r\n",
    refuse(),
    "RFC 9112 2.2",
    "as above; ignoring such lines is permitted",
    also=(*REFUSED, serve({"PATH_INFO": "/p"})),
)
case(
    "obs-fold-whole-line-blank",
    get(b"X-A: 1\r\n "),
    refuse(),
    "RFC 9112 5.2",
    "a fold of nothing is a fold",
    also=(*MUST_400, field(HTTP_X_A="1")),
)

# --- malformed lines

for name, section in (
    ("space-before-colon", b"X-A : 1"),
    ("tab-before-colon", b"X-A\t: 1"),
    ("space-before-colon-known", b"Accept : */*"),
):
    case(
        name,
        get(section),
        refuse(),
        "RFC 9112 5.1",
        "white space between name and colon MUST be refused with 400",
        also=MUST_400,
    )
for name, section in (
    ("no-colon", b"X-A"),
    ("no-colon-with-space", b"X-A 1"),
    ("empty-name", b": 1"),
    ("only-colon", b":"),
    ("space-in-name", b"X A: 1"),
    ("name-parenthesis", b"X(A): 1"),
    ("name-slash", b"X/A: 1"),
    ("name-at", b"X@A: 1"),
    ("name-quote", b'"X-A": 1'),
    ("name-brackets", b"X[0]: 1"),
    ("name-semicolon", b"X;A: 1"),
    ("name-comma", b"X,A: 1"),
    ("name-equals", b"X=A: 1"),
    ("name-braces", b"X{A}: 1"),
    ("name-backslash", b"X\\A: 1"),
    ("name-latin1", b"X-caf\xe9: 1"),
    ("name-nul", b"X-\x00A: 1"),
    ("name-control", b"X-\x1fA: 1"),
    ("name-del", b"X-\x7fA: 1"),
    ("name-leading-control", b"\x0bX-A: 1"),
):
    case(
        name,
        get(section),
        refuse(),
        "RFC 9112 5; RFC 9110 5.1",
        "a field line is a token, a colon and a value",
        also=REFUSED,
    )
for name, octet in (
    ("nul", b"\x00"),
    ("soh", b"\x01"),
    ("backspace", b"\x08"),
    ("vertical-tab", b"\x0b"),
    ("form-feed", b"\x0c"),
    ("escape", b"\x1b"),
    ("del", b"\x7f"),
):
    kept = (serve(),) if octet != b"\x00" else (field(HTTP_X_A="a b"),)
    case(
        "value-" + name,
        get(b"X-A: a" + octet + b"b"),
        refuse(),
        "RFC 9110 5.5",
        # NUL MUST be refused or replaced by SP; other controls are invalid, but may be retained.
        "control characters are invalid in a value",
        also=(*REFUSED, *kept),
    )
case(
    "value-only-nul",
    get(b"X-A: \x00"),
    refuse(),
    "RFC 9110 5.5",
    "NUL MUST be refused or replaced by SP",
    also=(*REFUSED, field(HTTP_X_A="")),
)
case(
    "value-leading-vertical-tab",
    get(b"X-A:\x0bv"),
    refuse(),
    "RFC 9110 5.5 and 5.6.3",
    "white space is SP and HTAB, nothing else",
    also=(*REFUSED, serve({"HTTP_X_A": lambda found: found != "v"})),
)
case(
    "no-fields-1.0",
    req(b"GET /p HTTP/1.0", host=None),
    serve({"PATH_INFO": "/p", "HTTP_HOST": absent}, end="close"),
    "RFC 9112 3.2",
    "HTTP/1.0 may do without any field",
)
case(
    "same-block-again",
    get(b"X-A: 1", b"Accept: */*", target=b"/one") + get(b"X-A: 1", b"Accept: */*", target=b"/two"),
    serve(
        {"PATH_INFO": "/one", "HTTP_X_A": "1", "HTTP_ACCEPT": "*/*"},
        {"PATH_INFO": "/two", "HTTP_X_A": "1", "HTTP_ACCEPT": "*/*"},
    ),
    "RFC 9110 3.7",
    "a repeated header block means the same again, for another target",
)
case(
    "nearly-same-block",
    get(b"X-A: 1", b"Accept: */*") + get(b"X-A: 2", b"Accept: */*") + get(b"X-A: 1", b"Accept: x"),
    serve(
        {"HTTP_X_A": "1", "HTTP_ACCEPT": "*/*"},
        {"HTTP_X_A": "2", "HTTP_ACCEPT": "*/*"},
        {"HTTP_X_A": "1", "HTTP_ACCEPT": "x"},
    ),
    "RFC 9110 3.7",
    "each request has its own fields",
)
case(
    "shorter-block-after",
    get(b"X-A: 1", b"X-B: 2") + get() + get(b"X-A: 1"),
    serve(
        {"HTTP_X_A": "1", "HTTP_X_B": "2"},
        {"HTTP_X_A": absent, "HTTP_X_B": absent},
        {"HTTP_X_A": "1", "HTTP_X_B": absent},
    ),
    "RFC 9110 3.7",
    "nothing of an earlier request is left over",
)
case(
    "same-block-other-method",
    get(b"X-A: 1", target=b"/a?q") + req(b"POST /b HTTP/1.0", b"X-A: 1"),
    serve(
        {"REQUEST_METHOD": "GET", "QUERY_STRING": "q", "SERVER_PROTOCOL": "HTTP/1.1"},
        {
            "REQUEST_METHOD": "POST",
            "QUERY_STRING": one_of("", None),
            "SERVER_PROTOCOL": "HTTP/1.0",
            "HTTP_X_A": "1",
        },
        end="close",
    ),
    "RFC 9110 3.7",
    "method, query and version are the request line's",
)
