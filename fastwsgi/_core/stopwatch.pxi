# stopwatch.pxi - where the time of a request goes: what its own thread sees of it.
#
# Taken only where the access log says it, the response does, or slow requests are told of. The core notes when a
# request was complete and when a thread took it (fw_timing), this the rest: the exact clock is read when the thread
# has the interpreter lock, and when it comes back from the application. The clock of its CPU time costs a system call.
# It is read when the last look is older than CPU_STEP, and after a call that took longer: so CPU times are right to
# within CPU_STEP, and a call that is shorter counts as CPU time.

cimport cython
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

cdef enum:
    CPU_STEP = 100      # us
    UNSENT_LEAST = 65536  # bytes of a response that may be handed over before all of it is sent


@cython.final
cdef class Stopwatch:
    """One for each application thread. *cpu*: CPU times are wanted; so they are where there are *causes*."""

    cdef Causes causes      # or None
    cdef bint takes_cpu
    cdef uint64_t since     # us: when this turn began
    cdef uint64_t cpu       # us: CPU time of the thread
    cdef uint64_t cpu_at    # us: when that was

    def __cinit__(self, Causes causes, bint cpu):
        self.causes = causes
        self.takes_cpu = cpu or causes is not None

    cdef void begin(self, Response r, fw_conn *c) noexcept:
        """A thread has taken a request."""
        cdef const fw_timing *t = fw_conn_timing(c)
        cdef uint64_t now = fw_deadline_us()
        r.began = now
        r.queue_us = now - min(now, t.complete)
        r.lock_us = t.door + now - min(now, t.pulled)
        r.cpu_us = 0
        r.collected_us = r.state.collected_us
        self.begin_turn(now)
        r.cpu_began = self.cpu

    cdef void begin_turn(self, uint64_t now) noexcept:
        self.since = now
        if self.takes_cpu and now - self.cpu_at > CPU_STEP:
            self.cpu = fw_doing_cpu()
            self.cpu_at = now

    cdef void resume(self, Response r) noexcept:
        """A suspended response goes on."""
        self.begin_turn(fw_deadline_us())
        r.cpu_began = self.cpu

    cdef void pause(self, Response r, fw_conn *c) noexcept:
        """The thread has come back from the application."""
        cdef uint64_t now = fw_deadline_us()
        cdef uint64_t us = now - self.since
        fw_conn_timing(c).handed_over = now
        if self.takes_cpu and us > CPU_STEP:
            self.cpu = fw_doing_cpu()
            self.cpu_at = now
            us = min(us, self.cpu - r.cpu_began)
        r.cpu_us += us

    cdef int end(self, Response r, fw_conn *c, fw_metrics *metrics) except -1:
        """The response is complete, or has broken off."""
        cdef fw_timing *t = fw_conn_timing(c)
        cdef uint64_t in_all = t.handed_over - r.began
        r.send_us = min(t.waited, in_all)
        r.application_us = in_all - r.send_us
        r.cpu_us = min(r.cpu_us, r.application_us)
        if self.causes is None:
            return 0
        if metrics != NULL:
            metrics.cpu_us += r.cpu_us
            metrics.off_cpu_us += r.application_us - r.cpu_us
            metrics.lock_wait_us += r.lock_us
        if fw_thread_queued(r.state.thread, c) >= UNSENT_LEAST and self.causes.least != 0:
            return self.end_unsent(r, c, t)
        if self.causes.is_slow(t.handed_over - t.complete, r.application_us, t.route):
            self.tell(self.facts(r, t, t.handed_over), r)
        return 0

    cdef int end_unsent(self, Response r, fw_conn *c, fw_timing *t) except -1:
        """A large response is queued: its client may be slow."""
        cdef fw_sent_note *note
        cdef tuple facts
        cdef int rc = send(r.state.thread, c)
        cdef uint64_t now = fw_deadline_us()
        if rc != FW_RETRY:
            r.send_us += now - t.handed_over
            if now - t.complete >= self.causes.least:
                self.tell(self.facts(r, t, now), r)
            return 0
        facts = (t.complete, t.handed_over, self.facts(r, t, t.handed_over))
        note = <fw_sent_note *>malloc(sizeof(fw_sent_note))
        if note != NULL:
            Py_INCREF(facts)
            note.user = <void *>facts
            t.note = note
        return 0

    cdef tuple facts(self, Response r, const fw_timing *t, uint64_t now):
        """What is told of a request."""
        cdef Causes w = self.causes
        cdef fw_board_call call
        if not fw_thread_call(r.state.thread, &call):
            call.number = 0
        times = (r.queue_us / 1e6, r.application_us / 1e6, (now - t.complete) / 1e6, r.send_us / 1e6, r.cpu_us / 1e6,
                 r.lock_us / 1e6, (r.state.collected_us - r.collected_us) / 1e6,
                 w.paused(t.complete, now, r.state.ident))
        return (<int>r.state.thread.index, call.number, r.subject(), r.request_id or "", times,
                w.seen(r.state.thread.index, call.number))

    cdef int tell(self, tuple facts, Response r) except -1:
        try:
            self.causes.tell(*facts)
        except Exception:  # a log that fails must not take a request with it
            pass
        except BaseException as interrupt:  # a signal handler's
            r.state.interrupt = interrupt
        return 0


cdef Stopwatch stopwatch_for(AccessLog access, Causes causes):
    """What somebody needs: the access log, or who asks for causes. Or None."""
    cdef bint cpu = access is not None and access.times_cpu
    if causes is None and (access is None or not access.times_parts):
        return None
    return Stopwatch(causes, cpu)
