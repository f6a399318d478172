"""pre_request and post_request: what they are given, when they are called, what they leave be."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from apps.client import GET, Client, fetch
from apps.command import Project

from fastwsgi.config.hooks import WorkerView
from fastwsgi.testing import raw, serve, spawn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Told:
    """The two hooks, as keywords of serve; what they were given, in order."""

    def __init__(self) -> None:
        self.before: list[tuple[WorkerView, Any]] = []
        self.after: list[tuple[WorkerView, Any, dict[str, Any], Any]] = []
        self._changed = threading.Condition()

    @property
    def hooks(self) -> dict[str, Callable[..., None]]:
        return {"pre_request": lambda *given: self.before.append(given),
                "post_request": self._note}

    def _note(self, *given: Any) -> None:
        with self._changed:
            self.after.append(given)
            self._changed.notify_all()

    def resp(self, number: int = 0) -> Any:
        """Wait for the end of that request; its response."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.after) > number, 30)
        return self.after[number][3]


def hello(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello ", environ["wsgi.input"].read()]


def test_hooks_are_given_request_environ_and_response() -> None:
    told = Told()
    seen: list[dict[str, Any]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        seen.append(environ)
        environ["left"] = "behind"
        return hello(environ, start_response)

    with serve(app, **told.hooks) as server, Client(server.address) as client:
        address, port = client.socket.getsockname()
        assert client.fetch("/a%20b;c?x=1&y", "X-One: 1", "x-one: 2", "Content-Type: a/b",
                            method="POST", body=b"you").body == b"hello you"
        resp = told.resp()
    ((worker, req, environ, _),) = told.after
    assert told.before == [(worker, req)]
    assert environ is seen[0]
    assert environ["left"] == "behind"
    assert (req.method, req.uri, req.path, req.query) == (
        "POST", "/a%20b;c?x=1&y", "/a%20b;c", "x=1&y")
    assert (req.version, req.scheme, req.remote_addr) == ((1, 1), "http", (address, port))
    assert sorted(req.headers) == [("CONTENT-LENGTH", "3"), ("CONTENT-TYPE", "a/b"),
                                   ("HOST", "test"), ("X-ONE", "1, 2")]
    assert req.body is environ["wsgi.input"]
    assert (resp.status, resp.status_code) == ("200 OK", 200)
    assert resp.headers == [("Content-Type", "text/plain")]
    assert (resp.sent, resp.response_length) == (9, None)
    assert (worker.pid, worker.age) == (os.getpid(), 1)


def test_hooks_see_the_client_that_a_proxy_names() -> None:
    told = Told()
    fields = b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\r\n"
    with serve(hello, forwarded_follow="scheme,address", **told.hooks) as server:
        raw(server.address, GET.replace(b"\r\n\r\n", b"\r\n" + fields))
        told.resp()
    req = told.after[0][1]
    assert (req.remote_addr, req.scheme) == (("192.0.2.7", 0), "https")


def test_a_target_in_absolute_form_has_a_path() -> None:
    told = Told()
    with serve(hello, **told.hooks) as server:
        raw(server.address, GET.replace(b" / ", b" http://h:1/p?q "))
        told.resp()
    req = told.after[0][1]
    assert (req.uri, req.path, req.query) == ("http://h:1/p?q", "/p", "q")


def test_either_hook_may_be_alone() -> None:
    told = Told()
    with serve(hello, pre_request=told.hooks["pre_request"]) as server:
        assert fetch(server.address).get("Content-Length") == "6"
        assert len(told.before) == 1
    with serve(hello, post_request=told.hooks["post_request"]) as server:
        assert fetch(server.address).get("Content-Length") == "6"
        assert told.resp().status == "200 OK"


@pytest.mark.parametrize("count", [2, 3, 4])
def test_post_request_gets_as_many_arguments_as_it_takes(count: int) -> None:
    given: list[tuple[Any, ...]] = []
    takers: dict[int, Callable[..., None]] = {
        2: lambda worker, req: given.append((worker, req)),
        3: lambda worker, req, environ: given.append((worker, req, environ)),
        4: lambda worker, req, environ, resp: given.append((worker, req, environ, resp)),
    }
    with serve(hello, post_request=takers[count]) as server:
        fetch(server.address)
    assert [len(one) for one in given] == [count]


def test_a_pre_request_that_raises_is_a_500_and_the_worker_lives() -> None:
    told = Told()

    def refuse(_worker: WorkerView, req: Any) -> None:
        if req.path == "/no":
            raise OSError("not this one")

    with serve(hello, **{**told.hooks, "pre_request": refuse}) as server:
        assert fetch(server.address, "/no").status == 500
        assert told.resp().status is None
        assert fetch(server.address, "/yes").status == 200
        assert any("OSError: not this one" in line for line in server.log)


def test_what_post_request_raises_is_logged_and_the_response_is_whole(project: Project) -> None:
    where = project({"fastwsgi.conf.py": """
        def post_request(worker, req, environ, resp):
            worker.log.critical("about to fail after %s", resp.status)
            try:
                raise KeyError("caught")
            except KeyError:
                worker.log.exception("in %s", "the hook")
            raise OSError("too late")
        """}, app="""
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"here"]
        """)
    with spawn("app:app", cwd=where) as server:
        assert raw(server.address, GET).endswith(b"here")
        server.wait_for(r"\[CRITICAL\] about to fail after 200 OK")
        server.wait_for(r"\[ERROR\] in the hook")
        server.wait_for("KeyError: 'caught'")
        server.wait_for("the hook post_request failed")
        server.wait_for("OSError: too late")
        assert raw(server.address, GET).endswith(b"here")


@pytest.mark.parametrize("started", [True, False])
def test_post_request_follows_an_application_that_raises(started: bool) -> None:
    told = Told()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        if started:
            start_response("201 Created", [("Content-Length", "5")])
        raise OSError("no database")

    with serve(app, **told.hooks) as server:
        assert fetch(server.address).status == 500
        resp = told.resp()
        assert (resp.status, resp.status_code) == (("201 Created", 201) if started
                                                   else (None, None))
        assert resp.response_length == (5 if started else None)
        assert any("OSError: no database" in line for line in server.log)


class Closing:
    """A stream that says when it is closed; each block waits for the one before to be seen."""

    def __init__(self, told: Told, taken: threading.Semaphore) -> None:
        self.ends: list[int] = []
        self._told = told
        self._taken = taken

    def __iter__(self) -> Iterator[bytes]:
        yield b"one"
        assert self._taken.acquire(timeout=30)
        yield b"three"

    def close(self) -> None:
        self.ends.append(len(self._told.after))


def test_a_stream_goes_block_by_block_and_is_closed_before_post_request() -> None:
    told, taken = Told(), threading.Semaphore(0)
    made: list[Closing] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        made.append(Closing(told, taken))
        return made[0]

    with serve(app, **told.hooks) as server, Client(server.address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        client.head()
        assert client.chunk() == b"one"
        assert not told.after
        taken.release()
        assert [*client.chunks()] == [b"three"]
        assert told.resp().sent == 8
    assert made[0].ends == [0]
    assert len(told.after) == 1


def test_post_request_follows_when_the_client_leaves() -> None:
    told = Told()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        while True:
            yield bytes(65536)

    with serve(app, **told.hooks) as server:
        with Client(server.address) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            client.head()
        assert told.resp().status == "200 OK"


def test_write_and_exc_info_are_passed_on() -> None:
    told = Told()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("X-Which", "first")])
        try:
            raise ValueError("on second thoughts")
        except ValueError as error:
            write = start_response("404 Not Found", [("X-Which", "second")],
                                   (type(error), error, error.__traceback__))
        write(b"written ")
        return [b"returned"]

    with serve(app, **told.hooks) as server:
        answer = fetch(server.address)
        assert (answer.status, answer.get("X-Which")) == (404, "second")
        assert answer.body == b"written returned"
        resp = told.resp()
        assert (resp.status_code, resp.headers) == (404, [("X-Which", "second")])
        assert resp.sent == len(b"written returned")


def test_a_second_start_response_is_still_an_error() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        start_response("201 Created", [])
        return []

    told = Told()
    with serve(app, **told.hooks) as server:
        assert fetch(server.address).status == 500
        assert told.resp().status == "200 OK"


@pytest.mark.parametrize("result", [None, b"bytes", "text", 5, ["text"]], ids=repr)
def test_a_wrong_result_is_told_as_without_hooks(result: Any) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        start_response("200 OK", [])
        return result

    told = Told()
    logs = []
    for hooks in ({}, told.hooks):
        with serve(app, **hooks) as server:
            assert fetch(server.address).status == 500
            logs.append([line for line in server.log if "TypeError" in line])
    assert logs[0] == logs[1] != []
    assert told.resp().status == "200 OK"


@pytest.mark.parametrize("kind", ["file", "memory"])
@pytest.mark.parametrize("length", [None, "1000"])
def test_a_file_is_still_sent_from_its_position_and_closed(
    tmp_path: Path, kind: str, length: str | None,
) -> None:
    data = os.urandom(300_000)
    (tmp_path / "data").write_bytes(data)
    opened: list[io.IOBase] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        file = (tmp_path / "data").open("rb") if kind == "file" else io.BytesIO(data)
        opened.append(file)
        file.seek(100)
        start_response("200 OK", [("Content-Length", length)] if length else [])
        return environ["wsgi.file_wrapper"](file)

    told = Told()
    with serve(app, **told.hooks) as server:
        answer = fetch(server.address)
        size = int(length) if length else len(data) - 100
        assert answer.body == data[100 : 100 + size]
        # the kernel sends a plain file, whose size is known beforehand
        assert answer.chunked == (kind == "memory" and length is None)
        assert told.resp().sent == size
    assert [file.closed for file in opened] == [True]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_list_keeps_its_length(method: str) -> None:
    told = Told()
    with serve(hello, **told.hooks) as server, Client(server.address) as client:
        for number in range(2):
            answer = client.fetch(method=method)
            assert answer.get("Content-Length") == "6"
            assert told.resp(number).status == "200 OK"


def test_the_checker_sees_the_application_and_not_the_hooks() -> None:
    told = Told()
    with serve(hello, strict_wsgi=True, **told.hooks) as server:
        assert fetch(server.address, body=b"you", method="POST").body == b"hello you"
        assert told.resp().sent == 9
        assert not [line for line in server.log if "WARNING" in line]


def test_a_warm_up_request_is_nobody_s(project: Project) -> None:
    where = project({"fastwsgi.conf.py": """
        warmup = "/warm"
        def pre_request(worker, req):
            worker.log.info("before %s", req.path)
        """}, app="""
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"here"]
        """)
    with spawn("app:app", cwd=where) as server:
        raw(server.address, GET)
        server.wait_for("before /$")
        assert "before /warm" not in server.output()
