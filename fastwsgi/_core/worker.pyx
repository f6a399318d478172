# worker.pyx - what a process serves with: the core's loop, its settings, its application threads.
#
# The thread that calls run() is application thread 0 and the one that handles signals; the others are Python threads of
# our own. Each has a Puller (puller.pyx) and shares with the others only what the core guards and what never changes.

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.contextvars cimport PyContext_CopyCurrent
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport uint32_t, uint64_t
from posix.unistd cimport getpid

from fastwsgi._core cimport native
from fastwsgi._core.access cimport AccessLog
from fastwsgi._core.csrc cimport (
    FW_CLASS_BODY, FW_CLASS_HEADER, FW_CLASS_KEEPALIVE, FW_CLASS_WRITE, FW_MAP_DANGEROUS, FW_MAP_DROP, FW_MAP_REFUSE,
    FW_PHASE_APPLICATION, FW_STOP_GRACEFUL, FW_STOP_QUICK, fw_board, fw_board_call, fw_config, fw_leader, fw_loop,
    fw_process,
)
from fastwsgi._core.environ cimport EnvironBuilder
from fastwsgi._core.filewrapper cimport FileWrapper
from fastwsgi._core.input cimport Input, input_over
from fastwsgi._core.puller cimport Puller
from fastwsgi._core.shared cimport Shared

import os
import sys
import threading
import time

cdef extern from "Python.h":
    int PyThreadState_SetAsyncExc(unsigned long ident, PyObject *error)

cdef double LEFT_BEHIND = 0.2  # seconds for the other threads to end when the loop is over

cdef dict HEADER_MAPS = {"drop": FW_MAP_DROP, "refuse": FW_MAP_REFUSE, "dangerous": FW_MAP_DANGEROUS}


cdef uint32_t milliseconds(object seconds) except? 0:
    return <uint32_t>min(max(round(float(seconds) * 1000), 0), 0xFFFFFFFF)


cdef str temporary_folder():
    """Where bodies go that are too large for memory: what tempfile says, which an application may have told it.

    Nobody has told it anything where nobody has imported it: then its first choice is taken, if that can be used,
    without importing it, as it brings three compressors and a random number generator.
    """
    cdef str first
    if "tempfile" not in sys.modules:
        first = os.environ.get("TMPDIR") or os.environ.get("TEMP") or os.environ.get("TMP") or "/tmp"
        if os.path.isabs(first) and os.path.isdir(first) and os.access(first, os.W_OK | os.X_OK):
            return first
    import tempfile

    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # none is usable, as in a read-only container: the bodies that need one are refused
        return os.environ.get("TMPDIR") or os.environ.get("TEMP") or os.environ.get("TMP") or "/tmp"


cdef uint32_t bounded(object value, uint64_t most) except? 0:
    """A limit, where 0 means as much as the core can count."""
    cdef uint64_t n = value
    return <uint32_t>(most if n == 0 or n > most else n)


cdef int configure(fw_config *cfg, object settings) except -1:
    """Copies settings that are present over the core's defaults; names and units as in config.py."""
    native.config_defaults(cfg)
    for name, value in settings.items():
        if name == "limit_request_line":
            cfg.limit_line = bounded(value, 1 << 20)
        elif name == "limit_request_fields":
            cfg.limit_fields = bounded(value, 1 << 15)
        elif name == "limit_request_field_size":
            cfg.limit_field_size = bounded(value, 1 << 24)
        elif name == "limit_request_header":
            cfg.limit_header = bounded(value, 1 << 24)
        elif name == "limit_request_body":
            cfg.limit_body = value
        elif name == "body_memory":
            cfg.body_memory = value
        elif name == "response_memory":
            cfg.response_memory = value
        elif name == "worker_connections":
            cfg.max_connections = bounded(value, 1 << 30)
        elif name == "header_timeout":
            cfg.timeouts[<int>FW_CLASS_HEADER] = milliseconds(value)
        elif name == "body_timeout":
            cfg.timeouts[<int>FW_CLASS_BODY] = milliseconds(value)
        elif name == "write_timeout":
            cfg.timeouts[<int>FW_CLASS_WRITE] = milliseconds(value)
        elif name == "keepalive":
            cfg.timeouts[<int>FW_CLASS_KEEPALIVE] = milliseconds(value)
        elif name == "graceful_timeout":
            cfg.graceful_ms = milliseconds(value)
        elif name == "header_map":
            cfg.header_map = HEADER_MAPS[value]
        elif name == "overload":
            cfg.overload_refuse = value == "503"
        elif name == "queue":
            cfg.max_ready = bounded(value, 1 << 30) if value else 0
        elif name == "min_rate":
            cfg.min_rate = value
        elif name == "min_rate_grace":
            cfg.min_rate_grace_ms = milliseconds(value)
        elif name == "beat":
            cfg.beat_ms = milliseconds(value)
        elif name == "head_memo":
            cfg.memo = value
    return 0


