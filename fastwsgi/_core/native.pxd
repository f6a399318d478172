# native.pxd - the door to the C core for the other compiled modules.
#
# csrc is linked into `native` once; its functions are reached through these. Those that may take a system call come in
# pairs with the interpreter lock: the ones marked "drops the lock" release it around the call, and are the only places
# where it is released.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastwsgi._core.csrc cimport (
    fw_access, fw_board, fw_board_call, fw_body, fw_config, fw_conn, fw_entry, fw_field_fault, fw_leader,
    fw_llhttp_api, fw_log_piece, fw_loop, fw_name, fw_outq_mark, fw_own, fw_process, fw_stats, fw_stop, fw_text,
    fw_thread,
)

cdef const fw_llhttp_api *llhttp_api() noexcept

# names and wire
cdef const char *name_text(fw_name name, size_t *n) noexcept
cdef fw_name find_name(const char *name, size_t n) noexcept
cdef const char *date_line(fw_thread *t) noexcept
cdef size_t decimal(char *to, unsigned long long value) noexcept
cdef size_t hexadecimal(char *to, unsigned long long value) noexcept
cdef bint is_value(const char *s, size_t n) noexcept
cdef fw_field_fault field_line(
    char *to, const char *name, size_t nn, const char *value, size_t nv, fw_own *own
) noexcept
cdef bint lists(const char *s, size_t n, const char *lower) noexcept
cdef size_t unquote(char *to, const char *src, size_t n) noexcept

# request bodies: reads may touch a file
cdef ssize_t body_read(fw_body *body, char *to, size_t n) noexcept
cdef ssize_t body_line(const fw_body *body, size_t limit) noexcept
cdef ssize_t read_file(int fd, char *to, size_t n, uint64_t offset) noexcept  # drops the lock
cdef ssize_t line_file(int fd, uint64_t offset, size_t limit) noexcept         # drops the lock
cdef void close_file(int fd) noexcept                                          # drops the lock

# output queue of a connection that this thread owns; between the gates if it gathers (thread.h)
cdef char *reserve(fw_thread *t, fw_conn *c, size_t n) noexcept
cdef void commit(fw_conn *c, size_t n) noexcept
cdef int copy(fw_thread *t, fw_conn *c, const void *data, size_t n) noexcept
cdef int ref(fw_thread *t, fw_conn *c, const void *data, size_t n, void *owner) noexcept
cdef int file(fw_thread *t, fw_conn *c, int fd, int64_t offset, size_t n, void *owner) noexcept
cdef fw_outq_mark here(fw_conn *c) noexcept
cdef void rollback(fw_thread *t, fw_conn *c, fw_outq_mark mark) noexcept

# the access log
cdef int access_open(
    fw_access **out, int fd, const fw_log_piece *pieces, unsigned n, bint json, fw_text script_name
) noexcept
cdef void access_free(fw_access *a) noexcept
cdef void access_put(fw_access *a, const fw_entry *e) noexcept
cdef void access_flush(fw_access *a) noexcept        # drops the lock
cdef unsigned long long access_lost(fw_access *a, int *error) noexcept
cdef uint64_t clock_us() noexcept

# the process
cdef int process_open(fw_process **out) noexcept
cdef void process_close(fw_process *p) noexcept
cdef bint process_is_own(const fw_process *p) noexcept

# connection and loop
cdef size_t unsent_inside(const fw_conn *c) noexcept  # bytes that are queued; for those between the gates
# these two pass the gate: not for those between the gates
cdef size_t queued(fw_thread *t, const fw_conn *c) noexcept
cdef size_t unsent(fw_thread *t, const fw_conn *c) noexcept
cdef int send(fw_thread *t, fw_conn *c) noexcept     # drops the lock
# drops the lock if it sends; FW_RETRY: the application is to be held back
cdef int pass_on(fw_thread *t, fw_conn *c, size_t queued, bint more) noexcept
cdef int wait(fw_thread *t, fw_conn *c) noexcept     # drops the lock
cdef void suspend(fw_thread *t, fw_conn *c, void *user) noexcept  # drops the lock
# drops the lock unless a turn is to be had without waiting
cdef int next_turn(fw_thread *t, fw_conn *done, bint keep, bint cut, unsigned *streak, fw_conn **out) noexcept
cdef void finish(fw_thread *t, fw_conn *done, bint keep, bint cut) noexcept  # drops the lock
cdef void *spent(fw_thread *t) noexcept
cdef void config_defaults(fw_config *cfg) noexcept
cdef int leader_open(fw_leader **out, const fw_config *cfg) noexcept
cdef int loop_listen(fw_loop *loop, int fd, bint tcp) noexcept
cdef int loop_lifeline(fw_loop *loop, int fd) noexcept
cdef size_t board_size(unsigned threads) noexcept
cdef void board_open(fw_board *board, uint32_t pid, unsigned threads) noexcept
cdef bint thread_call(fw_thread *t, fw_board_call *to) noexcept
cdef fw_thread *thread_open(fw_leader *leader) noexcept
cdef void thread_attach(fw_thread *t) noexcept
cdef int standby_start(fw_leader *leader) noexcept
cdef void standby_stop(fw_leader *leader) noexcept       # drops the lock
cdef void loop_stop(fw_loop *loop, fw_stop how) noexcept
cdef void leader_reopen(fw_leader *leader) noexcept
cdef unsigned leader_notices(fw_leader *leader) noexcept
cdef fw_stats leader_stats(fw_leader *leader) noexcept
cdef void clear_up(fw_thread *t) noexcept            # these two: when no thread is inside any more
cdef void leader_close(fw_leader *leader) noexcept
