"""Orphans of others, which fall to process 1: the server itself in a container.

A process that nobody waits for keeps its place in the table of processes. Elsewhere init reaps
those whose parent has ended; in a container that is the first process.
"""

from __future__ import annotations

import os
from collections.abc import Collection


def reap_orphans(own: Collection[int]) -> None:
    """Reap children that have ended and are none of ``own``, which somebody else waits for."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in own:  # the next look finds what is behind that one
            return
        os.waitpid(found.si_pid, os.WNOHANG)
