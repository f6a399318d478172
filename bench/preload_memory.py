"""What stays shared of a preloaded application: `python -m bench.preload_memory [--apps ...]
[--rows ...] [--workers 1,2,4,8] [--requests 10000] [--json FILE] [--record]`.

Ours without --preload and with each word of --preload-memory, and gunicorn with and without
--preload, in one run. Memory is that of all processes with each shared page counted once (PSS):
when all workers are up, after the first 400 requests, in which each worker makes what an
application makes when it is first used, and after all. Each request is a connection of its own,
eight at a time; an answer that differs from another one to the same request ends the run. Python
3.12 or 3.13 is needed for `immortal`. `--record` writes the figures into docs/measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from bench import machine, peers, publish
from bench.client import Client, Malformed
from bench.process import NotStarted, Server, serve

APPS = {
    "catalogue": ("bench.large:app", "/?page={}", 100),
    "flask+sqlalchemy": ("bench.large_shop:app", "/?page={}", 100),
    "django": ("bench.site_django:app", "/page?page={}", 20),
}  #: name -> what is served, the path of a request, how many different ones
CALLERS = 8
FIRST = 400


Figures = dict[str, float]


class Row(NamedTuple):
    """A server, with its own words for how it preloads."""

    title: str
    peer: str
    extra: tuple[str, ...]


HOWS = ("plain", "frozen", "immortal") if sys.version_info >= (3, 12) else ("plain", "frozen")
ROWS = [
    Row("fastwsgi", peers.OURS, ()),
    *(
        Row(f"fastwsgi --preload {how}", peers.OURS, ("--preload", "--preload-memory", how))
        for how in HOWS
    ),
    Row("gunicorn gthread", "gunicorn-gthread", ()),
    Row("gunicorn gthread --preload", "gunicorn-gthread", ("--preload",)),
]


def settled(server: Server, workers: int) -> int:
    """PSS, once all workers are there and two readings in a row agree to a hundredth."""
    last = 0
    for _ in range(40):
        now = server.pss()
        if len(server.pids) > workers and abs(now - last) < now / 100:
            return now
        last = now
        time.sleep(0.25)
    return last


def ask(
    server: Server, path: str, kinds: int, count: int, answers: dict[str, bytes],
) -> float:  # fmt: skip
    """Make the requests; return the seconds it took. Raises Malformed for a wrong answer."""
    wrong: list[str] = []

    def call(begin: int) -> None:
        for number in range(begin, count, CALLERS):
            target = path.format(number % kinds)
            try:
                with Client(server.address) as client:
                    client.send(
                        f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
                    )
                    answer = client.read()
            except (Malformed, OSError) as error:
                wrong.append(f"{target}: {error}")
                return
            if answer.status != 200 or answers.setdefault(target, answer.body) != answer.body:
                wrong.append(f"{target}: {answer.status} {answer.body[:80]!r}")
                return

    callers = [threading.Thread(target=call, args=(begin,)) for begin in range(CALLERS)]
    begin = time.perf_counter()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    if wrong:
        raise Malformed(wrong[0])
    return time.perf_counter() - begin


def measure(row: Row, app: str, workers: int, requests: int) -> Figures:
    """The figures of a server. Raises NotStarted, Malformed."""
    name, path, kinds = APPS[app]
    with serve(
        peers.PEERS[row.peer], name, workers=workers, extra=row.extra, seconds=60.0
    ) as server:
        start = settled(server, workers)
        answers: dict[str, bytes] = {}
        ask(server, path, kinds, FIRST, answers)
        first = settled(server, workers)
        seconds = ask(server, path, kinds, requests - FIRST, answers)
        return {"start": start, "first": first, "end": settled(server, workers),
                "seconds": seconds}  # fmt: skip


def record(
    found: dict[str, dict[str, dict[str, Figures]]], workers: list[int], requests: int
) -> None:
    """Write the figures into docs/measured."""
    head = ["MB of all processes: at the start, after the requests",
            *(f"{number} workers" if number > 1 else "1 worker" for number in workers)]  # fmt: skip
    rows = []
    for app, titles in found.items():
        for title, sizes in titles.items():
            cells = []
            for number in workers:
                one = sizes.get(str(number))
                cells.append(f"{one['start'] / 1e6:.0f}, {one['end'] / 1e6:.0f}" if one else "")
            rows.append([f"{app}: {title}", *cells])
    publish.keep("workers-memory", "python -m bench.preload_memory --apps catalogue", head, rows,
                 f"{requests:,} requests; Python {sys.version.split()[0]}. Shared pages count "
                 "once.")  # fmt: skip


def main() -> None:
    """Print a table per application and number of workers."""
    parser = argparse.ArgumentParser(description="memory of preloaded workers")
    parser.add_argument("--apps", default=",".join(APPS))
    parser.add_argument("--rows", default=",".join(row.title for row in ROWS))
    parser.add_argument("--workers", default="1,2,4,8", help="numbers of them")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--record", action="store_true", help="write them into docs/measured")
    arguments = parser.parse_args()
    if unknown := set(arguments.apps.split(",")) - set(APPS):
        raise SystemExit(f"no application {', '.join(unknown)}; there are {', '.join(APPS)}")
    rows = [row for row in ROWS if row.title in arguments.rows.split(",")]
    workers = [int(word) for word in arguments.workers.split(",")]
    failed = peers.install_all(peers.select(",".join({row.peer for row in rows})))
    found: dict[str, dict[str, dict[str, Figures]]] = {}
    print(f"Python {sys.version.split()[0]}, MB of all processes")
    for name in arguments.apps.split(","):
        for number in workers:
            print(f"\n{name}, workers: {number}".ljust(28) + f"  at the start  after {FIRST}  "
                  f"after {arguments.requests}  end/start  seconds")  # fmt: skip
            for row in rows:
                try:
                    if row.peer in failed:
                        raise NotStarted(failed[row.peer])
                    one = measure(row, name, number, arguments.requests)
                except (NotStarted, Malformed) as error:
                    print(f"{row.title:27} {error}")
                    continue
                found.setdefault(name, {}).setdefault(row.title, {})[str(number)] = one
                start, end = one["start"], one["end"]
                print(f"{row.title:27} {start / 1e6:13.1f} {one['first'] / 1e6:10.1f} "
                      f"{end / 1e6:12.1f} {end / start:10.2f} {one['seconds']:8.1f}",
                      flush=True)  # fmt: skip
    if arguments.json:
        said = {"machine": machine.describe(), "requests": arguments.requests, "found": found}
        arguments.json.write_text(json.dumps(said, indent=1) + "\n")
    if arguments.record:
        record(found, workers, arguments.requests)


if __name__ == "__main__":
    main()
