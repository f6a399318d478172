"""The error log as records: JSON, Python's logging, what the application prints."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import select
import signal
import socket
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apps.client import Client, request
from apps.command import Command, Project

from fastwsgi.config.sources import from_keywords
from fastwsgi.errors import ConfigError
from fastwsgi.logs.output import Handler, Outlet
from fastwsgi.logs.streams import Stream
from fastwsgi.testing import Server, raw, serve

CLOSE = "Connection: close"


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise RuntimeError("on purpose\nin two lines")
    if path == "/says":
        environ["wsgi.errors"].write("one\ntwo\n")
    if path == "/traceback":
        import traceback
        try:
            raise ValueError("shown")
        except ValueError:
            traceback.print_exc(file=environ["wsgi.errors"])
    start_response("200 OK", [])
    return [b"hello"]


# ---- JSON ----


@pytest.fixture(scope="module")
def as_json() -> Iterator[Server]:
    with serve(app, log_format="json") as server:
        yield server


def last_records(server: Server, target: str, count: int = 1) -> list[dict[str, Any]]:
    before = len(server.log)
    raw(server.address, request(target, "X-Request-ID: my-id", CLOSE))
    found = [json.loads(line) for line in server.log[before:]]
    assert len(found) == count
    return found


def test_an_exception_is_one_record_with_its_request(as_json: Server) -> None:
    (found,) = last_records(as_json, "/fail?token=S3CR3T")
    assert found["level"] == "ERROR"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d", found["time"])
    assert (found["request_id"], found["method"], found["path"]) == ("my-id", "GET", "/fail")
    assert (found["worker"], found["thread"], found["pid"]) == (1, 0, os.getpid())
    assert found["exception"] == "RuntimeError"
    assert found["traceback"].startswith("Traceback (most recent call last):\n")
    assert found["traceback"].endswith("RuntimeError: on purpose\nin two lines")
    assert "S3CR3T" not in json.dumps(found)


@pytest.mark.parametrize(("target", "end"), [
    ("/says", "one\ntwo"), ("/traceback", "ValueError: shown")])
def test_what_an_application_writes_at_once_is_one_record(
    as_json: Server, target: str, end: str,
) -> None:
    (found,) = last_records(as_json, target)
    assert found["message"].endswith(end)
    assert (found["level"], found["path"]) == ("ERROR", target)


def test_records_of_the_server_itself_have_no_request() -> None:
    with serve(app, process=True, workers=1, log_format="json") as server:
        raw(server.address, request("/", CLOSE))
        found = [json.loads(line) for line in server.log]
    assert any(one["message"].startswith("ready") for one in found)
    assert not any("path" in one for one in found)


# ---- logging ----


DICT = {
    "version": 1,
    "formatters": {"f": {"format": "%(name)s|%(levelname)s|%(request_id)s|%(path)s|%(message)s"}},
    "handlers": {"h": {"class": "logging.FileHandler", "filename": "x", "formatter": "f"}},
    "loggers": {"fastwsgi.error": {"handlers": ["h"], "propagate": False}},
}
INI = """
    [loggers]
    keys = root, e
    [handlers]
    keys = h
    [formatters]
    keys = f
    [logger_root]
    handlers =
    [logger_e]
    qualname = {name}
    handlers = h
    propagate = 0
    [handler_h]
    class = FileHandler
    args = ({path!r},)
    formatter = f
    [formatter_f]
    format = %(name)s|%(levelname)s|%(request_id)s|%(path)s|%(message)s
    """
SAYS = """
    import logging
    def app(environ, start_response):
        logging.getLogger("mine").warning("of the application")
        if environ["PATH_INFO"] == "/fail":
            raise RuntimeError("on purpose")
        start_response("200 OK", [])
        return [b"hello"]
    """


@pytest.mark.parametrize(("kind", "name"), [
    ("ini", "fastwsgi.error"), ("ini", "gunicorn.error"), ("json", "fastwsgi.error"),
    ("dict", "fastwsgi.error")])
def test_records_go_through_logging(project: Project, kind: str, name: str) -> None:
    where = project(app=SAYS)
    log, other = where / "their.log", where / "our.log"
    found = json.loads(json.dumps(DICT).replace('"x"', json.dumps(str(log))))
    (where / "ini").write_text(textwrap.dedent(INI).format(name=name, path=str(log)))
    (where / "json").write_text(json.dumps(found))
    (where / "dict").write_text(f"logconfig_dict = {found!r}\n")
    flags = {"ini": "--log-config", "json": "--log-config-json", "dict": "-c"}
    with running(where, log, flags[kind], kind, "--error-logfile", str(other)) as server:
        raw(server, request("/fail", "X-Request-ID: my-id", CLOSE))
    text = log.read_text()
    assert re.search(rf"^{name}\|INFO\|\|\|ready", text, re.MULTILINE)
    assert re.search(rf"^{name}\|ERROR\|my-id\|/fail\|Error in GET /fail\nTraceback", text,
                     re.MULTILINE) or re.search(rf"^{name}\|ERROR\|my-id\|/fail\|.*\nTraceback",
                                                text, re.MULTILINE)
    assert "of the application" not in text
    assert not other.exists() or other.read_text() == ""


@contextlib.contextmanager
def running(where: Path, log: Path, *args: str) -> Iterator[str]:
    """A server whose log is not on stderr; its address."""
    import subprocess

    from fastwsgi.testing import environment

    address = str(where / "s")
    command = [sys.executable, "-m", "fastwsgi", "-b", f"unix:{address}", *args, "app:app"]
    child = subprocess.Popen(command, cwd=where, env=environment({}), stderr=subprocess.PIPE)
    try:
        for _ in range(1000):
            if log.exists() and "ready" in log.read_text():
                break
            assert child.poll() is None, child.stderr.read() if child.stderr else ""
            select.select([], [], [], 0.01)
        yield address
    finally:
        child.terminate()
        child.communicate(timeout=20)
    assert child.returncode == 0


def test_usr1_reopens_the_files_of_logging(project: Project) -> None:
    where = project(app=SAYS)
    log = where / "their.log"
    (where / "json").write_text(json.dumps(DICT).replace('"x"', json.dumps(str(log))))
    with running(where, log, "--log-config-json", "json", "-p", "pid") as server:
        log.rename(where / "old.log")
        os.kill(int((where / "pid").read_text()), signal.SIGUSR1)
        for _ in range(500):
            raw(server, request("/fail", CLOSE))
            if log.exists() and "/fail" in log.read_text():
                break
        assert "/fail" in log.read_text()


@pytest.mark.parametrize(("args", "words"), [
    (("--log-config", "none.ini"), "logconfig 'none.ini' must be .*--log-config.*: No such file"),
    (("--log-config", "bad"), r"logconfig 'bad' must be a configuration of logging \(from command "
     r"line --log-config\): "),
    (("--log-config-json", "bad"), "logconfig_json 'bad' must be .*JSONDecodeError"),
    (("--log-config-json", "list"), "logconfig_json 'list' must be .*not an object"),
    (("--log-config-json", "wrong"), "logconfig_json 'wrong' must be .*no.such.Class"),
    (("--log-format", "xml"), "log_format must be text or json, not 'xml'"),
    (("--log-syslog-to", "tcp:/x"), "syslog_addr must be udp://HOST:PORT"),
    (("--log-syslog-facility", "x"), "syslog_facility must be kern, user, "),
])
def test_what_is_wrong_is_refused_at_the_start(
    project: Project, command: Command, args: tuple[str, ...], words: str,
) -> None:
    where = project(app=SAYS)
    (where / "bad").write_text("[loggers]\n{")
    (where / "list").write_text("[]")
    (where / "wrong").write_text('{"handlers": {"h": {"class": "no.such.Class"}}}')
    done = command(*args, "app:app")
    assert done.returncode == 2
    assert re.search(words, done.stderr), done.stderr


def test_a_wrong_dictionary_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^logconfig_dict must be a dictionary with texts"):
        from_keywords({"logconfig_dict": {1: 2}})
    with pytest.raises(ConfigError, match=r"^logconfig_dict must be a configuration of logging "
                       r"\(from keyword\): "), serve(app, logconfig_dict={"handlers": {"h": {}}}):
        pass


# ---- what the application prints ----


PRINTS = """
    import os, sys
    print("at import")
    def app(environ, start_response):
        print("to stdout\\nin two lines", flush=True)
        print("to stderr", file=sys.stderr)
        sys.stdout.flush()
        os.system("echo a program")
        start_response("200 OK", [])
        return [b"hello"]
    """


def test_capture_output(project: Project) -> None:
    where = project(app=PRINTS)
    log = where / "log"
    with running(where, log, "--capture-output", "--error-logfile", str(log)) as server:
        raw(server, request("/", CLOSE))
    text = log.read_text()
    for line in ("to stdout", "in two lines", "to stderr", "a program"):
        assert f"\n{line}\n" in text
    assert "at import" in text


def test_what_is_captured_are_records_where_the_log_has_such(project: Project) -> None:
    where = project(app=PRINTS)
    log = where / "log"
    with running(where, log, "--capture-output", "--log-format", "json", "--error-logfile",
                 str(log)) as server:
        raw(server, request("/here", CLOSE))
    found = [json.loads(line) for line in log.read_text().splitlines()]
    printed = [(one["logger"], one["level"], one["message"], one.get("path"))
               for one in found if "logger" in one]
    assert ("fastwsgi.error.stdout", "INFO", "at import", None) in printed
    assert ("fastwsgi.error.stderr", "WARNING", "to stderr", "/here") in printed
    assert [one for one in printed if one[2] in ("to stdout", "in two lines")]


# ---- wsgi.errors ----


def test_a_traceback_in_pieces_is_joined_where_that_is_asked() -> None:
    found: list[str] = []
    stream = Stream(found.append, joined=True)
    pieces = ("Traceback (most recent call last):\n", '  File "a", line 1\n    x\n', "E: y\n")
    for piece in (*pieces, "next\n", pieces[0]):
        stream.write(piece)
    stream.flush()
    assert found == ["".join(pieces), "next\n", pieces[0]]


# ---- a reader that does not read ----


def test_a_stderr_that_nobody_reads_costs_records_and_nothing_else(project: Project) -> None:
    where = project(app="""
        def app(environ, start_response):
            environ["wsgi.errors"].write("x" * 9000 + "\\n")
            start_response("200 OK", [])
            return [b"hello"]
        """)
    with unread(where, "app:app") as (pipe, address), Client(address) as client:
        for _ in range(30):  # much more than a pipe holds
            assert client.fetch("/").body == b"hello"
        os.set_blocking(pipe, False)
        with contextlib.suppress(BlockingIOError):
            while os.read(pipe, 1 << 20):
                pass
        client.fetch("/")
        os.set_blocking(pipe, True)


@contextlib.contextmanager
def unread(where: Path, *args: str) -> Iterator[tuple[int, str]]:
    """A server whose stdout and stderr are a pipe that is not read, and its address."""
    import subprocess

    from fastwsgi.testing import environment

    address = str(where / "s")
    reading, writing = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "fastwsgi", "-b", f"unix:{address}", *args], cwd=where,
        env=environment({}), stdout=writing, stderr=writing)
    os.close(writing)
    try:
        text = b""
        while b"ready" not in text:
            text += os.read(reading, 4096)
        yield reading, address
    finally:
        child.terminate()
        assert child.wait(20) == 0
        os.close(reading)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_an_outlet_waits_once_and_says_what_it_lost(kind: str) -> None:
    if kind == "pipe":
        reading, writing = os.pipe()
    else:
        a, b = socket.socketpair()
        reading, writing = a.detach(), b.detach()
    handler = Handler(None)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.file = io.TextIOWrapper(io.FileIO(writing, "w"))
    record = logging.makeLogRecord({"msg": "x" * 1000})
    while handler.lost < 5:
        handler.emit(record)
    assert os.get_blocking(writing)  # others write to it as ever
    os.set_blocking(reading, False)
    with contextlib.suppress(BlockingIOError):
        while os.read(reading, 1 << 20):
            pass
    handler.emit(logging.makeLogRecord({"msg": "again"}))
    text = os.read(reading, 1 << 16).decode()
    assert text.endswith("again\nThe error log could not be written: 5 records are lost\n")
    os.close(reading)
    handler.file.close()


def test_an_outlet_of_a_file_does_not_wait(tmp_path: Path) -> None:
    with open(tmp_path / "log", "wb") as file:
        outlet = Outlet(file.fileno())
        outlet.write(b"x" * 100_000)
        outlet.close()
    assert (tmp_path / "log").stat().st_size == 100_000


def test_a_full_disk_is_told_when_there_is_room_again() -> None:
    with open("/dev/full", "w") as full, open(os.devnull, "w") as null:
        handler = Handler(full)
        handler.emit(logging.makeLogRecord({"msg": "x"}))
        assert handler.lost == 1
        handler.file = null
        handler.emit(logging.makeLogRecord({"msg": "x"}))
        assert handler.lost == 0
