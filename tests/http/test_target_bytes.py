"""Which bytes a request target may hold, byte by byte (docs/contract.md, section 1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest

from fastwsgi.testing import Server, raw, serve

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

UNRESERVED = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
SUB_DELIMS = b"!$&'()*+,;="
PATH = frozenset(UNRESERVED + SUB_DELIMS + b":@/%" + b"[]")
"""RFC 3986 3.3 and the percent sign; brackets, which browsers leave bare."""
QUERY = PATH | frozenset(b"?" + b"\\^`{|}")
"""RFC 3986 3.4, and what the query percent-encode set of the WHATWG URL standard leaves bare."""
ENDS_THE_PATH = frozenset(b"?")


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [environ["RAW_URI"].encode("latin-1")]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(app) as running:
        yield running


@pytest.mark.parametrize("place, valid", [(b"/a%cb", PATH | ENDS_THE_PATH), (b"/p?a%cb", QUERY)],
                         ids=["path", "query"])
def test_takes_the_valid_bytes_and_refuses_the_others(
    server: Server, place: bytes, valid: frozenset[int],
) -> None:
    taken = set()
    for byte in range(256):
        target = place % byte
        reply = raw(server.address,
                    b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        status = reply[9:12]
        if status == b"200":
            assert reply.endswith(target)
            taken.add(byte)
        else:
            assert status == b"400", (byte, reply)
    assert taken == valid
