# response.pxd - start_response, write, head and body of one response.

cimport cython
from libc.stdint cimport int64_t, uint64_t

from fastwsgi._core.csrc cimport fw_conn
from fastwsgi._core.filewrapper cimport FileWrapper
from fastwsgi._core.shared cimport Shared


cdef enum Outcome:
    DONE    # complete or broken off: hand the connection back with .keep and .cut
    PARKED  # the client is slow: suspend the connection, resume later


@cython.final
cdef class Response:
    cdef Shared shared
    cdef fw_conn *conn        # NULL outside of a request: the callables are dead then
    cdef unsigned long runner  # ident of the thread whose calls of the next two are heard now; 0: nobody's
    cdef object start         # bound start_response, made once
    cdef object writer        # bound write
    cdef object context       # contextvars.Context while parked
    cdef object input         # wsgi.input while parked: detached when the response ends
    cdef object environ       # for the access log, if that tells of it
    cdef uint64_t began       # us, likewise
    cdef str status
    cdef str known_status     # the last one judged, and its number: applications repeat themselves
    cdef int known_code
    cdef list headers
    cdef object iterator
    cdef object closer        # close() of the iterable, until it has been called
    cdef int64_t declared     # body bytes that the head promises; -1 = none promised
    cdef int64_t sent         # body bytes queued
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

    cdef void begin(self, fw_conn *c) noexcept
    cdef void end(self) noexcept
    cdef Outcome run(self, object application, dict environ)
    cdef Outcome resume(self)
    cdef void abandon(self)
    cdef void fail(self, object error)
    cdef int answer(self, str status, int code, bytes body) except -1
    cdef Outcome decline(self)
    cdef bint reusable(self) noexcept

    cdef int take(self, object result) except -1
    cdef int put_all(self, object blocks) except -1
    cdef int put_only(self, object block) except -1
    cdef int put_file(self, FileWrapper wrapper) except -1
    cdef int put_block(self, object block) except -1
    cdef int put_end(self) except -1
    cdef int queue_all(self, object blocks) except -1
    cdef int queue_file(self, FileWrapper wrapper) except -1
    cdef int put_part_of_file(self, FileWrapper wrapper, int fd, int64_t position, int64_t n) except -1
    cdef Outcome pump(self) except *
    cdef Outcome wind_up(self) except *
    cdef Outcome wind_up_and_close(self) except *
    cdef int refuse_call(self, str name) except -1
    cdef int check_started(self) except -1
    cdef int put(self, object block) except -1
    cdef int complete(self) except -1
    cdef int head(self, int64_t length) except -1
    cdef int compose(self, int64_t length) except -1
    cdef int frame(self, int64_t own_length, int64_t length, bint closes) except -1
    cdef void close_iterable(self)
    cdef int tell(self, int level, str what, object error) except -1
    cdef str subject(self)
