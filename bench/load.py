"""Load, and the figures it gives: wrk for every row but the mix, which has a client of its own.

wrk answers how fast *a* request is; the mix asks how long the quick requests wait behind the slow
ones, and wrk keeps one histogram for both. So `mix` is a closed loop over non-blocking sockets that
notes each request's kind.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.scenarios import Scenario, lua

SLOW_SHARE = 0.05


@dataclass
class Load:
    """What the client saw."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: dict[str, int]
    cpu: float = 0.0  #: seconds of CPU that the client used

    @property
    def failures(self) -> int:
        return sum(self.errors.values())


def wrk(
    row: Scenario,
    address: tuple[str, int],
    seconds: float,
    cpus: set[int] | None,
    scheme: str = "http",
) -> Load:
    """Run wrk with the row's script; its duration is a whole number of seconds, at least one."""
    host, port = address
    with tempfile.TemporaryDirectory(prefix="fastwsgi-bench-") as folder:
        script = Path(folder) / "scenario.lua"
        script.write_text("\n".join(lua(row)))
        done = subprocess.run(
            [
                "wrk", "-t1", f"-c{row.connections}", f"-d{max(1, round(seconds))}s", "--timeout",
                "5s", "-s", str(script), f"{scheme}://{host}:{port}{row.path}",
            ],
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            preexec_fn=(lambda: os.sched_setaffinity(0, cpus)) if cpus else None,
        )  # fmt: skip
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise RuntimeError(
            f"wrk gave no figures: {(done.stderr or done.stdout).strip()[-300:]}"
        ) from None
    errors = {kind: found.pop(kind) for kind in ("connect", "read", "write", "status", "timeout")}
    return Load(found["requests"], found["seconds"], found["p50_ms"], found["p99_ms"], errors)


class _Line:
    """One connection of the mix: what it waits for and since when."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=5.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.slow = False
        self.since = 0.0
        self.got = b""

    def ask(self, slow: bool) -> None:
        self.slow, self.got = slow, b""
        self.since = time.perf_counter()
        self.socket.sendall(
            b"GET /slow HTTP/1.1\r\nHost: l\r\n\r\n"
            if slow
            else b"GET / HTTP/1.1\r\nHost: l\r\n\r\n"
        )


def mix(row: Scenario, address: tuple[str, int], seconds: float) -> Load:
    """A closed loop: each connection asks again when it is answered, 1 in 20 for the slow path.

    The percentiles are those of the quick requests, in milliseconds.
    """
    chance = random.Random(20)
    poller = select.epoll()
    lines: dict[int, _Line] = {}
    errors = {"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0}

    def open_line() -> None:
        try:
            line = _Line(address)
        except OSError:
            errors["connect"] += 1
            return
        lines[line.socket.fileno()] = line
        poller.register(line.socket.fileno(), select.EPOLLIN)
        line.ask(chance.random() < SLOW_SHARE)

    def drop(line: _Line) -> None:
        del lines[line.socket.fileno()]
        poller.unregister(line.socket.fileno())
        line.socket.close()

    for _ in range(row.connections):
        open_line()
    quick: list[float] = []
    requests = 0
    begin = time.perf_counter()
    end = begin + seconds
    while lines and time.perf_counter() < end:
        for number, _ in poller.poll(1.0):
            line = lines[number]
            try:
                data = line.socket.recv(65536)
            except OSError:
                data = b""
            line.got += data
            whole = line.got.endswith(b"Hello, World!")
            closed = not data or (whole and b"\r\nconnection: close\r\n" in line.got.lower())
            if whole:
                requests += 1
                if not line.slow:
                    quick.append(time.perf_counter() - line.since)
                if not line.got.startswith(b"HTTP/1.1 200"):
                    errors["status"] += 1
            elif closed:
                errors["read"] += 1
            if closed:
                drop(line)
                open_line()
            elif whole:
                line.ask(chance.random() < SLOW_SHARE)
    took = time.perf_counter() - begin
    for line in list(lines.values()):
        drop(line)
    poller.close()
    quick.sort()
    if not quick:
        return Load(requests, took, 0.0, 0.0, {**errors, "timeout": 1})
    return Load(
        requests, took, quick[len(quick) // 2] * 1e3, quick[int(len(quick) * 0.99)] * 1e3, errors
    )


def _mix_apart(
    row: Scenario, address: tuple[str, int], seconds: float, cpus: set[int] | None
) -> Load:
    """`mix` in a process of its own, on its core."""
    command = [sys.executable, "-m", "bench.load", row.name, str(address[1]), str(seconds)]
    done = subprocess.run(
        command,
        cwd=Path(__file__).resolve().parent.parent,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        preexec_fn=(lambda: os.sched_setaffinity(0, cpus)) if cpus else None,
    )
    if done.returncode:
        raise RuntimeError(f"the mix gave no figures: {done.stderr.strip()[-300:]}")
    return Load(**json.loads(done.stdout))


def run(row: Scenario, address: tuple[str, int], seconds: float, cpus: set[int] | None) -> Load:
    """The row's load for about `seconds` seconds, from `cpus`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = (wrk if row.load == "wrk" else _mix_apart)(row, address, seconds, cpus)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found


if __name__ == "__main__":
    from bench.scenarios import SCENARIOS

    print(
        json.dumps(
            asdict(mix(SCENARIOS[sys.argv[1]], ("127.0.0.1", int(sys.argv[2])), float(sys.argv[3])))
        )
    )
