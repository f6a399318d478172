"""What a scrape of the metrics takes, with many workers, and what the workers notice of it.

    python -m bench.scrape [--workers 16] [--scrapes 300]

The time is that of the whole exchange on loopback, from connect to the last byte. The first
scrapes, which ask for the proportional memory of each worker, are told apart.
"""

from __future__ import annotations

import argparse
import re
import socket
import statistics
import tempfile
import time
from pathlib import Path

from fastwsgi.testing import spawn

APP = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hello']\n"
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"


def scrape(address: tuple[str, int]) -> tuple[float, int]:
    """Scrape once; return the milliseconds and the bytes."""
    begin = time.perf_counter()
    size = 0
    with socket.create_connection(address) as sock:
        sock.sendall(REQUEST)
        while block := sock.recv(1 << 20):
            size += len(block)
    return (time.perf_counter() - begin) * 1000, size


def main() -> None:
    """Print the median and the worst of the first and of all other scrapes."""
    parser = argparse.ArgumentParser(description="the time of a scrape")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--scrapes", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastwsgi-bench-") as folder:
        (Path(folder) / "hello.py").write_text(APP)
        with spawn("-w", str(arguments.workers), "--metrics-bind", "127.0.0.1:0", "hello:app",
                   cwd=folder) as server:
            found = re.search(r"metrics: http://([^:]+):(\d+)/", server.output())
            assert found is not None
            address = found[1], int(found[2])
            times = []
            for _ in range(arguments.scrapes):
                taken, size = scrape(address)
                times.append(taken)
                time.sleep(0.01)
    first, rest = times[: arguments.workers], times[arguments.workers :]
    for name, part in (("first", first), ("others", rest)):
        print(f"{arguments.workers} workers, {size} bytes, {name}: median "
              f"{statistics.median(part):.2f} ms, worst {max(part):.2f} ms")


if __name__ == "__main__":
    main()
