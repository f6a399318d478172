/* thread.c - an application thread: pulling turns, handing back, output, waiting. */
#include "threads/thread.h"
#include "observe/access_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#define LARGE 65536 /* bytes of a response whose sending is timed from its very beginning */

/* ---- life ------------------------------------------------------------------------------------------------------ */

fw_thread *fw_thread_open(fw_leader *l)
{
    fw_thread *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->leader = l;
    for (const fw_thread *other = l->threads; other != NULL; other = other->next)
        t->index++;
    pthread_cond_init(&t->wake, NULL);
    pthread_mutex_init(&t->gate, NULL);
    *l->last = t;
    l->last = &t->next;
    return t;
}

void fw_thread_close_all(fw_leader *l)
{
    for (fw_thread *t = l->threads, *next; t != NULL; t = next) {
        next = t->next;
        while (t->to_release != NULL) {
            fw_conn *c = t->to_release;
            t->to_release = c->link;
            free(c);
        }
        while (fw_chunk_cache_to_release(&t->cache) != NULL)
            ;
        fw_chunk_cache_clear(&t->cache);
        pthread_cond_destroy(&t->wake);
        pthread_mutex_destroy(&t->gate);
        free(t);
    }
    l->threads = NULL;
    l->last = &l->threads;
}

void fw_thread_attach(fw_thread *t)
{
#if defined(__linux__)
    t->tid = (int)syscall(SYS_gettid);
#else
    (void)t;
#endif
}

/* ---- what the loop has for this thread to release -------------------------------------------------------------- */

static bool has_to_release(const fw_conns *cs)
{
    return cs->cache.to_release != NULL || cs->to_release != NULL || cs->memos.nto_release != 0;
}

/* Under the lock: takes over what is to be released, so that it can be done without. While the thread gathers its pool is
 * shared with the standby, and the gate is not for those who hold the lock. */
static void take_to_release(fw_thread *t)
{
    fw_conns *cs = &t->leader->loop.conns;
    if (atomic_load_explicit(&t->gathering, memory_order_relaxed) == NULL && t->cache.to_release == NULL) {
        t->cache.to_release = cs->cache.to_release;
        cs->cache.to_release = NULL;
    }
    if (t->to_release == NULL) {
        t->to_release = cs->to_release;
        cs->to_release = NULL;
    }
    t->memos_to_release = cs->memos.nto_release != 0;
}

void fw_thread_clear_up(fw_thread *t)
{
    fw_leader *l = t->leader;
    fw_loop_abandon(&l->loop);
    fw_conns_reap(&l->loop.conns);
    fw_memos_clear(&l->loop.conns.memos);
    take_to_release(t);
}

bool fw_thread_call(fw_thread *t, fw_board_call *to)
{
    fw_leader *l = t->leader;
    fw_leader_lock(l);
    const bool shown = t->shown;
    if (shown)
        memcpy(to, &l->loop.board->calls[t->index], sizeof *to);
    fw_leader_unlock(l);
    return shown;
}

bool fw_thread_client_gone(fw_thread *t)
{
    fw_leader *l = t->leader;
    fw_leader_lock(l);
    const bool gone = t->shown && fw_conn_is_gone(&l->loop.conns, t->conn);
    fw_leader_unlock(l);
    return gone;
}

void *fw_thread_to_release(fw_thread *t)
{
    fw_thread_open_gate(t);
    void *owner = fw_chunk_cache_to_release(&t->cache);
    fw_thread_close_gate(t);
    if (owner == NULL && fw_unlikely(t->to_release != NULL)) {
        fw_conn *c = t->to_release;
        t->to_release = c->link;
        owner = c->peer;
        free(c);
    }
    if (owner == NULL && fw_unlikely(t->memos_to_release)) {
        fw_leader_lock(t->leader);
        owner = fw_memo_to_release(&t->leader->loop.conns.memos);
        fw_leader_unlock(t->leader);
        t->memos_to_release = owner != NULL;
    }
    return owner;
}

/* ---- gathering ------------------------------------------------------------------------------------------------- */

void fw_thread_pend(fw_thread *t, bool pending)
{
    if (atomic_exchange(&t->pending, pending) == pending)
        return;
    if (pending)
        atomic_fetch_add(&t->leader->pending, 1);
    else
        atomic_fetch_sub(&t->leader->pending, 1);
}

/* From here on only the owner touches the queue. */
static void end_gathering(fw_thread *t)
{
    if (fw_likely(atomic_load_explicit(&t->gathering, memory_order_relaxed) == NULL))
        return;
    pthread_mutex_lock(&t->gate);
    atomic_store(&t->gathering, NULL);
    fw_thread_pend(t, false);
    pthread_mutex_unlock(&t->gate);
}

