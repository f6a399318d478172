# csrc.pxd - the only `extern` block for our C core. All of it works without the interpreter lock.
#
# Meaning, ownership and errors are told in the C headers. It has more than 500 lines because it declares all of them.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        unsigned short sa_family


cdef extern from "observe/access_log.h" nogil:
    enum fw_atom:
        FW_ATOM_TEXT
        FW_ATOM_CLIENT
        FW_ATOM_USER
        FW_ATOM_TIME
        FW_ATOM_ISO_TIME
        FW_ATOM_LINE
        FW_ATOM_METHOD
        FW_ATOM_PATH
        FW_ATOM_QUERY
        FW_ATOM_PROTOCOL
        FW_ATOM_STATUS
        FW_ATOM_REASON
        FW_ATOM_BYTES
        FW_ATOM_BYTES_OR_DASH
        FW_ATOM_SECONDS
        FW_ATOM_MILLISECONDS
        FW_ATOM_MICROSECONDS
        FW_ATOM_DECIMAL_SECONDS
        FW_ATOM_PROCESS
        FW_ATOM_PROCESS_NUMBER
        FW_ATOM_FULL_PATH
        FW_ATOM_THREAD
        FW_ATOM_HOST
        FW_ATOM_ID
        FW_ATOM_QUEUE
        FW_ATOM_APPLICATION
        FW_ATOM_CPU
        FW_ATOM_OFF_CPU
        FW_ATOM_LOCK_WAIT
        FW_ATOM_SEND
        FW_ATOM_FIELD
        FW_ATOM_GIVEN
    struct fw_text:
        const char *at
        size_t len
    struct fw_log_piece:
        uint8_t atom
        uint8_t id
        uint32_t len
        const char *text
        char head[8]
    struct fw_access_log:
        pass
    struct fw_entry:
        const fw_request *req
        fw_text line
        const sockaddr *client
        int status
        fw_text reason
        uint64_t bytes
        uint64_t us
        uint64_t queue_us
        uint64_t application_us
        uint64_t cpu_us
        uint64_t lock_us
        uint64_t send_us
        fw_text id
        int thread
        const fw_text *given
    int fw_access_log_open(fw_access_log **, int fd, const fw_log_piece *, unsigned, bint json, fw_text script_name)
    void fw_access_log_close(fw_access_log *)
    void fw_access_log_put(fw_access_log *, const fw_entry *)
    unsigned long long fw_access_log_lost(fw_access_log *, int *error)
    void fw_access_log_flush(fw_access_log *)
    void fw_access_log_finish(fw_access_log *)


cdef extern from "system/process.h" nogil:
    struct fw_process:
        uint32_t here
    int fw_process_open(fw_process **)
    void fw_process_close(fw_process *)
    bint fw_process_is_own(const fw_process *)


cdef extern from "io/deadline.h" nogil:
    uint64_t fw_deadline_us()
    uint64_t fw_deadline_clock()


cdef extern from "http/networks.h" nogil:
    union fw_address:
        sockaddr any
    struct fw_range4:
        uint32_t first
        uint32_t last
    struct fw_range6:
        uint8_t *first
        uint8_t *last
    struct fw_networks:
        const fw_range4 *v4
        const fw_range6 *v6
        unsigned n4
        unsigned n6
        bint all
    bint fw_address_same(const fw_address *, const fw_address *)


cdef extern from "http/forwarded.h" nogil:
    struct fw_lower_name:
        const char *at
        uint32_t len
        uint8_t id
    struct fw_scheme_field:
        fw_lower_name name
        const char *value
        uint32_t len
    struct fw_forwarding:
        fw_networks trusted
        const fw_scheme_field *schemes
        const fw_lower_name *names
        unsigned nschemes
        unsigned nnames
        bint any_name
        uint8_t follow
    void fw_forwarding_init(fw_forwarding *)
    uint64_t fw_forwarding_names(const fw_forwarding *)
    uint64_t fw_forwarding_always(const fw_forwarding *)


cdef extern from "http/globs.h" nogil:
    struct fw_glob:
        const char *at
        uint32_t len
        uint64_t value
    struct fw_globs:
        const fw_glob *list
        unsigned n


