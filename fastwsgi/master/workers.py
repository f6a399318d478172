"""The processes below one master: how they are made, watched and reaped.

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
from typing import TYPE_CHECKING

from fastwsgi.config.hooks import WorkerView
from fastwsgi.master.child import Child, fork, open_pipe
from fastwsgi.worker.process import WorkerSpec, run_worker
from fastwsgi.worker.scoreboard import Board, Totals

if TYPE_CHECKING:
    from fastwsgi.master.forkserver import ForkServer
    from fastwsgi.metrics.metrics import Metrics
    from fastwsgi.worker.siblings import Siblings

QUICK_GRACE = 1.0
"""Seconds a process has to obey a quick stop before it is killed."""
ORPHAN_PERIOD = 1.0
"""Seconds between two looks for workers whose fork server is gone, as no signal tells their end."""


class Workers:
    """The workers, by process id, and the fork servers of a master.

    ``private_fds`` tells which descriptors of the master a child has to close; ``totals`` counts
    what the workers have done that have left; ``siblings`` is how they share new connections.
    """

    def __init__(self, private_fds: Callable[[], Iterable[int]]) -> None:
        self.by_pid: dict[int, Child] = {}
        self.fork_servers: list[ForkServer] = []
        self._private_fds = private_fds
        self._draining = False
        self._level = ""  # what the workers are to log, whatever the settings say
        self.metrics: Metrics | None = None
        self.totals = Totals()
        self.siblings: Siblings | None = None
        self._age = 0

    def children(self) -> list[Child]:
        """Return workers and fork servers."""
        return [*self.by_pid.values(), *self.fork_servers]

    # -- starts ------------------------------------------------------------------------------

    def spawn(self, spec: WorkerSpec, generation: int) -> bool:
        """Start one worker; False when its fork server is not ready yet. Raises OSError."""
        server = None
        if spec.config.preload_app:
            server = self._fork_server(spec, generation)
            if server.ready_at is None:
                return False
        self._age += 1
        board = Board(spec.config.threads)
        try:
            from_child, to_master = open_pipe()
        except OSError:
            board.close()
            raise
        cpu = self._least_used_cpu() if spec.config.cpu_affinity else None
        slot = self.siblings.take() if self.siblings is not None else None
        counted = self.metrics.page.take() if self.metrics is not None else None
        view = WorkerView(self._age, spec.config, spec.log)
        try:
            if server is not None:
                pid = server.spawn(
                    self._age, cpu, slot, counted, spec.multiprocess, to_master, board.fd)
                child: Child = server.child(pid, from_child)
            else:
                spec.config.hooks.attempt(spec.log, "pre_fork", spec.server, view)

                def main() -> int:
                    self._close_inherited(from_child)
                    return run_worker(spec, view, to_master, board, cpu, slot, counted)

                child = Child(fork(main), generation, from_child)
        except OSError:
            os.close(from_child)
            board.close()
            self._free(slot, counted)
            raise
        finally:
            os.close(to_master)
            if not spec.config.control_socket:
                board.close_fd()
        view.pid, child.view, child.cpu, child.board = child.pid, view, cpu, board
        if self._draining:
            board.drain()
        if self._level:
            board.want_level(self._level)
        child.slot, child.counted = slot, counted
        if self.metrics is not None:
            self.metrics.page.note(counted, child.pid)
        child.beats = spec.limited
        self.by_pid[child.pid] = child
        return True

    def share(self, workers: int) -> None:
        """Let so many workers share connections: those that are forked from now on.

        Raises OSError. One that is alone shares with the one that replaces it.
        """
        if self.siblings is None:
            from fastwsgi.worker.siblings import Siblings  # imported where somebody wants it

            self.siblings = Siblings(workers)

    def drain(self) -> None:
        """Let all of them say that they are not ready for requests, which they serve."""
        self._draining = True
        for child in self.by_pid.values():
            if child.board is not None:
                child.board.drain()

    def log_from(self, level: str) -> None:
        """Let them log from that level on, and those to come; empty for what the settings say."""
        self._level = level
        for child in self.by_pid.values():
            if level and child.board is not None:
                child.board.want_level(level)
                child.send_signal(signal.SIGUSR1)  # it looks when it reopens its logs

    def end(self) -> None:
        """Note that all of them are going to stop."""
        if self.siblings is not None:
            self.siblings.end()

    def forget_others(self) -> None:
        """Note that the other master of an upgrade has ended, whose workers shared with ours."""
        if self.metrics is not None:
            self.metrics.page.forget_other()
        if self.siblings is not None:
            self.siblings.forget_others()

    def close(self) -> None:
        """Close what the workers shared."""
        if self.siblings is not None:
            self.siblings.close()

    def _free(self, slot: int | None, counted: int | None) -> None:
        if self.metrics is not None:
            self.metrics.page.give_back(counted)
        if self.siblings is not None:
            self.siblings.give_back(slot)

    def _least_used_cpu(self) -> int:
        """Return the CPU for the next worker."""
        used = Counter(child.cpu for child in self.by_pid.values() if not child.stopping)
        return min(sorted(os.sched_getaffinity(0)), key=lambda cpu: used[cpu])

    def _close_inherited(self, *fds: int) -> None:
        """In a child: close what belongs to the master."""
        for fd in (*fds, *self._private_fds()):
            os.close(fd)
        for sibling in self.children():
            sibling.close_all()
        if self.metrics is not None:
            self.metrics.leave()

    def _fork_server(self, spec: WorkerSpec, generation: int) -> ForkServer:
        """Return the fork server of a generation; fork one if there is none."""
        for server in self.fork_servers:
            if server.generation == generation and not (server.gone or server.stopping):
                return server
        from_child, to_master = open_pipe()
        ours, theirs = socket.socketpair()
        from fastwsgi.master import forkserver  # imported where somebody wants one

        def main() -> int:
            ours.close()
            self._close_inherited(from_child)
            return forkserver.run(spec, theirs, to_master)

        try:
            pid = fork(main)
        except OSError:
            os.close(from_child)
            ours.close()
            raise
        finally:
            os.close(to_master)
            theirs.close()
        server = forkserver.ForkServer(pid, generation, from_child, ours)
        self.fork_servers.append(server)
        return server

    # -- what comes from them ----------------------------------------------------------------

    def pipes(self, on_message: Callable[[Child], None]) -> dict[int, Callable[[], None]]:
        """Return the descriptors to wait on, each with what is to be called when it is readable.

        ``on_message`` is called for a child that has sent something.
        """
        found: dict[int, Callable[[], None]] = {}
        for child in self.children():
            if child.fd >= 0:
                found[child.fd] = partial(on_message, child)
        for server in self.fork_servers:
            if server.link.fileno() >= 0:
                found[server.link.fileno()] = server.receive_ends
        return found

    def deadlines(self) -> list[float]:
        """Return the times at which a child is to be killed or looked for."""
        found = [child.kill_at for child in self.children() if child.kill_at is not None]
        if any(child.server is not None and child.server.gone for child in self.by_pid.values()):
            found.append(time.monotonic() + ORPHAN_PERIOD)
        return found

    # -- ends --------------------------------------------------------------------------------

    def stop(self, child: Child, grace: float, number: signal.Signals) -> None:
        """Ask a child to stop; it is killed ``grace`` seconds later."""
        kill_at = time.monotonic() + grace
        child.stopping = True
        child.kill_at = kill_at if child.kill_at is None else min(child.kill_at, kill_at)
        child.send_signal(number)

    def kill_late(self) -> list[Child]:
        """Kill children whose time is up, and return them."""
        now = time.monotonic()
        late = [child for child in self.children()
                if child.kill_at is not None and now >= child.kill_at]
        for child in late:
            child.kill_at = None
            child.send_signal(signal.SIGKILL)
        return late

    def stop_unused_fork_servers(self, current: int | None) -> None:
        """Stop fork servers without workers, except that of the generation ``current``."""
        used = {child.server for child in self.by_pid.values()}
        for server in self.fork_servers:
            if not server.stopping and server not in used and server.generation != current:
                self.stop(server, QUICK_GRACE, signal.SIGTERM)  # obeyed even while it imports
                server.close_all()

    def take_back(self, generation: int) -> None:
        """Make everybody members of ``generation``, except its own fork server: it has failed."""
        for server in self.fork_servers:
            server.generation = 0 if server.generation == generation else generation
        self.set_generation(generation)

    def set_generation(self, generation: int) -> None:
        """Make all workers members of ``generation``."""
        for child in self.by_pid.values():
            child.generation = generation

    def reap(self, on_message: Callable[[Child], None]) -> list[tuple[Child, int]]:
        """Remove those that have ended, and return them with their exit codes.

        Only our own are waited for: the process may have other children. ``on_message`` is
        called for one whose last messages have not been read.
        """
        found: list[tuple[Child, int]] = []
        for child in [*self.fork_servers, *self.by_pid.values()]:
            code = child.poll()
            if code is None:
                continue
            if child.fd >= 0:
                on_message(child)
            if child in self.fork_servers:
                child.drain()
                self.fork_servers = [one for one in self.fork_servers if one is not child]
            else:
                if child.board is not None:
                    self.totals.add(child.board.state())
                child.close_all()
                self._free(child.slot, child.counted)
                del self.by_pid[child.pid]
            found.append((child, code))
        return found
