"""A run becomes the published one: `python -m bench.publish [FOLDER]`, `make publish`.

From FOLDER/results.json (bench/results, where bench.run writes) it makes the table of README.md and
all of docs/measured but what stands above the mark there: what is to be said about a run is said by
hand, figures are not copied by hand.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bench import report
from bench.machine import ROOT
from bench.peers import YARDSTICK

Found = dict[str, Any]
README = ROOT / "README.md"
PAGES = ROOT / "docs" / "measured"
BEGIN = "<!-- made by python -m bench.publish -->\n"
END = "<!-- end of what it made -->"

#: The servers of README's table; docs/measured has all.
COLUMNS = {
    "canned": "canned C",
    "fastwsgi": "fastwsgi",
    "namesake": "PyPI's fastwsgi",
    "bjoern": "bjoern",
    "granian": "granian",
    "uwsgi": "uWSGI",
    "gunicorn-gthread": "gunicorn gthread",
}
#: The rows that are about something else than CPU per request.
LEFT_OUT = ("mix",)
#: Charts that docs/measured shows, with what a reader is told who cannot see them.
CHARTS = {
    "ratios": "CPU per request of each row, over that of fastwsgi",
    "hello-cpu": "CPU per request of a hello, by server",
    "flask-cpu": "CPU per request of Flask's hello, by server",
}


def _replaced(text: str, made: str, where: Path) -> str:
    """The text with what stands between the marks made anew; to the end where there is no END."""
    before, begin, rest = text.partition(BEGIN)
    if not begin:
        raise SystemExit(f"{where} has no line {BEGIN.strip()}")
    _, end, after = rest.partition(END)
    return before + begin + made + end + after


def _cell(one: Found, best: float) -> str:
    if "cpu_us" not in one:
        return "fails" if one["reason"] not in report.SILENT else ""
    text = report.number(one["cpu_us"])
    return f"**{text}**" if one["cpu_us"] == best else text


def table(found: Found) -> str:
    """README's table: CPU per request, the best server (the canned one apart) in bold."""
    names = [name for name in COLUMNS if name in found["servers"]]
    lines = [
        "| | " + " | ".join(COLUMNS[name] for name in names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for row in found["rows"]:
        if row["name"] not in LEFT_OUT:
            cells = {name: row["cells"][name] for name in names}
            costs = [
                one["cpu_us"]
                for name, one in cells.items()
                if "cpu_us" in one and name != YARDSTICK
            ]
            texts = [_cell(one, min(costs, default=0.0)) for one in cells.values()]
            lines.append(f"| {row['title']} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Publish the run."""
    found = json.loads((folder / "results.json").read_text())
    README.write_text(_replaced(README.read_text(), "\n" + table(found), README))
    for name in CHARTS:
        shutil.copy(folder / f"{name}.svg", PAGES)
    shutil.copy(folder / "results.json", PAGES)
    charts = "".join(f"![{said}]({name}.svg)\n\n" for name, said in CHARTS.items())
    page = PAGES / "index.md"
    page.write_text(_replaced(page.read_text(), "\n" + charts + report.markdown(found), page))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "bench" / "results")
