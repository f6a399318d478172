"""The side channel: what reached the application, told by the application itself.

Rule: the probe waits for an acknowledgement of every message, so that when a response is on the
wire its messages have been heard; nobody has to guess how long to wait.

    enter   a request reached the application: id, environ
    body    it has read its input
    note    a remark of the probe
    close   close() of the iterable was called
    gate    the probe wants to go on; it is let go when the runner has seen what it waits for
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

VARIABLE = "FASTWSGI_PROBE"


class Channel:
    """Listens on a Unix socket of its own; `path` goes into the server's environment."""

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="probe-")
        self.path = str(Path(self.directory) / "channel")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(64)
        self._changed = threading.Condition()
        self._records: list[dict[str, Any]] = []
        self._gates: list[socket.socket] = []
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)
            os.rmdir(self.directory)

    def reset(self) -> None:
        """Forget what was heard; a probe that waits at a gate is let go."""
        self.open_gate()
        with self._changed:
            self._records.clear()

    def requests(self) -> list[dict[str, Any]]:
        """What the application saw: one dict for each request, in order of arrival.

        Keys: the environ's, `body` (bytes), `closed` (int), `note` (str), `pid` (int).
        """
        with self._changed:
            records = list(self._records)
        seen: dict[object, dict[str, Any]] = {}
        for record in records:
            key = record["id"]
            if record["event"] == "enter":
                seen[key] = dict(record["environ"], closed=0, note="", pid=record["pid"], body=None)
            elif key not in seen:
                continue
            elif record["event"] == "body":
                seen[key]["body"] = record["body"].encode("latin-1")
            elif record["event"] == "close":
                seen[key]["closed"] += 1
            elif record["event"] == "note":
                notes = [seen[key]["note"], record["text"]]
                seen[key]["note"] = "; ".join(filter(None, notes))
        return list(seen.values())

    def wait_closed(self, count: int, patience: float) -> None:
        """Wait until `close` was heard `count` times, at most `patience` seconds."""

        def heard() -> bool:
            entered = {r["id"] for r in self._records if r["event"] == "enter"}
            closes = sum(r["event"] == "close" and r["id"] in entered for r in self._records)
            return closes >= count

        self._wait(heard, patience)

    def wait_gate(self, patience: float) -> bool:
        """Wait until a probe stands at a gate."""
        return self._wait(lambda: bool(self._gates), patience)

    def open_gate(self) -> None:
        """Let the probes that wait at a gate go on."""
        with self._changed:
            gates, self._gates = self._gates, []
        for gate in gates:
            with contextlib.suppress(OSError):
                gate.sendall(b"+")

    def _wait(self, condition: Callable[[], bool], patience: float) -> bool:
        deadline = time.monotonic() + patience
        with self._changed:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return condition()
        return True

    def _accept(self) -> None:
        while self._open:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._listen, args=(peer,), daemon=True).start()

    def _listen(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer, peer.makefile("rb") as lines:
            for line in lines:
                record = json.loads(line)
                with self._changed:
                    if record["event"] == "gate":
                        self._gates.append(peer)
                    else:
                        self._records.append(record)
                    self._changed.notify_all()
                if record["event"] != "gate":
                    peer.sendall(b"+")
