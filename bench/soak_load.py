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

#: Every fourth request of wrk ends its connection, or none does; a pause in milliseconds between an
#: answer and the next request. `closed` counts answers that end a connection whose client has not
#: asked for it.
SCRIPT = """
local threads = {}
setup = function(thread) table.insert(threads, thread) end
init = function(arguments)
  number, wrong, closed = 0, 0, 0
  keep = wrk.format("GET", "/plain/300/wrk", {["Host"] = "localhost"})
  close = wrk.format("GET", "/stream/300/end",
                     {["Host"] = "localhost", ["Connection"] = "close"})
end
request = function()
  number = number + 1
  if CLOSES and number % 4 == 0 then return close end
  return keep
end
delay = function() return PAUSE end
response = function(status, headers, body)
  local token = body:match("^%d+ (%a+)\\n") or ""
  if not body:match("^%d+ " .. token .. "\\n" .. string.rep(token, 100) .. "$") then
    wrong = wrong + 1
  end
  local ends = (headers["Connection"] or headers["connection"]) == "close"
  if ends and token == "wrk" then closed = closed + 1 end
end
done = function(summary, latency, requests)
  local e, wrong, closed = summary.errors, 0, 0
  for _, thread in ipairs(threads) do
    wrong, closed = wrong + thread:get("wrong"), closed + thread:get("closed")
  end
  io.write(string.format('\\n{"requests": %d, "closed": %d, "connect": %d, "read": %d, ' ..
    '"write": %d, "status": %d, "timeout": %d, "body": %d}\\n',
    summary.requests, closed, e.connect, e.read, e.write, e.status, e.timeout, wrong))
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
        self.closed = 0  #: kept connections that the server has ended with an answer
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
                self.closed += self._keep
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


class Wrk:
    """wrk on connections of its own, from `start` to `stop`."""

    def __init__(
        self, address: tuple[str, int], connections: int, pause: float, *, closes: bool
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fastwsgi-soak-")
        self._address = address
        self._connections = connections
        self._closes, self._pause = closes, pause
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin to ask."""
        script = Path(self._folder.name) / "soak.lua"
        script.write_text(
            f"CLOSES, PAUSE = {str(self._closes).lower()}, {self._pause * 1000:.0f}\n{SCRIPT}"
        )
        host, port = self._address
        self._process = subprocess.Popen(
            ["wrk", "-t1", f"-c{self._connections}", "-d", "24h", "--timeout",
             f"{PATIENCE:.0f}s", "-s", str(script), f"http://{host}:{port}/"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def stop(self) -> dict[str, int]:
        """Its requests, the answers that closed a connection unasked, and its errors by kind."""
        if self._process is None:
            return {}
        self._process.send_signal(signal.SIGINT)  # it says what it saw, and ends
        said = self._process.communicate(timeout=PATIENCE)[0]
        self._process = None
        self._folder.cleanup()
        try:
            found: dict[str, int] = json.loads(said.strip().splitlines()[-1])
        except (ValueError, IndexError):
            return {"requests": 0, "no figures": 1}
        return found


class Load:
    """Callers and, where it is installed, wrk, inside the `with` block.

    `pause` is the time in seconds between an answer and its caller's next request.
    """

    def __init__(self, address: tuple[str, int], pause: float = 0.002) -> None:
        self._over = threading.Event()
        self.callers = [
            Caller(address, f"{kind}{number}", self._over, keep=kind == "keep", pause=pause)
            for kind, count in (("keep", KEEPING), ("close", CLOSING))
            for number in range(count)
        ]
        self.wrk: dict[str, int] = {}  #: its requests and its errors, after the block
        self._wrk = Wrk(address, WRK_CONNECTIONS, 0.005, closes=True)

    def __enter__(self) -> Load:
        if machine.present("wrk"):
            self._wrk.start()
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
        self.wrk = self._wrk.stop()
        for caller in self.callers:
            caller.join(PATIENCE + 5)

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
        figures = ("requests", "closed")
        kinds = {f"wrk {kind}": count for kind, count in self.wrk.items() if kind not in figures}
        return +Counter(kinds)

    @property
    def closed(self) -> int:
        """Connections that the server has ended with an answer, though they were to be kept."""
        return sum(caller.closed for caller in self.callers) + self.wrk.get("closed", 0)

    def figures(self) -> dict[str, Any]:
        """What is told of the load."""
        return {
            "checked": self.answered,
            "connections": sum(caller.connections for caller in self.callers),
            "closed": self.closed,
            "wrk": self.wrk.get("requests", 0),
            "workers": self.workers,
        }
