"""The command lines of waitress and mod_wsgi-express, and gunicorn's, as a draft."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from fastwsgi.compat.draft import Draft
from fastwsgi.config.table import SETTINGS
from fastwsgi.errors import ConfigError

Parse = Callable[[Sequence[str]], dict[str, Any]]
"""The reader of our own command line, which knows all of gunicorn's flags."""


class Way(NamedTuple):
    """What becomes of an option.

    ``setting`` is the setting that it is here. Without one ``text`` says what to do; without that
    it is not needed. ``takes`` is the number of words that follow it, and ``fixed`` the value of
    one that none follows.
    """

    setting: str = ""
    text: str = ""
    takes: int = 1
    fixed: Any = None


def gunicorn(draft: Draft, arguments: Sequence[str], parse: Parse) -> None:
    """Take a command line of gunicorn."""
    words = list(arguments)
    while True:
        try:
            found = parse(words)
            break
        except ConfigError as error:
            if not _left_out(draft, words, str(error)):
                draft.note("the command line", str(error))
                return
    for name, value in found.items():
        flags = SETTINGS[name].flags if name in SETTINGS else ()
        for item in value if isinstance(value, list) else [value]:
            origin = flags[-1] if flags else f"--{name.replace('_', '-')}"
            draft.from_gunicorn(name, item, "the command line" if name == "wsgi_app" else origin)


def _left_out(draft: Draft, words: list[str], error: str) -> bool:
    """Leave out the word that an error of our own command line is about, and note it."""
    if unknown := re.match(r"unknown option ([^\s;]+)", error):
        place = next((at for at, word in enumerate(words)
                      if word.partition("=")[0] == unknown[1]), None)
        if place is None:
            return False
        gone = [words.pop(place)]
        if "=" not in gone[0] and place < len(words) - 1 and not words[place].startswith("-"):
            gone.append(words.pop(place))
        draft.note(" ".join(gone), "gunicorn has no such option")
        return True
    extra = re.search(r"got another argument: (.*)$", error)
    place = next((at for at, word in enumerate(words) if extra and repr(word) == extra[1]), None)
    if place is None:
        return False
    draft.note(words.pop(place), "one application is served")
    return True


def options(arguments: Sequence[str], ways: dict[str, Way]) -> Iterator[tuple[str, list[str]]]:
    """Yield options by name with the words that belong to them, and '' with each other word."""
    words = list(arguments)
    while words:
        word = words.pop(0)
        if not word.startswith("--") or word == "--":
            yield "", [word]
            continue
        name, equals, value = word[2:].partition("=")
        way = ways.get(name)
        takes = way.takes if way is not None else int(
            bool(words) and not words[0].startswith("-") and len(words) > 1)
        values = [value] if equals else []
        while len(values) < takes and words:
            values.append(words.pop(0))
        yield name, values


def follow(draft: Draft, name: str, values: list[str], ways: dict[str, Way]) -> None:
    """Do with an option what the table says."""
    origin = " ".join([f"--{name}", *values])
    way = ways.get(name)
    if way is None:
        draft.note(origin, "not known to fastwsgi migrate")
    elif len(values) < way.takes:
        draft.note(origin, "a value is missing")
    elif way.setting and way.setting in SETTINGS:
        draft.add(way.setting, values[0] if way.takes else way.fixed, origin)
    elif way.text or way.setting:
        draft.note(origin, way.text or f"{way.setting} is not there in this version")
    else:
        draft.fine(f"--{name}")


# -- waitress -----------------------------------------------------------------------------------

_TUNING = Way()
WAITRESS: dict[str, Way] = {
    "threads": Way("threads"), "connection-limit": Way("worker_connections"),
    "backlog": Way("backlog"), "url-prefix": Way("script_name"),
    "channel-timeout": Way("keepalive"), "trusted-proxy": Way("forwarded_allow_ips"),
    "max-request-header-size": Way("limit_request_header"),
    "max-request-body-size": Way("limit_request_body"), "inbuf-overflow": Way("body_memory"),
    "url-scheme": Way(text="name the proxy with forwarded_allow_ips, and let it send "
                           "X-Forwarded-Proto"),
    "trusted-proxy-count": Way(text="proxies are told by address: name all of them in "
                                    "forwarded_allow_ips"),
    "ident": Way(text="there is no field Server; let the proxy add it"),
    "unix-socket-perms": Way(text="sockets are open to every local user; umask is for all files of "
                                  "the server"),
    "expose-tracebacks": Way(text="tracebacks are in the error log", takes=0),
    "no-expose-tracebacks": Way(takes=0), "clear-untrusted-proxy-headers": Way(takes=0),
    "no-clear-untrusted-proxy-headers": Way(takes=0), "log-socket-errors": Way(takes=0),
    "no-log-socket-errors": Way(takes=0), "log-untrusted-proxy-headers": Way(takes=0),
    "asyncore-use-poll": Way(takes=0), "no-asyncore-use-poll": Way(takes=0),
    "recv-bytes": _TUNING, "send-bytes": _TUNING, "outbuf-overflow": _TUNING,
    "outbuf-high-watermark": _TUNING, "cleanup-interval": _TUNING,
    "asyncore-loop-timeout": _TUNING, "channel-request-lookahead": _TUNING,
    "ipv4": Way(takes=0), "ipv6": Way(takes=0), "no-ipv4": Way(takes=0), "no-ipv6": Way(takes=0),
    "host": Way(), "port": Way(), "listen": Way(), "unix-socket": Way(), "call": Way(takes=0),
    "app": Way(), "trusted-proxy-headers": Way(), "help": Way(takes=0),
}
_FOLLOWED = {"x-forwarded-for": "address", "x-forwarded-host": "host", "x-forwarded-port": "port",
             "x-forwarded-proto": "scheme", "x-forwarded-by": ""}


