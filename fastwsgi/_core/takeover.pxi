# takeover.pxi - the socket of a request that asks for another protocol: gunicorn.socket and fastwsgi.socket.
#
# It is a socket.socket without a descriptor until it is used, so a request that asks for an upgrade and does not get
# one is like any other. Its first use takes the connection over. The rules of the descriptor are in
# csrc/io/takeover.h: each call is one of its holders while it lasts, because another thread may close the socket, or
# end the request, meanwhile.
#
# A Claim is offered (`response` is set), then taken (`taken` is set), then over; all that under the interpreter lock.
# Who still refers to the socket when its request ends may use it as long as the connection lingers.

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize

import errno
import socket

cdef object BaseSocket = socket.socket
cdef str SWITCHED = "101 Switching Protocols"


@cython.final
cdef class Claim:
    """What an application may claim with its ClientSocket, or has claimed."""

    cdef Response response   # whose request it is, until that ends
    cdef ThreadState state   # ... and its thread's
    cdef fw_takeover *taken  # the socket's hold, from the first use until it is closed
    cdef bytes early         # received behind the request, and not read yet
    cdef bint happened       # it has been taken at some time
    cdef object family

    cdef int take(self, object sock) except -1:
        """Takes the connection over for *sock*, which gets its descriptor."""
        cdef Response r = self.response
        cdef fw_takeover *taken = NULL
        cdef const char *data
        cdef size_t n = 0
        cdef bytes early
        if r is None:
            raise OSError(errno.EBADF, "the request of this socket is over")
        if r.runner != <unsigned long>pthread_self():
            r.refuse_call("first use of the client's socket:")
        end_if_child(r.state, None)
        r.send_earlier()
        data = fw_conn_early(r.conn, &n)
        early = PyBytes_FromStringAndSize(data, <Py_ssize_t>n)
        check(fw_thread_take_over(r.state.thread, r.conn, &taken))
        self.taken = taken
        self.early = early
        self.happened = r.taken = True
        r.state.leave()  # no timeout interrupts it
        BaseSocket.__init__(sock, -1, -1, -1, taken.fd)
        sock.settimeout(None)  # whatever socket.setdefaulttimeout says
        return 0

    cdef bint in_child(self) noexcept:
        """This process is a child of the worker's, with a copy of the descriptor and no business with its locks."""
        return fw_takeover_has_conn(self.taken) and not fw_process_is_own(self.state.process)

    cdef int leave(self, bint give_away) except -1:
        """The application has closed the socket, or gives its descriptor away."""
        cdef fw_takeover *taken = self.taken
        self.taken = NULL
        self.early = b""
        if fw_takeover_has_conn(taken):  # else the worker itself may be gone
            fw_thread_leave_socket(self.state.thread, taken, give_away)
        fw_takeover_let_go(taken)
        return 0

    cdef int end(self, Response r) except -1:
        """The request is over."""
        self.response = None
        if self.taken == NULL:
            return 0
        if r.environ is not None:  # kept for the access log
            r.environ.pop("gunicorn.socket", None)
            r.environ.pop("fastwsgi.socket", None)
        if Py_REFCNT(<PyObject *>r.socket) > 1:  # a thread of the application's has it, perhaps
            r.conn.leased = True
            return 0
        BaseSocket.detach(r.socket)
        self.early = b""
        fw_takeover_let_go(self.taken)
        self.taken = NULL
        return 0

    cdef bytes read_early(self, size_t n, bint keep):
        cdef bytes data = self.early[:n]
        if not keep:
            self.early = self.early[len(data):]
        return data


cdef fw_takeover *enter(object sock) except? NULL:
    """For the time of a call; NULL: the socket is closed, and the call is to find that out."""
    cdef Claim claim = sock._claim
    if claim.taken == NULL:
        if claim.happened:
            return NULL
        claim.take(sock)
    fw_takeover_hold(claim.taken)
    return claim.taken


cdef inline int depart(fw_takeover *held) noexcept:
    if held != NULL:
        fw_takeover_let_go(held)
    return 0


