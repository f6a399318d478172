"""Every metric: its name, what it means, and where it comes from. docs/operations.md explains them.

Names and labels are an interface: a dashboard, an alert and somebody's years of data depend on
them.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastwsgi._version import __version__
from fastwsgi.metrics.backlog import backlog
from fastwsgi.metrics.page import (
    AT,
    CLASSES,
    LATE,
    METHODS,
    OTHER,
    REFUSALS,
    ROUTES,
    Figures,
    Page,
)
from fastwsgi.metrics.processes import Processes, alive
from fastwsgi.metrics.text import Labels, Text
from fastwsgi.system.sockets import Listener
from fastwsgi.worker.causes import CAUSES

_WIDTH = len(CLASSES)


class Families:
    """The metrics of a server, to be told again and again."""

    def __init__(self, page: Page, listeners: Sequence[Listener]) -> None:
        self._page = page
        self._listeners = listeners
        self._processes = Processes()
        self._busy_seconds = 0.0
        self._routes: set[str] = {OTHER}

    def text(self, *, openmetrics: bool = False) -> bytes:
        """Return them as they are now."""
        figures = self._page.read(alive)
        figures = figures._replace(routes=self._few(figures.routes))
        text = Text(openmetrics=openmetrics)
        text.gauge("fastwsgi_build_info", "The version of the server.",
                   [({"version": __version__}, 1)])
        _requests(text, figures)
        _connections(text, figures)
        self._busy_seconds = max(self._busy_seconds, figures.busy_seconds())
        _threads(text, figures, self._busy_seconds)
        _refusals(text, figures)
        self._backlog(text)
        self._workers(text, figures)
        return text.bytes()

    def _few(self, routes: dict[str, list[int]]) -> dict[str, list[int]]:
        """Keep the routes that were told before, and as many others as there is room for.

        Each worker has its own table, so together they may have more.
        """
        found: dict[str, list[int]] = {}
        for name, numbers in routes.items():
            if name not in self._routes and len(self._routes) < ROUTES:
                self._routes.add(name)
            kept = name if name in self._routes else OTHER
            before = found.get(kept)
            found[kept] = numbers if before is None else [
                a + b for a, b in zip(before, numbers, strict=True)]
        return found

    def _backlog(self, text: Text) -> None:
        found = [(listener.url, backlog(listener.socket)) for listener in self._listeners]
        text.gauge("fastwsgi_backlog", "Connections that the kernel has and no worker has accepted "
                   "yet, by address.",
                   [({"address": url}, waiting) for url, waiting in found if waiting is not None])

    def _workers(self, text: Text, figures: Figures) -> None:
        pids = {slot: numbers[AT["pid"]] for slot, numbers in figures.workers.items()}
        usage = self._processes.usage(list(pids.values()))
        text.gauge("fastwsgi_workers", "Workers that there are, those that end included.",
                   [({}, len(pids))])
        for name, help_text, what in (
                ("starts", "Workers started, by cause.", "cause"),
                ("ends", "Workers that have ended, by cause.", "cause")):
            text.counter(f"fastwsgi_worker_{name}", help_text, [
                ({what: cause}, count) for cause, count in figures.masters(name).items()])
        text.counter("fastwsgi_reloads", "Reloads, by result.", [
            ({"result": result}, count) for result, count in figures.masters("reloads").items()])
        known = [({"worker": str(slot)}, slot, usage[pid]) for slot, pid in pids.items()
                 if pid in usage]
        text.gauge("fastwsgi_worker_process_id", "Process id of a worker, by its slot.",
                   [(labels, pids[slot]) for labels, slot, _ in known])
        text.gauge("fastwsgi_worker_resident_memory_bytes", "Resident memory (RSS) of a worker.",
                   [(labels, one.resident) for labels, _, one in known])
        text.gauge("fastwsgi_worker_proportional_memory_bytes", "Memory of a worker, what it "
                   "shares with others by its share (PSS).",
                   [(labels, one.share) for labels, _, one in known if one.share is not None])
        text.counter("fastwsgi_worker_cpu_seconds", "CPU time of a worker, and of those before it "
                     "in its slot.",
                     [(labels, self._page.count_cpu(slot, round(one.cpu * 1e6)) / 1e6)
                      for labels, slot, one in known])


def _table(cells: Sequence[int], labels: Labels) -> list[tuple[Labels, float]]:
    """Return the cells of a table of requests by method and class that are not zero."""
    return [({"method": METHODS[i // _WIDTH], "status": CLASSES[i % _WIDTH], **labels}, count)
            for i, count in enumerate(cells) if count]


def _requests(text: Text, figures: Figures) -> None:
    rest = figures.requests()
    samples: list[tuple[Labels, float]] = []
    size = len(rest)
    for name, numbers in figures.routes.items():
        rest = [a - b for a, b in zip(rest, numbers[:size], strict=True)]
        samples += _table(numbers[:size], {"route": name})
    samples += _table(rest, {})
    text.counter("fastwsgi_requests", "Requests by method, class of the status and route. Refused "
                 "ones count, health checks do not.", samples)
    stats = figures.stats
    text.counter("fastwsgi_received_bytes", "Bytes received from clients.",
                 [({}, stats["bytes_in"])])
    text.counter("fastwsgi_sent_bytes", "Bytes sent to clients.", [({}, stats["bytes_out"])])
    for name, key, help_text in (
            ("queue", "queue", "Time from a complete request to a thread that takes it."),
            ("application", "application",
             "Time of a request in the application, without waiting for its client."),
            ("send", "send", "Time until the kernel has all of a response that the application "
                             "has given."),
            ("request", "total", "Time from a complete request to a response that the kernel has "
                                 "all of.")):
        counts, total = figures.histogram(key)
        text.histogram(f"fastwsgi_{name}_seconds", help_text, figures.bounds, [({}, counts, total)])
    if figures.routes:
        last = len(figures.bounds) + 1
        text.histogram(
            "fastwsgi_route_application_seconds", "Time of a request in the application, by route.",
            figures.bounds,
            [({"route": name}, numbers[size : size + last], numbers[-1] / 1e6)
             for name, numbers in figures.routes.items()])
    text.counter("fastwsgi_requests_gone", "Requests that nobody waited for any more when a thread "
                 "was free.", [({}, stats["gone"])])
    text.counter("fastwsgi_requests_upgraded", "Requests whose socket the application has taken "
                 "over.", [({}, stats["upgraded"])])
    text.gauge("fastwsgi_requests_waiting", "Complete requests that wait for a thread.",
               [({}, figures.now("waiting"))])
    text.gauge("fastwsgi_requests_oldest_seconds", "How long the oldest of them has waited.",
               [({}, figures.oldest())])


def _connections(text: Text, figures: Figures) -> None:
    stats = figures.stats
    text.gauge("fastwsgi_connections", "Open connections by state.",
               [({"state": state}, count) for state, count in figures.states().items()])
    text.counter("fastwsgi_connections_accepted", "Connections accepted.",
                 [({}, stats["accepted"])])
    text.counter("fastwsgi_connections_broken", "Connections that broke, by what was under way.",
                 [({"during": "request"}, stats["truncated"]),
                  ({"during": "transfer"}, stats["broken"])])
    text.counter("fastwsgi_connections_handed_over", "Connections that have gone from one worker "
                 "to another.", [({"end": "sent"}, stats["passed_on"]),
                                 ({"end": "taken"}, stats["taken_over"])])
    text.counter("fastwsgi_responses_suspended", "Times that a response was suspended because its "
                 "client was slow.", [({}, figures.one("suspended"))])


def _threads(text: Text, figures: Figures, busy_seconds: float) -> None:
    threads, busy = figures.now("threads"), figures.now("busy")
    text.gauge("fastwsgi_threads", "Application threads.", [({}, threads)])
    text.gauge("fastwsgi_threads_busy", "Application threads that have a request.", [({}, busy)])
    text.gauge("fastwsgi_utilization_ratio", "Share of the threads that have a request.",
               [({}, busy / threads if threads else 0.0)])
    text.counter("fastwsgi_threads_busy_seconds", "Time for which threads have had requests.",
                 [({}, busy_seconds)])


def _refusals(text: Text, figures: Figures) -> None:
    refused = figures.part("refused", len(REFUSALS))
    text.counter("fastwsgi_refused", "Requests that the server has refused itself, by reason.", [
        ({"reason": reason, "status": str(status) if status else ""}, count)
        for (reason, status), count in zip(REFUSALS, refused, strict=True)])
    text.counter("fastwsgi_timeouts", "What has taken too long, by phase.", [
        ({"phase": phase}, count)
        for phase, count in zip(LATE, figures.part("late", len(LATE)), strict=True)])
    text.counter("fastwsgi_slow_requests", "Slow requests by cause, with slow_request.", [
        ({"cause": cause}, count)
        for cause, count in zip(CAUSES, figures.part("slow", len(CAUSES)), strict=True)])
    for name, key, help_text in (
            ("request_cpu", "cpu_us", "Time in the application with a processor"),
            ("request_off_cpu", "off_cpu_us", "Time in the application without a processor"),
            ("request_lock_wait", "lock_wait_us", "Time that threads waited for the interpreter "
                                                  "lock to begin a request")):
        text.counter(f"fastwsgi_{name}_seconds", f"{help_text}, with slow_request or "
                     "server_timing.", [({}, figures.one(key) / 1e6)])
    text.counter("fastwsgi_log_lines_lost", "Lines of the access log that could not be written.",
                 [({}, figures.one("lost_lines"))])