def waitress(draft: Draft, arguments: Sequence[str]) -> None:
    """Take a command line of waitress-serve."""
    host, port, call, target = "", "", False, ""
    places: list[str] = []
    for name, values in options(arguments, WAITRESS):
        value = values[0] if values else ""
        if name in ("", "app"):
            target = value
        elif name == "host":
            host = value
        elif name == "port":
            port = value
        elif name == "listen":
            places += [place.replace("*:", "0.0.0.0:") for place in value.split()]
        elif name == "unix-socket":
            places.append(f"unix:{value}")
        elif name == "call":
            call = True
        elif name == "trusted-proxy-headers":
            words = re.split(r"[\s,]+", value.strip().lower())
            if "forwarded" in words:
                words = list(_FOLLOWED)
            draft.set("forwarded_follow", [_FOLLOWED[word] for word in words
                                           if _FOLLOWED.get(word)], f"--{name}")
        else:
            follow(draft, name, values, WAITRESS)
    if target:
        draft.set("wsgi_app", f"{target}()" if call else target, "the command line")
    if host or port or not places:
        places.insert(0, f"{host or '0.0.0.0'}:{port or '8080'}")
    for place in places:
        draft.add("bind", place, "--listen" if not (host or port) else "--host, --port")
    if draft.value("threads") is None:
        draft.set("threads", 4, "waitress's default")
    if draft.value("forwarded_allow_ips") is None:
        draft.note("trusted_proxy", "waitress trusts nobody by default; here it is this machine: "
                                    "forwarded_allow_ips = [] trusts nobody")


# -- mod_wsgi -----------------------------------------------------------------------------------

_APACHE = "it is about Apache; a proxy in front of this server does that"
_STATIC = "let a proxy or WhiteNoise serve static files"
MOD_WSGI: dict[str, Way] = {
    "processes": Way("workers"), "threads": Way("threads"), "user": Way("user"),
    "group": Way("group"), "working-directory": Way("chdir"), "python-path": Way("pythonpath"),
    "request-timeout": Way("timeout"), "shutdown-timeout": Way("graceful_timeout"),
    "graceful-timeout": Way("graceful_timeout"), "maximum-requests": Way("max_requests"),
    "restart-interval": Way("max_lifetime"), "limit-request-body": Way("limit_request_body"),
    "keep-alive-timeout": Way("keepalive"), "mount-point": Way("script_name"),
    "ssl-certificate-file": Way("certfile"), "ssl-certificate-key-file": Way("keyfile"),
    "ssl-ca-certificate-file": Way("ca_certs"), "trust-proxy": Way("forwarded_allow_ips"),
    "backlog": Way("backlog"), "listener-backlog": Way("backlog"),
    "header-timeout": Way("header_timeout"), "body-timeout": Way("body_timeout"),
    "header-max-timeout": Way("header_timeout"), "socket-timeout": Way("write_timeout"),
    "log-level": Way("loglevel"), "reload-on-changes": Way("reload", takes=0, fixed=True),
    "access-log": Way("accesslog", takes=0, fixed="-"),
    "log-to-terminal": Way("errorlog", takes=0, fixed="-"),
    "max-clients": Way("worker_connections"),
    "https-only": Way(text="let a proxy send plain requests on", takes=0),
    "server-name": Way(text="all names are served; let a proxy refuse others"),
    "server-alias": Way(text="all names are served"),
    "server-root": Way(), "startup-log": Way(takes=0), "rotate-logs": Way(
        text="rotate with logrotate and SIGUSR1", takes=0),
    "access-log-format": Way("access_log_format"), "access-log-name": Way(
        text="name the file in accesslog"), "error-log-name": Way(text="name the file in errorlog"),
    "log-directory": Way(text="name the files in errorlog and accesslog"),
    "url-alias": Way(text=_STATIC, takes=2), "document-root": Way(text=_STATIC),
    "directory-index": Way(text=_STATIC), "allow-localhost": Way(takes=0),
    "compress-responses": Way(text="let a proxy compress", takes=0),
    "include-file": Way(text=_APACHE), "with-cgi": Way(text=_APACHE, takes=0),
    "enable-gdb": Way(takes=0), "enable-debugger": Way(
        text="run with workers = 0 under a debugger", takes=0),
    "enable-coverage": Way(takes=0), "enable-profiler": Way(takes=0),
    "queue-timeout": Way(text="queue_target says how long a request may wait for a thread"),
    "connect-timeout": Way(), "deadlock-timeout": Way(text="timeout replaces a worker that hangs"),
    "inactivity-timeout": Way(), "eviction-timeout": Way(), "ssl-certificate-chain-file": Way(
        text="append it to the certificate in certfile"), "ssl-certificate": Way(
        text="certfile and keyfile are PATH.crt and PATH.key"),
    "initial-workers": Way(), "minimum-spare-workers": Way(), "maximum-spare-workers": Way(),
    "send-buffer-size": Way(), "receive-buffer-size": Way(), "response-buffer-size": Way(),
    "lang": Way(text="set it with raw_env"), "locale": Way(text="set LANG with raw_env"),
    "envvars-script": Way(text="load it before the server starts"), "setenv": Way(takes=2),
    "disable-reloading": Way(takes=0), "keep-alive": Way(), "initgroups": Way(
        "initgroups", takes=0, fixed=True),
    "host": Way(), "port": Way(), "https-port": Way(), "callable-object": Way(),
    "application-type": Way(), "entry-point": Way(), "trust-proxy-header": Way(),
    "debug-mode": Way(text="run with workers = 0", takes=0),
}
_TRUSTED = {"X-Forwarded-For": "address", "X-Client-IP": "address", "X-Real-IP": "address",
            "X-Forwarded-Host": "host", "X-Forwarded-Port": "port", "X-Forwarded-Proto": "scheme",
            "X-Forwarded-Scheme": "scheme", "X-Forwarded-Script-Name": "prefix"}


