"""Which certificates answer whom: by the name that a client asks for, and the keys it knows.

A name may have certificates with keys of several kinds, RSA and ECDSA as a rule. OpenSSL has them
in one context and takes the one that the client can check. So the certificates are put together
here, name by name; the core looks for the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fastwsgi.tls.files import Pair


class Choice(NamedTuple):
    """Certificates with keys of different kinds, and the names that they answer to."""

    pairs: tuple[Pair, ...]
    names: tuple[str, ...]


def choices(pairs: Sequence[Pair], *, several: bool = True) -> list[Choice]:
    """Put the certificates together; the first choice answers whoever asks for no known name.

    Of certificates with keys of one kind the first one that has a name answers to it. Without
    ``several`` there is one certificate for a name. Those that answer to none are there as well,
    without names: whatever is named in the settings is to be proven.
    """
    found: dict[tuple[Pair, ...], list[str]] = {}
    if not pairs[0].names:
        found[(pairs[0],)] = []
    for name in dict.fromkeys(name for pair in pairs for name in pair.names):
        found.setdefault(_answering(pairs, name, several), []).append(name)
    answering = {pair for together in found for pair in together}
    found.update({(pair,): [] for pair in pairs if pair not in answering})
    return [Choice(together, tuple(names)) for together, names in found.items()]


def _answering(pairs: Sequence[Pair], name: str, several: bool) -> tuple[Pair, ...]:
    """One certificate for each kind of key; those with this very name come first."""
    pattern = f"*.{name.partition('.')[2]}"
    of_kind: dict[str, Pair] = {}
    for asked in (name, pattern):
        for pair in pairs:
            if asked in pair.names:
                of_kind.setdefault(pair.kind, pair)
    together = tuple(of_kind.values())
    return together if several else together[:1]
