"""Frameworks start this server in their own ways: Django's and Flask's commands, PasteDeploy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from apps import ROOT
from apps.client import GET
from apps.command import Project, started

from fastwsgi.testing import environment, raw

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in which the package is installed, as far as its entry points are concerned."""
    where = tmp_path_factory.mktemp("installed")
    info = where / "fastwsgi-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fastwsgi\nVersion: 0.1.0\n")
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    (info / "entry_points.txt").write_text("".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items())
        for group, names in groups.items()))
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{where}{os.pathsep}{ROOT}{os.pathsep}{before}"
    yield where
    os.environ["PYTHONPATH"] = before


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """What django-admin startproject makes, with the one word that this server needs."""
    subprocess.run([sys.executable, "-m", "django", "startproject", "shop", str(tmp_path)],
                   check=True, timeout=60)
    settings = tmp_path / "shop" / "settings.py"
    text = settings.read_text("utf-8")
    settings.write_text(text.replace("INSTALLED_APPS = [", "INSTALLED_APPS = [\n    'fastwsgi',"))
    return tmp_path


def test_a_project_of_django_switches_by_one_word(installed: Path, shop: Path) -> None:
    with started(["manage.py", "runfastwsgi", "127.0.0.1:0", "--threads", "2"],
                 cwd=shop) as server:
        with urlopen(server.url, timeout=20) as page:
            assert b"The install worked successfully" in page.read()
        with urlopen(f"{server.url}/static/admin/css/base.css", timeout=20) as style:
            assert style.headers["Content-Type"] == "text/css"
        assert server.output().count("listening on") == 1


@pytest.mark.parametrize(("words", "expected"), [
    ([], ["APP(True)", "--reload"]),
    (["8001"], ["APP(True)", "--bind", "127.0.0.1:8001", "--reload"]),
    (["0:80", "--noreload", "-w", "4"], ["APP(True)", "--bind", "0.0.0.0:80", "-w", "4"]),
    (["[::1]:80", "--nostatic", "--preload"], ["APP(False)", "--bind", "[::1]:80", "--preload"]),
])
def test_the_usage_of_runserver_is_understood(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: list[str],
) -> None:
    from types import SimpleNamespace

    import django.conf

    from fastwsgi.frameworks.django import command_line

    monkeypatch.setattr(django.conf, "settings", SimpleNamespace(
        DEBUG=True, INSTALLED_APPS=["django.contrib.staticfiles"]))
    app = "fastwsgi.frameworks.django:application"
    assert [word.replace(app, "APP") for word in command_line(words)] == expected
    django.conf.settings.DEBUG = False  # type: ignore[misc]
    assert command_line(["--insecure"]) == [f"{app}(True)"]
    assert command_line([]) == [f"{app}(False)"]


FLASK = """
    from flask import Flask
    def create_app():
        app = Flask(__name__)
        @app.route("/hello")
        def hello():
            return "Hello, World!"
        return app
    """


@pytest.mark.parametrize(
    "options", [["--app", "flaskr", "--debug"], ["--app", "flaskr:create_app"]], ids=" ".join)
def test_the_tutorial_of_flask_switches_by_one_word(
    installed: Path, project: Project, options: list[str],
) -> None:
    where = project({"flaskr/__init__.py": FLASK})
    with started(["-m", "flask", *options, "fastwsgi", "-b", "127.0.0.1:0"], cwd=where) as server:
        assert raw(server.address, GET.replace(b" / ", b" /hello ")).endswith(b"Hello, World!")


def test_flask_shows_our_help(installed: Path, project: Project) -> None:
    where = project({"flaskr/__init__.py": FLASK})
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "flaskr", "fastwsgi", "--help"], cwd=where,
        env=environment({}), capture_output=True, text=True, timeout=60)
    assert "usage: fastwsgi [OPTIONS] MODULE:APP" in done.stdout


INI = """
    [app:main]
    use = call:site_of_paste:main
    [server:main]
    use = egg:fastwsgi
    {settings}
    """
