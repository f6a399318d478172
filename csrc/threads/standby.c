/* standby.c - the standby thread: it leads while nobody else does, watches otherwise, and sends what has gathered. The
 * rules are in leader.h. */
#include "threads/leader.h"
#include "io/conn.h"
#include "io/store.h"
#include "threads/thread.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS 1000000 /* between two ticks */
#define QUIET_TICKS 50  /* ticks without anything to do before it sleeps */
#define PASS_MS 2       /* between two tries to pass on what waits */
#define AWAY_US 5000    /* a thread that does not block may be away this long: the interpreter's switch interval */

/* ---- what has gathered ----------------------------------------------------------------------------------------- */

/* Sends what `t` has gathered, unless `t` is writing there right now. What a full socket does not take is sent when the
 * poller reports room. */
static void send_for(fw_leader *l, fw_thread *t)
{
    if (!atomic_load(&t->pending) || pthread_mutex_trylock(&t->gate) != 0)
        return;
    fw_thread_pend(t, false); /* first: whoever begins to gather from here on sets it again */
    fw_conn *c = atomic_load(&t->gathering);
    if (c != NULL && fw_conn_send(c, &t->cache, &t->bytes_out) == FW_RETRY) {
        fw_leader_lock(l);
        fw_conn_arm(&l->loop.conns, c);
        fw_leader_unlock(l);
    }
    pthread_mutex_unlock(&t->gate);
}

/* Without the lock: the threads live as long as the standby. */
static void send_gathered(fw_leader *l)
{
    fw_leader_unlock(l);
    for (fw_thread *t = l->threads; t != NULL; t = t->next)
        send_for(l, t);
    fw_leader_lock(l);
}

/* ---- what is held ---------------------------------------------------------------------------------------------- */

/* As many complete responses may be held as there were calls in the last tick. So each waits for about a tick at most,
 * and none waits when calls are slow. */
static void judge_pace(fw_leader *l, unsigned calls)
{
    fw_conns *cs = &l->loop.conns;
    const unsigned most = calls < FW_HELD ? calls : FW_HELD;
    atomic_store_explicit(&cs->held_most, most, memory_order_relaxed);
    if (cs->nheld != 0 && (cs->nheld > most || cs->releases == l->releases))
        fw_conns_release(cs, &cs->cache, &cs->stats.bytes_out);
    l->releases = cs->releases;
}

/* ---- the standby leads ----------------------------------------------------------------------------------------- */

/* True if the kernel says that the thread sleeps. */
static bool is_blocked(const fw_thread *t)
{
    char path[64], text[512];
    if (t->tid == 0)
        return false;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", t->tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    const char *name_end = strrchr(text, ')'); /* "TID (NAME) S ..." */
    return name_end != NULL && name_end[1] == ' ' && (name_end[2] == 'S' || name_end[2] == 'D');
}

/* Waiting requests may be given to another thread than the one that is away. */
static bool may_replace(const fw_leader *l)
{
    return l->away == NULL || !l->away->away || fw_deadline_us() - l->away_since >= AWAY_US || is_blocked(l->away);
}

/* Inline mode: gives the lead to the thread that claims it, or to an idle one if there is work for it. */
static bool hand_over(fw_leader *l)
{
    if (fw_lead_in_queued_mode(l))
        return false;
    fw_thread *t = l->claimant;
    if (t == NULL) {
        t = fw_lead_best_idle(l);
        if (t == NULL || l->loop.conns.ready_head == NULL || !may_replace(l))
            return false;
    }
    fw_lead_to(l, t);
    if (t->idle)
        fw_lead_wake_thread(l, t);
    return true;
}

/* Objects whose bytes have been sent are released by application threads: wakes an idle one for it. */
static void wake_to_release(fw_leader *l)
{
    fw_thread *t = l->idle;
    if (t == NULL || l->loop.conns.cache.to_release == NULL || fw_loop_pending(&l->loop))
        return;
    t->must_return = true;
    fw_lead_wake_thread(l, t);
}

