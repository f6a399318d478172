"""gunicorn's settings by name: all of version 27, and what becomes of each here.

A setting that table.py has, and a hook that hooks.py has, is honoured: nothing here says so. Of the
others a row says whether a value other than gunicorn's default is harmless, which is told in one
notice, or refused, and names the reason or what to do instead. A row whose setting table.py has
keeps only its default and its remark for docs/migration.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from fastwsgi.config import values
from fastwsgi.config.hooks import ARGUMENTS
from fastwsgi.config.table import SETTINGS, Setting
from fastwsgi.errors import ConfigError

LATEST = "27.0.1"
"""The version of gunicorn whose settings these are."""

FIRST = "0.1.0"
"""The version of fastwsgi in which most rows are what they are now."""


class Known(NamedTuple):
    """One setting of gunicorn.

    ``default`` is gunicorn's. ``text`` of a setting that is honoured says what differs (one with
    flags beside it is for a version without the setting); of another it completes "NAME has no
    effect: ...", or with ``refused`` "NAME is not supported: ...".
    ``flags``, ``convert``, ``bounds``, ``const`` and ``many`` are as in a ``Setting``. ``since`` is
    the version of fastwsgi in which this became so.
    """

    name: str
    default: object
    text: str = ""
    flags: tuple[str, ...] = ()
    convert: values.Converter = values.text
    bounds: tuple[Any, ...] = ()
    const: object = None
    many: bool = False
    refused: bool = False
    since: str = FIRST

    @property
    def honoured(self) -> bool:
        """Whether fastwsgi has the setting."""
        return self.name in SETTINGS or self.name in ARGUMENTS

    @property
    def setting(self) -> Setting:
        """The setting as the command line and the converters need it."""
        return Setting(self.name, "gunicorn", self.flags, self.default, self.convert, self.text,
                       self.bounds, "" if self.const else "VALUE", self.const, self.many)


def _anything(value: object) -> object:
    return value


def _logger(value: object) -> str:
    """Convert a logger class: gunicorn's own, by any of their names, are one and the same here."""
    name = (f"{value.__module__}.{value.__qualname__}" if isinstance(value, type)
            else values.text(value).strip())
    ours = ("", "simple", "egg:gunicorn#simple", "gunicorn.glogging.Logger",
            "gunicorn.instrument.statsd.Statsd", "statsd", "egg:gunicorn#statsd")
    return "" if name in ours else name


def _cleartext(value: object, *words: str) -> str:
    """Convert how HTTP/2 begins without TLS; as in gunicorn, true means ``prior-knowledge``."""
    return values.choice({True: words[1], False: words[0]}[value]
                         if isinstance(value, bool) else value, *words)


_ASGI = ("it belongs to ASGI, and fastwsgi serves WSGI; serve an ASGI application with uvicorn, "
         "hypercorn or granian")
_DIRTY = ("there are no dirty arbiters; give long work to a task queue such as Celery, RQ or "
          "Dramatiq, or to a process of its own")
_HTTP2 = ("HTTP/1.1 is spoken here; let nginx, Caddy or HAProxy speak HTTP/2 to clients and "
          "HTTP/1.1 to this server")
_LENIENT = "such requests are refused with 400, because two parsers may read them in two ways"
_WHOLE = (0, 1 << 62)


def _asgi(name: str, default: object, *flags: str, **more: Any) -> Known:
    return Known(name, default, _ASGI, flags, refused=True, **more)


def _dirty(name: str, default: object, *flags: str, **more: Any) -> Known:
    return Known(name, default, _DIRTY, flags, refused=True, **more)


def _http2(name: str, default: object, *flags: str, **more: Any) -> Known:
    return Known(name, default, _HTTP2, flags, refused=True, **more)


def _number(least: int = 0) -> dict[str, Any]:
    return {"convert": values.whole, "bounds": (least, _WHOLE[1])}


_SWITCH: dict[str, Any] = {"convert": values.switch, "const": True}

