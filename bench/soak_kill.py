"""Kills workers for soak.py, and tells which connections they held: `python -m bench.soak_kill`.

A process of its own, because among the threads of the callers each look at /proc would wait for the
interpreter, while the worker stands still. It reads lines of a worker's process id and the server's
port, and answers each with a line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType


@dataclass
class Killed:
    """A worker that was killed: when, and the ports of the clients whose connections it held."""

    pid: int
    at: float
    ports: set[int]


class Killer:
    """The process, inside the `with` block."""

    def __enter__(self) -> Killer:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.soak_kill"],
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()  # it ends with its input

    def kill(self, pid: int, port: int) -> Killed:
        """Kill a worker that serves on `port`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{pid} {port}\n")
        self._process.stdin.flush()
        at, ports = json.loads(self._process.stdout.readline())
        return Killed(pid, at, set(ports))


def end_worker(pid: int, port: int) -> Killed:
    """Stop a worker, so that it accepts no more, note which connections it holds, and kill it."""
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + 10
    while not stopped(pid) and time.monotonic() < end:
        time.sleep(0.001)
    ports = clients_of(pid, port)
    at = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return Killed(pid, at, ports)


def stopped(pid: int) -> bool:
    """Whether every thread of a process has come to a stop."""
    states = []
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            states.append(path.read_text().rpartition(")")[2].split()[0])
    return set(states) <= {"T"}


def clients_of(pid: int, port: int) -> set[int]:
    """The ports of the clients that a process has accepted on `port` of this machine (proc(5))."""
    inodes = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes |= set(re.findall(r"socket:\[(\d+)\]", os.readlink(path)))
    # local and remote address, state, queues, timer, retransmissions, uid, timeout, inode; most
    # lines are of connections that are over, and have none
    line = rf":{port:04X} \w+:(\w{{4}}) \w\w \S+ \S+ \S+ +\d+ +\d+ ([1-9]\d*) "
    sockets = re.findall(line, Path("/proc/net/tcp").read_text())
    return {int(remote, 16) for remote, inode in sockets if inode in inodes} - {0}


def main() -> None:
    """Kill whom the lines of the input name."""
    for line in sys.stdin:
        killed = end_worker(*map(int, line.split()))
        print(json.dumps([killed.at, sorted(killed.ports)]), flush=True)


if __name__ == "__main__":
    main()
