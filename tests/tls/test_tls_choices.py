"""What is agreed on in a handshake, and what an application may know of it."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from apps.certificates import Authority, Certified
from apps.programs import plain_environ
from apps.tls_client import GET, PATIENCE, answer, client_context, connect, hello, listing
from cryptography import x509
from cryptography.x509.oid import NameOID

from fastwsgi.testing import Server, serve
from fastwsgi.tls.choice import choices
from fastwsgi.tls.files import Pair

# ---- versions, ciphers, certificates ----


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_answers_in_each_version(server: Server, context: ssl.SSLContext, version: str) -> None:
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    with connect(server.address, context) as sock:
        assert sock.version() == version.replace("_", ".")
        assert answer(sock, GET) == (200, b"hello /")
        assert answer(sock, GET.replace(b"/", b"/again", 1)) == (200, b"hello /again")
    assert server.url.startswith("https://")


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"])
def test_answers_with_each_cipher_of_tls_1_2(
    authority: Authority, kind: str, cipher: str,
) -> None:
    files = authority.sign(f"cipher-{kind}", "localhost", kind=kind)
    context = client_context(authority.file, maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"ECDHE-{'ECDSA' if kind == 'ec' else 'RSA'}-{cipher}")
    with serve(hello, certfile=files.cert, keyfile=files.key) as server, connect(
            server.address, context) as sock:
        assert answer(sock, GET) == (200, b"hello /")


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256"])
def test_refuses_ciphers_that_are_weak(
    server: Server, context: ssl.SSLContext, cipher: str,
) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(cipher)
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
        connect(server.address, context)


def test_the_settings_choose_versions_and_ciphers(
    certified: Certified, authority: Authority,
) -> None:
    files = {"certfile": certified.cert, "keyfile": certified.key}
    old = client_context(authority.file, maximum_version=ssl.TLSVersion.TLSv1_2)
    new = client_context(authority.file, minimum_version=ssl.TLSVersion.TLSv1_3)
    with serve(hello, tls_minimum="1.3", **files) as server:
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            connect(server.address, old)
        with connect(server.address, new) as sock:
            assert answer(sock, GET)[0] == 200
    with serve(hello, ssl_version="TLSv1_2", ciphers="ECDHE-ECDSA-CHACHA20-POLY1305",
               **files) as server:
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            connect(server.address, new)
        with connect(server.address, old) as sock:
            assert sock.cipher()[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"  # type: ignore[index]


def test_the_key_may_be_in_the_file_of_the_certificate(
    own: Authority, certified: Certified,
) -> None:
    files = own.sign("both", "localhost")
    with open(files.key) as key, open(files.cert, "a") as cert:
        cert.write(key.read())
    with serve(hello, certfile=files.cert) as server, connect(
            server.address, client_context(own.file)) as sock:
        assert answer(sock, GET)[0] == 200


def test_http_1_1_is_agreed_on(server: Server, context: ssl.SSLContext) -> None:
    context.set_alpn_protocols(["h2", "http/1.1"])
    with connect(server.address, context) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"
        assert answer(sock, GET)[0] == 200
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        connect(server.address, context)


def test_the_certificate_is_chosen_by_name(authority: Authority) -> None:
    files = [authority.sign("first", "one.test"),
             authority.sign("second", "two.test", "*.two.test"),
             authority.sign("third", "a.two.test", "*.three.test")]
    context = client_context(authority.file, check_hostname=False)
    expected = {
        "one.test": "one.test", "TWO.test": "two.test", "b.two.test": "two.test",
        "a.two.test": "a.two.test", "x.three.test": "a.two.test", "three.test": "one.test",
        "y.x.three.test": "one.test", "elsewhere.test": "one.test", "two.test.": "two.test",
    }
    with serve(listing, certfile=[one.cert for one in files],
               keyfile=[one.key for one in files]) as server:
        for name, owner in expected.items():
            with connect(server.address, context, name) as sock:
                found = sock.getpeercert()
                assert found is not None
                assert found["subject"][0][0][1] == owner, name
                assert f"SSL_SERVER_NAME={name!r}".encode() in answer(sock, GET)[1]


def seen_by(server: Server, authority: Authority, name: str, kind: str, version: str) -> str:
    """The owner of the certificate that a client is shown which knows one kind of keys only.

    Only the openssl command lets a client of TLS 1.3 say so.
    """
    schemes = {"rsa": "rsa_pss_rsae_sha256:RSA+SHA256", "ec": "ECDSA+SHA256",
               "both": "ECDSA+SHA256:rsa_pss_rsae_sha256:RSA+SHA256"}[kind]
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", authority.file,
         "-servername", name, "-sigalgs", schemes, f"-{version}"], input=b"",
        capture_output=True, timeout=60, env=plain_environ(), check=False)
    text = done.stdout.decode("utf-8", "replace")
    assert "Verify return code: 0 (ok)" in text or "no peer certificate available" in text
    found = re.search(r"^subject=CN ?= ?(.+)$", text, re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command")
def test_keys_of_several_kinds_answer_to_one_name(authority: Authority) -> None:
    def sign(file: str, kind: str, *names: str) -> Certified:
        return authority.sign(file, *names, kind=kind, subject=[
            x509.NameAttribute(NameOID.COMMON_NAME, file)])

    files = [sign("rsa-of-both", "rsa", "both.test", "rsa.test"),
             sign("ec-of-both", "ec", "both.test", "ec.test"),
             sign("second-ec-of-both", "ec", "both.test"),
             sign("rsa-of-all", "rsa", "*.test")]
    expected = {
        ("both.test", "rsa"): "rsa-of-both", ("both.test", "ec"): "ec-of-both",
        ("both.test", "both"): "ec-of-both",
        ("rsa.test", "both"): "rsa-of-both", ("rsa.test", "ec"): "",
        ("ec.test", "ec"): "ec-of-both", ("ec.test", "rsa"): "rsa-of-all",
        ("other.test", "rsa"): "rsa-of-all", ("elsewhere", "ec"): "ec-of-both",
    }
    with serve(hello, certfile=[one.cert for one in files],
               keyfile=[one.key for one in files]) as server:
        for (name, kind), owner in expected.items():
            for version in ("tls1_2", "tls1_3"):
                assert seen_by(server, authority, name, kind, version) == owner, (name, kind)


def test_each_certificate_has_its_own_chain(own: Authority) -> None:
    """Clients know the root only; each certificate is another intermediate authority's."""
    files = []
    for kind in ("rsa", "ec"):
        between = own.authority(f"between {kind}")
        one = between.sign(f"{kind}-below", "below.test", kind=kind)
        with open(one.cert, "ab") as chain:
            chain.write(Path(between.file).read_bytes())
        files.append(one)
    with serve(hello, certfile=[one.cert for one in files],
               keyfile=[one.key for one in files]) as server:
        for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"):
            context = client_context(own.file, maximum_version=ssl.TLSVersion.TLSv1_2)
            context.set_ciphers(cipher)
            with connect(server.address, context, "below.test") as sock:
                assert answer(sock, GET)[0] == 200


