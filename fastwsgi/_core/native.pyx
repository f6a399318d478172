# native.pyx - links the C core, proves the installed llhttp, and is the one place that drops the interpreter lock.
#
# Everything here is a thin door: the name in native.pxd, the meaning in the C header. The module's import fails, with
# a sentence that names versions, when the installed httptools does not carry the llhttp we declare.

from libc.errno cimport ENOENT
from libc.stdint cimport int64_t

from fastwsgi._core cimport csrc
from fastwsgi._core.csrc cimport (
    FW_OK, FW_RETRY, fw_body, fw_config, fw_conn, fw_field_fault, fw_hub, fw_llhttp_api, fw_loop, fw_name,
    fw_outq_mark, fw_own, fw_stop,
)

import httptools.parser.parser as _parser

#: The versions of httptools whose llhttp this release was tested with.
SUPPORTED = ">=0.7.1,<0.10"

cdef enum:
    STREAK = 8  # requests in a row for which the lock may be kept

cdef fw_llhttp_api _api
cdef int _streak = 0


cdef str _describe(const char *text):
    return text.decode("utf-8", "replace")


def check_llhttp(path: str) -> None:
    """Resolve llhttp's functions from the shared object at *path* and prove their interface.

    *path* must be loaded into this process already. Raises ImportError naming the installed httptools, the supported
    range and what differed. On success the table of functions that the server calls is replaced.
    """
    cdef fw_llhttp_api found
    cdef const char *missing = NULL
    cdef bytes where = path.encode()
    cdef int rc = csrc.fw_llhttp_load(&found, where, &missing)
    cdef const char *fault
    cdef str why
    if rc == -ENOENT:
        why = f"{path} is not loaded"
    elif rc != FW_OK:
        why = f"it does not carry {_describe(missing)}"
    else:
        fault = csrc.fw_llhttp_check(&found)
        if fault == NULL:
            global _api
            _api = found
            return
        why = _describe(fault)
    import importlib.metadata  # only to complain: it takes as long to import as all the rest

    try:
        version = importlib.metadata.version("httptools")
    except importlib.metadata.PackageNotFoundError:
        version = "of unknown version"
    raise ImportError(f"httptools {version} cannot be used: {why}. fastwsgi supports httptools {SUPPORTED}.")


check_llhttp(_parser.__file__)


cdef const fw_llhttp_api *llhttp_api() noexcept:
    return &_api


cdef const char *name_text(fw_name name, size_t *n) noexcept:
    return csrc.fw_name_text(name, n)


cdef const char *date_line(fw_hub *hub) noexcept:
    return csrc.fw_date_line(&hub.date)


cdef size_t decimal(char *to, unsigned long long value) noexcept:
    return csrc.fw_wire_decimal(to, value)


cdef size_t hexadecimal(char *to, unsigned long long value) noexcept:
    return csrc.fw_wire_hex(to, value)


cdef bint is_value(const char *s, size_t n) noexcept:
    return csrc.fw_wire_is_value(s, n)


cdef fw_field_fault field_line(
    char *to, const char *name, size_t nn, const char *value, size_t nv, fw_own *own
) noexcept:
    return csrc.fw_wire_field(to, name, nn, value, nv, own)


cdef bint lists(const char *s, size_t n, const char *lower) noexcept:
    return csrc.fw_wire_lists(s, n, lower)


cdef size_t unquote(char *to, const char *src, size_t n) noexcept:
    return csrc.fw_wire_unquote(to, src, n)


cdef ssize_t body_read(fw_body *body, char *to, size_t n) noexcept:
    return csrc.fw_body_read(body, to, n)


cdef ssize_t body_line(const fw_body *body, size_t limit) noexcept:
    return csrc.fw_body_line(body, limit)


cdef char *reserve(fw_hub *hub, fw_conn *c, size_t n) noexcept:
    return csrc.fw_outq_reserve(&c.out, &hub.pool, n)


cdef void commit(fw_conn *c, size_t n) noexcept:
    csrc.fw_outq_commit(&c.out, n)


