/* metrics.h - what a worker has done since its start, for whoever scrapes it: a slot of memory that all share.
 *
 * The master makes the page of slots (fastwsgi/metrics/page.py, whose layout this repeats), gives each worker one, and
 * adds it to the sums when the worker has ended, however that came. So everything that must agree with what clients count
 * is written at once, and not when the worker has time for it.
 *
 * Everything is a number of 64 bits that one writer at a time changes: `answered`, `statuses`, the requests of
 * routes and the causes with the interpreter lock, everything else under the loop's lock. A reader may see one of them sooner than another,
 * and never half of one. Times are microseconds of CLOCK_MONOTONIC.
 *
 * Without metrics none of it exists, and a request pays a few predictable branches. With them it pays three looks at the
 * clock: when the poller has reported, and when a thread hands a connection back (and once more if what it has queued is
 * large). The times of a request:
 *
 *   complete ---- queue ----> pulled ---- application ----> handed over ---- send ----> with the kernel
 *
 * What an application waits for its client (write(), a suspended response) is sending. The three make up the total.
 */
#ifndef FW_METRICS_H
#define FW_METRICS_H

#include "http/request.h"
#include "observe/scoreboard.h"

#define FW_METRICS_LAYOUT 3 /* to be raised with every change */
#define FW_BOUNDS 24        /* bounds of a histogram, at most; the rest is above the last one */
#define FW_COUNTED_METHODS 8
#define FW_COUNTED_CLASSES 6   /* status / 100; 0: no response */
#define FW_COUNTED_STATUSES 500 /* from 100 on */
#define FW_COUNTED_STATES 12
#define FW_COUNTED_STATS 24
#define FW_CAUSES 16
#define FW_ROUTES 100
#define FW_ROUTE_NAME 96

/* Timeouts, by what has taken too long. */
enum fw_late {
    FW_LATE_HANDSHAKE,
    FW_LATE_HEADER,
    FW_LATE_BODY,
    FW_LATE_WRITE,
    FW_LATE_KEEPALIVE, /* nobody's fault: an idle connection is closed */
    FW_LATE_APPLICATION,
    FW_LATES = 8
};

/* Refusals, by their reason: those of one status have one, except for 503. */
enum fw_reason {
    FW_REFUSED_OTHER,
    FW_REFUSED_BAD_REQUEST,
    FW_REFUSED_FORBIDDEN,
    FW_REFUSED_TIMEOUT,
    FW_REFUSED_BODY_SIZE,
    FW_REFUSED_LINE_SIZE,
    FW_REFUSED_EXPECTATION,
    FW_REFUSED_HEADER_SIZE,
    FW_REFUSED_NOT_IMPLEMENTED,
    FW_REFUSED_VERSION,
    FW_REFUSED_STORAGE,
    FW_REFUSED_CONNECTIONS, /* 503, and the rest: more of them than worker_connections */
    FW_REFUSED_QUEUE,       /* more wait than `queue` */
    FW_REFUSED_OVERLOAD,    /* it has waited too long in an overload */
    FW_REFUSED_STOPPING,
    FW_REFUSED_UNAVAILABLE, /* memory or descriptors are short */
    FW_REFUSED_SPENT,       /* the time that its client gives it is over */
    FW_REFUSALS = 24
};

typedef struct fw_histogram {
    uint64_t counts[FW_BOUNDS + 1]; /* each by its own bound: not cumulated */
    uint64_t sum;                   /* us */
} fw_histogram;

typedef struct fw_route {
    char name[FW_ROUTE_NAME]; /* UTF-8, ended by a zero */
    uint64_t answered[FW_COUNTED_METHODS][FW_COUNTED_CLASSES];
    fw_histogram application;
} fw_route;

typedef struct fw_metrics {
    /* the master's, before the worker uses it */
    uint64_t layout, nbounds, bounds[FW_BOUNDS]; /* us, ascending */
    uint64_t pid, threads, started;
    /* of the moment */
    uint64_t busy;   /* threads with a turn, */
    uint64_t began;  /* ... and the sum of the times at which they got it */
    uint64_t waiting; /* requests that wait for a thread, */
    uint64_t oldest;  /* ... and when the oldest of them was complete; 0: none waits */
    uint64_t states[FW_COUNTED_STATES]; /* connections by enum fw_state; copied now and then, as the next */
    /* counters */
    uint64_t stats[FW_COUNTED_STATS]; /* fw_stats */
    uint64_t suspended, lost_lines;
    uint64_t late[FW_LATES];
    uint64_t refused[FW_REFUSALS];
    uint64_t refused_requests[FW_COUNTED_METHODS][FW_COUNTED_CLASSES];
    uint64_t busy_us; /* of turns that are over */
    uint64_t quick;   /* requests that belong to the first bucket of all four; their times are in the sums */
    fw_histogram queue, application, send, total;
    uint64_t slow[FW_CAUSES];                 /* slow requests, by their cause (fastwsgi/worker/causes.py) */
    uint64_t cpu_us, off_cpu_us, lock_wait_us; /* of requests whose causes are asked for */
    uint64_t answered[FW_COUNTED_METHODS][FW_COUNTED_CLASSES];
    uint64_t statuses[FW_COUNTED_STATUSES];
    uint64_t file_requests[FW_COUNTED_METHODS][FW_COUNTED_CLASSES]; /* that the loop has answered with files */
    uint64_t file_statuses[FW_COUNTED_STATUSES];
    uint64_t nroutes;
    fw_route routes[FW_ROUTES];
} fw_metrics;

/* Of a response that has been handed over with something unsent: when all was sent, or the client gone. */
typedef struct fw_sent_note {
    struct fw_sent_note *next;
    uint64_t sent; /* us */
    void *user;    /* of whoever has left it */
} fw_sent_note;

/* When what has happened to the request at hand of a connection. */
typedef struct fw_timing {
    uint64_t complete, pulled, handed_over;
    uint64_t parked; /* when its response was suspended last */
    uint64_t waited; /* for its client, while it was in the application */
    uint64_t route;  /* 0: none, else its place in the table, from 1 on */
    uint64_t door;   /* us that its thread has waited for the interpreter lock before it began */
    bool large;      /* its sending is timed from its very beginning */
    fw_sent_note *note; /* for whoever waits until all of the response is sent, or NULL */
} fw_timing;

/* A request is over in the application, and the response is queued: it counts from here on. `status` 0: there is none.
 * With the interpreter lock. */
void fw_metrics_answered(fw_metrics *m, const fw_request *r, int status, uint64_t route);

/* The place of a route by its name, from 1 on; 0 if it is empty. The last place stands for all that there is no room for.
 * With the interpreter lock. */
uint64_t fw_metrics_route(fw_metrics *m, const char *name, size_t n);

/* The connection is handed back now: what is known of the times so far. With `sent` all of it is with the kernel. */
void fw_metrics_handed_over(fw_metrics *m, fw_timing *t, uint64_t now, bool sent);

/* All is with the kernel, or the client is gone. */
void fw_metrics_sent(fw_metrics *m, const fw_timing *t, uint64_t now);

void fw_metrics_refused(fw_metrics *m, const fw_request *r, int status, enum fw_reason why);

/* A request for a file is answered. Under the loop's lock. */
void fw_metrics_file(fw_metrics *m, const fw_request *r, int status);

/* The reason of a refusal that has a status of its own. */
enum fw_reason fw_metrics_reason(int status);

#endif
