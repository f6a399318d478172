"""Behind nginx and HAProxy as examples/ configures them, with TLS: who the client is.

Rule: the proxies are real, and run the files of examples/ with other addresses in them. The client
connects from 127.0.0.9, which nobody trusts. Proxies inherit their listening sockets from the test,
so no port is guessed and nothing waits for a start.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from apps import ROOT, TESTS
from apps.client import TIMEOUT

from fastwsgi.testing import Process, spawn

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
CLIENT = "127.0.0.9"
FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "ftp",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Ssl": "off",
    "X-Forwarded-Protocol": "none",
    "Forwarded": "for=6.6.6.6;proto=http;host=evil.example",
    "SCRIPT_NAME": "/where",
    "X_Forwarded_For": "6.6.6.6",
}


def needs(program: str) -> pytest.MarkDecorator:
    """A proxy is part of the platform: where there is none, only CI insists."""
    missing = [one for one in (program, "openssl") if shutil.which(one, path=PATH) is None]
    return pytest.mark.skipif(
        bool(missing) and not os.environ.get("CI"), reason=f"not installed: {missing}")


class Front(NamedTuple):
    """A proxy and the server behind it."""

    port: int
    server: Process
    home: Path
    tls: bool = True

    def ask(
        self, count: int = 1, headers: Mapping[str, str] | None = None, path: str = "/where?q",
    ) -> list[dict[str, str]]:
        """The environs of so many requests over one connection of the client's."""
        plain = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=TIMEOUT, source_address=(CLIENT, 0))
        plain.connect()
        if self.tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            plain.sock = context.wrap_socket(plain.sock, server_hostname="shop.example")
        found = []
        for _ in range(count):
            plain.request("GET", path, headers={"Host": "shop.example:8443", **(headers or {})})
            answer = plain.getresponse()
            body = answer.read()
            assert answer.status == 200, (answer.status, body)
            found.append(json.loads(body)["environ"])
        plain.close()
        return found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shop.crt, shop.key, and both in shop.pem."""
    home = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/CN=shop.example", "-days", "2",
         "-keyout", "shop.key", "-out", "shop.crt"],
        cwd=home, check=True, capture_output=True)
    both = (home / "shop.crt").read_text() + (home / "shop.key").read_text()
    (home / "shop.pem").write_text(both)
    return home


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """The text with each key replaced, which has to be there."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def running(command: list[str], listener: socket.socket, home: Path, **env: str) -> Iterator[None]:
    """A proxy that has inherited the listener."""
    with (home / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            command, stdout=errors, stderr=errors, pass_fds=[listener.fileno()],
            env={**os.environ, "PATH": PATH, **env})
    listener.close()  # from here on a connection succeeds only while the proxy lives
    try:
        yield
    finally:
        process.terminate()
        process.wait(TIMEOUT)
    said = (home / "stderr").read_text()
    assert "[emerg]" not in said, said


def serving(home: Path, *args: str) -> Any:
    """The server behind the proxy, with an access log."""
    return spawn("--access-logfile", str(home / "access.log"), *args, "apps.proxied:app", cwd=TESTS)