int fw_thread_gather(fw_thread *t, fw_conn *c)
{
    if (atomic_load_explicit(&c->broken, memory_order_relaxed))
        return -EPIPE;
    if (atomic_load_explicit(&t->gathering, memory_order_relaxed) == NULL)
        atomic_store(&t->gathering, c);
    if (!atomic_load(&t->pending)) {
        fw_thread_pend(t, true);
        if (atomic_load(&t->leader->resting) != FW_REST_NONE)
            fw_leader_wake_standby(t->leader);
    }
    return FW_OK;
}

/* ---- output ---------------------------------------------------------------------------------------------------- */

int fw_thread_send(fw_thread *t, fw_conn *c)
{
    int rc = fw_conn_send(c, &t->cache, &t->bytes_out);
    if (rc != FW_RETRY && fw_unlikely(atomic_load_explicit(&t->pending, memory_order_relaxed)))
        fw_thread_pend(t, false);
    return rc;
}

int fw_thread_pass(fw_thread *t, fw_conn *c, bool more)
{
    const size_t mark = atomic_load_explicit(&t->leader->loop.conns.mark, memory_order_relaxed);
    if (fw_unlikely(mark < t->leader->loop.conns.cfg.high_water) && !c->limited)
        fw_conn_limit_unsent(c);
    fw_thread_open_gate(t);
    int rc = fw_thread_send(t, c);
    const bool below = rc == FW_RETRY && fw_outq_held(&c->out) < mark;
    if (rc == FW_OK && more && fw_unlikely(mark == 0) && !fw_conn_has_room(c))
        rc = FW_RETRY;
    fw_thread_close_gate(t);
    /* The application goes on, perhaps for long: the standby awaits the socket (PEP 3333: no block is delayed). */
    return below ? fw_thread_gather(t, c) : rc;
}

/* ---- turns ----------------------------------------------------------------------------------------------------- */

/* With metrics: a thread that has a turn is busy, whatever it waits for. */
static void begin_turn(fw_thread *t)
{
    const fw_conns *cs = &t->leader->loop.conns;
    t->turn_began = cs->us;
    cs->metrics->busy++;
    cs->metrics->began += t->turn_began;
}

/* The first two are taken back before the third grows: a reader between the two sees too little rather than too much. */
static void end_turn(fw_thread *t)
{
    const fw_conns *cs = &t->leader->loop.conns;
    if (t->turn_began == 0)
        return;
    cs->metrics->busy--;
    cs->metrics->began -= t->turn_began;
    atomic_thread_fence(memory_order_release);
    cs->metrics->busy_us += cs->us - t->turn_began;
    t->turn_began = 0;
}

static bool pull(fw_thread *t, fw_conn **out)
{
    fw_leader *l = t->leader;
    if (fw_unlikely(l->lead == FW_LEAD_STANDBY))
        fw_lead_claim(l, t);
    fw_conn *c = fw_conn_pull(&l->loop.conns, &t->owner, fw_lead_allows(l, t));
    if (c == NULL)
        return false;
    t->parked -= c->turn != FW_TURN_REQUEST;
    *out = t->conn = c;
    if (fw_unlikely(l->loop.conns.metrics != NULL))
        begin_turn(t);
    if (fw_unlikely(l->loop.conns.admission.is_above))
        fw_lead_crowd(l);
    if (fw_unlikely(c->out.head != NULL)) { /* a pipelined response waits to share a send: not for long */
        atomic_store(&t->gathering, c);
        fw_thread_pend(t, true);
    }
    fw_lead_depart(l, t);
    return true;
}

/* Takes one step as the leader. True: `*rc` is to be returned. */
static bool step(fw_thread *t, int *rc)
{
    fw_leader *l = t->leader;
    *rc = fw_lead_step(l);
    fw_lead_step_aside(l);
    if (fw_unlikely(l->loop.conns.called))
        fw_lead_wake_threads(l);
    if (fw_likely(*rc == FW_LOOP_ON))
        return false;
    if (*rc == FW_LOOP_WAKE) {
        *rc = FW_NEXT_WAKE;
        return fw_lead_wake_signals(l, t);
    }
    fw_lead_end(l, *rc == FW_LOOP_DONE ? FW_NEXT_DONE : *rc);
    return false;
}

