"""--timeout: what stays in the application is named, then interrupted, or its worker replaced."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from apps.command import Project

from fastwsgi.testing import Process, raw, serve, spawn

APP = """
    import os, re, time

    class Closing:
        def __iter__(self):
            yield b"first"
            time.sleep(60)
        def close(self):
            print("closed", file=self.log)

    def app(environ, start_response):
        log, path = environ["wsgi.errors"], environ["PATH_INFO"]
        if path == "/loop":
            try:
                while True:
                    pass
            except Exception:
                print("taken for an error", file=log)
        if path == "/sleep":
            time.sleep(60)
        if path == "/deaf":
            while True:
                try:
                    open("gate", "rb").read()
                    break
                except BaseException:
                    pass
        if path == "/lock":
            re.match("(a+)+$", "a" * 60 + "b")  # the engine keeps the interpreter lock
        if path == "/stream":
            start_response("200 OK", [])
            body = Closing()
            body.log = log
            return body
        if path == "/own":
            from fastwsgi.errors import RequestTimeout
            try:
                time.sleep(60)
            except RequestTimeout:
                start_response("504 Gateway Timeout", [])
                return [b"an answer of its own"]
        if path == "/write":
            write = start_response("200 OK", [("Content-Length", "50000000")])
            for _ in range(50):
                write(b"x" * 1000000)
            return []
        start_response("200 OK", [])
        return [str(os.getpid()).encode()]
    """


def ask(server: Process, path: str) -> bytes:
    return raw(server.address,
               f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode(), timeout=30)


def begin(server: Process, path: str) -> socket.socket:
    """A client that has sent its request and not read its answer."""
    client = socket.create_connection((server.host, server.port), 30)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    return client


def worker_of(server: Process) -> bytes:
    return ask(server, "/").rpartition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(("threads", "path"), [("1", "/loop"), ("2", "/loop"), ("1", "/sleep")])
def test_a_request_over_its_time_is_named_and_answered_503(
    project: Project, path: str, threads: str,
) -> None:
    with spawn("--timeout", "0.3", "--threads", threads, "app:app", cwd=project(app=APP)) as server:
        before = worker_of(server)
        answer = ask(server, f"{path}?id=7")
        assert answer.startswith(b"HTTP/1.1 503 ")
        line = server.wait_for(r"has been in the application for 0\.\d s \(timeout 0\.3\)")
        assert re.search(rf"\[ERROR\] GET {path}\?id=7 from 127\.0\.0\.1 has been", line)
        assert worker_of(server) == before
        server.wait_for("Ended by its timeout: GET " + path)
        server.wait_for(rf"GET {path}\?id=7 from 127\.0\.0\.1 has ended after")
        record = server.output().partition("has been in the application")[2]
        stack = record.partition("[WARNING]")[0]
        assert re.search(r"--> thread (MainThread|fastwsgi-1):\n +File .*app\.py.* in app\n", stack)
        assert "process.py" not in stack
        assert "taken for an error" not in server.output()


def test_the_client_is_named_that_a_trusted_proxy_names(project: Project) -> None:
    with spawn("--timeout", "0.3", "--forwarded-follow", "address", "app:app",
               cwd=project(app=APP)) as server:
        answer = raw(server.address, b"GET /sleep HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                     b"X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\n\r\n", timeout=30)
        assert answer.startswith(b"HTTP/1.1 503 ")
        server.wait_for(r"GET /sleep from 192\.0\.2\.7 has been in the application")


def test_an_application_may_answer_by_itself(project: Project) -> None:
    with spawn("--timeout", "0.3", "app:app", cwd=project(app=APP)) as server:
        answer = ask(server, "/own")
        assert answer.startswith(b"HTTP/1.1 504 ")
        assert answer.endswith(b"an answer of its own")


def test_a_stream_over_its_time_breaks_off_and_is_closed(project: Project) -> None:
    with spawn("--timeout", "0.3", "app:app", cwd=project(app=APP)) as server:
        answer = ask(server, "/stream")
        assert b"first" in answer
        assert not answer.endswith(b"0\r\n\r\n")
        server.wait_for("^closed")
        assert worker_of(server).isdigit()


def test_others_are_served_by_other_threads_meanwhile(project: Project) -> None:
    with (spawn("--timeout", "1", "--threads", "2", "app:app", cwd=project(app=APP)) as server,
          begin(server, "/loop") as hanging):
        before = worker_of(server)
        assert "has been in the application" not in server.output()
        assert hanging.recv(100).startswith(b"HTTP/1.1 503 ")
        assert worker_of(server) == before


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_request_that_does_not_end_has_its_worker_replaced(
    project: Project, tmp_path: Path, threads: str,
) -> None:
    os.mkfifo(tmp_path / "gate")
    where = project({"fastwsgi.conf.py": "def worker_abort(worker):\n"
                     "    worker.log.info('abort of %s', worker.pid)\n"}, app=APP)
    with spawn("--timeout", "0.2", "--graceful-timeout", "20", "--threads", threads, "app:app",
               cwd=where) as server:
        before = worker_of(server).decode()
        with begin(server, "/deaf") as hanging:
            server.wait_for(r"GET /deaf from 127\.0\.0\.1 has not ended .* replacing this worker")
            server.wait_for(f"abort of {before}")
            server.wait_for(r"exiting without an answer to GET /deaf")
            assert hanging.recv(100) == b""
        assert worker_of(server).decode() != before


def test_requests_behind_one_that_does_not_end_are_served_by_the_next_worker(
    project: Project, tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "gate")
    with (spawn("--timeout", "0.3", "app:app", cwd=project(app=APP)) as server,
          begin(server, "/deaf"), begin(server, "/behind") as behind):
        assert behind.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("preload", [[], ["--preload"]])
def test_a_worker_whose_lock_is_kept_is_found_by_its_master(
    project: Project, preload: list[str],
) -> None:
    with spawn("--timeout", "0.1", "--graceful-timeout", "0.2", *preload, "app:app",
               cwd=project(app=APP)) as server:
        before = worker_of(server).decode()
        with begin(server, "/lock?x=1"):
            line = server.wait_for(rf"worker {before} is stuck: ")
            assert re.search(
                r"GET /lock\?x=1 from 127\.0\.0\.1 has been in its application for \d", line)
            server.wait_for(r'File ".*app\.py", line \d+ in app')
            server.wait_for(f"worker {before} did not stop in time; killed")
        assert worker_of(server).decode() != before


def test_a_client_that_reads_slowly_is_no_hanging_request(project: Project) -> None:
    with spawn("--timeout", "2", "--threads", "2", "app:app",
               cwd=project(app=APP)) as server:
        with begin(server, "/write") as slow:
            slow.recv(1)
            assert ask(server, "/loop").startswith(b"HTTP/1.1 503 ")  # by now time has passed
            size = 0
            while block := slow.recv(1 << 20):
                size += len(block)
        assert size > 50_000_000
        assert "GET /write" not in server.output()


def test_no_limit_interrupts_nothing(project: Project) -> None:
    with spawn("--timeout", "0", "app:app", cwd=project(app=APP)) as server:
        with begin(server, "/sleep"):
            server.signal(signal.SIGQUIT)
            assert server.wait() == 0
        assert "application for" not in server.output()


def test_a_server_in_this_process_interrupts_too(project: Project) -> None:
    def app(environ: dict[str, object], start_response: Callable[..., object]) -> list[bytes]:
        while environ["PATH_INFO"] == "/loop":
            pass
        start_response("200 OK", [])
        return [b"answered"]

    with serve(app, timeout=0.2) as server:
        answer = raw(server.address, b"GET /loop HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert any("GET /loop from 127.0.0.1 has been in the application" in line
                   for line in server.log)


def test_usr2_makes_a_worker_write_its_stacks(project: Project) -> None:
    with spawn("app:app", cwd=project(app=APP)) as server:
        pid = int(worker_of(server))
        os.kill(pid, signal.SIGUSR2)
        server.wait_for(r"^Current thread .*most recent call first")
        assert int(worker_of(server)) == pid


PACED = """
    import os, time
    def app(environ, start_response):
        ms = int(environ["QUERY_STRING"])
        end = time.monotonic() + ms / 1000
        while time.monotonic() < end:
            time.sleep(0.002)
        start_response("200 OK", [])
        return [f"{ms} in {os.getpid()}".encode()]
    """


def test_no_request_is_interrupted_for_another(project: Project) -> None:
    """Requests that end right before, at and after their time: it is raised there or nowhere."""
    durations = [0, 190, 195, 200, 205, 210, 0, 400]
    with spawn("--timeout", "0.2", "--threads", "4", "app:app", cwd=project(app=PACED)) as server:
        pid = int(ask(server, "/?0").rpartition(b" in ")[2])

        def client(seed: int) -> list[tuple[int, bytes]]:
            order = random.Random(seed).sample(durations, len(durations))
            return [(ms, ask(server, f"/?{ms}")) for ms in order]

        with ThreadPoolExecutor(4) as pool:
            answers = [pair for found in pool.map(client, range(8)) for pair in found]
        late = 0
        for ms, answer in answers:
            if answer.startswith(b"HTTP/1.1 503 "):
                late += 1
                assert ms > 0
            else:
                assert answer.endswith(f"\r\n{ms} in {pid}".encode())
        assert late >= 8
        assert "Traceback" not in server.output()
