"""The PROXY protocol, versions 1 and 2, where it is allowed and where it is not: contract 7."""

from __future__ import annotations

from collections.abc import Mapping

from ..model import FIN, Await, Category, Check, Outcome, Step, get, refuse, serve

CATEGORY = Category("PROXY protocol", config="proxied")

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
NAMED = {"REMOTE_ADDR": "192.0.2.7", "REMOTE_PORT": "4711"}
SOURCE4 = bytes((192, 0, 2, 7)) + bytes((127, 0, 0, 1)) + (4711).to_bytes(2, "big") + b"\0\x50"
SOURCE6 = (
    bytes.fromhex("20010db8000000000000000000000007") * 2 + (4711).to_bytes(2, "big") + b"\0\x50"
)
SOURCE_UNIX = b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")
SPEC = "contract 7; PROXY protocol "


def line(rest: bytes) -> bytes:
    """A header of version 1."""
    return b"PROXY " + rest + b"\r\n"


def binary(
    family: int, data: bytes = b"", *, command: int = 0x21, length: int | None = None
) -> bytes:
    """A header of version 2."""
    size = len(data) if length is None else length
    return SIGNATURE + bytes((command, family)) + size.to_bytes(2, "big") + data


def tlv(kind: int, value: bytes, length: int | None = None) -> bytes:
    """A type-length-value of version 2."""
    size = len(value) if length is None else length
    return bytes((kind,)) + size.to_bytes(2, "big") + value


def case(
    name: str,
    header: bytes,
    outcome: Outcome | Mapping[str, Check],
    why: str,
    *,
    section: str = "2",
    config: str | None = None,
    unix: bool = True,
    steps: tuple[Step, ...] = (),
    before: bytes = b"",
) -> None:
    """Add a case of a header, and a GET behind it."""
    CATEGORY.case(
        name,
        steps or before + header + get(),
        outcome if isinstance(outcome, Outcome) else serve(outcome),
        SPEC + section,
        why,
        ways="wb",
        methods=("GET",),
        config=config,
        own=True,
        unix=unix,
    )


LINE4 = line(b"TCP4 192.0.2.7 127.0.0.1 4711 80")

# --- version 1

for name, rest, seen in (
    ("tcp4", b"TCP4 192.0.2.7 127.0.0.1 4711 80", NAMED),
    ("tcp6", b"TCP6 2001:db8::7 ::1 4711 80", {**NAMED, "REMOTE_ADDR": "2001:db8::7"}),
    ("unknown", b"UNKNOWN", {"REMOTE_ADDR": lambda found: found in ("127.0.0.1", "")}),
    ("unknown-more", b"UNKNOWN 192.0.2.7 x y z", {"REMOTE_ADDR": lambda a: a != "192.0.2.7"}),
    ("highest-port", b"TCP4 192.0.2.7 127.0.0.1 65535 0", {**NAMED, "REMOTE_PORT": "65535"}),
):
    case("line-" + name, line(rest), seen, "the client that the header names", section="2.1")
