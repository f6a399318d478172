"""The demo application: called directly, served over a socket, and looked at in a browser.

Direct calls need no server: `call` is a whole WSGI exchange in one process. The browser test runs
where a Chromium is installed.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from apps.browser import browser, installed

from fastwsgi import demo
from fastwsgi.demo.form import FormError, split
from fastwsgi.testing import Process, spawn

BOUNDARY = "boundary-1"


class Answer(NamedTuple):
    status: str
    headers: dict[str, str]
    blocks: list[bytes]

    @property
    def text(self) -> str:
        return b"".join(self.blocks).decode()

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def call(path: str, method: str = "GET", body: bytes = b"", **extra: str) -> Answer:
    """A whole exchange with the application, under wsgiref's validator."""
    answer: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        answer.update(status=status, headers=dict(headers))
        assert len(headers) == len(answer["headers"]), "a field is repeated"
        return lambda block: None

    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "HTTP_HOST": "test",
        "wsgi.input": io.BytesIO(body),
        **({"CONTENT_LENGTH": str(len(body))} if body else {}),
        **extra,
    }
    setup_testing_defaults(environ)
    result = validator(demo.app)(environ, start_response)
    try:
        blocks = list(result)
    finally:
        result.close()
    return Answer(answer["status"], answer["headers"], blocks)


def form(*parts: tuple[str, bytes]) -> bytes:
    """A multipart body: the parameters of each part's Content-Disposition, and its content."""
    pieces = [
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {parameters}\r\n\r\n".encode()
        + content
        + b"\r\n"
        for parameters, content in parts
    ]
    return b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()


def upload(body: bytes, accept: str = "application/json") -> Answer:
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return call("/upload", "POST", body, CONTENT_TYPE=kind, HTTP_ACCEPT=accept)


def test_page_shows_the_request() -> None:
    answer = call("/", HTTP_USER_AGENT="Netscape/3.0", REMOTE_ADDR="192.0.2.7", REMOTE_PORT="1234")
    assert answer.status == "200 OK"
    assert "<b>User-Agent:</b> Netscape/3.0" in answer.text
    assert "192.0.2.7:1234" in answer.text
    assert int(answer.headers["Content-Length"]) == len(b"".join(answer.blocks))


def test_page_escapes_what_came_from_the_network() -> None:
    attack = '"><script>alert(1)</script>'
    answer = call("/", HTTP_REFERER=attack, QUERY_STRING=attack, SCRIPT_NAME="/a\"><b")
    assert "<script>alert" not in answer.text
    assert '/a"><b' not in answer.text
    assert "&lt;script&gt;alert" in answer.text
    problem = call(f"/{attack}")
    assert problem.status == "404 Not Found"
    assert "<script>" not in problem.text


def test_page_loads_nothing_from_elsewhere() -> None:
    page = call("/").text
    links = re.findall(r'(?:src|href|action)="([^"]*)"', page)
    assert all(link.startswith(("/", "#", "data:")) for link in links)
    for name in ("style.css", "page.js"):
        asset = call(f"/{name}")
        assert asset.status == "200 OK"
        assert "http:" not in asset.text
        assert "https:" not in asset.text
        assert "url(" not in asset.text


def test_every_local_link_of_the_page_is_answered() -> None:
    page = call("/").text
    for link in set(re.findall(r'(?:src|href)="(/[^"#]*)"', page)):
        path, _, query = link.partition("?")
        assert call(path, QUERY_STRING=query).status == "200 OK", link


def test_links_follow_the_mount_point() -> None:
    assert 'href="/mounted/here/style.css"' in call("/", SCRIPT_NAME="/mounted/here").text
    assert 'href="/mounted/here/"' in call("/none", SCRIPT_NAME="/mounted/here").text


def test_mount_point_without_a_slash_shows_the_page() -> None:
    assert call("", SCRIPT_NAME="/mounted").status == "200 OK"


def test_clock_streams_lines_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(demo.time, "sleep", pauses.append)
    answer = call("/clock", QUERY_STRING="blocks=3")
    assert [json.loads(block)["block"] for block in answer.blocks] == [1, 2, 3]
    assert all(block.endswith(b"\n") for block in answer.blocks)
    assert pauses == [demo.BLOCK_SECONDS] * 2
    assert "Content-Length" not in answer.headers


@pytest.mark.parametrize(
    ("query", "count"),
    [("", 20), ("blocks=0", 1), ("blocks=999999999999", 20), ("blocks=-1", 20), ("blocks=x", 20),
     ("blocks=²", 20), ("blocks=7&blocks=9", 7)],
)
def test_stream_is_bounded(query: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.time, "sleep", lambda seconds: None)
    assert len(call("/clock", QUERY_STRING=query).blocks) == count


def test_time_is_json() -> None:
    answer = call("/time")
    assert re.fullmatch(r"\d\d:\d\d:\d\d", answer.json["time"])
    assert re.fullmatch(r"UTC[+-]\d\d:\d\d", answer.json["zone"])
    assert answer.headers["Cache-Control"] == "no-store"


def test_json_returns_the_request_and_its_body() -> None:
    answer = call("/json", "PATCH", "grüße".encode(), QUERY_STRING="a=1", HTTP_X_Y="z")
    assert answer.json["method"] == "PATCH"
    assert answer.json["query"] == "a=1"
    assert answer.json["headers"]["X-Y"] == "z"
    assert answer.json["body"] == "grüße"


def test_json_shows_characters_beyond_ascii() -> None:
    answer = call("/json", QUERY_STRING="é".encode().decode("latin-1"), HTTP_X="\xff")
    assert answer.json["query"] == "é"
    assert answer.json["headers"]["X"] == "\ufffd"