PYRAMID = """
    from pyramid.config import Configurator
    from pyramid.response import Response
    def main(global_config, **settings):
        config = Configurator(settings=settings)
        config.add_route("home", "/")
        config.add_view(lambda request: Response("Pyramid"), route_name="home")
        return config.make_wsgi_app()
    """


@pytest.mark.parametrize("settings", [
    "listen = 127.0.0.1:0", "host = 127.0.0.1\n    port = 0\n    workers = 2"], ids=repr)
def test_pserve_starts_it_by_the_name_of_the_distribution(
    installed: Path, project: Project, settings: str,
) -> None:
    where = project({"development.ini": INI.format(settings=settings)}, site_of_paste=PYRAMID)
    with started(["-c", "from pyramid.scripts.pserve import main; main()", "development.ini"],
                 cwd=where) as server:
        assert raw(server.address, GET).endswith(b"Pyramid")
        assert f"(workers: {'2,' if 'workers' in settings else '0,'}" in server.output()


def test_a_wrong_setting_of_the_section_is_told(installed: Path, project: Project) -> None:
    where = project({"development.ini": INI.format(settings="wrokers = 2")}, site_of_paste=PYRAMID)
    done = subprocess.run(
        [sys.executable, "-c", "from pyramid.scripts.pserve import main; main()",
         "development.ini"], cwd=where, env=environment({}), capture_output=True, text=True,
        timeout=60)
    assert done.returncode != 0
    assert re.search(r"unknown setting 'wrokers' .*did you mean 'workers'", done.stderr)


def test_the_fixture_of_pytest_starts_servers(installed: Path, project: Project) -> None:
    where = project(test_of_a_user="""
        from urllib.request import urlopen
        def app(environ, start_response):
            start_response("200 OK", [])
            return [environ["SERVER_PORT"].encode()]
        def test_two_servers(fastwsgi_server):
            one, other = fastwsgi_server(app), fastwsgi_server(app, threads=2)
            for server in (one, other):
                assert urlopen(server.url).read() == str(server.port).encode()
            assert one.port != other.port
        """)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p",
         "fastwsgi.frameworks.pytest_plugin", "test_of_a_user.py"], cwd=where,
        env=environment({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}), capture_output=True, text=True,
        timeout=60)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_live_servers_of_django_are_this_server(project: Project) -> None:
    """The fixture of pytest-django starts the thread in the same way, by the name in testcases."""
    where = project({"pytest.ini": "[pytest]\nfastwsgi_live_server = true\n"}, test_of_a_user="""
        from urllib.request import urlopen
        import django
        from django.conf import settings
        settings.configure(
            ROOT_URLCONF=__name__, STATIC_URL="/static/", MEDIA_URL="/media/",
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
        django.setup()
        from django.db import connection
        from django.http import HttpResponse
        from django.test import LiveServerTestCase, testcases
        from django.urls import path
        def view(request):
            with connection.cursor() as cursor:
                cursor.execute("SELECT a FROM t")
                return HttpResponse(str(cursor.fetchone()))
        urlpatterns = [path("", view)]
        class TestLive(LiveServerTestCase):
            def test_it_shares_the_connection(self):
                with connection.cursor() as cursor:
                    cursor.execute("CREATE TABLE t (a)")
                    cursor.execute("INSERT INTO t VALUES (42)")
                with urlopen(self.live_server_url) as response:
                    assert response.headers["Server"] == "fastwsgi"
                    assert response.read() == b"(42,)"
                assert testcases.LiveServerThread.of_fastwsgi
        """)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p",
         "fastwsgi.frameworks.pytest_plugin", "test_of_a_user.py"], cwd=where,
        env=environment({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}), capture_output=True, text=True,
        timeout=60)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_every_entry_point_leads_somewhere(installed: Path) -> None:
    import importlib

    text = (installed / "fastwsgi-0.1.0.dist-info" / "entry_points.txt").read_text()
    for target in re.findall(r"= (\S+)", text):
        module, _, name = target.partition(":")
        found = importlib.import_module(module)
        assert not name or isinstance(getattr(found, name), Callable)  # type: ignore[arg-type]
