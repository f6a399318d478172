# native.pyx - links the C core, proves the installed llhttp, and is the one place that drops the interpreter lock.
#
# Everything here is a thin door: the name in native.pxd, the meaning in the C header. The module's import fails, with
# a sentence that names versions, when the installed httptools does not carry the llhttp we declare.

from libc.errno cimport ENOENT
from libc.stdint cimport int64_t, uint32_t, uint64_t
from posix.unistd cimport close

from fastwsgi._core cimport csrc
from fastwsgi._core.csrc cimport (
    FW_OK, FW_RETRY, fw_access, fw_board, fw_board_call, fw_body, fw_config, fw_conn, fw_entry, fw_field_fault,
    fw_leader, fw_llhttp_api, fw_log_piece, fw_loop, fw_name, fw_outq_mark, fw_own, fw_process, fw_stats, fw_stop,
    fw_text, fw_thread,
)

import httptools.parser.parser as _parser

#: The versions of httptools whose llhttp this release was tested with.
SUPPORTED = ">=0.7.1,<0.10"

cdef enum:
    STREAK = 8  # requests in a row for which the lock may be kept

cdef fw_llhttp_api _api


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


cdef fw_name find_name(const char *name, size_t n) noexcept:
    return csrc.fw_name_find(name, n)


cdef const char *date_line(fw_thread *t) noexcept:
    return csrc.fw_date_line(&t.date)


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


cdef ssize_t read_file(int fd, char *to, size_t n, uint64_t offset) noexcept:
    cdef ssize_t rc
    with nogil:
        rc = csrc.fw_body_read_file(fd, to, n, offset)
    return rc


cdef ssize_t line_file(int fd, uint64_t offset, size_t limit) noexcept:
    cdef ssize_t rc
    with nogil:
        rc = csrc.fw_body_line_file(fd, offset, limit)
    return rc


cdef void close_file(int fd) noexcept:
    with nogil:
        close(fd)


cdef char *reserve(fw_thread *t, fw_conn *c, size_t n) noexcept:
    return csrc.fw_outq_reserve(&c.out, &t.pool, n)


cdef void commit(fw_conn *c, size_t n) noexcept:
    csrc.fw_outq_commit(&c.out, n)


cdef int copy(fw_thread *t, fw_conn *c, const void *data, size_t n) noexcept:
    return csrc.fw_outq_copy(&c.out, &t.pool, data, n)


cdef int ref(fw_thread *t, fw_conn *c, const void *data, size_t n, void *owner) noexcept:
    return csrc.fw_outq_ref(&c.out, &t.pool, data, n, owner)


cdef int file(fw_thread *t, fw_conn *c, int fd, int64_t offset, size_t n, void *owner) noexcept:
    return csrc.fw_outq_file(&c.out, &t.pool, fd, offset, n, owner)


cdef fw_outq_mark here(fw_conn *c) noexcept:
    return csrc.fw_outq_here(&c.out)


cdef void rollback(fw_thread *t, fw_conn *c, fw_outq_mark mark) noexcept:
    csrc.fw_outq_rollback(&c.out, &t.pool, mark)


cdef size_t unsent_inside(const fw_conn *c) noexcept:
    return csrc.fw_outq_unsent(&c.out)


cdef size_t queued(fw_thread *t, const fw_conn *c) noexcept:
    return csrc.fw_thread_queued(t, c)


cdef size_t unsent(fw_thread *t, const fw_conn *c) noexcept:
    return csrc.fw_thread_unsent(t, c)


cdef int send(fw_thread *t, fw_conn *c) noexcept:
    cdef int rc
    with nogil:
        csrc.fw_thread_open_gate(t)
        rc = csrc.fw_thread_send(t, c)
        csrc.fw_thread_close_gate(t)
    return rc


cdef int pass_on(fw_thread *t, fw_conn *c, size_t queued, bint more) noexcept:
    # A small block waits for the standby, which costs no system call and needs no release of the lock.
    cdef int rc
    if csrc.fw_thread_gathers(t, queued):
        return csrc.fw_thread_gather(t, c)
    with nogil:
        rc = csrc.fw_thread_pass(t, c, more)
    return rc


cdef int wait(fw_thread *t, fw_conn *c) noexcept:
    cdef int rc
    with nogil:
        rc = csrc.fw_thread_wait(t, c)
    return rc


cdef void suspend(fw_thread *t, fw_conn *c, void *user) noexcept:
    with nogil:
        csrc.fw_thread_suspend(t, c, user)


