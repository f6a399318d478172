"""How a child learns that its master has ended: the end of a pipe.

The master holds the write end and nobody writes. The end closes with the master, however it dies.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable


class Lifeline:
    """Watches the read end ``fd`` in a thread and calls ``at_end`` there when the master is gone.

    ``release`` ends the thread without a call: a process is not forked with threads beside it.
    """

    def __init__(self, fd: int, at_end: Callable[[], None]) -> None:
        self._fd = fd
        self._at_end = at_end
        self._stopped, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="fastwsgi-lifeline", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._stopped, select.POLLIN)
        if self._stopped not in [fd for fd, _ in poll.poll()]:
            self._at_end()

    def release(self) -> None:
        """Stop watching."""
        os.close(self._stop)
        self._thread.join()
        os.close(self._stopped)