cdef extern from "io/beneath.h" nogil:
    enum fw_beneath:
        pass
    int fw_beneath_folder(const char *)
    fw_beneath fw_beneath_how(int)


cdef extern from "io/statics.h" nogil:
    struct fw_static:
        const char *prefix
        uint32_t prefix_len
        int folder
        int how
    struct fw_media_type:
        const char *ending
        const char *type
        bint packed
    struct fw_statics:
        const fw_static *list
        unsigned n
        const fw_media_type *types
        unsigned ntypes
        const char *index
        const fw_globs *immutable


cdef extern from "http/budget.h" nogil:
    struct fw_budgets:
        uint32_t ms
        fw_lower_name field


cdef extern from "fw.h" nogil:
    int FW_OK
    int FW_RETRY
    enum fw_header_map:
        pass
    enum fw_class:
        FW_CLASS_HEADER
        FW_CLASS_BODY
        FW_CLASS_WRITE
        FW_CLASS_KEEPALIVE
        FW_CLASS_LINGER
        FW_CLASS_RETIRE
        FW_CLASS_HANDSHAKE
    struct fw_config:
        uint32_t limit_line
        uint32_t limit_fields
        uint32_t limit_field_size
        uint32_t limit_header
        uint64_t limit_body
        size_t body_memory
        size_t high_water
        size_t response_memory
        uint32_t max_connections
        uint32_t max_ready
        uint32_t queue_target_ms
        bint drop_gone
        bint watch_gone
        uint32_t min_rate
        uint32_t min_rate_grace_ms
        uint32_t timeouts[8]
        uint32_t graceful_ms
        uint32_t beat_ms
        const fw_globs *time_limits
        fw_header_map header_map
        const fw_forwarding *forwarding
        uint64_t forwarded
        uint64_t forwarded_always
        const fw_globs *priorities
        const fw_statics *statics
        const fw_budgets *budgets
        int proxy_protocol
        const fw_networks *proxy_from
        bint memo
        bint overload_refuse
        const char *temp_dir
        const char *health
        const char *live
        const char *ready
        fw_access_log *access
        bint timed
        fw_metrics *metrics
        const fw_networks *uwsgi_from
    void fw_config_defaults(fw_config *)


cdef extern from "http/llhttp.h" nogil:
    enum:
        FW_METHODS
    struct fw_llhttp_api:
        const char *(*method_name)(int)
    int fw_llhttp_load(fw_llhttp_api *, const char *path, const char **missing)
    const char *fw_llhttp_check(const fw_llhttp_api *)


cdef extern from "tls/openssl.h" nogil:
    struct fw_ssl "ssl_st":
        pass
    struct fw_ssl_ctx "ssl_ctx_st":
        pass
    struct fw_bio "bio_st":
        pass
    struct fw_bio_functions:
        int (*read)(fw_bio *, char *, int) noexcept nogil
        int (*write)(fw_bio *, const char *, int) noexcept nogil
        long (*ctrl)(fw_bio *, int, long, void *) noexcept nogil
    ctypedef int (*fw_ticket_cb)(fw_ssl *, unsigned char *, unsigned char *, void *, void *, int) noexcept nogil
    struct fw_openssl:
        uint64_t (*SSL_CTX_get_options)(const fw_ssl_ctx *)
    const char *const *fw_openssl_names(bint required)
    const char *fw_openssl_init(fw_openssl *, void *const *addresses, const fw_bio_functions *)


cdef extern from "tls/tls.h" nogil:
    struct fw_tls:
        pass
    void fw_tls_describe(const fw_tls *, const char **protocol, const char **cipher, const char **server_name)
    ssize_t fw_tls_client_pem(const fw_tls *, char *, size_t)
    int fw_tls_bio_read(const fw_openssl *, fw_bio *, char *, int)
    int fw_tls_bio_write(const fw_openssl *, fw_bio *, const char *, int)
    long fw_tls_bio_ctrl(const fw_openssl *, fw_bio *, int, long, void *)


