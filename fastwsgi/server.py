"""From settings to a running server: what is opened, in which order, and who closes it.

Everything that an operator can get wrong fails here, before a process is forked: directory,
accounts, log, core, sockets, pid file. Then a master takes over, or this process serves by itself.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from fastwsgi._version import __version__
from fastwsgi.config.config import Config
from fastwsgi.config.hooks import ServerView
from fastwsgi.config.logs import open_access_log, open_error_log
from fastwsgi.errors import ConfigError, FastwsgiError, ListenError
from fastwsgi.logs.error import ErrorLog
from fastwsgi.master.master import Master
from fastwsgi.master.upgrade import BESIDE, Predecessor, Start, Upgrade
from fastwsgi.system import systemd, titles
from fastwsgi.system.sockets import Listener, adopt, open_listeners
from fastwsgi.tls import load_tls
from fastwsgi.worker.environment import prepare, user_and_group
from fastwsgi.worker.loader import Application
from fastwsgi.worker.process import core_worker, serve_here
from fastwsgi.worker.recycle import every

if TYPE_CHECKING:
    from fastwsgi.metrics.metrics import Metrics
    from fastwsgi.system.daemon import Daemon
    from fastwsgi.system.pidfile import PidFile


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
    predecessor = Predecessor.take()
    daemon: list[Daemon] = []
    code = FastwsgiError.exit_code
    try:
        server = _Server(target, config, reconfigure, log, listeners, on_ready, predecessor)
        code = server.run(daemon)
    except FastwsgiError as error:
        code = error.exit_code
        if predecessor is not None:
            predecessor.send(str(error))
        raise
    finally:
        for item in daemon:
            item.report(code)
    return code


class _Server:
    """One run of ``serve``: its arguments, and what it has opened."""

    def __init__(
        self, target: Application | str, config: Config,
        reconfigure: Callable[[], Config] | None, log: ErrorLog | None,
        listeners: Sequence[Listener] | None, on_ready: Callable[[], None] | None,
        predecessor: Predecessor | None,
    ) -> None:
        self._target = target
        self._config = config
        self._reconfigure = reconfigure or (lambda: config)
        self._given_log = log
        self._given_listeners = listeners
        self._on_ready = on_ready
        self._predecessor = predecessor

    def run(self, daemon: list[Daemon]) -> int:
        """Open everything, serve, close everything. A Daemon made on the way is put in the list."""
        config = self._config
        if self._predecessor is not None and not config.workers:
            raise ConfigError("workers must be 1 or more to take over from an old master")
        start = Start.of_this_process()
        systemd.leave_to_successor(start.environ)
        passed = [] if self._predecessor else systemd.passed_descriptors()
        notifier = systemd.Notifier.take()
        prepare(config, importing=isinstance(self._target, str))
        owner = user_and_group(config)
        if config.proc_name and not titles.INSTALLED:
            config.notices.append("proc_name: process titles need the setproctitle library: pip "
                                  "install fastwsgi[title]")
        log = self._given_log or open_error_log(config, owner)
        with contextlib.ExitStack() as stack:
            stack.callback(log.close)
            stack.push(partial(_log_failure, log, daemon))
            access = open_access_log(config, owner)
            core_worker()
            self._call_on_starting(log)
            if config.static or config.static_internal:
                from fastwsgi.worker.static_files import check_folders  # only some need it

                check_folders(config)
            tls = load_tls(config, None, self._predecessor.tickets if self._predecessor else b"")
            listeners = self._listen(owner, passed)
            metrics = self._open_metrics(log)
            upgrade = Upgrade(start, listeners, log, self._predecessor, metrics)
            stack.callback(_close, listeners, upgrade)
            if metrics is not None:
                stack.callback(_close, metrics.listeners, upgrade)
                stack.callback(metrics.close)
            for notice in config.notices:
                log.warning("%s", notice)
            if config.daemon and self._predecessor is None:
                daemon.append(self._detach(log))
            if config.pidfile:
                from fastwsgi.system.pidfile import PidFile  # imported where somebody wants one

                upgrade.pidfile = PidFile(config.pidfile, BESIDE if self._predecessor else "")
                stack.callback(_remove, upgrade.pidfile, upgrade)
            banner = [f"fastwsgi {__version__} listening on "
                      f"{', '.join(listener.url for listener in listeners)} (workers: "
                      f"{config.workers or '0, serving in this process'}, pid: {os.getpid()})"]

            def announce(text: str) -> None:
                while banner:  # not before the application has loaded, and once
                    log.info("%s", banner.pop())
                if metrics is not None and config.metrics_bind:
                    log.info("metrics: %s", ", ".join(metrics.urls))
                log.info("ready%s", text)
                if not config.workers:
                    notifier.ready("serving")
                upgrade.ready()
                for item in daemon:
                    item.report(item.READY)
                if self._on_ready is not None:
                    self._on_ready()

            if config.capture_output:
                stack.enter_context(log.capture())
            if config.workers:
                master = Master(
                    self._target, config, listeners, log, announce, self._reconfigure, upgrade,
                    notifier, access, tls, metrics)
                return master.run()
            stack.callback(_feed_watchdog(notifier))
            if config.proc_name:
                titles.set_title("worker", config.proc_name)
            slot = None
            if metrics is not None:
                slot = metrics.page.take()
                metrics.page.note(slot, os.getpid())
                stack.callback(metrics.begin_beside(listeners, partial(log.warning, "%s")))
            code = serve_here(
                self._target, listeners, config, log, access, tls=tls,
                metrics=metrics.page.memory(slot) if metrics and slot is not None else None,
                on_ready=lambda _: announce(""))
            notifier.stopping()
            log.info("stopped")
            return code

    def _open_metrics(self, log: ErrorLog) -> Metrics | None:
        """Open what the metrics need, if there are any to be; raise ListenError."""
        old = self._predecessor.metrics if self._predecessor is not None else None
        if not self._config.counts and old is None:
            return None
        from fastwsgi.metrics.metrics import open_metrics  # imported where somebody wants them

        try:
            metrics = open_metrics(self._config, old)
        except OSError as error:
            raise ListenError(f"no memory for metrics: {error.strerror}") from None
        if metrics is not None and metrics.begins_anew:
            log.warning("metrics: the old master counts in another way, so the sums begin anew")
        return metrics

    def _listen(self, owner: tuple[int, int], passed: list[int]) -> Sequence[Listener]:
        """Return the listeners: given ones, systemd's, the old master's, new ones."""
        config = self._config
        if self._given_listeners is not None:
            return self._given_listeners
        ready = [] if self._predecessor is None else self._predecessor.adopt(config.backlog)
        ready += _adopt_passed(passed, config.backlog)
        if any(listener.asked == systemd.ASKED for listener in ready):
            if config.origin("bind") != "default":
                config.notices.append(f"bind (from {config.origin('bind')}) is not used: systemd "
                                      "has opened the sockets")
            for listener in ready:
                listener.protocol = config.protocol
                listener.tls = config.tls and bool(listener.port) and config.protocol == "http"
            return ready
        return open_listeners(
            config.bind, backlog=config.backlog, reuse_port=config.reuse_port, umask=config.umask,
            owner=owner, ready=ready, protocol=config.protocol, certified=config.tls)

    def _call_on_starting(self, log: ErrorLog) -> None:
        try:
            self._config.hooks.call("on_starting", ServerView(self._config, log))
        except Exception as error:
            raise ConfigError(f"the hook on_starting failed: {type(error).__name__}: {error}"
                              ) from error

    def _detach(self, log: ErrorLog) -> Daemon:
        if self._config.errorlog == "-":
            log.warning("daemon: the error log is stderr, which a daemon does not have; "
                        "name a file with --error-logfile")
        if self._config.accesslog == "-":
            log.warning("daemon: the access log is stdout, which a daemon does not have; "
                        "name a file with --access-logfile")
        from fastwsgi.system.daemon import Daemon  # imported where somebody wants one

        return Daemon()


def _feed_watchdog(notifier: systemd.Notifier) -> Callable[[], None]:
    """Feed the watchdog, if there is one, from a thread beside the one that serves.

    Returns a function that ends it. The thread needs the interpreter lock, so C code that holds the
    lock starves the watchdog.
    """
    ended = threading.Event()

    def feed() -> bool:
        if not ended.is_set():
            notifier.feed_watchdog()
        return not ended.is_set()

    if notifier.watchdog:
        every(notifier.watchdog / 3, feed, "watchdog")
    return ended.set


def _adopt_passed(fds: list[int], backlog: int) -> list[Listener]:
    """Take over the sockets that systemd has passed; raise ListenError."""
    try:
        return [adopt(fd, backlog, asked=systemd.ASKED) for fd in fds]
    except OSError as error:
        raise ListenError(f"cannot listen on a socket from systemd: {error.strerror}") from None


def _close(listeners: Sequence[Listener], upgrade: Upgrade) -> None:
    for listener in listeners:
        listener.close(remove=not upgrade.shared)


def _log_failure(
    log: ErrorLog, daemon: list[Daemon], _kind: object, error: BaseException | None, _trace: object,
) -> None:
    """Log the error that ends a daemon, which has no stderr."""
    if daemon and isinstance(error, FastwsgiError):
        log.error("%s", error, exc=error.__cause__)


def _remove(pidfile: PidFile, upgrade: Upgrade) -> None:
    """Remove the pid file, unless a new master is about to take its place."""
    if upgrade.successor is None:
        pidfile.remove()