static bool must_tick_soon(fw_leader *l)
{
    const bool inline_mode = !fw_lead_in_queued_mode(l);
    return atomic_load(&l->pending) != 0 || (inline_mode && l->idle != NULL && l->loop.conns.ready_head != NULL);
}

/* While all threads are away, what waits goes to siblings that are free. In queued mode it is given to them only when no
 * thread has come for a request in the last tick: threads that come all the time are sooner there. Returns how long the next
 * poll may last, in ms; -1: as long as it takes. */
static int pass_on(fw_leader *l)
{
    const bool coming = l->coming != 0 || atomic_load(&l->door) != 0; /* a thread is on its way to what waits */
    if (l->idle != NULL || !coming)
        fw_siblings_set_away(&l->loop.siblings, l->idle == NULL);
    if (l->idle != NULL || l->over)
        return -1;
    if (coming)
        return l->loop.conns.ready_head != NULL ? PASS_MS : -1; /* fw_lead_depart shows whether it was the last */
    if (fw_lead_in_queued_mode(l) && fw_deadline_us() - l->departed_at < TICK_NS / 1000)
        return l->loop.conns.ready_head != NULL ? 1 : -1;
    return fw_loop_pass_on(&l->loop) ? PASS_MS : -1;
}

static void lead(fw_leader *l)
{
    l->quiet = 0; /* the lead may go to a thread that is away */
    judge_pace(l, 0);
    fw_lead_wake_threads(l);
    if (hand_over(l))
        return;
    wake_to_release(l);
    const int passes = pass_on(l);
    atomic_store(&l->resting, FW_REST_POLLING);
    l->loop.patience = must_tick_soon(l) ? 1 : passes;
    int rc = fw_lead_step(l);
    l->loop.patience = -1;
    atomic_store(&l->resting, FW_REST_NONE);
    fw_lead_step_aside(l);
    if (fw_unlikely(rc == FW_LOOP_WAKE))
        fw_lead_wake_signals(l, NULL);
    else if (fw_unlikely(rc != FW_LOOP_ON))
        fw_lead_end(l, rc == FW_LOOP_DONE ? FW_NEXT_DONE : rc);
    if (!fw_loop_pending(&l->loop) && atomic_load(&l->pending) != 0)
        send_gathered(l);
}

/* ---- the standby watches --------------------------------------------------------------------------------------- */

static void step_in(fw_leader *l)
{
    l->away = l->leader;
    l->away_since = fw_deadline_us();
    if (!l->away->shown)
        fw_lead_show(l, l->away, l->away_since - TICK_NS / 1000);
    fw_lead_to_standby(l);
    fw_conns_flush_ready(&l->loop.conns);
}

static void tick(fw_leader *l)
{
    const unsigned calls = l->calls - l->seen;
    const bool away = l->lead == FW_LEAD_THREAD && !l->attended;
    const bool slow = away && calls == 0;
    l->seen = l->calls;
    l->quiet = away || calls != 0 ? 0 : l->quiet + 1;
    fw_lead_score(l, slow, calls);
    if (slow)
        step_in(l);
    else
        judge_pace(l, calls);
}

#if defined(__APPLE__)

static int open_condition(pthread_cond_t *c)
{
    return pthread_cond_init(c, NULL);
}

static void wait_tick(pthread_cond_t *c, pthread_mutex_t *m)
{
    const struct timespec tick = {.tv_nsec = TICK_NS};
    pthread_cond_timedwait_relative_np(c, m, &tick);
}

#else

static int open_condition(pthread_cond_t *c)
{
    pthread_condattr_t how;
    int rc = pthread_condattr_init(&how);
    if (rc != 0)
        return rc;
    if ((rc = pthread_condattr_setclock(&how, CLOCK_MONOTONIC)) == 0)
        rc = pthread_cond_init(c, &how);
    pthread_condattr_destroy(&how);
    return rc;
}

