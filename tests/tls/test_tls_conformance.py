"""Every conformance case against this server through TLS.

Here each is sent as a whole; with EVERY_WAY set (`make conformance-tls`) also in pieces and the
other ways. Left out is what proxies say, which decides over https, or comes before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from apps.certificates import Certified
from conformance.cases import all_cases
from conformance.channel import Channel
from conformance.model import WAYS, Case, Outcome
from conformance.secure import Secure
from conformance.servers import Bench, Ours, variants


def through_tls(case: Case) -> Case:
    """The same case, where the application sees that it is https."""
    def seen(outcome: Outcome) -> Outcome:
        return replace(outcome, saw=tuple(
            {**one, **{key: HTTPS[key] for key in HTTPS if key in one}} for one in outcome.saw))

    return replace(case, contract=tuple(map(seen, case.contract)),
                   allowed=tuple(map(seen, case.allowed)))


HTTPS = {"wsgi.url_scheme": "https", "HTTPS": "on"}
CASES = {name: through_tls(case) for name, case in all_cases().items()
         if case.category not in ("forwarded fields", "PROXY protocol")}
PLAYS = [play for play in variants(CASES, ("tls",))
         if "EVERY_WAY" in os.environ or play[1] == next(iter(WAYS))]
WAITING = [play for play in PLAYS if CASES[play[0]].config == "impatient"]
TABLES = 11  # benches that wait at the same time


def start(files: Certified, config: str, channel: Channel) -> Ours:
    """This server, with TLS where it listens on TCP."""
    ours = Ours(config, channel, certfile=files.cert, keyfile=files.key)
    host, port = ours.server.host, ours.server.port
    ours.addresses = {"tls": Secure((host, port))}
    return ours


@pytest.fixture(scope="module")
def benches(certified: Certified) -> Iterator[list[Bench]]:
    found = [Bench(partial(start, certified), patience=5.0, lenient=False) for _ in range(TABLES)]
    for bench in found:
        bench.server("impatient")  # forks, so before there are threads
    yield found
    for bench in found:
        bench.close()


@pytest.fixture(scope="module")
def waited(benches: list[Bench]) -> dict[Any, str | None]:
    """What is wrong with the plays in which little happens but that a timeout passes, by play."""

    def at(table: int) -> list[str | None]:
        return [benches[table].run(CASES[name], way, transport)[0]
                for name, way, transport in WAITING[table::TABLES]]

    with ThreadPoolExecutor(TABLES) as pool:
        return {play: reason for table, reasons in enumerate(pool.map(at, range(TABLES)))
                for play, reason in zip(WAITING[table::TABLES], reasons, strict=True)}


@pytest.mark.parametrize(
    ("name", "way", "transport"), PLAYS,
    ids=[f"{name}, {WAYS[way]}".replace(" ", "-") for name, way, _ in PLAYS])
def test_keeps_the_contract(
    request: pytest.FixtureRequest, benches: list[Bench], name: str, way: str, transport: str,
) -> None:
    case = CASES[name]
    if case.config == "impatient":
        reason = request.getfixturevalue("waited")[name, way, transport]
    else:
        reason, _ = benches[0].run(case, way, transport)
    assert reason is None, f"{case.why} ({case.rule}): {reason}"
