# worker.pxi - what a process serves with: the core's loop, its settings, its application threads.
#
# The thread that calls run() is application thread 0 and the one that handles signals; the others are Python threads of
# our own. Each has a WorkerThread (worker_thread.pxi) and shares with the others only what the core guards and what
# never changes.
# It has more than 500 lines because the settings of the core, and what is borrowed for them, are in one place.

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.contextvars cimport PyContext_CopyCurrent
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport uint32_t
from posix.unistd cimport getpid

import os
import sys
import threading
import time

cdef double LEFT_BEHIND = 0.2  # seconds for the other threads to end when the loop is over


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


cdef int configure(fw_config *cfg, dict members) except -1:
    """Fills in what the settings decide, and takes it out of *members*, by the names and in the units of fw.h.

    A member that is missing raises KeyError, a number that does not fit OverflowError. Bytes are borrowed.
    """
    cdef bytes health = members.pop("health")
    cdef bytes live = members.pop("live")
    cdef bytes ready = members.pop("ready")
    fw_config_defaults(cfg)
    cfg.limit_line = members.pop("limit_line")
    cfg.limit_fields = members.pop("limit_fields")
    cfg.limit_field_size = members.pop("limit_field_size")
    cfg.limit_header = members.pop("limit_header")
    cfg.limit_body = members.pop("limit_body")
    cfg.body_memory = members.pop("body_memory")
    cfg.response_memory = members.pop("response_memory")
    cfg.max_connections = members.pop("max_connections")
    cfg.max_ready = members.pop("max_ready")
    cfg.queue_target_ms = members.pop("queue_target_ms")
    cfg.drop_gone = members.pop("drop_gone")
    cfg.watch_gone = members.pop("watch_gone")
    cfg.min_rate = members.pop("min_rate")
    cfg.min_rate_grace_ms = members.pop("min_rate_grace_ms")
    cfg.timeouts[<int>FW_CLASS_HEADER] = members.pop("timeouts[FW_CLASS_HEADER]")
    cfg.timeouts[<int>FW_CLASS_BODY] = members.pop("timeouts[FW_CLASS_BODY]")
    cfg.timeouts[<int>FW_CLASS_WRITE] = members.pop("timeouts[FW_CLASS_WRITE]")
    cfg.timeouts[<int>FW_CLASS_KEEPALIVE] = members.pop("timeouts[FW_CLASS_KEEPALIVE]")
    cfg.timeouts[<int>FW_CLASS_HANDSHAKE] = members.pop("timeouts[FW_CLASS_HANDSHAKE]")
    cfg.graceful_ms = members.pop("graceful_ms")
    cfg.header_map = members.pop("header_map")
    cfg.overload_refuse = members.pop("overload_refuse")
    cfg.health = <const char *>health if health else NULL
    cfg.live = <const char *>live if live else NULL
    cfg.ready = <const char *>ready if ready else NULL
    return 0


cdef object own_limit_of(const fw_board_call *call):
    if call.limit == 0:
        return None
    return float("inf") if call.limit == FW_NO_LIMIT else call.limit / 1e6


