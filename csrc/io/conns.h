/* conns.h - what the connections of one loop share: settings, poller, deadlines, time, memory at rest, lists, counters.
 *
 * Called under the loop's lock, as conn.h. What these functions do to one connection is in conn.c, with all its moves.
 */
#ifndef FW_CONNS_H
#define FW_CONNS_H

#include "http/memo.h"
#include "http/wire.h"
#include "io/admission.h"
#include "io/conn.h"
#include "io/poller.h"
#include "observe/metrics.h"
#include "observe/scoreboard.h"

#define FW_SHARE 8192 /* queued bytes up to which responses wait for each other */
#define FW_HELD 16    /* responses that may wait to be sent together */

/* The handshake of TLS that has failed last, until the loop tells of it. */
typedef struct fw_failed_handshake {
    const char *why; /* static; NULL: `error` says it */
    int error;       /* errno of the socket */
    uint32_t untold; /* that have failed since the loop has told of one */
    fw_address peer;
} fw_failed_handshake;

/* What the connections of one loop share. */
typedef struct fw_conns {
    const fw_llhttp_api *api;
    fw_config cfg;
    fw_poller poller;
    fw_deadlines deadlines;
    uint64_t now; /* monotonic ms, refreshed at each turn of the loop */
    uint64_t heard_at; /* ... when the poller told of what is being dealt with */
    fw_admission admission;
    fw_chunk_cache cache;
    fw_date date;
    fw_memos memos;
    fw_buffer *buffers;   /* receive buffers at rest */
    fw_request *requests; /* a few at rest: the steady state allocates nothing */
    unsigned nrequests;
    fw_conn *ready_head, *ready_tail; /* complete requests: at the front those that are served first, */
    fw_conn *first_tail;              /* ... of which this is the last; NULL: there is none */
    unsigned in_a_row;                /* of those that have been taken while others waited */
    _Atomic uint32_t nready;          /* ... and their number */
    uint64_t spent_at; /* ms: one of them is worth nothing any more then, at the earliest; 0: none will be */
    fw_conn *again;  /* more to read, in a later turn */
    size_t queued;        /* bytes of memory that queues of waiting connections take (conn.counted) */
    _Atomic(size_t) mark; /* unsent bytes at which an application is held back now; 0: as soon as its client is late */
    fw_conn *to_free;    /* closed since the last safe point */
    fw_conn *to_release; /* closed, and only their `peer` waits to be handed back */
    fw_conn all;     /* sentinel of the list of all */
    fw_stats stats;
    _Atomic uint32_t *tally; /* where stats.connections is shown to the siblings, or NULL */
    struct fw_store *store; /* does what waits for a disk, or NULL: then it is done at once */
    int storage_error;      /* errno of a body that could not be stored, until the loop tells of it */
    fw_failed_handshake failed;
    uint64_t illegal_moves; /* asked of connections, which were closed for it (conn.c): bugs of ours */
    uint64_t work;          /* spent on input: bytes received, and what costs as much as so many (conn.c) */
    fw_metrics *metrics;    /* or NULL: nothing is counted for them */
    bool timed;             /* requests are timed: for the metrics, or for whoever asks why they are slow */
    uint64_t us;            /* timed: the last look at the exact clock */
    fw_sent_note *sent_notes; /* of responses that have been sent since somebody was told of them last */
    bool answers;           /* some paths are answered here (health.h, statics.h) */
    const _Atomic uint32_t *draining; /* not 0: the whole server is going to stop, and serves meanwhile; or NULL */
    atomic_bool stopping; /* idle connections leave, and responses say Connection: close, */
    atomic_bool passes_on; /* ... unless another worker takes the connections */
    bool to_pass_on;       /* ... and one has become idle: whoever polls is to see to it */
    bool shares; /* pipelined responses may wait for each other, because somebody will see to it that none waits long */
    bool called; /* some owner has been called */
    /* complete responses that are sent together, because the next request is run at once: whoever reads them on this
     * machine is woken once for all of them */
    fw_conn *held[FW_HELD];
    unsigned nheld;
    unsigned releases;           /* how often they have been sent */
    _Atomic(unsigned) held_most; /* how many may be held; 0: none */
} fw_conns;

int fw_conns_open(fw_conns *cs, const fw_llhttp_api *api, const fw_config *cfg, int events);
void fw_conns_close(fw_conns *cs);

/* Sends what the READY connections still have queued from pipelined responses: nobody may pull them soon. */
void fw_conns_flush_ready(fw_conns *cs);

/* True if what is queued is little enough to be held. */
static inline bool fw_conn_may_hold(const fw_conns *cs, const fw_conn *c)
{
    return c->out.bytes < FW_SHARE && atomic_load_explicit(&cs->held_most, memory_order_relaxed) != 0;
}

/* Sends the responses that are held, and goes on with their connections. `cache` and `*sent` as in fw_conn_send. */
void fw_conns_release(fw_conns *cs, fw_chunk_cache *cache, uint64_t *sent);

/* Sends waiting requests to other workers, the longest waiting first, `most` at most. Returns how many are on their way. */
unsigned fw_conns_pass_on_ready(fw_conns *cs, const struct fw_travel *t, unsigned most);

/* In an overload: refuses waiting requests that have waited too long (admission.h), some of them at once. */
void fw_conns_refuse_late(fw_conns *cs);

/* Refuses waiting requests whose budgets are spent, if it is time to. */
void fw_conns_refuse_spent(fw_conns *cs);

/* Refuses all requests that no thread has taken, because none will. */
void fw_conns_refuse_ready(fw_conns *cs, int status, const char *why);

/* Goes on reading where fairness had cut it short; true if there was anything. */
bool fw_conns_again(fw_conns *cs);

/* With metrics: shows how many requests wait, and since when. To be called before a poll. */
void fw_conns_show_waiting(fw_conns *cs);

/* With metrics: counts the connections by their state. */
void fw_conns_census(fw_conns *cs);

/* The safe point: frees the closed connections, except those whose `peer` is to be handed back first. */
void fw_conns_reap(fw_conns *cs);

#endif
