# environ.pxi - a parsed request becomes the environ dict of PEP 3333.
#
# The base dict of the listener is copied, then the request's own values are set: keys are interned and shared, values
# are new str objects holding the bytes as Latin-1 (PEP 3333 "A Note On String Types"). Runs with the interpreter lock;
# the spans it reads are lent for the duration of the request.
#
# It has more than 500 lines because an environ is made in three ways, anew, from the last one and from that of a memo,
# and all of them set the same keys.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Copy, PyDict_GetItem, PyDict_SetItem, PyDict_Update
from cpython.list cimport PyList_GET_ITEM
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy

import sys
import time

cdef extern from "Python.h":
    object PyUnicode_DecodeLatin1(const char *s, Py_ssize_t n, const char *errors)
    object PyUnicode_New(Py_ssize_t n, unsigned int maxchar)
    void *PyUnicode_DATA(object s)
    Py_ssize_t PyUnicode_GET_LENGTH(object s)

# The keys that are set for every request, interned once.
cdef str METHOD = "REQUEST_METHOD"
cdef str PROTOCOL = "SERVER_PROTOCOL"
cdef str PATH_INFO = "PATH_INFO"
cdef str QUERY_STRING = "QUERY_STRING"
cdef str RAW_URI = "RAW_URI"
cdef str REQUEST_URI = "REQUEST_URI"
cdef str REMOTE_ADDR = "REMOTE_ADDR"
cdef str REMOTE_PORT = "REMOTE_PORT"
cdef str CONTENT_LENGTH = "CONTENT_LENGTH"
cdef str HTTP_HOST = "HTTP_HOST"
cdef str INPUT = "wsgi.input"
cdef str SCRIPT_NAME = "SCRIPT_NAME"
cdef str HTTP_1_0 = "HTTP/1.0"
cdef str HTTP_1_1 = "HTTP/1.1"
cdef str URL_SCHEME = "wsgi.url_scheme"
cdef str SERVER_PORT = "SERVER_PORT"
cdef str HTTP = "http"
cdef str HTTPS = "https"
cdef str EMPTY = ""
cdef str ASTERISK = "*"
cdef str SLASH = "/"
cdef str OUTSIDE = "outside of script_name"  # this very object as PATH_INFO: the request is not for the application

cdef enum:
    SIMILAR_FIELDS = 48  # heads with more fields are built anew each time
    UNQUOTE_ON_STACK = 1024
    LEARN_AFTER = 4  # misfits in a row until another request becomes the one to compare with


cdef inline str latin1(const char *s, size_t n):
    return <str>PyUnicode_DecodeLatin1(s, <Py_ssize_t>n, NULL)


cdef inline str text_at(const fw_request *r, fw_span span):
    return latin1(fw_request_at(r, span), span.len)


cdef str unquoted(const char *s, size_t n):
    """The percent-decoded path; most paths have nothing to decode."""
    cdef char stack[UNQUOTE_ON_STACK]
    cdef char *buffer = stack
    if n == 0 or memchr(s, c"%", n) == NULL:
        return latin1(s, n)
    if n > UNQUOTE_ON_STACK:
        buffer = <char *>malloc(n)
        if buffer == NULL:
            raise MemoryError
    try:
        return latin1(buffer, fw_wire_unquote(buffer, s, n))
    finally:
        if buffer != stack:
            free(buffer)


cdef str decoded(str path):
    """A path of ASCII, percent-decoded."""
    cdef bytes text = path.encode("latin-1")
    return unquoted(PyBytes_AS_STRING(text), <size_t>PyBytes_GET_SIZE(text))


cdef str below(str prefix, str path):
    """The path below a prefix, or OUTSIDE."""
    if path == prefix or path.startswith(prefix + SLASH):
        return path[len(prefix):]
    return OUTSIDE


cdef str http_key(const char *name, size_t n):
    """``HTTP_`` and the field name in upper case, hyphens as underscores (RFC 3875 4.1.18)."""
    key = PyUnicode_New(<Py_ssize_t>n + 5, 127)
    cdef char *to = <char *>PyUnicode_DATA(key)
    cdef size_t i
    cdef char ch
    memcpy(to, b"HTTP_", 5)
    for i in range(n):
        ch = name[i]
        if c"a" <= ch <= c"z":
            ch -= 32
        elif ch == c"-":
            ch = c"_"
        to[5 + i] = ch
    return <str>key