cdef extern from "tls/tickets.h" nogil:
    enum:
        FW_TICKET_KEY
        FW_TICKET_KEYS_MOST
    struct fw_tickets:
        unsigned n
        unsigned char keys[2][80]
    int fw_tickets_key(const fw_openssl *, fw_ssl *, unsigned char *, unsigned char *, void *, void *, int)


cdef extern from "tls/context.h" nogil:
    struct fw_certificate:
        pass
    struct fw_tls_context:
        fw_certificate *first
    struct fw_tls_options:
        const char *ciphers
        int least
        int most
        int verify
        const char *authorities
        size_t authorities_len
        const unsigned char *session_id
    struct fw_tls_fault:
        int part
        const char *why
    fw_tls_context *fw_tls_context_new(const fw_openssl *, const fw_tickets *, fw_ticket_cb)
    void fw_tls_context_unref(fw_tls_context *)
    bint fw_tls_context_add(fw_tls_context *, const fw_tls_options *, const char *pem, size_t, const char *key, size_t,
                            const char *names, size_t, fw_tls_fault *)
    bint fw_tls_context_holds_several(const fw_tls_context *)
    bint fw_tls_context_add_another(fw_tls_context *, const char *pem, size_t, const char *key, size_t, fw_tls_fault *)
    int fw_tls_context_borrow(fw_tls_context *, fw_ssl_ctx *)
    void fw_tls_limit_groups(const fw_openssl *, fw_ssl_ctx *)
    const char *fw_tls_check(const fw_tls_context *, const char **why)


cdef extern from "http/names.h" nogil:
    enum fw_name:
        FW_NAME_UNKNOWN
        FW_NAME_HOST
        FW_NAME_COOKIE
        FW_NAME_CONTENT_TYPE
        FW_NAME_CONTENT_LENGTH
        FW_NAME_COUNT
    const char *fw_name_text(fw_name, size_t *)
    fw_name fw_name_find(const char *, size_t)


cdef extern from "http/body.h" nogil:
    struct fw_body:
        uint64_t len
        uint64_t pos
        int fd
    uint64_t fw_body_left(const fw_body *)
    ssize_t fw_body_read(fw_body *, char *, size_t)
    ssize_t fw_body_line(const fw_body *, size_t)
    ssize_t fw_body_read_file(int fd, char *, size_t, uint64_t offset)
    ssize_t fw_body_line_file(int fd, uint64_t offset, size_t)


cdef extern from "http/memo.h" nogil:
    enum:
        FW_MEMO_NONE
        FW_MEMO_FILL
        FW_MEMO_BLOCK
        FW_MEMO_FULL
    struct fw_memo:
        pass
    struct fw_memos:
        pass


cdef extern from "http/request.h" nogil:
    struct fw_span:
        uint32_t off
        uint32_t len
    enum:
        FW_FIELD_HIDDEN
        FW_FRAMING_NONE
        FW_FRAMING_CHUNKED
    struct fw_field:
        fw_span name
        fw_span value
        uint8_t id
        uint8_t flags
    enum:
        FW_FOLLOW_SCHEME
        FW_FOLLOW_ADDRESS
        FW_FOLLOW_HOST
        FW_FOLLOW_PORT
        FW_FOLLOW_PREFIX
        FW_FOLLOW_MOUNT
    struct fw_followed:
        fw_address client
        fw_span host
        fw_span prefix
        fw_span mount
        uint32_t port
        bint secure
    struct fw_request:
        fw_followed followed
        uint8_t follows
        const char *base
        fw_field *fields
        uint32_t nfields
        fw_span method
        fw_span target
        fw_span path
        fw_span query
        fw_span authority
        fw_body body
        uint8_t method_id
        uint8_t minor
        uint8_t framing
        bint has_length
        bint keep_alive
        bint repeats
        bint asterisk
        uint8_t memo_use
        bint uwsgi
        fw_memo *memo
    const char *fw_request_at(const fw_request *, fw_span)
    bint fw_request_is_head(const fw_request *)
    void fw_memo_fill(fw_request *, void *)
    void *fw_memo_user(const fw_request *)


