"""The OpenSSL whose functions the core calls for TLS.

Nothing is linked and no headers are needed: the functions are looked up in a library that is there.
There are three ways to one, tried in this order:

1. The shared library that Python's own ``_ssl`` has loaded.
2. The system's libssl, where Python's OpenSSL is built in and its functions are hidden.
3. The function table of the ``cryptography`` package, which brings an OpenSSL in its wheel.

All functions come from one OpenSSL. Its objects (a connection, a certificate) mean nothing to
another one, and two whose names the linker can see would call into each other. So the system's is
not loaded into a process that shows an OpenSSL already, and what is found is traced back to its
file. The OpenSSL of the ``cryptography`` wheel shows no names and may stand beside any other.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fastwsgi.errors import TlsError

OLDEST = 0x1010100F
"""OpenSSL 1.1.1, the first with TLS 1.3, as ``OpenSSL_version_num`` gives it."""

_OF_LIBSSL = re.compile(r"(?<!OPEN)(?<!Open)SSL|^D?TLS|_ssl$")
"""The names that libssl has; all others are libcrypto's."""

VERSION_FUNCTIONS = ("OpenSSL_version_num", "OpenSSL_version")

SYSTEM_LIBRARIES: tuple[str, ...] = ("libssl.so.3", "libssl.so.1.1")
if sys.platform == "darwin":
    # By path only: macOS ends a process that loads its own libssl, which goes by the short name.
    SYSTEM_LIBRARIES = tuple(
        f"{prefix}/opt/openssl@{version}/lib/libssl.{version}.dylib"
        for prefix in ("/opt/homebrew", "/usr/local") for version in ("3", "1.1"))


class Library(NamedTuple):
    """Functions of one OpenSSL, which stays loaded until the process ends."""

    addresses: dict[str, int]
    """The functions by name. Names that were optional and are not there are missing."""

    version: int
    """What ``OpenSSL_version_num`` returns: 0x30000130 is 3.0.19."""

    text: str
    """What OpenSSL says of itself: ``OpenSSL 3.0.19 27 Jan 2026``."""

    origin: str
    """Where the functions are: a path, or a package with its version."""

    is_pythons: bool
    """Whether an ``ssl.SSLContext`` holds objects of this very library."""


class _Unusable(Exception):
    """One way leads nowhere; the text completes the sentence that names all that was tried."""


def find(required: Iterable[str], optional: Iterable[str] = ()) -> Library:
    """Find one OpenSSL with all *required* functions, and what it has of the *optional* ones.

    Some names differ between releases, and ``cryptography`` has what are macros elsewhere
    (``SSL_CTX_set_mode``) but not the function beneath them (``SSL_CTX_ctrl``): name both as
    optional and judge by what is there. The addresses are of C functions with the prototype that
    OpenSSL documents for the name.

    Raises TlsError, whose text names each way that was tried and why it failed.
    """
    needed = [*VERSION_FUNCTIONS, *required]
    wished = list(optional)
    reasons = []
    for way in (_from_python, _from_system, _from_cryptography):
        try:
            return way(needed, wished)
        except _Unusable as exc:
            reasons.append(str(exc))
    raise TlsError(
        f"TLS needs OpenSSL 1.1.1 or later, and none can be used: {'; '.join(reasons)}. "
        "Install the system's libssl or the cryptography package.")


# ---- the three ways ----


def _from_python(needed: Sequence[str], wished: Sequence[str]) -> Library:
    try:
        module: Any = importlib.import_module("_ssl")
    except ImportError:
        raise _Unusable("this Python has no ssl module") from None
    scope = _pythons_scope(module)
    if scope is None:
        raise _Unusable("Python's ssl module has its OpenSSL built in, where it cannot be called")
    addresses = _look_up(scope, "Python's OpenSSL", needed, wished)
    version, text = _version(addresses)
    origin = _one_origin(addresses, "Python's OpenSSL")
    # A library that another one of the process stands before is not the one that _ssl calls.
    if text != getattr(module, "OPENSSL_VERSION", text):
        raise _Unusable(f"{origin} is {text}, but Python uses {module.OPENSSL_VERSION}")
    return Library(addresses, version, text, origin, True)


def _pythons_scope(module: Any) -> ctypes.CDLL | None:
    """Where the functions that ``_ssl`` calls can be looked up, or None if they are hidden."""
    path = getattr(module, "__file__", None)
    scope = ctypes.CDLL(None)
    if path is not None:  # what a shared object depends on is found through it
        try:
            scope = ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
        except OSError:
            return None
    return scope if _address(scope, "SSL_CTX_new") else None


