"""gunicorn's whole surface: a setting is honoured, harmless with a notice, or refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from apps.client import GET
from apps.command import HELLO, Command, Project
from gunicorn_settings import DEFAULTS, FLAGS, NAMES

from fastwsgi import cli
from fastwsgi.config.config import Config
from fastwsgi.config.files import distance
from fastwsgi.config.gunicorn import GUNICORN, OTHERS
from fastwsgi.config.hooks import ARGUMENTS
from fastwsgi.config.sources import from_keywords, gather
from fastwsgi.config.table import SETTINGS
from fastwsgi.errors import ConfigError
from fastwsgi.testing import raw, spawn

Read = Callable[[str], Config]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def read(project: Project) -> Read:
    """Read the text of a configuration file."""

    def write(text: str) -> Config:
        project({"c.py": text})
        return gather({"config": "c.py"}, {})

    return write


def refusal(read: Read, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_setting_of_gunicorn_is_known() -> None:
    assert sorted(GUNICORN) == sorted(NAMES)
    assert len(NAMES) == 120
    for name, item in GUNICORN.items():
        assert item.honoured or item.text, name
        assert item.honoured == (name in SETTINGS or name in ARGUMENTS)


def test_every_default_of_gunicorn_is_accepted_silently(read: Read) -> None:
    for name, value in DEFAULTS.items():
        notices = from_keywords({name: value}).notices if name not in (
            "wsgi_app", "paste", "config") else []
        assert [text for text in notices if "worker_class" not in text] == [], name
    given = {name: value for name, value in DEFAULTS.items() if name != "worker_class"}
    assert read("".join(f"{name} = {value!r}\n" for name, value in given.items())).notices == []


def test_none_means_not_set(read: Read) -> None:
    config = read("".join(f"{name} = None\n" for name in DEFAULTS))
    assert config.notices == []
    assert {name: getattr(config, name) for name in SETTINGS if name != "config"} == {
        name: getattr(gather({}, {}), name) for name in SETTINGS if name != "config"}


def test_every_flag_of_gunicorn_is_known() -> None:
    parser = cli.build_parser()
    known = {flag: action.dest for action in parser._actions for flag in action.option_strings}
    assert {flag: known.get(flag) for flags in FLAGS.values() for flag in flags} == {
        flag: name for name, flags in FLAGS.items() for flag in flags}


HARMLESS = {
    "spew": True, "worker_tmp_dir": "/dev/shm", "tmp_upload_dir": "/srv/tmp",
    "disable_redirect_access_to_syslog": True, "enable_stdio_inheritance": True,
    "enable_backlog_metric": True, "default_proc_name": "shop", "suppress_ragged_eofs": False,
    "do_handshake_on_connect": True, "permit_obsolete_folding": True, "strip_header_spaces": True,
    "permit_unconventional_http_method": True, "permit_unconventional_http_version": True,
    "casefold_http_method": True, "http_parser": "python", "control_socket": "/run/g.ctl",
    "control_socket_mode": 0o660, "control_socket_disable": True, "capture_output": True,
    "logconfig": "logging.ini", "logconfig_dict": {"version": 1}, "logconfig_json": "logging.json",
    "syslog": True, "syslog_addr": "udp://logs:514", "syslog_prefix": "shop",
    "syslog_facility": "local0", "statsd_host": "stats:8125", "statsd_prefix": "shop",
    "dogstatsd_tags": "a:b",
}
REFUSED = {
    "asgi_loop": ("uvloop", "uvicorn"), "asgi_lifespan": ("off", "uvicorn"),
    "asgi_disconnect_grace_period": (5, "uvicorn"), "websocket_max_message_size": (1, "uvicorn"),
    "dirty_apps": (["a:b"], "task queue"), "dirty_workers": (2, "task queue"),
    "dirty_timeout": (5, "task queue"), "dirty_threads": (2, "task queue"),
    "dirty_graceful_timeout": (5, "task queue"), "http_protocols": ("h2,h1", "nginx"),
    "http2_cleartext": ("upgrade", "nginx"), "http2_max_concurrent_streams": (5, "nginx"),
    "http2_initial_window_size": (70000, "nginx"), "http2_max_frame_size": (20000, "nginx"),
    "http2_max_header_list_size": (5, "nginx"), "root_path": ("/shop", "script_name"),
    "logger_class": ("shop.logs.Logger", "--access-logformat"), "check_config": (True, "--check"),
    "print_config": (True, "--print-config"),
}
FUNCTIONS = {"on_dirty_starting", "dirty_post_fork", "dirty_worker_init", "dirty_worker_exit"}


def test_what_is_not_honoured_is_in_one_of_two_lists() -> None:
    assert set(OTHERS) <= {*HARMLESS, *REFUSED, *FUNCTIONS}


def test_what_is_harmless_is_told_once_with_its_reason(read: Read) -> None:
    given = {name: value for name, value in HARMLESS.items() if name in OTHERS}
    assert read("".join(f"{name} = {value!r}\n" for name, value in given.items())).notices == [
        f"{name} (from c.py) has no effect: {GUNICORN[name].text}" for name in OTHERS
        if name in given]
    for name, value in given.items():
        (notice,) = from_keywords({name: value}).notices
        assert notice.startswith(f"{name} (from keyword) has no effect: ")


def test_what_is_refused_names_the_alternative(read: Read) -> None:
    for name, (value, alternative) in REFUSED.items():
        if name in OTHERS:
            told = refusal(read, f"{name} = {value!r}")
            assert told.startswith(f"{name} (from c.py) is not supported: ")
            assert alternative in told


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_hook_of_dirty_arbiters_is_refused(read: Read, name: str) -> None:
    assert "task queue" in refusal(read, f"def {name}(arbiter): pass")


@pytest.mark.parametrize(("text", "message"), [
    ("dirty_workers = 'x'", "dirty_workers must be a whole number from 0 to "),
    ("spew = 5", "spew must be true or false, not 5 (from c.py)"),
    ("http_parser = 'perl'", "http_parser must be auto, fast or python, not 'perl' (from c.py)"),
    ("http_protocols = 'h3'", "http_protocols must be some of h1, h2, not 'h3' (from c.py)"),
    ("worker_tmp_dir = 5", "worker_tmp_dir must be a text, not 5 (from c.py)"),
    ("http2_max_frame_size = 1", "http2_max_frame_size must be a whole number from 16384 to "),
])
def test_settings_that_are_not_honoured_have_types_too(
    read: Read, text: str, message: str,
) -> None:
    assert refusal(read, text).startswith(message)


def test_the_last_word_on_a_setting_counts(project: Project) -> None:
    project({"c.py": "dirty_workers = 2"})
    assert gather({"config": "c.py", "dirty_workers": "0"}, {}).notices == []


@pytest.mark.parametrize("name", [
    "sync", "gthread", "egg:gunicorn#sync", "gunicorn.workers.sync.SyncWorker",
    "gunicorn.workers.gthread.ThreadWorker"])
def test_the_standard_worker_classes_are_accepted(read: Read, name: str) -> None:
    (notice,) = read(f"worker_class = {name!r}").notices
    assert "one kind of worker" in notice


@pytest.mark.parametrize(("value", "words"), [
    ("'gevent'", "--threads"),
    ("'geventwebsocket.gunicorn.workers.GeventWebSocketWorker'", "--threads"),
    ("'uvicorn.workers.UvicornWorker'", "uvicorn, hypercorn"), ("'asgi'", "uvicorn, hypercorn"),
    ("'shop.Worker'", "one kind of worker"),
    ("type('Mine', (), {})", "not 'fastwsgi_config.Mine'"),
])
def test_other_worker_classes_name_the_alternative(read: Read, value: str, words: str) -> None:
    assert words in refusal(read, f"worker_class = {value}")


@pytest.mark.parametrize("name", [
    "simple", "gunicorn.glogging.Logger", "gunicorn.instrument.statsd.Statsd"])
def test_the_standard_logger_classes_are_accepted(read: Read, name: str) -> None:
    assert read(f"logger_class = {name!r}").notices == []


def test_a_logger_class_of_the_files_own_is_refused(read: Read) -> None:
    told = refusal(read, "class Quiet: pass\nlogger_class = Quiet")
    assert told.startswith("logger_class (from c.py) is not supported: ")


# -- the file ----------------------------------------------------------------------------------


def test_helpers_and_imported_names_are_the_files_own(read: Read) -> None:
    config = read("""