def test_upload_tells_what_arrived() -> None:
    content = bytes(range(256)) * 10
    answer = upload(form(('name="file"; filename="größe.bin"', content), ('name="note"', b"hi")))
    file, note = answer.json["parts"]
    assert file["filename"] == "größe.bin"
    assert file["size"] == 2560
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert file["preview"].startswith("00 01 02")
    assert (note["name"], note["filename"], note["preview"]) == ("note", None, "hi")


def test_upload_from_a_plain_browser_gets_the_page() -> None:
    answer = upload(form(('name="f"; filename="<b>.txt"', b"<i>text</i>")), "text/html")
    assert answer.status == "200 OK"
    assert "&lt;b&gt;.txt" in answer.text
    assert "&lt;i&gt;text&lt;/i&gt;" in answer.text
    assert "<i>text" not in answer.text


@pytest.mark.parametrize("content", [b"", b"\r\n", b"--", b"\r\n--bound", b"a\r\n\r\nb", b"\0"])
def test_upload_keeps_content_that_looks_like_framing(content: bytes) -> None:
    (part,) = split(form(('name="f"; filename="f"', content)), BOUNDARY.encode())
    assert part.content == content


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", "400"),
        (b"x" * 100, "400"),
        (form(('name="a"', b"1"))[:-6], "400"),
        (f"--{BOUNDARY}\r\nno head\r\n--{BOUNDARY}--".encode(), "400"),
        (form(("", b"no name")), "400"),
        (form(*[('name="a"', b"1")] * 101), "413"),
    ],
)
def test_refuses_a_form_it_cannot_read(body: bytes, status: str) -> None:
    answer = upload(body)
    assert answer.status.startswith(status)
    assert answer.json["error"]


def test_refuses_an_upload_past_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "MAX_UPLOAD", 100)
    body = form(('name="a"', b"1" * 200))
    assert upload(body).status.startswith("413")
    assert upload(body, "text/html").status.startswith("413")


def test_refuses_what_is_no_form() -> None:
    answer = call("/upload", "POST", b"{}", CONTENT_TYPE="application/json")
    assert answer.status.startswith("415")


def test_preview_does_not_cut_a_character_in_two() -> None:
    text = "ü" * 400
    (part,) = split(form(('name="t"', b"a" + text.encode())), BOUNDARY.encode())
    assert part.summary()["preview"] == "a" + "ü" * 119 + "…"


def test_truncated_form_is_an_error_with_a_status() -> None:
    with pytest.raises(FormError) as caught:
        list(split(b"--b\r\n", b"b"))
    assert caught.value.status == "400 Bad Request"


def test_wrong_method_names_the_right_ones() -> None:
    answer = call("/upload")
    assert answer.status == "405 Method Not Allowed"
    assert answer.headers["Allow"] == "POST"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    # not in the source tree, whose package may not be compiled
    with spawn("fastwsgi.demo:app", cwd=tmp_path_factory.mktemp("served")) as process:
        yield process


def test_served_page_answers(served: Process) -> None:
    connection = http.client.HTTPConnection(served.host, served.port, timeout=10)
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.status == 200
    assert "Your server answers" in response.read().decode()
    connection.request("HEAD", "/")
    head = connection.getresponse()
    assert int(head.headers["Content-Length"]) > 1000
    assert head.read() == b""
    connection.close()


def test_served_stream_comes_in_chunks(served: Process) -> None:
    connection = http.client.HTTPConnection(served.host, served.port, timeout=10)
    connection.request("GET", "/clock?blocks=4")
    response = connection.getresponse()
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert [json.loads(line)["block"] for line in response] == [1, 2, 3, 4]
    connection.close()


def test_served_upload_arrives_whole(served: Process) -> None:
    content = bytes(range(256)) * 20_000  # 5 MB
    connection = http.client.HTTPConnection(served.host, served.port, timeout=30)
    fields = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    connection.request("POST", "/upload", form(('name="f"; filename="f"', content)), fields)
    (part,) = json.load(connection.getresponse())["parts"]
    assert part["size"] == len(content)
    assert part["sha256"] == hashlib.sha256(content).hexdigest()
    connection.close()


@pytest.mark.skipif(installed() is None, reason="no Chromium on this machine")
def test_page_works_in_a_browser(served: Process, tmp_path: Path) -> None:
    file = tmp_path / "grüße.txt"
    file.write_text("from the browser", encoding="utf-8")
    with browser(str(installed())) as page:
        page.look(390, 800)
        page.open(served.url)
        assert page.ask("document.documentElement.scrollWidth <= innerWidth"), "too wide"
        page.until("document.querySelectorAll('.lane .lit').length == 10")
        page.until("document.querySelector('#trip').textContent.startsWith('answered in')")
        clock = page.ask("document.querySelector('#time').innerText")
        assert re.fullmatch(r"\d\d:\d\d:\d\d", clock)
        page.ask("document.querySelector('#json-send').click()")
        page.until("document.querySelector('#json-output').textContent.includes('hello=world')")
        page.choose_files("#files", file)
        page.ask("document.querySelector('#form').requestSubmit()")
        page.until("document.querySelectorAll('.part').length == 2")
        shown = page.ask("document.querySelector('#received').innerText")
        assert "grüße.txt" in shown
        assert "from the browser" in shown
        assert page.errors == []
        page.look(1280, 900, dark=True)
        dark = page.ask("getComputedStyle(document.body).backgroundColor")
        page.look(1280, 900)
        assert dark != page.ask("getComputedStyle(document.body).backgroundColor")
        page.screenshot(tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 20_000
