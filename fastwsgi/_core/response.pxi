# response.pxi - what the application answers becomes bytes in the connection's output queue.
#
# start_response and write are the application's side (PEP 3333 "The start_response() Callable"); run, resume and
# abandon are the worker's. The head is validated and serialised in one pass, straight from the str objects; nothing of
# an invalid head is ever queued. Everything here holds the interpreter lock, except inside send, pass_on and wait.
#
# It has more than 500 lines because one response is one machine, whose states are not to be looked for in two files.
#
# Ownership: between begin and end the connection is this thread's. Large blocks and files are queued by reference:
# the queue then owns one reference to the object and gives it back through the pool's list of spent owners.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

import logging

cdef extern from "Python.h":
    PyObject *PyIter_Next(object) except? NULL
    Py_ssize_t Py_REFCNT(PyObject *)

cdef enum Outcome:
    DONE    # complete or broken off: hand the connection back with .keep and .cut
    PARKED  # the client is slow: suspend the connection, resume later

cdef enum:
    FRAME_ROOM = 160  # length and Connection lines
    TIMES_ROOM = 192  # Server-Timing

cdef str HINTS = "103 Early Hints"


cdef inline char *text(char *to, const char *s, size_t n) noexcept:
    memcpy(to, s, n)
    return to + n