def _from_system(needed: Sequence[str], wished: Sequence[str]) -> Library:
    visible = _visible_openssl()
    if visible:
        raise _Unusable(f"the system's was not tried beside {visible}")
    absent = []
    for name in SYSTEM_LIBRARIES:
        try:
            library = ctypes.CDLL(name, mode=os.RTLD_NOW | os.RTLD_LOCAL)
        except OSError:
            absent.append(name)
            continue
        # The first that is there decides: a second one must not be loaded beside it.
        addresses = _look_up(library, name, needed, wished)
        return Library(addresses, *_version(addresses), _one_origin(addresses, name), False)
    raise _Unusable(f"the system has no {' or '.join(absent) or 'libssl that is known here'}")


def _visible_openssl() -> str:
    """The file of an OpenSSL whose names a library loaded from now on might be bound to."""
    scopes = [ctypes.CDLL(None)]
    module = sys.modules.get("_ssl")
    scope = None if module is None else _pythons_scope(module)
    if scope is not None:
        scopes.append(scope)
    for scope in scopes:
        for name in ("SSL_CTX_new", "OPENSSL_init_crypto"):
            address = _address(scope, name)
            if address:
                return _file_of(address)
    return ""


def _from_cryptography(needed: Sequence[str], wished: Sequence[str]) -> Library:
    try:
        package: Any = importlib.import_module("cryptography")
    except ImportError:
        raise _Unusable("the cryptography package is not installed") from None
    origin = f"cryptography {getattr(package, '__version__', 'of unknown version')}"
    try:
        binding: Any = importlib.import_module("cryptography.hazmat.bindings._rust")._openssl
        ffi, lib = binding.ffi, binding.lib
        table = {name: getattr(lib, name, None) for name in (*needed, *wished)}
    # Rust turns a panic of its start into an exception that derives from BaseException alone.
    except BaseException as exc:
        if isinstance(exc, (KeyboardInterrupt, SystemExit)):
            raise
        raise _Unusable(f"{origin} has no function table that is known here ({exc!r})") from None
    # CFFI has a C function for each declared one, macros too. What this release of OpenSSL lacks is
    # a variable that holds NULL.
    addresses = {
        name: int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
        for name, function in table.items()
        if function is not None and not isinstance(function, ffi.CData)
    }
    for name in needed:
        if name not in addresses:
            raise _Unusable(f"{origin} does not have {name}")
    return Library(addresses, *_version(addresses), origin, False)


# ---- what they share ----


def _look_up(scope: ctypes.CDLL, whose: str, needed: Sequence[str],
             wished: Sequence[str]) -> dict[str, int]:
    found = {name: _address(scope, name) for name in (*needed, *wished)}
    for name in needed:
        if not found[name]:
            raise _Unusable(f"{whose} does not have {name}")
    return {name: address for name, address in found.items() if address}


def _address(scope: ctypes.CDLL, name: str) -> int:
    try:
        return ctypes.cast(scope[name], ctypes.c_void_p).value or 0
    except AttributeError:
        return 0


def _version(addresses: dict[str, int]) -> tuple[int, str]:
    """The number and the text of the version; _Unusable if it is not an OpenSSL that will do."""
    number = ctypes.CFUNCTYPE(ctypes.c_ulong)(addresses["OpenSSL_version_num"])()
    say = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_int)(addresses["OpenSSL_version"])
    text = (say(0) or b"").decode("ascii", "replace")
    # BoringSSL and AWS-LC call themselves "OpenSSL 1.1.1 (compatible; ...)".
    if not text.startswith("OpenSSL ") or "compatible" in text:
        raise _Unusable(f"{text or 'a library that does not say its name'} is not OpenSSL")
    if number < OLDEST:
        raise _Unusable(f"{text} is too old")
    return number, text


class _SymbolInfo(ctypes.Structure):
    """What dladdr(3) tells of an address."""

    _fields_ = (
        ("file", ctypes.c_char_p), ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p), ("address", ctypes.c_void_p),
    )


def _file_of(address: int) -> str:
    info = _SymbolInfo()
    if not ctypes.CDLL(None).dladdr(ctypes.c_void_p(address), ctypes.byref(info)):
        return "an unknown file"
    file: bytes | None = info.file
    return os.fsdecode(file) if file else "an unknown file"


def _one_origin(addresses: dict[str, int], whose: str) -> str:
    """The file of libssl, when the functions come from it and from at most one libcrypto."""
    ssl_files: set[str] = set()
    crypto_files: set[str] = set()
    for name, address in addresses.items():
        files = ssl_files if _OF_LIBSSL.search(name) else crypto_files
        files.add(_file_of(address))
    if len(ssl_files) > 1 or len(crypto_files) > 1:
        listed = ", ".join(sorted(ssl_files | crypto_files))
        raise _Unusable(f"{whose} is a mixture of {listed}")
    return (ssl_files or crypto_files).pop()
