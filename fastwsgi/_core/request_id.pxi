# request_id.pxi - the id of a request: what a trusted proxy calls it, or one of our own.
#
# X-Request-ID comes first, then the trace id of traceparent (W3C Trace Context). Both count only if the peer is trusted
# (forwarded_allow_ips): a client that chooses its id could take that of another request. An id is in the environ, in
# the logs and, if asked, in the response, so it is of few kinds of characters, and none of them needs an escape.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.dict cimport PyDict_GetItem, PyDict_SetItem
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

import os

cdef enum:
    ID_MOST = 200    # characters of an id that a proxy may give
    ID_OWN = 32      # of one that is made: 128 bits, in hex, as a trace id has it
    TRACE_AT = 3     # where the trace id begins in "VV-TRACE-PARENT-FF"
    TRACE_LEAST = 55

cdef str HTTP_X_REQUEST_ID = "HTTP_X_REQUEST_ID"
cdef str HTTP_TRACEPARENT = "HTTP_TRACEPARENT"
cdef str REQUEST_ID = "fastwsgi.request_id"
cdef bytes HEX = b"0123456789abcdef"


cdef inline bint is_hex(char c) noexcept:
    return c"0" <= c <= c"9" or c"a" <= c <= c"f"


cdef bint is_id(const char *s, Py_ssize_t n) noexcept:
    """Letters, digits and -._~+/=:@, not too many."""
    cdef Py_ssize_t i
    cdef char c
    if not 1 <= n <= ID_MOST:
        return False
    for i in range(n):
        c = s[i]
        if not (c"a" <= c <= c"z" or c"A" <= c <= c"Z" or c"-" <= c <= c":" or c == c"_" or c == c"~" or c == c"+"
                or c == c"=" or c == c"@"):
            return False
    return True


cdef bint is_trace(const char *s, Py_ssize_t n) noexcept:
    """W3C Trace Context 3.2.2: version, trace id and parent id, neither all zero, flags; a later version may add."""
    cdef Py_ssize_t i
    cdef bint trace = False, parent = False
    if n < TRACE_LEAST or (s[0] == c"f" and s[1] == c"f"):
        return False
    for i in range(TRACE_LEAST):
        if i == 2 or i == 35 or i == 52:
            if s[i] != c"-":
                return False
        elif not is_hex(s[i]):
            return False
        elif s[i] != c"0":
            trace |= 2 < i < 35
            parent |= 35 < i < 52
    if n > TRACE_LEAST and ((s[0] == c"0" and s[1] == c"0") or s[TRACE_LEAST] != c"-"):
        return False
    return trace and parent


cdef inline uint64_t mixed(uint64_t z) noexcept:
    """Another number for each number (splitmix64)."""
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


@cython.final
cdef class RequestIds:
    """The ids of the requests of one application thread. *answers*: responses have them, too."""

    cdef uint64_t count, key
    cdef bint answers

    def __cinit__(self, bint answers):
        cdef bytes seed = os.urandom(16)
        memcpy(&self.count, PyBytes_AS_STRING(seed), 8)
        memcpy(&self.key, PyBytes_AS_STRING(seed) + 8, 8)
        self.answers = answers

    cdef str name(self, const fw_conn *c, dict environ):
        """The id of the request of this environ, which gets it."""
        cdef str found = None
        if c.origin & FW_ORIGIN_TRUSTED:
            found = self.told(environ)
        if found is None:
            found = self.make()
        PyDict_SetItem(environ, REQUEST_ID, found)
        return found

    cdef str told(self, dict environ):
        """What the proxy says, or None. Two fields are one value with a comma, which no id has."""
        cdef PyObject *value = PyDict_GetItem(environ, HTTP_X_REQUEST_ID)
        cdef str text
        if value != NULL:
            text = <str>value
            if is_latin1(text) and is_id(fw_str_bytes(text), PyUnicode_GET_LENGTH(text)):
                return text
        value = PyDict_GetItem(environ, HTTP_TRACEPARENT)
        if value != NULL:
            text = <str>value
            if is_latin1(text) and is_trace(fw_str_bytes(text), PyUnicode_GET_LENGTH(text)):
                return latin1(fw_str_bytes(text) + TRACE_AT, ID_OWN)
        return None

    cdef str make(self):
        cdef object text = PyUnicode_New(ID_OWN, 127)
        cdef char *to = <char *>PyUnicode_DATA(text)
        cdef const char *digits = PyBytes_AS_STRING(HEX)
        cdef uint64_t half
        cdef int i, j
        self.count += 1
        for i in range(2):
            half = mixed(self.count + (self.key if i else 0))
            for j in range(16):
                to[16 * i + j] = digits[half >> (60 - 4 * j) & 15]
        return <str>text
