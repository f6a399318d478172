"""Real proxies in front of a server, each with the configuration of examples/ that it ships with.

Rule: what is tested is the example. Only addresses are put in place of its own, and around it
stands what lets the proxy run without privileges in a directory of its own. Where the proxy can
inherit a listening socket, it gets one; Apache gets a port that the test holds until it listens.
Nothing waits for a start but by reading what the proxy says.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from apps import ROOT, TESTS
from apps.client import TIMEOUT, Address
from apps.ports import reserved
from fastwsgi.testing import Process, spawn

PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
_ENVIRON = {name: value for name, value in os.environ.items()
            if name != "LD_PRELOAD"}  # what the suite itself is preloaded with
MODULES = Path("/usr/lib/apache2/modules")
SETTINGS = ("--workers", "2", "--threads", "4", "--health-path", "/healthz")


def missing(program: str) -> bool:
    """Whether a test of this proxy is skipped: it is part of the platform, but not of CI's."""
    return shutil.which(program, path=PATH) is None and not os.environ.get("CI")


@contextlib.contextmanager
def home() -> Iterator[Path]:
    """A directory of the account that proxies run as."""
    with tempfile.TemporaryDirectory(prefix="fastwsgi-front-") as name:
        if os.getuid() == 0:
            shutil.chown(name, "nobody")
        os.chmod(name, 0o755)  # a proxy comes to the server's socket in it
        yield Path(name)


def example(name: str, changes: Mapping[str, str]) -> str:
    """An example with other words in place of some of its own, each of which it must have."""
    text = (ROOT / "examples" / name).read_text("utf-8")
    for old, new in changes.items():
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    return text


class Said:
    """What a program has written to its stderr; each line is read as it comes."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._popen.stderr is not None
        for line in self._popen.stderr:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def text(self) -> str:
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, pattern: str) -> None:
        """Return once a line matches; RuntimeError if the program ends before."""

        def found() -> bool:
            return re.search(pattern, "".join(self._lines)) is not None

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, TIMEOUT)
            if not found():
                raise RuntimeError(f"no {pattern!r} in:\n" + "".join(self._lines))

    def end(self) -> str:
        self._thread.join(TIMEOUT)
        return self.text()


@contextlib.contextmanager
def running(
    place: Path, *command: str | Path, inherits: socket.socket | None = None, ready: str = "",
    env: Mapping[str, str] | None = None,
) -> Iterator[Said]:
    """A proxy in the foreground, as an account without privileges, ready to be asked."""
    account = {"user": "nobody", "group": "nogroup", "extra_groups": []} if not os.getuid() else {}
    reading, writing = os.pipe()
    if account:
        shutil.chown(f"/dev/fd/{writing}", "nobody")  # Apache opens /dev/stderr by its name
    popen = subprocess.Popen(
        [shutil.which(str(command[0]), path=PATH) or str(command[0]), *map(str, command[1:])],
        cwd=place, env={**_ENVIRON, "PATH": PATH, "HOME": str(place), **(env or {})},
        stdin=subprocess.DEVNULL, stdout=writing, stderr=writing,
        pass_fds=[] if inherits is None else [inherits.fileno()], **account)  # type: ignore[call-overload]
    os.close(writing)
    popen.stderr = open(reading, encoding="utf-8", errors="replace")  # noqa: SIM115
    said = Said(popen)
    if inherits is not None:
        inherits.close()  # from here on a connection succeeds only while the proxy lives
    try:
        if ready:
            said.wait_for(ready)
        yield said
    finally:
        popen.terminate()
        try:
            popen.wait(TIMEOUT)
        finally:
            popen.kill()
            popen.wait()
            said.end()
            popen.stderr.close()


def place_of(server: Process) -> str:
    """The address of a server as proxies write it."""
    if isinstance(server.address, str):
        return f"unix:{server.address}"
    return f"{server.host}:{server.port}"


# ---- the proxies ----

NGINX = """\
daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log stderr error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {home}/client_body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    {example}
}}
"""


@contextlib.contextmanager
def _nginx(place: Path, server: Process, name: str, upstream: str) -> Iterator[Address]:
    shutil.copy("/etc/nginx/uwsgi_params", place)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        address = listener.getsockname()
        text = example(name, {upstream: place_of(server), "listen 80": f"listen {address[1]}"})
        text = text.replace(f"listen {address[1]}", f"listen 127.0.0.1:{address[1]}")
        (place / "nginx.conf").write_text(NGINX.format(home=place, example=text))
        # NGINX: how nginx hands its sockets to its successor; here we are the predecessor.
        with running(place, "nginx", "-p", place, "-e", "stderr", "-c", place / "nginx.conf",
                     inherits=listener, env={"NGINX": f"{listener.fileno()};"}) as said:
            yield address
        assert not re.search(r"\[(emerg|crit|error)\]", said.text()), said.text()


@contextlib.contextmanager
def nginx(place: Path, server: Process) -> Iterator[Address]:
    """nginx with kept connections over HTTP."""
    with _nginx(place, server, "nginx.conf", "127.0.0.1:8000") as address:
        yield address


@contextlib.contextmanager
def nginx_uwsgi(place: Path, server: Process) -> Iterator[Address]:
    """nginx with uwsgi_pass."""
    with _nginx(place, server, "nginx-uwsgi.conf", "127.0.0.1:3031") as address:
        yield address


@contextlib.contextmanager
def haproxy_said(
    place: Path, server: Process, options: str = "",
) -> Iterator[tuple[Address, Said]]:
    """HAProxy, once its first health check has found the server, and what it says.

    ``options`` are for the server's line.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        address = listener.getsockname()
        text = example("haproxy.cfg", {
            "bind :80": f"bind fd@{listener.fileno()}",
            "127.0.0.1:8000": f"{place_of(server)} {options}",
            "server two 192.0.2.2:8000 tcp-ut 2s backup": "", "inter 2s": "inter 100ms",
            "mode http": "mode http\n    log stderr local0\n    option log-health-checks"})
        (place / "haproxy.cfg").write_text(text)
        with running(place, "haproxy", "-db", "-f", place / "haproxy.cfg", inherits=listener,
                     ready="Health check for server shop/one succeeded") as said:
            yield address, said


