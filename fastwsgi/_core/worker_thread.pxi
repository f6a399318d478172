# worker_thread.pxi - one application thread: it pulls turns from the loop and runs them.
#
# One turn: take a connection that has a complete request from the C core, build its environ, run the application, queue
# the response, hand the connection back. The core never calls into Python; this thread asks it for work.
#
# References that cross into C: conn.user (a parked Response, one reference while the connection is suspended),
# conn.peer (a tuple, one reference until the connection is gone), memo users, owners in the output queue. All come
# back through a turn or fw_thread_to_release and are dropped here, with the interpreter lock held. What is said of
# "this thread" below is never touched by another one: each application thread has a WorkerThread of its own.
#
# A MemoryError ends the request at hand, never this thread: what has to be allocated for a turn has a way out without
# it.

cimport cython
from cpython.contextvars cimport PyContext_Copy, PyContext_Enter, PyContext_Exit
from cpython.exc cimport PyErr_CheckSignals
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject_Size
from cpython.ref cimport Py_DECREF, Py_INCREF

import logging
import os


cdef str ROUTE = "fastwsgi.route"  # what an application names its route by

cdef enum:
    STREAK = 8  # requests in a row for which the lock may be kept


cdef extern from "Python.h":
    Py_ssize_t PyDict_GET_SIZE(object)


cdef int next_turn(fw_thread *t, fw_conn *done, bint keep, bint cut, unsigned *streak, fw_conn **out) noexcept:
    # While further requests are to be had without waiting, a few are taken without giving the lock away: each is a
    # receive and a send that cannot block, and another thread that wants the lock gets it from the interpreter within
    # the call. Not so if a body in a file is to be let go, which may take long.
    cdef int rc
    if t.more and streak[0] < STREAK and (done == NULL or done.req == NULL or done.req.body.fd < 0):
        streak[0] += 1
        rc = fw_thread_next(t, done, keep, cut, True, out)
        if rc != FW_RETRY:
            if t.at_door:
                fw_thread_enter(t)
            return rc
        done = NULL
    streak[0] = 0
    with nogil:
        rc = fw_thread_next(t, done, keep, cut, False, out)
    if t.at_door:
        fw_thread_enter(t)
    return rc


