/* loop_lock.c - the loop between threads: its lock, whom to wake when it is given up, and when to kick the poller. */
#include "threads/leader.h"
#include "observe/access_log.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#define ASIDE 20          /* times to let others go first */

static void release(fw_loop *l)
{
    pthread_cond_t *out[sizeof l->crew.calls_out / sizeof *l->crew.calls_out];
    const unsigned n = l->crew.ncalls_out;
    if (fw_likely(n == 0)) {
        pthread_mutex_unlock(&l->lock);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        out[i] = l->crew.calls_out[i];
    l->crew.ncalls_out = 0;
    pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < n; i++)
        pthread_cond_signal(out[i]);
}

/* True if it will wake; a full pipe means that it is awake anyway. */
static bool wake(fw_loop *l)
{
    for (int tries = 0; tries < 3; tries++)
        if (write(l->wake_write, "", 1) == 1 || errno == EAGAIN)
            return true;
    return false;
}

void fw_loop_wake(fw_loop *l)
{
    wake(l);
}

void fw_loop_kick(fw_loop *l)
{
    if (!l->kicked && l->polling)
        l->kicked = wake(l);
}

void fw_loop_remind(fw_loop *l)
{
    if (fw_unlikely(l->polling) && !l->kicked && fw_loop_due(l))
        fw_loop_kick(l);
}

void fw_loop_unlock(fw_loop *l)
{
    fw_loop_remind(l);
    release(l);
}

void fw_loop_signal(fw_loop *l, pthread_cond_t *c)
{
    fw_crew *w = &l->crew;
    if (w->ncalls_out < sizeof w->calls_out / sizeof *w->calls_out)
        w->calls_out[w->ncalls_out++] = c;
    else
        pthread_cond_signal(c);
}

void fw_loop_signal_all(fw_loop *l)
{
    while (l->crew.ncalls_out > 0)
        pthread_cond_signal(l->crew.calls_out[--l->crew.ncalls_out]);
}

void fw_loop_wait(fw_loop *l, pthread_cond_t *c)
{
    fw_loop_signal_all(l);
    pthread_cond_wait(c, &l->lock);
}

bool fw_loop_flush_access(fw_loop *l)
{
    fw_access *a = l->hub.cfg.access;
    if (fw_likely(a == NULL || fw_batch_len(&a->batch) == 0))
        return false;
    fw_loop_unlock(l);
    fw_access_flush(a);
    fw_loop_lock(l);
    return true;
}

void fw_loop_step_aside(fw_loop *l)
{
    if (fw_likely(atomic_load_explicit(&l->callers, memory_order_relaxed) == 0))
        return;
    release(l);
    for (int i = 0; i < ASIDE && atomic_load_explicit(&l->callers, memory_order_relaxed) != 0; i++)
        sched_yield();
    pthread_mutex_lock(&l->lock);
}

unsigned fw_loop_notices(fw_loop *l)
{
    fw_loop_lock(l);
    unsigned n = l->notices;
    l->notices = 0;
    fw_loop_unlock(l);
    return n;
}

fw_stats fw_loop_stats(fw_loop *l)
{
    fw_loop_lock(l);
    const fw_stats s = l->hub.stats;
    fw_loop_unlock(l);
    return s;
}

int fw_lead_step(fw_loop *l)
{
    int rc = fw_loop_step(l);
    if (rc != FW_LOOP_POLL)
        return rc;
    if (l->wait_ms == 0)
        return fw_loop_polled(l, fw_loop_poll(l));
    l->polling = true;
    release(l);
    fw_access_flush(l->hub.cfg.access);
    rc = fw_loop_poll(l);
    fw_loop_lock(l);
    l->polling = false;
    return fw_loop_polled(l, rc);
}
