"""The load of soak.py: callers that check every byte, and wrk beside them.

A caller has one connection at a time and asks again soon after it was answered; some keep their
connection until the server says that it closes, some open one for each request. Whatever is not the
right answer is a Failure, with the connection's local port, so that it can be told whether a worker
that was killed held that connection.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bench import machine
from bench.client import Client, Malformed
from bench.soak_app import content

KEEPING, CLOSING = 6, 3  #: callers that keep their connection, and that do not
WRK_CONNECTIONS = 12
PATIENCE = 60.0  #: seconds until a missing answer is a failure
SIZES = (0, 20, 700, 5000, 70_000)

#: Every fourth request of wrk ends its connection; 5 ms between an answer and the next request.
SCRIPT = """
local threads = {}
setup = function(thread) table.insert(threads, thread) end
init = function(arguments)
  number, wrong = 0, 0
  keep = wrk.format("GET", "/plain/300/wrk", {["Host"] = "localhost"})
  close = wrk.format("GET", "/stream/300/wrk",
                     {["Host"] = "localhost", ["Connection"] = "close"})
end
request = function()
  number = number + 1
  if number % 4 == 0 then return close end
  return keep
end
delay = function() return 5 end
response = function(status, headers, body)
  if not body:match("^%d+ wrk\\n" .. string.rep("wrk", 100) .. "$") then wrong = wrong + 1 end
end
done = function(summary, latency, requests)
  local e, wrong = summary.errors, 0
  for _, thread in ipairs(threads) do wrong = wrong + thread:get("wrong") end
  io.write(string.format('\\n{"requests": %d, "connect": %d, "read": %d, "write": %d, ' ..
    '"status": %d, "timeout": %d, "body": %d}\\n',
    summary.requests, e.connect, e.read, e.write, e.status, e.timeout, wrong))
end
"""


@dataclass(frozen=True)
class Failure:
    """A request without its right answer.

    `port` is the connection's on our side (0: there was none), `opened` and `at` are
    `time.monotonic()`, `by` is the worker that answered on this connection before, if one did.
    `broken` is a connection that ended without the answer or within it.
    """

    what: str
    port: int
    opened: float
    at: float
    by: int | None
    broken: bool = False


class Caller(threading.Thread):
    """One caller, from `start` until `over` is set."""

    def __init__(
        self,
        address: tuple[str, int],
        name: str,
        over: threading.Event,
        *,
        keep: bool,
        pause: float,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.answered = 0
        self.connections = 0
        self.workers: set[int] = set()
        self.failures: list[Failure] = []
        self._address = address
        self._over = over
        self._keep = keep
        self._pause = pause
        self._chance = random.Random(name)
        self._number = 0

    def run(self) -> None:
        while not self._over.is_set():
            opened = time.monotonic()
            try:
                client = Client(self._address, PATIENCE)
            except OSError as error:
                self._fail(f"connect: {error.strerror or error}", 0, opened, None)
                continue
            self.connections += 1
            with client:
                self._use(client, opened)
            self._over.wait(self._pause)

    def _use(self, client: Client, opened: float) -> None:
        """Ask on one connection until it ends."""
        port, by = client.socket.getsockname()[1], None
        while not self._over.is_set():
            request, token, size, sent = self._next()
            try:
                client.send(request)
                response = client.read()
            except (Malformed, OSError) as error:
                broken = "connection" in str(error).lower() or str(error) == "response cut"
                self._fail(str(error), port, opened, by, broken=broken)
                return
            who = response.body.partition(b" ")[0]
            if response.status != 200 or not who.isdigit():
                self._fail(f"status {response.status}", port, opened, by)
                return
            if response.body != content(int(who), token, size, sent):
                self._fail("wrong body", port, opened, by)
                return
            by = int(who)
            self.workers.add(by)
            self.answered += 1
            if response.closes or not self._keep:
                return
            self._over.wait(self._pause)

    def _next(self) -> tuple[bytes, bytes, int, bytes]:
        """The next request, and what its answer is made of."""
        self._number += 1
        token = f"{self.name}-{self._number}".encode()
        size = self._chance.choice(SIZES)
        kind = self._chance.choice((b"plain", b"stream"))
        sent = b"sent" * 500 if self._chance.random() < 0.2 else b""
        lines = [b"%s /%s/%d/%s HTTP/1.1" % (b"POST" if sent else b"GET", kind, size, token),
                 b"Host: localhost"]  # fmt: skip
        if not self._keep:
            lines.append(b"Connection: close")
        if sent:
            lines.append(b"Content-Length: %d" % len(sent))
        return b"\r\n".join([*lines, b"", sent]), token, size, sent

    def _fail(
        self, what: str, port: int, opened: float, by: int | None, *, broken: bool = False
    ) -> None:
        self.failures.append(Failure(what, port, opened, time.monotonic(), by, broken))


class Load:
    """Callers and, where it is installed, wrk, inside the `with` block.

    `pause` is the time in seconds between an answer and its caller's next request.
    """

    def __init__(self, address: tuple[str, int], pause: float = 0.002) -> None:
        self._over = threading.Event()
        self._address = address
        self.callers = [
            Caller(address, f"{kind}{number}", self._over, keep=kind == "keep", pause=pause)
            for kind, count in (("keep", KEEPING), ("close", CLOSING))
            for number in range(count)
        ]
        self.wrk: dict[str, int] = {}  #: its requests and its errors, after the block
        self._folder = tempfile.TemporaryDirectory(prefix="fastwsgi-soak-")
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Load:
        script = Path(self._folder.name) / "soak.lua"
        script.write_text(SCRIPT)
        host, port = self._address
        if machine.present("wrk"):
            self._process = subprocess.Popen(
                ["wrk", "-t1", f"-c{WRK_CONNECTIONS}", "-d", "24h", "--timeout",
                 f"{PATIENCE:.0f}s", "-s", str(script), f"http://{host}:{port}/"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        for caller in self.callers:
            caller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # it says what it saw, and ends
            said = self._process.communicate(timeout=PATIENCE)[0]
            try:
                self.wrk = json.loads(said.strip().splitlines()[-1])
            except (ValueError, IndexError):
                self.wrk = {"requests": 0, "no figures": 1}
        for caller in self.callers:
            caller.join(PATIENCE + 5)
        self._folder.cleanup()

    @property
    def answered(self) -> int:
        """Right answers so far, wrk's not included."""
        return sum(caller.answered for caller in self.callers)

    @property
    def workers(self) -> int:
        """How many different workers have answered."""
        return len(set().union(*(caller.workers for caller in self.callers)))

    def failures(self) -> list[Failure]:
        """What the callers met."""
        found = [failure for caller in self.callers for failure in caller.failures]
        alive = [caller.name for caller in self.callers if caller.is_alive()]
        stuck = [Failure(f"{name} does not end", 0, 0.0, 0.0, None) for name in alive]
        return found + stuck

    def wrk_errors(self) -> Counter[str]:
        """What wrk met, by kind."""
        kinds = {f"wrk {kind}": count for kind, count in self.wrk.items() if kind != "requests"}
        return +Counter(kinds)

    def figures(self) -> dict[str, Any]:
        """What is told of the load."""
        return {
            "checked": self.answered,
            "connections": sum(caller.connections for caller in self.callers),
            "wrk": self.wrk.get("requests", 0),
            "workers": self.workers,
        }
