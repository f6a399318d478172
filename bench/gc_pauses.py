"""What full garbage collections do to requests, for each word of --gc.

    python -m bench.gc_pauses [--objects N] [--seconds S] [--rate R] [--workers W]

The application has a heap of a million objects and adds to it: each request makes some that the
next ones let go, too late for the young generations. Requests come at a fixed rate, on kept
connections, whether earlier ones are answered or not, and their times count from when they were
due. So a pause counts for all that it delays.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from fastwsgi.testing import spawn

CONNECTIONS = 16
APP = """
    import collections, os
    heap = [{{"number": i, "list": [i]}} for i in range({objects} // 2)]
    recent = collections.deque(maxlen=400)
    def app(environ, start_response):
        recent.append([{{"number": i, "list": [i]}} for i in range({each})])
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]
    """


async def load(address: tuple[str, int], rate: float, seconds: float) -> list[float]:
    """Ask at this rate; the times of the answers, in ms, from when the questions were due."""
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection(*address))
    times: list[float] = []

    async def ask(due: float) -> None:
        reader, writer = await idle.get()
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"\r\n\r\nok")
        times.append((time.perf_counter() - due) * 1000)
        idle.put_nowait((reader, writer))

    begin = time.perf_counter() + 0.1
    async with asyncio.timeout(seconds + 20) if sys.version_info >= (3, 11) else _no_limit():
        tasks = []
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(due)))
        await asyncio.gather(*tasks)
    return sorted(times)


class _no_limit:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_error: object) -> None: ...


def measure(mode: str, options: argparse.Namespace) -> list[float]:
    """The sorted times of one run."""
    with tempfile.TemporaryDirectory() as place:
        Path(place, "app.py").write_text(
            textwrap.dedent(APP.format(objects=options.objects, each=options.each)))
        with spawn("-w", str(options.workers), "--gc", mode, "app:app", cwd=place) as server:
            server.wait_for(r"\] ready: ")
            assert not isinstance(server.address, str)
            return asyncio.run(load(server.address, options.rate, options.seconds))


def main() -> None:
    """Print a row for each word."""
    parser = argparse.ArgumentParser(prog="python -m bench.gc_pauses")
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--each", type=int, default=400, help="pairs of objects of a request")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    version = "{}.{}.{}".format(*sys.version_info)
    print(f"Python {version}, {options.objects} objects, {options.workers} workers, "
          f"{options.rate:g} requests/s: times in ms")
    for mode in ("default", "request", "idle"):
        times = measure(mode, options)
        shown = "  ".join(f"p{share:g} {times[int(len(times) * share / 100)]:7.1f}"
                          for share in (50, 99, 99.9))
        print(f"{mode:8}  {shown}  max {times[-1]:7.1f}")


if __name__ == "__main__":
    main()
