# head.pxd - status line and header fields of a response; chunks.

from libc.stdint cimport int64_t

from fastwsgi._core.csrc cimport fw_conn
from fastwsgi._core.shared cimport Shared


cdef enum:
    COPY_BELOW = 8192  # larger blocks are queued by reference


cdef struct HeadFacts:
    int64_t length    # the application's Content-Length, -1 if it gave none
    bint has_date
    bint has_server
    bint closes       # the application asked for Connection: close
    bint upgrades     # ... for another protocol, in a 426


cdef int status_code(object status) except -1
cdef char *room_for(Shared shared, fw_conn *c, size_t n) except NULL
cdef int put_status(Shared shared, fw_conn *c, str status) except -1
cdef int put_fields(Shared shared, fw_conn *c, int code, list headers, HeadFacts *facts) except -1
cdef int put_missing(Shared shared, fw_conn *c, const HeadFacts *facts) except -1
cdef int put_chunk_size(Shared shared, fw_conn *c, size_t n) except -1
cdef int put_chunk(Shared shared, fw_conn *c, object block, size_t n) except -1
