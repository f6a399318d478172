"""From figures to answers: are the goals met, and the tables that people read.

    python -m bench.report bench/results      # judge, write and draw again from results.json

A goal compares our median with a peer's median of the same run. "best" is the cheapest (or
quickest) peer whose bytes passed and that has what the row needs (a peer that holds a stream back,
or never closes an iterable, does not count there); the canned server is no peer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import machine, peers
from bench.pace import SLOWER
from bench.scenarios import SCENARIOS, Goal, Scenario

Found = dict[str, Any]
TABLES = (
    ("cpu_us", "CPU per request, microseconds"),
    ("both_us", "CPU per request of server and client together, microseconds"),
    ("rps", "Requests per second"),
    ("p50_ms", "Latency, 50th percentile, milliseconds"),
    ("p99_ms", "Latency, 99th percentile, milliseconds"),
    ("pss_mb", "Resident memory under that load, MB (pages that processes share counted once)"),
)
SILENT = ("canned reply", "has no threads", "ours alone")  #: reasons that are no failures
UNITS = {"cpu_us": "us", "rps": "/s", "p99_ms": "ms"}


def cell(found: Found, row: str, server: str) -> Found | None:
    """The measured cell, or None when there is none."""
    for one in found["rows"]:
        if one["name"] == row:
            kept: Found | None = one["cells"].get(server)
            return kept if kept and "reason" not in kept else None
    return None


def _best(found: Found, row: Scenario, goal: Goal) -> tuple[str, float] | None:
    candidates = []
    for name, server in found["servers"].items():
        measured = cell(found, row.name, name)
        if name in (peers.OURS, peers.YARDSTICK) or measured is None:
            continue
        if goal.needs and not (server.get("traits") or {}).get(goal.needs):
            continue
        candidates.append((measured[goal.value], name))
    if not candidates:
        return None
    value, name = max(candidates) if goal.at_least else min(candidates)
    return name, value


def _against(found: Found, row: Scenario, goal: Goal) -> tuple[str, float] | None:
    """Whom the goal compares with, and that one's figure."""
    if not goal.against:
        return "", 1.0
    if goal.against == "best":
        return _best(found, row, goal)
    kind, _, name = goal.against.partition(":")
    measured = cell(found, name, peers.OURS) if kind == "self" else cell(found, row.name, kind)
    return (goal.against, measured[goal.value]) if measured else None


def judge(found: Found) -> list[Found]:
    """Every goal of the measured rows, kept in `found`.

    `met` is True, False, or None where a figure is missing.
    """
    goals = []
    for one in found["rows"]:
        row = SCENARIOS[one["name"]]
        ours = cell(found, row.name, peers.OURS)
        for goal in row.goals:
            other = _against(found, row, goal)
            verdict: Found = {
                "row": row.title,
                "value": goal.value,
                "at_least": goal.at_least,
                "against": goal.against,
                "factor": round(goal.factor, 3),
                "met": None,
            }
            if other is not None:
                verdict |= {"against": other[0], "theirs": other[1]}
                verdict["bound"] = round(goal.factor * other[1] + goal.plus, 3)
            if ours is not None and other is not None:
                mine = ours[goal.value]
                verdict |= {"ours": mine, "ratio": round(mine / other[1], 3) if other[1] else None}
                verdict["met"] = (
                    mine >= verdict["bound"] if goal.at_least else mine <= verdict["bound"]
                )
            goals.append(verdict)
    found["goals"] = goals
    return goals


def number(value: float) -> str:
    """A figure as tables show it: three digits or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 2 else f"{value:.2f}"


def _table(head: list[str], lines: list[list[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
        *("| " + " | ".join(line) + " |" for line in lines),
        "",
    ]


class Notes:
    """Remarks under the tables, each said once and referred to by its number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """The reference to a remark."""
        if text not in self.texts:
            self.texts.append(text)
        return f"[{self.texts.index(text) + 1}]"

    def lines(self) -> list[str]:
        """The section that holds them."""
        return [f"{number}. {text}" for number, text in enumerate(self.texts, 1)] or ["None."]


def _cell_text(one: Found, figure: str, top: float | None, notes: Notes) -> str:
    if "reason" in one:
        return "" if one["reason"] in SILENT else f"fails {notes.mark(one['reason'])}"
    text = number(one[figure])
    if one[figure] == top:
        text = f"**{text}**"
    return f"{text} {notes.mark(one['remark'])}" if "remark" in one else text


