# access_log.pxi - the access log, where it meets Python: the pieces of the format, and the line of a finished request.
#
# The line itself is made in C (observe/access_log.h), from the bytes of the request and a few numbers. Only what lives
# in Python objects is looked up here: fields of the response and variables of the environ, for formats that ask for
# them.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport ENOBUFS
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

import os

cdef enum:
    GIVEN = 32      # pieces of a format that are told from Python objects; fastwsgi/logs/format.py allows no more
    PHRASE = 4      # where the reason begins in "DDD reason"

cdef dict ATOMS = {
    "text": FW_ATOM_TEXT, "h": FW_ATOM_CLIENT, "u": FW_ATOM_USER, "t": FW_ATOM_TIME, "iso": FW_ATOM_ISO_TIME,
    "r": FW_ATOM_LINE, "m": FW_ATOM_METHOD, "U": FW_ATOM_PATH, "q": FW_ATOM_QUERY, "H": FW_ATOM_PROTOCOL,
    "s": FW_ATOM_STATUS, "st": FW_ATOM_REASON, "B": FW_ATOM_BYTES, "b": FW_ATOM_BYTES_OR_DASH, "T": FW_ATOM_SECONDS,
    "M": FW_ATOM_MILLISECONDS, "D": FW_ATOM_MICROSECONDS, "L": FW_ATOM_DECIMAL_SECONDS, "p": FW_ATOM_PROCESS,
    "pid": FW_ATOM_PROCESS_NUMBER, "i": FW_ATOM_FIELD, "o": FW_ATOM_GIVEN, "e": FW_ATOM_GIVEN,
    "full_path": FW_ATOM_FULL_PATH, "host": FW_ATOM_HOST, "request_id": FW_ATOM_ID, "thread": FW_ATOM_THREAD,
    "queue": FW_ATOM_QUEUE, "application": FW_ATOM_APPLICATION, "cpu": FW_ATOM_CPU, "off_cpu": FW_ATOM_OFF_CPU,
    "lock_wait": FW_ATOM_LOCK_WAIT, "send": FW_ATOM_SEND,
}
cdef frozenset TIMES = frozenset("TMDL")
cdef frozenset PARTS = frozenset(("queue", "application", "cpu", "off_cpu", "lock_wait", "send"))


