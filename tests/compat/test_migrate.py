"""``fastwsgi migrate``: what comes out is a configuration that this server takes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apps.command import Command, Project
from public_configurations import COMMANDS, GUNICORN, UWSGI, Public

from fastwsgi import cli
from fastwsgi.compat.migrate import migrate
from fastwsgi.compat.uwsgi import OPTIONS, SPECIAL
from fastwsgi.config.gunicorn import GUNICORN as KNOWN
from fastwsgi.config.hooks import ARGUMENTS
from fastwsgi.config.sources import from_keywords, gather
from fastwsgi.config.table import SETTINGS
from fastwsgi.errors import ConfigError

ENVIRON = {
    "PORT": "7777", "UWSGI_WORKERS": "3", "ADDRESS": "127.0.0.2", "INIFILE": "production.ini"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


def written(public: Public) -> str:
    """The file that the facts describe."""
    if public.form == "ini":
        lines = [name if name.startswith("[") or not value else f"{name} = {value}"
                 for name, value in public.sets]
        return "\n".join(["[uwsgi]", "; a remark", *lines])
    if public.form == "yaml":
        return "\n".join(["# a remark", "uwsgi:", *(f"    {name}: {value}"
                                                    for name, value in public.sets)])
    if public.form == "xml":
        return "\n".join(["<!-- a remark -->", "<uwsgi>", *(
            f"<{name}>{value}</{name}>" if value else f"<{name} />"
            for name, value in public.sets), "</uwsgi>"])
    if public.form == "python":
        return "\n".join(["import os", *(
            f"def {value}:\n    pass" if name == "def" else f"{name} = {value}"
            for name, value in public.sets)])
    return "\n".join(f"{name} {value}".strip() for name, value in public.sets) + "\n"


def settings(text: str) -> dict[str, Any]:
    """What a configuration assigns; everything in it must be one of our settings."""
    names: dict[str, Any] = {}
    exec(text, names)
    found = {name: value for name, value in names.items() if name in SETTINGS}
    of_here = {name: value for name, value in found.items()
               if name not in ("chdir", "user", "group", "wsgi_app", "paste", "worker_class")}
    from_keywords(of_here)
    return found


@pytest.mark.parametrize(
    "public", [*UWSGI, *GUNICORN, *COMMANDS], ids=lambda public: f"{public.project}:{public.path}")
def test_configurations_of_public_projects_move_in(project: Project, public: Public) -> None:
    name = os.path.basename(public.path)
    project({name: written(public)})
    text = migrate([name], cli.parse)
    found = settings(text)
    assert {key: found.get(key) for key in public.settings} == public.settings
    for words in public.notes:
        assert words in text
    if public.form != "python":
        assert set(found) - set(public.settings) <= {
            "chdir", "user", "group", "static", "limit_request_line", "accesslog", "bind",
            "limit_request_field_size", "threads", "raw_env", "workers", "wsgi_app", "pidfile",
            "pythonpath"}
        strange = [line for line in text.splitlines() if "not known" in line]
        assert all("vaccum" in line for line in strange)


@pytest.mark.parametrize("public", GUNICORN, ids=lambda public: public.project)
def test_files_of_gunicorn_start_or_say_in_one_sentence_what_to_change(
    project: Project, public: Public,
) -> None:
    project({"gunicorn.conf.py": written(public)})
    try:
        config = gather({}, {})
    except ConfigError as error:
        assert "\n" not in str(error)
        assert "worker_class must be sync or gthread, not" in str(error)
    else:
        assert config.notices
    project({"again.py": migrate(["gunicorn.conf.py"], cli.parse)})
    if "uvicorn" not in public.project:  # its class is computed
        assert gather({"config": "again.py"}, {}).hooks.functions.keys() <= ARGUMENTS.keys()


def test_sixty_options_of_uwsgi_are_known_by_name() -> None:
    told = [name for name, option in OPTIONS.items() if option.setting or option.advice]
    assert len(told) >= 60
    assert len(OPTIONS) + len(SPECIAL) >= 200
    assert all(option.setting in {*SETTINGS, "", "static", "slow_request"}
               for option in OPTIONS.values())


Migrate = Callable[[str, str], str]


@pytest.fixture
def moved(project: Project) -> Migrate:
    """Migrate a file of a name and a text."""

    def write(name: str, text: str) -> str:
        project({name: text})
        return migrate([name], cli.parse)

    return write


@pytest.mark.parametrize(("command", "expected"), [
    ("gunicorn -w 4 -b 0.0.0.0:80 -b unix:x --reload shop:app", {
        "workers": 4, "bind": ["0.0.0.0:80", "unix:x"], "reload": True, "wsgi_app": "shop:app"}),
    ("FOO=1 exec /venv/bin/gunicorn -w ${N:-3} 'shop:make()' && echo done", {
        "workers": "3", "wsgi_app": "shop:make()"}),
    ("python -m gunicorn --workers $(nproc) shop:app", {"workers": "auto"}),
    ("gunicorn --certfile a.pem --keyfile a.key --env A=1 --env B=2 shop:app 2>&1 | tee log", {
        "certfile": ["a.pem"], "keyfile": ["a.key"], "raw_env": ["A=1", "B=2"]}),
    ("waitress-serve --listen=*:80 --listen=[::1]:81 --url-prefix=/shop --channel-timeout 60 "
     "--trusted-proxy=10.0.0.1 --trusted-proxy-headers='x-forwarded-for x-forwarded-proto' "
     "--max-request-body-size=1000 --no-expose-tracebacks shop:app", {
         "bind": ["0.0.0.0:80", "[::1]:81"], "script_name": "/shop", "keepalive": 60,
         "forwarded_allow_ips": ["10.0.0.1"], "forwarded_follow": ["address", "scheme"],
         "limit_request_body": 1000, "threads": 4, "wsgi_app": "shop:app"}),
    ("waitress-serve --unix-socket=/run/x --threads=8 shop:app", {
        "bind": ["unix:/run/x"], "threads": 8}),
    ("mod_wsgi-express start-server site/wsgi.py --port 80 --https-port 443 "
     "--ssl-certificate-file a.pem --ssl-certificate-key-file a.key --request-timeout 90 "
     "--trust-proxy-header X-Forwarded-For --trust-proxy 10.0.0.0/8 --setenv A 1 "
     "--callable-object app --reload-on-changes", {
         "wsgi_app": "site.wsgi:app", "bind": ["http://0.0.0.0:80", "https://0.0.0.0:443"],
         "certfile": ["a.pem"], "timeout": 90, "forwarded_follow": ["address"],
         "forwarded_allow_ips": ["10.0.0.0/8"], "raw_env": ["A=1"], "threads": 5, "reload": True}),
    ("uwsgi -s @shop -w shop:app -p 4 -M -L -t 20 -R 1000 --https=:443,a.pem,a.key", {
        "bind": ["uwsgi://unix:@shop", "https://:443"], "wsgi_app": "shop:app", "workers": 4,
        "timeout": 20, "max_requests": 1000, "certfile": ["a.pem"], "keyfile": ["a.key"]}),
    ("uwsgi --http :80 --mount /shop=shop.py --callable app --manage-script-name --lazy-apps", {
        "bind": [":80"], "accesslog": "-"}),
])
def test_command_lines_move_in(command: str, expected: dict[str, Any]) -> None:
    found = settings(migrate([command], cli.parse))
    assert {key: found.get(key) for key in expected} == expected


def test_a_command_line_may_be_given_in_words(command: Command) -> None:
    done = command("migrate", "gunicorn", "-w", "4", "shop:app")
    assert (done.returncode, done.stderr) == (0, "")
    assert settings(done.stdout) == {"workers": 4, "wsgi_app": "shop:app"}


@pytest.mark.parametrize(("command", "words"), [
    ("gunicorn --wrokers 3 shop:app", "--wrokers 3: gunicorn has no such option"),
    ("gunicorn -k gevent shop:app", "set --threads to the number of requests"),
    ("gunicorn -c conf.py shop:app", "name it with --config"),
    ("gunicorn --dirty-workers 2 shop:app", "task queue"),
    ("gunicorn -w x shop:app", "workers must be a whole number"),
    ("ddtrace-run gunicorn shop:app", "ddtrace-run: keep it in front of fastwsgi"),
    ("uwsgi --ini missing.ini", "missing.ini: run fastwsgi migrate on that file, too"),
    ("uwsgi --processs 4", "did you mean processes?"),
    ("mod_wsgi-express start-server wsgi.py --compress-responses", "let a proxy compress"),
    ("mod_wsgi-express start-server my-app.wsgi", "cannot be imported under its name"),
    ("waitress-serve --nonsense=3 shop:app", "not known to fastwsgi migrate"),
    ("gunicorn -b $(hostname):80 shop:app", "only a shell can tell"),
    ("gunicorn shop:app more", "more: one application is served"),
])
def test_what_has_no_counterpart_is_a_comment(command: str, words: str) -> None:
    text = migrate([command], cli.parse)
    settings(text)
    (line,) = [line for line in text.splitlines() if words in line]
    assert line.startswith("#")


@pytest.mark.parametrize("text", [
    "#!/bin/sh\nset -e\npython manage.py migrate\nexec gunicorn -w 4 \\\n    shop:app\n",
    "[Service]\nUser=shop\nExecStart=/venv/bin/gunicorn -w 4 shop:app\n",
    "services:\n  web:\n    command: gunicorn -w 4 shop:app\n",
    "services:\n  web:\n    command: [\"gunicorn\", \"-w\", \"4\", \"shop:app\"]\n",
])
def test_a_command_is_found_in_scripts_and_units(moved: Migrate, text: str) -> None:
    assert settings(moved("start", text)) == {"workers": 4, "wsgi_app": "shop:app"}


@pytest.mark.parametrize(("text", "target"), [
    ("FROM a\nCMD gunicorn old:app\nFROM b\nCMD [\"sh\", \"-c\", \"gunicorn shop:app\"]",
     "shop:app"),
    ("ENTRYPOINT [\"gunicorn\", \"-w\", \"2\"]\nCMD [\"shop:app\"]", "shop:app"),
    ("CMD [\"gunicorn\", \\\n  # a remark\n  \"shop:app\"]", "shop:app"),
    ("ENTRYPOINT gunicorn shop:app", "shop:app"),
])
def test_the_last_stage_of_a_dockerfile_counts(moved: Migrate, text: str, target: str) -> None:
    assert settings(moved("Dockerfile.web", text))["wsgi_app"] == target


def test_files_that_uwsgi_includes_are_read(moved: Migrate, project: Project) -> None:
    project({"more.yaml": "uwsgi:\n  processes: 3\n  env:\n    - A=1\n    - B=2\n"})
    found = settings(moved("u.ini", "[uwsgi]\nset-ph = base=/srv\nchdir = %(base)/app\n"
                                    "yaml = more.yaml\nlogto = %(chdir)/%n.log\n"))
    assert found["workers"] == 3
    assert found["raw_env"] == ["A=1", "B=2"]
    assert found["errorlog"] == "/srv/app/u.log"


def test_json_of_uwsgi_moves_in(moved: Migrate) -> None:
    found = settings(moved("u.json", '{"uwsgi": {"http": ":80", "processes": 2, "master": true, '
                                     '"env": ["A=1", "B=2"]}}'))
    assert (found["bind"], found["workers"], found["raw_env"]) == ([":80"], 2, ["A=1", "B=2"])


def test_a_paste_file_moves_in(moved: Migrate) -> None:
    text = moved("production.ini", "[app:main]\nuse = egg:shop\n[server:main]\n"
                                   "use = egg:gunicorn#main\nhost = 0.0.0.0\nport = 6543\n"
                                   "workers = 3\nworker_tmp_dir = /dev/shm\n")
    assert settings(text) == {"paste": "production.ini", "bind": ["0.0.0.0:6543"], "workers": 3}
    assert "heartbeat" in text
    found = settings(moved("w.ini", "[server:main]\nuse = egg:waitress#main\nlisten = *:6543\n"))
    assert (found["bind"], found["threads"]) == (["0.0.0.0:6543"], 4)


def test_a_file_of_gunicorn_keeps_what_it_computes_and_its_remarks(moved: Migrate) -> None:
    text = moved("gunicorn.conf.py", (
        "import os  # a remark\n"
        "if os.environ.get('X'):\n"
        "    worker_tmp_dir = '/dev/shm'\n"
        "workers = len(os.environ)\n"
        "dirty_apps = []\n"
        "dirty_workers = 3\n"
        "keepalive = 'long'\n"
        "def on_dirty_starting(arbiter):\n"
        "    pass\n"))
    assert settings(text) == {"workers": len(os.environ)}
    assert "import os  # a remark" in text
    assert "    # worker_tmp_dir = '/dev/shm'\n    pass\n" in text
    assert "dirty_apps = []\n" in text
    assert f"# dirty_workers is not supported: {KNOWN['dirty_workers'].text}\n" in text
    assert "# keepalive must be a number of seconds" in text
    assert "# def on_dirty_starting(arbiter):\n#     pass\n" in text


def test_a_file_of_gunicorn_is_not_run(moved: Migrate) -> None:
    text = moved("gunicorn.conf.py", "raise SystemExit('run')\nfrom gunicorn import glogging\n"
                                     "from base import *\n")
    assert "line 2 imports gunicorn" in text
    assert "the settings of base are not looked at" in text


@pytest.mark.parametrize(("name", "text", "message"), [
    ("gunicorn.conf.py", "workers = = 2", "gunicorn.conf.py, line 1: "),
    ("u.xml", '<!DOCTYPE u [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><uwsgi><env>&b;</env></uwsgi>',
     "u.xml, a document type is not read"),
    ("u.xml", "<uwsgi><master></uwsgi>", "u.xml, line 1: mismatched tag"),
    ("u.xml", "<uwsgi>" + "<a>" * 50, "u.xml, elements are nested too deeply"),
    ("u.yaml", "uwsgi:\n  env: &anchor A=1\n", "u.yaml, line 2: & is not part of the YAML"),
    ("u.yaml", "uwsgi:\n  what is this\n", "u.yaml, line 2: not 'option: value'"),
    ("u.json", '{"uwsgi"', "u.json, not a JSON object"),
    ("u.ini", "[uwsgi]\nini = u.ini\n", "files include each other"),
    ("Procfile", "worker: celery worker\n", "has no process of a server"),
    ("Dockerfile", "CMD ./start.sh\n", "starts './start.sh', which is none of the servers"),
    ("Dockerfile", "FROM a\n", "has no CMD and no ENTRYPOINT"),
    ("notes.txt", "nothing at all\n", "does not know what notes.txt is"),
    ("big.ini", "[uwsgi]\n" + "#\n" * (1 << 20), "larger than 1 MiB"),
    ("u.yaml", "uwsgi:\n  a" + " " * 100_000, "a line of more than 16384 bytes"),
    ("u.ini", "\n".join(f"[{a}]\n" + f"ini = :{b}\n" * 20 for a, b in (
        ("uwsgi", "a"), ("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"))),
     "more than 10000 options"),
    ("notes.txt", "\n" * 100_000 + "x", "does not know what notes.txt is"),
])
def test_what_cannot_be_read_is_one_line(
    moved: Migrate, name: str, text: str, message: str,
) -> None:
    with pytest.raises(ConfigError) as caught:
        moved(name, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_usage_is_shown() -> None:
    assert migrate(["--help"], cli.parse).startswith("usage: fastwsgi migrate FILE\n")


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "migrate needs a file or a command line"),
    (["no.ini"], "cannot read no.ini: No such file or directory"),
    (["."], ". is a directory"),
    (["nginx", "-c", "x"], "not of 'nginx'"),
])
def test_wrong_usage_is_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        migrate(arguments, cli.parse)


@pytest.mark.parametrize("text", [
    "x = '", "\"", "$(", "${", "`", "\\", "gunicorn '", "gunicorn $(", "uwsgi -",
    "uwsgi --", "uwsgi -p", "waitress-serve --port", "mod_wsgi-express start-server --url-alias",
    "mod_wsgi-express start-server --entry-point", "mod_wsgi-express start-server --entry-point=",
    "gunicorn --bind", "\u00e9" * 100, "uwsgi:\n  -\n  : x\n",
    "[uwsgi]\n=\n=x\nif-env\n%(\nset = \nenv = %(env)\n",
])
def test_nothing_that_is_read_fails_but_with_an_error_of_ours(moved: Migrate, text: str) -> None:
    for name in ("x.ini", "x.yaml", "Procfile", "Dockerfile", "start.sh"):
        try:
            settings(moved(name, text))
        except ConfigError as error:
            assert "\n" not in str(error)
