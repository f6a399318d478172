"""``--explain``: what is dangerous or pointless together, in one sentence with its origins."""

from __future__ import annotations

from typing import Any

import pytest
from apps.command import Command, Project

from fastwsgi.config.explain import Machine, explain, findings, this_machine
from fastwsgi.config.sources import from_keywords

MACHINE = Machine(root=False, cpus=2, memory=8 << 30, files=20_000, backlog=4096)
OPEN = {"bind": "0.0.0.0:80"}
WELL = {"workers": 2, "limit_request_body": 1 << 20}
"""With these an address that others reach is nothing to speak of."""


def said(machine: Machine = MACHINE, **settings: Any) -> list[tuple[str, str]]:
    return [tuple(finding) for finding in findings(from_keywords(settings), machine)]


def test_the_defaults_are_neither_dangerous_nor_pointless() -> None:
    assert said() == []
    assert said(**OPEN, **WELL) == []
    assert explain(from_keywords({}), MACHINE) == (
        "Nothing in the configuration is dangerous or pointless.\n")


@pytest.mark.parametrize(("settings", "kind", "beginning", "advice"), [
    ({**OPEN, **WELL, "forwarded_allow_ips": "*"}, "dangerous",
     "forwarded_allow_ips * (keyword) with bind 0.0.0.0:80 (keyword): every client decides what "
     "the application sees as scheme", "Name the proxies"),
    ({**OPEN, **WELL, "proxy_protocol": "v2", "proxy_allow_ips": "*"}, "dangerous",
     "proxy_allow_ips * (keyword) with proxy_protocol v2 (keyword)", "REMOTE_ADDR"),
    ({**WELL, "bind": "uwsgi://:81", "uwsgi_allow_ips": "*"}, "dangerous",
     "uwsgi_allow_ips * (keyword) with bind uwsgi://0.0.0.0:81 (keyword)", "REMOTE_USER"),
    ({"header_map": "dangerous"}, "dangerous", "header_map dangerous (keyword)", "drop is safe"),
    ({"forwarded_follow": "address", "forwarded_allow_ips": ""}, "pointless",
     "forwarded_follow address (keyword) with forwarded_allow_ips none (keyword)", "trusted"),
    ({**OPEN, **WELL, "reload": True}, "dangerous", "reload on (keyword) with bind 0.0.0.0:80",
     "development"),
    ({**OPEN, **WELL, "strict_wsgi": True}, "dangerous", "strict_wsgi on (keyword)", "develop"),
    ({**OPEN, **WELL, "loglevel": "debug"}, "pointless", "loglevel debug (keyword)", "log grows"),
    ({"timeout": 0}, "dangerous", "timeout 0 (keyword)", "threads 1 (default)"),
    ({"timeout": 90}, "dangerous",
     "graceful_timeout 30 (default) with timeout 90 (keyword): a deploy cuts off", "cuts off"),
    ({**OPEN, **WELL, "keepalive": 2}, "dangerous", "keepalive 2 (keyword)", "502"),
    ({"queue_target": 0}, "dangerous", "queue_target 0 (keyword)", "given up"),
    ({"queue_target": 40}, "pointless",
     "queue_target 40 (keyword) with timeout 30 (default)", "in time"),
    ({"max_lifetime": 5}, "dangerous", "max_lifetime 5 (keyword)", "replaced all the time"),
    ({**OPEN, "workers": 2}, "dangerous",
     "limit_request_body 0 (default) with bind 0.0.0.0:80 (keyword)", "largest upload"),
    ({"response_memory": 0}, "dangerous", "response_memory 0 (keyword)", "memory"),
    ({"body_memory": "2M", "workers": 2}, "dangerous",
     "body_memory 2097152 (keyword), worker_connections 10000 (default) and workers 2 (keyword)",
     "the machine has 8192"),
    ({"limit_request_body": 1000, "body_memory": 2000}, "pointless",
     "body_memory 2000 (keyword) with limit_request_body 1000 (keyword)", "none goes to a file"),
    ({"limit_request_field_size": 100_000}, "pointless",
     "limit_request_field_size 100000 (keyword) with limit_request_header 65536 (default)", "more"),
    ({"worker_connections": 50_000, "body_memory": 1}, "dangerous",
     "worker_connections 50000 (keyword)", "may open 20000 files"),
    ({"backlog": 5000}, "pointless", "backlog 5000 (keyword)", "4096 (net.core.somaxconn)"),
    ({**OPEN, "limit_request_body": 1}, "dangerous",
     "workers 1 (default) with threads 1 (default) and bind 0.0.0.0:80 (keyword)", "auto"),
    ({"workers": 9}, "pointless", "workers 9 (keyword): there are 2 CPUs", "threads cost less"),
    ({"workers": 4, "cpu_affinity": True}, "dangerous",
     "cpu_affinity on (keyword) with workers 4 (keyword)", "idle"),
    ({"threads": 8, "worker_connections": 4}, "pointless",
     "threads 8 (keyword) with worker_connections 4 (keyword)", "at a time"),
    ({"max_requests": 5}, "dangerous", "max_requests 5 (keyword)", "replaced all the time"),
    ({"preload_app": True, "max_rss": 500}, "pointless",
     "max_rss 500 (keyword) with preload_app on (keyword)", "above it"),
    ({"reuse_port": True}, "dangerous", "reuse_port on (keyword)", "HUP and USR2"),
    ({"daemon": True}, "dangerous", "daemon on (keyword) with errorlog - (default)", "Name a file"),
    ({"max_requests_jitter": 5}, "pointless", "max_requests_jitter (from keyword) has no effect",
     "without max_requests"),
    ({"worker_tmp_dir": "/dev/shm"}, "pointless", "worker_tmp_dir (from keyword) has no effect",
     "heartbeat"),
], ids=lambda value: " ".join(map(str, value)) if isinstance(value, dict) else "")
def test_what_is_said_names_values_and_origins(
    settings: dict[str, Any], kind: str, beginning: str, advice: str,
) -> None:
    if settings.get("daemon"):
        settings = {**settings, "accesslog": "/var/log/access"}
    (found,) = said(**settings)
    assert found[0] == kind
    assert found[1].startswith(beginning)
    assert advice in found[1]
    assert "\n" not in found[1]


