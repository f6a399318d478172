"""What proxies say of a client beside a plain Python twin, with remembered heads and without.

Rule: connections come from a trusted address and from a stranger's, in any order, and share what
the server remembers; each request is compared with `oracles.forwarded` by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from apps.client import Client
from hypothesis import example, given
from hypothesis import strategies as st
from oracles.bounds import bounded
from oracles.core import core
from oracles.forwarded import Fields, Refused, Trust, follow

TRUSTED = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]
KEYS = ("wsgi.url_scheme", "REMOTE_ADDR", "REMOTE_PORT", "HTTP_HOST", "SERVER_PORT", "SCRIPT_NAME")

NODES = ("192.0.2.7", "192.0.2.8:4711", "10.1.2.3", "10.9.9.9:1", "[2001:db8::1]:80", "fe80::7",
         "[fe80::7]:99", "127.0.0.1", "unknown", "_hidden", "1.2.3", "010.0.0.1", "", "1.2.3.4:0")
lists = st.lists(st.sampled_from(NODES), max_size=5).map(", ".join)
words = st.sampled_from(("https", "http", "HTTPS", "https, http", "http, https", "on", "ssl", ""))
hosts = st.sampled_from(("a.example", "A.example", "b.example:8443", "[::1]:80", "c, d", "a/b"))
ports = st.sampled_from(("80", "8443", "443, 80", "0", "x", ""))
prefixes = st.sampled_from(("/shop", "/shop/", "/", "/a%20b", "/a, /b/", "//evil", "shop", ""))


@st.composite
def elements(draw: st.DrawFn) -> str:
    """One element of Forwarded."""
    pairs = []
    if draw(st.booleans()):
        text = draw(st.sampled_from(NODES))
        bare = text and draw(st.booleans())
        pairs.append(f"for={text}" if bare else f'For="{text}"')
    if draw(st.booleans()):
        pairs.append("proto=" + draw(st.sampled_from(("https", "http", "HTTPS"))))
    if draw(st.booleans()):
        pairs.append("host=" + draw(st.sampled_from(("a.example", '"b.example:8443"', '"a/b"'))))
    if draw(st.integers(0, 9)) == 9:
        odd = ("for=1.1.1.1", 'x="a, for=6.6.6.6"', 'x="', "for=", "x")
        pairs.append(draw(st.sampled_from(odd)))
    return draw(st.sampled_from((";", " ; "))).join(pairs)


forwarded = st.lists(elements(), max_size=3).map(", ".join)
field = st.one_of(
    st.tuples(st.just("X-Forwarded-For"), lists),
    st.tuples(st.just("X-Forwarded-For"), lists),
    st.tuples(st.sampled_from(("X-Forwarded-Proto", "X-Forwarded-Ssl", "x-forwarded-protocol")),
              words),
    st.tuples(st.just("X-Forwarded-Host"), hosts),
    st.tuples(st.just("X-Forwarded-Port"), ports),
    st.tuples(st.just("X-Forwarded-Prefix"), prefixes),
    st.tuples(st.just("Forwarded"), forwarded),
    st.tuples(st.just("Forwarded"), forwarded),
)
heads = st.lists(field, max_size=5)


class Servers:
    """Two servers that differ in `memo` alone, and what their application saw last."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}
        self.lines: dict[tuple[bool, str], Client] = {}
        self.addresses: dict[bool, tuple[str, int]] = {}
        self.served = 0
        self.refused = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.seen = dict(environ)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    def line(self, memo: bool, source: str) -> Client:
        """A connection from this address."""
        if (memo, source) not in self.lines:
            self.lines[memo, source] = Client(self.addresses[memo], source=source)
        return self.lines[memo, source]

    def ask(
        self, memo: bool, source: str, target: str, fields: Fields, host: str = "h",
    ) -> dict[str, str] | None:
        """What the application saw of the keys in question; None: it was refused."""
        client = self.line(memo, source)
        head = [f"GET {target} HTTP/1.1", f"Host: {host}",
                *(f"{name}: {text}" for name, text in fields)]
        client.send("\r\n".join([*head, "", ""]).encode())
        response = client.response()
        if response.status == 400:
            client.close()
            del self.lines[memo, source]
            return None
        assert response.status == 200
        assert self.seen["PATH_INFO"] == target
        return {key: self.seen[key] for key in KEYS}


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    made = Servers()
    settings = {"forwarded_follow": "scheme,address,host,port,prefix",
                "forwarded_allow_ips": TRUSTED}
    with core(made, memo=True, **settings) as one, core(made, memo=False, **settings) as other:
        made.addresses = {True: one.address, False: other.address}
        yield made
        for client in made.lines.values():
            client.close()


def expected(servers: Servers, memo: bool, source: str, fields: Fields) -> dict[str, str] | None:
    """The same from the twin."""
    client = servers.line(memo, source)
    host, port = client.socket.getsockname()
    plain = {"wsgi.url_scheme": "http", "REMOTE_ADDR": host, "REMOTE_PORT": str(port),
             "HTTP_HOST": "h", "SERVER_PORT": str(servers.addresses[memo][1]), "SCRIPT_NAME": ""}
    if source != "127.0.0.1":
        return plain
    try:
        return {**plain, **follow(fields, Trust(TRUSTED))}
    except Refused:
        return None


@bounded(150)
@example([[("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https")]],
         [(0, 0, 0, 5), (0, 1, 0, 5), (0, 0, 1, 2)])
@given(st.lists(heads, min_size=1, max_size=3),
       st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 2),
                          st.integers(1, 4)), min_size=2, max_size=6))
def test_the_environ_says_what_the_twin_says(
    servers: Servers, choices: list[Fields], turns: list[tuple[int, int, int, int]],
) -> None:
    for which, stranger, path, times in [*turns, *turns]:
        fields = choices[which % len(choices)]
        prefixes = [text for name, text in fields if name == "X-Forwarded-Prefix" and text]
        if len(prefixes) > 1:
            continue  # the conformance data has this
        source = ("127.0.0.1", "127.0.0.2")[stranger]
        target = ("/", "/another/path", "/x")[path]
        for memo in (True, False) * times:
            wanted = expected(servers, memo, source, fields)
            assert servers.ask(memo, source, target, fields) == wanted, (memo, source, fields)
            servers.served += wanted is not None
            servers.refused += wanted is None


def test_what_changes_is_never_taken_from_the_head_before(servers: Servers) -> None:
    """Heads of the same fields on one connection, whose values come, go and come back."""
    addresses = ("192.0.2.7", "192.0.2.7", "192.0.2.70", "192.0.2.7:80", "unknown", "192.0.2.7",
                 "2001:db8:ffff:ffff:ffff:ffff:255.255.255.255", "fe80::7", "192.0.2.7")
    names = (("h", "h"), ("h", "a.example"), ("a.example", "a.example"), ("a.example", "h"),
             ("b.example", "h"), ("b.example", "h"))
    for number in range(54):
        host, told = names[number % 6]
        fields = [("X-Forwarded-For", addresses[number * 4 // 6 % 9]),
                  ("X-Forwarded-Proto", ("http", "https")[number // 2 % 2]),
                  ("X-Forwarded-Host", told), ("X-Forwarded-Port", ("80", "8443")[number // 3 % 2]),
                  ("X-Request-Id", str(number))]
        for memo in (True, False):
            wanted = expected(servers, memo, "127.0.0.1", fields)
            assert servers.ask(memo, "127.0.0.1", "/", fields, host) == wanted, (memo, fields)


def test_the_examples_were_served_and_refused(servers: Servers) -> None:
    if servers.served > 100:  # else they were deselected
        assert servers.refused > 10
