"""--preload-memory: what a fork server does so that its memory stays shared with its workers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from apps import ROOT
from apps.client import GET
from apps.command import Command, Project, ready
from apps.eventually import answer_with

from fastwsgi.config import values
from fastwsgi.config.sources import from_keywords
from fastwsgi.errors import ConfigError
from fastwsgi.testing import Process, raw, spawn

WAYS = ("plain", "frozen", "immortal")
MISSING = values._no_immortal_objects()
needs_immortal = pytest.mark.skipif(bool(MISSING), reason=MISSING or "has immortal objects")
needs_pss = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists() or "ASAN_OPTIONS" in os.environ,
    reason="the kernel counts no shares of pages, or a sanitizer writes to each")

COUNT, EACH = 60_000, 1_500
SHOP = f"""
    class Product:
        def __init__(self, number):
            self.number = number
            self.name = f"product {{number}}"
            self.prices = [1000 * number + part for part in range(3)]
            self.tags = {{"kind": f"kind {{number % 7}}", "size": number / 3}}
    CATALOG = [Product(number) for number in range({COUNT})]
    def app(environ, start_response):
        first, total = int(environ["QUERY_STRING"] or 0), 0
        for product in CATALOG[first:first + {EACH}]:
            low, *_, high = product.prices
            total += low + high + len(product.name) + (product.tags["kind"] == "kind 3")
        start_response("200 OK", [])
        return [b"%d" % total]
    """


def right_answer(first: int) -> bytes:
    """What SHOP answers to a request for the products from ``first`` on."""
    return b"%d" % sum(2000 * number + 2 + len(f"product {number}") + (number % 7 == 3)
                       for number in range(first, first + EACH))


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        for thread in Path(f"/proc/{one}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def pss(server: Process) -> int:
    """The kilobytes of memory of all processes, each shared page counted once."""
    found = 0
    for pid in tree(server.pid):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
        (share,) = re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        found += int(share)
    return found


def ask_often(server: Process, count: int) -> dict[int, set[bytes]]:
    """Make so many requests, eight at a time; what each part of the catalogue was answered with."""
    found: dict[int, set[bytes]] = {}

    def ask(begin: int) -> None:
        for number in range(begin, count, 8):
            first = number * EACH % COUNT
            asked = b"GET /?%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % first
            body = raw(server.address, asked).rpartition(b"\r\n")[2]
            found.setdefault(first, set()).add(body)

    threads = [threading.Thread(target=ask, args=(begin,)) for begin in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@needs_immortal
@needs_pss
def test_pages_stay_shared_when_objects_are_immortal(project: Project) -> None:
    with spawn("--preload", "--preload-memory", "immortal", "-w", "4", "--log-level", "debug",
               "shop:app", cwd=project(shop=SHOP)) as server:
        pids = ready(server)
        made = server.wait_for(r"\d+ objects made immortal in \d+ ms")
        assert int(re.findall(r"(\d+) objects", made)[0]) > 5 * COUNT
        before = pss(server)
        answers = ask_often(server, 2000)
        after = pss(server)
        assert answers == {first: {right_answer(first)} for first in range(0, COUNT, EACH)}
        assert after <= 1.1 * before
        assert server.terminate() == 0
    ends = re.findall(r"worker (\d+) left \(exit code 0\)", server.output())
    assert sorted(map(int, ends)) == sorted(pids)


@needs_pss
def test_pages_do_not_stay_shared_when_objects_are_only_frozen(project: Project) -> None:
    """The test above would find nothing, were it not so."""
    with spawn("--preload", "-w", "4", "shop:app", cwd=project(shop=SHOP)) as server:
        ready(server)
        before = pss(server)
        ask_often(server, 2000)
        assert pss(server) > 1.2 * before


STATE = """
    import gc, sys
    class Thing:
        pass
    NUMBERS, THING, CALLS, CACHE = [10 ** 9], Thing(), {"count": 0}, {}
    THING.text = "".join(["a ", "text"])
    def app(environ, start_response):
        CALLS["count"] += 1
        if environ["PATH_INFO"] == "/grow":  # what the import made holds what is new, and is held
            THING.latest = [THING, {"call": CALLS["count"]}]
            NUMBERS.append(CALLS["count"] * 10 ** 9)
            text = THING.text
            text += "!"
            THING.text = text
            CACHE[CALLS["count"]] = young = [THING]  # a dict that the collector did not track
            young.append(young)
        found = gc.collect()
        start_response("200 OK", [])
        answer = [gc.get_freeze_count() > 1000, sys.getrefcount(Thing) > 10 ** 6, NUMBERS,
                  THING.text, getattr(THING, "latest", [0, 0])[1],
                  sum(kept[0] is THING and kept[1] is kept for kept in CACHE.values())]
        import json
        return [json.dumps(answer).encode()]
    """


@pytest.mark.parametrize("how", [
    "plain", "frozen", pytest.param("immortal", marks=needs_immortal)])
def test_values_stay_right_and_collections_work(project: Project, how: str) -> None:
    with spawn("--preload", "--preload-memory", how, "state:app",
               cwd=project(state=STATE)) as server:
        for _ in range(50):
            answer = raw(server.address, GET.replace(b" / ", b" /grow "))
        frozen, immortal, numbers, text, latest, kept = json.loads(answer.rpartition(b"\r\n")[2])
        assert frozen == (how != "plain")
        assert immortal == (how == "immortal")
        assert numbers == [10**9, *(call * 10**9 for call in range(1, 51))]
        assert text == "a text" + "!" * 50
        assert latest == {"call": 50}
        assert kept == 50
        assert server.terminate() == 0
    assert "Traceback" not in server.output()


@needs_immortal
def test_a_reload_imports_anew_what_was_immortal(project: Project) -> None:
    app = """
        VERSION = b"version 1"
        def app(environ, start_response):
            start_response("200 OK", [])
            return [VERSION]
        """
    where = project(app=app)
    with spawn("--preload", "--preload-memory", "immortal", "-w", "2", "--log-level", "debug",
               "app:app", cwd=where) as server:
        before = ready(server)
        project(app=app.replace("version 1", "version 22"))
        server.signal(signal.SIGHUP)
        assert not set(before) & set(ready(server, 2))
        answer_with(server.address, GET, b"version 22")
        for pid in before:
            server.wait_for(rf"worker {pid} left \(exit code 0\)")
        server.wait_for(r"fork server \d+ left \(exit code 0\)")
        assert server.terminate() == 0


@needs_immortal
def test_a_worker_that_dies_is_forked_again_from_immortal_memory(project: Project) -> None:
    with spawn("--preload", "--preload-memory", "immortal", "--log-level", "debug", "shop:app",
               cwd=project(shop=SHOP)) as server:
        (pid,) = ready(server)
        os.kill(pid, signal.SIGKILL)
        server.wait_for(r"worker \d+ is ready", count=2)
        assert ask_often(server, 100)[EACH] == {right_answer(EACH)}


def in_a_process(code: str) -> str:
    """Run ``code`` in a process of its own, which it may fill with immortal objects."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True,
        timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_immortal
