"""From the settings to what TLS is spoken with: ``Tls``, which holds the files and makes contexts.

The files are read once, when the settings are: by the process that may read them (keys are mostly
root's), at a start and at a reload. Workers get their contents through the fork. So a worker that
takes the place of another one never depends on what the files have become since.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from fastwsgi.config.config import Config
from fastwsgi.errors import ConfigError, TlsError
from fastwsgi.system import openssl
from fastwsgi.tls.choice import choices
from fastwsgi.tls.files import Pair, read_authorities, read_pairs
from fastwsgi.tls.foreign import borrow, from_hook
from fastwsgi.tls.names import subject_of
from fastwsgi.tls.tickets import TicketKeys

if TYPE_CHECKING:
    from fastwsgi._core.core import TlsContext

VERSIONS = {"1.2": 0x0303, "1.3": 0x0304}
SETTINGS_OF = {"certificate": "certfile", "ciphers": "ciphers", "authorities": "ca_certs"}

SETTINGS = ("certfile", "keyfile", "ca_certs", "cert_reqs", "ciphers", "tls_minimum", "ssl_version")
"""The settings that a context is made from."""

DEFAULT_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: those with forward secrecy and authenticated encryption."""


class Tls(NamedTuple):
    """What TLS is spoken with. ``foreign`` is the hook's ``ssl.SSLContext``, or None."""

    config: Config
    pairs: tuple[Pair, ...]
    authorities: bytes | None
    tickets: TicketKeys
    foreign: Any = None

    def __repr__(self) -> str:
        return f"Tls({self.pairs!r})"

    @property
    def names(self) -> tuple[str, ...]:
        """The host names of all certificates."""
        return tuple(dict.fromkeys(name for pair in self.pairs for name in pair.names))

    @property
    def files(self) -> tuple[str, ...]:
        """The files from which it is read."""
        config = self.config
        trusted = (config.ca_certs,) if self.authorities is not None else ()
        return (*config.certfile, *config.keyfile, *trusted)

    def same_settings(self, other: Tls) -> bool:
        """Whether only the contents of files may differ."""
        return self.foreign is None and other.foreign is None and all(
            getattr(self.config, name) == getattr(other.config, name) for name in SETTINGS)

    def context(self) -> TlsContext:
        """Make what the core needs; raise ConfigError or TlsError."""
        library = use_library()
        from fastwsgi._core.core import TlsContext

        context = TlsContext(_subject_of, self.tickets.all)
        if self.foreign is not None:
            borrow(self.foreign, library, context)
        else:
            for choice in choices(self.pairs, several=context.holds_several):
                for pair in choice.pairs:
                    self._add(pair, choice.names, context, another=pair is not choice.pairs[0])
        if (fault := context.check()) is not None:
            raise TlsError(f"TLS cannot be served by {library.text} ({library.origin}): {fault}")
        return context

    def _add(
        self, pair: Pair, names: tuple[str, ...], context: TlsContext, *, another: bool,
    ) -> None:
        config = self.config
        least, most = versions(config)
        fault = context.add_another(pair.pem, pair.key) if another else context.add(
            pair.pem, pair.key, names, ciphers=config.ciphers or DEFAULT_CIPHERS,
            least=least, most=most, verify={"none": 0, "optional": 1, "required": 3}[
                config.cert_reqs], authorities=self.authorities, session_id=self._session_id())
        if fault is None:
            return
        part, why = fault
        if part == "library":
            raise TlsError(f"TLS cannot be set up: {why}")
        if part == "key":
            name = "keyfile" if pair.keyfile != pair.certfile else "certfile"
            raise ConfigError(f"{name} (from {config.origin(name)}): the key in {pair.keyfile} "
                              f"cannot be used with the certificate in {pair.certfile}: {why}")
        name = SETTINGS_OF[part]
        value = {"certfile": pair.certfile, "ciphers": config.ciphers,
                 "ca_certs": config.ca_certs}[name]
        raise ConfigError(f"{name} (from {config.origin(name)}): {value} cannot be used: {why}")

    def _session_id(self) -> bytes:
        """Stands for whom sessions trust: one of other authorities is not resumed."""
        trust = f"{self.config.cert_reqs}\0".encode() + (self.authorities or b"")
        return hashlib.sha256(trust).digest()


def load(config: Config, before: Tls | None, tickets: bytes) -> Tls:
    """As ``load_tls``, where there is a certificate, or a hook that makes a context."""
    keys = before.tickets if before is not None else TicketKeys.unpack(tickets) or TicketKeys.new()
    tls = Tls(config, tuple(read_pairs(config)), read_authorities(config), keys)
    if "ssl_context" in config.hooks:
        tls = tls._replace(foreign=from_hook(config, tls.pairs, use_library()))
    tls.context()
    return tls


def reread(tls: Tls) -> Tls:
    """Read the files again; raise ConfigError or TlsError for what cannot be used."""
    new = tls._replace(pairs=tuple(read_pairs(tls.config)),
                       authorities=read_authorities(tls.config))
    if new != tls:
        new.context()
    return new


def versions(config: Config) -> tuple[int, int]:
    """Return the least and the latest version of TLS, 0 for the latest that there is."""
    if config.ssl_version:
        only = VERSIONS[config.ssl_version]
        return only, only
    return VERSIONS[config.tls_minimum], 0


def use_library() -> openssl.Library:
    """Find OpenSSL and let the core use it; raise TlsError."""
    from fastwsgi._core.core import openssl_names, use_openssl

    library = openssl.find(*openssl_names())
    try:
        use_openssl(library.addresses)
    except ImportError as error:
        raise TlsError(f"{library.text} ({library.origin}) cannot be used for TLS: {error}"
                       ) from None
    return library


def _subject_of(pem: bytes) -> str:
    try:
        return subject_of(pem)
    except (ValueError, IndexError):  # OpenSSL has read it, and it says nothing to us
        return ""
