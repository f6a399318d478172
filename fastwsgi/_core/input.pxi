# input.pxi - wsgi.input (PEP 3333 "Input and Error Streams").
#
# The body is complete before the application runs, so no call here waits for the client, and none reads past the end:
# after it every read returns b"". The body's memory belongs to the request; when that ends the worker detaches the
# stream, and an application that kept it reads b"".
#
# A body in a file is read without the interpreter lock, because the disk may be slow. Meanwhile other threads may read
# from the stream, and the request may end. So a reader notes under the lock what it needs and never touches the body
# without it, and a request that ends while somebody reads leaves the file to the last reader. Small reads and lines are
# served from a window that is read ahead: the lock is dropped once for all of it.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memchr

from posix.unistd cimport close

cdef size_t NO_LIMIT = <size_t>-1
cdef size_t WINDOW = 65536  # bytes of a file that are read ahead


cdef size_t limit_of(object size) except? 0:
    """None and negative numbers mean all there is, as in io.RawIOBase.read."""
    cdef Py_ssize_t n
    if size is None:
        return NO_LIMIT
    n = size
    return NO_LIMIT if n < 0 else <size_t>n


cdef str UNREADABLE = "the request body could not be read back"


@cython.freelist(8)
cdef class Input:
    """The request body as a binary stream: read, readline, readlines, iteration."""

    cdef fw_body *body     # borrowed from the request; NULL before and after it, and for requests without a body
    cdef bytes window      # of a body in a file: bytes that have been read ahead, or None
    cdef uint64_t start    # ... and where in it they begin
    cdef unsigned readers  # calls that wait for the disk, without the interpreter lock
    cdef int left          # the file plus one, if the request has ended while there were readers: the last closes it

    cdef bytes take(self, size_t n):
        cdef unsigned long long left
        if self.body == NULL:
            return b""
        left = fw_body_left(self.body)
        if n > left:
            n = <size_t>left
        if n == 0:
            return b""
        if self.body.fd >= 0:
            return self.take_stored(n)
        data = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>n)
        fw_body_read(self.body, PyBytes_AS_STRING(data), n)
        return data

    cdef bytes take_line(self, size_t limit):
        if self.body == NULL:
            return b""
        if self.body.fd >= 0:
            return self.take_stored_line(limit)
        return self.take(<size_t>fw_body_line(self.body, limit))

    # ---- a body in a file ----

    cdef int enter(self):
        """A reader is about to drop the lock. The file, which stays open until it leaves."""
        self.readers += 1
        return self.body.fd

    cdef void leave(self):
        cdef int fd = self.left - 1
        self.readers -= 1
        if self.readers == 0 and fd >= 0:
            self.left = 0
            with nogil:
                close(fd)

    cdef void detach(self):
        """The request has ended."""
        if self.readers != 0 and self.body != NULL:
            self.left = self.body.fd + 1
            self.body.fd = -1
        self.body = NULL
        self.window = None

    cdef bytes read_at(self, size_t n, uint64_t offset):
        """*n* bytes of the file, from *offset* on; drops the lock."""
        cdef bytes data = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>n)
        cdef char *to = PyBytes_AS_STRING(data)
        cdef int fd = self.enter()
        cdef ssize_t rc
        with nogil:
            rc = fw_body_read_file(fd, to, n, offset)
        self.leave()
        check(rc, UNREADABLE)
        return data

    cdef bytes window_part(self, uint64_t offset, size_t n):
        """*n* bytes from *offset* on if the window holds them, else None."""
        cdef uint64_t at
        if self.window is None or offset < self.start:
            return None
        at = offset - self.start
        if at + n > <uint64_t>len(self.window):
            return None
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.window) + at, <Py_ssize_t>n)

    cdef bytes take_stored(self, size_t n):
        """As many bytes as there are of the next *n*."""
        cdef uint64_t offset, left
        cdef bytes data
        while self.body != NULL:
            left = fw_body_left(self.body)
            if n > left:
                n = <size_t>left
            offset = self.body.pos
            data = self.window_part(offset, n)
            if data is not None:
                self.body.pos += n
                return data
            if n >= WINDOW:
                self.body.pos += n  # first: another thread reads what comes behind
                try:
                    return self.read_at(n, offset)
                except OSError:
                    if self.body != NULL and self.body.pos == offset + n:
                        self.body.pos = offset
                    raise
            data = self.read_at(<size_t>min(WINDOW, left), offset)
            if self.body != NULL:
                self.window = data
                self.start = offset
        return b""

    cdef bytes take_stored_line(self, size_t limit):
        cdef uint64_t offset, left, at
        cdef size_t n
        cdef ssize_t found
        cdef int fd
        cdef const char *s
        cdef const char *lf
        cdef bytes data
        while self.body != NULL:
            left = fw_body_left(self.body)
            offset = self.body.pos
            if limit > left:
                limit = <size_t>left
            if self.window is not None and self.start <= offset < self.start + <uint64_t>len(self.window):
                at = offset - self.start
                n = <size_t>min(<uint64_t>len(self.window) - at, <uint64_t>limit)
                s = PyBytes_AS_STRING(self.window) + at
                lf = <const char *>memchr(s, 10, n)
                if lf != NULL:
                    n = <size_t>(lf - s) + 1
                if lf != NULL or n == limit:
                    self.body.pos += n
                    return PyBytes_FromStringAndSize(s, <Py_ssize_t>n)
                if at == 0:  # longer than the window
                    fd = self.enter()
                    with nogil:
                        found = fw_body_line_file(fd, offset, limit)
                    self.leave()
                    check(found, UNREADABLE)
                    if self.body != NULL and self.body.pos == offset:
                        return self.take_stored(<size_t>found)
                    continue
            if limit == 0:
                return b""
            data = self.read_at(<size_t>min(WINDOW, left), offset)
            if self.body != NULL:
                self.window = data
                self.start = offset
        return b""

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
