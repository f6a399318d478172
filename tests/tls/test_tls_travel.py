"""What cannot travel: a connection whose keys are in one worker leaves with that worker."""

from __future__ import annotations

import signal

from apps.certificates import Authority
from apps.client import request
from apps.command import HELLO, Project, ready
from apps.tls_client import GET, answer, client_context, connect, rest

from fastwsgi.testing import raw, spawn


def test_at_a_reload_idle_connections_with_tls_are_closed_and_others_live_on(
    project: Project, own: Authority,
) -> None:
    files = own.sign("a", "a.test")
    with spawn("app:app", "--certfile", files.cert, "--keyfile", files.key, "--log-level", "debug",
               cwd=project(app=HELLO)) as server:
        (before,) = ready(server)
        kept = connect(server.address, client_context(own.file, check_hostname=False))
        assert answer(kept, GET)[0] == 200
        server.signal(signal.SIGHUP)
        ready(server, 2)
        assert rest(kept) == b"", "with a goodbye, long before it would time out"
        kept.close()
        server.wait_for(rf"worker {before} exited")


def test_health_stays_good_while_a_worker_is_replaced(project: Project) -> None:
    """A proxy that keeps its connection for checks does not hear of a reload."""
    with spawn("app:app", "-w", "2", "--health-path", "/health", cwd=project(app=HELLO)) as server:
        ready(server)
        check = request("/health", "Connection: close")
        server.signal(signal.SIGHUP)
        while server.output().count("] ready: ") < 2:
            assert raw(server.address, check).startswith(b"HTTP/1.1 200")
