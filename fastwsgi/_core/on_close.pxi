# on_close.pxi - a response and what is to be called at its end, for what stands around an application.


cimport cython


@cython.final
cdef class OnClose:
    """What an application returned, to be treated as that, with another ``close``.

    A list stays one, with its length known, and a file is sent by the kernel: no iterable around them could do that.
    ``close`` is called once, when the response is over, in the place of the result's own.
    """

    cdef readonly object result
    cdef readonly object close

    def __init__(self, result, close):
        self.result = result
        self.close = close
