/* fw.h - what every file of the core shares: return codes, branch hints, limits.
 *
 * The core knows bytes and file descriptors only.  It never includes Python.h, never prints, keeps no globals
 * (constant tables excepted), and reports in one of three ways: a result >= 0, FW_RETRY ("not now"), or -errno.
 */
#ifndef FW_H
#define FW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FW_OK 0
#define FW_RETRY (-0x10000) /* outside the range of errno */

#define FW_NOINLINE __attribute__((noinline))
#define fw_likely(x) __builtin_expect(!!(x), 1)
#define fw_unlikely(x) __builtin_expect(!!(x), 0)

/* The structure of type T whose member M is at P. */
#define fw_container(p, T, m) ((T *)(void *)((char *)(p) - offsetof(T, m)))

/* What to do with a field name that CGI would fold into another one (`X_Y` and `X-Y`). */
enum fw_header_map { FW_MAP_DROP, FW_MAP_REFUSE, FW_MAP_DANGEROUS };

/* Timeout classes: each has one FIFO in deadline.h, because every member of a class waits equally long. */
enum fw_class {
    FW_CLASS_HEADER,    /* a head must be complete this long after its first byte, or after accept */
    FW_CLASS_BODY,      /* between two reads of a body */
    FW_CLASS_WRITE,     /* a client takes something of a waiting response in this time; judged by checks (PACE) */
    FW_CLASS_KEEPALIVE, /* between two requests */
    FW_CLASS_LINGER,    /* how long a refused peer may go on talking before we hang up */
    FW_CLASS_RETIRE,    /* how long an idle connection of a stopping worker waits for a request on its way */
    FW_CLASS_PACE,      /* between two checks of how fast a client takes its response; not set from outside */
    FW_CLASS_HANDSHAKE, /* a TLS handshake must be complete this long after accept; the head's time begins then */
    FW_CLASSES
};

/* Every limit the core applies.  Sizes are bytes, times milliseconds; 0 switches a timeout or body limit off. */
typedef struct fw_config {
    uint32_t limit_line;       /* request line without its CRLF */
    uint32_t limit_fields;     /* header fields, trailers included */
    uint32_t limit_field_size; /* one field line without its CRLF */
    uint32_t limit_header;     /* the header section */
    uint64_t limit_body;       /* request body after decoding; 0 = none */
    size_t body_memory;        /* a larger body goes to an unlinked temporary file */
    size_t high_water;         /* unsent response bytes at which an application is held back */
    size_t response_memory;    /* bytes that all waiting responses may take: high_water sinks for it; 0 = no limit */
    uint32_t max_connections;
    uint32_t max_ready; /* complete requests that may wait for a thread; 0 = as many as there are connections */
    uint32_t queue_target_ms; /* the shortest wait of a request, while there is no overload; 0 = none is looked for */
    uint32_t min_rate;  /* bytes/s that a request must arrive, and a queued response be taken with, on average; 0 = none */
    uint32_t min_rate_grace_ms; /* ... from this time after its beginning on */
    uint32_t timeouts[FW_CLASSES];
    uint32_t graceful_ms; /* how long a graceful stop may take */
    uint32_t beat_ms;     /* the scoreboard is written at least this often; 0 = when there is something new */
    const struct fw_globs *time_limits; /* paths (http/globs.h) with limits of their own for a call (us), or NULL; borrowed */
    enum fw_header_map header_map;
    const struct fw_forwarding *forwarding; /* what trusted proxies may say (http/forwarded.h), or NULL; borrowed */
    uint64_t forwarded;        /* known names by which a head is seen to say it; 0 without `forwarding` */
    uint64_t forwarded_always; /* ... and those that every head is taken to have */
    const struct fw_globs *priorities; /* paths (http/globs.h) whose requests are served first, or NULL; borrowed */
    const struct fw_budgets *budgets; /* how long requests are worth answering (http/budget.h), or NULL; borrowed */
    int proxy_protocol;        /* enum fw_proxy_protocol (http/proxy_header.h) */
    const struct fw_networks *proxy_from; /* who may send, and must, a PROXY header; borrowed, NULL when it is off */
    bool memo;            /* remember heads (memo.h) */
    bool drop_gone;       /* a request that has waited too long is not served if its client has shut its side */
    bool watch_gone;      /* calls that last are to know whether their clients are gone */
    bool overload_refuse; /* past either maximum: true answers 503, false leaves clients in the backlog */
    const char *temp_dir; /* borrowed; outlives the loop */
    const char *health, *live, *ready; /* paths that the loop answers itself (io/health.h), or NULL; borrowed */
    const struct fw_statics *statics; /* folders whose files the loop serves (io/statics.h), or NULL; borrowed */
    struct fw_metrics *metrics;   /* what is counted for whoever scrapes it, or NULL; borrowed */
    struct fw_access_log *access; /* the access log, or NULL; borrowed */
    bool timed;           /* note when what happens to each request (fw_conn_timing), metrics or not */
    const struct fw_networks *uwsgi_from; /* who may send packets of the uwsgi protocol; borrowed */
} fw_config;

/* Zeroes `cfg` but for what no setting decides.  The defaults of settings are in fastwsgi/config/table.py. */
void fw_config_defaults(fw_config *cfg);

#endif