cdef int next_turn(fw_thread *t, fw_conn *done, bint keep, bint cut, unsigned *streak, fw_conn **out) noexcept:
    # While further requests are to be had without waiting, a few are taken without giving the lock away: each is a
    # receive and a send that cannot block, and another thread that wants the lock gets it from the interpreter within
    # the call. Not so if a body in a file is to be let go, which may take long.
    cdef int rc
    if t.more and streak[0] < STREAK and (done == NULL or done.req == NULL or done.req.body.fd < 0):
        streak[0] += 1
        rc = csrc.fw_thread_next(t, done, keep, cut, True, out)
        if rc != FW_RETRY:
            if t.at_door:
                csrc.fw_thread_enter(t)
            return rc
        done = NULL
    streak[0] = 0
    with nogil:
        rc = csrc.fw_thread_next(t, done, keep, cut, False, out)
    if t.at_door:
        csrc.fw_thread_enter(t)
    return rc


cdef void finish(fw_thread *t, fw_conn *done, bint keep, bint cut) noexcept:
    with nogil:
        csrc.fw_thread_finish(t, done, keep, cut)


cdef void *spent(fw_thread *t) noexcept:
    return csrc.fw_thread_spent(t)


cdef int access_open(
    fw_access **out, int fd, const fw_log_piece *pieces, unsigned n, bint json, fw_text script_name
) noexcept:
    return csrc.fw_access_open(out, fd, pieces, n, json, script_name)


cdef void access_free(fw_access *a) noexcept:
    csrc.fw_access_free(a)


cdef void access_put(fw_access *a, const fw_entry *e) noexcept:
    csrc.fw_access_put(a, e)


cdef void access_flush(fw_access *a) noexcept:
    with nogil:
        csrc.fw_access_flush(a)


cdef unsigned long long access_lost(fw_access *a, int *error) noexcept:
    return csrc.fw_access_lost(a, error)


cdef uint64_t clock_us() noexcept:
    return csrc.fw_deadline_us()


cdef int process_open(fw_process **out) noexcept:
    return csrc.fw_process_open(out)


cdef void process_close(fw_process *p) noexcept:
    csrc.fw_process_close(p)


cdef bint process_is_own(const fw_process *p) noexcept:
    return csrc.fw_process_is_own(p)


cdef void config_defaults(fw_config *cfg) noexcept:
    csrc.fw_config_defaults(cfg)


cdef int leader_open(fw_leader **out, const fw_config *cfg) noexcept:
    return csrc.fw_leader_open(out, &_api, cfg)


cdef int loop_listen(fw_loop *loop, int fd, bint tcp) noexcept:
    return csrc.fw_loop_listen(loop, fd, tcp)


cdef int loop_lifeline(fw_loop *loop, int fd) noexcept:
    return csrc.fw_loop_lifeline(loop, fd)


cdef size_t board_size(unsigned threads) noexcept:
    return csrc.fw_board_size(threads)


cdef void board_open(fw_board *board, uint32_t pid, unsigned threads) noexcept:
    csrc.fw_board_open(board, pid, threads)


cdef bint thread_call(fw_thread *t, fw_board_call *to) noexcept:
    return csrc.fw_thread_call(t, to)


cdef fw_thread *thread_open(fw_leader *leader) noexcept:
    return csrc.fw_thread_open(leader)


cdef void thread_attach(fw_thread *t) noexcept:
    csrc.fw_thread_attach(t)


cdef int standby_start(fw_leader *leader) noexcept:
    return csrc.fw_standby_start(leader)


cdef void standby_stop(fw_leader *leader) noexcept:
    with nogil:
        csrc.fw_standby_stop(leader)


cdef void loop_stop(fw_loop *loop, fw_stop how) noexcept:
    csrc.fw_loop_stop(loop, how)


cdef void leader_reopen(fw_leader *leader) noexcept:
    csrc.fw_leader_reopen(leader)


cdef unsigned leader_notices(fw_leader *leader) noexcept:
    return csrc.fw_leader_notices(leader)


cdef fw_stats leader_stats(fw_leader *leader) noexcept:
    return csrc.fw_leader_stats(leader)


cdef void clear_up(fw_thread *t) noexcept:
    csrc.fw_thread_clear_up(t)


cdef void leader_close(fw_leader *leader) noexcept:
    csrc.fw_thread_close_all(leader)
    csrc.fw_leader_close(leader)
