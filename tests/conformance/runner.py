"""Plays one case in one way against one address, and compares what happened with the outcomes.

Rule: nothing is guessed from silence.  A connection counts as kept when a further good request
on it is answered, and as closed at end of file.  Requests are counted by the application.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import model
from .channel import Channel
from .model import Await, Case, Check, Gate, HalfClose, Outcome, Reply
from .wire import Address, Link, Response

GOOD = b"GET /good HTTP/1.1\r\nHost: good\r\n\r\n"
GOOD_OUTCOME = Outcome(
    (Reply(model.codes(200), body=b"/good\n"),), "keep", ({"PATH_INFO": "/good", "closed": 1},)
)
GOOD_PERMITTED = replace(GOOD_OUTCOME, saw=({"PATH_INFO": "/good"},))
_MARKERS = itertools.count()


@dataclass
class Story:
    """What happened."""

    replies: list[Response] = field(default_factory=list)
    interim: int = 0
    end: str = "keep"  # keep, close, hang, garbage, poisoned, held
    announced: bool = False
    detail: str = ""
    saw: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        replies = ", ".join(str(reply) for reply in self.replies) or "no response"
        paths = ", ".join(
            _ascii(f"{saw.get('REQUEST_METHOD')} {saw.get('PATH_INFO')!r}") for saw in self.saw
        )
        interim = f"{self.interim} x 100, " if self.interim else ""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{interim}{replies}; {self.end}{detail}; application saw {paths or 'nothing'}"


def _ascii(text: str) -> str:
    """Text that a terminal and a page can show."""
    return text.encode("unicode_escape").decode("ascii").replace("\\\\", "\\")


def arrange(case: Case, way: str) -> tuple[list[model.Step], list[str], tuple[Outcome, ...]]:
    """The steps, request methods and contract of a case played in this way."""
    steps: list[model.Step] = list(case.steps)
    methods = list(case.methods)
    if way == "p":
        steps = [Await(step.replies + 1) if isinstance(step, Await) else step for step in steps]
        first = steps[0]
        good = GOOD.replace(b"/good", model.mount(case).encode() + b"/good")
        if isinstance(first, bytes):
            steps[0] = good + first
        else:
            steps.insert(0, good)
        return steps, ["GET", *methods], tuple(GOOD_OUTCOME + one for one in case.contract)
    if way == "t":
        once = case.raw
        return [once + once], methods * 2, tuple(one + one for one in case.contract)
    return steps, methods, case.contract


def permitted(case: Case, way: str) -> tuple[Outcome, ...]:
    """Every outcome that the rule permits when the case is played in this way.

    Calls of close() are left to the cases that are about them: one fault shall count once.
    """
    allowed = case.allowed if case.closing else tuple(map(_unclosed, case.allowed))
    if way == "p":
        return tuple(GOOD_PERMITTED + one for one in allowed)
    if way == "t":
        # Twice the same, or one outcome that ends the connection.
        kept = [one for one in allowed if one.end != "close"]
        twice = [first + second for first in kept for second in allowed]
        return (*twice, *(one for one in allowed if one.end != "keep"))
    return allowed


def _unclosed(outcome: Outcome) -> Outcome:
    saw = tuple({k: v for k, v in one.items() if k != "closed"} for one in outcome.saw)
    return replace(outcome, saw=saw)


def play(
    case: Case,
    way: str,
    address: Address,
    channel: Channel,
    outcomes: Iterable[Outcome],
    patience: float,
) -> Story:
    """Play a case; `outcomes` tell how many responses to wait for, `patience` is in seconds."""
    steps, methods, _ = arrange(case, way)
    wanted = list(outcomes)
    channel.reset()
    link = Link(address, methods, patience)
    story = Story()
    try:
        for step in steps:
            if isinstance(step, bytes):
                link.send(step, single=way == "b")
            elif isinstance(step, Await):
                link.expect(step.replies)
            elif isinstance(step, HalfClose):
                link.half_close()
            elif isinstance(step, Gate):
                if channel.wait_gate(patience) and not link.expect_body(step.body):
                    story.detail = f"{step.body!r} was held back"
                channel.open_gate()
            else:
                link.abort()
        _finish(link, story, wanted, model.mount(case))
        if story.end == "hang":
            # When the connection goes, an application that waits in read() goes on.
            story.saw = channel.requests()
    finally:
        link.close()
    closes = max((_closes(outcome) for outcome in wanted), default=0)
    if closes:
        channel.wait_closed(closes, patience)
    seen = story.saw if story.end == "hang" else channel.requests()
    port = "" if model.names_clients(case) else link.port
    story.saw = [request for request in seen if _is_of(request, port)]
    if story.end not in ("keep", "close"):
        # Let a server that was left in the middle finish what it holds.
        answers(address, 0.5, model.mount(case), model.preface(case))
    if story.detail.endswith("held back"):
        story.end = "held"
    return story


def _is_of(seen: Mapping[str, object], port: str) -> bool:
    """Whether a request belongs to the case: no marker, and not left over from another client."""
    if seen.get("HTTP_HOST") == "marker" and str(seen.get("PATH_INFO")).startswith("/marker/"):
        return False
    return not port or str(seen.get("REMOTE_PORT") or port) == port


def answers(address: Address, patience: float, mount: str, preface: bytes = b"") -> bool:
    """Whether a good request on a new connection is answered by the application at this path."""
    try:
        link = Link(address, (), patience)
    except OSError:
        return False
    try:
        if preface:
            link.send(preface)
        return _mark(link, mount)
    finally:
        link.close()


def _closes(outcome: Outcome) -> int:
    return sum(saw["closed"] for saw in outcome.saw if isinstance(saw.get("closed"), int))


def _finish(link: Link, story: Story, wanted: list[Outcome], mount: str) -> None:
    most = max(len(outcome.replies) for outcome in wanted)
    parser = link.parser
    while link.state == "open" and len(parser.final) < most:
        if not link.expect(parser.count + 1):
            break
        if parser.final and parser.final[-1].closes:
            break
    if link.state == "open" and parser.current is not None:
        link.expect(parser.count + 1)
    announced = bool(parser.final) and parser.final[-1].closes
    only_close = all(outcome.end == "close" for outcome in wanted)
    if announced or only_close or not link.writable:
        link.until_eof()
    marked = False
    if link.state in ("open", "hang") and link.writable:
        marked = _mark(link, mount)
    story.replies = parser.final[: -1 if marked else None]
    story.interim = len(parser.interim)
    story.announced = bool(story.replies) and story.replies[-1].closes
    story.detail = link.detail or story.detail
    if marked:
        story.end = "keep"
    elif link.state in ("eof", "reset", "aborted"):
        story.end = "close"
    elif link.state == "open":
        story.end = "poisoned"
    else:
        story.end = link.state


def _mark(link: Link, mount: str) -> bool:
    """Whether one more good request is answered on the connection."""
    path = f"/marker/{next(_MARKERS)}"
    known = len(link.parser.final)
    link.state = "open"
    link.parser.methods = []
    link.send(f"GET {mount}{path} HTTP/1.1\r\nHost: marker\r\n\r\n".encode())
    while link.state == "open":
        final = link.parser.final
        if len(final) > known and final[-1].complete:
            if final[-1].body == path.encode() + b"\n":
                return True
            known = len(final)
            if final[-1].closes:
                link.until_eof()
                return False
        if not link.expect(link.parser.count + 1):
            if link.state == "open":
                link.state = "hang"
            return False
    return False


def judge(
    story: Story, outcomes: Iterable[Outcome], *, lenient: bool, strict_end: bool
) -> str | None:
    """None when the story is one of the outcomes, else what is wrong with it.

    `lenient` is for peers: a server need not keep connections (RFC 9112 section 9.3), so after a
    response that it gave rightly it may close and leave the rest; with `strict_end` it has to
    announce that.
    """
    reasons = []
    for outcome in outcomes:
        reason = _compare(story, outcome, lenient, strict_end)
        if reason is None:
            return None
        reasons.append(reason)
    # The outcome that came nearest tells most.
    return f"{reasons[0] if reasons else 'no outcome'}; got {story}"


def _compare(story: Story, outcome: Outcome, lenient: bool, strict_end: bool) -> str | None:
    replies, saw = outcome.replies, outcome.saw
    count = len(story.replies)
    early = count < len(replies) or outcome.end == "keep"
    if lenient and early and story.end == "close" and 0 < count <= len(saw):
        if strict_end and not story.announced:
            return "closed without Connection: close (RFC 9112 section 9.3)"
        replies, saw = replies[:count], saw[:count]
        outcome = replace(outcome, interim=None)
    elif story.end != outcome.end and not (outcome.end == "any" and story.end in ("keep", "close")):
        return f"connection {story.end} instead of {outcome.end}"
    if len(story.replies) != len(replies):
        return f"{len(story.replies)} responses instead of {len(replies)}"
    for found, expected in zip(story.replies, replies, strict=True):
        reason = _compare_reply(found, expected)
        if reason:
            return reason
    if outcome.interim is not None and story.interim != outcome.interim:
        return f"{story.interim} interim responses instead of {outcome.interim}"
    if len(story.saw) != len(saw):
        return f"{len(story.saw)} requests reached the application instead of {len(saw)}"
    for seen, wanted in zip(story.saw, saw, strict=True):
        for name, check in wanted.items():
            if not _holds(check, seen.get(name)):
                return f"the application saw {name} = {seen.get(name)!r}, not {_show(check)}"
    return None


def _compare_reply(found: Response, expected: Reply) -> str | None:
    if found.status not in expected.codes:
        codes = sorted(expected.codes)
        shown = "/".join(map(str, codes)) if len(codes) < 5 else f"{codes[0]}..{codes[-1]}"
        return f"status {found.status} instead of {shown}"
    for name, check in expected.fields.items():
        if not _holds(check, found.fields.get(name)):
            return f"field {name}: {found.fields.get(name)!r}, not {_show(check)}"
    if found.complete == expected.cut:
        return "the body is complete" if found.complete else "the body is cut off"
    if not _holds(expected.body, found.body):
        return f"body {found.body[:60]!r}, not {_show(expected.body)}"
    if not _holds(expected.coding, found.coding):
        return f"body framed by {found.coding}, not {_show(expected.coding)}"
    return None


def _holds(check: Check, found: object) -> bool:
    return check(found) if callable(check) else check == found


def _show(check: Check) -> str:
    return getattr(check, "__name__", None) or repr(check)[:100]


def environment(channel: Channel) -> Mapping[str, str]:
    """The environment that a server needs so that its probe finds the channel."""
    return {**os.environ, "FASTWSGI_PROBE": channel.path}
