"""Hostile applications for the response path, under Atheris: what goes over the wire stays framed.

The input decides what an application does (statuses, fields, exc_info, write, iterables, files) and
how its client asks. Behind each such request the client sends a plain one. It reads strictly:

- heads hold no byte that does not belong there, one length or one coding at most, and never both;
- a body is what the application gave, or visibly cut, or the server's apology;
- the plain request gets the plain answer or, behind a response that closes, nothing at all;
- close() of the iterable is called once;
- from time to time, at rest: every block and every descriptor has come back.

The worker runs in a thread; scripts/fuzz builds the package with sanitizers and coverage for it.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import re
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator

import atheris
from reader import WAIT, exchange, found, read_chunks, read_head

from fastwsgi._core.core import Worker
from fastwsgi.config.sources import from_keywords

PLAIN = b"GET /plain HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
PLAIN_BODY = b"this is the plain answer"
APOLOGY = b"Internal Server Error\n"
LOOK_EVERY = 100  # inputs between two looks at what is held

STATUSES = (
    "200 OK", "200 ", "200", "204 No Content", "304 Not Modified", "404 Not Found", "500 Oops",
    "100 Continue", "101 Switching", "199 x", "099 x", "999 x", "1000 x", "20 x", "2OO OK", "",
    " 200 OK", "200\tOK", "200 OK\r\nX: y", "200 OK\n", "200 \x00", "200 \u20ac", "200 \xe9",
    "\u0662\u0660\u0660 OK", "200  two", "200 OK ", "+20 x", "-20 x", "205 Reset", "206 Partial",
)  # fmt: skip
NAMES = (
    "Content-Type", "Content-Length", "content-length", "Transfer-Encoding", "Connection", "Date",
    "Server", "Keep-Alive", "Upgrade", "Trailer", "TE", "Proxy-Connection", "Set-Cookie", "X-A",
    "", " X", "X ", "X:", "X\r\nY", "X\nY", "X\x00", "X\u20ac", "X\xe9", "Status",
    "Proxy-Authenticate", "Content-Length ", "Transfer_Encoding",
)  # fmt: skip
VALUES = (
    "text/plain", "", "0", "1", "5", "24", "100", "00005", "+5", "-1", "5, 5", "5 ", " 5", "0x5",
    "5\r\n", "18446744073709551616", "9223372036854775807", "9223372036854775808", "\u0665",
    "\xa05", "5\x0b", "chunked", "identity", "close", "keep-alive", "keep-alive, close",
    "a\r\nb: c", "a\nb", "a\rb", "a\r\n b", "a\x00b", "\x7f", "\t", "\xe9", "\u20ac", "\ud800",
    "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "x" * 9000,
)  # fmt: skip
BLOCKS = (
    b"", b"x", b"hello", b"\r\n", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"a" * 100, b"b" * 8191, b"c" * 8192, b"d" * 70000, b"e" * 400000,
)  # fmt: skip
NOT_BLOCKS = ("text", None, 5, bytearray(b"array"), memoryview(b"view"), [b"list"], True)


class Text(str):
    """A str that is not exactly one."""


class Bytes(bytes):
    """A bytes that is not exactly one."""


class Fields(list):
    """A list that is not exactly one."""


class Plan:
    """What the application does for one request; made in the application from the input."""

    def __init__(self, data: bytes) -> None:
        self.choices = atheris.FuzzedDataProvider(data)
        self.given: list[bytes] = []  # in the order in which the server got them
        self.closable = False  # an iterable with a close() went to the server
        self.closed = threading.Semaphore(0)
        self.times_closed = 0
        self.error: BaseException | None = None

    def one(self, options: int) -> int:
        return self.choices.ConsumeIntInRange(0, options - 1)

    def pick(self, values: tuple) -> object:
        return values[self.one(len(values))]

    # ---- pieces of a head ----

    def text(self, known: tuple[str, ...]) -> object:
        how = self.one(16)
        if how == 0:
            return self.choices.ConsumeUnicode(self.one(30))
        if how == 1:
            return self.choices.ConsumeString(self.one(30))
        if how == 2:
            return self.pick((None, 5, b"bytes", Text(self.pick(known)), ["list"]))
        return self.pick(known)

    def field(self) -> object:
        how = self.one(24)
        if how == 0:
            return self.pick((None, (), ("X",), ("X", "y", "z"), ["X", "y"], "Xy", ("X", None)))
        return (self.text(NAMES), self.text(VALUES))

    def fields(self) -> object:
        fields = [self.field() for _ in range(self.one(6))]
        if self.one(4) == 0:
            fields.append(("Content-Length", str(self.one(200))))
        how = self.one(24)
        if how == 0:
            return self.pick((tuple(fields), iter(fields), None, {}, dict.fromkeys("ab"), "fields"))
        if how == 1:
            return Fields(fields)
        if how == 2 and fields:
            fields.append(fields)  # it holds itself
        return fields

    def exc_info(self) -> object:
        how = self.one(12)
        if how == 0:
            try:
                raise ValueError("told by exc_info")
            except ValueError:
                return sys.exc_info()
        if how == 1:
            told = (ValueError, ValueError("x"), None)
            return self.pick(((None, None, None), (), 5, told, "abc"))
        return None

    def start(self, start_response: Callable) -> Callable | None:
        """Call start_response in some way; its write()."""
        arguments = [self.text(STATUSES), self.fields()]
        exc_info = self.exc_info()
        if exc_info is not None:
            arguments.append(exc_info)
        try:
            write = start_response(*arguments)
        except Exception:
            if self.one(3):
                raise
            return None  # the application takes no notice
        if isinstance(arguments[1], list) and self.one(12) == 0:
            arguments[1][:] = [self.field()]  # after the fact
        return write

    # ---- pieces of a body ----

    def block(self) -> object:
        how = self.one(16)
        if how == 0:
            return self.pick(NOT_BLOCKS)
        if how == 1:
            return Bytes(self.pick(BLOCKS))
        if how == 2:
            return self.choices.ConsumeBytes(self.one(40))
        return self.pick(BLOCKS)

    def give(self, block: object) -> object:
        if isinstance(block, bytes):
            self.given.append(bytes(block))
        return block

    def write(self, write: Callable | None) -> None:
        for _ in range(self.one(4)):
            if write is None:
                return
            block = self.block()
            self.give(block)
            try:
                write(block)
            except Exception:
                if isinstance(block, bytes):
                    self.given.pop()
                if self.one(3):
                    raise

    def raise_something(self) -> None:
        if self.one(12) == 0:
            errors = (ValueError("\ud800"), SystemExit(3), KeyboardInterrupt(), IndexError())
            raise self.pick(errors)


class Blocks:
    """An iterable of blocks that may start late, raise, and be closed."""

    def __init__(self, plan: Plan, start_response: Callable, late: bool) -> None:
        self.plan = plan
        self.start_response = start_response
        self.late = late
        self.left = plan.one(6)

    def __iter__(self) -> Iterator:
        self.plan.raise_something()
        return self

    def __next__(self) -> object:
        if self.late:
            self.late = False
            self.plan.start(self.start_response)
        elif self.plan.one(16) == 0:
            self.plan.start(self.start_response)  # once more
        self.plan.raise_something()
        if self.left == 0:
            raise StopIteration
        self.left -= 1
        return self.plan.give(self.plan.block())


class Closable(Blocks):
    """... and knows how often it was closed."""

    def close(self) -> None:
        plan = self.plan
        plan.times_closed += 1
        plan.closed.release()
        plan.raise_something()


class Lying(Closable):
    """... and has a length that is not its own."""

    def __len__(self) -> int:
        return self.plan.one(3)


class File(io.BytesIO):
    """A file that cannot be sent by its descriptor."""

    def __init__(self, plan: Plan, data: bytes) -> None:
        super().__init__(data)
        self.plan = plan

    def read(self, size: int | None = -1, /) -> object:
        self.plan.raise_something()
        if self.plan.one(24) == 0:
            return self.plan.pick(NOT_BLOCKS)
        return self.plan.give(super().read(size))

    def close(self) -> None:
        if not self.closed:
            self.plan.times_closed += 1
            self.plan.closed.release()
        super().close()


def respond(plan: Plan, environ: dict, start_response: Callable) -> object:
    """The application: whatever the plan says."""
    late = plan.one(8) == 0
    write = None if late else plan.start(start_response)
    plan.write(write)
    plan.raise_something()
    how = plan.one(12)
    if how < 3:
        blocks = [plan.give(plan.block()) for _ in range(plan.one(4))]
        return blocks if how else tuple(blocks)
    if how == 3:
        odd = (None, b"bytes", "text", 5, bytearray(b"x"), {}, iter(()), [[]], Bytes(b""))
        return plan.pick(odd)
    if how == 4:
        data = plan.pick(BLOCKS)
        plan.closable = True
        return environ["wsgi.file_wrapper"](File(plan, data), 1 + plan.one(9000))
    if how == 5:
        data = plan.pick(BLOCKS)
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
        file.write(plan.give(data))
        file.seek(0)
        return environ["wsgi.file_wrapper"](file)
    if how == 6:
        return Blocks(plan, start_response, late)
    if how == 7:
        return (plan.give(plan.block()) for _ in range(plan.one(5)))
    plan.closable = True
    return (Lying if how == 8 else Closable)(plan, start_response, late)


class Server:
    """A worker in a thread, and the plan of the request at hand."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(16)
        self.listener.setblocking(False)
        self.address = self.listener.getsockname()
        listeners = [(self.listener.fileno(), "127.0.0.1", str(self.address[1]))]
        self.worker = Worker(
            self.application, listeners, from_keywords({}).core(), log=self.log,
            errors=io.StringIO(),
        )
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        try:
            self.worker.run()
        except BaseException:
            traceback.print_exc()
            os.abort()

    def log(self, level: int, message: str, error: BaseException | None) -> None:
        assert isinstance(level, int) and isinstance(message, str)
        assert level in (logging.WARNING, logging.ERROR)

    def application(self, environ: dict, start_response: Callable) -> object:
        if environ["PATH_INFO"] == "/plain":
            start_response("200 OK", [("X-Plain", "1")])
            return [PLAIN_BODY]
        plan, self.plan = self.plan, None
        assert plan is not None, "the application is called twice for one request"
        return respond(plan, environ, start_response)


