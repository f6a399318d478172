/* leader.h - who leads the loop, who is idle, which regime: what thread.c and standby.c do to each other, under the lock.
 *
 * The rules are in standby.h.
 */
#ifndef FW_LEADER_H
#define FW_LEADER_H

#include "threads/thread.h"

/* One step of the leader; results as fw_loop_step, without FW_LOOP_POLL. Gives up the lock while it waits for the poller,
 * and writes the lines of the access log then. */
int fw_lead_step(fw_loop *l);

/* True if `t` leads from now on; else it has claimed the lead, if that is of use. */
bool fw_lead_take(fw_loop *l, fw_thread *t);

/* True if `t` may take a request from the queue. */
static inline bool fw_lead_allows(const fw_loop *l, const fw_thread *t)
{
    return l->crew.leader == t || l->crew.lead != FW_LEAD_THREAD;
}

/* Inline regime: takes the lead from the standby, or claims it. */
void fw_lead_claim(fw_loop *l, fw_thread *t);

/* A signal or a notice: the thread that handles signals is to look. True if `t` (NULL: the standby) is to return too. */
bool fw_lead_poke_main(fw_loop *l, fw_thread *t);

/* `t` leaves the loop for a while; the lead, if it has it, is unattended. */
void fw_lead_leave(fw_loop *l, fw_thread *t);

/* `t` leaves with a turn. */
void fw_lead_depart(fw_loop *l, fw_thread *t);

/* `t` gives up the lead, if it has it, because it is going to wait or leaves for good. */
void fw_lead_give_up(fw_loop *l, fw_thread *t);

/* Calls whoever has something to do: owners of resumable responses, and (pool regime) a thread for waiting requests. */
void fw_lead_call(fw_loop *l);

/* `t` is in a call, since then (us), that the board is to show: it lasts, or nobody watches whether it does. */
void fw_lead_show(fw_loop *l, fw_thread *t, uint64_t since);

/* A call that is timed or shown has ended; `done`: with it what it was for. */
void fw_lead_judge(fw_loop *l, fw_thread *t, bool done);

/* `t` waits for its client; returns when that began, for fw_lead_proceed when it ends. */
uint64_t fw_lead_pause(fw_loop *l, fw_thread *t);
void fw_lead_proceed(fw_loop *l, fw_thread *t, uint64_t began);

/* Nothing will come any more: every thread is to know. `rc` is FW_NEXT_DONE or -errno. */
void fw_lead_end(fw_loop *l, int rc);

/* The standby leads from now on; it is woken if it rests. */
void fw_lead_to_standby(fw_loop *l);

/* `t` leads from now on, wherever it is. */
void fw_lead_to(fw_loop *l, fw_thread *t);

/* A call of a leader has made the standby step in, or (`quick`) that many have not. */
void fw_lead_score(fw_loop *l, bool slow, unsigned quick);

static inline bool fw_in_pool(const fw_loop *l)
{
    return atomic_load_explicit(&l->crew.pool, memory_order_relaxed);
}

/* The standby has something to do: it wakes up if it rests. */
void fw_crew_wake_standby(fw_loop *l);

/* Puts `t` among the idle until somebody calls it. */
void fw_idle_wait(fw_loop *l, fw_thread *t);

/* `t` has suspended responses, whose thread-local objects (a database cursor) new requests might spoil: if another thread
 * is idle that has none, it serves instead. True if `t` is to wait among the idle. */
bool fw_lead_pass_on(fw_loop *l, fw_thread *t);

/* The idle thread that is to take the next request, or NULL. */
fw_thread *fw_idle_best(const fw_loop *l);

/* Calls `t` if it is idle. */
void fw_idle_call(fw_loop *l, fw_thread *t);

#endif
