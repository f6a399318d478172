# failure.pxi - what the C core returns becomes an exception: the one place that does so.

from libc.errno cimport ENOMEM

import os


cdef int check(ssize_t rc, str what=None) except -1:
    """Raises OSError for a negative errno, with the system's words or *what*."""
    if rc < 0:
        raise OSError(<int>-rc, what or os.strerror(<int>-rc))
    return 0


cdef int check_memory(int rc) except -1:
    """Raises MemoryError for anything but FW_OK, of what can only fail for want of memory."""
    if rc != FW_OK:
        raise MemoryError("no memory for the response")
    return 0
