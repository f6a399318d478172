"""Bring documents and types into step with the tables of settings, rules and atoms in fastwsgi.

Usage: python scripts/settings_page.py --write | --check

It makes docs/settings.md, the tables of rules in docs/strict.md, the table of atoms in
docs/logs.md, the table of gunicorn's settings in docs/migration.md, and the types of settings in
fastwsgi/config. With --check it writes nothing, and the
exit code is 1 if a page is out of step, which a test checks.
"""

from __future__ import annotations

import inspect
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fastwsgi.commandline.usage import brief  # noqa: E402
from fastwsgi.config.gunicorn import GUNICORN, Known  # noqa: E402
from fastwsgi.config.hooks import ARGUMENTS  # noqa: E402
from fastwsgi.config.table import FIRST, GROUPS, SETTINGS, Setting  # noqa: E402
from fastwsgi.logs.format import ATOMS, NAMED_ATOMS  # noqa: E402
from fastwsgi.strict.rules import RULES  # noqa: E402

SETTINGS_PAGE = ROOT / "docs" / "settings.md"
STRICT_PAGE = ROOT / "docs" / "strict.md"
CONFIG = ROOT / "fastwsgi" / "config" / "config.py"
MIGRATION_PAGE = ROOT / "docs" / "migration.md"
LOGS_PAGE = ROOT / "docs" / "logs.md"

INTRODUCTION = """\
# Settings

<!-- Made by `make docs` from fastwsgi/config/table.py; change that file instead. -->

Every setting has one name. It is a keyword of `fastwsgi.run()`, a variable (`FASTWSGI_` and the
name in capitals), a name in a configuration file (Python, `NAME = VALUE`) and a key of
`[tool.fastwsgi]` in pyproject.toml. Most settings have a flag too. The command line comes first,
then variables, the configuration file, pyproject.toml and the default. `fastwsgi --print-config`
shows every value in effect with its origin, `fastwsgi --explain` says which are dangerous or
pointless together, and `fastwsgi --check-config MODULE:APP` tests whether a server would start with
them.

## First
"""


def shown(value: object) -> str:
    """A default as an operator writes it."""
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    if isinstance(value, dict):
        return ",".join(f"{name}={text}" for name, text in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def sentence(text: str) -> str:
    """The setting's text as a sentence, with the signs of HTML and Markdown escaped."""
    for sign in ("\\", "*", "<", ">", "|"):
        text = text.replace(sign, f"\\{sign}")
    return text[0].upper() + text[1:] + "."


def lines(setting: Setting) -> Iterator[str]:
    """The Markdown of one setting."""
    yield f"### `{setting.name}`"
    yield ""
    yield sentence(setting.doc)
    yield ""
    argument = f" {setting.metavar}" if setting.metavar else ""
    if setting.const is not None and setting.metavar:
        argument = f" [{setting.metavar}]"
    flags = ", ".join(f"`{flag}{argument}`" for flag in setting.flags)
    if setting.name == "wsgi_app":
        flags = f"`{setting.metavar}`, the argument without a flag"
    if setting.many:
        flags += " (may be repeated)"
    yield f"- command line: {flags}" if flags else "- not on the command line"
    yield f"- variable: `{setting.variable}`"
    default = f"`{shown(setting.default)}`"
    for variable, template in setting.fallbacks:
        default += f"; with `${variable}` set, `{template.format('$' + variable)}`"
    yield f"- default: {default}"
    yield ""


def table() -> str:
    """The first settings: flag, default, and the beginning of the setting's text."""
    rows = ["| flag | default | meaning |", "|---|---|---|"]
    for setting in map(SETTINGS.__getitem__, FIRST):
        rows.append(f"| `{setting.flags[-1]}` | {shown(setting.default)} | {brief(setting.doc)} |")
    return "\n".join(rows)


def page() -> str:
    """The whole page."""
    found = [INTRODUCTION, table() + "\n"]
    for group in GROUPS:
        found.append(f"## {group.capitalize()}\n")
        for setting in SETTINGS.values():
            if setting.group == group:
                found.extend(lines(setting))
    return "\n".join(found).rstrip() + "\n"


def rules(level: int) -> str:
    """The rules of one severity. An ellipsis stands for what a report fills in."""
    rows = ["| rule | report | clause |", "|---|---|---|"]
    for rule in RULES.values():
        if rule.level == level:
            words = re.sub(r"(\{[^}]*\})+", "…", rule.text).replace("|", "\\|").replace("*", "\\*")
            rows.append(f"| `{rule.name}` | {words} | {rule.clause} |")
    return "\n".join(rows)


def becomes(item: Known) -> str:
    """What a setting of gunicorn does here, in a few words."""
    text = item.text.replace("<", "\\<")
    if not item.honoured:
        kind = "refused" if item.refused else "no effect, with a notice"
        return f"{kind}: {text}"
    kind = "honoured, with the hook's arguments" if item.name in ARGUMENTS else "honoured"
    return f"{kind}; {text}" if text and not item.flags else kind


def between(page: Path, start: str, end: str, rows: list[str]) -> str:
    """The page with the rows between two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(start)
    return before + start + "\n".join(rows) + "\n" + end + rest.partition(end)[2]


def migration() -> str:
    """docs/migration.md with its table made again."""
    rows = ["| gunicorn's setting | here | since |", "|---|---|---|"]
    rows += [f"| `{item.name}` | {becomes(item)} | {item.since} |" for item in GUNICORN.values()]
    return between(MIGRATION_PAGE, "<!-- gunicorn: made by `make docs` -->\n",
                   "<!-- end of gunicorn -->", rows)  # fmt: skip


def logs() -> str:
    """docs/logs.md with its table made again."""
    rows = ["| atom | |", "|---|---|"]
    rows += [f"| `%({name})s` | {words} |" for name, words in ATOMS.items()]
    rows += [f"| `%({{NAME}}{kind})s` | {words} |" for kind, words in NAMED_ATOMS.items()]
    return between(LOGS_PAGE, "<!-- atoms: made by `make docs` -->\n",
                   "<!-- end of atoms -->", rows)  # fmt: skip


def strict() -> str:
    """docs/strict.md with its tables made again."""
    text = STRICT_PAGE.read_text(encoding="utf-8")
    for name, level in (("errors", logging.ERROR), ("warnings", logging.WARNING)):
        start, end = f"<!-- {name}: made by `make docs` -->\n", f"\n<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        text = before + start + rules(level) + end + rest.partition(end.lstrip())[2]
    return text


def config() -> str:
    """fastwsgi/config/config.py with its types made anew: what the converters return."""
    types = [
        f"    {setting.name}: {inspect.get_annotations(setting.convert)['return']}\n"
        for setting in SETTINGS.values()
    ]
    start, end = "    # types: made by `make settings`\n", "    # end of types\n"
    before, _, rest = CONFIG.read_text(encoding="utf-8").partition(start)
    return before + start + "".join(types) + end + rest.partition(end)[2]


def main(word: str) -> int:
    made = {
        SETTINGS_PAGE: page(),
        STRICT_PAGE: strict(),
        LOGS_PAGE: logs(),
        MIGRATION_PAGE: migration(),
        CONFIG: config(),
    }
    stale = [
        path
        for path, text in made.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if word == "--write":
        for path in stale:
            path.write_text(made[path], encoding="utf-8")
        return 0
    for path in stale:
        print(f"{path.relative_to(ROOT)} is out of step with its table: run make settings")
    return 1 if stale else 0


if __name__ == "__main__":
    if sys.argv[1:] not in (["--write"], ["--check"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
