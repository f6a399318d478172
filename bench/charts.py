"""Charts of a comparison, as SVG: `python -m bench.charts FOLDER` reads FOLDER/results.json (needs
matplotlib).

They are read on a white page and on a dark one, so the background is clear and the ink is a middle
grey.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

INK = "#7a8088"
OURS = "#1f9e77"
PEER = "#8da0cb"
YARDSTICK = "#c9ccd1"

plt.rcParams.update(
    {
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.hashsalt": "fastwsgi",
        "svg.fonttype": "none",
    }
)

Found = dict[str, Any]


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def _colour(name: str) -> str:
    return {"fastwsgi": OURS, "canned": YARDSTICK}.get(name, PEER)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def bars(found: Found, row: Found, figure_name: str, label: str, path: Path) -> None:
    """One row of the table: a bar per server, the best first."""
    cells = {name: one[figure_name] for name, one in row["cells"].items() if figure_name in one}
    if not cells:
        return
    ranked = sorted(cells, key=lambda name: cells[name], reverse=figure_name != "rps")
    figure, axes = plt.subplots(figsize=(7, 0.34 * len(ranked) + 0.7))
    axes.barh(
        [found["servers"][name]["title"] for name in ranked],
        [cells[name] for name in ranked],
        color=[_colour(name) for name in ranked],
        height=0.72,
    )
    most = max(cells.values())
    for place, name in enumerate(ranked):
        weight = "bold" if name == "fastwsgi" else "normal"
        axes.text(cells[name] + most * 0.01, place, _text(cells[name]), va="center", weight=weight)
    axes.set_title(f"{row['title']}: {label}", loc="left", color=INK)
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    _save(figure, path)


def ratios(found: Found, path: Path) -> None:
    """How many times our CPU per request each peer needs, all rows at once (1 = as much as we)."""
    rows = [row for row in found["rows"] if "cpu_us" in row["cells"].get("fastwsgi", {})]
    names = [
        name
        for name in found["servers"]
        if name != "fastwsgi" and any("cpu_us" in row["cells"][name] for row in rows)
    ]
    if not rows or not names:
        return
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(rows) + 1.4))
    colours = plt.get_cmap("tab10").colors
    for number, name in enumerate(names):
        points = [
            (row["cells"][name]["cpu_us"] / row["cells"]["fastwsgi"]["cpu_us"], place)
            for place, row in enumerate(rows)
            if "cpu_us" in row["cells"][name]
        ]
        axes.scatter(
            [x for x, _ in points],
            [y for _, y in points],
            s=46,
            color=YARDSTICK if name == "canned" else colours[number % 10],
            marker="|" if name == "canned" else "o",
            linewidths=2 if name == "canned" else 0,
            label=found["servers"][name]["title"],
            zorder=3,
        )
    axes.axvline(1.0, color=OURS, linewidth=2, zorder=2)
    axes.set_xscale("log")
    ticks = [0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500]
    low, high = axes.get_xlim()
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.set_xticklabels([f"x {tick:g}" for tick in ticks if low <= tick <= high])
    axes.minorticks_off()
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([row["title"] for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="y", color=INK, alpha=0.2)
    axes.tick_params(length=0)
    axes.set_title(
        "CPU per request, as multiples of fastwsgi's (green line)", loc="left", color=INK
    )
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.4, -0.06), ncol=5, frameon=False, fontsize=8.5
    )
    _save(figure, path)


def main(folder: Path) -> None:
    """Draw everything."""
    found = json.loads((folder / "results.json").read_text())
    ratios(found, folder / "ratios.svg")
    for row in found["rows"]:
        bars(
            found,
            row,
            "cpu_us",
            "CPU per request, us (less is better)",
            folder / f"{row['name']}-cpu.svg",
        )
        if row["name"] in ("hello", "pipelined", "sleep"):
            bars(found, row, "rps", "requests per second", folder / f"{row['name']}-rps.svg")
        if row["name"] == "mix":
            bars(found, row, "p99_ms", "99th percentile, ms", folder / "mix-p99.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
