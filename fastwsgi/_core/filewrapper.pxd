# filewrapper.pxd - wsgi.file_wrapper.

from libc.stdint cimport int64_t


cdef class FileWrapper:
    cdef readonly object filelike
    cdef readonly object block_size

    cdef bint locate(self, int *fd, int64_t *position, int64_t *total) except -1
