# statics.pxi - folders whose files the loop serves, as the core takes them (io/statics.h).
#
# They are opened when a worker is made, with its account; the core borrows them.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from libc.stdint cimport uint32_t
from libc.string cimport memset
from posix.unistd cimport close as close_fd


@cython.final
cdef class Statics:
    """*folders*: pairs of a prefix and a path in bytes, the longest prefix first. *types*: endings of names in bytes,
    sorted, each with its media type and whether its content is packed already. *index*: the file of a folder.
    *immutable*: patterns of paths."""

    cdef fw_statics core
    cdef Globs immutable
    cdef tuple texts  # what the core points to

    def __cinit__(self, tuple folders, tuple types, bytes index, tuple immutable):
        memset(&self.core, 0, sizeof(self.core))
        self.texts = (folders, types, index)
        self.immutable = Globs(immutable)
        self.core.immutable = self.immutable.borrowed()
        self.core.index = PyBytes_AS_STRING(index)
        self.take_types(types)
        self.open(folders)

    def __dealloc__(self):
        cdef unsigned i
        for i in range(self.core.n):
            close_fd(self.core.list[i].folder)
        PyMem_Free(<void *>self.core.list)
        PyMem_Free(<void *>self.core.types)

    cdef int take_types(self, tuple types) except -1:
        cdef fw_media_type *to = <fw_media_type *>array_of(len(types), sizeof(fw_media_type))
        cdef Py_ssize_t i
        self.core.types = to
        self.core.ntypes = <unsigned>len(types)
        for i, (ending, name, packed) in enumerate(types):
            to[i].ending = PyBytes_AS_STRING(ending)
            to[i].type = PyBytes_AS_STRING(name)
            to[i].packed = packed
        return 0

    cdef int open(self, tuple folders) except -1:
        cdef fw_static *to = <fw_static *>array_of(len(folders), sizeof(fw_static))
        self.core.list = to
        for prefix, path in folders:
            one = &to[self.core.n]
            one.prefix = PyBytes_AS_STRING(prefix)
            one.prefix_len = <uint32_t>PyBytes_GET_SIZE(prefix)
            one.folder = fw_beneath_folder(PyBytes_AS_STRING(path))
            if one.folder < 0:
                raise OSError(-one.folder, os.strerror(-one.folder), os.fsdecode(path))
            one.how = <int>fw_beneath_how(one.folder)
            self.core.n += 1
        return 0

    cdef const fw_statics *borrowed(self):
        return &self.core
