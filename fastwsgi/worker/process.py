"""A process that serves: load the application, build the core's worker, run it until told to stop.

Two ways lead here. ``run_worker`` is a forked worker: it owns its process, so it sets
signals, drops privileges and reports to the master. ``serve_here`` serves in the calling process
(``workers=0``) and leaves everything as it found it; in a thread other than the main one it touches
no signal. Signal handlers only tell the core's worker to stop; the work is done where it runs. It
has more than 500 lines because the two ways share their steps.
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
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, TextIO, cast

from fastwsgi._version import __version__
from fastwsgi.config.config import Config
from fastwsgi.config.hooks import Hooks, ServerView, WorkerView
from fastwsgi.config.logs import request_ids
from fastwsgi.config.units import milliseconds
from fastwsgi.errors import AppImportError, ClientGone, CoreError, RequestTimeout, WarmUpError
from fastwsgi.logs.access import AccessFile
from fastwsgi.logs.context import provide
from fastwsgi.logs.error import ErrorLog
from fastwsgi.logs.masking import mask_secrets
from fastwsgi.system.pipes import no_sigpipe
from fastwsgi.system.sockets import Listener
from fastwsgi.system.titles import set_title
from fastwsgi.tls import load_tls, rotation_of
from fastwsgi.worker.environment import drop_privileges
from fastwsgi.worker.lifeline import Lifeline
from fastwsgi.worker.loader import Application
from fastwsgi.worker.mounts import load_all
from fastwsgi.worker.recycle import PERIOD, Limits, every
from fastwsgi.worker.request_timeout import INTERRUPT, RequestTimeouts, write_stacks_on_signal
from fastwsgi.worker.routes import finder
from fastwsgi.worker.scoreboard import Board

if TYPE_CHECKING:
    from fastwsgi._core.core import Worker
    from fastwsgi.tls.rotation import Page, Rotation
    from fastwsgi.tls.settings import Tls
    from fastwsgi.worker.reloader import Reloader
    from fastwsgi.worker.siblings import Siblings, Slot

    class MetricsPage(Protocol):
        """What a worker has to know of the page of the metrics, which is above it."""

        def memory(self, slot: int) -> memoryview:
            """Return a slot."""

OK, FAILED, NOT_BOOTED, NOT_LOADED = 0, 1, 3, 4
"""Exit codes of a worker; the master passes 3 and 4 on as its own."""

READY, REPLACE, CHANGED, REASON = b"R", b"X", b"C", b"F"
"""What a worker sends to its master: that it is about to take requests; that it wants to be
replaced; that a source file has changed, which makes all workers old; why it cannot start, with the
text up to a NUL after it. The master logs that: once, however many workers say it."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
IGNORED_BY_WORKERS = (signal.SIGHUP, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU,
                      signal.SIGWINCH)
_OURS = (__file__, Hooks.call.__code__.co_filename)
_MAX_REASON = 32768  # bytes; a pipe holds more, so the write does not block
BEAT = 1.0
"""Seconds between two signs of life on the scoreboard, if requests are limited in time."""
ORPHAN_GRACE = 2.0
"""Seconds a worker finishes its requests in when its master is gone."""


def core_worker() -> type[Worker]:
    """Import the compiled core; raise CoreError with the reason when it cannot be used."""
    try:
        from fastwsgi._core.core import Worker, current_request
    except ImportError as error:
        raise CoreError(f"the compiled core cannot be used: {error}") from None
    provide(current_request)
    return Worker


