"""The rows of the comparison: what the client sends, which application answers, what is due.

A row is data. load.py turns it into load, verify.py into a check of the bytes, callgrind.py into
single requests; so all of them measure the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

#: What a browser sends: 14 fields, Host among them. `{n}` becomes a number; in the row whose
#: fields differ, another one each time.
BROWSER = (
    ("Host", "localhost"),
    ("Connection", "keep-alive"),
    ("Cache-Control", "max-age=0"),
    ("Upgrade-Insecure-Requests", "1"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    ),
    ("X-Request-Id", "7d1a66c2-{n}"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Referer", "http://localhost/articles/list?page={n}"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("Cookie", "session=8f0e61b7c7a94c0f9d3a; visitor={n}; theme=dark; consent=all"),
)
PLAIN = (("Host", "localhost"),)


@dataclass(frozen=True)
class Goal:
    """What our figure has to be: at most (or `at_least`) `factor` times that of `against`.

    `against` is "best" (the best peer that passes and has `needs`), a peer's name, "self:ROW"
    (ourselves in another row), or "" when `factor` is the bound itself. `value` names the figure;
    `plus` is added to the bound.
    """

    against: str
    factor: float
    value: str = "cpu_us"
    at_least: bool = False
    needs: str = ""
    plus: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """One row."""

    name: str
    title: str
    app: str = "bench.apps:hello"
    method: str = "GET"
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = PLAIN
    differ: bool = False  #: the fields' numbers change with each request
    body: int = 0  #: bytes of request body
    reply: int = 13  #: bytes of response body
    check: str = "hello"  #: the check of verify.py
    connections: int = 64
    pipeline: int = 1
    threads: int = 1
    load: str = "wrk"  #: or "mix"
    only: str = ""  #: "threads": servers that have threads; "ours": our server alone
    extra: tuple[str, ...] = ()  #: command-line words for our server
    canned: bool = True  #: the yardstick can answer it
    goals: tuple[Goal, ...] = ()

    def request(self, number: int = 0) -> bytes:
        """The bytes of request `number`."""
        fields = list(self.headers)
        if self.body:
            fields += [
                ("Content-Type", "application/octet-stream"),
                ("Content-Length", str(self.body)),
            ]
        n = f"{10_000_000 + number if self.differ else 10_000_000:08d}"
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value.replace('{n}', n)}" for name, value in fields]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + self.payload()

    def payload(self) -> bytes:
        """The request's body."""
        return b"p" * self.body


def _best(factor: float, **more: str) -> Goal:
    return Goal("best", factor, **more)  # type: ignore[arg-type]


_POST = Scenario("", "", app="bench.apps:echo", method="POST", check="echo")
_MEGABYTE = Scenario("", "", reply=1 << 20, check="megabyte", goals=(_best(1.0),))
# as some servers always end it; no promise, but the comparison of equals for them
_MEGABYTE_CLOSED = replace(
    _MEGABYTE, app="bench.apps:big", headers=(*PLAIN, ("Connection", "close")), goals=()
)