case(
    "line-longest",
    line(b"UNKNOWN " + b"f" * 91),
    {},
    "107 bytes with CRLF are allowed",
    section="2.1",
)
for name, header in (
    ("too-long", line(b"UNKNOWN " + b"f" * 92)),
    ("endless", b"PROXY " + b"1" * 300),
    ("lf", b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\n"),
    ("empty", b"PROXY \r\n"),
    ("lower-case", line(b"tcp4 192.0.2.7 127.0.0.1 4711 80")),
    ("udp", line(b"UDP4 192.0.2.7 127.0.0.1 4711 80")),
    ("tcp5", line(b"TCP5 192.0.2.7 127.0.0.1 4711 80")),
    ("two-spaces", line(b"TCP4  192.0.2.7 127.0.0.1 4711 80")),
    ("space-at-end", line(b"TCP4 192.0.2.7 127.0.0.1 4711 80 ")),
    ("more-words", line(b"TCP4 192.0.2.7 127.0.0.1 4711 80 x")),
    ("fewer-words", line(b"TCP4 192.0.2.7 127.0.0.1 4711")),
    ("wrong-family", line(b"TCP4 2001:db8::7 ::1 4711 80")),
    ("wrong-family-6", line(b"TCP6 192.0.2.7 127.0.0.1 4711 80")),
    ("mixed-families", line(b"TCP4 192.0.2.7 ::1 4711 80")),
    ("brackets", line(b"TCP6 [2001:db8::7] ::1 4711 80")),
    ("address-with-port", line(b"TCP4 192.0.2.7:1 127.0.0.1 4711 80")),
    ("octal", line(b"TCP4 0300.0.2.7 127.0.0.1 4711 80")),
    ("port-large", line(b"TCP4 192.0.2.7 127.0.0.1 65536 80")),
    ("port-zeros", line(b"TCP4 192.0.2.7 127.0.0.1 04711 80")),
    ("port-sign", line(b"TCP4 192.0.2.7 127.0.0.1 +4711 80")),
    ("port-hex", line(b"TCP4 192.0.2.7 127.0.0.1 0x1 80")),
    ("tab", line(b"TCP4\t192.0.2.7 127.0.0.1 4711 80")),
    ("nul", line(b"TCP4 192.0.2.7\0 127.0.0.1 4711 80")),
):
    case(
        "line-malformed-" + name,
        header,
        refuse(400),
        "nothing is guessed: a wrong address is worse than none",
        section="2.1",
    )

# --- version 2

for name, header, seen in (
    ("tcp4", binary(0x11, SOURCE4), NAMED),
    ("tcp6", binary(0x21, SOURCE6), {**NAMED, "REMOTE_ADDR": "2001:db8::7"}),
    ("unix", binary(0x31, SOURCE_UNIX), {"REMOTE_ADDR": "", "REMOTE_PORT": ""}),
    ("local", binary(0x00, command=0x20), {"REMOTE_ADDR": lambda a: a in ("127.0.0.1", "")}),
    ("local-with-addresses", binary(0x11, SOURCE4, command=0x20),
     {"REMOTE_ADDR": lambda a: a != "192.0.2.7"}),
    ("local-with-anything", binary(0xFF, b"\xff" * 40, command=0x20), {}),
    ("unspec", binary(0x00), {"REMOTE_ADDR": lambda a: a in ("127.0.0.1", "")}),
    ("unspec-with-data", binary(0x00, b"\x04\xff\xff"), {}),
    ("tlvs", binary(0x11, SOURCE4 + tlv(1, b"h2") + tlv(4, b"") + tlv(0xE0, b"x" * 300)), NAMED),
    ("tlvs-longest", binary(0x11, SOURCE4 + tlv(4, b"\0" * (4096 - 16 - 12 - 3))), NAMED),
    ("tls", binary(0x11, SOURCE4 + tlv(0x20, b"\x01\0\0\0\0" + tlv(0x21, b"TLSv1.3"))),
     {**NAMED, "wsgi.url_scheme": "https"}),
    ("no-tls", binary(0x11, SOURCE4 + tlv(0x20, b"\0\0\0\0\0")),
     {**NAMED, "wsgi.url_scheme": "http"}),
):
    case("binary-" + name, header, seen, "the client that the header names", section="2.2")
for name, header in (
    ("version-1", binary(0x11, SOURCE4, command=0x11)),
    ("version-3", binary(0x11, SOURCE4, command=0x31)),
    ("command", binary(0x11, SOURCE4, command=0x22)),
    ("udp", binary(0x12, SOURCE4)),
    ("unix-datagram", binary(0x32, SOURCE_UNIX)),
    ("family", binary(0x41, SOURCE4)),
    ("transport", binary(0x13, SOURCE4)),
    ("short-4", binary(0x11, SOURCE4[:-1])),
    ("short-6", binary(0x21, SOURCE6[:-1])),
    ("short-unix", binary(0x31, SOURCE_UNIX[:-1])),
    ("no-addresses", binary(0x11)),
    ("too-long", binary(0x11, SOURCE4 + tlv(4, b"\0" * (4096 - 16 - 12 - 2)))),
    ("longest-length", binary(0x11, SOURCE4, length=0xFFFF)),
    ("tlv-past-the-end", binary(0x11, SOURCE4 + tlv(1, b"h2", length=3))),
    ("tlv-far-past-the-end", binary(0x11, SOURCE4 + tlv(1, b"h2", length=0xFFFF))),
    ("tlv-cut", binary(0x11, SOURCE4 + b"\x04\0")),
    ("tlv-tls-short", binary(0x11, SOURCE4 + tlv(0x20, b"\x01\0\0\0"))),
):
    case(
        "binary-malformed-" + name,
        header,
        refuse(400),
        "nothing is guessed: a wrong address is worse than none",
        section="2.2",
    )

# --- where it is not allowed, and where it is missing

HEADERS = {"line": LINE4, "binary": binary(0x11, SOURCE4)}
for kind, header in HEADERS.items():
    case(
        "off-" + kind,
        header,
        refuse(400),
        "proxy_protocol is off",
        config="default",
    )
    case(
        "elsewhere-" + kind,
        header,
        refuse(403),
        "the peer is none of those that may send it",
        config="proxied-elsewhere",
        unix=False,
    )
    case(
        "twice-" + kind,
        header + header,
        refuse(400),
        "one header for a connection: what follows is a request",
    )
    case(
        "late-" + kind,
        b"",
        serve({}, end="keep") + refuse(400),
        "a header belongs to the start of a connection",
        steps=(LINE4 + get() + header + get(),),
    )
    case(
        "behind-an-empty-line-" + kind,
        header,
        refuse(400),
        "a header is the very first that comes",
        before=b"\r\n",
    )
case("elsewhere-none", b"", {}, "others speak plain HTTP", config="proxied-elsewhere", unix=False)
case("missing", b"", refuse(400), "from the proxy a header is due, or any client could go without")
case(
    "missing-tls",
    b"",
    refuse(400),
    "from the proxy a header is due, whatever comes instead",
    steps=(b"\x16\x03\x01\x02\x00\x01",),
)
case(
    "almost",
    b"PROXYTCP4 192.0.2.7 127.0.0.1 4711 80\r\n",
    refuse(400),
    "something else than a header",
)
case("v1-of-v1", LINE4, NAMED, "the version that is set", config="proxied-v1")
case("v2-of-v2", HEADERS["binary"], NAMED, "the version that is set", config="proxied-v2")
case("v1-of-v2", HEADERS["binary"], refuse(400), "another version", config="proxied-v1")
case("v2-of-v1", LINE4, refuse(400), "another version", config="proxied-v2")

# --- with requests

for kind, header in HEADERS.items():
    case(
        "every-request-" + kind,
        b"",
        serve(NAMED, NAMED, NAMED),
        "the address holds for the whole connection",
        steps=(header + get() + get(), Await(2), get()),
    )
    case(
        "apart-" + kind,
        b"",
        serve(NAMED),
        "the request comes later",
        steps=(header[:3], header[3:20], header[20:], get()),
    )
    case(
        "alone-" + kind,
        b"",
        Outcome((), "close"),
        "a connection without a request, as a health check makes it",
        steps=(header, FIN),
    )
    case(
        "cut-" + kind,
        b"",
        Outcome((), "close"),
        "a header that ends in the middle",
        steps=(header[:-3], FIN),
    )
    case(
        "slow-" + kind,
        b"",
        refuse(408),
        "a header that does not end in the time for a head",
        steps=(header[:-3],),
        config="proxied-impatient",
    )
    case(
        "slow-behind-" + kind,
        b"",
        refuse(408),
        "one time for the header and the head behind it",
        steps=(header[:9], header[9:] + b"GET / HT"),
        config="proxied-impatient",
    )
case(
    "forwarded-of-the-client",
    b"",
    serve({**NAMED, "wsgi.url_scheme": "http"}),
    "what comes through is the client's: the proxy has only passed it on",
    steps=(LINE4 + get(b"X-Forwarded-For: 10.0.0.1", b"X-Forwarded-Proto: https"),),
)
case(
    "forwarded-of-a-trusted-client",
    b"",
    serve({"REMOTE_ADDR": "192.0.2.8", "wsgi.url_scheme": "https"}),
    "the client of the proxy is a trusted proxy itself",
    steps=(
        line(b"TCP4 127.0.0.1 127.0.0.1 4711 80")
        + get(b"X-Forwarded-For: 192.0.2.8", b"X-Forwarded-Proto: https"),
    ),
)
case(
    "forwarded-of-a-unix-client",
    b"",
    serve({"REMOTE_ADDR": "", "wsgi.url_scheme": "http"}),
    "a unix socket of the proxy's is none of ours",
    steps=(
        binary(0x31, SOURCE_UNIX)
        + get(b"X-Forwarded-For: 192.0.2.8", b"X-Forwarded-Proto: https"),
    ),
)
