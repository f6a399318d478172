"""Files of the setting `static`: contract 10, RFC 9110 sections 12 to 15. Peers have none."""

from __future__ import annotations

from collections.abc import Mapping

from ..model import Category, Check, Outcome, Reply, absent, codes, get, holds, present, req

CATEGORY = Category("static files", config="files")

HELLO = b"hello, file\n"
TEXT: Mapping[str, Check] = {"content-type": "text/plain; charset=utf-8", "etag": present,
                             "last-modified": present, "accept-ranges": "bytes"}
MISSING = b"not found\n"


def file(status: int = 200, body: Check = HELLO, **fields: Check) -> Outcome:
    """Answered by the server alone; in names of fields an underscore stands for a dash."""
    checks = {name.replace("_", "-"): check for name, check in fields.items()}
    return Outcome((Reply(codes(status), checks, body),), "keep", (), 0)


def case(name: str, data: bytes, contract: Outcome, rule: str, why: str) -> None:
    """A case that no peer is asked. How its bytes come is no matter of files."""
    CATEGORY.case(name, data, contract, rule, why, own=True, ways="wp", unix=False)


def ask(target: str, *fields: bytes) -> bytes:
    """A GET for a path below the prefix."""
    return get(*fields, target=b"/files" + target.encode())


def method(name: bytes, target: bytes = b"/files/hello.txt") -> bytes:
    """A request with another method."""
    return req(name + b" " + target + b" HTTP/1.1")


# --- what is there

whole = Outcome((Reply(codes(200), TEXT, HELLO, coding="length"),), "keep", (), 0)
case("file", ask("/hello.txt"), whole, "RFC 9110 15.3.1", "the file, its type and its tags")
head = Reply(codes(200), {**TEXT, "content-length": "12"}, b"", coding="none")
case("file-head", method(b"HEAD"), Outcome((head,), "keep", (), 0),
     "RFC 9110 9.3.2", "the same fields without the content")
case("query", ask("/hello.txt?v=1"), whole, "RFC 3986 3.4", "a query makes it no other file")
case("escaped", ask("/h%65llo%2Etxt"), whole, "RFC 3986 2.3", "an escaped letter is that letter")
case("absolute", get(target=b"http://h/files/hello.txt"), whole, "RFC 9112 3.2.2",
     "the absolute form")
case("index", ask("/docs/"), file(body=b"<p>docs</p>\n", content_type="text/html; charset=utf-8"),
     "contract 10", "a folder stands for its index")
case("folder", ask("/docs"), file(301, present, location="/files/docs/"), "contract 10",
     "a folder without its slash, so that relative links in it are right")
case("folder-query", ask("/docs?a=b"), file(301, present, location="/files/docs/?a=b"),
     "contract 10", "the query comes along")

# --- what is not

for number, path in enumerate((
        "", "/", "/nothing", "/hello.txt/", "/docs/nothing", "/../probe.py", "/%2e%2e/probe.py",
        "/..%2fprobe.py", "%2f..%2fprobe.py", "/docs/../hello.txt", "/docs/%2e%2e/hello.txt",
        "/./hello.txt", "//hello.txt", "//etc/passwd", "/docs//index.html", "/docs%2findex.html",
        "/docs%5cindex.html", "/..%5cprobe.py", "/..;/probe.py", "/hello.txt%00",
        "/hello.txt%00.html", "/hello.txt%0d%0aX:y", "/hello.txt%", "/%zz", "/.hidden",
        "/%2ehidden", "/%c0%ae%c0%ae/probe.py", "/%252e%252e/probe.py",
        "/" + "a" * 300, "/a" * 700)):
    case(f"missing-{number}", ask(path), file(404, MISSING), "contract 10",
         f"{path[:40]}: not there, and no matter of the application")
for name in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"):
    case(f"method-{name.decode().lower()}", method(name), file(405, present, allow="GET, HEAD"),
         "RFC 9110 15.5.6", "files are for reading")
