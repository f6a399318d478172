"""The functions that tutorials start a server with: ``make_server`` and ``run_simple``.

Their shapes are those of ``wsgiref.simple_server`` and ``werkzeug.serving``, so a tutorial's code
needs another import and no more.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fastwsgi.config.logs import open_access_log
from fastwsgi.config.sources import from_keywords
from fastwsgi.errors import ConfigError
from fastwsgi.logs.error import ErrorLog
from fastwsgi.system.sockets import open_listeners
from fastwsgi.worker.process import serve_here

if TYPE_CHECKING:
    from types import TracebackType

    from fastwsgi._core.core import Worker

Application = Callable[..., Any]
CHANGED = 3
"""The exit code of a program that is to be run again."""

CHILD = "FASTWSGI_RUN_SIMPLE_CHILD"


class Server:
    """A server in the shape of ``wsgiref.simple_server.WSGIServer``; it listens from the start.

    ``server_address``, ``server_name`` and ``server_port`` say where. It can be used in a ``with``
    statement, which closes it.
    """

    def __init__(self, host: str, port: int, app: Application | None, **settings: Any) -> None:
        place = f"[{host}]" if ":" in host else host
        self._config = from_keywords({"bind": f"{place}:{port}", **settings, "workers": 0})
        self._app = app
        config = self._config
        self._listeners = open_listeners(
            config.bind, backlog=config.backlog, reuse_port=config.reuse_port,
            protocol=config.protocol, certified=config.tls)
        address = self._listeners[0].address
        self.server_address: Any = address
        self.server_name, self.server_port = (address, 0) if isinstance(address, str) else address
        self.url = self._listeners[0].url
        self._worker: Worker | None = None
        self._stopped = threading.Event()
        self._stopped.set()
        self._stop_wanted = False

    def get_app(self) -> Application | None:
        """Return the application."""
        return self._app

    def set_app(self, app: Application) -> None:
        """Replace the application, for the next ``serve_forever``."""
        self._app = app

    def fileno(self) -> int:
        """Return the descriptor of the listening socket."""
        return self._listeners[0].fileno()

    def serve_forever(self, _poll_interval: float = 0.5) -> None:
        """Serve in the calling thread until ``shutdown``, or until the process is asked to stop."""
        self._serve(self._app)

    def handle_request(self) -> None:
        """Serve until one request has been answered."""
        def once(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            if self._worker is not None:
                self._worker.stop(graceful=True)
            return self._app(environ, start_response)  # type: ignore[misc]

        self._serve(once)

    def _serve(self, app: Application | None) -> None:
        if app is None:
            raise ConfigError("no application: give one to make_server or to set_app")
        config = self._config
        log = ErrorLog(config.errorlog, config.loglevel)
        self._stopped.clear()

        def on_ready(worker: Worker) -> None:
            self._worker = worker
            if self._stop_wanted:
                worker.stop(graceful=True)

        try:
            serve_here(app, self._listeners, config, log, open_access_log(config),
                       on_ready=on_ready)
        finally:
            self._worker = None
            self._stop_wanted = False
            self._stopped.set()
            log.close()

    def shutdown(self) -> None:
        """Stop ``serve_forever``, which another thread runs, and wait until it has returned."""
        self._stop_wanted = not self._stopped.is_set()
        if self._worker is not None:
            self._worker.stop(graceful=True)
        self._stopped.wait()

    def server_close(self) -> None:
        """Close the listening sockets."""
        for listener in self._listeners:
            listener.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server_close()


def make_server(
    host: str, port: int, app: Application | None, server_class: object = None,
    handler_class: object = None, **settings: Any,
) -> Server:
    """Return a server for ``app``, as ``wsgiref.simple_server.make_server`` does.

    ``settings`` are those of ``fastwsgi.run``. A class of wsgiref's server or handler is refused,
    because it would be without effect. Raises ConfigError and ListenError.
    """
    for name, value in (("server_class", server_class), ("handler_class", handler_class)):
        if value is not None:
            raise ConfigError(f"{name} is wsgiref's own: the server has settings instead, for "
                              "example accesslog='-'")
    return Server(host, port, app, **settings)


def run_simple(
    hostname: str, port: int, application: Application, use_reloader: bool = False,
    use_debugger: bool = False, use_evalex: bool = True, extra_files: Iterable[str] | None = None,
    exclude_patterns: Iterable[str] | None = None, reloader_interval: int = 1,
    reloader_type: str = "auto", threaded: bool = False, processes: int = 1,
    request_handler: object = None, static_files: Mapping[str, Any] | None = None,
    passthrough_errors: bool = False, ssl_context: Any = None, **settings: Any,
) -> None:
    """Serve ``application`` until the process is asked to stop, as ``werkzeug.run_simple`` does.

    With ``use_reloader`` the program runs in a child, and again whenever its code changes.
    ``threaded`` means 16 threads, ``processes`` that many workers; ``settings`` are those of
    ``fastwsgi.run``. Debugger and ``static_files`` are werkzeug's, which has to be installed.
    """
    import fastwsgi

    if request_handler is not None:
        raise ConfigError("request_handler is werkzeug's own: the server has settings instead")
    if use_reloader and CHILD not in os.environ:
        sys.exit(_run_again_and_again())
    if use_debugger or static_files:
        application = _with_werkzeug(application, use_debugger, use_evalex, static_files)
    if use_reloader:
        _leave_when_changed(reloader_type, extra_files or ())
    place = f"[{hostname}]" if ":" in hostname else hostname
    given: dict[str, Any] = {
        "bind": hostname if hostname.startswith("unix:") else f"{place}:{port}",
        "workers": 0 if processes <= 1 else processes, "threads": 16 if threaded else 1,
        **_tls(ssl_context), **settings}
    code = fastwsgi.run(application, **given)
    if code:
        sys.exit(code)


def _with_werkzeug(
    application: Application, debugger: bool, evalex: bool, files: Mapping[str, Any] | None,
) -> Application:
    try:
        if files:
            from werkzeug.middleware.shared_data import SharedDataMiddleware

            application = SharedDataMiddleware(application, dict(files))
        if debugger:
            from werkzeug.debug import DebuggedApplication

            application = DebuggedApplication(application, evalex)
    except ImportError:
        raise ConfigError("use_debugger and static_files need the werkzeug library") from None
    return application


def _tls(context: Any) -> dict[str, Any]:
    """Return the settings for werkzeug's ``ssl_context``."""
    if context is None:
        return {}
    if isinstance(context, (tuple, list)):
        names = ("certfile", "keyfile")
        return {name: str(file) for name, file in zip(names, context, strict=False) if file}
    if isinstance(context, str):
        raise ConfigError(f"ssl_context must be a pair of files or an ssl.SSLContext, not "
                          f"{context!r}: make a certificate with openssl req -x509")
    return {"ssl_context": lambda _config, _default: context}


