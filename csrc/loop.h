/* loop.h - accept, poll, hand out requests, stop.
 *
 * Worker threads pull: fw_loop_next runs the loop until a connection wants its turn, and returns it.  The loop never
 * calls anybody.  One thread at a time runs it; only fw_loop_wake and fw_loop_stop may be called from elsewhere.
 */
#ifndef FW_LOOP_H
#define FW_LOOP_H

#include "conn.h"

#include <stdatomic.h>

enum fw_next {
    FW_NEXT_TURN, /* *out is a pulled connection */
    FW_NEXT_WAKE, /* somebody woke the loop, or a signal came: look around and call again */
    FW_NEXT_DONE, /* stopped, and every connection is closed */
};

enum fw_notice {
    FW_NOTICE_DESCRIPTORS = 1, /* out of descriptors or socket memory: accepting is paused */
    FW_NOTICE_CONNECTIONS = 2, /* max_connections reached */
};

enum fw_stop { FW_STOP_NONE, FW_STOP_GRACEFUL, FW_STOP_QUICK };

#define FW_LISTENERS 64

typedef struct fw_loop {
    fw_hub hub; /* first */
    fw_listener listeners[FW_LISTENERS];
    unsigned nlisteners;
    fw_event *events;
    int nevents, at; /* of the last poll, and how far they have been handled */
    bool crowded;    /* the last poll filled the array: there may be more */
    fw_listener *accept_on; /* connections are being taken from this one */
    unsigned accept_budget;
    bool accepting;     /* listeners are registered */
    uint64_t retry_at;  /* accept again at this time after running out of descriptors */
    uint64_t polled_at; /* when the last poll returned */
    uint64_t stop_at;   /* end of a graceful stop */
    uint64_t noticed_at[2];
    unsigned notices;
    fw_handle wake;
    int wake_read, wake_write;
    bool woken;
    bool waiting; /* inside fw_loop_drain: poll no longer than that is so */
    _Atomic int stop; /* enum fw_stop */
    int stopped;      /* what has been acted on */
} fw_loop;

/* FW_OK or -errno; `*out` is set on success only. */
int fw_loop_open(fw_loop **out, const fw_llhttp_api *api, const fw_config *cfg);

/* Closes every connection; listening descriptors stay open.  Owners and peers must have been collected. */
void fw_loop_free(fw_loop *l);

/* Adds a listening, non-blocking descriptor.  Returns its index or -errno. */
int fw_loop_listen(fw_loop *l, int fd, bool tcp);

/* Runs the loop until there is something to say; enum fw_next or -errno. */
int fw_loop_next(fw_loop *l, fw_conn **out);

/* True if fw_loop_next would return without a system call. */
static inline bool fw_loop_ready(const fw_loop *l)
{
    return l->hub.ready_head != NULL;
}

/* As fw_loop_next, but only with what the last poll has brought: FW_RETRY when that is used up. Never waits. */
int fw_loop_try(fw_loop *l, fw_conn **out);

/* True if fw_loop_try has something to look at. */
static inline bool fw_loop_pending(const fw_loop *l)
{
    return l->hub.ready_head != NULL || l->at < l->nevents;
}

/* The owner of a BUSY connection waits, running the loop meanwhile, until most of its output is sent.  FW_OK, -EPIPE
 * when the client is gone, FW_RETRY: look around (signals) and call again. */
int fw_loop_drain(fw_loop *l, fw_conn *c);

/* From any thread, and from signal handlers. */
void fw_loop_wake(fw_loop *l);
void fw_loop_stop(fw_loop *l, enum fw_stop how);

/* Returns and clears the set of enum fw_notice. */
unsigned fw_loop_notices(fw_loop *l);

/* Closes every connection at once, suspended responses get TURN_GONE. */
void fw_loop_abandon(fw_loop *l);

#endif
