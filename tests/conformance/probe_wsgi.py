"""What the probe does on request: one generic behaviour driven by the case, and the odd ones.

Rule: a behaviour is `f(key, environ, start_response) -> iterable`; `respond` takes its whole
course from JSON in the query string, so that the case shows what the application does.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from urllib.parse import unquote

from .probe import BODY_LIMIT, Closing, read_all, tell

TEXT = [("Content-Type", "text/plain")]


class Odd(BaseException):
    """An exception outside of Exception."""


class Mute(Exception):
    """An exception that cannot be shown."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


ERRORS = {
    "ValueError": ValueError,
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": StopIteration,
    "RecursionError": RecursionError,
    "MemoryError": MemoryError,
    "OSError": OSError,
    "Odd": Odd,
    "Mute": Mute,
}


def value(spec):
    """A value from its JSON form: text stands for itself, other types are {"type": ...}."""
    if not isinstance(spec, dict):
        return spec
    ((kind, given),) = spec.items()
    makers = {
        "bytes": lambda: given.encode("latin-1"),
        "bytearray": lambda: bytearray(given, "latin-1"),
        "memoryview": lambda: memoryview(given.encode("latin-1")),
        "subclass": lambda: type("Text", (str,), {})(given),
        "bytes-subclass": lambda: type("Block", (bytes,), {})(given.encode("latin-1")),
        "str": lambda: given,
        "int": lambda: int(given),
        "none": lambda: None,
        "tuple": lambda: tuple(value(item) for item in given),
        "fill": lambda: b"x" * given,
        "long": lambda: "a" * given,
    }
    return makers[kind]()


def block(spec, key):
    """One body block; text means Latin-1 bytes; {"raise": name} raises, {"gate": 0} waits."""
    if isinstance(spec, str):
        return spec.encode("latin-1")
    if "raise" in spec:
        raise ERRORS[spec["raise"]]("asked for")
    if "gate" in spec:
        tell("gate", key)
        return b""
    return value(spec)


class Sequence:
    """Iterable by __getitem__ alone, without a length."""

    def __init__(self, blocks) -> None:
        self.blocks = blocks

    def __getitem__(self, index):
        return self.blocks[index]


class Iterator:
    """An iterator object, neither generator nor list."""

    def __init__(self, blocks) -> None:
        self.blocks = iter(blocks)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.blocks)


class Sized(Closing):
    """An iterable with a length."""

    def __len__(self) -> int:
        return len(self.blocks)


class BrokenClose(Closing):
    """Its close() raises."""

    def close(self) -> None:
        super().close()
        raise ValueError("close() failed")


class BrokenIter(Closing):
    """Its __iter__ raises."""

    def __iter__(self):
        raise ValueError("__iter__ failed")


def respond(key, environ, start_response):
    """Status, headers, writes and blocks as the query string says."""
    spec = json.loads(unquote(environ["QUERY_STRING"]))
    if "raise" in spec:
        raise ERRORS[spec["raise"]]("asked for")
    headers = spec.get("headers", [["Content-Type", "text/plain"]])
    if isinstance(headers, list):
        headers = [value(h) if isinstance(h, dict) else tuple(value(v) for v in h) for h in headers]
    else:
        headers = value(headers)

    def start():
        write = start_response(value(spec.get("status", "200 OK")), headers)
        for item in spec.get("write", ()):
            write(block(item, key))

    def blocks():
        if spec.get("late"):
            start()
        for item in spec.get("blocks", ()) * spec.get("repeat", 1):
            yield block(item, key)

    if not spec.get("late") and not spec.get("silent"):
        start()
    if "raise-after" in spec:
        raise ERRORS[spec["raise-after"]]("asked for")
    kind = spec.get("kind", "list")
    listed = list(blocks()) if kind in ("list", "tuple", "sequence", "sized") else None
    makers = {
        "list": lambda: listed,
        "tuple": lambda: tuple(listed),
        "sized": lambda: Sized(key, listed),
        "closing": lambda: Closing(key, blocks()),
        "generator": blocks,
        "iterator": lambda: Iterator(blocks()),
        "sequence": lambda: Sequence(listed),
        "broken-close": lambda: BrokenClose(key, blocks()),
        "broken-iter": lambda: BrokenIter(key, ()),
        "bytes": lambda: b"bare bytes",
        "str": lambda: "bare text",
        "none": lambda: None,
        "int": lambda: 42,
        "dict": lambda: {b"key": b"value"},
    }
    return makers[kind]()


def reply(start_response, text, status="200 OK"):
    """A plain answer with a length."""
    body = text if isinstance(text, bytes) else text.encode("latin-1")
    start_response(status, [*TEXT, ("Content-Length", str(len(body)))])
    return [body]