cdef extern from "http/uwsgi.h" nogil:
    enum fw_variable:
        FW_VARIABLE_REQUEST_METHOD
        FW_VARIABLE_REQUEST_URI
        FW_VARIABLE_QUERY_STRING
        FW_VARIABLE_SERVER_PROTOCOL
        FW_VARIABLE_SERVER_NAME
        FW_VARIABLE_SERVER_PORT
        FW_VARIABLE_REMOTE_ADDR
        FW_VARIABLE_REMOTE_PORT
        FW_VARIABLE_SERVER_SOFTWARE
        FW_VARIABLE_GATEWAY_INTERFACE
        FW_VARIABLE_PATH_INFO
        FW_VARIABLE_SCRIPT_NAME
    const fw_field *fw_uwsgi_variables(const fw_request *, uint32_t *)
    fw_span fw_uwsgi_value(const fw_request *, fw_variable)
    bint fw_uwsgi_is_https(const fw_request *)


cdef extern from "io/outq.h" nogil:
    struct fw_chunk_cache:
        pass
    struct fw_outq:
        size_t bytes
    struct fw_outq_mark:
        pass


cdef extern from "http/wire.h" nogil:
    enum:
        FW_DATE_LEN
    struct fw_date:
        pass
    enum fw_own:
        FW_OWN_NONE
        FW_OWN_DATE
        FW_OWN_SERVER
        FW_OWN_CONTENT_LENGTH
        FW_OWN_CONNECTION
        FW_OWN_CHALLENGE
        FW_OWN_UPGRADE
        FW_OWN_HOP
    const char *fw_date_line(fw_date *)
    size_t fw_wire_decimal(char *, uint64_t)
    size_t fw_wire_hex(char *, uint64_t)
    bint fw_wire_is_value(const char *, size_t)
    enum fw_field_fault:
        FW_FAULT_NONE
        FW_FAULT_NAME
        FW_FAULT_VALUE
    fw_field_fault fw_wire_field(char *, const char *, size_t, const char *, size_t, fw_own *)
    bint fw_wire_lists(const char *, size_t, const char *)
    size_t fw_wire_unquote(char *, const char *, size_t)


cdef extern from "observe/scoreboard.h" nogil:
    struct fw_stats:
        uint64_t accepted
        uint64_t requests
        uint64_t refused
        uint64_t timeouts
        uint64_t truncated
        uint64_t broken
        uint64_t upgraded
        uint64_t bytes_in
        uint64_t bytes_out
        uint64_t passed_on
        uint64_t taken_over
        uint64_t gone
        uint64_t failed_handshakes
        uint64_t connections
    uint64_t FW_NO_LIMIT
    enum:
        FW_PHASE_APPLICATION
    struct fw_board_call:
        uint32_t phase
        uint64_t since
        uint32_t number
        uint32_t tid
        uint64_t limit
        char method[24]
        char client[48]
        char target[408]
    struct fw_board:
        uint32_t draining  # atomic there
    size_t fw_board_size(unsigned)
    void fw_board_init(fw_board *, uint32_t pid, unsigned threads)


cdef extern from "observe/metrics.h" nogil:
    enum:
        FW_METRICS_LAYOUT
        FW_LATE_APPLICATION
    struct fw_histogram:
        uint64_t counts[25]
    struct fw_route:
        fw_histogram application
    struct fw_metrics:
        uint64_t layout
        uint64_t threads
        uint64_t late[8]
        uint64_t slow[16]
        uint64_t nbounds
        uint64_t bounds[24]
        uint64_t quick
        fw_histogram application
        uint64_t nroutes
        fw_route routes[100]
        uint64_t cpu_us
        uint64_t off_cpu_us
        uint64_t lock_wait_us
    struct fw_sent_note:
        fw_sent_note *next
        uint64_t sent
        void *user
    struct fw_timing:
        uint64_t complete
        uint64_t pulled
        uint64_t handed_over
        uint64_t waited
        uint64_t route
        uint64_t door
        fw_sent_note *note
    void fw_metrics_answered(fw_metrics *, const fw_request *, int status, uint64_t route)
    uint64_t fw_metrics_route(fw_metrics *, const char *, size_t)


