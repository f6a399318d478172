/* leader.h - the monitor of a worker: which thread runs the loop, how the lead changes hands, and who wakes whom.
 *
 * A worker has N application threads and one standby thread. The standby is C only, and asleep while there is nothing
 * to watch. These are the rules; tests/model holds them as a model for spin.
 *
 *  1. leader->lock guards the loop, the conns and every connection that is not BUSY. It is given up while the leader
 *     waits for the poller, while a thread waits on its condition, while lines of the access log or gathered output
 *     are written, and for a moment between two steps of the leader when other threads wait for it.
 *  2. At most one thread leads, and only the leader polls and handles events. The lead changes hands under the lock,
 *     and never during a poll. A thread that wants it then becomes the `claimant` and wakes the poller.
 *  3. A leader that leaves for a call keeps the lead, unattended. If it is still away at two ticks of the standby in a
 *     row, a millisecond apart, the standby takes the lead. This needs no clock: `calls` counts departures. One whose
 *     application takes the client's socket over gives the lead to the standby at once.
 *  4. Inline mode: one application thread, the leader, runs the requests that it reads. When the standby has taken the
 *     lead, a waiting request goes to an idle thread together with the lead: at once if the thread that is away is
 *     blocked in the kernel, otherwise after AWAY_US, because a thread that computes or was not scheduled would
 *     compete for the interpreter lock. A thread that comes back while the standby leads claims the lead. One that
 *     comes back while another application thread leads waits among the idle.
 *  5. Queued mode: the standby leads and threads take requests from the queue. Threads are woken one at a time: the
 *     next one when the last has passed the door (has the interpreter lock) and requests still wait. So a request
 *     never waits for a thread that is not on its way, and threads do not crowd at the interpreter lock.
 *  6. A call that made the standby step in raises the score, any other call lowers it. A high score begins queued
 *     mode. In queued mode calls are timed, and a low moving average ends it.
 *  7. Whoever changes what the poll depends on (an earlier deadline, room for clients, requests, the end) wakes the
 *     poller, once for each poll.
 *  8. A suspended response is resumed by its own thread. That thread is woken if it is idle, and looks for such
 *     responses before it takes anything else.
 *  9. The standby sleeps only if no thread is away, nothing gathers and it does not lead. It sets `resting` before it
 *     checks for the last time. A thread that leaves for a call or begins to gather reads `resting` afterwards.
 * 10. Inline mode: while more requests can be run at once and calls are quick, complete responses are held (FW_HELD at
 *     most, for about a millisecond) and sent together. A reader on this machine is woken once for all of them, and a
 *     leader that goes on computing is not interrupted by it. They are sent before the leader polls, when the standby
 *     takes the lead, and by the standby if neither has happened for a tick.
 * 11. While the standby leads and no thread is idle or on its way to a request, the siblings are shown that all are away
 *     (siblings.h). That is taken back when a thread has the lead or is idle.
 *
 * Who wakes whom:
 *
 *   function            wakes                             by                            called
 *   ------------------  --------------------------------  ----------------------------  ------------------------------
 *   wake_thread         one application thread, idle or   its condition, signalled      by the functions below, and by
 *                       in fw_thread_wait                 when the lock is given up     whoever hands over the lead or
 *                                                                                       ends the loop
 *   wake_threads        owners of responses that can go   wake_thread                   by whoever has moved
 *                       on; in queued mode also one                                     connections: the leader, a
 *                       thread for waiting requests                                     thread with a turn, a thread
 *                                                                                       of the store
 *   wake_signals        the first application thread,     wake_thread, and the thread   by the leader, when a step
 *                       which handles signals             returns FW_NEXT_WAKE          returns FW_LOOP_WAKE
 *   wake_poller         the leader, if it polls           a byte in the loop's pipe,    by a claimant, by
 *                                                         once for each poll            wake_standby, by a thread of
 *                                                                                       the store
 *   wake_poller_if_due  the same, if the poll would last  wake_poller                   by every thread that gives up
 *                       too long now                                                    the lock or is about to wait
 *   wake_standby        the standby, if it sleeps or      its condition, or             by whoever gives it the lead,
 *                       polls                             wake_poller                   leaves for a call, or begins
 *                                                                                       to gather
 *   fw_loop_wake        the leader, if it polls; its      a byte in the loop's pipe     by any thread or signal
 *                       step returns FW_LOOP_WAKE                                       handler, without the lock
 *
 * Names: what begins with fw_lead is called under the lock. What begins with fw_leader takes the lock itself, or opens
 * and closes the monitor.
 */
