"""A process that serves: load the application, build the core's worker, run it until told to stop.

Two ways lead here. ``work`` is the life of a forked worker: it owns its process, so it sets
signals, drops privileges and reports to the master. ``serve_here`` serves in the calling process
(``workers=0``) and leaves everything as it found it; in a thread other than the main one it touches
no signal. Signal handlers only tell the core's worker to stop; the work is done where it runs.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TextIO, cast

from fastwsgi._version import __version__
from fastwsgi.config.hooks import Hooks, ServerView, WorkerView
from fastwsgi.config.sources import Config
from fastwsgi.errors import AppImportError, CoreError, RequestTimeout
from fastwsgi.logs.access import AccessLog
from fastwsgi.logs.error import ErrorLog
from fastwsgi.logs.masking import shown
from fastwsgi.system.pipes import no_sigpipe
from fastwsgi.system.sockets import Listener
from fastwsgi.system.titles import set_title
from fastwsgi.worker.environment import drop_privileges
from fastwsgi.worker.lifeline import Lifeline
from fastwsgi.worker.loader import Application, load
from fastwsgi.worker.recycle import PERIOD, Limits, every
from fastwsgi.worker.reloader import Reloader
from fastwsgi.worker.request_timeout import INTERRUPT, Overdue, write_stacks_on_signal
from fastwsgi.worker.scoreboard import Board
from fastwsgi.worker.warmup import WarmUpError, warm_up

if TYPE_CHECKING:
    from fastwsgi._core.worker import Worker

OK, FAILED, NOT_BOOTED, NOT_LOADED = 0, 1, 3, 4
"""Exit codes of a worker; the master passes 3 and 4 on as its own."""

READY, REPLACE, CHANGED, REASON = b"R", b"X", b"C", b"F"
"""What a worker says to its master: that it is about to take requests; that it wants to be
replaced; that a source file has changed, which makes all workers old; why it cannot start, with the
text up to a NUL after it. The master logs that: once, however many workers say it."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
IGNORED_BY_WORKERS = (signal.SIGHUP, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU,
                      signal.SIGWINCH)
_OURS = (__file__, Hooks.call.__code__.co_filename)
_MOST_REASON = 32768  # bytes; a pipe holds more, so the write does not block
BEAT = 1.0
"""Seconds between two signs of life on the scoreboard, if requests are limited in time."""
ORPHAN_GRACE = 2.0
"""Seconds a worker finishes its requests in when its master is gone."""


def core_worker() -> type[Worker]:
    """Import the compiled core; raise CoreError with the reason when it cannot be used."""
    try:
        from fastwsgi._core.worker import Worker
    except ImportError as error:
        raise CoreError(f"the compiled core cannot be used: {error}") from None
    return Worker


def build_worker(
    application: Application, listeners: Sequence[Listener], config: Config, log: ErrorLog,
    access: AccessLog | None = None, *, multiprocess: bool, board: Board | None = None, **more: Any,
) -> Worker:
    """Hand application, listeners, settings, logs and what else is known (``more``) to the core."""
    return core_worker()(
        application, [listener.core() for listener in listeners],
        {**config.core(), "version": __version__, "access": access, "shown": shown,
         **more},
        log=log, errors=cast("TextIO", log.errors), multiprocess=multiprocess,
        board=board.memory if board else None, timeout_error=RequestTimeout)


def load_application(
    target: Application | str, config: Config, log: ErrorLog,
) -> tuple[Application, Callable[[], None]]:
    """Load the application, wrapped by the checker if ``strict_wsgi`` is set.

    Returns it and a function to call when serving has ended. Raises AppImportError.
    """
    application = load(target)
    if not config.strict_wsgi:
        return application, lambda: None
    from fastwsgi.strict import check
    checker = check(application, log)
    return checker, checker.summarize


def attended(application: Application, config: Config, view: WorkerView) -> Application:
    """Return the application, wrapped by the request hooks if there are any."""
    if "pre_request" not in config.hooks and "post_request" not in config.hooks:
        return application
    from fastwsgi.worker.request_hooks import attend
    return attend(application, config.hooks, view)


