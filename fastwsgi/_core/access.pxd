# access.pxd - the line of a finished request for the access log.

cimport cython
from libc.stdint cimport uint64_t

from fastwsgi._core.csrc cimport fw_access_log, fw_conn, fw_log_piece, fw_text
from fastwsgi._core.response cimport Response


@cython.final
cdef class AccessLog:
    cdef fw_access_log *log
    cdef fw_log_piece *pieces
    cdef object file          # keeps the descriptor open
    cdef list texts           # what the pieces point to
    cdef bytes script_name
    cdef list given           # (kind, name) of what is told from Python objects, in order
    cdef bint timed           # some piece tells how long a request took
    cdef bint wants_environ

    cdef int begin(self, Response r) except -1
    cdef int put(self, Response r, const fw_conn *c) except -1
    cdef int put_with(self, Response r, const fw_conn *c, uint64_t us) except -1
    cdef object tell(self, Response r, str kind, str name)
    cdef int flush(self) except -1
    cdef str complaint(self)
