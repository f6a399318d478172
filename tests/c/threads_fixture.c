/* threads_fixture.c - the threads and their stub application; their clients are in clients.c.
 *
 *   /quick        answers with the number of its thread
 *   /checkpoint/N stands at checkpoint N, then answers so
 *   /nap          blocks for two milliseconds, then answers so
 *   /spin         computes until threads_fixture.spins is false, then answers so
 *   /stream       a large response block by block, parked while the client is slow
 *   /write        the same, but waits inside the call
 *   /gather/N/M/S blocks of S bytes, left to be gathered: one, checkpoint N, another one, checkpoint M, the end
 *   /drip         small blocks, left to be gathered, with a nap among them
 *   /talk         gathers byte by byte until the client is gone
 *   /take/HOW     takes the socket over, answers by itself, lets another thread read, and then closes the socket (c), ends
 *                 the request (e), or leaves the socket to that thread (l)
 */
#include "observe/access_log.h"
#include "threads_fixture.h"
#include "apps.h"
#include "faults.h"
#include "harness.h"

#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- checkpoints ----------------------------------------------------------------------------------------------- */

static struct timespec guard(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += GUARD_S;
    return t;
}

/* Under the mutex. */
static void wait_for_change(threads_fixture *m, const struct timespec *until, const char *what, unsigned checkpoint)
{
    if (pthread_cond_timedwait(&m->changed, &m->mutex, until) == ETIMEDOUT)
        FAIL("nobody %s %u", what, checkpoint);
}

static void stand(worker *p, unsigned checkpoint)
{
    threads_fixture *m = p->threads_fixture;
    const struct timespec until = guard();
    pthread_mutex_lock(&m->mutex);
    m->checkpoints[checkpoint].by = (int)p->number;
    pthread_cond_broadcast(&m->changed);
    while (!m->checkpoints[checkpoint].open)
        wait_for_change(m, &until, "opens checkpoint", checkpoint);
    pthread_mutex_unlock(&m->mutex);
}

int threads_fixture_entered(threads_fixture *m, unsigned checkpoint)
{
    const struct timespec until = guard();
    pthread_mutex_lock(&m->mutex);
    while (m->checkpoints[checkpoint].by < 0)
        wait_for_change(m, &until, "comes to checkpoint", checkpoint);
    const int by = m->checkpoints[checkpoint].by;
    pthread_mutex_unlock(&m->mutex);
    return by;
}

bool threads_fixture_is_at(threads_fixture *m, unsigned checkpoint)
{
    pthread_mutex_lock(&m->mutex);
    const bool is = m->checkpoints[checkpoint].by >= 0;
    pthread_mutex_unlock(&m->mutex);
    return is;
}

void threads_fixture_open_checkpoint(threads_fixture *m, unsigned checkpoint)
{
    pthread_mutex_lock(&m->mutex);
    m->checkpoints[checkpoint].open = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->mutex);
}

void threads_fixture_await_at(const char *file, int line, threads_fixture *m, bool (*holds)(const threads_fixture *), const char *what)
{
    const struct timespec until = guard();
    for (;;) {
        fw_leader_lock(m->leader);
        const bool is = holds(m);
        fw_leader_unlock(m->leader);
        if (is)
            return;
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        if (now.tv_sec > until.tv_sec)
            fail_at(file, line, "it never comes: %s", what);
        sched_yield();
    }
}

void threads_fixture_pass(threads_fixture *m, unsigned ms)
{
    clock_advance(ms);
    const uint64_t now = fw_deadline_clock();
    for (bool seen = false; !seen; sched_yield()) {
        fw_leader_lock(m->leader);
        fw_lead_wake_poller(m->leader);
        seen = m->loop->polled_at >= now || m->leader->over;
        fw_leader_unlock(m->leader);
    }
}

/* ---- the application ------------------------------------------------------------------------------------------- */

typedef struct ending { /* of a turn: the connection to hand back, if it is over */
    fw_conn *done;
    bool keep, cut;
} ending;

static const ending PARKED = {NULL, false, false};

static ending over(const worker *p, fw_conn *c, bool well)
{
    return (ending){c, well && c->req->keep_alive && !p->threads_fixture->loop->conns.stopping, !well};
}

static bool put(worker *p, fw_conn *c, const char *text, size_t n)
{
    fw_thread_open_gate(p->thread);
    const int rc = fw_outq_copy(&c->out, &p->thread->cache, text, n);
    fw_thread_close_gate(p->thread);
    return rc == FW_OK;
}

