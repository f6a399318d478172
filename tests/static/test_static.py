"""Files that the server serves itself: what is had, what is not, and who never hears of it."""

from __future__ import annotations

import os
import re
import tempfile
import textwrap
from pathlib import Path

import pytest
from apps.client import Client, Response, chunked, fetch, request
from apps.command import HELLO
from apps.eventually import eventually
from apps.metrics import place, scraped, total
from apps.statics import LARGE, SECRET, SMALL, TEN

from fastwsgi.testing import Process, raw, spawn

NOT_FOUND = (404, b"not found\n")


def said(response: Response) -> tuple[int, bytes]:
    return response.status, response.body


@pytest.mark.parametrize(("path", "content", "kind"), [
    ("/static/a.css", SMALL, "text/css; charset=utf-8"),
    ("/static/ten.bin", TEN, "application/octet-stream"),
    ("/static/large.bin", LARGE, "application/octet-stream"),
    ("/static/empty.txt", b"", "text/plain; charset=utf-8"),
    ("/static/page.HTML", b"<p>", "text/html; charset=utf-8"),
    ("/static/docs/deep/x.json", b"{}", "application/json"),
    ("/static/docs/", b"<h1>docs</h1>", "text/html; charset=utf-8"),
    ("/static/docs/?query", b"<h1>docs</h1>", "text/html; charset=utf-8"),
    ("/static/noending", b"?", "application/octet-stream"),
    ("/static/archive.tar.gz", b"packed", "application/gzip"),
    ("/static/a%20b.txt", b"blank", "text/plain; charset=utf-8"),
    ("/static/%C3%BC.txt", b"umlaut", "text/plain; charset=utf-8"),
    ("/static/+;=@.txt", b"signs", "text/plain; charset=utf-8"),
    ("/%73tat%69c/a%2Ecss", SMALL, "text/css; charset=utf-8"),
    ("/static/" + "x" * 251 + ".txt", b"long", "text/plain; charset=utf-8"),
    ("/static/inside", b"<h1>docs</h1>", "application/octet-stream"),
    ("/static/folder/deep/x.json", b"{}", "application/json"),
    ("/static/more/file", SECRET, "application/octet-stream"),
    ("http://h/static/a.css", SMALL, "text/css; charset=utf-8"),
])
def test_a_file_is_served(client: Client, path: str, content: bytes, kind: str) -> None:
    response = client.fetch(path)
    assert said(response) == (200, content)
    assert response.get("Content-Type") == kind
    assert response.get("Content-Length") == str(len(content))
    assert response.get("Content-Encoding") is None
    assert response.get("Accept-Ranges") == "bytes"
    assert response.get("Connection") is None
    head = client.fetch(path, method="HEAD")
    assert (head.status, head.get("Content-Length")) == (200, str(len(content)))
    assert head.get("ETag") == response.get("ETag")
    assert client.fetch("/other").body == b"app:/other"


@pytest.mark.parametrize("path", [
    "/static", "/static/", "/static/nothing", "/static/bare/", "/static/bare", "/static/a.css/",
    "/static/a.css/x", "/static/docs/nothing.html",
    # ways out
    "/static/../secret", "/static/..", "/static/%2e%2e/secret", "/static/docs/../../secret",
    "/static/.%2e/secret", "/static/%2e%2e%2fsecret", "/static%2f..%2fsecret",
    "/static/..%2fsecret", "/static/docs/..%2f..%2f../secret", "/static/%252e%252e/secret",
    "/static/..%5csecret", "/static/docs%5cindex.html",
    "/static//etc/passwd", "/static///a.css", "/static//", "/static/docs//index.html",
    "/static/./a.css", "/static/docs/./index.html", "/static/%2e/a.css", "/static/..;/secret",
    "/static/..;", "/static/a.css%00", "/static/%00", "/static/..%00/secret", "/static/a.css%0a",
    "/static/a%", "/static/%zz", "/static/%2", "/static%2fa.css", "/static/docs%2findex.html",
    "/static/%c0%ae%c0%ae/secret", "/static/x%7f",
    # links out
    "/static/out", "/static/away/file", "/static/away/", "/static/absolute", "/static/circle",
    # what is no file
    "/static/device", "/static/fifo", "/static/socket",
    # hidden
    "/static/.env", "/static/.git/config", "/static/%2egit/config", "/static/docs/.x",
    "/static/.git/", "/static/.git",
    # long
    "/static/" + "x" * 256, "/static/" + "x/" * 600, "/static/" + "a" * 5000,
])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_not_to_be_had_is_not_there_and_no_matter_of_the_application(
    client: Client, path: str, method: str,
) -> None:
    response = client.fetch(path, method=method)
    assert said(response) == (404, b"" if method == "HEAD" else b"not found\n")
    assert response.get("Content-Length") == "10"
    assert client.fetch("/other").body == b"app:/other"


