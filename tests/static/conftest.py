"""What the tests of --static share: a folder of files, and one server of them for each file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from apps.client import Client
from apps.statics import APP, folder

from fastwsgi.testing import Process, spawn


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    public = folder(tmp_path_factory.mktemp("static"))
    (public.parent / "app.py").write_text("\n".join(line[4:] for line in APP.splitlines()))
    return public


@pytest.fixture(scope="module")
def server(public: Path) -> Iterator[Process]:
    with spawn("--static", "/static=public", "--static", "/static/more/=beyond",
               "--static-immutable", "/static/assets/*", "--metrics-bind", "127.0.0.1:0",
               "--access-logfile", "-", "--access-logformat", "%(m)s %(U)s %(s)s %(B)s",
               "app:app", cwd=public.parent) as server:
        yield server


@pytest.fixture
def client(server: Process) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client
