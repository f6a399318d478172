# input.pxd - wsgi.input over a request body that is already whole.

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from fastwsgi._core.csrc cimport fw_body


cdef class Input:
    cdef fw_body *body     # borrowed from the request; NULL before and after it, and for requests without a body
    cdef bytes window      # of a body in a file: bytes that have been read ahead, or None
    cdef uint64_t start    # ... and where in it they begin
    cdef unsigned readers  # calls that wait for the disk, without the interpreter lock
    cdef int left          # the file plus one, if the request has ended while there were readers: the last closes it

    cdef bytes take(self, size_t n)
    cdef bytes take_line(self, size_t limit)
    cdef bytes take_stored(self, size_t n)
    cdef bytes take_stored_line(self, size_t limit)
    cdef bytes window_part(self, uint64_t offset, size_t n)
    cdef bytes read_at(self, size_t n, uint64_t offset)
    cdef int enter(self)
    cdef void leave(self)
    cdef void detach(self)


cdef Input input_over(fw_body *body)