#ifndef FW_LEADER_H
#define FW_LEADER_H

#include "io/loop.h"

#include <pthread.h>
#include <stdatomic.h>

/* Who leads. */
enum fw_lead { FW_LEAD_NOBODY, FW_LEAD_THREAD, FW_LEAD_STANDBY };

enum fw_rest { FW_REST_NONE, FW_REST_ASLEEP, FW_REST_POLLING };

struct fw_thread; /* thread.h */

/* The loop is a part of the monitor, so that csrc/io needs to know neither threads nor locks. A loop that called hooks
 * to give up the lock would make two indirect calls for each poll. */
typedef struct fw_leader {
    fw_loop loop; /* first */
    pthread_mutex_t lock;
    atomic_uint lock_waiters; /* threads that wait for it */
    bool polling;             /* the leader waits for the poller, without the lock */
    bool over;                /* nothing will come any more; `result` says why */
    int result;
    /* the threads */
    struct fw_thread *threads, **last; /* all, in the order of their making; the first handles signals */
    struct fw_thread *idle;            /* the latest of the idle */
    unsigned coming;                   /* threads that were woken for a request and have not looked yet */
    atomic_uint door;                  /* threads that have a turn and wait for the interpreter lock */
    /* the lead */
    enum fw_lead lead;
    struct fw_thread *leader;   /* with FW_LEAD_THREAD: which thread */
    bool attended;              /* the leader is in the loop, not in a call */
    struct fw_thread *claimant; /* has asked the standby for the lead */
    unsigned calls;             /* departures of leaders */
    struct fw_thread *away;     /* the thread from which the standby took the lead */
    uint64_t away_since;        /* us */
    /* the mode */
    atomic_bool queued; /* queued mode; otherwise inline mode */
    unsigned score;
    uint32_t average_us; /* of timed calls */
    /* conditions to signal when the lock has been given up: a thread that wakes while it is held would sleep again */
    pthread_cond_t *to_signal[8];
    unsigned nto_signal;
    /* the standby */
    pthread_t standby;
    pthread_cond_t wake;
    bool running, quit;
    atomic_int resting;  /* enum fw_rest */
    uint64_t departed_at; /* us: queued mode: when a thread left with a turn last */
    unsigned seen;       /* calls at the last tick */
    unsigned releases;   /* of held responses, at the last tick */
    unsigned quiet;      /* ticks without anything to do */
    atomic_uint pending; /* threads with something queued that the standby is to send */
} fw_leader;

/* ---- life ------------------------------------------------------------------------------------------------------ */

/* FW_OK or -errno; `*out` is set on success only. */
int fw_leader_open(fw_leader **out, const fw_llhttp_api *api, const fw_config *cfg);

/* Closes every connection and the loop; listening descriptors stay open. Owners and peers must have been collected, and
 * all threads closed. */
void fw_leader_close(fw_leader *l);

/* After a stop that has run its course: the loop can be run again. No thread may be inside. */
void fw_leader_reopen(fw_leader *l);

/* Starts the standby of a monitor that has its application threads, and opens the store. FW_OK or -errno. */
int fw_standby_start(fw_leader *l);

/* Ends both. No application thread may be inside. */
void fw_standby_stop(fw_leader *l);

/* Another context takes the place of the one that listeners have, for connections that come from now on. */
void fw_leader_use_tls(fw_leader *l, fw_tls_context *tls);

/* The current counters. */
fw_stats fw_leader_stats(fw_leader *l);

/* Returns and clears the set of enum fw_notice. */
unsigned fw_leader_notices(fw_leader *l);

/* Takes the notes of FW_NOTICE_SENT, in any order. */
fw_sent_note *fw_leader_sent_notes(fw_leader *l);

/* ---- the lock -------------------------------------------------------------------------------------------------- */

/* A thread that fails to get the lock at once is let in between two steps of the leader (fw_lead_step_aside). */
static inline void fw_leader_lock(fw_leader *l)
{
    if (fw_likely(pthread_mutex_trylock(&l->lock) == 0))
        return;
    atomic_fetch_add(&l->lock_waiters, 1);
    pthread_mutex_lock(&l->lock);
    atomic_fetch_sub(&l->lock_waiters, 1);
}

/* Wakes the poller if that is due. */
void fw_leader_unlock(fw_leader *l);

/* Lets in the threads that wait for the lock. */
void fw_lead_step_aside(fw_leader *l);

/* Waits on `c`, without the lock. Who waits in another way calls fw_lead_signal_now first. */
void fw_lead_wait(fw_leader *l, pthread_cond_t *c);

