"""What a fork server does to its memory, so that it stays shared with the workers it forks.

A page is shared until one of the processes writes to it. The collector writes to the head of every
object it looks at, and whoever uses an object writes its reference count.
"""

from __future__ import annotations

import gc
import time

from fastwsgi.errors import CoreError
from fastwsgi.logs.error import ErrorLog


def share(how: str, log: ErrorLog) -> None:
    """Do what ``preload_memory`` says, after the import and before the first fork.

    Raises CoreError if objects cannot be made immortal.
    """
    if how == "plain":
        return
    gc.collect()  # what is garbage now would stay
    if how == "immortal":
        _make_immortal(log)
    # what the import made lives as long as the process: no collection looks at it again
    gc.freeze()


def _make_immortal(log: ErrorLog) -> None:
    begin = time.perf_counter()
    try:
        from fastwsgi._core.immortal import make_immortal, prove

        prove()
        count = make_immortal()
    except (ImportError, RuntimeError) as error:
        raise CoreError(f"preload_memory immortal cannot be used: {error}") from None
    log.debug("%d objects made immortal in %.0f ms", count, (time.perf_counter() - begin) * 1e3)
