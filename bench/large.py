"""An application that holds much after its import: 200,000 objects, of which a request reads 2,000.

For preload_memory.py; large_shop.py is the other one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

COUNT, EACH = 200_000, 2_000


class Product:
    """What most applications consist of: an instance, texts, numbers, a list, a dict."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"product {number}"
        self.prices = [1000 * number + part for part in range(3)]
        self.tags = {"kind": f"kind {number % 7}", "size": number / 3}


def read(products: list[Product], first: int) -> int:
    """Use what the import made: the objects from ``first`` on, and all that they refer to."""
    total = 0
    for product in products[first : first + EACH]:
        low, *_, high = product.prices
        total += low + high + len(product.name) + (product.tags["kind"] == "kind 3")
    return total


CATALOGUE = [Product(number) for number in range(COUNT)]


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    page = int(environ["QUERY_STRING"].partition("=")[2] or 0)
    body = b"%d" % read(CATALOGUE, page * EACH % COUNT)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
