"""User-space instructions per request, by valgrind's callgrind: repeatable where times are not.

    python -m bench.callgrind [--servers fastwsgi,canned,bjoern,namesake] [--only plain,...]

A server runs under callgrind with counting off, so it starts quickly. For each scenario it is
warmed up on one keep-alive connection; then counting goes on, and the totals of a short and a long
run of requests are taken. Their difference, divided by the difference of their lengths, is the cost
of a request; whatever does not belong to a request (timers, the connection, the counter itself)
cancels out.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from bench import machine, peers
from bench.client import Client, Malformed
from bench.process import NotStarted, Server, serve
from bench.scenarios import SCENARIOS, Scenario

SHORT, LONG = 64, 320  #: requests of the two runs; both are multiples of the pipeline depth
WARM_UP = 128
ROUNDS = 2  #: how often each is run; the least counts, for all that disturbs a run only adds to it
MOST_ROUNDS = 4  #: and how often at most, where a budget is not met by then: machines may be busy
START_SECONDS = 60.0

#: What a proxy adds to a request; the request's number makes heads that differ.
PROXY_FIELDS = (
    ("Host", "shop.example"),
    ("X-Forwarded-For", "203.0.113.17"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "shop.example"),
    ("X-Forwarded-Port", "443"),
)
_PROXIED = replace(SCENARIOS["hello"], headers=PROXY_FIELDS, only="ours")
_DIFFER = replace(
    _PROXIED, headers=(*PROXY_FIELDS, ("X-Request-Id", "7d1a66c2-{n}")), differ=True
)
_COUNTED = replace(
    SCENARIOS["hello"], extra=("--metrics-bind", "127.0.0.1:0"), only="ours"
)
_IGNORED = ("--forwarded-allow-ips", "192.0.2.1")
_ALL = ("--forwarded-follow", "scheme,address,host,port,prefix")

#: The scenarios that have a budget: name -> the row whose requests they send.
COUNTED = {
    "plain": SCENARIOS["hello"],
    "browser-same": SCENARIOS["browser-same"],
    "browser-differ": SCENARIOS["browser-differ"],
    "post": SCENARIOS["post-1k"],
    "stream": SCENARIOS["stream"],
    "pipelined": SCENARIOS["pipelined"],
    "logged": SCENARIOS["access-log"],
    "browser-logged": SCENARIOS["access-log-browser"],
    "proxied": _PROXIED,
    "proxied-differ": _DIFFER,
}

#: What those are compared with: "plain" with metrics; of a peer that is not trusted, and with all
#: of it followed.
COMPARED = {
    "counted": _COUNTED,
    "proxied-ignored": replace(_PROXIED, extra=_IGNORED),
    "proxied-all": replace(_PROXIED, extra=_ALL),
    "proxied-differ-ignored": replace(_DIFFER, extra=_IGNORED),
    "proxied-differ-all": replace(_DIFFER, extra=_ALL),
}
ROWS = {**COUNTED, **COMPARED}


@dataclass
class Counter:
    """A server under callgrind, driven through vgdb (valgrind's own monitor commands)."""

    server: Server
    folder: Path
    dumps: int = 0

    def _monitor(self, command: str) -> None:
        done = subprocess.run(
            ["vgdb", f"--pid={self.server.process.pid}", *command.split()],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise NotStarted(f"vgdb {command}: {done.stderr.strip()[-200:]}")

    def on(self) -> None:
        """Count from here."""
        self._monitor("instrumentation on")

    def off(self) -> None:
        """Run at full speed again."""
        self._monitor("instrumentation off")

    def zero(self) -> None:
        """Forget what was counted."""
        self._monitor("zero")

    def dump(self) -> Path:
        """Write what was counted since the last dump or zero; returns the file."""
        self.dumps += 1
        self._monitor("dump")
        path = self.folder / f"out.{self.dumps}"
        deadline = time.monotonic() + 20
        while not (path.exists() and "totals:" in path.read_text(errors="replace")[-200:]):
            if time.monotonic() > deadline:
                raise NotStarted(f"callgrind wrote no {path.name}")
            time.sleep(0.02)
        return path


def total(path: Path) -> int:
    """The instructions of a dump."""
    found = re.search(r"^(?:totals|summary): (\d+)", path.read_text(errors="replace"), re.MULTILINE)
    if not found:
        raise ValueError(f"{path}: no total in it")
    return int(found[1])


@contextmanager
def counting(
    peer: peers.Peer,
    app: str,
    folder: Path,
    *,
    body: int = 13,
    extra: Sequence[str] = (),
    python: str = "",
) -> Iterator[Counter]:
    """Start the peer under callgrind, in one process, counting off; `python` as in serve()."""
    machine.ensure("valgrind")
    prefix = [
        "env", "PYTHONHASHSEED=0", "valgrind", "--tool=callgrind", "--instr-atstart=no",
        "--vgdb=yes", "--vgdb-poll=1000000", f"--callgrind-out-file={folder}/out", "--quiet",
    ]  # fmt: skip
    with serve(
        peer,
        app,
        workers=0 if peer.name == peers.OURS else 1,
        extra=extra if peer.name == peers.OURS else (),
        body=body,
        prefix=prefix,
        python=python,
        seconds=START_SECONDS,
    ) as server:
        yield Counter(server, folder)


def exchange(client: Client, row: Scenario, first: int, count: int, size: int) -> None:
    """Send `count` requests in groups of the row's depth; each response is `size` bytes."""
    for number in range(first, first + count, row.pipeline):
        group = range(number, number + row.pipeline)
        client.send(b"".join(row.request(one) for one in group))
        client.skip(size * len(group))


def _response_size(client: Client, row: Scenario) -> int:
    client.send(row.request())
    return client.read().size


def per_request(
    counter: Counter, row: Scenario, *, long: int = LONG, budget: float = math.inf
) -> float:
    """Instructions of one request of the row, where the machine has disturbed it least."""
    with Client(counter.server.address, timeout=20) as client:
        size = _response_size(client, row)
        exchange(client, row, 0, WARM_UP, size)
        counter.on()
        counter.zero()
        short, rest, cost = [], [], math.inf
        for number in range(1000, 1000 + 2000 * MOST_ROUNDS, 2000):
            exchange(client, row, number, SHORT, size)
            short.append(total(counter.dump()))
            exchange(client, row, number + 1000, long, size)
            rest.append(total(counter.dump()))
            cost = (min(rest) - min(short)) / (long - SHORT)
            if len(rest) >= ROUNDS and cost <= budget:
                break
        counter.off()
    return cost


def count(
    peer: peers.Peer,
    names: Sequence[str],
    folder: Path,
    *,
    python: str = "",
    budgets: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, float]:
    """Instructions per request of each named scenario; one start per application and command.

    What is over its budget is counted for longer: the busier the machine, the more looks of the
    standby are in it.
    """
    found: dict[str, float] = {}
    groups: dict[tuple[str, int, tuple[str, ...]], list[str]] = {}
    for name in names:
        row = ROWS[name]
        body = row.reply if peer.name == peers.YARDSTICK else 13
        if row.only == "ours" and peer.name != peers.OURS:
            continue
        if row.canned or peer.name != peers.YARDSTICK:
            groups.setdefault((row.app, body, row.extra), []).append(name)
    for number, ((app, body, extra), members) in enumerate(groups.items()):
        place = folder / f"{peer.name}-{number}"
        place.mkdir(parents=True, exist_ok=True)
        with counting(peer, app, place, body=body, extra=extra, python=python) as counter:
            for name in members:
                try:
                    budget = budgets.get(name, math.inf)
                    found[name] = round(per_request(counter, ROWS[name], budget=budget))
                except (OSError, ValueError, Malformed) as error:
                    print(f"{peer.name} {name}: {error}", file=sys.stderr)
    return found


def main() -> None:
    """Print a table of instructions per request."""
    parser = argparse.ArgumentParser(description="instructions per request by callgrind")
    parser.add_argument("--servers", default="fastwsgi,canned,bjoern,namesake")
    parser.add_argument("--only", default=",".join(COUNTED), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    chosen = peers.select(arguments.servers)
    failed = peers.install_all(chosen)
    table: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="fastwsgi-bench-") as folder:
        for peer in chosen:
            if peer.name not in failed:
                try:
                    table[peer.name] = count(peer, names, Path(folder))
                except NotStarted as error:
                    print(f"{peer.name}: {error}", file=sys.stderr)
    print("| instructions per request | " + " | ".join(table) + " |")
    print("|---" * (len(table) + 1) + "|")
    for name in names:
        cells = [f"{found[name]:,.0f}" if name in found else "" for found in table.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
