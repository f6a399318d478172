"""Files that the application names: X-Sendfile and X-Accel-Redirect, of --static-internal."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from apps.client import Client, Response, fetch, request
from apps.statics import LARGE, SECRET, SMALL, TEN

from fastwsgi.testing import Server, raw, serve

closed = threading.Semaphore(0)


class Body:
    """A body that says when it has been closed."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"not this"
        yield b"nor that"

    def close(self) -> None:
        closed.release()


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answers with the fields of the query; `how` is the kind of body, `status` the status."""
    asked = parse_qs(environ["QUERY_STRING"], encoding="latin-1", keep_blank_values=True)
    how, status = asked.pop("how", ["list"])[0], asked.pop("status", ["200 OK"])[0]
    fields = [(name, value) for name, values in asked.items() for value in values]
    if how == "generator":
        def body() -> Iterator[bytes]:
            start_response(status, fields)
            yield b"not this"
            raise AssertionError("asked for more")
        return body()
    write = start_response(status, fields)
    if how == "write":
        write(b"not this")
    if how == "raise":
        raise RuntimeError("after start_response")
    if how == "file":
        return environ["wsgi.file_wrapper"](open(__file__, "rb"))  # type: ignore[no-any-return]
    return {"list": [b"not this"], "tuple": (b"not", b"this"), "empty": [], "close": Body(),
            "write": [b"nor this"]}[how]


@pytest.fixture(scope="module")
def naming(public: Path) -> Iterator[Server]:
    with serve(app, static_internal=[f"/files={public}", f"/files/more={public.parent / 'beyond'}"],
               threads=2) as server:
        yield server


@pytest.fixture
def client(naming: Server) -> Iterator[Client]:
    with Client(naming.address) as client:
        yield client


def redirect(client: Client, path: str, more: str = "", *fields: str, **options: str) -> Response:
    return client.fetch(f"/?X-Accel-Redirect={path}&{more}", *fields, **options)


@pytest.mark.parametrize("how", ["list", "tuple", "empty", "generator", "write", "close", "file"])
@pytest.mark.parametrize(("path", "content"), [
    ("/files/a.css", SMALL), ("/files/large.bin", LARGE), ("/files/ten.bin", TEN),
    ("/files/empty.txt", b""), ("/files/a%2520b.txt", b"blank"), ("/files/more/file", SECRET),
    ("/files/a.css%3Fv=1", SMALL), ("/files/inside", b"<h1>docs</h1>"),
])
def test_a_named_file_comes_in_place_of_the_body(
    client: Client, path: str, content: bytes, how: str,
) -> None:
    response = redirect(client, path, f"how={how}&Set-Cookie=a")
    assert (response.status, response.body) == (200, content)
    assert response.get("X-Accel-Redirect") is None
    assert response.get("Set-Cookie") == "a"
    assert response.get("Content-Length") == str(len(content))
    assert response.get("Connection") is None
    if how == "close":
        assert closed.acquire(timeout=20)
    assert client.fetch("/?how=tuple").body == b"notthis"


@pytest.mark.parametrize("name", ["X-Sendfile", "x-sendfile"])
def test_a_file_is_named_by_its_path(client: Client, public: Path, name: str) -> None:
    response = client.fetch(f"/?{name}={public}/a%2520b.txt")
    assert response.status == 404  # no escapes in a path
    response = client.fetch(f"/?{name}={public}/a%20b.txt")
    assert (response.status, response.body, response.get(name)) == (200, b"blank", None)
    response = client.fetch(f"/?{name}={public}/large.bin", method="HEAD")
    assert (response.status, response.get("Content-Length")) == (200, str(len(LARGE)))
    assert client.fetch(f"/?{name}={public}/%C3%BC.txt").body == b"umlaut"


@pytest.mark.parametrize("path", [
    "/elsewhere/a.css", "/files", "/files/", "/files/docs", "/files/docs/", "/files/nothing",
    "/files/../secret", "/files/%252e%252e/secret", "/files//a.css", "/files/out", "/files/.env",
    "/files/fifo", "a.css", "", "/filesa.css", "/files/a.css%252f..%252f..%252fsecret",
])
@pytest.mark.parametrize("how", ["list", "generator", "write"])
def test_a_file_that_is_not_there_is_404(client: Client, path: str, how: str) -> None:
    response = redirect(client, path, f"how={how}&Content-Type=a/b")
    assert (response.status, response.body) == (404, b"not found\n")
    assert response.get("Content-Type") == "text/plain; charset=utf-8"
    assert client.fetch("/?how=tuple").body == b"notthis"


@pytest.mark.parametrize("path", ["secret", "public/../secret", "public/out", "publicity", "public",
                                  "beyond/../secret", "public/", "public/docs"])
def test_a_path_outside_of_the_folders_is_404(client: Client, public: Path, path: str) -> None:
    assert client.fetch(f"/?X-Sendfile={public.parent}/{path}").status == 404
    assert client.fetch("/?X-Sendfile=/etc/passwd").status == 404
    assert client.fetch("/?X-Sendfile=public/a.css").status == 404


def test_fields_of_the_application_go_with_the_file(client: Client) -> None:
    response = redirect(client, "/files/ten.bin", "Content-Type=a/b&Content-Length=3&ETag=x"
                        "&Last-Modified=x&Cache-Control=private&Content-Disposition=attachment"
                        "&Date=Sun, 06 Nov 1994 08:49:37 GMT".replace(" ", "%20"))
    assert (response.status, response.body) == (200, TEN)
    assert response.get("Content-Type") == "a/b"
    assert response.get("Content-Length") == str(len(TEN))
    assert response.get("Cache-Control") == "private"
    assert response.get("Content-Disposition") == "attachment"
    assert str(response.get("ETag")).startswith('"')
    assert str(response.get("Date")).endswith("1994 08:49:37 GMT")
    assert response.get("Server") == "fastwsgi"
    plain = redirect(client, "/files/a.css")
    assert plain.get("Content-Type") == "text/css; charset=utf-8"


def test_conditions_and_parts_are_those_of_the_file(client: Client) -> None:
    tag = redirect(client, "/files/ten.bin").get("ETag")
    kept = redirect(client, "/files/ten.bin", "Set-Cookie=a", f"If-None-Match: {tag}")
    assert (kept.status, kept.body, kept.get("Set-Cookie")) == (304, b"", "a")
    part = redirect(client, "/files/large.bin", "Content-Type=a/b", "Range: bytes=5-1000000")
    assert (part.status, part.body) == (206, LARGE[5:1000001])
    assert (part.reason, part.get("Content-Type")) == ("Partial Content", "a/b")
    several = redirect(client, "/files/ten.bin", "Content-Type=a/b", "Range: bytes=0-1,5-6")
    assert several.status == 206
    assert str(several.get("Content-Type")).startswith("multipart/byteranges; boundary=")
    assert redirect(client, "/files/ten.bin", "", "Range: bytes=99999-").status == 416
    assert redirect(client, "/files/ten.bin", "", 'If-Match: "x"').status == 412
    assert redirect(client, "/files/ten.bin", method="HEAD").get("Content-Length") == str(len(TEN))


def test_another_status_is_kept_and_has_no_conditions(client: Client) -> None:
    response = redirect(client, "/files/a.css", "status=403%20Forbidden", "Range: bytes=0-1",
                        "If-None-Match: *")
    assert (response.status, response.reason, response.body) == (403, "Forbidden", SMALL)


def test_an_error_after_the_head_was_named_is_an_error(client: Client) -> None:
    response = redirect(client, "/files/a.css", "how=raise")
    assert (response.status, response.body) == (500, b"Internal Server Error\n")


def test_named_files_are_pipelined_among_others(client: Client) -> None:
    one = request("/?X-Accel-Redirect=/files/large.bin")
    client.send((one + request("/?how=tuple")) * 5)
    for _ in range(5):
        assert client.response().body == LARGE
        assert client.response().body == b"notthis"


def test_a_connection_may_end_with_a_named_file(naming: Server) -> None:
    path = "/?X-Accel-Redirect=/files/large.bin"
    answer = raw(naming.address, request(path, "Connection: close"))
    assert answer.endswith(b"\r\n\r\n" + LARGE)
    assert raw(naming.address, request(path, version="HTTP/1.0")).endswith(LARGE)
    with Client(naming.address, receive_buffer=4096) as leaves:
        leaves.send(request(path))
        assert leaves.head().status == 200
        leaves.reset()
    assert fetch(naming.address, "/?how=tuple").body == b"notthis"


def test_no_client_can_ask_for_the_file_itself(client: Client) -> None:
    assert client.fetch("/files/a.css").body == b"not this"


def test_without_folders_the_fields_are_passed_on(public: Path) -> None:
    with serve(app) as server:
        response = fetch(server.address, f"/?X-Sendfile={public}/a.css")
        assert (response.status, response.body) == (200, b"not this")
        assert response.get("X-Sendfile") == f"{public}/a.css"
