"""An application that forks: its child ends where it comes back to the server, and never answers.

Rule: whichever way the child leaves the application, and from wherever, exactly one response
reaches the client, it is the parent's, the child's exit code is the one that the interpreter would
have given, and later requests find the worker as it was.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import signal
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apps.client import Client, request

from fastwsgi.testing import Process, serve, spawn

APP = """
    import atexit, multiprocessing, os, signal, subprocess, sys, tempfile, threading, time

    TEXT = [("Content-Type", "text/plain")]
    write = None

    class Trouble(Exception):
        pass

    class Other(BaseException):
        pass

    def leave(how):
        # What the child does once it is one.
        how, _, argument = how.partition(":")
        if how == "exit":
            sys.exit({"": None, "text": "the last words"}.get(argument) if not argument.lstrip(
                "-").isdigit() else int(argument))
        if how == "raise":
            raise Trouble("of the child")
        if how == "base":
            raise Other("of the child")
        if how == "interrupt":
            raise KeyboardInterrupt
        if how == "kill":
            signal.raise_signal(signal.SIGTERM)
        if how == "print":
            sys.stdout.write("said by the child\\n")
            sys.stdout.flush() if argument else None
        if how == "file":
            file = open(argument, "w")
            file.write("written by the child")
            raise Trouble("with an open file")
        if how == "thread":
            def work():
                time.sleep(0.2)
                with open(argument, "w") as file:
                    file.write("done")
            threading.Thread(target=work, daemon=False).start()  # not what its parent is
        if how == "write":
            write(b"CHILD")
        if how == "start":
            start = app.start_response
            start("299 Child", TEXT, (Trouble, Trouble("x"), None))
        if how == "grandchild":
            if os.fork() == 0:
                os.setsid()
                sys.exit(9)
            os.wait()
            sys.exit(8)

    def fork(how, fork=os.fork):
        # In the parent: the child's exit code, once it has ended.
        sys.stdout.flush()
        pid = fork()
        if isinstance(pid, tuple):
            pid, fd = pid
        if pid == 0:
            leave(how)
            return None
        return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode()

    class Closing(list):
        def close(self):
            code = fork(self.how)
            if code is not None:
                app.closed = code

    def call_c(how):
        import ctypes
        return fork(how, ctypes.PyDLL(None).fork)

    class Body:
        def __init__(self, how, where):
            self.how, self.where = how, where
        def __iter__(self):
            if self.where == "iter":
                self.code = fork(self.how)
            return self.blocks()
        def blocks(self):
            yield b"before "
            if self.where == "next":
                yield fork(self.how) or b"CHILD"
            elif self.where == "end":
                code = fork(self.how)
                if code is None:
                    return
                yield code
            elif self.where == "iter":
                yield self.code or b"CHILD"
        def close(self):
            if self.where == "close":
                app.closed = fork(self.how) or b"CHILD"

    def app(environ, start_response):
        global write
        where, _, how = environ["PATH_INFO"][1:].partition("/")
        app.start_response = start_response
        if where == "unstarted":
            code = fork(how)
            start_response("200 OK", TEXT)
            return [code or b"CHILD"]
        write = start_response("200 OK", TEXT)
        if where == "fine":
            return [b"fine"]
        if where == "closed":
            return [app.closed]
        if where in ("next", "end", "iter", "close"):
            return Body(how, where)
        if where == "late":
            def blocks():
                for _ in range(64):
                    yield b"x" * 65536
                yield fork(how) or b"CHILD"
            return blocks()
        if where == "pty":
            return [fork(how, os.forkpty) or b"CHILD"]
        if where == "extension":
            return [call_c(how) or b"CHILD"]
        if where == "input":
            environ["wsgi.input"].read(10)
            code = fork(how)
            if code is None:
                environ["wsgi.input"].read()
            return [code or b"CHILD", b" ", environ["wsgi.input"].read()]
        if where == "written":
            write(b"before ")
            return [fork(how) or b"CHILD"]
        if where == "file":
            file = open(__file__, "rb")
            wrapper = environ["wsgi.file_wrapper"](file)
            app.closed = fork(how) or b"CHILD"
            return wrapper
        if where == "locate":
            class Forking(tempfile._TemporaryFileWrapper):
                @property
                def file(self):
                    app.closed = fork(how) or b"CHILD"
                    return self.inner
                @file.setter
                def file(self, file):
                    self.inner = file
            return environ["wsgi.file_wrapper"](Forking(open(__file__, "rb"), __file__, False))
        if where == "process":
            # in a module that can be imported, target and all
            child = multiprocessing.get_context("fork").Process(target=leave, args=(how,))
            child.start()
            child.join()
            return [str(child.exitcode).encode()]
        if where == "subprocess":
            done = subprocess.run([sys.executable, "-c", "import sys; sys.exit(5)"])
            return [str(done.returncode).encode()]
        if where == "background":
            codes = []
            thread = threading.Thread(target=lambda: codes.append(fork(how)))
            thread.start()
            thread.join()
            return codes
        if where == "pool":
            def work():
                try:
                    codes.append(fork(how))
                except SystemExit:
                    pass
            codes = []
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            return codes
        return [fork(how) or b"CHILD"]
