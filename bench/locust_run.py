"""The site under visitors: `python -m bench.locust_run [--servers ...] [--users 200] [--seconds
30]`.

Runs locustfile.py headless against each server, on the Flask and on the Django site, with the same
settings (as many workers and threads as asked for on one core, Locust on the other) and writes
per pair Locust's HTML report, and for all of them one table: requests/s, latency, failures, CPU per
request, memory.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import machine, peers
from bench.peers import Peer
from bench.process import NotStarted, serve

LOCUST = "locust>=2.40,<3"
SITES = {"flask": "bench.site_flask:app", "django": "bench.site_django:app"}


def _visit(
    url: str, out: Path, users: int, seconds: int, cpus: set[int]
) -> tuple[dict[str, str], str]:
    """One headless run; returns Locust's line of totals and, when it failed, the reason."""
    done = subprocess.run(
        [
            str(peers.tools(LOCUST)), "-m", "locust", "-f",
            str(Path(__file__).with_name("locustfile.py")), "--headless", "--host", url, "--users",
            str(users), "--spawn-rate", str(max(1, users // 3)), "--run-time", f"{seconds}s",
            "--html", f"{out}.html", "--csv", str(out), "--only-summary", "--exit-code-on-error",
            "0",
        ],
        capture_output=True,
        text=True,
        timeout=seconds + 90,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )  # fmt: skip
    stats = Path(f"{out}_stats.csv")
    if done.returncode or not stats.exists():
        return {}, (done.stderr.strip().splitlines() or ["locust failed"])[-1]
    with stats.open(newline="") as lines:
        total = [line for line in csv.DictReader(lines) if line["Name"] == "Aggregated"]
    for extra in out.parent.glob(f"{out.name}_*.csv"):
        extra.unlink()
    return (total[0], "") if total else ({}, "no totals")


def measure(
    peer: Peer, site: str, out: Path, *, users: int, seconds: int, threads: int, workers: int
) -> dict[str, Any]:
    """The figures of one server with one site; `reason` when there are none."""
    server_cpus, client_cpus = machine.cores()
    found: dict[str, Any] = {"server": peer.title, "version": peers.version(peer), "site": site}
    try:
        with serve(peer, SITES[site], threads=threads, workers=workers, cpus=server_cpus) as server:
            _visit(server_url(server.port), out, max(1, users // 4), 3, client_cpus)  # warm-up
            before = server.cpu()
            total, reason = _visit(server_url(server.port), out, users, seconds, client_cpus)
            used = server.cpu() - before
            memory = server.pss()
    except (NotStarted, subprocess.SubprocessError) as error:
        return {**found, "reason": str(error)}
    if reason:
        return {**found, "reason": reason}
    rate, failures = float(total["Requests/s"]), int(total["Failure Count"])
    return found | {
        "rps": round(rate, 1),
        "p50_ms": float(total["50%"]),
        "p95_ms": float(total["95%"]),
        "p99_ms": float(total["99%"]),
        "failures": failures,
        "cpu_us": round(used * 1e6 / max(1, int(total["Request Count"])), 1),
        "core": round(used / seconds, 3),
        "pss_mb": round(memory / 1e6, 1),
    }


def server_url(port: int) -> str:
    """Where the server listens."""
    return f"http://127.0.0.1:{port}"


def table(rows: list[dict[str, Any]]) -> str:
    """The comparison in Markdown."""
    lines = [
        "| site | server | requests/s | p50, ms | p95, ms | p99, ms | failures "
        "| CPU per request, us | core used | memory, MB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        name = f"{row['server']} {row['version']}"
        if "reason" in row:
            lines.append(f"| {row['site']} | {name} | {row['reason']} | | | | | | | |")
        else:
            lines.append(
                f"| {row['site']} | {name} | {row['rps']:,.0f} | {row['p50_ms']:.0f} "
                f"| {row['p95_ms']:.0f} | {row['p99_ms']:.0f} | {row['failures']} "
                f"| {row['cpu_us']:,.0f} | {row['core']:.0%} | {row['pss_mb']:.0f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run every pair and write the reports."""
    parser = argparse.ArgumentParser(description="a realistic mix by Locust")
    parser.add_argument("--servers", default="fastwsgi,uwsgi,gunicorn-gthread")
    parser.add_argument("--sites", default="flask,django")
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=16, help="per worker")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=machine.ROOT / "bench" / "results" / "locust")
    arguments = parser.parse_args()
    machine.raise_descriptor_limit()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    chosen = peers.select(arguments.servers)
    failed = peers.install_all(chosen)
    rows = []
    for site in arguments.sites.split(","):
        for peer in chosen:
            if peer.name in failed:
                continue
            row = measure(
                peer,
                site,
                out.resolve() / f"{site}-{peer.name}",
                users=arguments.users,
                seconds=arguments.seconds,
                threads=arguments.threads,
                workers=arguments.workers,
            )
            print(f"{site} {peer.name}: {row.get('reason') or row}", file=sys.stderr, flush=True)
            rows.append(row)
    text = (
        f"{arguments.users} visitors for {arguments.seconds} s; {arguments.workers} worker(s) of "
        f"{arguments.threads} application thread(s); server and Locust on one core each.\n\n"
        f"{table(rows)}"
    )
    (out / "locust.md").write_text(text)
    (out / "locust.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
