"""The blocks of the documents: those that are marked are run, all others can be read.

The site itself is built by `make docs`, strictly, which is a step of the gate. The tutorial needs
nginx, Prometheus and ten seconds: `make tutorial` runs it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import textwrap
from pathlib import Path

import pytest
from apps import ROOT
from apps.pages import Block, blocks, commands, reader

from fastwsgi import cli
from fastwsgi.config.sources import gather
from fastwsgi.config.table import SETTINGS

yaml = pytest.importorskip("yaml")

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCKS = [block for page in PAGES for block in blocks(page)]
WHOLE = os.environ.get("FASTWSGI_TUTORIAL", "0") not in ("", "0")
RUN = [page for page in PAGES if any(block.mark for block in blocks(page))
       and (WHOLE or page.stem != "tutorial")]


def place(block: Block) -> str:
    return f"{block.page}:{block.line}"


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.stem))
def test_what_a_page_says_can_be_done(page: Path, tmp_path: Path) -> None:
    with reader(page, tmp_path) as somebody:
        for block in blocks(page):
            if block.mark:
                somebody.do(block)


def test_the_first_page_is_run() -> None:
    assert ROOT / "docs" / "start.md" in RUN


@pytest.mark.parametrize("block", of("python"), ids=place)
def test_python_can_be_compiled(block: Block) -> None:
    ast.parse(textwrap.dedent(block.text))


@pytest.mark.parametrize("block", of("yaml", "json", "toml"), ids=place)
def test_data_can_be_read(block: Block) -> None:
    if block.language == "yaml":
        list(yaml.safe_load_all(block.text))
    elif block.language == "json":
        for line in filter(None, block.text.splitlines()):
            json.loads(line if "\n}" not in block.text else block.text)
    else:
        tomllib = pytest.importorskip("tomllib")
        tomllib.loads(block.text)


@pytest.mark.parametrize("block", of("sh"), ids=place)
def test_commands_of_ours_have_settings_that_there_are(
    block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in commands(block):
        if not command.startswith("fastwsgi "):
            continue
        simple = re.split(r"\s[|<>&]+\s?|<\(|\)$", command)[0]
        words = shlex.split(simple, posix=True)
        if words[1:2] in (
                [["migrate"], ["ctl"], ["top"], ["completion"], ["man"]]) or "..." in words:
            continue
        try:
            given = cli.parse(words[1:])
        except SystemExit as end:  # --help, --version
            assert not end.code
            continue
        for name in ("config", "paste", "chdir", *cli.ACTIONS):
            given.pop(name, None)  # files of the reader's
        gather({name: value for name, value in given.items() if name in SETTINGS}, {})


def test_the_site_is_built_so_that_a_broken_link_fails() -> None:
    """With --quiet mkdocs does not count its warnings."""
    if not (ROOT / ".ci" / "run").exists():
        pytest.skip("not in a source tree")
    for name in ("Makefile", ".ci/run"):
        found = re.findall(r"mkdocs build (.*)", (ROOT / name).read_text("utf-8"))
        assert found
        assert all("--strict" in words and "--quiet" not in words for words in found)
