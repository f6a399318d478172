"""The command line: argparse built from the table of settings, errors as one line, exit codes.

Exit codes: 0 asked to stop, 1 runtime failure, 2 usage or configuration, 3 a worker did not boot,
4 the application did not load. ``--check-config`` ends with 0 or 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fastwsgi._version import __version__
from fastwsgi.config.config import Config
from fastwsgi.config.gunicorn import OTHERS
from fastwsgi.config.sources import gather
from fastwsgi.config.table import GROUPS, SETTINGS, Setting
from fastwsgi.errors import ConfigError, FastwsgiError

ACTIONS = ("check_config", "print_config", "explain")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: that of the process) and return the exit code."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except FastwsgiError as error:
        from fastwsgi.master.upgrade import refuse

        refuse(error)
        return _report(error)


def _run(argv: Sequence[str]) -> int:
    if argv[:1] in (["migrate"], ("migrate",)):
        from fastwsgi.compat.migrate import migrate  # seldom needed

        sys.stdout.write(migrate(argv[1:], parse))
        return 0
    if argv and argv[0] in ("ctl", "top"):
        return _ask_a_server(argv[0], argv[1:])
    if argv and argv[0] in ("completion", "man"):
        return _print_of_ourselves(argv[0], argv[1:])
    arguments = parse(argv)
    more = _parse_variable(os.environ.get("GUNICORN_CMD_ARGS", ""))
    actions = {name: arguments.pop(name, False) or more.pop(name, False) for name in ACTIONS}
    read = _reader(arguments, more)
    try:
        config = read()
        if actions["print_config"]:
            sys.stdout.write(config.show())
        if actions["explain"]:
            from fastwsgi.config.explain import explain, this_machine  # seldom needed

            sys.stdout.write(explain(config, this_machine()))
        if (actions["print_config"] or actions["explain"]) and not actions["check_config"]:
            return 0
        if actions["check_config"]:
            return _check(config)
    except FastwsgiError as error:
        if not actions["check_config"]:
            raise
        _report(error)
        return 1
    from fastwsgi.server import serve
    from fastwsgi.worker.process import exit_on_stop_signals

    if not config.workers:
        exit_on_stop_signals()
    return serve(_target(config), config, reconfigure=read)


def _print_of_ourselves(command: str, argv: Sequence[str]) -> int:
    """Be ``fastwsgi completion`` or ``fastwsgi man``."""
    from fastwsgi.commandline.completion import completion  # only to print
    from fastwsgi.commandline.man import man

    if command == "completion":
        sys.stdout.write(completion(argv, build_parser()))
    elif argv:
        raise ConfigError(f"man takes no arguments, and got {argv[0]!r}")
    else:
        sys.stdout.write(man(build_parser()))
    return 0


def _ask_a_server(command: str, argv: Sequence[str]) -> int:
    """Be ``fastwsgi ctl`` or ``fastwsgi top``."""
    from fastwsgi.control import ctl, top  # imported where somebody wants one

    def configured() -> str:
        try:
            return gather({}, dict(os.environ)).control_socket
        except FastwsgiError:  # it need not be whole, for somebody who only asks
            return ""

    main = ctl.main if command == "ctl" else top.main
    return main(argv, configured)


def _parse_variable(text: str) -> dict[str, Any]:
    """Return what $GUNICORN_CMD_ARGS gives: a command line of its own, for gunicorn."""
    if not text:
        return {}
    import shlex  # seldom needed

    try:
        return parse(shlex.split(text))
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{error} (from environment GUNICORN_CMD_ARGS)") from None


def _reader(
    arguments: dict[str, object], gunicorns: dict[str, object],
) -> Callable[[], Config]:
    """Return a function that reads all settings from their files.

    A reload calls it again, when --chdir and --env have changed directory and environment. The
    settings are still read from the directory and environment of the start.
    """
    environ = dict(os.environ)
    start = os.getcwd()

    def read() -> Config:
        here = os.getcwd()
        os.chdir(start)
        try:
            return gather(arguments, environ, gunicorns)
        finally:
            os.chdir(here)

    return read


def _target(config: Config) -> str:
    if config.paste:
        from fastwsgi.compat import paste  # seldom needed

        return paste.target(config.paste, config.raw_paste_global_conf)
    if not config.wsgi_app and not config.mount:
        raise ConfigError("no application: name one as MODULE:APP, for example "
                          "fastwsgi myproject.wsgi:application")
    return config.wsgi_app


def _check(config: Config) -> int:
    """Load core and application as a worker would, serve nothing."""
    from fastwsgi.tls import load_tls
    from fastwsgi.worker.environment import prepare, user_and_group
    from fastwsgi.worker.mounts import load_all
    from fastwsgi.worker.process import core_worker

    target = _target(config)
    user_and_group(config)
    prepare(config, importing=True)
    core_worker()
    if config.static or config.static_internal:
        from fastwsgi.worker.static_files import check_folders

        check_folders(config)
    load_tls(config)
    load_all(target, config)
    for notice in config.notices:
        print(f"fastwsgi: notice: {notice}", file=sys.stderr)
    print(f"fastwsgi: the configuration is valid and "
          f"{config.paste or target or ', '.join(config.mount)} loads", file=sys.stderr)
    return 0


def _report(error: FastwsgiError) -> int:
    """Write an error as one line; a traceback only for an exception of the application's own."""
    if error.__cause__ is not None:
        traceback.print_exception(error.__cause__)
    print(f"fastwsgi: error: {error}", file=sys.stderr)
    return error.exit_code


