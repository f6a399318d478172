"""What a conformance case is, and the vocabulary that the data in `cases/` is written in.

Rule: nothing here opens a socket.  A case holds two sets of outcomes: `contract`, the narrow
one that this server promises, and `allowed`, everything the RFC or the PEP permits, by which
the other servers are judged.  `allowed` always contains `contract`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

# A value to compare with, or a predicate over what was found (None: it was not there).
Check = str | bytes | int | bool | None | Callable[[object], bool]

End = Literal["keep", "close", "any", "hang", "garbage"]


class Await:
    """A step of a case: go on sending only when `replies` final or interim responses came."""

    def __init__(self, replies: int) -> None:
        self.replies = replies


class Gate:
    """A step of a case: the probe stands at a gate; open it when `body` has come from the server.

    So a block is shown to be on its way before the next one is asked for.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body


class HalfClose:
    """A step of a case: shut down the sending side of the connection."""


class Abort:
    """A step of a case: reset the connection, as a client that is gone."""


FIN: Final = HalfClose()
RST: Final = Abort()
Step = bytes | Await | Gate | HalfClose | Abort


def absent(found: object) -> bool:
    """The field, key or value is not there."""
    return found is None


def present(found: object) -> bool:
    """The field, key or value is there, whatever it says."""
    return found is not None


def one_of(*values: object) -> Callable[[object], bool]:
    """The field, key or value is one of these (None: it may be missing)."""

    def check(found: object) -> bool:
        return found in values

    check.__name__ = f"one of {values!r}"
    return check


def holds(part: str | bytes) -> Callable[[object], bool]:
    """The value contains `part`."""

    def check(found: object) -> bool:
        return isinstance(found, type(part)) and part in found  # type: ignore[operator]

    check.__name__ = f"containing {part!r}"
    return check


def lacks(part: str | bytes) -> Callable[[object], bool]:
    """The value, if there is one, does not contain `part`."""

    def check(found: object) -> bool:
        return found is None or part not in found  # type: ignore[operator]

    check.__name__ = f"without {part!r}"
    return check


@dataclass(frozen=True)
class Reply:
    """One final response as it has to be.

    `fields` maps lower-case field names to checks (repeated fields are joined with `, `);
    `cut` asks for a body that visibly ends before its framing says so.
    `coding` is the framing of the body: chunked, length, close or none.
    """

    codes: frozenset[int]
    fields: Mapping[str, Check] = field(default_factory=dict)
    body: Check = present
    cut: bool = False
    coding: Check = present


@dataclass(frozen=True)
class Outcome:
    """One acceptable course of events: the responses, the end, and what the application saw.

    `saw` has one mapping for each request that reached the application, in order: environ keys,
    or `body` (bytes it read), `closed` (how often close() of its iterable was called), `note`
    (what the probe remarked).  `interim` is the number of 100 responses, None for any.
    """

    replies: tuple[Reply, ...]
    end: End
    saw: tuple[Mapping[str, Check], ...] = ()
    interim: int | None = None

    def __add__(self, after: Outcome) -> Outcome:
        """This course, and then that one on the same connection."""
        interim = (
            None if self.interim is None or after.interim is None else self.interim + after.interim
        )
        return Outcome(self.replies + after.replies, after.end, self.saw + after.saw, interim)


def codes(*values: int) -> frozenset[int]:
    """A set of status codes."""
    return frozenset(values)


# What a server may say to a request that it does not want: a client error, or one of the two
# server errors that speak of the request (501 not implemented, 505 version).
REFUSALS: Final = frozenset(range(400, 500)) | {501, 505}

# How CONTRACT has every refusal look.
REFUSAL_FIELDS: Final[Mapping[str, Check]] = {
    "date": present,
    "content-type": holds("text/plain"),
    "content-length": present,
    "connection": "close",
}


def _one_line(body: object) -> bool:
    return isinstance(body, bytes) and 0 < len(body.strip()) < 200 and b"\n" not in body.strip()


def refuse(*status: int, head: bool = False) -> Outcome:
    """Refused as this server promises: a complete response, closed, nothing reached the app."""
    return Outcome(
        (
            Reply(
                codes(*(status or (400,))),
                REFUSAL_FIELDS,
                b"" if head else _one_line,
                coding="none" if head else "length",
            ),
        ),
        "close",
        (),
        0,
    )


