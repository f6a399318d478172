"""Parts of files (RFC 9110 14), conditions (13), and files that lie ready in a coding (12.5.3)."""

from __future__ import annotations

import gzip
import os
import re
from email.utils import formatdate
from pathlib import Path

import pytest
from apps.client import Client, Response, request
from apps.statics import LARGE, SMALL, TEN

SIZE = len(TEN)


def parts(response: Response) -> list[tuple[str, bytes]]:
    """The parts of a response, each with the range that it is."""
    kind = str(response.get("Content-Type"))
    assert kind.startswith("multipart/byteranges; boundary=")
    first, *rest = (b"\r\n" + response.body).split(b"\r\n--" + kind.partition("=")[2].encode())
    assert rest.pop() == b"--\r\n"
    assert first in (b"", b"\r\n")
    found = []
    for part in rest:
        head, _, content = part.partition(b"\r\n\r\n")
        assert b"\r\nContent-Type: application/octet-stream\r\n" in head + b"\r\n"
        where = re.search(rb"Content-Range: bytes (\S+)", head)
        assert where is not None
        found.append((where[1].decode(), content))
    return found


@pytest.mark.parametrize(("asked", "first", "last"), [
    ("bytes=0-0", 0, 0), ("bytes=0-99", 0, 99), ("bytes=100-", 100, SIZE - 1),
    ("bytes=-1", SIZE - 1, SIZE - 1), ("bytes=-99999", 0, SIZE - 1), ("bytes=0-", 0, SIZE - 1),
    ("bytes=10239-20000", SIZE - 1, SIZE - 1), ("Bytes=5-6", 5, 6), ("bytes= 5-6 ,", 5, 6),
    ("bytes=0-1,20000-", 0, 1), ("bytes=-0,7-8", 7, 8),
    (f"bytes=9-{10**40}", 9, SIZE - 1),
])
def test_a_part_is_served(client: Client, asked: str, first: int, last: int) -> None:
    response = client.fetch("/static/ten.bin", f"Range: {asked}")
    assert response.status == 206
    assert response.get("Content-Range") == f"bytes {first}-{last}/{SIZE}"
    assert response.body == TEN[first : last + 1]
    assert response.get("Content-Type") == "application/octet-stream"


@pytest.mark.parametrize("asked", [
    "bytes", "bytes=", "bytes=a-b", "bytes=1", "bytes=-", "bytes=5-4", "bytes=1-2-3", "bytes=0x1-2",
    "bytes=+1-2", "lines=1-2", "bytes=1-2;3-4", "bytes =1-2", "bytes=--1", "bytes=1-2,x",
    "bytes=" + ",".join(f"{i}-{i}" for i in range(17)),  # more than one answer has
    "bytes=0-,0-", "bytes=0-5000,100-9000", "bytes=0-9999,-9999",  # more than the file
])
def test_what_is_no_part_or_costs_too_much_gets_the_file(client: Client, asked: str) -> None:
    response = client.fetch("/static/ten.bin", f"Range: {asked}")
    assert (response.status, response.body) == (200, TEN)
    assert response.get("Content-Range") is None


def test_two_fields_are_no_range(client: Client) -> None:
    response = client.fetch("/static/ten.bin", "Range: bytes=0-1", "Range: bytes=2-3")
    assert (response.status, response.body) == (200, TEN)


@pytest.mark.parametrize(("path", "size"), [("ten.bin", SIZE), ("empty.txt", 0)])
@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=99999-100000", "bytes=-0",
                                   f"bytes={10**40}-"])
def test_a_part_that_the_file_does_not_have_is_refused(
    client: Client, path: str, size: int, asked: str,
) -> None:
    response = client.fetch(f"/static/{path}", f"Range: {asked}")
    assert response.status == 416
    assert response.get("Content-Range") == f"bytes */{size}"
    assert client.fetch("/static/a.css").body == SMALL


def test_a_head_has_no_parts(client: Client) -> None:
    response = client.fetch("/static/ten.bin", "Range: bytes=0-1", method="HEAD")
    assert (response.status, response.get("Content-Length")) == (200, str(SIZE))


@pytest.mark.parametrize("asked", ["0-0,5-9", "-2,0-1", "0-99,200-299,400-", "1-1," * 16])
def test_several_parts_are_served_in_their_order(client: Client, asked: str) -> None:
    response = client.fetch("/static/ten.bin", f"Range: bytes={asked}")
    assert response.status == 206
    assert response.get("Content-Range") is None
    wanted = []
    for one in filter(None, asked.split(",")):
        first, _, last = one.partition("-")
        start = int(first) if first else SIZE - int(last)
        end = int(last) if first and last else SIZE - 1
        wanted.append((f"{start}-{end}/{SIZE}", TEN[start : end + 1]))
    assert parts(response) == wanted


def test_large_parts_come_whole(client: Client) -> None:
    size = len(LARGE)
    response = client.fetch("/static/large.bin", "Range: bytes=1-600000,700000-1400000,-3")
    assert parts(response) == [
        (f"1-600000/{size}", LARGE[1:600001]), (f"700000-1400000/{size}", LARGE[700000:1400001]),
        (f"{size - 3}-{size - 1}/{size}", LARGE[-3:])]


