"""From MODULE:APP to a callable: what is found, and what is said when it is not."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastwsgi.errors import AppImportError
from fastwsgi.worker.loader import load

APPS = """
    def application(environ, start_response):
        return [b"default"]

    def app(environ, start_response):
        return [b"app"]

    class Holder:
        inner = staticmethod(app)

    number = 5

    def make_app(name="x", *, times=1):
        def made(environ, start_response):
            return [name.encode() * times]
        return made

    def make_nothing():
        return None

    def make_broken():
        raise LookupError("no database")

    def make_wrongly():
        return len(5)
    """


@pytest.fixture(autouse=True)
def _apps(project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(sys.modules)
    where = project({
        "stock.py": APPS,
        "package/__init__.py": "",
        "package/inner.py": "def application(environ, start_response): return [b'inner']",
        "broken.py": "def fail():\n    raise OSError('disk on fire')\nfail()",
        "needs.py": "import a_module_that_is_missing",
        "syntax.py": "def f(:\n    pass",
        "leaves.py": "raise SystemExit('bad settings')",
        "hollow.py": "value = 1",
    })
    monkeypatch.syspath_prepend(str(where))
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(("target", "body"), [
    ("stock", b"default"),
    ("stock:app", b"app"),
    ("stock:Holder.inner", b"app"),
    ("stock:make_app()", b"x"),
    ("stock:make_app('ab', times=2)", b"abab"),
    ("package.inner", b"inner"),
    ("package.inner:application", b"inner"),
])
def test_finds_the_application(target: str, body: bytes) -> None:
    assert load(target)({}, None) == [body]


def test_takes_a_callable_as_it_is() -> None:
    assert load(print) is print


@pytest.mark.parametrize(("target", "message"), [
    ("nowhere:app", "cannot import 'nowhere': there is no module on the import path"),
    ("package.nope:app", "cannot import 'package.nope': there is no module on the import path"),
    ("stock.sub:app", "cannot import 'stock.sub': there is no module on the import path"),
    ("no.where:app", "cannot import 'no.where': there is no 'no', a part of it, on the import"),
    ("stock:aplication", "module 'stock' has no attribute 'aplication'; "
                        "did you mean stock:application?"),
    ("hollow:wsgi", "module 'hollow' has no attribute 'wsgi'"),
    ("stock:Holder.nope", "cannot find 'stock:Holder.nope': an object of type 'type' has no "
                         "attribute 'nope'"),
    ("stock:number", "'stock:number' is not a WSGI application: an object of type 'int' is not "
                    "callable"),
    ("stock:number()", "cannot call 'stock:number()': an object of type 'int' is not callable"),
    ("stock:make_nothing()", "what 'stock:make_nothing()' returned is not a WSGI application: None "
                            "is not callable"),
    ("stock:make_app(1, 2, 3)", "cannot call 'stock:make_app(1, 2, 3)': make_app() takes"),
    ("stock:make_app(x)", "'stock:make_app(x)' is not MODULE:APP"),
    ("stock:make_app(**{})", "'stock:make_app(**{})' is not MODULE:APP"),
    ("stock:1", "'stock:1' is not MODULE:APP"),
    ("stock:a b", "'stock:a b' is not MODULE:APP"),
    ("stock:class", "'stock:class' is not MODULE:APP"),
    ("stock:None", "'stock:None' is not MODULE:APP"),
    (":app", "':app' is not MODULE:APP: '' is not the name of a module"),
    ("src/stock.py:app", "'src/stock.py:app' is not MODULE:APP: 'src/stock.py' is not the name of "
                        "a module; did you mean src.stock:app?"),
])
def test_a_wrong_name_is_one_clear_line(target: str, message: str) -> None:
    with pytest.raises(AppImportError) as caught:
        load(target)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_name_is_met_with_the_module_name() -> None:
    with pytest.raises(AppImportError, match=r"did you mean stock:app\?"):
        load("stock.py:app")
    with pytest.raises(AppImportError, match=r"did you mean stock:app\?"):
        load("stock.py")


def test_an_object_that_is_not_callable_is_told() -> None:
    with pytest.raises(AppImportError, match="the object passed to fastwsgi is not a WSGI app"):
        load(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(("target", "message"), [
    ("broken:app", "importing the application module 'broken' failed: OSError: disk on fire"),
    ("needs:app", "importing the application module 'needs' failed: ModuleNotFoundError: No "
                  "module named 'a_module_that_is_missing'"),
    ("syntax:app", "importing the application module 'syntax' failed: SyntaxError: "),
    ("leaves:app", "importing the application module 'leaves' failed: SystemExit: bad settings"),
    ("stock:make_broken()", "the application factory 'stock:make_broken()' failed: LookupError: no "
                           "database"),
    ("stock:make_wrongly()", "the application factory 'stock:make_wrongly()' failed: TypeError: "),
])
def test_the_applications_own_failure_keeps_its_traceback(target: str, message: str) -> None:
    with pytest.raises(AppImportError) as caught:
        load(target)
    assert str(caught.value).startswith(message)
    cause = caught.value.__cause__
    assert cause is not None
    files = {Path(frame.filename).name for frame in traceback.extract_tb(cause.__traceback__)}
    assert files <= {"stock.py", "broken.py", "needs.py", "leaves.py"}  # none of ours
