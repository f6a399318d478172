"""``--explain``: what in the effective configuration is dangerous or pointless together.

combinations.py refuses what cannot be. This file advises about what can: each finding is a sentence
that names the settings with their origins, and says what follows and what to do.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fastwsgi.config.config import Config
from fastwsgi.config.values import usable_cpus
from fastwsgi.logs.masking import is_secret
from fastwsgi.system.networks import EVERYBODY

DANGEROUS, POINTLESS = "dangerous", "pointless"
LOAD_BALANCER = 60.0
"""The seconds that load balancers usually keep an idle connection."""


class Machine(NamedTuple):
    """What the configuration meets: the user, the CPUs, and limits of the system, 0 if unknown."""

    root: bool
    cpus: int
    memory: int
    files: int
    backlog: int


class Finding(NamedTuple):
    """One piece of advice: ``kind`` is dangerous or pointless."""

    kind: str
    text: str


def this_machine() -> Machine:
    """Return what there is here."""
    import resource  # only to explain

    memory = backlog = 0
    with contextlib.suppress(ValueError, OSError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(ValueError, OSError), \
            open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
        backlog = int(file.read())
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return Machine(os.geteuid() == 0, usable_cpus(), memory,
                   0 if files == resource.RLIM_INFINITY else files, backlog)


def explain(config: Config, machine: Machine) -> str:
    """Return the findings as text, the dangerous ones first."""
    found = findings(config, machine)
    if not found:
        return "Nothing in the configuration is dangerous or pointless.\n"
    found.sort(key=lambda finding: finding.kind != DANGEROUS)
    return "".join(f"{finding.kind}: {finding.text}\n" for finding in found)


def findings(config: Config, machine: Machine) -> list[Finding]:
    """Return what there is to say, notices of the start among it."""
    seen = _Seen(config, machine)
    found = [finding for rule in _RULES for finding in rule(seen)]
    return found + [Finding(POINTLESS, notice) for notice in config.notices]


class _Seen:
    """The configuration as the rules look at it."""

    def __init__(self, config: Config, machine: Machine) -> None:
        self.config = config
        self.machine = machine
        reachable = [address for address in config.bind if address.kind == "tcp"
                     and address.host not in ("127.0.0.1", "::1", "localhost")]
        self.reachable = reachable[0] if reachable else None

    def named(self, name: str) -> str:
        """Return a setting with its value and its origin."""
        value: Any = getattr(self.config, name)
        if isinstance(value, bool):
            value = "on" if value else "off"
        elif isinstance(value, tuple):
            value = ",".join(map(str, value)) or "none"
        elif isinstance(value, float):
            value = f"{value:g}"
        elif value in (None, ""):
            value = "none"
        return f"{name} {value} ({self.config.origin(name)})"

    @property
    def where(self) -> str:
        """The address that others reach, with its origin."""
        return f"bind {self.reachable} ({self.config.origin('bind')})"

    def chosen(self, name: str) -> bool:
        """Whether somebody has set it."""
        return self.config.origin(name) != "default"


def _who_is_believed(seen: _Seen) -> Iterator[Finding]:
    config = seen.config
    if seen.reachable and EVERYBODY in config.forwarded_allow_ips and config.forwarded_follow:
        what = ", ".join(config.forwarded_follow)
        yield Finding(DANGEROUS, f"{seen.named('forwarded_allow_ips')} with {seen.where}: every "
                      f"client decides what the application sees as {what}. Name the proxies")
    if (seen.reachable and config.proxy_protocol != "off"
            and EVERYBODY in config.proxy_allow_ips):
        yield Finding(DANGEROUS, f"{seen.named('proxy_allow_ips')} with "
                      f"{seen.named('proxy_protocol')} and {seen.where}: every client decides its "
                      "REMOTE_ADDR. Name the proxies")
    speaking = [address for address in config.bind if address.kind == "tcp"
                and (address.protocol or config.protocol) == "uwsgi"
                and address.host not in ("127.0.0.1", "::1", "localhost")]
    if speaking and EVERYBODY in config.uwsgi_allow_ips:
        yield Finding(DANGEROUS, f"{seen.named('uwsgi_allow_ips')} with bind {speaking[0]} "
                      f"({config.origin('bind')}): every client decides REMOTE_USER and all other "
                      "variables of the protocol. Name the proxies")
    if config.header_map == "dangerous":
        yield Finding(DANGEROUS, f"{seen.named('header_map')}: X_Forwarded_For and its like reach "
                      "the application under the names of the fields that a proxy sets. drop is "
                      "safe")
    if config.cert_reqs == "optional":
        yield Finding(DANGEROUS, f"{seen.named('cert_reqs')}: a client without a certificate is "
                      "let in, and only the application can refuse it. required refuses it")
    if (seen.chosen("forwarded_follow") and not config.forwarded_allow_ips
            and not any(address.kind == "unix" for address in config.bind)):
        yield Finding(POINTLESS, f"{seen.named('forwarded_follow')} with "
                      f"{seen.named('forwarded_allow_ips')}: no proxy is trusted, so none is "
                      "followed")


def _development(seen: _Seen) -> Iterator[Finding]:
    config = seen.config
    for name, why in (("reload", "requests wait while workers restart, at each change of a file"),
                      ("strict_wsgi", "a request costs several times the server's own work")):
        if getattr(config, name) and seen.reachable:
            yield Finding(DANGEROUS, f"{seen.named(name)} with {seen.where}: {why}. It is meant "
                          "for development, at 127.0.0.1")
    if config.loglevel == "debug" and seen.reachable:
        yield Finding(POINTLESS, f"{seen.named('loglevel')} with {seen.where}: the log grows "
                      "without end")


def _time(seen: _Seen) -> Iterator[Finding]:
    config = seen.config
    if not config.timeout:
        yield Finding(DANGEROUS, f"{seen.named('timeout')}: a request that hangs keeps its thread "
                      f"for good, one of {seen.named('threads')}. Give it a limit above the "
                      "longest request")
    elif config.graceful_timeout < config.timeout:
        yield Finding(DANGEROUS, f"{seen.named('graceful_timeout')} with {seen.named('timeout')}: "
                      "a deploy cuts off requests that are still within their time")
    if 0 < config.keepalive <= LOAD_BALANCER and seen.reachable:
        yield Finding(DANGEROUS, f"{seen.named('keepalive')}: load balancers keep a connection for "
                      f"{LOAD_BALANCER:g} seconds, so they send requests into closing ones, and "
                      "answer 502. Choose more than theirs")
    if not config.keepalive and config.tls:
        yield Finding(POINTLESS, f"{seen.named('keepalive')} with {seen.named('certfile')}: each "
                      "request needs a handshake, which costs more than the request")
    if not config.queue_target:
        yield Finding(DANGEROUS, f"{seen.named('queue_target')}: past capacity every request waits "
                      "until its client has given up, and is run all the same")
    elif config.timeout and config.queue_target >= config.timeout:
        yield Finding(POINTLESS, f"{seen.named('queue_target')} with {seen.named('timeout')}: "
                      "requests may wait for longer than they may run, so nothing is refused in "
                      "time")
    if 0 < config.max_lifetime < 60:
        yield Finding(DANGEROUS, f"{seen.named('max_lifetime')}: workers are replaced all the "
                      "time, and each import of the application costs a CPU")


def _sizes(seen: _Seen) -> Iterator[Finding]:
    config, machine = seen.config, seen.machine
    if seen.reachable and not config.limit_request_body:
        yield Finding(DANGEROUS, f"{seen.named('limit_request_body')} with {seen.where}: one "
                      "client can fill the disk of the temporary files. Set the largest upload")
    if not config.response_memory:
        yield Finding(DANGEROUS, f"{seen.named('response_memory')}: slow readers of large "
                      "responses can fill the memory")
    most = max(config.workers, 1) * config.worker_connections * config.body_memory
    if machine.memory and most > machine.memory and (
            seen.chosen("body_memory") or seen.chosen("worker_connections")):
        yield Finding(DANGEROUS, f"{seen.named('body_memory')}, "
                      f"{seen.named('worker_connections')} and {seen.named('workers')}: bodies may "
                      f"take {most >> 20} MiB, and the machine has {machine.memory >> 20}")
    if 0 < config.limit_request_body < config.body_memory and seen.chosen("body_memory"):
        yield Finding(POINTLESS, f"{seen.named('body_memory')} with "
                      f"{seen.named('limit_request_body')}: no body is as large, so none goes to "
                      "a file")
    header = config.limit_request_header or 1 << 24
    if config.limit_request_field_size > header:
        yield Finding(POINTLESS, f"{seen.named('limit_request_field_size')} with "
                      f"{seen.named('limit_request_header')}: a field that large is more than the "
                      "header section may be")
    if seen.chosen("worker_connections") and 0 < machine.files < config.worker_connections:
        yield Finding(DANGEROUS, f"{seen.named('worker_connections')}: this process may open "
                      f"{machine.files} files (ulimit -n), so connections are refused before")
    if machine.backlog and config.backlog > machine.backlog and seen.chosen("backlog"):
        yield Finding(POINTLESS, f"{seen.named('backlog')}: the kernel's own limit is "
                      f"{machine.backlog} (net.core.somaxconn)")


def _workers(seen: _Seen) -> Iterator[Finding]:
    config, machine = seen.config, seen.machine
    if seen.reachable and config.workers <= 1 and config.threads == 1:
        yield Finding(DANGEROUS, f"{seen.named('workers')} with {seen.named('threads')} and "
                      f"{seen.where}: one slow request makes all others wait. Set workers auto, or "
                      "more threads")
    if config.workers > 4 * machine.cpus:
        yield Finding(POINTLESS, f"{seen.named('workers')}: there are {machine.cpus} CPUs, and "
                      "each worker has a copy of the application. threads cost less for requests "
                      "that wait")
    if config.cpu_affinity and config.workers > machine.cpus:
        yield Finding(DANGEROUS, f"{seen.named('cpu_affinity')} with {seen.named('workers')}: "
                      f"there are {machine.cpus} CPUs, so workers share one although another is "
                      "idle")
    if config.worker_connections < config.threads:
        yield Finding(POINTLESS, f"{seen.named('threads')} with "
                      f"{seen.named('worker_connections')}: there are never as many requests at a "
                      "time")
    if 0 < config.max_requests < 100:
        yield Finding(DANGEROUS, f"{seen.named('max_requests')}: workers are replaced all the "
                      "time, and each import of the application costs a CPU")
    if config.preload_app and config.max_rss:
        yield Finding(POINTLESS, f"{seen.named('max_rss')} with {seen.named('preload_app')}: what "
                      "the workers share counts for each of them, so the limit must be above it")
    if config.reuse_port:
        yield Finding(DANGEROUS, f"{seen.named('reuse_port')}: a second server on the same address "
                      "takes a part of the requests, and nothing says so. A deploy does not need "
                      "it: HUP and USR2 keep the sockets")


def _process(seen: _Seen) -> Iterator[Finding]:
    config = seen.config
    if seen.machine.root and config.user is None:
        yield Finding(DANGEROUS, f"{seen.named('user')}: root starts the server, so the "
                      "application runs as root, too. Set user, or start it as another user")
    if seen.machine.root and config.pidfile.startswith(("/tmp/", "/var/tmp/")):
        yield Finding(DANGEROUS, f"{seen.named('pidfile')}: everybody may write in that directory. "
                      "Use /run")
    if config.daemon:
        for name in ("errorlog", "accesslog"):
            if getattr(config, name) == "-":
                yield Finding(DANGEROUS, f"{seen.named('daemon')} with {seen.named(name)}: a "
                              "daemon has no stdout and stderr, so the log is lost. Name a file")
    secrets = [item.partition("=")[0] for item in config.raw_env
               if is_secret(item.partition("=")[0])]
    if secrets and config.origin("raw_env").startswith("command line"):
        yield Finding(DANGEROUS, f"raw_env {', '.join(secrets)} ({config.origin('raw_env')}): "
                      "every local user sees command lines in ps. Set it in the environment")
    if seen.reachable and config.tls and any(
            address.scheme == "http" and address.kind == "tcp"
            and address.host not in ("127.0.0.1", "::1", "localhost") for address in config.bind):
        yield Finding(DANGEROUS, f"{seen.named('certfile')} with {seen.named('bind')}: the plain "
                      "address serves everything without TLS, too. Let the application redirect")


_RULES: tuple[Callable[[_Seen], Iterator[Finding]], ...] = (
    _who_is_believed, _development, _time, _sizes, _workers, _process)
