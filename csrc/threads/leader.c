/* leader.c - who leads: handing the lead over, the idle, the two regimes. The rules are in standby.h. */
#include "threads/leader.h"

#define POOL_SCORE 128 /* the pool regime begins */
#define TOP_SCORE 256
#define SLOW_SCORE 32  /* what a call that made the standby step in adds; any other takes 1 off */
#define QUICK_US 150   /* an average call below this ends the pool regime */
#define FIRST_AVERAGE_US 2000
#define SMOOTHING 32 /* calls over which the average is taken, more or less */

/* ---- the idle -------------------------------------------------------------------------------------------------- */

static void push_idle(fw_crew *w, fw_thread *t)
{
    t->idle = true;
    t->above = NULL;
    t->below = w->idle;
    if (t->below != NULL)
        t->below->above = t;
    w->idle = t;
}

static void remove_idle(fw_crew *w, fw_thread *t)
{
    if (t->above != NULL)
        t->above->below = t->below;
    else
        w->idle = t->below;
    if (t->below != NULL)
        t->below->above = t->above;
    t->idle = false;
}

void fw_idle_call(fw_loop *l, fw_thread *t)
{
    if (t->idle)
        remove_idle(&l->crew, t);
    fw_loop_signal(l, &t->wake);
}

void fw_idle_wait(fw_loop *l, fw_thread *t)
{
    push_idle(&l->crew, t);
    fw_loop_remind(l);
    while (t->idle)
        fw_loop_wait(l, &t->wake);
    if (t->sent_for) {
        t->sent_for = false;
        l->crew.coming--;
    }
}

/* ---- the lead -------------------------------------------------------------------------------------------------- */

void fw_crew_wake_standby(fw_loop *l)
{
    fw_crew *w = &l->crew;
    const int resting = atomic_load(&w->resting);
    if (resting == FW_REST_ASLEEP)
        fw_loop_signal(l, &w->wake);
    else if (resting == FW_REST_POLLING)
        fw_loop_kick(l);
}

static void begin_pool(fw_loop *l)
{
    l->crew.average_us = FIRST_AVERAGE_US;
    l->crew.claimant = NULL;
    l->hub.shares = false;
    atomic_store(&l->crew.pool, true);
}

static void end_pool(fw_loop *l)
{
    l->crew.score = 0;
    l->hub.shares = l->crew.running;
    atomic_store(&l->crew.pool, false);
}

static void learn(fw_loop *l, uint64_t us)
{
    fw_crew *w = &l->crew;
    const int64_t d = (int64_t)(us < 1000000 ? us : 1000000) - (int64_t)w->average_us;
    w->average_us = (uint32_t)((int64_t)w->average_us + d / SMOOTHING);
    if (fw_in_pool(l) && w->average_us < QUICK_US)
        end_pool(l);
}

/* ---- what the board shows -------------------------------------------------------------------------------------- */

void fw_lead_show(fw_loop *l, fw_thread *t, uint64_t since)
{
    if (l->board == NULL || t->conn == NULL)
        return;
    t->shown = true;
    t->entered = since;
    fw_board_show(&l->board->calls[t->index], (uint32_t)t->tid, t->conn, since);
}

void fw_lead_judge(fw_loop *l, fw_thread *t, bool done)
{
    const uint64_t us = fw_deadline_us() - t->entered;
    if (t->timed)
        learn(l, us);
    if (t->shown) {
        fw_board_hide(&l->board->calls[t->index]);
        l->latency[fw_board_bucket(us)] += done;
    }
    t->timed = t->shown = false;
}

uint64_t fw_lead_pause(fw_loop *l, fw_thread *t)
{
    const uint64_t now = fw_deadline_us();
    if (!t->shown)
        fw_lead_show(l, t, now);
    if (t->shown)
        fw_board_phase(&l->board->calls[t->index], FW_PHASE_CLIENT, now);
    return now;
}

void fw_lead_proceed(fw_loop *l, fw_thread *t, uint64_t began)
{
    t->entered += fw_deadline_us() - began;
    if (t->shown)
        fw_board_phase(&l->board->calls[t->index], FW_PHASE_APPLICATION, t->entered);
}

/* ---- moving the lead ------------------------------------------------------------------------------------------- */

void fw_lead_score(fw_loop *l, bool slow, unsigned quick)
{
    fw_crew *w = &l->crew;
    w->score = w->score > quick ? w->score - quick : 0;
    if (!slow)
        return;
    w->score = w->score + SLOW_SCORE < TOP_SCORE ? w->score + SLOW_SCORE : TOP_SCORE;
    if (w->score >= POOL_SCORE && !fw_in_pool(l))
        begin_pool(l);
}

void fw_lead_to_standby(fw_loop *l)
{
    fw_crew *w = &l->crew;
    w->lead = FW_LEAD_STANDBY;
    l->serves = false;
    w->leader = NULL;
    w->claimant = NULL;
    fw_crew_wake_standby(l);
}

