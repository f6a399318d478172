# input.pyx - wsgi.input (PEP 3333 "Input and Error Streams").
#
# The body is complete before the application runs, so no call here ever blocks, and none reads past the end: after it
# every read returns b"". The body's memory belongs to the request; when that ends the worker detaches the stream, and
# an application that kept it reads b"".

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stddef cimport size_t

from fastwsgi._core cimport native
from fastwsgi._core.csrc cimport fw_body, fw_body_left

cdef size_t NO_LIMIT = <size_t>-1


cdef size_t limit_of(object size) except? 0:
    """None and negative numbers mean all there is, as in io.RawIOBase.read."""
    cdef Py_ssize_t n
    if size is None:
        return NO_LIMIT
    n = size
    return NO_LIMIT if n < 0 else <size_t>n


cdef object failed(ssize_t rc):
    raise OSError(<int>-rc, "the request body could not be read back")


@cython.freelist(8)
cdef class Input:
    """The request body as a binary stream: read, readline, readlines, iteration."""

    cdef bytes take(self, size_t n):
        cdef unsigned long long left
        cdef ssize_t rc
        if self.body == NULL:
            return b""
        left = fw_body_left(self.body)
        if n > left:
            n = <size_t>left
        if n == 0:
            return b""
        data = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>n)
        rc = native.body_read(self.body, PyBytes_AS_STRING(data), n)
        if rc < 0:
            failed(rc)
        return data

    cdef bytes take_line(self, size_t limit):
        cdef ssize_t n
        if self.body == NULL:
            return b""
        n = native.body_line(self.body, limit)
        if n < 0:
            failed(n)
        return self.take(<size_t>n)

    def read(self, size=-1, /):
        """Up to *size* bytes; everything that is left for -1 or None."""
        return self.take(limit_of(size))

    def readline(self, size=-1, /):
        """The next line with its LF, at most *size* bytes of it."""
        return self.take_line(limit_of(size))

    def readlines(self, hint=-1, /):
        """The remaining lines; after at least *hint* bytes no further line is begun."""
        cdef size_t limit = limit_of(hint)
        cdef size_t total = 0
        cdef list lines = []
        cdef bytes line
        if limit == 0:
            limit = NO_LIMIT
        while total < limit:
            line = self.take_line(NO_LIMIT)
            if not line:
                break
            total += <size_t>len(line)
            lines.append(line)
        return lines

    def __iter__(self):
        return self

    def __next__(self):
        cdef bytes line = self.take_line(NO_LIMIT)
        if not line:
            raise StopIteration
        return line


cdef Input input_over(fw_body *body):
    cdef Input stream = Input.__new__(Input)
    stream.body = body
    return stream
