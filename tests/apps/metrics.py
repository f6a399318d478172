"""Reading metrics, as a scraper does."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from apps.client import Address, fetch
from fastwsgi.testing import Process

GUARD = 30.0
Samples = dict[str, float]


def scraped(address: Address, *fields: str) -> Samples:
    """Every sample by its name with its labels, as they are written."""
    response = fetch(address, "/metrics", *fields)
    assert response.status == 200
    lines = response.body.decode().splitlines()
    return {name: float(value) for name, _, value in (
        line.rpartition(" ") for line in lines if not line.startswith("#"))}


def place(server: Process) -> Address:
    """Where a server tells of its metrics."""
    found = re.search(r"metrics: http://([^:]+):(\d+)/metrics", server.output())
    assert found is not None
    return found[1], int(found[2])


def total(samples: Samples, family: str, **labels: str) -> float:
    """The sum of the samples of a family that have these labels."""
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    return sum(value for name, value in samples.items()
               if name.partition("{")[0] == family and all(text in name for text in wanted))


def until(address: Address, is_so: Callable[[Samples], bool]) -> Samples:
    """Scrape until something is so: what is copied now and then comes with the time."""
    end = time.monotonic() + GUARD
    while not is_so(samples := scraped(address)):
        assert time.monotonic() < end, samples
    return samples