static bool put_head(worker *p, fw_conn *c, size_t length)
{
    char head[128];
    const int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", length);
    return put(p, c, head, (size_t)n);
}

static bool put_ref(worker *p, fw_conn *c, const char *bytes, size_t n)
{
    fw_thread_open_gate(p->thread);
    const int rc = fw_outq_ref(&c->out, &p->thread->cache, bytes, n, &p->threads_fixture->held);
    fw_thread_close_gate(p->thread);
    if (rc == FW_OK)
        atomic_fetch_add(&p->threads_fixture->held, 1);
    return rc == FW_OK;
}

static int send_gated(worker *p, fw_conn *c)
{
    fw_thread_open_gate(p->thread);
    const int rc = fw_thread_send(p->thread, c);
    fw_thread_close_gate(p->thread);
    return rc;
}

static ending say_who(worker *p, fw_conn *c)
{
    const char who[2] = {(char)('0' + p->number), '\n'};
    return over(p, c, put_head(p, c, sizeof who) && put(p, c, who, sizeof who));
}

/* How far a parked response has come is behind conn->user. */
static ending stream(worker *p, fw_conn *c, size_t *at)
{
    threads_fixture *m = p->threads_fixture;
    while (*at < APP_LARGE) {
        if (!put_ref(p, c, app_bytes + *at, APP_BLOCK))
            break;
        *at += APP_BLOCK;
        const int rc = send_gated(p, c);
        if (rc == FW_RETRY && fw_thread_queued(p->thread, c) > m->loop->conns.cfg.high_water) {
            pthread_mutex_lock(&m->mutex);
            m->suspended_by = (int)p->number;
            pthread_mutex_unlock(&m->mutex);
            atomic_fetch_add(&m->held, 1);
            fw_thread_suspend(p->thread, c, at);
            return PARKED;
        }
        if (rc != FW_RETRY && rc < 0)
            break;
    }
    const bool well = *at == APP_LARGE && !c->broken;
    free(at);
    return over(p, c, well);
}

static ending write_out(worker *p, fw_conn *c)
{
    threads_fixture *m = p->threads_fixture;
    bool well = put_head(p, c, APP_LARGE) && put_ref(p, c, app_bytes, APP_LARGE);
    int rc = well ? send_gated(p, c) : -ENOMEM;
    while (rc == FW_RETRY && (rc = fw_thread_wait(p->thread, c)) == FW_RETRY) {
        pthread_mutex_lock(&m->mutex);
        m->waits++;
        pthread_mutex_unlock(&m->mutex);
    }
    pthread_mutex_lock(&m->mutex);
    m->wait_rc = rc;
    pthread_mutex_unlock(&m->mutex);
    atomic_store(&m->waited, true);
    return over(p, c, rc == FW_OK);
}

/* As a worker passes a streamed block on. */
static int pass_on(worker *p, fw_conn *c, const char *bytes, size_t n)
{
    threads_fixture *m = p->threads_fixture;
    int rc = put(p, c, bytes, n) ? FW_OK : -ENOMEM;
    if (rc == FW_OK)
        rc = fw_thread_gathers(p->thread, fw_thread_queued(p->thread, c)) ? fw_thread_gather(p->thread, c)
                                                                            : fw_thread_pass(p->thread, c, true);
    pthread_mutex_lock(&m->mutex);
    m->gather_rc = rc;
    pthread_mutex_unlock(&m->mutex);
    return rc == FW_RETRY ? FW_OK : rc;
}

static ending gather(worker *p, fw_conn *c, const char *how)
{
    unsigned first = 0, second = 0, size = 0;
    CHECK(sscanf(how, "%u/%u/%u", &first, &second, &size) == 3 && size <= APP_LARGE / 2);
    if (!put_head(p, c, (size_t)size * 2) || pass_on(p, c, app_bytes, size) != FW_OK)
        return over(p, c, false);
    stand(p, first);
    if (pass_on(p, c, app_bytes + size, size) != FW_OK)
        return over(p, c, false);
    stand(p, second);
    return over(p, c, true);
}

static ending drip(worker *p, fw_conn *c)
{
    bool well = put_head(p, c, 20 * 500);
    for (int i = 0; i < 20 && well; i++) {
        well = pass_on(p, c, app_bytes, 500) == FW_OK;
        if (i % 8 == 7)
            poll(NULL, 0, 2);
    }
    return over(p, c, well);
}

