"""Small applications that each break one rule of PEP 3333, for the tests of ``strict_wsgi``.

`@misuse(RULES...)` names the rules that must be reported for one request, all of them. The line
that is to blame ends in the comment `# here`; where the whole function is, it has no such line.

It is one list, of more than 500 lines.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fastwsgi.strict import check

TEXT = [("Content-Type", "text/plain")]
OK = "200 OK"

Environ = dict[str, Any]
Start = Callable[..., Any]


class Case(NamedTuple):
    """One application, the rules it breaks, and the request that shows it."""

    app: Callable[..., Any]
    rules: tuple[str, ...]
    method: str
    line: int | None

    @property
    def name(self) -> str:
        return self.app.__name__


CASES: list[Case] = []


def misuse(*rules: str, method: str = "GET") -> Callable[[Any], Any]:
    """Enter an application into `CASES`."""

    def enter(app: Any) -> Any:
        lines, first = inspect.getsourcelines(app)
        marked = [first + at for at, line in enumerate(lines) if line.endswith("# here\n")]
        CASES.append(Case(app, rules, method, marked[0] if marked else None))
        return app

    return enter


# -- the application and what it returns


@misuse("application-arguments")
def takes_one_argument(environ: Environ) -> list[bytes]:
    return []


@misuse("return-string")
def returns_bytes(environ: Environ, start_response: Start) -> bytes:
    start_response(OK, list(TEXT))  # here
    return b"bytes"


@misuse("return-string")
def returns_str(environ: Environ, start_response: Start) -> str:
    start_response(OK, list(TEXT))  # here
    return "text"


@misuse("return-not-iterable")
def returns_none(environ: Environ, start_response: Start) -> None:
    start_response(OK, list(TEXT))  # here


@misuse("return-not-iterable")
def returns_a_number(environ: Environ, start_response: Start) -> int:
    start_response(OK, list(TEXT))  # here
    return 200


@misuse("return-not-iterable")
async def is_asynchronous(environ: Environ, start_response: Start) -> list[bytes]:
    return []


@misuse("block-type")
def lists_str(environ: Environ, start_response: Start) -> list[Any]:
    start_response(OK, list(TEXT))  # here
    return [b"bytes", "text"]


@misuse("block-type")
def yields_str(environ: Environ, start_response: Start) -> Iterator[Any]:
    start_response(OK, list(TEXT))
    yield b"bytes"
    yield "text"  # here


@misuse("block-type")
def yields_bytearray(environ: Environ, start_response: Start) -> Iterator[Any]:
    start_response(OK, list(TEXT))
    yield bytearray(b"array")  # here


class Miscounted(list):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 7


@misuse("length-inaccurate")
def says_a_wrong_length(environ: Environ, start_response: Start) -> Any:
    start_response(OK, list(TEXT))  # here
    return Miscounted([b"one"])


class OddlyClosed:
    close = "not a function"

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"body"])


@misuse("close-not-callable")
def has_a_close_that_is_none(environ: Environ, start_response: Start) -> Any:
    start_response(OK, list(TEXT))  # here
    return OddlyClosed()


# -- start_response


@misuse("start-arguments")
def starts_by_keywords(environ: Environ, start_response: Start) -> list[bytes]:
    start_response(status=OK, response_headers=list(TEXT))  # here
    return [b"body"]


@misuse("start-arguments")
def starts_without_headers(environ: Environ, start_response: Start) -> list[bytes]:
    start_response(OK)  # here
    return [b"body"]


@misuse("start-missing")
def returns_without_starting(environ: Environ, start_response: Start) -> list[bytes]:
    return [b"body"]


@misuse("start-missing")
def yields_before_starting(environ: Environ, start_response: Start) -> Iterator[bytes]:
    yield b"body"  # here
    start_response(OK, list(TEXT))


@misuse("start-missing")
def ends_without_starting_behind_empty_blocks(
    environ: Environ, start_response: Start,
) -> Iterator[bytes]:
    yield b""
    yield b""


@misuse("start-missing")
def ends_without_starting(environ: Environ, start_response: Start) -> Iterator[bytes]:
    yield from ()


@misuse("start-repeated")
def starts_twice(environ: Environ, start_response: Start) -> list[bytes]:
    start_response(OK, list(TEXT))
    start_response("404 Not Found", list(TEXT))  # here
    return [b"body"]


@misuse("start-repeated", "headers-type")
def starts_again_after_an_error(environ: Environ, start_response: Start) -> list[bytes]:
    with contextlib.suppress(TypeError):
        start_response(OK, dict(TEXT))  # here
    start_response(OK, list(TEXT))
    return [b"body"]


@misuse("start-after-end")
def starts_in_close(environ: Environ, start_response: Start) -> Any:
    class Late:
        def __iter__(self) -> Iterator[bytes]:
            start_response(OK, list(TEXT))
            return iter([b"body"])

        def close(self) -> None:
            with contextlib.suppress(Exception):
                start_response(OK, list(TEXT), (ValueError, ValueError(), None))  # here

    return Late()


@misuse("exc-info-type")
def gives_an_exception_for_exc_info(environ: Environ, start_response: Start) -> list[bytes]:
    start_response(OK, list(TEXT), ValueError("no tuple"))  # here
    return [b"body"]


@misuse("exc-info-type")
def gives_exc_info_of_nothing(environ: Environ, start_response: Start) -> list[bytes]:
    start_response(OK, list(TEXT), sys.exc_info())  # here
    return [b"body"]


@misuse("exc-info-trapped")
def traps_what_start_response_raises(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response(OK, list(TEXT))
    yield b"begun "
    try:
        raise ValueError("in the middle")
    except ValueError:
        with contextlib.suppress(ValueError):
            start_response("500 Oops", list(TEXT), sys.exc_info())  # here
    yield b"and gone on"


# -- status


def starting(*rules: str, status: Any = OK, headers: Any = TEXT, body: Any = (b"body",),
             method: str = "GET", name: str) -> None:
    """Enter an application that calls start_response like this."""

    def app(environ: Environ, start_response: Start) -> list[bytes]:
        start_response(status, list(headers) if type(headers) is list else headers)  # here
        return list(body)

    app.__name__ = name
    misuse(*rules, method=method)(app)


class Word(str):
    __slots__ = ()


starting("status-type", status=b"200 OK", name="status_of_bytes")
starting("status-type", status=Word("200 OK"), name="status_of_a_subclass_of_str")
starting("status-form", status="200", name="status_without_reason")
starting("status-form", status="200  OK", name="status_with_two_spaces")
starting("status-form", status="200 OK ", name="status_with_a_space_behind")
starting("status-code", status="600 Beyond", name="status_beyond_599")
starting("status-code", status="100 Continue", name="status_of_an_interim_response")
starting("status-control", status="200 OK\r\n", name="status_with_a_line_end")
starting("status-latin1", status="200 \u2713", name="status_beyond_latin1")

# -- header fields

starting("headers-type", headers=tuple(TEXT), name="headers_in_a_tuple")
starting("headers-type", headers=Miscounted(TEXT), name="headers_in_a_subclass_of_list")
starting("header-pair", headers=[*TEXT, ("X-Alone",)], name="header_without_value")
starting("header-pair", headers=[*TEXT, ["X-List", "1"]], name="header_in_a_list")
starting("header-name-type", headers=[*TEXT, (b"X-Bytes", "1")], name="header_name_of_bytes")
starting("header-name", headers=[*TEXT, ("X-Colon:", "1")], name="header_name_with_colon")
starting("header-name", headers=[*TEXT, ("X Space", "1")], name="header_name_with_space")
starting("header-name", headers=[*TEXT, ("", "1")], name="header_name_of_nothing")
starting("header-name-end", headers=[*TEXT, ("X-Dash-", "1")], name="header_name_ending_in_a_dash")
starting("header-status", headers=[*TEXT, ("Status", "200 OK")], name="header_named_status")
starting("header-value-type", headers=[*TEXT, ("X-Number", 1)], name="header_value_of_int")
starting("header-value-control", headers=[*TEXT, ("X-End", "1\r\n")], name="header_with_a_line_end")
starting("header-value-control", headers=[*TEXT, ("X-Tab", "1\t2")], name="header_with_a_tab")
starting("header-value-latin1", headers=[*TEXT, ("X", "\u20ac")], name="header_beyond_latin1")
for field in ("Connection", "Keep-Alive", "Proxy-Authenticate", "TE", "Trailer", "Upgrade",
              "Transfer-Encoding", "transfer-encoding"):
    starting("hop-by-hop", headers=[*TEXT, (field, "close")], name=f"hop_by_hop_{field}")
starting("content-length-form", headers=[*TEXT, ("Content-Length", "four")], name="length_in_words")
starting("content-length-form", headers=[*TEXT, ("Content-Length", "-1")], name="length_below_zero")
starting("content-length-repeated", headers=[*TEXT, *[("Content-Length", "4")] * 2],
         name="length_twice")
starting("content-length-204", status="204 No Content", headers=[("Content-Length", "0")], body=(),
         name="length_with_204")
starting("content-length-304", status="304 Not Modified", headers=[("Content-Length", "0")],
         body=(), name="length_with_304")
starting("content-type-repeated", headers=[*TEXT, *TEXT], name="type_twice")
starting("content-type-bodiless", status="304 Not Modified", body=(), name="type_with_304")
starting("content-type-bodiless", status="204 No Content", body=(), name="type_with_204")
starting("content-type-missing", headers=[], name="no_type")

# -- body

starting("body-short", headers=[*TEXT, ("Content-Length", "9")], name="list_too_short")
starting("body-long", headers=[*TEXT, ("Content-Length", "3")], name="list_too_long")
starting("body-forbidden", status="204 No Content", headers=[], name="body_with_204")
starting("body-forbidden", status="205 Reset Content", headers=[], name="body_with_205")
starting("body-forbidden", status="304 Not Modified", headers=[], name="body_with_304")


@misuse("headers-changed")
def changes_headers_later(environ: Environ, start_response: Start) -> Iterator[bytes]:
    headers = list(TEXT)
    start_response(OK, headers)
    headers.append(("X-Late", "1"))
    yield b"body"  # here


@misuse("body-long")
def yields_too_much(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response(OK, [*TEXT, ("Content-Length", "5")])
    yield b"1234"
    yield b"5678"  # here
    yield b"9"


@misuse("body-short")
def yields_too_little(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response(OK, [*TEXT, ("Content-Length", "5")])
    yield b"1234"


@misuse("body-short")
def sends_a_file_too_short(environ: Environ, start_response: Start) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
    file.write(b"1234")
    file.seek(0)
    start_response(OK, [*TEXT, ("Content-Length", "5")])  # here
    return environ["wsgi.file_wrapper"](file)


# -- write()


@misuse("write-arguments")
def writes_by_keyword(environ: Environ, start_response: Start) -> list[bytes]:
    write = start_response(OK, list(TEXT))
    write(data=b"body")  # here
    return []


@misuse("write-type")
def writes_str(environ: Environ, start_response: Start) -> list[bytes]:
    write = start_response(OK, list(TEXT))
    write("body")  # here
    return []


@misuse("body-long")
def writes_too_much(environ: Environ, start_response: Start) -> list[bytes]:
    write = start_response(OK, [*TEXT, ("Content-Length", "3")])
    write(b"12")
    write(b"34")  # here
    return []


@misuse("write-in-iteration")
def writes_in_iteration(environ: Environ, start_response: Start) -> Iterator[bytes]:
    write = start_response(OK, list(TEXT))
    write(b"written, ")  # here
    yield b"yielded"


@misuse("write-after-end")
def writes_in_close(environ: Environ, start_response: Start) -> Any:
    write = start_response(OK, [*TEXT, ("Content-Length", "4")])

    class Late:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"body"])

        def close(self) -> None:
            with contextlib.suppress(Exception):
                write(b"")  # here

    return Late()


# -- environ


def spoiling(*rules: str, name: str, **changes: Any) -> None:
    """Enter an application that leaves its environ with these values, None for removed ones."""

    def app(environ: Environ, start_response: Start) -> list[bytes]:
        for key, value in changes.items():
            if value is None:
                del environ[key.replace("__", ".")]
            else:
                environ[key.replace("__", ".")] = value
        start_response(OK, list(TEXT))
        return [b"body"]

    app.__name__ = name
    misuse(*rules)(app)


spoiling("environ-missing", SERVER_PORT=None, name="removes_server_port")
spoiling("environ-missing", wsgi__url_scheme=None, name="removes_the_scheme")
spoiling("environ-missing", REQUEST_METHOD="", name="empties_the_method")
spoiling("environ-value", CONTENT_LENGTH=5, name="sets_content_length_to_int")
spoiling("environ-value", HTTP_X_USER=b"me", name="sets_a_field_to_bytes")
spoiling("environ-value", wsgi__version=[1, 0], name="sets_the_version_to_a_list")
spoiling("environ-value", wsgi__url_scheme=b"http", name="sets_the_scheme_to_bytes")
spoiling("environ-latin1", PATH_INFO="/\u20ac", name="decodes_the_path")
spoiling("environ-path", SCRIPT_NAME="app", name="mounts_without_a_slash")
spoiling("environ-path", SCRIPT_NAME="/", name="mounts_at_a_slash")
spoiling("environ-path", PATH_INFO="page", name="shifts_the_slash_away")


class Half:
    write = flush = staticmethod(print)


@misuse("environ-stream")
def replaces_errors_by_half_a_stream(environ: Environ, start_response: Start) -> list[bytes]:
    environ["wsgi.errors"] = Half()  # here
    start_response(OK, list(TEXT))
    return [b"body"]


# -- wsgi.input and wsgi.errors


def using(*rules: str, use: Callable[[Environ], Any], name: str) -> None:
    """Enter an application that does this with its environ and survives it."""

    def app(environ: Environ, start_response: Start) -> list[bytes]:
        with contextlib.suppress(Exception):
            use(environ)
        start_response(OK, list(TEXT))
        return [b"body"]

    app.__name__ = name
    case = Case(app, rules, "POST", use.__code__.co_firstlineno)
    CASES.append(case)


using("input-arguments", use=lambda e: e["wsgi.input"].read("4"), name="reads_a_str")
using("input-arguments", use=lambda e: e["wsgi.input"].read(1, 2), name="reads_twice_at_once")
using("input-arguments", use=lambda e: e["wsgi.input"].readline(size=1), name="reads_by_keyword")
using("input-arguments", use=lambda e: e["wsgi.input"].readlines(1.5), name="reads_half_a_line")
using("input-close", use=lambda e: e["wsgi.input"].close(), name="closes_input")
using("input-attribute", use=lambda e: e["wsgi.input"].seek(0), name="seeks_in_input")
using("errors-arguments", use=lambda e: e["wsgi.errors"].write(b"x"), name="reports_bytes")
using("errors-arguments", use=lambda e: e["wsgi.errors"].writelines([b"x"]), name="reports_lines")
using("errors-attribute", use=lambda e: e["wsgi.errors"].encoding, name="asks_for_the_encoding")
using("file-arguments", use=lambda e: e["wsgi.file_wrapper"](filelike=io.BytesIO()),
      name="wraps_by_keyword")
using("file-arguments", use=lambda e: e["wsgi.file_wrapper"](io.BytesIO(), "8K"),
      name="wraps_blocks_of_str")
using("file-read", use=lambda e: e["wsgi.file_wrapper"](b"bytes"), name="wraps_bytes")
using("file-text", use=lambda e: e["wsgi.file_wrapper"](io.StringIO("text")), name="wraps_text")
using("hints-arguments", use=lambda e: e["wsgi.early_hints"]("Link"), name="hints_at_a_name")
using("hints-arguments", use=lambda e: e["wsgi.early_hints"](), name="hints_at_nothing")
using("hints-length", use=lambda e: e["wsgi.early_hints"]([("Content-Length", "4")]),
      name="hints_at_a_length")
using("header-value-control", use=lambda e: e["wsgi.early_hints"]([("Link", "a\r\nb: c")]),
      name="hints_at_two_lines")
using("hop-by-hop", use=lambda e: e["wsgi.early_hints"]([("Connection", "close")]),
      name="hints_at_the_end")


@misuse("errors-close")
def closes_errors(environ: Environ, start_response: Start) -> list[bytes]:
    environ["wsgi.errors"].close()  # here
    start_response(OK, list(TEXT))
    return [b"body"]


# -- what a middleware does to the application beneath it


def inner(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response(OK, list(TEXT))
    yield b"inner"


@misuse("environ-type")
def hands_on_a_subclass_of_dict(environ: Environ, start_response: Start) -> Any:
    class Dict(dict):  # type: ignore[type-arg]
        pass

    return check(inner)(Dict(environ), start_response)


@misuse("environ-missing")
def hands_on_a_part_of_environ(environ: Environ, start_response: Start) -> Any:
    return check(inner)({key: environ[key] for key in environ if key != "SERVER_NAME"},
                        start_response)


@misuse("start-result")
def hands_on_no_write(environ: Environ, start_response: Start) -> Any:
    def start(status: str, headers: list[Any], exc_info: Any = None) -> None:
        start_response(status, headers)

    return check(inner)(environ, start)


@misuse("close-missing")
def forgets_to_close(environ: Environ, start_response: Start) -> list[bytes]:
    return list(check(inner)(environ, start_response))


@misuse("read-after-close")
def reads_after_close(environ: Environ, start_response: Start) -> Any:
    body = check(inner)(environ, start_response)
    blocks = [next(iter(body))]
    body.close()
    return [*blocks, *body]