void fw_lead_to(fw_loop *l, fw_thread *t)
{
    fw_crew *w = &l->crew;
    w->lead = FW_LEAD_THREAD;
    l->serves = true;
    w->leader = t;
    w->claimant = NULL;
    w->attended = !t->away;
    w->calls += t->away;
}

void fw_lead_claim(fw_loop *l, fw_thread *t)
{
    if (fw_in_pool(l) || l->over)
        return;
    if (!l->polling) {
        fw_lead_to(l, t);
    } else {
        l->crew.claimant = t;
        fw_loop_kick(l);
    }
}

bool fw_lead_take(fw_loop *l, fw_thread *t)
{
    fw_crew *w = &l->crew;
    if (fw_unlikely(w->leader != t)) {
        if (w->lead == FW_LEAD_THREAD)
            return false;
        if (w->lead == FW_LEAD_STANDBY)
            fw_lead_claim(l, t);
        else if (fw_in_pool(l))
            fw_lead_to_standby(l);
        else
            fw_lead_to(l, t);
        if (w->leader != t)
            return false;
    }
    w->attended = true;
    return true;
}

void fw_lead_leave(fw_loop *l, fw_thread *t)
{
    fw_crew *w = &l->crew;
    t->away = true;
    if (w->leader != t)
        return;
    w->attended = false;
    w->calls++;
    if (fw_unlikely(atomic_load_explicit(&w->resting, memory_order_relaxed) == FW_REST_ASLEEP))
        fw_loop_signal(l, &w->wake);
}

void fw_lead_depart(fw_loop *l, fw_thread *t)
{
    fw_crew *w = &l->crew;
    t->more = l->hub.ready_head != NULL;
    if (fw_unlikely(fw_in_pool(l))) {
        t->away = t->timed = t->at_door = true;
        fw_lead_show(l, t, fw_deadline_us());
        atomic_fetch_add(&w->door, 1);
        if (w->lead != FW_LEAD_STANDBY && (w->leader == t || w->leader == NULL))
            fw_lead_to_standby(l);
        return;
    }
    if (w->lead == FW_LEAD_NOBODY)
        fw_lead_to(l, t);
    t->more |= w->leader == t && fw_loop_pending(l);
    t->more &= t->parked == 0;
    fw_lead_leave(l, t);
    if (fw_unlikely(w->leader != t)) /* the standby watches leaders only */
        fw_lead_show(l, t, fw_deadline_us());
}

void fw_lead_give_up(fw_loop *l, fw_thread *t)
{
    fw_crew *w = &l->crew;
    if (w->lead != FW_LEAD_THREAD || w->leader != t)
        return;
    w->away = NULL; /* it waits for the loop: really blocked */
    fw_lead_to_standby(l);
}

/* The idle thread to take next: the latest of those without suspended responses, or the latest of all. */
fw_thread *fw_idle_best(const fw_loop *l)
{
    for (fw_thread *t = l->crew.idle; t != NULL; t = t->below)
        if (t->parked == 0)
            return t;
    return l->crew.idle;
}

bool fw_lead_pass_on(fw_loop *l, fw_thread *t)
{
    fw_thread *other = fw_idle_best(l);
    if (other == NULL || other->parked != 0 || t->owner.head != NULL || t->poked || l->over)
        return false;
    if (l->crew.leader == t) {
        fw_lead_to(l, other);
        fw_idle_call(l, other);
    } else if (fw_in_pool(l)) {
        fw_lead_call(l);
    } else if (l->crew.lead != FW_LEAD_THREAD) {
        return false;
    }
    return true;
}

bool fw_lead_poke_main(fw_loop *l, fw_thread *t)
{
    fw_thread *main = l->crew.threads;
    if (t == main)
        return true;
    main->poked = true;
    fw_idle_call(l, main);
    return t != NULL && l->notices != 0;
}

void fw_lead_end(fw_loop *l, int rc)
{
    l->over = true;
    l->result = rc;
    l->crew.lead = FW_LEAD_NOBODY;
    l->crew.leader = NULL;
    for (fw_thread *t = l->crew.threads; t != NULL; t = t->next)
        fw_idle_call(l, t);
}

static void send_somebody(fw_loop *l)
{
    fw_crew *w = &l->crew;
    fw_thread *t = fw_idle_best(l);
    if (t == NULL || atomic_load(&l->hub.nready) == 0 || w->coming + atomic_load(&w->door) != 0)
        return;
    t->sent_for = true;
    w->coming++;
    fw_idle_call(l, t);
}

void fw_lead_call(fw_loop *l)
{
    if (l->hub.called) {
        l->hub.called = false;
        for (fw_thread *t = l->crew.threads; t != NULL; t = t->next) {
            if (t->owner.called)
                fw_idle_call(l, t);
            if (t->owner.writable && atomic_load(&t->gathering) != NULL)
                fw_thread_pend(t, true);
            t->owner.called = t->owner.writable = false;
        }
    }
    if (fw_in_pool(l))
        send_somebody(l);
}
