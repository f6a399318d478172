# worker.pyx - the pull loop of one application thread.
#
# One turn: take a connection that has a complete request from the C loop, build its environ, run the application, queue
# the response, hand the connection back. The C loop never calls into Python; this thread asks it for work.
#
# References that cross into C: conn.user (a parked Response, one reference while the connection is suspended),
# conn.peer (a tuple, one reference until the connection is buried), owners in the output queue. All come back through
# native.pull or native.spent and are dropped here, with the interpreter lock held.

from cpython.contextvars cimport PyContext_Copy, PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint32_t, uint64_t

from fastwsgi._core cimport native
from fastwsgi._core.csrc cimport (
    FW_CLASS_BODY, FW_CLASS_HEADER, FW_CLASS_KEEPALIVE, FW_CLASS_WRITE, FW_FRAMING_NONE, FW_MAP_DANGEROUS,
    FW_MAP_DROP, FW_MAP_REFUSE, FW_NEXT_DONE, FW_NEXT_TURN, FW_NEXT_WAKE, FW_NOTICE_CONNECTIONS,
    FW_NOTICE_DESCRIPTORS, FW_STOP_GRACEFUL, FW_STOP_QUICK, FW_TURN_GONE, FW_TURN_REQUEST, fw_config, fw_conn,
    fw_loop,
)
from fastwsgi._core.environ cimport EnvironBuilder
from fastwsgi._core.filewrapper cimport FileWrapper
from fastwsgi._core.input cimport Input, input_over
from fastwsgi._core.response cimport DONE, PARKED, Outcome, Response
from fastwsgi._core.shared cimport Shared

import logging
import os
import tempfile

cdef dict HEADER_MAPS = {"drop": FW_MAP_DROP, "refuse": FW_MAP_REFUSE, "dangerous": FW_MAP_DANGEROUS}


cdef uint32_t milliseconds(object seconds) except? 0:
    return <uint32_t>min(max(round(float(seconds) * 1000), 0), 0xFFFFFFFF)


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
        elif name == "head_memo":
            cfg.memo = value
    return 0


