"""The master: forks the workers and replaces those that end.

The rule: signal handlers only enqueue (the signal's number goes through the wake-up pipe), and
``_reconcile`` compares what is wanted with what there is. So a start, a respawn, TTIN, TTOU, a
rolling reload and a stop are one piece of code with different wishes. The master never imports the
application. With --preload a fork server does, and forks the workers in its place. It has more than
500 lines because it is one machine: what is wanted and what there is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from fastwsgi.config.config import Config
from fastwsgi.config.hooks import ServerView
from fastwsgi.config.logs import open_access_log
from fastwsgi.errors import ConfigError, FastwsgiError
from fastwsgi.logs.access import AccessFile
from fastwsgi.logs.error import ErrorLog
from fastwsgi.master.child import UNKNOWN, WORKER, Child
from fastwsgi.master.hang import HangDetector
from fastwsgi.master.upgrade import Upgrade
from fastwsgi.master.watchdog import Watchdog
from fastwsgi.master.workers import QUICK_GRACE, Workers
from fastwsgi.system.orphans import reap_orphans
from fastwsgi.system.paths import file_time
from fastwsgi.system.signals import SignalQueue
from fastwsgi.system.sockets import Listener
from fastwsgi.system.systemd import Notifier
from fastwsgi.system.titles import set_title
from fastwsgi.tls import load_tls, rotation_of
from fastwsgi.worker.environment import set_import_path, set_variables, user_and_group
from fastwsgi.worker.loader import Application
from fastwsgi.worker.process import (
    CHANGED,
    NOT_BOOTED,
    NOT_LOADED,
    OK,
    READY,
    REASON,
    REPLACE,
    WorkerSpec,
    reopen,
)

if TYPE_CHECKING:
    from fastwsgi.master.control import Control
    from fastwsgi.metrics.metrics import Metrics
    from fastwsgi.tls.settings import Tls

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1,
           signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGCHLD)
FAILURES_ALLOWED = 3
"""Workers that may die in a row before they were ready, with no other worker serving."""
LONGEST_PAUSE = 30.0
"""Seconds the back-off between respawns grows to."""
SETTLED = 1.0
"""Seconds after which a ready worker that dies counts as an accident, not as a failed start."""
KILL_MARGIN = 0.5
"""Seconds beyond graceful_timeout in which a worker ends its connections by itself."""


class Master:
    """The master of one set of listening sockets."""

    def __init__(
        self, target: Application | str, config: Config, listeners: Sequence[Listener],
        log: ErrorLog, announce: Callable[[str], None],
        reconfigure: Callable[[], Config], upgrade: Upgrade, notifier: Notifier,
        access: AccessFile | None = None, tls: Tls | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.exit_code = OK
        self._access = self._access_before = access
        self._rotation = self._rotation_before = rotation_of(tls, log)
        self._target = target
        self._config = config
        self._config_since = file_time()
        self._before_reload = config
        self._listeners = listeners
        self._log = log
        self._announce_ready = announce
        self._reconfigure = reconfigure
        self._upgrade = upgrade
        self._notifier = notifier
        self._watchdog = Watchdog(notifier, log)
        self._hang_detector = HangDetector(log)
        upgrade.tickets = lambda: self._rotation.tls.tickets.pack() if self._rotation else b""
        upgrade.on_finished = lambda: notifier.ready("the upgrade is finished")
        self._wanted: int = config.workers
        self._generation = 1
        self.workers = self._workers = Workers(self._private_fds)
        upgrade.on_other_ended = self._on_other_ended
        self._metrics = self._workers.metrics = metrics
        if metrics is not None:
            metrics.begin(listeners, partial(log.warning, "%s"), self._probe)
        self._view = ServerView(config, log, [listener.address for listener in listeners],
                                self._wanted)
        self._stopping = False
        self._drain_until: float | None = None  # when the stop begins that has been asked for
        self._may_share = True
        if upgrade.predecessor is not None:
            self._workers.siblings = upgrade.predecessor.siblings
        self._announced = False
        self._has_served = False
        self._failed = False  # the start has failed, so no end of service is logged
        self._failures_logged: set[str] = set()  # failed starts that are in the log already
        self._failed_starts = 0  # workers in a row that died before they were ready
        self._early_deaths = 0  # early deaths of any kind in a row: the back-off grows with them
        self._next_spawn = 0.0
        self.last_reload: str | None = None  # how it went: under way, done, or why it did not
        self._control: Control | None = None
        if config.control_socket:
            from fastwsgi.master.control import Control  # imported where somebody wants it

            self._control = Control(config.control_socket, self,
                                    replace=upgrade.predecessor is not None)
        self._started = self._lost = 0  # workers of this generation; ends not made up for
        self._reloading = False

    def run(self) -> int:
        """Keep the workers running until asked to stop; return the exit code."""
        self._signals = SignalQueue(HANDLED)
        with (contextlib.closing(self._signals), contextlib.closing(self._workers),
              self._lifeline_held(), self._control_closed()):
            set_title("master", self._spec().name)
            self._hook("when_ready", self._view)
            self._hook("nworkers_changed", self._view, self._wanted, None)
            try:
                self._reconcile()
                while self._workers.children() or not self._stopping:
                    self._wait()
                    self._reconcile()
            except BaseException:
                for child in self._workers.children():
                    child.send_signal(signal.SIGKILL)
                raise
            self._hook("on_exit", self._view)
        if self._failed:
            return self.exit_code
        counters, _ = self._workers.totals.with_living([])
        self._log.info("stopped; requests: %(requests)d, refused: %(refused)d", counters)
        return self.exit_code

    def _hook(self, name: str, *arguments: object) -> None:
        self._config.hooks.attempt(self._log, name, *arguments)

    # -- events ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _lifeline_held(self) -> Iterator[None]:
        """Hold the write end of a pipe whose closing tells the workers that the master is gone."""
        self._lifeline_fd, self._held = os.pipe()
        try:
            yield
        finally:
            os.close(self._lifeline_fd)
            os.close(self._held)

    @contextlib.contextmanager
    def _control_closed(self) -> Iterator[None]:
        """Close the control socket in the end."""
        try:
            yield
        finally:
            if self._control is not None:
                self._control.socket.close()

    def _private_fds(self) -> Iterator[int]:
        """Yield the descriptors that a child has to close."""
        yield from (*self._signals.fds, self._held, *self._upgrade.links())
        if self._control is not None:
            yield from self._control.socket.fds()

    def _on_other_ended(self) -> None:
        """Go on as the only master of these sockets."""
        self._workers.forget_others()
        if self._control is not None:
            self._control.socket.ensure()

    def _wait(self) -> None:
        """Sleep until a signal, a message or a deadline, and deal with what happened."""
        poll = select.poll()
        todo: dict[int, Callable[[], None]] = {
            self._signals.fd: self._take_signals, **self._upgrade.links(),
            **self._workers.pipes(self._on_messages),
            **(self._metrics.links() if self._metrics is not None else {})}
        for fd in todo:
            poll.register(fd, select.POLLIN)
        if self._control is not None:
            for fd, (events, act) in self._control.interests().items():
                poll.register(fd, events)
                todo[fd] = act
        for fd, _ in poll.poll(self._timeout()):
            todo[fd]()
        if self._control is not None:
            self._control.check()
        if self._metrics is not None:
            self._metrics.check()
        self._reap()

    def _take_signals(self) -> None:
        for number in self._signals.take():
            self._on_signal(number)

    def _timeout(self) -> float | None:
        """Milliseconds to the next deadline, None for no deadline."""
        deadlines = (self._workers.deadlines() + self._watchdog.deadlines()
                     + self._hang_detector.deadlines(self._config))
        if self._next_spawn and not self._stopping:
            deadlines.append(self._next_spawn)
        if self._drain_until is not None:
            deadlines.append(self._drain_until)
        if self._rotation is not None and not self._stopping:
            deadlines += self._rotation.deadlines()
        if self._control is not None:
            deadlines += self._control.deadlines()
        if self._metrics is not None:
            deadlines += self._metrics.deadlines()
        if not deadlines:
            return None
        return max(0.0, min(deadlines) - time.monotonic()) * 1000 + 1

    def _probe(self, path: str) -> str | None:
        """Answer for the server as a whole, for whoever asks at the address of the metrics."""
        config = self._config
        if not path or path not in (config.live_path, config.ready_path, config.health_path):
            return None
        if path == config.live_path:
            return ""
        if self._ending and not self._upgrade.shared:
            return "stopping" if self._stopping else "draining"
        serving = any(child.ready_at is not None and not child.stopping
                      for child in self._workers.by_pid.values())
        return "" if serving else "starting"

    def _on_messages(self, child: Child) -> None:
        """Act on what a child has sent."""
        for said in child.receive():
            if said == REPLACE:
                child.replace_wanted = True
            elif said == CHANGED and not self._is_old(child):
                self._reload(at_once=True)
            elif said == REASON:
                self._on_reason(child)
            elif said == READY:
                child.ready_at = time.monotonic()
                self._failures_logged.clear()
                if child.role == WORKER:
                    self._has_served = True
                    self._failed_starts = 0
                self._log.debug("%s %d is ready", child.role, child.pid)

    def _on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGTERM:
            self._terminate()
        elif number in (signal.SIGINT, signal.SIGQUIT):
            self._stop(graceful=False)
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGUSR1:
            reopen(self._log, self._access)
            for child in self._workers.children():
                child.send_signal(signal.SIGUSR1)
        elif number == signal.SIGUSR2:
            if not self._ending:
                self._upgrade.begin(
                    lambda: self._config.hooks.call("pre_exec", self._view),
                    self._workers.siblings)
        elif number == signal.SIGWINCH:
            self._pause()
        elif number in (signal.SIGTTIN, signal.SIGTTOU):
            self._want(max(1, self._wanted + (1 if number == signal.SIGTTIN else -1)))
            self._log.info("%s: %d workers wanted", number.name, self._wanted)

    # -- wishes ------------------------------------------------------------------------------

    def _want(self, count: int) -> None:
        """Change the wanted number of workers."""
        before, self._wanted, self._view.num_workers = self._wanted, count, count
        self._announced = False
        if count != before:
            self._hook("nworkers_changed", self._view, count, before)

    def _pause(self) -> None:
        """Stop the workers and stay, for an upgrade that may be taken back; HUP begins again."""
        if not self._config.daemon:
            self._log.debug("SIGWINCH ignored: not a daemon, so the terminal was resized")
            return
        self._log.info("SIGWINCH: stopping the workers; HUP starts them again")
        self._want(0)
        self._announced = True

    @property
    def _ending(self) -> bool:
        """Whether a stop has begun, or is to follow a delay."""
        return self._stopping or self._drain_until is not None

    def _terminate(self) -> None:
        """Stop, after the delay for load balancers; each further TERM is a step towards the end."""
        serves = any(child.ready_at is not None for child in self._workers.by_pid.values())
        if self._ending or not (self._config.drain_delay and serves) or self._upgrade.shared:
            self._stop(graceful=not self._stopping)
            return
        self._log.info("draining: requests are served for %g s more, then the server stops",
                       self._config.drain_delay)
        self._notifier.stopping()
        self._drain_until = time.monotonic() + self._config.drain_delay
        self._workers.drain()

    def _stop(self, *, graceful: bool) -> None:
        if not self._stopping:
            successor = self._upgrade.successor
            if successor is not None:
                self._notifier.hand_over(successor.pid)
            else:
                self._notifier.stopping()
            how = (f"finishing requests for at most {self._config.graceful_timeout:g} s"
                   if graceful else "at once")
            if not self._failed:
                self._log.info("stopping: %s", how)
        self._stopping = True
        self._drain_until = None
        if not self._upgrade.shared:
            self._workers.end()
        for child in self._workers.by_pid.values():
            self._stop_child(child, graceful=graceful)

    def _stop_child(self, child: Child, *, graceful: bool) -> None:
        """Ask a child to stop and set the time at which it is killed."""
        if not child.stopping:
            self._log.debug("%s %d is stopping", child.role, child.pid)
            child.cause = self._why_stopped(child)
        if graceful:
            grace = self._config.graceful_timeout + KILL_MARGIN
            self._workers.stop(child, grace, signal.SIGTERM)
        else:
            self._workers.stop(child, QUICK_GRACE, signal.SIGQUIT)

    def _why_stopped(self, child: Child) -> str:
        """Say why a child is asked to stop, for the metrics."""
        if self._stopping:
            return "stop"
        if self._is_old(child):
            return "reload"
        if child.replace_wanted:
            return "hang" if child.hangs else "limit"
        return "scale"

    def _why_started(self) -> str:
        """Say why one more worker is started, for the metrics."""
        if self._lost:
            self._lost -= 1
            return "death"
        if self._started < self._wanted:
            return "reload" if self._generation > 1 else "start"
        if any(child.replace_wanted for child in self._workers.by_pid.values()):
            return "limit"
        return "scale"

    def _count(self, kind: str, cause: str) -> None:
        if self._metrics is not None:
            self._metrics.page.count_own(kind, cause)

    def _reload(self, *, at_once: bool = False) -> str:
        """Begin a rolling reload: a new generation, with the settings as they are now.

        With ``at_once`` the old workers stop without waiting for new ones, for a developer who
        wants to see only the new code or its error. Returns why it is refused, empty if it is not.
        """
        if self._ending:
            return "the server is stopping"
        self._notifier.reloading()
        since = file_time()
        try:
            config = self._reconfigure()
            access = open_access_log(config, user_and_group(config))
            if config.tls != self._config.tls:
                raise ConfigError("a restart is needed to begin or to end to speak TLS (certfile)")
            if config.static or config.static_internal:
                from fastwsgi.worker.static_files import check_folders  # only some need it

                check_folders(config)
            tls = load_tls(config, self._rotation.tls if self._rotation is not None else None)
        except FastwsgiError as error:
            self._count("reloads", "refused")
            self._log.error("reload refused, nothing has changed: %s", error)
            self._notifier.ready("the last reload was refused")
            self.last_reload = f"refused: {error}"
            return str(error)
        for name in ("bind", "protocol", "backlog", "reuse_port", "pidfile", "errorlog",
                     "log_format", "logconfig", "logconfig_json", "logconfig_dict", "syslog",
                     "syslog_addr", "syslog_prefix", "syslog_facility", "capture_output", "chdir",
                     "daemon", "control_socket", "metrics_bind", "metrics_buckets", "statsd_host",
                     "statsd_prefix", "dogstatsd_tags"):
            if getattr(config, name) != getattr(self._config, name):
                self._log.warning("reload: a change of %s takes effect after a restart", name)
        self._log.info("reloading")
        self._before_reload, self._config, self._config_since = self._config, config, since
        self._access_before, self._access = self._access, access
        self._rotation_before = self._rotation
        if self._rotation is not None and tls is not None:
            self._rotation = self._rotation.succeeded_by(tls)
        self._view.cfg = config
        self._hook("on_reload", self._view)
        if config.workers != self._before_reload.workers or not self._wanted:
            self._want(max(1, config.workers))
        self.last_reload = "under way"
        self._log.set_level(config.loglevel)
        self._workers.log_from("")
        set_variables(config)
        set_import_path(config)
        self._generation += 1
        self._started = self._lost = 0
        self._reloading = True
        self._announced = False
        self._failed_starts, self._early_deaths, self._next_spawn = 0, 0, 0.0
        self._failures_logged.clear()
        for child in self._workers.children():
            if (at_once or child.ready_at is None) and not child.stopping:
                self._stop_child(child, graceful=child.ready_at is not None)
        return ""

    def _reconcile(self) -> None:
        """Bring the workers that exist closer to those that are wanted."""
        workers = self._workers
        if self._drain_until is not None and time.monotonic() >= self._drain_until:
            self._stop(graceful=True)
        workers.stop_unused_fork_servers(
            self._generation if self._config.preload_app and not self._stopping else None)
        self._watchdog.feed(list(workers.by_pid.values()), timeout=self._config.timeout,
                            paused=self._stopping or not self._wanted)
        self._hang_detector.check(workers.by_pid.values(), self._config)
        for child in workers.kill_late():
            # a start that has failed is logged once, with its reason
            self._log.log(logging.DEBUG if self._failed else logging.WARNING,
                          "%s %d did not stop in time; killed", child.role, child.pid)
        if self._stopping:
            return
        if self._rotation is not None:
            self._rotation.check()
        staying = [child for child in workers.by_pid.values() if not child.stopping]
        old = [child for child in staying if child.replace_wanted or self._is_old(child)]
        new = [child for child in staying if child not in old]
        ready = [child for child in new if child.ready_at is not None]
        # an old worker stops when a new one has replaced it, and never before
        for child in old[: max(0, len(ready) + len(old) - self._wanted)]:
            self._stop_child(child, graceful=True)
        for child in new[self._wanted :]:
            self._stop_child(child, graceful=True)
        if time.monotonic() >= self._next_spawn:
            self._next_spawn = 0.0
            missing = self._wanted - len(new)
            booting = len(new) - len(ready)
            for _ in range(missing if not old else min(missing, 1 - booting)):
                if not self._spawn():
                    break
        self._announce(ready, bool(old))

    def _is_old(self, child: Child) -> bool:
        return child.generation != self._generation

    def _announce(self, ready: list[Child], reloading: bool) -> None:
        """Log once that all wanted workers serve."""
        if self._announced or reloading or len(ready) < self._wanted:
            return
        self._announced = True
        if self.last_reload == "under way":
            self.last_reload = "done"
        if self._reloading:
            self._reloading = False
            self._count("reloads", "done")
        self._notifier.ready(f"{self._wanted} workers serve")
        pids = ", ".join(str(child.pid) for child in ready[: self._wanted])
        plural = "" if self._wanted == 1 else "s"
        self._announce_ready(f": {self._wanted} worker{plural} (pid {pids})")

    # -- what the control socket may ask and do -----------------------------------------------

    @property
    def application(self) -> str:
        """What is served, as the operator named it."""
        return self._target if isinstance(self._target, str) else self._config.wsgi_app

    @property
    def addresses(self) -> list[str]:
        """Where clients are served."""
        return [listener.url for listener in self._listeners]

    @property
    def state(self) -> str:
        """What the server is doing, in a word."""
        if self._stopping:
            return "stopping"
        if self._drain_until is not None:
            return "draining"
        if not self._has_served:
            return "starting"
        return "reloading" if self.last_reload == "under way" else "serving"

    @property
    def generation(self) -> int:
        """How often settings and application have been read."""
        return self._generation

    @property
    def wanted(self) -> int:
        """How many workers are wanted."""
        return self._wanted

    @property
    def log_level(self) -> str:
        """The least severity that is logged."""
        return self._log.level

    @property
    def ending(self) -> bool:
        """Whether a stop has begun, or is to follow a delay."""
        return self._ending

    def log_event(self, message: str, *values: object) -> None:
        """Log what somebody has asked for."""
        self._log.info(message, *values)

    def log_from(self, level: str) -> None:
        """Log from that level on, here and in all workers, until the next reload."""
        self._log.set_level(level)
        self._workers.log_from(level)

    def reload(self) -> str:
        """Begin a reload, as HUP does; return why it is refused, empty if it is not."""
        return self._reload()

    def end(self, *, quick: bool) -> None:
        """Stop, as TERM does, or as QUIT does."""
        if quick:
            self._stop(graceful=False)
        else:
            self._terminate()

    def want(self, count: int) -> None:
        """Run so many workers from now on, as TTIN and TTOU do step by step."""
        self._want(count)

    # -- starts and ends ----------------------------------------------------------------------

    def _spec(self) -> WorkerSpec:
        rotation = self._rotation
        return WorkerSpec(self._target, self._listeners, self._config, self._log, self._lifeline_fd,
                    self._view, self._wanted > 1, self._watchdog.heartbeat, self._access,
                    self._config_since, self._workers.siblings,
                    rotation.tls if rotation is not None else None,
                    rotation.page() if rotation is not None else None,
                    self._metrics.page if self._metrics is not None else None)

    def _spawn(self) -> bool:
        """Start one worker; False if that fails now, and ``_reconcile`` will try again."""
        self._share()
        try:
            if not self._workers.spawn(self._spec(), self._generation):
                return False
        except OSError as error:
            self._back_off()
            self._log.error("cannot fork a worker: %s", error.strerror or error)
            return False
        self._count("starts", self._why_started())
        self._started += 1
        return True

    def _share(self) -> None:
        """Let the workers share connections, if that can be done: they serve without it."""
        if not self._may_share:
            return
        try:
            self._workers.share(self._wanted)
        except OSError as error:
            self._may_share = False
            self._log.warning("the workers do not share connections: %s",
                              error.strerror or error)

    def _reap(self) -> None:
        self._upgrade.reap()
        for child, code in self._workers.reap(self._on_messages):
            if child.role == WORKER:
                self._hook("child_exit", self._view, child.view)
            self._on_death(child, code)
        if os.getpid() == 1:  # in a container
            successor = self._upgrade.successor
            reap_orphans({child.pid for child in self._workers.children()}
                         | ({successor.pid} if successor is not None else set()))

    def _on_death(self, child: Child, code: int) -> None:
        """Decide what an end means: expected, an accident, or a start that failed."""
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if code == UNKNOWN:
            how = "exit code unknown"
        if child.role == WORKER:
            self._count_end(child, code)
        if child.stopping or self._stopping:
            self._log.debug("%s %d exited (%s)", child.role, child.pid, how)
            return
        if child.ready_at is not None:
            self._log.error("%s %d ended unexpectedly (%s); replacing it", child.role, child.pid,
                            how)
            if time.monotonic() - child.ready_at < SETTLED:
                self._back_off()
            else:
                self._early_deaths = 0
            return
        serving = [other for other in self._workers.by_pid.values()
                   if other.ready_at is not None and not other.stopping]
        # while nobody serves, one failure is not logged again for each worker
        is_new = bool(serving) if child.reason else bool(serving) or self._is_new_failure(how)
        self._log.log(logging.ERROR if is_new and not child.reason_logged else logging.DEBUG,
                      "%s %d ended before it was ready (%s)", child.role, child.pid, how)
        if any(map(self._is_old, serving)):
            self._abandon_reload()
            return
        self._failed_starts += 1
        self._back_off()
        if serving:
            return
        unloadable = code == NOT_LOADED and not self._has_served
        if unloadable or self._failed_starts >= FAILURES_ALLOWED:
            self.exit_code = NOT_LOADED if code == NOT_LOADED else NOT_BOOTED
            if not unloadable:  # otherwise its reason is enough
                self._log.error("giving up: %d %ss in a row did not start", self._failed_starts,
                                child.role)
            self._failed = not self._has_served
            self._stop(graceful=False)

    def _count_end(self, child: Child, code: int) -> None:
        if child.stopping:
            killed = code == -signal.SIGKILL
            self._count("ends", "killed" if killed else child.cause or "stop")
            return
        if self._stopping:
            self._count("ends", "stop")
            return
        self._lost += 1
        if child.ready_at is None:
            self._count("ends", "failed_start")
        else:
            self._count("ends", "signal" if code < 0 else "exit")

    def _on_reason(self, child: Child) -> None:
        """Log why a child cannot start; once, when many have the same reason."""
        child.reason_logged = self._is_new_failure(child.reason) and not self._stopping
        if child.reason_logged:
            self._log.error("%s", child.reason)

    def _is_new_failure(self, failure: str) -> bool:
        """Whether a failure, numbers aside, has not been logged since a worker was last ready."""
        kind = re.sub(r"0x[0-9A-Fa-f]+|\d+", "0", failure)
        if kind in self._failures_logged:
            return False
        self._failures_logged.add(kind)
        return True

    def _abandon_reload(self) -> None:
        """Keep the old workers, because the new one cannot serve."""
        self._reloading = False
        self._count("reloads", "abandoned")
        self._log.error("reload abandoned: the new worker did not get ready; the old ones stay")
        self.last_reload = "abandoned: the new worker did not get ready; the old ones stay"
        self._notifier.ready("the last reload was abandoned; the old workers serve")
        if all(map(self._is_old, self._workers.by_pid.values())):
            if self._config.workers != self._before_reload.workers:
                self._want(self._before_reload.workers)
            self._config = self._view.cfg = self._before_reload
            self._access = self._access_before
            self._rotation = self._rotation_before
            self._workers.take_back(self._generation)
        else:
            self._workers.set_generation(self._generation)
        self._announced = True

    def _back_off(self) -> None:
        """Delay the next start, longer each time; the first time there is no delay."""
        self._early_deaths += 1
        pause = 0.0 if self._early_deaths == 1 else min(
            LONGEST_PAUSE, 0.1 * 2.0 ** min(self._early_deaths, 16))
        self._next_spawn = time.monotonic() + pause
