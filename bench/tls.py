"""What TLS costs: `python -m bench.tls [--servers ...] [--parts ...] [--rounds N] [--out FILE]`.

One run answers everything that is promised about TLS, with the server on one core and the load on
another; rounds are interleaved, so that a slow minute of the machine hits all alike:

* hello       hello over 64 kept connections: CPU of a request, for ours and the canned server also
              without TLS
* handshakes  a connection with one request: CPU, with a full handshake and with a resumed one
* big         a body of 1 MB
* latency     p99 of hello on one kept connection, alone and while 500 full handshakes/s come
* idle        memory of 10,000 idle connections

TLS 1.3 with a P-256 certificate of its own. Nobody verifies it: that is the client's cost. The
client of the handshakes is tls_client.c, the yardstick canned_tls.c; nginx, which runs no
application, returns a constant and has its body of 1 MB in a file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import apps, idle, load, machine, peers, slow, verify
from bench.client import Malformed
from bench.pace import Pace
from bench.peers import OURS, PEERS, YARDSTICK, Launch, Peer
from bench.process import NotStarted, Server, serve
from bench.scenarios import SCENARIOS
from bench.threads import Verdict, ratio

PARTS = ("hello", "handshakes", "big", "latency", "idle")
PLAIN = ", plain"  #: behind the name of a server that is measured without TLS
CLIENT_THREADS = 8
BESIDE = 500  #: handshakes per second beside the kept connection
CONNECTIONS = 10_000  #: idle ones

Cores = tuple[set[int], set[int]]


# -- the servers ---------------------------------------------------------------------------------


class Certificate:
    """A certificate for localhost and its key, as files."""

    def __init__(self, folder: Path) -> None:
        self.chain = folder / "certificate.pem"
        self.key = folder / "key.pem"
        subprocess.run(
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-days", "30", "-subj", "/CN=localhost", "-addext",
                "subjectAltName=DNS:localhost", "-keyout", str(self.key), "-out", str(self.chain),
            ],
            check=True,
            capture_output=True,
        )  # fmt: skip


def context() -> ssl.SSLContext:
    """What our own clients need."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def _canned_program() -> Path:
    return machine.build("canned_tls.c", "-lssl", "-lcrypto")


def _nginx_program() -> Path:
    found = shutil.which("nginx")
    if found is None:
        raise machine.Missing("nginx is not on the path")
    return Path(found)


NGINX = """
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 40000;
pid {folder}/nginx-{port}.pid;
error_log stderr crit;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_timeout 75;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port} ssl backlog=2048;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ {answer} }}
    }}
}}
"""


def speakers(certificate: Certificate, folder: Path) -> dict[str, Peer]:
    """The servers with TLS, by name. Their environments are those of the comparison's peers."""
    chain, key = str(certificate.chain), str(certificate.key)

    def with_words(name: str, *words: str) -> Peer:
        peer = PEERS[name]

        def command(bin: Path, go: Launch) -> list[str]:
            return peer.command(bin, replace(go, extra=(*go.extra, *words)))

        return replace(peer, command=command)

    def canned(bin: Path, go: Launch) -> list[str]:
        return [str(_canned_program()), str(go.port), chain, key, str(go.body)]

    def uwsgi(bin: Path, go: Launch) -> list[str]:
        words = PEERS["uwsgi"].command(bin, go)
        at = words.index("--http-socket")
        address = f"{words[at + 1]},{chain},{key}"
        return [*words[:at], "--https", address, "--http-keepalive", *words[at + 2 :]]

    def nginx(bin: Path, go: Launch) -> list[str]:
        answer = f'return 200 "{apps.HELLO.decode()}";'
        if go.body != len(apps.HELLO):
            body = folder / f"body-{go.body}"
            body.write_bytes(b"m" * go.body)
            answer = f"root {folder}; try_files /{body.name} =404;"
        settings = folder / f"nginx-{go.port}.conf"
        settings.write_text(
            NGINX.format(folder=folder, port=go.port, chain=chain, key=key, answer=answer)
        )
        return [str(_nginx_program()), "-c", str(settings), "-p", str(folder)]

    gunicorn = ("--certfile", chain, "--keyfile", key)
    openssl = ("/usr/include/openssl/ssl.h", "cc")
    found = (
        Peer(YARDSTICK, "canned C server", canned, needs=openssl, program=_canned_program),
        with_words(OURS, *gunicorn),
        with_words("granian", "--ssl-certificate", chain, "--ssl-keyfile", key),
        replace(PEERS["uwsgi"], command=uwsgi, needs=openssl),
        with_words("gunicorn-gthread", *gunicorn),
        Peer("nginx", "nginx", nginx, needs=("nginx",), program=_nginx_program),
    )
    return {peer.name: peer for peer in found}


