# head.pxi - status line and header fields, validated and serialised in one pass straight from the str objects; chunks.
#
# Everything is written behind a mark that the caller has set in the output queue: on any error here the caller rolls
# back, so nothing of an invalid head is ever sent.

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #if PY_VERSION_HEX < 0x030C0000
    #define fw_str_ready(o) PyUnicode_READY(o)
    #else
    #define fw_str_ready(o) 0
    #endif
    #define fw_str_is_latin1(o) (PyUnicode_KIND(o) == PyUnicode_1BYTE_KIND)
    #define fw_str_bytes(o) ((const char *)PyUnicode_1BYTE_DATA(o))
    """
    int fw_str_ready(object) except -1
    bint fw_str_is_latin1(object)
    const char *fw_str_bytes(object)

cdef extern from "Python.h":
    bint PyUnicode_Check(object)

cdef struct HeadFacts:
    int64_t length    # the application's Content-Length, -1 if it gave none
    bint has_date
    bint has_server
    bint closes       # the application asked for Connection: close
    bint upgrades     # ... for another protocol, in a 426

cdef enum:
    COPY_BELOW = 8192    # larger blocks are queued by reference
    HEAD_ROOM = 1024     # reserved at a time
    CHUNK_ROOM = 20      # size line and closing CRLF of a chunk
    MISSING_ROOM = 96    # Server, Date and Connection lines


cdef bint is_latin1(object s) except -1:
    if not PyUnicode_Check(s):
        return False
    fw_str_ready(s)
    return fw_str_is_latin1(s)


# What an application gives may be a secret, or have one where it does not belong: errors tell types, lengths and the
# place of a fault, and a text only up to there.

cdef Py_ssize_t fault_at(str text):
    """The index of the first character that no header value may have, the length if there is none."""
    cdef Py_ssize_t i
    for i in range(len(text)):
        if text[i] != "\t" and (text[i] < " " or text[i] == "\x7f" or text[i] > "\xff"):
            return i
    return len(text)


cdef Py_ssize_t name_end(str text):
    """How many of the first characters can be a name's."""
    cdef Py_ssize_t i
    for i in range(len(text)):
        if not (text[i].isascii() and (text[i].isalnum() or text[i] in "!#$%&'*+-.^_`|~")):
            return i
    return len(text)


cdef str kind(object value):
    cdef str text
    if PyUnicode_Check(value) and not is_latin1(value):
        text = str.__str__(value)  # of a subclass, too, and without running code of its own
        return f"str with a character beyond it (character {fault_at(text) + 1} of {len(text)})"
    return type(value).__name__


cdef str described(object status):
    """A status line up to its fault."""
    cdef Py_ssize_t end
    cdef str text
    if not PyUnicode_Check(status):
        return type(status).__name__
    text = str.__str__(status)
    end = fault_at(text)
    if end == len(text):
        return repr(text[:100])
    return f"{text[:min(end, 100)]!r}, then character {end + 1} of {len(text)}"


cdef str named(str name):
    """A field name up to its fault."""
    cdef Py_ssize_t end = name_end(name)
    return f"{name[:min(end, 100)]!r}, then character {end + 1} of {len(name)}" if name else "it is empty"


cdef int status_code(object status) except -1:
    """The number in ``DDD reason``, 200 to 599 (PEP 3333: a status string of the form "999 Message here")."""
    cdef const char *s
    cdef Py_ssize_t n
    cdef int code
    if not is_latin1(status):
        raise TypeError(f"status must be a str in Latin-1, not {described(status)}")
    s = fw_str_bytes(status)
    n = PyUnicode_GET_LENGTH(status)
    if (n < 4 or s[3] != c" " or not (c"2" <= s[0] <= c"5") or not (c"0" <= s[1] <= c"9")
            or not (c"0" <= s[2] <= c"9") or not fw_wire_is_value(s, n)):
        raise ValueError(f"status must be three digits from 200 to 599, a space and a reason, not"
                         f" {described(status)}")
    code = (s[0] - c"0") * 100 + (s[1] - c"0") * 10 + (s[2] - c"0")
    return code


cdef int64_t content_length(object value) except -1:
    cdef const char *s = fw_str_bytes(value)
    cdef Py_ssize_t i, n = PyUnicode_GET_LENGTH(value)
    cdef int64_t v = 0
    for i in range(n):
        if not (c"0" <= s[i] <= c"9") or v > (INT64_MAX - 9) // 10:
            raise ValueError(f"Content-Length must be a decimal number, not {value!r}")
        v = v * 10 + (s[i] - c"0")
    if n == 0:
        raise ValueError("Content-Length is empty")
    return v


cdef char *room_for(ThreadState state, fw_conn *c, size_t n) except NULL:
    cdef char *to = fw_thread_reserve(state.thread, c, n)
    if to == NULL:
        raise MemoryError("no memory for the response")
    return to


cdef int put_status(ThreadState state, fw_conn *c, str status) except -1:
    """The status line; *status* has passed status_code."""
    cdef size_t n = <size_t>PyUnicode_GET_LENGTH(status)
    cdef char *to = room_for(state, c, n + 11)
    memcpy(to, b"HTTP/1.1 ", 9)
    memcpy(to + 9, fw_str_bytes(status), n)
    memcpy(to + 9 + n, b"\r\n", 2)
    fw_thread_commit(c, n + 11)
    return 0