@cython.final
cdef class WorkerThread:
    """The pull loop of one application thread and what it keeps between two requests."""

    cdef object application
    cdef ThreadState state
    cdef EnvironBuilder environs
    cdef Input no_body
    cdef AccessLog access     # or None
    cdef RequestIds ids       # or None
    cdef Stopwatch watch      # or None
    cdef fw_metrics *metrics  # what is counted, or NULL
    cdef bint keeps_environ   # with metrics: others ask for the route of a request that has not ended
    cdef object route         # what names the route of an environ, or None: the application alone
    cdef Response spare       # the last response, to be used again
    cdef object base_context  # what every request's contextvars.Context begins as
    cdef object context       # the one this thread is in
    cdef bint pristine        # the base holds no variable: a context of that size has not been written to
    cdef bint stale           # the context at hand is not fresh: there was no memory for one
    cdef Collection collection
    cdef unsigned streak      # turns taken in a row without giving the interpreter lock away

    def __init__(
        self, object application, ThreadState state, EnvironBuilder environs, Input no_body, AccessLog access,
        RequestIds ids, Stopwatch watch, object route, Collection collection
    ):
        self.metrics = state.conns.metrics
        self.application = application
        self.state = state
        self.environs = environs
        self.no_body = no_body
        self.access = access
        self.ids = ids
        self.watch = watch
        self.keeps_environ = access is not None and access.wants_environ or (
            watch is not None and slow_is_told(watch.causes))
        self.route = route
        self.collection = collection

    cdef int run(self, object base_context) except -1:
        """Serves until the loop is over; raises OSError if that fails, and whatever a signal handler raises.

        Every request begins in a copy of *base_context*.
        """
        fw_thread_attach(self.state.thread)
        self.state.ident = <unsigned long>pthread_self()  # not what a patched threading says
        self.state.running[self.state.ident] = self.state
        self.base_context = base_context
        self.pristine = PyObject_Size(base_context) == 0
        self.context = PyContext_Copy(base_context)
        PyContext_Enter(self.context)
        try:
            return self.pull()
        except BaseException as error:
            end_if_child(self.state, error)
            fw_loop_stop(&self.state.thread.leader.loop, FW_STOP_QUICK)
            self.wind_up()
            raise
        finally:
            self.state.running.pop(self.state.ident, None)
            PyContext_Exit(self.context)

    cdef int pull(self) except -1:
        cdef fw_thread *t = self.state.thread
        cdef fw_conn *c = NULL
        cdef Response r = None
        cdef int rc
        while True:
            end_if_child(self.state, None)  # whatever of the application has run: finalizers and signal handlers, too
            if c != NULL and self.collection.due != DUE_NEVER and self.collection.may_run(self.state.conns):
                r = self.collect(c, r)
                c = NULL
            if c == NULL:
                rc = next_turn(t, NULL, False, False, &self.streak, &c)
            else:
                rc = next_turn(t, c, r.keep, r.cut, &self.streak, &c)
            if r is not None:
                r = self.put_away(r)
            self.release_owned()
            if rc == FW_NEXT_TURN:
                r = self.turn(c)
                if r is None:
                    c = NULL
                if self.state.interrupt is not None:
                    self.leave(c, r)
            else:
                c = NULL
                if rc == FW_NEXT_WAKE:
                    self.look_around()
                elif rc == FW_NEXT_DONE:
                    return 0
                else:
                    check(rc)

    cdef Response collect(self, fw_conn *c, Response r):
        """Hands back the connection, whose response goes out now, and collects garbage as if it were another request:
        others lead the loop, and other workers take what comes. None."""
        with nogil:
            fw_thread_finish(self.state.thread, c, r.keep, r.cut)
        r = self.put_away(r)
        self.release_owned()
        self.collection.run()
        return None

    cdef int leave(self, fw_conn *c, Response r) except -1:
        """Raises what interrupted the log, with the connection at hand handed back."""
        cdef object interrupt = self.state.interrupt
        self.state.interrupt = None
        if c != NULL:
            with nogil:
                fw_thread_finish(self.state.thread, c, r.keep, r.cut)
        raise interrupt

    cdef Response turn(self, fw_conn *c):
        """Runs what the connection was pulled for. The finished response, or None if it is parked."""
        cdef Response r
        cdef Outcome outcome = DONE
        self.state.inside = True
        if c.turn == FW_TURN_REQUEST:
            r = self.take_response(c)
            if r is None:
                return self.turn_away(c)
            if self.watch is not None:
                self.watch.begin(r, c)
            if self.access is not None:
                self.access.begin(r)
            outcome = self.serve(r, c)
        else:
            r = self.unpark(c)
            if self.watch is not None:
                self.watch.resume(r)
            if c.turn == FW_TURN_GONE:
                r.abandon()
                outcome = DONE
            else:
                outcome = r.resume()
        self.state.leave()
        if self.watch is not None:
            self.watch.pause(r, c)
        if outcome == PARKED and self.park(r, c):
            return None
        self.end_request(r, c)
        return r

    cdef Response turn_away(self, fw_conn *c):
        """There is no memory to answer with: the connection closes. None."""
        self.state.leave()
        self.state.report(logging.ERROR, "No memory for a response: its connection is closed", None)
        with nogil:
            fw_thread_finish(self.state.thread, c, False, True)
        return None

    cdef Outcome serve(self, Response r, fw_conn *c):
        cdef Input body = self.no_body
        cdef Outcome outcome
        if c.broken:
            r.abandon()
            return DONE
        try:
            if self.stale:
                self.refresh()
            if c.req.framing != FW_FRAMING_NONE:
                body = input_over(&c.req.body)
            environ = self.environs.build(c, body)
            if fw_conn_offers(c):
                offer(r, c, environ)
            if self.ids is not None:
                r.request_id = self.ids.name(c, environ)
                r.answers_id = self.ids.answers
            if c.worth_until != 0:
                set_deadline(environ, c)
        except MemoryError as error:
            r.fail(error)
            body.body = NULL
            return DONE
        if self.environs.is_outside(c.req, environ):
            self.state.warn_outside(request_path(c.req), <str>environ[SCRIPT_NAME])
            body.body = NULL
            return r.decline()
        if self.access is not None and self.access.wants_environ:
            r.environ = environ
        if self.metrics != NULL:
            return self.serve_counted(r, c, body, environ)
        outcome = r.run(self.application, environ)
        if outcome == DONE:
            if body.body != NULL:
                body.detach()
        else:
            r.input = body
        return outcome

    cdef Outcome serve_counted(self, Response r, fw_conn *c, Input body, dict environ):
        """As serve goes on where there are no metrics. The environ is kept while the route may be asked for."""
        cdef Py_ssize_t keys = PyDict_GET_SIZE(environ)
        cdef Outcome outcome
        if self.keeps_environ:
            r.environ = environ
        outcome = r.run(self.application, environ)
        if outcome == DONE:
            if body.body != NULL:
                body.detach()
            if self.route is not None or PyDict_GET_SIZE(environ) != keys:  # the application has added something
                fw_conn_timing(c).route = self.route_of(r, environ)
        else:
            r.input = body
            r.environ = environ
            r.keys = keys
        return outcome

    cdef int end_request(self, Response r, fw_conn *c) except -1:
        """Nothing of the application may reach the connection any more."""
        if r.input is not None:
            (<Input>r.input).detach()
            r.input = None
        if r.socket is not None:
            end_offer(r)
        if self.metrics != NULL:
            self.count(r, c)
        if self.watch is not None:
            self.watch.end(r, c, self.metrics)
        if self.access is not None:
            self.access.put(r, c)
        r.end()
        if not self.pristine or PyObject_Size(self.context) != 0:  # what it has set is not for the next request
            self.renew()
        return 0

    cdef int count(self, Response r, fw_conn *c) except -1:
        """The request counts, with the route that it has taken."""
        cdef fw_timing *t = fw_conn_timing(c)
        cdef object environ = r.environ
        if environ is not None:
            if r.keys >= 0 and (self.route is not None or PyDict_GET_SIZE(environ) != r.keys):
                t.route = self.route_of(r, environ)
            if self.access is None or not self.access.wants_environ:
                r.environ = None
        fw_metrics_answered(self.metrics, c.req, r.code, t.route)
        return 0

    cdef uint64_t route_of(self, Response r, object environ):
        cdef object name
        cdef bytes text
        try:
            name = environ.get(ROUTE) if self.route is None else self.route(environ)
            if not name:
                return 0
            text = str(name).partition("\0")[0].encode("utf-8", "backslashreplace")
            return fw_metrics_route(self.metrics, PyBytes_AS_STRING(text), <size_t>PyBytes_GET_SIZE(text))
        except Exception:  # the application's objects: no request fails for its name
            return 0
        except BaseException as interrupt:  # a signal handler's; raised when nothing is half done any more
            r.state.interrupt = interrupt
            return 0

    cdef int renew(self) except -1:
        """As refresh, later if there is no memory now."""
        try:
            self.refresh()
        except MemoryError:
            self.stale = True
        return 0

    cdef int refresh(self) except -1:
        """A context of which no application has seen anything."""
        self.enter(PyContext_Copy(self.base_context))
        self.stale = False
        return 0

    # ---- responses at rest ----

    cdef Response take_response(self, fw_conn *c):
        """None: there is no memory for one."""
        cdef Response r = self.spare
        if r is None:
            try:
                r = Response.__new__(Response, self.state)
            except MemoryError:
                return None
        else:
            self.spare = None
        r.begin(c)
        return r

    cdef Response put_away(self, Response r):
        if r.reusable():
            self.spare = r
        return None

    cdef bint park(self, Response r, fw_conn *c) except -1:
        """The response waits for its client in the context it ran in; this thread goes on in a fresh one. False: there
        was no memory for that, and the response has ended."""
        cdef object fresh
        try:
            fresh = PyContext_Copy(self.base_context)
        except MemoryError as error:
            r.fail(error)
            self.state.leave()
            return False
        r.runner = 0
        r.context = self.context
        self.enter(fresh)
        Py_INCREF(r)
        with nogil:
            fw_thread_suspend(self.state.thread, c, <void *>r)
        return True

    cdef Response unpark(self, fw_conn *c):
        cdef Response r = <Response>c.user
        Py_DECREF(r)  # the connection's reference becomes ours
        c.user = NULL
        self.enter(r.context)
        return r

    cdef int enter(self, object context) except -1:
        PyContext_Exit(self.context)
        self.context = context
        PyContext_Enter(context)
        return 0

    # ---- housekeeping ----

    cdef int release_owned(self) except -1:
        cdef void *owner = fw_thread_to_release(self.state.thread)
        while owner != NULL:
            Py_DECREF(<object>owner)
            owner = fw_thread_to_release(self.state.thread)
        return 0

    cdef int look_around(self) except -1:
        """A signal has come, or the core has something to say."""
        PyErr_CheckSignals()
        try:
            self.pass_on_notices()
        except MemoryError:  # it is told at the next one
            pass
        return 0

    cdef int pass_on_notices(self) except -1:
        cdef unsigned notices = fw_leader_notices(self.state.thread.leader)
        if notices & FW_NOTICE_DESCRIPTORS:
            self.state.report(logging.ERROR, "Out of file descriptors or socket memory: accepting is paused until"
                              " connections close; raise the limit (ulimit -n) or lower worker_connections", None)
        if notices & FW_NOTICE_CONNECTIONS:
            self.state.report(logging.WARNING, "worker_connections reached: new connections wait or are refused, as"
                              " the setting overload says", None)
        if notices & FW_NOTICE_ACCESS:
            complaint = self.access.complaint()
            if complaint is not None:
                self.state.report(logging.ERROR, complaint, None)
        if notices & FW_NOTICE_STORAGE:
            self.state.report(logging.ERROR, self.storage_complaint(), None)
        if notices & FW_NOTICE_OVERLOAD:
            self.state.report(logging.WARNING, self.excess(), None)
        if notices & FW_NOTICE_RELIEF:
            self.state.report(logging.WARNING, self.relief(), None)
        if notices & FW_NOTICE_SENT and self.watch is not None:
            tell_of_sent(self.state.thread.leader, self.watch.causes)
        if notices & FW_NOTICE_HANDSHAKE:
            self.state.report(logging.INFO, self.failed_handshake(), None)
        return 0

    cdef str excess(self):
        """The figures of an overload that has begun."""
        cdef fw_overload o = self.state.thread.leader.loop.overload
        return (f"overload: more requests come than can be served: {o.waiting} wait, and the last one to be taken had"
                f" waited {o.wait} ms; the newest are served first now, the oldest get 503")

    cdef str relief(self):
        """The figures of the overload that is over."""
        cdef fw_overload o = self.state.thread.leader.loop.overload
        return (f"the overload is over after {o.ms / 1000:.1f} s: {o.refused} requests were refused, after"
                f" {o.longest} ms at most")

    cdef str failed_handshake(self):
        """The last one, and how many others it stands for."""
        cdef fw_failed_handshake f = self.state.thread.leader.loop.failed
        cdef str why = f.why.decode("ascii", "replace") if f.why != NULL else os.strerror(f.error)
        address, port = name_of(&f.peer.any)
        place = f"[{address}]" if ":" in address else address
        peer = f" with {place}:{port}" if port else f" with {place}" if address else ""
        others = f" (so did {f.untold - 1} others before)" if f.untold > 1 else ""
        return f"the TLS handshake{peer} failed: {why}{others}"

    cdef str storage_complaint(self):
        """Why bodies cannot be stored, and what to do."""
        cdef bytes folder = self.state.conns.cfg.temp_dir
        return (f"A request body larger than body_memory was refused: no temporary file can be written in"
                f" {os.fsdecode(folder)} ({os.strerror(self.state.thread.leader.loop.storage_error)}); TMPDIR names the"
                " directory")

    cdef int wind_up(self) except -1:
        """Lets the loop come to its end without running any application: iterables are closed, connections cut."""
        cdef fw_thread *t = self.state.thread
        cdef fw_conn *c = NULL
        cdef Response r
        cdef int rc
        while True:
            rc = next_turn(t, c, False, True, &self.streak, &c)
            self.release_owned()
            if rc == FW_NEXT_TURN:
                if c.turn != FW_TURN_REQUEST:
                    r = self.unpark(c)
                    r.abandon()
                    self.end_request(r, c)
            elif rc == FW_NEXT_WAKE:
                c = NULL
            else:
                return 0
