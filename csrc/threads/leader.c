/* leader.c - the monitor: its lock, waking, the lead, the idle, the two modes. The rules are in leader.h.
 *
 * It has more than 500 lines because the monitor is one machine.
 *
 * Its unit tests are those of what it decides about: test_standby.c, test_thread.c, test_thread_stop.c and test_held.c.
 */
#include "threads/leader.h"
#include "http/globs.h"
#include "observe/access_log.h"
#include "threads/thread.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#define ASIDE 20         /* times to let others go first */
#define QUEUED_SCORE 128 /* queued mode begins */
#define TOP_SCORE 256
#define SLOW_SCORE 32  /* what a call that made the standby step in adds; any other takes 1 off */
#define QUICK_US 150   /* an average call below this ends queued mode */
#define FIRST_AVERAGE_US 2000
#define SMOOTHING 32 /* calls over which the average is taken, more or less */

/* ---- life ------------------------------------------------------------------------------------------------------ */

int fw_leader_open(fw_leader **out, const fw_llhttp_api *api, const fw_config *cfg)
{
    fw_leader *l = calloc(1, sizeof *l);
    if (l == NULL)
        return -ENOMEM;
    const int rc = fw_loop_open(&l->loop, api, cfg);
    if (rc != FW_OK) {
        free(l);
        return rc;
    }
    pthread_mutex_init(&l->lock, NULL);
    l->last = &l->threads;
    *out = l;
    return FW_OK;
}