cdef class Worker:
    """Serves *application* on already listening sockets, from one thread.

    *listeners* are ``(fd, server_name, server_port)`` of non-blocking listening sockets, which stay the caller's.
    *settings* maps setting names of config.py to values; missing ones take their defaults. *log* is called as
    ``log(level, message, exception_or_None)``; *errors* is the text stream for ``wsgi.errors``.
    """

    cdef fw_loop *loop
    cdef object application
    cdef object settings
    cdef bytes temp_dir
    cdef EnvironBuilder environs
    cdef Shared shared
    cdef Response spare
    cdef Input no_body
    cdef object base_context
    cdef object context
    cdef bint running

    def __cinit__(self, application, listeners, settings, *, log, errors, bint multiprocess=False):
        cdef fw_config cfg
        cdef int rc
        self.application = application
        self.settings = settings
        configure(&cfg, settings)
        self.temp_dir = os.fsencode(settings.get("temp_dir") or tempfile.gettempdir())
        cfg.temp_dir = self.temp_dir
        rc = native.loop_open(&self.loop, &cfg)
        if rc < 0:
            raise OSError(-rc, os.strerror(-rc))
        self.no_body = input_over(NULL)
        self.shared = Shared.__new__(Shared)
        self.shared.loop = self.loop
        self.shared.hub = &self.loop.hub
        self.shared.log = log
        self.shared.keepalive = milliseconds(settings.get("keepalive", 75)) > 0
        self.shared.sendfile = settings.get("sendfile", True)
        self.shared.warned = set()
        self.environs = EnvironBuilder(
            [self.base_environ(name, port, errors, multiprocess) for _, name, port in listeners],
            self.no_body,
            settings.get("script_name", ""),
            cfg.memo,
        )
        for fd, _, port in listeners:
            rc = native.loop_listen(self.loop, fd, port != "")
            if rc < 0:
                raise OSError(-rc, os.strerror(-rc))

    def __dealloc__(self):
        if self.loop != NULL:
            native.loop_free(self.loop)

    cdef dict base_environ(self, str server_name, str server_port, object errors, bint multiprocess):
        """What every environ of one listener has in common (PEP 3333 "environ Variables").

        A unix socket has neither name nor port, and neither may be empty: it gets those of a local web server.

        The keys that each request sets are here too, so that the copy has their places and never grows for them.
        """
        cdef str version = self.settings.get("version", "")
        return {
            "REQUEST_METHOD": "",
            "SERVER_PROTOCOL": "",
            "PATH_INFO": "",
            "QUERY_STRING": "",
            "RAW_URI": "",
            "REQUEST_URI": "",
            "REMOTE_ADDR": "",
            "REMOTE_PORT": "",
            "wsgi.input": self.no_body,
            "SCRIPT_NAME": self.settings.get("script_name", ""),
            "SERVER_NAME": server_name if server_port else "localhost",
            "SERVER_PORT": server_port or "80",
            "SERVER_SOFTWARE": f"fastwsgi/{version}" if version else "fastwsgi",
            "GATEWAY_INTERFACE": "CGI/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": errors,
            "wsgi.multithread": False,
            "wsgi.multiprocess": bool(multiprocess),
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
            "fastwsgi.version": version,
        }

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
        cdef dict counters = self.loop.hub.stats
        counters["app_errors"] = self.shared.app_errors
        return counters

    # ---- the pull loop ----

    def run(self):
        """Serve until stopped. Raises OSError if the loop itself fails, and whatever a signal handler raises."""
        if self.running:
            raise RuntimeError("this worker is running already")
        self.running = True
        self.base_context = PyContext_CopyCurrent()
        self.context = PyContext_Copy(self.base_context)
        PyContext_Enter(self.context)
        try:
            self.pull()
        finally:
            self.end_all()
            PyContext_Exit(self.context)
            self.running = False

    cdef int pull(self) except -1:
        cdef fw_conn *c = NULL
        cdef Response r = None
        cdef int rc
        while True:
            if c == NULL:
                rc = native.next_turn(self.loop, &c)
            else:
                rc = native.finish_next(self.loop, c, r.keep, r.cut, &c)
            if r is not None:
                r = self.put_away(r)
            self.release_spent()
            if rc == FW_NEXT_TURN:
                r = self.turn(c)
                if r is None:
                    c = NULL
                if self.shared.interrupt is not None:
                    self.leave(c, r)
            elif rc == FW_NEXT_WAKE:
                PyErr_CheckSignals()
                self.say_notices()
            elif rc == FW_NEXT_DONE:
                return 0
            else:
                raise OSError(-rc, os.strerror(-rc))

    cdef int leave(self, fw_conn *c, Response r) except -1:
        """Raises what interrupted the log, with the connection at hand handed back."""
        cdef object interrupt = self.shared.interrupt
        self.shared.interrupt = None
        if c != NULL:
            native.finish(self.loop, c, r.keep, r.cut)
        raise interrupt

    cdef Response turn(self, fw_conn *c):
        """Runs what the connection was pulled for. The finished response, or None if it is parked."""
        cdef Response r
        cdef Outcome outcome = DONE
        if c.turn == FW_TURN_REQUEST:
            r = self.take_response(c)
            outcome = self.serve(r, c)
        else:
            r = <Response>c.user
            Py_DECREF(r)  # the connection's reference becomes ours
            c.user = NULL
            self.enter(r.context)
            if c.turn == FW_TURN_GONE:
                r.abandon()
                outcome = DONE
            else:
                outcome = r.resume()
        if outcome == PARKED:
            self.park(r, c)
            return None
        self.end_request(r, c)
        return r

    cdef Outcome serve(self, Response r, fw_conn *c):
        cdef Input body = self.no_body
        cdef Outcome outcome
        if c.broken:
            r.abandon()
            return DONE
        if c.req.framing != FW_FRAMING_NONE:
            body = input_over(&c.req.body)
        try:
            environ = self.environs.build(c, body)
        except MemoryError as error:
            r.fail(error)
            return DONE
        outcome = r.run(self.application, environ)
        if outcome == DONE:
            body.body = NULL
        else:
            r.input = body
        return outcome

    cdef int end_request(self, Response r, fw_conn *c) except -1:
        """Nothing of the application may reach the connection any more."""
        if r.input is not None:
            (<Input>r.input).body = NULL
            r.input = None
        r.end()
        return 0

    # ---- responses at rest ----

    cdef Response take_response(self, fw_conn *c):
        cdef Response r = self.spare
        if r is None:
            r = Response.__new__(Response, self.shared)
        else:
            self.spare = None
        r.begin(c)
        return r

    cdef Response put_away(self, Response r):
        if r.reusable():
            self.spare = r
        return None

    cdef int park(self, Response r, fw_conn *c) except -1:
        """The response waits for its client in the context it ran in; this thread goes on in a fresh one."""
        r.context = self.context
        self.enter(PyContext_Copy(self.base_context))
        Py_INCREF(r)
        native.suspend(self.loop, c, <void *>r)
        return 0

    cdef int enter(self, object context) except -1:
        PyContext_Exit(self.context)
        self.context = context
        PyContext_Enter(context)
        return 0

    # ---- housekeeping ----

    cdef int release_spent(self) except -1:
        cdef void *owner = native.spent(self.loop)
        while owner != NULL:
            Py_DECREF(<object>owner)
            owner = native.spent(self.loop)
        return 0

    cdef int say_notices(self) except -1:
        cdef unsigned notices = native.loop_notices(self.loop)
        if notices & FW_NOTICE_DESCRIPTORS:
            self.shared.report(logging.ERROR, "Out of file descriptors or socket memory: accepting is paused until"
                               " connections close; raise the limit (ulimit -n) or lower worker_connections", None)
        if notices & FW_NOTICE_CONNECTIONS:
            self.shared.report(logging.WARNING, "worker_connections reached: new connections wait or are refused, as"
                               " the setting overload says", None)
        return 0

    cdef int end_all(self) except -1:
        """Closes every connection; suspended responses have their iterables closed."""
        cdef fw_conn *c
        cdef Response r
        native.loop_abandon(self.loop)
        c = native.pull(self.loop)
        while c != NULL:
            if c.turn != FW_TURN_REQUEST:
                r = <Response>c.user
                Py_DECREF(r)
                c.user = NULL
                self.enter(r.context)
                r.abandon()
                self.end_request(r, c)
            native.finish(self.loop, c, False, True)
            c = native.pull(self.loop)
        native.reap(self.loop)
        native.forget_heads(self.loop)
        return self.release_spent()
