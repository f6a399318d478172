/* loop.h - accept, poll, stop: one step at a time, by whoever leads (standby.h).
 *
 * Application threads use it through thread.h. fw_loop_wake and fw_loop_stop may be called from anywhere, signal handlers
 * too. fw_loop_stats and fw_loop_notices take the lock, so they are for those who do not hold it. fw_loop_open,
 * fw_loop_free, fw_loop_listen, fw_loop_lifeline and fw_loop_reopen are for times when no thread is inside. All else is
 * called under the lock. These give it up for a while: fw_loop_step while it waits for the poller, fw_loop_wait,
 * fw_loop_flush_access and fw_loop_step_aside.
 */
#ifndef FW_LOOP_H
#define FW_LOOP_H

#include "io/conn.h"
#include "observe/scoreboard.h"

#include <pthread.h>
#include <stdatomic.h>

enum fw_notice {
    FW_NOTICE_DESCRIPTORS = 1, /* out of descriptors or socket memory: accepting is paused */
    FW_NOTICE_CONNECTIONS = 2, /* max_connections reached */
    FW_NOTICE_ACCESS = 4,      /* lines of the access log are lost */
    FW_NOTICE_STORAGE = 8,     /* a body could not be stored: `storage_error` says why */
};

enum fw_stop { FW_STOP_NONE, FW_STOP_GRACEFUL, FW_STOP_QUICK };

#define FW_LISTENERS 64

/* Who leads. */
enum fw_lead { FW_LEAD_NOBODY, FW_LEAD_THREAD, FW_LEAD_STANDBY };

enum fw_rest { FW_REST_NONE, FW_REST_ASLEEP, FW_REST_POLLING };

struct fw_thread;

/* The state of the monitor; its rules are in standby.h. */
typedef struct fw_crew {
    struct fw_thread *threads, **last; /* all, in the order of their making */
    struct fw_thread *idle;            /* the top */
    enum fw_lead lead;
    struct fw_thread *leader; /* with FW_LEAD_THREAD: who */
    bool attended;            /* the leader is in the loop, not in a call */
    struct fw_thread *claimant; /* has asked the standby for the lead */
    atomic_bool pool;         /* the pool regime */
    unsigned calls;           /* departures of leaders */
    unsigned coming;          /* threads that were sent for and have not looked yet */
    atomic_uint door;         /* threads that have a turn and wait for the interpreter lock */
    unsigned score;
    uint32_t average_us; /* of timed calls */
    struct fw_thread *away; /* from whom the standby took the lead */
    uint64_t away_since;    /* us */
    /* signalled once the lock has been given up: a thread that wakes while it is held would only sleep again */
    pthread_cond_t *calls_out[8];
    unsigned ncalls_out;
    /* the standby */
    pthread_t standby;
    pthread_cond_t wake;
    bool running, quit;
    atomic_int resting; /* enum fw_rest */
    unsigned seen;      /* calls at the last look */
    unsigned releases;  /* of held responses, at the last look */
    unsigned quiet;     /* looks without anything to see */
    atomic_uint pending; /* threads with something queued that the standby is to send */
} fw_crew;

typedef struct fw_loop {
    fw_hub hub; /* first */
    pthread_mutex_t lock;
    atomic_uint callers; /* threads that wait for the lock */
    fw_crew crew;
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
    uint64_t noticed_at[5]; /* by the notice's number halved */
    int storage_error;      /* errno of the last FW_NOTICE_STORAGE */
    unsigned notices;
    fw_board *board;    /* or NULL; borrowed */
    uint64_t counted_at; /* ms: when the counters were copied there, and two of them then */
    uint64_t counted_bytes, counted_connections;
    uint64_t latency[FW_BOARD_BUCKETS]; /* calls that were shown on the board, for it; counted by those who make them */
    fw_handle lifeline;
    int lifeline_fd;     /* -1: none, or its end has been seen */
    uint64_t orphan_end; /* ms: then this process ends, whatever it is doing; 0: the master lives */
    fw_handle wake;
    int wake_read, wake_write;
    bool woken;
    bool kicked;       /* a wake-up of our own is on its way */
    bool polling;      /* the leader waits for the poller, without the lock */
    bool serves;       /* whoever steps runs the requests itself; else others do, and it may wait while some are ready */
    int patience;      /* ms that a poll may last at most; -1: as long as it takes */
    int wait_ms;       /* how long the next poll is to last; -1: until there is something */
    uint64_t wakes_at; /* when that ends, ms */
    bool over;         /* nothing will come any more; `result` says why */
    int result;
    _Atomic int stop; /* enum fw_stop */
    int stopped;      /* what has been acted on */
} fw_loop;

/* FW_OK or -errno; `*out` is set on success only. */
int fw_loop_open(fw_loop **out, const fw_llhttp_api *api, const fw_config *cfg);

/* Closes every connection; listening descriptors stay open.  Owners and peers must have been collected. */
void fw_loop_free(fw_loop *l);

/* Adds a listening, non-blocking descriptor.  Returns its index or -errno. */
int fw_loop_listen(fw_loop *l, int fd, bool tcp);

/* Watches the read end of a pipe that only the master holds open. When that ends the process has FW_ORPHAN_MS to end by
 * itself; then it is killed, for nobody would end one that is stuck. FW_OK or -errno. */
#define FW_ORPHAN_MS 2500
int fw_loop_lifeline(fw_loop *l, int fd);

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

/* No further connection may be taken, not even to be told 503. */
bool fw_loop_full(const fw_loop *l);

/* True if there is something to handle without a poll. */
static inline bool fw_loop_pending(const fw_loop *l)
{
    return l->at < l->nevents || l->accept_on != NULL;
}

/* The lock. Who gets it late is let in by a leader between two steps (fw_loop_step_aside). */
static inline void fw_loop_lock(fw_loop *l)
{
    if (fw_likely(pthread_mutex_trylock(&l->lock) == 0))
        return;
    atomic_fetch_add(&l->callers, 1);
    pthread_mutex_lock(&l->lock);
    atomic_fetch_sub(&l->callers, 1);
}

/* Kicks the polling leader if what it waits for has changed; whoever gives up the lock, to wait too, does so. */
void fw_loop_remind(fw_loop *l);
void fw_loop_unlock(fw_loop *l);

/* Signals `c` when the lock is given up. */
void fw_loop_signal(fw_loop *l, pthread_cond_t *c);

/* Waits on `c`; who waits otherwise calls fw_loop_signal_all before. */
void fw_loop_wait(fw_loop *l, pthread_cond_t *c);
void fw_loop_signal_all(fw_loop *l);

/* Writes what the access log has gathered, with the lock given up meanwhile. False: nothing to write. */
bool fw_loop_flush_access(fw_loop *l);

/* Lets those in who wait for the lock. */
void fw_loop_step_aside(fw_loop *l);

/* Makes the polling leader look again; under the lock. */
void fw_loop_kick(fw_loop *l);

/* From any thread, and from signal handlers. */
void fw_loop_wake(fw_loop *l);
void fw_loop_stop(fw_loop *l, enum fw_stop how);

/* Takes back a stop that has run its course: the loop can be run again. No thread may be inside. */
void fw_loop_reopen(fw_loop *l);

/* The counters of the moment. Takes the lock. */
fw_stats fw_loop_stats(fw_loop *l);

/* Returns and clears the set of enum fw_notice. Takes the lock. */
unsigned fw_loop_notices(fw_loop *l);

/* Closes every connection at once, suspended responses get TURN_GONE. */
void fw_loop_abandon(fw_loop *l);

#endif
