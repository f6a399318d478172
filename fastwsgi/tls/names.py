"""What stands in a certificate: the host names it is for, its kind of key, its owner's name.

Just enough of X.690 (DER) to find them, so that it takes no library. The certificates have been
read by OpenSSL already; what is malformed all the same raises ValueError.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

_BLOCK = re.compile(
    rb"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _OCTETS, _OID, _EXTENSIONS, _DNS_NAME = 0x30, 0x04, 0x06, 0xA3, 0x82
_ALT_NAMES = bytes.fromhex("551d11")  # 2.5.29.17
_COMMON_NAME = bytes.fromhex("550403")  # 2.5.4.3
_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")

_ATTRIBUTES = {  # RFC 4514 3, and what is customary
    "550403": "CN", "550404": "SN", "550405": "serialNumber", "550406": "C", "550407": "L",
    "550408": "ST", "550409": "street", "55040a": "O", "55040b": "OU", "55040c": "title",
    "55042a": "GN", "0992268993f22c640119": "DC", "0992268993f22c640101": "UID",
    "2a864886f70d010901": "emailAddress",
}
_ENCODINGS = {0x0C: "utf-8", 0x12: "ascii", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii",
              0x1A: "ascii", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}


def count(pem: bytes) -> int:
    """Count the certificates in a text."""
    return len(_BLOCK.findall(pem))


def host_names(pem: bytes) -> tuple[str, ...]:
    """Return the names that the first certificate is for: ``*.`` may stand for one label.

    They are those of its subjectAltName. One without has its common name, if that is a host's.
    """
    fields = _fields_of(pem)
    found: list[bytes] = []
    for tag, value in fields:
        if tag == _EXTENSIONS:
            found += _alt_names(value)
    if not found:
        found = [value for rdn in _names(fields) for oid, _, value in rdn if oid == _COMMON_NAME]
    texts = (value.decode("latin-1").lower().rstrip(".") for value in found)
    return tuple(dict.fromkeys(text for text in texts if _HOST.fullmatch(text)))


def key_kind(pem: bytes) -> str:
    """Return what kind of key the first certificate has: its algorithm's identifier, dotted."""
    fields = _fields_of(pem)
    if len(fields) < 6:
        raise ValueError("not a certificate")
    (_, algorithm), *_ = _items(fields[5][1])
    (_, oid), *_ = _items(algorithm)
    return _dotted(oid)


def subject_of(pem: bytes) -> str:
    """Return the subject of the first certificate as RFC 4514 spells it, in ASCII only."""
    names = []
    for rdn in reversed(list(_names(_fields_of(pem)))):
        names.append("+".join(_attribute(*item) for item in rdn))
    return ",".join(names)


def _attribute(oid: bytes, tag: int, value: bytes) -> str:
    kind = _ATTRIBUTES.get(oid.hex()) or _dotted(oid)
    encoding = _ENCODINGS.get(tag)
    if encoding is None:
        return f"{kind}=#{_encoded(tag, value).hex()}"
    return f"{kind}={_escaped(value.decode(encoding, 'replace'))}"


def _escaped(text: str) -> str:
    escaped = "".join(
        f"\\{c}" if c in ',+"\\<>;' else
        c if " " <= c <= "~" else
        "".join(f"\\{byte:02X}" for byte in c.encode("utf-8", "replace"))
        for c in text)
    if escaped.startswith((" ", "#")):
        escaped = f"\\{escaped}"
    if len(text) > 1 and text.endswith(" "):
        escaped = f"{escaped[:-1]}\\ "
    return escaped


def _dotted(oid: bytes) -> str:
    numbers, value = [], 0
    for byte in oid:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2) if numbers else 0
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:]))) if numbers else ""


# ---- structure ----


def _fields_of(pem: bytes) -> list[tuple[int, bytes]]:
    """The fields of the certificate proper (RFC 5280 4.1), without its version."""
    block = _BLOCK.search(pem)
    if block is None:
        raise ValueError("no certificate")
    try:
        der = binascii.a2b_base64(block[1])
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    (_, certificate), = _items(der)
    (_, proper), *_ = _items(certificate)
    return [item for item in _items(proper) if item[0] != 0xA0]


def _names(fields: list[tuple[int, bytes]]) -> Iterator[list[tuple[bytes, int, bytes]]]:
    """The subject, name by name: each is a set of attributes, mostly of one."""
    if len(fields) < 5:
        raise ValueError("not a certificate")
    for _, rdn in _items(fields[4][1]):
        found = []
        for _, pair in _items(rdn):
            (_, oid), (tag, value), *_ = _items(pair)
            found.append((oid, tag, value))
        yield found


def _alt_names(extensions: bytes) -> list[bytes]:
    found = []
    for _, listed in _items(extensions):
        for _, extension in _items(listed):
            parts = list(_items(extension))
            if parts[0] == (_OID, _ALT_NAMES) and parts[-1][0] == _OCTETS:
                for _, names in _items(parts[-1][1]):
                    found += [value for tag, value in _items(names) if tag == _DNS_NAME]
    return found


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The values that stand one behind the other, each with its tag."""
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise ValueError("a value is cut off")
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            width = size & 0x7F
            size = int.from_bytes(data[at : at + width], "big")
            if not 1 <= width <= 4:
                raise ValueError("a length without end")
            at += width
        if at + size > len(data):
            raise ValueError("a value is cut off")
        yield tag, data[at : at + size]
        at += size


def _encoded(tag: int, value: bytes) -> bytes:
    size = len(value)
    width = (size.bit_length() + 7) // 8
    head = bytes([size]) if size < 0x80 else bytes([0x80 | width]) + size.to_bytes(width, "big")
    return bytes([tag]) + head + value