cdef int copy(fw_hub *hub, fw_conn *c, const void *data, size_t n) noexcept:
    return csrc.fw_outq_copy(&c.out, &hub.pool, data, n)


cdef int ref(fw_hub *hub, fw_conn *c, const void *data, size_t n, void *owner) noexcept:
    return csrc.fw_outq_ref(&c.out, &hub.pool, data, n, owner)


cdef int file(fw_hub *hub, fw_conn *c, int fd, int64_t offset, size_t n, void *owner) noexcept:
    return csrc.fw_outq_file(&c.out, &hub.pool, fd, offset, n, owner)


cdef fw_outq_mark here(fw_conn *c) noexcept:
    return csrc.fw_outq_here(&c.out)


cdef void rollback(fw_hub *hub, fw_conn *c, fw_outq_mark mark) noexcept:
    csrc.fw_outq_rollback(&c.out, &hub.pool, mark)


cdef int send(fw_loop *loop, fw_conn *c) noexcept:
    cdef int rc
    with nogil:
        rc = csrc.fw_conn_send(&loop.hub, c)
    return rc


cdef int drain(fw_loop *loop, fw_conn *c) noexcept:
    cdef int rc
    with nogil:
        rc = csrc.fw_loop_drain(loop, c)
    return rc


cdef void suspend(fw_loop *loop, fw_conn *c, void *user) noexcept:
    csrc.fw_conn_suspend(&loop.hub, c, user)


cdef void finish(fw_loop *loop, fw_conn *c, bint keep, bint cut) noexcept:
    with nogil:
        csrc.fw_conn_finish(&loop.hub, c, keep, cut)


cdef int next_turn(fw_loop *loop, fw_conn **out) noexcept:
    cdef int rc
    if csrc.fw_loop_ready(loop):
        return csrc.fw_loop_next(loop, out)
    with nogil:
        rc = csrc.fw_loop_next(loop, out)
    return rc


cdef int finish_next(fw_loop *loop, fw_conn *c, bint keep, bint cut, fw_conn **out) noexcept:
    # While further events of one poll wait, a few requests are taken without giving the lock away: each is a receive
    # and a send that cannot block, and another thread that wants the lock gets it from the interpreter within the call.
    global _streak
    cdef int rc
    if csrc.fw_loop_pending(loop) and _streak < STREAK:
        _streak += 1
        csrc.fw_conn_finish(&loop.hub, c, keep, cut)
        rc = csrc.fw_loop_try(loop, out)
        if rc != FW_RETRY:
            return rc
        c = NULL
    _streak = 0
    with nogil:
        if c != NULL:
            csrc.fw_conn_finish(&loop.hub, c, keep, cut)
        rc = csrc.fw_loop_next(loop, out)
    return rc


cdef fw_conn *pull(fw_loop *loop) noexcept:
    return csrc.fw_conn_pull(&loop.hub)


cdef void *spent(fw_loop *loop) noexcept:
    return csrc.fw_hub_spent(&loop.hub)


cdef void config_defaults(fw_config *cfg) noexcept:
    csrc.fw_config_defaults(cfg)


cdef int loop_open(fw_loop **out, const fw_config *cfg) noexcept:
    return csrc.fw_loop_open(out, &_api, cfg)


cdef void loop_free(fw_loop *loop) noexcept:
    csrc.fw_loop_free(loop)


cdef int loop_listen(fw_loop *loop, int fd, bint tcp) noexcept:
    return csrc.fw_loop_listen(loop, fd, tcp)


cdef void loop_stop(fw_loop *loop, fw_stop how) noexcept:
    csrc.fw_loop_stop(loop, how)


cdef unsigned loop_notices(fw_loop *loop) noexcept:
    return csrc.fw_loop_notices(loop)


cdef void loop_abandon(fw_loop *loop) noexcept:
    csrc.fw_loop_abandon(loop)


cdef void reap(fw_loop *loop) noexcept:
    csrc.fw_hub_reap(&loop.hub)


cdef void forget_heads(fw_loop *loop) noexcept:
    csrc.fw_memos_clear(&loop.hub.memos)