static ending talk(worker *p, fw_conn *c)
{
    const struct timespec until = guard();
    struct timespec now = {0};
    if (!put_head(p, c, 1u << 30))
        return over(p, c, false);
    while (pass_on(p, c, "x", 1) == FW_OK) {
        clock_gettime(CLOCK_REALTIME, &now);
        CHECK(now.tv_sec <= until.tv_sec);
        sched_yield();
    }
    return over(p, c, false);
}

/* A thread of the application's, which reads what the client still has to say. */
typedef struct listener {
    threads_fixture *threads_fixture;
    fw_takeover *held;
    int fd;
} listener;

static void *listen_on(void *arg)
{
    listener *l = arg;
    threads_fixture *m = l->threads_fixture;
    char bytes[256];
    while (recv(l->fd, bytes, sizeof bytes, 0) > 0)
        ;
    fw_takeover_let_go(l->held);
    free(l);
    atomic_fetch_sub(&m->listeners, 1);
    return NULL;
}

static void begin_to_listen(threads_fixture *m, fw_takeover *held)
{
    listener *l = malloc(sizeof *l);
    pthread_t id;
    CHECK(l != NULL);
    *l = (listener){m, held, held->fd};
    fw_takeover_hold(held);
    atomic_fetch_add(&m->listeners, 1);
    CHECK(pthread_create(&id, NULL, listen_on, l) == 0);
    pthread_detach(id);
}

static ending take(worker *p, fw_conn *c, char how)
{
    static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntook";
    fw_takeover *held;
    int rc = send_gated(p, c);
    while (rc == FW_RETRY)
        rc = fw_thread_wait(p->thread, c);
    if (rc != FW_OK || fw_thread_take_over(p->thread, c, &held) != FW_OK)
        return over(p, c, false);
    begin_to_listen(p->threads_fixture, held);
    (void)sendto(held->fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL, NULL, 0);
    if (how == 'c')
        fw_thread_leave_socket(p->thread, held, false);
    c->leased = how == 'l';
    fw_takeover_let_go(held);
    return over(p, c, false);
}

/* As the worker does with the environ that it has built, or finds, and with the client's name. */
static void remember(threads_fixture *m, fw_conn *c)
{
    fw_request *r = c->req;
    if (r->memo_use == FW_MEMO_FILL) {
        CHECK(fw_memo_user(r) == NULL);
        atomic_fetch_add(&m->held, 1);
        fw_memo_fill(r, &m->held);
    } else if (r->memo_use != FW_MEMO_NONE) {
        CHECK(fw_memo_user(r) == &m->held);
    }
    if (c->peer == NULL) {
        atomic_fetch_add(&m->held, 1);
        c->peer = &m->held;
    }
}

static ending request(worker *p, fw_conn *c)
{
    threads_fixture *m = p->threads_fixture;
    char target[64];
    const fw_request *r = c->req;
    remember(m, c);
    snprintf(target, sizeof target, "%.*s", (int)r->target.len, fw_request_at(r, r->target));
    if (strcmp(target, "/stream") == 0) {
        size_t *at = calloc(1, sizeof *at);
        return at != NULL && put_head(p, c, APP_LARGE) ? stream(p, c, at) : over(p, c, false);
    }
    if (strcmp(target, "/write") == 0)
        return write_out(p, c);
    if (strcmp(target, "/nap") == 0)
        poll(NULL, 0, 2);
    if (strcmp(target, "/drip") == 0)
        return drip(p, c);
    if (strcmp(target, "/talk") == 0)
        return talk(p, c);
    if (strncmp(target, "/take/", 6) == 0)
        return take(p, c, target[6]);
    if (strncmp(target, "/gather/", 8) == 0)
        return gather(p, c, target + 8);
    if (strncmp(target, "/checkpoint/", 12) == 0)
        stand(p, (unsigned)atoi(target + 12));
    while (strcmp(target, "/spin") == 0 && atomic_load(&m->spins))
        ;
    return say_who(p, c);
}

static ending turn(worker *p, fw_conn *c)
{
    threads_fixture *m = p->threads_fixture;
    if (c->turn == FW_TURN_REQUEST)
        return c->broken ? over(p, c, false) : request(p, c);
    size_t *at = c->user;
    c->user = NULL;
    atomic_fetch_sub(&m->held, 1);
    pthread_mutex_lock(&m->mutex);
    m->resumed_by = (int)p->number;
    m->gone += c->turn == FW_TURN_GONE;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->mutex);
    if (c->turn == FW_TURN_RESUME)
        return stream(p, c, at);
    free(at);
    return over(p, c, false);
}

