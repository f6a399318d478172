"""Sets of addresses and networks, as settings name them and as the core searches them.

``ipaddress`` of the standard library can do this too; importing it takes longer than reading all
settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Range = tuple[int, int]
EVERYBODY = "*"
_MAPPED = 0xFFFF << 32  # ::ffff:0:0/96, where IPv6 has the addresses of IPv4


def parse_network(text: str) -> tuple[int, Range]:
    """Return the number of bits of an address, and the first and the last address of a network.

    ``text`` is an address of IPv4 or IPv6, or a network as ADDRESS/BITS. Raises ValueError.
    """
    import socket  # not needed for --help

    address, slash, bits = text.partition("/")
    for family, width in ((socket.AF_INET, 32), (socket.AF_INET6, 128)):
        try:
            first = int.from_bytes(socket.inet_pton(family, address), "big")
        except (OSError, ValueError):
            continue
        if slash and (not re.fullmatch(r"\d{1,3}", bits, re.ASCII) or int(bits) > width):
            raise ValueError(f"{text!r} does not end with a number of bits from 0 to {width}")
        length = int(bits) if slash else width
        rest = (1 << (width - length)) - 1
        if first & rest:
            network = socket.inet_ntop(family, (first & ~rest).to_bytes(width // 8, "big"))
            raise ValueError(f"{text!r} is an address within the network {network}/{bits}")
        if width == 128 and first >> 32 == _MAPPED >> 32 and length >= 96:
            return 32, (first & 0xFFFFFFFF, first & 0xFFFFFFFF | rest)
        return width, (first, first | rest)
    raise ValueError(f"{text!r} is neither an address nor a network")


def ranges(texts: Iterable[str]) -> tuple[bool, tuple[Range, ...], tuple[Range, ...]]:
    """Return whether everybody is meant, and the ranges of IPv4 and of IPv6: sorted, apart."""
    everybody = False
    found: dict[int, list[Range]] = {32: [], 128: []}
    for text in texts:
        if text == EVERYBODY:
            everybody = True
        else:
            width, network = parse_network(text)
            found[width].append(network)
    return everybody, _joined(found[32]), _joined(found[128])


def _joined(networks: list[Range]) -> tuple[Range, ...]:
    joined: list[Range] = []
    for first, last in sorted(networks):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)