"""
THREADS = [1, 4]
WAYS = {
    "": "0", "exit": "0", "exit:0": "0", "exit:3": "3", "exit:256": "0", "exit:-1": "255",
    "exit:text": "1", "raise": "1", "base": "1", "interrupt": str(-signal.SIGINT),
    "kill": str(-signal.SIGTERM), "write": "0", "grandchild": "8",
}
ENVIRON = {"PYTHONWARNINGS": "ignore::DeprecationWarning"}  # of fork beside threads


def opened(where: Path, threads: int) -> contextlib.AbstractContextManager[Process]:
    """A server of APP with an access log."""
    (where / "app.py").write_text(textwrap.dedent(APP))
    return spawn("app:app", "--threads", str(threads), "--access-logfile", "access.log",
                 "--access-logformat", "%(U)s", cwd=where, env=ENVIRON)


@pytest.fixture(scope="module", params=THREADS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Process]:
    where = tmp_path_factory.mktemp("fork")
    with opened(where, request.param) as server:
        server.folder = where  # type: ignore[attr-defined]
        yield server


def answer(server: Process, path: str, body: bytes | None = None) -> bytes:
    """The body of the one response; behind it comes the next one on each connection, in order."""
    with Client(server.address) as client, Client(server.address) as other:
        assert other.fetch("/fine").body == b"fine"
        method = "GET" if body is None else "POST"
        client.send(request(path, method=method, body=body) + request("/fine", "Connection: close"))
        response = client.response()
        assert response.status == 200
        assert client.response().body == b"fine"
        assert client.rest() == b""
        assert other.fetch("/fine").body == b"fine"
    return response.body


@pytest.mark.parametrize("how", WAYS)
def test_a_child_forked_in_the_call_ends_with_its_code(server: Process, how: str) -> None:
    for _ in range(3):
        assert answer(server, f"/call/{how}") == WAYS[how].encode()
        assert answer(server, f"/unstarted/{how}".replace("write", "")) == WAYS[how].encode()


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("where", ["next", "end", "iter"])
def test_a_child_forked_in_the_iterator_ends_with_its_code(
    server: Process, where: str, how: str,
) -> None:
    assert answer(server, f"/{where}/{how}") == b"before " + WAYS[how].encode()


@pytest.mark.parametrize("how", [how for how in WAYS if how != "write"])
def test_a_child_forked_in_close_ends_with_its_code(server: Process, how: str) -> None:
    assert answer(server, f"/close/{how}") == b"before "
    assert answer(server, "/closed") == WAYS[how].encode()


@pytest.mark.parametrize("how", WAYS)
def test_a_child_forked_behind_a_write_ends_with_its_code(server: Process, how: str) -> None:
    assert answer(server, f"/written/{how}") == b"before " + WAYS[how].encode()


@pytest.mark.parametrize("how", ["", "exit:3", "raise"])
@pytest.mark.parametrize("where", ["pty", "extension", "late", "background"])
def test_it_makes_no_difference_who_forks_and_when(
    server: Process, where: str, how: str,
) -> None:
    if where == "background":  # comes back to no server: the thread is all there is of the child
        assert answer(server, f"/{where}/") == b"0"
    else:
        assert answer(server, f"/{where}/{how}").endswith(WAYS[how].encode())


@pytest.mark.parametrize("how", ["", "exit:3"])
def test_a_child_leaves_a_body_in_a_file_as_it_is(
    server: Process, how: str,
) -> None:
    body = bytes(range(256)) * 8192
    assert answer(server, f"/input/{how}", body) == WAYS[how].encode() + b" " + body[10:]


@pytest.mark.parametrize("how", ["", "exit:3", "raise"])
def test_a_child_sends_no_file(server: Process, how: str) -> None:
    folder: Path = server.folder  # type: ignore[attr-defined]
    assert answer(server, f"/file/{how}") == (folder / "app.py").read_bytes()
    assert answer(server, "/closed") == WAYS[how].encode()


@pytest.mark.parametrize("how", ["", "exit:3", "raise"])
def test_a_child_forked_while_the_file_is_looked_at_sends_no_file(
    server: Process, how: str,
) -> None:
    folder: Path = server.folder  # type: ignore[attr-defined]
    assert answer(server, f"/locate/{how}") == (folder / "app.py").read_bytes()
    assert answer(server, "/closed") == WAYS[how].encode()


def test_start_response_in_a_child_changes_nothing(server: Process) -> None:
    assert answer(server, "/call/start") == b"0"
    assert answer(server, "/next/start") == b"before 1"  # the head is out: it raises


def test_children_that_end_by_themselves_do_so(server: Process) -> None:
    assert answer(server, "/process/exit:3") == b"3"
    assert answer(server, "/process/raise") == b"1"
    assert answer(server, "/process/") == b"0"
    assert answer(server, "/subprocess/") == b"5"


def test_a_child_is_flushed_and_its_threads_are_waited_for(server: Process) -> None:
    folder: Path = server.folder  # type: ignore[attr-defined]
    assert answer(server, "/call/print") == b"0"
    server.wait_for("said by the child")
    for name, how, code in (("one", "file", b"1"), ("two", "thread", b"0")):
        assert answer(server, f"/call/{how}:{name}") == code
    assert (folder / "one").read_text() == "written by the child"
    assert (folder / "two").read_text() == "done"


def test_what_the_interpreter_would_say_goes_to_stderr(server: Process) -> None:
    assert answer(server, "/call/exit:text") == b"1"
    server.wait_for("^the last words$")
    assert answer(server, "/next/raise") == b"before 1"
    server.wait_for(r"Trouble: of the child$")


@pytest.mark.parametrize("threads", THREADS)
def test_a_child_writes_no_line_into_the_access_log(tmp_path: Path, threads: int) -> None:
    """Pipelined, so that lines of earlier requests are still to be written when it is forked."""
    with opened(tmp_path, threads) as server:
        with Client(server.address) as client:
            client.send(b"".join(request(f"/call/exit:{number}") for number in range(20)))
            for number in range(20):
                assert client.response().body == b"%d" % number
        assert server.terminate() == 0
    assert (tmp_path / "access.log").read_text().splitlines() == [
        f"/call/exit:{number}" for number in range(20)]


def test_a_child_does_not_stop_the_worker(project: Callable[..., Path]) -> None:
    """Nor does it call the hooks around its request, or report misuse that is none of the app's."""
    where = project({"app.py": """
        import os, sys, time
        def app(environ, start_response):
            pid = os.fork()
            if pid == 0:
                if environ["PATH_INFO"] == "/raise":
                    raise ValueError
                return [b"CHILD"]
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(code).encode()]
        """, "conf.py": """
        def pre_request(worker, req):
            worker.log.info("before %s", req.path)
        def post_request(worker, req, environ, resp):
            worker.log.info("after %s", req.path)
        """})
    with spawn("-c", "conf.py", "--strict-wsgi", "app:app", cwd=where, env=ENVIRON) as server:
        for path, code in (("/raise", b"1"), ("/return", b"0")) * 2:
            assert answer_of(server, path) == code
        server.terminate()
        assert server.output().count("after /raise") == 2
        assert server.output().count("after /return") == 2
        assert server.output().count("before /") == 4
        assert "strict WSGI: nothing to report" in server.output()


