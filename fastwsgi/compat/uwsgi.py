"""uWSGI's options by name: the setting that each is here, or what to do instead."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from fastwsgi.compat.commands import script
from fastwsgi.compat.draft import VARIABLE, Draft
from fastwsgi.compat.uwsgi_files import Pair
from fastwsgi.config.table import SETTINGS


class Option(NamedTuple):
    """What becomes of an option: a setting, advice, or neither if it is so anyway.

    ``kind`` says how the value is written there: a text, a number, seconds, a switch.
    """

    setting: str = ""
    advice: str = ""
    kind: str = "text"


def _all(advice: str, *names: str) -> dict[str, Option]:
    return {name: Option(advice=advice) for name in names}


_GREEN = ("green threads are not needed to hold connections; set threads to the number of requests "
          "that may wait at the same time")
_STATIC = "let a proxy or WhiteNoise serve static files"
_SERVICE = "give each process a service of its own (systemd, a container, a line of a Procfile)"
_CRON = "use cron, a systemd timer or the scheduler of a task queue"
_QUEUE = "use a task queue such as Celery, RQ or Dramatiq"
_CACHE = "use Redis or memcached"
_EMPEROR = "run one service per application, for example from a template unit of systemd"
_ROUTES = "let the proxy or the application route requests"
_HOOK = ("do it before the server starts, or in a hook of the configuration file (on_starting, "
         "post_fork)")
_FIXED = "the number of workers is fixed; TTIN and TTOU add and remove one"
_VENV = "start the fastwsgi of that environment: PATH/bin/fastwsgi"
_TOUCH = "send HUP to the master, which replaces workers one by one; reload = True in development"
_FORMAT = "logs have gunicorn's form; access_log_format changes that of the access log"
_METRICS = "what the server counts is shown by metrics of its own, where this version has them"
_ADDRESS = "max_rss replaces a worker by its resident memory, not by its address space"

OPTIONS: dict[str, Option] = {
    # settings
    "processes": Option("workers", kind="number"), "workers": Option("workers", kind="number"),
    "threads": Option("threads", kind="number"), "listen": Option("backlog", kind="number"),
    "uid": Option("user"), "gid": Option("group"), "chdir": Option("chdir"),
    "pythonpath": Option("pythonpath"), "python-path": Option("pythonpath"),
    "pp": Option("pythonpath"), "env": Option("raw_env"), "umask": Option("umask"),
    "harakiri": Option("timeout", kind="number"),
    "max-requests": Option("max_requests", kind="number"),
    "max-requests-delta": Option("max_requests_jitter", kind="number"),
    "max-worker-lifetime": Option("max_lifetime", kind="number"),
    "reload-on-rss": Option("max_rss", kind="number"),
    "evil-reload-on-rss": Option("max_rss", kind="number"),
    "worker-reload-mercy": Option("graceful_timeout", kind="number"),
    "reload-mercy": Option("graceful_timeout", kind="number"),
    "limit-post": Option("limit_request_body", kind="number"),
    "so-send-timeout": Option("write_timeout", kind="number"),
    "pidfile": Option("pidfile"), "safe-pidfile": Option("pidfile"),
    "procname": Option("proc_name"), "procname-prefix": Option("proc_name"),
    "procname-prefix-spaced": Option("proc_name"),
    "cpu-affinity": Option("cpu_affinity", kind="switch"),
    "reuse-port": Option("reuse_port", kind="switch"),
    "py-autoreload": Option("reload", kind="switch"),
    "python-autoreload": Option("reload", kind="switch"),
    "py-auto-reload": Option("reload", kind="switch"),
    "python-auto-reload": Option("reload", kind="switch"),
    "enable-proxy-protocol": Option("proxy_protocol", kind="switch"),
    "http-enable-proxy-protocol": Option("proxy_protocol", kind="switch"),
    "static-map": Option("static", _STATIC), "static-map2": Option("static", _STATIC),
    "log-slow": Option("slow_request", "the log shows a request that has reached timeout",
                       kind="milliseconds"),
    # so without any
    **{name: Option() for name in (
        "master", "vacuum", "die-on-term", "need-app", "strict", "single-interpreter",
        "thunder-lock", "enable-threads", "lazy-apps", "lazy", "auto-procname", "no-orphans",
        "close-on-exec", "disable-write-exception", "ignore-sigpipe", "ignore-write-errors",
        "post-buffering", "post-buffering-bufsize", "plugin", "plugins", "plugins-dir",
        "plugin-dir", "need-plugin", "offload-threads", "http-keepalive", "so-keepalive",
        "http-auto-chunked", "http11-auto-chunked", "http-chunked-input",
        "tcp-nodelay", "manage-script-name", "ignore-script-name", "harakiri-verbose",
        "log-master", "logformat-strftime", "log-date", "log-zero", "log-micros", "log-prefix",
        "log-5xx", "log-4xx", "wsgi-env-behavior", "wsgi-env-behaviour", "py-call-osafterfork",
        "show-config", "no-default-app", "http-raw-body", "lock-engine", "exit-on-reload",
        "procname-master", "http-processes", "http-workers", "log-buffering", "py-programname",
        "no-fd-passing", "abstract-socket", "disable-logging", "protocol", "callable",
        "set-placeholder", "set-ph", "set", "declare-option", "http-modifier1",
        "log-master-bufsize", "http-websockets", "harakiri-no-arh", "honour-range",
    )},
    # advice
    **_all(_VENV, "home", "virtualenv", "venv", "pyhome"),
    **_all(_GREEN, "gevent", "gevent-monkey-patch", "gevent-early-monkey-patch",
           "gevent-wait-for-hub", "async", "ugreen", "greenlet", "asyncio", "coroae", "loop"),
    **_all(_STATIC, "check-static", "check-static-docroot", "static-index", "static-expires",
           "static-expires-uri", "static-expires-type", "static-gzip", "static-gzip-all",
           "static-gzip-dir", "static-gzip-prefix", "static-skip-ext", "static-safe",
           "static-cache-paths", "docroot", "file-serve-mode", "static-expires-mtime", "mimefile"),
    **_all(_SERVICE, "attach-daemon", "attach-daemon2", "smart-attach-daemon", "mule", "mules",
           "farm", "legion-attach-daemon", "smart-attach-daemon2", "zerg", "zerg-server"),
    **_all(_CRON, "cron", "cron2", "unique-cron", "legion-cron", "timer"),
    **_all(_QUEUE, "spooler", "spooler-processes", "spooler-frequency", "spooler-import",
           "spooler-external", "spooler-max-tasks", "spooler-harakiri"),
    **_all(_CACHE, "cache", "cache2", "cache-blocksize", "cache-store", "queue", "sharedarea",
           "locks"),
    **_all(_EMPEROR, "emperor", "vassals-include", "vassal-set", "vassal-sos", "fastrouter",
           "subscribe-to", "subscribe", "http-subscription-server", "emperor-tyrant"),
    **_all(_ROUTES, "route", "route-host", "route-if", "route-run", "response-route",
           "final-route", "error-route", "route-uri", "error-page-404", "error-page-500"),
    **_all(_HOOK, "exec-pre-jail", "exec-post-jail", "exec-pre-app", "exec-as-root",
           "exec-as-user", "exec-asap", "exec-pre", "hook-asap", "hook-pre-app", "hook-post-app",
           "hook-as-user", "hook-post-fork", "hook-as-root", "hook-pre-jail", "exec-post-app",
           "hook-accepting1", "hook-as-user-atexit"),
    **_all(_FIXED, "cheap", "cheaper", "cheaper-initial", "cheaper-step", "cheaper-algo",
           "cheaper-overload", "cheaper-busyness-multiplier", "cheaper-busyness-min",
           "cheaper-busyness-max", "cheaper-busyness-backlog-alert", "cheaper-rss-limit-soft",
           "cheaper-rss-limit-hard", "idle", "die-on-idle"),
    **_all(_TOUCH, "touch-reload", "touch-chain-reload", "touch-workers-reload", "fs-reload",
           "master-fifo", "reload-os-env"),
    **_all(_FORMAT, "log-encoder", "log-req-encoder", "log-route", "log-req-route", "log-syslog",
           "log-socket", "log-backupname"),
    **_all(_METRICS, "stats", "stats-server", "stats-http", "stats-push", "memory-report",
           "carbon", "metric", "enable-metrics", "snmp", "metrics-dir", "statsd"),
    **_all(_ADDRESS, "reload-on-as", "evil-reload-on-as", "limit-as"),
    "import": Option(advice="import it in the module of the application"),
    "python-import": Option(advice="import it in the module of the application"),
    "shared-import": Option(advice="import it in the module of the application"),
    "spooler-python-import": Option(advice=_QUEUE),
    "add-header": Option(advice="let the application, a middleware or the proxy add fields"),
    "del-header": Option(advice="let the proxy remove fields"),
    "chown-socket": Option(advice="put the socket into a directory of the proxy's group, or let "
                                  "systemd open it (SocketUser=, SocketGroup=)"),
    "fastcgi-socket": Option(advice="bind speaks HTTP and the uwsgi protocol; use one of them"),
    "scgi-socket": Option(advice="bind speaks HTTP and the uwsgi protocol; use one of them"),
    "http-timeout": Option(advice="header_timeout, body_timeout and write_timeout limit a slow "
                                  "client, timeout the application"),
    "http-connect-timeout": Option(advice="there is no router between clients and workers"),
    "http-to-https": Option(advice="let the application or a proxy redirect"),
    "http-to": Option(advice="there is no router between clients and workers"),
    "http-auto-gzip": Option(advice="let a proxy compress"),
    "http-headers-timeout": Option("header_timeout", kind="number"),
    "log-maxsize": Option(advice="rotate with logrotate and SIGUSR1"),
    "log-reopen": Option(advice="SIGUSR1 reopens the logs"),
    "touch-logreopen": Option(advice="SIGUSR1 reopens the logs"),
    "touch-logrotate": Option(advice="rotate with logrotate and SIGUSR1"),
    "log-x-forwarded-for": Option(advice="forwarded_follow = ['scheme', 'address'], with the "
                                         "proxy's address in forwarded_allow_ips"),
    "max-fd": Option(advice="set it for the service: LimitNOFILE= of systemd, ulimit -n"),
    "reaper": Option(advice="let the container have an init (docker run --init)"),
    "py-tracebacker": Option(advice="the log shows where a request is that has reached timeout"),
    "python-tracebacker": Option(advice="the log shows where a request is that has reached "
                                        "timeout"),
    "catch-exceptions": Option(advice="tracebacks are in the error log"),
    "min-worker-lifetime": Option(advice="a limit that a fresh worker exceeds is ignored"),
    "profiler": Option(advice="run with workers = 0 under a profiler"),
    "cgroup": Option(advice="let the service manager do it"),
    "disable-gc": Option(advice="call gc.disable() in post_fork"),
    "numa-fork": Option(advice="start one server per node with numactl"),
    "pyargv": Option(advice="pass it by raw_env or by a factory: MODULE:make_app('VALUE')"),
    "http-socket-modifier1": Option(advice="only WSGI is served"),
    "php": Option(advice="only WSGI is served"), "cgi": Option(advice="only WSGI is served"),
    "paste": Option("paste"), "ini-paste": Option("paste"), "ini-paste-logged": Option("paste"),
    "include": Option(advice="run fastwsgi migrate on that file, too"),
    "buffer-size": Option(kind="number"), "socket-timeout": Option(kind="number"),
}

SPECIAL = ("module", "wsgi", "wsgi-file", "file", "mount", "socket", "uwsgi-socket", "http",
           "http-socket", "http11-socket", "https", "https-socket", "chmod-socket", "buffer-size",
           "socket-timeout", "logto", "logto2", "daemonize", "daemonize2", "req-logger",
           "logger-req", "logger", "log-format", "logformat", "hook-master-start", "test")
"""Options that need a function of their own."""

_WITH_VALUE = (
    "callable", "protocol", "plugin", "plugins", "plugins-dir", "plugin-dir", "need-plugin",
    "post-buffering", "offload-threads", "set-placeholder", "set-ph", "set", "log-date",
    "log-prefix", "http-processes", "http-workers", "lock-engine", "wsgi-env-behavior",
    "wsgi-env-behaviour", "py-programname", "log-buffering", "post-buffering-bufsize",
    "procname-master", "http-keepalive", "declare-option", "http-modifier1")

WITHOUT_VALUE = (
    *(name for name, option in OPTIONS.items()
      if option.kind == "switch" or (option == Option() and name not in _WITH_VALUE)),
    "memory-report", "cheap", "die-on-idle", "reaper", "gevent-monkey-patch", "check-static",
    "log-x-forwarded-for", "catch-exceptions")
"""Options that take no value on the command line."""

_FALSE = ("false", "0", "no", "off")


def options(draft: Draft, pairs: Iterable[Pair]) -> None:
    """Take the options of uWSGI."""
    waiting = list(pairs)
    given: dict[str, str] = {}
    for pair in waiting:
        if pair.name in ("set-placeholder", "set-ph", "set"):
            name, _, value = pair.value.partition("=")
            given[name.strip()] = value.strip()
        else:
            given.setdefault(pair.name, pair.value)
    waiting = [pair._replace(value=_filled(pair.value, given)) for pair in waiting
               if pair.name not in ("set-placeholder", "set-ph", "set")]
    given.update({pair.name: pair.value for pair in waiting if not pair.condition})
    first = [pair for pair in waiting if pair.name == "chdir"]  # paths depend on it
    for pair in [*first, *(pair for pair in waiting if pair.name != "chdir")]:
        _take(draft, pair, given)
    _finish(draft, given)


def _filled(value: str, given: dict[str, str]) -> str:
    """Put in the values of other options, where they are named as ``%(name)``."""
    for _ in range(4):
        filled = re.sub(r"%\((\w[\w-]*)\)", lambda found: given.get(found[1], found[0]), value)
        if filled == value or len(filled) > 4096:
            break
        value = filled
    return value


def _take(draft: Draft, pair: Pair, given: dict[str, str]) -> None:
    name = pair.name.lstrip("-").replace("_", "-")
    origin = f"{pair.name} = {pair.value}" if pair.value else pair.name
    if pair.condition:
        draft.note(origin, f"holds only {pair.condition}: a configuration file can say it in "
                           "Python, if \"NAME\" in os.environ: ...")
        return
    if not name:
        draft.note(pair.value, "not an option of uWSGI")
    elif name in SPECIAL:
        _special(draft, name, pair.value, origin, given)
    elif (option := OPTIONS.get(name)) is None:
        _unknown(draft, name, origin)
    elif option.setting in SETTINGS:
        _set(draft, option, pair.value, origin)
    elif option.advice:
        if pair.value.lower() not in _FALSE:
            draft.note(origin, option.advice)
    elif name not in ("callable", "protocol", "disable-logging"):
        draft.fine(name)


def _unknown(draft: Draft, name: str, origin: str) -> None:
    import difflib  # only to complain

    close = difflib.get_close_matches(name, [*OPTIONS, *SPECIAL], 1, 0.8)
    draft.note(origin, f"not known to fastwsgi migrate; did you mean {close[0]}?" if close
               else "not known to fastwsgi migrate")


def _set(draft: Draft, option: Option, text: str, origin: str) -> None:
    value: object = text
    if option.kind in ("number", "milliseconds"):
        value = _number(text)
        if option.kind == "milliseconds" and isinstance(value, int):
            value /= 1000
    elif option.kind == "switch":
        if text.lower() in _FALSE:
            return
        value = {"proxy_protocol": "auto"}.get(option.setting, True)
    elif option.setting == "raw_env" and "=" not in text:
        draft.note(origin, "is taken from the environment of the server anyway")
        return
    elif option.setting in ("user", "group") and text.isdigit():
        value = int(text)
    elif option.setting == "proc_name":
        value = text.strip()
    draft.add(option.setting, value, origin)


def _number(text: str) -> object:
    """Return the number at the beginning of a text, as uWSGI reads it."""
    found = re.match(r"\s*(\d{1,15})", text)
    if VARIABLE.search(text) or found is None:
        return text.strip()
    return int(found[1])


def _special(draft: Draft, name: str, value: str, origin: str, given: dict[str, str]) -> None:
    if name in ("module", "wsgi"):
        attribute = given.get("callable", "application")
        draft.set("wsgi_app", value if ":" in value else f"{value}:{attribute}", origin)
    elif name in ("wsgi-file", "file"):
        script(draft, value, given.get("callable", "application"), origin)
    elif name == "mount":
        _mount(draft, value, origin, given)
    elif name in ("https", "https-socket"):
        _https(draft, value, origin)
    elif name in ("socket", "uwsgi-socket", "http", "http-socket", "http11-socket"):
        speaks_http = name.startswith("http") or (
            name == "socket" and given.get("protocol", "").startswith("http"))
        draft.add("bind", _address(value, "http" if speaks_http else "uwsgi"), origin)
    elif name == "chmod-socket":
        mode = value.split(";")[0].split("#")[0].strip()
        if mode and mode[-1] in "67":
            draft.fine(name)
        else:
            draft.note(origin, "sockets are open to every local user, so that a proxy under "
                               "another account can connect; umask restricts them, and all other "
                               "files of the server")
    elif name == "buffer-size":
        _buffer(draft, _number(value), origin)
    elif name == "socket-timeout":
        for setting in ("body_timeout", "write_timeout"):
            draft.set(setting, _number(value), origin)
    elif name == "hook-master-start" and "gracefully_kill_them_all" in value:
        draft.fine(name)
    elif name == "hook-master-start":
        draft.note(origin, _HOOK)
    else:
        _logs(draft, name, value, origin)


def _address(value: str, scheme: str) -> str:
    """Return an address as ``bind`` has it."""
    place = value.strip()
    named = place.startswith(("fd://", "unix:", "\0"))
    if place.startswith("@") or (not named and ("/" in place or ":" not in place)):
        place = f"unix:{place}"
    elif place.startswith("*:"):
        place = place[1:]
    return f"{scheme}://{place}" if scheme == "uwsgi" or "https" in scheme else place


def _https(draft: Draft, value: str, origin: str) -> None:
    place, *files = value.split(",")
    for setting, file in zip(("certfile", "keyfile"), files, strict=False):
        draft.add(setting, file, origin)
    draft.add("bind", _address(place, "https"), origin)
    for setting, text in zip(("ciphers", "ca_certs"), files[2:], strict=False):
        if text:
            draft.set(setting, text.lstrip("!"), origin)
    if len(files) > 3 and files[3].startswith("!"):
        draft.set("cert_reqs", "required", origin)


def _mount(draft: Draft, value: str, origin: str, given: dict[str, str]) -> None:
    prefix, _, target = value.partition("=")
    attribute = given.get("callable", "application")
    if target.endswith(".py"):
        target = target.removesuffix(".py").strip("/").replace("/", ".")
    target = target if ":" in target else f"{target}:{attribute}"
    if prefix in ("", "/"):
        draft.set("wsgi_app", target, origin)
    elif "mount" in SETTINGS:
        draft.add("mount", f"{prefix}={target}", origin)
    else:
        draft.set("wsgi_app", target, origin)
        draft.set("script_name", prefix, origin)


def _buffer(draft: Draft, size: object, origin: str) -> None:
    """Take the size of a whole request head: one field may be as large as all of it."""
    if not isinstance(size, int):
        draft.note(origin, "limit_request_header is the size of a header section, 65536 by default")
        return
    if size > 8190:
        draft.set("limit_request_line", size, origin)
        draft.set("limit_request_field_size", size, origin)
    else:
        draft.fine("buffer-size")
    if size > 65536:
        draft.set("limit_request_header", size, origin)


_ATOMS = {"method": "%(m)s", "uri": "%(U)s", "path": "%(U)s", "status": "%(s)s", "proto": "%(H)s",
          "addr": "%(h)s", "user": "%(u)s", "size": "%(B)s", "rsize": "%(B)s", "secs": "%(T)s",
          "msecs": "%(M)s", "micros": "%(D)s", "ltime": "%(t)s", "ctime": "%(t)s", "time": "%(t)s",
          "ftime": "%(t)s", "pid": "%(p)s", "referer": "%(f)s", "uagent": "%(a)s",
          "host": "%({host}i)s", "cl": "%({content-length}i)s"}


def _logs(draft: Draft, name: str, value: str, origin: str) -> None:
    if name in ("log-format", "logformat"):
        form = re.sub(r"%\((\w[\w.]*)\)", lambda found: _ATOMS.get(found[1], "-"), value)
        draft.set("access_log_format", form, origin)
        return
    if name in ("logger", "req-logger", "logger-req"):
        kind, colon, path = value.rpartition(" ")[2].partition(":")
        if kind == "stdio" or (kind != "file" and not colon and "/" not in kind):
            draft.fine(name)
        elif kind == "file" and path:
            draft.set("accesslog" if name != "logger" else "errorlog", path, origin)
        elif kind in ("syslog", "rsyslog") and "syslog" in SETTINGS:
            draft.set("syslog", True, origin)
        else:
            draft.note(origin, "logs go to files, stdout or stderr")
        return
    if name.startswith("daemonize"):
        draft.set("daemon", True, origin)
    if value and "@" not in value:
        draft.set("errorlog", value, origin)


def _finish(draft: Draft, given: dict[str, str]) -> None:
    """Say what differs although no option is about it."""
    if given.get("disable-logging", "false" if "disable-logging" not in given else "true") in (
            *_FALSE,):
        if draft.value("accesslog") is None:
            log = draft.value("errorlog")
            draft.set("accesslog", log if log not in (None, "-") else "-",
                      "uWSGI logs requests by default")
    else:
        draft.fine("disable-logging")
    if not {"harakiri"} & set(given):
        draft.note("no harakiri", "uWSGI has no limit then; here a request may take 30 seconds, "
                                  "and timeout = 0 means no limit")
    if not {"lazy-apps", "lazy"} & set(given):
        draft.note("no lazy-apps", "uWSGI imports the application before it forks; preload_app = "
                                   "True does that here, and shares memory")
    if draft.value("bind") is not None and any(
            "uwsgi://" in str(value) for value, _ in draft.settings["bind"]):
        draft.note("socket", "the uwsgi protocol is spoken there, as nginx's uwsgi_pass needs it; "
                             "over HTTP (proxy_pass) a proxy can keep its connections")