def check(data: bytes, plan: Plan, head_request: bool, minor: int, asked_close: bool) -> None:
    """Judge everything that came back for a hostile request and a plain one behind it."""
    if not data:
        return  # cut before a head was sent
    try:
        status, fields, at = read_head(data)
    except EOFError:
        found("a head that ends before its time", data)
    lengths = fields.get(b"content-length", [])
    codings = fields.get(b"transfer-encoding", [])
    if len(lengths) + len(codings) > 1:
        found("framed twice", data)
    if lengths and re.fullmatch(rb"[0-9]+", lengths[0]) is None:
        found("a bad length", data)
    if codings and (codings != [b"chunked"] or minor == 0):
        found("a bad coding", data)
    if not fields.get(b"date") or len(fields.get(b"connection", [])) > 1:
        found("no Date, or several Connection", data)
    closes = fields.get(b"connection") == [b"close"]
    if status == 204 and (lengths or codings):
        found("a 204 with framing", data)
    whole = True
    if head_request or status in (204, 304):
        body = b""
    elif codings:
        body, at, whole = read_chunks(data, at)
    elif lengths:
        n = int(lengths[0])
        body = data[at : at + n]
        at += len(body)
        whole = len(body) == n
    else:
        if not closes:
            found("a body without framing on a connection that stays", data)
        body, at = data[at:], len(data)
    given = b"".join(plan.given)
    if body != APOLOGY and not given.startswith(body):
        found(f"a body of {len(body)} bytes that was not given", data)
    rest = data[at:]
    if not whole:
        return
    if closes or asked_close:
        if rest:
            found("bytes behind the last response", data)
        return
    if not rest:
        return  # a response that went wrong behind its end; the connection is closed
    status, fields, at = read_head(rest)
    if status != 200 or fields.get(b"x-plain") != [b"1"] or rest[at:] != PLAIN_BODY:
        found("the plain request has another answer", rest)