def _figures(found: Found, figure: str, notes: Notes) -> list[str]:
    """One table: rows down, servers across; the best (the canned server apart) in bold."""
    rows = found["rows"]
    names = [
        name for name in found["servers"] if any(cell(found, row["name"], name) for row in rows)
    ]
    lines = []
    for row in rows:
        if figure in ("p50_ms", "p99_ms") and row["pipeline"] > 1:
            continue  # wrk's correction of latencies has no meaning for pipelined requests
        cells = row["cells"]
        values = [cells[name][figure] for name in names if figure in cells[name]]
        if peers.YARDSTICK in names and figure in cells[peers.YARDSTICK]:
            values.remove(cells[peers.YARDSTICK][figure])
        top = (max if figure == "rps" else min)(values, default=None)
        lines.append(
            [row["title"], *(_cell_text(cells[name], figure, top, notes) for name in names)]
        )
    servers = [found["servers"][name] for name in names]
    titles = [f"{server['title']} {server.get('version', '')}".strip() for server in servers]
    return _table(["", *titles], lines)


def _errors(found: Found) -> list[str]:
    lines = []
    for row in found["rows"]:
        for name, one in row["cells"].items():
            if one.get("errors"):
                kinds = ", ".join(f"{kind} {count}" for kind, count in one["errors"].items())
                lines.append([row["title"], found["servers"][name]["title"], kinds])
    if not lines:
        return ["None.", ""]
    return _table(["row", "server", "errors, all rounds"], lines)


def _goals(found: Found) -> list[str]:
    lines = []
    for goal in found["goals"]:
        unit = UNITS[goal["value"]]
        if "theirs" not in goal:
            lines.append([goal["row"], goal["against"], "", "", "no figure"])
            continue
        sign = ">=" if goal["at_least"] else "<="
        other = f"{goal['against']} {number(goal['theirs'])}" if goal["against"] else "fixed"
        ours = f"{number(goal['ours'])} {unit}" if "ours" in goal else ""
        met = {True: "met", False: "**missed**", None: "no figure"}[goal["met"]]
        ratio = f" (x {goal['ratio']})" if goal["against"] and goal.get("ratio") is not None else ""
        lines.append(
            [goal["row"], other, f"{sign} {number(goal['bound'])} {unit}", ours + ratio, met]
        )
    return _table(["row", "against", "bound", "ours", ""], lines)


def _slow_rounds(found: Found) -> str:
    """How many rounds the machine's slow phases have spoilt, attempts to repeat them included."""
    rounds = [
        one.get("slowed", 1.0)
        for row in found["rows"]
        for kept in row["cells"].values()
        for one in kept.get("rounds", ())
    ]
    spoilt = sum(one > SLOWER for one in rounds)
    return f" In {spoilt} of {len(rounds)} rounds the machine was slow." if spoilt else ""


def _list(cores: list[int]) -> str:
    return ", ".join(map(str, cores))


def markdown(found: Found) -> str:
    """The whole report."""
    about, settings = found["machine"], found["settings"]
    traits = [
        [server["title"], server.get("version", ""), *_marks(server.get("traits"))]
        for server in found["servers"].values()
    ]
    notes = Notes()
    tables = [
        line
        for figure, title in TABLES
        for line in (f"## {title}", "", *_figures(found, figure, notes))
    ]
    for server in found["servers"].values():
        if server["reason"]:
            notes.mark(f"{server['title']}: {server['reason']}")
    return "\n".join(
        [
            f"Measured {settings['date']}: {about['processor']}, Linux {about['kernel']}, Python "
            f"{about['python']}; server on core {_list(settings['server_cores'])}, client on core "
            f"{_list(settings['client_cores'])}; medians over rounds of "
            f"{settings['seconds']:g} s, {settings['rounds']} of them.{_slow_rounds(found)}",
            "",
            *tables,
            "## Notes",
            "",
            *notes.lines(),
            "",
            "## Errors that the client counted",
            "",
            *_errors(found),
            "## Goals",
            "",
            *_goals(found),
            "## Servers",
            "",
            *_table(
                ["", "version", "keep-alive", "really streams", "closes iterables", "pipelines"],
                traits,
            ),
        ]
    )


def _marks(traits: Found | None) -> list[str]:
    words = {True: "yes", False: "no", None: ""}
    return [
        words[(traits or {}).get(name)] for name in ("keepalive", "streams", "closes", "ordered")
    ]


def draw(out: Path) -> None:
    """Charts by matplotlib, in the harness's own environment."""
    try:
        python = peers.tools()
    except (machine.Missing, subprocess.CalledProcessError) as error:
        print(f"no charts: {error}", file=sys.stderr)
        return
    subprocess.run(
        [str(python), "-m", "bench.charts", str(out.resolve())], cwd=machine.ROOT, check=True
    )


def main(folder: Path) -> None:
    """Write tables and charts again from the folder's results.json."""
    found = json.loads((folder / "results.json").read_text())
    judge(found)
    (folder / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(found))
    draw(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