def serve_here(
    target: Application | str, listeners: Sequence[Listener], config: Config, log: ErrorLog,
    access: AccessLog | None = None, *, on_ready: Callable[[Worker], None] | None = None,
) -> int:
    """Serve in the calling thread until stopped; return 0.

    ``on_ready`` gets the core's worker right before it runs, to stop it from elsewhere. Raises
    AppImportError and CoreError before anything is served.
    """
    application, at_end = load_application(target, config, log)
    view = WorkerView(1, config, log, os.getpid(), os.getppid(), application)
    worker = build_worker(attended(application, config, view), listeners, config, log, access,
                          multiprocess=False)
    request_warm_up(application, listeners, config, log, multiprocess=False)
    with _signals(worker, log, access):
        if on_ready is not None:
            on_ready(worker)
        overdue = _watch_calls(worker, config, log, None)
        try:
            with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C twice
                worker.run()
        finally:
            overdue.end()
    at_end()
    return OK


@contextlib.contextmanager
def _signals(worker: Worker, log: ErrorLog, access: AccessLog | None) -> Iterator[None]:
    """Deliver stop and log signals to ``worker`` in the block; then restore the handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (*STOP_SIGNALS, signal.SIGUSR1, INTERRUPT)
    before = {number: signal.getsignal(number) for number in numbers}
    wakeup = signal.set_wakeup_fd(worker.wakeup_fd, warn_on_full_buffer=False)
    handle_signals(worker, log, access)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def handle_signals(
    worker: Worker, log: ErrorLog, access: AccessLog | None,
    reopened: Callable[[ErrorLog], None] = lambda _log: None,
) -> None:
    """TERM: finish, then stop; a second one, INT and QUIT: stop now; USR1: reopen the logs.

    ``reopened`` is called when that has been done. A second INT also raises KeyboardInterrupt in
    whatever the application is doing, so that Ctrl-C twice gets out of a request that does not end.
    """
    asked: list[int] = []
    pid = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != pid:  # a child of the application: the signal has its usual effect
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        before = tuple(asked)
        asked.append(number)  # first: clients see the stop, and another signal may follow from that
        worker.stop(graceful=number == signal.SIGTERM and not before)
        if number == signal.SIGINT and number in before:
            signal.default_int_handler(number, frame)

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    _reopen_on_signal(log, access, reopened)


def _reopen_on_signal(
    log: ErrorLog, access: AccessLog | None, reopened: Callable[[ErrorLog], None],
) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        reopen(log, access)
        reopened(log)

    signal.signal(signal.SIGUSR1, handle)


def reopen(log: ErrorLog, access: AccessLog | None) -> None:
    """Reopen the logs; if that fails, say so in the error log."""
    for kind, one in (("error", log), ("access", access)):
        try:
            if one is not None:
                one.reopen()
        except OSError as error:
            log.error("cannot reopen the %s log %s, continuing with the old one: %s", kind,
                      error.filename, error.strerror)


class Duty(NamedTuple):
    """What a worker is forked for.

    ``lifeline_fd`` is the read end of a pipe whose write end only the master holds: its end is the
    master's end. ``server`` is what hooks are shown of it. ``heartbeat`` is the time in seconds
    between two signs of life on the scoreboard that systemd's watchdog needs, None for none.
    ``config_since`` is when the reading of the settings began (of ``reloader.file_time``).
    """

    target: Application | str
    listeners: Sequence[Listener]
    config: Config
    log: ErrorLog
    lifeline_fd: int
    server: ServerView
    multiprocess: bool
    heartbeat: float | None = None
    access: AccessLog | None = None
    config_since: int = 0

    @property
    def limited(self) -> bool:
        """Whether the master checks the worker for signs of life."""
        return bool(self.config.timeout)

    @property
    def beat(self) -> float:
        """The seconds between two signs of life; 0 to write only when something has changed."""
        wanted = [self.heartbeat or 0.0, BEAT if self.limited else 0.0]
        return min((seconds for seconds in wanted if seconds), default=0.0)

    @property
    def name(self) -> str:
        """The name of this server in a list of processes."""
        return str(self.config.proc_name or self.config.wsgi_app)

    def preloaded(self, application: Application, multiprocess: bool) -> Duty:
        """Return the same with the loaded application."""
        return self._replace(target=application, multiprocess=multiprocess)


def work(
    duty: Duty, view: WorkerView, speaking: int, board: Board, cpu: int | None = None,
) -> int:
    """Live the life of a forked worker and return its exit code.

    READY is written to ``speaking`` when requests are about to be taken. ``view`` is what hooks are
    shown of it, ``board`` what everybody is shown, ``cpu`` the one it is to run on.
    """
    leave_when_told()
    board.close_fd()
    for number in IGNORED_BY_WORKERS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _reopen_on_signal(duty.log, duty.access, write_stacks_on_signal)
    write_stacks_on_signal(duty.log)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    hooks = duty.config.hooks
    view.pid, view.ppid = os.getpid(), os.getppid()
    watch = _Orphaned(duty)
    reloader = None
    if duty.config.reload:
        reloader = Reloader(duty.config.reload_engine, duty.config.reload_extra_files,
                            duty.config_since)
    try:
        hooks.call("post_fork", duty.server, view)
        set_title("worker", duty.name)
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        drop_privileges(duty.config)
        application, at_end = load_application(duty.target, duty.config, duty.log)
        view.wsgi = application
        worker = build_worker(attended(application, duty.config, view), duty.listeners,
                              duty.config, duty.log, duty.access,
                              multiprocess=duty.multiprocess, board=board,
                              lifeline=duty.lifeline_fd, beat=duty.beat)
        request_warm_up(application, duty.listeners, duty.config, duty.log, duty.multiprocess)
        hooks.call("post_worker_init", view)
    except AppImportError as error:
        if reloader is None:
            give_reason(speaking, str(error), error.__cause__)
        else:
            give_reason(speaking, f"{error}; waiting for a source file to change", error.__cause__)
            _tell_changes(reloader, duty, speaking, error.__cause__ or error)
        return NOT_LOADED
    except WarmUpError as error:
        give_reason(speaking, str(error))
        return NOT_BOOTED
    except Exception as error:
        give_reason(speaking, f"the worker failed to boot: {type(error).__name__}: {error}", error)
        return NOT_BOOTED
    signal.set_wakeup_fd(worker.wakeup_fd, warn_on_full_buffer=False)
    handle_signals(worker, duty.log, duty.access, write_stacks_on_signal)
    _call_hooks_on_signals(duty, view)
    watch.worker = worker

    def give_up() -> None:
        hooks.attempt(duty.log, "worker_abort", view)
        _say(speaking, REPLACE)

    _say(speaking, READY)
    _look_after(worker, duty, speaking)
    _watch_calls(worker, duty.config, duty.log, give_up)
    if reloader is not None:
        threading.Thread(target=_tell_changes, args=(reloader, duty, speaking),
                         name="fastwsgi-reloader", daemon=True).start()
    try:
        worker.run()
    except KeyboardInterrupt:  # a second INT, as above
        return OK
    except Exception as error:
        duty.log.error("the worker failed", exc=error)
        return FAILED
    finally:
        hooks.attempt(duty.log, "worker_exit", duty.server, view)
    at_end()
    return OK


def request_warm_up(
    application: Application, listeners: Sequence[Listener], config: Config, log: ErrorLog,
    multiprocess: bool,
) -> None:
    """Make the warm-up request, if one is wanted; raise whatever went wrong with it."""
    if not config.warmup:
        return
    status = warm_up(application, config.warmup, {
        "SERVER_NAME": listeners[0].name if listeners[0].port else "localhost",
        "SERVER_PORT": listeners[0].port or "80", "HTTP_HOST": "localhost",
        "SCRIPT_NAME": config.script_name, "SERVER_SOFTWARE": f"fastwsgi/{__version__}",
        "wsgi.errors": log.errors, "wsgi.multithread": config.threads > 1,
        "wsgi.multiprocess": multiprocess, "fastwsgi.version": __version__})
    log.debug("warm-up request GET %s: %s", config.warmup, status)


def _look_after(worker: Worker, duty: Duty, speaking: int) -> None:
    """Say REPLACE when a limit is reached."""
    limits = Limits(duty.config, worker.stats)
    if limits.any:
        if complaint := limits.too_small():
            duty.log.warning("%s", complaint)

        def look() -> bool:
            reason = limits.reached()
            if reason:
                duty.log.info("asking for a replacement: %s", reason)
                _say(speaking, REPLACE)
            return not reason

        every(PERIOD, look, "limits")


def _watch_calls(
    worker: Worker, config: Config, log: ErrorLog, give_up: Callable[[], None] | None,
) -> Overdue:
    """Watch for requests that are over their time, if that is limited."""
    limited = bool(config.timeout)
    in_main_thread = limited and threading.current_thread() is threading.main_thread()
    overdue = Overdue(worker, config.threads, config.timeout, log, give_up,
                      in_main_thread=in_main_thread)
    if limited:
        overdue.begin()
    return overdue


def _tell_changes(
    reloader: Reloader, duty: Duty, speaking: int, failure: BaseException | None = None,
) -> NoReturn:
    """Say CHANGED whenever a source file changes; the master ends this process for it."""
    while True:
        duty.log.info("%s has changed", reloader.wait(failure))
        _say(speaking, CHANGED)


def give_reason(speaking: int, text: str, error: BaseException | None = None) -> None:
    """Tell the master why this process cannot start, with a traceback that leaves out our frames.

    Only one that begins with frames of ours and has no others is left out as a whole.
    """
    if error is not None:
        trace, ours = error.__traceback__, False
        while trace is not None and trace.tb_frame.f_code.co_filename in _OURS:
            trace, ours = trace.tb_next, True
        if trace is not None or not ours:
            lines = traceback.format_exception(type(error), error, trace)
            text += "\n" + "".join(lines).rstrip("\n")
    said = text.replace("\0", "\\0").encode("utf-8", "backslashreplace")
    if len(said) > _MOST_REASON:
        said = said[: _MOST_REASON // 2] + b"\n...\n" + said[-_MOST_REASON // 2 :]
    _say(speaking, REASON + said + b"\0")


def _say(speaking: int, word: bytes) -> None:
    with contextlib.suppress(OSError), no_sigpipe():  # the master is gone: the lifeline tells
        os.write(speaking, word)


def _call_hooks_on_signals(duty: Duty, view: WorkerView) -> None:
    """Call worker_int and worker_abort on their signals."""
    hooks = duty.config.hooks
    if "worker_int" in hooks:
        for number in (signal.SIGINT, signal.SIGQUIT):
            stop = cast("Callable[[int, FrameType | None], Any]", signal.getsignal(number))

            def interrupted(
                number: int, frame: FrameType | None,
                stop: Callable[[int, FrameType | None], Any] = stop,
            ) -> None:
                hooks.attempt(duty.log, "worker_int", view)
                stop(number, frame)

            signal.signal(number, interrupted)
    if "worker_abort" in hooks:

        def aborted(_number: int, _frame: FrameType | None) -> None:
            hooks.attempt(duty.log, "worker_abort", view)
            os._exit(FAILED)

        signal.signal(signal.SIGABRT, aborted)


class _Orphaned:
    """Ends a worker whose master is gone: nobody would reap or replace it.

    It ends at once while it boots. Once it serves, ``worker`` first finishes its requests, quickly.
    """

    def __init__(self, duty: Duty) -> None:
        self.worker: Worker | None = None
        self._log = duty.log
        Lifeline(duty.lifeline_fd, self._end)

    def _end(self) -> None:
        if self.worker is not None:
            self._log.warning("the master is gone; stopping")
            self.worker.stop(graceful=True)
            # threading.Event as a clock: this daemon thread vanishes with the process when that
            # ends first
            threading.Event().wait(ORPHAN_GRACE)
        os._exit(FAILED)


def in_child(life: Callable[[], int]) -> NoReturn:
    """Run ``life`` in a process just forked and end the process with the code it returns.

    The child never returns into its parent's frames. It ends as an interpreter does (threads are
    waited for, exit functions run, streams are flushed), but only what it registered itself is run.
    """
    code = FAILED
    try:
        atexit._clear()
        leave_when_told()
        code = life()
        getattr(threading, "_shutdown", int)()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
    except BaseException:
        with contextlib.suppress(Exception):
            traceback.print_exc()
    finally:
        os._exit(code)


def leave_when_told() -> None:
    """Let stop signals end this process with code 0 while it is not serving.

    Before and after serving there is nothing to finish.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _leave_at_once)


def _leave_at_once(number: int, frame: FrameType | None) -> Any:
    os._exit(OK)