case("method-missing", method(b"DELETE", b"/files/nothing"), file(405, present, allow="GET, HEAD"),
     "contract 10", "whether it is there or not")

# --- conditions

SINCE = b"Sun, 06 Nov 1994 08:49:37 GMT"
case("none-match", ask("/hello.txt", b"If-None-Match: *"), file(304, b"", etag=present),
     "RFC 9110 13.1.2", "any is there")
case("none-match-other", ask("/hello.txt", b'If-None-Match: "a", W/"b"'), whole, "RFC 9110 13.1.2",
     "another one")
case("modified", ask("/hello.txt", b"If-Modified-Since: " + SINCE), whole, "RFC 9110 13.1.3",
     "modified since then")
case("not-modified", ask("/hello.txt", b"If-Modified-Since: Fri, 31 Dec 2100 23:59:59 GMT"),
     file(304, b"", etag=present), "RFC 9110 13.1.3", "not modified since")
case("modified-nonsense", ask("/hello.txt", b"If-Modified-Since: then"), whole, "RFC 9110 13.1.3",
     "no date is ignored")
case("match-other", ask("/hello.txt", b'If-Match: "a"'), file(412, present), "RFC 9110 13.1.1",
     "not the one that is asked for")
case("unmodified", ask("/hello.txt", b"If-Unmodified-Since: " + SINCE), file(412, present),
     "RFC 9110 13.1.4", "modified since")
case("match-first", ask("/hello.txt", b"If-Match: *", b"If-Unmodified-Since: " + SINCE), whole,
     "RFC 9110 13.2.2", "tags come before dates")

# --- parts

case("range", ask("/hello.txt", b"Range: bytes=0-4"),
     file(206, b"hello", content_range="bytes 0-4/12"), "RFC 9110 14.2", "the first five bytes")
case("range-suffix", ask("/hello.txt", b"Range: bytes=-5"),
     file(206, b"file\n", content_range="bytes 7-11/12"), "RFC 9110 14.1.2", "the last five")
case("range-open", ask("/hello.txt", b"Range: bytes=7-"),
     file(206, b"file\n", content_range="bytes 7-11/12"), "RFC 9110 14.1.2", "from there on")
case("range-several", ask("/hello.txt", b"Range: bytes=0-0,-1"),
     file(206, holds(b"Content-Range: bytes 11-11/12\r\n\r\n\n\r\n--"),
          content_type=holds("multipart/byteranges; boundary="), content_range=absent),
     "RFC 9110 14.6", "each in a part of its own")
case("range-outside", ask("/hello.txt", b"Range: bytes=12-"),
     file(416, present, content_range="bytes */12"), "RFC 9110 15.5.17", "behind the end")
case("range-nonsense", ask("/hello.txt", b"Range: bytes=b-a"), whole, "RFC 9110 14.2",
     "what is no range is ignored")
case("range-unit", ask("/hello.txt", b"Range: lines=1-2"), whole, "RFC 9110 14.2", "another unit")
case("range-many", ask("/hello.txt", b"Range: bytes=" + b",".join([b"1-1"] * 17)), whole,
     "RFC 9110 14.2", "too many of them are ignored")
case("range-if", ask("/hello.txt", b'If-Range: "a"', b"Range: bytes=0-4"), whole, "RFC 9110 13.1.5",
     "a part of another one is of no use")

# --- codings

case("coding", ask("/hello.txt", b"Accept-Encoding: gzip, br"),
     file(body=b"not really brotli\n", content_encoding="br", vary="Accept-Encoding"),
     "RFC 9110 12.5.3", "it lies ready")
case("coding-refused", ask("/hello.txt", b"Accept-Encoding: br;q=0, *"),
     file(content_encoding=absent, vary="Accept-Encoding"), "RFC 9110 12.5.3", "it is refused")
case("coding-unasked", ask("/hello.txt"), file(content_encoding=absent, vary="Accept-Encoding"),
     "RFC 9110 12.5.5", "others get another one")