cdef extern from "observe/doing.h" nogil:
    enum:
        FW_DOINGS
    struct fw_seen:
        uint32_t number
        uint64_t us[7]
        uint64_t kept
        fw_board_call keeper
    struct fw_sampler:
        pass
    int fw_sampler_open(fw_sampler **, const fw_board *)
    void fw_sampler_close(fw_sampler *)
    void fw_sampler_know_lock(fw_sampler *, uint64_t)
    void fw_sampler_witness(fw_sampler *, uint32_t, uint32_t)
    fw_seen fw_sampler_seen(fw_sampler *, unsigned, uint32_t)
    uint64_t fw_doing_waits_at(uint32_t)
    uint32_t fw_doing_tid()
    uint64_t fw_doing_cpu()


cdef extern from "io/statics.h" nogil:
    struct fw_ranges:
        unsigned n
    struct fw_sending:
        int fd
        int status
        fw_ranges parts
        uint64_t sent
    fw_sending *fw_sending_named(const fw_statics *, const fw_static *, const char *, size_t)
    int fw_sending_open(fw_sending *, bint)
    void fw_sending_decide(fw_sending *, const fw_request *, bint)
    bint fw_sending_is_failure(const fw_sending *)
    void fw_sending_close(fw_sending *)


cdef extern from "http/file_path.h" nogil:
    ssize_t fw_file_path_below(const char *, size_t, const char *, size_t)


cdef extern from "io/conn.h" nogil:
    enum fw_turn:
        FW_TURN_REQUEST
        FW_TURN_RESUME
        FW_TURN_GONE
    struct fw_listener:
        bint uwsgi
        unsigned index
        fw_tls_context *tls
    enum:
        FW_ORIGIN_TRUSTED
    struct fw_conn:
        uint8_t turn
        bint broken
        bint leased
        unsigned origin
        uint64_t worth_until
        const fw_listener *listener
        fw_tls *tls
        fw_request *req
        fw_outq out
        fw_sending *file
        size_t unsent
        void *user
        void *peer
    fw_timing *fw_conn_timing(fw_conn *)
    const sockaddr *fw_conn_address(const fw_conn *)
    const sockaddr *fw_conn_client(const fw_conn *)
    bint fw_conn_offers(const fw_conn *)
    const char *fw_conn_early(const fw_conn *, size_t *)


cdef extern from "io/takeover.h" nogil:
    struct fw_takeover:
        int fd
    void fw_takeover_hold(fw_takeover *)
    void fw_takeover_let_go(fw_takeover *)
    bint fw_takeover_has_conn(const fw_takeover *)


cdef extern from "io/conns.h" nogil:
    struct fw_failed_handshake:
        const char *why
        int error
        uint32_t untold
        fw_address peer
    struct fw_conns:
        fw_config cfg
        fw_metrics *metrics
        fw_chunk_cache cache
        fw_date date
        fw_stats stats
        fw_memos memos
        uint32_t nready  # atomic there, as the next ones are
        bint stopping
        bint passes_on
        const uint32_t *draining  # atomic there
    bint fw_conn_is_gone(const fw_conns *, const fw_conn *)


cdef extern from "io/siblings.h" nogil:
    struct fw_siblings_page:
        pass
    struct fw_siblings:
        fw_siblings_page *page
    bint fw_siblings_one_is_free(const fw_siblings *, uint64_t now)
    size_t fw_siblings_size(unsigned)
    void fw_siblings_enter(fw_siblings *)


