"""``fastwsgi migrate``: another server's configuration or command line as one for this server.

Nothing of what is read is run. What it is goes by its contents, and by its name where they do not
say it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

from fastwsgi.compat import commands, gunicorn_file, uwsgi, uwsgi_files
from fastwsgi.compat.commands import Parse
from fastwsgi.compat.draft import Draft, readable
from fastwsgi.compat.shell import Command, dockerfile, find, procfile, script, words
from fastwsgi.config.gunicorn import GUNICORN
from fastwsgi.errors import ConfigError

KINDS = ("a gunicorn.conf.py, a uwsgi.ini (or .yaml, .xml, .json), a Procfile, a Dockerfile, a "
         "shell script or a unit of systemd")


USAGE = f"""\
usage: fastwsgi migrate FILE
       fastwsgi migrate COMMAND [ARGUMENT ...]

Print our configuration for {KINDS},
or for a command line of gunicorn, uwsgi, waitress-serve or mod_wsgi-express. Nothing is run.
"""


def migrate(arguments: Sequence[str], parse: Parse) -> str:
    """Return our configuration for a file, or for the command line of another server."""
    if not arguments:
        raise ConfigError(f"migrate needs a file or a command line: {KINDS}, or a command such as "
                          "gunicorn -w 4 shop:app")
    path = arguments[0]
    if path in ("-h", "--help"):
        return USAGE
    if len(arguments) == 1 and (os.path.exists(path) or not find(path)):
        return _file(path, parse)
    whole = [word for item in arguments for word in (words(item) if len(arguments) == 1 else
                                                     [item])]
    command = find(path) if len(arguments) == 1 else _as_given(whole)
    if command is None:
        raise ConfigError(f"migrate knows the command lines of gunicorn, uwsgi, waitress-serve and "
                          f"mod_wsgi-express, not of {arguments[0]!r}")
    return _command(command, "a command line", "", parse).render()


def _as_given(arguments: Sequence[str]) -> Command | None:
    """Return the command that the words of our own command line are; a shell has read them."""
    return find(shlex.join(arguments).replace("'$", "$").replace("\"$", "$"))


def _file(path: str, parse: Parse) -> str:
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a directory; migrate needs a file: {KINDS}")
    text = uwsgi_files.contents(path)
    name = os.path.basename(path)
    if re.match(r"(Dockerfile|Containerfile)", name) or name.endswith(".dockerfile"):
        command, what = dockerfile(text)
        if command is None:
            raise ConfigError(f"{path} starts {readable(what)!r}, which is none of the servers "
                              "that migrate knows; if it is a script, migrate that" if what else
                              f"{path} has no CMD and no ENTRYPOINT")
        return _command(command, path, path, parse).render()
    if name.startswith("Procfile"):
        return _procfile(path, text, parse)
    if name.endswith(".py"):
        return gunicorn_file.rewritten(text, path)
    if re.search(r"^[ \t]*\[server:", text, re.M):
        return _paste(path, text)
    if _is_uwsgi(name, text):
        draft = Draft(path)
        uwsgi.options(draft, uwsgi_files.read(path, text))
        return draft.render()
    found = script(text)
    if not found:
        raise ConfigError(f"migrate does not know what {path} is; it reads {KINDS}")
    draft = _command(found[0], path, path, parse)
    for other in found[1:]:
        draft.note(other.server, "another command of a server in the same file: migrate it by "
                                 "itself")
    return draft.render()


def _is_uwsgi(name: str, text: str) -> bool:
    return re.search(r"^[ \t]*\[uwsgi\]|^uwsgi:[ \t]*$|<uwsgi\b", text, re.M) is not None or (
        name.endswith(".json") and '"uwsgi"' in text)


def _procfile(path: str, text: str, parse: Parse) -> str:
    found = [(name, command) for name, command in procfile(text) if command is not None]
    if not found:
        raise ConfigError(f"{path} has no process of a server that migrate knows")
    found.sort(key=lambda item: item[0] != "web")
    name, command = found[0]
    draft = _command(command, path, path, parse)
    draft.note(name, " ".join([f"{name}:", *map(readable, command.before),
                               "fastwsgi -c fastwsgi.conf.py"]))
    for other, _ in found[1:]:
        draft.note(other, "another server in the same file: migrate its command by itself")
    return draft.render()


def _command(command: Command, source: str, path: str, parse: Parse) -> Draft:
    draft = Draft(source)
    if command.before:
        draft.note(" ".join(command.before), "keep it in front of fastwsgi")
    if command.server == "gunicorn":
        commands.gunicorn(draft, command.arguments, parse)
    elif command.server == "waitress":
        commands.waitress(draft, command.arguments)
    elif command.server == "mod_wsgi":
        commands.mod_wsgi(draft, command.arguments)
    else:
        _uwsgi_command(draft, command, path)
    return draft


def _uwsgi_command(draft: Draft, command: Command, path: str) -> None:
    """Take a command line of uWSGI, with the files that it names in their place."""
    found: list[uwsgi_files.Pair] = []
    for pair in uwsgi_files.arguments(command.arguments, uwsgi.WITHOUT_VALUE):
        file = os.path.join(os.path.dirname(path), pair.value)
        if pair.name in uwsgi_files.INCLUDES and os.path.isfile(file):
            found += uwsgi_files.read(file, uwsgi_files.contents(file))
        else:
            found.append(pair._replace(name="include") if pair.name in uwsgi_files.INCLUDES
                         else pair)
    uwsgi.options(draft, found)


def _paste(path: str, text: str) -> str:
    """Take the [server:main] section of a PasteDeploy file."""
    draft = Draft(path)
    values = {pair.name: pair.value for pair in uwsgi_files.ini(text, "server:main")}
    server = values.pop("use", "")
    draft.set("paste", path, "the file")
    if "gunicorn" in server:
        host, port = values.pop("host", ""), values.pop("port", "")
        if host or port:
            draft.add("bind", ":".join(part for part in (host, port) if part), "host, port")
        for name, value in values.items():
            if name in GUNICORN:
                draft.from_gunicorn(name, value, name)
            else:
                draft.note(f"{name} = {value}", "gunicorn has no such setting")
    elif "waitress" in server:
        commands.waitress(draft, [f"--{name.replace('_', '-')}={value}"
                                  for name, value in values.items()])
    else:
        draft.note(f"use = {server}", "migrate knows sections of gunicorn and waitress")
    return draft.render()
