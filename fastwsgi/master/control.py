"""What the control socket can have done: the commands, and what the answers say.

The socket and its lines are in fastwsgi/control. Here they meet the master, which is told by the
same functions that signals call. Everything that is said comes from memory or /proc: no worker is
asked, so a stuck one is described like any other.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from fastwsgi._version import __version__
from fastwsgi.control.server import ControlSocket, Reply
from fastwsgi.logs.masking import mask_secrets
from fastwsgi.master.child import Child
from fastwsgi.master.workers import Workers
from fastwsgi.metrics.processes import Processes, Usage
from fastwsgi.worker import scoreboard
from fastwsgi.worker.process import STACKS

PERIOD = 0.05
"""Seconds between two looks at whether all stacks are there."""
PATIENCE = 2.0
"""Seconds after which stacks that are not there will not come."""
PHASES = {scoreboard.APPLICATION: "application", scoreboard.CLIENT: "client",
          scoreboard.UPGRADED: "upgraded"}
STATES = {"R": "running", "S": "waiting", "D": "disk", "T": "stopped", "t": "stopped"}
"""The kernel's letters for what a thread does."""

Facts = dict[str, Any]


class Server(Protocol):
    """What the commands need of the master."""

    workers: Workers
    last_reload: str | None

    @property
    def application(self) -> str:
        """What is served, as the operator named it."""

    @property
    def addresses(self) -> list[str]:
        """Where clients are served."""

    @property
    def state(self) -> str:
        """What the server is doing, in a word."""

    @property
    def generation(self) -> int:
        """How often settings and application have been read."""

    @property
    def wanted(self) -> int:
        """How many workers are wanted."""

    @property
    def log_level(self) -> str:
        """The least severity that is logged."""

    @property
    def ending(self) -> bool:
        """Whether a stop has begun, or is to follow a delay."""

    def log_event(self, message: str, *values: object) -> None:
        """Log what somebody has asked for."""

    def log_from(self, level: str) -> None:
        """Log from that level on, here and in all workers."""

    def reload(self) -> str:
        """Begin a reload; return why it is refused, empty if it is not."""

    def end(self, *, quick: bool) -> None:
        """Stop."""

    def want(self, count: int) -> None:
        """Run so many workers from now on."""


class _Wanted(NamedTuple):
    """Stacks that somebody waits for."""

    children: list[Child]
    reply: Reply
    until: float
    sizes: list[int]


