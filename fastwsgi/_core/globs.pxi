# globs.pxi - patterns of paths as the core takes them (http/globs.h).
#
# They are made once, when a worker is made; the core borrows them.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from libc.stdint cimport uint32_t


@cython.final
cdef class Globs:
    """*given*: pairs of a pattern in bytes, and what the setting says for it."""

    cdef fw_globs core
    cdef tuple given  # its texts are what the core points to

    def __cinit__(self, tuple given):
        cdef fw_glob *to = <fw_glob *>array_of(len(given), sizeof(fw_glob))
        cdef Py_ssize_t i
        self.given = given
        self.core.list = to
        self.core.n = <unsigned>len(given)
        for i, (text, value) in enumerate(given):
            to[i].at = PyBytes_AS_STRING(text)
            to[i].len = <uint32_t>PyBytes_GET_SIZE(text)
            to[i].value = value

    def __dealloc__(self):
        PyMem_Free(<void *>self.core.list)

    cdef const fw_globs *borrowed(self):
        """NULL if there is none."""
        return &self.core if self.core.n != 0 else NULL
