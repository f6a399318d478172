"""``fastwsgi top``: what a running server is doing, live in a terminal.

The keys: q ends, s changes the order of the requests, / searches in them, p pauses, + and - change
how often it looks. rich draws; --once and --json work without it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fastwsgi.control import view
from fastwsgi.control.client import Client, place
from fastwsgi.control.ctl import parser_of
from fastwsgi.errors import ConfigError

INTERVALS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


def main(argv: Sequence[str], configured: Callable[[], str]) -> int:
    """Run the command line ``argv`` and return the exit code; as ``ctl.main``."""
    parser = parser_of("top", "Show what a running server is doing. The server has to be started "
                              "with --control-socket. Keys: q ends, s changes the order, / "
                              "searches, p pauses, + and - change the interval.")
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS",
                        help="between two looks, 0.1 to 3600; the default is 1")
    parser.add_argument("--sort", choices=view.SORTS, default="age",
                        help="order of the requests; the default is age")
    parser.add_argument("--once", action="store_true", help="print one look as text and end")
    parser.add_argument("--json", action="store_true",
                        help="print each look as a line of JSON, with --once one")
    arguments = parser.parse_args(argv)
    if not 0.1 <= arguments.interval <= 3600:
        raise ConfigError("--interval takes seconds, from 0.1 to 3600")
    with Client(place(arguments.socket, configured())) as client:
        if arguments.json or arguments.once:
            return _print(client, arguments.interval, arguments.sort, once=arguments.once,
                          as_json=arguments.json)
        with contextlib.suppress(KeyboardInterrupt):
            _Screen(client, arguments.interval, arguments.sort).run()
        return 0


def _print(
    client: Client, interval: float, sort: str, *, once: bool, as_json: bool,
) -> int:
    before = client.ask("status", shares=as_json)
    if once and not as_json:  # rates and shares of the CPU need two looks
        time.sleep(interval)
        sys.stdout.write(view.text(client.ask("status"), before, sort))
        return 0
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        while True:
            sys.stdout.write(json.dumps(before, separators=(",", ":")) + "\n")
            sys.stdout.flush()
            if once:
                break
            time.sleep(interval)
            before = client.ask("status", shares=True)
    return 0


class _Screen:
    """The terminal: one look after the other, and keys between them."""

    def __init__(self, client: Client, interval: float, sort: str) -> None:
        try:
            import rich.console
            import rich.live
            import rich.table
            import rich.text
        except ImportError:
            raise ConfigError("fastwsgi top needs the rich library: pip install fastwsgi[top]; "
                              "--once and --json do without it") from None
        self._rich: Any = rich
        self._client = client
        self._interval = interval
        self._sort = sort
        self._search = ""
        self._types = False  # what is typed is what to search for
        self._paused = False
        self._before: view.Status | None = None
        self._now = client.ask("status")

    def run(self) -> None:
        """Draw until somebody ends it. Raises ControlError when the server has gone."""
        console = self._rich.console.Console()
        with _keys() as key, self._rich.live.Live(
                console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(self._draw(console.size.width, console.size.height), refresh=True)
                until = time.monotonic() + self._interval
                while (left := until - time.monotonic()) > 0:
                    pressed = key(left)
                    if pressed and not self._press(pressed):
                        return
                    if pressed:
                        live.update(self._draw(console.size.width, console.size.height),
                                    refresh=True)
                if not self._paused:
                    self._before, self._now = self._now, self._client.ask("status")

    def _press(self, key: str) -> bool:
        """Do what a key says; False ends."""
        if self._types:
            if key in "\r\n\x1b":
                self._types = False
                self._search = "" if key == "\x1b" else self._search
            elif key in "\x7f\b":
                self._search = self._search[:-1]
            elif key.isprintable():
                self._search += key
        elif key in ("q", "Q", "\x03"):
            return False
        elif key == "s":
            self._sort = view.SORTS[(view.SORTS.index(self._sort) + 1) % len(view.SORTS)]
        elif key == "/":
            self._types, self._search = True, ""
        elif key == "p":
            self._paused = not self._paused
        elif key in "+-":
            self._interval = (
                max((one for one in INTERVALS if one < self._interval), default=self._interval)
                if key == "+" else
                min((one for one in INTERVALS if one > self._interval), default=self._interval))
        return True

    def _draw(self, width: int, height: int) -> Any:
        rich = self._rich
        now, before = self._now, self._before
        shown = rich.table.Table.grid(expand=True)
        shown.add_column(overflow="ellipsis", no_wrap=True)
        for said in view.summary(now, before):
            shown.add_row(rich.text.Text(said))
        workers = self._workers(now, width)
        requests = view.rows(now, before, self._sort, self._search)
        room = max(3, height - 9 - min(len(now["workers"]), height // 3))
        shown.add_row(workers)
        shown.add_row(self._requests(requests[:room], width))
        state = f"search: {self._search}_" if self._types else (
            f"order {self._sort}" + (f", search {self._search!r}" if self._search else "")
            + (", PAUSED" if self._paused else ""))
        hidden = f", {len(requests) - room} more" if len(requests) > room else ""
        shown.add_row(rich.text.Text(
            f"{len(requests)} requests that last{hidden}; {state}; every {self._interval:g} s; "
            "q s / p + -", style="dim"))
        return shown

    def _workers(self, now: view.Status, width: int) -> Any:
        table = self._table("worker", "state", "age", "busy", "waiting", "conns",
                            *(("requests", "cpu s") if width >= 90 else ()), "memory")
        for worker in now["workers"][: max(2, 40)]:
            counters = worker.get("counters", {})
            cpu = worker["cpu_seconds"]
            busy, threads = view.busy(worker), worker.get("threads", 0)
            more = ((str(counters.get("requests", 0)), "?" if cpu is None else f"{cpu:.1f}")
                    if width >= 90 else ())
            table.add_row(
                str(worker["pid"]), worker["state"], view.duration(worker["age"]),
                f"{busy}/{threads}", str(counters.get("waiting", 0)),
                str(counters.get("connections", 0)), *more, view.size(worker["resident"]),
                style="bold" if threads and busy == threads else "")
        return table

    def _requests(self, found: list[view.Row], width: int) -> Any:
        table = self._table("for", "worker", *(("client",) if width >= 100 else ()), "why",
                            "request")
        for row in found:
            late = row.limit is not None and row.seconds > row.limit / 2
            table.add_row(
                view.duration(row.seconds), str(row.worker),
                *((view.printable(row.client),) if width >= 100 else ()), view.why(row),
                self._rich.text.Text(view.printable(f"{row.method} {row.target}")),
                style="red" if late or row.seconds > 10 else "yellow" if row.seconds > 1 else "")
        return table

    def _table(self, *names: str) -> Any:
        table = self._rich.table.Table(box=None, expand=True, pad_edge=False, header_style="dim")
        for name in names:
            last = name == names[-1]
            table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1 if last else None,
                             justify="left" if name in ("state", "why", "request", "client")
                             else "right")
        return table


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Give a function that returns the key pressed within so many seconds, or an empty text."""
    if not sys.stdin.isatty():
        yield lambda seconds: time.sleep(seconds) or ""  # type: ignore[func-returns-value]
        return
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)

    def key(seconds: float) -> str:
        if select.select([fd], [], [], seconds)[0]:
            return os.read(fd, 1).decode("latin-1")
        return ""

    try:
        tty.setcbreak(fd)
        yield key
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
