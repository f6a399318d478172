"""Checks a server's bytes before its speed counts.

    python -m bench.verify [--servers a,b] [--only scenario,...]

A server that answers wrongly is fast for the wrong reason, so run.py measures a row only after the
row's check has passed here. `traits` asks what a row's comparison depends on: does it stream, close
iterables, keep connections.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import apps, machine, peers
from bench.client import Malformed, Response
from bench.process import NotStarted, Server, serve
from bench.scenarios import Scenario, applies, select


class Wrong(Exception):
    """The server's answer is not the one the row asks for."""


def _expect(response: Response, body: bytes, *, status: int = 200) -> None:
    if response.status != status:
        raise Wrong(f"status {response.status} instead of {status}")
    if response.body != body:
        raise Wrong(f"{len(response.body)} bytes of body where {len(body)} others were due")


def _hello(server: Server, row: Scenario) -> None:
    """Three requests, on one connection as long as the server keeps it."""
    client = server.client()
    for number in range(3):
        try:
            client.send(row.request(number))
            response = client.read()
        except (Malformed, OSError):
            if number == 0:
                raise
            client.socket.close()  # ended after the response before, said or unsaid
            client = server.client()
            client.send(row.request(number))
            response = client.read()
        _expect(response, apps.HELLO)
    client.socket.close()


def _echo(server: Server, row: Scenario) -> None:
    for _ in range(2):
        with server.client() as client:
            client.send(row.request())
            expected = row.payload() if server.peer.name != peers.YARDSTICK else b"x" * row.reply
            _expect(client.read(), expected)


def _stream(server: Server, row: Scenario) -> None:
    with server.client() as client:
        client.send(row.request())
        _expect(client.read(), apps.BLOCK * apps.BLOCKS)


def _megabyte(server: Server, row: Scenario) -> None:
    for _ in range(2):
        with server.client() as client:
            client.send(row.request())
            _expect(
                client.read(), (b"x" if server.peer.name == peers.YARDSTICK else b"m") * row.reply
            )


def _close(server: Server, row: Scenario) -> None:
    with server.client() as client:
        client.send(row.request())
        _expect(client.read(), apps.HELLO)
        if not client.ended():
            raise Wrong("connection stays open after Connection: close")


def _pipelined(server: Server, row: Scenario) -> None:
    """All of the requests at once; then the answers, counted."""
    for _attempt in range(3):
        with server.client(2.0) as client:
            client.send(b"".join(row.request(number) for number in range(row.pipeline)))
            for number in range(row.pipeline):
                try:
                    response = client.read()
                except Malformed as error:
                    raise Wrong(
                        f"{number} of {row.pipeline} pipelined requests answered: {error}"
                    ) from None
                _expect(response, apps.HELLO)
                if response.closes and number + 1 < row.pipeline:
                    raise Wrong(
                        f"{number + 1} of {row.pipeline} pipelined requests answered, then closed"
                    )


CHECKS: dict[str, Callable[[Server, Scenario], None]] = {
    "hello": _hello,
    "echo": _echo,
    "stream": _stream,
    "megabyte": _megabyte,
    "close": _close,
    "pipelined": _pipelined,
}


def check(server: Server, row: Scenario) -> str:
    """The row's check on a running server: empty when it passes, else the reason in words."""
    try:
        CHECKS[row.check](server, row)
    except (Wrong, Malformed) as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    if not server.alive():
        return f"the server ended: {server.last_words()}"
    return ""


@dataclass
class Traits:
    """What a comparison has to know about a server; None = could not be asked."""

    keepalive: bool | None = None
    streams: bool | None = None
    closes: bool | None = None
    ordered: bool | None = None

    def has(self, need: str) -> bool:
        """Whether it may count as a peer in a row that needs this."""
        return not need or bool(getattr(self, need))


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def _asks_keepalive(server: Server) -> bool:
    with server.client() as client:
        client.send(_get("/one"))
        if client.read().closes:
            return False
        client.send(_get("/two"))
        return client.read().body == b"/two"


def _asks_streams(server: Server) -> bool:
    with server.client() as client:
        client.send(_get("/drip"))
        while b"drip" not in client.buffer and client.more():
            pass
        first = time.monotonic()
        if client.read().body != b"drip" * 3:
            return False
        return time.monotonic() - first > 0.15


def _asks_closes(server: Server) -> bool:
    bodies = []
    for path in ("/closed", "/closing", "/closed"):
        with server.client() as client:
            client.send(_get(path))
            bodies.append(client.read().body)
    return int(bodies[2]) == int(bodies[0]) + 1


def _asks_ordered(server: Server) -> bool:
    paths = [f"/{number}" for number in range(16)]
    with server.client(2.0) as client:
        client.send(b"".join(_get(path) for path in paths))
        return [client.read().body.decode() for _ in paths] == paths


def traits(peer: peers.Peer, cpus: set[int] | None = None) -> Traits:
    """Ask a server of its own (so that one that crashes on a question can answer the others)."""
    found = Traits()
    asks = {
        "keepalive": _asks_keepalive,
        "streams": _asks_streams,
        "closes": _asks_closes,
        "ordered": _asks_ordered,
    }
    if peer.name == peers.YARDSTICK:
        return Traits(keepalive=True, ordered=True)
    for name, ask in asks.items():
        try:
            with serve(peer, "bench.apps:probe", cpus=cpus) as server:
                setattr(found, name, ask(server))
        except (Malformed, OSError, ValueError):
            setattr(found, name, False)
        except NotStarted:
            continue
    return found


def main() -> int:
    """Check the chosen servers and rows, a line for each; 1 when ours fails anywhere."""
    parser = argparse.ArgumentParser(description="check the servers' bytes")
    parser.add_argument("--servers", help="comma-separated names")
    parser.add_argument("--only", help="comma-separated scenarios")
    arguments = parser.parse_args()
    machine.raise_descriptor_limit()
    chosen = peers.select(arguments.servers)
    failed = peers.install_all(chosen)
    bad = False
    for peer in chosen:
        if peer.name in failed:
            continue
        print(f"{peer.name:18} {traits(peer)}", flush=True)
        for row in select(arguments.only):
            if applies(row, peer.name, peer.threads):
                continue
            extra = row.extra if peer.name == peers.OURS else ()
            try:
                with serve(
                    peer, row.app, threads=row.threads, extra=extra, body=row.reply
                ) as server:
                    reason = check(server, row)
            except NotStarted as error:
                reason = str(error)
            print(f"{peer.name:18} {row.name:16} {reason or 'ok'}", flush=True)
            bad = bad or (bool(reason) and peer.name == peers.OURS)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
