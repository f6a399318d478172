"""--reload: changes that are noticed by either engine, and an application that does not import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from apps.client import GET
from apps.command import Command, Project
from apps.eventually import answer_with

from fastwsgi.testing import raw, spawn

APP = """
    import part
    def app(environ, start_response):
        start_response("200 OK", [])
        return [part.TEXT]
    """

engines = pytest.mark.parametrize("engine", ["poll", "inotify"])


def options(engine: str, *more: str) -> list[str]:
    return ["--reload", "--reload-engine", engine, "--log-level", "debug", *more, "app:app"]


@engines
def test_a_change_of_a_module_starts_the_workers_anew(project: Project, engine: str) -> None:
    where = project(app=APP, part="TEXT = b'version 1'")
    with spawn(*options(engine, "-w", "2"), cwd=where) as server:
        assert b"version 1" in raw(server.address, GET)
        project(part="TEXT = b'version 22'")
        server.wait_for(r"part\.py has changed")
        server.wait_for(r"\] ready: 2 workers", count=2)
        answer_with(server.address, GET, b"version 22")
        project(part="TEXT = b'version 333'")
        server.wait_for(r"\] ready: 2 workers", count=3)
        answer_with(server.address, GET, b"version 333")
        assert server.output().count("reloading") == 2  # though both workers have seen it


@pytest.mark.parametrize(("engine", "broken"), [
    ("poll", "TEXT = "), ("inotify", "TEXT = "), ("poll", "TEXT = 1 / 0"),
    ("poll", "import sys; sys.exit('no')"),
], ids=["poll-syntax", "inotify-syntax", "exception", "exit"])
def test_an_application_that_does_not_import_comes_back_with_the_next_change(
    project: Project, engine: str, broken: str,
) -> None:
    where = project(app=APP, part="TEXT = b'version 1'")
    with spawn(*options(engine), cwd=where) as server:
        project(part=broken)
        server.wait_for("waiting for a source file to change")
        assert 'File "' in server.output()
        assert "part.py" in server.output()
        project(part="TEXT = b'mended now'")
        assert b"mended now" in raw(server.address, GET, timeout=30)


@engines
def test_an_application_that_never_imported_comes_up_with_a_new_file(
    project: Project, engine: str, tmp_path: Path,
) -> None:
    where = project(app="def app(e, s): s('200 OK', []); return [b'first']")
    address = str(tmp_path / "s")
    with spawn(*options(engine), "-b", f"unix:{address}", cwd=where) as server:
        project(app=APP)
        server.wait_for("No module named 'part'")
        server.wait_for("waiting for a source file to change")
        project(part="TEXT = b'here it is'")
        assert answer_with(address, GET, b"here it is")


@engines
def test_a_change_of_an_extra_file_counts(project: Project, engine: str) -> None:
    where = project({"page.txt": "one"}, app="""
        text = open("page.txt").read().encode()
        def app(environ, start_response):
            start_response("200 OK", [])
            return [text]
        """)
    with spawn(*options(engine, "--reload-extra-file", "page.txt"), cwd=where) as server:
        assert b"one" in raw(server.address, GET)
        project({"page.txt": "another"})
        server.wait_for(r"\] ready: 1 worker", count=2)
        assert b"another" in raw(server.address, GET)


def test_a_change_during_the_import_is_not_missed(project: Project) -> None:
    where = project(part="TEXT = b'old'", app=APP + """
    if part.TEXT == b"old":
        with open("part.py", "w") as file:
            file.write("TEXT = b'newer'")
    """)
    with spawn(*options("poll"), cwd=where) as server:
        server.wait_for(r"part\.py has changed")
        server.wait_for(r"worker \d+ is ready", count=2)
        assert b"newer" in raw(server.address, GET)


def test_wrong_settings_in_between_are_told_and_watched_on(project: Project) -> None:
    where = project({"fastwsgi.conf.py": ""}, app=APP, part="TEXT = b'version 1'")
    with spawn(*options("poll", "--reload-extra-file", "fastwsgi.conf.py"), cwd=where) as server:
        project({"fastwsgi.conf.py": "workers = 'lots'"})
        server.wait_for("reload refused, nothing has changed")
        project({"fastwsgi.conf.py": "workers = 2"})
        server.wait_for(r"\] ready: 2 workers")


def test_settings_that_change_while_they_are_read_are_read_again(project: Project) -> None:
    where = project({"fastwsgi.conf.py": ""}, app=APP, part="TEXT = b'version 1'")
    with spawn(*options("poll", "--reload-extra-file", "fastwsgi.conf.py"), cwd=where) as server:
        project({"fastwsgi.conf.py": """
            __import__("pathlib").Path("fastwsgi.conf.py").write_text("workers = 2")
            """})
        server.wait_for(r"\] ready: 2 workers")


def test_without_the_library_files_are_polled(
    project: Project, without: Callable[[str], dict[str, str]],
) -> None:
    where = project(app=APP, part="TEXT = b'version 1'")
    with spawn(*options("auto"), cwd=where, env=without("watchfiles")) as server:
        project(part="TEXT = b'version 22'")
        server.wait_for(r"\] ready: 1 worker", count=2)
        answer_with(server.address, GET, b"version 22")


def test_an_engine_that_is_not_installed_is_refused(
    command: Command, without: Callable[[str], dict[str, str]],
) -> None:
    done = command(*options("inotify"), env=without("watchfiles"))
    assert done.returncode == 2
    assert "needs the watchfiles library: pip install fastwsgi[reload]" in done.stderr


@pytest.mark.parametrize(("args", "reason"), [
    (["--preload"], "reload (from command line --reload) and preload_app (from command line --pre"),
    (["-w", "0"], "workers must be 1 or more for reload (from command line --reload)"),
])
def test_what_cannot_go_with_it_is_refused(
    command: Command, args: list[str], reason: str,
) -> None:
    for more in ([], ["--check-config"]):
        done = command("--reload", *args, *more, "app:app")
        assert done.returncode == (1 if more else 2)
        assert reason in done.stderr
