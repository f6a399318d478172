"""statsd and dogstatsd get gunicorn's metrics, with names, prefix and tags; routes have labels."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from apps import ROOT
from apps.client import Client, fetch, request
from apps.command import Command, Project
from apps.metrics import GUARD, place, scraped, total, until

from fastwsgi.testing import raw, spawn

APP = """
    def app(environ, start_response):
        path = environ["PATH_INFO"]
        if path.startswith("/named/"):
            environ["fastwsgi.route"] = "/named/<id>"
        if path.startswith("/odd/"):
            environ["fastwsgi.route"] = {"/odd/bytes": b"x", "/odd/nul": "a\\0b",
                                         "/odd/quoted": 'a"b\\\\c\\nd', "/odd/none": None}[path]
        if path.startswith("/many/"):
            environ["fastwsgi.route"] = path
        if path == "/keyed":
            environ["bottle.route"] = "keyed"
        start_response("404 Not Found" if path == "/missing" else "200 OK", [])
        return [b"answer"]
    """


class Receiver:
    """A statsd: it sums counters, and collects what else it gets."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.counters: Counter[str] = Counter()
        self.times = 0
        self.gauges: dict[str, float] = {}
        self.lines: list[str] = []

    def until(self, wanted: dict[str, int], times: int) -> None:
        """Receive until all counters have come to these sums, and as many times."""
        end = time.monotonic() + GUARD
        while (self.times < times or not self.gauges
               or any(self.counters[name] < n for name, n in wanted.items())):
            assert time.monotonic() < end, self.lines
            self._take(self.socket.recv(65536).decode("ascii"))
        assert {name: self.counters[name] for name in wanted} == wanted
        assert self.times == times

    def _take(self, line: str) -> None:
        self.lines.append(line)
        found = re.fullmatch(r"([\w.]+):([\d.]+)\|(c|ms|g|h)(?:\|@([\d.]+))?(\|#.*)?", line)
        assert found is not None, line
        name, value, kind, rate, _ = found.groups()
        if kind == "c":
            self.counters[name] += int(value)
        elif kind == "ms":
            self.times += round(1 / float(rate or 1))
        else:
            self.gauges[name] = float(value)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_statsd_gets_what_gunicorn_sends(project: Project, workers: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(GUARD)
        receiver = Receiver(sock)
        with spawn("-w", workers, "--statsd-host", f"127.0.0.1:{sock.getsockname()[1]}",
                   "--statsd-prefix", "shop.", "--dogstatsd-tags", "env:test,zone:a", "app:app",
                   cwd=project(app=APP)) as server:
            with Client(server.address) as client:
                for path in ["/"] * 5 + ["/missing"] * 2:
                    client.fetch(path)
            raw(server.address, b"GET / HTTP/1.1\r\n\r\n")
            receiver.until({"shop.gunicorn.requests": 8, "shop.gunicorn.request.status.200": 5,
                            "shop.gunicorn.request.status.404": 2,
                            "shop.gunicorn.request.status.400": 1}, 7)
            assert receiver.gauges["shop.gunicorn.workers"] == 1
            assert all(line.endswith("|#env:test,zone:a") for line in receiver.lines)
            assert fetch(server.address, "/").status == 200
            assert server.terminate() == 0  # what has not been sent is sent at the end
        receiver.until({"shop.gunicorn.requests": 9}, 8)


def test_statsd_on_a_unix_socket_that_is_not_there_yet(project: Project, tmp_path: Path) -> None:
    with spawn("-w", "1", "--statsd-host", f"unix:{tmp_path}/statsd", "app:app",
               cwd=project(app=APP)) as server:
        server.wait_for("statsd_host: cannot send to unix:")
        assert fetch(server.address, "/").status == 200


def test_requests_have_labels_by_route(project: Project) -> None:
    with spawn("-w", "2", "--metrics-bind", "127.0.0.1:0", "--max-requests", "100",
               "--route-label", "bottle.route", "--route-label", "/users/*=user",
               "--route-label", "/users*=users", "app:app", cwd=project(app=APP)) as server:
        at = place(server)
        wanted = {"/named/<id>": 2, "user": 2, "users": 1, "keyed": 1, "b'x'": 1, "a": 1}
        with Client(server.address) as client:
            for path in ["/named/1", "/named/2", "/users/1", "/users/2?x", "/users", "/keyed",
                         "/odd/bytes", "/odd/nul", "/odd/quoted", "/odd/none", "/missing"]:
                client.fetch(path)
        found = scraped(at)
        for route, count in wanted.items():
            assert total(found, "fastwsgi_requests_total", method="GET", route=route) == count
        odd = r'route="a\"b\\c\nd"'
        assert found[f'fastwsgi_requests_total{{method="GET",status="2xx",{odd}}}'] == 1
        assert total(found, "fastwsgi_requests_total") == 11
        until(at, lambda now: total(
            now, "fastwsgi_route_application_seconds_count", route="user") == 2)
        with Client(server.address) as client:
            for number in range(250):
                client.fetch(f"/many/{number}")
        server.wait_for("asking for a replacement")
        found = scraped(at)
        assert total(found, "fastwsgi_requests_total") == 261
        assert total(found, "fastwsgi_requests_total", route="user") == 2
        names = {name for name in found if name.startswith("fastwsgi_route_application_seconds_c")}
        assert len(names) <= 100
        assert total(found, "fastwsgi_requests_total", route="other") > 100


def test_an_application_names_its_routes_without_a_setting(project: Project) -> None:
    with spawn("-w", "0", "--metrics-bind", "127.0.0.1:0", "app:app",
               cwd=project(app=APP)) as server:
        assert raw(server.address, request("/named/7", "Connection: close")).startswith(b"HTTP")
        assert fetch(server.address, "/other").status == 200
        found = scraped(place(server))
        assert total(found, "fastwsgi_requests_total", route="/named/<id>") == 1
        assert total(found, "fastwsgi_requests_total") == 2


@pytest.mark.parametrize("given, said", [
    (("--statsd-host", ":8125"), "statsd_host must be HOST:PORT or unix:PATH"),
    (("--statsd-host", "https://h:1"), "statsd_host must be HOST:PORT or unix:PATH"),
    (("--statsd-host", "h:99999"), "statsd_host must be HOST:PORT or unix:PATH"),
    (("--statsd-prefix", "a b"), "statsd_prefix must be visible ASCII"),
    (("--dogstatsd-tags", "a|b"), "dogstatsd_tags must be visible ASCII"),
    (("--route-label", "key=name"), "route_label must be a variable of the environ"),
    (("--route-label", "/users/*="), "route_label must be PATTERN=NAME"),
])
def test_bad_settings_are_refused(command: Command, given: tuple[str, ...], said: str) -> None:
    done = command(*given, "app:app")
    assert done.returncode == 2
    assert said in done.stderr


def test_dashboard_and_alerts_ask_for_metrics_that_exist(project: Project) -> None:
    with spawn("-w", "1", "--metrics-bind", "127.0.0.1:0", "app:app",
               cwd=project(app=APP)) as server:
        assert fetch(server.address, "/named/1").status == 200
        told = {name.partition("{")[0] for name in until(
            place(server), lambda now: total(now, "fastwsgi_route_application_seconds_count") == 1)}
    for file in ("grafana.json", "alerts.yml"):
        text = (ROOT / "examples" / file).read_text()
        assert set(re.findall(r"fastwsgi_\w+", text)) <= told
    json.loads((ROOT / "examples" / "grafana.json").read_text())


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_alert_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(ROOT / "examples" / "alerts.yml")],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