def test_the_walk_reaches_what_the_collector_does_not_track() -> None:
    assert in_a_process("""
        import sys
        from fastwsgi._core.immortal import make_immortal
        def text(*parts):
            return "".join(parts)
        class Slotted:
            __slots__ = ("left",)
        def function(default=text("a", "default")):
            return 123456789, (text, "constant of %d" % default)
        slotted = Slotted()
        slotted.left = [(text("in a tuple", "!"), 1 << 77), {text("a", "key"): text("a", "value")}]
        deep = None
        for _ in range(200_000):
            deep = (deep,)
        made = make_immortal()
        def mortal(one):
            return sys.getrefcount(one) < 1 << 30
        (pair, mapping), ((key, value),) = slotted.left, slotted.left[1].items()
        code = function.__code__
        depth, inner = 0, deep
        while inner:
            depth += not mortal(inner)
            (inner,) = inner
        reached = [slotted, pair, mapping, key, value, code, deep, Slotted, *pair, *code.co_consts,
                   *function.__defaults__, code.co_consts, code.co_names]
        print([one for one in reached if mortal(one)], depth, made > 200_000)
        """) == "[] 200000 True"


@needs_immortal
def test_activity_stays_mortal_and_goes_on() -> None:
    assert in_a_process("""
        import sys, types
        from fastwsgi._core.immortal import make_immortal
        def walk():
            yield make_immortal()
            yield frame
        def wait():
            yield [1, 2]
            yield 3
        async def work():
            return 5
        frame, walking, waiting, coroutine = sys._getframe(), walk(), wait(), work()
        next(waiting)
        try:
            raise ValueError
        except ValueError as error:
            trace = error.__traceback__
            made = next(walking)
        activity = (frame, walking, waiting, coroutine, trace)
        print([type(one).__name__ for one in activity if sys.getrefcount(one) >= 1 << 30],
              next(walking) is frame, list(waiting), list(walking), trace.tb_lineno > 1)
        try:
            coroutine.send(None)
        except StopIteration as end:
            print(end.value)
        """) == "[] True [3] [] True\n5"


