# gone.pxi - fastwsgi.client_gone: whether anybody still waits for the answer.
#
# One object for all requests, as wsgi.early_hints is. The first question of a request asks the system and lets the
# poller watch the connection, which a new one is not before; any other reads what the poller has told since.

cimport cython


@cython.final
cdef class ClientWatch:
    """``fastwsgi.client_gone``: returns True when the client of the request has gone.

    It has gone when it has reset the connection. With the setting ``client_gone`` at ``drop`` it has gone, too, when it
    has closed its side and its request has been here for longer than ``queue_target``.
    """

    cdef dict running  # ThreadState of each thread that serves, by its ident

    def __cinit__(self, dict running):
        self.running = running

    def __call__(self):
        cdef ThreadState state = self.running.get(<unsigned long>pthread_self())
        if state is None:
            raise RuntimeError("fastwsgi.client_gone called in another thread than the one that runs the request")
        if state.response == NULL:
            raise RuntimeError("fastwsgi.client_gone called outside of a request")
        return (<Response>state.response).client_gone()