cdef list known_keys():
    cdef list keys = [None]
    cdef size_t n
    cdef const char *name
    cdef int i
    for i in range(1, <int>FW_NAME_COUNT):
        name = fw_name_text(<fw_name>i, &n)
        keys.append(sys.intern(http_key(name, n)))
    keys[FW_NAME_CONTENT_TYPE] = "CONTENT_TYPE"
    keys[FW_NAME_CONTENT_LENGTH] = CONTENT_LENGTH
    return keys


cdef inline str scheme_of(const fw_request *r):
    """The scheme that a proxy names."""
    return HTTPS if r.followed.secure else HTTP


cdef str request_line(const fw_request *r):
    """Method and target as they came, for the log."""
    return f"{text_at(r, r.method)} {text_at(r, r.target)}"


cdef str request_path(const fw_request *r):
    """Method and path as they came, without the query, cut to what a log line may hold."""
    return f"{text_at(r, r.method)} {latin1(fw_request_at(r, r.path), min(r.path.len, 200))}"


cdef int set_tls(dict environ, tuple peer) except -1:
    """Sets what is known of the client's TLS, if it speaks that, over what an environ of another client may have."""
    if PyTuple_GET_SIZE(peer) > 2:
        PyDict_Update(environ, <dict>peer[2])
    return 0


cdef int set_peer(dict environ, tuple peer) except -1:
    """The same with its address."""
    PyDict_SetItem(environ, REMOTE_ADDR, <str>peer[0])
    PyDict_SetItem(environ, REMOTE_PORT, <str>peer[1])
    return set_tls(environ, peer)


cdef int set_deadline(dict environ, const fw_conn *c) except -1:
    """Tells how long the request is worth answering, by Python's clock, which is another one than the loop's."""
    cdef double left = <double><int64_t>(c.worth_until - fw_deadline_clock()) / 1000
    environ["fastwsgi.deadline"] = time.monotonic() + left
    return 0


cdef inline bint same_text(object text, const char *s, size_t n) noexcept:
    return PyUnicode_GET_LENGTH(text) == <Py_ssize_t>n and memcmp(PyUnicode_DATA(text), s, n) == 0


@cython.final
cdef class Last:
    """A request fits when it came to the same listener and has the same fields in the same order, each once."""

    cdef dict environ                  # never handed out
    cdef unsigned listener
    cdef uint8_t minor
    cdef uint32_t nfields
    cdef uint8_t ids[SIMILAR_FIELDS]
    cdef list names                    # bytes of the unknown names, None for the known
    cdef list keys
    cdef list values
    cdef tuple peer
    cdef str raw                       # target as it came
    cdef str method
    cdef uint8_t follows               # what of it is a proxy's word
    cdef str scheme
    cdef tuple client
    cdef str host                      # HTTP_HOST and SERVER_PORT as a proxy tells them; None: they may be others
    cdef str port

    cdef bint fits(self, const fw_conn *c) noexcept:
        cdef const fw_request *r = c.req
        cdef const fw_field *f
        cdef object name
        cdef uint32_t i
        if (self.environ is None or r.nfields != self.nfields or r.minor != self.minor or r.repeats
                or r.authority.len != 0 or r.framing == FW_FRAMING_CHUNKED or c.listener.index != self.listener
                or r.follows != self.follows):
            return False
        for i in range(r.nfields):
            f = &r.fields[i]
            if f.id != self.ids[i] or f.flags & FW_FIELD_HIDDEN:
                return False
            if f.id == FW_NAME_UNKNOWN:
                name = <object>PyList_GET_ITEM(self.names, i)
                if (<size_t>PyBytes_GET_SIZE(name) != f.name.len
                        or memcmp(PyBytes_AS_STRING(name), fw_request_at(r, f.name), f.name.len) != 0):
                    return False
        return True

    cdef int learn(self, const fw_conn *c, EnvironBuilder builder, dict environ, tuple peer) except -1:
        cdef const fw_request *r = c.req
        cdef const fw_field *f
        cdef uint32_t i
        cdef set seen = set()
        if r.nfields > SIMILAR_FIELDS or r.repeats or r.authority.len != 0 or r.framing == FW_FRAMING_CHUNKED:
            return 0
        self.environ = None  # until all is in place
        self.names = []
        self.keys = []
        self.values = []
        for i in range(r.nfields):
            f = &r.fields[i]
            known = f.id != FW_NAME_UNKNOWN
            key = builder.keys[f.id] if known else http_key(fw_request_at(r, f.name), f.name.len)
            if f.flags & FW_FIELD_HIDDEN or key in seen:
                return 0
            seen.add(key)
            self.ids[i] = f.id
            self.names.append(None if known else fw_request_at(r, f.name)[:f.name.len])
            self.keys.append(key)
            self.values.append(environ[key])
        self.nfields = r.nfields
        self.minor = r.minor
        self.listener = c.listener.index
        self.peer = peer
        self.follows = r.follows
        self.scheme = scheme_of(r)
        self.client = builder.client_name
        self.host = None
        self.port = None
        self.method = builder.method(r)
        self.raw = environ[RAW_URI]
        self.environ = <dict>PyDict_Copy(environ)
        return 0


