"""A reload and an upgrade under load behind each proxy: no 502, no reset, no request lost.

Rule: clients ask without pause from before the first signal until after the last. Every response
is looked at; a request that fails is told with what was going on at the time.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter

import pytest
from apps.client import TIMEOUT, Address, Client
from apps.fronts import FRONTS, before

from fastwsgi.testing import Process

CLIENTS = 6
MORE = 150  # requests that follow each step


class Load:
    """Clients that ask until they are told to stop."""

    def __init__(self, front: Address) -> None:
        self.stage = "at the start"
        self.faults: list[str] = []
        self.answered: Counter[str] = Counter()
        self._front = front
        self._changed = threading.Condition()
        self._over = False
        self._threads = [threading.Thread(target=self._ask, args=(number,), daemon=True)
                         for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        """A client asks on one connection as long as that is kept."""
        while not self._over:
            stage, client = self.stage, None
            try:
                with Client(self._front) as client:
                    for turn in range(20):
                        stage = self.stage
                        if self._over or not self._one(client, f"{number} {turn}".encode()):
                            break
            except Exception as error:
                self._note(f"{stage}: {type(error).__name__}: {error}")

    def _one(self, client: Client, body: bytes) -> bool:
        """One request; whether another one may follow it."""
        stage = self.stage
        if body.endswith(b"5"):
            response = client.fetch("/echo", method="POST", body=body)
            right = response.body == body
        else:
            response = client.fetch("/large/20000")
            right = response.body == b"x" * 20_000
        if response.status != 200 or not right:
            self._note(f"{stage}: {response.status} {response.body[:80]!r}")
        with self._changed:
            self.answered[self.stage] += 1
            self._changed.notify_all()
        return not response.closes

    def _note(self, fault: str) -> None:
        with self._changed:
            self.faults.append(fault)
            self._changed.notify_all()

    def go_on(self, stage: str) -> None:
        """Return when so many requests have been answered since this began, or one has failed."""
        with self._changed:
            self.stage = stage
            self._changed.wait_for(lambda: self.answered[stage] >= MORE or self.faults, TIMEOUT)
            assert not self.faults, self.faults[:5]
            assert self.answered[stage] >= MORE

    def stop(self) -> None:
        self._over = True

    def end(self) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(TIMEOUT)
        assert not self.faults, self.faults[:5]


def reload(server: Process, load: Load, count: int) -> None:
    load.stage = f"during reload {count}"
    server.signal(signal.SIGHUP)
    server.wait_for(r"\] reloaded|\] ready: 2 workers", count=count + 1)


def upgrade(server: Process, load: Load) -> int:
    load.stage = "while both masters serve"
    server.signal(signal.SIGUSR2)
    line = server.wait_for(r"the new master \(pid \d+\) is ready")
    new = int(re.findall(r"new master \(pid (\d+)\)", line)[0])
    load.go_on("with both masters")
    load.stage = "while the old master ends"
    server.signal(signal.SIGTERM)
    server.wait_for("the upgrade is finished")
    return new


@pytest.mark.parametrize("name", FRONTS)
def test_a_reload_and_an_upgrade_lose_nothing(name: str) -> None:
    with before(name) as (front, server):
        load = Load(front)
        new = 0
        try:
            load.go_on("before")
            for count in (1, 2):
                reload(server, load, count)
                load.go_on(f"after reload {count}")
            new = upgrade(server, load)
            load.go_on("after the upgrade")
            load.end()
        finally:
            load.stop()
            if new:
                os.kill(new, signal.SIGTERM)
                server.wait()
