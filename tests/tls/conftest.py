"""What the tests of TLS share: an authority, a certificate, a client that trusts them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from apps.certificates import Authority, Certified
from apps.tls_client import client_context, hello

from fastwsgi.testing import Server, serve


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certified(authority: Authority) -> Certified:
    return authority.sign("localhost", "localhost")


@pytest.fixture
def context(authority: Authority) -> ssl.SSLContext:
    return client_context(authority.file)


@pytest.fixture
def own(tmp_path: Path) -> Authority:
    """An authority of one test, whose files it may break."""
    return Authority(tmp_path, "another authority")


@pytest.fixture(scope="module")
def server(certified: Certified) -> Iterator[Server]:
    with serve(hello, certfile=certified.cert, keyfile=certified.key) as server:
        yield server
