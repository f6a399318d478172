# shared.pyx - what the responses of one application thread have in common: the loop, the log, a few settings.

import logging

cdef int WARNING = logging.WARNING


cdef class Shared:
    """Made by the worker for each thread; borrowed pointers are valid as long as the worker lives."""

    cdef int report(self, int level, str message, object error) except -1:
        try:
            self.log(level, message, error)
        except Exception:  # a log that fails must not take a request with it
            pass
        except BaseException as interrupt:  # a signal handler's; raised when nothing is half done any more
            self.interrupt = interrupt
        return 0

    cdef int warn_hop(self, object name) except -1:
        """Says once per name (a str, or of a subclass) that a hop-by-hop header of the application is dropped."""
        cdef object lower = str.lower(name)
        if lower in self.warned:
            return 0
        self.warned.add(lower)
        return self.report(WARNING, f"The application set the hop-by-hop header {name}, which is the server's to set"
                           " (PEP 3333): it is dropped", None)