def serve(
    *saw: Mapping[str, Check],
    end: End = "keep",
    status: int = 200,
    interim: int | None = None,
    **reply: object,
) -> Outcome:
    """Served: one response of `status` for each of `saw` (one request if none is given).

    Remaining keywords are the attributes of `Reply`, for every response.
    """
    seen = saw or ({},)
    made = Reply(codes(status), **reply)
    return Outcome((made,) * len(seen), end, seen, interim)


def answer(
    status: int, *, end: End = "keep", saw: Mapping[str, Check] | None = None, **reply: object
) -> Outcome:
    """Served: one response of `status` to one request."""
    return serve(saw or {}, end=end, status=status, **reply)


# Closed without a word and without a request for the application.
DROP: Final = Outcome((), "close")

# A size that no counter holds may still be waited for, where numbers have no end.
WAITING: Final = (Outcome((), "hang"), Outcome((), "hang", ({"body": None},)))

# What RFC 9112 section 2.2 leaves to a server that meets a malformed message: it SHOULD answer
# 400 and close, so another client error, or closing at once, is within it.
REFUSED: Final = (Outcome((Reply(REFUSALS),), "any"), DROP)

# Where the RFC says MUST respond with 400; closing is asked for where framing is in doubt.
MUST_400: Final = (Outcome((Reply(codes(400)),), "any"),)
MUST_400_CLOSE: Final = (Outcome((Reply(codes(400)),), "close"),)

# A server error that the RFC or the PEP leaves open in its details.
ERROR_500: Final = Outcome((Reply(codes(500)),), "any", ({},))

Ways = str  # of the letters in WAYS
WAYS: Final = {
    "w": "whole",
    "b": "byte by byte",
    "p": "behind a good request",
    "t": "twice",
}


@dataclass(frozen=True)
class Case:
    """One conformance case; made by `Category.case`."""

    id: str
    category: str
    steps: tuple[Step, ...]
    contract: tuple[Outcome, ...]
    allowed: tuple[Outcome, ...]
    rule: str
    why: str
    ways: Ways
    methods: tuple[str, ...]
    config: str
    own: bool  # promised by this server only; peers are not asked
    strict_end: bool  # peers, too, have to keep or announce the close
    closing: bool  # it is about close(), for peers, too
    may_end: bool  # a peer may end itself, as PEP 3333 lets servers abort if appropriate
    unix: bool

    @property
    def raw(self) -> bytes:
        """All bytes of the case, without its pauses."""
        return b"".join(step for step in self.steps if isinstance(step, bytes))


class Category:
    """Collects the cases of one module and refuses duplicates.

    `also` are outcomes that are permitted for every case of the module.
    """

    def __init__(
        self,
        name: str,
        *,
        config: str = "default",
        strict_end: bool = False,
        also: tuple[Outcome, ...] = (),
    ) -> None:
        self.name = name
        self.also = also
        self.config = config
        self.strict_end = strict_end
        self.cases: dict[str, Case] = {}

    def case(
        self,
        name: str,
        data: Step | tuple[Step, ...],
        contract: Outcome | tuple[Outcome, ...],
        rule: str,
        why: str,
        *,
        also: Outcome | tuple[Outcome, ...] = (),
        ways: Ways | None = None,
        methods: tuple[str, ...] | None = None,
        config: str | None = None,
        own: bool = False,
        unix: bool = True,
        may_end: bool = False,
    ) -> None:
        """Add a case.

        `also` are the outcomes that the rule permits beside `contract`.  `ways` defaults to all,
        without `t` (twice) unless the case is one request that leaves the connection open.
        `methods` are the methods of the requests, needed where a response has no body because of
        it; by default the first word of the data, then GET.
        """
        steps = data if isinstance(data, tuple) else (data,)
        promised = contract if isinstance(contract, tuple) else (contract,)
        others = also if isinstance(also, tuple) else (also,)
        if name in self.cases:
            raise ValueError(f"two cases named {self.name}/{name}")
        raw = b"".join(step for step in steps if isinstance(step, bytes))
        if ways is None:
            ways = "wbp"
            if all(one.end == "keep" and len(one.saw) == 1 for one in promised):
                ways += "t" if all(isinstance(step, bytes) for step in steps) else ""
        self.cases[name] = Case(
            id=f"{self.name}/{name}",
            category=self.name,
            steps=steps,
            contract=promised,
            allowed=promised + others + self.also,
            rule=rule,
            why=why,
            ways=ways,
            methods=methods or (_method(raw),),
            config=config or self.config,
            own=own,
            strict_end=self.strict_end,
            closing=name == "file" or name.startswith("close-"),
            may_end=may_end,
            unix=unix,
        )