/* Under the lock: the next request is to be run at once. */
static bool has_more(const fw_thread *t)
{
    const fw_leader *l = t->leader;
    return l->leader == t && (l->loop.conns.ready_head != NULL || fw_loop_pending(&l->loop));
}

static void release_held(fw_thread *t)
{
    fw_conns *cs = &t->leader->loop.conns;
    if (cs->nheld != 0)
        fw_conns_release(cs, &t->cache, &t->bytes_out);
}

static int take_turn(fw_thread *t, bool hasty, fw_conn **out)
{
    fw_leader *l = t->leader;
    int rc;
    for (;;) {
        if (fw_unlikely(t->parked != 0) && !hasty) {
            fw_lead_flush_access(l); /* first: it gives up the lock, and the thread may be woken meanwhile */
            if (fw_lead_pass_on(l, t)) {
                fw_lead_wait_idle(l, t);
                continue;
            }
        }
        if (fw_unlikely(t->must_return)) { /* first: there may always be one more request */
            t->must_return = false;
            return FW_NEXT_WAKE;
        }
        if (pull(t, out))
            return FW_NEXT_TURN;
        if (fw_unlikely(l->over))
            return l->result;
        if (fw_likely(fw_lead_take(l, t))) {
            if (!fw_loop_pending(&l->loop)) {
                release_held(t);
                if (hasty)
                    return FW_RETRY;
                if (l->loop.conns.cache.to_release != NULL) /* nothing of the size of a response is kept while we wait */
                    return FW_NEXT_WAKE;
            }
            if (step(t, &rc))
                return rc;
        } else {
            if (hasty)
                return FW_RETRY;
            if (!fw_lead_flush_access(l))
                fw_lead_wait_idle(l, t);
        }
    }
}

/* Under the lock: counts what the thread has done since it was here last. `done`: it has finished its turn. */
static void come_back(fw_thread *t, bool done)
{
    fw_leader *l = t->leader;
    t->away = false;
    t->conn = NULL;
    l->loop.conns.stats.bytes_out += t->bytes_out;
    t->bytes_out = 0;
    if (fw_unlikely(t->timed || t->shown))
        fw_lead_judge(l, t, done);
}

static void time_large(fw_timing *t)
{
    t->large = true;
    if (t->handed_over == 0)
        t->handed_over = fw_deadline_us();
}

/* Before the lock is taken: sends what is queued, unless the answer to a pipelined request may share the send, or
 * (`more`) it may be held. Also closes a body in a file, because the kernel needs a tenth of a second to free the pages
 * of a gigabyte. */
static void send_last(fw_thread *t, fw_conn *c, bool keep, bool more)
{
    end_gathering(t);
    const bool pipelined = keep && c->in != NULL && c->in->pos != c->in->len;
    if (fw_unlikely(t->leader->loop.conns.timed) && c->out.bytes >= LARGE)
        time_large(fw_conn_timing(c));
    if (c->out.head != NULL && !pipelined && !(more && fw_conn_may_hold(&t->leader->loop.conns, c)))
        fw_thread_send(t, c);
    if (fw_unlikely(c->req != NULL && c->req->body.fd >= 0))
        fw_body_close(&c->req->body);
}

/* Writes lines of the access log that must not wait for a pause: there are many, or calls may be long. */
static void flush_due(fw_leader *l)
{
    fw_batch *b = &l->loop.conns.cfg.access->batch;
    const size_t n = fw_batch_len(b);
    if (fw_access_log_waits(l->loop.conns.cfg.access))
        return;
    if (n >= FW_BATCH_DUE || (n != 0 && atomic_load_explicit(&l->queued, memory_order_relaxed)))
        fw_batch_flush(b);
}

int fw_thread_next(fw_thread *t, fw_conn *done, bool keep, bool cut, bool hasty, fw_conn **out)
{
    fw_leader *l = t->leader;
    if (done != NULL)
        send_last(t, done, keep, t->more);
    if (fw_unlikely(l->loop.conns.cfg.access != NULL) && !hasty)
        flush_due(l);
    fw_leader_lock(l);
    come_back(t, done != NULL);
    if (done != NULL)
        fw_conn_finish(&l->loop.conns, done, keep, cut, has_more(t));
    if (fw_unlikely(l->loop.conns.metrics != NULL))
        end_turn(t);
    if (fw_unlikely(l->loop.conns.nheld >= atomic_load_explicit(&l->loop.conns.held_most, memory_order_relaxed)))
        release_held(t);
    const int rc = take_turn(t, hasty, out);
    if (fw_unlikely(rc == FW_NEXT_WAKE))
        fw_lead_leave(l, t);
    if (fw_unlikely(has_to_release(&l->loop.conns)))
        take_to_release(t);
    if (fw_unlikely(l->loop.conns.called || fw_lead_in_queued_mode(l)))
        fw_lead_wake_threads(l);
    fw_leader_unlock(l);
    return rc;
}