@contextlib.contextmanager
def haproxy(place: Path, server: Process) -> Iterator[Address]:
    """HAProxy, once its first health check has found the server."""
    with haproxy_said(place, server) as (address, _):
        yield address


APACHE = """\
ServerRoot {home}
ServerName localhost
PidFile {home}/httpd.pid
DefaultRuntimeDir {home}
Mutex file:{home}
Listen 127.0.0.1:{port}
ErrorLog /dev/stderr
LogLevel warn mpm_event:notice
ServerSignature On
StartServers 1
{modules}
{example}
"""


@contextlib.contextmanager
def _apache(place: Path, server: Process, name: str, backend: str) -> Iterator[Address]:
    modules = ("mpm_event", "authz_core", "env", "setenvif", "headers", "proxy", "proxy_http",
               "proxy_uwsgi")
    with reserved() as address:
        text = example(name, {backend: place_of(server), "*:80": f"*:{address[1]}"})
        (place / "httpd.conf").write_text(APACHE.format(
            home=place, port=address[1], example=text, modules="\n".join(
                f"LoadModule {module}_module {MODULES}/mod_{module}.so" for module in modules)))
        with running(place, "apache2", "-DFOREGROUND", "-f", place / "httpd.conf",
                     ready="resuming normal operations") as said:
            yield address
        assert not re.search(r"\[proxy\w*:error\]", said.text()), said.text()


@contextlib.contextmanager
def apache(place: Path, server: Process) -> Iterator[Address]:
    """Apache with mod_proxy_http."""
    with _apache(place, server, "apache.conf", "127.0.0.1:8000") as address:
        yield address


@contextlib.contextmanager
def apache_uwsgi(place: Path, server: Process) -> Iterator[Address]:
    """Apache with mod_proxy_uwsgi."""
    with _apache(place, server, "apache-uwsgi.conf", "127.0.0.1:3031") as address:
        yield address


@contextlib.contextmanager
def caddy(place: Path, server: Process) -> Iterator[Address]:
    """Caddy, on a unix socket, which needs no port."""
    path = place / "caddy.sock"
    text = example("Caddyfile", {
        ":80 {": f"http://test {{\n\tbind unix/{path}", "127.0.0.1:8000": place_of(server)})
    (place / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text)
    with running(place, "caddy", "run", "--adapter", "caddyfile", "--config", place / "Caddyfile",
                 ready="serving initial configuration"):
        yield str(path)


Front = Callable[[Path, Process], contextlib.AbstractContextManager[Address]]

FRONTS: dict[str, tuple[Front, str, str, bool]] = {
    "nginx": (nginx, "nginx", "http", False),
    "nginx, unix": (nginx, "nginx", "http", True),
    "nginx, uwsgi": (nginx_uwsgi, "nginx", "uwsgi", False),
    "nginx, uwsgi, unix": (nginx_uwsgi, "nginx", "uwsgi", True),
    "haproxy": (haproxy, "haproxy", "http", False),
    "apache": (apache, "apache2", "http", False),
    "apache, uwsgi": (apache_uwsgi, "apache2", "uwsgi", False),
    "caddy": (caddy, "caddy", "http", False),
}
"""Each proxy, its program, what it speaks to the server, and whether over a unix socket."""


@contextlib.contextmanager
def before(name: str) -> Iterator[tuple[Address, Process]]:
    """A proxy before a server: the address to ask, and the server."""
    front, program, protocol, unix = FRONTS[name]
    if missing(program):
        pytest.skip(f"{program} is not installed")
    with home() as place:
        bind = f"unix:{place}/app.sock" if unix else "127.0.0.1:0"
        with (
            spawn("--bind", bind, "--protocol", protocol, *SETTINGS, "apps.proxied:app",
                  cwd=TESTS) as server,
            front(place, server) as address,
        ):
            yield address, server