@cython.final
cdef class AccessLog:
    """One per worker, for all its threads.

    *file* has ``fd``, a descriptor that stays open as long as it lives; ``pieces``, what fastwsgi/logs/format.py
    makes of a format: (kind, text) pairs; and ``json``, whether their texts are to be written so. *number* is
    the worker's.
    """

    cdef fw_access_log *log
    cdef fw_log_piece *pieces
    cdef object file          # keeps the descriptor open
    cdef list texts           # what the pieces point to
    cdef bytes script_name
    cdef list given           # (kind, name) of what is told from Python objects, in order
    cdef bint timed           # some piece tells how long a request took
    cdef bint wants_environ
    cdef bint times_parts     # ... or where its time went
    cdef bint times_cpu       # ... with a processor

    def __cinit__(self, object file, str script_name, unsigned number):
        cdef list pieces = file.pieces
        cdef Py_ssize_t i
        cdef bytes text
        cdef fw_log_piece *p
        cdef fw_text mount
        self.file = file
        self.texts = []
        self.given = []
        self.script_name = script_name.encode("latin-1")
        self.pieces = <fw_log_piece *>calloc(max(len(pieces), 1), sizeof(fw_log_piece))
        if self.pieces == NULL:
            raise MemoryError
        for i in range(len(pieces)):
            kind, name = pieces[i]
            if kind == "worker":
                kind, name = "text", str(number)
            text = name.encode("utf-8", "surrogateescape")
            p = &self.pieces[i]
            p.atom = ATOMS[kind]
            self.texts.append(text)
            p.text = PyBytes_AS_STRING(text)
            p.len = <uint32_t>PyBytes_GET_SIZE(text)
            memcpy(p.head, p.text, min(p.len, sizeof(p.head)))
            self.timed |= kind in TIMES
            self.times_parts |= kind in PARTS
            self.times_cpu |= kind == "cpu" or kind == "off_cpu"
            if p.atom == FW_ATOM_GIVEN:
                self.given.append((kind, name))
                self.wants_environ |= kind == "e"
            elif p.atom == FW_ATOM_FIELD:
                p.id = <unsigned char>fw_name_find(p.text, p.len)
        if len(self.given) > GIVEN:
            raise ValueError("too many pieces to look up")
        mount.at = PyBytes_AS_STRING(self.script_name)
        mount.len = <size_t>PyBytes_GET_SIZE(self.script_name)
        check(fw_access_log_open(&self.log, file.fd, self.pieces, <unsigned>len(pieces), file.json, mount))

    def __dealloc__(self):
        fw_access_log_close(self.log)
        free(self.pieces)

    cdef int begin(self, Response r) except -1:
        """The request begins to be served."""
        if self.timed and r.began == 0:
            r.began = fw_deadline_us()
        return 0

    cdef int put(self, Response r, const fw_conn *c) except -1:
        """The line of a response that has come to its end; before Response.end."""
        cdef uint64_t us = fw_deadline_us() - r.began if self.timed else 0
        if self.given:
            return self.put_with(r, c, us)
        return put_line(self.log, r, c, us, NULL)

    cdef int put_with(self, Response r, const fw_conn *c, uint64_t us) except -1:
        cdef fw_text texts[GIVEN]
        cdef list held
        cdef int i
        for i in range(GIVEN):
            texts[i].at = NULL
            texts[i].len = 0
        try:
            held = [self.tell(r, kind, name) for kind, name in self.given]
        except MemoryError:  # a line without them
            held = None
        r.environ = None
        if held is not None:
            for i, value in enumerate(held):
                if value is not None:
                    texts[i].at = PyBytes_AS_STRING(value)
                    texts[i].len = <size_t>PyBytes_GET_SIZE(value)
        return put_line(self.log, r, c, us, texts)

    cdef object tell(self, Response r, str kind, str name):
        """The bytes of a response field (the last of that name) or of a variable, or None."""
        cdef object value = None
        try:
            if kind == "e":
                if r.environ is not None:
                    value = r.environ.get(name)
                    if value is None:
                        value = r.environ.get(name.upper())
            elif r.headers is not None:
                for key, text in r.headers:
                    if key.lower() == name:
                        value = text
            if value is None:
                return None
            value = str(value)
            try:
                return value.encode("latin-1")
            except UnicodeEncodeError:
                return value.encode("utf-8", "backslashreplace")
        except Exception:  # the application's objects: a line must not fail for them
            return None
        except BaseException as interrupt:  # a signal handler's; raised when nothing is half done any more
            r.state.interrupt = interrupt
            return None

    cdef str finish(self):
        """Writes the last lines; what is to be said of lost ones, or None."""
        with nogil:
            fw_access_log_finish(self.log)
        self.file.finish()
        return self.complaint()

    cdef str complaint(self):
        """What is to be said of lost lines, None if there are none."""
        cdef int error = 0
        cdef unsigned long long lines = fw_access_log_lost(self.log, &error)
        cdef str why = "its reader does not keep up" if error == ENOBUFS else os.strerror(error)
        if lines == 0:
            return None
        return f"The access log cannot be written ({why}): {lines} lines are lost"


cdef int put_line(fw_access_log *log, Response r, const fw_conn *c, uint64_t us, const fw_text *given) except -1:
    cdef fw_entry e
    cdef uint64_t unsent = fw_thread_unsent(r.state.thread, c)
    e.req = c.req
    e.line.at = NULL
    e.line.len = 0
    e.client = fw_conn_client(c)
    e.status = r.code
    e.reason.at = NULL
    e.reason.len = 0
    if r.status is not None:
        e.reason.at = <const char *>PyUnicode_DATA(r.status) + PHRASE
        e.reason.len = <size_t>PyUnicode_GET_LENGTH(r.status) - PHRASE
    e.bytes = <uint64_t>r.sent - min(<uint64_t>r.sent, unsent)
    e.us = us
    e.queue_us = r.queue_us
    e.application_us = r.application_us
    e.cpu_us = r.cpu_us
    e.lock_us = r.lock_us
    e.send_us = r.send_us
    e.id.at = NULL
    e.id.len = 0
    if r.request_id is not None:
        e.id.at = <const char *>PyUnicode_DATA(r.request_id)
        e.id.len = <size_t>PyUnicode_GET_LENGTH(r.request_id)
    e.thread = <int>r.state.thread.index
    e.given = given
    fw_access_log_put(log, &e)
    return 0
