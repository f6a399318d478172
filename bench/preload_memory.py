"""What stays shared of a preloaded application: `python -m bench.preload_memory [--apps ...]
[--rows ...] [--workers 4] [--requests 10000] [--json FILE]`.

Ours with each word of --preload-memory, and gunicorn --preload, in one run. Memory is that of all
processes with each shared page counted once (PSS): when all workers are up, after the first 400
requests, in which each worker makes what an application makes when it is first used, and after all.
Each request is a connection of its own, eight at a time; an answer that differs from another one
to the same request ends the run. Python 3.12 or 3.13 is needed for `immortal`.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from bench import machine, peers
from bench.client import Client, Malformed
from bench.process import NotStarted, Server, serve

APPS = {
    "catalogue": ("bench.large:app", "/?page={}", 100),
    "flask+sqlalchemy": ("bench.large_shop:app", "/?page={}", 100),
    "django": ("bench.site_django:app", "/page?page={}", 20),
}  #: name -> what is served, the path of a request, how many different ones
CALLERS = 8
FIRST = 400


class Row(NamedTuple):
    """A server, with its own words for how it preloads."""

    title: str
    peer: str
    extra: tuple[str, ...]


ROWS = [
    *(
        Row(f"fastwsgi {how}", peers.OURS, ("--preload", "--preload-memory", how))
        for how in ("plain", "frozen", "immortal")
    ),
    Row("gunicorn gthread", "gunicorn-gthread", ("--preload",)),
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


def main() -> None:
    """Print a table per application."""
    parser = argparse.ArgumentParser(description="memory of preloaded workers")
    parser.add_argument("--apps", default=",".join(APPS))
    parser.add_argument("--rows", default=",".join(row.title for row in ROWS))
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if unknown := set(arguments.apps.split(",")) - set(APPS):
        raise SystemExit(f"no application {', '.join(unknown)}; there are {', '.join(APPS)}")
    rows = [row for row in ROWS if row.title in arguments.rows.split(",")]
    failed = peers.install_all(peers.select(",".join({row.peer for row in rows})))
    found: dict[str, dict[str, dict[str, float]]] = {}
    print(f"Python {sys.version.split()[0]}, {arguments.workers} workers, MB of all processes")
    for name in arguments.apps.split(","):
        app, path, kinds = APPS[name]
        print(f"\n{name:18} at the start  after {FIRST}  after {arguments.requests}  end/start  "
              "seconds")  # fmt: skip
        for row in rows:
            peer = peers.PEERS[row.peer]
            try:
                if peer.name in failed:
                    raise NotStarted(failed[peer.name])
                with serve(peer, app, workers=arguments.workers, extra=row.extra) as server:
                    start = settled(server, arguments.workers)
                    answers: dict[str, bytes] = {}
                    ask(server, path, kinds, FIRST, answers)
                    first = settled(server, arguments.workers)
                    seconds = ask(server, path, kinds, arguments.requests - FIRST, answers)
                    end = settled(server, arguments.workers)
            except (NotStarted, Malformed) as error:
                print(f"{row.title:18} {error}")
                continue
            found.setdefault(name, {})[row.title] = {
                "start": start, "first": first, "end": end, "seconds": seconds,
            }  # fmt: skip
            print(f"{row.title:18} {start / 1e6:12.1f} {first / 1e6:10.1f} {end / 1e6:12.1f} "
                  f"{end / start:10.2f} {seconds:8.1f}", flush=True)  # fmt: skip
    if arguments.json:
        said = {"machine": machine.describe(), "workers": arguments.workers,
                "requests": arguments.requests, "found": found}  # fmt: skip
        arguments.json.write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