_TABLE = (
    Known("config", "./gunicorn.conf.py",
          "`./fastwsgi.conf.py` comes first; `./gunicorn.conf.py` is read if there is none, with a "
          "notice. `file:` and `python:` are understood"),
    Known("wsgi_app", None, "also a module alone and a call of a factory"),
    Known("bind", ["127.0.0.1:8000"]),
    Known("backlog", 2048),
    Known("workers", 1, "also `auto`; 0 serves without a master"),
    Known("worker_class", "sync",
          "`sync` and `gthread` are accepted with a notice, others are refused: there is one kind "
          "of worker, which needs no green threads to hold connections. Set `threads` to the "
          "number of requests that may wait at the same time"),
    Known("threads", 1),
    Known("worker_connections", 1000, "10000 by default, because an idle connection is cheap"),
    Known("max_requests", 0),
    Known("max_requests_jitter", 0),
    Known("timeout", 30, "the time of one request in the application, also with threads"),
    Known("graceful_timeout", 30),
    Known("keepalive", 2, "75 by default, longer than load balancers keep a connection"),
    Known("limit_request_line", 4094, "8190 by default"),
    Known("limit_request_fields", 100),
    Known("limit_request_field_size", 8190),
    Known("reload", False),
    Known("reload_engine", "auto", "`inotify` needs `fastwsgi[reload]`"),
    Known("reload_extra_files", []),
    Known("spew", False,
          "lines are not traced; python -m trace --trace does it for a single process",
          ("--spew",), **_SWITCH),
    Known("check_config", False, "give --check-config on the command line", refused=True,
          convert=values.switch),
    Known("print_config", False, "give --print-config on the command line", refused=True,
          convert=values.switch),
    Known("preload_app", False),
    Known("sendfile", None),
    Known("reuse_port", False),
    Known("chdir", ""),
    Known("daemon", False),
    Known("raw_env", []),
    Known("pidfile", None),
    Known("worker_tmp_dir", None,
          "workers have no heartbeat file, so it cannot be on a slow disk",
          ("--worker-tmp-dir",)),
    Known("user", None),
    Known("group", None),
    Known("umask", 0, "by default the one of the starting process"),
    Known("initgroups", False),
    Known("tmp_upload_dir", None,
          "large bodies are kept in $TMPDIR; set that variable for the server"),
    Known("secure_scheme_headers", {
        "X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}),
    Known("forwarded_allow_ips", "127.0.0.1,::1"),
    Known("accesslog", None),
    Known("disable_redirect_access_to_syslog", False),
    Known("access_log_format", '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
          "also `json`, `combined`, `common` and atoms of our own"),
    Known("errorlog", "-"),
    Known("loglevel", "info"),
    Known("capture_output", False,
          "also where the error log is stderr, and as records where it consists of such"),
    Known("logger_class", "gunicorn.glogging.Logger",
          "the server writes its logs itself; choose their form with --access-logformat, their way "
          "with --log-config, and exclude requests from the log where it is read",
          ("--logger-class",), convert=_logger, refused=True),
    Known("logconfig", None,
          "for the error log; its logger is fastwsgi.error, or gunicorn.error if only that is "
          "named"),
    Known("logconfig_dict", {}, "as logconfig; there are no handlers to begin with"),
    Known("logconfig_json", None, "as logconfig_dict"),
    Known("syslog_addr", "udp://localhost:514", "also `journal`"),
    Known("syslog", False, "in the format of RFC 5424"),
    Known("syslog_prefix", None, "the name is fastwsgi.PREFIX"),
    Known("syslog_facility", "user"),
    Known("enable_stdio_inheritance", False,
          "stdout and stderr are always inherited, and the service manager sees them",
          ("-R", "--enable-stdio-inheritance"), **_SWITCH),
    Known("statsd_host", None, "once a second, in sums"),
    Known("dogstatsd_tags", ""),
    Known("statsd_prefix", ""),
    Known("enable_backlog_metric", False,
          "this metric of StatsD is always sent", ("--enable-backlog-metric",), **_SWITCH),
    Known("proc_name", None, "titles need `fastwsgi[title]`"),
    Known("default_proc_name", "gunicorn", "the default is the name of the application; proc_name "
          "is another"),
    Known("pythonpath", None),
    Known("paste", None, "needs `fastwsgi[paste]`"),
    *(Known(name, None, text) for name, text in {
        "on_starting": "", "on_reload": "", "when_ready": "", "pre_fork": "", "post_fork": "",
        "post_worker_init": "", "worker_int": "", "worker_abort": "", "pre_exec": "",
        "pre_request": "", "post_request": "", "child_exit": "", "worker_exit": "",
        "nworkers_changed": "", "on_exit": "", "ssl_context": "",
    }.items()),
    Known("proxy_protocol", "off"),
    Known("proxy_allow_ips", "127.0.0.1,::1"),
    Known("protocol", "http"),
    Known("uwsgi_allow_ips", "127.0.0.1,::1"),
    Known("keyfile", None, "may be a list, as `certfile`"),
    Known("certfile", None, "may be a list: clients choose by name"),
    Known("ssl_version", 2, "prefer `tls_minimum`"),
    Known("cert_reqs", 0),
    Known("ca_certs", None),
    Known("suppress_ragged_eofs", True,
          "a client that closes without close_notify has closed its connection, and no more",
          ("--suppress-ragged-eofs",), **_SWITCH),
    Known("do_handshake_on_connect", False,
          "the event loop makes the handshakes, so none holds up anybody else",
          ("--do-handshake-on-connect",), **_SWITCH),
    Known("ciphers", None, "the cipher suites of TLS 1.2"),
    _http2("http_protocols", "h1", "--http-protocols", convert=values.choices,
           bounds=("h1", "h2")),
    _http2("http2_cleartext", "off", "--http2-cleartext", convert=_cleartext,
           bounds=("off", "prior-knowledge", "upgrade", "both")),
    _http2("http2_max_concurrent_streams", 100, "--http2-max-concurrent-streams", **_number(1)),
    _http2("http2_initial_window_size", 65535, "--http2-initial-window-size", **_number()),
    _http2("http2_max_frame_size", 16384, "--http2-max-frame-size", **_number(16384)),
    _http2("http2_max_header_list_size", 65536, "--http2-max-header-list-size", **_number()),
    Known("raw_paste_global_conf", []),
    Known("permit_obsolete_folding", False, _LENIENT, ("--permit-obsolete-folding",), **_SWITCH),
    Known("strip_header_spaces", False, _LENIENT, ("--strip-header-spaces",), **_SWITCH),
    Known("permit_unconventional_http_method", False,
          "methods are those that llhttp knows, and others are refused with 501",
          ("--permit-unconventional-http-method",), **_SWITCH),
    Known("permit_unconventional_http_version", False,
          "HTTP/1.0 and HTTP/1.1 are served, and other versions are refused with 505",
          ("--permit-unconventional-http-version",), **_SWITCH),
    Known("casefold_http_method", False,
          "methods are case-sensitive (RFC 9110 9.1), and one in small letters is refused with 501",
          ("--casefold-http-method",), **_SWITCH),
    Known("forwarder_headers", "SCRIPT_NAME,PATH_INFO"),
    Known("header_map", "drop"),
    _asgi("asgi_loop", "auto", "--asgi-loop", convert=values.choice,
          bounds=("auto", "asyncio", "uvloop")),
    _asgi("asgi_lifespan", "auto", "--asgi-lifespan", convert=values.choice,
          bounds=("auto", "on", "off")),
    _asgi("asgi_disconnect_grace_period", 3, "--asgi-disconnect-grace-period", **_number()),
    _asgi("websocket_max_message_size", 16777216, "--websocket-max-message-size", **_number()),
    Known("http_parser", "auto", "requests are parsed in C, by llhttp", ("--http-parser",),
          convert=values.choice, bounds=("auto", "fast", "python")),
    Known("root_path", "",
          "it belongs to ASGI; script_name says where a WSGI application is mounted",
          ("--root-path",), refused=True),
    _dirty("dirty_apps", [], "--dirty-app", convert=values.paths, many=True),
    _dirty("dirty_workers", 0, "--dirty-workers", **_number()),
    _dirty("dirty_timeout", 300, "--dirty-timeout", **_number()),
    _dirty("dirty_threads", 1, "--dirty-threads", **_number(1)),
    _dirty("dirty_graceful_timeout", 30, "--dirty-graceful-timeout", **_number()),
    _dirty("on_dirty_starting", None, convert=_anything),
    _dirty("dirty_post_fork", None, convert=_anything),
    _dirty("dirty_worker_init", None, convert=_anything),
    _dirty("dirty_worker_exit", None, convert=_anything),
    Known("control_socket", "", "there is no control socket; signals do what gunicornc does",
          ("--control-socket",)),
    Known("control_socket_mode", 0o600, "there is no control socket", ("--control-socket-mode",),
          convert=values.mode),
    Known("control_socket_disable", False, "there is no control socket", ("--no-control-socket",),
          **_SWITCH),
)

GUNICORN: MappingProxyType[str, Known] = MappingProxyType({item.name: item for item in _TABLE})
"""All settings of gunicorn by name, in gunicorn's order."""

OTHERS: MappingProxyType[str, Setting] = MappingProxyType(
    {item.name: item.setting for item in _TABLE if not item.honoured})
"""Those that fastwsgi does not have."""


def remarks(found: Mapping[str, tuple[Any, str]]) -> Iterator[str]:
    """Yield a notice for each harmless setting; ``found`` has values and origins by name.

    Raises ConfigError for one that is refused. gunicorn's default is accepted silently.
    """
    for name, (value, origin) in found.items():
        item = GUNICORN[name]
        if value == item.setting.read(item.default):
            continue
        if item.refused:
            raise ConfigError(f"{name} (from {origin}) is not supported: {item.text}")
        yield f"{name} (from {origin}) has no effect: {item.text}"
