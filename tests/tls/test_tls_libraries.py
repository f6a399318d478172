"""The ways to an OpenSSL other than Python's own: the same server over each of them.

Each runs in a process of its own, because a process uses one library.
"""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from apps.certificates import Authority, Certified
from apps.tls_client import GET, answer, client_context, connect

from fastwsgi.testing import environment

SERVER = """
import signal, sys
from fastwsgi._core import core
from fastwsgi.system import openssl
from fastwsgi.tls import settings
from fastwsgi.testing import serve

way, cert, key, authority = sys.argv[1:]
names = core.openssl_names()
if way == "cryptography":
    found = openssl._from_cryptography([*openssl.VERSION_FUNCTIONS, *names[0]], names[1])
else:
    found = openssl.find(*names)
openssl.find = lambda *_: found
if way == "no BIO":
    core.use_openssl(found.addresses, own_bio=False)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as an application may

def app(environ, start_response):
    start_response("200 OK", [("SSL", environ["SSL_PROTOCOL"] + environ["SSL_CLIENT_S_DN"])])
    if environ["REQUEST_METHOD"] == "POST":
        return [environ["wsgi.input"].read()]
    if environ["PATH_INFO"] == "/large":
        return (bytes([65 + i % 26]) * 100_000 for i in range(50))
    return [b"hello"]

with serve(app, certfile=cert, keyfile=key, ca_certs=authority, cert_reqs="optional") as server:
    print(server.port, found.origin, flush=True)
    sys.stdin.read()
print("done", flush=True)
"""


@pytest.mark.parametrize("way", ["own BIO", "no BIO", "cryptography"])
def test_serves_by_each_library(
    authority: Authority, certified: Certified, tmp_path: Path, way: str,
) -> None:
    user = authority.sign("user-of-libraries", "a user")
    command = [sys.executable, "-c", SERVER, way, *certified, authority.file]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          cwd=tmp_path, env=environment({})) as process:
        assert process.stdin is not None and process.stdout is not None
        port, _, origin = process.stdout.readline().partition(" ")
        assert ("cryptography" in origin) == (way == "cryptography")
        address = ("127.0.0.1", int(port))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = client_context(authority.file, maximum_version=version)
            context.load_cert_chain(*user)
            for _ in range(2):
                with connect(address, context) as sock:
                    for _ in range(3):
                        assert answer(sock, GET) == (200, b"hello")
                    body = hashlib.sha256(b"x").digest() * 10_000
                    post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
                    assert answer(sock, post + body, "POST") == (200, body)
                    status, large = answer(sock, GET.replace(b"/", b"/large", 1))
                    assert (status, len(large)) == (200, 5_000_000)
                    sock.sendall(GET * 30)
                    found = b""
                    while found.count(b"hello") < 30:
                        found += sock.recv(65536)
                    assert b"CN=a user" in found
            with connect(address, context) as sock:  # gone: no SIGPIPE ends it
                sock.sendall(GET.replace(b"/", b"/large", 1))
                sock.recv(1000)
        with connect(address, client_context(authority.file)) as sock:
            assert answer(sock, GET) == (200, b"hello")
        process.stdin.close()
        assert process.stdout.read() == "done\n"
        assert process.wait(60) == 0