cdef class Worker:
    """Serves *application* on already listening sockets, from as many threads as the setting *threads* says.

    *listeners* are ``(fd, server_name, server_port)`` of non-blocking listening sockets, which stay the caller's;
    *uwsgi* are the indexes of those whose clients speak the uwsgi protocol. *settings* are those of
    fastwsgi/config/table.py that have a member, by the member's name and in its unit: all of them, and nothing else.
    *log* is called as ``log(level, message, exception_or_None)``; *errors* is the text stream for ``wsgi.errors``.
    *version* is the server's. *access* is the file of the access log: see AccessLog. *shown* is called with a
    request line that the log is to name, and returns what it may say of it. *number* is that of the worker among
    those of its master. *request_ids*: 1 gives each request an id, 2 answers it, too. *slow*: a time in seconds
    and what is told of requests that take as long (Causes). *server_timing*: responses say where the time of their
    requests went. *board* is memory for the scoreboard (csrc/observe/scoreboard.h), writable and large enough;
    without it the worker has its own. It is written every *beat_ms* milliseconds at least; 0: when there is
    something new. *lifeline* is what the loop is to watch for its end. *metrics* is memory that is shared, too
    (csrc/observe/metrics.h), prepared by its owner; without it nothing is counted for it. *route* is called with
    the environ of a request that is over, and names its route; without it the application alone does. With
    *siblings*, what fastwsgi/worker/siblings.py calls a slot, connections are shared with the other workers of the
    master. Those of *listeners* whose places are in *tls_on* speak TLS, with the certificates of *tls*, a
    TlsContext. Without *memo* no heads are remembered. *timeout_error* and *gone_error* are the exceptions that
    :meth:`interrupt` and :meth:`cancel` raise in the application. *statics* are the arguments of Statics: folders
    whose files the loop serves; *internal* those of Internal: folders whose files the application may name.
    """

    cdef fw_leader *leader
    cdef fw_loop *loop       # the leader's
    cdef bytes temp_dir
    cdef tuple probes      # paths: the core's settings borrow them, and the next
    cdef str script_name
    cdef str version
    cdef unsigned nthreads
    cdef bint sendfile
    cdef object shown
    cdef object route      # see WorkerThread
    cdef Input no_body
    cdef PyObject *forwarding  # Forwarding, or NULL: the core borrows it, so it is out of the garbage collector's reach
    cdef PyObject *time_limits  # Globs, likewise
    cdef PyObject *priorities
    cdef PyObject *statics  # Statics, likewise, or NULL
    cdef PyObject *internal  # Internal, likewise
    cdef OwnLimit own_limit
    cdef Collection collection
    cdef Causes causes     # or None
    cdef AccessLog access  # or None
    cdef PyObject *held    # the same, or NULL
    cdef list threads      # one per application thread
    cdef dict serving      # SERVING
    cdef unsigned number   # among those of its master
    cdef object failure    # what ended one of the other threads
    cdef fw_process *process  # the one that serves
    cdef Py_buffer board   # the scoreboard, if it is not our own
    cdef void *own_board
    cdef void *own_metrics
    cdef Py_buffer metrics  # a slot of the page, if there is one
    cdef Py_buffer page    # of the siblings
    cdef int *bells        # ... and where to ring them
    cdef TlsContext tls    # or None
    cdef bint running

    def __cinit__(self, application, listeners, settings, *, log, errors, bint multiprocess=False, str version="",
                  access=None, shown=None, board=None, unsigned beat_ms=0, lifeline=None, metrics=None,
                  siblings=None, uwsgi=(), TlsContext tls=None, tls_on=(), bint memo=True, timeout_error=None,
                  gone_error=None, unsigned number=1, int request_ids=0, tuple slow=None, route=None,
                  statics=None, internal=None, bint server_timing=False):
        cdef fw_config cfg
        cdef list bases
        cdef Forwarding forwarding
        cdef Globs time_limits, priorities
        cdef Statics served
        cdef Internal named = Internal(*internal) if internal is not None else None
        cdef dict members = dict(settings)
        self.nthreads = members.pop("threads")
        self.sendfile = members.pop("sendfile")
        self.script_name = members.pop("script_name")
        self.probes = (members["health"], members["live"], members["ready"])
        forwarding = Forwarding(members)
        time_limits = Globs(members.pop("time_limits"))
        priorities = Globs(members.pop("priorities"))
        configure(&cfg, members)
        forwarding.configure(&cfg)
        if members:
            raise ValueError(f"settings that the core does not know: {', '.join(members)}")
        Py_INCREF(forwarding)
        self.forwarding = <PyObject *>forwarding
        Py_INCREF(time_limits)
        self.time_limits = <PyObject *>time_limits
        cfg.time_limits = time_limits.borrowed()
        Py_INCREF(priorities)
        self.priorities = <PyObject *>priorities
        cfg.priorities = priorities.borrowed()
        if named is not None:
            Py_INCREF(named)
            self.internal = <PyObject *>named
        if statics is not None:
            served = Statics(*statics)
            Py_INCREF(served)
            self.statics = <PyObject *>served
            cfg.statics = served.borrowed()
        self.version = version
        self.shown = shown
        self.route = route
        self.temp_dir = os.fsencode(temporary_folder())
        cfg.temp_dir = self.temp_dir
        cfg.beat_ms = beat_ms
        if metrics is not None:
            cfg.metrics = self.open_metrics(metrics)
        elif slow is not None and slow[0] == 0:
            cfg.metrics = self.own_slot()
        cfg.memo = memo
        if access is not None:
            self.access = AccessLog(access, self.script_name, number)
            Py_INCREF(self.access)  # ours until the loop is gone, whatever the garbage collector takes before
            self.held = <PyObject *>self.access
            cfg.access = self.access.log
        if slow is not None or server_timing:
            self.causes = Causes(*(slow or (0.0, None)))
        cfg.timed = stopwatch_for(self.access, self.causes) is not None
        check(fw_process_open(&self.process))
        check(fw_leader_open(&self.leader, &_api, &cfg))
        self.loop = &self.leader.loop
        self.open_board(board)
        if lifeline is not None:
            check(fw_loop_lifeline(self.loop, lifeline))
        if siblings is not None:
            page, own, bells, (to, from_) = siblings
            self.share(page, own, bells)
            fw_loop_connect(self.loop, to, from_)
        for fd, _, port in listeners:
            check(fw_loop_listen(self.loop, fd, port != ""))
        for i in uwsgi:
            if not 0 <= i < len(listeners):
                raise ValueError(f"there is no listener {i}")
            self.loop.listeners[<int>i].uwsgi = True
        if tls is not None:
            self.tls = tls
            for i in tls_on:
                fw_loop_use_tls(self.loop, i, tls.context)
        self.no_body = input_over(NULL)
        self.serving = SERVING
        self.number = number
        self.own_limit = OwnLimit(self.serving)
        self.collection = Collection(self.serving)
        self.collection.siblings = &self.loop.siblings
        bases = [self.base_environ(name, port, errors, multiprocess, i in tls_on)
                 for i, (_, name, port) in enumerate(listeners)]
        warned = set()
        self.threads = [
            self.thread(application, bases, log, errors, warned, memo, timeout_error, gone_error, request_ids,
                        server_timing)
            for _ in range(self.nthreads)
        ]

    def __dealloc__(self):
        if self.loop != NULL:
            if not fw_process_is_own(self.process):
                return  # a forked child has neither the standby nor a share in the poller
            with nogil:
                fw_standby_stop(self.leader)
            self.clear_up()
            fw_thread_close_all(self.leader)
            fw_leader_close(self.leader)
        if self.board.buf != NULL:
            PyBuffer_Release(&self.board)
        PyMem_Free(self.own_board)
        PyMem_Free(self.own_metrics)
        if self.metrics.buf != NULL:
            PyBuffer_Release(&self.metrics)
        if self.page.buf != NULL:
            PyBuffer_Release(&self.page)
        PyMem_Free(self.bells)
        fw_process_close(self.process)
        Py_XDECREF(self.held)
        Py_XDECREF(self.forwarding)
        Py_XDECREF(self.time_limits)
        Py_XDECREF(self.priorities)
        Py_XDECREF(self.statics)
        Py_XDECREF(self.internal)

    cdef int open_board(self, object shared) except -1:
        """Opens the scoreboard in *shared* memory, or (None) in memory of our own."""
        cdef size_t size = fw_board_size(self.nthreads)
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
        fw_board_init(self.loop.board, <uint32_t>getpid(), self.nthreads)
        self.loop.conns.draining = &self.loop.board.draining
        return 0

    cdef fw_metrics *open_metrics(self, object slot) except NULL:
        """Takes a slot of the page of the metrics."""
        cdef fw_metrics *found
        PyObject_GetBuffer(slot, &self.metrics, PyBUF_WRITABLE)
        found = <fw_metrics *>self.metrics.buf
        if <size_t>self.metrics.len < sizeof(fw_metrics) or found.layout != FW_METRICS_LAYOUT:
            raise ValueError("this is no slot for metrics")
        found.threads = self.nthreads
        return found

    cdef fw_metrics *own_slot(self) except NULL:
        """A slot that nobody else looks at, because the time of calls by route is asked for."""
        cdef fw_metrics *found = <fw_metrics *>PyMem_Calloc(1, sizeof(fw_metrics))
        if found == NULL:
            raise MemoryError("no memory for the times of calls")
        self.own_metrics = found
        found.layout = FW_METRICS_LAYOUT
        found.threads = self.nthreads
        for ms in (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000):
            found.bounds[found.nbounds] = <uint64_t>ms * 1000
            found.nbounds += 1
        return found

    cdef int share(self, object page, unsigned own, list bells) except -1:
        """Takes the slot *own* of the *page*; *bells* are (read, write) of each slot."""
        cdef size_t size = fw_siblings_size(<unsigned>len(bells))
        PyObject_GetBuffer(page, &self.page, PyBUF_WRITABLE)
        if own >= <unsigned>len(bells) or <size_t>self.page.len < size:
            raise ValueError(f"the page of the siblings has no slot {own}")
        self.bells = <int *>PyMem_Calloc(len(bells), sizeof(int))
        if self.bells == NULL:
            raise MemoryError("no memory for the bells")
        for i, (_, writing) in enumerate(bells):
            self.bells[i] = writing
        check(fw_loop_share(self.loop, <fw_siblings_page *>self.page.buf, self.bells, own, bells[own][0]))
        return 0

    cdef WorkerThread thread(
        self, object application, list bases, object log, object errors, set warned, bint memo, object timeout_error,
        object gone_error, int request_ids, bint server_timing
    ):
        cdef ThreadState state = ThreadState.__new__(ThreadState)
        state.thread = fw_thread_open(self.leader)
        if state.thread == NULL:
            raise MemoryError("no memory for a thread")
        state.conns = &self.loop.conns
        state.process = self.process
        state.errors = errors
        state.log = log
        state.shown = self.shown
        state.keepalive = self.loop.conns.cfg.timeouts[<int>FW_CLASS_KEEPALIVE] > 0
        state.sendfile = self.sendfile
        state.answers_times = server_timing
        state.internal = <Internal>self.internal if self.internal != NULL else None
        state.warned = warned
        state.running = self.serving
        state.number = self.number
        state.timeout_error = timeout_error
        state.gone_error = gone_error
        subject_of = self.tls.subject_of if self.tls is not None else None
        environs = EnvironBuilder(bases, self.no_body, self.script_name, memo, subject_of)
        ids = RequestIds(request_ids > 1) if request_ids else None
        return WorkerThread(application, state, environs, self.no_body, self.access, ids,
                            stopwatch_for(self.access, self.causes), self.route, self.collection)

    cdef dict base_environ(self, str server_name, str server_port, object errors, bint multiprocess, bint secure):
        """What every environ of one listener has in common (PEP 3333 "environ Variables").

        A unix socket has neither name nor port, and neither may be empty: it gets those of a local web server.

        The keys that each request sets are here too, so that the copy has their places and never grows for them. It is
        filled key by key: CPython lays out a dict of a size told beforehand for keys of any type, which takes half as
        much memory again and longer to copy.
        """
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
            ("SCRIPT_NAME", self.script_name),
            ("SERVER_NAME", server_name if server_port else "localhost"),
            ("SERVER_PORT", server_port or ("443" if secure else "80")),
            ("SERVER_SOFTWARE", f"fastwsgi/{self.version}" if self.version else "fastwsgi"),
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("wsgi.version", (1, 0)),
            ("wsgi.url_scheme", "https" if secure else "http"),
            ("wsgi.errors", errors),
            ("wsgi.multithread", self.nthreads > 1),
            ("wsgi.multiprocess", bool(multiprocess)),
            ("wsgi.run_once", False),
            ("wsgi.file_wrapper", FileWrapper),
            ("wsgi.input_terminated", True),
            ("wsgi.early_hints", EarlyHints(self.serving)),
            ("fastwsgi.timeout", self.own_limit),
            ("fastwsgi.client_gone", ClientWatch(self.serving)),
            ("fastwsgi.version", self.version),
        ):
            environ[key] = value
        if secure:
            for key, value in tls_base().items():
                environ[key] = value
        return environ

    # ---- control, from any thread or signal handler ----

    @property
    def wakeup_fd(self):
        """Non-blocking descriptor; a byte written to it wakes the loop (for signal.set_wakeup_fd)."""
        return self.loop.wake_write

    def enter(self):
        """Before :meth:`run`, which does it too: siblings may leave connections to this worker from now on."""
        fw_siblings_enter(&self.loop.siblings)

    def stop(self, graceful=True):
        """End :meth:`run`: at once, or (*graceful*) when the requests that are here have been answered."""
        fw_loop_stop(self.loop, FW_STOP_GRACEFUL if graceful else FW_STOP_QUICK)

    def drain(self):
        """Say that this server is not ready for requests, because a stop is to follow, and go on serving them."""
        self.loop.board.draining = 1

    def use_tls(self, TlsContext tls not None):
        """Let connections that come from now on have the certificates and keys of another context.

        Those that are there keep what they have.
        """
        with nogil:
            fw_leader_use_tls(self.leader, tls.context)

    def stats(self):
        """Counters since the start: connections, requests, refusals, errors, bytes."""
        cdef dict counters = fw_leader_stats(self.leader)
        cdef WorkerThread thread
        counters["app_errors"] = 0
        for thread in self.threads:
            counters["app_errors"] += thread.state.app_errors
        return counters

    @property
    def stopping(self):
        """Whether a stop has begun."""
        return self.loop.conns.stopping

    def calls(self):
        """The calls that are in flight and have lasted for some milliseconds, as tuples: index of the thread, number of
        the call, whether it is in the application (else it waits for its client), when it began (seconds of
        CLOCK_MONOTONIC, moved on by the time it waited for its client), method, target, client, threading.get_ident(),
        its own limit in seconds, infinity for none, or None: what the setting says; whether its client has gone, if the
        setting cancel_gone is on; the system's number of the thread.
        """
        cdef fw_board_call call
        cdef WorkerThread thread
        cdef list found = []
        for index, thread in enumerate(self.threads):
            if fw_thread_call(thread.state.thread, &call):
                found.append((index, call.number, call.phase == FW_PHASE_APPLICATION, call.since / 1e6,
                              (<bytes>call.method).decode("latin-1"), (<bytes>call.target).decode("latin-1"),
                              (<bytes>call.client).decode("latin-1"), thread.state.ident, own_limit_of(&call),
                              self.loop.conns.cfg.watch_gone and fw_thread_client_gone(thread.state.thread), call.tid))
        return found

    def witness(self):
        """The calling thread wants the interpreter lock now and then: when it does not get it, somebody keeps it."""
        self.causes.witness = fw_doing_tid()
        self.causes.turns += 1
        if self.causes.sampler != NULL:
            fw_sampler_witness(self.causes.sampler, self.causes.witness, self.causes.turns)

    def limit_slow(self, limits):
        """Seconds in the application after which a request is slow: of those without a route, and of each route."""
        for i, seconds in enumerate(limits):
            self.causes.limits[<int>i] = <uint64_t>(seconds * 1e6) if seconds < 1e12 else FW_NO_LIMIT

    def durations(self):
        """Bounds of the time of calls in the application, in seconds; how many took how long: of those without a route,
        and of each route."""
        cdef const fw_metrics *m = self.loop.conns.metrics
        cdef uint64_t i, j
        bounds = tuple([m.bounds[i] / 1e6 for i in range(m.nbounds)])
        rest = [m.application.counts[i] for i in range(m.nbounds + 1)]
        rest[0] += m.quick
        found = [rest]
        for j in range(m.nroutes):
            counts = [m.routes[j].application.counts[i] for i in range(m.nbounds + 1)]
            for i in range(m.nbounds + 1):
                rest[i] -= counts[i]
            found.append(counts)
        return bounds, found

    def route_of_call(self, unsigned index):
        """The place of the route of the call that thread *index* is in, as far as it is known; 0: of none."""
        cdef WorkerThread thread = self.threads[index]
        cdef Response r
        if thread.state.response == NULL or thread.metrics == NULL:
            return 0
        r = <Response>thread.state.response
        return thread.route_of(r, r.environ) if r.environ is not None else 0

    def count_slow(self, unsigned cause):
        """Count a slow request by its cause, for the metrics."""
        if self.loop.conns.metrics != NULL and cause < 16:
            self.loop.conns.metrics.slow[<int>cause] += 1

    def collect_with(self, collect):
        """Let an application thread call *collect* between two requests, when :meth:`want_collection` asks for it."""
        self.collection.collect = collect

    def want_collection(self, *, bint idle, bint late):
        """Ask for a collection of garbage after an answer, when a sibling is free, if there are some, and (*idle*) no
        request is here; if it is *late*, after the next one."""
        self.collection.due = DUE_NOW if late else DUE_WHEN_IDLE if idle else DUE_WHEN_FREE

    def when_limited(self, told):
        """Let *told* be called with the seconds whenever a request has set its own limit, in the thread of that."""
        self.own_limit.told = told

    def interrupt(self, unsigned index, unsigned number, object limit, bint by_signal):
        """Raise the timeout's exception in the application's call *number* of thread *index*; False if that has ended,
        or its own limit is not this one any more.

        It is raised as soon as the thread runs Python code again. With *by_signal* it is left to a signal handler,
        which asks :meth:`take_overdue`: that ends most waits for the system as well, but only in the main thread.
        """
        cdef WorkerThread thread = self.threads[index]
        cdef ThreadState state = thread.state
        cdef fw_board_call call
        if not state.inside or not fw_thread_call(state.thread, &call) or call.number != number:
            return False
        if own_limit_of(&call) != limit:
            return False
        state.interrupt_with(state.timeout_error, by_signal)
        return True

    def cancel(self, unsigned index, unsigned number, bint by_signal):
        """The same with the exception for a client that has gone; False if it has not, too."""
        cdef WorkerThread thread = self.threads[index]
        cdef ThreadState state = thread.state
        cdef fw_board_call call
        if not state.inside or not fw_thread_call(state.thread, &call) or call.number != number:
            return False
        if not fw_thread_client_gone(state.thread):
            return False
        state.interrupt_with(state.gone_error, by_signal)
        return True

    def count_timeout(self):
        """Count a call that has outlasted its time, for the metrics."""
        if self.loop.conns.metrics != NULL:
            self.loop.conns.metrics.late[<int>FW_LATE_APPLICATION] += 1

    def take_overdue(self):
        """In a signal handler: what is to be raised in the application's call of the main thread, once, or None."""
        cdef WorkerThread first = self.threads[0]
        cdef object overdue = first.state.overdue if first.state.inside else None
        if overdue is not None:
            first.state.overdue = None
        return overdue

    # ---- serving ----

    def run(self):
        """Serve until stopped. Raises OSError if the loop itself fails, and whatever a signal handler raises: then it
        may be run again.

        Threads whose application call does not end are left behind when the time for a graceful stop is over.
        """
        cdef WorkerThread first = self.threads[0]
        cdef list threads = []
        cdef bint interrupted = False
        cdef object context = PyContext_CopyCurrent()  # with what the application set when it was imported
        if self.running:
            raise RuntimeError("this worker is running already")
        check(fw_standby_start(self.leader))
        self.running = True
        if slow_is_told(self.causes):
            self.causes.start(self.loop.board)
        try:
            for i in range(1, len(self.threads)):
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
            if slow_is_told(self.causes):
                self.causes.stop()
            failure, self.failure = self.failure, None
            if (interrupted or failure is not None) and not self.running:
                fw_leader_reopen(self.leader)  # now, so that a stop() before the next run is not taken back
        if failure is not None:
            raise failure

    def serve_thread(self, index, context, /):
        """The life of one of the other application threads."""
        cdef WorkerThread thread = self.threads[index]
        try:
            thread.run(context)
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
            complaint = self.access.finish()
            if complaint is not None:
                (<WorkerThread>self.threads[0]).state.report(logging.ERROR, complaint, None)
        if any(thread.is_alive() for thread in threads):
            return 0
        with nogil:
            fw_standby_stop(self.leader)
        self.running = False
        return self.clear_up()

    cdef int clear_up(self) except -1:
        """Releases whatever connections and remembered heads still hold; no thread is inside the loop.

        The garbage collector may have taken what a WorkerThread refers to before it comes to the worker itself.
        """
        cdef WorkerThread thread
        cdef list whole = [one for one in self.threads or () if (<WorkerThread>one).state is not None]
        for thread in whole:
            thread.release_owned()
        if whole:
            thread = <WorkerThread>whole[0]
            fw_thread_clear_up(thread.state.thread)
            tell_of_sent(self.leader, self.causes)
            thread.release_owned()
        return 0
