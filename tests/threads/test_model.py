"""Checks models of our protocols in every order that their threads and processes can take.

They are the monitor (csrc/threads/leader.h) and how connections travel (csrc/io/travel.h).
tests/model/*.pml, for spin, say what is modelled and what counts as wrong. The same model with one
rule broken (a mutant) has to be found wrong: so the check is able to fail. The suite takes the
smallest of each and a third of the mutants; `make thorough` takes all, with more requests, kinds of
calls, stops and deaths.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from apps import TESTS
from apps.ahead import ahead, chosen, sampled
from apps.c_programs import CC

MONITOR = TESTS / "model" / "monitor.pml"
TRAVEL = TESTS / "model" / "travel.pml"
Mutant = tuple[str, str, str]  #: what is broken, what is said then, with which definitions
STUCK = "invalid end state"
ENDLESS = "non-progress cycle"
DEEPEST = "-m100000"

#: What is broken in the monitor's mutant of this number, what the check says then, and with which
#: requests.
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

#: The same of connections that travel, with which deaths and stops.
TRAVEL_MUTANTS = {
    1: ("a sender closes before it has sent", "assertion violated", "-DDEATHS=0 -DSTOPS=0"),
    2: ("a sender goes on with what it has sent", "assertion violated", "-DDEATHS=0 -DSTOPS=0"),
    3: ("a sender does not say that something waits", STUCK, "-DDEATHS=0 -DSTOPS=0"),
    4: ("that something waits is taken back behind the look", STUCK, "-DDEATHS=0 -DSTOPS=0"),
    5: ("who has taken one does not say that more may wait", STUCK, "-DDEATHS=0 -DSTOPS=0"),
    6: ("a new worker does not look", STUCK, "-DDEATHS=1 -DSTOPS=0"),
    7: ("a sender rings no bell", STUCK, "-DDEATHS=0 -DSTOPS=0"),
    8: ("who becomes free looks before it says so", STUCK, "-DDEATHS=0 -DSTOPS=0"),
    9: ("who becomes free does not look", STUCK, "-DDEATHS=0 -DSTOPS=0"),
    10: ("a stop does not ask for the heir again", "assertion violated", "-DDEATHS=0 -DSTOPS=2"),
    11: ("the master lets nobody look again", STUCK, "-DDEATHS=1 -DSTOPS=0"),
}

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux"),
    pytest.mark.skipif(shutil.which("spin") is None, reason="spin is not installed"),
]


def of_the(mutants: dict[int, Mutant]) -> Sequence[tuple[int, Mutant]]:
    """Those that are checked: every third in the suite."""
    return sampled(list(mutants.items()), list(mutants.items())[::3])


class Question(NamedTuple):
    """What is asked of a model: *how* is SAFETY, or NP for endless runs."""

    how: str
    definitions: str
    optimise: str = "-O0"
    model: Path = MONITOR


@pytest.fixture(scope="module")
def said(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Question], str]]:
    """What the verifier says of a model."""
    def of(question: Question) -> str:
        return check(tmp_path_factory.mktemp("model"), *question)

    with ahead(of, chosen(request, "question")) as outcome:
        yield outcome


def check(place: Path, how: str, definitions: str, optimise: str, model: Path) -> str:
    shutil.copy(model, place)
    wrong = subprocess.run(
        ["spin", "-a", *definitions.split(), model.name],
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
    sampled(
        [
            pytest.param(Question("SAFETY", "-DREQUESTS=2", "-O2"), id="all kinds of calls"),
            pytest.param(Question("SAFETY", "-DREQUESTS=3 -DEXTRAS=0", "-O2"), id="three requests"),
        ],
        [pytest.param(Question("SAFETY", "-DREQUESTS=2 -DEXTRAS=0", "-O1"), id="two requests")],
    ),
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
        for number, (_, expected, requests) in of_the(MUTANTS)
    ],
    ids=[text for _, (text, _, _) in of_the(MUTANTS)],
)
def test_a_broken_rule_is_found(
    said: Callable[[Question], str], question: Question, expected: str,
) -> None:
    answer = said(question)
    assert expected in answer, answer


@pytest.mark.parametrize(
    "question",
    sampled(
        [
            pytest.param(Question("SAFETY", "-DDEATHS=0 -DSTOPS=2", "-O2", TRAVEL), id="stops"),
            pytest.param(Question("SAFETY", "-DDEATHS=1 -DSTOPS=0", "-O2", TRAVEL), id="a death"),
            pytest.param(Question("SAFETY", "-DDEATHS=1 -DSTOPS=1", "-O2", TRAVEL), id="both"),
        ],
        [pytest.param(Question("SAFETY", "-DDEATHS=0 -DSTOPS=1", "-O1", TRAVEL), id="a stop")],
    ),
)
def test_what_travels_has_one_owner_and_is_not_forgotten(
    said: Callable[[Question], str], question: Question,
) -> None:
    answer = said(question)
    assert is_complete(answer), answer


@pytest.mark.parametrize(
    "question", [Question("NP", "-DDEATHS=0 -DSTOPS=0", "-O1", TRAVEL)], ids=[""],
)
def test_what_travels_does_not_do_so_for_ever(
    said: Callable[[Question], str], question: Question,
) -> None:
    answer = said(question)
    assert is_complete(answer), answer


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (Question("SAFETY", f"{moment} -DMUTANT={number}", model=TRAVEL), expected)
        for number, (_, expected, moment) in of_the(TRAVEL_MUTANTS)
    ],
    ids=[text for _, (text, _, _) in of_the(TRAVEL_MUTANTS)],
)
def test_a_broken_rule_of_travel_is_found(
    said: Callable[[Question], str], question: Question, expected: str,
) -> None:
    answer = said(question)
    assert expected in answer, answer