cdef char *milliseconds(char *to, uint64_t us) noexcept:
    """With three digits behind the point."""
    cdef unsigned rest = us % 1000
    to += fw_wire_decimal(to, us // 1000)
    to[0] = c"."
    to[1] = <char>(c"0" + rest // 100)
    to[2] = <char>(c"0" + rest // 10 % 10)
    to[3] = <char>(c"0" + rest % 10)
    return to + 4


cdef int send(fw_thread *t, fw_conn *c) noexcept:
    cdef int rc
    with nogil:
        fw_thread_open_gate(t)
        rc = fw_thread_send(t, c)
        fw_thread_close_gate(t)
    return rc


cdef int pass_on(fw_thread *t, fw_conn *c, size_t queued, bint more) noexcept:
    # A small block waits for the standby, which costs no system call and needs no release of the lock.
    cdef int rc
    if fw_thread_gathers(t, queued):
        return fw_thread_gather(t, c)
    with nogil:
        rc = fw_thread_pass(t, c, more)
    return rc


cdef int pass_on_now(fw_thread *t, fw_conn *c) noexcept:
    cdef int rc
    with nogil:
        rc = fw_thread_pass(t, c, True)
    return rc


cdef int wait(fw_thread *t, fw_conn *c) noexcept:
    cdef int rc
    with nogil:
        rc = fw_thread_wait(t, c)
    return rc


@cython.final
cdef class Response:
    """One response at a time; kept by the worker and used again unless the application holds on to it."""

    cdef ThreadState state
    cdef fw_conn *conn        # NULL outside of a request: the callables are dead then
    cdef unsigned long runner  # ident of the thread whose calls of the next two are heard now; 0: nobody's
    cdef object start         # bound start_response, made once
    cdef object writer        # bound write
    cdef object context       # contextvars.Context while parked
    cdef object input         # wsgi.input while parked: detached when the response ends
    cdef object environ       # for the access log, if that tells of it, and the metrics
    cdef Py_ssize_t keys      # that it had when the application got it, with metrics
    cdef uint64_t began       # us, likewise
    cdef uint64_t queue_us, application_us, cpu_us, lock_us, send_us  # likewise, see Stopwatch
    cdef uint64_t collected_us  # by its thread before, likewise
    cdef uint64_t cpu_began   # us: CPU time of its thread, likewise
    cdef str request_id       # or None
    cdef bint answers_id      # ... the response has it, too
    cdef str status
    cdef str known_status     # the last one judged, and its number: applications repeat themselves
    cdef int known_code
    cdef list headers
    cdef object iterator
    cdef object closer        # close() of the iterable, until it has been called
    cdef int64_t declared     # body bytes that the head promises; -1 = none promised
    cdef int64_t sent         # body bytes queued
    cdef double limit         # seconds that the application has asked for (fastwsgi.timeout); -1: it has not
    cdef size_t queued        # bytes in the queue with the last block; fewer, if some have been sent since
    cdef int code
    cdef bint head_sent
    cdef bint chunked
    cdef bint bodiless        # HEAD, 204, 205, 304
    cdef bint keep            # the connection may live on
    cdef bint cut             # broken off: the client must see the end
    cdef bint wrote           # write() has been used
    cdef bint excess          # the body was longer than promised: said once
    cdef bint gone            # the client went away
    cdef bint exhausted       # nothing more to ask of the application but close()
    cdef bint taken           # the application has taken the connection over: no response is sent
    cdef bint watched         # the application has asked whether its client is gone
    cdef fw_sending *file     # that the application has named, until its head is queued; or NULL
    cdef object socket        # the ClientSocket it does that with, if it may

    def __cinit__(self, ThreadState state):
        self.state = state
        self.start = self.start_response
        self.writer = self.write

    # ---- the application's side ----

    def start_response(self, status, headers, exc_info=None, /):
        """Set status and header fields of the response; returns ``write``.

        *status* is ``"DDD reason"``, *headers* a list of (name, value) str pairs. With *exc_info* the call replaces an
        earlier one, or raises that exception if the head is already on its way (PEP 3333).
        """
        if self.runner != <unsigned long>pthread_self():
            self.refuse_call("start_response")
        if self.taken:  # 101, too: the application has told its client by itself
            return self.writer
        if exc_info is not None:
            try:
                if self.head_sent:
                    _, error, trace = exc_info
                    raise error.with_traceback(trace)
            finally:
                exc_info = error = trace = None  # no cycle through the traceback's frame
        elif self.status is not None:
            raise AssertionError("start_response called a second time without exc_info (PEP 3333)")
        if not isinstance(headers, list):
            raise TypeError(f"headers must be a list of (name, value) tuples, not {type(headers).__name__}")
        if status is not self.known_status:
            self.known_code = status_code(status)
            self.known_status = <str>status
        self.code = self.known_code
        self.status = <str>status
        self.headers = <list>headers
        if self.state.internal is not None:
            self.find_file()
        return self.writer

    def write(self, data, /):
        """Send *data* (bytes) at once: the imperative interface of PEP 3333, for applications that need it."""
        cdef int rc
        if self.runner != <unsigned long>pthread_self():
            self.refuse_call("write")
        end_if_child(self.state, None)
        if not PyBytes_Check(data):
            raise TypeError(f"write() takes bytes, not {type(data).__name__}")
        self.wrote = True
        if PyBytes_GET_SIZE(data) == 0 or self.taken:
            return
        self.put_block(data)
        rc = pass_on(self.state.thread, self.conn, self.queued, True)
        while rc == FW_RETRY:
            rc = wait(self.state.thread, self.conn)
            if rc == FW_RETRY:
                PyErr_CheckSignals()
                end_if_child(self.state, None)
        if rc < 0:
            self.gone = True
            raise BrokenPipeError("the client is gone")

    cdef bint client_gone(self):
        """Nobody waits for the answer any more. One that the application speaks with itself is its own business."""
        if self.taken:
            return False
        if not self.watched:
            self.watched = True
            with nogil:
                fw_thread_watch(self.state.thread, self.conn)
        return self.gone or fw_conn_is_gone(self.state.conns, self.conn)

    cdef int hint(self, object headers) except -1:
        """Sends *headers* as a 103 ahead of the response (RFC 8297)."""
        cdef int rc
        if self.head_sent or self.taken:
            return 0
        if self.runner != <unsigned long>pthread_self():
            self.refuse_call("wsgi.early_hints")
        end_if_child(self.state, None)
        if self.conn.req.minor == 0 or self.conn.broken:
            return 0
        if not isinstance(headers, list):
            headers = list(headers)
        if not headers:
            return 0
        self.put_hints(<list>headers)
        rc = pass_on_now(self.state.thread, self.conn)
        while rc == FW_RETRY:  # a client that does not read holds back whoever sends it hints without end
            rc = wait(self.state.thread, self.conn)
            if rc == FW_RETRY:
                PyErr_CheckSignals()
                end_if_child(self.state, None)
        return 0  # a client that is gone is the response's matter

    # ---- the worker's side ----

    cdef void begin(self, fw_conn *c) noexcept:
        self.conn = c
        self.state.response = <PyObject *>self
        self.runner = self.state.ident
        self.declared = -1
        self.limit = -1
        self.sent = 0
        self.began = 0
        self.keys = -1
        self.code = 0
        self.head_sent = self.chunked = self.bodiless = False
        self.keep = self.cut = self.wrote = self.excess = self.gone = self.exhausted = self.taken = False
        self.watched = False

    cdef void end(self) noexcept:
        self.conn = NULL
        self.state.response = NULL
        self.runner = 0
        self.status = None
        self.headers = None
        self.iterator = None
        self.closer = None
        self.context = None
        if self.request_id is not None:
            self.request_id = None
        if self.file != NULL:
            self.drop_file()

    cdef bint reusable(self) noexcept:
        """Nobody but the worker's variable and our two bound methods refers to us."""
        return (Py_REFCNT(<PyObject *>self) == 3 and Py_REFCNT(<PyObject *>self.start) == 1
                and Py_REFCNT(<PyObject *>self.writer) == 1)

    cdef Outcome run(self, object application, dict environ):
        try:
            self.take(application(environ, self.start))
            return self.wind_up() if self.exhausted else self.pump()
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: this request's end, not the worker's
            self.fail(error)
            return DONE

    cdef Outcome resume(self):
        self.runner = self.state.ident
        self.state.response = <PyObject *>self
        try:
            if self.limit >= 0:
                self.state.limit(self.limit)
            if self.exhausted:
                return self.wind_up()
            return self.pump()
        except BaseException as error:
            self.fail(error)
            return DONE

    cdef void abandon(self):
        """The client is gone, or the server stops: the iterable is closed, nothing more is sent."""
        self.keep = False
        self.cut = True
        self.close_iterable()

    cdef void fail(self, object error):
        """The application's error: a 500 if nothing is on its way yet, else the response breaks off."""
        cdef bint timeout = self.state.is_timeout(error)
        cdef bint cancelled = self.state.is_cancelled(error)
        end_if_child(self.state, error)
        self.state.leave()
        if timeout:
            self.state.app_errors += 1
            self.tell(WARNING, "Ended by its timeout: ", None)
        elif cancelled:  # the log has it from who has raised it
            self.gone = True
        elif not self.gone and not (self.taken and isinstance(error, StopIteration)):  # which says that it has ended
            self.state.app_errors += 1
            self.tell(ERROR, "Error in the application handling ", error)
        self.keep = False
        self.cut = True
        if not self.head_sent and not self.gone and not self.taken:
            try:
                if timeout:
                    self.answer("503 Service Unavailable", 503, b"Service Unavailable\n")
                else:
                    self.answer("500 Internal Server Error", 500, b"Internal Server Error\n")
                self.cut = False
            except BaseException:  # no memory for the apology either: the connection closes
                self.keep = False
                self.cut = True
        self.state.inside = True  # its close() may be interrupted as well
        self.close_iterable()

    cdef int answer(self, str status, int code, bytes body) except -1:
        """A whole response of the server's own."""
        self.drop_file()
        self.status = status
        self.code = code
        self.headers = [("Content-Type", "text/plain; charset=utf-8")]
        return self.put_all((body,))

    cdef Outcome decline(self):
        """The request is not for the application, which is mounted below another path: nothing of it is run."""
        try:
            self.answer("404 Not Found", 404, b"nothing is mounted at this path\n")
        except BaseException as error:
            self.fail(error)
        return DONE

    # ---- iteration ----

    cdef int take(self, object result) except -1:
        """Accepts what the application returned; a list or tuple is queued whole."""
        cdef object kind = type(result)
        end_if_child(self.state, None)
        if self.taken:
            return self.drop(result)
        if kind is list or kind is tuple:
            if self.status is None:
                self.check_started()
            if kind is list and PyList_GET_SIZE(result) == 1:
                self.put_only(<object>PyList_GET_ITEM(result, 0))
            else:
                self.put_all(result)
            self.exhausted = True
            return 0
        if kind is OnClose:
            self.closer = (<OnClose>result).close
            return self.take((<OnClose>result).result)
        if isinstance(result, (bytes, str, bytearray, memoryview)) or result is None:
            raise TypeError(f"the application returned {'None' if result is None else kind.__name__}; PEP 3333 wants"
                            " an iterable of bytes, such as a list of one bytes object")
        if self.closer is None:
            self.closer = getattr(result, "close", None)
        if kind is FileWrapper and self.put_file(<FileWrapper>result):
            self.exhausted = True
            return 0
        self.iterator = iter(result)
        end_if_child(self.state, None)
        return 0

    cdef int drop(self, object result) except -1:
        """Nothing of what the application returned is sent, or asked for: its connection is the application's."""
        self.closer = (<OnClose>result).close if type(result) is OnClose else getattr(result, "close", None)
        self.exhausted = True
        return 0

    # Each of the next six is one stay between the gates: what it queues is whole when somebody else sends it.

    cdef int put_all(self, object blocks) except -1:
        fw_thread_open_gate(self.state.thread)
        try:
            return self.queue_all(blocks)
        finally:
            fw_thread_close_gate(self.state.thread)

    cdef int put_only(self, object block) except -1:
        """As put_all, of a list of one block."""
        if not PyBytes_Check(block):
            raise not_bytes(block)
        fw_thread_open_gate(self.state.thread)
        try:
            if not self.head_sent:
                self.head(-1 if self.wrote else PyBytes_GET_SIZE(block))
            self.put(block)
            return self.complete()
        finally:
            fw_thread_close_gate(self.state.thread)

    cdef int put_file(self, FileWrapper wrapper) except -1:
        fw_thread_open_gate(self.state.thread)
        try:
            return self.queue_file(wrapper)
        finally:
            fw_thread_close_gate(self.state.thread)

    cdef int put_block(self, object block) except -1:
        fw_thread_open_gate(self.state.thread)
        try:
            if not self.head_sent:
                self.head(-1)
            self.put(block)
            self.queued = fw_thread_unsent_inside(self.conn)
            return 0
        finally:
            fw_thread_close_gate(self.state.thread)

    cdef int put_end(self) except -1:
        fw_thread_open_gate(self.state.thread)
        try:
            if not self.head_sent:
                self.head(-1 if self.wrote else 0)
            return self.complete()
        finally:
            fw_thread_close_gate(self.state.thread)

    cdef int put_hints(self, list headers) except -1:
        """Queues a 103 with these fields, or nothing at all."""
        cdef HeadFacts facts
        cdef fw_outq_mark mark
        fw_thread_open_gate(self.state.thread)
        mark = fw_thread_here(self.conn)
        try:
            put_status(self.state, self.conn, HINTS)
            put_fields(self.state, self.conn, 103, headers, &facts)
            check_memory(fw_thread_copy(self.state.thread, self.conn, b"\r\n", 2))
            return 0
        except BaseException:
            fw_thread_rollback(self.state.thread, self.conn, mark)
            raise
        finally:
            fw_thread_close_gate(self.state.thread)

    cdef int queue_all(self, object blocks) except -1:
        cdef int64_t total = 0
        cdef object block
        for block in blocks:
            if not PyBytes_Check(block):
                raise not_bytes(block)
            total += PyBytes_GET_SIZE(block)
        if not self.head_sent:
            self.head(-1 if self.wrote else total)
        for block in blocks:
            if not PyBytes_Check(block):  # the list is the application's: another thread may have changed it
                raise not_bytes(block)
            self.put(block)
        return self.complete()

    cdef int queue_file(self, FileWrapper wrapper) except -1:
        """Queues a plain file from its current position; 0 if it has to be read instead."""
        cdef int fd = -1
        cdef int64_t position = 0, total = 0
        cdef fw_outq_mark mark
        cdef bint found
        if not self.state.sendfile:
            return 0
        found = wrapper.locate(&fd, &position, &total)
        end_if_child(self.state, None)
        if not found:
            return 0
        if not self.head_sent:
            self.head(-1 if self.wrote else total)
        if self.declared >= 0 and total > self.declared - self.sent:
            total = self.declared - self.sent
        mark = fw_thread_here(self.conn)
        try:
            if total <= 0 or self.bodiless or self.put_part_of_file(wrapper, fd, position, total):
                self.complete()
                return 1
        except BaseException:
            fw_thread_rollback(self.state.thread, self.conn, mark)
            raise
        fw_thread_rollback(self.state.thread, self.conn, mark)
        return 0

    cdef int put_part_of_file(self, FileWrapper wrapper, int fd, int64_t position, int64_t n) except -1:
        """0 if there is no descriptor left for the queue to have one of its own."""
        cdef int rc
        if self.chunked:
            put_chunk_size(self.state, self.conn, <size_t>n)
        Py_INCREF(wrapper)
        rc = fw_thread_file(self.state.thread, self.conn, fd, position, <size_t>n, <void *>wrapper)
        if rc != FW_OK:
            Py_DECREF(wrapper)
            return check_memory(rc if rc == -ENOMEM else FW_OK)
        self.sent += n
        if self.chunked:
            check_memory(fw_thread_copy(self.state.thread, self.conn, b"\r\n", 2))
        return 1

    cdef Outcome pump(self) except *:
        """Asks for blocks; each is on its way before the next one is asked for."""
        cdef PyObject *got
        cdef object block
        cdef int rc
        while not self.exhausted:
            got = PyIter_Next(self.iterator)
            end_if_child(self.state, None)
            if got == NULL:
                if self.taken:
                    self.exhausted = True
                    break
                self.check_started()
                self.put_end()
                self.exhausted = True
                break
            block = <object>got
            Py_DECREF(block)
            if self.taken:
                self.exhausted = True
                break
            if not PyBytes_Check(block):
                raise not_bytes(block)
            if PyBytes_GET_SIZE(block) == 0:  # also before start_response (PEP 3333, middleware that waits for more)
                continue
            self.put_block(block)
            if self.bodiless:
                self.exhausted = True
                break
            rc = pass_on(self.state.thread, self.conn, self.queued, True)
            if rc == FW_RETRY:
                return PARKED
            if rc < 0:
                self.gone = True
                self.abandon()
                return DONE
        return self.wind_up()

    cdef Outcome wind_up(self) except *:
        """All is queued; what is left is close()."""
        return DONE if self.closer is None else self.wind_up_and_close()

    cdef Outcome wind_up_and_close(self) except *:
        """A file must be with the kernel before it is closed; what else is queued need not wait."""
        cdef int rc
        cdef size_t queued = fw_thread_queued(self.state.thread, self.conn)
        if queued:
            if self.iterator is None:
                rc = send(self.state.thread, self.conn)
            else:
                rc = pass_on(self.state.thread, self.conn, queued, False)
            if rc == FW_RETRY:
                return PARKED
            if rc < 0:
                self.gone = True
                self.keep = False
                self.cut = True
        self.close_iterable()
        return DONE

    cdef int send_earlier(self) except -1:
        """Sends all that is queued before the connection is taken over: responses to earlier requests, early hints."""
        cdef int rc
        if self.head_sent:
            raise RuntimeError("the response has begun: it is too late to take the connection over")
        while fw_thread_queued(self.state.thread, self.conn):
            rc = send(self.state.thread, self.conn)
            if rc == FW_RETRY:
                rc = wait(self.state.thread, self.conn)
            if rc == FW_RETRY:
                PyErr_CheckSignals()
                end_if_child(self.state, None)
            else:
                check(rc)
        return 0

    cdef int refuse_call(self, str name) except -1:
        """Whoever calls is not the thread that runs the request, or there is none: the queue is not for it to touch."""
        if self.conn is NULL or self.exhausted or self.cut:
            raise RuntimeError(f"{name} called after the response has ended")
        if self.runner == 0:
            raise RuntimeError(f"{name} called while the response waits for its client")
        raise RuntimeError(f"{name} called in another thread than the one that runs the request")

    cdef int check_started(self) except -1:
        if self.status is None:
            raise AssertionError("the application did not call start_response before its first block (PEP 3333)")
        return 0

    cdef int put(self, object block) except -1:
        """Queues one non-empty block within the promised length."""
        cdef size_t n = <size_t>PyBytes_GET_SIZE(block)
        if self.bodiless or n == 0:
            return 0
        if self.declared >= 0 and <int64_t>n > self.declared - self.sent:
            n = <size_t>(self.declared - self.sent)
            if not self.excess:
                self.excess = True
                self.state.report(ERROR, f"The application sent more than its Content-Length of {self.declared}"
                                  f" for {self.subject()}: the rest is dropped", None)
            if n == 0:
                return 0
        self.sent += <int64_t>n
        if self.chunked:
            return put_chunk(self.state, self.conn, block, n)
        if n < COPY_BELOW:
            return check_memory(fw_thread_copy(self.state.thread, self.conn, PyBytes_AS_STRING(block), n))
        Py_INCREF(block)
        if fw_thread_ref(self.state.thread, self.conn, PyBytes_AS_STRING(block), n, <void *>block) != FW_OK:
            Py_DECREF(block)
            raise MemoryError("no memory for the response")
        return 0

    cdef int complete(self) except -1:
        """The body is over: the last chunk, or the check of the promised length."""
        if self.chunked:
            return check_memory(fw_thread_copy(self.state.thread, self.conn, b"0\r\n\r\n", 5))
        if self.sent < self.declared and not self.bodiless:
            self.keep = False
            self.cut = True
            self.state.app_errors += 1
            self.state.report(ERROR, f"The application sent {self.sent} bytes where its Content-Length promised"
                              f" {self.declared} for {self.subject()}: the connection is closed", None)
        return 0

    # ---- head ----

    cdef int head(self, int64_t length) except -1:
        """Queues the head, or nothing at all. *length* is the body's length if the server knows it, else -1."""
        cdef fw_outq_mark mark
        self.check_started()
        mark = fw_thread_here(self.conn)
        try:
            if self.file != NULL:
                self.compose_file()
            else:
                self.compose(length)
        except BaseException:
            fw_thread_rollback(self.state.thread, self.conn, mark)
            raise
        self.head_sent = True
        return 0

    cdef int compose(self, int64_t length) except -1:
        cdef HeadFacts facts
        put_status(self.state, self.conn, self.status)
        put_fields(self.state, self.conn, self.code, self.headers, &facts)
        put_missing(self.state, self.conn, &facts)
        if self.request_id is not None and self.answers_id:
            self.put_id()
        if self.state.answers_times:
            self.put_times()
        return self.frame(facts.length, length, facts.closes)

    # ---- a file that the application has named ----

    cdef int find_file(self) except -1:
        """Opens the file that the head names, if it does; what the application says then is not sent."""
        self.drop_file()
        found = named_file(self.headers)
        if found is None:
            return 0
        self.file = self.state.internal.open(found[0], found[1])
        end_if_child(self.state, None)
        if self.file.status == 404:
            self.state.report(ERROR, f"{found[0]} names a file that is not there, or in no folder of static_internal:"
                              f" {found[1]!r}, for {self.subject()}", None)
        return 0

    cdef void drop_file(self) noexcept:
        if self.file != NULL:
            fw_sending_close(self.file)
            free(self.file)
            self.file = NULL

    cdef int compose_file(self) except -1:
        """Queues the head of the file, and hands the file to the connection: the loop sends it."""
        cdef fw_sending *s = self.file
        cdef fw_conn *c = self.conn
        cdef HeadFacts facts
        if s.status == 200:
            s.status = self.code
        fw_sending_decide(s, c.req, self.code == 200)
        facts.closes = False
        if fw_sending_is_failure(s):
            self.keep = self.may_keep(False)
            check_memory(fw_thread_file_head(self.state.thread, c, s, self.keep))
        else:
            self.put_file_head(s, &facts)
        self.code = s.status
        self.bodiless = True  # nothing of the application's is sent
        self.declared = -1
        self.sent = <int64_t>s.sent
        if s.fd >= 0:
            c.file = s
            self.file = NULL
        return 0

    cdef int put_file_head(self, fw_sending *s, HeadFacts *facts) except -1:
        cdef fw_conn *c = self.conn
        cdef list fields = fields_beside(self.headers, s.parts.n <= 1)
        if s.status != self.code:
            self.status = "206 Partial Content" if s.status == 206 else "304 Not Modified"
        put_status(self.state, c, self.status)
        put_fields(self.state, c, s.status, fields, facts)
        put_missing(self.state, c, facts)
        if self.request_id is not None and self.answers_id:
            self.put_id()
        if self.state.answers_times:
            self.put_times()
        self.keep = self.may_keep(facts.closes)
        typed = any(name.lower() == "content-type" for name, _ in fields)
        return check_memory(fw_thread_file_fields(self.state.thread, c, s, self.keep, typed))

    cdef inline bint may_keep(self, bint closes):
        return (self.conn.req.keep_alive and self.state.keepalive and not closes
                and (not self.state.conns.stopping or self.state.conns.passes_on and self.conn.tls is NULL))

    cdef int put_id(self) except -1:
        """Queues X-Request-ID, unless the application has set one."""
        cdef bytes line
        for name, _ in self.headers:
            if name.lower() == "x-request-id":
                return 0
        line = f"X-Request-ID: {self.request_id}\r\n".encode("latin-1")
        return check_memory(fw_thread_copy(self.state.thread, self.conn, PyBytes_AS_STRING(line),
                                           <size_t>PyBytes_GET_SIZE(line)))

    cdef int put_times(self) except -1:
        """Queues Server-Timing (W3C), with milliseconds until now. Behind what the application says there."""
        cdef uint64_t now = fw_deadline_us()
        cdef uint64_t us = now - min(now, self.began + fw_conn_timing(self.conn).waited)
        cdef uint64_t cpu = min(us, self.cpu_us + fw_doing_cpu() - self.cpu_began)
        cdef char line[TIMES_ROOM]
        cdef char *to = text(line, b"Server-Timing: queue;dur=", 25)
        to = text(milliseconds(to, self.queue_us), b", app;dur=", 10)
        to = text(milliseconds(to, us), b", cpu;dur=", 10)
        to = text(milliseconds(to, cpu), b", lock;dur=", 11)
        to = text(milliseconds(to, self.lock_us), b"\r\n", 2)
        return check_memory(fw_thread_copy(self.state.thread, self.conn, line, <size_t>(to - line)))

    cdef int frame(self, int64_t own_length, int64_t length, bint closes) except -1:
        """Decides how the body is delimited and whether the connection lives on (RFC 9112 6.3, 9.3)."""
        cdef const fw_request *r = self.conn.req
        cdef bint is_head = fw_request_is_head(r)
        cdef char *start = fw_thread_reserve(self.state.thread, self.conn, FRAME_ROOM)
        cdef char *to = start
        if start == NULL:
            raise MemoryError("no memory for the response")
        self.bodiless = is_head or self.code == 204 or self.code == 205 or self.code == 304
        self.declared = own_length if own_length >= 0 else length
        if self.code == 205:
            self.declared = 0  # RFC 9110 15.3.6: no content, and said so
        elif self.code == 204 or (self.bodiless and own_length < 0 and (length <= 0 or self.code == 304)):
            self.declared = -1  # no length to tell: RFC 9110 8.6
        if self.declared >= 0:
            to = text(to, b"Content-Length: ", 16)
            to += fw_wire_decimal(to, <unsigned long long>self.declared)
            to = text(to, b"\r\n", 2)
        elif not self.bodiless and r.minor == 1:
            self.chunked = True
            to = text(to, b"Transfer-Encoding: chunked\r\n", 28)
        self.keep = self.may_keep(closes) and (self.declared >= 0 or self.chunked or self.bodiless)
        if not self.keep:
            to = text(to, b"Connection: close\r\n", 19)
        elif r.minor == 0:
            to = text(to, b"Connection: keep-alive\r\n", 24)
        to = text(to, b"\r\n", 2)
        fw_thread_commit(self.conn, to - start)
        return 0

    # ---- end ----

    cdef void close_iterable(self):
        """Calls close() of the iterable, once, whatever happened before."""
        cdef object closer = self.closer
        self.runner = 0  # the response is over: nothing may be queued behind its end
        self.closer = None
        self.iterator = None
        if closer is None:
            return
        try:
            closer()
            end_if_child(self.state, None)
        except BaseException as error:
            end_if_child(self.state, error)
            self.state.app_errors += 1
            self.tell(ERROR, "Error in close() of the response to ", error)

    cdef int tell(self, int level, str what, object error) except -1:
        """Reports *what* of this request; raises nothing for want of memory, as nobody is left who could answer."""
        try:
            self.state.report(level, what + self.subject(), error)
        except MemoryError:
            self.state.report(level, what, error)
        return 0

    cdef str subject(self):
        try:
            line = request_line(self.conn.req)
            return line if self.state.shown is None else self.state.shown(line)
        except MemoryError:
            return "a request"
