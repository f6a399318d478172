"""The metrics as a scraper sees them: they agree with what clients count, whatever happens."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from apps.client import Address, Client, fetch, request
from apps.command import Command, Project, ready
from apps.metrics import Samples, place, scraped, total, until
from apps.workers import Calls

from fastwsgi.testing import Process, raw, spawn

APP = """
    import os, socket
    def app(environ, start_response):
        path = environ["PATH_INFO"]
        if path.startswith("/hold"):
            with socket.create_connection(("127.0.0.1", int(path[6:]))) as side:
                side.sendall(b"%d\\n" % os.getpid())
                side.recv(1)
            path = "/200"
        if path == "/large":
            start_response("200 OK", [("Content-Length", str(8 << 20))])
            return (bytes(65536) for _ in range(128))
        if path == "/fail":
            raise RuntimeError("on purpose")
        start_response(f"{path[1:] or 200} Said", [])
        return [b"answer"]
    """
BIND = ("--metrics-bind", "127.0.0.1:0")
SHARED = ("-w", "2", "--threads", "2", *BIND, "--live-path", "/live", "--ready-path", "/ready",
          "--limit-request-line", "100", "--write-timeout", "5", "app:app")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server of several workers and threads, for tests that only add to what it counts."""
    import textwrap

    where = tmp_path_factory.mktemp("metrics")
    (where / "app.py").write_text(textwrap.dedent(APP))
    with spawn(*SHARED, cwd=where) as process:
        yield process


@pytest.fixture
def metrics(server: Process) -> Address:
    return place(server)


def growth(before: Samples, after: Samples, family: str, **labels: str) -> float:
    """What has been added between two scrapes."""
    return total(after, family, **labels) - total(before, family, **labels)


def test_requests_count_by_method_and_class(server: Process, metrics: Address) -> None:
    before = scraped(metrics)
    asked: Counter[tuple[str, str]] = Counter()
    with Client(server.address) as client:
        for method, status in [("GET", 200), ("GET", 404), ("POST", 201), ("PATCH", 302),
                               ("HEAD", 200), ("MKCOL", 503), ("GET", 200)]:
            assert client.fetch(f"/{status}", method=method).status == status
            known = method if method != "MKCOL" else "other"
            asked[known, f"{status // 100}xx"] += 1
    assert fetch(server.address, "/fail").status == 500
    asked["GET", "5xx"] += 1
    after = scraped(metrics)  # at once: a response that is here has been counted
    for (method, status), count in asked.items():
        assert growth(before, after, "fastwsgi_requests_total", method=method,
                      status=status) == count
    assert growth(before, after, "fastwsgi_requests_total") == asked.total()
    until(metrics, lambda now: growth(  # its times come when it has been sent
        before, now, "fastwsgi_request_seconds_count") == asked.total())


def test_health_checks_do_not_count(server: Process, metrics: Address) -> None:
    before = scraped(metrics)
    assert fetch(server.address, "/live").status == 200
    after = scraped(metrics)
    assert growth(before, after, "fastwsgi_requests_total") == 0
    assert growth(before, after, "fastwsgi_refused_total") == 0


@pytest.mark.parametrize("sent, reason, status", [
    (b"GET / HTTP/1.1\r\n\r\n", "bad_request", "400"),
    (b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"a" * 200), "line_size", "414"),
    (b"GET / HTTP/3.0\r\nHost: h\r\n\r\n", "version", "505"),
    (b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "not_implemented", "501"),
])
def test_refusals_count_by_reason_and_as_requests(
    server: Process, metrics: Address, sent: bytes, reason: str, status: str,
) -> None:
    before = scraped(metrics)
    assert raw(server.address, sent).startswith(b"HTTP/1.1 " + status.encode())
    after = scraped(metrics)
    assert growth(before, after, "fastwsgi_refused_total", reason=reason, status=status) == 1
    assert growth(before, after, "fastwsgi_refused_total") == 1
    assert growth(before, after, "fastwsgi_requests_total", status=f"{status[0]}xx") == 1


def test_what_threads_do_is_seen_while_they_do_it(server: Process, metrics: Address) -> None:
    with contextlib.closing(Calls()) as calls, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.address)) for _ in range(5)]
        for client in clients:
            client.send(request(f"/hold/{calls.port}"))
        found = until(metrics, lambda now: total(now, "fastwsgi_threads_busy") == 4 and total(
            now, "fastwsgi_requests_waiting") + total(
            now, "fastwsgi_connections", state="travelling") == 1)
        assert total(found, "fastwsgi_threads") == 4
        assert total(found, "fastwsgi_utilization_ratio") == 1
        until(metrics, lambda now: growth(
            found, now, "fastwsgi_threads_busy_seconds_total") > 0.01)
        until(metrics, lambda now: total(now, "fastwsgi_connections", state="busy") == 4)
        calls.close()
        for client in clients:
            assert client.response().status in (200, 500)  # 500: the last one finds nobody there
        after = until(metrics, lambda now: growth(
            found, now, "fastwsgi_application_seconds_count") == 5 and not total(
            now, "fastwsgi_threads_busy") and not total(now, "fastwsgi_requests_oldest_seconds"))
        assert growth(found, after, "fastwsgi_application_seconds_sum") > 0
        assert growth(found, after, "fastwsgi_queue_seconds_sum") > 0


