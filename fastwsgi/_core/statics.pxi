# statics.pxi - folders whose files the loop serves, as the core takes them (io/statics.h).
#
# They are opened when a worker is made, with its account; the core borrows them. An application names files in some
# of them by X-Sendfile or X-Accel-Redirect.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from libc.stdint cimport uint32_t
from libc.stdlib cimport free
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


cdef tuple NAMING = ("x-sendfile", "x-accel-redirect")
# Fields that say something of the bytes that are sent: a named file has its own.
cdef frozenset REPLACED = frozenset((*NAMING, "content-length", "etag", "last-modified", "accept-ranges",
                                     "content-range"))


cdef object named_file(list headers):
    """What an application says of a file to be sent: the field's lower-case name and its value, or None."""
    for item in headers:
        if type(item) is tuple and len(item) == 2 and isinstance(item[0], str) and item[0].lower() in NAMING:
            return item[0].lower(), item[1]
    return None


cdef list fields_beside(list headers, bint typed):
    """The fields of the application that go with a file; its Content-Type only if *typed*."""
    return [(name, value) for name, value in headers
            if name.lower() not in REPLACED and (typed or name.lower() != "content-type")]


@cython.final
cdef class Internal:
    """Folders whose files an application may name. *statics*: the arguments of Statics; *paths*: pairs of the path of
    a folder in bytes, without a slash at its end, and its place among them, the longest first."""

    cdef Statics statics
    cdef tuple paths

    def __cinit__(self, object statics, tuple paths):
        self.statics = Statics(*statics)
        self.paths = paths

    cdef fw_sending *open(self, str name, object value) except NULL:
        """Opens the file that a field names; one that is in no folder is answered as one that is not there."""
        cdef fw_sending *s
        cdef const fw_static *at = NULL
        cdef bytes rest
        if not isinstance(value, str):
            raise TypeError(f"the value of {name} must be a str, not {type(value).__name__}")
        place, rest = self.place(name, value.encode("latin-1"))
        if place >= 0:
            at = &self.statics.core.list[<int>place]
        s = fw_sending_named(&self.statics.core, at, PyBytes_AS_STRING(rest) if at != NULL else NULL,
                             <size_t>PyBytes_GET_SIZE(rest))
        if s == NULL:
            raise MemoryError("no memory for the response")
        if at != NULL:
            with nogil:
                fw_sending_open(s, False)
        return s

    cdef object place(self, str name, bytes value):
        """The place of a folder, or -1, and the path below it, escaped."""
        cdef unsigned i
        cdef ssize_t taken
        if name == "x-sendfile":
            for path, number in self.paths:
                if value.startswith(path) and value[len(path):len(path) + 1] == b"/":
                    return number, value[len(path):].replace(b"%", b"%25")
            return -1, b""
        value = value.partition(b"?")[0]
        for i in range(self.statics.core.n):
            taken = fw_file_path_below(PyBytes_AS_STRING(value), <size_t>PyBytes_GET_SIZE(value),
                                       self.statics.core.list[i].prefix, self.statics.core.list[i].prefix_len)
            if taken >= 0:
                return i, value[taken:]
        return -1, b""
