"""PEP 3333: the environ."""

from __future__ import annotations

from ..model import (
    REFUSED,
    Category,
    Outcome,
    absent,
    get,
    one_of,
    post,
    present,
    req,
    serve,
)
from .ask import ask

CATEGORY = Category("WSGI environ")
case = CATEGORY.case

EMPTY = one_of("", None)
RULE = "PEP 3333 environ variables"


def digits(found: object) -> bool:
    """A string of decimal digits."""
    return isinstance(found, str) and found.isascii() and found.isdigit()


def truth(found: object) -> bool:
    """True or false, of whatever type."""
    return found in (True, False)


case(
    "types",
    ask("environ-types", "a=b", b"X-A: caf\xe9", b"Cookie: a=1"),
    serve({"note": ""}, body=b""),
    RULE,
    "a dict of the required keys, native strings of Latin-1 characters, streams with all methods",
)
case(
    "types-post",
    ask("environ-types", "", b"Content-Type: text/plain", body=b"hello"),
    serve({"note": ""}, body=b""),
    RULE,
    "for a request with a body as well",
)
case(
    "types-1.0",
    req(b"GET /wsgi/environ-types HTTP/1.0", host=None),
    serve({"note": ""}, end="close", body=b""),
    RULE,
    "for HTTP/1.0 without any field as well: SERVER_NAME and SERVER_PORT are never empty",
)
case(
    "request-method",
    post(b"Content-Length: 0"),
    serve({"REQUEST_METHOD": "POST"}),
    RULE,
    "as sent",
)
case(
    "path-info",
    get(target=b"/a/b"),
    serve({"PATH_INFO": "/a/b", "SCRIPT_NAME": EMPTY}),
    RULE,
    "the whole path, as the application is at the root",
)
case("path-info-root", get(), serve({"PATH_INFO": "/"}), RULE, "the root is /")
case(
    "path-bytes",
    get(target=b"/%E2%82%AC/%80"),
    serve({"PATH_INFO": "/\xe2\x82\xac/\x80"}),
    "PEP 3333 unicode issues",
    "octets as Latin-1 text, so that encode('latin-1') gives them back",
)
case(
    "query-string",
    get(target=b"/?a=%C3%A9&b=c+d"),
    serve({"QUERY_STRING": "a=%C3%A9&b=c+d"}),
    RULE,
    "undecoded, without the question mark",
)
case(
    "query-string-none",
    get(),
    serve({"QUERY_STRING": EMPTY}),
    RULE,
    "empty or absent",
)
case(
    "content-type",
    post(b"Content-Type: text/x; y=z", b"Content-Length: 0"),
    serve({"CONTENT_TYPE": "text/x; y=z"}),
    RULE,
    "as sent",
)
case(
    "content-type-none",
    post(b"Content-Length: 0"),
    serve({"CONTENT_TYPE": EMPTY}),
    RULE,
    "empty or absent, never invented",
)
case(
    "content-length-none",
    get(),
    serve({"CONTENT_LENGTH": EMPTY}),
    RULE,
    "empty or absent",
    also=serve({"CONTENT_LENGTH": "0"}),
)
case(
    "server-protocol",
    get(),
    serve({"SERVER_PROTOCOL": "HTTP/1.1"}),
    RULE,
    "the protocol that the client used",
)
case(
    "server-protocol-1.0",
    req(b"GET / HTTP/1.0"),
    serve({"SERVER_PROTOCOL": "HTTP/1.0"}, end="close"),
    RULE,
    "the protocol that the client used",
)
case(
    "server-name-port",
    get(),
    serve(
        {"SERVER_NAME": lambda found: bool(found), "SERVER_PORT": digits},
    ),
    RULE,
    "never empty; the port is a number",
)
case(
    "remote-addr",
    get(),
    serve({"REMOTE_ADDR": "127.0.0.1"}),
    "RFC 3875 4.1.8",
    "the client's address without its port",
    also=serve({"REMOTE_ADDR": absent}),
    unix=False,
)
case(
    "remote-port",
    get(),
    serve({"REMOTE_PORT": digits}),
    "contract 5",
    "the client's port, as text",
    also=serve(),
    unix=False,
)
case(
    "wsgi-version",
    get(),
    serve({"wsgi.version": lambda found: found == [1, 0]}),
    RULE,
    "the tuple (1, 0)",
)
case("wsgi-scheme", get(), serve({"wsgi.url_scheme": "http"}), RULE, "a string")
case(
    "wsgi-scheme-not-by-header",
    get(b"X-Scheme: https", b"X-Forwarded-Scheme: https"),
    serve({"wsgi.url_scheme": "http"}),
    RULE,
    "the client has no say in it",
)
case(
    "wsgi-flags",
    get(),
    serve({"wsgi.multithread": truth, "wsgi.multiprocess": truth, "wsgi.run_once": truth}),
    RULE,
    "true or false",
)
case(
    "wsgi-run-once",
    get(),
    serve({"wsgi.run_once": lambda found: not found}),
    RULE,
    "the application is called again and again",
)
case(
    "wsgi-flags-single",
    get(),
    serve({"wsgi.multithread": False, "wsgi.multiprocess": False}),
    "contract 5",
    "truthful: one thread in one process",
    also=serve(),
)
case(
    "wsgi-input-terminated",
    get(),
    serve({"wsgi.input_terminated": True}),
    "contract 5",
    "reading to the end is safe",
    also=serve(),
)
case(
    "wsgi-file-wrapper",
    get(),
    serve({"wsgi.file_wrapper": present}),
    "PEP 3333 optional platform-specific file handling",
    "offered",
    also=serve(),
)
case(
    "chunked-length",
    post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n"),
    serve({"CONTENT_LENGTH": "3", "HTTP_TRANSFER_ENCODING": absent, "body": b"abc"}),
    "contract 3",
    "applications that know only CONTENT_LENGTH can read it",
    also=serve({"body": b"abc"}),
)
case(
    "raw-uri",
    get(target=b"/%61?%62"),
    serve({"RAW_URI": "/%61?%62", "REQUEST_URI": "/%61?%62", "PATH_INFO": "/a"}),
    "contract 1",
    "the undecoded target",
    also=serve({"PATH_INFO": "/a"}),
)
for name, sent, key, value in (
    ("accept", b"Accept: text/html;q=0.5, */*", "HTTP_ACCEPT", "text/html;q=0.5, */*"),
    ("user-agent", b"User-Agent: x/1 (y; z)", "HTTP_USER_AGENT", "x/1 (y; z)"),
    ("cookie", b"Cookie: a=1; b=2", "HTTP_COOKIE", "a=1; b=2"),
    ("authorization", b"Authorization: Basic eDp5", "HTTP_AUTHORIZATION", "Basic eDp5"),
    ("referer", b"Referer: http://x/?y#z", "HTTP_REFERER", "http://x/?y#z"),
    ("if-none-match", b'If-None-Match: "a", W/"b"', "HTTP_IF_NONE_MATCH", '"a", W/"b"'),
    ("range", b"Range: bytes=0-1", "HTTP_RANGE", "bytes=0-1"),
    ("request-id", b"X-Request-ID: 1.2-3", "HTTP_X_REQUEST_ID", "1.2-3"),
    ("custom", b"X-Some-Thing: v", "HTTP_X_SOME_THING", "v"),
    ("numbers", b"X-1-2: v", "HTTP_X_1_2", "v"),
):
    case(
        "field-" + name,
        get(sent),
        serve({key: value}),
        RULE,
        "HTTP_, upper-case, underscores",
        # RFC 3875 4.1.18 lets a server keep credentials to itself.
        also=serve() if name == "authorization" else (),
    )