def build_worker(
    application: Application, listeners: Sequence[Listener], config: Config, log: ErrorLog,
    access: AccessFile | None = None, *, multiprocess: bool, board: Board | None = None,
    beat: float = 0.0, lifeline: int | None = None, siblings: Slot | None = None,
    tls: Tls | None = None, number: int = 1, metrics: memoryview | None = None,
) -> Worker:
    """Hand application, listeners, settings, logs and what the master shares to the core.

    ``board`` is written every ``beat`` seconds at least, 0 for when there is something new;
    ``siblings`` is its slot among the workers that share new connections. ``tls`` is what those of
    the listeners speak TLS with that do. ``number`` is the worker's, ``metrics`` its slot of the
    page of the metrics.
    """
    if access is not None:
        access.begin(log.complain)
    served = named = None
    if config.static or config.static_internal:
        from fastwsgi.worker.static_files import internal, statics  # only some need it

        served, named = statics(config), internal(config)
    slow = None
    if config.slow_request:
        from fastwsgi.worker.slow_request import SlowRequests  # imported where it is wanted

        slow = SlowRequests(config.slow_request, log)
    try:
        worker = core_worker()(
            application, [listener.core() for listener in listeners], config.core(),
            log=log, errors=cast("TextIO", log.errors), multiprocess=multiprocess,
            version=__version__, access=access, shown=mask_secrets,
            board=board.memory if board else None, beat_ms=milliseconds(beat), lifeline=lifeline,
            metrics=metrics,
            route=finder(config.route_label) if metrics is not None or slow is not None else None,
            siblings=siblings, timeout_error=RequestTimeout,
            gone_error=ClientGone, number=number,
            request_ids=request_ids(config, access),
            slow=(slow.threshold, slow) if slow is not None else None,
            server_timing=config.server_timing,
            statics=served,
            internal=named,
            uwsgi=[i for i, listener in enumerate(listeners) if listener.protocol == "uwsgi"],
            tls=tls.context() if tls is not None else None,
            tls_on=[i for i, listener in enumerate(listeners) if listener.tls and tls is not None])
    except OSError as error:
        if served is None and named is None:
            raise
        raise AppImportError(f"a folder of static files cannot be opened: {error}") from None
    if slow is not None:
        slow.watch(worker)
    return worker


def load_application(
    target: Application | str, config: Config, log: ErrorLog,
) -> tuple[Application, Callable[[], None]]:
    """Load the application, wrapped by the checker if ``strict_wsgi`` is set.

    Returns it and a function to call when serving has ended. Raises AppImportError.
    """
    application = load_all(target, config)
    if config.debug_page:
        from fastwsgi.worker.debug_page import wrap
        application = wrap(application, log)
    if not config.strict_wsgi:
        return application, lambda: None
    from fastwsgi.strict import check
    checker = check(application, log)
    return checker, checker.summarize


def with_request_hooks(application: Application, config: Config, view: WorkerView) -> Application:
    """Return the application, wrapped by the request hooks if there are any."""
    if "pre_request" not in config.hooks and "post_request" not in config.hooks:
        return application
    from fastwsgi.worker.request_hooks import wrap
    return wrap(application, config.hooks, view)


def serve_here(
    target: Application | str, listeners: Sequence[Listener], config: Config, log: ErrorLog,
    access: AccessFile | None = None, *, tls: Tls | None = None,
    metrics: memoryview | None = None, on_ready: Callable[[Worker], None] | None = None,
) -> int:
    """Serve in the calling thread until stopped; return 0.

    ``tls`` is read from the settings if it is not given. ``on_ready`` gets the core's worker right
    before it runs, to stop it from elsewhere. Raises AppImportError and CoreError before anything
    is served.
    """
    tls = tls or load_tls(config)
    application, at_end = load_application(target, config, log)
    view = WorkerView(1, config, log, os.getpid(), os.getppid(), application)
    worker = build_worker(with_request_hooks(application, config, view), listeners, config, log,
                          access, multiprocess=False, tls=tls, metrics=metrics)
    request_warm_up(application, listeners, config, log, multiprocess=False)
    with _signals(worker, log, access, config.drain_delay):
        if on_ready is not None:
            on_ready(worker)
        timeouts = _watch_requests(worker, config, log, None)
        ended = _watch_certificates(worker, rotation_of(tls, log))
        try:
            with contextlib.suppress(KeyboardInterrupt), _collections(worker, config):
                worker.run()  # which Ctrl-C twice interrupts
        finally:
            ended.set()
            timeouts.stop()
    at_end()
    return OK


