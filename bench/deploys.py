"""A deploy closes nothing: `python -m bench.deploys [--reloads 100] [--upgrades 20]
[--recycled 100] [--idle 10000] [--record]`.

A server of four workers holds idle kept connections, each of which has been answered once, and wrk
asks on 64 more. Meanwhile the server is reloaded (HUP), upgraded (USR2, and TERM to the old
master), or replaces each worker after 200 requests. What an idle connection receives is counted,
whether it is the end, a reset or bytes that nobody has asked for; at the end of each part each of
them asks once more. For wrk each answer is compared with what it should be, and an answer that ends
its connection counts as closed. The exit status is 1 when anything was counted. `--record` writes
the figures into docs/measured.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import select
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from bench import machine, publish
from bench.client import Client, Malformed
from bench.soak import complaints
from bench.soak_app import content
from bench.soak_load import Wrk
from fastwsgi.testing import Process, spawn

APP = "bench.soak_app:app"
WORKERS, THREADS = 4, 4
WRK_CONNECTIONS = 64
RECYCLE_AT = 200
GUARD = 120.0  #: seconds a single step may take
SPARE_DESCRIPTORS = 500
REPLACED = r"replacement: \d+ requests served"
HEAD = ["", "idle connections", "idle ones closed", "idle ones reset", "wrong answers to them",
        "answers to wrk", "its connections closed", "its errors", "seconds"]  # fmt: skip


class Idle:
    """Kept connections that are watched by a thread, from `open` to `end`."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.found: Counter[str] = Counter()  #: what they received unasked, or wrongly
        self._address = address
        self._clients: dict[int, Client] = {}
        self._poller = select.epoll()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def open(self, count: int) -> None:
        """Open them; each asks once."""
        for number in range(count):
            client = Client(self._address, GUARD)
            self._ask(client, b"idle%d" % number)
            self._clients[client.socket.fileno()] = client
            self._poller.register(client.socket.fileno(), select.EPOLLIN)
        self._thread.start()

    def end(self) -> None:
        """Stop watching; let each ask once more, and close it."""
        self._over.set()
        self._thread.join(GUARD)
        self._poller.close()
        for client in self._clients.values():
            with client:
                self._ask(client, b"last")
        self._clients.clear()

    def _ask(self, client: Client, token: bytes) -> None:
        try:
            client.send(b"GET /plain/20/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % token)
            answer = client.read()
        except (Malformed, OSError) as error:
            reset = "reset" in str(error).lower() or "broken" in str(error).lower()
            self.found["reset" if reset else "closed" if "closed" in str(error) else "wrong"] += 1
            return
        who = answer.body.partition(b" ")[0]
        right = who.isdigit() and answer.body == content(int(who), token, 20)
        if answer.status != 200 or not right:
            self.found["wrong"] += 1
        elif answer.closes:
            self.found["closed"] += 1

    def _watch(self) -> None:
        while not self._over.is_set():
            for number, _ in self._poller.poll(0.1):
                try:
                    what = "wrong" if self._clients[number].socket.recv(1 << 16) else "closed"
                except OSError:
                    what = "reset"
                self.found[what] += 1
                self._poller.unregister(number)
                self._clients.pop(number).socket.close()


def reload(server: Process, count: int) -> int:
    """HUP, the next when the one before is finished; returns the master."""
    for number in range(count):
        server.signal(signal.SIGHUP)
        server.wait_for(r"\] ready: ", count=number + 2, timeout=GUARD)
        # those that were replaced have ended, too: their connections have gone elsewhere
        server.wait_for(r"\] worker \d+ exited", count=(number + 1) * WORKERS, timeout=GUARD)
    return server.pid


def upgrade(server: Process, count: int) -> int:
    """USR2, and TERM to the old master; returns the last master."""
    master = server.pid
    for number in range(count):
        os.kill(master, signal.SIGUSR2)
        line = server.wait_for(
            r"the new master \(pid \d+\) is ready", count=number + 1, timeout=GUARD
        )
        old, master = master, int(re.findall(r"new master \(pid (\d+)\)", line)[0])
        os.kill(old, signal.SIGTERM)
        server.wait_for(rf"the old master \(pid {old}\) has ended", timeout=GUARD)
    return master


def recycle(server: Process, count: int) -> int:
    """Wait until so many more workers have been replaced; returns the master."""
    count += len(re.findall(REPLACED, server.output()))  # the idle ones have asked, too
    server.wait_for(REPLACED, count=count, timeout=GUARD + 2 * count)
    return server.pid


@contextlib.contextmanager
def serving(found: Counter[str], *flags: str) -> Iterator[tuple[Process, list[int]]]:
    """A server, and a list into which the process id of its last master is put."""
    with spawn(
        "-w", str(WORKERS), "--threads", str(THREADS), "--log-level", "debug",
        "--keep-alive", "3600", "--worker-connections", "30000", *flags, APP,
        cwd=machine.ROOT, env={"SOAK_IMPORT": "0"},
    ) as server:  # fmt: skip
        masters = [server.pid]
        try:
            yield server, masters
        finally:
            if masters[-1] != server.pid:
                os.kill(masters[-1], signal.SIGTERM)
                server.wait(GUARD)  # until the last of them has closed the output
            else:
                server.terminate()
        found.update(complaints(server.output()))


Step = Callable[[Process, int], int]


def part(
    title: str, step: Step, count: int, idle: int, pause: float, flags: list[str]
) -> tuple[list[str], bool]:
    """One part; its row of the table, and whether nothing was closed, reset or wrong."""
    said: Counter[str] = Counter()
    begin = time.monotonic()
    with serving(said, *flags) as (server, masters):
        assert not isinstance(server.address, str)
        kept = Idle(server.address)
        kept.open(idle)
        wrk = Wrk(server.address, WRK_CONNECTIONS, pause, closes=False)
        wrk.start()
        try:
            masters.append(step(server, count))
        finally:
            asked = wrk.stop()
            kept.end()
    requests, closed = asked.pop("requests"), asked.pop("closed", 0)
    errors = sum(asked.values())
    for what, times in (said + Counter(asked)).items():
        if times:
            print(f"{title}: {times} x {what}", file=sys.stderr)
    figures = [idle, kept.found["closed"], kept.found["reset"], kept.found["wrong"],
               requests, closed, errors, round(time.monotonic() - begin)]  # fmt: skip
    clean = requests > 0 and not (kept.found.total() or closed or errors or said)
    return [f"{count} {title}", *(f"{figure:,}" for figure in figures)], clean


def main() -> int:
    """Do the parts; 1 when anything was closed, reset or wrong."""
    parser = argparse.ArgumentParser(description="kept connections while a server is replaced")
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--upgrades", type=int, default=20)
    parser.add_argument("--recycled", type=int, default=100, help="workers that are replaced")
    parser.add_argument("--idle", type=int, default=10_000, help="idle kept connections")
    parser.add_argument("--record", action="store_true", help="write them into docs/measured")
    arguments = parser.parse_args()
    machine.ensure("wrk")
    most = machine.raise_descriptor_limit() - SPARE_DESCRIPTORS
    if arguments.idle > most:
        raise SystemExit(f"the descriptor limit allows {most} connections, not {arguments.idle}")
    limits = ["--max-requests", str(RECYCLE_AT)]
    parts: list[tuple[str, Step, int, float, list[str]]] = [
        ("reloads", reload, arguments.reloads, 0.005, []),
        ("upgrades", upgrade, arguments.upgrades, 0.005, []),
        # about as many requests as workers can be replaced for
        (f"workers replaced after {RECYCLE_AT} requests", recycle, arguments.recycled, 0.15,
         limits),
    ]  # fmt: skip
    rows, clean = [], True
    print(publish.line(HEAD), publish.rule(HEAD), sep="\n", flush=True)
    for title, step, count, pause, flags in parts:
        if not count:
            continue
        row, good = part(title, step, count, arguments.idle, pause, flags)
        rows.append(row)
        clean = clean and good
        print(publish.line(row), flush=True)
    if arguments.record:
        publish.keep("deploys", "python -m bench.deploys", HEAD, rows,
                     f"{WORKERS} workers of {THREADS} threads; wrk on {WRK_CONNECTIONS} connections"
                     " more.")  # fmt: skip
    return int(not clean)


if __name__ == "__main__":
    sys.exit(main())
