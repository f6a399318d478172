"""Hypothesis strategies: valid requests as bytes, and what a hand may do to spoil them.

Rule: `valid_requests` stays within RFC 9112 and the contract, so that a refusal of one of them is
an error.  `spoilt` promises nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PATH = b"/abcXYZ019-._~!$&'()*+,;=:@%"
QUERY = PATH + b"?"
METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE",
           b"PROPFIND", b"MKCOL", b"LOCK", b"REPORT", b"M-SEARCH", b"PURGE", b"LINK")
# Fields whose value is free. Those that decide about framing or persistence are put in by hand.
NAMES = (
    b"Accept", b"Accept-Encoding", b"Accept-Language", b"Authorization", b"Cache-Control",
    b"Cookie", b"DNT", b"Date", b"From", b"If-Modified-Since", b"If-None-Match", b"Keep-Alive",
    b"Origin", b"Pragma", b"Priority", b"Proxy", b"Range", b"Referer", b"Sec-CH-UA-Platform",
    b"Sec-Fetch-Site", b"TE", b"Upgrade", b"Upgrade-Insecure-Requests", b"User-Agent", b"Via",
    b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Real-IP", b"X-Request-ID", b"Trailer",
)
RESERVED = {b"host", b"content-length", b"content-type", b"transfer-encoding", b"expect",
            b"connection"}
HOSTS = (b"example.org", b"EXAMPLE.org:8080", b"localhost:", b"127.0.0.1:1", b"[::1]",
         b"[2001:db8::7]:443", b"a-b_c.d~e", b"%41.example", b"x!$&'()*+,;=y", b"[v1.a:b]:80")

names = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(NAMES).map(bytes.upper),
    st.sampled_from(NAMES).map(bytes.swapcase),
    st.sampled_from(NAMES).map(lambda name: name.replace(b"-", b"_")),
    st.lists(st.sampled_from(TOKEN), min_size=1, max_size=30).map(bytes),
).filter(lambda name: name.lower() not in RESERVED)

_INNER = bytes([9, *range(32, 127), *range(128, 256)])
values = st.one_of(
    st.sampled_from((b"", b"a", b"text/html, */*;q=0.8", b"a=1; b=2", b"caf\xc3\xa9", b",", b"\"")),
    st.lists(st.sampled_from(_INNER), max_size=40).map(lambda found: bytes(found).strip(b" \t")),
)
spaces = st.sampled_from((b" ", b" ", b" ", b"", b"\t", b"  \t"))


def texts(alphabet: bytes, most: int) -> st.SearchStrategy[bytes]:
    """Bytes of an alphabet."""
    return st.lists(st.sampled_from(alphabet), max_size=most).map(bytes)


escapes = st.one_of(
    st.integers(0, 255).map(lambda byte: b"%%%02x" % byte),
    st.integers(0, 255).map(lambda byte: b"%%%02X" % byte),
    st.sampled_from((b"%", b"%%", b"%4", b"%zz", b"%2", b"%g1", b"%1g", b"%25", b"%252f", b"%00")),
)
paths = st.one_of(
    st.sampled_from((b"/", b"/app", b"/app/", b"/app/x", b"/application", b"//", b"/app%2Fy",
                     b"/%61pp/z", b"/../a", b"/a//b/")),
    st.lists(st.one_of(texts(PATH, 8), escapes), max_size=8).map(lambda at: b"/" + b"".join(at)),
    st.integers(5, 40).map(lambda size: b"/" + b"%e2" * size),
)
queries = st.one_of(
    st.just(b""),
    st.just(b""),
    st.lists(st.one_of(texts(QUERY, 8), escapes), max_size=5).map(lambda at: b"?" + b"".join(at)),
)


@st.composite
def targets(draw: st.DrawFn, method: bytes) -> bytes:
    """Origin-form mostly, absolute-form, and * for OPTIONS (RFC 9112 3.2)."""
    form = draw(st.sampled_from(("origin", "origin", "origin", "absolute", "asterisk")))
    if form == "asterisk" and method == b"OPTIONS":
        return b"*"
    rest = draw(st.one_of(paths, st.just(b""))) if form == "absolute" else draw(paths)
    rest += draw(queries)
    if form != "absolute":
        return rest
    scheme = draw(st.sampled_from((b"http://", b"HTTP://", b"https://")))
    return scheme + draw(st.sampled_from(HOSTS)) + rest


@st.composite
def chunked_bodies(draw: st.DrawFn) -> bytes:
    """A body in the chunked coding, with extensions, sizes in any spelling, and trailers."""
    size = draw(st.sampled_from((b"%x", b"%X", b"%04x")))
    extension = draw(st.sampled_from((b"", b"", b";a", b";a=b", b";a=\"q;\"", b";x;y=1")))
    framed = b""
    for piece in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5)):
        framed += size % len(piece) + extension + b"\r\n" + piece + b"\r\n"
    trailers = draw(st.sampled_from((b"", b"", b"X-Sum: 1\r\n", b"Host: no\r\nX-A: b\r\n")))
    return framed + b"0" + extension + b"\r\n" + trailers + b"\r\n"


@dataclass(frozen=True)
class Valid:
    """A valid request, taken apart as far as tests need it."""

    line: bytes
    block: bytes
    body: bytes = b""

    @property
    def data(self) -> bytes:
        return self.line + self.block + self.body

    @property
    def method(self) -> bytes:
        return self.line.strip().split(b" ")[0]

    @property
    def closes(self) -> bool:
        """Whether the connection ends behind it (RFC 9112 9.3)."""
        options = self.block.lower()
        if b"\r\nconnection: close" in b"\r\n" + options:
            return True
        return b"HTTP/1.0" in self.line and b"connection: keep-alive" not in options


@st.composite
def valid_requests(
    draw: st.DrawFn, *, bodies: bool = True, lasting: bool = False, underscores: bool = True
) -> Valid:
    """Any valid request; without a body, on a connection that lasts, without `_` in names."""
    method = draw(st.sampled_from(METHODS))
    version = b"HTTP/1.1" if lasting else draw(st.sampled_from((b"HTTP/1.1", b"HTTP/1.0")))
    line = method + b" " + draw(targets(method)) + b" " + version + b"\r\n"
    if draw(st.integers(0, 9)) == 9:
        line = b"\r\n" + line
    pairs = draw(st.lists(st.tuples(names, values), max_size=8))
    if not underscores:
        pairs = [(name.replace(b"_", b"-"), value) for name, value in pairs]
    pairs += draw(st.lists(st.sampled_from(pairs), max_size=2)) if pairs else []
    if version == b"HTTP/1.1" or draw(st.booleans()):
        pairs.append((draw(st.sampled_from((b"Host", b"host", b"HOST"))),
                      draw(st.sampled_from(HOSTS))))
    if draw(st.booleans()):
        pairs.append((b"Content-Type", draw(values)))
    framing, body = draw(st.sampled_from(("none", "length", "chunked"))) if bodies else "none", b""
    if framing == "length":
        body = draw(st.binary(max_size=60))
        pairs.append((b"Content-Length", b"%d" % len(body)))
    elif framing == "chunked" and version == b"HTTP/1.1":
        body = draw(chunked_bodies())
        pairs.append((b"Transfer-Encoding", draw(st.sampled_from((b"chunked", b"Chunked")))))
    if draw(st.integers(0, 9)) == 9:  # HTTP/1.0 knows no expectations and ignores them
        expectations = (b"100-continue", b"100-Continue") + (b"more",) * (version == b"HTTP/1.0")
        pairs.append((b"Expect", draw(st.sampled_from(expectations))))
    fields = []
    for name, value in draw(st.permutations(pairs)):
        fields.append(name + b":" + draw(spaces) + value + draw(spaces) + b"\r\n")
    persistence = draw(st.sampled_from((b"", b"", b"Connection: keep-alive\r\n",
                                        b"" if lasting else b"Connection: close\r\n")))
    return Valid(line, b"".join([*fields, persistence]) + b"\r\n", body)


# ---- spoiling ----

SPOILERS = (
    b"\r", b"\n", b"\r\n", b"\n\n", b" ", b"\t", b"\0", b"\x7f", b"\x80", b":", b",", b";", b"%",
    b"#", b"?", b"/", b"_", b"-", b"0", b"9", b"f", b"x", b"HTTP/1.1", b"HTTP/1.0", b" HTTP/2.0",
    b"chunked", b"\x0b", b"\x0c", b"\xa0", b"\x1f", b"\"", b"\\", b"<", b"@", b"[", b"*",
)
LINES = (
    b"Host: other", b"Host:", b"Host: a b", b"Host: a/b", b"Content-Length: 3",
    b"Content-Length: 0", b"Content-Length: +3", b"Content-Length: 3, 3", b"Content-Length: 0x3",
    b"Content-Length:", b"Content-Length: 03", b"Content-Length : 3", b"Content_Length: 3",
    b"Content-Length: 99999999999999999999", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding:",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding : chunked", b" folded: line",
    b"\tfolded", b"Expect: 100-continue", b"Expect: more", b"Content-Type: a/b", b": no name",
    b"no colon", b"X: \x01", b"Name With Space: a", b"X: \xff", b"Connection: close",
    b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: h2c", b"Connection: keep-alive",
)


@st.composite
def spoilt(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> bytes:
    """A request with one to three changes made to its bytes or its lines."""
    data = draw(source)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        if draw(st.booleans()):  # mostly where it matters: the first line, line ends, colons
            marks = [i for i, byte in enumerate(data) if byte in b"\r\n: "] or [0]
            at = draw(st.sampled_from(marks)) + draw(st.integers(0, 1))
        how = draw(st.sampled_from(("insert", "insert", "replace", "delete", "line", "repeat",
                                    "line end", "swap")))
        if how == "insert":
            data = data[:at] + draw(st.sampled_from(SPOILERS)) + data[at:]
        elif how == "replace":
            data = data[:at] + draw(st.sampled_from(SPOILERS)) + data[at + 1 :]
        elif how == "delete":
            data = data[:at] + data[at + draw(st.integers(1, 4)) :]
        elif how == "line end":
            ends = data.split(b"\r\n")
            cut = draw(st.integers(0, len(ends) - 1))
            data = b"\r\n".join(ends[: cut + 1]) + draw(
                st.sampled_from((b"\n", b"\r", b"\r\r\n", b"\r\n\r\n"))
            ) + b"\r\n".join(ends[cut + 1 :])
        else:
            head, gap, body = data.partition(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            place = draw(st.integers(1, len(lines)))
            if how == "line":
                lines.insert(place, draw(st.sampled_from(LINES)))
            elif how == "repeat":
                lines.insert(place, lines[place - 1])
            else:
                lines[place - 1 : place + 1] = reversed(lines[place - 1 : place + 1])
            data = b"\r\n".join(lines) + gap + body
    return data
