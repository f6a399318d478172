# puller.pxd - one application thread.

cimport cython
from fastwsgi._core.access cimport AccessLog
from fastwsgi._core.csrc cimport fw_conn
from fastwsgi._core.environ cimport EnvironBuilder
from fastwsgi._core.input cimport Input
from fastwsgi._core.response cimport Outcome, Response
from fastwsgi._core.shared cimport Shared


@cython.final
cdef class Puller:
    cdef object application
    cdef Shared shared
    cdef EnvironBuilder environs
    cdef Input no_body
    cdef AccessLog access     # or None
    cdef Response spare       # the last response, to be used again
    cdef object base_context  # what every request's contextvars.Context begins as
    cdef object context       # the one this thread is in
    cdef bint pristine        # the base holds no variable: a context of that size has not been written to
    cdef bint stale           # the context at hand is not fresh: there was no memory for one
    cdef unsigned streak      # turns taken in a row without giving the interpreter lock away

    cdef int run(self, object base_context) except -1
    cdef int pull(self) except -1
    cdef int leave(self, fw_conn *c, Response r) except -1
    cdef Response turn(self, fw_conn *c)
    cdef Response turn_away(self, fw_conn *c)
    cdef Outcome serve(self, Response r, fw_conn *c)
    cdef int end_request(self, Response r, fw_conn *c) except -1
    cdef int renew(self) except -1
    cdef int refresh(self) except -1
    cdef Response take_response(self, fw_conn *c)
    cdef Response put_away(self, Response r)
    cdef bint park(self, Response r, fw_conn *c) except -1
    cdef Response unpark(self, fw_conn *c)
    cdef int enter(self, object context) except -1
    cdef int release_spent(self) except -1
    cdef int look_around(self) except -1
    cdef int pass_on_notices(self) except -1
    cdef str storage_complaint(self)
    cdef int wind_up(self) except -1
