# ending.pxd - a response and what is to be called at its end.

cimport cython


@cython.final
cdef class Ending:
    cdef readonly object result
    cdef readonly object close