def answer_of(server: Process, path: str) -> bytes:
    """The body of the only response on a connection."""
    with Client(server.address) as client:
        body = client.fetch(path, "Connection: close").body
        assert client.rest() == b""
    return body


@pytest.mark.parametrize("hooks", [["pre_request"], ["pre_request", "post_request"]])
def test_a_hook_that_forks_has_no_second_server_either(
    project: Callable[..., Path], hooks: list[str],
) -> None:
    where = project({"app.py": """
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"fine"]
        """, "conf.py": "import os\n" + "".join(f"""
def {hook}(worker, req, *more):
    pid = os.fork()
    if pid:
        worker.log.info("{hook} %s", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""" for hook in hooks)})
    with spawn("-c", "conf.py", "app:app", cwd=where, env=ENVIRON) as server:
        for _ in range(3):
            assert answer_of(server, "/") == b"fine"
        server.terminate()
        for hook in hooks:
            assert server.output().count(f"{hook} 0") == 3


def test_a_child_that_lives_on_does_not_hold_the_stop_of_the_server(
    project: Callable[..., Path],
) -> None:
    where = project({"app.py": """
        import os, sys, time
        def app(environ, start_response):
            pid = os.fork()
            if pid == 0:
                os.setsid()
                if os.fork() == 0:
                    for fd in (0, 1, 2):
                        os.dup2(os.open(os.devnull, os.O_RDWR), fd)
                    time.sleep(60)
                    return [b"CHILD"]
                sys.exit(0)
            os.waitpid(pid, 0)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"fine"]
        """})
    with spawn("app:app", cwd=where, env=ENVIRON) as server:
        with Client(server.address) as client:
            for _ in range(2):
                assert client.fetch().body == b"fine"
        assert server.terminate() == 0


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="no /proc")
def test_where_the_kernel_can_empty_a_page_in_a_child_no_request_asks_for_the_process_id() -> None:
    """A worker has one such page (csrc/system/process.h); "wf" is how the kernel names it."""
    area = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with area:
        try:
            area.madvise(18)  # MADV_WIPEONFORK
        except (AttributeError, OSError):
            pytest.skip("this system has no such pages")
    with serve(lambda environ, start_response: [], process=True) as server:
        flags = Path(f"/proc/{server.pid}/smaps").read_text("ascii")
    assert re.findall(r"^VmFlags:.* wf\b", flags, re.MULTILINE)