@pytest.mark.parametrize(("settings", "words"), [
    ({}, "user none (default): root starts the server"),
    ({"user": 1000, "pidfile": "/tmp/pid"}, "pidfile /tmp/pid (keyword): everybody may write"),
])
def test_what_root_does_is_looked_at(settings: dict[str, Any], words: str) -> None:
    ((kind, text),) = said(MACHINE._replace(root=True), **settings)
    assert (kind, text[:len(words)]) == ("dangerous", words)


def test_this_machine_is_known() -> None:
    assert this_machine().cpus >= 1
    assert this_machine().memory > 1 << 20


def test_the_command_explains_and_serves_nothing(command: Command, project: Project) -> None:
    project({"c.py": "timeout = 90\nmax_requests_jitter = 5\nuser = 65534\n"
                     "raw_env = ['COLOUR=red']"})
    done = command("--explain", "-c", "c.py", "--reuse-port", "-e", "API_TOKEN=hidden", "no:app")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines] == [
        "graceful_timeout", "reuse_port", "raw_env", "max_requests_jitter"]
    assert [line.split(":")[0] for line in lines] == ["dangerous"] * 3 + ["pointless"]
    assert "timeout 90 (c.py)" in lines[0]
    assert "reuse_port on (command line --reuse-port)" in lines[1]
    assert "raw_env API_TOKEN (command line --env)" in lines[2]
    assert "hidden" not in done.stdout


def test_what_cannot_be_is_an_error_as_always(command: Command) -> None:
    done = command("--explain", "--reload", "--preload", "app:app")
    assert done.returncode == 2
    assert "contradict each other" in done.stderr