@contextlib.contextmanager
def _signals(
    worker: Worker, log: ErrorLog, access: AccessFile | None, drain_delay: float,
) -> Iterator[None]:
    """Deliver stop and log signals to ``worker`` in the block; then restore the handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (*STOP_SIGNALS, signal.SIGUSR1, INTERRUPT)
    before = {number: signal.getsignal(number) for number in numbers}
    wakeup = signal.set_wakeup_fd(worker.wakeup_fd, warn_on_full_buffer=False)
    handle_signals(worker, log, access, drain_delay=drain_delay)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def handle_signals(
    worker: Worker, log: ErrorLog, access: AccessFile | None,
    reopened: Callable[[ErrorLog], None] = lambda _log: None, drain_delay: float = 0.0,
) -> None:
    """TERM: finish, then stop; a second one, INT and QUIT: stop now; USR1: reopen the logs.

    With ``drain_delay`` there is a TERM more: the first only begins the delay, which ends with the
    graceful stop. ``reopened`` is called when the logs have been reopened. A second INT also raises
    KeyboardInterrupt in whatever the application is doing, so that Ctrl-C twice gets out of a
    request that does not end.
    """
    asked: list[int] = []
    graceful = 2 if drain_delay else 1  # the TERM that begins the graceful stop
    pid = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != pid:  # a child of the application: the signal has its usual effect
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        before = tuple(asked)
        asked.append(number)  # first: clients see the stop, and another signal may follow from that
        if number == signal.SIGTERM and len(asked) < graceful:
            worker.drain()
            threading.Thread(target=_stop_later, args=(worker, log, drain_delay),
                             name="fastwsgi-drain", daemon=True).start()
        else:
            worker.stop(graceful=number == signal.SIGTERM and len(asked) == graceful)
        if number == signal.SIGINT and number in before:
            signal.default_int_handler(number, frame)

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    _reopen_on_signal(log, access, reopened)


def _stop_later(worker: Worker, log: ErrorLog, delay: float) -> None:
    """Stop a worker that drains."""
    log.info("draining: requests are served for %g s more, then the server stops", delay)
    threading.Event().wait(delay)
    worker.stop()


def _reopen_on_signal(
    log: ErrorLog, access: AccessFile | None, reopened: Callable[[ErrorLog], None],
) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        reopen(log, access)
        reopened(log)

    signal.signal(signal.SIGUSR1, handle)


def reopen(log: ErrorLog, access: AccessFile | None) -> None:
    """Reopen the logs; if that fails, say so in the error log."""
    for kind, one in (("error", log), ("access", access)):
        try:
            if one is not None:
                one.reopen()
        except OSError as error:
            log.error("cannot reopen the %s log %s, continuing with the old one: %s", kind,
                      error.filename, error.strerror)


class WorkerSpec(NamedTuple):
    """What a worker needs to know when it is forked.

    ``lifeline_fd`` is the read end of a pipe whose write end only the master holds: its end is the
    master's end. ``server`` is what hooks are shown of it. ``heartbeat`` is the time in seconds
    between two signs of life on the scoreboard that systemd's watchdog needs, None for none.
    ``config_since`` is when the reading of the settings began (of ``system.paths.file_time``).
    ``siblings`` is how the workers share new connections, None while there is only one. ``tls`` is
    what TLS is spoken with, None where it is not, and ``page`` where the worker sees that it
    changes. ``metrics`` is where it is counted what they do, None if nobody wants to know.
    """

    target: Application | str
    listeners: Sequence[Listener]
    config: Config
    log: ErrorLog
    lifeline_fd: int
    server: ServerView
    multiprocess: bool
    heartbeat: float | None = None
    access: AccessFile | None = None
    config_since: int = 0
    siblings: Siblings | None = None
    tls: Tls | None = None
    page: Page | None = None
    metrics: MetricsPage | None = None

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
        config = self.config
        return (config.proc_name or config.wsgi_app or config.paste
                or ",".join(item.partition("=")[2] for item in config.mount))

    def sibling(self, slot: int | None) -> Slot | None:
        """Return what the worker in this slot gets; None if it does not share."""
        return self.siblings.slot(slot) if self.siblings and slot is not None else None

    def counted(self, slot: int | None) -> memoryview | None:
        """Return where the worker with this slot is to count; None if it is not."""
        return self.metrics.memory(slot) if self.metrics and slot is not None else None

    def preloaded(self, application: Application, multiprocess: bool) -> WorkerSpec:
        """Return the same with the loaded application."""
        return self._replace(target=application, multiprocess=multiprocess)


STACKS = signal.SIGIO
"""Let a worker write its stacks behind its scoreboard. It has a handler before it unblocks it."""


def _write_stacks_behind(board: Board) -> None:
    """Let ``STACKS`` write the stacks of all threads there, without the interpreter lock."""
    import faulthandler  # imported where somebody can ask

    faulthandler.register(STACKS, board.fd, all_threads=True)


def run_worker(
    spec: WorkerSpec, view: WorkerView, to_master: int, board: Board, cpu: int | None = None,
    slot: int | None = None, counted: int | None = None,
) -> int:
    """Be a forked worker until it has to end; return the exit code.

    READY is written to ``to_master`` when requests are about to be taken. ``view`` is what hooks
    are shown of it, ``board`` what everybody is shown, ``cpu`` the one it is to run on, ``slot``
    its place among its siblings, ``counted`` that in the metrics.
    """
    exit_on_stop_signals()
    if spec.config.control_socket:
        _write_stacks_behind(board)
        spec.log.follow(board.level)
    else:
        board.close_fd()
    for number in IGNORED_BY_WORKERS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _reopen_on_signal(spec.log, spec.access, write_stacks_on_signal)
    write_stacks_on_signal(spec.log)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    hooks = spec.config.hooks
    view.pid, view.ppid = os.getpid(), os.getppid()
    watch = _OrphanWatch(spec)
    reloader = None
    if spec.config.reload:
        from fastwsgi.worker.reloader import Reloader  # imported where somebody wants it

        reloader = Reloader(spec.config.reload_engine, spec.config.reload_extra_files,
                            spec.config_since)
    try:
        hooks.call("post_fork", spec.server, view)
        set_title("worker", spec.name)
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        drop_privileges(spec.config)
        seen, tls = _current_tls(spec)
        application, at_end = load_application(spec.target, spec.config, spec.log)
        view.wsgi = application
        worker = build_worker(with_request_hooks(application, spec.config, view), spec.listeners,
                              spec.config, spec.log, spec.access,
                              multiprocess=spec.multiprocess, board=board,
                              lifeline=spec.lifeline_fd, beat=spec.beat,
                              siblings=spec.sibling(slot), tls=tls, number=view.age,
                              metrics=spec.counted(counted))
        request_warm_up(application, spec.listeners, spec.config, spec.log, spec.multiprocess)
        hooks.call("post_worker_init", view)
    except AppImportError as error:
        if reloader is None:
            report_failure(to_master, str(error), error.__cause__)
        else:
            report_failure(to_master, f"{error}; waiting for a source file to change",
                           error.__cause__)
            _report_changes(reloader, spec, to_master, error.__cause__ or error)
        return NOT_LOADED
    except WarmUpError as error:
        report_failure(to_master, str(error))
        return NOT_BOOTED
    except Exception as error:
        report_failure(to_master, "the worker failed to boot: "
                       f"{type(error).__name__}: {error}", error)
        return NOT_BOOTED
    signal.set_wakeup_fd(worker.wakeup_fd, warn_on_full_buffer=False)
    handle_signals(worker, spec.log, spec.access, write_stacks_on_signal)
    _call_hooks_on_signals(spec, view)
    watch.worker = worker

    def give_up() -> None:
        hooks.attempt(spec.log, "worker_abort", view)
        _send(to_master, REPLACE)

    worker.enter()
    _send(to_master, READY)
    _watch_limits(worker, spec, to_master)
    _follow_certificates(worker, spec, seen, tls)
    _watch_requests(worker, spec.config, spec.log, give_up)
    if reloader is not None:
        threading.Thread(target=_report_changes, args=(reloader, spec, to_master),
                         name="fastwsgi-reloader", daemon=True).start()
    try:
        with _collections(worker, spec.config):
            worker.run()
    except KeyboardInterrupt:  # a second INT, as above
        return OK
    except Exception as error:
        spec.log.error("the worker failed", exc=error)
        return FAILED
    finally:
        hooks.attempt(spec.log, "worker_exit", spec.server, view)
    at_end()
    return OK


def request_warm_up(
    application: Application, listeners: Sequence[Listener], config: Config, log: ErrorLog,
    multiprocess: bool,
) -> None:
    """Make the warm-up request, if one is wanted; raise whatever went wrong with it."""
    if not config.warmup:
        return
    from fastwsgi.worker.warmup import warm_up  # imported where somebody wants it

    status = warm_up(application, config.warmup, {
        "wsgi.url_scheme": "https" if listeners[0].tls else "http",
        "SERVER_NAME": listeners[0].name if listeners[0].port else "localhost",
        "SERVER_PORT": listeners[0].port or "80", "HTTP_HOST": "localhost",
        "SCRIPT_NAME": config.script_name, "SERVER_SOFTWARE": f"fastwsgi/{__version__}",
        "wsgi.errors": log.errors, "wsgi.multithread": config.threads > 1,
        "wsgi.multiprocess": multiprocess, "fastwsgi.version": __version__})
    log.debug("warm-up request GET %s: %s", config.warmup, status)


@contextlib.contextmanager
def _collections(worker: Worker, config: Config) -> Iterator[None]:
    """Keep full garbage collections out of requests in the block, if that is wanted."""
    if config.gc == "default":
        yield
        return
    from fastwsgi.worker.garbage import FullCollections  # imported where somebody wants it

    collections = FullCollections(worker, idle=config.gc == "idle")
    collections.start()
    try:
        yield
    finally:
        collections.stop()


def _watch_limits(worker: Worker, spec: WorkerSpec, to_master: int) -> None:
    """Send REPLACE when a limit is reached."""
    limits = Limits(spec.config, worker.stats)
    if limits.any:
        if complaint := limits.too_small():
            spec.log.warning("%s", complaint)

        def check() -> bool:
            reason = limits.reached()
            if reason:
                spec.log.info("asking for a replacement: %s", reason)
                _send(to_master, REPLACE)
            return not reason

        every(PERIOD, check, "limits")


def _watch_requests(
    worker: Worker, config: Config, log: ErrorLog, give_up: Callable[[], None] | None,
) -> RequestTimeouts:
    """Watch for requests that exceed their time, from the first on that has a limit."""
    limited = bool(config.timeout or config.timeout_path or config.cancel_gone)
    in_main_thread = threading.current_thread() is threading.main_thread()
    timeouts = RequestTimeouts(worker, config.threads, config.timeout, log, give_up,
                               in_main_thread=in_main_thread, cancel_gone=config.cancel_gone)
    if limited:
        timeouts.start()
    return timeouts


def _watch_certificates(worker: Worker, rotation: Rotation | None) -> threading.Event:
    """Let a worker without a master notice changed certificates; return what ends that."""
    ended = threading.Event()
    if rotation is not None and rotation.watched:
        from fastwsgi.tls.rotation import PERIOD

        def check() -> bool:
            if rotation.check():
                worker.use_tls(rotation.tls.context())
            return not ended.is_set()

        every(PERIOD, check, "certificates")
    return ended


def _current_tls(spec: WorkerSpec) -> tuple[int, Tls | None]:
    """Return what TLS is spoken with now, which may be newer than a fork server, and its number."""
    found = spec.page.read(spec.tls) if spec.page is not None and spec.tls is not None else None
    return found or (0, spec.tls)


def _follow_certificates(worker: Worker, spec: WorkerSpec, seen: int, tls: Tls | None) -> None:
    """Take over the certificates that the master finds to have changed."""
    if spec.page is not None and tls is not None:
        from fastwsgi.tls.rotation import PERIOD, follow

        every(PERIOD, follow(spec.page, seen, tls, worker.use_tls, spec.log), "certificates")


def _report_changes(
    reloader: Reloader, spec: WorkerSpec, to_master: int, failure: BaseException | None = None,
) -> NoReturn:
    """Send CHANGED whenever a source file changes; the master then ends this process."""
    while True:
        spec.log.info("%s has changed", reloader.wait(failure))
        _send(to_master, CHANGED)


def report_failure(to_master: int, text: str, error: BaseException | None = None) -> None:
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
    if len(said) > _MAX_REASON:
        said = said[: _MAX_REASON // 2] + b"\n...\n" + said[-_MAX_REASON // 2 :]
    _send(to_master, REASON + said + b"\0")


def _send(to_master: int, word: bytes) -> None:
    with contextlib.suppress(OSError), no_sigpipe():  # the master is gone: the lifeline tells
        os.write(to_master, word)


def _call_hooks_on_signals(spec: WorkerSpec, view: WorkerView) -> None:
    """Call worker_int and worker_abort on their signals."""
    hooks = spec.config.hooks
    if "worker_int" in hooks:
        for number in (signal.SIGINT, signal.SIGQUIT):
            stop = cast("Callable[[int, FrameType | None], Any]", signal.getsignal(number))

            def interrupted(
                number: int, frame: FrameType | None,
                stop: Callable[[int, FrameType | None], Any] = stop,
            ) -> None:
                hooks.attempt(spec.log, "worker_int", view)
                stop(number, frame)

            signal.signal(number, interrupted)
    if "worker_abort" in hooks:

        def aborted(_number: int, _frame: FrameType | None) -> None:
            hooks.attempt(spec.log, "worker_abort", view)
            os._exit(FAILED)

        signal.signal(signal.SIGABRT, aborted)


class _OrphanWatch:
    """Ends a worker whose master is gone: nobody would reap or replace it.

    It ends at once while it boots. Once it serves, ``worker`` first finishes its requests, quickly.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self.worker: Worker | None = None
        self._log = spec.log
        Lifeline(spec.lifeline_fd, self._end)

    def _end(self) -> None:
        if self.worker is not None:
            self._log.warning("the master is gone; stopping")
            self.worker.stop(graceful=True)
            # threading.Event as a clock: this daemon thread vanishes with the process when that
            # ends first
            threading.Event().wait(ORPHAN_GRACE)
        os._exit(FAILED)


def in_child(main: Callable[[], int]) -> NoReturn:
    """Run ``main`` in a process just forked and end the process with the code it returns.

    The child never returns into its parent's frames. It ends as an interpreter does (threads are
    waited for, exit functions run, streams are flushed), but only what it registered itself is run.
    """
    code = FAILED
    try:
        atexit._clear()
        exit_on_stop_signals()
        code = main()
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


def exit_on_stop_signals() -> None:
    """Let stop signals end this process with code 0 while it is not serving.

    Before and after serving there is nothing to finish.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _exit_at_once)


def _exit_at_once(number: int, frame: FrameType | None) -> Any:
    os._exit(OK)
