"""Run applications from PyPI under --strict-wsgi, and compare what is reported with what is true.

Usage: python scripts/strict_apps [--write] [NAME...]

Each application gets a virtual environment of its own, made on the first run and kept in
$XDG_CACHE_HOME/fastwsgi/strict-apps (~/.cache without that variable; remove it to have newer
versions), and new data in a temporary folder. It is served by ``fastwsgi --strict-wsgi`` from this
tree, which must be built for the Python that runs this, and is visited as its users would.
A report that is not among the true ones in applications.py, one of those that is missing, and a
request that is answered otherwise than expected fail the run. --write brings the table in
docs/strict.md into step. This is not part of the gate: it installs two gigabytes, of versions that
change.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from strict_apps.applications import APPS, App  # noqa: E402
from strict_apps.visitor import Visitor  # noqa: E402

PAGE = ROOT / "docs" / "strict.md"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastwsgi/strict-apps"
REPORT = re.compile(r"strict WSGI: (.*) \[([a-z0-9-]+); ([^]]+)\], (.*)$")
LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")
SERVER = "httptools>=0.7.1,<0.10"
BEGIN = "<!-- applications: made by `make strict-apps ARGS=--write` -->\n"
END = "<!-- end of applications -->"
TABLE = "| application | version | requests | reported, all of it true |\n|---|---|---|---|\n"


def environment(app: App) -> Path:
    """The folder of the application's virtual environment, with the application in it."""
    folder = CACHE / app.name
    if not (folder / "complete").exists():
        print(f"{app.name}: installing {', '.join(app.packages)}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run(
            [folder / "bin/python", "-m", "pip", "install", "--quiet", SERVER, *app.packages],
            check=True)
        (folder / "complete").touch()
    return folder


def version(folder: Path, package: str) -> str:
    """The installed version of a package."""
    name = re.split(r"[\[<>=]", package)[0]
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    done = subprocess.run([folder / "bin/python", "-c", code], capture_output=True, text=True,
                          check=True)
    return done.stdout.strip()


def visit(app: App, folder: Path, place: Path) -> tuple[int, list[str]]:
    """Serve the application in ``place`` and visit it; the number of requests, and the log."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FASTWSGI_")}
    env |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{place}", "VIRTUAL_ENV": str(folder),
            "HOME": str(place), "PATH": f"{folder / 'bin'}{os.pathsep}{env.get('PATH', '')}"}
    for name, value in app.variables.items():
        env[name] = value.replace("{place}", str(place))
    for name, text in app.files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{place}", str(place)), encoding="utf-8")
    for command in app.prepare:
        subprocess.run(
            [part.replace("{place}", str(place)) for part in command], cwd=place, env=env,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
            check=True)
    log = place / "server.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [folder / "bin/python", "-m", "fastwsgi", "--strict-wsgi", "--bind", "127.0.0.1:0",
             "--threads", "2", app.target],
            cwd=place, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        port = wait_until_ready(server, log)
        visitor = Visitor(port, place)
        app.drive(visitor)
        server.terminate()
        server.wait(60)
    finally:
        server.kill()
        server.wait()
    return visitor.count, log.read_text("utf-8", "replace").splitlines()


def wait_until_ready(server: subprocess.Popen[bytes], log: Path) -> int:
    """The port, once the worker serves; some of these applications need a minute to import."""
    while True:
        text = log.read_text("utf-8", "replace")
        found = LISTENING.search(text)
        if found and re.search(r"\] ready\b", text):
            return int(found[1])
        try:
            server.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
        raise RuntimeError(f"the server ended:\n{log.read_text('utf-8', 'replace')}")


def judge(app: App, log: list[str]) -> list[str]:
    """Print what was reported; return what of it is not expected, or missing."""
    found = [match for line in log if (match := REPORT.search(line))]
    for text, rule, clause, place in (match.groups() for match in found):
        print(f"  {'' if rule in app.true else 'NOT EXPECTED: '}{text} [{rule}; {clause}], {place}")
    rules, known = {match[2] for match in found}, set(app.true)
    return [*(f"{app.name}: {rule} was reported" for rule in sorted(rules - known)),
            *(f"{app.name}: {rule} was not reported" for rule in sorted(known - rules))]


def row(app: App, folder: Path, count: int) -> str:
    """A line of the table in docs/strict.md."""
    told = "; ".join(f"`{rule}`: {why}" for rule, why in app.true.items()) or "nothing"
    return f"| {app.shown} | {version(folder, app.packages[0])} | {count} | {told} |"


def main(arguments: list[str]) -> int:
    """Visit the applications named, all without a name."""
    write = "--write" in arguments
    names = [name for name in arguments if name != "--write"] or list(APPS)
    unknown = sorted(set(names) - set(APPS))
    if unknown or (write and len(names) < len(APPS)):
        print(f"known are {', '.join(APPS)}; --write takes all of them", file=sys.stderr)
        return 2
    rows, wrong = [], []
    for name in names:
        app = APPS[name]
        folder = environment(app)
        with tempfile.TemporaryDirectory(prefix=f"strict-{name}-") as place:
            try:
                count, log = visit(app, folder, Path(place))
            except Exception:
                path = Path(place) / "server.log"
                print(path.read_text("utf-8", "replace") if path.exists() else "no log")
                raise
        print(f"{name} {version(folder, app.packages[0])}, {count} requests", flush=True)
        wrong += judge(app, log)
        rows.append(row(app, folder, count))
    if write and not wrong:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}{TABLE}" + "\n".join(rows) + f"\n{END}{after}", "utf-8")
    print(*wrong, sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
