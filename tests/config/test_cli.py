"""The command as an operator meets it: real processes, their exit codes and their last words."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from apps import ROOT
from apps.client import GET
from apps.command import Command, Project

from fastwsgi import __version__
from fastwsgi.cli import parse
from fastwsgi.config.table import SETTINGS
from fastwsgi.testing import raw, spawn

APP = """
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"served"]

    def make_app():
        return app
    """


def last_words(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line on stderr that a user's error is."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("fastwsgi: error: ")
    return line.removeprefix("fastwsgi: error: ")


def test_version(command: Command) -> None:
    done = command("--version")
    assert (done.returncode, done.stdout) == (0, f"fastwsgi {__version__}\n")


def test_help_shows_every_flag_under_the_commands_own_name(command: Command) -> None:
    done = command("--help", "all")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: fastwsgi [OPTIONS] MODULE:APP\n")
    for setting in SETTINGS.values():
        for flag in setting.flags:
            assert flag in done.stdout


def test_help_and_print_config_need_neither_core_nor_anything_slow() -> None:
    code = ("import sys; from fastwsgi import cli; cli.build_parser().format_help(); "
            "print([m for m in sys.modules if m.startswith('fastwsgi._core') or m in "
            "('logging', 'socket', 'asyncio', 'importlib.metadata', 'httptools')])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          timeout=60, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_print_config_shows_values_with_their_origins(
    command: Command, project: Project,
) -> None:
    project({"fastwsgi.conf.py": "backlog = 100"})
    done = command("--print-config", "-w", "3", "app", env={"FASTWSGI_KEEPALIVE": "5"})
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split(" = ")[0]: line for line in done.stdout.splitlines()}
    assert re.search(r"^workers = 3 +# command line --workers$", lines["workers"])
    assert re.search(r"^backlog = 100 +# \./fastwsgi\.conf\.py$", lines["backlog"])
    assert re.search(r"^keepalive = 5 +# environment FASTWSGI_KEEPALIVE$", lines["keepalive"])
    assert re.search(r"^threads = 1 +# default$", lines["threads"])
    assert set(lines) == {*SETTINGS} - {"config"} | {"# config"}


@pytest.mark.parametrize(("arguments", "value"), [
    (["app:app", "--proxy-protocol"], "auto"),
    (["--proxy-protocol", "--threads", "2", "app:app"], "auto"),
    (["--proxy-protocol", "v2", "app:app"], "v2"),
    (["--proxy-protocol=off", "app:app"], "off"),
])
def test_a_flag_may_take_its_value_or_not(arguments: list[str], value: str) -> None:
    found = parse(arguments)
    assert (found["proxy_protocol"], found["wsgi_app"]) == (value, "app:app")


def test_what_print_config_shows_of_proxies_can_be_read_back(
    command: Command, project: Project,
) -> None:
    arguments = ["--forwarded-allow-ips", "10.0.0.0/8,*", "--forwarded-follow", "host,scheme",
                 "--forwarder-headers", "remote_user", "--proxy-allow-from", "::1"]
    env = {"FASTWSGI_SECURE_SCHEME_HEADERS": "X-Scheme=https"}
    first = command("--print-config", *arguments, "app", env=env).stdout
    assert "secure_scheme_headers = {'X-SCHEME': 'https'}" in first
    assert "forwarded_follow = ['scheme', 'host']" in first
    project({"shown.py": first})
    again = command("--print-config", "-c", "shown.py", "app").stdout
    settings = [line.split("  #")[0].strip() for line in first.splitlines()
                if line.startswith(("forward", "secure", "proxy"))]
    assert len(settings) == 6
    assert all(line in again for line in settings)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--wrokers", "3", "app:app"], "unknown option --wrokers; did you mean --workers?"),
    (["--limit-request-filed-size=3", "app:app"],
     "unknown option --limit-request-filed-size; did you mean --limit-request-field-size?"),
    (["--zzz", "app:app"], "unknown option --zzz; see fastwsgi --help"),
    (["--work", "3", "app:app"], "unknown option --work; did you mean --workers?"),
    ([], "no application: name one as MODULE:APP, for example fastwsgi "
         "myproject.wsgi:application"),
    (["app:app", "more"], "expected one application, but got another argument: 'more'"),
    (["app:app", "--bind"], "argument -b/--bind: expected one argument"),
    (["app:app", "-w", "x"], "workers must be a whole number from 0 to 4096 or 'auto', not 'x' "
                             "(from command line --workers)"),
    (["app:app", "--threads", "0"],
     "threads must be a whole number from 1 to 1024, not 0 (from command line --threads)"),
    (["app:app", "--health-path", "healthz"],
     "health_path must be empty or a path that begins with '/', not 'healthz' (from command line "
     "--health-path)"),
    (["app:app", "-k", "eventlet"],
     "worker_class must be sync or gthread, not 'eventlet': green threads are not needed to hold "
     "many connections here, so drop the option, and set --threads to the number of requests that "
     "may wait at the same time (from command line --worker-class)"),
    (["-c", "missing.py", "app:app"],
     "cannot read the configuration file missing.py: No such file or directory"),
    (["--log-file", "no/such/dir/log", "app:app"], None),
])
def test_wrong_usage_is_one_line_and_exit_2(
    command: Command, arguments: list[str], message: str | None,
) -> None:
    words = last_words(command(*arguments), 2)
    if message is not None:
        assert words == message
    else:
        assert words.startswith("cannot write the error log ")


def test_a_wrong_variable_is_named(command: Command) -> None:
    words = last_words(command("app:app", env={"FASTWSGI_BACKLOG": "deep"}), 2)
    assert words.endswith("not 'deep' (from environment FASTWSGI_BACKLOG)")


def test_settings_are_refused_before_anything_is_bound(
    command: Command, project: Project, tmp_path: Path,
) -> None:
    project({"fastwsgi.conf.py": f"bind = 'unix:{tmp_path}/s'\nbakclog = 5"})
    assert "unknown setting 'bakclog'" in last_words(command("app:app"), 2)
    assert not (tmp_path / "s").exists()


def test_an_address_in_use_is_one_line_and_exit_1(command: Command, project: Project) -> None:
    project(app=APP)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert last_words(command("-b", address, "app:app"), 1) == (
            f"cannot listen on {address}: address already in use; another process listens on it")


def test_a_forbidden_path_is_one_line_and_exit_1(command: Command, project: Project) -> None:
    project(app=APP)
    words = last_words(command("-b", "unix:/proc/self/s", "app:app"), 1)
    assert words.startswith("cannot listen on unix:/proc/self/s: ")


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize(("target", "message"), [
    ("nowhere:app", "cannot import 'nowhere': there is no module on the import path"),
    ("app:ap", "module 'app' has no attribute 'ap'; did you mean app:app?"),
    ("app:__name__", "'app:__name__' is not a WSGI application: an object of type 'str' is not "
                     "callable"),
    ("app:make_app(1)", "cannot call 'app:make_app(1)': make_app() takes 0 positional arguments"),
])
def test_a_wrong_application_is_told_without_traceback_and_exit_4(
    command: Command, project: Project, workers: str, target: str, message: str,
) -> None:
    project(app=APP)
    done = command("-b", "127.0.0.1:0", "-w", workers, target)
    assert done.returncode == 4
    assert message in done.stderr
    assert "Traceback" not in done.stderr


WAYS = [("-w", "0"), ("-w", "1"), ("-w", "4"), ("-w", "4", "--preload"),
        ("-w", "4", "--strict-wsgi")]


@pytest.mark.parametrize("way", [*WAYS, ("--check-config",)], ids=" ".join)
def test_a_missing_module_is_one_line(
    command: Command, project: Project, way: tuple[str, ...],
) -> None:
    project(app=APP)
    done = command("-b", "127.0.0.1:0", *way, "nowhere:app")
    assert done.returncode == (1 if way == ("--check-config",) else 4)
    (line,) = done.stderr.splitlines()
    assert "cannot import 'nowhere': there is no module on the import path" in line
    assert done.stdout == ""


@pytest.mark.parametrize("way", [*WAYS, ("--check-config",)], ids=" ".join)
def test_an_application_that_fails_to_import_shows_its_own_traceback_once(
    command: Command, project: Project, way: tuple[str, ...],
) -> None:
    project(app="import base\n",
            base="def connect():\n    raise OSError('no database', object())\nconnect()\n")
    done = command("-b", "127.0.0.1:0", *way, "app:app")
    assert done.returncode == (1 if way == ("--check-config",) else 4)
    assert done.stderr.count("importing the application module 'app' failed: OSError: ") == 1
    assert done.stderr.count("Traceback (most recent call last):") == 1
    files = [line.split('"')[1] for line in done.stderr.splitlines() if line.startswith("  File ")]
    assert [Path(file).name for file in files] == ["app.py", "base.py", "base.py"]
    # beside the traceback of frames and error nothing but the line that says what failed
    assert len(done.stderr.splitlines()) <= 2 + 2 * 3 + 1 + 1
    assert "listening" not in done.stderr


@pytest.mark.parametrize(("way", "code"), [(("-w", "1"), 3), (("-w", "4"), 3)])
def test_workers_that_do_not_boot_are_told_once(
    command: Command, project: Project, way: tuple[str, ...], code: int,
) -> None:
    project({"c.py": "def post_fork(server, worker):\n    raise OSError('no database')\n"}, app=APP)
    done = command("-b", "127.0.0.1:0", "-c", "c.py", *way, "app:app")
    assert done.returncode == code
    first, *_, last = done.stderr.splitlines()
    assert first.endswith("the worker failed to boot: OSError: no database")
    assert last.endswith("giving up: 3 workers in a row did not start")
    assert done.stderr.count("Traceback") == 1
    assert [line.strip() for line in done.stderr.splitlines() if line.startswith("  File ")] == [
        'File "c.py", line 2, in post_fork']
    assert len(done.stderr.splitlines()) == 6


@pytest.mark.parametrize("way", WAYS[:4], ids=" ".join)
def test_listening_is_told_when_the_application_has_loaded(
    project: Project, way: tuple[str, ...],
) -> None:
    where = project(app="import sys\nprint('loaded', file=sys.stderr, flush=True)\n"
                        + textwrap.dedent(APP))
    with spawn(*way, "app:app", cwd=where) as server:
        server.terminate()
        output = server.output()
    assert output.rindex("loaded\n") < output.index("listening on") < output.index("] ready")
    assert output.count("listening on") == 1


def test_check_config_loads_the_application(command: Command, project: Project) -> None:
    project(app=APP, broken="1 / 0")
    good = command("--check-config", "-k", "sync", "app:make_app()")
    assert good.returncode == 0
    assert good.stderr.splitlines()[-1] == (
        "fastwsgi: the configuration is valid and app:make_app() loads")
    assert "worker_class sync" in good.stderr
    assert "module 'app' has no attribute 'nope'" in last_words(
        command("--check-config", "app:nope"), 1)
    assert "backlog must be" in last_words(
        command("--check-config", "--backlog", "0", "app:app"), 1)
    broken = command("--check-config", "broken:app")
    assert broken.returncode == 1
    assert "ZeroDivisionError" in broken.stderr


def test_check_config_binds_nothing(command: Command, project: Project, tmp_path: Path) -> None:
    project(app=APP)
    assert command("--check-config", "-b", f"unix:{tmp_path}/s", "app:app").returncode == 0
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("target", ["app:app", "app:make_app()"])
@pytest.mark.parametrize("workers", ["0", "1", "2"])
def test_serves_and_says_so(project: Project, target: str, workers: str) -> None:
    with spawn("-w", workers, target, cwd=project(app=APP)) as server:
        assert raw(server.address, GET).endswith(b"served")
        banner = server.output().splitlines()[0]
        assert f"fastwsgi {__version__} listening on {server.url} (workers: {workers}" in banner
        assert f"pid: {server.pid})" in banner
        assert server.terminate() == 0
        assert "Traceback" not in server.output()


def test_serves_on_several_addresses(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with spawn("-b", "127.0.0.1:0", "--bind", f"unix:{path}", "app:app",
               cwd=project(app=APP)) as server:
        assert f"{server.url}, unix:{path}" in server.output()
        assert raw(server.address, GET).endswith(b"served")
        assert raw(str(path), GET).endswith(b"served")
        assert server.terminate() == 0
    assert not path.exists()


def test_the_application_may_come_from_the_configuration_file(project: Project) -> None:
    where = project({"fastwsgi.conf.py": "wsgi_app = 'app:app'\nworkers = 2"}, app=APP)
    with spawn(cwd=where) as server:
        assert raw(server.address, GET).endswith(b"served")
        assert "(workers: 2, " in server.output()


def test_notices_are_logged_at_the_start(project: Project) -> None:
    with spawn("-k", "gthread", "app:app", cwd=project(app=APP),
               env={"FASTWSGI_WORKRES": "3"}) as server:
        assert "[WARNING] worker_class gthread (from command line --worker-class)" in (
            server.output())
        assert "did you mean FASTWSGI_WORKERS?" in server.output()


def test_chdir_pythonpath_and_env_reach_the_application(
    project: Project, tmp_path: Path,
) -> None:
    where = project({
        "site/app.py": """
            import os, extra
            def app(environ, start_response):
                start_response("200 OK", [])
                return [f"{os.getcwd()} {extra.value} {os.environ['COLOUR']}".encode()]
            """,
        "lib/extra.py": "value = 'more'",
    })
    with spawn("--chdir", "site", "--pythonpath", f"../nowhere,{where}/lib",
               "-e", "COLOUR=a=b", "--env", "OTHER=1", "app:app", cwd=where) as server:
        assert raw(server.address, GET).endswith(f"{tmp_path}/site more a=b".encode())
