"""Settings that contradict each other: they are refused when all origins have been merged.

values.py checks single settings, this file checks combinations.
"""

from __future__ import annotations

from fastwsgi.config.config import Config
from fastwsgi.config.hooks import WITHOUT_MASTER
from fastwsgi.config.table import SETTINGS
from fastwsgi.errors import ConfigError

NEED_A_MASTER = ("preload_app", "cpu_affinity", "max_requests", "max_lifetime", "max_rss",
                 "reload", "user", "group", "control_socket")
"""Settings that mean nothing to a process that serves by itself."""

IDLE_WITHOUT = {"raw_paste_global_conf": "paste",
                "syslog_addr": "syslog", "syslog_prefix": "syslog",
                "syslog_facility": "syslog", "disable_redirect_access_to_syslog": "syslog",
                "access_log_format": "accesslog", "access_log_fields": "accesslog",
                "max_requests_jitter": "max_requests",
                "min_rate_grace": "min_rate", "initgroups": "user",
                "proxy_allow_ips": "proxy_protocol",
                "preload_memory": "preload_app", "keyfile": "certfile",
                "metrics_buckets": "metrics_bind", "route_label": "metrics_bind",
                "static_index": "static", "static_immutable": "static",
                "statsd_prefix": "statsd_host", "dogstatsd_tags": "statsd_host"}
"""Settings that do nothing without another one."""


def check_together(config: Config) -> None:
    """Raise ConfigError for settings that contradict each other; note what is not used."""
    if config.paste and config.wsgi_app:
        raise ConfigError(
            f"paste (from {config.origin('paste')}) and wsgi_app (from "
            f"{config.origin('wsgi_app')}) contradict each other: both name the application")
    if config.debug_page:
        for address in config.bind:
            if address.kind != "tcp" or address.host not in ("127.0.0.1", "::1", "localhost"):
                raise ConfigError(
                    f"debug_page (from {config.origin('debug_page')}) shows code and data of the "
                    f"application: bind (from {config.origin('bind')}) must be 127.0.0.1, ::1 or "
                    f"localhost, not {address}")
    if config.reload and config.preload_app:
        raise ConfigError(
            f"reload (from {config.origin('reload')}) and preload_app (from "
            f"{config.origin('preload_app')}) contradict each other: what is imported once is "
            "not imported again by each worker")
    if config.reload and config.reload_engine == "inotify" and not can_watch():
        raise ConfigError(
            f"reload_engine inotify (from {config.origin('reload_engine')}) needs the "
            "watchfiles library: pip install fastwsgi[reload]")
    if config.warmup and config.script_name and not _is_below(config.warmup, config.script_name):
        raise ConfigError(
            f"warmup {config.warmup!r} (from {config.origin('warmup')}) is not below script_name "
            f"{config.script_name!r} (from {config.origin('script_name')}): a client would be "
            "answered 404")
    _check_probes(config)
    _check_static(config)
    _check_metrics(config)
    for name, needed in IDLE_WITHOUT.items():
        if (getattr(config, name) != SETTINGS[name].default
                and getattr(config, needed) == SETTINGS[needed].default):
            config.notices.append(
                f"{name} (from {config.origin(name)}) has no effect without {needed}")
    if (config.uwsgi_allow_ips != SETTINGS["uwsgi_allow_ips"].default
            and "uwsgi" not in {address.protocol or config.protocol for address in config.bind}):
        config.notices.append(f"uwsgi_allow_ips (from {config.origin('uwsgi_allow_ips')}) has no "
                              "effect: no address speaks the uwsgi protocol")
    _check_tls(config)
    if not config.workers:
        _check_without_master(config)


PROBES = ("health_path", "live_path", "ready_path")
"""Paths that the server answers itself."""


def _check_probes(config: Config) -> None:
    """Refuse a path with two meanings."""
    seen: dict[str, str] = {}
    for name in PROBES:
        path = getattr(config, name)
        if path in seen:
            raise ConfigError(
                f"{name} (from {config.origin(name)}) and {seen[path]} (from "
                f"{config.origin(seen[path])}) must differ: both are {path!r}")
        if path:
            seen[path] = name