SCENARIOS = {
    row.name: row
    for row in (
        Scenario(
            "hello",
            "hello, keep-alive",
            goals=(
                Goal("canned", 1.18),
                _best(0.85),
                Goal("gunicorn-sync", 1 / 15),
                Goal("gunicorn-gthread", 1 / 15),
            ),
        ),
        Scenario(
            "browser-same",
            "14 browser fields, repeated",
            headers=BROWSER,
            goals=(Goal("canned", 1.2), _best(0.70)),
        ),
        Scenario(
            "browser-differ",
            "14 browser fields, differing",
            headers=BROWSER,
            differ=True,
            goals=(_best(0.82),),
        ),
        Scenario(
            "pipelined",
            "pipelined by 16",
            pipeline=16,
            check="pipelined",
            goals=(Goal("canned", 1.4 / 0.46), Goal("best", 5.0, "rps", at_least=True)),
        ),
        Scenario("thousand", "1,000 connections", connections=1000, goals=(_best(0.85),)),
        replace(
            _POST,
            name="post-1k",
            title="POST echo 1 KB",
            body=1024,
            reply=1024,
            goals=(_best(0.85),),
        ),
        replace(
            _POST,
            name="post-100k",
            title="POST echo 100 KB",
            body=100 * 1024,
            reply=100 * 1024,
            goals=(_best(0.9),),
        ),
        Scenario(
            "stream",
            "stream 10 x 1 KB",
            app="bench.apps:stream",
            reply=10 * 1024,
            check="stream",
            canned=False,
            goals=(_best(0.5, needs="streams"),),
        ),
        replace(_MEGABYTE, name="megabyte", title="1 MB of bytes", app="bench.apps:big"),
        replace(
            _MEGABYTE,
            name="file",
            title="1 MB by file_wrapper",
            app="bench.apps:file",
            canned=False,
        ),
        replace(_MEGABYTE_CLOSED, name="megabyte-close", title="1 MB of bytes, closed after"),
        replace(
            _MEGABYTE_CLOSED,
            name="file-close",
            title="1 MB by file_wrapper, closed after",
            app="bench.apps:file",
            canned=False,
        ),
        Scenario(
            "close",
            "Connection: close",
            headers=(*PLAIN, ("Connection", "close")),
            check="close",
            goals=(_best(1.0),),
        ),
        Scenario(
            "flask",
            "Flask hello",
            app="bench.site_flask:app",
            canned=False,
            goals=(_best(0.95, needs="closes"),),
        ),
        Scenario(
            "django",
            "Django hello",
            app="bench.site_django:app",
            canned=False,
            goals=(_best(0.95, needs="closes"),),
        ),
        Scenario(
            "sleep",
            "10 ms of sleep, 64 threads",
            app="bench.apps:sleep",
            threads=64,
            only="threads",
            goals=(Goal("", 6000, "rps", at_least=True), Goal("granian", 0.6), Goal("uwsgi", 0.6)),
        ),
        Scenario(
            "threads",
            "hello, 32 threads",
            threads=32,
            only="threads",
            goals=(Goal("self:hello", 1.03), Goal("self:hello", 1.0, "p99_ms", plus=1.0)),
        ),
        Scenario(
            "mix",
            "5 % take 50 ms, 32 threads: the quick ones",
            app="bench.apps:mix",
            threads=32,
            load="mix",
            only="threads",
            goals=(Goal("", 15.0, "p99_ms"),),
        ),
        Scenario(
            "access-log",
            "hello, access log on",
            only="ours",
            extra=("--access-logfile", "access.log"),
            goals=(Goal("self:hello", 1.15),),
        ),
        Scenario(
            "access-log-browser",
            "14 browser fields, repeated, access log on",
            headers=BROWSER,
            only="ours",
            extra=("--access-logfile", "access.log"),
            goals=(Goal("self:browser-same", 1.15),),
        ),
    )
}


def select(names: str | None) -> list[Scenario]:
    """The rows of a comma-separated list, in the table's order; all for none."""
    if not names:
        return list(SCENARIOS.values())
    wanted = names.split(",")
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        raise SystemExit(
            f"no scenario called {', '.join(unknown)}; there are {', '.join(SCENARIOS)}"
        )
    return [row for row in SCENARIOS.values() if row.name in wanted]


def applies(row: Scenario, name: str, threads: bool) -> str:
    """Why a server is left out of a row; empty when it takes part."""
    if name == "canned":
        return "" if row.canned and row.only == "" else "canned reply"
    if row.only == "ours" and name != "fastwsgi":
        return "ours alone"
    if row.only == "threads" and not threads:
        return "has no threads"
    return ""


def lua(row: Scenario) -> Iterable[str]:
    """The wrk script of a row: how its requests are made, and a `done` that prints JSON."""
    request = row.request()
    if row.pipeline > 1:
        yield f"local all = string.rep({_quote(request)}, {row.pipeline})"
        yield "request = function() return all end"
    elif row.differ:
        mark = b"10000000"
        parts = ", ".join(_quote(part) for part in request.split(mark))
        yield f"local parts = {{{parts}}}"
        yield "local number = 10000000"
        yield "request = function()"
        yield "  number = number + 1"
        yield "  return table.concat(parts, number)"
        yield "end"
    else:
        yield f"wrk.method = {_quote(row.method.encode())}"
        for name, value in row.headers:
            value = value.replace("{n}", "10000000")
            yield f"wrk.headers[{_quote(name.encode())}] = {_quote(value.encode())}"
        if row.body:
            yield 'wrk.headers["Content-Type"] = "application/octet-stream"'
            yield f'wrk.body = string.rep("p", {row.body})'
    yield DONE


def _quote(data: bytes) -> str:
    out = data.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"')
    return '"' + out.replace("\r", "\\r").replace("\n", "\\n") + '"'


DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, ' ..
    '"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""
