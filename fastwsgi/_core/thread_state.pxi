# thread_state.pxi - what the responses of one application thread have in common: the loop, the log, a few settings.
#
# And the end of a child that the application has forked: it comes back into frames of the server, must not answer there
# (the connection, the loop and the logs are its parent's), and ends as an interpreter would.

cimport cython
from libc.stdint cimport uint64_t
from cpython.object cimport PyObject
from posix.unistd cimport _exit

import logging
import os
import signal
import sys
import threading
import traceback

cdef extern from "<pthread.h>" nogil:
    ctypedef void *pthread_t
    pthread_t pthread_self()  # what the interpreter's idents of threads are

cdef extern from "Python.h":
    int PyThreadState_SetAsyncExc(unsigned long ident, PyObject *error)

cdef enum:
    MOST_SECONDS = 31_536_000  # a year

cdef int ERROR = logging.ERROR
cdef int WARNING = logging.WARNING

cdef bint told = False  # this process is a child, and the interpreter knows: its threads are those that it has started


def _tell_child():
    global told
    told = True


os.register_at_fork(after_in_child=_tell_child)


cdef int code_of(object error) except -1:
    """What the interpreter makes of the exception that ends a program: its exit code, and something on stderr."""
    cdef object code
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        code = error.code
        if code is None:
            return 0
        if isinstance(code, int):
            return <int>(code & 0xFF) if -2 ** 63 <= code < 2 ** 63 else 0xFF
        sys.stderr.write(f"{code}\n")
        return 1
    sys.excepthook(type(error), error, error.__traceback__)
    if isinstance(error, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        flush((sys.stdout, sys.stderr))
        os.kill(os.getpid(), signal.SIGINT)
    return 1


cdef int flush(tuple streams) except -1:
    for stream in streams:
        try:
            stream.flush()
        except Exception:  # closed, full, or none
            pass
    return 0


cdef int wait_for_threads() except -1:
    """Waits for what threads the child has started, as the interpreter does at its end.

    Not if a C extension has forked: then the interpreter takes threads of the parent for those of this process. Nor if
    threads are greenlets, among which are those of the parent.
    """
    if told and threading._shutdown.__module__ == "threading":
        threading._shutdown()
    return 0


cdef object not_bytes(object what):
    """The exception for a block that is none."""
    return TypeError(f"the application must yield bytes, not {type(what).__name__} (PEP 3333, \"Handling the"
                     " start_response() callable\" and \"Unicode Issues\")")


@cython.final
cdef class ThreadState:
    """Made by the worker for each thread; borrowed pointers are valid as long as the worker lives."""

    cdef fw_thread *thread
    cdef const fw_conns *conns
    cdef const fw_process *process
    cdef object errors    # wsgi.errors
    cdef object log       # log(level, message, exception or None)
    cdef object shown     # makes a request line one for the log, or None
    cdef bint keepalive   # connections may live on at all
    cdef bint sendfile
    cdef uint64_t collected_us   # us in which this thread has collected garbage, where causes are asked for
    cdef bint answers_times      # responses have Server-Timing
    cdef Internal internal  # folders whose files the application may name, or None
    cdef set warned       # what the log has heard of: hop-by-hop names, "/"; the same set in all threads
    cdef object interrupt  # what a signal handler raised inside the log, or None
    cdef unsigned long long app_errors
    cdef object timeout_error    # raised in the application when its time is up; None: never
    cdef object gone_error       # ... when its client has gone; None: never
    cdef unsigned long ident     # threading.get_ident() of the thread
    cdef dict running            # every thread that serves, by its ident; the same in all threads
    cdef unsigned number         # of the worker
    cdef PyObject *response      # the Response that runs on the thread, borrowed; NULL between two requests
    cdef bint inside             # its application may be interrupted
    cdef object overdue          # ... and is to be, with this exception, which is on its way; or None

    cdef int end_child(self, object error) noexcept:
        """Ends this process, which is a child of the worker's, with the code that the interpreter would have given.

        Nothing of the server is touched: no connection, no lock, no log but wsgi.errors.
        """
        cdef int code = 1
        try:
            try:
                code = code_of(error)
            finally:
                if error is not None:  # what only the frames hold is given back, open files for instance
                    traceback.clear_frames(error.__traceback__)
                wait_for_threads()
        except BaseException:
            pass
        try:
            flush((sys.stdout, sys.stderr, self.errors))
        except BaseException:
            pass
        _exit(code)
        return 0

    cdef int limit(self, double seconds) except -1:
        """The request may be in the application for so long from now on; 0: as long as it likes.

        An exception that is on its way for the limit before is called off.
        """
        fw_thread_limit(self.thread, <uint64_t>(seconds * 1e6) + 1 if seconds else FW_NO_LIMIT)
        return self.call_off()

    cdef int interrupt_with(self, object error, bint by_signal) except -1:
        """Raises *error*, a class, in the application as soon as it runs Python code; or a signal handler does."""
        self.overdue = error
        if not by_signal:
            PyThreadState_SetAsyncExc(self.ident, <PyObject *>error)
        return 0

    cdef int call_off(self) except -1:
        if self.overdue is not None:
            self.overdue = None
            PyThreadState_SetAsyncExc(self.ident, NULL)
        return 0

    cdef bint is_cancelled(self, object error):
        return self.gone_error is not None and isinstance(error, self.gone_error)

    cdef bint is_timeout(self, object error):
        return self.timeout_error is not None and isinstance(error, self.timeout_error)

    cdef int leave(self) except -1:
        """The application is not to be interrupted any more; what is on its way to it is called off."""
        self.inside = False
        return self.call_off()

    cdef int report(self, int level, str message, object error) except -1:
        try:
            self.log(level, message, error)
        except Exception:  # a log that fails must not take a request with it
            pass
        except BaseException as interrupt:  # a signal handler's; raised when nothing is half done any more
            end_if_child(self, interrupt)
            if not self.is_timeout(interrupt) and not self.is_cancelled(interrupt):  # the application's
                self.interrupt = interrupt
        end_if_child(self, None)
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


cdef inline int end_if_child(ThreadState state, object error) noexcept:
    """Wherever code of the application comes back to the server: a child that it has forked ends here.

    *error* is what that code raised, or None. One load in the server's own process.
    """
    if state.process.here == 0 and not fw_process_is_own(state.process):
        state.end_child(error)
    return 0
