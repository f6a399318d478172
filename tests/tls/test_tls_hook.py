"""The hook ssl_context: a context of Python's ssl, used by the core."""

from __future__ import annotations

import signal
import ssl
from typing import Any

import pytest
from apps.certificates import Authority, Certified
from apps.command import HELLO, Project
from apps.tls_client import GET, answer, client_context, connect, hello

from fastwsgi.config.config import Config
from fastwsgi.config.sources import from_keywords
from fastwsgi.errors import ConfigError
from fastwsgi.system import openssl
from fastwsgi.testing import serve, spawn
from fastwsgi.tls import load_tls

shared = pytest.mark.skipif(
    not openssl.find(["SSL_new"]).is_pythons, reason="Python's own OpenSSL cannot be called")


@shared
def test_a_context_of_its_own(certified: Certified, context: ssl.SSLContext) -> None:
    def own(config: Config, default: Any) -> ssl.SSLContext:
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        found.load_cert_chain(*certified)
        found.maximum_version = ssl.TLSVersion.TLSv1_2
        found.set_alpn_protocols(["h2"])  # which is not spoken here
        return found

    with serve(hello, ssl_context=own) as server:
        assert server.url.startswith("https://")
        context.set_alpn_protocols(["h2", "http/1.1"])
        with connect(server.address, context) as sock:
            assert (sock.version(), sock.selected_alpn_protocol()) == ("TLSv1.2", "http/1.1")
            for _ in range(3):
                assert answer(sock, GET) == (200, b"hello /")


@shared
def test_the_default_one_follows_the_settings(
    authority: Authority, certified: Certified, context: ssl.SSLContext,
) -> None:
    made: list[ssl.SSLContext] = []

    def changed(config: Config, default: Any) -> ssl.SSLContext:
        made.append(default())
        return made[0]

    with serve(hello, ssl_context=changed, certfile=certified.cert, keyfile=certified.key,
               ca_certs=authority.file, cert_reqs="required", tls_minimum="1.3",
               ciphers="ECDHE+AESGCM") as server:
        assert made[0].verify_mode == ssl.CERT_REQUIRED
        assert made[0].minimum_version == ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(*certified)
        with connect(server.address, context) as sock:
            assert answer(sock, GET)[0] == 200
        with pytest.raises(ssl.SSLError), connect(
                server.address, client_context(authority.file)) as sock:
            answer(sock, GET)


@shared
def test_a_reload_asks_again(project: Project, own: Authority) -> None:
    files = own.sign("current", "before.test")
    where = project({"fastwsgi.conf.py": f"""
        certfile, keyfile = {files.cert!r}, {files.key!r}
        def ssl_context(config, default_ssl_context_factory):
            return default_ssl_context_factory()
        """}, app=HELLO)
    client = client_context(own.file, check_hostname=False)

    def owner(address: Any) -> object:
        with connect(address, client) as sock:
            return sock.getpeercert()["subject"][0][0][1]  # type: ignore[index]

    with spawn("app:app", "-w", "2", cwd=where) as server:
        assert owner(server.address) == "before.test"
        own.sign("current", "after.test")
        server.signal(signal.SIGHUP)
        server.wait_for(r"\] ready: ", count=2)
        while owner(server.address) != "after.test":
            pass


def with_callback() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda *_: None
    return context


def with_key_log(path: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.keylog_filename = path
    return context


def test_refuses_what_would_call_python(tmp_path: Any) -> None:
    refused = {
        "a sni_callback in Python cannot be called": lambda *_: with_callback(),
        "keylog_filename cannot be served": lambda *_: with_key_log(str(tmp_path / "keys")),
        "must return an ssl.SSLContext, not NoneType": lambda *_: None,
        "the hook ssl_context failed: ZeroDivisionError": lambda *_: 1 / 0,
    }
    for complaint, hook in refused.items():
        with pytest.raises(ConfigError, match=complaint):
            load_tls(from_keywords({"ssl_context": hook}))


@shared
def test_refuses_a_context_without_a_certificate() -> None:
    from fastwsgi.errors import TlsError

    def empty(config: Config, default: Any) -> ssl.SSLContext:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    with pytest.raises(TlsError, match="a handshake with itself fails: no shared cipher"):
        load_tls(from_keywords({"ssl_context": empty}))


@shared
def test_the_pointer_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastwsgi._core import core
    from fastwsgi.tls import foreign
    from fastwsgi.tls.settings import use_library

    use_library()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    before = context.options
    assert foreign._inside(context)
    assert context.options == before
    monkeypatch.setattr(core, "ssl_context_options", lambda _pointer: int(before))
    with pytest.raises(ConfigError, match=r"the inside of an ssl\.SSLContext"):
        foreign._inside(context)
    assert context.options == before
