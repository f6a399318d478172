# shared.pyx - what the responses of one application thread have in common: the loop, the log, a few settings.

from cpython.object cimport PyObject

import logging

cdef extern from "Python.h":
    int PyThreadState_SetAsyncExc(unsigned long ident, PyObject *error)

cdef int WARNING = logging.WARNING


cdef class Shared:
    """Made by the worker for each thread; borrowed pointers are valid as long as the worker lives."""

    cdef bint is_timeout(self, object error):
        return self.timeout_error is not None and isinstance(error, self.timeout_error)

    cdef int leave(self) except -1:
        """The application is not to be interrupted any more; what is on its way to it is called off."""
        self.inside = False
        if self.overdue:
            self.overdue = False
            PyThreadState_SetAsyncExc(self.ident, NULL)
        return 0

    cdef int report(self, int level, str message, object error) except -1:
        try:
            self.log(level, message, error)
        except Exception:  # a log that fails must not take a request with it
            pass
        except BaseException as interrupt:  # a signal handler's; raised when nothing is half done any more
            if not self.is_timeout(interrupt):  # that one was for the application, and is raised there again
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

    cdef int warn_outside(self, str request, str script_name) except -1:
        """Says of the first such request only that it was not for the application: who sends them chooses how many."""
        if "/" in self.warned:  # which is no name of a header
            return 0
        self.warned.add("/")
        return self.report(WARNING, f"{request} is outside of script_name {script_name} and was answered 404; further"
                           " such requests are not logged here", None)