void fw_thread_finish(fw_thread *t, fw_conn *done, bool keep, bool cut)
{
    fw_leader *l = t->leader;
    send_last(t, done, keep, false);
    fw_leader_lock(l);
    come_back(t, true);
    fw_conn_finish(&l->loop.conns, done, keep, cut, false);
    if (l->loop.conns.metrics != NULL)
        end_turn(t);
    fw_lead_leave(l, t);
    fw_lead_wake_threads(l);
    fw_leader_unlock(l);
}

/* To wait at the door is to wait for a thread, and for the interpreter lock. */
static void time_door(fw_timing *t, uint64_t now)
{
    t->door = now - t->pulled;
    t->pulled = now;
}

void fw_thread_enter(fw_thread *t)
{
    fw_leader *l = t->leader;
    t->at_door = false;
    atomic_fetch_sub(&l->door, 1);
    t->entered = fw_deadline_us();
    if (fw_unlikely(l->loop.conns.timed) && t->conn->turn == FW_TURN_REQUEST)
        time_door(fw_conn_timing(t->conn), t->entered);
    if (atomic_load(&l->loop.conns.nready) == 0)
        return;
    fw_leader_lock(l);
    fw_lead_wake_threads(l);
    fw_leader_unlock(l);
}

void fw_thread_suspend(fw_thread *t, fw_conn *c, void *user)
{
    fw_leader *l = t->leader;
    end_gathering(t);
    fw_leader_lock(l);
    t->parked++;
    fw_conn_suspend(&l->loop.conns, c, user);
    if (l->loop.conns.called)
        fw_lead_wake_threads(l);
    fw_leader_unlock(l);
}

int fw_thread_wait(fw_thread *t, fw_conn *c)
{
    fw_leader *l = t->leader;
    int rc = -EPIPE;
    end_gathering(t);
    fw_leader_lock(l);
    if (!c->broken && !l->over) {
        rc = FW_OK;
        fw_lead_give_up(l, t);
        const uint64_t began = fw_lead_pause(l, t);
        fw_conn_wait(&l->loop.conns, c);
        fw_lead_wake_poller_if_due(l);
        while (c->state == FW_STATE_SUSPENDED && !t->must_return && !l->over)
            fw_lead_wait(l, &t->wake);
        fw_lead_proceed(l, t, began);
        if (l->loop.conns.timed)
            fw_conn_timing(c)->waited += fw_deadline_us() - fw_conn_timing(c)->parked;
    }
    if (c->state == FW_STATE_SUSPENDED) {
        fw_conn_take_back(&l->loop.conns, c);
        rc = l->over ? -EPIPE : FW_RETRY; /* over: nobody polls any more */
    }
    if (c->broken)
        rc = -EPIPE;
    if (rc == FW_RETRY) /* otherwise the reason to return is still to be dealt with */
        t->must_return = false;
    fw_leader_unlock(l);
    return rc;
}

void fw_thread_limit(fw_thread *t, uint64_t us)
{
    fw_leader_lock(t->leader);
    fw_lead_limit(t->leader, t, us);
    fw_leader_unlock(t->leader);
}

void fw_thread_watch(fw_thread *t, fw_conn *c)
{
    fw_leader_lock(t->leader);
    fw_conn_watch(&t->leader->loop.conns, c);
    fw_leader_unlock(t->leader);
}

/* ---- a socket that is taken over -------------------------------------------------------------------------------- */

int fw_thread_take_over(fw_thread *t, fw_conn *c, fw_takeover **out)
{
    fw_leader *l = t->leader;
    end_gathering(t);
    fw_leader_lock(l);
    const int rc = l->over ? -EPIPE : fw_takeover_open(&l->loop.conns, c, out);
    if (rc == FW_OK) {
        fw_lead_give_up(l, t); /* it is away for long, and others are not to find that out first */
        t->timed = false;
        fw_lead_upgrade(l, t);
    }
    fw_leader_unlock(l);
    return rc;
}

void fw_thread_leave_socket(fw_thread *t, fw_takeover *k, bool give_away)
{
    fw_leader_lock(t->leader);
    fw_takeover_leave(&t->leader->loop.conns, k, give_away);
    fw_leader_unlock(t->leader);
}
