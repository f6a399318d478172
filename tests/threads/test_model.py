"""Checks a model of the monitor (csrc/threads/leader.h) in every order that its threads can take.

tests/model/monitor.pml, for spin, says what is modelled and what counts as wrong. The same model
with one rule broken (a mutant) has to be found wrong: so the check is able to fail.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from apps import TESTS
from apps.ahead import ahead, chosen
from apps.c_programs import CC

MODEL = TESTS / "model" / "monitor.pml"
STUCK = "invalid end state"
ENDLESS = "non-progress cycle"
DEEPEST = "-m100000"

#: What is broken in the mutant of this number, what the check says then, and with which requests.
MUTANTS = {
    1: ("the lead is taken from one who polls", "assertion violated", "-DREQUESTS=2"),
    2: ("the standby sleeps without a last check", STUCK, "-DREQUESTS=2"),
    3: ("a leader that leaves wakes nobody", STUCK, "-DREQUESTS=3 -DEXTRAS=0"),
    4: ("who finds a request for the leader does not wake the poller", STUCK, "-DREQUESTS=2"),
    5: ("who ends the last connection does not wake the poller", STUCK, "-DREQUESTS=2"),
    6: ("nobody is woken at the door", STUCK, "-DREQUESTS=3 -DEXTRAS=0"),
    7: ("the idle are not told of the end", STUCK, "-DREQUESTS=2"),
    8: ("the standby sleeps after a lead that it gave away", STUCK, "-DREQUESTS=3"),
    9: ("the standby looks before it says that it polls", STUCK, "-DREQUESTS=2"),
    10: ("a poll ends for nothing", ENDLESS, "-DREQUESTS=2 -DEXTRAS=0"),
}

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux"),
    pytest.mark.skipif(shutil.which("spin") is None, reason="spin is not installed"),
]


class Question(NamedTuple):
    """What is asked of the model: *how* is SAFETY, or NP for endless runs."""

    how: str
    definitions: str
    optimise: str = "-O0"


@pytest.fixture(scope="module")
def said(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Question], str]]:
    """What the verifier says of the model."""
    def of(question: Question) -> str:
        return check(tmp_path_factory.mktemp("model"), *question)

    with ahead(of, chosen(request, "question")) as outcome:
        yield outcome


def check(place: Path, how: str, definitions: str, optimise: str) -> str:
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
    "question",
    [
        Question("SAFETY", "-DREQUESTS=2", "-O2"),
        pytest.param(Question("SAFETY", "-DREQUESTS=3 -DEXTRAS=0", "-O2"), marks=pytest.mark.slow),
    ],
    ids=["all kinds of calls", "three requests"],
)
def test_one_leads_and_nothing_is_stuck(
    said: Callable[[Question], str], question: Question,
) -> None:
    answer = said(question)
    assert is_complete(answer), answer


@pytest.mark.parametrize("question", [Question("NP", "-DREQUESTS=2 -DEXTRAS=0", "-O1")], ids=[""])
def test_every_run_comes_to_its_end(said: Callable[[Question], str], question: Question) -> None:
    answer = said(question)
    assert is_complete(answer), answer


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (Question("NP" if expected == ENDLESS else "SAFETY", f"{requests} -DMUTANT={number}"),
         expected)
        for number, (_, expected, requests) in MUTANTS.items()
    ],
    ids=[text for text, _, _ in MUTANTS.values()],
)
def test_a_broken_rule_is_found(
    said: Callable[[Question], str], question: Question, expected: str,
) -> None:
    answer = said(question)
    assert expected in answer, answer
