"""Generated pages are in step, and the commands, links and functions that documents name exist."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from apps import ROOT, benchmarks  # noqa: F401
from apps.project_map import project_map

from bench import publish, worst

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_settings_are_in_step_with_their_table() -> None:
    check = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "settings_page.py"), "--check"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert check.returncode == 0, check.stdout + check.stderr


def test_the_map_is_the_one_that_is_drawn_now() -> None:
    drawn = project_map.draw()
    assert drawn == project_map.PICTURE.read_text("utf-8"), "run make map"
    assert drawn == project_map.draw()


def test_published_figures_are_those_of_the_published_runs() -> None:
    measured = ROOT / "docs" / "measured"
    found = json.loads((measured / "results.json").read_text("utf-8"))
    records = json.loads((measured / "records.json").read_text("utf-8"))
    for page, text in publish.pages(found, records).items():
        assert page.read_text("utf-8") == text, page


def test_every_record_is_on_a_page() -> None:
    records = json.loads((ROOT / "docs" / "measured" / "records.json").read_text("utf-8"))
    named = {
        name
        for page in PAGES
        for name in re.findall(r"<!-- record: ([a-z-]+) -->", page.read_text("utf-8"))
    }
    assert named == set(records)


def test_readme_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 110


def test_the_table_of_the_worst_costs_is_that_of_the_published_run() -> None:
    found = json.loads((ROOT / "docs" / "measured" / "worst.json").read_text("utf-8"))
    assert worst.table(found) in (ROOT / "docs" / "speed.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_tasks_that_are_named_exist(page: Path) -> None:
    tasks = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = set(re.findall(r"`make ([a-z0-9-]+)", page.read_text("utf-8")))
    assert named <= tasks


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_flags_that_are_named_exist(page: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "from fastwsgi.cli import main; main(['--help', 'all'])"],
        check=True, capture_output=True, text=True, env={"COLUMNS": "200", "PATH": ""}, cwd=ROOT,
    ).stdout  # fmt: skip
    known = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", shown))
    commands = re.findall(r"fastwsgi ((?:-[^`\n#]*|\S+ -[^`\n#]*))", page.read_text("utf-8"))
    used = {
        flag for command in commands for flag in re.findall(r"(?<!\S)--?[a-zA-Z][\w-]*", command)
    }
    assert used <= known


def test_design_page_names_every_part() -> None:
    design = (ROOT / "docs" / "design.md").read_text("utf-8")
    nouns = {path.stem for path in (ROOT / "csrc").rglob("*.h")} - {"fw"}
    core = ROOT / "fastwsgi" / "_core"
    modules = {path.stem for path in (*core.glob("*.pyx"), *core.glob("*.pxi"))} - {"core"}
    named = set(re.findall(r"`(\w+)(?:\.(?:c|h|pyx|pxi|pxd))?`", design))
    assert (nouns | modules) - named == set()


def test_functions_that_the_design_page_names_exist() -> None:
    design = (ROOT / "docs" / "design.md").read_text("utf-8")
    named = re.findall(r"`([\w/]+\.(?:c|h|py|pyx|pxi)):(\w+)`", design)
    assert named
    missing = []
    for file, function in named:
        folder = "csrc" if file.endswith((".c", ".h")) else "fastwsgi"
        if not defines((ROOT / folder / file).read_text("utf-8"), function, file):
            missing.append(f"{file}:{function}")
    assert missing == []


def defines(text: str, name: str, file: str) -> bool:
    if file.endswith((".c", ".h")):  # a definition begins its line, and its brace stands alone
        return re.search(rf"^\w[^;{{}}\n]*\b{name}\([^;{{}}]*\)\n{{", text, re.M) is not None
    return re.search(rf"^\s*(?:cp?def|def|async def)\b[^(=\n]*\b{name}\(", text, re.M) is not None


def test_every_make_task_is_listed_by_help() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.M)
    assert set(phony.split()) == set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.M))


def test_version_is_spelled_once() -> None:
    spec = importlib.util.find_spec("fastwsgi._version")
    assert spec is not None
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert "## Unreleased" in changelog or re.search(r"^## \d+\.\d+", changelog, re.M)
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text("utf-8")
