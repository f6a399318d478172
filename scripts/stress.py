"""Run the programs that look for races between threads again and again (make stress).

These are race.c and the directed tests of threads. Each is built with ThreadSanitizer and with
AddressSanitizer and run ``--runs`` times, several times as many at once as there are processors,
so that threads lose theirs at odd moments. Chance draws differ from run to run (FW_SEED). The
first failure ends everything: its output is printed, with the seed that goes with it. ``--seconds``
bounds the whole.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from apps.ahead import cores  # noqa: E402
from apps.c_programs import RACES, SANITIZERS, build, httptools_module, link  # noqa: E402

PATIENCE = 240.0
"""Seconds that one run may take, beside all the others."""
OPTIONS = {
    "thread": {"TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1"},
    "address": {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1"},
}


class Run(NamedTuple):
    """A program that is running; its output goes to ``log``."""

    program: Path
    process: subprocess.Popen[bytes]
    seed: int
    log: Path
    until: float


def begin(program: Path, sanitizer: str, seed: int, log: Path) -> Run:
    """Start one run."""
    environ = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    environ |= OPTIONS[sanitizer]
    environ |= {"FW_HTTPTOOLS": str(httptools_module()), "FW_SEED": str(seed)}
    with log.open("wb") as output:
        process = subprocess.Popen([program], env=environ, stdout=output, stderr=output)
    return Run(program, process, seed, log, time.monotonic() + PATIENCE)


def verdict(run: Run) -> str | None:
    """Why a run has failed; "" if it ended well, None while it goes on."""
    code = run.process.poll()
    if code is None:
        return "hangs" if time.monotonic() > run.until else None
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with {code}" if code else ""


def reap(running: list[Run]) -> str:
    """Take out the runs that have ended well; return what there is to say of one that did not."""
    for run in list(running):
        failure = verdict(run)
        if failure is None:
            continue
        if failure:
            text = run.log.read_text("utf-8", "replace")
            return f"{text[-16000:]}\nFW_SEED={run.seed} {run.program}: {failure}"
        running.remove(run)
        run.log.unlink()
    return ""


def stress(place: Path, runs: int, jobs: int, end: float) -> str:
    """Run everything; return what there is to say of a failure, or nothing."""
    programs = []
    for sanitizer in SANITIZERS:
        (place / sanitizer).mkdir()
        core = build(place / sanitizer, sanitizer)
        programs += [(link(source, core, sanitizer), sanitizer) for source in RACES]
    todo = [(program, sanitizer, seed) for seed in range(runs) for program, sanitizer in programs]
    running: list[Run] = []
    done = 0
    try:
        while todo or running:
            while todo and len(running) < jobs:
                program, sanitizer, seed = todo.pop(0)
                log = place / f"{sanitizer}-{program.name}-{seed}.log"
                running.append(begin(program, sanitizer, seed, log))
            if failure := reap(running):
                return failure
            if time.monotonic() > end:
                return f"the time is over with {len(todo)} runs to go"
            time.sleep(0.01)
            done = len(programs) * runs - len(todo) - len(running)
    finally:
        for run in running:
            run.process.kill()
            run.process.wait()
        print(f"stress: {done} runs of {len(programs)} programs ended well", flush=True)
    return ""


def main() -> int:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, prog="make stress")
    parser.add_argument("--runs", type=int, default=200, help="of each program (%(default)s)")
    parser.add_argument("--jobs", type=int, default=4 * cores(), help="at once (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3600.0, help="in all (%(default)g)")
    asked = parser.parse_args()
    kept = Path(tempfile.mkdtemp(prefix="fastwsgi-stress-"))
    failure = stress(kept, asked.runs, asked.jobs, time.monotonic() + asked.seconds)
    if failure:
        print(failure, file=sys.stderr)
        return 1
    for path in sorted(kept.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    kept.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main())