/* Signals `c` when the lock is given up. */
void fw_lead_signal(fw_leader *l, pthread_cond_t *c);
void fw_lead_signal_now(fw_leader *l);

/* Writes the gathered lines of the access log, without the lock. False: there were none. */
bool fw_lead_flush_access(fw_leader *l);

/* ---- waking: see the table ------------------------------------------------------------------------------------- */

void fw_lead_wake_thread(fw_leader *l, struct fw_thread *t);
void fw_lead_wake_threads(fw_leader *l);

/* `t` is the caller (NULL: the standby). True if it must return to its caller as well. */
bool fw_lead_wake_signals(fw_leader *l, struct fw_thread *t);

void fw_lead_wake_poller(fw_leader *l);
void fw_lead_wake_poller_if_due(fw_leader *l);
void fw_lead_wake_standby(fw_leader *l);
void fw_leader_wake_standby(fw_leader *l);

/* ---- the lead -------------------------------------------------------------------------------------------------- */

/* One step of the leader; results as fw_loop_step, without FW_LOOP_POLL. While it waits for the poller the lock is given
 * up; before that it writes the lines of the access log. */
int fw_lead_step(fw_leader *l);

/* True if `t` leads from now on. Otherwise it has claimed the lead, if that is of use. */
bool fw_lead_take(fw_leader *l, struct fw_thread *t);

/* True if `t` may take a request from the queue. */
static inline bool fw_lead_allows(const fw_leader *l, const struct fw_thread *t)
{
    return l->leader == t || l->lead != FW_LEAD_THREAD;
}

static inline bool fw_lead_in_queued_mode(const fw_leader *l)
{
    return atomic_load_explicit(&l->queued, memory_order_relaxed);
}

/* Inline mode: takes the lead from the standby, or claims it. */
void fw_lead_claim(fw_leader *l, struct fw_thread *t);

/* `t` leaves the loop for a while. If it leads, the lead is unattended. */
void fw_lead_leave(fw_leader *l, struct fw_thread *t);

/* `t` leaves with a turn. */
void fw_lead_depart(fw_leader *l, struct fw_thread *t);

/* `t` gives up the lead, if it has it, because it is going to wait or leaves for good. */
void fw_lead_give_up(fw_leader *l, struct fw_thread *t);

/* The standby leads from now on; it is woken if it rests. */
void fw_lead_to_standby(fw_leader *l);

/* `t` leads from now on, wherever it is. */
void fw_lead_to(fw_leader *l, struct fw_thread *t);

/* Nothing will come any more, and every thread must know. `rc` is FW_NEXT_DONE or -errno. */
void fw_lead_end(fw_leader *l, int rc);

/* The call of a leader has made the standby step in (`slow`), or `quick` calls have not. */
void fw_lead_score(fw_leader *l, bool slow, unsigned quick);

/* Requests wait too long: queued mode begins, in which all that wait are known. */
void fw_lead_crowd(fw_leader *l);

/* ---- the idle -------------------------------------------------------------------------------------------------- */

/* Puts `t` among the idle until it is woken. */
void fw_lead_wait_idle(fw_leader *l, struct fw_thread *t);

/* The idle thread that is to take the next request, or NULL. */
struct fw_thread *fw_lead_best_idle(const fw_leader *l);

/* `t` has suspended responses, whose thread-local objects (a database cursor) new requests might spoil. If another
 * thread is idle that has none, it serves instead. True if `t` is to wait among the idle. */
bool fw_lead_pass_on(fw_leader *l, struct fw_thread *t);

/* ---- calls and what the board shows of them -------------------------------------------------------------------- */

/* The board shows from now on that `t` has been in a call since then (us): the call lasts, or nobody watches whether it
 * does. */
void fw_lead_show(fw_leader *l, struct fw_thread *t, uint64_t since);

/* A call that is timed or shown has ended. `done`: what it was for is complete too. */
void fw_lead_judge(fw_leader *l, struct fw_thread *t, bool done);

/* The application of `t` has taken its socket over. */
void fw_lead_upgrade(fw_leader *l, struct fw_thread *t);

/* The call that `t` is in may take `us` from now on, or FW_NO_LIMIT. */
void fw_lead_limit(fw_leader *l, struct fw_thread *t, uint64_t us);

/* `t` waits for its client. Returns when the wait began, for fw_lead_proceed when it ends. */
uint64_t fw_lead_pause(fw_leader *l, struct fw_thread *t);
void fw_lead_proceed(fw_leader *l, struct fw_thread *t, uint64_t began);

#endif