cdef int put_missing(ThreadState state, fw_conn *c, const HeadFacts *facts) except -1:
    """Server and Date, where the application has not set them (RFC 9110 6.6.1, 10.2.4); what an Upgrade goes with."""
    cdef size_t n = 0
    cdef char *to = room_for(state, c, MISSING_ROOM)
    if not facts.has_server:
        memcpy(to, b"Server: fastwsgi\r\n", 18)
        n = 18
    if not facts.has_date:
        memcpy(to + n, fw_date_line(&state.thread.date), FW_DATE_LEN)
        n += FW_DATE_LEN
    if facts.upgrades:  # RFC 9110 7.8: whoever sends Upgrade names it in Connection
        memcpy(to + n, b"Connection: upgrade\r\n", 21)
        n += 21
    fw_thread_commit(c, n)
    return 0


cdef int put_fields(ThreadState state, fw_conn *c, int code, list headers, HeadFacts *facts) except -1:
    """Validates and queues the application's header fields, except those that are the server's business.

    Two hop-by-hop fields are the application's in the one response that must have them, whose status is *code*.
    """
    cdef Py_ssize_t i
    cdef object item, name, value
    cdef size_t nn, nv, used = 0, room = 0
    cdef const char *pn
    cdef const char *pv
    cdef char *to = NULL
    cdef fw_own own
    cdef fw_field_fault fault
    facts.length = -1
    facts.has_date = facts.has_server = facts.closes = facts.upgrades = False
    for i in range(PyList_GET_SIZE(headers)):
        if i >= PyList_GET_SIZE(headers):
            break  # the report of a warning has run code that shortened the list
        item = <object>PyList_GET_ITEM(headers, i)
        if not PyTuple_Check(item) or PyTuple_GET_SIZE(item) != 2:
            raise TypeError(f"header {i + 1} must be a (name, value) tuple, not one of type {type(item).__name__}"
                            + (f" and length {len(item)}" if PyTuple_Check(item) else ""))
        name = <object>PyTuple_GET_ITEM(item, 0)
        value = <object>PyTuple_GET_ITEM(item, 1)
        if not is_latin1(name) or not is_latin1(value):
            raise TypeError(f"header {i + 1}: name and value must be str in Latin-1, not {kind(name)} and"
                            f" {kind(value)}")
        pn = fw_str_bytes(name)
        pv = fw_str_bytes(value)
        nn = <size_t>PyUnicode_GET_LENGTH(name)
        nv = <size_t>PyUnicode_GET_LENGTH(value)
        if used + nn + nv + 4 > room:
            if used:
                fw_thread_commit(c, used)
            room = max(nn + nv + 4, <size_t>HEAD_ROOM)
            used = 0
            to = room_for(state, c, room)
        fault = fw_wire_field(to + used, pn, nn, pv, nv, &own)
        if fault == FW_FAULT_NAME:
            raise ValueError(f"invalid header name: {named(str.__str__(name))} (RFC 9110 5.1)")
        if fault == FW_FAULT_VALUE:
            raise ValueError(f"control character in the value of header {name}: character"
                             f" {fault_at(str.__str__(value)) + 1} of {nv} (RFC 9110 5.5)")
        if own == FW_OWN_NONE or own == FW_OWN_DATE or own == FW_OWN_SERVER:
            used += nn + nv + 4
            facts.has_date |= own == FW_OWN_DATE
            facts.has_server |= own == FW_OWN_SERVER
        elif own == FW_OWN_CONTENT_LENGTH:
            if facts.length >= 0:
                raise ValueError("more than one Content-Length header")
            facts.length = content_length(value)
        elif own == FW_OWN_CONNECTION and fw_wire_lists(pv, nv, b"close"):
            facts.closes = True
        elif (own == FW_OWN_CHALLENGE and code == 407) or (own == FW_OWN_UPGRADE and code == 426):
            used += nn + nv + 4
            facts.upgrades |= own == FW_OWN_UPGRADE
        else:
            state.warn_hop(name)
    if used:
        fw_thread_commit(c, used)
    return 0


# ---- chunks (RFC 9112 7.1) ----

cdef inline char *size_line(char *to, size_t n) noexcept:
    to += fw_wire_hex(to, n)
    memcpy(to, b"\r\n", 2)
    return to + 2


cdef int put_chunk_size(ThreadState state, fw_conn *c, size_t n) except -1:
    """The size line; what follows is the caller's."""
    cdef char *start = room_for(state, c, CHUNK_ROOM)
    fw_thread_commit(c, size_line(start, n) - start)
    return 0


cdef int put_chunk(ThreadState state, fw_conn *c, object block, size_t n) except -1:
    """The first *n* bytes of *block*, a bytes object."""
    cdef size_t inside = n if n < COPY_BELOW else 0
    cdef char *start = room_for(state, c, inside + CHUNK_ROOM)
    cdef char *to = size_line(start, n)
    if inside:
        memcpy(to, PyBytes_AS_STRING(block), n)
        memcpy(to + n, b"\r\n", 2)
        fw_thread_commit(c, to + n + 2 - start)
        return 0
    fw_thread_commit(c, to - start)
    Py_INCREF(block)  # the queue's reference
    if fw_thread_ref(state.thread, c, PyBytes_AS_STRING(block), n, <void *>block) != FW_OK:
        Py_DECREF(block)
        raise MemoryError("no memory for the response")
    return check_memory(fw_thread_copy(state.thread, c, b"\r\n", 2))
