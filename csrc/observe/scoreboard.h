/* scoreboard.h - what a worker is doing, in memory that others may read: its counters, and the calls in flight.
 *
 * A board is a head and one entry for each application thread, in memory that the worker shares with its master. The
 * worker alone writes (but for `draining` and `log_level`), under the loop's lock and without the interpreter lock; anybody may read at any time, and nobody
 * waits for anybody: each part has a number that is odd while the part is written (a seqlock).
 *
 * It costs the hot path next to nothing. The counters are copied by whoever leads, between two polls, a few times a second. A
 * call is shown when the standby has noticed that it lasts, or in queued mode; what was never shown took less than a
 * few milliseconds, and that is the first bucket of the histogram.
 *
 * scoreboard.py reads the same bytes: sizes are fixed, nothing points anywhere, times are of CLOCK_MONOTONIC.
 */
#ifndef FW_SCOREBOARD_H
#define FW_SCOREBOARD_H

#include "http/request.h"

#include <stdatomic.h>
#include <sys/socket.h>

#define FW_BOARD_LAYOUT 7   /* to be raised with every change */
#define FW_BOARD_COUNTERS 15
#define FW_BOARD_BUCKETS 13 /* calls that took up to 2.5, 5, 10, 25, 50, 100, 250, 500 ms, 1, 2.5, 5, 10 s; longer ones */

/* What a worker counts. `upgraded` are the requests whose sockets applications have taken over, `connections` those that are
 * open now. */
typedef struct fw_stats {
    uint64_t accepted, requests, refused, timeouts, truncated, broken, upgraded, bytes_in, bytes_out;
    uint64_t passed_on, taken_over; /* connections that have gone to another worker, and come from one */
    uint64_t gone; /* requests whose clients had gone before an application thread was free */
    uint64_t failed_handshakes; /* of TLS: connections that have ended in them */
    uint64_t connections;
} fw_stats;

enum fw_phase {
    FW_PHASE_NONE,        /* in the loop, idle, or in a call that has not lasted yet */
    FW_PHASE_APPLICATION, /* in the application */
    FW_PHASE_CLIENT,      /* the application waits in write() for its client to read */
    FW_PHASE_UPGRADED,    /* the application has taken the socket over: no limit of time */
};

#define FW_NO_LIMIT UINT64_MAX

/* Who is in which call. */
typedef struct fw_board_call {
    _Atomic uint32_t seq;
    uint32_t phase;  /* enum fw_phase */
    uint64_t since;  /* us: when the call began, moved on by the time it has waited for its client */
    uint32_t number; /* of the call: another one has another number */
    uint32_t tid;    /* the system's number of the thread */
    uint64_t limit;  /* us that the call may take in all; 0: what the setting says; FW_NO_LIMIT */
    char method[24], client[48], target[408]; /* as far as they fit, ended by a zero */
} fw_board_call;

typedef struct fw_board {
    _Atomic uint32_t seq;
    uint32_t layout, pid, threads;
    uint64_t written; /* us: when the rest was copied here last */
    uint64_t counters[FW_BOARD_COUNTERS]; /* fw_stats, and requests that wait for a thread */
    uint64_t latency[FW_BOARD_BUCKETS];   /* calls that have ended, by their time; the first holds shown ones only */
    _Atomic uint32_t draining; /* the one thing that the master writes: it is going to stop all of its workers */
    uint32_t log_level; /* for the worker's Python, which reads it there; not used here */
    fw_board_call calls[];
} fw_board;

/* Bytes of a board for so many threads. */
size_t fw_board_size(unsigned threads);

/* Makes zeroed memory of that size a board. */
void fw_board_init(fw_board *b, uint32_t pid, unsigned threads);

/* Shows that thread `tid` is in a call since then, for this request (NULL: the client of a suspended response is gone) of
 * the client at this address, and how long it may take. */
void fw_board_show(fw_board_call *e, uint32_t tid, const struct sockaddr *client, const fw_request *r, uint64_t since,
                   uint64_t limit);

/* From now on the call may take another time. */
void fw_board_limit(fw_board_call *e, uint64_t limit);

/* The call has begun or ended to wait for its client; `since` as above. */
void fw_board_phase(fw_board_call *e, enum fw_phase phase, uint64_t since);

/* The call is over. */
void fw_board_hide(fw_board_call *e);

/* Copies the counters. */
void fw_board_count(fw_board *b, const fw_stats *stats, uint32_t waiting, const uint64_t latency[FW_BOARD_BUCKETS],
                    uint64_t now);

/* The bucket of a call that took so long. */
unsigned fw_board_bucket(uint64_t us);

#endif
