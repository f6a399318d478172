"""The same suite against every server, and what came of it as docs/conformance.md.

Rule: peers are judged by what the RFC and the PEP permit, this server by its contract, which is
narrower.  A case counts as passed when it passes in every way it is played.
"""

from __future__ import annotations

import argparse
import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import peers
from .cases import all_cases
from .model import WAYS, Case
from .servers import TESTS, Bench, Ours, stop_commands, variants

OWN_NAME = "fastwsgi (this project)"
REPORT = TESTS.parent / "docs" / "conformance.md"
_SAY = threading.Lock()


@dataclass
class Result:
    """One server's row: failures by case id, with the way it failed in and the reason."""

    name: str
    version: str
    cases: dict[str, Case]
    failures: dict[str, tuple[str, str]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    plays: int = 0
    seconds: float = 0.0
    missing: str = ""
    skipped: dict[str, str] = field(default_factory=dict)

    def passed(self, category: str) -> tuple[int, int]:
        """How many cases of a category passed, and how many there were."""
        names = [case.id for case in self.cases.values() if case.category == category]
        return sum(name not in self.failures for name in names), len(names)


def say(text: str) -> None:
    """One line for whoever waits."""
    with _SAY:
        sys.stderr.write(text + "\n")


def play_all(
    result: Result, bench: Bench, transports: tuple[str, ...], verbose: bool = False
) -> None:
    """Play every case; after its first failure a case is left alone."""
    began = time.monotonic()
    try:
        if bench.lenient:
            result.skipped = unplayable(bench)
        for name, way, transport in variants(result.cases, transports):
            if name in result.failures or (way in result.skipped and not alone(result.cases[name])):
                continue
            case = result.cases[name]
            try:
                reason = play(bench, case, way, transport)
            except RuntimeError as error:
                reason = f"the server did not start again: {str(error)[-200:]}"
            result.plays += 1
            if reason is not None:
                played = WAYS[way] + (f", {transport}" if len(transports) > 1 else "")
                result.failures[name] = (played, reason)
                if verbose:
                    passed = time.monotonic() - began
                    say(f"{passed:6.1f} {result.name}: {name} ({played}): {reason}")
                if reason.startswith("the server ended"):
                    result.ended.add(name)
    finally:
        try:
            bench.close()
        except RuntimeError as error:
            say(f"{result.name}: {error}")
    result.seconds = time.monotonic() - began
    say(
        f"{result.name} {result.version}: {len(result.cases) - len(result.failures)} of "
        f"{len(result.cases)} cases, {result.plays} plays, {result.seconds:.0f} s"
    )


# Plain requests that say whether a way of playing works at all.
PLAIN = (
    "request line/root",
    "header section/plain",
    "WSGI environ/field-user-agent",
    "WSGI environ/field-cookie",
    "WSGI environ/path-info",
)


def play(bench: Bench, case: Case, way: str, transport: str) -> str | None:
    """What is wrong with a play, or None.  A peer gets a second chance where it was silent."""
    reason, story = bench.run(case, way, transport)
    if reason is not None and bench.lenient and story and story.end == "hang":
        # A busy machine is no fault of the server.
        reason, _ = bench.run(case, way, transport)
    return reason


def unplayable(bench: Bench) -> dict[str, str]:
    """The ways in which not even plain requests are served reliably, with the reason.

    They are played where it is about them alone: one fault shall count once.
    """
    cases = all_cases()
    found: dict[str, str] = {}
    for way in WAYS:
        # Some fail only now and then, by how the bytes happen to arrive.
        for name in PLAIN * 5:
            if way != "w" and way not in found:
                reason = play(bench, cases[name], way, "tcp")
                if reason is not None:
                    found[way] = reason
    return found


def alone(case: Case) -> bool:
    """Whether a case is played in every way all the same."""
    return case.category == "pipelining" or case.id == PLAIN[0]


def judge_ours(cases: dict[str, Case], verbose: bool = False) -> Result:
    """This server, by its contract, on TCP and on a unix socket."""
    from fastwsgi import __version__

    result = Result(OWN_NAME, __version__, cases)
    play_all(result, Bench(Ours, patience=5.0, lenient=False), ("tcp", "unix"), verbose)
    return result


def judge_peer(peer: peers.Peer, cases: dict[str, Case], verbose: bool = False) -> Result:
    """A peer, by everything that is permitted, on TCP."""
    asked = {name: case for name, case in cases.items() if not case.own}
    try:
        bin_, version = peers.install(peer)
    except (subprocess.CalledProcessError, RuntimeError, OSError) as error:
        say(f"{peer.name}: not installed: {error}")
        return Result(peer.name, "", asked, missing=str(error))
    result = Result(peer.name, version, asked)
    bench = Bench(peers.starter(peer, bin_), patience=1.0, lenient=True)
    play_all(result, bench, ("tcp",), verbose)
    return result


def categories(cases: dict[str, Case]) -> list[str]:
    """The categories in the order of the data."""
    return list(dict.fromkeys(case.category for case in cases.values()))


def table(results: list[Result], cases: dict[str, Case]) -> list[str]:
    """Servers by category, as Markdown."""
    shown = [result for result in results if not result.missing]
    lines = ["| category | " + " | ".join(result.name for result in shown) + " |"]
    lines.append("|---|" + "---:|" * len(shown))

    def row(title: str, numbers: list[tuple[int, int]]) -> str:
        return f"| {title} | " + " | ".join(_share(*pair) for pair in numbers) + " |"

    for category in categories(cases):
        lines.append(row(category, [result.passed(category) for result in shown]))
    totals = [(len(result.cases) - len(result.failures), len(result.cases)) for result in shown]
    lines.append(row("**all**", totals))
    ended = " | ".join(str(len(result.ended) or "-") for result in shown)
    lines.append(f"| cases that ended the server | {ended} |")
    return lines


def _share(passed: int, total: int) -> str:
    if not total:
        return "-"
    if passed == total:
        return f"**100 %** ({total})"
    return f"{min(99, round(100 * passed / total))} % ({passed}/{total})"


def report(results: list[Result], cases: dict[str, Case]) -> str:
    """The page."""
    peers_ = [result for result in results if result.name != OWN_NAME and not result.missing]
    by_category = Counter(case.category for case in cases.values())
    asked = sum(not case.own for case in cases.values())
    lines = [
        "# Conformance",
        "",
        "<!-- Written by `make conformance`; change tests/conformance instead. -->",
        "",
        f"{len(cases)} cases of HTTP/1.1 (RFC 9110, RFC 9112) and WSGI (PEP 3333): bytes in, the "
        "permitted outcomes out - status, connection kept or closed, and what the application "
        "saw, counted by the application itself. Each case is played whole, byte by byte, behind "
        "a good request and, where it leaves the connection open, twice in a row.",
        "",
        "- This server is judged by [its contract](contract.md), the narrower of the two, on TCP "
        "and on a unix socket.",
        f"- The others are judged by everything that the RFC or the PEP permits ({asked} cases; "
        "the rest is about settings that only this server has), on TCP, with the options that "
        "serve them best. A server that does not keep connections loses nothing by that, except "
        "in *pipelining* and *persistence*, where it has to announce the close.",
        "- A case is passed when it is passed in every way it is played.",
        "",
        "`make conformance` installs each of them from the index into an environment of its own "
        "and writes this page.",
        "",
        "## Servers by category",
        "",
        *table(results, cases),
        "",
        "Versions: " + ", ".join(f"{r.name} {r.version}" for r in results if not r.missing) + ".",
    ]
    for result in results:
        if result.missing:
            lines += ["", f"{result.name} could not be installed: {result.missing}"]
        for way, reason in result.skipped.items():
            lines += [
                "",
                f"{result.name} fails plain requests played *{WAYS[way]}* ({_plain(reason)}), so "
                f"its cases were not played that way, except for *pipelining* and *{PLAIN[0]}*.",
            ]
    lines += ["", "## Categories", "", "| category | cases | module |", "|---|---:|---|"]
    for category, count in by_category.items():
        modules = sorted(_modules(category))
        lines.append(f"| {category} | {count} | {', '.join(f'`{one}`' for one in modules)} |")
    lines += ["", "## Every failure", ""]
    for result in (*(r for r in results if r.name == OWN_NAME), *peers_):
        lines += _failures(result)
    return "\n".join(lines) + "\n"


def _modules(category: str) -> list[str]:
    from .cases import MODULES, load

    return [f"cases/{name}.py" for name in MODULES if load(name).name == category]


def _failures(result: Result) -> list[str]:
    lines = [f"### {result.name}", ""]
    if not result.failures:
        return [*lines, "None.", ""]
    lines += ["<details>", f"<summary>{len(result.failures)} cases</summary>", ""]
    for name, case in result.cases.items():
        if name in result.failures:
            way, reason = result.failures[name]
            lines.append(f"- **{name}** ({case.rule}; {way}): {_plain(reason)}")
    return [*lines, "", "</details>", ""]


def _plain(text: str) -> str:
    shown = " ".join(text.split())
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown)
    if len(shown) > 300:
        shown = shown[:297] + "..."
    for character in "\\`*_<>[]|":
        shown = shown.replace(character, "\\" + character)
    return shown