@cython.binding(True)
class ClientSocket(BaseSocket):
    """The client's own socket, blocking: ``environ["gunicorn.socket"]`` and ``environ["fastwsgi.socket"]``.

    The first call of one of its methods takes the connection over from the server: no response is sent, no timeout
    runs, and what the client has sent behind its request is read first. It belongs to the request: who still has it
    when that is over can say last words for 2 seconds. What :meth:`detach` returns is the application's.
    """

    __slots__ = ("_claim",)

    def __init__(self, claim):
        self._claim = claim
        self._io_refs = 0
        self._closed = False

    def __repr__(self):
        cdef Claim claim = self._claim
        if claim.taken == NULL:
            return f"<ClientSocket, {'closed' if claim.happened else 'not taken over'}>"
        return BaseSocket.__repr__(self)

    @property
    def taken_over(self):
        """Whether the connection has been taken over from the server."""
        return (<Claim>self._claim).happened

    @property
    def family(self):
        """The address family."""
        return (<Claim>self._claim).family

    @property
    def type(self):
        """The type of socket."""
        return socket.SOCK_STREAM

    def recv(self, bufsize, flags=0, /):
        """As socket.recv."""
        cdef fw_takeover *held = enter(self)
        cdef Claim claim = self._claim
        cdef bytes data
        try:
            if not claim.early or flags & socket.MSG_OOB or bufsize <= 0:
                return BaseSocket.recv(self, bufsize, flags)
            data = claim.read_early(bufsize, flags & socket.MSG_PEEK)
            if len(data) < bufsize and flags & socket.MSG_WAITALL and not flags & socket.MSG_PEEK:
                data += BaseSocket.recv(self, bufsize - len(data), flags)
            return data
        finally:
            depart(held)

    def recv_into(self, buffer, nbytes=0, flags=0):
        """As socket.recv_into."""
        cdef fw_takeover *held = enter(self)
        cdef bytes data
        try:
            if not (<Claim>self._claim).early or nbytes < 0:
                return BaseSocket.recv_into(self, buffer, nbytes, flags)
            with memoryview(buffer).cast("B") as view:
                if nbytes > len(view):
                    raise ValueError("buffer too small for requested bytes")
                data = self.recv(nbytes or len(view), flags)
                view[:len(data)] = data
            return len(data)
        finally:
            depart(held)

    def recvfrom(self, bufsize, flags=0, /):
        """As socket.recvfrom."""
        cdef fw_takeover *held = enter(self)
        try:
            if not (<Claim>self._claim).early:
                return BaseSocket.recvfrom(self, bufsize, flags)
            return self.recv(bufsize, flags), None
        finally:
            depart(held)

    def recvfrom_into(self, buffer, nbytes=0, flags=0):
        """As socket.recvfrom_into."""
        cdef fw_takeover *held = enter(self)
        try:
            if not (<Claim>self._claim).early:
                return BaseSocket.recvfrom_into(self, buffer, nbytes, flags)
            return self.recv_into(buffer, nbytes, flags), None
        finally:
            depart(held)

    def recvmsg(self, bufsize, ancbufsize=0, flags=0, /):
        """As socket.recvmsg."""
        cdef fw_takeover *held = enter(self)
        try:
            if not (<Claim>self._claim).early:
                return BaseSocket.recvmsg(self, bufsize, ancbufsize, flags)
            return self.recv(bufsize, flags), [], 0, None
        finally:
            depart(held)

    def recvmsg_into(self, buffers, ancbufsize=0, flags=0, /):
        """As socket.recvmsg_into."""
        cdef fw_takeover *held = enter(self)
        cdef bytes data
        try:
            if not (<Claim>self._claim).early:
                return BaseSocket.recvmsg_into(self, buffers, ancbufsize, flags)
            views = [memoryview(buffer).cast("B") for buffer in buffers]
            data = self.recv(sum(map(len, views)), flags)
            left = data
            for view in views:
                part, left = left[:len(view)], left[len(view):]
                view[:len(part)] = part
            return len(data), [], 0, None
        finally:
            depart(held)

    def dup(self):
        """A plain socket over a duplicate of the descriptor, which the application has to close."""
        cdef fw_takeover *held = enter(self)
        try:
            return socket.fromfd(BaseSocket.fileno(self), self.family, self.type)
        finally:
            depart(held)

    def detach(self):
        """The descriptor, which is the application's from now on: it outlives the request."""
        cdef fw_takeover *held = enter(self)
        cdef Claim claim = self._claim
        cdef int fd
        try:
            if claim.early:
                raise RuntimeError("bytes that came behind the request have not been read: recv() them first")
            fd = BaseSocket.detach(self)
            if claim.taken != NULL and not claim.in_child():
                claim.leave(True)
            claim.taken = NULL
            return fd
        finally:
            depart(held)

    def close(self):
        """As socket.close. It is a use as any other: the client gets no response."""
        cdef Claim claim = self._claim
        if claim.happened or claim.response is not None:
            depart(enter(self))
            BaseSocket.close(self)

    def _real_close(self, *unused):
        cdef Claim claim = self._claim
        if claim.taken == NULL:
            return
        if claim.in_child():
            BaseSocket._real_close(self)
            claim.taken = NULL
        else:
            BaseSocket.detach(self)  # the last holder closes it
            claim.leave(False)

    def __del__(self):
        if (<Claim>self._claim).taken != NULL:
            self._real_close()


cdef object guarded(str name):
    """The method of that name, as a holder of the descriptor."""
    method = getattr(BaseSocket, name)

    @cython.binding(True)
    def call(self, *args, **kwargs):
        cdef fw_takeover *held = enter(self)
        try:
            return method(self, *args, **kwargs)
        finally:
            depart(held)

    call.__name__ = name
    call.__qualname__ = f"ClientSocket.{name}"
    call.__doc__ = f"As socket.{name}."
    return call


for _name in ("fileno", "get_inheritable", "getblocking", "getpeername", "getsockname", "getsockopt", "gettimeout",
              "makefile", "send", "sendall", "sendfile", "sendmsg", "sendto", "set_inheritable", "setblocking",
              "setsockopt", "settimeout", "shutdown"):
    setattr(ClientSocket, _name, guarded(_name))
del _name


cdef int offer(Response r, fw_conn *c, dict environ) except -1:
    """Puts the socket of a request that asks for an upgrade into its environ."""
    cdef Claim claim = Claim.__new__(Claim)
    cdef int family = fw_conn_address(c).sa_family
    claim.response = r
    claim.state = r.state
    claim.early = b""
    claim.family = socket.AddressFamily(family) if family in (socket.AF_INET, socket.AF_INET6) else socket.AF_UNIX
    r.socket = environ["gunicorn.socket"] = environ["fastwsgi.socket"] = ClientSocket(claim)
    return 0


cdef int end_offer(Response r) except -1:
    """The request is over."""
    (<Claim>r.socket._claim).end(r)
    r.socket = None
    if r.taken:
        r.status = SWITCHED
        r.code = 101
        r.headers = None
        r.sent = 0
    return 0
