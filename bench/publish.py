"""Publish a run: `python -m bench.publish [FOLDER]`, `make publish`.

FOLDER/results.json (bench/results, where bench.run writes) becomes the table of README.md, the part
of docs/measured/index.md below its mark, and the tables of docs/speed.md that quote the run.
docs/measured/records.json holds the figures of single runs, each with the command that prints it; a
page says `<!-- record: NAME -->` where it wants one. So no figure is copied into a page by hand.
`python -m bench.publish docs/measured` makes the pages again from what is published.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import report
from bench.machine import ROOT
from bench.peers import YARDSTICK

Found = dict[str, Any]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = DOCS / "measured"
BEGIN = "<!-- made by python -m bench.publish -->\n"
END = "<!-- end of what it made -->"

#: The rows of README's table, one where another server is ahead among them; docs/measured has all.
ROWS = ("hello", "post-1k", "megabyte", "flask", "django")
#: The servers of README's table.
COLUMNS = {
    "canned": "canned C",
    "fastwsgi": "fastwsgi",
    "namesake": "PyPI's fastwsgi",
    "bjoern": "bjoern",
    "granian": "granian",
    "uwsgi": "uWSGI",
    "gunicorn-gthread": "gunicorn gthread",
}
#: The rows and servers of the table of large responses in docs/speed.md.
LARGE = ("megabyte", "file", "megabyte-close", "file-close")
LARGE_COLUMNS = ("fastwsgi", "uwsgi", "canned", "granian")
#: Charts that docs/measured shows, with the text for readers who cannot see them.
CHARTS = {
    "ratios": "CPU per request of each row, over that of fastwsgi",
    "hello-cpu": "CPU per request of a hello, by server",
    "flask-cpu": "CPU per request of Flask's hello, by server",
}


def _replaced(text: str, made: str, where: Path) -> str:
    """The text with a new part between the marks; up to the end where there is no END."""
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
        "| CPU per request, us | " + " | ".join(COLUMNS[name] for name in names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    rows = {row["name"]: row for row in found["rows"]}
    for row in (rows[name] for name in ROWS if name in rows):
        cells = {name: row["cells"][name] for name in names}
        costs = [
            one["cpu_us"] for name, one in cells.items() if "cpu_us" in one and name != YARDSTICK
        ]
        texts = [_cell(one, min(costs, default=0.0)) for one in cells.values()]
        lines.append(f"| {row['title']} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def large(found: Found) -> str:
    """The table of large responses in docs/speed.md: the server, and the server with its client."""
    names = [name for name in LARGE_COLUMNS if name in found["servers"]]
    lines = [
        "| CPU per request, us: server, and server with client | "
        + " | ".join(found["servers"][name]["title"] for name in names)
        + " |",
        "|---|" + "---:|" * len(names),
    ]
    rows = {row["name"]: row for row in found["rows"]}
    for row in (rows[name] for name in LARGE if name in rows):
        texts = [
            f"{report.number(one['cpu_us'])}, {report.number(one['both_us'])}"
            if "cpu_us" in one
            else ""
            for one in (row["cells"][name] for name in names)
        ]
        lines.append(f"| {row['title']} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def line(cells: Sequence[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join(cells) + " |"


def rule(cells: Sequence[str]) -> str:
    """The line below a table's head."""
    return "|---|" + "---:|" * (len(cells) - 1)


def record(one: Found) -> str:
    """The table of a single run, and where it is from."""
    source = f"From `{one['command']}`. " if one["command"] else ""
    lines = [
        line(one["head"]),
        rule(one["head"]),
        *(line(row) for row in one["rows"]),
        "",
        (source + one["about"]).strip(),
    ]
    return "\n".join(lines) + "\n"


def keep(
    name: str, command: str, head: Sequence[str], rows: Sequence[Sequence[str]], about: str
) -> None:
    """Make these the figures of a single run, and the pages anew that show them."""
    path = PAGES / "records.json"
    records = json.loads(path.read_text())
    records[name] = {"command": command, "about": about, "head": head, "rows": rows}
    path.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n")
    main(PAGES)


def filled(text: str, records: Found) -> str:
    """A page with every record that it names made anew."""

    def made(mark: re.Match[str]) -> str:
        return f"{mark[1]}\n{record(records[mark[2]])}{mark[3]}"

    return re.sub(
        r"(<!-- record: ([a-z-]+) -->\n).*?(<!-- end of record -->)", made, text, flags=re.S
    )


def pages(found: Found, records: Found) -> dict[Path, str]:
    """What every page that quotes a figure has to be."""
    charts = "".join(f"![{said}]({name}.svg)\n\n" for name, said in CHARTS.items())
    parts = {
        README: "\n" + table(found) + "\n",
        PAGES / "index.md": "\n" + charts + report.markdown(found),
        DOCS / "speed.md": "\n" + large(found) + "\n",
    }
    made = {path: _replaced(path.read_text(), part, path) for path, part in parts.items()}
    for path in (*DOCS.glob("*.md"), *PAGES.glob("*.md")):
        made[path] = filled(made.get(path, path.read_text()), records)
    return made


def main(folder: Path) -> None:
    """Publish the run."""
    if folder.resolve() != PAGES:
        for name in (*(f"{chart}.svg" for chart in CHARTS), "results.json"):
            shutil.copy(folder / name, PAGES)
    found = json.loads((PAGES / "results.json").read_text())
    records = json.loads((PAGES / "records.json").read_text())
    for path, text in pages(found, records).items():
        path.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "bench" / "results")