import json, multiprocessing, os
from os import environ
from os.path import *
from multiprocessing import cpu_count as count
workers_per_core_str = environ.get("WORKERS_PER_CORE", "1")
max_workers_str = environ.get("MAX_WORKERS")
use_max_workers = None
if max_workers_str:
    use_max_workers = int(max_workers_str)
cores = count()
worker = max(int(float(workers_per_core_str) * cores), 2)
host, port = environ.get("HOST", "127.0.0.1"), environ.get("PORT_OF_MINE", "80")
bind_env = environ.get("BIND", None)
use_bind = bind_env or f"{host}:{port}"
log_level = "DEBUG"
env = environ.get("ENV", "production")
timeout_str = "120"
for name in ("a", "b"):
    pass
with open(os.devnull) as file:
    text = file.read()
loglevel = log_level.lower()
workers = worker
bind = use_bind
timeout = int(timeout_str)
log_data = {"env": env, "text": text, "name": name, "use": use_max_workers}
print(json.dumps(log_data))
""")
    assert (config.workers, config.loglevel, config.timeout) == (config.workers, "debug", 120)
    assert str(config.bind[0]) == "127.0.0.1:80"
    assert config.notices == []
    assert config.raw_env == ()


@pytest.mark.parametrize(("name", "meant"), [
    ("wrokers", "workers"), ("worker", "workers"), ("time_out", "timeout"),
    ("grateful_timeout", "graceful_timeout"), ("acces_log", "accesslog"),
    ("worker_tmpdir", "worker_tmp_dir"), ("dirty_worker", "dirty_workers"),
    ("max_request", "max_requests"),
])
def test_a_near_miss_is_still_an_error(read: Read, name: str, meant: str) -> None:
    assert refusal(read, f"if True:\n    {name} = 3") == (
        f"unknown setting {name!r} (from c.py); did you mean {meant!r}?")


def test_a_name_that_does_nothing_is_told(read: Read) -> None:
    assert read("debug: bool = True").notices == [
        "debug (from c.py) is not a setting, and nothing in the file uses it"]
    assert read("debug = True\nfunny, odd = 1, 2").notices == [
        "debug, funny, odd (from c.py) are not settings, and nothing in the file uses them"]


def test_settings_may_be_imported(read: Read, project: Project) -> None:
    project(base_of_settings="workers = 3\nkeepalive = 7\nhelper = 1\nwrokers = 3\n")
    config = read("import sys; sys.path.insert(0, '.')\nfrom base_of_settings import *")
    assert (config.workers, config.keepalive, config.notices) == (3, 7, [])


def test_a_file_cannot_name_a_file(read: Read) -> None:
    (notice,) = read("config = 'other.py'").notices
    assert notice.startswith("config (from c.py) has no effect in a configuration file")
    assert read("config = {'a': 1}\nworkers = config['a']").notices == []


def test_a_file_that_imports_gunicorn_says_what_to_do(
    read: Read, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gunicorn", None)
    told = refusal(read, "workers = 2\nfrom gunicorn import glogging")
    assert told.startswith("c.py, line 2: ModuleNotFoundError: ")
    assert "remove what needs it, or install it" in told


def test_a_hook_may_be_a_name(read: Read) -> None:
    assert read("on_exit = 'os.getenv'").hooks.functions
    assert "cannot be imported" in refusal(read, "on_exit = 'os.nothing'")
    assert "cannot be imported" in refusal(read, "on_exit = 'no_such_module.f'")


@pytest.mark.parametrize("spelling", ["gunicorn.conf.py", "file:gunicorn.conf.py", "python:mine"])
def test_the_file_may_be_named_in_gunicorns_ways(project: Project, spelling: str) -> None:
    project({"gunicorn.conf.py": "workers = 3"}, mine="workers = 3")
    config = gather({"config": spelling}, {})
    assert (config.workers, config.notices) == (3, [])
    assert config.origin("workers") == spelling.removeprefix("file:")


def test_a_module_of_settings_is_read_anew_each_time(project: Project) -> None:
    project(again="workers = 3")
    assert gather({"config": "python:again"}, {}).workers == 3
    project(again="workers = 4")
    assert gather({"config": "python:again"}, {}).workers == 4
    with pytest.raises(ConfigError, match="there is no such module"):
        gather({"config": "python:not_there"}, {})
    with pytest.raises(ConfigError, match=r"cannot import the configuration module 'not_there\.x'"):
        gather({"config": "python:not_there.x"}, {})


def test_gunicorns_file_is_found_with_a_notice(project: Project) -> None:
    project({"gunicorn.conf.py": "workers = 3"})
    config = gather({}, {})
    assert (config.workers, config.origin("workers")) == (3, "./gunicorn.conf.py")
    assert config.notices == ["the settings of ./gunicorn.conf.py are in effect, because there is "
                              "no ./fastwsgi.conf.py"]
    project({"fastwsgi.conf.py": "workers = 2"})
    config = gather({}, {})
    assert (config.workers, config.notices) == (2, [])


# -- the variable and the command line ------------------------------------------------------------


def shown(done: subprocess.CompletedProcess[str], name: str) -> str:
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{name} = ")]
    return " ".join(line.split())


def test_gunicorns_variable_lies_between_file_and_command_line(
    command: Command, project: Project,
) -> None:
    project({"c.py": "workers = 2\nthreads = 2\nbacklog = 2"})
    env = {"GUNICORN_CMD_ARGS": "-c c.py --workers=3 --threads 3 --keep-alive '3' --spew",
           "FASTWSGI_KEEPALIVE": "4"}
    done = command("--print-config", "-w", "5", "app:app", env=env)
    assert shown(done, "workers") == "workers = 5 # command line --workers"
    assert shown(done, "threads") == "threads = 3 # environment GUNICORN_CMD_ARGS --threads"
    assert shown(done, "keepalive") == "keepalive = 4 # environment FASTWSGI_KEEPALIVE"
    assert shown(done, "backlog") == "backlog = 2 # c.py"


@pytest.mark.parametrize(("text", "message"), [
    ("--wrokers 3", "unknown option --wrokers; did you mean --workers? (from environment "
                    "GUNICORN_CMD_ARGS)"),
    ("-w x", "workers must be a whole number from 0 to 4096 or 'auto', not 'x' (from environment "
             "GUNICORN_CMD_ARGS --workers)"),
    ("-b 'x", "No closing quotation (from environment GUNICORN_CMD_ARGS)"),
    ("--dirty-workers 2", "dirty_workers (from environment GUNICORN_CMD_ARGS --dirty-workers) is "
                          "not supported: "),
])
def test_a_wrong_value_in_gunicorns_variable_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, message: str,
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", text)
    assert cli.main(["--print-config", "app:app"]) == 2
    assert capsys.readouterr().err.startswith(f"fastwsgi: error: {message}")


def test_a_harmless_flag_is_told_at_the_start(project: Project) -> None:
    where = project(app=HELLO)
    with spawn("--worker-tmp-dir", "/dev/shm", "--no-control-socket", "-R", "app:app",
               cwd=where) as server:
        assert raw(server.address, GET).endswith(b"hello")
        assert server.output().count("worker_tmp_dir (from command line --worker-tmp-dir) has no "
                                     "effect: ") == 1


# -- paste --------------------------------------------------------------------------------------

INI = """
[app:main]
use = call:shop:make
greeting = %(word)s
[app:other]
use = call:shop:make
greeting = other
[app:broken]
use = call:shop:fail
[server:main]
use = egg:gunicorn#main
"""
SHOP = """
def make(global_conf, greeting):
    def app(environ, start_response):
        start_response("200 OK", [])
        return [f"{greeting} {global_conf.get('word')}".encode()]
    return app
