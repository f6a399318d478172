"""TLS as curl and the openssl command see it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from apps.certificates import Authority
from apps.tls_client import LAST

from fastwsgi.testing import Server


def test_curl(server: Server, authority: Authority) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    done = subprocess.run(
        ["curl", "-sS", "--cacert", authority.file, "--resolve",
         f"localhost:{server.port}:127.0.0.1", "--max-time", "20",
         *(f"https://localhost:{server.port}/{i}" for i in range(3)),
         "-d", "x" * 100000], capture_output=True, text=True, env=plain_environ())
    assert (done.stdout, done.stderr) == ("hello /0hello /1hello /2", "")


def s_client(server: Server, authority: Authority, *options: str, said: bytes) -> str:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", authority.file,
         "-servername", "localhost", "-ign_eof", *options],
        input=said, capture_output=True, timeout=60, env=plain_environ())
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def plain_environ() -> dict[str, str]:
    """Programs that are not Python's do without the sanitizer's library."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command")


@needs_openssl
def test_openssl_s_client(server: Server, authority: Authority) -> None:
    found = s_client(server, authority, said=LAST)
    assert "Verify return code: 0 (ok)" in found
    assert "hello /" in found
    assert "hello /" in s_client(server, authority, "-tls1_2", "-split_send_frag", "100", said=LAST)


@needs_openssl
def test_no_other_handshake_can_be_asked_for(server: Server, authority: Authority) -> None:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", authority.file,
         "-servername", "localhost", "-tls1_2"], input=b"R\n", capture_output=True, timeout=60,
        env=plain_environ())
    assert b"no renegotiation" in done.stderr


@needs_openssl
def test_keys_may_be_renewed(server: Server, authority: Authority) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile",
               authority.file, "-servername", "localhost", "-tls1_3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=plain_environ()) as client:
        assert client.stdin is not None and client.stdout is not None
        for _ in range(3):
            client.stdin.write(b"K\n")
            client.stdin.flush()
            for line in client.stdout:
                if b"KEYUPDATE" in line:
                    break
        client.stdin.write(LAST)
        client.stdin.flush()
        assert b"hello /" in client.stdout.read()
