"""The functions of tutorials: wsgiref's make_server and werkzeug's run_simple."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from apps.client import GET
from apps.command import Project, started

from fastwsgi.errors import ConfigError, ListenError
from fastwsgi.frameworks.simple import _tls, make_server, run_simple
from fastwsgi.testing import raw

HELLO = """
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]
    """


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


def test_make_server_serves_until_shutdown() -> None:
    with make_server("127.0.0.1", 0, app) as server:
        assert server.server_address == ("127.0.0.1", server.server_port)
        assert server.get_app() is app
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert raw(server.server_address, GET).endswith(b"\r\n\r\n/")
        server.shutdown()
        thread.join(10)
        assert not thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        raw(server.server_address, GET)


def test_a_shutdown_before_it_serves_is_not_lost() -> None:
    with make_server("", 0, None) as server:
        server.shutdown()  # nothing runs: it returns
        with pytest.raises(ConfigError, match="give one to make_server or to set_app"):
            server.serve_forever()
        server.set_app(app)
        assert server.fileno() >= 0


def test_handle_request_answers_one() -> None:
    with make_server("127.0.0.1", 0, app, accesslog="") as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert raw(server.server_address, GET).endswith(b"\r\n\r\n/")
        thread.join(10)
        assert not thread.is_alive()


def test_what_is_wsgirefs_own_is_refused() -> None:
    for given in ({"server_class": object}, {"handler_class": object}):
        with pytest.raises(ConfigError, match="wsgiref's own"):
            make_server("127.0.0.1", 0, app, **given)
    with make_server("127.0.0.1", 0, app) as server, pytest.raises(ListenError):
        make_server("127.0.0.1", server.server_port, app)


def test_the_code_of_a_tutorial_runs(project: Project) -> None:
    where = project(hello=HELLO, main="""
        from fastwsgi.frameworks.simple import make_server
        from hello import app
        with make_server("127.0.0.1", 0, app) as httpd:
            print(f"[1] fastwsgi x listening on {httpd.url} (\\n[1] ready", flush=True)
            httpd.serve_forever()
        print("after")
        """)
    with started(["main.py"], cwd=where) as server:
        assert raw(server.address, GET).endswith(b"hello")
        server.terminate()
        assert "after" in server.output()


@pytest.mark.parametrize("options", ["", "threaded=True", "processes=2"])
def test_run_simple_serves_until_it_is_asked_to_stop(project: Project, options: str) -> None:
    where = project(hello=HELLO, main=f"""
        from fastwsgi.frameworks.simple import run_simple
        from hello import app
        run_simple("127.0.0.1", 0, app, {options})
        print("after")
        """)
    with started(["main.py"], cwd=where) as server:
        assert raw(server.address, GET).endswith(b"hello")
        assert f"(workers: {'2' if 'processes' in options else '0'}," in server.output()
        assert server.terminate() == 0
        assert "after" in server.output()


def test_run_simple_runs_again_when_the_code_changes(project: Project) -> None:
    where = project(hello=HELLO, main="""
        from fastwsgi.frameworks.simple import run_simple
        from hello import app
        run_simple("127.0.0.1", 0, app, use_reloader=True)
        """)
    with started(["main.py"], cwd=where) as server:
        assert raw(server.address, GET).endswith(b"hello")
        path = Path(where) / "hello.py"
        path.write_text(path.read_text().replace('b"hello"', 'b"changed it"'))
        line = server.wait_for(r"\] fastwsgi \S+ listening on ", count=2)
        port = int(line.partition("http://127.0.0.1:")[2].split()[0])
        assert raw(("127.0.0.1", port), GET).endswith(b"changed it")
        assert "hello.py has changed" in server.output()
        assert server.terminate() == 0


def test_what_is_werkzeugs_own_is_understood_or_refused(tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("body {}")
    with pytest.raises(ConfigError, match="request_handler"):
        run_simple("127.0.0.1", 0, app, request_handler=object)
    with pytest.raises(ConfigError, match="not 'adhoc'"):
        run_simple("127.0.0.1", 0, app, ssl_context="adhoc")
    assert _tls(("a.pem", "a.key")) == {"certfile": "a.pem", "keyfile": "a.key"}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert _tls(context)["ssl_context"](None, None) is context
