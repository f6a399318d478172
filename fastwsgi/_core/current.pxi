# current.pxi - which request a thread is at, for records of the log.

from libc.stdint cimport uint32_t

cdef enum:
    LONGEST_PATH = 2048  # bytes of a path that a record may have

cdef dict SERVING = {}  # the state of each thread that serves, by its ident: of all workers of this process


def current_request():
    """The request that the calling thread is at: its id (or ""), method and path as they came, the numbers of worker
    and thread. None if it is at none."""
    cdef ThreadState state = SERVING.get(<unsigned long>pthread_self())
    cdef Response r
    cdef const fw_request *asked
    if state is None or state.response == NULL:
        return None
    r = <Response>state.response
    if r.conn is NULL or r.conn.req is NULL:
        return None
    asked = r.conn.req
    return (r.request_id or "", text_at(asked, asked.method),
            latin1(fw_request_at(asked, asked.path), min(asked.path.len, <uint32_t>LONGEST_PATH)) or "/",
            state.number, state.thread.index)
