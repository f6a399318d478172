"""The master: opens the sockets, forks the workers, and sees to it that they are there.

Its rule: signal handlers only enqueue (the kernel's signal number goes through the wake-up pipe),
and ``_reconcile`` compares what is wanted with what there is. So a start, a respawn, TTIN, TTOU, a
rolling reload and a stop are one piece of code that is told different wishes. The master never
imports the application.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from fastwsgi.children import Child, fork, voice
from fastwsgi.config_sources import Config
from fastwsgi.errors import FastwsgiError
from fastwsgi.loader import Application
from fastwsgi.logs import ErrorLog
from fastwsgi.process import (
    NOT_BOOTED,
    NOT_LOADED,
    OK,
    READY,
    account_ids,
    reopen,
    set_import_path,
    set_variables,
    work,
)
from fastwsgi.sockets import Listener
from fastwsgi.upgrade import Upgrade

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1,
           signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGCHLD)
FAILURES_ALLOWED = 3
"""Workers that may die in a row before they were ready, with no other worker serving."""
LONGEST_PAUSE = 30.0
"""Seconds the back-off between respawns grows to."""
SETTLED = 1.0
"""Seconds after which a ready worker that dies counts as an accident, not as a failed start."""
QUICK_GRACE = 1.0
"""Seconds a worker has to obey a quick stop before it is killed."""
KILL_MARGIN = 0.5
"""Seconds beyond graceful_timeout in which a worker ends its connections by itself."""


class Master:
    """The master of one set of listening sockets."""

    def __init__(
        self, target: Application | str, config: Config, listeners: Sequence[Listener],
        log: ErrorLog, announce: Callable[[str], None],
        reconfigure: Callable[[], Config] | None, upgrade: Upgrade,
    ) -> None:
        self.children: dict[int, Child] = {}
        self.exit_code = OK
        self._target = target
        self._config = config
        self._before_reload = config
        self._listeners = listeners
        self._log = log
        self._announce_ready = announce
        self._reconfigure = reconfigure
        self._upgrade = upgrade
        self._wanted: int = config.workers
        self._generation = 1
        self._stopping = False
        self._announced = False
        self._has_served = False
        self._stillborn = 0  # workers in a row that died before they were ready
        self._accidents = 0  # early deaths of any kind in a row: what the back-off grows with
        self._next_spawn = 0.0

    def run(self) -> int:
        """Keep the workers running until asked to stop; return the exit code."""
        with self._signals_enqueued(), self._lifeline_held():
            try:
                self._reconcile()
                while self.children or not self._stopping:
                    self._wait()
                    self._reconcile()
            except BaseException:
                for child in self.children.values():
                    child.tell(signal.SIGKILL)
                raise
        self._log.info("stopped")
        return self.exit_code

    # -- events ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals_enqueued(self) -> Iterator[None]:
        """Let the handled signals arrive as bytes in a pipe; afterwards all is as before."""
        self._signal_fd, wakeup = os.pipe()
        for fd in (self._signal_fd, wakeup):
            os.set_blocking(fd, False)
        self._master_only = [self._signal_fd, wakeup]
        before = {number: signal.signal(number, _enqueued) for number in HANDLED}
        wakeup_before = signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
            os.close(self._signal_fd)
            os.close(wakeup)

    @contextlib.contextmanager
    def _lifeline_held(self) -> Iterator[None]:
        """Hold the write end of a pipe whose closing tells the workers that the master is gone."""
        self._lifeline_fd, held = os.pipe()
        self._master_only.append(held)
        try:
            yield
        finally:
            os.close(self._lifeline_fd)
            os.close(held)

    def _wait(self) -> None:
        """Sleep until a signal, a word from somebody or a deadline, and deal with what happened."""
        poll = select.poll()
        todo: dict[int, Callable[[], None]] = {
            self._signal_fd: self._take_signals, **self._upgrade.links()}
        for child in self.children.values():
            if child.fd >= 0:
                todo[child.fd] = partial(self._hear, child)
        for fd in todo:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(self._timeout()):
            todo[fd]()
        self._reap()

    def _take_signals(self) -> None:
        for number in _drain(self._signal_fd):
            self._on_signal(signal.Signals(number))

    def _timeout(self) -> float | None:
        """Milliseconds to the next deadline, None for no deadline."""
        moments = [c.kill_at for c in self.children.values() if c.kill_at is not None]
        if self._next_spawn and not self._stopping:
            moments.append(self._next_spawn)
        if not moments:
            return None
        return max(0.0, min(moments) - time.monotonic()) * 1000 + 1

    def _hear(self, child: Child) -> None:
        """Note what a worker says."""
        for said in child.hear():
            if said == READY:
                child.ready_at = time.monotonic()
                self._has_served = True
                self._stillborn = 0
                self._log.debug("worker %d is ready", child.pid)

    def _on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGTERM:
            self._stop(graceful=not self._stopping)
        elif number in (signal.SIGINT, signal.SIGQUIT):
            self._stop(graceful=False)
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGUSR1:
            reopen(self._log)
            for child in self.children.values():
                child.tell(signal.SIGUSR1)
        elif number == signal.SIGUSR2:
            if not self._stopping:
                self._upgrade.begin()
        elif number == signal.SIGWINCH:
            self._rest()
        elif number in (signal.SIGTTIN, signal.SIGTTOU):
            self._want(max(1, self._wanted + (1 if number == signal.SIGTTIN else -1)))
            self._log.info("%s: %d workers wanted", number.name, self._wanted)

    # -- wishes ------------------------------------------------------------------------------

    def _want(self, count: int) -> None:
        """Wish for another number of workers."""
        self._wanted = count
        self._announced = False

    def _rest(self) -> None:
        """Stop the workers and stay, for an upgrade that may be taken back; HUP begins again."""
        if not self._config.daemon:
            self._log.debug("SIGWINCH: not a daemon, so a terminal has changed its size")
            return
        self._log.info("SIGWINCH: stopping the workers; HUP starts them again")
        self._want(0)
        self._announced = True

    def _stop(self, *, graceful: bool) -> None:
        if not self._stopping:
            how = (f"finishing requests for at most {self._config.graceful_timeout:g} s"
                   if graceful else "at once")
            self._log.info("stopping: %s", how)
        self._stopping = True
        for child in self.children.values():
            self._retire(child, graceful=graceful)

    def _retire(self, child: Child, *, graceful: bool) -> None:
        """Tell a worker to leave and set the moment at which patience ends."""
        grace = self._config.graceful_timeout + KILL_MARGIN if graceful else QUICK_GRACE
        kill_at = time.monotonic() + grace
        child.leaving = True
        child.kill_at = kill_at if child.kill_at is None else min(child.kill_at, kill_at)
        child.tell(signal.SIGTERM if graceful else signal.SIGQUIT)

    def _reload(self) -> None:
        """Begin a rolling reload: a new generation, with the settings as they are now."""
        if self._stopping:
            return
        config = self._config
        if self._reconfigure is not None:
            try:
                config = self._reconfigure()
                account_ids(config)
            except FastwsgiError as error:
                self._log.error("reload refused, nothing has changed: %s", error)
                return
        for name in ("bind", "backlog", "reuse_port", "pidfile", "errorlog", "chdir"):
            if getattr(config, name) != getattr(self._config, name):
                self._log.warning("reload: a change of %s takes effect after a restart", name)
        self._log.info("reloading")
        self._before_reload, self._config = self._config, config
        if config.workers != self._before_reload.workers or not self._wanted:
            self._want(max(1, config.workers))
        self._log.set_level(config.loglevel)
        set_variables(config)
        set_import_path(config)
        self._generation += 1
        self._announced = False
        self._stillborn, self._accidents, self._next_spawn = 0, 0, 0.0
        for child in self.children.values():
            if child.ready_at is None and not child.leaving:
                self._retire(child, graceful=False)

    def _reconcile(self) -> None:
        """Bring the workers there are closer to those that are wanted."""
        now = time.monotonic()
        for child in self.children.values():
            if child.kill_at is not None and now >= child.kill_at:
                self._log.warning("worker %d did not stop in time; killed", child.pid)
                child.kill_at = None
                child.tell(signal.SIGKILL)
        if self._stopping:
            return
        staying = [child for child in self.children.values() if not child.leaving]
        new = [child for child in staying if child.generation == self._generation]
        old = [child for child in staying if child.generation != self._generation]
        ready = [child for child in new if child.ready_at is not None]
        # an old worker goes when a new one stands in for it, and never before
        for child in old[: max(0, len(ready) + len(old) - self._wanted)]:
            self._retire(child, graceful=True)
        for child in new[self._wanted :]:
            self._retire(child, graceful=True)
        if now >= self._next_spawn:
            self._next_spawn = 0.0
            missing = self._wanted - len(new)
            booting = len(new) - len(ready)
            for _ in range(missing if not old else min(missing, 1 - booting)):
                if not self._spawn():
                    break
        self._announce(ready, bool(old))

    def _announce(self, ready: list[Child], reloading: bool) -> None:
        """Say once that all wanted workers serve."""
        if self._announced or reloading or len(ready) < self._wanted:
            return
        self._announced = True
        pids = ", ".join(str(child.pid) for child in ready[: self._wanted])
        plural = "" if self._wanted == 1 else "s"
        self._announce_ready(f": {self._wanted} worker{plural} (pid {pids})")

    # -- births and deaths -------------------------------------------------------------------

    def _spawn(self) -> bool:
        """Fork one worker; False when the system refuses, to be tried again after a pause."""
        heard, speaking = voice()
        try:
            pid = fork(lambda: self._be_worker(heard, speaking))
        except OSError as error:
            os.close(heard)
            self._back_off()
            self._log.error("cannot fork a worker: %s", error.strerror)
            return False
        finally:
            os.close(speaking)
        self.children[pid] = Child(pid, self._generation, heard)
        return True

    def _be_worker(self, heard: int, speaking: int) -> int:
        """In the child: let go of what is the master's, then work."""
        for fd in (heard, *self._master_only, *self._upgrade.links()):
            os.close(fd)
        for sibling in self.children.values():
            sibling.close()
        return work(
            self._target, self._listeners, self._config, self._log, ready_fd=speaking,
            lifeline_fd=self._lifeline_fd, multiprocess=self._wanted > 1)

    def _reap(self) -> None:
        """Collect the children that ended. Only our own: the process may have others."""
        self._upgrade.reap()
        for child in list(self.children.values()):
            code = child.ended()
            if code is None:
                continue
            if child.fd >= 0:
                self._hear(child)
                child.close()
            del self.children[child.pid]
            self._mourn(child, code)

    def _mourn(self, child: Child, code: int) -> None:
        """Judge a death: expected, an accident, or a start that failed."""
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if child.leaving or self._stopping:
            self._log.debug("worker %d left (%s)", child.pid, how)
            return
        if child.ready_at is not None:
            self._log.error("worker %d ended unexpectedly (%s); replacing it", child.pid, how)
            if time.monotonic() - child.ready_at < SETTLED:
                self._back_off()
            else:
                self._accidents = 0
            return
        self._log.error("worker %d ended before it was ready (%s)", child.pid, how)
        serving = [c for c in self.children.values() if c.ready_at is not None and not c.leaving]
        if any(c.generation != self._generation for c in serving):
            self._abandon_reload()
            return
        self._stillborn += 1
        self._back_off()
        if serving:
            return
        unloadable = code == NOT_LOADED and not self._has_served
        if unloadable or self._stillborn >= FAILURES_ALLOWED:
            self.exit_code = NOT_LOADED if code == NOT_LOADED else NOT_BOOTED
            self._log.error("giving up: %s", "the application cannot be loaded" if code ==
                            NOT_LOADED else f"{self._stillborn} workers in a row did not start")
            self._stop(graceful=False)

    def _abandon_reload(self) -> None:
        """Keep the old workers: they serve, and the new one has shown that it cannot."""
        self._log.error("reload abandoned: the new worker did not get ready; the old ones stay")
        if not any(c.generation == self._generation for c in self.children.values()):
            self._config = self._before_reload
        for child in self.children.values():
            child.generation = self._generation
        self._announced = True

    def _back_off(self) -> None:
        """Put the next start off, longer each time; the first time there is no reason to wait."""
        self._accidents += 1
        pause = 0.0 if self._accidents == 1 else min(
            LONGEST_PAUSE, 0.1 * 2.0 ** min(self._accidents, 16))
        self._next_spawn = time.monotonic() + pause


def _enqueued(_number: int, _frame: object) -> None:
    """Do nothing: the number is in the wake-up pipe already, and is dealt with in ``_wait``."""


def _drain(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except BlockingIOError:
        return b""
