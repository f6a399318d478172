"""The one table of settings.

The command line, the FASTWSGI_* variables, configuration files, ``--help``, ``--print-config`` and
the keywords of ``fastwsgi.run`` are all derived from ``SETTINGS``; nothing about a setting is said
anywhere else. Names and defaults are gunicorn's where gunicorn has the setting; a default that
differs says why. The kinds of values live in values.py, the units in which the core counts them in
units.py, the origins in sources.py.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

from fastwsgi.config import units, values
from fastwsgi.logs.format import DEFAULT


class Setting(NamedTuple):
    """One setting, everywhere it shows.

    ``flags`` are its command-line spellings (``MODULE:APP`` itself has none). ``convert`` makes a
    value of what an origin offers, within ``bounds``: the least and the most, or the words to
    choose from. ``const`` is the value of a flag that takes no argument; ``many`` lets a flag be
    repeated. ``fallbacks`` are customary variables that stand in for the default, as ``(variable,
    template)``. ``member`` is what the core calls it: a member of ``fw_config`` (csrc/fw.h), or
    something that the compiled worker keeps (_core/worker.pyx); it is counted in ``unit`` there.
    """

    name: str
    group: str
    flags: tuple[str, ...]
    default: object
    convert: values.Converter
    doc: str
    bounds: tuple[Any, ...] = ()
    metavar: str = ""
    const: object = None
    many: bool = False
    fallbacks: tuple[tuple[str, str], ...] = ()
    member: str = ""
    unit: Callable[..., object] = units.plain

    def read(self, value: object) -> object:
        """Return the value that is meant; raise ValueError as a converter does."""
        return self.convert(value, *self.bounds)

    def in_core(self, value: Any) -> object:
        """Return the value as the core's member holds it."""
        return self.unit(value, *self.bounds)

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"FASTWSGI_{self.name.upper()}"

    @property
    def spellings(self) -> tuple[str, ...]:
        """The names it may have in a file or as a keyword: its own, then those of its flags."""
        longs = (flag[2:].replace("-", "_") for flag in self.flags if flag.startswith("--"))
        return tuple(dict.fromkeys([self.name, *(name for name in longs if self.const is None)]))