# -- conditions ----------------------------------------------------------------------------------

SINCE = "If-Modified-Since: {date}"
OLD, NEW = "Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 2100 23:59:59 GMT"


@pytest.mark.parametrize(("fields", "status"), [
    (["If-None-Match: {tag}"], 304), (["If-None-Match: W/{tag}"], 304), (["If-None-Match: *"], 304),
    (['If-None-Match: "a", {tag} , "b"'], 304),
    (['If-None-Match: "a,b"', "If-None-Match: {tag}"], 304),
    (['If-None-Match: "a"'], 200), (["If-None-Match: {tag}x"], 200), (["If-None-Match:"], 200),
    ([SINCE], 304), (["If-Modified-Since: " + NEW], 304), (["If-Modified-Since: " + OLD], 200),
    (["If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"], 200),
    (["If-Modified-Since: Fri Dec 31 23:59:59 2100"], 304),
    (["If-Modified-Since: yesterday"], 200), (["If-Modified-Since: 31 Dec 2100 23:59:59 GMT"], 200),
    (["If-Modified-Since: Fri, 31 Feb 2100 23:59:59 GMT"], 200),
    (["If-Modified-Since: " + NEW, "If-Modified-Since: " + NEW], 200),
    (['If-None-Match: "a"', SINCE], 200),  # tags come before dates
    (["If-None-Match: {tag}", "If-Modified-Since: " + OLD], 304),
    (["If-Match: {tag}"], 200), (["If-Match: *"], 200), (['If-Match: "a",{tag}'], 200),
    (['If-Match: "a"'], 412), (["If-Match: W/{tag}"], 412),
    (["If-Unmodified-Since: {date}"], 200), (["If-Unmodified-Since: " + OLD], 412),
    (["If-Unmodified-Since: nonsense"], 200),
    (["If-Match: {tag}", "If-Unmodified-Since: " + OLD], 200),
    (['If-Match: "a"', "If-None-Match: {tag}"], 412),
    (["If-Match: {tag}", "If-None-Match: {tag}"], 304),
    (["If-None-Match: {tag}", "Range: bytes=0-1"], 304),
    (["If-Range: {tag}", "Range: bytes=0-1"], 206), (["If-Range: {date}", "Range: bytes=0-1"], 206),
    (["If-Range: W/{tag}", "Range: bytes=0-1"], 200), (['If-Range: "a"', "Range: bytes=0-1"], 200),
    (["If-Range: " + OLD, "Range: bytes=0-1"], 200),
    (["If-Range: " + NEW, "Range: bytes=0-1"], 200),
    (["If-Range: nonsense", "Range: bytes=0-1"], 200), (["If-Range: {tag}"], 200),
    (['If-Range: "a"', "Range: bytes=99999-"], 200),
    (["If-Match: {tag}", "Range: bytes=99999-"], 416),
])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions_decide(client: Client, method: str, fields: list[str], status: int) -> None:
    known = client.fetch("/static/ten.bin")
    tag, date = str(known.get("ETag")), str(known.get("Last-Modified"))
    assert re.fullmatch(r'"[!#-~]+"', tag)
    given = [field.format(tag=tag, date=date) for field in fields]
    response = client.fetch("/static/ten.bin", *given, method=method)
    if method == "HEAD" and status in (206, 416):
        status = 200
    assert response.status == status
    if status != 412 and status != 416:
        assert (response.get("ETag"), response.get("Last-Modified")) == (tag, date)
    if method == "GET" and status in (200, 206):
        assert response.body == (TEN if status == 200 else TEN[:2])
    assert client.fetch("/static/a.css").body == SMALL


def test_what_is_not_there_fails_no_condition(client: Client) -> None:
    assert client.fetch("/static/nothing", "If-Match: *").status == 404
    assert client.fetch("/static/nothing", "If-None-Match: *").status == 404


def test_conditions_hold_on_a_connection_that_repeats_itself(client: Client) -> None:
    tag = client.fetch("/static/a.css").get("ETag")
    client.fetch("/other", f"If-None-Match: {tag}")
    for _ in range(3):
        assert client.fetch("/other", f"If-None-Match: {tag}").status == 200
        assert client.fetch("/static/a.css", f"If-None-Match: {tag}").status == 304
        assert client.fetch("/static/a.css").status == 200


def test_a_time_to_come_is_not_told(client: Client, public: Path) -> None:
    (public / "future.txt").write_bytes(b"x")
    os.utime(public / "future.txt", (4102444800, 4102444800))
    response = client.fetch("/static/future.txt")
    assert response.get("Last-Modified") == response.get("Date")
    os.utime(public / "future.txt", (784111777, 784111777))
    response = client.fetch("/static/future.txt")
    assert response.get("Last-Modified") == formatdate(784111777, usegmt=True) == OLD


# -- codings -------------------------------------------------------------------------------------

CONTENT = {"gzip": gzip.compress(SMALL * 9), "br": b"brotli", "zstd": b"zstandard", None: SMALL * 9}


