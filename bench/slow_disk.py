"""What a slow disk costs others: `python -m bench.slow_disk [--delay MS] [--uploads N]`.

Each write to a regular file takes 200 ms (tests/injection/shim.c, put before the server, makes it
so) while clients upload bodies that go to files. The figure is the latency of another client that
asks for a small page all the while; the promise is a p99 under 5 ms. Needs Linux with glibc and a
C compiler.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import machine, peers
from bench.chunks import MEMORY, SHAPES, flood
from bench.process import serve
from bench.upload import Second

SHIM = machine.ROOT / "tests" / "injection" / "shim.c"
MOST_MS = 5.0  #: p99 of the other client


def preloaded(place: Path, schedule: str) -> list[str]:
    """The words to put before a command so that its system calls follow the schedule."""
    machine.ensure("cc")
    shim = place / "shim.so"
    subprocess.run(
        ["cc", "-std=gnu11", "-O1", "-shared", "-fPIC", "-fno-builtin", str(SHIM), "-o", str(shim),
         "-ldl"],
        check=True,
    )  # fmt: skip
    counts = place / "counts"
    return ["env", f"LD_PRELOAD={shim}", f"INJECT={schedule}", f"INJECT_COUNTS={counts}"]


def main() -> None:
    """Print a line; exit with 1 if the promise is not kept."""
    parser = argparse.ArgumentParser(description="a slow disk")
    parser.add_argument("--delay", type=int, default=200, metavar="MS")
    parser.add_argument("--uploads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    allowed = os.sched_getaffinity(0)
    server_cpus, client_cpus = machine.cores()
    with tempfile.TemporaryDirectory() as folder:
        prefix = preloaded(Path(folder), f"store={arguments.delay}ms/1")
        with serve(
            peers.PEERS[peers.OURS],
            "bench.chunks:app",
            threads=arguments.threads,
            extra=("--body-memory", str(MEMORY)),
            cpus=server_cpus,
            prefix=prefix,
            python=sys.executable,
        ) as server:
            sent = multiprocessing.Value("Q", 0)
            uploads = multiprocessing.get_context("fork").Process(
                target=flood,
                args=(server.address, arguments.uploads, SHAPES["32 KiB"], sent, allowed),
                daemon=True,
            )
            uploads.start()
            machine.pin(client_cpus)
            time.sleep(1.0)
            second = Second(server.address)
            second.start()
            time.sleep(arguments.seconds)
            times = second.stop()
            uploads.kill()
            uploads.join()
    p99 = times[int((len(times) - 1) * 0.99)]
    print("| a write takes, ms | uploads | requests of another client | p50, ms | p99 | longest |")
    print("|---" * 6 + "|")
    print(
        f"| {arguments.delay} | {arguments.uploads} | {len(times)} | {times[len(times) // 2]:.2f} "
        f"| {p99:.2f} | {times[-1]:.1f} |"
    )
    raise SystemExit(0 if p99 < MOST_MS else 1)


if __name__ == "__main__":
    main()
