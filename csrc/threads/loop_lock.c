/* loop_lock.c - the loop between threads: its lock, whom to wake when it is given up, and when to kick the poller. */
#include "threads/leader.h"
#include "observe/access_log.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#define ASIDE 20          /* times to let others go first */

static void release(fw_leader *l)
{
    pthread_cond_t *out[sizeof l->calls_out / sizeof *l->calls_out];
    const unsigned n = l->ncalls_out;
    if (fw_likely(n == 0)) {
        pthread_mutex_unlock(&l->lock);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        out[i] = l->calls_out[i];
    l->ncalls_out = 0;
    pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < n; i++)
        pthread_cond_signal(out[i]);
}

void fw_loop_kick(fw_leader *l)
{
    if (l->polling)
        fw_loop_cut_short(&l->loop);
}

void fw_loop_remind(fw_leader *l)
{
    if (fw_unlikely(l->polling) && !l->loop.waking && fw_loop_due(&l->loop))
        fw_loop_kick(l);
}

void fw_loop_unlock(fw_leader *l)
{
    fw_loop_remind(l);
    release(l);
}

void fw_loop_signal(fw_leader *l, pthread_cond_t *c)
{
    if (l->ncalls_out < sizeof l->calls_out / sizeof *l->calls_out)
        l->calls_out[l->ncalls_out++] = c;
    else
        pthread_cond_signal(c);
}

void fw_loop_signal_all(fw_leader *l)
{
    while (l->ncalls_out > 0)
        pthread_cond_signal(l->calls_out[--l->ncalls_out]);
}

void fw_loop_wait(fw_leader *l, pthread_cond_t *c)
{
    fw_loop_signal_all(l);
    pthread_cond_wait(c, &l->lock);
}

bool fw_loop_flush_access(fw_leader *l)
{
    fw_access *a = l->loop.hub.cfg.access;
    if (fw_likely(a == NULL || fw_batch_len(&a->batch) == 0))
        return false;
    fw_loop_unlock(l);
    fw_access_flush(a);
    fw_loop_lock(l);
    return true;
}

void fw_loop_step_aside(fw_leader *l)
{
    if (fw_likely(atomic_load_explicit(&l->callers, memory_order_relaxed) == 0))
        return;
    release(l);
    for (int i = 0; i < ASIDE && atomic_load_explicit(&l->callers, memory_order_relaxed) != 0; i++)
        sched_yield();
    pthread_mutex_lock(&l->lock);
}

unsigned fw_loop_notices(fw_leader *l)
{
    fw_loop_lock(l);
    unsigned n = l->loop.notices;
    l->loop.notices = 0;
    fw_loop_unlock(l);
    return n;
}

fw_stats fw_loop_stats(fw_leader *l)
{
    fw_loop_lock(l);
    const fw_stats s = l->loop.hub.stats;
    fw_loop_unlock(l);
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
    fw_loop_lock(l);
    l->polling = false;
    return fw_loop_polled(&l->loop, rc);
}
