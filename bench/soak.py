"""No request is lost, for long: `python -m bench.soak [--only ...] [--scale 1.0] [--json FILE]`.

Each part starts a server with several workers, puts it under the load of soak_load.py and does to
it, again and again, what an operator or an accident does:

* reload     HUP, the next when the one before is finished
* upgrade    USR2, and TERM to the old master when the new one is ready
* recycle    --max-requests 200, until 100,000 requests are answered
* kill       SIGKILL of a worker at random, every 300 ms
* import     a reload of 4 workers whose application takes 2 s to import: never fewer than 4 serve
* drain      TERM with 50 requests of 2 s inside

All but `upgrade` and `drain` run without and with --preload. A failure is every answer that is
missing, cut, late or not what it should be, every connection that is refused, reset or closed
without an answer, every kept connection that the server closes with an answer (it goes to another
worker instead, unless nobody goes on, as in `drain`), and every error in the server's log. Only in
`kill` something may fail: requests on connections that the worker held at that moment. The worker
is stopped first and its descriptors are read, so that it is known which these are. The exit status
is 1 when anything else failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import machine
from bench.client import Client, Malformed
from bench.process import tree
from bench.soak_app import content
from bench.soak_kill import Killed, Killer
from bench.soak_load import Failure, Load
from fastwsgi.testing import Process, spawn

APP = "bench.soak_app:app"
WORKERS = 4
KILLERS = 6  #: workers of the part `kill`
KILL_EVERY = 0.3  #: seconds
RECYCLE_AT, JITTER = 200, 50
IN_FLIGHT = 50
THREADS = 16  #: of each of 4 workers in `drain`
IMPORT = 2.0  #: seconds
GUARD = 300.0  #: seconds a single step may take


@dataclass
class Outcome:
    """What one part did and what came of it."""

    part: str
    done: str = ""
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    excused: int = 0  #: requests inside a worker that was killed

    def line(self) -> str:
        """A row of the table."""
        failed = ", ".join(f"{count} x {what}" for what, count in self.failures.items())
        names = ("checked", "wrk", "connections", "closed")
        shown = [f"{self.figures.get(name, 0):,}" for name in names]
        return (
            f"| {self.part} | {self.done} | {self.seconds:.0f} | {' | '.join(shown)} "
            f"| {self.excused or ''} | {failed or '0'} |"
        )


HEAD = (
    "| part | done | seconds | answers checked | answers to wrk | connections checked "
    "| kept ones closed | inside killed workers | failures |\n" + "|---" * 9 + "|"
)


# -- the server ----------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(outcome: Outcome, *flags: str, pause: float = 0.0) -> Iterator[Process]:
    """A server to the end of the block; what it has logged and how it ends is judged."""
    with spawn(
        "--log-level", "debug", *flags, APP, cwd=machine.ROOT, env={"SOAK_IMPORT": str(pause)}
    ) as server:
        yield server
        code = server.terminate()
        if code:
            outcome.failures[f"exit code {code}"] += 1
        outcome.failures.update(complaints(server.output()))


def complaints(log: str) -> Counter[str]:
    """Errors and warnings of a log; a worker that is killed and replaced is none."""
    found: Counter[str] = Counter()
    for line in re.findall(r"\[(?:ERROR|WARNING|CRITICAL)\] (.*)|^(Traceback.*)", log, re.M):
        text = "".join(line)
        if not re.search(r"ended unexpectedly \(signal SIGKILL\)", text):
            found["log: " + re.sub(r"\d+", "N", text)] += 1
    return found


def judge(outcome: Outcome, load: Load, excused: Callable[[Failure], bool] | None = None) -> None:
    """Put the load's figures and failures into the outcome."""
    outcome.figures.update(load.figures())
    for failure in load.failures():
        if excused is not None and excused(failure):
            outcome.excused += 1
        else:
            outcome.failures[failure.what] += 1
    if load.closed:
        outcome.failures["kept connection closed with an answer"] += load.closed


def serving_counts(log: str) -> list[int]:
    """How many workers served after each change, by the master's log."""
    serving: set[str] = set()
    counts = []
    for pid, event in re.findall(r"\] worker (\d+) (is ready|is stopping|exited|ended)", log):
        (serving.add if event == "is ready" else serving.discard)(pid)
        counts.append(len(serving))
    return counts


def fewest(log: str, wanted: int) -> int:
    """How many workers served at the worst moment after all of them had been there."""
    counts = serving_counts(log)
    return min(counts[counts.index(wanted) :])


# -- the parts -----------------------------------------------------------------------------------