def fail(global_conf):
    raise KeyError("mine")
"""


def test_paste_serves_the_application_of_an_ini_file(project: Project) -> None:
    where = project({"development.ini": INI}, shop=SHOP)
    with spawn("--paste", "development.ini", "--paste-global", r"word=a\=b", cwd=where) as server:
        assert raw(server.address, GET).endswith(b"a=b a=b")


def test_check_config_loads_what_paste_names(command: Command, project: Project) -> None:
    project({"development.ini": INI}, shop=SHOP)
    good = command("--check-config", "--paster", "development.ini#other")
    assert good.returncode == 0
    assert good.stderr.splitlines()[-1] == (
        "fastwsgi: the configuration is valid and development.ini#other loads")


def test_the_logging_of_a_paste_file_is_used_unless_there_is_another(project: Project) -> None:
    project({"development.ini": INI + "[loggers]\nkeys = root\n", "plain.ini": INI})
    config = gather({"paste": "development.ini#other"}, {})
    assert config.logconfig == "development.ini"
    assert config.origin("logconfig") == "[loggers] of development.ini"
    assert gather({"paste": "development.ini", "logconfig": "x.ini"}, {}).logconfig == "x.ini"
    assert gather({"paste": "plain.ini"}, {}).logconfig == ""


@pytest.mark.parametrize(("arguments", "message"), [
    (["--paste", "no.ini"],
     "cannot load the application of --paste no.ini: there is no file no.ini (current directory "),
    (["--paste", "development.ini#none"],
     "development.ini#none: No section 'none'"),
    (["--paste", "development.ini#broken"], "failed: KeyError: 'mine'"),
    (["--paste", "development.ini", "shop:make"],
     "paste (from command line --paste) and wsgi_app (from command line) contradict each other"),
    (["--paste-global", "word"], "raw_paste_global_conf must be KEY=VALUE, not 'word'"),
])
def test_what_paste_cannot_load_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], message: str,
) -> None:
    monkeypatch.syspath_prepend(project({"development.ini": INI}, shop=SHOP))
    assert cli.main(["--check-config", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_without_pastedeploy_the_extra_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    project({"development.ini": INI}, shop=SHOP)
    monkeypatch.setitem(sys.modules, "paste", ModuleType("paste"))
    monkeypatch.setitem(sys.modules, "paste.deploy", None)
    assert cli.main(["--check-config", "--paste", "development.ini"]) == 1
    assert "pip install fastwsgi[paste]" in capsys.readouterr().err


# -- typing errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(("one", "other", "steps"), [
    ("", "abc", 3), ("workers", "workers", 0), ("wrokers", "workers", 1), ("worker", "workers", 1),
    ("workerss", "workers", 1), ("warkers", "workers", 1), ("owkrers", "workers", 2),
    ("abc", "cab", 2),
])
def test_distance_counts_typing_errors(one: str, other: str, steps: int) -> None:
    assert distance(one, other) == distance(other, one) == steps
