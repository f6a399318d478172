"""Several workers: `python -m bench.workers [--servers ...] [--parts wait,spread] [--workers 2,4,8]
[--threads 1,2,4] [--repeat 20] [--record]`.

* wait    All threads of one worker, which is picked at random, are in calls of 1.2 s that sleep or
          compute. Meanwhile 48 quick requests are made on new and as many on kept connections, to
          our server also through a unix socket. Those that are answered only when the calls are
          over have waited for them.
* spread  32 kept connections are opened one after another, and at once, and each asks which worker
          it has come to.

Other servers are asked over TCP, with the numbers of workers and threads in OTHERS, three times.
The exit status is 1 when a request of ours has waited. `--record` writes the figures into
docs/measured.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import select
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from bench import machine, peers, publish
from bench.client import Client, Malformed, Response, keeps
from bench.process import NotStarted, Server, serve

APP = "bench.apps:which"
SERVERS = "fastwsgi,granian,uwsgi,gunicorn-gthread,gunicorn-sync"
OTHERS = ((2, 1), (4, 1), (4, 4))  #: workers, threads
KINDS = ("sleep", "compute")
SETS = ("new", "kept", "new, unix", "kept, unix")
CONNECTIONS = 32
QUICK = 48
CALL = 1.2  #: seconds
SPACING = 0.1  #: seconds between the beginnings of two sets
MARGIN = 0.05  #: seconds before the end of the call from which on an answer has waited for it
OTHER_REPEAT = 3
TRIES = 400  #: connections until the worker in question has got one for each of its threads
SLEEPING_AT_ONCE = 4  #: servers; their calls need no processor
REQUEST = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"

Address = tuple[str, int] | str


class Again(Exception):
    """The calls did not come about as they should; the attempt does not count."""


@dataclass(frozen=True)
class Job:
    """A server with its workers and threads, and the kind of call."""

    peer: str
    workers: int
    threads: int
    kind: str
    repeat: int


@dataclass
class Found:
    """What came of a job: for each set, how many waited in each round; the slowest of the others
    in milliseconds; or why there is nothing.
    """

    waited: dict[str, list[int]] = field(default_factory=dict)
    slowest: float = 0.0
    reason: str = ""


@dataclass
class Quick:
    """A quick request on its way."""

    name: str
    client: Client
    since: float


def ask(client: Client, path: bytes) -> None:
    """Send a request."""
    client.send(REQUEST % path)


def read(client: Client) -> Response:
    """Read an answer; close the connection if the server does, which some wait for."""
    answer = client.read()
    if answer.closes:
        client.socket.close()
    return answer


def settle(server: Server, workers: int) -> None:
    """Wait until each worker has answered; some servers never give one of them a connection."""
    seen: set[bytes] = set()
    end = time.monotonic() + 4.0
    while len(seen) < workers and time.monotonic() < end:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Client(server.address)) for _ in range(2 * workers)]
            for client in clients:
                ask(client, b"/")
            seen.update(read(client).body for client in clients)
        time.sleep(0.05)


def occupy(
    address: Address, pid: bytes, threads: int, kind: str, stack: contextlib.ExitStack
) -> tuple[list[Client], float]:
    """Put so many calls into the worker; return their connections and when the calls end."""
    inside: list[Client] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as news:
        news.bind(("127.0.0.1", 0))
        begin = time.monotonic()
        until = begin + CALL + 0.1 * threads
        path = f"/call/{int(pid)}/{until}/{kind}/{news.getsockname()[1]}".encode()
        for _ in range(TRIES):
            client = stack.enter_context(Client(address))
            ask(client, path)
            ready = select.select([news, client.socket], [], [], CALL)[0]
            if news in ready:
                news.recv(16)
                inside.append(client)
                if len(inside) == threads:
                    break
            elif ready:
                read(client)  # it stays open, so that the others get their share
            if until - time.monotonic() < CALL - 0.3:
                break
    if len(inside) < threads or until - time.monotonic() < CALL - 0.3:
        time.sleep(max(0.0, until - time.monotonic()))
        raise Again(f"{len(inside)} of {threads} threads were in calls in time")
    return inside, until


def waiting(
    addresses: list[Address], threads: int, kind: str, chance: random.Random, *, keep: bool
) -> tuple[dict[str, int], float]:
    """One round: how many of each set waited for the calls, and the slowest of the others in
    seconds. Raises Again, Malformed, OSError.
    """
    with contextlib.ExitStack() as stack:
        kept: dict[Address, list[Client]] = {address: [] for address in addresses}
        workers: dict[bytes, None] = {}
        for address in addresses:
            for _ in range(QUICK):
                client = stack.enter_context(Client(address))
                ask(client, b"/")
                workers[read(client).body] = None
                if keep:
                    kept[address].append(client)
                else:
                    client.socket.close()
        pid = chance.choice(list(workers))
        inside, until = occupy(addresses[0], pid, threads, kind, stack)
        plan = [(name, address)
                for address, names in zip(addresses, (SETS[:2], SETS[2:]), strict=False)
                for name in (names if keep else names[:1])]  # fmt: skip
        slowest = 0.0
        under_way: dict[int, Quick] = {}
        begin = time.monotonic()
        for number, (name, address) in enumerate(plan):
            slowest = max(slowest, receive(under_way, begin + number * SPACING))
            for place in range(QUICK):
                if name.startswith("kept"):
                    client = kept[address][place]
                else:
                    client = stack.enter_context(Client(address))
                under_way[client.socket.fileno()] = Quick(name, client, time.monotonic())
                ask(client, b"/")
        slowest = max(slowest, receive(under_way, until - MARGIN, wait=False))
        late = Counter(quick.name for quick in under_way.values())
        waited = {name: late[name] for name, _ in plan}
        for client in inside:
            if client.read().body != pid:
                raise Again("another worker was in the call")
        return waited, slowest


def receive(under_way: dict[int, Quick], until: float, *, wait: bool = True) -> float:
    """Read answers until then, or until all are there without `wait`; return what the slowest took.

    New connections are closed when they are answered, because some servers wait for that.
    """
    slowest = 0.0
    while (left := until - time.monotonic()) > 0 and (wait or under_way):
        for number in select.select(list(under_way), [], [], left)[0]:
            quick = under_way.pop(number)
            read(quick.client)
            slowest = max(slowest, time.monotonic() - quick.since)
            if quick.name.startswith("new"):
                quick.client.socket.close()
    return slowest


def run(job: Job) -> Found:
    """All rounds of a job."""
    found = Found()
    chance = random.Random(f"{job}")
    with contextlib.ExitStack() as stack:
        extra: tuple[str, ...] = ()
        try:
            if job.peer == peers.OURS:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fastwsgi-bench-"))
                extra = ("--bind", f"unix:{folder}/s")
            server = stack.enter_context(
                serve(peers.PEERS[job.peer], APP, workers=job.workers, threads=job.threads,
                      extra=extra)
            )  # fmt: skip
            addresses: list[Address] = [server.address, *(word[5:] for word in extra[1:])]
            settle(server, job.workers)
            keep = keeps(server.address)
            again = 0
            while len(found.waited.get("new", ())) < job.repeat:
                try:
                    waited, slowest = waiting(addresses, job.threads, job.kind, chance,
                                              keep=keep)  # fmt: skip
                except Again as error:
                    again += 1
                    if again > job.repeat + 5:
                        found.reason = str(error)
                        break
                    continue
                found.slowest = max(found.slowest, slowest * 1e3)
                for name, count in waited.items():
                    found.waited.setdefault(name, []).append(count)
        except (NotStarted, Malformed, OSError) as error:
            found.reason = str(error) or type(error).__name__
    return found


def jobs(chosen: Iterable[peers.Peer], workers: list[int], threads: list[int],
         repeat: int) -> list[Job]:  # fmt: skip
    """What is to be done, those that sleep first."""
    made = []
    for kind in KINDS:
        for peer in chosen:
            ours = peer.name == peers.OURS
            sizes = [(w, t) for w in workers for t in threads] if ours else OTHERS
            made += [Job(peer.name, w, t, kind, repeat if ours else min(repeat, OTHER_REPEAT))
                     for w, t in sizes if t == 1 or peer.threads]  # fmt: skip
    return made


def row(title: str, pair: dict[str, Found]) -> list[str]:
    """A line of the table."""
    cells = [title]
    for found in pair.values():
        closes = "new" in found.waited and "kept" not in found.waited
        for name in SETS:
            counts = found.waited.get(name, [])
            low, high = min(counts, default=0), max(counts, default=0)
            shown = f"{low} to {high}" if low != high else str(high)
            cells.append(shown if counts else "closes" if closes and name == "kept" else "")
    return [*cells, f"{max(found.slowest for found in pair.values()):.0f}"]


WAIT_HEAD = [
    "workers x threads",
    *(f"{said}: {name}" for said in ("sleeping", "computing") for name in SETS),
    "slowest of the others, ms",
]


def wait_table(made: list[Job]) -> tuple[list[list[str]], bool]:
    """The rows of the part `wait`, and whether one of ours has waited or could not be measured."""
    results: dict[Job, Found] = {}
    cores = len(os.sched_getaffinity(0))
    for kind, at_once in (("sleep", SLEEPING_AT_ONCE), ("compute", cores)):
        some = [job for job in made if job.kind == kind]
        with ProcessPoolExecutor(at_once) as pool:
            for job, found in zip(some, pool.map(run, some), strict=True):
                results[job] = found
                print(f"{job.peer} {job.workers} x {job.threads} {kind}: {found.waited} "
                      f"{found.slowest:.0f} ms {found.reason}", file=sys.stderr)  # fmt: skip
    rows, bad = [], False
    for job in (job for job in made if job.kind == KINDS[0]):
        pair = {kind: results[Job(job.peer, job.workers, job.threads, kind, job.repeat)]
                for kind in KINDS}  # fmt: skip
        if job.peer == peers.OURS:
            bad = bad or any(found.reason or any(map(any, found.waited.values()))
                             for found in pair.values())  # fmt: skip
        title = peers.PEERS[job.peer].title
        rows.append(row(f"{title}, {job.workers} x {job.threads}", pair))
    return rows, bad


def land(server: Server, workers: int, *, at_once: bool) -> list[int]:
    """The numbers of connections of the workers, largest first."""
    with contextlib.ExitStack() as stack:
        found: Counter[bytes] = Counter()
        asked = []
        for _ in range(CONNECTIONS):
            client = stack.enter_context(Client(server.address))
            ask(client, b"/")
            if at_once:
                asked.append(client)
            else:
                found[read(client).body] += 1
        for client in asked:
            found[read(client).body] += 1
        counts = sorted(found.values(), reverse=True)
        return counts + [0] * (workers - len(counts))


def spread_table(chosen: Iterable[peers.Peer], workers: list[int],
                 repeat: int) -> list[list[str]]:  # fmt: skip
    """The rows of the part `spread`: of all rounds the one that was spread least."""
    rows = []
    for peer in chosen:
        lines: dict[bool, list[str]] = {False: [], True: []}
        for number in workers:
            try:
                with serve(peer, APP, workers=number) as server:
                    settle(server, number)
                    for at_once, cells in lines.items():
                        rounds = [land(server, number, at_once=at_once) for _ in range(repeat)]
                        worst = max(rounds, key=lambda counts: counts[0] - counts[-1])
                        cells.append(", ".join(map(str, worst)))
            except (NotStarted, Malformed, OSError) as error:
                print(f"{peer.name}: {error}", file=sys.stderr)
                for cells in lines.values():
                    cells.append("fails")
        for at_once, cells in lines.items():
            rows.append([f"{peer.title}, {'at once' if at_once else 'one after another'}", *cells])
            print(publish.line(rows[-1]), flush=True)
    return rows


def main() -> int:
    """Print a table per part; 1 when a request of ours has waited."""
    parser = argparse.ArgumentParser(description="several workers")
    parser.add_argument("--servers", default=SERVERS, help=f"of {SERVERS}")
    parser.add_argument("--parts", default="spread,wait")
    parser.add_argument("--workers", default="2,4,8", help="of our server")
    parser.add_argument("--threads", default="1,2,4", help="of our server")
    parser.add_argument("--repeat", type=int, default=20, help="rounds of our server")
    parser.add_argument("--record", action="store_true", help="write them into docs/measured")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if unknown := set(parts) - {"spread", "wait"}:
        parser.error(f"no part called {', '.join(unknown)}; there are spread, wait")
    workers, threads = ([int(word) for word in words.split(",")]
                        for words in (arguments.workers, arguments.threads))  # fmt: skip
    machine.raise_descriptor_limit()
    chosen = peers.select(arguments.servers)
    failed = peers.install_all(chosen)
    chosen = [peer for peer in chosen if peer.workers and peer.name not in failed]
    bad = False
    if "spread" in parts:
        head = [f"{CONNECTIONS} kept connections land as",
                *(f"{number} workers" for number in workers)]  # fmt: skip
        print(publish.line(head), publish.rule(head), sep="\n", flush=True)
        rounds = min(5, arguments.repeat)
        rows = spread_table(chosen, workers, rounds)
        if arguments.record:
            publish.keep("workers-spread", "python -m bench.workers", head, rows,
                         f"One thread each; of {rounds} rounds the one that was spread least. "
                         "uWSGI and gunicorn's sync worker close each connection.")  # fmt: skip
    if "wait" in parts:
        rows, bad = wait_table(jobs(chosen, workers, threads, arguments.repeat))
        print(publish.line(WAIT_HEAD), publish.rule(WAIT_HEAD), sep="\n")
        print("\n".join(map(publish.line, rows)))
        if arguments.record:
            publish.keep("workers-wait", "python -m bench.workers", WAIT_HEAD, rows,
                         f"{arguments.repeat} rounds of fastwsgi, {OTHER_REPEAT} of the others; "
                         "the fewest and the most of a round.")  # fmt: skip
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
