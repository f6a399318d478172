"""Completions and the manual page: the programs that read them find no fault, and offer what is.

Rule: where a shell is installed it is asked itself, as by the key for completion.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from apps.command import Command

from fastwsgi import cli
from fastwsgi.commandline.completion import completion
from fastwsgi.commandline.man import man
from fastwsgi.commandline.options import COMMANDS, SHELLS, options
from fastwsgi.config.table import SETTINGS
from fastwsgi.errors import ConfigError

FLAGS = {flag for setting in SETTINGS.values() for flag in setting.flags}


def script(shell: str) -> str:
    return completion([shell], cli.build_parser())


def said(*command: str, text: str | None = None, cwd: Path | None = None) -> str:
    """What a command writes; it has to succeed and to complain of nothing."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_completion_of_a_shell(command: Command, shell: str) -> None:
    done = command("completion", shell)
    assert (done.returncode, done.stdout, done.stderr) == (0, script(shell), "")


@pytest.mark.parametrize("words", [[], ["tcsh"], ["bash", "zsh"]])
def test_a_shell_that_is_not_known_is_refused_with_those_that_are(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="bash, zsh, fish"):
        completion(words, cli.build_parser())


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_finds_no_fault_in_its_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(script(shell))
    assert said(shell, "-n", str(tmp_path / "script")) == ""


def test_gunicorns_flags_are_taken_and_not_offered() -> None:
    offered = {flag for option in options(cli.build_parser()) for flag in option.flags}
    assert offered >= FLAGS
    assert "--worker-tmp-dir" not in offered


# ---- bash ----


def bash(*words: str, cwd: Path) -> set[str]:
    """What bash offers for the last word of a command line, as it splits that."""
    line = " ".join(f"'{word}'" for word in words)
    ask = (f"COMP_WORDS=({line}) COMP_CWORD={len(words) - 1}; _fastwsgi 2>/dev/null; "
           "printf '%s\\n' \"${COMPREPLY[@]}\"")
    return set(said("bash", "--norc", "-c", f"{script('bash')}\n{ask}", cwd=cwd).split("\n")) - {""}


@needs("bash")
def test_bash_offers_flags_values_and_commands(tmp_path: Path) -> None:
    (tmp_path / "a b.pem").touch()
    (tmp_path / "folder").mkdir()
    assert bash("fastwsgi", "--", cwd=tmp_path) >= {f for f in FLAGS if f.startswith("--")}
    assert bash("fastwsgi", "--protocol", "", cwd=tmp_path) == {"http", "uwsgi"}
    assert bash("fastwsgi", "--protocol", "=", "u", cwd=tmp_path) == {"uwsgi"}
    assert bash("fastwsgi", "--certfile", "a", cwd=tmp_path) == {"a b.pem"}
    assert bash("fastwsgi", "--chdir", "", cwd=tmp_path) == {"folder"}
    assert bash("fastwsgi", "--backlog", "", cwd=tmp_path) == set()
    assert bash("fastwsgi", "", cwd=tmp_path) == set(COMMANDS)
    assert bash("fastwsgi", "ctl", "rel", cwd=tmp_path) == {"reload"}
    assert bash("fastwsgi", "completion", "z", cwd=tmp_path) == {"zsh"}
    assert bash("fastwsgi", "--help", "tl", cwd=tmp_path) == {"tls"}
    # a value that may be left out leaves room for the next flag
    assert "--threads" in bash("fastwsgi", "--proxy-protocol", "--thr", cwd=tmp_path)


# ---- fish and zsh ----


@needs("fish")
def test_fish_offers_flags_values_and_commands(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(script("fish"))
    lines = ["fastwsgi --protocol ", "fastwsgi --thr", "fastwsgi ctl rel", "fastwsgi comp"]
    asked = "; ".join(f"complete -C '{line}'" for line in lines)
    offered = said("fish", "--no-config", "-c", f"source {tmp_path}/script; {asked}")
    assert {line.split("\t")[0] for line in offered.splitlines()} == {
        "http", "uwsgi", "--threads", "reload", "completion"}


# A terminal in which zsh is told to list what it would offer.
ZSH = """
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1='> '; autoload -U compinit; compinit -D -u; source $1"
zpty -w z "zstyle ':completion:*' list-prompt ''; LISTMAX=9999; stty columns 200"
zpty -w z "bindkey '^T' list-choices; unsetopt list_beep; echo begin'ning'"
zpty -r z out '*beginning*'
zpty -w -n z "$2"$'\\C-t'
zpty -r z out "*$3*" && print -r -- found
zpty -d z
"""


@needs("zsh")
@pytest.mark.parametrize(("line", "wanted"), [
    ("fastwsgi --protocol ", "uwsgi"), ("fastwsgi --thre", "application threads per worker"),
    ("fastwsgi ctl re", "reload")])
def test_zsh_offers_flags_values_and_commands(tmp_path: Path, line: str, wanted: str) -> None:
    (tmp_path / "script").write_text(script("zsh"))
    (tmp_path / "ask").write_text(ZSH)
    done = subprocess.run(
        ["zsh", "-f", tmp_path / "ask", tmp_path / "script", line, wanted], capture_output=True,
        text=True, timeout=30, cwd=tmp_path)
    assert done.stdout.splitlines()[-1:] == ["found"], done


# ---- the manual page ----


def test_the_manual_page_has_every_option_and_every_setting(command: Command) -> None:
    done = command("man")
    assert done.returncode == 0
    page = done.stdout.replace("\\-", "-")
    assert all(f"\\fB{flag}\\fR" in page for flag in FLAGS)
    assert all(re.search(rf"\b{name}\b", page) for name, setting in SETTINGS.items()
               if not setting.flags and not setting.metavar)
    assert command("man", "fastwsgi").returncode == 2


@needs("groff")
def test_groff_finds_no_fault_in_the_manual_page() -> None:
    page = man(cli.build_parser())
    shown = said("groff", "-man", "-ww", "-Wbreak", "-Tascii", "-P-cbou", text=page)
    for word in ("NAME", "SYNOPSIS", "OPTIONS", "SIGNALS", "EXIT STATUS", "--keep-alive SECONDS",
                 "'mysite:create_app()'"):
        assert word in shown
    assert "\\" not in shown
