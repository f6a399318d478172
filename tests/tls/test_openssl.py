"""Finding the one OpenSSL whose functions are called."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import ssl
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from apps import ROOT

from fastwsgi.errors import TlsError
from fastwsgi.system import openssl

NAMES = ("TLS_server_method", "SSL_CTX_new", "SSL_CTX_free", "SSL_new", "SSL_get_version",
         "SSL_free", "BIO_new", "BIO_s_mem", "BIO_free")

DISCOVERY = """
import json, os, sys
{before}
from fastwsgi.errors import TlsError
from fastwsgi.system import openssl
{after}
try:
    found = openssl.find({names!r}, {optional!r})
except TlsError as error:
    print(json.dumps({{"error": str(error)}}))
else:
    loaded = set()
    with open("/proc/self/maps") as maps:
        loaded = {{line.split()[-1] for line in maps if "libssl" in line or "libcrypto" in line}}
    print(json.dumps({{**found._asdict(), "origin": os.path.realpath(found.origin),
                      "package": found.origin, "loaded": sorted(loaded)}}))
"""
WITHOUT_SSL = "sys.modules['_ssl'] = None  # an import of it fails"
HIDDEN = ("import types; sys.modules['_ssl'] = types.ModuleType('_ssl')"
          "  # built in, with an OpenSSL that shows no names")
WITHOUT_SYSTEM = "openssl.SYSTEM_LIBRARIES = ('libssl.so.none', 'libssl.so.old')"
WITHOUT_CRYPTOGRAPHY = "sys.modules['cryptography'] = None"

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def discovery(before: str = "", after: str = "", names: tuple[str, ...] = NAMES,
              optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a fresh interpreter finds: libraries stay loaded, so each search needs its own."""
    code = DISCOVERY.format(before=before, after=after, names=names, optional=optional)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def makes_a_connection(library: openssl.Library) -> bool:
    """Whether the functions are those that their names say, as far as a context can show."""
    at = library.addresses
    pointer, version = ctypes.c_void_p, ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)
    one = ctypes.CFUNCTYPE(pointer, pointer)
    method = ctypes.CFUNCTYPE(pointer)(at["TLS_server_method"])()
    context = one(at["SSL_CTX_new"])(method)
    connection = one(at["SSL_new"])(context)
    name = version(at["SSL_get_version"])(connection)
    ctypes.CFUNCTYPE(None, pointer)(at["SSL_free"])(connection)
    ctypes.CFUNCTYPE(None, pointer)(at["SSL_CTX_free"])(context)
    return name == b"TLSv1.3"


# ---- the library that Python has loaded ----


def test_takes_the_library_that_python_has_loaded() -> None:
    library = openssl.find(NAMES)
    assert library.is_pythons
    assert library.text == ssl.OPENSSL_VERSION
    assert library.version == ssl.OPENSSL_VERSION_NUMBER
    assert set(NAMES) <= set(library.addresses)
    assert makes_a_connection(library)


@linux
def test_loads_no_second_library_beside_pythons() -> None:
    found = discovery()
    assert found["is_pythons"]
    assert found["origin"] in found["loaded"]
    assert len(found["loaded"]) == 2, "one libssl and one libcrypto"


def test_optional_functions_may_be_missing() -> None:
    library = openssl.find(NAMES, ["SSL_CTX_ctrl", "SSL_of_the_future"])
    assert "SSL_CTX_ctrl" in library.addresses
    assert "SSL_of_the_future" not in library.addresses


@linux
def test_loads_no_other_library_when_pythons_lacks_a_function() -> None:
    found = discovery(after=WITHOUT_CRYPTOGRAPHY, names=(*NAMES, "SSL_of_the_future"))
    assert "Python's OpenSSL does not have SSL_of_the_future" in found["error"]
    assert "the system's was not tried beside /" in found["error"]


def test_refuses_a_library_that_another_one_stands_before(monkeypatch: pytest.MonkeyPatch) -> None:
    import _ssl

    monkeypatch.setattr(_ssl, "OPENSSL_VERSION", "OpenSSL 3.9.9 of a preloaded library")
    with pytest.raises(TlsError, match=r"but Python uses OpenSSL 3\.9\.9 of a preloaded library"):
        without_cryptography(monkeypatch)
        openssl.find(NAMES)


def test_refuses_functions_of_two_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    without_cryptography(monkeypatch)
    true_file = openssl._file_of
    addresses = openssl.find(NAMES).addresses
    foreign = addresses["SSL_new"]
    monkeypatch.setattr(openssl, "_file_of", lambda address: "/opt/other/libssl.so.3"
                        if address == foreign else true_file(address))
    with pytest.raises(TlsError, match=r"a mixture of .*/opt/other/libssl\.so\.3"):
        openssl.find(NAMES)


@pytest.mark.parametrize(("name", "of_libssl"), [
    ("SSL_new", True), ("TLS_server_method", True), ("OPENSSL_init_ssl", True),
    ("PEM_read_bio_SSL_SESSION", True), ("BIO_f_ssl", True), ("OPENSSL_init_crypto", False),
    ("OpenSSL_version_num", False), ("X509_free", False), ("BIO_new", False),
])  # fmt: skip
def test_knows_which_library_has_a_name(name: str, of_libssl: bool) -> None:
    assert bool(openssl._OF_LIBSSL.search(name)) is of_libssl


# ---- the system's ----


