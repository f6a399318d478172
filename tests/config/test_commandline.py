"""What the command says of itself: --help and its topics, colours, --version --verbose."""

from __future__ import annotations

import platform
import re
import ssl
import sys

import pytest
from apps.command import Command

from fastwsgi import __version__, cli
from fastwsgi.commandline import usage
from fastwsgi.config.table import FIRST, GROUPS, SETTINGS
from fastwsgi.errors import ConfigError


def shown(topic: str = "", colours: bool = False) -> str:
    return usage.text(cli.build_parser(), topic, colours=colours)


def flags(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


def test_help_is_short_and_names_what_a_newcomer_needs(command: Command) -> None:
    done = command("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: fastwsgi [OPTIONS] MODULE:APP\n")
    assert len(done.stdout.splitlines()) < 80
    assert all(SETTINGS[name].flags[-1] in done.stdout for name in FIRST)
    assert "--tls-minimum" not in done.stdout
    assert "--help all" in done.stdout


def test_help_beside_an_application_is_the_short_one(command: Command) -> None:
    assert command("--help", "shop.wsgi:application").stdout == command("--help").stdout


@pytest.mark.parametrize("group", GROUPS)
def test_help_of_a_group_has_its_settings_and_no_others(group: str) -> None:
    columns = re.findall(r"^  (-.*?)(?=  |$)", shown(group), re.M)
    assert flags("\n".join(columns)) == {
        flag for setting in SETTINGS.values() if setting.group == group
        for flag in setting.flags if flag.startswith("--")}


@pytest.mark.parametrize("topic", ["keepalive", "keep-alive", "--keep-alive"])
def test_help_of_a_setting_goes_by_any_of_its_names(topic: str) -> None:
    text = shown(topic)
    assert "--keep-alive SECONDS" in text
    assert "variable: FASTWSGI_KEEPALIVE" in text
    assert "--bind" not in text


def test_help_knows_settings_without_a_flag_and_flags_without_a_setting() -> None:
    assert shown("logconfig_dict").startswith("logconfig_dict: ")
    assert "--print-config" in shown("print-config")


def test_help_of_an_unknown_topic_names_the_topics(command: Command) -> None:
    done = command("--help", "tsl")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not 'tsl'" in done.stderr
    assert all(group in done.stderr for group in GROUPS)
    with pytest.raises(ConfigError, match="worker_tmp_dir"):
        shown("worker_tmp_dir")  # gunicorn's, which is accepted and not shown


class Terminal:
    """A stream that is one, or is none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
        monkeypatch.setattr("os.isatty", lambda _descriptor: terminal)

    def fileno(self) -> int:
        return 1


@pytest.mark.parametrize(("terminal", "environ", "wanted"), [
    (True, {"TERM": "xterm"}, True),
    (False, {"TERM": "xterm"}, False),
    (True, {"TERM": "dumb"}, False),
    (True, {}, False),
    (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
    (True, {"TERM": "xterm", "NO_COLOR": ""}, True),  # empty means not set: no-color.org
    (False, {"FORCE_COLOR": "1"}, True),
    (True, {"TERM": "xterm", "FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
])
def test_colours_are_for_terminals_that_allow_them(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, environ: dict[str, str], wanted: bool,
) -> None:
    stream = Terminal(monkeypatch, terminal)
    assert usage.wants_colours(stream, environ) is wanted  # type: ignore[arg-type]


def test_colours_change_nothing_but_the_colour() -> None:
    for topic in ("", "all", *GROUPS):
        text = shown(topic, colours=True)
        assert f"{usage.NAME}--" in text
        assert f"{usage.BOLD}usage:{usage.PLAIN}" in text
        assert re.sub(r"\033\[\d*m", "", text) == shown(topic)


def test_help_that_is_piped_has_no_colours(command: Command) -> None:
    assert "\033" not in command("--help", "all", env={"TERM": "xterm"}).stdout
    assert "\033" in command("--help", env={"FORCE_COLOR": "1"}).stdout


def test_a_verbose_version_has_what_a_report_needs(command: Command) -> None:
    done = command("--version", "--verbose")
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["fastwsgi"].startswith(f"{__version__} (")
    assert lines["Python"].startswith(platform.python_version())
    assert re.fullmatch(r"\d+\.\d+\.\d+", lines["httptools"])
    assert lines["llhttp"]
    assert lines["OpenSSL"].startswith("OpenSSL ")
    assert lines["kernel"] == f"{platform.system()} {platform.release()} {platform.machine()}"
    assert lines["poller"] == ("epoll" if sys.platform.startswith("linux") else "kqueue")
    assert lines["core"].startswith("core.")
    assert "open files" in lines["limits"]
    assert "setproctitle" in lines["features"]
    assert ssl.OPENSSL_VERSION in lines["OpenSSL"] or "cryptography" in lines["OpenSSL"]


def test_a_verbose_version_names_a_parser_that_is_missing(
    command: Command, without: object,
) -> None:
    done = command("--verbose", "-v", env=without("httptools.parser"))  # type: ignore[operator]
    assert done.returncode == 0
    assert "cannot be used" in done.stdout


def test_verbose_alone_is_refused(command: Command) -> None:
    done = command("--verbose", "app:app")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--verbose goes with --version" in done.stderr