class Control:
    """The control socket of a master. Raises ListenError."""

    def __init__(self, path: str, master: Server, *, replace: bool) -> None:
        self._master = master
        self._processes = Processes()
        self._started = time.monotonic()
        self._wanted: list[_Wanted] = []
        self._next = 0.0
        self.socket = ControlSocket(path, self._handle, replace=replace)

    def interests(self) -> dict[int, tuple[int, Callable[[], None]]]:
        """Return what to poll, as ``ControlSocket.interests``."""
        return self.socket.interests()

    def deadlines(self) -> list[float]:
        """Return the times at which ``check`` is to be called."""
        return self.socket.deadlines() + ([self._next] if self._wanted else [])

    def check(self) -> None:
        """Give the stacks that are there to those who wait, and close silent connections."""
        if self._wanted and time.monotonic() >= self._next:
            self._look_for_stacks()
        self.socket.expire()

    def _look_for_stacks(self) -> None:
        now = time.monotonic()
        self._next = now + PERIOD
        waiting, self._wanted = self._wanted, []
        for one in waiting:
            sizes = [child.board.stacks_size() for child in one.children if child.board is not None]
            if now < one.until and (sizes != one.sizes or not all(sizes)):
                self._wanted.append(one._replace(sizes=sizes))
            else:
                one.reply({"ok": True, "workers": [self._stacks(child) for child in one.children]})

    # -- commands ------------------------------------------------------------------------------

    def _handle(self, command: str, members: dict[str, Any], who: str, reply: Reply) -> None:
        if command == "status":
            reply({"ok": True, **self._status(shares=members.get("shares", False))})
        elif command == "stacks":
            self._ask_for_stacks(reply)
        elif command == "log-level":
            self._master.log_event("control: log level %s (%s)", members["level"], who)
            self._master.log_from(members["level"])
            reply({"ok": True})
        elif command == "stop":
            self._master.log_event("control: stop (%s)", who)
            reply({"ok": True})
            self._master.end(quick=members.get("quick", False))
        elif self._master.ending:
            reply({"ok": False, "error": "the server is stopping"})
        elif command == "reload":
            self._master.log_event("control: reload (%s)", who)
            refused = self._master.reload()
            reply({"ok": False, "error": f"refused, nothing has changed: {refused}"}
                  if refused else {"ok": True})
        else:
            self._master.log_event("control: %d workers (%s)", members["count"], who)
            self._master.want(members["count"])
            reply({"ok": True})

    def _ask_for_stacks(self, reply: Reply) -> None:
        """Let every worker write its stacks, by a handler that needs no interpreter lock."""
        children = [child for child in self._children() if child.board is not None]
        for child in children:
            assert child.board is not None
            child.board.clear_stacks()
            child.send_signal(STACKS)
        now = time.monotonic()
        self._wanted.append(_Wanted(children, reply, now + PATIENCE, []))
        self._next = min(self._next, now + PERIOD) if self._next > now else now + PERIOD

    # -- what is said --------------------------------------------------------------------------

    def _children(self) -> list[Child]:
        by_pid = self._master.workers.by_pid
        return [by_pid[pid] for pid in sorted(by_pid)]

    def _status(self, *, shares: bool) -> Facts:
        master = self._master
        children = self._children()
        states = {child.pid: child.board.state() for child in children if child.board is not None}
        counters, latency = master.workers.totals.with_living(list(states.values()))
        usage = self._processes.usage([child.pid for child in children], shares=shares)
        return {
            "version": __version__,
            "python": platform.python_version(),
            "pid": os.getpid(),
            "uptime": round(time.monotonic() - self._started, 3),
            "application": master.application,
            "listening": master.addresses,
            "state": master.state,
            "generation": master.generation,
            "last_reload": master.last_reload,
            "workers_wanted": master.wanted,
            "log_level": master.log_level,
            "counters": counters,
            "latency": _by_bound(latency),
            "workers": [self._worker(child, states.get(child.pid), usage.get(child.pid))
                        for child in children],
        }

    def _worker(self, child: Child, state: scoreboard.State | None, usage: Usage | None) -> Facts:
        said: Facts = {
            "pid": child.pid,
            "state": ("stopping" if child.stopping else "starting" if child.ready_at is None
                      else "serving"),
            "current": child.generation == self._master.generation,
            "age": round(time.monotonic() - child.begun, 3),
            "cpu_seconds": usage.cpu if usage else None,
            "resident": usage.resident if usage else None,
            "share": usage.share if usage else None,
        }
        if state is not None:
            said |= {"threads": state.threads, "counters": state.counters,
                     "latency": _by_bound(state.latency), "calls": _calls(child.pid, state)}
        return said

    def _stacks(self, child: Child) -> Facts:
        assert child.board is not None
        return {"pid": child.pid, "stacks": child.board.stacks(),
                "calls": _calls(child.pid, child.board.state())}


def _by_bound(latency: tuple[int, ...]) -> dict[str, int]:
    bounds = ("inf" if bound == float("inf") else f"{bound:g}" for bound in scoreboard.BOUNDS)
    return dict(zip(bounds, latency, strict=True))


def _calls(pid: int, state: scoreboard.State) -> list[Facts]:
    """Return what each thread is doing, the oldest first."""
    now = scoreboard.now()
    said = []
    for call in sorted(state.calls, key=lambda call: call.since):
        does, cpu = thread_state(pid, call.tid)
        own = call.own_limit
        said.append({
            "thread": call.thread, "tid": call.tid, "number": call.number,
            "phase": PHASES.get(call.phase, ""), "seconds": round(max(0.0, now - call.since), 3),
            "method": call.method, "target": mask_secrets(call.target), "client": call.client,
            "limit": None if own is None or own == float("inf") else round(own, 3),
            "does": does, "cpu_seconds": cpu})
    return said


def thread_state(pid: int, tid: int) -> tuple[str, float | None]:
    """Return what the kernel says that a thread does, and its seconds of CPU."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/task/{tid}/stat", encoding="latin-1") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return STATES.get(fields[0], "other"), ticks / os.sysconf("SC_CLK_TCK")
    return "", None
