"""The one table of settings.

The command line, the FASTWSGI_* variables, configuration files, ``--help``, ``--print-config`` and
the keywords of ``fastwsgi.run`` are all derived from ``SETTINGS``, and nothing about a setting is
said anywhere else. Names and defaults are gunicorn's where gunicorn has the setting. A default that
differs says why. values.py has the kinds of values, units.py the units in which the core counts
them, and sources.py the origins. It has more than 500 lines because it is one table.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

from fastwsgi.config import units, values
from fastwsgi.logs.format import DEFAULT, FIELDS


class Setting(NamedTuple):
    """One setting.

    ``flags`` are its command-line spellings (``MODULE:APP`` itself has none). ``convert`` makes a
    value from what an origin offers, within ``bounds``: minimum and maximum, or the words to
    choose from. ``const`` is the value of a flag that takes no argument, or, with a ``metavar``,
    need not take one; ``many`` lets a flag be repeated. ``fallbacks`` are customary variables that
    replace the default, as ``(variable, template)``. ``member`` is its name in the core: a member
    of ``fw_config`` (csrc/fw.h), or something that the compiled worker keeps (_core/worker.pxi);
    it is counted in ``unit`` there.
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
        "the WSGI application: an attribute of a module (APP may be dotted; the default is "
        "'application'), or a call MODULE:make_app() of a factory",
        metavar="MODULE:APP"),
    Setting(
        "config", "application", ("-c", "--config"), "", values.text,
        "configuration file in Python, one NAME = VALUE per setting; the default is "
        "./fastwsgi.conf.py, if it exists",
        metavar="FILE"),
    Setting(
        "paste", "application", ("--paste", "--paster"), "", values.text,
        "the application is that of a PasteDeploy file, as in FILE or FILE#NAME; this needs the "
        "PasteDeploy library (pip install fastwsgi[paste])",
        metavar="FILE"),
    Setting(
        "raw_paste_global_conf", "application", ("--paste-global",), (), values.environment,
        "value that the PasteDeploy file of --paste can use, as %(KEY)s; repeat the flag for "
        "several",
        metavar="KEY=VALUE", many=True),
    Setting(
        "mount", "application", ("--mount",), (), values.mounts,
        "application for the paths from /PREFIX on; repeat the flag for several. The longest "
        "prefix counts, and the prefix moves from PATH_INFO to SCRIPT_NAME. All other paths are "
        "those of MODULE:APP or of --mount /=MODULE:APP; without either they are answered 404",
        metavar="/PREFIX=MODULE:APP", many=True),

    Setting(
        "bind", "socket", ("-b", "--bind"), "127.0.0.1:8000", values.addresses,
        "address to listen on: HOST:PORT, [IPV6]:PORT, :PORT (all IPv4 interfaces), unix:PATH, "
        "unix:@NAME (an abstract name, Linux) or fd://N (inherited); port 0 picks a free one. "
        "https://, http:// or uwsgi:// in front says what is spoken there. Without that it is what "
        "--protocol says, and with --certfile all but unix sockets speak TLS. Repeat the flag for "
        "several. The default is reachable from this machine only; if $PORT is set, the default is "
        "0.0.0.0:$PORT",
        metavar="ADDRESS", many=True, fallbacks=(("PORT", "0.0.0.0:{}"),)),
    Setting(
        "protocol", "socket", ("--protocol",), "http", values.choice,
        "what clients speak: 'http', or 'uwsgi', the protocol of nginx's uwsgi_pass and Apache's "
        "mod_proxy_uwsgi, in which a connection ends after its response. It holds for the "
        "addresses of --bind that do not say it themselves",
        bounds=("http", "uwsgi"), metavar="http|uwsgi"),
    Setting(
        "backlog", "socket", ("--backlog",), 2048, values.whole,
        "connections that may wait in the kernel to be accepted; the kernel applies its own limit "
        "too (net.core.somaxconn)",
        bounds=(1, 65535), metavar="N"),
    Setting(
        "reuse_port", "socket", ("--reuse-port",), False, values.switch,
        "set SO_REUSEPORT, so that another server that sets it too can listen on the same "
        "address; without it, a second server fails because the address is in use",
        const=True),

    Setting(
        "workers", "processes", ("-w", "--workers"), 1, values.workers,
        "worker processes; 'auto' means one per CPU that this process may use, 0 serves in the "
        "calling process without a fork. If $WEB_CONCURRENCY is set, it is the default",
        metavar="N", fallbacks=(("WEB_CONCURRENCY", "{}"),)),
    Setting(
        "threads", "processes", ("--threads",), 1, values.whole,
        "application threads per worker. More threads cost a quick application nothing: one of "
        "them serves alone while requests take less than about a millisecond, and the others "
        "help when one blocks. Slow clients occupy no thread, because threads get complete "
        "requests. With more than one the application must be thread-safe (wsgi.multithread)",
        bounds=(1, 1024), metavar="N", member="threads"),
    Setting(
        "worker_connections", "processes", ("--worker-connections",), 10000, values.whole,
        "connections that one worker holds at the same time; --overload says what happens to "
        "more. Ten times gunicorn's default, because an idle connection is cheap here",
        bounds=(1, 1_000_000), metavar="N", member="max_connections"),
    Setting(
        "queue", "processes", ("--queue",), 0, values.whole,
        "complete requests that may wait for an application thread of a worker, 0 for no limit "
        "but --worker-connections; --overload says what happens to more",
        bounds=(0, 1_000_000), metavar="N", member="max_ready"),
    Setting(
        "queue_target", "processes", ("--queue-target",), 0.05, values.seconds,
        "how long every request may wait for an application thread before more are coming than "
        "can be served. Then the newest are served first, and what has waited four times as long "
        "is answered 503 with Retry-After, until nobody waits any more. Bursts and stalls are "
        "worked off instead. 0 serves all in the order of arrival, however late",
        metavar="SECONDS", member="queue_target_ms", unit=units.milliseconds),
    Setting(
        "client_gone", "processes", ("--client-gone",), "drop", values.choice,
        "what becomes of a request that has waited longer than --queue-target and whose client has "
        "closed its side of the connection: 'drop' takes it for gone, 'serve' for one that only "
        "sends no more. One that has reset the connection is always gone",
        bounds=("serve", "drop"), metavar="drop|serve", member="drop_gone", unit=units.position),
    Setting(
        "priority_path", "processes", ("--priority-path",), (), values.globs,
        "requests for these paths are taken before others that wait for an application thread, and "
        "refused after them: logins, webhooks, checks of health. Patterns as in --timeout-path; "
        "repeat the flag for several. Of nine requests that are taken at least one is another "
        "one, if others wait",
        metavar="GLOB", many=True, member="priorities", unit=units.globs),
    Setting(
        "cancel_gone", "processes", ("--cancel-gone",), False, values.switch,
        "raise fastwsgi.errors.ClientGone in a request that is in the application when its client "
        "goes, as --timeout does in one that takes too long. --client-gone says which clients have "
        "gone. Without it the application can ask by itself: environ['fastwsgi.client_gone']",
        const=True, member="watch_gone"),
    Setting(
        "worker_class", "processes", ("-k", "--worker-class"), "", values.worker_class,
        "accepted for compatibility with gunicorn: sync and gthread both mean fastwsgi's one kind "
        "of worker",
        metavar="CLASS"),
    Setting(
        "max_requests", "processes", ("--max-requests",), 0, values.whole,
        "requests after which a worker is replaced, 0 for never; this helps when the application "
        "leaks memory. The replacement is ready before the worker finishes, one worker at a "
        "time. The count is checked ten times a second, so a busy worker exceeds it",
        bounds=(0, 1 << 53), metavar="N"),
    Setting(
        "max_requests_jitter", "processes", ("--max-requests-jitter",), 0, values.whole,
        "up to this many requests are added to --max-requests, at random for each worker, so "
        "that workers are replaced at different times",
        bounds=(0, 1 << 53), metavar="N"),
    Setting(
        "max_lifetime", "processes", ("--max-lifetime",), 0.0, values.seconds,
        "how long a worker serves before it is replaced in the same way, 0 for no limit",
        metavar="SECONDS"),
    Setting(
        "max_rss", "processes", ("--max-rss",), 0, values.whole,
        "resident memory of a worker, in MiB, at which it is replaced in the same way, 0 for no "
        "limit. A limit below what a fresh worker takes is ignored, and the log says so",
        bounds=(0, 1 << 30), metavar="MIB"),
    Setting(
        "preload_app", "processes", ("--preload",), False, values.switch,
        "import the application once, in a process that the workers are forked from, so that they "
        "share its memory; a reload imports it again. It is imported as the user who starts the "
        "server. Workers do not get threads and connections that the import opens: open them in "
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
        "gc", "processes", ("--gc",), "default", values.collections,
        "when a worker runs full garbage collections, which halt it for a tenth of a second for a "
        "million objects: 'default', whenever the interpreter likes, in the middle of a request as "
        "a rule; 'request', after an answer; 'idle', after one when no other request is here, if "
        "that can be waited for. Other workers take what comes meanwhile (Python 3.10 to 3.13)",
        bounds=("request", "idle", "default"), metavar="request|idle|default"),
    Setting(
        "cpu_affinity", "processes", ("--cpu-affinity",), False, values.pinning,
        "bind each worker to one CPU, in turn, among those that this process may use (Linux). It "
        "helps when there are as many workers as CPUs and nothing else runs there; otherwise "
        "requests wait although a CPU is idle",
        const=True),
    Setting(
        "warmup", "processes", ("--warmup",), "", values.url_target,
        "path that is requested from the application before its worker counts as ready, as a "
        "client would request it: with --script-name in front. Answered with a status of 500 or "
        "more, the worker counts as failed, which keeps the old workers of a reload",
        metavar="PATH"),

    Setting(
        "timeout", "time", ("-t", "--timeout"), 30.0, values.seconds,
        "how long one request may be in the application; then the log shows where it is, the "
        "request is interrupted (503), and if that does not help its worker is replaced. Time "
        "spent waiting for a slow client does not count. A worker that serves no request for as "
        "long, although requests wait and threads are free, is replaced too. 0 for no limit",
        metavar="SECONDS"),
    Setting(
        "timeout_path", "time", ("--timeout-path",), (), values.path_seconds,
        "requests for these paths have another --timeout: GLOB=SECONDS, 0 for no limit; repeat the "
        "flag for several, of which the first that matches counts, or write a dictionary in a "
        "configuration file. In a glob * stands for any characters, / too, ? for one, [ab] for one "
        "of several; it is compared with the decoded path, without the query. The application can "
        "also say so itself, by environ['fastwsgi.timeout']",
        metavar="GLOB=SECONDS", many=True, member="time_limits", unit=units.time_limits),
    Setting(
        "request_budget", "time", ("--request-budget",), 0.0, values.seconds,
        "how long a request is worth answering, 0 for as long as it takes. One that is still "
        "waiting for an application thread then is answered 503 and does not reach the "
        "application; environ['fastwsgi.deadline'] tells the others. It counts from the moment "
        "that the request is complete, or from what a trusted proxy says in X-Request-Start or "
        "X-Queue-Start",
        metavar="SECONDS", member="budgets.ms", unit=units.milliseconds),
    Setting(
        "budget_header", "time", ("--budget-header",), "", values.field_name,
        "header field in which a trusted proxy says how long a request is worth answering, in "
        "place of --request-budget: seconds ('2.5', '2.5s') or milliseconds ('2500ms'; without "
        "a unit if the name ends in -ms)",
        metavar="NAME", member="budgets.field"),
    Setting(
        "keepalive", "time", ("--keep-alive",), 75.0, values.seconds,
        "how long an idle connection is kept for its next request, 0 to close after each "
        "response. The default is longer than the usual 60 s of load balancers, so that they close "
        "first and no request reaches a closing connection (with gunicorn's 2 s that is a 502)",
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
        "how long a client may take nothing of a waiting response; then the connection closes",
        bounds=(0.001,), metavar="SECONDS",
        member="timeouts[FW_CLASS_WRITE]", unit=units.milliseconds),
    Setting(
        "graceful_timeout", "time", ("--graceful-timeout",), 30.0, values.seconds,
        "how long a stopping worker may finish its requests in flight; then they are cut off",
        metavar="SECONDS", member="graceful_ms", unit=units.milliseconds),
    Setting(
        "drain_delay", "time", ("--drain-delay",), 0.0, values.seconds,
        "how long new connections are still served after TERM, while --ready-path and "
        "--health-path answer 503: as long as load balancers need to notice. Then the graceful "
        "stop begins. A second TERM cuts it short, and an upgrade does not wait",
        metavar="SECONDS"),

    Setting(
        "limit_request_line", "limits", ("--limit-request-line",), 8190, values.whole,
        "bytes of a request line; a longer one is answered 414. 0 means the maximum, 1 MiB",
        bounds=(0, 1 << 20), metavar="BYTES", member="limit_line", unit=units.or_most),
    Setting(
        "limit_request_fields", "limits", ("--limit-request-fields",), 100, values.whole,
        "number of header fields; more are answered 431. 0 means the maximum, 32768",
        bounds=(0, 32768), metavar="N", member="limit_fields", unit=units.or_most),
    Setting(
        "limit_request_field_size", "limits",
        ("--limit-request-field_size", "--limit-request-field-size"), 8190,
        values.whole,
        "bytes of one header field; a longer one is answered 431. 0 means the maximum, 16 MiB",
        bounds=(0, 1 << 24), metavar="BYTES", member="limit_field_size", unit=units.or_most),
    Setting(
        "limit_request_header", "limits", ("--limit-request-header",), 65536, values.whole,
        "bytes of the whole header section; a longer one is answered 431. 0 means the maximum, "
        "16 MiB: each connection may then take that much memory",
        bounds=(0, 1 << 24), metavar="BYTES", member="limit_header", unit=units.or_most),
    Setting(
        "limit_request_body", "limits", ("--limit-request-body",), 0, values.size,
        "bytes of a request body, 0 for no limit; a larger body is answered 413 without being "
        "read. Without a limit, the disk of the temporary files is the limit",
        metavar="BYTES", member="limit_body"),
    Setting(
        "body_memory", "limits", ("--body-memory",), 1 << 20, values.size,
        "bytes of a request body that stay in memory; a larger body goes to a temporary file "
        "($TMPDIR), and is answered 507 if there is no room for one. The memory of a worker can "
        "grow by this much per connection, and by at least 32 KiB while a larger body arrives",
        metavar="BYTES", member="body_memory"),
    Setting(
        "response_memory", "limits", ("--response-memory",), 64 << 20, values.size,
        "bytes that the responses of a worker may queue for their clients, approximately: as "
        "their sum grows from a quarter to a half of this, applications are held back earlier, "
        "in the end after each block. 0 for no limit: 256 KiB per connection",
        metavar="BYTES", member="response_memory"),
    Setting(
        "min_rate", "limits", ("--min-rate",), 0, values.whole,
        "least average rate, in bytes per second, at which a request head or body must arrive once "
        "it has taken --min-rate-grace, and at which a client must take a response that waits for "
        "it. A slower request is answered 408, a slower response is cut off. 0 for none: only the "
        "timeouts decide, and an occasional byte satisfies them",
        bounds=(0, 1_000_000_000), metavar="BYTES", member="min_rate"),
    Setting(
        "min_rate_grace", "limits", ("--min-rate-grace",), 5.0, values.seconds,
        "how long a request head or body may take, or a response may wait for its client, before "
        "--min-rate applies",
        metavar="SECONDS", member="min_rate_grace_ms", unit=units.milliseconds),
    Setting(
        "overload", "limits", ("--overload",), "wait", values.choice,
        "what happens to a connection beyond --worker-connections, or a request beyond --queue: "
        "'wait' lets new connections wait in the backlog, '503' answers 503 at once, with "
        "Retry-After",
        bounds=("wait", "503"), metavar="wait|503", member="overload_refuse", unit=units.position),

    Setting(
        "header_map", "proxy", ("--header-map",), "drop", values.choice,
        "what to do with header names that have an underscore, which the environ cannot tell from "
        "a hyphen: 'drop' them, 'refuse' the request with 400, or 'dangerous': keep them",
        bounds=("drop", "refuse", "dangerous"), metavar="drop|refuse|dangerous",
        member="header_map", unit=units.position),
    Setting(
        "forwarded_allow_ips", "proxy", ("--forwarded-allow-ips",), ("127.0.0.1", "::1"),
        values.networks,
        "addresses and networks of the proxies that are trusted, separated by commas, or '*' for "
        "every peer. What they say of a client is followed; from others X-Forwarded-Proto and its "
        "like change nothing. A peer on a unix socket is trusted always. If $FORWARDED_ALLOW_IPS "
        "is set, it is the default",
        metavar="ADDRESSES", fallbacks=(("FORWARDED_ALLOW_IPS", "{}"),),
        member="forwarding.trusted", unit=units.addresses),
    Setting(
        "forwarded_follow", "proxy", ("--forwarded-follow",), ("scheme",), values.choices,
        "what of a request follows the word of trusted proxies, in X-Forwarded-For, -Proto, -Host, "
        "-Port, -Prefix or in Forwarded: 'scheme' is wsgi.url_scheme, 'address' REMOTE_ADDR (and "
        "the logs), 'host' HTTP_HOST, 'port' SERVER_PORT, 'prefix' SCRIPT_NAME; words with commas",
        bounds=("scheme", "address", "host", "port", "prefix"), metavar="WORDS",
        member="forwarding.follow", unit=units.flags),
    Setting(
        "secure_scheme_headers", "proxy", (),
        {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"},
        values.field_values,
        "header fields of trusted proxies that tell the scheme, each with the value that means "
        "https; a dictionary in a configuration file, NAME=VALUE with commas in a variable. Fields "
        "that contradict each other are refused with 400",
        member="forwarding.schemes"),
    Setting(
        "forwarder_headers", "proxy", ("--forwarder-headers",), ("SCRIPT_NAME", "PATH_INFO"),
        values.field_names,
        "header names with an underscore that trusted proxies may send, whatever --header-map "
        "says; '*' means all. A field SCRIPT_NAME also sets SCRIPT_NAME and is removed from the "
        "front of PATH_INFO",
        metavar="NAMES", member="forwarding.names"),
    Setting(
        "proxy_protocol", "proxy", ("--proxy-protocol",), "off", values.proxy_protocol,
        "version of the PROXY protocol (HAProxy, AWS and others) with which connections of "
        "--proxy-allow-from must begin; its address becomes REMOTE_ADDR. A header from others, or "
        "where it is off, is refused. The flag alone means auto: version 1 or 2",
        bounds=("off", "v1", "v2", "auto"), metavar="off|v1|v2|auto", const="auto",
        member="proxy_protocol", unit=units.position),
    Setting(
        "proxy_allow_ips", "proxy", ("--proxy-allow-from",), ("127.0.0.1", "::1"), values.networks,
        "addresses and networks of the proxies that speak the PROXY protocol, separated by commas, "
        "or '*' for every peer; a peer on a unix socket is one always",
        metavar="ADDRESSES", member="proxy_from", unit=units.addresses),
    Setting(
        "script_name", "proxy", ("--script-name",), "", values.mount,
        "path that the application is mounted under: it becomes SCRIPT_NAME and is removed from "
        "the front of PATH_INFO; a request for any other path is answered 404",
        metavar="PATH", member="script_name"),

    Setting(
        "uwsgi_allow_ips", "proxy", ("--uwsgi-allow-from",), ("127.0.0.1", "::1"),
        values.networks,
        "addresses and networks of the proxies that may speak the uwsgi protocol, because such a "
        "proxy says who the client is; separated by commas, '*' for all. Others are answered 403. "
        "Unix sockets are not restricted: their permissions are",
        metavar="NETWORKS", many=True, member="uwsgi_from", unit=units.addresses),
    Setting(
        "certfile", "tls", ("--certfile",), (), values.paths,
        "certificate in PEM, followed by those that lead to a known authority. With one, addresses "
        "speak TLS. Repeat the flag for several: a client gets the one that has the name that it "
        "asks for, the first if none has. Read at a start, at a reload and when it changes, by "
        "a process that has not dropped privileges",
        metavar="FILE", many=True),
    Setting(
        "keyfile", "tls", ("--keyfile",), (), values.paths,
        "private key in PEM, without a password; repeat the flag, in the order of --certfile. By "
        "default the key is in the file of the certificate",
        metavar="FILE", many=True),
    Setting(
        "ca_certs", "tls", ("--ca-certs",), "", values.text,
        "authorities, in PEM, that sign the certificates of clients",
        metavar="FILE"),
    Setting(
        "cert_reqs", "tls", ("--cert-reqs",), "none", values.cert_reqs,
        "whether clients have certificates: 'none' are asked for, 'optional', or 'required'. One "
        "that --ca-certs has not signed is refused in either case. Python's ssl.CERT_* are "
        "understood, too: 0, 1 and 2",
        bounds=("none", "optional", "required"), metavar="none|optional|required"),
    Setting(
        "ciphers", "tls", ("--ciphers",), "", values.text,
        "cipher suites of TLS 1.2, as OpenSSL spells them (openssl-ciphers(1)). The default is "
        "ECDHE+AESGCM:ECDHE+CHACHA20. Those of TLS 1.3 need no choice",
        metavar="LIST"),
    Setting(
        "tls_minimum", "tls", ("--tls-minimum",), "1.2", values.choice,
        "oldest version of TLS to speak: 1.2 or 1.3",
        bounds=("1.2", "1.3"), metavar="1.2|1.3"),
    Setting(
        "ssl_version", "tls", ("--ssl-version",), "", values.ssl_version,
        "the one version of TLS to speak, as gunicorn spells it: TLSv1_2 or TLSv1_3; TLS for all "
        "from --tls-minimum on. Prefer that",
        bounds=("1.2", "1.3"), metavar="VERSION"),
    Setting(
        "tls_handshake_timeout", "tls", ("--tls-handshake-timeout",), 10.0, values.seconds,
        "how long a client may take for the TLS handshake; then the connection closes",
        bounds=(0.001,), metavar="SECONDS",
        member="timeouts[FW_CLASS_HANDSHAKE]", unit=units.milliseconds),

    Setting(
        "accesslog", "log", ("--access-logfile",), "", values.text,
        "file of the access log, which has one line per request; '-' is stdout. By default there "
        "is none. SIGUSR1 reopens it after a rotation",
        metavar="FILE"),
    Setting(
        "access_log_format", "log", ("--access-logformat",), DEFAULT, values.access_format,
        "format of a line of the access log, in gunicorn's atoms, or the name of one: 'combined', "
        "'common', or 'json' for an object per line; docs/logs.md lists them. Text from clients is "
        "escaped",
        metavar="FORMAT"),
    Setting(
        "access_log_fields", "log", ("--access-log-fields",), FIELDS, values.access_fields,
        "members of a line in JSON, separated by commas: NAME, or KEY=NAME to call it otherwise. "
        "NAME is one of those that docs/logs.md lists, or what stands in the parentheses of an "
        "atom, as in trace={traceparent}i; a dictionary in a configuration file",
        metavar="FIELDS"),
    Setting(
        "request_id", "log", ("--request-id",), "auto", values.request_id,
        "whether each request has an id, in environ['fastwsgi.request_id'] and for the logs: what "
        "a proxy of --forwarded-allow-ips sends as X-Request-ID, or as trace id in traceparent, "
        "else a new one. 'on' (the flag alone), 'off', or 'response' to answer it as X-Request-ID, "
        "too; 'auto' is on if a log asks for it",
        bounds=("auto", "off", "on", "response"), metavar="auto|off|on|response", const="on"),
    Setting(
        "errorlog", "log", ("--error-logfile", "--log-file"), "-", values.text,
        "file of the error log, which also gets the application's wsgi.errors; '-' is stderr. "
        "SIGUSR1 reopens it after a rotation",
        metavar="FILE"),
    Setting(
        "log_format", "log", ("--log-format",), "text", values.choice,
        "form of a record of the error log: 'text', or 'json' for an object per line, with the "
        "request that it is about; a traceback is a part of it",
        bounds=("text", "json"), metavar="text|json"),
    Setting(
        "slow_request", "log", ("--slow-request",), 0.0, values.slow,
        "log each request that takes as long from its last byte to the end of its response: what "
        "it spent most of its time on, how long it waited for a thread, was in the application and "
        "waited for its client, and the stack that it had after this time. `p99`: those that are "
        "in the application for longer than 99 of 100 of their route, one in a second at most. "
        "0 for none",
        metavar="SECONDS|p99"),
    Setting(
        "server_timing", "log", ("--server-timing",), False, values.switch,
        "tell in the field Server-Timing of each response where the time of its request went: in "
        "the queue, in the application, with a processor, waiting for the interpreter lock. Who "
        "gets the response learns how busy the server is",
        const=True),
    Setting(
        "capture_output", "log", ("--capture-output",), False, values.switch,
        "let what the application prints to stdout and stderr come into the error log",
        const=True),
    Setting(
        "logconfig", "log", ("--log-config",), "", values.text,
        "configuration of Python's logging, as logging.config.fileConfig reads it. The logger "
        "fastwsgi.error (or gunicorn.error, if only that is named there) gets what else the error "
        "log would; without a handler it has the file of --error-logfile",
        metavar="FILE"),
    Setting(
        "logconfig_json", "log", ("--log-config-json",), "", values.text,
        "the same as a dictionary of logging.config.dictConfig in JSON; it comes before "
        "--log-config",
        metavar="FILE"),
    Setting(
        "logconfig_dict", "log", (), {}, values.dictionary,
        "the same as a dictionary in a configuration file; it comes before both"),
    Setting(
        "syslog", "log", ("--log-syslog",), False, values.switch,
        "send both logs to syslog (RFC 5424), too",
        const=True),
    Setting(
        "syslog_addr", "log", ("--log-syslog-to",), "udp://localhost:514", values.syslog_address,
        "where syslog is: udp://HOST:PORT, tcp://HOST:PORT, unix://PATH, with #dgram (the default) "
        "or #stream behind it, or 'journal' for the journal of systemd",
        metavar="ADDRESS"),
    Setting(
        "syslog_prefix", "log", ("--log-syslog-prefix",), "", values.text,
        "name of this server in syslog, behind 'fastwsgi.'; by default it is --name, or 'fastwsgi'",
        metavar="NAME"),
    Setting(
        "syslog_facility", "log", ("--log-syslog-facility",), "user", values.choice,
        "facility of the messages: user, daemon, local0 to local7, and others of RFC 5424",
        bounds=("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
                "authpriv", "ftp", "security", *(f"local{n}" for n in range(8))),
        metavar="FACILITY"),
    Setting(
        "disable_redirect_access_to_syslog", "log", ("--disable-redirect-access-to-syslog",), False,
        values.switch, "do not send the access log to syslog",
        const=True),
    Setting(
        "loglevel", "log", ("--log-level",), "info", values.choice,
        "least severity that is written: debug, info, warning, error or critical",
        bounds=("debug", "info", "warning", "error", "critical"), metavar="LEVEL"),

    Setting(
        "static", "static files", ("--static",), (), values.folders,
        "directory whose files the server itself serves for the paths from /PREFIX on; repeat the "
        "flag for several. The longest prefix counts. No request below a prefix comes to the "
        "application: what is not there, is hidden or leads out of the directory is answered 404",
        metavar="/PREFIX=DIR", many=True),
    Setting(
        "static_internal", "static files", ("--static-internal",), (), values.folders,
        "directory whose files the application may have sent in place of its response, to whom it "
        "likes: by X-Accel-Redirect: /PREFIX/FILE or X-Sendfile: DIR/FILE. No client can ask for "
        "them; repeat the flag for several. Without it these fields are passed on to a proxy",
        metavar="/PREFIX=DIR", many=True),
    Setting(
        "static_index", "static files", ("--static-index",), "index.html", values.file_name,
        "name of the file that is served for a directory of --static; empty for none",
        metavar="NAME"),
    Setting(
        "static_immutable", "static files", ("--static-immutable",), (), values.globs,
        "pattern of paths of --static whose files never change, because their names have a hash of "
        "their content: clients may keep them for a year without asking again. Patterns as in "
        "--timeout-path; repeat the flag for several",
        metavar="GLOB", many=True),

    Setting(
        "health_path", "metrics", ("--health-path",), "", values.url_path,
        "path that the worker answers itself with 200 'ok', even while all application threads "
        "are busy, and with 503 once the server drains or stops, so that a load balancer goes "
        "elsewhere. --live-path and --ready-path tell the two apart",
        metavar="PATH", member="health", unit=units.octets),
    Setting(
        "live_path", "metrics", ("--live-path",), "", values.url_path,
        "path that the worker answers itself with 200 'ok' for as long as it runs; to restart a "
        "server that does not answer",
        metavar="PATH", member="live", unit=units.octets),
    Setting(
        "ready_path", "metrics", ("--ready-path",), "", values.url_path,
        "path that the worker answers itself with 200 'ok' if requests should come here, and with "
        "503 while it drains (--drain-delay), stops or is overloaded; to send requests elsewhere",
        metavar="PATH", member="ready", unit=units.octets),

    Setting(
        "metrics_bind", "metrics", ("--metrics-bind",), (), values.optional_addresses,
        "address on which the master serves /metrics, as Prometheus text or OpenMetrics, and the "
        "paths above for the server as a whole; as for --bind, without a scheme. Whoever "
        "reaches it may read it, so a loopback address is best. Unix sockets are for the "
        "master's user only. By default there is none, and nothing is counted for it",
        metavar="ADDRESS", many=True),
    Setting(
        "metrics_buckets", "metrics", ("--metrics-buckets",),
        (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
        values.buckets,
        "upper bounds of the histograms' buckets, in seconds, ascending and separated by commas; "
        "24 at most",
        bounds=(24,), metavar="SECONDS"),
    Setting(
        "route_label", "metrics", ("--route-label",), (), values.route_labels,
        "what names the route of a request in the metrics, beside environ['fastwsgi.route'], which "
        "an application sets: another variable of the environ, or a pattern of paths with a name, "
        "such as '/users/*=user'. Repeat the flag for several; the first that fits decides",
        metavar="KEY|PATTERN=NAME", many=True),
    Setting(
        "statsd_host", "metrics", ("--statsd-host",), None, values.statsd_address,
        "HOST:PORT of a statsd, or unix:PATH, to which gunicorn's metrics are sent once a second; "
        "the port is 8125 by default",
        metavar="HOST:PORT"),
    Setting(
        "statsd_prefix", "metrics", ("--statsd-prefix",), "", values.statsd_text,
        "prefix of their names; a dot follows it",
        metavar="PREFIX"),
    Setting(
        "dogstatsd_tags", "metrics", ("--dogstatsd-tags",), "", values.statsd_text,
        "tags of each of them, as DogStatsD has them: name:value, separated by commas",
        metavar="TAGS"),

    Setting(
        "chdir", "system", ("--chdir",), "", values.directory,
        "directory to change to before anything else is opened or imported; relative paths of "
        "other settings start there",
        metavar="DIR"),
    Setting(
        "pythonpath", "system", ("--pythonpath",), (), values.paths,
        "directories to put at the front of the import path, separated by commas",
        metavar="DIRS"),
    Setting(
        "raw_env", "system", ("-e", "--env"), (), values.environment,
        "environment variable for the application; repeat the flag for several",
        metavar="KEY=VALUE", many=True),
    Setting(
        "umask", "system", ("-m", "--umask"), None, values.mode,
        "umask of the workers and of unix sockets, in octal. By default workers keep that of the "
        "starting process, and unix sockets are open to every local user, as a proxy under "
        "another account needs",
        metavar="MODE"),
    Setting(
        "user", "system", ("-u", "--user"), None, values.user,
        "user that the workers change to; the master keeps its own, so this needs root",
        metavar="USER"),
    Setting(
        "group", "system", ("-g", "--group"), None, values.group,
        "group that the workers change to; the default is the main group of --user, and a number "
        "without an account has none",
        metavar="GROUP"),
    Setting(
        "initgroups", "system", ("--initgroups",), False, values.switch,
        "give the workers all groups of --user; by default they have the one group only",
        const=True),
    Setting(
        "pidfile", "system", ("-p", "--pid"), "", values.text,
        "file for the master's process id; it is removed at the end, and a start is refused "
        "while the process that it names runs",
        metavar="FILE"),
    Setting(
        "control_socket", "system", ("--control-socket",), "", values.text,
        "unix socket on which the master answers 'fastwsgi top' and 'fastwsgi ctl', for the "
        "account of the server and root alone",
        metavar="PATH"),
    Setting(
        "proc_name", "system", ("-n", "--name"), "", values.text,
        "name that ps(1) shows beside 'fastwsgi: master' and 'fastwsgi: worker', by default the "
        "application's. Titles need the setproctitle library (pip install fastwsgi[title]), and "
        "are cut to the length of the command line",
        metavar="NAME"),
    Setting(
        "daemon", "system", ("-D", "--daemon"), False, values.switch,
        "leave the terminal and run in the background. The command returns 0 when the server is "
        "ready, or its exit code when it has failed. A daemon has no stdin, stdout and stderr, so "
        "name a file for the error log. A service manager such as systemd does not need this",
        const=True),
    Setting(
        "sendfile", "system", ("--no-sendfile",), True, values.switch,
        "send files of wsgi.file_wrapper with sendfile(2); --no-sendfile reads them instead, for "
        "file systems with a broken sendfile",
        const=False, member="sendfile"),

    Setting(
        "reload", "development", ("--reload",), False, values.switch,
        "restart the workers when a source file of an imported module changes; an application "
        "that does not import prints its traceback and is tried again after the next change. "
        "Requests wait meanwhile, so this is for development",
        const=True),
    Setting(
        "reload_engine", "development", ("--reload-engine",), "auto", values.choice,
        "how --reload notices changes: 'poll' checks the files twice a second, 'inotify' gets them "
        "from the operating system through the watchfiles library (pip install "
        "fastwsgi[reload]), 'auto' uses the library if it is installed. Network file systems and "
        "mounts into virtual machines often report no changes: poll there",
        bounds=("auto", "poll", "inotify"), metavar="auto|poll|inotify"),
    Setting(
        "reload_extra_files", "development", ("--reload-extra-file",), (), values.paths,
        "another file for --reload to watch, such as a template; repeat the flag for several",
        metavar="FILE", many=True),
    Setting(
        "debug_page", "development", ("--debug-page",), False, values.switch,
        "show an exception of the application in the browser, with its code and variables, to "
        "browsers of this machine. Values whose names suggest a secret are masked. Addresses must "
        "be those of this machine",
        const=True),
    Setting(
        "strict_wsgi", "development", ("--strict-wsgi",), False, values.switch,
        "report in the error log what the application does against PEP 3333, once per source "
        "line. Responses stay as they are. A request costs several times the server's own work, "
        "which is acceptable for development and staging",
        const=True),
)

SETTINGS: MappingProxyType[str, Setting] = MappingProxyType({item.name: item for item in _TABLE})
"""All settings by name, in the order of ``--help``."""

GROUPS: tuple[str, ...] = tuple(dict.fromkeys(item.group for item in _TABLE))
"""The headings of ``--help``, in order."""

FIRST: tuple[str, ...] = (
    "bind", "workers", "threads", "timeout", "keepalive", "header_timeout", "body_timeout",
    "write_timeout", "graceful_timeout", "limit_request_body", "worker_connections", "errorlog",
    "accesslog", "config",
)
"""The settings that a newcomer needs first: those of the short ``--help``."""

SPELLINGS: MappingProxyType[str, str] = MappingProxyType(
    {spelling: item.name for item in _TABLE for spelling in item.spellings})
"""Every name that a setting may have in a file or as a keyword -> its canonical name."""