@linux
@pytest.mark.parametrize("python", [WITHOUT_SSL, HIDDEN], ids=["no ssl module", "hidden"])
def test_takes_the_systems_library_where_pythons_cannot_be_called(python: str) -> None:
    found = discovery(before=python)
    assert not found["is_pythons"]
    assert "libssl.so" in found["origin"]
    assert found["text"].startswith("OpenSSL ")
    assert set(NAMES) <= set(found["addresses"])
    assert found["origin"] in found["loaded"]
    assert len(found["loaded"]) == 2, "one libssl and one libcrypto"


@linux
def test_the_first_library_of_the_system_decides() -> None:
    found = discovery(before=f"{WITHOUT_SSL}\n{WITHOUT_CRYPTOGRAPHY}",
                      names=(*NAMES, "SSL_of_the_future"))
    assert "libssl.so.3 does not have SSL_of_the_future" in found["error"] or \
        "libssl.so.1.1 does not have SSL_of_the_future" in found["error"]
    assert "libssl.so.1.1 and" not in found["error"]


# ---- the function table of the cryptography package ----


@linux
@pytest.mark.parametrize("python", [WITHOUT_SSL, HIDDEN], ids=["no ssl module", "hidden"])
def test_takes_the_functions_of_the_cryptography_package_at_last(python: str) -> None:
    found = discovery(before=python, after=WITHOUT_SYSTEM,
                      optional=("SSL_CTX_ctrl", "SSL_CTX_set_mode"))
    assert not found["is_pythons"]
    assert found["package"].startswith("cryptography ")
    assert found["text"].startswith("OpenSSL ")
    assert set(NAMES) <= set(found["addresses"])
    assert "SSL_CTX_set_mode" in found["addresses"]


def test_the_functions_of_the_cryptography_package_can_be_called() -> None:
    library = openssl._from_cryptography([*openssl.VERSION_FUNCTIONS, *NAMES], [])
    assert makes_a_connection(library)


def test_names_the_function_that_the_cryptography_package_lacks() -> None:
    with pytest.raises(openssl._Unusable, match=r"cryptography [\d.]+ does not have SSL_no_such"):
        openssl._from_cryptography([*openssl.VERSION_FUNCTIONS, "SSL_no_such"], [])


def test_a_variable_of_the_cryptography_package_is_no_function(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """What its OpenSSL lacks is declared as a pointer that holds NULL."""
    binding = importlib.import_module("cryptography.hazmat.bindings._rust")._openssl
    absent = binding.ffi.cast("int (*)(void *)", 0)
    table = types.SimpleNamespace(ffi=binding.ffi, lib=types.SimpleNamespace(SSL_gone=absent))
    monkeypatch.setattr(
        importlib.import_module("cryptography.hazmat.bindings._rust"), "_openssl", table)
    with pytest.raises(openssl._Unusable, match="does not have SSL_gone"):
        openssl._from_cryptography(["SSL_gone"], [])


def test_a_cryptography_package_without_the_table_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    binding = "cryptography.hazmat.bindings._rust"
    monkeypatch.setitem(sys.modules, binding, types.ModuleType("_rust"))
    with pytest.raises(openssl._Unusable, match="has no function table that is known here"):
        openssl._from_cryptography(NAMES, [])


# ---- what is refused ----


def without_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)


def test_one_sentence_names_all_that_was_tried() -> None:
    found = discovery(before=f"{HIDDEN}\n{WITHOUT_CRYPTOGRAPHY}", after=WITHOUT_SYSTEM)
    assert found["error"] == (
        "TLS needs OpenSSL 1.1.1 or later, and none can be used: Python's ssl module has its "
        "OpenSSL built in, where it cannot be called; the system has no libssl.so.none or "
        "libssl.so.old; the cryptography package is not installed. Install the system's libssl or "
        "the cryptography package.")


@pytest.mark.parametrize(("number", "text", "why"), [
    (0x20000000, b"LibreSSL 3.3.6", "LibreSSL 3.3.6 is not OpenSSL"),
    (0x1010107F, b"OpenSSL 1.1.1 (compatible; AWS-LC 1.30.0)", "is not OpenSSL"),
    (0x1000217F, b"OpenSSL 1.0.2u  20 Dec 2019", "OpenSSL 1.0.2u  20 Dec 2019 is too old"),
    (0x30000130, b"", "a library that does not say its name is not OpenSSL"),
])  # fmt: skip
def test_refuses_what_only_looks_like_openssl(number: int, text: bytes, why: str) -> None:
    count = ctypes.CFUNCTYPE(ctypes.c_ulong)(lambda: number)
    holder = ctypes.create_string_buffer(text)
    say = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int)(lambda _kind: ctypes.addressof(holder))
    addresses = {name: ctypes.cast(function, ctypes.c_void_p).value or 0
                 for name, function in zip(openssl.VERSION_FUNCTIONS, (count, say), strict=True)}
    with pytest.raises(openssl._Unusable) as refused:
        openssl._version(addresses)
    assert why in str(refused.value)


def test_the_search_is_left_out_of_a_plain_start() -> None:
    code = "import sys, fastwsgi.server; print('fastwsgi.system.openssl' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60)
    assert done.stdout.strip() == "False"


def test_the_module_that_is_tested_is_the_trees_own() -> None:
    found = importlib.util.find_spec("fastwsgi.system.openssl")
    assert found is not None
    assert Path(str(found.origin)).is_relative_to(ROOT)