@pytest.mark.parametrize("path", ["/", "/stati", "/statics/a.css", "/Static/a.css",
                                  "//static/a.css", "/x/../static/a.css"])
def test_other_paths_are_the_applications(client: Client, path: str) -> None:
    assert said(client.fetch(path)) == (200, f"app:{path}".encode())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"])
@pytest.mark.parametrize("path", ["/static/a.css", "/static/../secret", "/static/nothing"])
def test_files_are_for_reading_only(client: Client, method: str, path: str) -> None:
    response = client.fetch(path, method=method, body=b"x" * 100)
    assert response.status == 405
    assert response.get("Allow") == "GET, HEAD"
    assert client.fetch("/static/a.css").body == SMALL


@pytest.mark.parametrize("path", ["/static/docs", "/static/docs?a=b", "/static/folder",
                                  "/static/d%6fcs"])
def test_a_folder_without_its_slash_is_sent_there(client: Client, path: str) -> None:
    response = client.fetch(path)
    name, mark, query = path.partition("?")
    assert response.status == 301
    assert response.get("Location") == f"{name}/{mark}{query}"
    assert client.fetch(str(response.get("Location"))).body == b"<h1>docs</h1>"


def test_a_body_of_a_request_for_a_file_is_read_and_forgotten(client: Client) -> None:
    client.send(request("/static/a.css", "Transfer-Encoding: chunked") + chunked(b"x" * 5000))
    assert client.response().body == SMALL
    assert said(client.fetch("/static/a.css", body=b"y" * 2000)) == (200, SMALL)
    assert client.fetch("/other").body == b"app:/other"


def test_requests_for_files_are_pipelined_among_others(client: Client) -> None:
    paths = ["/static/a.css", "/x", "/static/large.bin", "/static/nothing", "/y",
             "/static/ten.bin"] * 3
    client.send(b"".join(request(path) for path in paths))
    wanted = {"/static/a.css": SMALL, "/static/large.bin": LARGE, "/static/ten.bin": TEN,
              "/static/nothing": b"not found\n"}
    for path in paths:
        assert client.response().body == wanted.get(path, f"app:{path}".encode())


def test_a_thousand_requests_that_come_at_once_are_answered(client: Client) -> None:
    one = b"GET /static/ten.bin HTTP/1.1\r\nHost: h\r\n\r\n"
    client.send(one * 1000)
    assert all(client.response().body == TEN for _ in range(1000))
    assert client.fetch("/other").body == b"app:/other"


@pytest.mark.parametrize("path", ["/static/a.css", "/static/large.bin", "/static/nothing"])
def test_http_1_0_gets_files_too(server: Process, path: str) -> None:
    with Client(server.address) as client:
        client.send(request(path, "Connection: keep-alive", version="HTTP/1.0"))
        kept = client.response()
        assert (kept.get("Connection") or "").lower() == "keep-alive"
        client.send(request(path, version="HTTP/1.0"))
        last = client.response()
        assert said(last) == said(kept)
        assert last.closes
        assert client.ended()