def environ_types(key, environ, start_response):
    """Remark on every PEP 3333 rule about the environ that does not hold."""
    wrong = []
    if type(environ) is not dict:
        wrong.append(f"environ is a {type(environ).__name__}")
    for name, found in environ.items():
        if type(name) is not str:
            wrong.append(f"key {name!r}")
        elif "." not in name and type(found) is not str:
            wrong.append(f"{name} is a {type(found).__name__}")
        elif type(found) is str and any(ord(c) > 255 for c in found):
            wrong.append(f"{name} is not Latin-1")
    needed = [
        "REQUEST_METHOD",
        "SCRIPT_NAME",
        "PATH_INFO",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
        "wsgi.version",
        "wsgi.url_scheme",
        "wsgi.input",
        "wsgi.errors",
        "wsgi.multithread",
        "wsgi.multiprocess",
        "wsgi.run_once",
    ]
    # PEP 3333: SCRIPT_NAME and PATH_INFO may be empty, but not missing together.
    optional = ("SCRIPT_NAME", "PATH_INFO")
    wrong += [f"no {n}" for n in needed if n not in environ and n not in optional]
    for name in ("SERVER_NAME", "SERVER_PORT", "REQUEST_METHOD", "SERVER_PROTOCOL"):
        if not environ.get(name):
            wrong.append(f"{name} is empty")
    for name in ("wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once"):
        try:
            bool(environ.get(name))
        except Exception:
            wrong.append(f"{name} has no truth")
    if environ.get("wsgi.version") != (1, 0):
        wrong.append("wsgi.version")
    for stream, methods in (
        ("wsgi.input", "read readline readlines __iter__"),
        ("wsgi.errors", "write writelines flush"),
    ):
        found = environ.get(stream)
        wrong += [f"no {stream}.{m}" for m in methods.split() if not hasattr(found, m)]
    tell("note", key, text=", ".join(wrong))
    return reply(start_response, "\n".join(wrong))


def environ_keep(key, environ, start_response):
    """Leave a mark in the environ and empty it."""
    if "probe.mark" in environ:
        tell("note", key, text="saw an earlier request's mark")
    environ["probe.mark"] = "here"
    environ["HTTP_X_MARK"] = "here"
    environ.pop("PATH_INFO")
    environ.pop("wsgi.version")
    return reply(start_response, "marked")


def input_script(key, environ, start_response):
    """Call the methods of wsgi.input that the query names; the results go into the body."""
    stream = environ["wsgi.input"]
    results = []
    for call in environ.get("QUERY_STRING", "").split(","):
        name, _, argument = call.partition(":")
        arguments = [None if argument == "None" else int(argument)] if argument else []
        try:
            if name == "iter":
                result = list(stream)
            elif name == "next":
                result = next(iter(stream), "stop")
            else:
                result = getattr(stream, name)(*arguments)
        except Exception as error:
            result = type(error).__name__
        if isinstance(result, list):
            results.append([part.decode("latin-1") for part in result])
        elif isinstance(result, bytes):
            results.append(result.decode("latin-1"))
        else:
            results.append(f"<{result}>")
    return reply(start_response, json.dumps(results))


def input_ignored(key, environ, start_response):
    """Answer without a look at the input."""
    return reply(start_response, "ignored")


def input_late(key, environ, start_response):
    """Read the input only while the response is on its way."""
    start_response("200 OK", TEXT)

    def blocks():
        yield b"begin "
        yield read_all(environ)
        yield b" end"

    return Closing(key, blocks())


def input_sum(key, environ, start_response):
    """Tell length and checksum of the input, read in pieces."""
    stream = environ["wsgi.input"]
    length = total = 0
    while piece := stream.read(1000):
        if len(piece) > 1000:
            tell("note", key, text="read(1000) gave more")
        length += len(piece)
        total = (total + sum(piece)) % 65521
    return reply(start_response, f"{length} {total}")


def errors_stream(key, environ, start_response):
    """Use every method of wsgi.errors."""
    errors = environ["wsgi.errors"]
    errors.write("probe: text, caf\xe9 \u2603\n")
    errors.writelines(["probe: one\n", "probe: two\n"])
    errors.flush()
    print("probe: printed", file=errors)
    return reply(start_response, "written")


def start_twice(key, environ, start_response):
    """Call start_response a second time without exc_info; the error must reach the caller."""
    start_response("200 OK", TEXT)
    try:
        start_response("201 Created", TEXT)
    except BaseException as error:
        tell("note", key, text="raised")
        raise RuntimeError("second start_response") from error
    return [b"second call accepted"]