void fw_leader_close(fw_leader *l)
{
    fw_loop_close(&l->loop);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void fw_leader_reopen(fw_leader *l)
{
    fw_loop_reopen(&l->loop);
    l->over = false;
    l->lead = FW_LEAD_NOBODY;
    l->leader = l->claimant = NULL;
}

/* ---- the lock -------------------------------------------------------------------------------------------------- */

static void release(fw_leader *l)
{
    pthread_cond_t *out[sizeof l->to_signal / sizeof *l->to_signal];
    const unsigned n = l->nto_signal;
    if (fw_likely(n == 0)) {
        pthread_mutex_unlock(&l->lock);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        out[i] = l->to_signal[i];
    l->nto_signal = 0;
    pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < n; i++)
        pthread_cond_signal(out[i]);
}

void fw_leader_unlock(fw_leader *l)
{
    fw_lead_wake_poller_if_due(l);
    release(l);
}

void fw_lead_signal(fw_leader *l, pthread_cond_t *c)
{
    if (l->nto_signal < sizeof l->to_signal / sizeof *l->to_signal)
        l->to_signal[l->nto_signal++] = c;
    else
        pthread_cond_signal(c);
}

void fw_lead_signal_now(fw_leader *l)
{
    while (l->nto_signal > 0)
        pthread_cond_signal(l->to_signal[--l->nto_signal]);
}

void fw_lead_wait(fw_leader *l, pthread_cond_t *c)
{
    fw_lead_signal_now(l);
    pthread_cond_wait(c, &l->lock);
}

bool fw_lead_flush_access(fw_leader *l)
{
    fw_access_log *a = l->loop.conns.cfg.access;
    if (fw_likely(a == NULL || fw_batch_len(&a->batch) == 0) || fw_access_log_waits(a))
        return false;
    fw_leader_unlock(l);
    fw_access_log_flush(a);
    fw_leader_lock(l);
    return true;
}

void fw_lead_step_aside(fw_leader *l)
{
    if (fw_likely(atomic_load_explicit(&l->lock_waiters, memory_order_relaxed) == 0))
        return;
    release(l);
    for (int i = 0; i < ASIDE && atomic_load_explicit(&l->lock_waiters, memory_order_relaxed) != 0; i++)
        sched_yield();
    pthread_mutex_lock(&l->lock);
}

unsigned fw_leader_notices(fw_leader *l)
{
    fw_leader_lock(l);
    unsigned n = l->loop.notices;
    l->loop.notices = 0;
    fw_leader_unlock(l);
    return n;
}

fw_sent_note *fw_leader_sent_notes(fw_leader *l)
{
    fw_leader_lock(l);
    fw_sent_note *n = l->loop.conns.sent_notes;
    l->loop.conns.sent_notes = NULL;
    fw_leader_unlock(l);
    return n;
}

void fw_leader_use_tls(fw_leader *l, fw_tls_context *tls)
{
    fw_leader_lock(l);
    for (unsigned i = 0; i < l->loop.nlisteners; i++)
        if (l->loop.listeners[i].tls != NULL)
            fw_loop_use_tls(&l->loop, i, tls);
    fw_leader_unlock(l);
}

fw_stats fw_leader_stats(fw_leader *l)
{
    fw_leader_lock(l);
    const fw_stats s = l->loop.conns.stats;
    fw_leader_unlock(l);
    return s;
}

/* ---- the idle -------------------------------------------------------------------------------------------------- */

/* A thread is free again, after none was: siblings may have sent something. */
static void show_free(fw_leader *l)
{
    if (fw_likely(!fw_siblings_set_away(&l->loop.siblings, false)))
        return;
    if (fw_loop_look(&l->loop))
        fw_lead_wake_poller(l);
}

static void push_idle(fw_leader *l, fw_thread *t)
{
    t->idle = true;
    t->above = NULL;
    t->below = l->idle;
    if (t->below != NULL)
        t->below->above = t;
    l->idle = t;
    show_free(l);
}

static void remove_idle(fw_leader *l, fw_thread *t)
{
    if (t->above != NULL)
        t->above->below = t->below;
    else
        l->idle = t->below;
    if (t->below != NULL)
        t->below->above = t->above;
    t->idle = false;
}

void fw_lead_wait_idle(fw_leader *l, fw_thread *t)
{
    push_idle(l, t);
    fw_lead_wake_poller_if_due(l);
    while (t->idle)
        fw_lead_wait(l, &t->wake);
    if (t->woken_for_request) {
        t->woken_for_request = false;
        l->coming--;
    }
}

/* The idle thread to take next: the latest of those without suspended responses, or the latest of all. */
fw_thread *fw_lead_best_idle(const fw_leader *l)
{
    for (fw_thread *t = l->idle; t != NULL; t = t->below)
        if (t->parked == 0)
            return t;
    return l->idle;
}

bool fw_lead_pass_on(fw_leader *l, fw_thread *t)
{
    fw_thread *other = fw_lead_best_idle(l);
    if (other == NULL || other->parked != 0 || t->owner.head != NULL || t->must_return || l->over)
        return false;
    if (l->leader == t) {
        fw_lead_to(l, other);
        fw_lead_wake_thread(l, other);
    } else if (fw_lead_in_queued_mode(l)) {
        fw_lead_wake_threads(l);
    } else if (l->lead != FW_LEAD_THREAD) {
        return false;
    }
    return true;
}

/* ---- waking ---------------------------------------------------------------------------------------------------- */

void fw_lead_wake_thread(fw_leader *l, fw_thread *t)
{
    if (t->idle)
        remove_idle(l, t);
    fw_lead_signal(l, &t->wake);
}

bool fw_lead_wake_signals(fw_leader *l, fw_thread *t)
{
    fw_thread *main = l->threads;
    if (t == main)
        return true;
    main->must_return = true;
    fw_lead_wake_thread(l, main);
    return t != NULL && l->loop.notices != 0;
}

static void wake_for_request(fw_leader *l)
{
    fw_thread *t = fw_lead_best_idle(l);
    if (t == NULL || atomic_load(&l->loop.conns.nready) == 0 || l->coming + atomic_load(&l->door) != 0)
        return;
    t->woken_for_request = true;
    l->coming++;
    fw_lead_wake_thread(l, t);
}

void fw_lead_wake_threads(fw_leader *l)
{
    if (l->loop.conns.called) {
        l->loop.conns.called = false;
        for (fw_thread *t = l->threads; t != NULL; t = t->next) {
            if (t->owner.called)
                fw_lead_wake_thread(l, t);
            if (t->owner.writable && atomic_load(&t->gathering) != NULL)
                fw_thread_pend(t, true);
            t->owner.called = t->owner.writable = false;
        }
    }
    if (fw_lead_in_queued_mode(l))
        wake_for_request(l);
}

void fw_lead_wake_poller(fw_leader *l)
{
    if (l->polling)
        fw_loop_cut_short(&l->loop);
}

void fw_lead_wake_poller_if_due(fw_leader *l)
{
    if (fw_unlikely(l->polling) && !l->loop.waking && fw_loop_due(&l->loop))
        fw_lead_wake_poller(l);
}

void fw_lead_wake_standby(fw_leader *l)
{
    const int resting = atomic_load(&l->resting);
    if (resting == FW_REST_ASLEEP)
        fw_lead_signal(l, &l->wake);
    else if (resting == FW_REST_POLLING)
        fw_lead_wake_poller(l);
}

void fw_leader_wake_standby(fw_leader *l)
{
    fw_leader_lock(l);
    fw_lead_wake_standby(l);
    fw_leader_unlock(l);
}

/* ---- the mode -------------------------------------------------------------------------------------------------- */

static void begin_queued_mode(fw_leader *l)
{
    l->average_us = FIRST_AVERAGE_US;
    l->claimant = NULL;
    l->loop.conns.shares = false;
    atomic_store(&l->queued, true);
}

void fw_lead_crowd(fw_leader *l)
{
    if (fw_lead_in_queued_mode(l) || !l->running)
        return;
    l->score = QUEUED_SCORE;
    begin_queued_mode(l);
}

static void end_queued_mode(fw_leader *l)
{
    l->score = 0;
    l->loop.conns.shares = l->running;
    atomic_store(&l->queued, false);
}

static void learn(fw_leader *l, uint64_t us)
{
    const int64_t d = (int64_t)(us < 1000000 ? us : 1000000) - (int64_t)l->average_us;
    l->average_us = (uint32_t)((int64_t)l->average_us + d / SMOOTHING);
    if (fw_lead_in_queued_mode(l) && l->average_us < QUICK_US)
        end_queued_mode(l);
}

/* ---- what the board shows -------------------------------------------------------------------------------------- */

/* What a call of this request may take, by its path; 0: what the setting says. */
static uint64_t limit_for(const fw_leader *l, const fw_request *r)
{
    const fw_globs *g = l->loop.conns.cfg.time_limits;
    if (fw_likely(g == NULL) || r == NULL)
        return 0;
    const fw_glob *found = fw_globs_find(g, fw_request_at(r, r->path), r->path.len);
    return found != NULL ? found->value : 0;
}

void fw_lead_show(fw_leader *l, fw_thread *t, uint64_t since)
{
    if (l->loop.board == NULL || t->conn == NULL)
        return;
    t->shown = true;
    t->entered = since;
    fw_board_show(&l->loop.board->calls[t->index], (uint32_t)t->tid, fw_conn_client(t->conn), t->conn->req, since,
                  limit_for(l, t->conn->req));
    if (fw_unlikely(l->loop.conns.cfg.watch_gone))
        fw_conn_watch(&l->loop.conns, t->conn);
}

void fw_lead_judge(fw_leader *l, fw_thread *t, bool done)
{
    const uint64_t us = fw_deadline_us() - t->entered;
    if (t->timed)
        learn(l, us);
    if (t->shown) {
        fw_board_hide(&l->loop.board->calls[t->index]);
        l->loop.latency[fw_board_bucket(us)] += done;
    }
    t->timed = t->shown = false;
}

void fw_lead_limit(fw_leader *l, fw_thread *t, uint64_t us)
{
    const uint64_t now = fw_deadline_us();
    if (!t->shown)
        fw_lead_show(l, t, now);
    if (!t->shown)
        return;
    fw_board_call *e = &l->loop.board->calls[t->index];
    const uint64_t age = now > e->since ? now - e->since : 0;
    fw_board_limit(e, us == FW_NO_LIMIT ? FW_NO_LIMIT : age + us);
}

uint64_t fw_lead_pause(fw_leader *l, fw_thread *t)
{
    const uint64_t now = fw_deadline_us();
    if (!t->shown)
        fw_lead_show(l, t, now);
    if (t->shown)
        fw_board_phase(&l->loop.board->calls[t->index], FW_PHASE_CLIENT, now);
    return now;
}

void fw_lead_upgrade(fw_leader *l, fw_thread *t)
{
    const uint64_t now = fw_deadline_us();
    if (!t->shown)
        fw_lead_show(l, t, now);
    if (t->shown)
        fw_board_phase(&l->loop.board->calls[t->index], FW_PHASE_UPGRADED, now);
}

void fw_lead_proceed(fw_leader *l, fw_thread *t, uint64_t began)
{
    t->entered += fw_deadline_us() - began;
    if (t->shown)
        fw_board_phase(&l->loop.board->calls[t->index], FW_PHASE_APPLICATION, t->entered);
}

/* ---- the lead -------------------------------------------------------------------------------------------------- */

int fw_lead_step(fw_leader *l)
{
    int rc = fw_loop_step(&l->loop);
    if (rc != FW_LOOP_POLL)
        return rc;
    if (l->loop.wait_ms == 0)
        return fw_loop_polled(&l->loop, fw_loop_poll(&l->loop));
    l->polling = true;
    release(l);
    fw_access_log_flush(l->loop.conns.cfg.access);
    rc = fw_loop_poll(&l->loop);
    fw_leader_lock(l);
    l->polling = false;
    return fw_loop_polled(&l->loop, rc);
}

void fw_lead_score(fw_leader *l, bool slow, unsigned quick)
{
    l->score = l->score > quick ? l->score - quick : 0;
    if (!slow)
        return;
    l->score = l->score + SLOW_SCORE < TOP_SCORE ? l->score + SLOW_SCORE : TOP_SCORE;
    if (l->score >= QUEUED_SCORE && !fw_lead_in_queued_mode(l))
        begin_queued_mode(l);
}

void fw_lead_to_standby(fw_leader *l)
{
    l->lead = FW_LEAD_STANDBY;
    l->loop.serves = false;
    l->leader = NULL;
    l->claimant = NULL;
    fw_lead_wake_standby(l);
}

void fw_lead_to(fw_leader *l, fw_thread *t)
{
    l->lead = FW_LEAD_THREAD;
    l->loop.serves = true;
    l->leader = t;
    l->claimant = NULL;
    l->attended = !t->away;
    l->calls += t->away;
    show_free(l);
}

void fw_lead_claim(fw_leader *l, fw_thread *t)
{
    if (fw_lead_in_queued_mode(l) || l->over)
        return;
    if (!l->polling) {
        fw_lead_to(l, t);
    } else {
        l->claimant = t;
        fw_lead_wake_poller(l);
    }
}

bool fw_lead_take(fw_leader *l, fw_thread *t)
{
    if (fw_unlikely(l->leader != t)) {
        if (l->lead == FW_LEAD_THREAD)
            return false;
        if (l->lead == FW_LEAD_STANDBY)
            fw_lead_claim(l, t);
        else if (fw_lead_in_queued_mode(l))
            fw_lead_to_standby(l);
        else
            fw_lead_to(l, t);
        if (l->leader != t)
            return false;
    }
    l->attended = true;
    return true;
}

void fw_lead_leave(fw_leader *l, fw_thread *t)
{
    t->away = true;
    if (l->leader != t)
        return;
    l->attended = false;
    l->calls++;
    if (fw_unlikely(atomic_load_explicit(&l->resting, memory_order_relaxed) == FW_REST_ASLEEP))
        fw_lead_signal(l, &l->wake);
}

void fw_lead_depart(fw_leader *l, fw_thread *t)
{
    t->more = l->loop.conns.ready_head != NULL;
    if (fw_unlikely(fw_lead_in_queued_mode(l))) {
        t->away = t->timed = t->at_door = true;
        l->departed_at = fw_deadline_us();
        fw_lead_show(l, t, l->departed_at);
        atomic_fetch_add(&l->door, 1);
        if (l->idle == NULL && l->coming == 0)
            fw_siblings_set_away(&l->loop.siblings, true);
        if (l->lead != FW_LEAD_STANDBY && (l->leader == t || l->leader == NULL))
            fw_lead_to_standby(l);
        return;
    }
    if (l->lead == FW_LEAD_NOBODY)
        fw_lead_to(l, t);
    t->more |= l->leader == t && fw_loop_pending(&l->loop);
    t->more &= t->parked == 0;
    fw_lead_leave(l, t);
    if (fw_unlikely(l->leader != t)) /* the standby watches leaders only */
        fw_lead_show(l, t, fw_deadline_us());
}

void fw_lead_give_up(fw_leader *l, fw_thread *t)
{
    if (l->lead != FW_LEAD_THREAD || l->leader != t)
        return;
    l->away = NULL; /* it waits for the loop: really blocked */
    fw_lead_to_standby(l);
}

void fw_lead_end(fw_leader *l, int rc)
{
    l->over = true;
    l->result = rc;
    l->lead = FW_LEAD_NOBODY;
    l->leader = NULL;
    for (fw_thread *t = l->threads; t != NULL; t = t->next)
        fw_lead_wake_thread(l, t);
}
