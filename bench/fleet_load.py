"""The clients of fleet.py: `python -m bench.fleet_load HOST PORT CLIENTS`, until stdin ends.

Each client asks on a connection of its own, waits, and asks again; one request of six is an order
(POST). Every line of the output is a JSON object: how many answers there are by release, and last
of all every request that failed.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

GUARD = 90.0  #: seconds until a client gives up
PAUSE = 0.8  #: seconds between two requests of a client, at most
ORDERS = 1 / 6


@dataclass
class Failed:
    """A request without the answer that it should have."""

    name: str
    method: str
    why: str
    at: float  #: when it was sent, as time.time() has it


class Load:
    """What all clients have got."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.releases: Counter[str] = Counter()
        self.hosts: Counter[str] = Counter()
        self.orders: list[str] = []
        self.failed: list[Failed] = []
        self.slowest = 0.0
        self.over = asyncio.Event()

    async def client(self, number: int) -> None:
        """One client, which opens a connection again when that was closed."""
        turn, reader, writer = 0, None, None
        while not self.over.is_set():
            await asyncio.sleep(random.uniform(0, PAUSE))
            turn += 1
            name = f"{number}-{turn}"
            method = "POST" if random.random() < ORDERS else "GET"
            began = time.time()
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.wait_for(
                        asyncio.open_connection(self.host, self.port), GUARD)
                kept = await asyncio.wait_for(
                    self._ask(name, method, began, reader, writer), GUARD)
            except (OSError, asyncio.TimeoutError, EOFError, ValueError) as error:
                self.failed.append(
                    Failed(name, method, f"{type(error).__name__}: {error}", began))
                kept = False
            self.slowest = max(self.slowest, time.time() - began)
            if not kept and writer is not None:
                writer.close()
                reader = writer = None

    async def _ask(self, name: str, method: str, began: float, reader: asyncio.StreamReader,
                   writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection is kept."""
        length = "Content-Length: 0\r\n" if method == "POST" else ""
        writer.write(f"{method} / HTTP/1.1\r\nHost: shop\r\nX-Request-ID: {name}\r\n{length}\r\n"
                     .encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status, *fields = head.splitlines()
        named = dict(field.split(": ", 1) for field in fields if ": " in field)
        body = (await reader.readexactly(int(named["content-length"]))).decode("latin-1")
        if " 200 " not in f"{status} ":
            self.failed.append(Failed(name, method, status, began))
        else:
            release, host, asked = body.split()
            if asked != name:
                raise ValueError(f"the answer to {asked}")
            self.releases[release] += 1
            self.hosts[host] += 1
            if method == "POST":
                self.orders.append(name)
        return named.get("connection") != "close"

    def told(self) -> dict[str, Any]:
        """How far it is."""
        return {"releases": self.releases, "hosts": self.hosts, "failed": len(self.failed)}

    async def tell(self) -> None:
        """Say how far it is, five times a second."""
        while not self.over.is_set():
            print(json.dumps(self.told()), flush=True)
            await asyncio.sleep(0.2)


async def main(host: str, port: int, clients: int) -> None:
    """Run the clients until stdin ends, and say what failed."""
    load = Load(host, port)
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, load.over.set)
    await asyncio.gather(load.tell(), *map(load.client, range(clients)))
    print(json.dumps({**load.told(), "orders": load.orders, "slowest": load.slowest,
                      "failures": [asdict(one) for one in load.failed]}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
