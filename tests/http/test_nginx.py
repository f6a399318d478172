"""Behind nginx, which most installations put in front: over TCP and over a unix socket.

Rule: nginx is real and keeps its connections to us open; it reads our framing more strictly than
any test, and answers 502 when we send too much, too little, or close where we should not.  It
inherits a listening socket from the test, so no port is guessed and nothing waits for a start.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from apps import TESTS, contract
from apps.client import TIMEOUT, Client, chunked, fetch, request

from fastwsgi.testing import spawn

# A proxy is part of the platform: where there is none, only continuous integration insists.
pytestmark = pytest.mark.skipif(
    shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin") is None
    and not os.environ.get("CI"),
    reason="nginx is not installed",
)

CONFIGURATION = """\
{user}
daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log stderr error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {home}/client_body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    client_max_body_size 0;
    proxy_next_upstream off;
    upstream application {{
        server {upstream};
        keepalive 8;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://application;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
        location /unbuffered/ {{
            proxy_pass http://application/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_request_buffering off;
        }}
        location /http10/ {{
            proxy_pass http://application/;
            proxy_http_version 1.0;
        }}
    }}
}}
"""


@pytest.fixture(scope="module", params=["tcp", "unix"])
def nginx(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    """The (host, port) of an nginx in front of a server process."""
    home = tmp_path_factory.mktemp("nginx")
    bind = "127.0.0.1:0" if request.param == "tcp" else f"unix:{home}/app.sock"
    with (
        spawn("--bind", bind, "apps.proxied:app", cwd=TESTS) as server,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        upstream = f"127.0.0.1:{server.port}" if request.param == "tcp" else bind
        configuration = home / "nginx.conf"
        port = listener.getsockname()[1]
        configuration.write_text(
            CONFIGURATION.format(
                user="user root;" if os.getuid() == 0 else "",
                home=home,
                upstream=upstream,
                port=port,
            )
        )
        with (home / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                ["nginx", "-p", str(home), "-e", "stderr", "-c", str(configuration)],
                stderr=errors,
                pass_fds=[listener.fileno()],
                env={
                    **os.environ,
                    "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin",
                    # How nginx hands its sockets to its successor; here we are the predecessor.
                    "NGINX": f"{listener.fileno()};",
                },
            )
        listener.close()  # from here on a connection succeeds only while nginx lives
        try:
            yield "127.0.0.1", port
        finally:
            process.terminate()
            process.wait(TIMEOUT)
    said = (home / "stderr").read_text()
    assert "[emerg]" not in said, said
    assert "[crit]" not in said, said


def where(nginx: tuple[str, int]) -> dict[str, Any]:
    """What the application says of a request of its own connection to nginx."""
    return json.loads(fetch(nginx, "/where?a=b%20c").body)  # type: ignore[no-any-return]


def test_passes_a_get_with_its_environ(nginx: tuple[str, int]) -> None:
    environ = where(nginx)["environ"]
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["PATH_INFO"] == "/where"
    assert environ["QUERY_STRING"] == "a=b%20c"
    assert environ["HTTP_HOST"] == "test"
    assert environ["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"


def test_keeps_one_connection_for_many_clients(nginx: tuple[str, int]) -> None:
    """Each request comes on a client connection of its own; nginx uses one and the same to us."""
    first = where(nginx)
    for _ in range(20):
        again = where(nginx)
        assert again["sockets"] == first["sockets"]
        assert again["environ"].get("REMOTE_PORT") == first["environ"].get("REMOTE_PORT")


@pytest.mark.parametrize("size", [0, 1, 5000, 1 << 20, (5 << 20) + 1])
@pytest.mark.parametrize("way", ["", "/unbuffered", "/http10"])
def test_passes_a_post_and_its_answer(nginx: tuple[str, int], way: str, size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    response = fetch(nginx, f"{way}/echo", method="POST", body=body[:size])
    assert response.status == 200
    assert response.get("X-Method") == "POST"
    assert response.body == body[:size]


@pytest.mark.parametrize("way", ["", "/unbuffered"])
def test_passes_a_chunked_post(nginx: tuple[str, int], way: str) -> None:
    """Unbuffered, nginx passes the chunks on as it gets them; else it sends a Content-Length."""
    with Client(nginx) as client:
        for _ in range(3):
            client.send(request(f"{way}/echo", "Transfer-Encoding: chunked", method="POST"))
            for piece in (b"one ", b"two " * 10_000, b"three"):
                client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            client.send(chunked())
            response = client.response()
            assert response.body == b"one " + b"two " * 10_000 + b"three"
            assert response.get("X-Length") == str(len(response.body))


@pytest.mark.parametrize("way", ["", "/unbuffered", "/http10"])
def test_passes_a_large_response(nginx: tuple[str, int], way: str) -> None:
    size = 3_000_000
    with Client(nginx) as client:
        for _ in range(2):
            response = client.fetch(f"{way}/large/{size}")
            assert response.status == 200
            assert response.body == b"x" * size


def test_passes_a_head_and_goes_on(nginx: tuple[str, int]) -> None:
    with Client(nginx) as client:
        for _ in range(5):
            assert client.fetch("/echo", method="HEAD").status == 200
            assert client.fetch("/large/10").body == b"x" * 10


def test_passes_each_block_of_a_stream_at_once(nginx: tuple[str, int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Client(nginx) as client:
        listener.settimeout(TIMEOUT)
        client.send(request(f"/unbuffered/stream/{listener.getsockname()[1]}"))
        side, _ = listener.accept()
        with side:
            assert client.head().status == 200
            for number in range(contract.BLOCKS):
                assert client.chunk() == contract.block(number)
                side.sendall(b".")
            assert client.chunk() == b""


def test_a_close_that_was_announced_costs_no_request(nginx: tuple[str, int]) -> None:
    with Client(nginx) as client:
        for _ in range(20):
            assert client.fetch("/close").body == b"closing"
            assert client.fetch("/large/10").status == 200


def test_passes_the_500_of_an_application_and_goes_on(nginx: tuple[str, int]) -> None:
    with Client(nginx) as client:
        for _ in range(5):
            assert client.fetch("/boom").status == 500
            assert client.fetch("/large/10").status == 200


def test_loses_none_of_many_requests(nginx: tuple[str, int]) -> None:
    """No 502 in a thousand requests over eight connections at a time."""
    clients = [Client(nginx) for _ in range(8)]
    try:
        for number in range(125):
            for client in clients:
                client.send(request("/echo", method="POST", body=str(number).encode()))
            for client in clients:
                response = client.response()
                assert (response.status, response.body) == (200, str(number).encode())
    finally:
        for client in clients:
            client.close()
