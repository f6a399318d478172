"""The processes below one master: how they are made, watched and collected.

Without --preload workers are forked here; with it a fork server forks them on request. Which of
them should be there is decided in master.py.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from fastwsgi.config.hooks import WorkerView
from fastwsgi.master import forkserver
from fastwsgi.master.child import Child, fork, voice
from fastwsgi.master.forkserver import Forked, ForkServer
from fastwsgi.worker.process import Duty, work
from fastwsgi.worker.scoreboard import Board, Totals

QUICK_GRACE = 1.0
"""Seconds a process has to obey a quick stop before it is killed."""
ORPHAN_PERIOD = 1.0
"""Seconds between two looks for workers whose fork server is gone, as no signal tells their end."""


class Crew:
    """The workers, by process id, and the fork servers of a master.

    ``private_fds`` tells which descriptors of the master a child has to close; ``totals`` counts
    what the workers have done that have left.
    """

    def __init__(self, private_fds: Callable[[], Iterable[int]]) -> None:
        self.workers: dict[int, Child] = {}
        self.fork_servers: list[ForkServer] = []
        self._private_fds = private_fds
        self.totals = Totals()
        self._age = 0

    def everyone(self) -> list[Child]:
        """Return workers and fork servers."""
        return [*self.workers.values(), *self.fork_servers]

    # -- births ------------------------------------------------------------------------------

    def spawn(self, duty: Duty, generation: int) -> bool:
        """Start one worker; False when its fork server is not ready yet. Raises OSError."""
        server = None
        if duty.config.preload_app:
            server = self._fork_server(duty, generation)
            if server.ready_at is None:
                return False
        self._age += 1
        board = Board(duty.config.threads)
        try:
            heard, speaking = voice()
        except OSError:
            board.close()
            raise
        cpu = self._least_used_cpu() if duty.config.cpu_affinity else None
        view = WorkerView(self._age, duty.config, duty.log)
        try:
            if server is not None:
                pid = server.spawn(self._age, cpu, duty.multiprocess, speaking, board.fd)
                child: Child = Forked(pid, generation, heard, server)
            else:
                duty.config.hooks.attempt(duty.log, "pre_fork", duty.server, view)

                def life() -> int:
                    self._let_go(heard)
                    return work(duty, view, speaking, board, cpu)

                child = Child(fork(life), generation, heard)
        except OSError:
            os.close(heard)
            board.close()
            raise
        finally:
            os.close(speaking)
            board.close_fd()
        view.pid, child.view, child.cpu, child.board = child.pid, view, cpu, board
        child.beats = duty.limited
        self.workers[child.pid] = child
        return True

    def _least_used_cpu(self) -> int:
        """Return the CPU for the next worker."""
        used = Counter(child.cpu for child in self.workers.values() if not child.leaving)
        return min(sorted(os.sched_getaffinity(0)), key=lambda cpu: used[cpu])

    def _let_go(self, *fds: int) -> None:
        """In a child: close what belongs to the master."""
        for fd in (*fds, *self._private_fds()):
            os.close(fd)
        for sibling in self.everyone():
            sibling.let_go()

    def _fork_server(self, duty: Duty, generation: int) -> ForkServer:
        """Return the fork server of a generation; fork one if there is none."""
        for server in self.fork_servers:
            if server.generation == generation and not (server.gone or server.leaving):
                return server
        heard, speaking = voice()
        ours, theirs = socket.socketpair()

        def life() -> int:
            ours.close()
            self._let_go(heard)
            return forkserver.live(duty, theirs, speaking)

        try:
            pid = fork(life)
        except OSError:
            os.close(heard)
            ours.close()
            raise
        finally:
            os.close(speaking)
            theirs.close()
        server = ForkServer(pid, generation, heard, ours)
        self.fork_servers.append(server)
        return server

    # -- what comes from them ----------------------------------------------------------------

    def voices(self, hear: Callable[[Child], None]) -> dict[int, Callable[[], None]]:
        """Return the descriptors to wait on, each with what is to be called when it is readable.

        ``hear`` is called for a child that has said something.
        """
        found: dict[int, Callable[[], None]] = {}
        for child in self.everyone():
            if child.fd >= 0:
                found[child.fd] = partial(hear, child)
        for server in self.fork_servers:
            if server.link.fileno() >= 0:
                found[server.link.fileno()] = server.listen
        return found

    def moments(self) -> list[float]:
        """Return the moments at which somebody is to be killed or looked for."""
        found = [child.kill_at for child in self.everyone() if child.kill_at is not None]
        if any(isinstance(child, Forked) and child.server.gone for child in self.workers.values()):
            found.append(time.monotonic() + ORPHAN_PERIOD)
        return found

    # -- ends --------------------------------------------------------------------------------

    def retire(self, child: Child, grace: float, number: signal.Signals) -> None:
        """Tell a child to leave; ``grace`` seconds later patience ends."""
        kill_at = time.monotonic() + grace
        child.leaving = True
        child.kill_at = kill_at if child.kill_at is None else min(child.kill_at, kill_at)
        child.tell(number)

    def kill_overdue(self) -> list[Child]:
        """Kill children whose time is up, and return them."""
        now = time.monotonic()
        overdue = [child for child in self.everyone()
                   if child.kill_at is not None and now >= child.kill_at]
        for child in overdue:
            child.kill_at = None
            child.tell(signal.SIGKILL)
        return overdue

    def dismiss_fork_servers(self, current: int | None) -> None:
        """Let go of fork servers without workers, but for that of the generation ``current``."""
        used = {child.server for child in self.workers.values() if isinstance(child, Forked)}
        for server in self.fork_servers:
            if not server.leaving and server not in used and server.generation != current:
                self.retire(server, QUICK_GRACE, signal.SIGTERM)  # obeyed even while it imports
                server.let_go()

    def take_back(self, generation: int) -> None:
        """Make everybody members of ``generation``, except its own fork server: it has failed."""
        for server in self.fork_servers:
            server.generation = 0 if server.generation == generation else generation
        self.join(generation)

    def join(self, generation: int) -> None:
        """Make all workers members of ``generation``."""
        for child in self.workers.values():
            child.generation = generation

    def collect(self, hear: Callable[[Child], None]) -> list[tuple[Child, int]]:
        """Take out those that have ended, with their exit codes.

        Only our own are waited for: the process may have other children. ``hear`` is called for
        one whose last words have not been heard.
        """
        found: list[tuple[Child, int]] = []
        for child in [*self.fork_servers, *self.workers.values()]:
            code = child.ended()
            if code is None:
                continue
            if child.fd >= 0:
                hear(child)
            if isinstance(child, ForkServer):
                child.bury()
                self.fork_servers.remove(child)
            else:
                if child.board is not None:
                    self.totals.add(child.board.state())
                child.let_go()
                del self.workers[child.pid]
            found.append((child, code))
        return found
