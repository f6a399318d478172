"""Several applications in one server, each below a path of its own: ``--mount``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from apps.client import Client
from apps.command import Command, Project

from fastwsgi.config.sources import from_keywords
from fastwsgi.errors import ConfigError
from fastwsgi.testing import Process, serve, spawn

APPS = """
    def named(name):
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [repr((name, environ["SCRIPT_NAME"], environ["PATH_INFO"])).encode()]
        return app
    api, deep, site = named("api"), named("deep"), named("site")
    """


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    import textwrap

    where = tmp_path_factory.mktemp("mounts")
    (where / "apps_of_mounts.py").write_text(textwrap.dedent(APPS))
    with spawn("--mount", "/api=apps_of_mounts:api", "--mount", "/api/v2/=apps_of_mounts:deep",
               "--mount", "/made=apps_of_mounts:named('made, here')", "apps_of_mounts:site",
               cwd=where) as server:
        yield server


@pytest.mark.parametrize(("target", "answer"), [
    ("/api", ("api", "/api", "")), ("/api/", ("api", "/api", "/")),
    ("/api/x/y?q=/api/v2", ("api", "/api", "/x/y")), ("/api/v2", ("deep", "/api/v2", "")),
    ("/api/v2/x", ("deep", "/api/v2", "/x")), ("/api/v22", ("api", "/api", "/v22")),
    ("/%61pi/x", ("api", "/api", "/x")), ("/api%2Fx", ("api", "/api", "/x")),
    ("/made/x", ("made, here", "/made", "/x")), ("/", ("site", "", "/")),
    ("/apis", ("site", "", "/apis")), ("/API", ("site", "", "/API")),
    ("//api/x", ("site", "", "//api/x")), ("/x/api", ("site", "", "/x/api")),
    ("/api/../x", ("api", "/api", "/../x")),
])
def test_the_longest_prefix_of_whole_segments_counts(
    mounted: Process, target: str, answer: tuple[str, str, str],
) -> None:
    with Client(mounted.address) as client:
        for _ in range(2):
            assert client.fetch(target).body == repr(answer).encode()


def test_the_whole_server_is_asked_of_the_application_of_the_rest(mounted: Process) -> None:
    with Client(mounted.address) as client:
        assert client.fetch("*", method="OPTIONS").body == b"('site', '', '*')"


@pytest.mark.parametrize("way", [("-w", "0"), ("-w", "2", "--preload"), ("--strict-wsgi",)],
                         ids=" ".join)
def test_without_an_application_other_paths_are_404(project: Project, way: tuple[str, ...]) -> None:
    where = project(apps_of_mounts=APPS)
    with spawn("--mount", "/api=apps_of_mounts:api", "--script-name", "/shop", *way,
               cwd=where) as server, Client(server.address) as client:
        assert client.fetch("/shop/api/x").body == b"('api', '/shop/api', '/x')"
        for target in ("/shop", "/shop/x", "/shop/apix", "/api/x"):
            response = client.fetch(target)
            assert (response.status, response.closes) == (404, False)
        head = client.fetch("/shop/x", method="HEAD")
        assert (head.status, head.body) == (404, b"")
        assert "PEP" not in server.output()


def test_an_application_in_python_may_have_others_beside_it(
    project: Project, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(project(apps_beside=APPS))

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"this one"]

    with serve(app, mount={"/api": "apps_beside:api"}) as server, \
            Client(server.address) as client:
        assert client.fetch("/api/x").body == b"('api', '/api', '/x')"
        assert client.fetch("/x").body == b"this one"


@pytest.mark.parametrize(("arguments", "message"), [
    (["--mount", "/api=apps_of_mounts:no"],
     "mount /api: module 'apps_of_mounts' has no attribute 'no'"),
    (["--mount", "/=apps_of_mounts:api", "apps_of_mounts:site"],
     "mount / (from command line --mount) and the application contradict each other"),
    (["--mount", "/api"], "mount must be /PREFIX=MODULE:APP, not '/api' (from command line "),
    (["--mount", "api=apps_of_mounts:api"], "mount must be /PREFIX=MODULE:APP, not 'api=apps"),
    (["--mount", "/a b=x:y"], "mount must be empty or a path that begins with '/', not '/a b'"),
    (["--mount", "/a=x:y", "--mount", "/a/=x:z"],
     "mount must be a list with each prefix once, not '/a' twice"),
])
def test_a_wrong_mount_is_one_line(
    project: Project, command: Command, arguments: list[str], message: str,
) -> None:
    project(apps_of_mounts=APPS)
    done = command("--check-config", *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"fastwsgi: error: {message}")


def test_check_config_loads_all_of_them(project: Project, command: Command) -> None:
    project(apps_of_mounts=APPS)
    done = command("--check-config", "--mount", "/=apps_of_mounts:site",
                   "--mount", "/api=apps_of_mounts:api")
    assert done.returncode == 0
    assert done.stderr == ("fastwsgi: the configuration is valid and /=apps_of_mounts:site, "
                           "/api=apps_of_mounts:api loads\n")


@pytest.mark.parametrize(("value", "found"), [
    ("/a=x:y", ("/a=x:y",)), ("/a=x:y /b/=z:make('a b')", ("/a=x:y", "/b=z:make('a b')")),
    (["/=x:y"], ("/=x:y",)), ({"/a": "x:y"}, ("/a=x:y",)), ([], ()),
    (["/a=x:make(k='=')"], ("/a=x:make(k='=')",)),
])
def test_mounts_have_several_forms(value: Any, found: tuple[str, ...]) -> None:
    assert from_keywords({"mount": value}).mount == found
    with pytest.raises(ConfigError, match="mount must be /PREFIX=MODULE:APP or a list"):
        from_keywords({"mount": 5})