def _check_static(config: Config) -> None:
    """Refuse an application whose paths are all those of files."""
    for item in config.static:
        prefix = item.partition("=")[0].rstrip("/")
        for mount in config.mount:
            path = mount.partition("=")[0].rstrip("/")
            if f"{path}/".startswith(f"{prefix}/") and (path or not prefix):
                raise ConfigError(
                    f"mount {path or '/'} (from {config.origin('mount')}) and static "
                    f"{prefix or '/'} (from {config.origin('static')}) contradict each other: no "
                    "request would come to the application")


def _check_metrics(config: Config) -> None:
    """Refuse an address that is to serve two things."""
    places = {address.place for address in config.bind if address.kind != "tcp" or address.port}
    for address in config.metrics_bind:
        if address.place in places:
            raise ConfigError(
                f"metrics_bind (from {config.origin('metrics_bind')}) and bind (from "
                f"{config.origin('bind')}) must differ: both have {address.place}")


OF_TLS = ("ca_certs", "cert_reqs", "ciphers", "tls_minimum", "ssl_version",
          "tls_handshake_timeout")
"""Settings that mean nothing where nothing speaks TLS."""


def _check_tls(config: Config) -> None:
    if not config.tls:
        for address in config.bind:
            if address.scheme == "https":
                raise ConfigError(f"bind (from {config.origin('bind')}): {address} needs certfile")
        for name in OF_TLS:
            if getattr(config, name) != SETTINGS[name].default:
                config.notices.append(
                    f"{name} (from {config.origin(name)}) has no effect without certfile")
        return
    if not any(address.speaks_tls(True, config.protocol) for address in config.bind):
        config.notices.append("certfile has no effect: no address of bind (from "
                              f"{config.origin('bind')}) speaks TLS")
    if config.keyfile and len(config.keyfile) != len(config.certfile):
        raise ConfigError(
            f"keyfile (from {config.origin('keyfile')}) must name as many files as certfile (from "
            f"{config.origin('certfile')}): {len(config.certfile)}, not {len(config.keyfile)}")
    if config.cert_reqs != "none" and not config.ca_certs and "ssl_context" not in config.hooks:
        raise ConfigError(f"cert_reqs {config.cert_reqs} (from {config.origin('cert_reqs')}) needs "
                          "ca_certs: without authorities no client's certificate is accepted")
    if config.cert_reqs == "none" and config.ca_certs and "ssl_context" not in config.hooks:
        config.notices.append(f"ca_certs (from {config.origin('ca_certs')}) has no effect without "
                              "cert_reqs")
    if config.ssl_version and config.ssl_version < config.tls_minimum:
        raise ConfigError(
            f"ssl_version (from {config.origin('ssl_version')}) and tls_minimum "
            f"{config.tls_minimum} (from {config.origin('tls_minimum')}) contradict each other")


def _is_below(target: str, script_name: str) -> bool:
    """Whether a request for ``target`` reaches an application mounted under ``script_name``."""
    from urllib.parse import unquote  # seldom needed

    path = unquote(target.partition("?")[0], "latin-1")
    return f"{path}/".startswith(f"{script_name}/")


def can_watch() -> bool:
    """Whether the watchfiles library is installed."""
    import importlib.util  # seldom needed

    return importlib.util.find_spec("watchfiles") is not None


def _check_without_master(config: Config) -> None:
    for name in NEED_A_MASTER:
        if getattr(config, name) != SETTINGS[name].default:
            raise ConfigError(f"workers must be 1 or more for {name} (from "
                              f"{config.origin(name)}): only a master can do that")
    silent = sorted(set(config.hooks.functions) - set(WITHOUT_MASTER))
    if silent:
        config.notices.append(f"hooks: without a master only {', '.join(WITHOUT_MASTER)} are "
                              f"called, not {', '.join(silent)}")
