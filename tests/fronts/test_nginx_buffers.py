"""What nginx buffers in front of the server, and what it passes on as it comes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from apps import contract
from apps.client import TIMEOUT, Address, Client, request
from apps.fronts import FRONTS, before

from fastwsgi.testing import Process

Pair = tuple[Address, Process]


@pytest.fixture(scope="module", params=[name for name in FRONTS if name.startswith("nginx")])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with before(request.param) as found:
        yield found


def test_x_accel_buffering_passes_each_block_of_a_stream_at_once(pair: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Client(pair[0]) as client:
        listener.settimeout(TIMEOUT)
        client.send(request(f"/unbuffered/{listener.getsockname()[1]}"))
        side, _ = listener.accept()
        with side:
            assert client.head().status == 200
            for number in range(contract.BLOCKS):
                assert client.chunk() == contract.block(number)
                side.sendall(b".")
            assert client.chunk() == b""


def test_the_field_itself_is_nginxs(pair: Pair) -> None:
    with Client(pair[0]) as client:
        response = client.fetch("/accel")
    assert response.body == b"not buffered"
    assert response.get("X-Accel-Buffering") is None


@pytest.mark.parametrize("size", [1, 100_000, (3 << 20) + 1])
def test_an_upload_that_is_not_buffered_arrives_whole(pair: Pair, size: int) -> None:
    """In the example that is the location /upload/."""
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    with Client(pair[0]) as client:
        for _ in range(2):
            client.send(request("/upload/echo", f"Content-Length: {size}", method="POST"))
            for at in range(0, size, 65536):
                client.send(body[at : at + 65536])
            response = client.response()
            assert response.status == 200
            assert response.body == body
