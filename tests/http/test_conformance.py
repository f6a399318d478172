"""Every conformance case against this server: in every way, on TCP and on a unix socket
(under a sanitizer on TCP alone).

Rule: the cases are data (conformance/cases); what is expected here is the contract's outcome.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conformance.cases import all_cases
from conformance.model import WAYS
from conformance.servers import Bench, Ours, variants

CASES = all_cases()
SANITIZED = "san" in os.environ.get("LD_PRELOAD", "")  # takes long, and is no other code
PLAYS = list(variants(CASES, ("tcp",) if SANITIZED else ("tcp", "unix")))
WAITING = [play for play in PLAYS if CASES[play[0]].config == "impatient"]
TABLES = 11  # benches that wait at the same time


@contextlib.contextmanager
def opened() -> Iterator[Bench]:
    bench = Bench(Ours, patience=5.0, lenient=False)
    try:
        yield bench
    finally:
        bench.close()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with opened() as bench:
        yield bench


@pytest.fixture(scope="module")
def waited() -> dict[tuple[str, str, str], str | None]:
    """What is wrong with the plays in which little happens but that a timeout passes, by play."""
    with contextlib.ExitStack() as stack:
        benches = [stack.enter_context(opened()) for _ in range(TABLES)]
        for bench in benches:
            bench.server("impatient")  # forks, so before there are threads

        def at(table: int) -> list[str | None]:
            return [benches[table].run(CASES[name], way, transport)[0]
                    for name, way, transport in WAITING[table::TABLES]]

        with ThreadPoolExecutor(TABLES) as pool:
            return {play: reason for table, reasons in enumerate(pool.map(at, range(TABLES)))
                    for play, reason in zip(WAITING[table::TABLES], reasons, strict=True)}


@pytest.mark.parametrize(
    ("name", "way", "transport"),
    PLAYS,
    ids=[f"{name}, {WAYS[way]}, {transport}".replace(" ", "-") for name, way, transport in PLAYS],
)
def test_keeps_the_contract(
    request: pytest.FixtureRequest, bench: Bench, name: str, way: str, transport: str,
) -> None:
    case = CASES[name]
    if case.config == "impatient":
        reason = request.getfixturevalue("waited")[name, way, transport]
    else:
        reason, _ = bench.run(case, way, transport)
    assert reason is None, f"{case.why} ({case.rule}): {reason}"


def test_has_cases_for_every_category() -> None:
    counts = Counter(case.category for case in CASES.values())
    assert sum(counts.values()) >= 1000
    assert counts["request smuggling"] >= 60
    assert all(count >= 10 for count in counts.values()), counts


def test_every_case_cites_its_rule_and_says_why() -> None:
    for case in CASES.values():
        assert case.rule.startswith(("RFC ", "PEP 3333", "contract ")), case.id
        assert case.why, case.id


def test_every_promise_is_permitted() -> None:
    for case in CASES.values():
        assert case.contract, case.id
        assert set(map(id, case.contract)) <= set(map(id, case.allowed)), case.id


def test_no_smuggling_case_lets_the_hidden_request_through_unless_it_is_plainly_one() -> None:
    plain = {
        name
        for name, case in CASES.items()
        if case.category == "request smuggling"
        and any(len(outcome.saw) > 1 for outcome in case.contract)
    }
    assert plain == {
        "request smuggling/chunk-trailer-length",
        "request smuggling/cl-other-name-prefix-name",
        "request smuggling/cl-other-name-suffix-name",
        "request smuggling/cl-other-name-underscore",
        "request smuggling/stop-after-upgrade",
        "request smuggling/value-escaped-crlf",
    }
