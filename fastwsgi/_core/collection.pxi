# collection.pxi - when a worker collects garbage between its requests (fastwsgi/worker/garbage.py).
#
# One object for all threads of a worker, under the interpreter lock. A thread looks at it after each answer, which
# costs a load while nothing is due.

cimport cython


cdef enum Due:
    DUE_NEVER
    DUE_WHEN_IDLE
    DUE_WHEN_FREE
    DUE_NOW


@cython.final
cdef class Collection:
    """What is to be done, and when; *serving*: the states of the threads that serve, by ident."""

    cdef dict serving
    cdef const fw_siblings *siblings
    cdef object collect  # called without arguments, or None
    cdef Due due

    def __cinit__(self, dict serving):
        self.serving = serving
        self.due = DUE_NEVER

    cdef bint may_run(self, const fw_conns *conns):
        """A thread has answered its request: is it time?"""
        if self.due == DUE_NOW:
            return True
        if self.siblings.page != NULL and not fw_siblings_one_is_free(self.siblings, fw_deadline_clock()):
            return False  # nobody would take what comes meanwhile: a sibling may be collecting, too
        if self.due == DUE_WHEN_FREE:
            return True
        if conns.nready != 0:
            return False
        for state in self.serving.values():
            if (<ThreadState>state).inside:
                return False
        return True

    cdef int run(self) except -1:
        self.due = DUE_NEVER
        if self.collect is not None:
            self.collect()
        return 0
