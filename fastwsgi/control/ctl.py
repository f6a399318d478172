"""``fastwsgi ctl``: ask a running server, or tell it what to do, from a shell."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fastwsgi.control import view
from fastwsgi.control.client import VARIABLE, Client, place
from fastwsgi.control.lines import LEVELS, MOST_WORKERS
from fastwsgi.errors import ConfigError, ControlError

STEP = 0.1
"""Seconds between two questions of whoever waits."""


class Parser(argparse.ArgumentParser):
    """argparse with our errors."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def parser_of(name: str, text: str) -> Parser:
    """Return the parser of a command that needs to know the control socket."""
    parser = Parser(prog=f"fastwsgi {name}", description=text, allow_abbrev=False)
    parser.add_argument("--socket", metavar="PATH", default="",
                        help="the control socket of the server; the default is "
                             f"${VARIABLE}, then control_socket of the configuration here")
    return parser


def main(argv: Sequence[str], configured: Callable[[], str]) -> int:
    """Run the command line ``argv`` and return the exit code.

    ``configured`` returns the path that the configuration in this directory names. Raises
    FastwsgiError.
    """
    arguments = _parse(argv)
    with Client(place(arguments.socket, configured())) as client:
        return int(arguments.act(client, arguments))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = parser_of("ctl", "Ask a running server, or tell it what to do. The server has to be "
                              "started with --control-socket.")
    parser.add_argument("--no-wait", action="store_true",
                        help="return at once, not when what is asked for has been done")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, act: Callable[[Client, argparse.Namespace], int], text: str) -> Parser:
        command: Parser = commands.add_parser(name, help=text, description=text)
        command.set_defaults(act=act)
        return command

    status = add("status", _status, "show workers, figures and the requests that last")
    status.add_argument("--json", action="store_true", help="all of it, as JSON")
    stacks = add("stacks", _stacks, "show the Python stacks of all threads, stuck ones too")
    stacks.add_argument("--json", action="store_true", help="as JSON")
    add("reload", _reload, "read settings and application anew, worker by worker, as HUP does")
    stop = add("stop", _stop, "finish requests and stop, as TERM does")
    stop.add_argument("--quick", action="store_true", help="stop at once, as QUIT does")
    workers = add("workers", _workers, "run another number of workers")
    workers.add_argument("count", type=int, metavar="N", help=f"1 to {MOST_WORKERS}")
    level = add("log-level", _log_level, "change the least severity that is logged, until the next "
                                         "reload")
    level.add_argument("level", choices=LEVELS, metavar="LEVEL", help=", ".join(LEVELS))
    arguments = parser.parse_args(argv)
    if not 1 <= getattr(arguments, "count", 1) <= MOST_WORKERS:
        raise ConfigError(f"workers: N is a whole number from 1 to {MOST_WORKERS}")
    return arguments


def _status(client: Client, arguments: argparse.Namespace) -> int:
    status = client.ask("status", shares=True)
    sys.stdout.write(json.dumps(status, indent=1) + "\n" if arguments.json else view.text(status))
    return 0


def _stacks(client: Client, arguments: argparse.Namespace) -> int:
    workers = client.ask("stacks")["workers"]
    if arguments.json:
        sys.stdout.write(json.dumps(workers, indent=1) + "\n")
        return 0
    for worker in workers:
        lines = [f"worker {worker['pid']}:"]
        for call in worker["calls"]:
            asked = view.printable(f"{call['method']} {call['target']}")
            lines.append(f"  thread {call['thread']}: {asked} for {view.duration(call['seconds'])}")
        lines.append(worker["stacks"] or "it has written none within two seconds\n")
        sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _reload(client: Client, arguments: argparse.Namespace) -> int:
    client.ask("reload")
    if arguments.no_wait:
        return 0
    status = _wait(client, lambda status: status["last_reload"] != "under way")
    if status["last_reload"] != "done":
        raise ControlError(f"the reload was {status['last_reload']}")
    return 0


def _stop(client: Client, arguments: argparse.Namespace) -> int:
    client.ask("stop", quick=arguments.quick)
    if not arguments.no_wait:
        client.wait_for_end()
    return 0


def _workers(client: Client, arguments: argparse.Namespace) -> int:
    client.ask("workers", count=arguments.count)
    if not arguments.no_wait:
        _wait(client, lambda status: arguments.count == status["workers_wanted"] == sum(
            worker["state"] == "serving" for worker in status["workers"]))
    return 0


def _log_level(client: Client, arguments: argparse.Namespace) -> int:
    client.ask("log-level", level=arguments.level)
    return 0


def _wait(client: Client, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask until it is done, or somebody else has asked for something else."""
    while True:
        status = client.ask("status")
        if done(status) or status["state"] in ("stopping", "draining"):
            return status
        time.sleep(STEP)
