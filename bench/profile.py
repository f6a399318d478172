"""Where the instructions of a request go, function by function: `make profile`.

    python -m bench.profile [--only plain,stream] [--server fastwsgi] [--top 40] [--inclusive]

One run under callgrind per scenario, read by callgrind_annotate; figures are instructions per
request. Self cost shows what to make cheaper, `--inclusive` (with all that a function calls) shows
what to avoid.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections import Counter as Tally
from pathlib import Path

from bench import machine, peers
from bench.callgrind import ROWS, WARM_UP, counting, exchange
from bench.client import Client

REQUESTS = 640
_LINE = re.compile(r"^\s*([\d,]+)\s+(?:\([\s\d.]+%\)\s+)?(.+?)(?:\s+\[([^\]]*)\])?$")


def annotate(dump: Path, *, inclusive: bool) -> list[tuple[int, str, str]]:
    """(instructions, function, where it lives) of a dump, the costliest first."""
    machine.ensure("callgrind_annotate")
    done = subprocess.run(
        [
            "callgrind_annotate", "--auto=no", "--threshold=100",
            f"--inclusive={'yes' if inclusive else 'no'}", str(dump),
        ],
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    found = []
    for line in done.stdout.splitlines():
        match = _LINE.match(line)
        if match and ":" in match[2] and "PROGRAM TOTALS" not in line:
            file, _, function = match[2].partition(":")
            cost = int(match[1].replace(",", ""))
            found.append((cost, function.strip(), _home(match[3] or "", file)))
    return found


def _home(library: str, file: str) -> str:
    """The part of the house that a function belongs to.

    callgrind names no library for some inlined code; its source file tells.
    """
    name = Path(library).name
    if "libpython" in name or name.startswith("python"):
        return "Python"
    if not name and re.search(r"/(Objects|Python|Include|Modules)/|include/python3", file):
        return "Python"
    if not name and "csrc/" in file:
        return "native"
    if name.startswith(("libc.", "libc-", "libpthread")):
        return "libc"
    if "httptools" in library:
        return "llhttp"
    return name.partition(".")[0] or Path(file).name


def main() -> None:
    """Print one table per scenario."""
    parser = argparse.ArgumentParser(description="instructions per request, by function")
    parser.add_argument("--only", default="plain,browser-differ", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--server", default=peers.OURS)
    parser.add_argument("--top", type=int, default=40)
    parser.add_argument("--inclusive", action="store_true")
    arguments = parser.parse_args()
    (peer,) = peers.select(arguments.server)
    peers.install(peer)
    for name in arguments.only.split(","):
        row = ROWS[name]
        with tempfile.TemporaryDirectory(prefix="fastwsgi-bench-") as text:
            folder = Path(text)
            with (
                counting(peer, row.app, folder, extra=row.extra) as counter,
                Client(counter.server.address, timeout=60) as client,
            ):
                client.send(row.request())
                size = client.read().size
                exchange(client, row, 0, WARM_UP, size)
                counter.on()
                exchange(client, row, 1000, 64, size)
                counter.zero()
                exchange(client, row, 2000, REQUESTS, size)
                dump = counter.dump()
                self_costs = annotate(dump, inclusive=False)
                shown = annotate(dump, inclusive=True) if arguments.inclusive else self_costs
        whole = sum(cost for cost, _, _ in self_costs)
        homes: Tally[str] = Tally()
        for cost, _, home in self_costs:
            homes[home] += cost
        print(f"## {name}: {whole / REQUESTS:,.0f} instructions per request")
        for home, cost in homes.most_common(8):
            print(f"{cost / REQUESTS:10,.0f}  {cost / whole:6.1%}  {home}")
        print()
        for cost, function, home in shown[: arguments.top]:
            print(f"{cost / REQUESTS:10,.1f}  {cost / whole:6.1%}  {function}  [{home}]")
        print()


if __name__ == "__main__":
    main()