case(
    "field-latin1",
    get(b"X-A: \xe9\xff"),
    serve({"HTTP_X_A": "\xe9\xff"}),
    "PEP 3333 unicode issues",
    "octets as Latin-1 text",
    also=REFUSED,
)
case(
    "field-absent",
    get(),
    serve({"HTTP_COOKIE": absent, "HTTP_X_A": absent}),
    RULE,
    "what was not sent is not there",
)
case(
    "fresh-dict",
    ask("environ-keep") + ask("environ-keep") + get(target=b"/after"),
    serve(
        {"note": "", "probe.mark": absent},
        {"note": "", "probe.mark": absent, "HTTP_X_MARK": absent},
        {"PATH_INFO": "/after", "probe.mark": absent, "wsgi.version": present},
    ),
    "PEP 3333 specification details",
    "the application may change the environ as it likes; each request has its own",
)
case(
    "class-application",
    get(target=b"/class"),
    serve({"PATH_INFO": "/class", "closed": 1}),
    "PEP 3333 the application side",
    "a class is an application; its instance is the iterable, and is closed",
    config="class",
)
case(
    "class-application-body",
    post(b"Content-Length: 3", body=b"abc"),
    serve({"body": b"abc", "closed": 1}),
    "PEP 3333 the application side",
    "with a body as well",
    config="class",
)
case(
    "instance-application",
    get(target=b"/instance"),
    serve({"PATH_INFO": "/instance", "closed": 1}),
    "PEP 3333 the application side",
    "any callable is an application",
    config="instance",
)
for name, target, script, info in (
    ("path", b"/mnt/x/y", "/mnt", "/x/y"),
    ("slash", b"/mnt/", "/mnt", "/"),
    ("bare", b"/mnt", "/mnt", ""),
    ("escaped", b"/mnt/a%20b", "/mnt", "/a b"),
):
    case(
        "mounted-" + name,
        get(target=target),
        serve({"SCRIPT_NAME": script, "PATH_INFO": info}),
        "contract 5 (script_name); RFC 3875 4.1.13",
        "the prefix moves from PATH_INFO to SCRIPT_NAME",
        config="mounted",
        own=True,
    )
case(
    "every-request-anew",
    get(b"X-A: 1", target=b"/one?q=1")
    + post(b"Content-Length: 2", b"Content-Type: a/b", body=b"hi", target=b"/two")
    + get(target=b"/three"),
    serve(
        {"PATH_INFO": "/one", "QUERY_STRING": "q=1", "HTTP_X_A": "1", "CONTENT_TYPE": EMPTY},
        {"PATH_INFO": "/two", "QUERY_STRING": EMPTY, "HTTP_X_A": absent, "CONTENT_TYPE": "a/b"},
        {
            "PATH_INFO": "/three",
            "CONTENT_TYPE": EMPTY,
            "CONTENT_LENGTH": one_of("", None, "0"),
            "REQUEST_METHOD": "GET",
        },
    ),
    "PEP 3333 specification details",
    "nothing of one request shows in the next",
)
case(
    "errors-stream",
    ask("errors"),
    serve(body=b"written"),
    "PEP 3333 input and error streams",
    "write, writelines, flush and print; any text",
    # PEP 3333 does not say what a stream can encode.
    also=Outcome(serve(status=500).replies, "any", ({},)),
)