@pytest.mark.parametrize("path", ["/static/a.css", "/static/large.bin"])
def test_a_client_may_end_the_connection(server: Process, path: str, public: Path) -> None:
    answer = raw(server.address, request(path, "Connection: close"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert body == (public / path.removeprefix("/static/")).read_bytes()


def test_a_client_that_reads_slowly_gets_all_of_it(server: Process) -> None:
    with Client(server.address, receive_buffer=4096) as client:
        client.send(request("/static/large.bin") * 2 + request("/other"))
        head = client.head()
        got = b"".join(client.exactly(10000) for _ in range(len(LARGE) // 10000))
        assert (head.status, got) == (200, LARGE)
        assert client.response().body == LARGE
        assert client.response().body == b"app:/other"


def test_files_whose_names_have_a_hash_may_be_kept(client: Client) -> None:
    response = client.fetch("/static/assets/app.0f3a.js")
    assert response.get("Cache-Control") == "public, max-age=31536000, immutable"
    tag = str(response.get("ETag"))
    kept = client.fetch("/static/assets/app.0f3a.js", f"If-None-Match: {tag}")
    assert (kept.status, kept.get("Cache-Control")) == (304, response.get("Cache-Control"))
    assert client.fetch("/static/a.css").get("Cache-Control") is None


def test_files_are_counted_and_logged(server: Process) -> None:
    before = scraped(place(server))
    with Client(server.address) as client:
        client.fetch("/static/ten.bin?counted")
        client.fetch("/static/counted")
        client.fetch("/static/ten.bin", method="HEAD")
        client.fetch("/static/counted-too", method="POST", body=b"")
    after = scraped(place(server))  # at once: a response that is here has been counted
    for method, status in (("GET", "2xx"), ("GET", "4xx"), ("HEAD", "2xx"), ("POST", "4xx")):
        assert (total(after, "fastwsgi_requests_total", method=method, status=status)
                - total(before, "fastwsgi_requests_total", method=method, status=status)) == 1
    server.wait_for(r"GET /static/ten.bin 200 10240\n")
    server.wait_for(r"GET /static/counted 404 10\n")
    server.wait_for(r"HEAD /static/ten.bin 200 0\n")
    server.wait_for(r"POST /static/counted-too 405 \d+\n")


# -- files that change ---------------------------------------------------------------------------


def stalled(server: Process, path: str) -> Client:
    """A client that has read the head and nothing else, while the file waits to be sent."""
    client = Client(server.address, receive_buffer=4096)
    client.send(request(path))
    assert client.head().status == 200
    return client


@pytest.mark.parametrize("change", ["shrinks", "is overwritten"])
def test_a_file_that_changes_while_it_is_sent_ends_the_connection(
    server: Process, public: Path, change: str,
) -> None:
    file = public / f"changing-{len(change)}.bin"
    file.write_bytes(b"a" * 20_000_000)
    with stalled(server, f"/static/{file.name}") as client:
        with file.open("r+b") as opened:
            if change == "shrinks":
                opened.truncate(1000)
            else:
                opened.write(b"b" * 20_000_000)
        try:
            got = client.rest()
        except ConnectionResetError:
            got = b""
        assert len(got) < 20_000_000
    assert fetch(server.address, "/static/a.css").body == SMALL


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_a_file_that_is_gone_while_it_is_sent_is_sent_to_its_end(
    server: Process, public: Path, change: str,
) -> None:
    file = public / f"going-{change}.bin"
    file.write_bytes(b"a" * 8_000_000)
    with stalled(server, f"/static/{file.name}") as client:
        if change == "removed":
            file.unlink()
        else:
            (public / "next").write_bytes(b"b" * 8_000_000)
            os.replace(public / "next", file)
        assert client.exactly(8_000_000) == b"a" * 8_000_000


def test_another_file_of_the_same_name_is_another_file(client: Client, public: Path) -> None:
    file = public / "turn.txt"
    file.write_bytes(b"first")
    first = client.fetch("/static/turn.txt")
    (public / "next.txt").write_bytes(b"other")
    os.replace(public / "next.txt", file)
    other = client.fetch("/static/turn.txt", f"If-None-Match: {first.get('ETag')}")
    assert said(other) == (200, b"other")
    file.unlink()
    assert said(client.fetch("/static/turn.txt")) == NOT_FOUND


def test_a_file_that_the_workers_account_may_not_read_is_not_there() -> None:
    """Nobody's, where a master that is root may read everything."""
    account = ("--user", "nobody") if os.geteuid() == 0 else ()
    with tempfile.TemporaryDirectory(prefix="fastwsgi-") as place:
        os.chmod(place, 0o755)  # which every account can reach
        Path(place, "app.py").write_text(textwrap.dedent(HELLO))
        for name, mode in (("open", 0o644), ("locked", 0)):
            Path(place, name).write_bytes(SECRET)
            Path(place, name).chmod(mode)
        with spawn(*account, "--static", f"/static={place}", "app:app", cwd=Path(place)) as server:
            assert said(fetch(server.address, "/static/open")) == (200, SECRET)
            assert said(fetch(server.address, "/static/locked")) == NOT_FOUND


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc")
def test_no_descriptor_is_left_open(server: Process, public: Path) -> None:
    found = re.search(r"worker \(pid (\d+)\)", server.output())
    assert found is not None
    place = Path("/proc", found[1], "fd")

    def opened() -> list[str]:
        return [os.readlink(fd) for fd in place.iterdir() if fd.is_symlink()]

    with Client(server.address) as client:
        for path in ("/static/a.css", "/static/large.bin", "/static/docs", "/static/nothing"):
            client.fetch(path)
        client.fetch("/static/large.bin", method="HEAD")
    eventually(opened, lambda names: not any("public/" in name for name in names))
