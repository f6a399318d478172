"""The table of settings, the kinds of values, and who wins among the origins.

It has more than 500 lines because most of them are values: one list for each kind of setting.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from apps.command import Project

from fastwsgi._core.core import Worker
from fastwsgi.config import values
from fastwsgi.config.config import Config
from fastwsgi.config.hooks import ARGUMENTS
from fastwsgi.config.sources import from_keywords, gather
from fastwsgi.config.table import SETTINGS, SPELLINGS
from fastwsgi.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield


def shown(config: Config, name: str) -> tuple[object, str]:
    return getattr(config, name), config.origin(name)


# -- kinds of values ---------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "written"), [
    ("127.0.0.1:8080", "127.0.0.1:8080"),
    ("localhost", "localhost:8000"),
    (":80", "0.0.0.0:80"),
    ("0.0.0.0:0", "0.0.0.0:0"),
    ("[::1]:81", "[::1]:81"),
    ("[::]", "[::]:8000"),
    ("[fe80::1%eth0]:82", "[fe80::1%eth0]:82"),
    ("tcp://h:1", "h:1"),
    ("unix:/run/x.sock", "unix:/run/x.sock"),
    ("unix:///run/x.sock", "unix:/run/x.sock"),
    ("unix:rel.sock", "unix:rel.sock"),
    ("unix:@name", "unix:@name"),
    ("fd://3", "fd://3"),
    ("http://h:1", "http://h:1"),
    ("uwsgi://:3031", "uwsgi://0.0.0.0:3031"),
    ("uwsgi://[::1]:3031", "uwsgi://[::1]:3031"),
    ("uwsgi://unix:/run/x.sock", "uwsgi://unix:/run/x.sock"),
    ("uwsgi://unix:@name", "uwsgi://unix:@name"),
    ("uwsgi://fd://3", "uwsgi://fd://3"),
    ("https://:443", "https://0.0.0.0:443"),
    ("tls://[::1]:81", "https://[::1]:81"),
    ("https://unix:/run/x.sock", "https://unix:/run/x.sock"),
])
def test_reads_an_address(text: str, written: str) -> None:
    assert str(values.parse_address(text)) == written


@pytest.mark.parametrize("text", [
    "", "8000", "h:65536", "h:x", "h:-1", "::1", "[::1", "[g]:1:2", "unix:", "unix:@", "fd://",
    "fd://x", "gopher://h:1", "https://", "http://https://h:1", "h:1/p", "h :1", "uwsgi://",
    "uwsgi:h:1", "uwsgi://http://h:1",
])
def test_refuses_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="not "):
        values.parse_address(text)


@pytest.mark.parametrize(("given", "size"), [
    (0, 0), ("17", 17), ("64K", 65536), ("1m", 1 << 20), ("1MiB", 1 << 20), ("2 GB", 2 << 30),
])
def test_reads_a_number_of_bytes(given: object, size: int) -> None:
    assert values.size(given) == size


@pytest.mark.parametrize("given", [-1, "-1", "1T", 1.5, True, None, "K", "\u0661"])
def test_refuses_what_is_no_number_of_bytes(given: object) -> None:
    with pytest.raises(ValueError, match="a number of bytes"):
        values.size(given)


@pytest.mark.parametrize(("given", "mask"), [
    ("022", 0o22), ("0o27", 0o27), ("7", 7), (0o77, 0o77), (None, None), ("", None), (0, 0),
])
def test_reads_a_umask_as_octal(given: object, mask: int | None) -> None:
    assert values.mode(given) == mask


@pytest.mark.parametrize(("name", "given", "wanted"), [
    ("workers", "many", "a whole number from 0 to 4096 or 'auto'"),
    ("workers", -1, "a whole number from 0 to 4096 or 'auto'"),
    ("workers", True, "a whole number"),
    ("workers", 1.5, "a whole number"),
    ("threads", 0, "from 1 to 1024"),
    ("threads", 1025, "from 1 to 1024"),
    ("queue", -1, "from 0 to"),
    ("min_rate", 1.5, "a whole number"),
    ("health_path", "/health?full", "a path that begins with '/'"),
    ("health_path", "/h\u00e9alth", "a path that begins with '/'"),
    ("backlog", 0, "from 1 to 65535"),
    ("keepalive", "soon", "a number of seconds"),
    ("keepalive", -1, "a number of seconds, 0 or more"),
    ("keepalive", float("nan"), "a number of seconds"),
    ("keepalive", False, "a number of seconds"),
    ("header_timeout", 0, "more than 0"),
    ("timeout_path", "/a", "GLOB=SECONDS: a path that begins with '/', or a pattern of paths"),
    ("timeout_path", "a=1", "a path that begins with '/', or a pattern of paths, not 'a' in 'a=1'"),
    ("timeout_path", "/a b=1", "a pattern of paths"),
    ("timeout_path", ["/a=1", "/b=soon"], "a number of seconds, 0 or more (a year at most), not "
     "'soon' in '/b=soon'"),
    ("timeout_path", {"/a": -1}, "a number of seconds, 0 or more"),
    ("timeout_path", {1: 2}, "a pattern of paths, not 1 in '1=2'"),
    ("priority_path", "login", "a path that begins with '/', or a pattern of paths, not 'login'"),
    ("priority_path", 5, "a pattern of paths or a list of them, not 5"),
    ("request_budget", -1, "a number of seconds, 0 or more"),
    ("budget_header", "X Budget", "the name of a header field"),
    ("budget_header", "X_Budget", "the name of a header field, without underscores"),
    ("budget_header", 5, "a text"),
    ("timeout_path", 5, "a dictionary or GLOB=SECONDS, not 5"),
    ("reuse_port", "maybe", "true or false"),
    ("reuse_port", 1, "true or false"),
    ("overload", "drop", "wait or 503"),
    ("forwarded_allow_ips", "10.0.0.1/8", "an address within the network 10.0.0.0/8"),
    ("forwarded_allow_ips", "10.0.0.0/33", "a number of bits from 0 to 32"),
    ("forwarded_allow_ips", "10.0.0.0/", "a number of bits from 0 to 32"),
    ("forwarded_allow_ips", "proxy.example", "neither an address nor a network"),
    ("forwarded_allow_ips", "fe80::1%eth0", "neither an address nor a network"),
    ("forwarded_allow_ips", 7, "an address, a network or a list of them"),
    ("forwarded_follow", "scheme,path", "some of scheme, address, host, port, prefix"),
    ("secure_scheme_headers", "X-Forwarded-Proto", "names of header fields with a value each"),
    ("secure_scheme_headers", {"A B": "c"}, "names of header fields with a value each"),
    ("secure_scheme_headers", {"A": "c\n"}, "names of header fields with a value each"),
    ("secure_scheme_headers", {"A": "c, d"}, "without commas"),
    ("secure_scheme_headers", {"A": 1}, "a dictionary of texts"),
    ("forwarder_headers", "A B", "names of header fields, not 'A B'"),
    ("proxy_protocol", "v3", "off, v1, v2 or auto"),
    ("proxy_allow_ips", "10.0.0.0/8/8", "a number of bits from 0 to 32"),
    ("header_map", "keep", "drop, refuse or dangerous"),
    ("script_name", "app", "begins with '/'"),
    ("script_name", "/a b", "begins with '/'"),
    ("umask", "089", "octal"),
    ("umask", 0o1000, "octal"),
    ("raw_env", "NOVALUE", "KEY=VALUE"),
    ("raw_env", ["=x"], "KEY=VALUE"),
    ("pythonpath", 5, "a path"),
    ("chdir", "not/there", "an existing directory"),
    ("user", "no-such-user", "'no-such-user' does not exist"),
    ("group", "no-such-group", "'no-such-group' does not exist"),
    ("user", -1, "the name or number of a user"),
    ("bind", [], "at least one address"),
    ("bind", 8000, "an address"),
    ("bind", "127.0.0.1:99999", "a port from 1 to 65535, or 0 for any that is free, not "
     "'127.0.0.1:99999'"),
    ("bind", "[::1]:65536", "a port from 1 to 65535"),
    ("bind", ":1000000000000000000000000", "a port from 1 to 65535"),
    ("bind", "localhost:-1", "a port from 1 to 65535"),
    ("errorlog", 1, "a text"),
    ("loglevel", "loud", "debug, info, warning, error or critical"),
    ("worker_class", "gevent", "green threads are not needed"),
    ("worker_class", "mine.Worker", "one kind of worker"),
])
def test_refuses_a_wrong_value_by_name_and_origin(name: str, given: object, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_keywords({name: given})
    text = str(caught.value)
    assert text.startswith(f"{name} must be ")
    assert wanted in text
    assert text.endswith("(from keyword)")
    assert "\n" not in text


def test_auto_means_the_cpus_this_process_may_use() -> None:
    count = from_keywords({"workers": "auto"}).workers
    assert 1 <= count <= (os.cpu_count() or 1)


# -- the table ---------------------------------------------------------------------------------


def test_every_default_passes_its_own_converter() -> None:
    config = from_keywords({})
    for name, setting in SETTINGS.items():
        assert config.origin(name) == "default"
        assert setting.read(getattr(config, name)) == getattr(config, name)


def test_defaults_are_those_promised() -> None:
    config = from_keywords({})
    assert [str(address) for address in config.bind] == ["127.0.0.1:8000"]
    assert config.core() == {
        "threads": 1, "max_ready": 0, "max_connections": 10000, "min_rate": 0,
        "min_rate_grace_ms": 5000, "health": b"", "live": b"",
        "ready": b"", "timeouts[FW_CLASS_KEEPALIVE]": 75000,
        "timeouts[FW_CLASS_HEADER]": 30000, "timeouts[FW_CLASS_BODY]": 30000,
        "timeouts[FW_CLASS_WRITE]": 60000, "timeouts[FW_CLASS_HANDSHAKE]": 10000,
        "graceful_ms": 30000, "time_limits": (), "priorities": (), "budgets.ms": 0,
        "budgets.field": "",
        "limit_line": 8190, "limit_fields": 100, "limit_field_size": 8190, "limit_header": 65536,
        "limit_body": 0, "body_memory": 1 << 20, "overload_refuse": 0,
        "response_memory": 64 << 20,
        "header_map": 0, "script_name": "", "sendfile": True,
        "forwarding.trusted": (False, ((0x7F000001, 0x7F000001),), ((1, 1),)),
        "forwarding.follow": 1, "forwarding.names": ("SCRIPT_NAME", "PATH_INFO"),
        "forwarding.schemes": {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https",
                               "X-FORWARDED-SSL": "on"},
        "proxy_protocol": 0,
        "proxy_from": (False, ((0x7F000001, 0x7F000001),), ((1, 1),)),
        "uwsgi_from": (False, ((0x7F000001, 0x7F000001),), ((1, 1),)),
        "queue_target_ms": 50, "drop_gone": 1, "watch_gone": False}


@pytest.mark.parametrize(("name", "value", "member", "held"), [
    ("limit_request_line", 0, "limit_line", 1 << 20),
    ("limit_request_fields", 0, "limit_fields", 32768),
    ("limit_request_header", 5, "limit_header", 5),
    ("queue", 0, "max_ready", 0),
    ("header_map", "dangerous", "header_map", 2),
    ("overload", "503", "overload_refuse", 1),
    ("proxy_protocol", "v2", "proxy_protocol", 2),
    ("proxy_protocol", True, "proxy_protocol", 3),
    ("proxy_protocol", False, "proxy_protocol", 0),
    ("forwarded_follow", "", "forwarding.follow", 0),
    ("forwarded_follow", "prefix, Scheme", "forwarding.follow", 17),
    ("forwarded_follow", ["address", "host", "port"], "forwarding.follow", 14),
    ("forwarded_allow_ips", "*", "forwarding.trusted", (True, (), ())),
    ("forwarded_allow_ips", "", "forwarding.trusted", (False, (), ())),
    ("forwarded_allow_ips", ["10.0.0.0/8", "10.1.2.3", "11.0.0.0"], "forwarding.trusted",
     (False, ((0x0A000000, 0x0B000000),), ())),
    ("proxy_allow_from", "::ffff:10.0.0.0/104,::/0,10.0.0.7", "proxy_from",
     (False, ((0x0A000000, 0x0AFFFFFF),), ((0, (1 << 128) - 1),))),
    ("secure_scheme_headers", {"x-scheme": "tls"}, "forwarding.schemes", {"X-SCHEME": "tls"}),
    ("secure_scheme_headers", "A=b, C-D = on", "forwarding.schemes", {"A": "b", "C-D": "on"}),
    ("forwarder_headers", "remote_user, *", "forwarding.names", ("REMOTE_USER", "*")),
    ("health_path", "/health", "health", b"/health"),
    ("live_path", "/live", "live", b"/live"),
    ("ready_path", "/ready", "ready", b"/ready"),
    ("uwsgi_allow_ips", "*", "uwsgi_from", (True, (), ())),
    ("uwsgi_allow_ips", "10.0.0.0/8", "uwsgi_from", (False, ((0x0A000000, 0x0AFFFFFF),), ())),
    ("queue_target", 0.1, "queue_target_ms", 100),
    ("client_gone", "serve", "drop_gone", 0),
    ("timeout_path", "/a=b=1.5, */\u00fc=0,/a=b=7", "time_limits",
     ((b"/a=b", 1_500_000), (b"*/\xc3\xbc", (1 << 64) - 1))),
    ("timeout_path", {"/[a,b]": 1e-9}, "time_limits", ((b"/[a,b]", 1),)),
    ("request_budget", 1.5, "budgets.ms", 1500),
    ("priority_path", ["/a,*/b", "/c?"], "priorities", ((b"/a", 0), (b"*/b", 0), (b"/c?", 0))),
    ("budget_header", "x-wait-ms", "budgets.field", "X-WAIT-MS"),
    ("keepalive", 0.0016, "timeouts[FW_CLASS_KEEPALIVE]", 2),
    ("write_timeout", 31_536_000, "timeouts[FW_CLASS_WRITE]", 0xFFFFFFFF),
])
def test_the_core_gets_settings_in_its_own_units(
    name: str, value: object, member: str, held: object,
) -> None:
    assert from_keywords({name: value}).core()[member] == held


def test_header_maps_are_counted_as_the_core_does() -> None:
    (listed,) = re.findall(r"enum fw_header_map *\{([^}]*)\}", (ROOT / "csrc" / "fw.h").read_text())
    names = re.findall(r"FW_MAP_(\w+)", re.sub(r"/\*.*?\*/", "", listed, flags=re.DOTALL))
    assert [name.lower() for name in names] == list(SETTINGS["header_map"].bounds)


@pytest.mark.parametrize(("change", "error"), [
    ({"limit_lines": 1}, "settings that the core does not know: limit_lines"),
    ({"graceful_ms": None}, "graceful_ms"),
    ({"limit_line": 1 << 32}, "too large"),
    ({"threads": None}, "threads"),
])
def test_the_core_refuses_settings_that_are_not_its_own(
    change: dict[str, object], error: str,
) -> None:
    settings = {**from_keywords({}).core(), **change}
    given = {name: value for name, value in settings.items() if value is not None}
    with pytest.raises((ValueError, KeyError, OverflowError), match=error):
        Worker(lambda environ, start: [], [], given, log=print, errors=sys.stderr)


@pytest.mark.parametrize(("setting", "prefix", "file", "enumeration"), [
    ("proxy_protocol", "FW_PROXY_", "http/proxy_header.h", "fw_proxy_protocol"),
    ("forwarded_follow", "FW_FOLLOW_", "http/request.h", "fw_follow"),
])
def test_words_are_counted_as_the_core_does(
    setting: str, prefix: str, file: str, enumeration: str,
) -> None:
    text = re.sub(r"/\*.*?\*/", "", (ROOT / "csrc" / file).read_text(), flags=re.DOTALL)
    (listed,) = re.findall(rf"enum {enumeration} *\{{([^}}]*)\}}", text)
    words = [word.lower() for word in re.findall(rf"{prefix}(\w+)", listed)]
    assert words[:len(SETTINGS[setting].bounds)] == list(SETTINGS[setting].bounds)


def test_forwarded_allow_ips_has_the_customary_variable() -> None:
    found = gather({}, {"FORWARDED_ALLOW_IPS": "10.0.0.0/8,*"})
    assert found.forwarded_allow_ips == ("10.0.0.0/8", "*")
    assert found.origin("forwarded_allow_ips") == "environment FORWARDED_ALLOW_IPS"
    assert gather({}, {"FORWARDED_ALLOW_IPS": ""}).forwarded_allow_ips == ()
    assert gather({}, {}).forwarded_allow_ips == ("127.0.0.1", "::1")


def test_every_setting_says_what_it_does_and_no_flag_is_used_twice() -> None:
    flags = [flag for setting in SETTINGS.values() for flag in setting.flags]
    assert len(flags) == len(set(flags))
    assert all(len(setting.doc) > 20 for setting in SETTINGS.values())


def test_a_setting_is_known_by_its_flags_names_too() -> None:
    assert SPELLINGS["log_level"] == "loglevel"
    assert SPELLINGS["keep_alive"] == "keepalive"
    assert from_keywords({"error_logfile": "x", "log-level": "debug"}).loglevel == "debug"


def test_settings_have_types(tmp_path: Path) -> None:
    """A misspelt setting, and one used as what it is not, are found by mypy."""
    (tmp_path / "use.py").write_text(
        "from fastwsgi.config.sources import gather\n"
        "config = gather({}, {})\n"
        "config.workers + config.timeout\n"
        "config.wokers\n"
        "config.errorlog + 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "use.py"], cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == [
        'use.py:4: error: "Config" has no attribute "wokers"; maybe "workers"?  [attr-defined]',
        'use.py:5: error: Unsupported operand types for + ("str" and "int")  [operator]',
        "Found 2 errors in 1 file (checked 1 source file)"]


# -- origins -----------------------------------------------------------------------------------


def test_precedence_from_defaults_to_command_line(project: Project) -> None:
    project({
        "pyproject.toml": "[tool.fastwsgi]\nbacklog = 2\nworkers = 2\nthreads = 1",
        "fastwsgi.conf.py": "backlog = 3\nworkers = 3\nkeepalive = 3\nbody_timeout = 3"})
    config = gather(
        {"workers": "5"}, {"FASTWSGI_WORKERS": "4", "FASTWSGI_KEEPALIVE": "4.5"})
    assert shown(config, "workers") == (5, "command line --workers")
    assert shown(config, "keepalive") == (4.5, "environment FASTWSGI_KEEPALIVE")
    assert shown(config, "backlog") == (3, "./fastwsgi.conf.py")
    assert shown(config, "write_timeout") == (60.0, "default")
    assert shown(config, "threads") == (1, "pyproject.toml")


def test_port_and_web_concurrency_stand_in_for_the_defaults(project: Project) -> None:
    environ = {"PORT": "5000", "WEB_CONCURRENCY": "7"}
    config = gather({}, environ)
    assert [str(a) for a in config.bind] == ["0.0.0.0:5000"]
    assert config.origin("bind") == "environment PORT"
    assert shown(config, "workers") == (7, "environment WEB_CONCURRENCY")
    project({"fastwsgi.conf.py": "workers = 2"})
    assert shown(gather({}, environ), "workers") == (2, "./fastwsgi.conf.py")


def test_a_wrong_port_names_its_variable() -> None:
    with pytest.raises(ConfigError, match=r"bind must be .* \(from environment PORT\)"):
        gather({}, {"PORT": "http"})


def test_the_configuration_file_may_have_helpers(project: Project) -> None:
    project({"my.conf.py": """
        import multiprocessing
        from pathlib import Path
        CPUS = multiprocessing.cpu_count()
        _half = CPUS // 2
        def double(n):
            return n * 2
        def post_process(item): pass
        def worker_count(): pass
        def on_error(): pass
        def do_post_fork(): pass
        def my_pre_fork(): pass
        def _post_frok(): pass
        class Anything: pass
        workers = double(2)
        bind = ["127.0.0.1:1", "unix:x"]
        """})
    config = gather({"config": "my.conf.py"}, {})
    assert shown(config, "workers") == (4, "my.conf.py")
    assert [str(address) for address in config.bind] == ["127.0.0.1:1", "unix:x"]


def test_the_environment_may_name_the_configuration_file(project: Project) -> None:
    project({"a.py": "workers = 6", "fastwsgi.conf.py": "workers = 2"})
    assert gather({}, {"FASTWSGI_CONFIG": "a.py"}).workers == 6


@pytest.mark.parametrize(("text", "message"), [
    ("wrokers = 3", "unknown setting 'wrokers' (from c.py); did you mean 'workers'?"),
    ("workers = 'x'", "workers must be a whole number from 0 to 4096 or 'auto', not 'x' "
                      "(from c.py)"),
    ("workers = 1\nworkers = = 2", "c.py, line 2: invalid syntax"),
    ("x\n", "c.py, line 1: NameError: name 'x' is not defined"),
    ("_a = 1\ndef _f():\n    return 1 / 0\nworkers = _f()",
     "c.py, line 3: ZeroDivisionError: division by zero"),
    ("def pre_request(worker): pass", "pre_request must be a function of (worker, req), "
     "not of (worker) (from c.py)"),
    ("def post_request(worker): pass",
     "post_request must be a function of (worker, req, environ, resp), not of (worker) (from "
     "c.py)"),
    ("def ssl_context(config): pass", "ssl_context must be a function of (config, "
     "default_ssl_context_factory), not of (config) (from c.py)"),
    ("post_fork = 1", "post_fork must be a function, not 1 (from c.py)"),
    ("def post_fork(server): pass", "post_fork must be a function of (server, worker), "
     "not of (server) (from c.py)"),
    ("def post_frok(server, worker): pass", "unknown hook 'post_frok' (from c.py); did you mean "
     "'post_fork'? If it is a helper of yours, begin its name with an underscore"),
    ("postFork = print", "unknown hook 'postFork' (from c.py); did you mean 'post_fork'? If it is "
     "a helper of yours, begin its name with an underscore"),
    ("post_frok = None", "unknown setting 'post_frok' (from c.py); did you mean 'post_fork'?"),
])
def test_a_wrong_configuration_file_is_one_line(
    project: Project, text: str, message: str,
) -> None:
    project({"c.py": text})
    with pytest.raises(ConfigError) as caught:
        gather({"config": "c.py"}, {})
    assert str(caught.value) == message


def test_a_missing_configuration_file_is_told() -> None:
    with pytest.raises(ConfigError, match=r"cannot read the configuration file no\.py: No such"):
        gather({"config": "no.py"}, {})


def test_a_pyproject_without_our_table_is_not_even_parsed(project: Project) -> None:
    project({"pyproject.toml": "this is = = no TOML\n[tool.other]\n"})
    assert gather({}, {}).workers == 1


@pytest.mark.parametrize(("text", "message"), [
    ("[tool.fastwsgi]\nbakclog = 1",
     r"unknown setting 'bakclog' \(from pyproject.toml\); did you mean 'backlog'"),
    ("[tool.fastwsgi]\nworkers = 1.5", r"workers must be .* \(from pyproject.toml\)"),
    ("[tool.fastwsgi]\nworkers = = 1", "pyproject.toml: "),
])
def test_a_wrong_pyproject_is_told(project: Project, text: str, message: str) -> None:
    project({"pyproject.toml": text})
    with pytest.raises(ConfigError, match=message):
        gather({}, {})


def test_without_a_toml_reader_the_table_is_not_silently_ignored(
    project: Project, monkeypatch: pytest.MonkeyPatch,
) -> None:
    project({"pyproject.toml": "[tool.fastwsgi]\nworkers = 2"})
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    monkeypatch.setitem(sys.modules, "tomli", None)
    with pytest.raises(ConfigError, match=r"Python 3\.10 needs the package tomli"):
        gather({}, {})


def test_a_misspelt_variable_is_noticed() -> None:
    config = gather({}, {"FASTWSGI_WORKRES": "3", "FASTWSGI_SOMETHING_ELSE": "1"})
    assert config.notices == [
        "environment variable FASTWSGI_WORKRES is not the name of a setting and is ignored; "
        "did you mean FASTWSGI_WORKERS?"]


def test_a_worker_class_is_noticed() -> None:
    (notice,) = gather({"worker_class": "gthread"}, {}).notices
    assert notice.startswith("worker_class gthread (from command line --worker-class): ")


@pytest.mark.parametrize(("name", "value", "needed", "other"), [
    ("access_log_format", "%(h)s", "accesslog", "-"),
    ("max_requests_jitter", 5, "max_requests", 100),
    ("min_rate_grace", 1.5, "min_rate", 100),
    ("preload_memory", "plain", "preload_app", True),
])
def test_what_does_nothing_by_itself_is_noticed(
    name: str, value: object, needed: str, other: object,
) -> None:
    assert from_keywords({name: value}).notices == [
        f"{name} (from keyword) has no effect without {needed}"]
    assert from_keywords({name: value, needed: other}).notices == []
    assert from_keywords({}).notices == []


@pytest.mark.parametrize("target", ["/", "/prefix", "/other?/pre/"])
def test_a_warm_up_request_that_clients_could_not_make_is_refused(target: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_keywords({"script_name": "/pre/", "warmup": target})
    assert str(caught.value) == (
        f"warmup {target!r} (from keyword) is not below script_name '/pre' (from keyword): a "
        "client would be answered 404")


def test_keywords_read_no_environment(monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    monkeypatch.setenv("FASTWSGI_WORKERS", "9")
    monkeypatch.setenv("WEB_CONCURRENCY", "8")
    project({"fastwsgi.conf.py": "workers = 7", "given.py": "workers = 6\nbacklog = 5"})
    assert from_keywords({}).workers == 1
    config = from_keywords({"config": "given.py", "workers": 0})
    assert (config.workers, config.backlog) == (0, 5)


def test_an_unknown_keyword_is_told() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'worker'.*did you mean 'workers'"):
        from_keywords({"worker": 1})
    with pytest.raises(ConfigError, match="the application is the first argument"):
        from_keywords({"wsgi_app": "x:y"})


def test_what_is_shown_is_a_configuration_file_with_origins(project: Project) -> None:
    first = gather({"bind": ["[::1]:1", "unix:x"], "umask": "027", "keepalive": "2.5"}, {})
    assert "umask = 0o027" in first.show()
    assert "# command line --keep-alive" in first.show()
    project({"again.py": first.show()})
    second = gather({"config": "again.py"}, {})
    for name in SETTINGS:
        if name != "config":
            assert getattr(second, name) == getattr(first, name)
            assert second.origin(name) == "again.py"


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_a_misspelt_hook_is_an_error_with_the_nearest_name(project: Project, name: str) -> None:
    at = len(name) // 2
    left_out, doubled = name[:at] + name[at + 1 :], name[:at] + name[at] + name[at:]
    swapped = name[:-2] + name[-1] + name[-2]
    for misspelt in (left_out, doubled, swapped):
        if misspelt == name:
            continue
        project({"c.py": f"def {misspelt}(*arguments): pass"})
        with pytest.raises(ConfigError, match=f"unknown hook '{misspelt}'.* mean '{name}'"):
            gather({"config": "c.py"}, {})
        with pytest.raises(ConfigError, match=f"unknown setting '{misspelt}'.* mean '{name}'"):
            from_keywords({misspelt: print})
