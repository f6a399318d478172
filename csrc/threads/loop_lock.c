/* loop_lock.c - the loop between threads: its lock, whom to wake when it is given up, and when to kick the poller. */
#include "threads/leader.h"
#include "observe/access_log.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#define ASIDE 20          /* times to let others go first */

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
    fw_access *a = l->loop.hub.cfg.access;
    if (fw_likely(a == NULL || fw_batch_len(&a->batch) == 0))
        return false;
    fw_leader_unlock(l);
    fw_access_flush(a);
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

fw_stats fw_leader_stats(fw_leader *l)
{
    fw_leader_lock(l);
    const fw_stats s = l->loop.hub.stats;
    fw_leader_unlock(l);
    return s;
}

int fw_lead_step(fw_leader *l)
{
    int rc = fw_loop_step(&l->loop);
    if (rc != FW_LOOP_POLL)
        return rc;
    if (l->loop.wait_ms == 0)
        return fw_loop_polled(&l->loop, fw_loop_poll(&l->loop));
    l->polling = true;
    release(l);
    fw_access_flush(l->loop.hub.cfg.access);
    rc = fw_loop_poll(&l->loop);
    fw_leader_lock(l);
    l->polling = false;
    return fw_loop_polled(&l->loop, rc);
}