def parse(argv: Sequence[str]) -> dict[str, Any]:
    """Return what the command line gives, by the canonical names, and nothing else.

    Raises ConfigError for wrong usage. ``--help`` and ``--version`` end the process.
    """
    parser = build_parser()
    parser.set_defaults(words=argv)  # --version looks whether --verbose is there
    found, rest = parser.parse_known_args(argv)
    del found.words
    for word in rest:
        if word.startswith("-") and word != "-":
            raise ConfigError(f"unknown option {word.partition('=')[0]}{_nearest(parser, word)}")
    if rest:
        raise ConfigError(f"expected one application, but got another argument: {rest[0]!r}")
    return vars(found)


def _nearest(parser: argparse.ArgumentParser, word: str) -> str:
    import difflib

    options = [option for action in parser._actions for option in action.option_strings]
    close = difflib.get_close_matches(word.partition("=")[0], options, 1, 0.7)
    return f"; did you mean {close[0]}?" if close else "; see fastwsgi --help"


class _Parser(argparse.ArgumentParser):
    """argparse with our errors."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


class _Help(argparse.Action):
    """``--help [TOPIC]``, which ends the process."""

    def __call__(self, parser: argparse.ArgumentParser, _namespace: argparse.Namespace,
                 values: Any, _option: str | None = None) -> NoReturn:
        from fastwsgi.commandline import usage  # only to help

        sys.stdout.write(usage.text(parser, values or "",
                                    colours=usage.wants_colours(sys.stdout, os.environ)))
        sys.exit(0)


class _Version(argparse.Action):
    """``--version [--verbose]``, which ends the process."""

    def __call__(self, _parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 _values: Any, _option: str | None = None) -> NoReturn:
        if "--verbose" in getattr(namespace, "words", ()):
            from fastwsgi.commandline.report import report  # only to tell

            sys.stdout.write(report())
        else:
            print(f"fastwsgi {__version__}")
        sys.exit(0)


class _Verbose(argparse.Action):
    """``--verbose``, which only goes with ``--version``."""

    def __call__(self, _parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 _values: Any, _option: str | None = None) -> None:
        if not {"-v", "--version"} & set(getattr(namespace, "words", ())):
            raise ConfigError("--verbose goes with --version; for more in the error log there is "
                              "--log-level debug")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser from the table of settings."""
    parser = _Parser(
        prog="fastwsgi", usage="%(prog)s [OPTIONS] MODULE:APP", add_help=False,
        allow_abbrev=False, argument_default=argparse.SUPPRESS,
        description="Serve a WSGI application over HTTP/1.1. 'fastwsgi migrate FILE' prints the "
                    "configuration for one of gunicorn, uWSGI, waitress or mod_wsgi-express; "
                    "'fastwsgi top' and 'fastwsgi ctl' ask a running server (--control-socket).",
        epilog="Each setting can also come from pyproject.toml ([tool.fastwsgi]), a configuration "
               "file, or a variable FASTWSGI_NAME. The command line comes first, then variables, "
               "the file and pyproject.toml. Signals: TERM finishes requests and stops, INT and "
               "QUIT stop at once, HUP reloads settings and application worker by worker, USR2 "
               "starts a new master on the same sockets, USR1 reopens the logs, TTIN and TTOU add "
               "and remove a worker.")
    for group in GROUPS:
        section = parser.add_argument_group(group)
        for setting in SETTINGS.values():
            if setting.group == group:
                _add(section, setting)
    section = parser.add_argument_group()  # gunicorn's, which --help does not list
    for setting in OTHERS.values():
        if setting.flags:
            _add(section, setting._replace(default="", doc=argparse.SUPPRESS))
    section = parser.add_argument_group("other")
    section.add_argument("--check-config", action="store_true",
                         help="check the settings, load the application and exit with 0, or with 1 "
                              "if either fails")
    section.add_argument("--print-config", action="store_true",
                         help="print every effective setting with its origin and exit")
    section.add_argument("--explain", action="store_true",
                         help="say what in the configuration is dangerous or pointless together, "
                              "with the origin of each setting, and exit")
    section.add_argument("-v", "--version", action=_Version, nargs=0,
                         help="print the version and exit")
    section.add_argument("--verbose", action=_Verbose, nargs=0,
                         help="with --version: print all that a report of a fault needs")
    section.add_argument("-h", "--help", action=_Help, nargs="?", metavar="TOPIC",
                         help="print the short help and exit; TOPIC is 'all' for every setting, "
                              "the name of a group such as 'tls', or that of a setting")
    if hasattr(parser, "color"):
        parser.color = False  # Python 3.14 has colours of its own
    return parser


def _add(section: argparse._ArgumentGroup, setting: Setting) -> None:
    text = setting.doc.replace("%", "%%")
    if not setting.flags and not setting.metavar:  # for configuration files and variables
        return
    if not setting.flags:
        section.add_argument(setting.name, nargs="?", metavar=setting.metavar, help=text)
        return
    optional = setting.const is not None and setting.metavar
    if (setting.const is None or optional) and setting.default not in (None, "", ()):
        default = setting.default
        shown = (f"{default:g}" if isinstance(default, float)
                 else ",".join(map(str, default)) if isinstance(default, tuple) else str(default))
        text += f" [{shown}]".replace("%", "%%")
    if optional:
        section.add_argument(
            *setting.flags, dest=setting.name, metavar=setting.metavar, help=text, nargs="?",
            const=setting.const)
    elif setting.const is not None:
        section.add_argument(
            *setting.flags, dest=setting.name, action="store_const", const=setting.const,
            help=text)
    else:
        section.add_argument(
            *setting.flags, dest=setting.name, metavar=setting.metavar, help=text,
            action="append" if setting.many else "store")