cdef extern from "io/loop.h" nogil:
    enum:
        FW_NOTICE_DESCRIPTORS
        FW_NOTICE_CONNECTIONS
        FW_NOTICE_ACCESS
        FW_NOTICE_STORAGE
        FW_NOTICE_OVERLOAD
        FW_NOTICE_RELIEF
        FW_NOTICE_HANDSHAKE
        FW_NOTICE_SENT
    enum fw_stop:
        FW_STOP_GRACEFUL
        FW_STOP_QUICK
    struct fw_overload:
        uint32_t waiting
        uint32_t wait
        uint64_t ms
        uint64_t refused
        uint32_t longest
    struct fw_loop:
        fw_conns conns
        fw_listener *listeners
        fw_board *board
        fw_siblings siblings
        int wake_write
        int storage_error
        fw_failed_handshake failed
        fw_overload overload
    int fw_loop_listen(fw_loop *, int fd, bint tcp)
    void fw_loop_use_tls(fw_loop *, unsigned listener, fw_tls_context *)
    int fw_loop_lifeline(fw_loop *, int fd)
    int fw_loop_share(fw_loop *, fw_siblings_page *, const int *bells, unsigned own, int bell)
    void fw_loop_connect(fw_loop *, int, int)
    void fw_loop_stop(fw_loop *, fw_stop)


cdef extern from "threads/leader.h" nogil:
    struct fw_leader:
        fw_loop loop
    int fw_leader_open(fw_leader **, const fw_llhttp_api *, const fw_config *)
    void fw_leader_close(fw_leader *)
    void fw_leader_reopen(fw_leader *)
    int fw_standby_start(fw_leader *)
    void fw_standby_stop(fw_leader *)
    unsigned fw_leader_notices(fw_leader *)
    fw_sent_note *fw_leader_sent_notes(fw_leader *)
    void fw_leader_use_tls(fw_leader *, fw_tls_context *)
    fw_stats fw_leader_stats(fw_leader *)


cdef extern from "threads/thread.h" nogil:
    enum:
        FW_NEXT_TURN
        FW_NEXT_WAKE
        FW_NEXT_DONE
    struct fw_thread:
        unsigned index
        fw_leader *leader
        fw_chunk_cache cache
        fw_date date
        bint more
        bint at_door
    int fw_thread_file_head(fw_thread *, fw_conn *, fw_sending *, bint)
    int fw_thread_file_fields(fw_thread *, fw_conn *, fw_sending *, bint, bint)
    fw_thread *fw_thread_open(fw_leader *)
    void fw_thread_close_all(fw_leader *)
    void fw_thread_attach(fw_thread *)
    int fw_thread_next(fw_thread *, fw_conn *, bint keep, bint cut, bint hasty, fw_conn **)
    void fw_thread_finish(fw_thread *, fw_conn *, bint keep, bint cut)
    void fw_thread_enter(fw_thread *)
    int fw_thread_send(fw_thread *, fw_conn *)
    int fw_thread_pass(fw_thread *, fw_conn *, bint more)
    char *fw_thread_reserve(fw_thread *, fw_conn *, size_t)
    void fw_thread_commit(fw_conn *, size_t)
    int fw_thread_copy(fw_thread *, fw_conn *, const void *, size_t)
    int fw_thread_ref(fw_thread *, fw_conn *, const void *, size_t, void *owner)
    int fw_thread_file(fw_thread *, fw_conn *, int fd, int64_t offset, size_t, void *owner)
    fw_outq_mark fw_thread_here(const fw_conn *)
    void fw_thread_rollback(fw_thread *, fw_conn *, fw_outq_mark)
    size_t fw_thread_unsent_inside(const fw_conn *)
    size_t fw_thread_queued(fw_thread *, const fw_conn *)
    size_t fw_thread_unsent(fw_thread *, const fw_conn *)
    bint fw_thread_gathers(const fw_thread *, size_t queued)
    int fw_thread_gather(fw_thread *, fw_conn *)
    void fw_thread_open_gate(fw_thread *)
    void fw_thread_close_gate(fw_thread *)
    void fw_thread_clear_up(fw_thread *)
    void fw_thread_suspend(fw_thread *, fw_conn *, void *)
    int fw_thread_wait(fw_thread *, fw_conn *)
    void fw_thread_watch(fw_thread *, fw_conn *)
    void fw_thread_limit(fw_thread *, uint64_t us)
    int fw_thread_take_over(fw_thread *, fw_conn *, fw_takeover **)
    void fw_thread_leave_socket(fw_thread *, fw_takeover *, bint give_away)
    bint fw_thread_call(fw_thread *, fw_board_call *)
    bint fw_thread_client_gone(fw_thread *)
    void *fw_thread_to_release(fw_thread *)
