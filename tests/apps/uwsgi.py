"""The front's side of the uwsgi protocol: packets of variables, and one exchange.

Rule: a packet is made as https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html has it, and
nothing is checked here, so that a test can write any.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from apps.client import Address, Client, Response

Variable = tuple[bytes | str, bytes | str]


def encoded(text: bytes | str) -> bytes:
    """A text as an environ has it: one byte for each character."""
    return text if isinstance(text, bytes) else text.encode("latin-1")


def packet(variables: Iterable[Variable], *, modifier1: int = 0, modifier2: int = 0) -> bytes:
    """The packet of these variables, in this order."""
    block = b""
    for pair in variables:
        for text in map(encoded, pair):
            block += struct.pack("<H", len(text)) + text
    return struct.pack("<BHB", modifier1, len(block), modifier2) + block


def variables(target: str = "/", method: str = "GET", **more: str | None) -> dict[str, str]:
    """What nginx sends for a request, `more` on top; None leaves a variable out."""
    path, _, query = target.partition("?")
    found: dict[str, str | None] = {
        "QUERY_STRING": query, "REQUEST_METHOD": method, "CONTENT_TYPE": "", "CONTENT_LENGTH": "",
        "REQUEST_URI": target, "PATH_INFO": path, "DOCUMENT_ROOT": "/srv",
        "SERVER_PROTOCOL": "HTTP/1.1", "REQUEST_SCHEME": "http", "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "4711", "SERVER_PORT": "80", "SERVER_NAME": "front", "HTTP_HOST": "test",
        **more,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def ask(address: Address, data: bytes, method: str = "GET") -> Response:
    """Send bytes, read one response, and see the connection end behind it."""
    with Client(address) as client:
        client.send(data)
        response = client.response(method)
        assert response.closes
        assert not response.chunked
        assert client.ended()
        return response


def fetch(address: Address, target: str = "/", method: str = "GET", body: bytes = b"",
          **more: str | None) -> Response:
    """One request over a connection of its own."""
    if body:
        more.setdefault("CONTENT_LENGTH", str(len(body)))
    data = packet(variables(target, method, **more).items())
    return ask(address, data + body, method)