def test_certificates_are_put_together_by_name() -> None:
    def pair(file: str, kind: str, *names: str) -> Pair:
        return Pair(file, b"", file, b"", names, kind)

    rsa, ec, spare = pair("a", "1", "x", "y"), pair("b", "2", "x", "z"), pair("c", "1", "x")
    nameless = pair("d", "1")
    found = choices([rsa, ec, spare, nameless])
    assert found == [((rsa, ec), ("x",)), ((rsa,), ("y",)), ((ec,), ("z",)), ((spare,), ()),
                     ((nameless,), ())]
    assert choices([nameless, rsa])[0] == ((nameless,), ())
    assert [one.pairs for one in choices([rsa, ec], several=False)] == [(rsa,), (ec,)]


# ---- what an application may know ----


def test_the_application_sees_that_it_is_https(
    certified: Certified, context: ssl.SSLContext,
) -> None:
    with serve(listing, certfile=certified.cert, keyfile=certified.key) as server:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        for _ in range(2):
            with connect(server.address, context) as sock:
                for _ in range(6):  # the memo, too
                    seen = answer(sock, GET)[1].decode().splitlines()
                    assert {"wsgi.url_scheme='https'", "HTTPS='on'", "SSL_PROTOCOL='TLSv1.2'",
                            "SSL_SERVER_NAME='localhost'", "SSL_CLIENT_VERIFY='NONE'",
                            "SSL_CLIENT_S_DN=''", "SSL_CLIENT_CERT=''",
                            f"SSL_CIPHER={sock.cipher()[0]!r}"} <= set(seen)  # type: ignore[index]
        context.maximum_version = ssl.TLSVersion.TLSv1_3
        with connect(server.address, context) as sock:
            assert b"SSL_PROTOCOL='TLSv1.3'" in answer(sock, GET)[1]


def test_a_resumed_session_knows_the_name(certified: Certified, context: ssl.SSLContext) -> None:
    with serve(listing, certfile=certified.cert, keyfile=certified.key) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context.maximum_version = version
            with connect(server.address, context) as first:
                answer(first, GET)
                session = first.session
            sock = socket.create_connection(server.address, PATIENCE)
            with context.wrap_socket(
                    sock, server_hostname="localhost", session=session) as second:
                assert second.session_reused
                assert b"SSL_SERVER_NAME='localhost'" in answer(second, GET)[1]
