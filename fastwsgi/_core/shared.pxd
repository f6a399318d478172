# shared.pxd - what the responses of one application thread have in common.

cimport cython
from fastwsgi._core cimport native
from fastwsgi._core.csrc cimport fw_conns, fw_process, fw_thread

cdef extern from "<pthread.h>" nogil:
    ctypedef void *pthread_t
    pthread_t pthread_self()  # what the interpreter's idents of threads are


@cython.final
cdef class Shared:
    cdef fw_thread *thread
    cdef const fw_conns *conns
    cdef const fw_process *process
    cdef object errors    # wsgi.errors
    cdef object log       # log(level, message, exception or None)
    cdef object shown     # makes a request line one for the log, or None
    cdef bint keepalive   # connections may live on at all
    cdef bint sendfile
    cdef set warned       # what the log has heard of: hop-by-hop names, "/"; the same set in all threads
    cdef object interrupt  # what a signal handler raised inside the log, or None
    cdef unsigned long long app_errors
    cdef object timeout_error    # raised in the application when its time is up; None: never
    cdef unsigned long ident     # threading.get_ident() of the thread
    cdef bint inside             # its application may be interrupted
    cdef bint overdue            # ... and is to be: the exception is on its way

    cdef int end_child(self, object error) noexcept
    cdef bint is_timeout(self, object error)
    cdef int leave(self) except -1
    cdef int report(self, int level, str message, object error) except -1
    cdef int warn_hop(self, object name) except -1
    cdef int warn_outside(self, str request, str script_name) except -1


cdef object not_bytes(object what)


cdef inline int end_if_child(Shared shared, object error) noexcept:
    """Wherever code of the application comes back to the server: a child that it has forked ends here.

    *error* is what that code raised, or None. One load in the server's own process.
    """
    if shared.process.here == 0 and not native.process_is_own(shared.process):
        shared.end_child(error)
    return 0