@pytest.fixture(scope="module")
def coded(public: Path) -> None:
    for name, codings in {"all.css": ("gzip", "br", "zstd"), "two.css": ("gzip", "br"),
                          "one.css": ("gzip",), "photo.jpg": ("gzip",)}.items():
        (public / name).write_bytes(CONTENT[None])
        for coding in codings:
            ending = {"gzip": ".gz", "br": ".br", "zstd": ".zst"}[coding]
            (public / f"{name}{ending}").write_bytes(CONTENT[coding])
    (public / "lone.css.gz").write_bytes(b"beside nothing")
    (public / "trap.css").write_bytes(SMALL)
    (public / "trap.css.gz").symlink_to("../secret")
    (public / "trap.css.br").mkdir()


@pytest.mark.usefixtures("coded")
@pytest.mark.parametrize(("name", "accepted", "coding"), [
    ("all.css", "gzip, br, zstd", "zstd"), ("all.css", "gzip, deflate, br", "br"),
    ("all.css", "gzip", "gzip"), ("all.css", "x-gzip", "gzip"), ("all.css", "GZIP", "gzip"),
    ("all.css", "*", "zstd"), ("all.css", "*;q=0", None), ("all.css", "identity", None),
    ("all.css", "", None), ("all.css", "deflate", None), ("all.css", "gzip;q=0", None),
    ("all.css", "gzip;q=1.0, br;q=0.5, zstd;q=0.2", "gzip"),
    ("all.css", "gzip;q=0.001, *;q=0", "gzip"), ("all.css", "zstd;q=0, *", "br"),
    ("all.css", "gzip;q=0.5, identity;q=0.9", None), ("all.css", "gzip ; Q=0.9 , br;q=x", "gzip"),
    ("all.css", "br;q=1.5", None), ("all.css", "gzip;q=0.5, gzip;q=0", None),
    ("two.css", "gzip, br, zstd", "br"), ("two.css", "zstd, gzip", "gzip"),
    ("one.css", "gzip, br, zstd", "gzip"), ("one.css", "br", None),
    ("photo.jpg", "gzip", None),
])
def test_a_file_that_lies_ready_in_a_coding_is_served_in_it(
    client: Client, name: str, accepted: str, coding: str | None,
) -> None:
    response = client.fetch(f"/static/{name}", f"Accept-Encoding: {accepted}")
    assert (response.status, response.body) == (200, CONTENT[coding])
    assert response.get("Content-Encoding") == coding
    assert response.get("Vary") == (None if name == "photo.jpg" else "Accept-Encoding")
    assert response.get("Content-Type") == (
        "image/jpeg" if name == "photo.jpg" else "text/css; charset=utf-8")
    plain = client.fetch(f"/static/{name}")
    assert plain.get("Vary") == response.get("Vary")
    assert (plain.get("ETag") != response.get("ETag")) == (coding is not None)
    tag = f"If-None-Match: {response.get('ETag')}"
    again = client.fetch(f"/static/{name}", tag, f"Accept-Encoding: {accepted}")
    assert (again.status, again.get("Vary")) == (304, response.get("Vary"))


@pytest.mark.usefixtures("coded")
def test_several_fields_are_one_list(client: Client) -> None:
    response = client.fetch("/static/all.css", "Accept-Encoding: gzip", "Accept-Encoding: br;q=0.1")
    assert response.get("Content-Encoding") == "gzip"


@pytest.mark.usefixtures("coded")
def test_parts_are_those_of_the_coded_file(client: Client) -> None:
    response = client.fetch("/static/all.css", "Accept-Encoding: gzip", "Range: bytes=2-5")
    assert (response.status, response.body) == (206, CONTENT["gzip"][2:6])
    assert response.get("Content-Encoding") == "gzip"


@pytest.mark.usefixtures("coded")
def test_a_coded_file_is_none_by_itself_and_no_way_out(client: Client) -> None:
    assert client.fetch("/static/lone.css", "Accept-Encoding: gzip").status == 404
    whole = client.fetch("/static/all.css.gz", "Accept-Encoding: gzip")
    assert (whole.get("Content-Type"), whole.get("Content-Encoding")) == ("application/gzip", None)
    trap = client.fetch("/static/trap.css", "Accept-Encoding: gzip, br")
    assert (trap.status, trap.body, trap.get("Vary")) == (200, SMALL, None)


@pytest.mark.usefixtures("coded")
def test_a_coding_that_appears_or_goes_counts_from_then_on(client: Client, public: Path) -> None:
    (public / "new.css").write_bytes(SMALL)
    assert client.fetch("/static/new.css", "Accept-Encoding: gzip").body == SMALL
    (public / "new.css.gz").write_bytes(b"packed")
    assert client.fetch("/static/new.css", "Accept-Encoding: gzip").body == b"packed"
    (public / "new.css.gz").unlink()
    assert client.fetch("/static/new.css", "Accept-Encoding: gzip").body == SMALL


def test_pipelined_parts_come_in_their_order(client: Client) -> None:
    client.send(b"".join(request("/static/ten.bin", f"Range: bytes={i}-{i}") for i in range(50)))
    assert b"".join(client.response().body for _ in range(50)) == TEN[:50]
