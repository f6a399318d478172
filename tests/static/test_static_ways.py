"""Files under all that goes with a server: settings, TLS, prefixes, workers, slow disks."""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from apps import TESTS
from apps.certificates import Authority
from apps.client import Client, fetch, request
from apps.command import Command
from apps.eventually import answer_with, eventually
from apps.faults import Injected, needs_injection
from apps.statics import LARGE, SMALL, TEN
from apps.tls_client import answer, client_context, connect

from fastwsgi.config.sources import from_keywords
from fastwsgi.errors import ConfigError
from fastwsgi.testing import Server, raw, serve, spawn


def app(environ: dict[str, object], start_response: Callable[..., object]) -> list[bytes]:
    body = f"app:{environ['SCRIPT_NAME']}{environ['PATH_INFO']}".encode("latin-1")
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def serving(public: Path, **settings: object) -> AbstractContextManager[Server]:
    return serve(app, static=[f"/static={public}"], **settings)


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [
    "static", "=d", "/a", "/a=", "static=d", "/a b=d", "/a%20=d", "/a//b=d", "/a/../b=d", "/./a=d",
    "/a?b=d", "/a#b=d", "/\xfc=d", "/a\\b=d", "/a=x\0y", ["/a=d", "/a/=e"], 5, [5], {"/a": ""},
])
def test_what_is_no_folder_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^static "):
        from_keywords({"static": value})


@pytest.mark.parametrize(("value", "read"), [
    ("/a=d", ("/a=d",)), ("/a/=d/", ("/a=d/",)), ("/=d", ("/=d",)), ("", ()),
    ("/a=d,/b=e", ("/a=d", "/b=e")), ("/a=d /b/c=e=f", ("/a=d", "/b/c=e=f")),
    ("/a=d,e", ("/a=d,e",)), (["/a=d e"], ("/a=d e",)), ({"/a": "d"}, ("/a=d",)),
    ("/.well-known=d", ("/.well-known=d",)),
])
def test_folders_are_read(value: object, read: tuple[str, ...]) -> None:
    assert from_keywords({"static": value}).static == read


@pytest.mark.parametrize("value", ["a/b", ".hidden", "x" * 256, "a\0b", 5])
def test_what_is_no_name_of_an_index_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^static_index "):
        from_keywords({"static_index": value})


def test_an_application_that_no_request_reaches_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mount /a/b .*static /a .*contradict"):
        from_keywords({"static": "/a=d", "mount": {"/a/b": "m:a"}})
    from_keywords({"static": "/a/b=d", "mount": {"/a": "m:a"}})


def test_a_folder_that_is_none_is_told_of_at_the_start(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "nothing"):
        done = command("--static", f"/s={name}", "--bind", "127.0.0.1:0", "app:app")
        assert done.returncode == 2
        assert ("static (from command line --static) must name existing directories, not "
                f"{name!r}") in done.stderr


# -- prefixes ------------------------------------------------------------------------------------


def test_a_root_is_all_there_is(public: Path) -> None:
    with serve(app, static=[f"/={public}"], static_index="a.css") as server:
        assert fetch(server.address, "/a.css").body == SMALL
        assert fetch(server.address, "/").body == SMALL
        assert fetch(server.address, "http://h").body == SMALL
        assert fetch(server.address, "/docs").status == 404
        assert fetch(server.address, "/nothing").status == 404
        assert fetch(server.address, "//a.css").status == 404
        assert fetch(server.address, "*", method="OPTIONS").body == b"app:*"


def test_a_script_name_may_stand_before_the_prefix_or_not(public: Path) -> None:
    with serving(public, script_name="/mnt", static_index="") as server:
        assert fetch(server.address, "/static/a.css").body == SMALL
        assert fetch(server.address, "/mnt/static/a.css").body == SMALL
        assert fetch(server.address, "/mnt/x").body == b"app:/mnt/x"
        assert fetch(server.address, "/static/docs/").status == 404


def test_what_a_proxy_has_taken_off_the_path_is_in_a_redirection(public: Path) -> None:
    with serving(public, forwarded_follow="prefix") as server:
        found = fetch(server.address, "/static/docs?x", "X-Forwarded-Prefix: /front")
        assert found.get("Location") == "/front/static/docs/?x"


def test_without_keep_alive_each_file_ends_its_connection(public: Path) -> None:
    with serving(public, keepalive=0) as server:
        for path, content in (("/static/a.css", SMALL), ("/static/large.bin", LARGE)):
            with Client(server.address) as client:
                response = client.fetch(path)
                assert (response.body, response.closes) == (content, True)
                assert client.ended()


