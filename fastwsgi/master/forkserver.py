"""The fork server (--preload): imports the application once and forks workers.

It runs between master and workers, so that the master never imports the application. A reload
starts a new fork server, which imports again, and ends the old one with its last worker. The master
asks for workers through a socket pair, one line of JSON each with the worker's pipe attached; the
answers and the ends of workers come back as lines ``forked PID``, ``failed ERRNO`` and
``ended PID CODE``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import threading

from fastwsgi.config.hooks import WorkerView
from fastwsgi.errors import AppImportError, CoreError
from fastwsgi.master.child import UNKNOWN, Child, fork
from fastwsgi.system.titles import set_title
from fastwsgi.worker.lifeline import Lifeline
from fastwsgi.worker.loader import Application
from fastwsgi.worker.memory import share
from fastwsgi.worker.mounts import load_all
from fastwsgi.worker.process import (
    FAILED,
    IGNORED_BY_WORKERS,
    NOT_BOOTED,
    NOT_LOADED,
    OK,
    READY,
    STOP_SIGNALS,
    WorkerSpec,
    exit_on_stop_signals,
    reopen,
    report_failure,
    run_worker,
)
from fastwsgi.worker.scoreboard import Board

FORK_TIMEOUT = 10.0
"""Seconds a fork server that is ready may take to fork."""


class ForkServer(Child):
    """A fork server, as the master knows it: ``link`` is the master's end of their socket pair."""

    def __init__(self, pid: int, generation: int, fd: int, link: socket.socket) -> None:
        super().__init__(pid, generation, fd, "fork server")
        self.link = link
        self.ends: dict[int, int] = {}
        self._unread = b""

    def child(self, pid: int, fd: int) -> ForkedWorker:
        """Return what the master knows of a worker of its generation; ``fd`` as for ``Child``."""
        found = ForkedWorker(pid, self.generation, fd)
        found.server = self
        return found

    def spawn(
        self, age: int, cpu: int | None, slot: int | None, counted: int | None,
        multiprocess: bool, to_master: int, board: int,
    ) -> int:
        """Let it fork a worker and return its id; raise OSError.

        The worker writes to the pipe ``to_master``; ``board`` is the descriptor of its scoreboard,
        ``slot`` its place among its siblings, ``counted`` that in the metrics.
        """
        import json

        asked = json.dumps({"age": age, "cpu": cpu, "slot": slot, "counted": counted,
                            "multiprocess": multiprocess}).encode() + b"\n"
        self.link.settimeout(FORK_TIMEOUT)
        try:
            socket.send_fds(self.link, [asked], [to_master, board])
            while not (said := self._lines(self.link.recv(65536))):
                pass
        except TimeoutError:  # a later answer would be taken for another one's
            self.send_signal(signal.SIGKILL)
            self.link.close()
            raise
        word, number = said[0]
        if word == "failed":
            raise OSError(number, os.strerror(number))
        return number

    def receive_ends(self) -> None:
        """Take note of the ends of workers that it reports."""
        self.link.setblocking(False)
        with contextlib.suppress(OSError):  # nothing there, or its end, which SIGCHLD reports too
            self._lines(self.link.recv(65536))

    def _lines(self, block: bytes) -> list[tuple[str, int]]:
        """Note the ends of workers, return the other lines. Raises ConnectionError at the end."""
        if not block:
            self.link.close()
            raise ConnectionResetError("the fork server has ended")
        *lines, self._unread = (self._unread + block).split(b"\n")
        others = []
        for line in lines:
            word, *numbers = line.decode("ascii").split()
            if word == "ended":
                self.ends[int(numbers[0])] = int(numbers[1])
            else:
                others.append((word, int(numbers[0])))
        return others

    def drain(self) -> None:
        """Take note of what it reported before its end."""
        self.gone = True
        if self.link.fileno() >= 0:
            self.receive_ends()
        self.close_all()

    def close_all(self) -> None:
        """Close everything that leads to it, which ends it."""
        self.close()
        self.link.close()


class ForkedWorker(Child):
    """A worker that a fork server has forked: the server reaps it, and reports that."""

    server: ForkServer

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        code = self.server.ends.pop(self.pid, None)
        if code is not None or not self.server.gone:
            return code
        code = super().poll()  # the master, as process 1, has inherited the orphan
        if code != UNKNOWN:
            return code
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return UNKNOWN
        return UNKNOWN if self.fd < 0 else None


