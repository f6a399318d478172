"""TLS as curl, the openssl command and sslscan see it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from xml.etree import ElementTree

import pytest
from apps.certificates import Authority, Certified
from apps.programs import plain_environ
from apps.tls_client import LAST, hello

from fastwsgi.system import openssl
from fastwsgi.testing import Server, serve


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


# ---- what scanners say ----


@pytest.mark.skipif(shutil.which("sslscan") is None, reason="no sslscan")
def test_sslscan_finds_nothing_to_complain_about(server: Server) -> None:
    done = subprocess.run(
        ["sslscan", "--xml=-", "--sni-name=localhost", f"127.0.0.1:{server.port}"],
        capture_output=True, timeout=60, env=plain_environ(), check=True)
    scan = ElementTree.fromstring(done.stdout).find("ssltest")
    assert scan is not None
    spoken = {f"{one.get('type')}{one.get('version')}" for one in scan.iterfind("protocol")
              if one.get("enabled") == "1"}
    assert spoken == {"tls1.2", "tls1.3"}
    assert [one.attrib for one in scan.iterfind("renegotiation")] == [
        {"supported": "0", "secure": "0"}]
    assert {one.get("vulnerable") for one in scan.iterfind("heartbleed")} == {"0"}
    assert {one.get("supported") for one in scan.iterfind("compression")} <= {"0"}
    ciphers = list(scan.iterfind("cipher"))
    assert len(ciphers) == 6
    assert {one.get("strength") for one in ciphers} <= {"strong", "acceptable"}
    assert {one.get("curve") for one in ciphers} == {"25519"}  # forward secrecy, and a quick one
    groups = {one.get("name") for one in scan.iterfind("group")}
    assert "x25519" in groups
    assert not [name for name in groups if name and name.startswith("ffdhe")]


@needs_openssl
@pytest.mark.parametrize("hook", [False, True])
def test_key_exchanges_that_are_dear_for_the_server_are_refused(
    server: Server, authority: Authority, certified: Certified, hook: bool,
) -> None:
    if hook and not openssl.find(["SSL_new"]).is_pythons:
        pytest.skip("Python's own OpenSSL cannot be called")
    own = serve(hello, ssl_context=lambda _config, default: default(), certfile=certified.cert,
                keyfile=certified.key) if hook else contextlib.nullcontext(server)
    with own as asked:
        for group in ("ffdhe2048", "ffdhe8192"):  # 200 ms for one handshake
            found = s_client(asked, authority, "-tls1_3", "-groups", group, said=LAST)
            assert "handshake failure" in found
            assert "hello /" not in found
        for group in ("X25519", "P-256", "P-384", "P-521"):
            assert "hello /" in s_client(asked, authority, "-groups", group, said=LAST)