@cython.final
cdef class EnvironBuilder:
    """Builds environs. One per application thread; *bases*: per listener, what all its requests have in common."""

    cdef list bases      # per listener: the part of the environ that no request changes
    cdef list keys       # environ key per known field name (enum fw_name), None for the unknown
    cdef list methods    # method names by llhttp's number, filled as they occur
    cdef str script_name
    cdef object no_body  # wsgi.input of a request without a body
    cdef Last last
    cdef fw_address client  # that a trusted proxy has named last
    cdef tuple client_name  # ... and its name, or None
    cdef str host           # likewise
    cdef uint32_t port
    cdef str port_text
    cdef bint reuse        # false: every environ is built from the base alone
    cdef bint mounted      # there is a script_name, so a request may be for something else
    cdef unsigned misfits  # requests in a row that the last one did not fit
    cdef object subject_of  # of TLS (tls.pxi), or None

    def __init__(self, list bases, object no_body, str script_name, bint reuse, object subject_of):
        self.bases = bases
        self.no_body = no_body
        self.script_name = script_name
        self.last = Last.__new__(Last)
        self.host = EMPTY
        self.reuse = reuse
        self.mounted = script_name != ""
        self.subject_of = subject_of
        self.keys = known_keys()
        self.methods = [None] * FW_METHODS

    cdef dict build(self, fw_conn *c, object body_input):
        cdef const fw_request *r = c.req
        cdef tuple peer = peer_of(c, self.subject_of)
        cdef dict environ
        if r.memo_use == FW_MEMO_FULL or r.memo_use == FW_MEMO_BLOCK:
            return self.recall(c, peer)
        if self.last.fits(c):
            environ = self.build_alike(c, peer)
        else:
            environ = self.build_anew(c, peer)
        if r.memo_use == FW_MEMO_FILL:
            self.remember(c.req, environ, peer)
        if body_input is not self.no_body:  # the base has that one
            PyDict_SetItem(environ, INPUT, body_input)
        return environ

    cdef dict build_anew(self, fw_conn *c, tuple peer):
        cdef const fw_request *r = c.req
        cdef dict environ = <dict>PyDict_Copy(<dict>self.bases[c.listener.index])
        if r.uwsgi:
            return environ_of_packet(self, environ, r, peer)
        PyDict_SetItem(environ, METHOD, self.method(r))
        PyDict_SetItem(environ, PROTOCOL, HTTP_1_1 if r.minor == 1 else HTTP_1_0)
        set_peer(environ, peer)
        self.set_target(environ, r)
        self.set_fields(environ, r)
        if r.authority.len != 0:  # RFC 9112 3.2.2: the target's authority stands in for Host
            PyDict_SetItem(environ, HTTP_HOST, text_at(r, r.authority))
        if r.framing == FW_FRAMING_CHUNKED:
            PyDict_SetItem(environ, CONTENT_LENGTH, str(r.body.len))
        if r.follows:
            self.follow(environ, r)
        self.misfits += 1
        if self.misfits >= LEARN_AFTER and self.reuse:
            self.misfits = 0
            self.last.learn(c, self, environ, peer)
        return environ

    cdef dict build_alike(self, fw_conn *c, tuple peer):
        """Starts from the last environ and sets what differs; the last one follows."""
        cdef const fw_request *r = c.req
        cdef Last last = self.last
        cdef dict environ = last.environ
        cdef str method = self.method(r)
        cdef object value
        cdef const fw_field *f
        cdef uint32_t i
        self.misfits = 0
        last.environ = None  # an error on the way leaves nothing half done to start from
        if method is not last.method:
            last.method = method
            PyDict_SetItem(environ, METHOD, method)
        if peer is not last.peer:
            last.peer = peer
            last.client = None
            set_peer(environ, peer)
        if not same_text(last.raw, fw_request_at(r, r.target), r.target.len):
            self.set_target(environ, r)
            last.raw = <str>environ[RAW_URI]
        for i in range(r.nfields):
            f = &r.fields[i]
            value = <object>PyList_GET_ITEM(last.values, i)
            if not same_text(value, fw_request_at(r, f.value), f.value.len):
                value = text_at(r, f.value)
                PyDict_SetItem(environ, <object>PyList_GET_ITEM(last.keys, i), value)
                last.values[i] = value
                if f.id == FW_NAME_HOST:
                    last.host = None
        if r.follows:
            self.follow_alike(environ, r)
        last.environ = environ
        return <dict>PyDict_Copy(environ)

    cdef int remember(self, fw_request *r, dict environ, tuple peer) except -1:
        """Keeps a copy of the environ with the head that it was built from (memo.h)."""
        cdef tuple kept = (PyDict_Copy(environ), peer)
        Py_INCREF(kept)  # the memo's reference; comes back to be released when the memo is overwritten
        fw_memo_fill(r, <void *>kept)
        return 0

    cdef dict recall(self, fw_conn *c, tuple peer):
        """The environ of a head seen before, with what differs set anew; what a proxy says of it is in there."""
        cdef const fw_request *r = c.req
        cdef tuple kept = <tuple>fw_memo_user(r)
        cdef dict environ = <dict>PyDict_Copy(<dict>kept[0])
        if kept[1] is not peer and r.follows & FW_FOLLOW_ADDRESS:
            set_tls(environ, peer)
        elif kept[1] is not peer:
            set_peer(environ, peer)
        if r.memo_use == FW_MEMO_BLOCK:
            PyDict_SetItem(environ, METHOD, self.method(r))
            self.set_target(environ, r)
            if r.follows & (FW_FOLLOW_PREFIX | FW_FOLLOW_MOUNT):
                self.follow_paths(environ, r)
        return environ

    cdef int follow(self, dict environ, const fw_request *r) except -1:
        """Sets what a trusted proxy says of the client."""
        cdef tuple client
        if r.follows & FW_FOLLOW_SCHEME:
            PyDict_SetItem(environ, URL_SCHEME, scheme_of(r))
        if r.follows & FW_FOLLOW_ADDRESS:
            client = self.client_of(r)
            PyDict_SetItem(environ, REMOTE_ADDR, <str>client[0])
            PyDict_SetItem(environ, REMOTE_PORT, <str>client[1])
        return self.follow_rest(environ, r)

    cdef int follow_alike(self, dict environ, const fw_request *r) except -1:
        """Sets in the last environ what differs in a proxy's word; the last one has the same words."""
        cdef Last last = self.last
        cdef tuple client
        if r.follows & FW_FOLLOW_SCHEME and last.scheme is not scheme_of(r):
            last.scheme = scheme_of(r)
            PyDict_SetItem(environ, URL_SCHEME, last.scheme)
        if r.follows & FW_FOLLOW_ADDRESS:
            client = self.client_of(r)
            if client is not last.client:
                last.client = client
                PyDict_SetItem(environ, REMOTE_ADDR, <str>client[0])
                PyDict_SetItem(environ, REMOTE_PORT, <str>client[1])
        if r.follows & FW_FOLLOW_HOST:
            self.host_of(r)
            if last.host is not self.host:
                PyDict_SetItem(environ, HTTP_HOST, self.host)
                last.host = self.host
        if r.follows & FW_FOLLOW_PORT:
            self.port_of(r)
            if last.port is not self.port_text:
                PyDict_SetItem(environ, SERVER_PORT, self.port_text)
                last.port = self.port_text
        if r.follows & (FW_FOLLOW_PREFIX | FW_FOLLOW_MOUNT):
            self.follow_paths(environ, r)
        return 0

    cdef int host_of(self, const fw_request *r) except -1:
        if not same_text(self.host, fw_request_at(r, r.followed.host), r.followed.host.len):
            self.host = text_at(r, r.followed.host)
        return 0

    cdef int port_of(self, const fw_request *r) except -1:
        if self.port != r.followed.port:
            self.port_text = str(r.followed.port)
            self.port = r.followed.port
        return 0

    cdef int follow_rest(self, dict environ, const fw_request *r) except -1:
        cdef uint8_t what = r.follows
        if what & FW_FOLLOW_HOST:
            self.host_of(r)
            PyDict_SetItem(environ, HTTP_HOST, self.host)
        if what & FW_FOLLOW_PORT:
            self.port_of(r)
            PyDict_SetItem(environ, SERVER_PORT, self.port_text)
        if what & (FW_FOLLOW_PREFIX | FW_FOLLOW_MOUNT):
            self.follow_paths(environ, r)
        return 0

    cdef tuple client_of(self, const fw_request *r):
        """(address, port) of the client that the proxy names. One client sends several requests, as a rule."""
        if self.client_name is None or memcmp(&self.client, &r.followed.client, sizeof(fw_address)) != 0:
            self.client_name = None
            self.client = r.followed.client
            self.client_name = name_of(&self.client.any)
        return self.client_name

    cdef int follow_paths(self, dict environ, const fw_request *r) except -1:
        """SCRIPT_NAME as a field of that name says, which stands in front of the path (gunicorn), and below a prefix
        that the proxy has taken away."""
        cdef str mount, path, prefix
        mount = <str>environ[SCRIPT_NAME] if self.mounted else EMPTY
        if r.follows & FW_FOLLOW_MOUNT and not r.asterisk:
            mount = unquoted(fw_request_at(r, r.followed.mount), r.followed.mount.len).rstrip(SLASH)
            path = unquoted(fw_request_at(r, r.path), r.path.len) if r.path.len else SLASH
            PyDict_SetItem(environ, SCRIPT_NAME, mount)
            PyDict_SetItem(environ, PATH_INFO, below(mount, path))
        if r.follows & FW_FOLLOW_PREFIX:
            prefix = EMPTY.join([one.strip(" \t").rstrip(SLASH)
                                 for one in text_at(r, r.followed.prefix).split(",")])
            PyDict_SetItem(environ, SCRIPT_NAME, decoded(prefix) + mount)
        return 0

    cdef str method(self, const fw_request *r):
        cdef object name = self.methods[r.method_id]
        if name is None:
            name = sys.intern(text_at(r, r.method))
            self.methods[r.method_id] = name
        return <str>name

    cdef int set_target(self, dict environ, const fw_request *r) except -1:
        cdef str raw = text_at(r, r.target)
        cdef str path
        PyDict_SetItem(environ, RAW_URI, raw)
        PyDict_SetItem(environ, REQUEST_URI, raw)
        PyDict_SetItem(environ, QUERY_STRING, text_at(r, r.query) if r.query.len else EMPTY)
        if r.asterisk:
            path = ASTERISK
        elif r.path.len == 0:  # http://host?query
            path = SLASH
        elif r.path.len == r.target.len and memchr(fw_request_at(r, r.path), c"%", r.path.len) == NULL:
            path = raw
        else:
            path = unquoted(fw_request_at(r, r.path), r.path.len)
        if self.mounted:
            path = self.below_mount(environ, path, r.asterisk)
        PyDict_SetItem(environ, PATH_INFO, path)
        return 0

    cdef str below_mount(self, dict environ, str path, bint asterisk):
        """PATH_INFO below script_name, or OUTSIDE; ``*`` is the server as a whole, below nothing (RFC 9110 9.3.7)."""
        cdef str prefix = self.script_name
        PyDict_SetItem(environ, SCRIPT_NAME, EMPTY if asterisk else prefix)
        return path if asterisk else below(prefix, path)

    cdef bint is_outside(self, const fw_request *r, dict environ) noexcept:
        """The request is for a path that is not below SCRIPT_NAME. To be asked before the application is run."""
        return ((self.mounted or r.follows & FW_FOLLOW_MOUNT)
                and PyDict_GetItem(environ, PATH_INFO) == <PyObject *>OUTSIDE)

    cdef int set_fields(self, dict environ, const fw_request *r) except -1:
        cdef uint32_t i
        cdef const fw_field *f
        cdef str value
        cdef object key
        cdef PyObject *present
        for i in range(r.nfields):
            f = &r.fields[i]
            if f.flags & FW_FIELD_HIDDEN:
                continue
            value = text_at(r, f.value)
            if f.id != FW_NAME_UNKNOWN:
                key = self.keys[f.id]
                if not r.repeats:
                    PyDict_SetItem(environ, key, value)
                    continue
            else:
                key = http_key(fw_request_at(r, f.name), f.name.len)
            present = PyDict_GetItem(environ, key)
            if present != NULL:  # RFC 9110 5.2; Cookie: RFC 6265 5.4
                value = f"{<str>present}{'; ' if f.id == FW_NAME_COOKIE else ', '}{value}"
            PyDict_SetItem(environ, key, value)
        return 0