def _method(raw: bytes) -> str:
    return raw.lstrip(b"\r\n").split(b" ", 1)[0][:8].decode("latin-1")


def req(line: bytes, *fields: bytes, body: bytes = b"", host: bytes | None = b"h") -> bytes:
    """A request with this request line, a Host field first (None: without), and these fields."""
    lines = [line]
    if host is not None:
        lines.append(b"Host: " + host)
    return b"\r\n".join([*lines, *fields]) + b"\r\n\r\n" + body


def get(*fields: bytes, target: bytes = b"/") -> bytes:
    """A GET request with a Host field and these fields."""
    return req(b"GET " + target + b" HTTP/1.1", *fields)


def post(*fields: bytes, body: bytes = b"", target: bytes = b"/") -> bytes:
    """A POST request with a Host field and these fields; the framing is the caller's."""
    return req(b"POST " + target + b" HTTP/1.1", *fields, body=body)


def chunked(*lines: bytes, fields: tuple[bytes, ...] = ()) -> bytes:
    """A chunked POST whose body is exactly these lines, each followed by CRLF."""
    body = b"".join(line + b"\r\n" for line in lines)
    return post(b"Transfer-Encoding: chunked", *fields, body=body)


# Configurations: the application attribute of probe.py, and settings of this server.  Peers get
# the application alone.
CONFIGS: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "default": ("app", {}),
    "class": ("ClassApp", {}),
    "instance": ("instance", {}),
    "limits": (
        "app",
        {
            "limit_request_line": 200,
            "limit_request_fields": 10,
            "limit_request_field_size": 100,
            "limit_request_header": 400,
            "limit_request_body": 64,
        },
    ),
    "refuse": ("app", {"header_map": "refuse"}),
    "files": ("app", {"static": f"/files={Path(__file__).parent / 'files'}"}),
    "dangerous": ("app", {"header_map": "dangerous"}),
    "mounted": ("app", {"script_name": "/mnt"}),
    "spill": ("app", {"body_memory": 64}),
    "no-sendfile": ("app", {"sendfile": False}),
    "following": ("app", {"forwarded_follow": "scheme,address,host,port,prefix"}),
    "following-refuse": ("app", {"header_map": "refuse"}),
    "following-custom": ("app", {"secure_scheme_headers": {"X-Front-End": "tls"}}),
    "following-nobody": (
        "app",
        {
            "forwarded_follow": "scheme,address,host,port,prefix",
            "forwarded_allow_ips": "192.0.2.1",
        },
    ),
    "proxied": (
        "app",
        {"proxy_protocol": "auto", "forwarded_follow": "scheme,address"},
    ),
    "proxied-impatient": ("app", {"proxy_protocol": "auto", "header_timeout": 0.3}),
    "proxied-v1": ("app", {"proxy_protocol": "v1"}),
    "proxied-v2": ("app", {"proxy_protocol": "v2"}),
    "proxied-elsewhere": ("app", {"proxy_protocol": "auto", "proxy_allow_ips": "192.0.2.1"}),
    "impatient": (
        "app",
        {"header_timeout": 0.3, "body_timeout": 0.3, "keepalive": 0.3},
    ),
}


# How every connection has to begin, where a proxy is expected.
PREFACES: Final[Mapping[str, bytes]] = {
    "proxied": b"PROXY UNKNOWN\r\n",
    "proxied-impatient": b"PROXY UNKNOWN\r\n",
    "proxied-v1": b"PROXY UNKNOWN\r\n",
    "proxied-v2": b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
}


def preface(case: Case) -> bytes:
    """What the server of a case awaits before the first request of a connection."""
    return PREFACES.get(case.config, b"")


def names_clients(case: Case) -> bool:
    """Whether REMOTE_PORT may be another one than that of the connection."""
    return case.config.startswith(("following", "proxied"))


def mount(case: Case) -> str:
    """The path below which the application of a case answers."""
    return str(CONFIGS[case.config][1].get("script_name", ""))
