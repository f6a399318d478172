"""The metrics as text: Prometheus' format (0.0.4) and OpenMetrics (1.0).

The two differ in the names of counters, in the end, and in how a number is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = dict[str, str]
Sample = tuple[Labels, float]


def wants_openmetrics(accept: str) -> bool:
    """Tell whether a scraper prefers OpenMetrics, by its field Accept (RFC 9110 12.5.1)."""
    best = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for item in accept.split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.lower() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        if kind.lower() in best:
            best[kind.lower()] = max(best[kind.lower()], weight)
    return best["application/openmetrics-text"] > 0 and (
        best["application/openmetrics-text"] >= best["text/plain"])


def number(value: float) -> str:
    """Write a number."""
    if value == float("inf"):
        return "+Inf"
    return str(value) if isinstance(value, int) else repr(float(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _named(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items()) + "}"


class Text:
    """A page of metrics being written."""

    def __init__(self, *, openmetrics: bool = False) -> None:
        self._open = openmetrics
        self._lines: list[str] = []

    def _family(self, name: str, kind: str, text: str) -> None:
        self._lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]

    def counter(self, name: str, text: str, samples: Iterable[Sample]) -> None:
        """Write a counter; its name is without ``_total``."""
        self._family(name if self._open else f"{name}_total", "counter", text)
        self._lines += [f"{name}_total{_named(labels)} {number(value)}"
                        for labels, value in samples]

    def gauge(self, name: str, text: str, samples: Iterable[Sample]) -> None:
        """Write what goes up and down."""
        self._family(name, "gauge", text)
        self._lines += [f"{name}{_named(labels)} {number(value)}" for labels, value in samples]

    def histogram(
        self, name: str, text: str, bounds: Sequence[float],
        samples: Iterable[tuple[Labels, Sequence[int], float]],
    ) -> None:
        """Write a histogram: for each set of labels the count of each bucket, and the sum."""
        self._family(name, "histogram", text)
        for labels, counts, total in samples:
            seen = 0
            for bound, count in zip((*bounds, float("inf")), counts, strict=True):
                seen += count
                self._lines.append(
                    f"{name}_bucket{_named({**labels, 'le': number(bound)})} {seen}")
            self._lines += [f"{name}_count{_named(labels)} {seen}",
                            f"{name}_sum{_named(labels)} {number(total)}"]

    def bytes(self) -> bytes:
        """Return all of it."""
        end = ["# EOF"] if self._open else []
        return "\n".join([*self._lines, *end, ""]).encode("utf-8", "replace")
