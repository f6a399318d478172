# causes.pxi - what is measured to tell why a request was slow, beside the clocks of its own thread (stopwatch.pxi).
#
# One object for all threads of a worker, only where somebody asks for causes. A thread of the core looks at the calls
# that last from the side (observe/doing.h). Garbage collections report themselves. Both cost a quick request nothing.

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from posix.unistd cimport usleep

import gc

cdef extern from "<pthread.h>" nogil:
    int pthread_create(pthread_t *, const void *, void *(*)(void *) noexcept nogil, void *)
    int pthread_join(pthread_t, void **)

cdef enum:
    PAUSES = 64         # garbage collections that are remembered
    LEAST_PAUSE = 1000  # us: a shorter one makes nobody slow
    PROBES = 200        # looks at a thread that wants the interpreter lock, until it is seen to wait
    PROBE_US = 100      # between two of them

cdef struct Pause:
    uint64_t began
    uint64_t ended
    unsigned long thread


cdef void *want_lock(void *tid) noexcept nogil:
    (<uint32_t *>tid)[0] = fw_doing_tid()
    with gil:
        pass
    return NULL


cdef uint64_t find_lock() noexcept:
    """Where threads wait for the interpreter lock; 0: not known. A thread is made to wait for it."""
    cdef pthread_t thread
    cdef uint32_t tid = 0
    cdef uint64_t found = 0, here
    cdef int i, same = 0
    if pthread_create(&thread, NULL, want_lock, &tid) != 0:
        return 0
    for i in range(PROBES):
        usleep(PROBE_US)  # with the lock
        here = fw_doing_waits_at(tid) if tid != 0 else 0
        same = same + 1 if here != 0 and here == found else 0
        found = here
        if same == 2:
            break
    with nogil:
        pthread_join(thread, NULL)
    return found if same == 2 else 0


@cython.final
cdef class Causes:
    """A request that takes *least* seconds is slow; 0: by the limits of routes, see Worker.limit_slow. *tell* is
    called with each: ``tell(thread, number of the call, request line, id, times, seen)``. *times* are seconds: in
    the queue, in the application, in all, waiting for its client, with a processor, waiting for the interpreter
    lock at the door, in garbage collections of its own thread and of others. *seen* are the seconds in which it was
    seen to do what (enum fw_doing), those in which it kept the interpreter lock, and the call that kept it from it:
    (method, target, client), or None.
    """

    cdef uint64_t least
    cdef object tell
    cdef fw_sampler *sampler      # while the worker runs
    cdef uint64_t limits[101]     # us, by route; the first is of requests without one
    cdef Pause pauses[PAUSES]     # the last ones
    cdef unsigned npauses
    cdef uint64_t collecting      # us: when the collection began that runs
    cdef uint32_t witness, turns  # the system's number of the witness, and how often it has had the interpreter lock
    cdef object callback

    def __cinit__(self, double least, object tell):
        cdef int i
        self.least = <uint64_t>(least * 1e6)
        self.tell = tell
        for i in range(101):
            self.limits[i] = FW_NO_LIMIT
        self.callback = self.on_collection

    def on_collection(self, phase, info, /):
        """For ``gc.callbacks``."""
        cdef uint64_t now = fw_deadline_us()
        cdef Pause *p
        cdef unsigned long ident
        if phase == "start":
            self.collecting = now
            return
        if self.collecting == 0:
            return
        ident = <unsigned long>pthread_self()
        state = SERVING.get(ident)
        if state is not None:
            (<ThreadState>state).collected_us += now - self.collecting
        if now - self.collecting >= LEAST_PAUSE:
            p = &self.pauses[self.npauses % PAUSES]
            p.began, p.ended, p.thread = self.collecting, now, ident
            self.npauses += 1

    cdef int start(self, const fw_board *board) except -1:
        check(fw_sampler_open(&self.sampler, board))
        fw_sampler_know_lock(self.sampler, find_lock())
        fw_sampler_witness(self.sampler, self.witness, self.turns)
        gc.callbacks.append(self.callback)
        return 0

    cdef int stop(self) except -1:
        cdef fw_sampler *sampler = self.sampler
        self.sampler = NULL  # first: others look there with the lock
        if self.callback in gc.callbacks:
            gc.callbacks.remove(self.callback)
        with nogil:
            fw_sampler_close(sampler)
        return 0

    cdef bint is_slow(self, uint64_t total, uint64_t application, uint64_t route) noexcept:
        if self.least != 0:
            return total >= self.least
        return application > self.limits[route]

    cdef double paused(self, uint64_t since, uint64_t until, unsigned long thread) noexcept:
        """Seconds in which others than that thread have collected garbage meanwhile."""
        cdef uint64_t us = 0
        cdef const Pause *p
        cdef unsigned i
        for i in range(min(self.npauses, <unsigned>PAUSES)):
            p = &self.pauses[i]
            if p.thread != thread and p.ended > since and p.began < until:
                us += min(p.ended, until) - max(p.began, since)
        return us / 1e6

    cdef tuple seen(self, unsigned thread, uint32_t number):
        cdef fw_seen found
        cdef int i
        if self.sampler == NULL or number == 0:
            return (*(0.0,) * (<int>FW_DOINGS + 1), None)
        found = fw_sampler_seen(self.sampler, thread, number)
        return (*[found.us[i] / 1e6 for i in range(FW_DOINGS)], found.kept / 1e6,
                keeper_of(&found.keeper))


cdef tuple keeper_of(const fw_board_call *call):
    if call.number == 0:
        return None
    return ((<bytes>call.method).decode("latin-1"), (<bytes>call.target).decode("latin-1"),
            (<bytes>call.client).decode("latin-1"))


cdef bint slow_is_told(Causes causes):
    return causes is not None and causes.tell is not None


cdef int tell_of_sent(fw_leader *leader, Causes causes) except -1:
    """Responses have been sent that were not when their requests ended: they are told of now, if they are slow."""
    cdef fw_sent_note *note = fw_leader_sent_notes(leader)
    cdef fw_sent_note *after
    cdef object facts
    while note != NULL:
        after = note.next
        facts = <object>note.user
        Py_DECREF(facts)
        try:
            if causes is not None:
                tell_later(causes, facts, note.sent)
        except Exception:  # a log that fails
            pass
        finally:
            free(note)
            note = after
    return 0


cdef int tell_later(Causes causes, tuple facts, uint64_t sent) except -1:
    """*facts* are when its request was complete, when it was handed over, and what is told."""
    cdef uint64_t complete = facts[0], handed_over = facts[1]
    cdef tuple told = facts[2]
    cdef list times = list(told[4])
    if sent - complete < causes.least:
        return 0
    times[2] = (sent - complete) / 1e6
    times[3] += (sent - min(sent, handed_over)) / 1e6
    causes.tell(*told[:4], tuple(times), told[5])
    return 0
