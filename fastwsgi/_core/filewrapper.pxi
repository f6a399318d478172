# filewrapper.pxi - wsgi.file_wrapper: a plain file is sent by the kernel, anything else is read block by block.

from libc.stdint cimport int64_t

import io
import os
import stat
import sys

cdef tuple BUFFERED_FILES = (io.BufferedReader, io.BufferedRandom)


cdef object plain_file(object filelike):
    """The file itself if its descriptor holds the very bytes that read() would give, else None."""
    tempfile = sys.modules.get("tempfile")  # without which there are no such files
    if tempfile is not None and isinstance(filelike, tempfile._TemporaryFileWrapper):
        filelike = filelike.file
    raw = filelike.raw if type(filelike) in BUFFERED_FILES else filelike
    return filelike if type(raw) is io.FileIO else None


cdef class FileWrapper:
    """``wsgi.file_wrapper`` (PEP 3333 "Optional Platform-Specific File Handling").

    Yields *block_size* bytes at a time from ``filelike.read``; returned as it is for a plain file, the server sends it
    from its current position with sendfile(2) instead.
    """

    cdef readonly object filelike
    cdef readonly object block_size

    def __init__(self, filelike, block_size=8192):
        self.filelike = filelike
        self.block_size = block_size

    def __iter__(self):
        return self

    def __next__(self):
        block = self.filelike.read(self.block_size)
        if not block:
            raise StopIteration
        return block

    def close(self):
        """Close the file, if it can be closed."""
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()

    cdef bint locate(self, int *fd, int64_t *position, int64_t *total) except -1:
        """Where the file's bytes are: descriptor, current position, bytes from there to the end. False if unknown."""
        cdef object plain
        try:
            plain = plain_file(self.filelike)
            if plain is None:
                return False
            fd[0] = plain.fileno()
            position[0] = plain.tell()
            status = os.fstat(fd[0])
        except (OSError, ValueError):
            return False
        total[0] = max(0, status.st_size - position[0])
        return stat.S_ISREG(status.st_mode)