# -- one figure ----------------------------------------------------------------------------------


def client_program() -> Path:
    return machine.build("tls_client.c", "-lssl", "-lcrypto", "-pthread")


def _shake(server: Server, mode: str, seconds: float, *rate: str) -> list[str]:
    return [
        str(client_program()), str(server.port), mode, str(seconds), str(CLIENT_THREADS), *rate,
    ]  # fmt: skip


def kept(server: Server, row: str, seconds: float, cores: Cores) -> dict[str, float]:
    """A row of scenarios.py over 64 kept connections."""
    scheme = "https" if server.context else "http"
    load.wrk(SCENARIOS[row], server.address, 1.0, cores[1], scheme)
    before = server.cpu()
    seen = load.wrk(SCENARIOS[row], server.address, seconds, cores[1], scheme)
    used = server.cpu() - before
    if not seen.requests:
        raise Malformed(f"answered nothing under load: {seen.errors}")
    return {
        "cpu_us": round(used * 1e6 / seen.requests, 3),
        "per_second": round(seen.requests / seen.seconds, 1),
        "failures": seen.failures,
    }


def handshakes(server: Server, mode: str, seconds: float, cores: Cores) -> dict[str, float]:
    """Connections with one request each; every one is resumed, or none."""
    before = server.cpu()
    done = subprocess.run(_shake(server, mode, seconds), capture_output=True, text=True, check=True)
    used = server.cpu() - before
    seen = json.loads(done.stdout)
    if not seen["done"]:
        raise Malformed("no handshake came to an answer")
    # A thread has nothing to resume at first, and a server may rotate its keys once.
    resumed, firsts = seen["resumed"], 2 * CLIENT_THREADS
    if resumed if mode == "full" else resumed < seen["done"] - firsts:
        raise Malformed(f"{resumed} of {seen['done']} handshakes were resumed")
    return {
        "cpu_us": round(used * 1e6 / seen["done"], 2),
        "per_second": round(seen["done"] / seen["seconds"], 1),
        "failures": seen["failed"],
    }


def beside_handshakes(server: Server, seconds: float) -> dict[str, float]:
    """p99 of one polite client, alone and beside full handshakes at a steady rate."""
    _, alone = slow.polite(server)
    words = _shake(server, "full", seconds, str(BESIDE))
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as shaking:
        try:
            _, beside = slow.polite(server)
            early = shaking.poll() is not None
        finally:
            shaking.terminate()
    if early:
        raise Malformed("the handshakes ended before the client that was measured beside them")
    return {"p99_alone_ms": round(alone, 3), "p99_beside_ms": round(beside, 3)}


def idle_memory(server: Server) -> dict[str, float]:
    """What idle connections add to the server's memory."""
    opened, before, held = idle.measure(server, CONNECTIONS)
    if opened < CONNECTIONS:
        raise Malformed(f"kept only {opened} connections")
    return {"before_mb": round(before / 1e6, 1), "growth_mb": round((held - before) / 1e6, 1)}


# -- all figures ---------------------------------------------------------------------------------


@dataclass
class Cell:
    """One server in one row: its rounds, or the reason why there are none."""

    rounds: list[dict[str, float]] = field(default_factory=list)
    reason: str = ""

    def middle(self, figure: str) -> float | None:
        """The median over the rounds."""
        known = [one[figure] for one in self.rounds if figure in one]
        return round(statistics.median(known), 3) if known and not self.reason else None


@dataclass(frozen=True)
class Row:
    """One question to every server."""

    part: str
    name: str
    title: str
    ask: Callable[[Server, float, Cores], dict[str, float]]
    figures: tuple[str, ...]
    scenario: str = "hello"
    once: bool = False  #: in the first round only
    plain: bool = False  #: also to ours and to the canned server without TLS