static void release(worker *p)
{
    for (atomic_int *owner; (owner = fw_thread_to_release(p->thread)) != NULL;)
        atomic_fetch_sub(owner, 1);
}

static void note(worker *p, const fw_conn *c)
{
    const fw_entry e = {.req = c->req, .client = fw_conn_address(c), .status = 200, .us = p->wakes};
    if (p->threads_fixture->loop->conns.cfg.access != NULL)
        fw_access_log_put(p->threads_fixture->loop->conns.cfg.access, &e);
}

static void *play(void *arg)
{
    worker *p = arg;
    ending e = PARKED;
    fw_thread_attach(p->thread);
    for (;;) {
        fw_conn *c = NULL;
        const int rc = fw_thread_next(p->thread, e.done, e.keep, e.cut, false, &c);
        e = PARKED;
        if (p->thread->at_door)
            fw_thread_enter(p->thread);
        release(p);
        if (rc == FW_NEXT_TURN) {
            e = turn(p, c);
            if (e.done != NULL)
                note(p, e.done);
        } else if (rc == FW_NEXT_WAKE) {
            p->wakes++;
        } else {
            atomic_store(&p->result, rc);
            return NULL;
        }
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

/* All have come: who comes later might take the lead from the standby, or a request from the thread that a test means. */
static bool one_leads_the_others_wait(const threads_fixture *m)
{
    unsigned idle = 0;
    for (const fw_thread *t = m->leader->idle; t != NULL; t = t->below)
        idle++;
    return idle + 1 == m->n && m->leader->lead == FW_LEAD_THREAD && m->leader->attended;
}

void threads_fixture_open(threads_fixture *m, const fw_config *cfg, unsigned n)
{
    memset(m, 0, sizeof *m);
    loop_fixture_open(&m->loop_fixture, cfg);
    poll_sleeps(true);
    pattern(app_bytes, sizeof app_bytes);
    m->leader = m->loop_fixture.leader;
    m->loop = m->loop_fixture.loop;
    m->n = n;
    m->suspended_by = m->resumed_by = -1;
    m->gather_rc = m->wait_rc = 1;
    pthread_mutex_init(&m->mutex, NULL);
    pthread_cond_init(&m->changed, NULL);
    for (unsigned i = 0; i < CHECKPOINTS; i++)
        m->checkpoints[i].by = -1;
    for (unsigned i = 0; i < n; i++) {
        worker *p = &m->workers[i];
        *p = (worker){.threads_fixture = m, .number = i, .thread = i == 0 ? m->loop_fixture.thread : fw_thread_open(m->leader)};
        CHECK(p->thread != NULL);
    }
    CHECK_INT(fw_standby_start(m->leader), FW_OK);
    for (unsigned i = 0; i < n; i++) {
        m->workers[i].started = pthread_create(&m->workers[i].id, NULL, play, &m->workers[i]) == 0;
        CHECK(m->workers[i].started);
    }
    AWAIT(m, one_leads_the_others_wait);
}

void threads_fixture_over(threads_fixture *m)
{
    const struct timespec until = guard();
    for (unsigned i = 0; i < m->n; i++) {
        worker *p = &m->workers[i];
        if (p->started && pthread_timedjoin_np(p->id, NULL, &until) != 0)
            FAIL("thread %u does not come out of the loop", i);
        p->started = false;
    }
}

void threads_fixture_close(threads_fixture *m)
{
    atomic_store(&m->spins, false);
    for (unsigned i = 0; i < CHECKPOINTS; i++)
        threads_fixture_open_checkpoint(m, i);
    fw_loop_stop(m->loop, FW_STOP_QUICK);
    threads_fixture_over(m);
    fw_standby_stop(m->leader);
    for (unsigned i = 0; i < m->n; i++)
        release(&m->workers[i]);
    loop_fixture_close(&m->loop_fixture);
    CHECK_INT(atomic_load(&m->held), 0);
    while (atomic_load(&m->listeners) != 0) /* all connections are closed, so they come to their ends */
        sched_yield();
    pthread_mutex_destroy(&m->mutex);
    pthread_cond_destroy(&m->changed);
}
