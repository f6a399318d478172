/* loop.h - accept, poll, stop: one step at a time, by one thread at a time.
 *
 * The loop knows neither threads nor locks. Whoever steps it sees to it that nobody else is in it; in a worker that is the
 * leader, whose struct the loop is a part of (leader.h). fw_loop_wake and fw_loop_stop may be called from anywhere, signal
 * handlers too.
 */
#ifndef FW_LOOP_H
#define FW_LOOP_H

#include "io/conns.h"
#include "io/siblings.h"
#include "io/travel.h"
#include "observe/scoreboard.h"

#include <stdatomic.h>

enum fw_notice {
    FW_NOTICE_DESCRIPTORS = 1, /* out of descriptors or socket memory: accepting is paused */
    FW_NOTICE_CONNECTIONS = 2, /* max_connections reached */
    FW_NOTICE_ACCESS = 4,      /* lines of the access log are lost */
    FW_NOTICE_STORAGE = 8,     /* a body could not be stored: `storage_error` says why */
    FW_NOTICE_OVERLOAD = 16,   /* requests wait too long, and more come than are served: some are refused */
    FW_NOTICE_RELIEF = 32,     /* that is over: `overload` has the figures */
    FW_NOTICE_HANDSHAKE = 64,  /* handshakes of TLS have failed: `failed` has the last one */
    FW_NOTICE_SENT = 128,      /* responses have been sent that somebody waits for: fw_leader_sent_notes */
};

enum fw_stop { FW_STOP_NONE, FW_STOP_GRACEFUL, FW_STOP_QUICK };

/* The last overload: as it began, and, when it is over, what it was. */
typedef struct fw_overload {
    uint32_t waiting; /* requests */
    uint32_t wait;    /* ms that the one had waited that was taken then */
    uint64_t ms, refused;
    uint32_t longest; /* ms that a refused request had waited */
} fw_overload;

#define FW_LISTENERS 64

typedef struct fw_loop {
    fw_conns conns; /* first */
    fw_listener listeners[FW_LISTENERS];
    unsigned nlisteners;
    fw_event *events;
    int nevents, at; /* of the last poll, and how far they have been handled */
    bool crowded;    /* the last poll filled the array: there may be more */
    fw_listener *accept_on; /* connections are being taken from this one */
    unsigned accept_budget;
    unsigned to_try;    /* the listeners before this one are still to be tried, without an event */
    bool accepting;     /* listeners are registered */
    uint64_t retry_at;  /* accept again at this time, after running out of descriptors or leaving a connection */
    uint64_t left_at;   /* when a connection was left to a sibling, until it has been looked for; or 0 */
    fw_siblings siblings;
    fw_travel travel;
    fw_listener parcels; /* stands for the socket of `travel` where connections are taken from */
    bool look;           /* it is to be looked at after the listeners */
    int heir;            /* the slot to which connections were passed on last */
    uint64_t rung_at;    /* when a free sibling was told last of what waits there */
    uint64_t pass_at;    /* a stop: when to try again to pass connections on; 0: none waits for that */
    fw_handle bell;
    int bell_fd;
    uint64_t polled_at; /* when the last poll returned */
    uint64_t stop_at;   /* end of a graceful stop */
    uint64_t noticed_at[9]; /* by the notice's number halved */
    fw_overload overload;   /* the last one that was told of */
    bool told_begin;        /* ... of the one at hand */
    int storage_error;      /* errno of the last FW_NOTICE_STORAGE */
    fw_failed_handshake failed; /* of the last FW_NOTICE_HANDSHAKE */
    uint64_t failed_told_at;    /* ms: when that was; 0: never */
    unsigned notices;
    fw_board *board;    /* or NULL; borrowed */
    uint64_t counted_at; /* ms: when the counters were copied there, and two of them then */
    uint64_t counted_bytes, counted_connections, counted_bytes_out;
    uint64_t census_at; /* ms: when the connections are to be counted by state again, at the earliest */
    uint64_t latency[FW_BOARD_BUCKETS]; /* calls that were shown on the board, for it; counted by those who make them */
    fw_handle lifeline;
    int lifeline_fd;     /* -1: none, or its end has been seen */
    uint64_t orphan_end; /* ms: then this process ends, whatever it is doing; 0: the master lives */
    fw_handle wake;
    int wake_read, wake_write;
    bool woken;
    bool waking;       /* a byte of fw_loop_cut_short is on its way */
    bool serves;       /* whoever steps runs the requests itself; else others do, and it may wait while some are ready */
    int patience;      /* ms that a poll may last at most; -1: as long as it takes */
    int wait_ms;       /* how long the next poll is to last; -1: until there is something */
    uint64_t wakes_at; /* when that ends, ms */
    _Atomic int stop; /* enum fw_stop */
    int stopped;      /* what has been acted on */
} fw_loop;

