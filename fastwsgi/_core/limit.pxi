# limit.pxi - fastwsgi.timeout: a request sets or lengthens its own limit of time.
#
# One object for all requests, as wsgi.early_hints is. The limit is shown on the scoreboard (observe/scoreboard.h), so
# that whoever watches the calls of this worker judges by it, its master too.

cimport cython


@cython.final
cdef class OwnLimit:
    """``fastwsgi.timeout``: called with the seconds that the request may be in the application from now on.

    It takes the place of what the settings ``timeout`` and ``timeout_path`` say; 0 is no limit. Each call counts anew,
    so a request that calls it as it makes progress is interrupted when it makes none. A response that waits for its
    client has the time again when it goes on.
    """

    cdef dict running  # ThreadState of each thread that serves, by its ident
    cdef object told   # called with the seconds when a limit has been set, or None

    def __cinit__(self, dict running):
        self.running = running

    def __call__(self, seconds, /):
        cdef ThreadState state = self.running.get(<unsigned long>pthread_self())
        cdef double wanted = seconds
        if not 0 <= wanted <= MOST_SECONDS:
            raise ValueError(f"fastwsgi.timeout takes seconds, from 0 to {MOST_SECONDS}, not {seconds!r}")
        if state is None:
            raise RuntimeError("fastwsgi.timeout called in another thread than the one that runs the request")
        if state.response == NULL:
            raise RuntimeError("fastwsgi.timeout called outside of a request")
        (<Response>state.response).limit = wanted
        state.limit(wanted)
        if self.told is not None:
            self.told(wanted)