class _ForkServerProcess:
    """The fork server's own side."""

    def __init__(self, spec: WorkerSpec, link: socket.socket, to_master: int) -> None:
        self._spec = spec
        self._link = link
        self._to_master = to_master
        self._workers: set[int] = set()
        self._application: Application = spec.target  # type: ignore[assignment]

    def run(self) -> int:
        """Load the application, then fork on request until the master closes the link."""
        log = self._spec.log
        exit_on_stop_signals()
        for number in IGNORED_BY_WORKERS:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        access = self._spec.access
        signal.signal(signal.SIGUSR1, lambda _number, _frame: reopen(log, access))
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        set_title("fork server", self._spec.name)
        lifeline = Lifeline(self._spec.lifeline_fd, lambda: os._exit(FAILED))
        try:
            self._application = load_all(self._spec.target, self._spec.config)
            share(self._spec.config.preload_memory, log)
        except AppImportError as error:
            report_failure(self._to_master, str(error), error.__cause__)
            return NOT_LOADED
        except CoreError as error:
            report_failure(self._to_master, str(error))
            return NOT_BOOTED
        except Exception as error:
            report_failure(self._to_master, "the fork server failed to boot: "
                           f"{type(error).__name__}: {error}", error)
            return NOT_BOOTED
        lifeline.release()
        if threading.active_count() > 1:
            names = sorted({thread.name for thread in threading.enumerate()} - {"MainThread"})
            log.warning("the application started threads while it was imported, which workers "
                        "forked from it do not have: %s", ", ".join(names))
        self._serve()
        return OK

    def _serve(self) -> None:
        self._wake, waking = os.pipe()
        for fd in (self._wake, waking):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in STOP_SIGNALS:  # the master ends it, by closing the link
            signal.signal(number, signal.SIG_IGN)
        self._own = (self._wake, waking, self._to_master, self._link.fileno())
        os.write(self._to_master, READY)
        poll = select.poll()
        for fd in (self._wake, self._link.fileno(), self._spec.lifeline_fd):
            poll.register(fd, select.POLLIN)
        with contextlib.suppress(OSError):  # the master has closed the link
            while True:
                ready = [fd for fd, _ in poll.poll()]
                if self._spec.lifeline_fd in ready:
                    return
                if self._wake in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake, 4096)
                self._reap()
                if self._link.fileno() in ready and not self._answer_request():
                    return

    def _answer_request(self) -> bool:
        """Do what the master asks for; False when it asks for nothing more."""
        text, fds, _, _ = socket.recv_fds(self._link, 4096, 2)
        if not text:
            return False
        import json

        asked = json.loads(text)
        try:
            if len(fds) != 2:  # the kernel drops descriptors that do not fit
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            self._answer("forked", self._fork(asked, *fds))
        except OSError as error:
            self._answer("failed", error.errno or 0)
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _fork(self, asked: dict[str, int], to_master: int, board: int) -> int:
        spec = self._spec.preloaded(self._application, bool(asked["multiprocess"]))
        view = WorkerView(asked["age"], spec.config, spec.log)
        spec.config.hooks.attempt(spec.log, "pre_fork", spec.server, view)

        def main() -> int:
            for fd in self._own:
                os.close(fd)
            return run_worker(
                spec, view, to_master, Board(spec.config.threads, board), asked["cpu"],
                asked["slot"], asked["counted"])

        pid = fork(main)
        self._workers.add(pid)
        return pid

    def _reap(self) -> None:
        for pid in list(self._workers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._workers.remove(pid)
                self._answer("ended", pid, os.waitstatus_to_exitcode(status))

    def _answer(self, word: str, *numbers: int) -> None:
        self._link.sendall(" ".join([word, *map(str, numbers)]).encode() + b"\n")


def run(spec: WorkerSpec, link: socket.socket, to_master: int) -> int:
    """Be a fork server, in a process just forked for it; return the exit code.

    ``link`` is its end of the socket pair, ``to_master`` the write end of its pipe.
    """
    return _ForkServerProcess(spec, link, to_master).run()