def mod_wsgi(draft: Draft, arguments: Sequence[str]) -> None:
    """Take a command line of mod_wsgi-express start-server."""
    given = {"callable-object": "application", "application-type": "script", "host": "0.0.0.0"}
    targets: list[str] = []
    follows: list[str] = []
    words = [word for word in arguments if word != "start-server"]
    for name, values in options(words, MOD_WSGI):
        value = values[0] if values else ""
        if not name:
            targets.append(value)
        elif name == "setenv" and len(values) == 2:
            draft.add("raw_env", "=".join(values), "--setenv")
        elif name == "url-alias" and len(values) == 2 and "static" in SETTINGS:
            draft.add("static", "=".join(values), "--url-alias")
        elif name == "trust-proxy-header":
            follows += [_TRUSTED[value]] if value in _TRUSTED else []
        elif name in ("host", "port", "https-port", "callable-object", "application-type",
                      "entry-point"):
            given[name] = value
        else:
            follow(draft, name, values, MOD_WSGI)
    if follows:
        draft.set("forwarded_follow", list(dict.fromkeys(follows)), "--trust-proxy-header")
    if target := given.get("entry-point") or "".join(targets[:1]):
        _target_of_mod_wsgi(draft, target, given)
    secure = draft.value("certfile") is not None
    draft.add("bind", ("http://" if secure else "") + f"{given['host']}:{given.get('port', 8000)}",
              "--port")
    if secure and "https-port" in given:
        draft.add("bind", f"https://{given['host']}:{given['https-port']}", "--https-port")
    if draft.value("threads") is None:
        draft.set("threads", 5, "mod_wsgi's default")


def _target_of_mod_wsgi(draft: Draft, target: str, given: dict[str, str]) -> None:
    kind = given["application-type"]
    if kind == "paste":
        draft.set("paste", target, "--application-type paste")
    elif kind == "module":
        draft.set("wsgi_app", f"{target}:{given['callable-object']}", "the command line")
    elif kind == "script":
        script(draft, target, given["callable-object"], "the command line")
    else:
        draft.note(f"--application-type {kind}", _STATIC)


def script(draft: Draft, path: str, attribute: str, origin: str) -> None:
    """Take an application that is named by its file."""
    folder, file = os.path.split(os.path.normpath(path))
    base = str(draft.value("chdir") or "")
    if folder and base and os.path.isabs(folder):
        inside = os.path.relpath(folder, base)
        folder = folder if inside.startswith("..") else "" if inside == "." else inside
    stem, extension = os.path.splitext(file)
    names = [*folder.split("/"), stem] if folder and not os.path.isabs(folder) else [stem]
    if extension not in (".py", "") or not all(name.isidentifier() for name in names):
        draft.note(origin, f"an application is named as MODULE:APP, and {path} cannot be imported "
                           f"under its name; rename it to a name of Python's that ends in .py")
        return
    if os.path.isabs(folder):
        draft.add("pythonpath", folder, origin)
    draft.set("wsgi_app", f"{'.'.join(names)}:{attribute}", origin)
