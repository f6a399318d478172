"""A rolling deployment over three hosts: `make fleet`, or `python -m bench.fleet [--json FILE]`.

The hosts are network namespaces of this machine, so it needs root, Linux and HAProxy. In front of
them stands examples/haproxy.cfg with three servers; 200 clients ask without end. Then

1. host one gets the new release: TERM, which drains it, and a new start;
2. host two is on its way there, and host three is switched off;
3. host two is ready, and host three comes back with the new release.

A request may fail only if it was sent to the killed host, and is one that must not be sent twice
(POST). No order is made twice or lost. The exit status is 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.fleet_app import SLOW
from fastwsgi.testing import Process, environment

ROOT = Path(__file__).resolve().parent.parent
HOSTS = ("one", "two", "three")
CLIENTS = 200
ENOUGH = 600  #: answers that a step waits for
GUARD = 120.0  #: seconds that a step may take
BALANCER = f"fleet{os.getpid()}-lb"


def ip(*words: str) -> str:
    """What ip(8) says."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr}")
    return done.stdout


class Host:
    """A network namespace with a cable to the balancer, and the server in it."""

    def __init__(self, number: int, name: str, place: Path) -> None:
        self.name, self.place = name, place / name
        self.namespace = f"fleet{os.getpid()}-{number}"
        self.cable = f"to{number}"
        self.address = f"10.83.{number}.2"
        self._gateway = f"10.83.{number}.1/24"
        self.server: Process | None = None
        self.killed = self.missed = 0.0  # when it was killed, and when HAProxy knew it
        self.record = place / f"{name}.record"
        self.place.mkdir()

    def open(self) -> None:
        """Make the namespace and its cable."""
        ip("netns", "add", self.namespace)
        ip("link", "add", self.cable, "netns", BALANCER, "type", "veth", "peer", "name", "eth0",
           "netns", self.namespace)
        ip("-n", BALANCER, "addr", "add", self._gateway, "dev", self.cable)
        ip("-n", BALANCER, "link", "set", self.cable, "up")
        ip("-n", self.namespace, "link", "set", "lo", "up")
        self.connect()

    def connect(self) -> None:
        """Let it have its address."""
        ip("-n", self.namespace, "addr", "replace", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.namespace, "link", "set", "eth0", "up")

    def deploy(self, release: str) -> None:
        """Lay the code of a release on the host."""
        (self.place / "shop.py").write_text(
            f"from bench.fleet_app import make_app\n\napplication = make_app({release!r})\n")

    def start(self) -> None:
        """Start the server, and return when it is ready."""
        popen = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, sys.executable, "-m", "fastwsgi",
             "--bind", f"{self.address}:8000", "--workers", "2", "--threads", "16",
             "--health-path", "/healthz", "--drain-delay", "6", "shop:application"],
            cwd=self.place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=environment({
                "FLEET_HOST": self.name, "FLEET_RECORD": str(self.record),
                "PYTHONDONTWRITEBYTECODE": "1"}))
        self.server = Process(popen)
        self.server._start()

    def stop(self) -> None:
        """Drain the server and wait for its end."""
        assert self.server is not None
        code = self.server.terminate(GUARD)
        output = self.server.output()
        if code or "Traceback" in output:
            raise RuntimeError(f"host {self.name} ended with {code}:\n{output}")
        self.server = None

    def kill(self) -> None:
        """Switch it off: packets get no answer from here on, not even that the end has come."""
        self.killed = time.time()
        ip("-n", self.namespace, "addr", "flush", "dev", "eth0")
        self._kill_processes()
        if self.server is not None:
            self.server.wait(GUARD)
            self.server = None

    def _kill_processes(self) -> None:
        for pid in ip("netns", "pids", self.namespace).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def close(self) -> None:
        """End all of it."""
        with contextlib.suppress(RuntimeError):
            self.kill()
        with contextlib.suppress(RuntimeError):
            ip("netns", "del", self.namespace)


def configuration(hosts: list[Host]) -> str:
    """examples/haproxy.cfg with our servers, and a log."""
    text = (ROOT / "examples" / "haproxy.cfg").read_text("utf-8")
    servers = "\n    ".join(f"server {host.name} {host.address}:8000 tcp-ut 2s" for host in hosts)
    for old, new in {
        "server one 127.0.0.1:8000 tcp-ut 2s": servers,
        "server two 192.0.2.2:8000 tcp-ut 2s backup": "",
        "bind :80": "bind 127.0.0.1:8080",
        "mode http": "mode http\n    log stdout format raw local0\n    option log-health-checks",
    }.items():
        assert old in text, f"haproxy.cfg has no {old!r}"
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[Process]:
    """A program in the namespace of the balancer."""
    popen = subprocess.Popen(
        ["ip", "netns", "exec", BALANCER, *command], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, env=environment({}), **options)
    process = Process(popen)
    try:
        yield process
    finally:
        process._end()


