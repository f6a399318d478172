"""A server under test: started when it is needed, replaced when it has died.

Rule: one process for each configuration and one side channel for each server; cases run one
after the other, so whatever the channel says belongs to the case that runs.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from .channel import VARIABLE, Channel
from .model import CONFIGS, Case, mount
from .runner import Story, answers, judge, permitted, play
from .runner import arrange as arrange_case
from .wire import Address

TESTS = Path(__file__).resolve().parent.parent


class Running(Protocol):
    """A server process."""

    addresses: dict[str, Address]  # by transport: tcp, unix

    def alive(self) -> bool:
        """Whether it still runs."""

    def stop(self) -> None:
        """End it."""


class Ours:
    """This server, in a forked child, on TCP and on a unix socket.

    ``more`` are settings for all configurations.
    """

    def __init__(self, config: str, channel: Channel, **more: object) -> None:
        testing = importlib.import_module("fastwsgi.testing")
        attribute, settings = CONFIGS[config]
        application = getattr(importlib.import_module("conformance.probe"), attribute)
        self._stack = contextlib.ExitStack()
        directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-"))
        path = str(Path(directory) / "socket")
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = channel.path
        try:
            self.server = self._stack.enter_context(
                testing.serve(
                    application, process=True, bind=["127.0.0.1:0", f"unix:{path}"], **settings,
                    **more,
                )
            )
        except BaseException:
            self._stack.close()
            raise
        finally:
            if before is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = before
        self.addresses: dict[str, Address] = {"tcp": self.server.address, "unix": path}

    def alive(self) -> bool:
        """Whether the child still runs (it stays a zombie until it is stopped)."""
        pid, _ = os.waitid(os.P_PID, self.server.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) or (
            0,
            0,
        )
        return not pid

    def stop(self) -> None:
        """End it; raises RuntimeError when it had failed."""
        self._stack.close()


class Command:
    """Another server, as a process group of its own on a free port."""

    def __init__(self, argv: Sequence[str], port: int, channel: Channel) -> None:
        self.addresses: dict[str, Address] = {"tcp": ("127.0.0.1", port)}
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        with _STARTING:
            self.process = subprocess.Popen(
                list(argv),
                cwd=TESTS,
                env={**os.environ, "PYTHONPATH": str(TESTS), VARIABLE: channel.path},
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
                start_new_session=True,
            )
            _COMMANDS.add(self)
        self._await(port)

    def _await(self, port: int) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
                break
        said = self.output()
        self.stop()
        raise RuntimeError(f"did not start:\n{said}")

    def output(self) -> str:
        """What it has printed, at most its last 2000 characters."""
        size = os.fstat(self.log.fileno()).st_size
        return os.pread(self.log.fileno(), 1 << 20, max(0, size - 2000)).decode("utf-8", "replace")

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Kill the process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        _COMMANDS.discard(self)
        self.log.close()


_COMMANDS: set[Command] = set()
_STARTING = threading.Lock()


def stop_commands() -> None:
    """Kill whatever commands still run and let no other start: the process is about to end."""
    _STARTING.acquire()
    for command in list(_COMMANDS):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command.process.pid, signal.SIGKILL)


def free_port() -> int:
    """A TCP port that was free a moment ago, for servers that cannot be told to choose one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Bench:
    """Plays cases against one server, keeping its processes by configuration."""

    def __init__(self, start: object, *, patience: float, lenient: bool) -> None:
        self._start = start
        self._running: dict[str, Running] = {}
        self.channel = Channel()
        self.patience = patience
        self.lenient = lenient

    def close(self) -> None:
        """End every process; raises RuntimeError when one had failed by itself."""
        failure: BaseException | None = None
        for running in self._running.values():
            try:
                running.stop()
            except RuntimeError as error:
                failure = error
        self._running.clear()
        self.channel.close()
        if failure:
            raise failure

    def server(self, config: str) -> Running:
        """The running server of this configuration."""
        if config not in self._running:
            self._running[config] = self._start(config, self.channel)  # type: ignore[operator]
        return self._running[config]

    def run(self, case: Case, way: str, transport: str) -> tuple[str | None, Story | None]:
        """What is wrong, or None; and what happened."""
        server = self.server(case.config)
        outcomes = permitted(case, way) if self.lenient else arrange_case(case, way)[2]
        try:
            story = play(
                case, way, server.addresses[transport], self.channel, outcomes, self.patience
            )
        except OSError as error:
            story = Story(end="hang", detail=f"no connection: {error}")
        reason = judge(story, outcomes, lenient=self.lenient, strict_end=case.strict_end)
        if self.lenient and case.may_end and story.end != "keep":
            # It may be about to end; the next case shall not suffer for it.
            self.restart(case.config)
            return reason, story
        if reason is not None or story.end != "keep":
            # Whatever ended here, the server must not have.
            address = server.addresses[transport]
            well = reason is None or answers(address, self.patience, mount(case))
            if not server.alive() or not well:
                self.restart(case.config)
                return f"the server ended; got {story}", story
        return reason, story

    def restart(self, config: str) -> None:
        """End the server of this configuration, so that the next case starts it anew."""
        running = self._running.pop(config)
        with contextlib.suppress(RuntimeError):
            running.stop()


def variants(cases: dict[str, Case], transports: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(case id, way, transport) for every way to play every case, sorted by configuration."""
    for case in sorted(cases.values(), key=lambda one: one.config):
        for transport in transports:
            if transport == "unix" and not case.unix:
                continue
            for way in case.ways:
                yield case.id, way, transport
