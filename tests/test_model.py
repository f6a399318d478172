"""Checks a model of the monitor (csrc/standby.h) in every order that its threads can take.

tests/model/monitor.pml, for spin, says what is modelled and what counts as wrong. The same model
with one rule broken (a mutant) has to be found wrong: so the check is able to fail.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_c_units import CC

MODEL = Path(__file__).parent / "model" / "monitor.pml"
STUCK = "invalid end state"
ENDLESS = "non-progress cycle"
DEEPEST = "-m100000"

#: What is broken in the mutant of this number, what the check says then, and with which requests.
MUTANTS = {
    1: ("the lead is taken from one who polls", "assertion violated", "-DREQUESTS=2"),
    2: ("the standby sleeps without a last look", STUCK, "-DREQUESTS=2"),
    3: ("a leader that leaves wakes nobody", STUCK, "-DREQUESTS=3 -DEXTRAS=0"),
    4: ("who finds a request for the leader does not kick", STUCK, "-DREQUESTS=2"),
    5: ("who ends the last connection does not kick", STUCK, "-DREQUESTS=2"),
    6: ("nobody is sent for at the door", STUCK, "-DREQUESTS=3 -DEXTRAS=0"),
    7: ("the idle are not told of the end", STUCK, "-DREQUESTS=2"),
    8: ("the standby sleeps after a lead that it gave away", STUCK, "-DREQUESTS=3"),
    9: ("the standby looks before it says that it polls", STUCK, "-DREQUESTS=2"),
    10: ("a poll ends for nothing", ENDLESS, "-DREQUESTS=2 -DEXTRAS=0"),
}

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux"),
    pytest.mark.skipif(shutil.which("spin") is None, reason="spin is not installed"),
]


def check(place: Path, how: str, definitions: str, *, optimise: str = "-O0") -> str:
    """What the verifier says of the model: *how* is SAFETY, or NP for endless runs."""
    shutil.copy(MODEL, place)
    wrong = subprocess.run(
        ["spin", "-a", *definitions.split(), MODEL.name],
        cwd=place, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert wrong.returncode == 0, wrong.stdout + wrong.stderr
    subprocess.run(
        [CC, "-w", optimise, f"-D{how}", "-DMEMLIM=2000", "-o", "pan", "pan.c"],
        cwd=place, check=True, timeout=120,
    )  # fmt: skip
    done = subprocess.run(
        ["./pan", DEEPEST, *(["-l"] if how == "NP" else [])],
        cwd=place, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    return done.stdout


def is_complete(said: str) -> bool:
    """Nothing was found, and everything was looked at."""
    return "errors: 0" in said and "not completed" not in said and "too small" not in said


@pytest.mark.parametrize(
    "definitions",
    ["-DREQUESTS=2", pytest.param("-DREQUESTS=3 -DEXTRAS=0", marks=pytest.mark.slow)],
    ids=["all kinds of calls", "three requests"],
)
def test_one_leads_and_nothing_is_stuck(tmp_path: Path, definitions: str) -> None:
    said = check(tmp_path, "SAFETY", definitions, optimise="-O2")
    assert is_complete(said), said


def test_every_run_comes_to_its_end(tmp_path: Path) -> None:
    said = check(tmp_path, "NP", "-DREQUESTS=2 -DEXTRAS=0", optimise="-O1")
    assert is_complete(said), said


@pytest.mark.parametrize("mutant", MUTANTS, ids=[text for text, _, _ in MUTANTS.values()])
def test_a_broken_rule_is_found(tmp_path: Path, mutant: int) -> None:
    _, expected, requests = MUTANTS[mutant]
    how = "NP" if expected == ENDLESS else "SAFETY"
    said = check(tmp_path, how, f"{requests} -DMUTANT={mutant}")
    assert expected in said, said
