# input.pxd - wsgi.input over a request body that is already whole.

from fastwsgi._core.csrc cimport fw_body


cdef class Input:
    cdef fw_body *body  # borrowed from the request; NULL before and after it, and for requests without a body

    cdef bytes take(self, size_t n)
    cdef bytes take_line(self, size_t limit)


cdef Input input_over(fw_body *body)
