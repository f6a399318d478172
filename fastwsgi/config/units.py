"""How the core counts what a setting says: one function per unit.

Each takes the value of a setting and its bounds, and returns what the core's member holds.
"""

from __future__ import annotations

from fastwsgi.system.address import parse_network

_MOST = 0xFFFFFFFF  # a member of 32 bits


def plain(value: object, *_bounds: object) -> object:
    """Return the value as it is."""
    return value


def milliseconds(seconds: float, *_bounds: object) -> int:
    """Return a time in whole milliseconds."""
    return min(max(round(seconds * 1000), 0), _MOST)


def or_most(value: int, _least: int, most: int) -> int:
    """Return a limit, for which 0 means the most."""
    return value or most


def position(word: str, *words: str) -> int:
    """Return which of the words it is, counted from 0: an enumeration of the core."""
    return words.index(word)


def octets(text: str, *_bounds: object) -> bytes:
    """Return a text of ASCII as C takes it."""
    return text.encode("ascii")


def networks(texts: tuple[str, ...], *_bounds: object) -> bytes:
    """Return networks one behind the other, as csrc/system/networks.h has them."""
    return b"".join(map(parse_network, texts))