cdef class Worker:
    """Serves *application* on already listening sockets, from as many threads as the setting *threads* says.

    *listeners* are ``(fd, server_name, server_port)`` of non-blocking listening sockets, which stay the caller's.
    *settings* maps setting names of config.py to values; missing ones take their defaults. *access* among them is
    the file of the access log: see AccessLog. *shown* among them is called with a request line that the log is to name,
    and returns what it may say of it. *log* is called as
    ``log(level, message, exception_or_None)``; *errors* is the text stream for ``wsgi.errors``. *board* is memory for
    the scoreboard (csrc/observe/scoreboard.h), writable and large enough; without it the worker has its own.
    *timeout_error* is the exception that :meth:`interrupt` raises in the application.
    """

    cdef fw_leader *leader
    cdef fw_loop *loop  # the leader's
    cdef object settings
    cdef bytes temp_dir
    cdef bytes health
    cdef Input no_body
    cdef AccessLog access  # or None
    cdef PyObject *held    # the same, or NULL
    cdef list pullers      # one per application thread
    cdef object failure    # what ended one of the other threads
    cdef fw_process *process  # the one that serves
    cdef Py_buffer board   # the scoreboard, if it is not our own
    cdef void *own_board
    cdef bint running

    def __cinit__(self, application, listeners, settings, *, log, errors, bint multiprocess=False, board=None,
                  timeout_error=None):
        cdef fw_config cfg
        cdef int rc
        cdef list bases
        self.settings = settings
        configure(&cfg, settings)
        self.temp_dir = os.fsencode(settings.get("temp_dir") or temporary_folder())
        cfg.temp_dir = self.temp_dir
        self.health = settings.get("health_path", "").encode("ascii")
        cfg.health = <const char *>self.health if self.health else NULL
        if settings.get("access"):
            self.access = AccessLog(settings["access"], settings.get("script_name", ""))
            Py_INCREF(self.access)  # ours until the loop is gone, whatever the garbage collector takes before
            self.held = <PyObject *>self.access
            cfg.access = self.access.log
        rc = native.process_open(&self.process)
        if rc < 0:
            raise OSError(-rc, os.strerror(-rc))
        rc = native.leader_open(&self.leader, &cfg)
        if rc < 0:
            raise OSError(-rc, os.strerror(-rc))
        self.loop = &self.leader.loop
        self.open_board(board)
        if settings.get("lifeline") is not None:
            rc = native.loop_lifeline(self.loop, settings["lifeline"])
            if rc < 0:
                raise OSError(-rc, os.strerror(-rc))
        for fd, _, port in listeners:
            rc = native.loop_listen(self.loop, fd, port != "")
            if rc < 0:
                raise OSError(-rc, os.strerror(-rc))
        self.no_body = input_over(NULL)
        bases = [self.base_environ(name, port, errors, multiprocess) for _, name, port in listeners]
        warned = set()
        self.pullers = [
            self.puller(application, bases, log, errors, warned, cfg.memo, timeout_error)
            for _ in range(settings.get("threads", 1))
        ]

    def __dealloc__(self):
        if self.leader != NULL:
            if not native.process_is_own(self.process):
                return  # a forked child has neither the standby nor a share in the poller
            native.standby_stop(self.leader)
            self.clear_up()
            native.leader_close(self.leader)
        if self.board.buf != NULL:
            PyBuffer_Release(&self.board)
        PyMem_Free(self.own_board)
        native.process_close(self.process)
        Py_XDECREF(self.held)

    cdef int open_board(self, object shared) except -1:
        """Opens the scoreboard in *shared* memory, or (None) in memory of our own."""
        cdef unsigned threads = self.settings.get("threads", 1)
        cdef size_t size = native.board_size(threads)
        if shared is None:
            self.own_board = PyMem_Calloc(1, size)
            if self.own_board == NULL:
                raise MemoryError("no memory for the scoreboard")
            self.loop.board = <fw_board *>self.own_board
        else:
            PyObject_GetBuffer(shared, &self.board, PyBUF_WRITABLE)
            if <size_t>self.board.len < size:
                raise ValueError(f"the scoreboard needs {size} bytes, not {self.board.len}")
            self.loop.board = <fw_board *>self.board.buf
        native.board_open(self.loop.board, <uint32_t>getpid(), threads)
        return 0

    cdef Puller puller(
        self, object application, list bases, object log, object errors, set warned, bint memo, object timeout_error
    ):
        cdef Shared shared = Shared.__new__(Shared)
        shared.thread = native.thread_open(self.leader)
        if shared.thread == NULL:
            raise MemoryError("no memory for a thread")
        shared.conns = &self.loop.conns
        shared.process = self.process
        shared.errors = errors
        shared.log = log
        shared.shown = self.settings.get("shown")
        shared.keepalive = milliseconds(self.settings.get("keepalive", 75)) > 0
        shared.sendfile = self.settings.get("sendfile", True)
        shared.warned = warned
        shared.timeout_error = timeout_error
        environs = EnvironBuilder(bases, self.no_body, self.settings.get("script_name", ""), memo)
        return Puller(application, shared, environs, self.no_body, self.access)

    cdef dict base_environ(self, str server_name, str server_port, object errors, bint multiprocess):
        """What every environ of one listener has in common (PEP 3333 "environ Variables").

        A unix socket has neither name nor port, and neither may be empty: it gets those of a local web server.

        The keys that each request sets are here too, so that the copy has their places and never grows for them. It is
        filled key by key: CPython lays out a dict of a size told beforehand for keys of any type, which takes half as
        much memory again and longer to copy.
        """
        cdef str version = self.settings.get("version", "")
        cdef dict environ = {}
        for key, value in (
            ("REQUEST_METHOD", ""),
            ("SERVER_PROTOCOL", ""),
            ("PATH_INFO", ""),
            ("QUERY_STRING", ""),
            ("RAW_URI", ""),
            ("REQUEST_URI", ""),
            ("REMOTE_ADDR", ""),
            ("REMOTE_PORT", ""),
            ("wsgi.input", self.no_body),
            ("SCRIPT_NAME", self.settings.get("script_name", "")),
            ("SERVER_NAME", server_name if server_port else "localhost"),
            ("SERVER_PORT", server_port or "80"),
            ("SERVER_SOFTWARE", f"fastwsgi/{version}" if version else "fastwsgi"),
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("wsgi.version", (1, 0)),
            ("wsgi.url_scheme", "http"),
            ("wsgi.errors", errors),
            ("wsgi.multithread", self.settings.get("threads", 1) > 1),
            ("wsgi.multiprocess", bool(multiprocess)),
            ("wsgi.run_once", False),
            ("wsgi.file_wrapper", FileWrapper),
            ("wsgi.input_terminated", True),
            ("fastwsgi.version", version),
        ):
            environ[key] = value
        return environ

    # ---- control, from any thread or signal handler ----

    @property
    def wakeup_fd(self):
        """Non-blocking descriptor; a byte written to it wakes the loop (for signal.set_wakeup_fd)."""
        return self.loop.wake_write

    def stop(self, graceful=True):
        """End :meth:`run`: at once, or (*graceful*) when the requests that are here have been answered."""
        native.loop_stop(self.loop, FW_STOP_GRACEFUL if graceful else FW_STOP_QUICK)

    def stats(self):
        """Counters since the start: connections, requests, refusals, errors, bytes."""
        cdef dict counters = native.leader_stats(self.leader)
        cdef Puller puller
        counters["app_errors"] = 0
        for puller in self.pullers:
            counters["app_errors"] += puller.shared.app_errors
        return counters

    @property
    def stopping(self):
        """Whether a stop has begun."""
        return self.loop.conns.stopping

    def calls(self):
        """The calls that are in flight and have lasted for some milliseconds, as tuples: index of the thread, number of
        the call, whether it is in the application (else it waits for its client), when it began (seconds of
        CLOCK_MONOTONIC, moved on by the time it waited for its client), method, target, client, threading.get_ident().
        """
        cdef fw_board_call call
        cdef Puller puller
        cdef list found = []
        for index, puller in enumerate(self.pullers):
            if native.thread_call(puller.shared.thread, &call):
                found.append((index, call.number, call.phase == FW_PHASE_APPLICATION, call.since / 1e6,
                              (<bytes>call.method).decode("latin-1"), (<bytes>call.target).decode("latin-1"),
                              (<bytes>call.client).decode("latin-1"), puller.shared.ident))
        return found

    def interrupt(self, unsigned index, unsigned number, bint by_signal):
        """Raise the timeout's exception in the application's call *number* of thread *index*; False if that has ended.

        It is raised as soon as the thread runs Python code again. With *by_signal* it is left to a signal handler,
        which asks :meth:`take_overdue`: that ends most waits for the system as well, but only in the main thread.
        """
        cdef Puller puller = self.pullers[index]
        cdef Shared shared = puller.shared
        cdef fw_board_call call
        if not shared.inside or not native.thread_call(shared.thread, &call) or call.number != number:
            return False
        shared.overdue = True
        if not by_signal:
            PyThreadState_SetAsyncExc(shared.ident, <PyObject *>shared.timeout_error)
        return True

    def take_overdue(self):
        """In a signal handler: True, once, if the application's call of the main thread is to be interrupted."""
        cdef Puller first = self.pullers[0]
        cdef bint overdue = first.shared.inside and first.shared.overdue
        if overdue:
            first.shared.overdue = False
        return overdue

    # ---- serving ----

    def run(self):
        """Serve until stopped. Raises OSError if the loop itself fails, and whatever a signal handler raises: then it
        may be run again.

        Threads whose application call does not end are left behind when the time for a graceful stop is over.
        """
        cdef Puller first = self.pullers[0]
        cdef list threads = []
        cdef bint interrupted = False
        cdef object context = PyContext_CopyCurrent()  # with what the application set when it was imported
        cdef int rc
        if self.running:
            raise RuntimeError("this worker is running already")
        rc = native.standby_start(self.leader)
        if rc < 0:
            raise OSError(-rc, os.strerror(-rc))
        self.running = True
        try:
            for i in range(1, len(self.pullers)):
                thread = threading.Thread(target=self.serve_thread, name=f"fastwsgi-{i}", args=(i, context),
                                          daemon=True)
                threads.append(thread)
                thread.start()
            first.run(context)
        except BaseException:
            self.stop(graceful=False)
            interrupted = True
            raise
        finally:
            self.leave(threads)
            failure, self.failure = self.failure, None
            if (interrupted or failure is not None) and not self.running:
                native.leader_reopen(self.leader)  # now, so that a stop() before the next run is not taken back
        if failure is not None:
            raise failure

    def serve_thread(self, index, context, /):
        """The life of one of the other application threads."""
        cdef Puller puller = self.pullers[index]
        try:
            puller.run(context)
        except BaseException as error:
            self.failure = error
            self.stop(graceful=False)

    cdef int leave(self, list threads) except -1:
        """The loop is over: waits for the threads that can end, and ends the standby if all have."""
        deadline = time.monotonic() + LEFT_BEHIND
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        if self.access is not None:
            self.access.flush()
        if any(thread.is_alive() for thread in threads):
            return 0
        native.standby_stop(self.leader)
        self.running = False
        return self.clear_up()

    cdef int clear_up(self) except -1:
        """Releases whatever connections and remembered heads still hold; no thread is inside the loop.

        The garbage collector may have taken what a Puller refers to before it comes to the worker itself.
        """
        cdef Puller puller
        cdef list whole = [one for one in self.pullers or () if (<Puller>one).shared is not None]
        for puller in whole:
            puller.release_spent()
        if whole:
            puller = <Puller>whole[0]
            native.clear_up(puller.shared.thread)
            puller.release_spent()
        return 0
