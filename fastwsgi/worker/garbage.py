"""Full garbage collections between requests (--gc), not inside one.

A full collection looks at every container object of the process: a tenth of a second for a million
of them, during which the interpreter runs nothing else. CPython begins it in the middle of whatever
makes the object too many. Here only young objects are collected there. Full collections are left to
an application thread that has just answered a request, and only when another worker is free, if
there are some. While it collects it counts as busy, so new connections and waiting requests go
there.

CPython collects all objects when ten collections of the middle generation have gone by and a
quarter of the old objects is new. The second cannot be seen from outside. So a full collection here
waits until the time since the last one is ``REST`` times what that took: however often it is due,
it takes two per cent of the time at most.
"""

from __future__ import annotations

import gc
import random
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastwsgi._core.core import Worker

MIDDLE, FULL = 1, 2
"""Generations, as ``gc`` numbers them."""
REST = 50
"""How much longer than a full collection the time between two of them is, at least. Up to as much
is added, at random, so that workers with the same load do not collect at the same time."""
PATIENCE = 10
"""How many times over a collection may be due before it no longer waits for an idle worker."""
NEVER = (1 << 31) - 1


class FullCollections:
    """Keeps full collections out of the requests of ``worker``.

    ``idle``: they wait until no request waits and none is in the application, too. None waits for
    longer than ``PATIENCE`` allows.
    """

    def __init__(self, worker: Worker, *, idle: bool) -> None:
        self._worker = worker
        self._idle = idle
        self._thresholds = gc.get_threshold()
        self._random = random.SystemRandom()  # not what forked siblings would draw, too
        self._wanted = max(self._thresholds[FULL], 1)
        self._due_after = self._spread(self._wanted)
        self._seen = 0
        self._not_before = 0.0

    def start(self) -> None:
        """Take over from the interpreter; to be called when the application has been imported."""
        young, middle, _ = self._thresholds
        gc.set_threshold(young, middle, NEVER)
        gc.callbacks.append(self._on_collection)
        self._worker.collect_with(self._collect)

    def stop(self) -> None:
        """Leave it to the interpreter again."""
        self._worker.collect_with(None)
        gc.callbacks.remove(self._on_collection)
        if gc.get_threshold()[FULL] == NEVER:
            gc.set_threshold(*self._thresholds)

    def _on_collection(self, phase: str, info: dict[str, Any]) -> None:
        if phase != "stop":
            return
        if info["generation"] == FULL:  # of the application's own
            self._seen = 0
        elif info["generation"] == MIDDLE:
            self._seen += 1
            if self._seen >= self._due_after and time.monotonic() >= self._not_before:
                late = self._seen >= PATIENCE * self._wanted
                self._worker.want_collection(idle=self._idle, late=late)

    def _collect(self) -> None:
        if not gc.isenabled():  # the application does not want any
            return
        began = time.monotonic()
        gc.collect()
        ended = time.monotonic()
        self._due_after = self._spread(self._wanted)
        self._not_before = ended + self._spread(REST * (ended - began))

    def _spread(self, least: float) -> float:
        return least * self._random.uniform(1, 2)
