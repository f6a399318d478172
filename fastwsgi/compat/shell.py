"""Commands of servers, wherever they stand: a shell script, a Procfile, a Dockerfile, a unit.

Nothing is run and nothing is expanded: a variable stays one, and what only a shell knows is said.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import NamedTuple

from fastwsgi.compat.draft import variable

SERVERS = {"gunicorn": "gunicorn", "uwsgi": "uwsgi", "pyuwsgi": "uwsgi", "uwsgi_python3": "uwsgi",
           "waitress-serve": "waitress", "mod_wsgi-express": "mod_wsgi"}
"""The programs that are known, and which server each of them is."""

ENDS = ("&&", "||", ";", ";;", "|", "&", ">", ">>", "<", "2>", "&>", "(", ")", ">&")


class Command(NamedTuple):
    """The command line of a server: ``before`` is what stands in front of it on its line."""

    server: str
    arguments: list[str]
    before: list[str]


def find(line: str) -> Command | None:
    """Return the first command of a server in a line of the shell's, None without one."""
    return _in(words(line))


def _in(found: list[str]) -> Command | None:
    for place, word in enumerate(found):
        server = SERVERS.get(word.rpartition("/")[2])
        if server is None and word == "waitress" and place and found[place - 1] == "-m":
            server = "waitress"
        if server is None:
            continue
        start = max((at + 1 for at in range(place) if found[at] in ENDS), default=0)
        end = next((at for at in range(place, len(found)) if found[at] in ENDS), len(found))
        before = [item for item in found[start:place] if item not in ("exec", "-m", "command")
                  and not re.fullmatch(r"(?:.*/)?python[\d.]*", item)]
        return Command(server, found[place + 1:end], before)
    return None


def words(line: str) -> list[str]:
    """Split a line as a shell would; variables are kept, as ``draft.variable`` writes them."""
    line = re.sub(r"(?<!\S)[012&]?>(?:&[012-]|>?\s*[^\s'\"]+)", " ", line)  # redirections
    reader = shlex.shlex(_expanded(line), posix=True, punctuation_chars=";&|<>()")
    reader.whitespace_split = True
    reader.commenters = ""
    try:
        found = list(reader)
    except ValueError:
        return []
    for place, word in enumerate(found):
        if word.startswith("#"):
            return found[:place]
    return found


_EXPANSION = re.compile(
    r"(?P<quoted>'[^']*')|\$\(\s*nproc[^)]*\)|`nproc[^`]*`|\$\{(?P<name>\w+)(?::?-(?P<else>[^}]*))?\}"
    r"|\$(?P<short>[A-Za-z_]\w*)|(?P<run>\$\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)|`[^`]*`)")


def _expanded(line: str) -> str:
    def replaced(found: re.Match[str]) -> str:
        if found["quoted"] is not None:
            return found[0]
        if found["run"] is not None:
            return shlex.quote(found["run"])
        name = found["name"] or found["short"]
        if name is None:
            return "auto"
        default = found["else"]
        return variable(name, default.strip("\"'") if default is not None else None)

    return _EXPANSION.sub(replaced, line)


def joined(text: str) -> list[str]:
    """Return the lines of a text, those that a backslash continues as one, without comments."""
    lines: list[str] = []
    waiting = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        waiting += line.strip() if waiting else line
        if waiting.endswith("\\"):
            waiting = waiting[:-1].rstrip() + " "
        else:
            lines.append(waiting)
            waiting = ""
    return [*lines, waiting] if waiting else lines


def procfile(text: str) -> list[tuple[str, Command | None]]:
    """Return the processes of a Procfile by name, each with its command if it is a server's."""
    found = (re.match(r"([\w.-]+):\s*(.+)", line) for line in joined(text))
    return [(item[1], find(item[2])) for item in found if item is not None]


def dockerfile(text: str) -> tuple[Command | None, str]:
    """Return the command that a container runs, and as text what it is if it is no server's."""
    parts: dict[str, str] = {}
    for line in joined(text):
        found = re.match(r"\s*(CMD|ENTRYPOINT|FROM)\s+(.+)", line, re.I)
        if found is None:
            continue
        if found[1].upper() == "FROM":  # another stage
            parts.clear()
        else:
            parts[found[1].upper()] = found[2].strip()
            if found[1].upper() == "ENTRYPOINT":
                parts.pop("CMD", None)
    entry, command = parts.get("ENTRYPOINT", ""), parts.get("CMD", "")
    as_list = [*_listed(entry), *_listed(command)]
    whole = as_list if entry.startswith("[") or (command.startswith("[") and not entry) else (
        words(entry) if entry else words(command))
    if len(whole) >= 3 and whole[0].rpartition("/")[2] in ("sh", "bash") and whole[1] in (
            "-c", "-ec", "-lc", "-euc"):
        return find(whole[2]), whole[2]
    return _in(whole) or _in(as_list), " ".join(whole)


def _listed(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError:
        return words(text)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        return []
    return [_expanded(item) for item in found]


def script(text: str) -> list[Command]:
    """Return the commands of servers in a shell script, a systemd unit or a list of services."""
    found = []
    for line in joined(text):
        if not any(name in line for name in (*SERVERS, "waitress")):
            continue
        line = re.sub(r"^\s*(?:ExecStart=[-@:+!]*|command:|entrypoint:|-\s+)", "", line).strip()
        is_list = line.startswith("[") and line.endswith("]")
        command = _in(_listed(line)) if is_list else find(line)
        if command is not None and command.arguments:
            found.append(command)
    return found