@contextmanager
def nginx(home: Path, certificate: Path, bind: str) -> Iterator[Front]:
    """The nginx of examples/."""
    with (
        serving(home, "--bind", bind, "--forwarded-follow", "scheme,address,host,port") as server,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        port = listener.getsockname()[1]
        shop = replaced((ROOT / "examples" / "nginx-forwarded.conf").read_text(), {
            "unix:/run/shop.sock;\n    #":
                (f"127.0.0.1:{server.port};" if server.port else f"{bind};") + "\n    #",
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl": str(certificate),
        })
        temp = "".join(f"{kind}_temp_path {home}/{kind};"
                       for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        configuration = home / "nginx.conf"
        configuration.write_text(
            f"{'user root;' if os.getuid() == 0 else ''} daemon off; worker_processes 1;\n"
            f"pid {home}/nginx.pid; error_log stderr error; events {{}}\n"
            f"http {{ access_log off; {temp}\n{shop}\n}}\n")
        command = ["nginx", "-p", str(home), "-e", "stderr", "-c", str(configuration)]
        with running(command, listener, home, NGINX=f"{listener.fileno()};"):
            yield Front(port, server, home)


@contextmanager
def haproxy(
    home: Path, certificate: Path, bind: str, upstream: str, changes: Mapping[str, str],
    *args: str, tls: bool = True,
) -> Iterator[Front]:
    """The HAProxy of examples/, of which only one of the two modes is used."""
    with (
        serving(home, *args) as server,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        port = listener.getsockname()[1]
        crypt = f" ssl crt {certificate}/shop.pem" if tls else ""
        other = {":443": ":8443", ":8443": ":443"}[bind]
        text = replaced((ROOT / "examples" / "haproxy-forwarded.cfg").read_text(), {
            **changes,
            f"bind {bind} ssl crt /etc/haproxy/shop.pem": f"bind fd@{listener.fileno()}{crypt}",
            f"bind {other} ssl crt /etc/haproxy/shop.pem": f"bind unix@{home}/unused",
            upstream: f"127.0.0.1:{server.port}",
        })
        configuration = home / "haproxy.cfg"
        configuration.write_text(f"global\n    stats socket {home}/stats level admin\n\n{text}")
        with running(["haproxy", "-db", "-q", "-f", str(configuration)], listener, home):
            yield Front(port, server, home, tls)


def logged(front: Front) -> list[str]:
    """The lines of the access log, as soon as there is one for the path /last."""
    front.ask(path="/where/last")
    until = time.monotonic() + TIMEOUT
    while "/where/last" not in (text := (front.home / "access.log").read_text()):
        assert time.monotonic() < until, text
    return text.splitlines()


# ---- nginx ----


@pytest.fixture(scope="module", params=["tcp", "unix"])
def behind_nginx(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificate: Path,
) -> Iterator[Front]:
    home = tmp_path_factory.mktemp("nginx")
    bind = "127.0.0.1:0" if request.param == "tcp" else f"unix:{home}/app.sock"
    with nginx(home, certificate, bind) as front:
        yield front


def told(front: Front, environ: Mapping[str, str]) -> None:
    """The environ is the client's, not the proxy's."""
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["REMOTE_ADDR"] == CLIENT
    assert environ["REMOTE_PORT"] == ""
    assert environ["HTTP_HOST"] == "shop.example:8443"
    assert environ["SERVER_PORT"] == str(front.port)
    assert environ["SCRIPT_NAME"] == ""
    assert environ["PATH_INFO"] == "/where"
    assert not {"HTTP_SCRIPT_NAME", "HTTP_FORWARDED", "HTTP_X_FORWARDED_PREFIX"} & environ.keys()


@needs("nginx")
def test_the_environ_is_the_clients_behind_nginx(behind_nginx: Front) -> None:
    for environ in behind_nginx.ask(5):
        told(behind_nginx, environ)


@needs("nginx")
def test_a_client_forges_nothing_through_nginx(behind_nginx: Front) -> None:
    for environ in behind_nginx.ask(5, FORGED):
        told(behind_nginx, environ)
        assert environ["HTTP_X_FORWARDED_FOR"] == f"6.6.6.6, {CLIENT}"


@needs("nginx")
def test_the_access_log_has_the_client_behind_nginx(behind_nginx: Front) -> None:
    lines = logged(behind_nginx)
    assert lines
    assert all(line.startswith(f"{CLIENT} ") for line in lines), lines


# ---- HAProxy, HTTP mode ----


@pytest.fixture(scope="module")
def behind_haproxy(
    tmp_path_factory: pytest.TempPathFactory, certificate: Path
) -> Iterator[Front]:
    home = tmp_path_factory.mktemp("haproxy")
    with haproxy(home, certificate, ":443", "127.0.0.1:8000", {"8000 check": "8000 check inter 50"},
                 "--health-path", "/healthz",
                 "--forwarded-follow", "scheme,address,host,port") as front:
        yield front


@needs("haproxy")
def test_the_environ_is_the_clients_behind_haproxy(behind_haproxy: Front) -> None:
    for environ in behind_haproxy.ask(5):
        told(behind_haproxy, environ)


@needs("haproxy")
def test_a_client_forges_nothing_through_haproxy(behind_haproxy: Front) -> None:
    for environ in behind_haproxy.ask(5, FORGED):
        told(behind_haproxy, environ)


@needs("haproxy")
def test_the_access_log_has_the_client_behind_haproxy(behind_haproxy: Front) -> None:
    lines = [line for line in logged(behind_haproxy) if "/where" in line]
    assert all(line.startswith(f"{CLIENT} ") for line in lines), lines


# ---- HAProxy, TCP mode ----

KINDS = {
    "v1": ("send-proxy", "v1", False),
    "v2": ("send-proxy-v2", "v2", False),
    "auto": ("send-proxy-v2", "auto", False),
    "tls": ("send-proxy-v2-ssl", "v2", True),
}


@pytest.fixture(scope="module", params=KINDS)
def behind_bytes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificate: Path,
) -> Iterator[Front]:
    word, version, tls = KINDS[request.param]
    home = tmp_path_factory.mktemp("haproxy")
    changes = {"8001 send-proxy-v2-ssl check check-send-proxy":
               f"8001 {word} check inter 50 check-send-proxy"}
    with haproxy(home, certificate, ":8443", "127.0.0.1:8001", changes,
                 "--proxy-protocol", version, "--forwarded-follow", "scheme,address",
                 tls=tls) as front:
        yield front


@needs("haproxy")
def test_the_environ_is_the_clients_behind_a_proxy_of_bytes(behind_bytes: Front) -> None:
    environs = behind_bytes.ask(5)
    ports = {environ["REMOTE_PORT"] for environ in environs}
    assert len(ports) == 1
    assert int(ports.pop()) > 1023
    for environ in environs:
        assert environ["REMOTE_ADDR"] == CLIENT
        assert environ["wsgi.url_scheme"] == ("https" if behind_bytes.tls else "http")
        assert environ["HTTP_HOST"] == "shop.example:8443"


@needs("haproxy")
def test_a_client_forges_nothing_through_a_proxy_of_bytes(behind_bytes: Front) -> None:
    """HAProxy does not see the fields: the server must not believe them."""
    for environ in behind_bytes.ask(3, {**FORGED, "X-Forwarded-Proto": "https"}):
        assert environ["REMOTE_ADDR"] == CLIENT
        assert environ["wsgi.url_scheme"] == ("https" if behind_bytes.tls else "http")
        assert environ["SCRIPT_NAME"] == ""


@needs("haproxy")
def test_health_checks_are_understood(behind_bytes: Front) -> None:
    """They come with a header of their own (LOCAL, UNKNOWN) and without a request."""
    until = time.monotonic() + TIMEOUT
    while True:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(TIMEOUT)
            control.connect(f"{behind_bytes.home}/stats")
            control.sendall(b"show stat shop-tcp 4 -1\n")
            text = b"".join(iter(lambda: control.recv(65536), b"")).decode()
        head, row = (line.lstrip("# ").split(",") for line in text.strip().splitlines()[:2])
        status = dict(zip(head, row, strict=False))
        if status["check_status"].endswith("OK"):
            break
        assert time.monotonic() < until, status
    assert status["status"] == "UP"
    lines = logged(behind_bytes)
    assert all(f"{CLIENT} " in line and '" 200 ' in line for line in lines), lines
