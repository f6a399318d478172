"""The test helpers we offer: servers in a thread, in a child, as a command; raw bytes."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from apps.client import GET
from apps.command import Project

from fastwsgi.errors import ConfigError, ListenError
from fastwsgi.testing import Server, raw, serve, spawn

Start = Callable[..., Any]


def whoami(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    body = f"pid {os.getpid()} thread {threading.current_thread().name}".encode()
    print("asked", file=environ["wsgi.errors"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.mark.parametrize("process", [False, True])
def test_serves_on_a_free_port(process: bool) -> None:
    with serve(whoami, process=process) as server:
        assert server.url == f"http://{server.host}:{server.port}"
        assert server.address == ("127.0.0.1", server.port)
        assert (server.pid == os.getpid()) is not process
        answer = raw(server.address, GET)
        assert f"pid {server.pid} ".encode() in answer
        assert "asked" in server.log
    with pytest.raises(ConnectionRefusedError):
        raw(server.address, GET)


def test_serves_with_workers_below_a_child() -> None:
    with serve(whoami, process=True, workers=2) as server:
        assert any("ready: 2 workers" in line for line in server.log)
        assert f"pid {server.pid} ".encode() not in raw(server.address, GET)


def test_serves_on_a_unix_socket(tmp_path: Path) -> None:
    with serve(whoami, bind=f"unix:{tmp_path}/s") as server:
        assert server.address == f"{tmp_path}/s"
        assert (server.host, server.port) == ("", 0)
        assert b"pid " in raw(server.address, GET)
    assert not (tmp_path / "s").exists()


def test_several_servers_live_side_by_side() -> None:
    def other(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"the other"]

    with serve(whoami) as first, serve(other) as second:
        assert raw(second.address, GET).endswith(b"the other")
        assert b"pid " in raw(first.address, GET)
        assert second.log == []


def test_a_thread_that_is_not_the_main_one_may_serve() -> None:
    answers: list[bytes] = []

    def run() -> None:
        with serve(whoami) as server:
            answers.append(raw(server.address, GET))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert b"pid " in answers[0]


def test_a_wrong_setting_is_an_exception_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="did you mean 'backlog'"), serve(whoami, baklog=1):
        pass
    with pytest.raises(ConfigError, match="pass process=True"), serve(whoami, workers=1):
        pass
    with pytest.raises(ListenError), serve(whoami, bind="unix:/no/such/dir/s"):
        pass


def test_an_exception_in_the_block_stops_the_server_and_comes_through() -> None:
    seen: list[Server] = []
    with pytest.raises(LookupError), serve(whoami) as server:
        seen.append(server)
        raise LookupError
    with pytest.raises(ConnectionRefusedError):
        raw(seen[0].address, GET)


def test_a_server_that_ended_by_itself_is_told() -> None:
    def leave(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        os._exit(7)

    with (
        pytest.raises(RuntimeError, match="the server ended with 7"),
        serve(leave, process=True) as server,
    ):
        assert raw(server.address, GET) == b""


def test_spawn_runs_the_command(project: Project) -> None:
    where = project(app="""
        import os
        def app(environ, start_response):
            start_response("200 OK", [])
            return [os.environ.get("HOME", "nowhere").encode()]
        """)
    with spawn("app:app", cwd=where, env={"HOME": None}) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert raw(server.address, GET).endswith(b"nowhere")
        assert server.terminate() == 0
        assert "stopped" in server.output()


def test_spawn_finds_ipv6_and_unix_addresses(project: Project, tmp_path: Path) -> None:
    where = project(app="def app(e, s): s('200 OK', []); return [b'yes']")
    binds = [f"unix:{tmp_path}/s"]
    if socket.has_ipv6:
        binds.append("[::1]:0")
    for bind in binds:
        with spawn("--bind", bind, "app:app", cwd=where) as server:
            assert raw(server.address, GET).endswith(b"yes")


def test_spawn_tells_what_a_server_said_that_did_not_start() -> None:
    with (
        pytest.raises(RuntimeError, match=r"(?s)ended \(4\).*cannot import 'no_such_thing'"),
        spawn("no_such_thing:app"),
    ):
        pass


def test_waiting_for_output_tells_when_there_will_be_none(project: Project) -> None:
    where = project(app="def app(e, s): s('200 OK', []); return []")
    with spawn("app:app", cwd=where) as server:
        with pytest.raises(TimeoutError, match="never said"):
            server.wait_for("never said", timeout=0.01)
        server.terminate()
        with pytest.raises(RuntimeError, match=r"the server ended \(0\)"):
            server.wait_for("never said")


def test_raw_sends_pieces_and_reads_to_the_end() -> None:
    received: list[bytes] = []

    def peer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while block := connection.recv(100):
                received.append(block)
            connection.sendall(b"back")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=peer, args=(listener,))
        thread.start()
        assert raw(listener.getsockname(), [b"one", b"two"], half_close=True) == b"back"
        thread.join(60)
    assert b"".join(received) == b"onetwo"


def test_raw_returns_what_it_has_when_nothing_more_comes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert raw(listener.getsockname(), b"x", timeout=0.01) == b""