def test_a_slow_client_is_sending_and_not_the_application(
    server: Process, metrics: Address,
) -> None:
    before = scraped(metrics)
    with Client(server.address, receive_buffer=4096) as client:
        began = time.monotonic()
        client.send(request("/large"))
        until(metrics, lambda now: total(now, "fastwsgi_connections", state="suspended") == 1)
        suspended = time.monotonic()  # it waits for longer than the application can have taken
        now = until(metrics, lambda _: time.monotonic() - suspended > suspended - began)
        assert growth(before, now, "fastwsgi_responses_suspended_total") >= 1
        assert len(client.response().body) == 8 << 20
    after = until(metrics, lambda now: growth(before, now, "fastwsgi_send_seconds_count") == 1)
    assert growth(before, after, "fastwsgi_send_seconds_sum") > growth(
        before, after, "fastwsgi_application_seconds_sum")
    assert until(metrics, lambda now: growth(before, now, "fastwsgi_sent_bytes_total") > 8 << 20)


def test_buckets_add_up(metrics: Address) -> None:
    found = scraped(metrics)
    for name in ("queue", "application", "send", "request"):
        buckets = [value for key, value in found.items()
                   if key.startswith(f"fastwsgi_{name}_seconds_bucket")]
        assert buckets == sorted(buckets)
        assert buckets[-1] == found[f"fastwsgi_{name}_seconds_count"]


def test_what_workers_take_is_told_by_worker(server: Process, metrics: Address) -> None:
    found = scraped(metrics)
    pids = {int(value) for name, value in found.items() if "worker_process_id" in name}
    assert pids == set(ready(server))
    assert total(found, "fastwsgi_workers") == 2
    assert total(found, "fastwsgi_worker_starts_total", cause="start") == 2
    for kind in ("resident", "proportional"):
        sizes = [value for name, value in found.items() if f"worker_{kind}_memory" in name]
        assert len(sizes) == 2
        assert min(sizes) > 1 << 20


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_has_nothing_to_say(metrics: Address) -> None:
    text = fetch(metrics, "/metrics").body.decode()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                          capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_openmetrics_is_told_to_whoever_prefers_it(metrics: Address) -> None:
    accept = ("Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;"
              "version=0.0.4;q=0.3,*/*;q=0.1")
    response = fetch(metrics, "/metrics", accept)
    assert (response.get("Content-Type") or "").startswith("application/openmetrics-text")
    text = response.body.decode()
    assert text.endswith("# EOF\n")
    assert "# TYPE fastwsgi_requests counter" in text
    assert not re.search(r"^# TYPE \S+_total ", text, re.MULTILINE)
    assert (fetch(metrics, "/metrics").get("Content-Type") or "").startswith("text/plain; version=")


@pytest.mark.parametrize("sent, status", [
    (request("/"), 404), (request("/metrics", method="POST"), 405), (b"nonsense\r\n\r\n", 400),
    (request("/metrics?name=all", method="HEAD"), 200), (b"GET /\r\n\r\n", 400),
    (request("/metrics", f"X: {'x' * 9000}"), 431), (request("/ready"), 200),
    (request("/live"), 200),
])
def test_the_address_answers_nothing_else(metrics: Address, sent: bytes, status: int) -> None:
    assert raw(metrics, sent).startswith(b"HTTP/1.1 %d " % status)


def test_scrapers_that_hang_hold_nobody(server: Process, metrics: Address) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(40):
            sock = stack.enter_context(socket.create_connection(metrics))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            sock.sendall(request("/metrics") if number % 2 else b"GET /met")
        assert total(scraped(metrics), "fastwsgi_workers") == 2
        assert fetch(server.address, "/200").status == 200


@contextlib.contextmanager
def load(address: Address, clients: int) -> Iterator[Counter[int]]:
    """Clients that ask again and again, on a connection each, and count what they are answered."""
    ended = threading.Event()
    counts: list[Counter[int]] = [Counter() for _ in range(clients)]

    def ask(own: Counter[int]) -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError, AssertionError, ValueError), Client(
                    address) as client:
                while not ended.is_set():
                    own[client.fetch(f"/{200 + 2 * (own.total() % 3)}").status] += 1

    threads = [threading.Thread(target=ask, args=(own,), daemon=True) for own in counts]
    for thread in threads:
        thread.start()
    sums: Counter[int] = Counter()
    try:
        yield sums
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        for own in counts:
            sums.update(own)


