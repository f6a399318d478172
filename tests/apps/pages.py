"""What a page of the documentation tells its reader to do, done: files, commands, servers.

Rule: a block below `<!-- run -->` is taken as it stands. One with a title is a file; the lines of a
block of sh are commands, one after the other. A command that serves goes on until the next one that
does, on a port of its own, which is put in place of the page's. So is a free port in place of each
that `<!-- ports: 8443 9100 -->` names. What stands below `<!-- shows -->` is in the output of the
last command, line by line.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from apps import ROOT
from apps.ports import reserved
from fastwsgi.testing import Process, environment, spawn

ASKING = ("--check-config", "--print-config", "--explain", "--version", "--help", "migrate", "ctl",
          "completion", "man", "|")


class Block(NamedTuple):
    """A fenced block: its place, language, title and mark, and its text."""

    page: str
    line: int
    language: str
    title: str
    mark: str
    text: str


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = page.read_text("utf-8")
    pattern = re.compile(
        r"^(?:<!-- (run|shows) -->\n)?(`{3,4})(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^\2$",
        re.M | re.DOTALL)
    name = page.relative_to(ROOT).as_posix()
    return [Block(name, text.count("\n", 0, found.start()) + 1, found[3], found[4] or "",
                  found[1] or "", found[5]) for found in pattern.finditer(text)]


def commands(block: Block) -> list[str]:
    """The commands of a block of sh, without comments."""
    whole = re.sub(r"\\\n\s*", "", block.text)
    return [line for line in (re.sub(r"(^|\s)#.*", "", line).strip()
                              for line in whole.splitlines()) if line]


def ports(page: Path, held: contextlib.ExitStack) -> dict[str, str]:
    """The ports that a page names, and free ones for them, which nobody else gets meanwhile."""
    named = re.search(r"^<!-- ports: ([\d ]+) -->$", page.read_text("utf-8"), re.M)
    return {port: str(held.enter_context(reserved())[1])
            for port in (named[1].split() if named else ())}


class Reader:
    """Somebody who does what a page says, in a directory."""

    def __init__(self, page: Path, place: Path) -> None:
        self.place = place
        self._held = contextlib.ExitStack()
        self._ports = ports(page, self._held)
        self.shown = ""
        self._address = ""
        self._stack = contextlib.ExitStack()
        (place / ".bin").mkdir()
        self._script("fastwsgi", f'{sys.executable} -m fastwsgi "$@"')
        nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if os.getuid() == 0 and nginx is not None:
            self._script("nginx", f'{nginx} -g "user root;" "$@"')  # others cannot come in here
        # A file that is changed within a second looks the same to who caches what it compiles to.
        self._env = environment({
            "PATH": f"{place}/.bin:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
            "PYTHONDONTWRITEBYTECODE": "1"})

    def _script(self, name: str, command: str) -> None:
        path = self.place / ".bin" / name
        path.write_text(f"#!/bin/sh\nexec {command}\n")
        path.chmod(0o755)

    def _here(self, text: str) -> str:
        """The text with the ports of here."""
        for port, free in self._ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return text

    def do(self, block: Block) -> None:
        """Do what one block says."""
        where = f"{block.page}:{block.line}"
        if block.mark == "shows":
            for line in block.text.splitlines():
                assert self._here(line) in self.shown, f"{where}: no {line!r} in {self.shown!r}"
        elif block.title:
            path = self.place / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._here(block.text))
        else:
            assert block.language == "sh", where
            for command in commands(block):
                self._command(self._here(command), where)

    def _command(self, command: str, where: str) -> None:
        words = shlex.split(command)
        if words[0] == "fastwsgi" and not any(word.startswith(ASKING) for word in words):
            self._serve(words[1:])
            return
        if words[0] == "prometheus":
            self._watch(words)
            return
        done = subprocess.run(
            ["bash", "-ec", command.replace("127.0.0.1:8000", self._address)], cwd=self.place,
            env=self._env, text=True, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.shown = done.stdout
        assert done.returncode == 0, f"{where}: {command}\n{done.stdout}"

    def _serve(self, words: list[str]) -> None:
        self._stack.close()
        server: Process = self._stack.enter_context(spawn(
            *words, cwd=self.place, env={"PYTHONDONTWRITEBYTECODE": "1"}))
        self._address = f"{server.host}:{server.port}"

    def _watch(self, words: list[str]) -> None:
        watcher = subprocess.Popen(words, cwd=self.place, env=self._env, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        self._stack.callback(watcher.wait, 30)
        self._stack.callback(watcher.terminate)

    def close(self) -> None:
        """Stop what still serves, and give its ports away."""
        with self._held:
            self._stack.close()


@contextlib.contextmanager
def reader(page: Path, place: Path) -> Iterator[Reader]:
    """A reader who leaves nothing running."""
    found = Reader(page, place)
    try:
        yield found
    finally:
        found.close()
