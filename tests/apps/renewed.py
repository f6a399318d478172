"""Certificates that are renewed in tests: each has a serial number by which clients know it."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apps.eventually import GUARD


class Certificate(NamedTuple):
    """A certificate and its key in PEM."""

    pem: bytes
    key: bytes
    serial: int

    def put(self, folder: Path, name: str = "tls") -> tuple[Path, Path]:
        """Write both into a folder, as NAME.crt and NAME.key; return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key)
        key.chmod(0o600)
        return certificate, key


def make(*hosts: str) -> Certificate:
    """Make one for these names that nobody but itself has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (hosts or ("localhost",))[0])])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(
            [x509.DNSName(host) for host in hosts or ("localhost",)]), critical=False)
        .sign(key, hashes.SHA256()))
    return Certificate(
        made.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                          serialization.NoEncryption()),
        made.serial_number)


def client_context() -> ssl.SSLContext:
    """The context of a client that believes every server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """A connection in TLS; ``session`` resumes the one before, whose context it needs."""

    def __init__(self, address: Any, context: ssl.SSLContext | None = None,
                 session: ssl.SSLSession | None = None, name: str = "localhost") -> None:
        plain = socket.create_connection(address, timeout=30)
        try:
            self.socket = (context or client_context()).wrap_socket(
                plain, server_hostname=name, session=session)
        except BaseException:
            plain.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @property
    def serial(self) -> int:
        """The serial number of the server's certificate."""
        shown = self.socket.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number

    def ask(self, *, close: bool = False) -> bytes:
        """Make a request and return the body of its answer, whose length it has."""
        end = b"Connection: close\r\n" if close else b""
        self.socket.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + end + b"\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            got += self.more()
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self.more()
        return body

    def more(self) -> bytes:
        """Receive something; raise EOFError at the end."""
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the server has closed the connection")
        return data


def serial(address: Any) -> int:
    """The serial number of the certificate that a new handshake gets."""
    with Client(address) as client:
        return client.serial


WHO = """
    import os
    def app(environ, start_response):
        body = b"%d" % os.getpid()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    """


def who(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    body = b"%d" % os.getpid()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that must come; the guard ends a test that would wait for ever."""
    end = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < end, what
        os.sched_yield()


def handshakes_get(address: Any, certificate: Certificate) -> None:
    """Wait until each of some new handshakes, which go to all workers, gets this certificate."""
    until(lambda: all(serial(address) == certificate.serial for _ in range(8)), "another one")


def words(files: tuple[Path, Path]) -> list[str]:
    """The words of a command line that name a certificate and its key."""
    return ["--certfile", str(files[0]), "--keyfile", str(files[1])]