/* In zeroed memory. FW_OK or -errno; then nothing is left to be closed. */
int fw_loop_open(fw_loop *l, const fw_llhttp_api *api, const fw_config *cfg);

/* Closes every connection; listening descriptors stay open.  Owners and peers must have been collected. */
void fw_loop_close(fw_loop *l);

/* Adds a listening, non-blocking descriptor.  Returns its index or -errno. */
int fw_loop_listen(fw_loop *l, int fd, bool tcp);

/* New connections of a listener speak TLS from now on, or (NULL) they do not. It has a reference. */
void fw_loop_use_tls(fw_loop *l, unsigned listener, fw_tls_context *tls);

/* Watches the read end of a pipe that only the master holds open. When that ends the process has FW_ORPHAN_MS to end by
 * itself; then it is killed, for nobody would end one that is stuck. FW_OK or -errno. */
#define FW_ORPHAN_MS 2500
int fw_loop_lifeline(fw_loop *l, int fd);

/* Shares new connections with the workers of this page, in the slot `own`; `bell` is where its own bell is read. FW_OK or
 * -errno. All are borrowed. */
int fw_loop_share(fw_loop *l, fw_siblings_page *page, const int *bells, unsigned own, int bell);

/* Connections may travel to those workers through this socket pair (travel.h), which is borrowed. */
void fw_loop_connect(fw_loop *l, int to, int from);

/* All threads are away: sends waiting requests to siblings that are free. True: some wait still, or are under way, so it
 * is to be called again soon. */
bool fw_loop_pass_on(fw_loop *l);

/* A thread is free again: looks at what siblings have sent. False: there is nothing. */
bool fw_loop_look(fw_loop *l);

/* One step: takes a connection, handles an event, or prepares a poll. FW_LOOP_ON; FW_LOOP_WAKE: somebody is to look
 * around; FW_LOOP_DONE: stopped, and every connection is closed; or -errno. FW_LOOP_POLL: the caller is to poll. It calls
 * fw_loop_poll, which touches nothing that the lock guards, and then fw_loop_polled with what that has returned, which
 * returns what the step amounts to. So the caller may give up the lock meanwhile, and the loop knows nothing of locks. */
enum { FW_LOOP_ON, FW_LOOP_WAKE, FW_LOOP_DONE, FW_LOOP_POLL };
int fw_loop_step(fw_loop *l);
int fw_loop_poll(fw_loop *l);
int fw_loop_polled(fw_loop *l, int rc);

/* While a poll waits: what it depends on has changed, so that it lasts too long. */
bool fw_loop_due(const fw_loop *l);

/* True if there is something to handle without a poll. */
static inline bool fw_loop_pending(const fw_loop *l)
{
    return l->at < l->nevents || l->accept_on != NULL;
}

/* Ends a poll that waits: at its end the step goes on as if nothing had come. Done once for each poll. */
void fw_loop_cut_short(fw_loop *l);

/* From any thread, and from signal handlers. The step ends with FW_LOOP_WAKE. */
void fw_loop_wake(fw_loop *l);
void fw_loop_stop(fw_loop *l, enum fw_stop how);

/* Takes back a stop that has run its course: the loop can be run again. */
void fw_loop_reopen(fw_loop *l);

/* Closes every connection at once, suspended responses get TURN_GONE. */
void fw_loop_abandon(fw_loop *l);

#endif
