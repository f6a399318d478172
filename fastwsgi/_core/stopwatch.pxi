# stopwatch.pxi - how long a request has waited for a thread, and has been in the application.
#
# Taken only where the access log says it, or slow requests are told of. The clock is read when a thread takes the
# request, and when it comes back from the application; a response that waits for its client is not in there.

cimport cython
from libc.stdint cimport uint64_t


@cython.final
cdef class Stopwatch:
    """One for each application thread. With *slow_us*, *tell* is called with a request that has taken as long:
    ``tell(thread, number of the call, request line, id, queue, application, total)``, times in seconds.
    """

    cdef uint64_t since    # us: when this turn began
    cdef uint64_t slow_us
    cdef object tell

    def __cinit__(self, uint64_t slow_us, object tell):
        self.slow_us = slow_us
        self.tell = tell

    cdef void begin(self, Response r, const fw_conn *c) noexcept:
        """A thread has taken a request."""
        self.since = r.began = fw_deadline_us()
        r.queue_us = self.since - min(self.since, c.queued_at)
        r.application_us = 0

    cdef void resume(self) noexcept:
        """A suspended response goes on."""
        self.since = fw_deadline_us()

    cdef void pause(self, Response r) noexcept:
        """The thread has come back from the application."""
        r.application_us += fw_deadline_us() - self.since

    cdef int end(self, Response r, const fw_conn *c) except -1:
        """The response is complete, or has broken off."""
        cdef uint64_t total
        cdef fw_board_call call
        if self.slow_us == 0:
            return 0
        total = fw_deadline_us() - c.queued_at
        if total < self.slow_us:
            return 0
        if not fw_thread_call(r.state.thread, &call):
            call.number = 0
        try:
            self.tell(r.state.thread.index, call.number, r.subject(), r.request_id or "", r.queue_us / 1e6,
                      r.application_us / 1e6, total / 1e6)
        except Exception:  # a log that fails must not take a request with it
            pass
        except BaseException as interrupt:  # a signal handler's
            r.state.interrupt = interrupt
        return 0


cdef Stopwatch stopwatch_for(AccessLog access, tuple slow):
    """What somebody needs: the access log, or who is told of requests that take as long as *slow* says. Or None."""
    if slow is not None:
        return Stopwatch(<uint64_t>(slow[0] * 1e6), slow[1])
    return Stopwatch(0, None) if access is not None and access.times_parts else None