def _run_again_and_again() -> int:
    """Run this program as a child, anew whenever it leaves because its code has changed."""
    lifeline, held = os.pipe()  # the child ends when the program that started it is gone
    environ = {**os.environ, CHILD: str(lifeline)}
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = ["-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]] if spec else sys.argv
    code = CHANGED
    while code == CHANGED:
        with subprocess.Popen(
                [sys.executable, *program], env=environ, pass_fds=(lifeline,)) as child:
            before = signal.signal(signal.SIGTERM, lambda *_, child=child: child.terminate())
            try:
                code = child.wait()
            except KeyboardInterrupt:  # the child has been interrupted as well
                code = 0
            finally:
                signal.signal(signal.SIGTERM, before)
    os.close(held)
    return code


def _leave_when_changed(engine: str, extra: Iterable[str]) -> None:
    from fastwsgi.worker.reloader import Reloader

    reloader = Reloader("poll" if engine == "stat" else "auto", extra, time.time_ns())

    def end_with_parent() -> None:
        os.read(int(os.environ[CHILD]), 1)
        os._exit(0)

    def watch() -> None:
        path = reloader.wait()
        sys.stderr.write(f" * {path} has changed, starting again\n")
        sys.stderr.flush()
        os._exit(CHANGED)

    for run in (watch, end_with_parent):
        threading.Thread(target=run, name="fastwsgi-reloader", daemon=True).start()