def never_back(before: Samples, after: Samples) -> None:
    """No counter and no bucket goes back."""
    for name, value in before.items():
        if re.match(r"\w+_(total|bucket|count)\b", name):
            assert after.get(name, value) >= value, name


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["plain", "preload"])
def test_sums_survive_recycling_and_reload_to_the_last_request(
    project: Project, preload: tuple[str, ...],
) -> None:
    with spawn("-w", "2", *BIND, "--max-requests", "100", *preload, "app:app",
               cwd=project(app=APP)) as server:
        at = place(server)
        seen: list[Samples] = [scraped(at)]
        with load(server.address, 2) as counts:
            for cause, wanted in [("limit", 3), ("reload", 2)]:
                if cause == "reload":
                    server.signal(signal.SIGHUP)
                while total(seen[-1], "fastwsgi_worker_ends_total", cause=cause) < wanted:
                    seen.append(scraped(at))
                    never_back(seen[-2], seen[-1])
        last = scraped(at)
        never_back(seen[-1], last)
        assert total(last, "fastwsgi_requests_total") == counts.total()
        assert total(last, "fastwsgi_worker_ends_total", cause="limit") >= 3
        until(at, lambda now: total(now, "fastwsgi_reloads_total", result="done") == 1)
        until(at, lambda now: total(
            now, "fastwsgi_application_seconds_count") == counts.total())


def test_sums_survive_a_worker_that_is_killed(project: Project) -> None:
    with spawn("-w", "1", *BIND, "app:app", cwd=project(app=APP)) as server:
        at = place(server)
        with Client(server.address) as client:
            for _ in range(10):
                client.fetch("/200")
            os.kill(ready(server)[0], signal.SIGKILL)
            server.wait_for("ended unexpectedly")
        last = until(at, lambda now: total(now, "fastwsgi_worker_ends_total", cause="signal") == 1)
        assert total(last, "fastwsgi_requests_total") == 10
        until(at, lambda now: total(now, "fastwsgi_worker_starts_total", cause="death") == 1)


def test_sums_survive_an_upgrade(project: Project) -> None:
    with spawn("-w", "1", *BIND, "app:app", cwd=project(app=APP)) as server:
        at = place(server)
        seen = scraped(at)
        with load(server.address, 2) as counts:
            server.signal(signal.SIGUSR2)
            line = server.wait_for("started a new master")
            new = int(re.findall(r"pid (\d+)", line)[0])
            try:
                server.wait_for("is ready; TERM")
                server.signal(signal.SIGTERM)
                server.wait_for("the upgrade is finished")
                never_back(seen, scraped(at))
            except BaseException:
                os.kill(new, signal.SIGKILL)
                raise
        try:
            last = scraped(at)
            assert total(last, "fastwsgi_requests_total") == counts.total()
            assert total(last, "fastwsgi_workers") == 1
        finally:
            os.kill(new, signal.SIGTERM)


def test_without_a_master_there_are_metrics_too(project: Project) -> None:
    with spawn("-w", "0", *BIND, "app:app", cwd=project(app=APP)) as server:
        for _ in range(3):
            assert fetch(server.address, "/200").status == 200
        found = scraped(place(server))
        assert total(found, "fastwsgi_requests_total") == 3
        assert total(found, "fastwsgi_workers") == 1
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


@pytest.mark.parametrize("given, said", [
    (("--metrics-bind", "https://127.0.0.1:1"), "metrics_bind must be an address without a scheme"),
    (("--metrics-bind", "nowhere:"), "metrics_bind must be HOST:PORT"),
    (("--metrics-bind", "127.0.0.1:9", "--bind", "127.0.0.1:9"), "must differ"),
    (("--metrics-buckets", "1,0.5"), "metrics_buckets must be 1 to 24 numbers of seconds"),
    (("--metrics-buckets", "0,1"), "metrics_buckets must be 1 to 24 numbers"),
    (("--metrics-buckets", "nan"), "metrics_buckets must be 1 to 24 numbers"),
    (("--metrics-buckets", ",".join(map(str, range(1, 26)))), "metrics_buckets must be 1 to 24"),
])
def test_bad_settings_are_refused(command: Command, given: tuple[str, ...], said: str) -> None:
    done = command(*given, "app:app")
    assert done.returncode == 2
    assert said in done.stderr


def test_an_address_that_is_taken_ends_the_start(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("--bind", "127.0.0.1:0", "--metrics-bind", f"127.0.0.1:{port}", "app:app")
    assert done.returncode != 0
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