class Clients:
    """The clients, and what they say."""

    def __init__(self, process: Process, popen_stdin: Any) -> None:
        self._process = process
        self._stdin = popen_stdin

    def told(self) -> dict[str, Any]:
        """The last whole line."""
        lines = self._process.output().splitlines()
        return dict(json.loads(lines[-1])) if lines else {"releases": {}, "hosts": {}, "failed": 0}

    def go_on(self, what: str, key: str, name: str) -> None:
        """Return when so many more answers have come from a release or a host."""
        before = self.told()[key].get(name, 0)
        end = time.monotonic() + GUARD
        while (now := self.told())[key].get(name, 0) < before + ENOUGH:
            if time.monotonic() > end:
                raise RuntimeError(f"no answers of {key} {name} {what}: {now}")
            time.sleep(0.1)
        print(f"{what}: {now['releases']} answers by release, {now['failed']} failed", flush=True)

    def end(self) -> dict[str, Any]:
        """Stop them; all that they have to say."""
        self._stdin.close()
        self._process.wait(GUARD)
        return self.told()


def deploy(hosts: list[Host], balancer: Process, clients: Clients) -> None:
    """The deployment, and the accident in the middle of it."""
    one, two, three = hosts
    clients.go_on("before", "releases", "1")
    replace(one, balancer, 1)
    clients.go_on("host one has the new release", "hosts", "one")
    two.deploy("2")
    assert two.server is not None
    two.server.signal(signal.SIGTERM)
    balancer.wait_for(r"Server shop/two is DOWN", timeout=GUARD)
    three.kill()
    balancer.wait_for(r"Server shop/three is DOWN", timeout=GUARD)
    three.missed = time.time()
    print("host three is killed while host two drains", flush=True)
    two.stop()
    two.start()
    balancer.wait_for(r"Server shop/two is UP", timeout=GUARD)
    clients.go_on("host two has the new release", "hosts", "two")
    three.connect()
    three.deploy("2")
    three.start()
    balancer.wait_for(r"Server shop/three is UP", timeout=GUARD)
    clients.go_on("host three is back", "hosts", "three")


def replace(host: Host, balancer: Process, count: int) -> None:
    """Give a host the new release."""
    host.deploy("2")
    host.stop()
    host.start()
    balancer.wait_for(rf"Server shop/{host.name} is UP", count=count, timeout=GUARD)


def judged(result: dict[str, Any], hosts: list[Host]) -> list[str]:
    """What must not be: requests that failed elsewhere, and orders made twice or lost.

    HAProxy ends the connection of a request that it can neither answer nor send again, and logs
    none of it. So a request was sent to the killed host if it was asked before HAProxy knew, and no
    other host has seen it.
    """
    records = {host.name: [line.split() for line in host.record.read_text().splitlines()]
               for host in hosts}
    (killed,) = (host for host in hosts if host.killed)
    elsewhere = {name for host, lines in records.items() if host != killed.name
                 for _, name in lines}
    faults = []
    for failure in result["failures"]:
        in_time = killed.killed - SLOW - 1 < failure["at"] < killed.missed
        if failure["method"] != "POST" or not in_time or failure["name"] in elsewhere:
            faults.append(f"{failure}")
    orders = Counter(name for lines in records.values() for kind, name in lines if kind == "order")
    faults += [f"order {name} was made {count} times" for name, count in orders.items()
               if count > 1]
    faults += [f"order {name} was answered and not made" for name in result["orders"]
               if not orders[name]]
    return faults


@contextlib.contextmanager
def fleet(place: Path) -> Iterator[list[Host]]:
    """The hosts with the first release, and the balancer's namespace."""
    hosts = [Host(number, name, place) for number, name in enumerate(HOSTS, 1)]
    ip("netns", "add", BALANCER)
    try:
        ip("-n", BALANCER, "link", "set", "lo", "up")
        for host in hosts:
            host.open()
            host.deploy("1")
            host.start()
        yield hosts
    finally:
        for host in hosts:
            host.close()
        ip("netns", "del", BALANCER)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the figures go")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if os.geteuid() or not sys.platform.startswith("linux"):
        print("network namespaces need root, and Linux", file=sys.stderr)
        return 2
    load = [sys.executable, "-m", "bench.fleet_load", "127.0.0.1", "8080", str(CLIENTS)]
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder, fleet(Path(folder)) as hosts:
        path = Path(folder) / "haproxy.cfg"
        path.write_text(configuration(hosts))
        with running(["haproxy", "-db", "-f", str(path)]) as balancer:
            for host in hosts:
                balancer.wait_for(f"Health check for server shop/{host.name} succeeded",
                                  timeout=GUARD)
            with running(load, stdin=subprocess.PIPE) as asking:
                clients = Clients(asking, asking._popen.stdin)
                deploy(hosts, balancer, clients)
                result = clients.end()
            faults = judged(result, hosts)
    figures = {"clients": CLIENTS, "answers": sum(result["releases"].values()),
               "releases": result["releases"], "hosts": result["hosts"],
               "orders": len(result["orders"]), "slowest_seconds": round(result["slowest"], 1),
               "failed_in_the_killed_host": len(result["failures"]) - len(
                   [fault for fault in faults if fault.startswith("{")]), "faults": len(faults)}
    print(json.dumps(figures, indent=1))
    for fault in faults:
        print("fault:", fault)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
