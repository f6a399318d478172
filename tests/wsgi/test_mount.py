"""script_name: the application is mounted below a path, and what is outside of it is not for it.

Rule (contract 5): a request outside gets 404 from the server, on a connection that lives on, and
the log hears of the first one only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from apps.client import Client, request

from fastwsgi.testing import serve, spawn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

OUTSIDE = ["/other", "/prefix", "/pre;v=1/x", "/", "//pre/x", "/x/pre/y", "/PRE", "/%2Fpre/x",
           "/pre%3Fx", "http://h", "http://h/other?/pre/", "http://h/prefix", "/other%"]
INSIDE = [("/pre", ""), ("/pre/", "/"), ("/pre/x?y=/other", "/x"), ("/%70re/x", "/x"),
          ("/pre%2Fx", "/x"), ("/pre//x", "//x"), ("/pre/../other", "/../other"),
          ("http://h/pre/x", "/x"), ("http://h/pre", ""), ("/pre?q", "")]


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr((environ["SCRIPT_NAME"], environ["PATH_INFO"])).encode()]


@pytest.mark.parametrize("target", OUTSIDE)
def test_a_path_outside_is_404_and_does_not_reach_the_application(target: str) -> None:
    with serve(app, script_name="/pre") as server, Client(server.address) as client:
        for _ in range(8):  # a repeated head takes a shorter way through the server
            response = client.fetch(target)
            assert response.status == 404
            assert not response.closes
            assert response.get("Content-Length") == str(len(response.body))
            assert response.body.count(b"\n") == 1
            assert client.fetch("/pre/x").body == b"('/pre', '/x')"
            head = client.fetch(target, method="HEAD")
            assert (head.status, head.body) == (404, b"")
            assert head.get("Content-Length") == response.get("Content-Length")


@pytest.mark.parametrize(("target", "path"), INSIDE)
def test_a_path_inside_loses_the_prefix(target: str, path: str) -> None:
    with serve(app, script_name="/pre") as server, Client(server.address) as client:
        for _ in range(8):
            assert client.fetch(target).body == repr(("/pre", path)).encode()
            assert client.fetch("/other").status == 404


def test_the_server_as_a_whole_is_below_no_path() -> None:
    with serve(app, script_name="/pre") as server, Client(server.address) as client:
        for _ in range(8):
            assert client.fetch("*", method="OPTIONS").body == b"('', '*')"
            assert client.fetch("/pre/x", method="OPTIONS").body == b"('/pre', '/x')"


def test_a_body_outside_is_passed_over() -> None:
    with (
        serve(app, script_name="/pre", body_memory=100) as server,
        Client(server.address) as client,
    ):
        for size in (10, 1000):
            client.send(request("/other", method="POST", body=b"x" * size) + request("/pre"))
            assert client.response().status == 404
            assert client.response().body == b"('/pre', '')"
        client.send(request("/other", "Connection: close"))
        response = client.response()
        assert response.status == 404
        assert response.closes
        assert client.ended()


@pytest.mark.parametrize("threads", [1, 4])
def test_the_log_hears_of_the_first_one_only(threads: int) -> None:
    with (
        serve(app, script_name="/pre", threads=threads) as server,
        Client(server.address) as client,
    ):
        for number in range(20):
            assert client.fetch(f"/other/{number}?token=secret").status == 404
        lines = [line for line in server.log if "script_name" in line]
        assert len(lines) == len(server.log) == 1
        assert "WARNING" in lines[0]
        assert "GET /other/0 " in lines[0]
        assert "secret" not in lines[0]


def test_a_long_path_is_cut_in_the_log() -> None:
    with (
        serve(app, script_name="/pre") as server,
        Client(server.address) as client,
    ):
        assert client.fetch("/" + "o" * 5000).status == 404
        assert len("".join(server.log)) < 500


def test_the_access_log_has_every_one(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    pattern = "%(s)s %(B)s %(U)s %({PATH_INFO}e)s"
    with (
        serve(app, script_name="/pre", accesslog=str(path), access_log_format=pattern) as server,
        Client(server.address) as client,
    ):
        size = len(client.fetch("/other").body)
        client.fetch("/pre/x")
        client.fetch("/other", method="HEAD")
    assert path.read_text().splitlines() == [
        f"404 {size} /other -", "200 14 /x /x", "404 0 /other -"]


def test_the_health_path_is_where_it_is() -> None:
    with (
        serve(app, script_name="/pre", health_path="/health") as server,
        Client(server.address) as client,
    ):
        assert client.fetch("/health").status == 200
        assert client.fetch("/pre/health").body == b"('/pre', '/health')"
        assert server.log == []


def test_hooks_hear_nothing_of_it(project: Callable[..., Path]) -> None:
    where = project({"conf.py": """
        def pre_request(worker, req):
            worker.log.info("before %s", req.path)
        def post_request(worker, req, environ, resp):
            worker.log.info("after %s", req.path)
        """, "app.py": """
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"fine"]
        """})
    with (
        spawn("-c", "conf.py", "--script-name", "/pre", "app:app", cwd=where) as server,
        Client(server.address) as client,
    ):
        assert client.fetch("/other").status == 404
        assert client.fetch("/pre/x").status == 200
        server.wait_for("after /pre/x")
        assert "before /other" not in server.output()
        assert "after /other" not in server.output()


def test_without_a_mount_every_path_is_the_application_s() -> None:
    with serve(app) as server, Client(server.address) as client:
        assert client.fetch("/other").body == b"('', '/other')"
