"""What is shown of a server: its status, and what has happened between two of them, as text."""

from __future__ import annotations

from typing import Any, NamedTuple

Status = dict[str, Any]

SORTS = ("age", "path", "worker", "cpu")
"""Orders of the requests: the oldest first, by path, by worker, the busiest first."""


class Rates(NamedTuple):
    """Since the status before: per second, but for the times in the application in seconds."""

    requests: float
    refused: float
    timeouts: float
    bytes_in: float
    bytes_out: float
    p50: float | None
    p99: float | None


class Row(NamedTuple):
    """A request in the application; ``cpu`` is the share of one core, None where not known."""

    worker: int
    thread: int
    seconds: float
    phase: str
    does: str
    cpu: float | None
    method: str
    target: str
    client: str
    limit: float | None


def rates(now: Status, before: Status | None) -> Rates:
    """Return what has happened between two statuses; since the start, if there is one only."""
    seconds: float = max(now["uptime"] - (before["uptime"] if before else 0.0), 1e-3)
    counters, earlier = now["counters"], before["counters"] if before else {}

    def rate(name: str) -> float:
        more: int = counters[name] - earlier.get(name, 0)
        return max(0, more) / seconds

    spent = {bound: max(0, count - (before["latency"].get(bound, 0) if before else 0))
             for bound, count in now["latency"].items()}
    return Rates(rate("requests"), rate("refused"), rate("timeouts"), rate("bytes_in"),
                 rate("bytes_out"), quantile(spent, 0.5), quantile(spent, 0.99))


def quantile(counts: dict[str, int], share: float) -> float | None:
    """Return the upper bound of the class in which the quantile lies, None if there is nothing."""
    total = sum(counts.values())
    if not total:
        return None
    seen = 0
    for bound, count in counts.items():
        seen += count
        if seen >= share * total:
            return float(bound)
    return float("inf")


def rows(now: Status, before: Status | None, sort: str = "age", search: str = "") -> list[Row]:
    """Return the requests in applications whose line contains ``search``, in that order."""
    seconds = max(now["uptime"] - before["uptime"], 1e-3) if before else 0.0
    earlier = {(worker["pid"], call["tid"]): call["cpu_seconds"]
               for worker in (before or now)["workers"] for call in worker.get("calls", ())}
    found = []
    for worker in now["workers"]:
        for call in worker.get("calls", ()):
            cpu, last = call["cpu_seconds"], earlier.get((worker["pid"], call["tid"]))
            share = (max(0.0, cpu - last) / seconds
                     if cpu is not None and last is not None and seconds else None)
            row = Row(worker["pid"], call["thread"], call["seconds"], call["phase"], call["does"],
                      share, call["method"], call["target"], call["client"], call["limit"])
            if search.lower() in " ".join(map(str, row)).lower():
                found.append(row)
    keys = {"age": lambda row: -row.seconds, "path": lambda row: (row.target, -row.seconds),
            "worker": lambda row: (row.worker, row.thread), "cpu": lambda row: -(row.cpu or 0.0)}
    return sorted(found, key=keys[sort])


def why(row: Row) -> str:
    """Say in a word or two what a request is doing."""
    if row.phase == "client":
        return "slow client"
    if row.phase == "upgraded":
        return "own socket"
    if row.cpu is not None and row.cpu >= 0.5:
        return "computes"
    if row.does == "disk":
        return "disk"
    if row.does == "waiting":
        return "waits"
    return "computes" if row.does == "running" else row.does or "?"


def busy(worker: Status) -> int:
    """Return how many threads of a worker are in calls that last."""
    return len(worker.get("calls", ()))


def size(count: float | None) -> str:
    """Return bytes as people read them."""
    if count is None:
        return "?"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float | None) -> str:
    """Return seconds as people read them."""
    if seconds is None:
        return "-"
    if seconds == float("inf"):
        return "> 10 s"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def printable(text: str) -> str:
    """Return a client's text without what a terminal would act on."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def summary(now: Status, before: Status | None = None) -> list[str]:
    """Return what the server as a whole is and does, in two lines."""
    said, counters = rates(now, before), now["counters"]
    threads = sum(worker.get("threads", 0) for worker in now["workers"])
    taken = sum(map(busy, now["workers"]))
    memory = sum(worker["resident"] or 0 for worker in now["workers"])
    serving = sum(worker["state"] == "serving" for worker in now["workers"])
    return [
        f"{now['application'] or 'an application'} on {', '.join(now['listening'])}: "
        f"{now['state']} for {duration(now['uptime'])}, fastwsgi {now['version']}, "
        f"pid {now['pid']}",
        f"workers {serving} of {now['workers_wanted']}, threads busy {taken} of {threads}, waiting "
        f"{counters['waiting']}, connections {counters['connections']}, memory {size(memory)}",
        f"requests {said.requests:.1f}/s, p50 <= {duration(said.p50)}, p99 <= "
        f"{duration(said.p99)}, refused {said.refused:.1f}/s, timeouts {said.timeouts:.1f}/s, in "
        f"{size(said.bytes_in)}/s, out {size(said.bytes_out)}/s",
    ]


def text(now: Status, before: Status | None = None, sort: str = "age", search: str = "") -> str:
    """Return a whole status as plain lines."""
    lines = [*summary(now, before), ""]
    if now["last_reload"]:
        lines.insert(3, f"last reload: {now['last_reload']}")
    lines.append(f"{'WORKER':>8} {'STATE':9} {'AGE':>12} {'BUSY':>7} {'WAITING':>7} "
                 f"{'CONNS':>6} {'REQUESTS':>9} {'CPU s':>8} {'MEMORY':>8}")
    for worker in now["workers"]:
        counters = worker.get("counters", {})
        state = worker["state"] if worker["current"] else f"{worker['state']} *"
        cpu = worker["cpu_seconds"]
        lines.append(
            f"{worker['pid']:>8} {state:9} {duration(worker['age']):>12} "
            f"{busy(worker):>3}/{worker.get('threads', 0):<3} {counters.get('waiting', 0):>7} "
            f"{counters.get('connections', 0):>6} {counters.get('requests', 0):>9} "
            f"{'?' if cpu is None else f'{cpu:.1f}':>8} {size(worker['resident']):>8}")
    found = rows(now, before, sort, search)
    if found:
        lines += ["", f"{'AGE':>10} {'WORKER':>8} {'THREAD':>6} {'WHY':11} REQUEST"]
    for row in found:
        lines.append(f"{duration(row.seconds):>10} {row.worker:>8} {row.thread:>6} {why(row):11} "
                     f"{printable(f'{row.method} {row.target}')} from {printable(row.client)}")
    return "\n".join(lines) + "\n"
