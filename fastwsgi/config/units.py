"""How the core counts what a setting says: one function per unit.

Each takes the value of a setting and its bounds, and returns what the core's member holds.
"""

from __future__ import annotations

from fastwsgi.system import networks

_MOST = 0xFFFFFFFF  # a member of 32 bits
_NO_LIMIT = 0xFFFFFFFFFFFFFFFF  # FW_NO_LIMIT


def plain(value: object, *_bounds: object) -> object:
    """Return the value as it is."""
    return value


def milliseconds(seconds: float, *_bounds: object) -> int:
    """Return a time in whole milliseconds."""
    return min(max(round(seconds * 1000), 0), _MOST)


def globs(patterns: tuple[str, ...], *_bounds: object) -> tuple[tuple[bytes, int], ...]:
    """Return patterns of which all say the same."""
    return tuple((glob.encode(), 0) for glob in patterns)


def time_limits(limits: dict[str, float], *_bounds: object) -> tuple[tuple[bytes, int], ...]:
    """Return globs with microseconds, of which all bits are no limit."""
    return tuple((glob.encode(), max(round(seconds * 1_000_000), 1) if seconds else _NO_LIMIT)
                 for glob, seconds in limits.items())


def or_most(value: int, _least: int, most: int) -> int:
    """Return a limit, for which 0 means the most."""
    return value or most


def position(word: str, *words: str) -> int:
    """Return which of the words it is, counted from 0: an enumeration of the core."""
    return words.index(word)


def octets(text: str, *_bounds: object) -> bytes:
    """Return a text of ASCII as C takes it."""
    return text.encode("ascii")


def flags(chosen: tuple[str, ...], *words: str) -> int:
    """Return which of the words are chosen, one bit each, from the lowest on."""
    return sum(1 << words.index(word) for word in chosen)


def addresses(
    texts: tuple[str, ...], *_bounds: object,
) -> tuple[bool, tuple[networks.Range, ...], tuple[networks.Range, ...]]:
    """Return a set of addresses as the core searches it."""
    return networks.ranges(texts)
