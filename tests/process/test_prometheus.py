"""A real Prometheus that scrapes workers being recycled: what it stores agrees with the clients."""

from __future__ import annotations

import json
import shutil
import subprocess
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from apps.client import Address, Client, fetch
from apps.eventually import GUARD, eventually
from apps.metrics import place
from apps.ports import reserved
from apps.programs import plain_environ

from fastwsgi.testing import Process, spawn

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed")

APP = """
    def app(environ, start_response):
        start_response(f"{environ['PATH_INFO'][1:]} Said", [])
        return [b"answer"]
    """
ASKED = ("200", "404", "503", "200")
CLIENTS = 4
RECYCLED = 4
EVERY = "200ms"  # between two scrapes, of which none may last longer

NEVER_BACK = (
    "fastwsgi_requests_total", "fastwsgi_request_seconds_count", "fastwsgi_received_bytes_total",
    "fastwsgi_application_seconds_bucket", "fastwsgi_threads_busy_seconds_total",
    "fastwsgi_worker_starts_total")

Series = dict[str, list[tuple[float, float]]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    where = tmp_path_factory.mktemp("recycled")
    (where / "app.py").write_text(textwrap.dedent(APP))
    with spawn("-w", "4", "--max-requests", "40", "--max-requests-jitter", "20",
               "--metrics-bind", "127.0.0.1:0", "app:app", cwd=where) as process:
        yield process


@pytest.fixture(scope="module")
def prometheus(server: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The address of one that scrapes the server."""
    where = tmp_path_factory.mktemp("prometheus")
    host, port = place(server)
    (where / "prometheus.yml").write_text(textwrap.dedent(f"""
        global: {{scrape_interval: {EVERY}, scrape_timeout: {EVERY}}}
        scrape_configs:
          - job_name: fastwsgi
            static_configs: [{{targets: ["{host}:{port}"]}}]
        """))
    with reserved() as address, (where / "log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={where / 'prometheus.yml'}",
             f"--storage.tsdb.path={where / 'data'}",
             f"--web.listen-address={address[0]}:{address[1]}"],
            stdout=log, stderr=log, cwd=where, env=plain_environ())
        try:
            eventually(lambda: answers(address), bool)
            yield address
        finally:
            process.terminate()
            process.wait(GUARD)


def answers(address: Address) -> bool:
    """Whether Prometheus stores what it has scraped."""
    try:
        return bool(stored(address, "fastwsgi_workers"))
    except (OSError, ValueError):  # it does not listen, or is not ready
        time.sleep(0.02)  # it tells nobody, and to ask without a pause takes its processor
        return False


def stored(address: Address, name: str) -> Series:
    """Every sample of a metric, by its labels."""
    answer = fetch(address, f"/api/v1/query?query={quote(name + '[10m]')}")
    return {json.dumps(one["metric"], sort_keys=True): [(when, float(value))
                                                        for when, value in one["values"]]
            for one in json.loads(answer.body)["data"]["result"]}


def last(series: Series, **labels: str) -> float:
    """The sum of the last samples of the series with these labels."""
    return sum(samples[-1][1] for key, samples in series.items()
               if labels.items() <= json.loads(key).items())


def ask(server: Process, counted: Counter[str], enough: threading.Event) -> None:
    """Ask on connections that are kept as long as the workers let them be."""
    while not enough.is_set():
        with Client(server.address) as client:
            for status in ASKED * 2:
                response = client.fetch(f"/{status}")
                assert str(response.status) == status
                counted[f"{response.status // 100}xx"] += 1
                if response.closes:
                    break


def test_counters_never_go_back_and_equal_what_clients_count(
    server: Process, prometheus: Address,
) -> None:
    tallies: list[Counter[str]] = [Counter() for _ in range(CLIENTS)]
    enough = threading.Event()
    threads = [threading.Thread(target=ask, args=(server, tally, enough)) for tally in tallies]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: last(stored(prometheus, "fastwsgi_worker_ends_total"), cause="limit"),
                   lambda recycled: recycled >= RECYCLED)
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    counted = sum(tallies, Counter())
    for name in ("fastwsgi_requests_total", "fastwsgi_request_seconds_count"):
        eventually(lambda name=name: last(stored(prometheus, name)),  # type: ignore[misc]
                   lambda seen: seen >= sum(counted.values()))
        assert last(stored(prometheus, name)) == sum(counted.values())
    requests = stored(prometheus, "fastwsgi_requests_total")
    for status, count in counted.items():
        assert last(requests, status=status) == count
    for name in NEVER_BACK:
        found = stored(prometheus, name)
        assert found
        for key, samples in found.items():
            values = [value for _, value in samples]
            assert values == sorted(values), key