ROWS = (
    Row("hello", "hello", "hello, 64 kept connections", lambda server, seconds, cores: kept(
        server, "hello", seconds, cores), ("cpu_us", "per_second"), plain=True),
    Row("handshakes", "full", "full handshake and a request", lambda server, seconds, cores:
        handshakes(server, "full", seconds, cores), ("cpu_us", "per_second")),
    Row("handshakes", "resume", "resumed handshake and a request", lambda server, seconds, cores:
        handshakes(server, "resume", seconds, cores), ("cpu_us", "per_second")),
    Row("big", "megabyte", "1 MB of bytes", lambda server, seconds, cores: kept(
        server, "megabyte", seconds, cores), ("cpu_us", "per_second"), scenario="megabyte"),
    Row("latency", "latency", f"hello beside {BESIDE} handshakes/s", lambda server, seconds, cores:
        beside_handshakes(server, 60.0), ("p99_alone_ms", "p99_beside_ms")),
    Row("idle", "idle", f"{CONNECTIONS:,} idle connections", lambda server, seconds, cores:
        idle_memory(server), ("before_mb", "growth_mb"), once=True),
)  # fmt: skip

Cells = dict[tuple[str, str], Cell]


def measure(row: Row, peer: Peer, cell: Cell, seconds: float, cores: Cores, *, tls: bool) -> None:
    """One round of one server in one row, added to the cell."""
    scenario = SCENARIOS[row.scenario]
    extra = idle.EXTRA.get(peer.name, ()) if row.part == "idle" else ()
    try:
        with serve(
            peer, scenario.app, body=scenario.reply, extra=extra, cpus=cores[0],
            context=context() if tls else None,
        ) as server:  # fmt: skip
            if not cell.rounds:
                cell.reason = "" if peer.name == "nginx" else verify.check(server, scenario)
                if cell.reason:
                    return
            cell.rounds.append(row.ask(server, seconds, cores))
    except (NotStarted, Malformed, RuntimeError, OSError, subprocess.SubprocessError) as error:
        cell.reason = f"{error}"


def run(
    rows: list[Row],
    chosen: list[Peer],
    failed: dict[str, str],
    rounds: int,
    seconds: float,
    cores: Cores,
) -> Cells:
    """Measure everything, rounds interleaved."""
    cells: Cells = {}
    pace = Pace(cores[0] | cores[1])
    for number in range(rounds):
        for row in rows:
            if row.once and number:
                continue
            order = [(peer, True) for peer in chosen[number % len(chosen) :]]
            order += [(peer, True) for peer in chosen[: number % len(chosen)]]
            if row.plain:
                order += [(PEERS[peer.name], False) for peer in chosen
                          if peer.name in (OURS, YARDSTICK)]  # fmt: skip
            for peer, tls in order:
                name = peer.name + ("" if tls else PLAIN)
                cell = cells.setdefault((row.name, name), Cell(reason=failed.get(peer.name, "")))
                if not cell.reason:
                    pace.settled()
                    measure(row, peer, cell, seconds, cores, tls=tls)
                last = cell.reason or cell.rounds[-1]
                print(f"{number + 1}/{rounds} {row.name:9} {name:17} {last}", file=sys.stderr,
                      flush=True)  # fmt: skip
    return cells


def judge(cells: Cells, parts: list[str]) -> list[Verdict]:
    """What the server has to show."""

    def of(row: str, name: str, figure: str = "cpu_us") -> float | None:
        cell = cells.get((row, name))
        return cell.middle(figure) if cell else None

    found = []
    if "hello" in parts:
        tls, plain = of("hello", OURS), of("hello", OURS + PLAIN)
        dearer = None if tls is None or plain is None else round(tls - plain, 3)
        found.append(Verdict("hello: TLS over plain", dearer, 2.2, "us", note=f"{tls}, {plain} us"))
        for name, most in (("granian", 0.7), (YARDSTICK, 1.25)):
            theirs = of("hello", name)
            found.append(Verdict(f"hello: CPU over {name}'s", ratio(tls, theirs), most, "",
                                 note=f"{tls}, {theirs} us"))  # fmt: skip
    if "handshakes" in parts:
        for row in ("full", "resume"):
            mine, theirs = of(row, OURS), of(row, YARDSTICK)
            found.append(Verdict(f"{row} handshakes: CPU over {YARDSTICK}'s", ratio(mine, theirs),
                                 1.1, "", note=f"{mine}, {theirs} us"))  # fmt: skip
    if "big" in parts:
        others = {name: cell.middle("cpu_us") for (row, name), cell in cells.items()
                  if row == "megabyte" and name not in (OURS, YARDSTICK)}  # fmt: skip
        known = {name: figure for name, figure in others.items() if figure is not None}
        best = min(known, key=known.__getitem__, default="")
        mine = of("megabyte", OURS)
        found.append(Verdict("1 MB: CPU over the best peer's", ratio(mine, known.get(best)), 1.0,
                             "", note=f"{mine}, {best} {known.get(best)} us"))  # fmt: skip
    if "latency" in parts:
        alone, beside = of("latency", OURS, "p99_alone_ms"), of("latency", OURS, "p99_beside_ms")
        rise = None if alone is None or beside is None else round(beside - alone, 3)
        found.append(Verdict(f"p99 of hello rises beside {BESIDE} handshakes/s by", rise, 3.0, "ms",
                             note=f"from {alone} ms"))  # fmt: skip
    if "idle" in parts:
        growth = of("idle", OURS, "growth_mb")
        found.append(Verdict(f"{CONNECTIONS:,} idle connections add", growth, 120, "MB"))
    return found


