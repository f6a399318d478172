"""Accept or refuse: what the server makes of a stream of bytes, and what h11 does.

Rule: h11 plays the server, answers every request it accepts with an empty 200 and reads on, until
it refuses, the input ends, or the connection must close.  It is as careful as we want to be in
most things, and differs in some: those are for the test that compares to explain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h11
from apps.client import TIMEOUT

from fastwsgi.testing import raw

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LIMIT = 1 << 20


@dataclass(frozen=True)
class Accepted:
    """One request that was accepted."""

    method: str
    target: str
    body: bytes


class Recorder:
    """An application that keeps what it was given, and a client of the server that runs it."""

    address: tuple[str, int]

    def __init__(self) -> None:
        self.accepted: list[Accepted] = []

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        self.accepted.append(Accepted(environ["REQUEST_METHOD"], environ["RAW_URI"], body))
        start_response("200 OK", [("Content-Length", "0")])
        return []

    def decide(self, pieces: Sequence[bytes]) -> tuple[list[Accepted], int]:
        """The requests that were accepted, and the status of the refusal behind them, or 0."""
        self.accepted.clear()
        answer = raw(self.address, pieces, timeout=TIMEOUT, half_close=True)
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
        final = [status for status in statuses if status != 100]
        served = len(self.accepted)
        assert final[:served] == [200] * served
        assert all(status >= 400 for status in final[served:])
        assert len(final) <= served + 1
        return list(self.accepted), final[served] if len(final) > served else 0


@dataclass
class Decision:
    """What became of a stream in h11."""

    accepted: list[Accepted] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    """Where each request began, and behind the last one where reading went on or stopped."""
    end: str = "end"
    """end (of the input, between requests), cut (in a head), cut in a body, refused, closed."""
    why: str = ""


def decide(data: bytes) -> Decision:
    """What h11 makes of `data` followed by the end of the input."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)
    connection.receive_data(data)
    connection.receive_data(b"")
    made = Decision(starts=[0])
    while True:
        request, body, whole = None, b"", False
        try:
            while not whole and (event := connection.next_event()) is not h11.PAUSED:
                if isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    whole = True
                else:
                    made.end = "cut" if connection.trailing_data[0] else "end"
                    return made
        except h11.RemoteProtocolError as error:
            made.end, made.why = "refused", str(error)
            if "closed connection" in made.why or "unexpectedly closed" in made.why:
                made.end = "cut" if request is None else "cut in a body"
            return made
        assert request is not None
        made.accepted.append(Accepted(request.method.decode(), request.target.decode(), body))
        made.starts.append(len(data) - len(connection.trailing_data[0]))
        status = 405 if request.method == b"CONNECT" else 200
        connection.send(h11.Response(status_code=status, headers=[("Content-Length", "0")]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            made.end = "closed"
            return made
        connection.start_next_cycle()
