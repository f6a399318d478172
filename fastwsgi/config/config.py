"""The settings in effect, each with its type and its origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fastwsgi.config.hooks import Hook, Hooks
from fastwsgi.config.table import SETTINGS
from fastwsgi.system.address import Address


class Value(NamedTuple):
    """The value of one setting and where it came from."""

    value: Any
    origin: str


class Config:
    """The effective settings: ``config.workers``; ``config.origin("workers")`` says whence.

    ``notices`` are lines an operator should see once at the start, ``hooks`` the functions of a
    configuration file that are called on events.
    """

    # types: made by `make settings`
    wsgi_app: str
    config: str
    paste: str
    raw_paste_global_conf: tuple[str, ...]
    mount: tuple[str, ...]
    bind: tuple[Address, ...]
    protocol: str
    backlog: int
    reuse_port: bool
    workers: int
    threads: int
    worker_connections: int
    queue: int
    queue_target: float
    client_gone: str
    priority_path: tuple[str, ...]
    cancel_gone: bool
    worker_class: str
    max_requests: int
    max_requests_jitter: int
    max_lifetime: float
    max_rss: int
    preload_app: bool
    preload_memory: str
    gc: str
    cpu_affinity: bool
    warmup: str
    timeout: float
    timeout_path: dict[str, float]
    request_budget: float
    budget_header: str
    keepalive: float
    header_timeout: float
    body_timeout: float
    write_timeout: float
    graceful_timeout: float
    drain_delay: float
    limit_request_line: int
    limit_request_fields: int
    limit_request_field_size: int
    limit_request_header: int
    limit_request_body: int
    body_memory: int
    response_memory: int
    min_rate: int
    min_rate_grace: float
    overload: str
    header_map: str
    forwarded_allow_ips: tuple[str, ...]
    forwarded_follow: tuple[str, ...]
    secure_scheme_headers: dict[str, str]
    forwarder_headers: tuple[str, ...]
    proxy_protocol: str
    proxy_allow_ips: tuple[str, ...]
    script_name: str
    uwsgi_allow_ips: tuple[str, ...]
    certfile: tuple[str, ...]
    keyfile: tuple[str, ...]
    ca_certs: str
    cert_reqs: str
    ciphers: str
    tls_minimum: str
    ssl_version: str
    tls_handshake_timeout: float
    accesslog: str
    access_log_format: str
    access_log_fields: tuple[str, ...]
    request_id: str
    errorlog: str
    log_format: str
    slow_request: float | str
    server_timing: bool
    capture_output: bool
    logconfig: str
    logconfig_json: str
    logconfig_dict: dict[str, object]
    syslog: bool
    syslog_addr: str
    syslog_prefix: str
    syslog_facility: str
    disable_redirect_access_to_syslog: bool
    loglevel: str
    static: tuple[str, ...]
    static_internal: tuple[str, ...]
    static_index: str
    static_immutable: tuple[str, ...]
    health_path: str
    live_path: str
    ready_path: str
    metrics_bind: tuple[Address, ...]
    metrics_buckets: tuple[float, ...]
    route_label: tuple[str, ...]
    statsd_host: Address | None
    statsd_prefix: str
    dogstatsd_tags: str
    chdir: str
    pythonpath: tuple[str, ...]
    raw_env: tuple[str, ...]
    umask: int | None
    user: str | int | None
    group: str | int | None
    initgroups: bool
    pidfile: str
    control_socket: str
    proc_name: str
    daemon: bool
    sendfile: bool
    reload: bool
    reload_engine: str
    reload_extra_files: tuple[str, ...]
    debug_page: bool
    strict_wsgi: bool
    # end of types

    def __init__(
        self, found: Mapping[str, Value], notices: Iterable[str] = (),
        hooks: Mapping[str, Hook] | None = None,
    ) -> None:
        self._values = dict(found)
        vars(self).update({name: value for name, (value, _) in found.items()})
        self.notices = list(notices)
        self.hooks = Hooks(hooks or {})

    @property
    def tls(self) -> bool:
        """Whether there is what TLS needs: a certificate, or a hook that makes a context."""
        return bool(self.certfile) or "ssl_context" in self.hooks

    @property
    def counts(self) -> bool:
        """Whether somebody is told what the server counts of itself."""
        return bool(self.metrics_bind) or self.statsd_host is not None

    def origin(self, name: str) -> str:
        """Say where the value of the setting ``name`` came from."""
        return self._values[name].origin

    def core(self) -> dict[str, object]:
        """Return the settings the compiled worker takes, under its names and in its units."""
        return {item.member: item.in_core(self._values[name].value)
                for name, item in SETTINGS.items() if item.member}

    def show(self) -> str:
        """Return every effective value with its origin, in the form of a configuration file."""
        pairs = [(f"{name} = {_literal(name, found.value)}", found.origin)
                 for name, found in self._values.items() if name != "config"]
        if self.config:  # a configuration file cannot name itself
            pairs.insert(1, (f"# config = {self.config!r}", self.origin("config")))
        width = min(48, max(len(assignment) for assignment, _ in pairs))
        return "".join(f"{assignment:<{width}}  # {origin}\n" for assignment, origin in pairs)


def _literal(name: str, value: object) -> str:
    """Write a value as Python that ``-c`` reads back."""
    if name == "umask" and isinstance(value, int):
        return f"0o{value:03o}"
    if isinstance(value, Address):
        return repr(str(value))
    if isinstance(value, tuple):
        return repr([str(item) if isinstance(item, Address) else item for item in value])
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return repr(value)
