# hints.pxi - wsgi.early_hints: a 103 response ahead of the response (RFC 8297), under gunicorn's key.
#
# One object for all requests, because environs are made from others and shared between threads: a call finds its
# response by the thread that makes it.

cimport cython


@cython.final
cdef class EarlyHints:
    """``wsgi.early_hints``: called with a list of (name, value) pairs, ``[("Link", "</a.css>; rel=preload")]``.

    Sends them at once with status 103, as often as it is called. It does nothing for an HTTP/1.0 client, which would
    take the 103 for the response (RFC 9110 15.2), nor once the head of the response is on its way.
    """

    cdef dict running  # ThreadState of each thread that serves, by its ident

    def __cinit__(self, dict running):
        self.running = running

    def __call__(self, headers, /):
        cdef ThreadState state = self.running.get(<unsigned long>pthread_self())
        if state is None:
            raise RuntimeError("wsgi.early_hints called in another thread than the one that runs the request")
        if state.response == NULL:
            raise RuntimeError("wsgi.early_hints called outside of a request")
        (<Response>state.response).hint(headers)