static void wait_tick(pthread_cond_t *c, pthread_mutex_t *m)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(c, m, &until);
}

#endif

/* Waits a tick, or until it is needed if all is quiet. */
static void wait_or_sleep(fw_leader *l)
{
    if (l->quiet >= QUIET_TICKS && atomic_load(&l->pending) == 0) {
        atomic_store(&l->resting, FW_REST_ASLEEP);
        if (atomic_load(&l->pending) == 0)
            fw_lead_wait(l, &l->wake);
        atomic_store(&l->resting, FW_REST_NONE);
        l->quiet = 0;
        l->seen = l->calls - 1; /* the call that has woken us has just begun */
        if (l->lead == FW_LEAD_STANDBY || l->quit)
            return;
    }
    fw_lead_signal_now(l);
    wait_tick(&l->wake, &l->lock);
}

static void watch(fw_leader *l)
{
    wait_or_sleep(l);
    if (l->quit || l->lead == FW_LEAD_STANDBY)
        return;
    if (atomic_load(&l->pending) != 0)
        send_gathered(l);
    tick(l);
}

/* ---- the store of files ---------------------------------------------------------------------------------------- */

/* A job has been done: its connection goes on, and whoever has to act on that is woken. */
static void job_done(void *arg, fw_job *j)
{
    fw_leader *l = arg;
    fw_leader_lock(l);
    if (j->owner != NULL) {
        fw_conn_stored(&l->loop.conns, j->owner);
        fw_lead_wake_threads(l);
        if (l->loop.conns.ready_head != NULL || l->loop.conns.again != NULL || l->loop.conns.storage_error != 0)
            fw_lead_wake_poller(l);
        j = NULL;
    }
    fw_leader_unlock(l);
    if (j != NULL)
        fw_job_close(j);
}

static void open_store(fw_leader *l)
{
    l->loop.conns.store = fw_store_open(l->loop.conns.cfg.temp_dir, job_done, l);
}

/* Closes the connections whose jobs will not come back to them. Afterwards those jobs have no owners. */
static void close_waiting(fw_leader *l)
{
    fw_leader_lock(l);
    fw_conn *end = &l->loop.conns.all;
    for (fw_conn *c = end->next, *next; c != end; c = next) {
        next = c->next;
        if (c->state == FW_STATE_STORE || c->fetch != NULL)
            fw_conn_close(&l->loop.conns, c);
    }
    fw_leader_unlock(l);
}

static void close_store(fw_leader *l)
{
    if (l->loop.conns.store == NULL)
        return;
    fw_store_stop(l->loop.conns.store);
    close_waiting(l);
    fw_store_close(l->loop.conns.store);
    l->loop.conns.store = NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void *run(void *arg)
{
    fw_leader *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->quit) {
        if (l->lead == FW_LEAD_STANDBY)
            lead(l);
        else
            watch(l);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

int fw_standby_start(fw_leader *l)
{
    sigset_t all, before;
    int rc = open_condition(&l->wake);
    if (rc != 0)
        return -rc;
    open_store(l);
    l->quit = false;
    l->running = true;
    l->loop.conns.shares = true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the application's threads' */
    rc = pthread_create(&l->standby, NULL, run, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        l->running = l->loop.conns.shares = false;
        pthread_cond_destroy(&l->wake);
        close_store(l);
    }
    return -rc;
}

void fw_standby_stop(fw_leader *l)
{
    if (!l->running)
        return;
    fw_leader_lock(l);
    l->quit = true;
    pthread_cond_signal(&l->wake);
    fw_lead_wake_poller(l);
    fw_leader_unlock(l);
    pthread_join(l->standby, NULL);
    pthread_cond_destroy(&l->wake);
    l->running = l->loop.conns.shares = false;
    close_store(l);
}