_TABLE = (
    Setting(
        "wsgi_app", "application", (), "", values.text,
        "the WSGI application: an attribute of a module (APP may be dotted; left out it is "
        "'application'), or a call MODULE:make_app() of a factory",
        metavar="MODULE:APP"),
    Setting(
        "config", "application", ("-c", "--config"), "", values.text,
        "configuration file in Python, one NAME = VALUE per setting; without it "
        "./fastwsgi.conf.py is read if it exists",
        metavar="FILE"),

    Setting(
        "bind", "socket", ("-b", "--bind"), "127.0.0.1:8000", values.addresses,
        "address to listen on: HOST:PORT, [IPV6]:PORT, :PORT (all IPv4 interfaces), unix:PATH, "
        "unix:@NAME (Linux' abstract names) or fd://N (inherited); port 0 picks a free one. "
        "Repeat it for several. The default is reachable from this machine only; if $PORT is "
        "set, the default is 0.0.0.0:$PORT",
        metavar="ADDRESS", many=True, fallbacks=(("PORT", "0.0.0.0:{}"),)),
    Setting(
        "backlog", "socket", ("--backlog",), 2048, values.whole,
        "connections the kernel keeps waiting to be accepted; it cuts this to its own limit "
        "(net.core.somaxconn)",
        bounds=(1, 65535), metavar="N"),
    Setting(
        "reuse_port", "socket", ("--reuse-port",), False, values.switch,
        "set SO_REUSEPORT, so that another server that sets it too can listen on the same "
        "address; off, a second server is told that the address is in use",
        const=True),

    Setting(
        "workers", "processes", ("-w", "--workers"), 1, values.workers,
        "worker processes; 'auto' means one for each CPU this process may use, 0 serves in the "
        "calling process without a fork. If $WEB_CONCURRENCY is set, it is the default",
        metavar="N", fallbacks=(("WEB_CONCURRENCY", "{}"),)),
    Setting(
        "threads", "processes", ("--threads",), 1, values.whole,
        "application threads per worker. More cost a quick application nothing: one of them "
        "serves alone for as long as requests take less than about a millisecond, and the others "
        "step in when one blocks. Slow clients occupy none, because only complete requests reach "
        "them. With more than one the application must be thread-safe (wsgi.multithread)",
        bounds=(1, 1024), metavar="N", member="threads"),
    Setting(
        "worker_connections", "processes", ("--worker-connections",), 10000, values.whole,
        "connections one worker holds at the same time; see --overload for what comes after. "
        "Ten times gunicorn's default, because an idle connection is cheap here",
        bounds=(1, 1_000_000), metavar="N", member="max_connections"),
    Setting(
        "queue", "processes", ("--queue",), 0, values.whole,
        "complete requests that may wait for an application thread of a worker, 0 for no bound "
        "but --worker-connections; see --overload for what comes after",
        bounds=(0, 1_000_000), metavar="N", member="max_ready"),
    Setting(
        "worker_class", "processes", ("-k", "--worker-class"), "", values.worker_class,
        "accepted for gunicorn's sake: sync and gthread both mean fastwsgi's one kind of worker",
        metavar="CLASS"),
    Setting(
        "max_requests", "processes", ("--max-requests",), 0, values.whole,
        "requests after which a worker is replaced, 0 for never; it helps against memory that the "
        "application leaks. The replacement is ready before the worker finishes, one worker "
        "at a time; the count is looked at ten times a second, so a busy worker goes beyond it",
        bounds=(0, 1 << 53), metavar="N"),
    Setting(
        "max_requests_jitter", "processes", ("--max-requests-jitter",), 0, values.whole,
        "up to this many requests are added to --max-requests, at random for each worker, so that "
        "workers are replaced at different times",
        bounds=(0, 1 << 53), metavar="N"),
    Setting(
        "max_lifetime", "processes", ("--max-lifetime",), 0.0, values.seconds,
        "how long a worker serves before it is replaced in the same way, 0 for as long as it likes",
        metavar="SECONDS"),
    Setting(
        "max_rss", "processes", ("--max-rss",), 0, values.whole,
        "resident memory of a worker, in MiB, at which it is replaced in the same way, 0 for no "
        "limit. Below what a fresh worker takes it is not kept, and the log says so",
        bounds=(0, 1 << 30), metavar="MIB"),
    Setting(
        "preload_app", "processes", ("--preload",), False, values.switch,
        "import the application once, in a process that the workers are forked from, so that they "
        "share its memory; a reload imports it anew. It is imported as the user who starts the "
        "server, and threads and connections it opens then are not in the workers: open them in "
        "the hook post_fork",
        const=True),
    Setting(
        "preload_memory", "processes", ("--preload-memory",), "frozen", values.preload_memory,
        "how memory stays shared with --preload. 'frozen': the garbage collector leaves alone what "
        "the import made. 'immortal' (Python 3.12 and 3.13): its reference counts are not written "
        "either, so that pages stay shared however many requests use them; what the import made "
        "is never freed, and its finalisers and weak references' callbacks do not run. 'plain': "
        "nothing is done",
        bounds=("plain", "frozen", "immortal"), metavar="plain|frozen|immortal"),
    Setting(
        "cpu_affinity", "processes", ("--cpu-affinity",), False, values.pinning,
        "bind each worker to one CPU, in turn, among those this process may use (Linux). That "
        "helps when workers and CPUs are as many and nothing else runs there; otherwise it "
        "makes requests wait beside an idle CPU",
        const=True),
    Setting(
        "warmup", "processes", ("--warmup",), "", values.url_target,
        "path that is requested from the application before its worker counts as ready, as a "
        "client would request it: with --script-name in front. Answered with a status of 500 or "
        "more, the worker counts as failed, which keeps the old workers of a reload",
        metavar="PATH"),

    Setting(
        "timeout", "time", ("-t", "--timeout"), 30.0, values.seconds,
        "how long one request may be in the application; then the log shows where it is, it is "
        "interrupted (503), and if that does not help its worker is replaced. The time of a slow "
        "client does not count. A worker that serves nobody for as long, though requests wait and "
        "threads are free, is replaced too. 0 for no limit",
        metavar="SECONDS"),
    Setting(
        "keepalive", "time", ("--keep-alive",), 75.0, values.seconds,
        "how long an idle connection is kept for its next request, 0 to close after each "
        "response. Longer than the 60 s of "
        "usual load balancers, so that they close first and no request meets a closing "
        "connection (gunicorn's 2 s makes these 502s)",
        metavar="SECONDS", member="timeouts[FW_CLASS_KEEPALIVE]", unit=units.milliseconds),
    Setting(
        "header_timeout", "time", ("--header-timeout",), 30.0, values.seconds,
        "how long a client may take for the whole request head; then 408",
        bounds=(0.001,), metavar="SECONDS",
        member="timeouts[FW_CLASS_HEADER]", unit=units.milliseconds),
    Setting(
        "body_timeout", "time", ("--body-timeout",), 30.0, values.seconds,
        "how long a client may pause within a request body; then 408",
        bounds=(0.001,), metavar="SECONDS",
        member="timeouts[FW_CLASS_BODY]", unit=units.milliseconds),
    Setting(
        "write_timeout", "time", ("--write-timeout",), 60.0, values.seconds,
        "how long a client may take nothing of a waiting response; then the connection is closed",
        bounds=(0.001,), metavar="SECONDS",
        member="timeouts[FW_CLASS_WRITE]", unit=units.milliseconds),
    Setting(
        "graceful_timeout", "time", ("--graceful-timeout",), 30.0, values.seconds,
        "how long a stopping worker may finish its requests in flight; then they are cut",
        metavar="SECONDS", member="graceful_ms", unit=units.milliseconds),

    Setting(
        "limit_request_line", "limits", ("--limit-request-line",), 8190, values.whole,
        "bytes of a request line; a longer one is answered 414. 0 means the most, 1 MiB",
        bounds=(0, 1 << 20), metavar="BYTES", member="limit_line", unit=units.or_most),
    Setting(
        "limit_request_fields", "limits", ("--limit-request-fields",), 100, values.whole,
        "number of header fields; more are answered 431. 0 means the most, 32768",
        bounds=(0, 32768), metavar="N", member="limit_fields", unit=units.or_most),
    Setting(
        "limit_request_field_size", "limits",
        ("--limit-request-field_size", "--limit-request-field-size"), 8190,
        values.whole,
        "bytes of one header field; a longer one is answered 431. 0 means the most, 16 MiB",
        bounds=(0, 1 << 24), metavar="BYTES", member="limit_field_size", unit=units.or_most),
    Setting(
        "limit_request_header", "limits", ("--limit-request-header",), 65536, values.whole,
        "bytes of the whole header section; a longer one is answered 431. 0 means the most, 16 "
        "MiB: each connection may then take that much memory",
        bounds=(0, 1 << 24), metavar="BYTES", member="limit_header", unit=units.or_most),
    Setting(
        "limit_request_body", "limits", ("--limit-request-body",), 0, values.size,
        "bytes of a request body, 0 for no limit; a larger one is answered 413 without being "
        "read. Without a limit the disk of the temporary files is the limit",
        metavar="BYTES", member="limit_body"),
    Setting(
        "body_memory", "limits", ("--body-memory",), 1 << 20, values.size,
        "bytes of a request body that stay in memory; a larger body goes to a temporary file "
        "($TMPDIR), and is answered 507 if there is no room for one. Worker memory can grow by "
        "this much per connection, and by 32 KiB at least while a larger body arrives",
        metavar="BYTES", member="body_memory"),
    Setting(
        "response_memory", "limits", ("--response-memory",), 64 << 20, values.size,
        "bytes that the responses of a worker may have waiting for their clients, more or less: as "
        "their sum grows from a quarter to a half of this, each application is held back earlier, "
        "in the end after each block. 0 for no limit: 256 KiB for each connection",
        metavar="BYTES", member="response_memory"),
    Setting(
        "min_rate", "limits", ("--min-rate",), 0, values.whole,
        "bytes per second that a request head or body must arrive with on average, once it has "
        "taken --min-rate-grace, and that a client must take of a response that waits for it; a "
        "slower request is answered 408, a slower response cut off. 0 for none: the timeouts alone "
        "decide, and a byte now and then satisfies those",
        bounds=(0, 1_000_000_000), metavar="BYTES", member="min_rate"),
    Setting(
        "min_rate_grace", "limits", ("--min-rate-grace",), 5.0, values.seconds,
        "how long a request head or body may take, or a response wait for its client, before "
        "--min-rate is asked of it",
        metavar="SECONDS", member="min_rate_grace_ms", unit=units.milliseconds),
    Setting(
        "overload", "limits", ("--overload",), "wait", values.choice,
        "what meets a connection beyond --worker-connections, or a request beyond --queue: 'wait' "
        "lets new connections wait in the backlog, '503' answers so at once, with Retry-After",
        bounds=("wait", "503"), metavar="wait|503", member="overload_refuse", unit=units.position),

    Setting(
        "header_map", "proxy", ("--header-map",), "drop", values.choice,
        "header names with an underscore, which look like those with a hyphen once they are in "
        "the environ: 'drop' them, 'refuse' the request with 400, or 'dangerous': keep them",
        bounds=("drop", "refuse", "dangerous"), metavar="drop|refuse|dangerous",
        member="header_map", unit=units.position),
    Setting(
        "script_name", "proxy", ("--script-name",), "", values.mount,
        "path the application is mounted under: becomes SCRIPT_NAME and is removed from the "
        "front of PATH_INFO; a request for any other path is answered 404",
        metavar="PATH", member="script_name"),

    Setting(
        "accesslog", "log", ("--access-logfile",), "", values.text,
        "file of the access log, which has one line for each request; '-' is stdout, left out "
        "there is none. SIGUSR1 opens it anew after a rotation",
        metavar="FILE"),
    Setting(
        "access_log_format", "log", ("--access-logformat",), DEFAULT, values.access_format,
        "what a line of the access log tells, in gunicorn's atoms, or 'json' for an object per "
        "line; docs/logs.md lists both. What a client has sent is escaped",
        metavar="FORMAT"),
    Setting(
        "errorlog", "log", ("--error-logfile", "--log-file"), "-", values.text,
        "file of the error log, where the application's wsgi.errors goes too; '-' is stderr. "
        "SIGUSR1 opens it anew after a rotation",
        metavar="FILE"),
    Setting(
        "loglevel", "log", ("--log-level",), "info", values.choice,
        "least severity that is written: debug, info, warning, error or critical",
        bounds=("debug", "info", "warning", "error", "critical"), metavar="LEVEL"),

    Setting(
        "health_path", "metrics", ("--health-path",), "", values.url_path,
        "path that the worker answers itself with 200 'ok', even while every application thread "
        "is busy; 503 once it is stopping, so that a load balancer looks elsewhere",
        metavar="PATH", member="health", unit=units.octets),

    Setting(
        "chdir", "system", ("--chdir",), "", values.directory,
        "directory to change to before anything else is opened or imported; relative paths of "
        "other settings begin there",
        metavar="DIR"),
    Setting(
        "pythonpath", "system", ("--pythonpath",), (), values.paths,
        "directories to put in front of the import path, with commas between them",
        metavar="DIRS"),
    Setting(
        "raw_env", "system", ("-e", "--env"), (), values.environment,
        "environment variable for the application; repeat it for several",
        metavar="KEY=VALUE", many=True),
    Setting(
        "umask", "system", ("-m", "--umask"), None, values.mode,
        "umask of the workers and of unix sockets, in octal. Left out, workers keep that of the "
        "starting process and unix sockets are open to every local user, as a proxy under "
        "another account needs",
        metavar="MODE"),
    Setting(
        "user", "system", ("-u", "--user"), None, values.user,
        "user the workers change to; the master stays who it is, so this needs root",
        metavar="USER"),
    Setting(
        "group", "system", ("-g", "--group"), None, values.group,
        "group the workers change to; left out, it is the main group of --user, which a number "
        "without an account has not",
        metavar="GROUP"),
    Setting(
        "initgroups", "system", ("--initgroups",), False, values.switch,
        "give the workers all groups of --user; off, they have the one group only",
        const=True),
    Setting(
        "pidfile", "system", ("-p", "--pid"), "", values.text,
        "file for the master's process id; it is removed at the end, and a start is refused "
        "while the process it names runs",
        metavar="FILE"),
    Setting(
        "proc_name", "system", ("-n", "--name"), "", values.text,
        "name that ps(1) shows beside 'fastwsgi: master' and 'fastwsgi: worker', by default the "
        "application's. Titles need the setproctitle library (pip install fastwsgi[title]), and "
        "are cut to the length of the command line",
        metavar="NAME"),
    Setting(
        "daemon", "system", ("-D", "--daemon"), False, values.switch,
        "leave the terminal and go on in the background. The command returns when the server is "
        "ready, with 0, or has failed, with its exit code. stdin, stdout and stderr are gone "
        "then, so name a file for the error log; a service manager such as systemd does better "
        "without it",
        const=True),
    Setting(
        "sendfile", "system", ("--no-sendfile",), True, values.switch,
        "send files of wsgi.file_wrapper with sendfile(2); --no-sendfile reads them instead, for "
        "file systems that do sendfile wrongly",
        const=False, member="sendfile"),

    Setting(
        "reload", "development", ("--reload",), False, values.switch,
        "start the workers anew when a source file of an imported module changes; an application "
        "that does not import prints its traceback and is tried again after the next change. "
        "Requests wait in between, so this is for development",
        const=True),
    Setting(
        "reload_engine", "development", ("--reload-engine",), "auto", values.choice,
        "how --reload notices: 'poll' looks at the files twice a second, 'inotify' is told by the "
        "operating system through the watchfiles library (pip install fastwsgi[reload]), 'auto' "
        "takes the library when it is installed. Network file systems and mounts into virtual "
        "machines often tell nothing: poll there",
        bounds=("auto", "poll", "inotify"), metavar="auto|poll|inotify"),
    Setting(
        "reload_extra_files", "development", ("--reload-extra-file",), (), values.paths,
        "file for --reload to watch besides, such as a template; repeat it for several",
        metavar="FILE", many=True),
    Setting(
        "strict_wsgi", "development", ("--strict-wsgi",), False, values.switch,
        "report in the error log whatever the application does against PEP 3333, once for each "
        "source line. Responses stay as they are; a request costs several times the server's own "
        "work, which suits development and staging",
        const=True),
)

SETTINGS: MappingProxyType[str, Setting] = MappingProxyType({item.name: item for item in _TABLE})
"""All settings by name, in the order of ``--help``."""

GROUPS: tuple[str, ...] = tuple(dict.fromkeys(item.group for item in _TABLE))
"""The headings of ``--help``, in order."""

SPELLINGS: MappingProxyType[str, str] = MappingProxyType(
    {spelling: item.name for item in _TABLE for spelling in item.spellings})
"""Every name a setting may have in a file or as a keyword -> its canonical name."""
