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
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fastwsgi._version import __version__
from fastwsgi.config_sources import Config
from fastwsgi.errors import ConfigError, FastwsgiError
from fastwsgi.loader import Application
from fastwsgi.logs import ErrorLog
from fastwsgi.pidfile import PidFile
from fastwsgi.process import (
    NOT_BOOTED,
    NOT_LOADED,
    OK,
    account_ids,
    core_worker,
    in_child,
    prepare,
    reopen,
    serve_here,
    set_import_path,
    set_variables,
    work,
)
from fastwsgi.sockets import Listener, open_listeners

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1,
           signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD)
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


def serve(
    target: Application | str, config: Config, *, reconfigure: Callable[[], Config] | None = None,
    log: ErrorLog | None = None, listeners: Sequence[Listener] | None = None,
    on_ready: Callable[[], None] | None = None,
) -> int:
    """Serve ``target`` with ``config`` until asked to stop and return the exit code.

    ``reconfigure`` reads the settings again for a reload; without it a reload keeps them. ``log``
    and ``listeners`` take the place of those of the settings. ``on_ready`` is called once, when all
    workers are about to take requests. Raises ConfigError, ListenError, PidFileError
    and CoreError before anything is served.
    """
    if config.workers and threading.current_thread() is not threading.main_thread():
        raise ConfigError("workers must be 0 outside the main thread: a master needs its signals")
    prepare(config, importing=isinstance(target, str))
    owner = account_ids(config)
    log = log or ErrorLog(config.errorlog, config.loglevel, owner)
    with contextlib.ExitStack() as stack:
        stack.callback(log.close)
        core_worker()
        if listeners is None:
            listeners = open_listeners(
                config.bind, backlog=config.backlog, reuse_port=config.reuse_port,
                umask=config.umask, owner=owner)
        for listener in listeners:
            stack.callback(listener.close)
        if config.pidfile:
            stack.callback(PidFile(config.pidfile).remove)
        log.info("fastwsgi %s listening on %s (workers: %s, pid: %d)", __version__,
                 ", ".join(listener.url for listener in listeners),
                 config.workers or "0, serving in this process", os.getpid())
        for notice in config.notices:
            log.warning("%s", notice)

        def announce(text: str) -> None:
            log.info("ready%s", text)
            if on_ready is not None:
                on_ready()

        if config.workers:
            master = Master(target, config, listeners, log, announce, reconfigure)
            return master.run()
        code = serve_here(target, listeners, config, log, on_ready=lambda _: announce(""))
        log.info("stopped")
        return code


@dataclass
class Child:
    """A worker process as the master knows it."""

    pid: int
    generation: int
    ready_fd: int
    ready_at: float | None = None
    leaving: bool = False
    kill_at: float | None = None


class Master:
    """The master of one set of listening sockets."""

    def __init__(
        self, target: Application | str, config: Config, listeners: Sequence[Listener],
        log: ErrorLog, announce: Callable[[str], None],
        reconfigure: Callable[[], Config] | None = None,
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
                    _signal_child(child, signal.SIGKILL)
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
        """Sleep until a signal, a worker's word or a deadline, and take note of what happened."""
        poll = select.poll()
        poll.register(self._signal_fd, select.POLLIN)
        by_fd = {}
        for child in self.children.values():
            if child.ready_fd >= 0:
                by_fd[child.ready_fd] = child
                poll.register(child.ready_fd, select.POLLIN)
        for fd, _ in poll.poll(self._timeout()):
            if fd in by_fd:
                self._hear(by_fd[fd])
            else:
                for number in _drain(self._signal_fd):
                    self._on_signal(signal.Signals(number))
        self._reap()

    def _timeout(self) -> float | None:
        """Milliseconds to the next deadline, None for no deadline."""
        moments = [c.kill_at for c in self.children.values() if c.kill_at is not None]
        if self._next_spawn and not self._stopping:
            moments.append(self._next_spawn)
        if not moments:
            return None
        return max(0.0, min(moments) - time.monotonic()) * 1000 + 1

    def _hear(self, child: Child) -> None:
        """Read a worker's word: that it is ready, or nothing because it died."""
        said = os.read(child.ready_fd, 1)
        os.close(child.ready_fd)
        child.ready_fd = -1
        if said:
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
                _signal_child(child, signal.SIGUSR1)
        elif number in (signal.SIGTTIN, signal.SIGTTOU):
            self._wanted = max(1, self._wanted + (1 if number == signal.SIGTTIN else -1))
            self._announced = False
            self._log.info("%s: %d workers wanted", number.name, self._wanted)

    # -- wishes ------------------------------------------------------------------------------

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
        _signal_child(child, signal.SIGTERM if graceful else signal.SIGQUIT)

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
        if config.workers != self._before_reload.workers:
            self._wanted = max(1, config.workers)
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
                _signal_child(child, signal.SIGKILL)
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
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or none
                stream.flush()
        ready_fd, child_fd = os.pipe()
        # a signal meant for the child must not reach the master's pipe through inherited handlers
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                in_child(lambda: self._be_worker(ready_fd, child_fd))
        except OSError as error:
            os.close(ready_fd)
            self._back_off()
            self._log.error("cannot fork a worker: %s", error.strerror)
            return False
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            os.close(child_fd)
        self.children[pid] = Child(pid, self._generation, ready_fd)
        return True

    def _be_worker(self, ready_fd: int, child_fd: int) -> int:
        """In the child: let go of what is the master's, then work."""
        signal.set_wakeup_fd(-1)
        for fd in (ready_fd, *self._master_only):
            os.close(fd)
        for sibling in self.children.values():
            if sibling.ready_fd >= 0:
                os.close(sibling.ready_fd)
        return work(
            self._target, self._listeners, self._config, self._log, ready_fd=child_fd,
            lifeline_fd=self._lifeline_fd, multiprocess=self._wanted > 1)

    def _reap(self) -> None:
        """Collect the workers that ended. Only our own: the process may have other children."""
        for child in list(self.children.values()):
            try:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else collected it
                pid, status = child.pid, 0
            if not pid:
                continue
            if child.ready_fd >= 0:
                self._hear(child)
            del self.children[child.pid]
            self._mourn(child, os.waitstatus_to_exitcode(status))

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


def _signal_child(child: Child, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(child.pid, number)