SERVER: Server
HELD: list[int] = []  # references to each larger block and open descriptors, as they should be
inputs = 0


def descriptors() -> int:
    """Open sockets and files; not pipes: the sanitizer has some to its symbolizer, now and then."""
    links = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one of the listing itself
            links.append(os.readlink(f"/proc/self/fd/{number}"))
    return sum(not link.startswith(("pipe:", "/dev/")) for link in links)


def settle() -> None:
    """Wait until the worker has seen that every client has left."""
    pause = threading.Event()
    for _ in range(int(WAIT * 1000)):
        if SERVER.worker.stats()["connections"] == 0:
            return
        pause.wait(0.001)
    found(f"connections stay: {SERVER.worker.stats()}", b"")


def look_around() -> None:
    """Compare what is held with what was held at the start; the worker is idle."""
    for _ in range(2):  # what a request leaves behind is released in the next turn
        exchange(SERVER.address, PLAIN, False)
        settle()
    gc.collect()  # tracebacks in cycles of the application's own making
    held = [*map(sys.getrefcount, BLOCKS[2:]), descriptors()]
    if not HELD:
        HELD.extend(held)
    elif held != HELD:
        found(f"references and descriptors are {held}, not {HELD}", b"")


def one_input(data: bytes) -> None:
    """One hostile response, and now and then a look around."""
    global inputs
    respond_to(data)
    inputs += 1
    if inputs % LOOK_EVERY == 0:
        look_around()


def respond_to(data: bytes) -> None:
    """One hostile response."""
    if len(data) < 4:
        return
    plan = Plan(data[1:])
    how = data[0]
    method = ("GET", "HEAD", "POST", "GET")[how & 3]
    minor = 0 if how & 4 else 1
    connection = ("", "", "Connection: keep-alive\r\n", "Connection: close\r\n")[how >> 3 & 3]
    body = "Content-Length: 3\r\n\r\nabc" if method == "POST" else "\r\n"
    request = f"{method} / HTTP/1.{minor}\r\nHost: h\r\n{connection}{body}".encode() + PLAIN
    SERVER.plan = plan
    received = exchange(SERVER.address, request, bool(how & 32))
    asked_close = "close" in connection or (minor == 0 and "keep" not in connection)
    check(received, plan, method == "HEAD", minor, asked_close)
    if plan.closable:
        if not plan.closed.acquire(timeout=WAIT):
            found("the iterable is not closed", received)
        if plan.times_closed != 1:
            found(f"the iterable is closed {plan.times_closed} times", received)


def main() -> None:
    """Start the server and hand over to libFuzzer."""
    global SERVER
    SERVER = Server()
    look_around()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