def _terminated(number: int, _: object) -> None:
    stop_commands()
    os._exit(128 + number)


def main(arguments: list[str] | None = None) -> int:
    """Run the matrix; exit status 1 when this server fails a case."""
    parser = argparse.ArgumentParser(
        prog="conformance", description="Play the conformance suite against all servers."
    )
    known = [OWN_NAME, *(peer.name for peer in peers.PEERS)]
    parser.add_argument(
        "--only", action="append", metavar="SERVER", help=f"one of: ours, {', '.join(known[1:])}"
    )
    parser.add_argument("--case", default="", help="only cases whose id contains this")
    parser.add_argument("--jobs", type=int, default=2, help="servers at a time (default 2)")
    parser.add_argument("--output", type=Path, default=REPORT, help="the page to write")
    parser.add_argument("--print", action="store_true", help="tell failures at once, write no page")
    options = parser.parse_args(arguments)
    atexit.register(stop_commands)
    signal.signal(signal.SIGTERM, _terminated)
    cases = {name: case for name, case in all_cases().items() if options.case in name}
    results: list[Result] = []
    # This server forks out of this process, so it goes before there are threads.
    if not options.only or "ours" in options.only:
        results.append(judge_ours(cases, options.print))
    with ThreadPoolExecutor(options.jobs) as pool:
        asked = [peer for peer in peers.PEERS if not options.only or peer.name in options.only]
        results += pool.map(lambda peer: judge_peer(peer, cases, options.print), asked)
    if not options.print:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(report(results, cases), encoding="utf-8")
        say(f"wrote {options.output}")
    return int(any(result.failures for result in results if result.name == OWN_NAME))
