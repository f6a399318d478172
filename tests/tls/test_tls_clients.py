"""Certificates of clients: who is let in, and what an application is told."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

import pytest
from apps.certificates import Authority, Certified
from apps.tls_client import GET, answer, client_context, connect, listing
from cryptography.x509 import NameAttribute
from cryptography.x509.oid import NameOID, ObjectIdentifier

from fastwsgi.testing import Server, serve
from fastwsgi.tls.names import host_names, subject_of

SUBJECT = [
    NameAttribute(NameOID.COUNTRY_NAME, "AT"),
    NameAttribute(NameOID.ORGANIZATION_NAME, 'Müller, "Söhne" + Co; #1'),
    NameAttribute(NameOID.COMMON_NAME, " #who\n"),
]


def files_of(certified: Certified, authority: Authority, **settings: Any) -> dict[str, Any]:
    return {"certfile": certified.cert, "keyfile": certified.key, "ca_certs": authority.file,
            **settings}


def with_certificate(authority: Authority, files: Certified) -> ssl.SSLContext:
    context = client_context(authority.file)
    context.load_cert_chain(*files)
    return context


def seen(server: Server, context: ssl.SSLContext) -> dict[str, str]:
    with connect(server.address, context) as sock:
        body = answer(sock, GET)[1].decode("latin-1")
    return dict(re.findall(r"^(\w+)='(.*)'$", body, re.MULTILINE))


@pytest.fixture(scope="module")
def user(authority: Authority) -> Certified:
    return authority.sign("user", subject=SUBJECT)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_one_that_is_required_is_shown_to_the_application(
    authority: Authority, certified: Certified, user: Certified, version: ssl.TLSVersion,
) -> None:
    with serve(listing, **files_of(certified, authority, cert_reqs="required")) as server:
        context = with_certificate(authority, user)
        context.maximum_version = version
        found = seen(server, context)
        assert found["SSL_CLIENT_VERIFY"] == "SUCCESS"
        assert found["SSL_CLIENT_CERT"].replace("\\n", "\n") == Path(user.cert).read_text()
        assert found["SSL_CLIENT_S_DN"].replace("\\\\", "\\") == (
            r'CN=\ #who\0A,O=M\C3\BCller\, \"S\C3\B6hne\" \+ Co\; #1,C=AT')


@pytest.mark.parametrize("reqs", ["required", "2", ssl.CERT_REQUIRED])
def test_without_a_required_one_there_is_no_answer(
    authority: Authority, certified: Certified, reqs: object,
) -> None:
    with serve(listing, **files_of(certified, authority, cert_reqs=reqs)) as server:
        context = client_context(authority.file)
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
            seen(server, context)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
            seen(server, context)


def test_one_of_another_authority_is_refused(
    authority: Authority, certified: Certified, own: Authority,
) -> None:
    stranger = own.sign("stranger", "stranger")
    late = authority.sign("late", "late", days=-1)
    for reqs in ("optional", "required"):
        with serve(listing, **files_of(certified, authority, cert_reqs=reqs)) as server:
            with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"):
                seen(server, with_certificate(authority, stranger))
            with pytest.raises(ssl.SSLError, match=r"(?i)certificate.expired"):
                seen(server, with_certificate(authority, late))


def test_nothing_of_one_client_is_shown_for_another(
    authority: Authority, certified: Certified, user: Certified,
) -> None:
    """Environs are made from those of requests before, by three ways (environ.pxi)."""
    other = authority.sign("other-user", "somebody else")
    contexts = [with_certificate(authority, user), with_certificate(authority, other),
                client_context(authority.file)]
    verdicts = ["SUCCESS", "SUCCESS", "NONE"]
    owners = ["M", "somebody else", ""]
    with serve(listing, **files_of(certified, authority, cert_reqs="optional")) as server:
        for _ in range(4):
            socks = [connect(server.address, context) for context in contexts]
            for turn in range(24):
                which = turn % 3
                path = b"/" if turn % 2 else b"/%d" % turn
                body = answer(socks[which], GET.replace(b"/", path, 1))[1].decode("latin-1")
                assert f"SSL_CLIENT_VERIFY='{verdicts[which]}'" in body
                (name,) = re.findall(r"SSL_CLIENT_S_DN='(.*)'", body)
                assert (owners[which] in name) if owners[which] else name == ""
                assert ("BEGIN CERTIFICATE" in body) == (which < 2)
            for sock in socks:
                sock.close()


def test_names_in_a_certificate(own: Authority) -> None:
    unusual = [NameAttribute(ObjectIdentifier("1.2.3.4567"), "x"),
               NameAttribute(NameOID.COMMON_NAME, "Name.Test")]
    without = Path(own.sign("without", subject=unusual).cert).read_bytes()
    assert host_names(without) == ("name.test",)
    assert subject_of(without) == "CN=Name.Test,1.2.3.4567=x"
    several = Path(own.sign("several", "a.test", "*.B.test", "a.test").cert).read_bytes()
    assert host_names(several) == ("a.test", "*.b.test")
    person = Path(own.sign("person", subject=SUBJECT[1:2]).cert).read_bytes()
    assert host_names(person) == ()


@pytest.mark.parametrize("pem", [
    b"", b"-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----",
    b"-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----",
    b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----",
    b"-----BEGIN CERTIFICATE-----\nMIT/////\n-----END CERTIFICATE-----",
])
def test_what_is_no_certificate_has_no_names(pem: bytes) -> None:
    with pytest.raises(ValueError):
        host_names(pem)
