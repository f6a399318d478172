"""The applications that are visited under --strict-wsgi: how each is set up, what is true of it.

``true`` are the reports that each earns, by rule, with what makes them true. Each was checked
against the text of PEP 3333, or of the RFC that the rule cites, and the application's source. What
their users do is in drives.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from strict_apps import drives
from strict_apps.visitor import Visitor


@dataclass(frozen=True)
class App:
    """One application; texts may hold {place}, the folder where it runs."""

    shown: str
    packages: tuple[str, ...]
    drive: Callable[[Visitor], None]
    files: Mapping[str, str] = field(default_factory=dict)
    prepare: tuple[tuple[str, ...], ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    target: str = "site_app:app"
    true: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name on the command line."""
        return self.shown.lower()


_GIT = """
import subprocess
def git(*command):
    who = "-c", "user.name=Ada", "-c", "user.email=ada@example.org"
    subprocess.run(("git", "-C", "project", *who, *command), check=True)
subprocess.run(("git", "init", "-q", "-b", "main", "project"), check=True)
for number in range(3):
    with open("project/hello.py", "w") as file:
        file.write("print('hello')\\n" * (number + 1))
    with open("project/dot.bin", "wb") as file:
        file.write(bytes(range(256)) * 10)
    git("add", ".")
    git("commit", "-q", "-m", f"Say hello, {number}")
"""

_WAGTAIL = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings.dev"
from django.contrib.staticfiles.handlers import StaticFilesHandler
from project.wsgi import application
app = StaticFilesHandler(application)
"""

APPS = {app.name: app for app in (
    App("WsgiDAV", ("wsgidav", "lxml"), drives.wsgidav, {
        "share/readme.txt": "hello\n", "site_app.py": """
from wsgidav.wsgidav_app import WsgiDAVApp
app = WsgiDAVApp({
    "provider_mapping": {"/": "{place}/share"}, "lock_storage": True, "property_manager": True,
    "simple_dc": {"user_mapping": {"*": {"ada": {"password": "secret"}}}},
    "http_authenticator": {
        "accept_basic": True, "accept_digest": False, "default_to_digest": False},
    "logging": {"enable": False}, "verbose": 1})
"""}, true={
        "content-length-204": "`Content-Length: 0` in the answer to a PUT over a file",
        "content-length-304": "the file has 200,000 bytes"}),
    App("devpi-server", ("devpi-server",), drives.devpi, {"site_app.py": """
import sys
from devpi_server.config import get_pluginmanager, parseoptions
from devpi_server.main import XOM, xom_from_config
app = xom_from_config(parseoptions(
    get_pluginmanager(), ["devpi-server", "--serverdir", "{place}/data"])).create_app()
"""}, prepare=(("devpi-init", "--serverdir", "{place}/data", "--no-root-pypi", "--root-passwd",
                "secret"),), true={
        "environ-value": "the login view puts bytes into the field `X-Devpi-Auth`"}),
    App("Trac", ("Trac", "setuptools<81"), drives.trac, {"site_app.py": """
from trac.web.main import dispatch_request as app
"""}, variables={"TRAC_ENV": "{place}/project"}, prepare=(
        ("trac-admin", "{place}/project", "initenv", "project", "sqlite:db/trac.db"),
        ("trac-admin", "{place}/project", "permission", "add", "anonymous", "TRAC_ADMIN")), true={
        "content-length-304": "the style sheet is not empty"}),
    App("Wagtail", ("wagtail",), drives.wagtail, {"site_app.py": _WAGTAIL}, prepare=(
        ("wagtail", "start", "project", "{place}"),
        ("python", "manage.py", "migrate", "--verbosity", "0"),
        ("python", "manage.py", "createsuperuser", "--noinput", "--username", "ada", "--email",
         "ada@example.org")), variables={"DJANGO_SUPERUSER_PASSWORD": "secret"}, true={
        "content-length-304": "the document has 6,000 bytes (Django's CommonMiddleware says 0)"}),
    App("Radicale", ("radicale",), drives.radicale, {"users": "ada:secret\n", "config": """
[auth]
type = htpasswd
htpasswd_filename = {place}/users
htpasswd_encryption = plain
delay = 0
[storage]
filesystem_folder = {place}/data
[logging]
level = warning
"""}, variables={"RADICALE_CONFIG": "{place}/config"}, target="radicale:application"),
    App("klaus", ("klaus",), drives.klaus, {"make.py": _GIT, "site_app.py": """
from klaus import make_app
app = make_app(["{place}/project"], "Projects", use_smarthttp=True, disable_push=True)
"""}, prepare=(("python", "make.py"),), true={
        "environ-stream": "dulwich's LimitedInputFilter hands Flask a stream without readlines()",
        "write-in-iteration": "dulwich calls `write` in the generator that it has returned"}),
    App("MLflow", ("mlflow",), drives.mlflow, target="mlflow.server:app", variables={
        "_MLFLOW_SERVER_FILE_STORE": "sqlite:///{place}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": "{place}/artifacts",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true"}),
    App("isso", ("isso",), drives.isso, {"isso.conf": """
[general]
dbpath = {place}/comments.db
host = http://localhost:1/
[server]
public-endpoint = http://localhost:1
[admin]
enabled = true
password = secret
[guard]
enabled = false
[rss]
base = http://localhost:1/
""", "site_app.py": """
from isso import config, make_app
app = make_app(config.load(config.default_file(), "{place}/isso.conf"))
"""}),
    App("kinto", ("kinto",), drives.kinto, {"site_app.py": """
from kinto import main
app = main({}, **{
    "kinto.userid_hmac_secret": "secret", "kinto.storage_backend": "kinto.core.storage.memory",
    "kinto.cache_backend": "kinto.core.cache.memory", "kinto.bucket_create_principals":
    "system.Authenticated", "kinto.permission_backend": "kinto.core.permission.memory",
    "multiauth.policies": "basicauth"})
"""}),
    App("moto", ("moto[server]",), drives.moto, {"site_app.py": """
from moto.server import DomainDispatcherApplication, create_backend_app
app = DomainDispatcherApplication(create_backend_app)
"""}, true={
        "content-type-bodiless": "`Content-Type` with 204, which wsgiref.validate refuses",
        "header-status": "a field `status` in the answers of its double of SQS"}),
)}