def start_replaced(key, environ, start_response):
    """An error page by start_response(..., exc_info) before anything was sent."""
    start_response("200 OK", [*TEXT, ("X-First", "1")])
    try:
        raise ValueError("asked for")
    except ValueError:
        start_response("503 Sorry", [("Content-Type", "text/html")], sys.exc_info())
    return [b"error page"]


def start_replaced_first(key, environ, start_response):
    """exc_info with the first call is allowed."""
    try:
        raise ValueError("asked for")
    except ValueError:
        start_response("503 Sorry", TEXT, sys.exc_info())
    return [b"error page"]


def start_replaced_late(key, environ, start_response):
    """exc_info after the head has gone: start_response must raise that exception."""

    def blocks():
        start_response("200 OK", TEXT)
        yield b"begin"
        try:
            raise ValueError("asked for")
        except ValueError:
            try:
                start_response("503 Sorry", TEXT, sys.exc_info())
            except ValueError:
                tell("note", key, text="raised ValueError")
                raise
        yield b"more"

    return Closing(key, blocks())


def start_none(key, environ, start_response):
    """exc_info None is no exc_info."""
    start_response("200 OK", TEXT, None)
    return [b"fine"]


def start_writes(key, environ, start_response):
    """start_response returns a callable that takes bytes."""
    write = start_response("200 OK", TEXT)
    if not callable(write):
        tell("note", key, text="no write callable")
        return [b""]
    write(b"one ")
    write(b"")
    write(b"two ")
    return Closing(key, [b"three"])


def write_gated(key, environ, start_response):
    """write() has sent its block when it returns."""
    write = start_response("200 OK", TEXT)
    write(b"first")
    tell("gate", key)
    write(b"second")
    return Closing(key, [])


def write_text(key, environ, start_response):
    """write() of text is an error that the application gets."""
    write = start_response("200 OK", TEXT)
    try:
        write("text")
    except BaseException:
        tell("note", key, text="raised")
        raise
    return Closing(key, [b"text accepted"])


def middleware(key, environ, start_response):
    """Layers of middleware: wrapped start_response, wrapped iterable, late start."""

    def inner(environ, start_response):
        start_response("200 OK", [*TEXT, ("X-Inner", "1")])
        yield b"inner"

    def layer(application, name):
        def wrapped(environ, start_response):
            def started(status, headers, exc_info=None):
                return start_response(status, [*headers, (name, "1")], exc_info)

            result = application(environ, started)
            try:
                for part in result:
                    yield part.upper()
            finally:
                result.close()

        return wrapped

    return Closing(key, layer(layer(inner, "X-Middle"), "X-Outer")(environ, start_response))


def file(key, environ, start_response):
    """A file through wsgi.file_wrapper: JSON {size, skip, read, length, memory, block}."""
    spec = json.loads(unquote(environ["QUERY_STRING"]))
    content = bytes(range(256)) * (spec["size"] // 256 + 1)
    stream = io.BytesIO() if spec.get("memory") else tempfile.TemporaryFile()  # noqa: SIM115
    stream.write(content[: spec["size"]])
    stream.seek(spec.get("skip", 0))
    stream.read(spec.get("read", 0))
    plain_close = stream.close

    class File:
        """The file, with a close() that is heard and none of the server's business inside."""

        def __getattr__(self, name):
            return getattr(stream, name)

        def close(self):
            tell("close", key)
            plain_close()

    headers = list(TEXT)
    if "length" in spec:
        headers.append(("Content-Length", str(spec["length"])))
    start_response("200 OK", headers)
    wrapper = environ.get("wsgi.file_wrapper")
    opened = File()
    block_size = spec.get("block", 4096)
    if wrapper is None:
        return Closing(key, iter(lambda: stream.read(block_size), b""))
    result = wrapper(opened, block_size) if spec.get("block") else wrapper(opened)
    if spec.get("iterate"):
        return Closing(None, result) if spec["iterate"] == "keep" else list(result)
    return result


def body_kept(key, environ, start_response):
    """Echo the input, whatever the type of the request."""
    body = read_all(environ)
    tell("body", key, body=body[:BODY_LIMIT].decode("latin-1"))
    return reply(start_response, body)


BEHAVIOURS = {
    "respond": respond,
    "environ-types": environ_types,
    "environ-keep": environ_keep,
    "input": input_script,
    "input-ignored": input_ignored,
    "input-late": input_late,
    "input-sum": input_sum,
    "errors": errors_stream,
    "start-twice": start_twice,
    "start-replaced": start_replaced,
    "start-replaced-first": start_replaced_first,
    "start-replaced-late": start_replaced_late,
    "start-none": start_none,
    "write": start_writes,
    "write-gated": write_gated,
    "write-text": write_text,
    "middleware": middleware,
    "file": file,
    "echo": body_kept,
}