def tables(rows: list[Row], cells: Cells, chosen: dict[str, Peer]) -> list[str]:
    """A table per row: its figures, or the reason why a server has none."""
    out = []
    for row in rows:
        out += ["", f"| {row.title} | " + " | ".join(row.figures) + " |",
                "|---" * (len(row.figures) + 1) + "|"]  # fmt: skip
        for (name, server), cell in cells.items():
            if name != row.name:
                continue
            bare = server.removesuffix(PLAIN)
            title = chosen[bare].title + server[len(bare) :]
            shown = " | ".join(str(cell.middle(figure)) for figure in row.figures)
            out.append(f"| {title} | {cell.reason or shown} |")
    return out


def main() -> int:
    """Measure, print what was asked and found, write JSON; 1 when a goal was missed."""
    with tempfile.TemporaryDirectory(prefix="fastwsgi-bench-") as place:
        folder = Path(place)
        parser = argparse.ArgumentParser(description="what TLS costs")
        parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
        parser.add_argument("--servers", help="of canned, fastwsgi, granian, uwsgi, "
                            "gunicorn-gthread, nginx; all of them")  # fmt: skip
        parser.add_argument("--rounds", type=int, default=3)
        parser.add_argument("--seconds", type=float, default=4, help="of load per cell and round")
        parser.add_argument("--out", type=Path, help="file for the figures, as JSON")
        parser.add_argument("--server-cores", type=machine.parse_cores)
        parser.add_argument("--client-cores", type=machine.parse_cores)
        arguments = parser.parse_args()
        parts = arguments.parts.split(",")
        if unknown := set(parts) - set(PARTS):
            parser.error(f"no part called {', '.join(unknown)}; there are {', '.join(PARTS)}")
        machine.ensure("wrk", "openssl", "cc", "/usr/include/openssl/ssl.h")
        most = machine.raise_descriptor_limit() - idle.SPARE_DESCRIPTORS
        if "idle" in parts and most < CONNECTIONS:
            parser.error(f"the descriptor limit allows {most} connections, not {CONNECTIONS}")
        client_program()
        known = speakers(Certificate(folder), folder)
        names = arguments.servers.split(",") if arguments.servers else list(known)
        if missing := set(names) - set(known):
            parser.error(f"no server called {', '.join(missing)}; there are {', '.join(known)}")
        standard = machine.cores()
        cores = (arguments.server_cores or standard[0], arguments.client_cores or standard[1])
        chosen = [peer for peer in known.values() if peer.name in names]
        failed = peers.install_all(chosen)
        description: dict[str, Any] = machine.describe() | {"openssl": ssl.OPENSSL_VERSION}
        machine.pin(cores[1])
        rows = [row for row in ROWS if row.part in parts]
        cells = run(rows, chosen, failed, arguments.rounds, arguments.seconds, cores)
        verdicts = judge(cells, parts)
        print("| question | goal | measured | met | |\n|---|---|---|---|---|")
        for verdict in verdicts:
            print(verdict.line())
        print(*tables(rows, cells, known), sep="\n")
        if arguments.out:
            document = {
                "machine": description,
                "versions": {peer.name: peers.version(peer) for peer in chosen
                             if peer.name not in failed},
                "goals": [asdict(verdict) | {"met": verdict.met} for verdict in verdicts],
                "cells": {f"{row} {name}": asdict(cell) for (row, name), cell in cells.items()},
            }  # fmt: skip
            arguments.out.write_text(json.dumps(document, indent=1) + "\n")
    return int(any(verdict.met is not True for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
