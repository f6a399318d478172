/* leader.h - who leads the loop, who is idle, which regime: what thread.c and standby.c do to each other, under the lock.
 *
 * The rules are in standby.h.
 */
#ifndef FW_LEADER_H
#define FW_LEADER_H

#include "io/loop.h"

#include <pthread.h>
#include <stdatomic.h>

/* Who leads. */
enum fw_lead { FW_LEAD_NOBODY, FW_LEAD_THREAD, FW_LEAD_STANDBY };

enum fw_rest { FW_REST_NONE, FW_REST_ASLEEP, FW_REST_POLLING };

struct fw_thread;

/* The state of the monitor; its rules are in standby.h. */
typedef struct fw_leader {
    fw_loop loop; /* first */
    pthread_mutex_t lock;
    atomic_uint lock_waiters; /* threads that wait for the lock */
    bool polling;        /* the leader waits for the poller, without the lock */
    bool over;           /* nothing will come any more; `result` says why */
    int result;
    struct fw_thread *threads, **last; /* all, in the order of their making */
    struct fw_thread *idle;            /* the top */
    enum fw_lead lead;
    struct fw_thread *leader; /* with FW_LEAD_THREAD: who */
    bool attended;            /* the leader is in the loop, not in a call */
    struct fw_thread *claimant; /* has asked the standby for the lead */
    atomic_bool queued;       /* queued mode */
    unsigned calls;           /* departures of leaders */
    unsigned coming;          /* threads that were sent for and have not looked yet */
    atomic_uint door;         /* threads that have a turn and wait for the interpreter lock */
    unsigned score;
    uint32_t average_us; /* of timed calls */
    struct fw_thread *away; /* from whom the standby took the lead */
    uint64_t away_since;    /* us */
    /* signalled once the lock has been given up: a thread that wakes while it is held would only sleep again */
    pthread_cond_t *to_signal[8];
    unsigned nto_signal;
    /* the standby */
    pthread_t standby;
    pthread_cond_t wake;
    bool running, quit;
    atomic_int resting; /* enum fw_rest */
    unsigned seen;      /* calls at the last look */
    unsigned releases;  /* of held responses, at the last look */
    unsigned quiet;     /* looks without anything to see */
    atomic_uint pending; /* threads with something queued that the standby is to send */
} fw_leader;

/* FW_OK or -errno; `*out` is set on success only. */
int fw_leader_open(fw_leader **out, const fw_llhttp_api *api, const fw_config *cfg);

/* Closes every connection, and the loop. Owners and peers must have been collected, and all threads closed. */
void fw_leader_close(fw_leader *l);

/* fw_loop_reopen, and everybody may come in again. No thread may be inside. */
void fw_leader_reopen(fw_leader *l);

/* The counters of the moment. Takes the lock. */
fw_stats fw_leader_stats(fw_leader *l);

/* Returns and clears the set of enum fw_notice. Takes the lock. */
unsigned fw_leader_notices(fw_leader *l);

/* The lock. Who gets it late is let in by a leader between two steps (fw_lead_step_aside). */
static inline void fw_leader_lock(fw_leader *l)
{
    if (fw_likely(pthread_mutex_trylock(&l->lock) == 0))
        return;
    atomic_fetch_add(&l->lock_waiters, 1);
    pthread_mutex_lock(&l->lock);
    atomic_fetch_sub(&l->lock_waiters, 1);
}

/* Kicks the polling leader if what it waits for has changed; whoever gives up the lock, to wait too, does so. */
void fw_lead_wake_poller_if_due(fw_leader *l);
void fw_leader_unlock(fw_leader *l);

/* Signals `c` when the lock is given up. */
void fw_lead_signal(fw_leader *l, pthread_cond_t *c);

/* Waits on `c`; who waits otherwise calls fw_lead_signal_now before. */
void fw_lead_wait(fw_leader *l, pthread_cond_t *c);
void fw_lead_signal_now(fw_leader *l);