def reload(outcome: Outcome, scale: float, flags: list[str]) -> None:
    """Consecutive HUPs."""
    count = max(1, round(100 * scale))
    with serving(outcome, "-w", str(WORKERS), "--threads", "4", *flags) as server:
        with Load(server.address) as load:
            for number in range(count):
                server.signal(signal.SIGHUP)
                server.wait_for(r"\] ready: ", count=number + 2, timeout=GUARD)
        judge(outcome, load)
        outcome.failures += load.wrk_errors()
        least = fewest(server.output(), WORKERS)
    if least < WORKERS:
        outcome.failures[f"only {least} workers served"] += 1
    outcome.done = f"{count} HUPs, {load.workers} workers answered"


def upgrade(outcome: Outcome, scale: float, flags: list[str]) -> None:
    """Upgrades, each finished by TERM to the old master."""
    count = max(1, round(20 * scale))
    with serving(outcome, "-w", str(WORKERS), "--threads", "4", *flags) as server:
        master = server.pid
        try:
            with Load(server.address) as load:
                for number in range(count):
                    os.kill(master, signal.SIGUSR2)
                    line = server.wait_for(
                        r"the new master \(pid \d+\) is ready", count=number + 1, timeout=GUARD
                    )
                    old, master = master, int(re.findall(r"new master \(pid (\d+)\)", line)[0])
                    os.kill(old, signal.SIGTERM)
                    server.wait_for(rf"the old master \(pid {old}\) has ended", timeout=GUARD)
            judge(outcome, load)
            outcome.failures += load.wrk_errors()
        finally:
            if master != server.pid:
                os.kill(master, signal.SIGTERM)
        server.wait(GUARD)  # until the last of them has closed the output
        if len(re.findall(r"\] stopped\b", server.output())) != count + 1:
            outcome.failures["a master did not say that it has stopped"] += 1
    outcome.done = f"{count} upgrades, {load.workers} workers answered"


def recycle(outcome: Outcome, scale: float, flags: list[str]) -> None:
    """Workers that leave after 200 requests and a jitter."""
    count = max(1, round(100_000 * scale))
    limits = ["--max-requests", str(RECYCLE_AT), "--max-requests-jitter", str(JITTER)]
    with serving(outcome, "-w", str(WORKERS), "--threads", "4", *limits, *flags) as server:
        with Load(server.address, pause=0.008) as load:  # what 4 workers can be replaced for
            while load.answered < count:
                time.sleep(0.1)
        judge(outcome, load)
        outcome.failures += load.wrk_errors()
        replaced = re.findall(r"replacement: (\d+) requests served", server.output())
        least = fewest(server.output(), WORKERS)
    if least < WORKERS:
        outcome.failures[f"only {least} workers served"] += 1
    if not replaced:
        outcome.failures["no worker was replaced"] += 1
    each = sum(map(int, replaced)) // max(1, len(replaced))
    outcome.done = f"{len(replaced)} replacements, each after {each} requests on average"


def kill(outcome: Outcome, scale: float, flags: list[str]) -> None:
    """Workers killed at random."""
    count = max(1, round(100 * scale))
    chance = random.Random(5)
    victims: list[Killed] = []
    ours: set[tuple[int, float]] = set()
    with serving(outcome, "-w", str(KILLERS), "--threads", "4", *flags) as server:
        with Load(server.address) as load, Killer() as killer:
            while len(victims) < count:
                time.sleep(KILL_EVERY)
                gone = {victim.pid for victim in victims}
                alive = [pid for pid in alive_workers(server) if pid not in gone]
                if alive:
                    victims.append(killer.kill(chance.choice(alive), server.port))
        held = {(port, victim.at) for victim in victims for port in victim.ports}

        def inside(failure: Failure) -> bool:
            """A connection that a worker held when it was killed, and that ended thereby."""
            for port, at in held:
                if failure.broken and failure.port == port and failure.opened <= at <= failure.at:
                    ours.add((port, at))
                    return True
            return False

        judge(outcome, load, inside)
        # wrk does not tell which of its connections failed: there cannot be more than were held
        errors = load.wrk_errors()
        spared = min(errors["wrk read"], len(held) - len(ours))
        errors["wrk read"] -= spared
        outcome.excused += spared
        outcome.failures += errors
    outcome.done = f"{count} workers killed, {load.workers} answered"
    outcome.figures["held when killed"] = len(held)


def alive_workers(server: Process) -> list[int]:
    """The workers that are ready and not known to have ended."""
    alive: dict[int, None] = {}
    for pid, event in re.findall(r"\] worker (\d+) (is ready|exited|ended|left)", server.output()):
        if event == "is ready":
            alive[int(pid)] = None
        else:
            alive.pop(int(pid), None)
    below = set(tree(server.pid))
    return [pid for pid in alive if pid in below]


