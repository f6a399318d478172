"""Servers for tests: in a thread, in a child process, or as the real command.

``serve(app)`` runs an application object on a free port and is what most tests want; ``spawn``
starts ``python -m fastwsgi`` as an operator would; ``raw`` exchanges bytes that no HTTP client
would send. All of it works in the test suites of applications as well as in ours.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from fastwsgi.config.config import Config
from fastwsgi.config.logs import open_access_log, open_error_log
from fastwsgi.config.sources import from_keywords
from fastwsgi.errors import ConfigError
from fastwsgi.logs.error import ErrorLog
from fastwsgi.server import serve as serve_until_stopped
from fastwsgi.system.sockets import Listener, open_listeners
from fastwsgi.worker.process import in_child, serve_here

if TYPE_CHECKING:
    from fastwsgi._core.core import Worker

__all__ = ["Process", "Server", "environment", "raw", "serve", "spawn"]

START_TIMEOUT = 30.0
"""Seconds a server may take to get ready."""

Endpoint = tuple[str, int] | str


class Server:
    """A server that ``serve`` runs.

    ``url`` is ``http://HOST:PORT`` (https with a certificate), or ``unix:PATH``; ``address`` is
    what ``socket.connect`` takes (and ``raw``); ``host`` and ``port`` are its parts (empty and 0
    for a unix socket); ``pid`` is the process that serves.
    """

    def __init__(self, listener: Listener, pid: int, log: TextIO) -> None:
        self.url = listener.url
        self.address: Endpoint = listener.address
        self.host, self.port = _parts(listener.address)
        self.pid = pid
        self._log = log

    @property
    def log(self) -> list[str]:
        """The lines of the error log so far."""
        return os.pread(self._log.fileno(), 1 << 24, 0).decode("utf-8", "replace").splitlines()


def _parts(address: Endpoint) -> tuple[str, int]:
    return ("", 0) if isinstance(address, str) else address


@contextlib.contextmanager
def serve(
    app: Callable[..., Any], *, process: bool = False, **settings: Any,
) -> Iterator[Server]:
    """Serve ``app`` inside the ``with`` block.

    The server runs in a thread of this process, or with ``process=True`` in a forked child (then
    also with ``workers`` of 1 or more below it). ``settings`` are those of ``fastwsgi.run``; bind
    is 127.0.0.1 with a free port, workers 0 and graceful_timeout 5 unless given. At the end of the
    block it is stopped gracefully: requests in flight are finished, and those that take longer than
    graceful_timeout are cut. Raises the errors of :mod:`fastwsgi.errors` when it cannot start, and
    at the end RuntimeError when the server failed by itself.
    """
    config = from_keywords({"bind": "127.0.0.1:0", "workers": 0, "graceful_timeout": 5, **settings})
    if config.workers and not process:
        raise ConfigError("workers must be 0 in a thread; pass process=True")
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace") as file:
        log = open_error_log(config, target=file)
        run = _in_process if process else _in_thread
        with run(app, config, log, file) as server:
            yield server


@contextlib.contextmanager
def _in_thread(
    app: Callable[..., Any], config: Config, log: ErrorLog, file: TextIO,
) -> Iterator[Server]:
    access = open_access_log(config)
    listeners = _listen(config)
    workers: list[Worker] = []
    failures: list[BaseException] = []
    ready = threading.Event()

    def on_ready(worker: Worker) -> None:
        workers.append(worker)
        ready.set()

    def run() -> None:
        try:
            serve_here(app, listeners, config, log, access, on_ready=on_ready)
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="fastwsgi", daemon=True)
    thread.start()
    try:
        ready.wait(START_TIMEOUT)
        if not workers:
            raise failures[0] if failures else TimeoutError("the server did not start")
        yield Server(listeners[0], os.getpid(), file)
    finally:
        for graceful in (True, False):
            for worker in workers:
                worker.stop(graceful=graceful)
            thread.join(config.graceful_timeout + 1)
        for listener in listeners:
            listener.close()
    if failures:
        raise RuntimeError("the server failed while it served") from failures[0]
    if thread.is_alive():
        raise RuntimeError("the server did not stop: is the application stuck in a request?")


@contextlib.contextmanager
def _in_process(
    app: Callable[..., Any], config: Config, log: ErrorLog, file: TextIO,
) -> Iterator[Server]:
    listeners = _listen(config)
    read_end, write_end = os.pipe()

    def on_ready() -> None:
        os.write(write_end, b"R")

    def main() -> int:
        os.close(read_end)
        return serve_until_stopped(
            app, config, log=log, listeners=listeners, on_ready=on_ready)

    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside a thread; this child only runs the server
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        in_child(main)
    os.close(write_end)  # from here on the end of the pipe is the end of the child
    server = Server(listeners[0], pid, file)
    for listener in listeners:
        listener.close(remove=False)
    try:
        if _read_byte(read_end, START_TIMEOUT) != b"R":
            raise RuntimeError("the server did not start:\n" + "\n".join(server.log))
        yield server
    finally:
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL):
            os.kill(pid, number)  # not reaped yet, so the number is still its own
            if _read_byte(read_end, config.graceful_timeout + 2) == b"":
                break
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(read_end)
    if code != 0:
        raise RuntimeError(f"the server ended with {code}:\n" + "\n".join(server.log))


def _read_byte(fd: int, timeout: float) -> bytes | None:
    """Read one byte: empty at the end of the pipe, None when nothing came in time."""
    if not select.select([fd], [], [], timeout)[0]:
        return None
    return os.read(fd, 1)


def _listen(config: Config) -> list[Listener]:
    return open_listeners(config.bind, backlog=config.backlog, reuse_port=config.reuse_port,
                          protocol=config.protocol, certified=config.tls)


class Process:
    """A server that ``spawn`` runs: a real ``fastwsgi`` command.

    ``url``, ``address``, ``host`` and ``port`` as for ``Server``, of the first address it listens
    on; ``pid`` is the process started, which is the master.
    """

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.pid = popen.pid
        self.url = ""
        self.address: Endpoint = ""
        self.host, self.port = "", 0
        self._reader = threading.Thread(target=self._read, name="fastwsgi-output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def output(self) -> str:
        """Return what the server has written so far, stderr and stdout together."""
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, pattern: str, *, count: int = 1, timeout: float = START_TIMEOUT) -> str:
        """Wait until lines of the output match the regular expression ``pattern``.

        Returns the line that is the ``count``-th to match; raises RuntimeError when the output ends
        before, TimeoutError after ``timeout`` seconds.
        """
        wanted = re.compile(pattern)

        def matching() -> list[str]:
            return [line for line in self._lines if wanted.search(line)]

        with self._changed:
            self._changed.wait_for(lambda: len(matching()) >= count or self._ended, timeout)
            lines = matching()
            if len(lines) >= count:
                return lines[count - 1].rstrip("\n")
            text = "".join(self._lines)
        if self._ended:
            raise RuntimeError(f"the server ended ({self._popen.wait(timeout)}):\n{text}")
        raise TimeoutError(f"no {pattern!r} in {timeout} s in:\n{text}")

    def signal(self, number: int) -> None:
        """Send a signal to the master."""
        self._popen.send_signal(number)

    def wait(self, timeout: float = START_TIMEOUT) -> int:
        """Wait for the end and return the exit code; after it ``output()`` is complete."""
        code = self._popen.wait(timeout)
        self._reader.join(timeout)
        return code

    def terminate(self, timeout: float = START_TIMEOUT) -> int:
        """Ask the server to stop gracefully, wait for it and return its exit code."""
        self._popen.terminate()
        return self.wait(timeout)

    def _start(self) -> None:
        line = self.wait_for(r"\] fastwsgi \S+ listening on ")
        self.url = re.split(r"listening on ", line)[1].split(" (")[0].split(", ")[0]
        place = re.sub(r"^\w+://", "", self.url)
        if place.startswith("unix:"):
            path = place.removeprefix("unix:")
            self.address = f"\0{path[1:]}" if path.startswith("@") else path
        else:
            host, _, port = place.rpartition(":")
            self.address = self.host, self.port = host.strip("[]"), int(port)
        self.wait_for(r"\] ready\b")

    def _end(self) -> None:
        """End the process in whatever state it is, and reap it."""
        for stop in (self._popen.terminate, self._popen.kill):
            stop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(10)
                break
        self._reader.join(10)
        if self._popen.stdout is not None and not self._reader.is_alive():
            self._popen.stdout.close()


@contextlib.contextmanager
def spawn(
    *args: str, env: Mapping[str, str | None] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> Iterator[Process]:
    """Run ``python -m fastwsgi ARGS...`` inside the ``with`` block, as an operator would.

    Without a ``--bind`` among ``args`` it listens on 127.0.0.1 and a free port. ``env`` is added to
    the environment, where None removes a variable; ``cwd`` is the working directory. The block
    begins when the server is ready, which is read from its error log: leave that on stderr and at
    level info. Raises RuntimeError with the output when the server ends instead.
    """
    safe = ["-P"] if sys.version_info >= (3, 11) else []  # not a package of this name in cwd
    command = [sys.executable, *safe, "-m", "fastwsgi"]
    if not any(item.startswith(("-b", "--bind")) for item in args):
        command += ["--bind", "127.0.0.1:0"]
    popen = subprocess.Popen(
        [*command, *args], cwd=cwd, env=environment(env or {}), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    server = Process(popen)
    try:
        server._start()
        yield server
    finally:
        server._end()


def environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the environment for a child that must find this very package."""
    found = dict(os.environ)
    home = Path(__file__).absolute().parent.parent
    if home.name not in ("site-packages", "dist-packages"):  # used from its source
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(home), found.get("PYTHONPATH"))))
    for name, value in changes.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return found


def raw(
    address: Endpoint, data: bytes | Sequence[bytes], *, timeout: float = 5.0,
    half_close: bool = False,
) -> bytes:
    """Send bytes on a connection of its own and return everything that comes back.

    ``address`` is what ``Server.address`` holds. A sequence is sent piece by piece, one send each.
    ``half_close`` shuts down the sending side after the last byte. Reading ends when the server
    closes the connection, or when nothing has come for ``timeout`` seconds.
    """
    received = []
    family = socket.AF_UNIX
    if not isinstance(address, str):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        sock.connect(address)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(TimeoutError, ConnectionError):
            for piece in [data] if isinstance(data, bytes) else data:
                sock.sendall(piece)
            if half_close:
                with contextlib.suppress(OSError):  # it has been reset: there may be an answer
                    sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while block := sock.recv(65536):
                received.append(block)
    return b"".join(received)