/* Writes what the access log has gathered, with the lock given up meanwhile. False: nothing to write. */
bool fw_lead_flush_access(fw_leader *l);

/* Lets those in who wait for the lock. */
void fw_lead_step_aside(fw_leader *l);

/* Makes the polling leader look again; under the lock. */
void fw_lead_wake_poller(fw_leader *l);

/* One step of the leader; results as fw_loop_step, without FW_LOOP_POLL. Gives up the lock while it waits for the poller,
 * and writes the lines of the access log then. */
int fw_lead_step(fw_leader *l);

/* True if `t` leads from now on; else it has claimed the lead, if that is of use. */
bool fw_lead_take(fw_leader *l, struct fw_thread *t);

/* True if `t` may take a request from the queue. */
static inline bool fw_lead_allows(const fw_leader *l, const struct fw_thread *t)
{
    return l->leader == t || l->lead != FW_LEAD_THREAD;
}

/* Inline mode: takes the lead from the standby, or claims it. */
void fw_lead_claim(fw_leader *l, struct fw_thread *t);

/* A signal or a notice: the thread that handles signals is to look. True if `t` (NULL: the standby) is to return too. */
bool fw_lead_wake_signals(fw_leader *l, struct fw_thread *t);

/* `t` leaves the loop for a while; the lead, if it has it, is unattended. */
void fw_lead_leave(fw_leader *l, struct fw_thread *t);

/* `t` leaves with a turn. */
void fw_lead_depart(fw_leader *l, struct fw_thread *t);

/* `t` gives up the lead, if it has it, because it is going to wait or leaves for good. */
void fw_lead_give_up(fw_leader *l, struct fw_thread *t);

/* Calls whoever has something to do: owners of resumable responses, and (queued mode) a thread for waiting requests. */
void fw_lead_wake_threads(fw_leader *l);

/* `t` is in a call, since then (us), that the board is to show: it lasts, or nobody watches whether it does. */
void fw_lead_show(fw_leader *l, struct fw_thread *t, uint64_t since);

/* A call that is timed or shown has ended; `done`: with it what it was for. */
void fw_lead_judge(fw_leader *l, struct fw_thread *t, bool done);

/* `t` waits for its client; returns when that began, for fw_lead_proceed when it ends. */
uint64_t fw_lead_pause(fw_leader *l, struct fw_thread *t);
void fw_lead_proceed(fw_leader *l, struct fw_thread *t, uint64_t began);

/* Nothing will come any more: every thread is to know. `rc` is FW_NEXT_DONE or -errno. */
void fw_lead_end(fw_leader *l, int rc);

/* The standby leads from now on; it is woken if it rests. */
void fw_lead_to_standby(fw_leader *l);

/* `t` leads from now on, wherever it is. */
void fw_lead_to(fw_leader *l, struct fw_thread *t);

/* A call of a leader has made the standby step in, or (`quick`) that many have not. */
void fw_lead_score(fw_leader *l, bool slow, unsigned quick);

static inline bool fw_lead_in_queued_mode(const fw_leader *l)
{
    return atomic_load_explicit(&l->queued, memory_order_relaxed);
}

/* The standby has something to do: it wakes up if it rests. */
void fw_lead_wake_standby(fw_leader *l);

/* Puts `t` among the idle until somebody calls it. */
void fw_lead_wait_idle(fw_leader *l, struct fw_thread *t);

/* `t` has suspended responses, whose thread-local objects (a database cursor) new requests might spoil: if another thread
 * is idle that has none, it serves instead. True if `t` is to wait among the idle. */
bool fw_lead_pass_on(fw_leader *l, struct fw_thread *t);

/* The idle thread that is to take the next request, or NULL. */
struct fw_thread *fw_lead_best_idle(const fw_leader *l);

/* Calls `t` if it is idle. */
void fw_lead_wake_thread(fw_leader *l, struct fw_thread *t);

#endif