def test_probes_and_mounts_go_beside_files(public: Path) -> None:
    with serving(public, health_path="/static/health") as server:
        assert fetch(server.address, "/static/health").body == b"ok\n"
        assert fetch(server.address, "/static/a.css").body == SMALL


# -- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(
    public: Path, tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Server, ssl.SSLContext]]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    files = authority.sign("localhost", "localhost")
    with serve(app, static=[f"/static={public}"], certfile=files.cert, keyfile=files.key) as server:
        yield server, client_context(authority.file)


def test_files_come_through_tls(secure: tuple[Server, ssl.SSLContext]) -> None:
    server, context = secure
    with connect(server.address, context) as sock:
        for _ in range(2):
            for path, content in (("/static/a.css", SMALL), ("/static/large.bin", LARGE),
                                  ("/static/ten.bin", TEN), ("/x", b"app:/x")):
                assert answer(sock, request(path)) == (200, content)
        assert answer(sock, request("/static/nothing"))[0] == 404
        assert answer(sock, request("/static/ten.bin", "Range: bytes=1-2")) == (206, TEN[1:3])


def test_a_file_that_shrinks_under_tls_ends_without_a_goodbye(
    secure: tuple[Server, ssl.SSLContext], public: Path,
) -> None:
    server, context = secure
    file = public / "shrinking-tls.bin"
    file.write_bytes(b"a" * 20_000_000)
    with connect(server.address, context) as sock:
        sock.sendall(request(f"/static/{file.name}"))
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK")
        os.truncate(file, 1000)
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            while sock.recv(65536):
                pass


# -- workers -------------------------------------------------------------------------------------


def test_a_reload_opens_the_folder_anew(project: Callable[..., Path]) -> None:
    where = project({"one/f.txt": "one", "two/f.txt": "two"},
                    app="def app(environ, start_response):\n start_response('200 OK', [])\n"
                        " return []\n")
    (where / "now").symlink_to("one")
    with spawn("-w", "1", "--static", "/s=now", "app:app", cwd=where) as server:
        assert fetch(server.address, "/s/f.txt").body == b"one"
        (where / "next").symlink_to("two")
        os.replace(where / "next", where / "now")
        server.signal(signal.SIGHUP)
        answer_with(server.address, request("/s/f.txt", "Connection: close"), b"two")
        (where / "now").unlink()
        server.signal(signal.SIGHUP)
        server.wait_for(r"reload refused, nothing has changed: static \(from command line --static")
        assert raw(server.address, request("/s/f.txt", "Connection: close")).endswith(b"two")


# -- disks ---------------------------------------------------------------------------------------


@needs_injection
def test_a_disk_that_hangs_stops_only_who_waits_for_it(
    tmp_path: Path, shims: dict[bool, Path], public: Path,
) -> None:
    """No byte of a file is in memory as far as the core knows, and reading one does not return."""
    injected = Injected(tmp_path, shims, "preadv2=EAGAIN/1,pread=HOLD/1")
    paths = {"a.css": SMALL, "large.bin": LARGE, "ten.bin": TEN}
    with (
        spawn("--static", f"/static={public}", "apps.stored:app", cwd=TESTS,
              env=injected.environ) as server,
        Client(server.address) as client, Client(server.address) as other,
        Client(server.address) as leaves,
    ):
        try:
            client.send(b"".join(request(f"/static/{path}") for path in paths))
            leaves.send(request("/static/large.bin"))
            eventually(injected.unused, lambda rules: not rules)
            leaves.reset()
            for _ in range(20):
                assert other.fetch("/digest", method="POST", body=b"small").status == 200
                assert other.fetch("/static/a.css", "If-None-Match: *").status == 304
        finally:
            injected.stop()
        for content in paths.values():
            assert client.response().body == content
        assert server.terminate() == 0


@needs_injection
def test_files_come_whole_from_a_disk_that_has_nothing_in_memory(
    tmp_path: Path, shims: dict[bool, Path], public: Path,
) -> None:
    injected = Injected(tmp_path, shims, "preadv2=EAGAIN/1,pread=1000/3,sendfile=70000/2")
    with (
        spawn("--static", f"/static={public}", "apps.stored:app", cwd=TESTS,
              env=injected.environ) as server,
        Client(server.address) as client,
    ):
        paths = [("a.css", SMALL), ("large.bin", LARGE), ("ten.bin", TEN), ("empty.txt", b"")] * 3
        client.send(b"".join(request(f"/static/{path}") for path, _ in paths))
        for _, content in paths:
            assert client.response().body == content
        part = client.fetch("/static/large.bin", "Range: bytes=1000-1400000")
        assert (part.status, part.body) == (206, LARGE[1000:1400001])