def slow_import(outcome: Outcome, scale: float, flags: list[str]) -> None:
    """One reload of an application that takes its time to import."""
    with serving(outcome, "-w", "4", "--threads", "4", *flags, pause=IMPORT) as server:
        with Load(server.address) as load:
            server.signal(signal.SIGHUP)
            server.wait_for(r"\] ready: ", count=2, timeout=GUARD)
        judge(outcome, load)
        outcome.failures += load.wrk_errors()
        least = fewest(server.output(), 4)
    outcome.done = f"1 HUP, import of {IMPORT:g} s, at least {least} of 4 ready"
    if least < 4:
        outcome.failures[f"only {least} workers were ready"] += 1


def drain(outcome: Outcome, scale: float, flags: list[str]) -> None:
    """TERM while 50 requests are inside the application."""
    with (
        contextlib.ExitStack() as stack,
        serving(outcome, "-w", "4", "--threads", str(THREADS), *flags) as server,
    ):
        clients = spread(server, stack)

        def ask(number: int) -> str:
            client, pid = clients[number]
            token = b"slow%d" % number
            try:
                client.send(b"GET /slow/9000/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % token)
                response = client.read()
            except (Malformed, OSError) as error:
                return str(error)
            right = response.status == 200 and response.body == content(pid, token, 9000)
            return "" if right and response.closes else "wrong answer"

        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            answers = [pool.submit(ask, number) for number in range(IN_FLIGHT)]
            server.wait_for("entered", count=IN_FLIGHT, timeout=GUARD)
            inside = sum(not answer.done() for answer in answers)
            server.signal(signal.SIGTERM)
            outcome.failures.update(filter(None, (answer.result() for answer in answers)))
        code = server.wait(GUARD)
    outcome.done = f"TERM with {inside} requests inside, exit code {code}"
    outcome.figures.update(checked=IN_FLIGHT, connections=IN_FLIGHT)
    if inside < IN_FLIGHT:
        outcome.failures["answered before TERM"] += IN_FLIGHT - inside


def spread(server: Process, stack: contextlib.ExitStack) -> list[tuple[Client, int]]:
    """50 connections, none of whose workers has more of them than threads; each with its worker."""
    found: list[tuple[Client, int]] = []
    per_worker: Counter[int] = Counter()
    end = time.monotonic() + GUARD
    while len(found) < IN_FLIGHT:
        if time.monotonic() > end:
            raise TimeoutError("the connections are not spread over the workers")
        burst = [Client(server.address, GUARD) for _ in range(8)]
        for client in burst:
            client.send(b"GET /plain/0/who HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for client in burst:
            pid = int(client.read().body.split()[0])
            if per_worker[pid] < THREADS and len(found) < IN_FLIGHT:
                per_worker[pid] += 1
                found.append((stack.enter_context(client), pid))
            else:
                client.socket.close()
    return found


Part = Callable[[Outcome, float, list[str]], None]

PARTS: dict[str, tuple[Part, bool]] = {
    "reload": (reload, True),
    "upgrade": (upgrade, False),
    "recycle": (recycle, True),
    "kill": (kill, True),
    "import": (slow_import, True),
    "drain": (drain, False),
}  #: name -> what it does, whether it is done with --preload too


# -- the run -------------------------------------------------------------------------------------


def run(name: str, part: Part, scale: float, flags: list[str]) -> Outcome:
    """One part; what it raises is a failure of it."""
    outcome = Outcome(" ".join([name, *flags]))
    begin = time.monotonic()
    try:
        part(outcome, scale, flags)
    except Exception as error:
        outcome.failures[f"{type(error).__name__}: {error}"[:2000]] += 1
    outcome.seconds = round(time.monotonic() - begin, 1)
    return outcome


def main() -> int:
    """Do the parts asked for, print a row for each; 1 when anything failed."""
    parser = argparse.ArgumentParser(description="a longer run of what must lose no request")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--scale", type=float, default=1.0, help="of all counts")
    parser.add_argument("--json", type=Path, help="file for the outcome")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"no part called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    try:
        machine.ensure("wrk")
    except machine.Missing as error:
        print(f"without wrk: {error}", file=sys.stderr)
    machine.raise_descriptor_limit()
    outcomes = []
    print(HEAD, flush=True)
    for name in chosen:
        part, preloads = PARTS[name]
        for flags in [[], ["--preload"]] if preloads else [[]]:
            outcomes.append(run(name, part, arguments.scale, flags))
            print(outcomes[-1].line(), flush=True)
    if arguments.json:
        document = {"machine": machine.describe(), "scale": arguments.scale,
                    "parts": [asdict(outcome) for outcome in outcomes]}  # fmt: skip
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return int(any(outcome.failures for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
