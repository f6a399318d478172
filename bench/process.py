"""A server under measurement: started on its core, asked until it answers, read from /proc, ended
for good.

CPU time is utime + stime of the whole process tree, children that were reaped included, because
peers differ in how many processes and threads they spend on one worker.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.client import Client
from bench.peers import Launch, Peer

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 20.0


class NotStarted(Exception):
    """The server ended, or did not answer, before it could be measured."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (field 3 of proc(5) is item 0)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(pid: int) -> list[int]:
    """The process and all its descendants that are alive."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents.setdefault(int(_stat(int(name))[1]), []).append(int(name))
            except (OSError, IndexError):
                continue
    found = [pid]
    for one in found:
        found.extend(parents.get(one, []))
    return found


def _status(pid: int, field: str, file: str = "status") -> int:
    try:
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def resident(pid: int) -> int:
    """Resident bytes of one process."""
    return _status(pid, "VmRSS:")


@dataclass
class Server:
    """A running server and what can be read from it."""

    peer: Peer
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    context: ssl.SSLContext | None = None  #: of its clients, where it speaks TLS

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    @property
    def pids(self) -> list[int]:
        return tree(self.process.pid)

    def cpu(self) -> float:
        """Seconds of CPU that the tree has used so far."""
        ticks = 0
        for pid in self.pids:
            try:
                ticks += sum(int(value) for value in _stat(pid)[11:15])
            except (OSError, IndexError):
                continue
        return ticks / TICKS

    def rss(self) -> int:
        """Resident bytes, summed over the tree; pages that processes share count in each."""
        return sum(resident(pid) for pid in self.pids)

    def pss(self) -> int:
        """Resident bytes of the tree with each shared page counted once."""
        return sum(_status(pid, "Pss:", "smaps_rollup") for pid in self.pids)

    def alive(self) -> bool:
        return self.process.poll() is None

    def last_words(self) -> str:
        """The end of what the server wrote, on one line."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines()]
        return " / ".join([line for line in lines if line][-3:])[-300:]


    def client(self, timeout: float = 10.0) -> Client:
        """A new connection to it."""
        return Client(self.address, timeout, self.context)


def _answers(server: Server) -> bool:
    try:
        with server.client(2.0) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return client.socket.recv(12).startswith(b"HTTP/1.")
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """TERM, then KILL, to the group that was started here."""
    for number, seconds in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        process.wait()


@contextmanager
def serve(
    peer: Peer,
    app: str,
    *,
    threads: int = 1,
    workers: int = 1,
    extra: Sequence[str] = (),
    body: int = 13,
    cpus: set[int] | None = None,
    prefix: Sequence[str] = (),
    wait: bool = True,
    python: str = "",
    seconds: float = START_SECONDS,
    context: ssl.SSLContext | None = None,
) -> Iterator[Server]:
    """Start the peer on `cpus`, yield it when it answers (at once without `wait`), end it.

    `prefix` is put in front of its command (valgrind, strace); `python` runs our server with that
    interpreter instead of its environment's; `context` is that of clients of a server that `extra`
    or its peer's command makes speak TLS. Raises NotStarted with the server's last words.
    """
    launch = Launch(app, free_port(), threads, workers, tuple(extra), body, python)
    command = [*prefix, *peer.command(peers.environment(peer) / "bin", launch)]
    env = {
        **os.environ,
        "PYTHONPATH": peers.python_path(ours=peer.name == peers.OURS),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with tempfile.TemporaryDirectory(prefix="fastwsgi-bench-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                env=env,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=(lambda: os.sched_setaffinity(0, cpus)) if cpus else None,
            )
        server = Server(peer, process, launch.port, log, context)
        try:
            deadline = time.monotonic() + seconds
            while wait and not _answers(server):
                if not server.alive():
                    raise NotStarted(
                        f"ended with status {process.returncode}: {server.last_words()}"
                    )
                if time.monotonic() > deadline:
                    raise NotStarted(f"no answer in {seconds:.0f} s: {server.last_words()}")
                time.sleep(0.02)
            yield server
        finally:
            _stop(process)
