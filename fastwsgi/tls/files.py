"""The files that TLS needs: certificates, keys, authorities.

Paths are followed through links, which is how certbot and Kubernetes change what a name stands for.
Nothing of a key is ever shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fastwsgi.config.config import Config
from fastwsgi.errors import ConfigError
from fastwsgi.tls.names import count, host_names, key_kind

MOST = 1 << 20
"""Bytes of a file of certificates or of a key."""


class Pair(NamedTuple):
    """A certificate, with those that lead to a known authority, and its key."""

    certfile: str
    pem: bytes
    keyfile: str
    key: bytes
    names: tuple[str, ...]
    kind: str  # of the key: the algorithm's identifier

    def __repr__(self) -> str:
        return f"Pair({self.certfile!r}, {self.names!r})"  # the key is for no log


def read_pairs(config: Config) -> Iterator[Pair]:
    """Read certificates and keys; raise ConfigError for what is none."""
    keyfiles = config.keyfile or config.certfile
    for certfile, keyfile in zip(config.certfile, keyfiles, strict=True):
        pem = _read(config, "certfile", certfile)
        if not count(pem):
            raise _refused(config, "certfile", f"{certfile} has no certificate in PEM")
        key = pem if keyfile == certfile else _read(config, "keyfile", keyfile)
        if b"PRIVATE KEY-----" not in key:
            name = "keyfile" if config.keyfile else "certfile"
            raise _refused(config, name, f"{keyfile} has no private key in PEM")
        try:
            names, kind = host_names(pem), key_kind(pem)
        except ValueError as error:
            raise _refused(config, "certfile", f"{certfile} is malformed: {error}") from None
        yield Pair(certfile, pem, keyfile, key, names, kind)


def read_authorities(config: Config) -> bytes | None:
    """Read whom the certificates of clients may be of; None where none are asked for."""
    if not config.ca_certs or config.cert_reqs == "none":
        return None
    pem = _read(config, "ca_certs", config.ca_certs)
    if not count(pem):
        raise _refused(config, "ca_certs", f"{config.ca_certs} has no certificate in PEM")
    return pem


def _read(config: Config, name: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(MOST + 1)
    except OSError as error:
        raise _refused(config, name, f"cannot read {path}: {error.strerror}") from None
    if len(content) > MOST:
        raise _refused(config, name, f"{path} is larger than {MOST} bytes")
    return content


def _refused(config: Config, name: str, why: str) -> ConfigError:
    return ConfigError(f"{name} (from {config.origin(name)}): {why}")
