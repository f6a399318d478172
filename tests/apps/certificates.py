"""Certificates for tests: an authority, and what it signs."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
NOW = datetime.datetime.now(datetime.timezone.utc)


class Certified(NamedTuple):
    """Files of a certificate and its key."""

    cert: str
    key: str


class Authority:
    """Signs certificates and writes them into its directory."""

    def __init__(
        self, folder: Path, name: str = "an authority of tests", signer: Authority | None = None,
    ) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        root = signer or self
        self._certificate = (
            x509.CertificateBuilder().subject_name(self._name).issuer_name(root._name)
            .public_key(self._key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(NOW - datetime.timedelta(days=1))
            .not_valid_after(NOW + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(root._key, hashes.SHA256()))
        self.file = str(folder / f"{name.replace(' ', '-')}.pem")
        Path(self.file).write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def authority(self, name: str) -> Authority:
        """Sign another authority."""
        return Authority(self.folder, name, self)

    def sign(
        self, file: str, *names: str, kind: str = "ec", days: int = 1,
        subject: Sequence[x509.NameAttribute] | None = None, password: bytes | None = None,
    ) -> Certified:
        """Write FILE.pem and FILE.key, for these host names."""
        key: Key = (ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else
                    rsa.generate_private_key(65537, 2048))
        owner = subject if subject is not None else [
            x509.NameAttribute(NameOID.COMMON_NAME, names[0])]
        builder = (
            x509.CertificateBuilder().subject_name(x509.Name(owner)).issuer_name(self._name)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(NOW - datetime.timedelta(days=30))
            .not_valid_after(NOW + datetime.timedelta(days=days)))
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]),
                critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        found = Certified(str(self.folder / f"{file}.pem"), str(self.folder / f"{file}.key"))
        Path(found.cert).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        lock = (serialization.BestAvailableEncryption(password) if password is not None else
                serialization.NoEncryption())
        Path(found.key).write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))
        return found