@needs_immortal
def test_what_is_immortal_stays_when_nobody_refers_to_it() -> None:
    """The documented price: neither finalisers nor callbacks of weak references run."""
    assert in_a_process("""
        import gc, weakref
        from fastwsgi._core.immortal import make_immortal
        class Thing:
            def __del__(self):
                print("finalised", self.name)
        def add(name):
            thing = Thing()
            thing.name = name
            return thing, weakref.ref(thing, lambda _: print("called back", name))
        old, seen = add("old")
        make_immortal()
        gc.freeze()
        new, seen_too = add("new")
        del old, new
        gc.collect()
        print(seen() is not None, seen_too() is None)
        """).split("\n") == ["finalised new", "called back new", "True True"]


@needs_immortal
def test_the_proof_can_be_made_again() -> None:
    assert in_a_process("""
        from fastwsgi._core import immortal
        immortal.prove()
        made = immortal.make_immortal()
        immortal.prove()
        print(immortal.SUPPORTED, made > 1000, immortal.make_immortal() < made)
        """) == "True True True"


@needs_immortal
def test_an_interpreter_that_fails_the_proof_is_refused(project: Project) -> None:
    where = project(app="raise SystemExit('imported too early')", sitecustomize="""
        import sys, types
        fake = types.ModuleType("fastwsgi._core.immortal")
        def prove():
            raise RuntimeError("a new object of type list is counted when it is referred to")
        fake.prove = prove
        fake.make_immortal = None
        sys.modules["fastwsgi._core.immortal"] = fake
        """, good="def app(environ, start_response): pass")
    with (
        pytest.raises(RuntimeError, match=r"the server ended \(3\)") as caught,
        spawn("--preload", "--preload-memory", "immortal", "good:app", cwd=where,
              env={"PYTHONPATH": os.pathsep.join([str(where), str(ROOT)])}),
    ):
        pass
    assert ("preload_memory immortal cannot be used: a new object of type list is counted when it "
            "is referred to") in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.skipif(not MISSING, reason="this interpreter has immortal objects")
def test_an_interpreter_without_immortal_objects_is_refused(command: Command) -> None:
    done = command("--preload", "--preload-memory", "immortal", "app:app")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(
        f"preload_memory must be plain or frozen: {MISSING} (from command line "
        "--preload-memory)\n")


@pytest.mark.parametrize(("version", "flags", "debug", "reason"), [
    ((3, 10, 1), "", False, "Python 3.10 has no immortal objects, 3.12 and 3.13 have"),
    ((3, 11, 9), "", False, "Python 3.11 has no immortal objects, 3.12 and 3.13 have"),
    ((3, 14, 2), "", False, "Python 3.14 counts immortal constants, 3.12 and 3.13 do not"),
    ((3, 13, 0), "t", False, "a free-threaded Python counts references in another way"),
    ((3, 12, 0), "d", True, "a debug build of Python checks reference counts"),
    ((3, 12, 0), "", False, ""),
    ((3, 13, 9), "", False, ""),
])
def test_which_interpreters_are_refused(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], flags: str, debug: bool, reason: str,
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(sys, "abiflags", flags)
    if debug:
        monkeypatch.setattr(sys, "gettotalrefcount", lambda: 0, raising=False)
    assert values._no_immortal_objects() == reason
    for how in WAYS:
        if how == "immortal" and reason:
            with pytest.raises(ValueError, match=f"plain or frozen: {reason}"):
                values.preload_memory(how, *WAYS)
        else:
            assert values.preload_memory(how, *WAYS) == how


def test_another_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="preload_memory must be plain, frozen or immortal, not "):
        from_keywords({"preload_memory": "eternal"})
