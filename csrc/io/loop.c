/* loop.c - accept, poll, stop.
 *
 * It has more than 500 lines because it is one machine: what a step does depends on whether accepting has been paused and
 * how far a stop has come.
 */
#include "io/loop.h"
#include "observe/access_log.h"
#include "io/input.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define ACCEPTS 64        /* connections taken per event of a listener */
#define LAST_ACCEPTS 1024 /* ... when the worker stops */
#define RETRY_MS 100      /* until accepting is tried again after the system ran short */
#define NOTICE_MS 60000   /* the same notice at most once in this time */
#define FAILED_MS 1000    /* ... and one of a failed handshake, which tells of another client each time */
#define COUNT_MS 100      /* between two copies of the counters to the board */
#define CENSUS_PER_MS 10  /* connections that may be counted by state for each ms that passes: about a thousandth of it */
#define NAP_MS 1000       /* the standby's longest poll while there are connections */
#define FORCE_MS 1000     /* beyond the end of a stop: then calls that do not end are left behind */
#define REFUSE_SURPLUS 64 /* connections above the limit that may be open to be told 503 */

/* ---- portability ----------------------------------------------------------------------------------------------- */

#if !defined(__linux__)
static int set_flags(int fd)
{
    return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : FW_OK;
}
#endif

static int open_pipe(int ends[2])
{
#if defined(__linux__)
    return pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0 ? -errno : FW_OK;
#else
    if (pipe(ends) < 0)
        return -errno;
    int rc = set_flags(ends[0]);
    return rc != FW_OK ? rc : set_flags(ends[1]);
#endif
}

static int accept_one(int fd, struct sockaddr *address, socklen_t *len)
{
#if defined(__linux__)
    return accept4(fd, address, len, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    int client = accept(fd, address, len);
    if (client >= 0) {
        int one = 1;
        set_flags(client);
        setsockopt(client, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof one);
    }
    return client;
#endif
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

int fw_loop_open(fw_loop *l, const fw_llhttp_api *api, const fw_config *cfg)
{
    l->patience = -1;
    l->lifeline_fd = -1;
    int ends[2] = {-1, -1};
    int rc = fw_conns_open(&l->conns, api, cfg, EVENTS);
    if (rc != FW_OK)
        return rc;
    rc = -ENOMEM;
    if ((l->events = calloc(EVENTS, sizeof *l->events)) == NULL)
        goto err_events;
    if ((rc = open_pipe(ends)) != FW_OK)
        goto err_pipe;
    l->wake.kind = FW_HANDLE_WAKE;
    l->wake_read = ends[0];
    l->wake_write = ends[1];
    if ((rc = fw_poller_add(&l->conns.poller, l->wake_read, FW_POLL_LEVEL, &l->wake)) != FW_OK)
        goto err_add;
    return FW_OK;
err_add:
    close(ends[0]);
    close(ends[1]);
err_pipe:
    free(l->events);
err_events:
    fw_conns_close(&l->conns);
    return rc;
}

void fw_loop_close(fw_loop *l)
{
    fw_loop_abandon(l);
    fw_conns_reap(&l->conns);
    close(l->wake_read);
    close(l->wake_write);
    fw_conns_close(&l->conns);
    for (unsigned i = 0; i < l->nlisteners; i++)
        fw_loop_use_tls(l, i, NULL);
    free(l->events);
}

int fw_loop_listen(fw_loop *l, int fd, bool tcp)
{
    if (l->nlisteners == FW_LISTENERS)
        return -EMFILE;
    fw_listener *n = &l->listeners[l->nlisteners];
    n->handle.kind = FW_HANDLE_LISTENER;
    n->fd = fd;
    n->tcp = tcp;
    n->index = l->nlisteners;
    n->cookie = fw_travel_cookie(fd);
    if (tcp) { /* accepted sockets inherit it: no system call for each of them */
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return (int)l->nlisteners++;
}

void fw_loop_use_tls(fw_loop *l, unsigned listener, fw_tls_context *tls)
{
    fw_tls_context *before = l->listeners[listener].tls;
    l->listeners[listener].tls = tls != NULL ? fw_tls_context_ref(tls) : NULL;
    fw_tls_context_unref(before);
}

int fw_loop_lifeline(fw_loop *l, int fd)
{
    l->lifeline.kind = FW_HANDLE_LIFELINE;
    const int rc = fw_poller_add(&l->conns.poller, fd, FW_POLL_LEVEL, &l->lifeline);
    if (rc == FW_OK)
        l->lifeline_fd = fd;
    return rc;
}

int fw_loop_share(fw_loop *l, fw_siblings_page *page, const int *bells, unsigned own, int bell)
{
    l->bell.kind = FW_HANDLE_BELL;
    const int rc = fw_poller_add(&l->conns.poller, bell, FW_POLL_LEVEL, &l->bell);
    if (rc != FW_OK)
        return rc;
    l->bell_fd = bell;
    fw_siblings_init(&l->siblings, page, bells, own);
    l->conns.tally = &l->siblings.own->connections;
    return FW_OK;
}

void fw_loop_connect(fw_loop *l, int to, int from)
{
#if defined(__APPLE__) /* a descriptor that its sender closes before it has been received may be lost there */
    (void)l, (void)to, (void)from;
#else
    l->travel = (fw_travel){.to = to, .from = from};
#endif
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

void fw_loop_cut_short(fw_loop *l)
{
    if (!l->waking)
        l->waking = wake(l);
}

void fw_loop_stop(fw_loop *l, enum fw_stop how)
{
    int now = atomic_load(&l->stop);
    while (now < (int)how && !atomic_compare_exchange_weak(&l->stop, &now, (int)how))
        ;
    fw_loop_wake(l);
}

/* False: it has been said a short while ago. */
static bool notice(fw_loop *l, enum fw_notice what)
{
    uint64_t *last = &l->noticed_at[what >> 1];
    if (*last != 0 && l->conns.now - *last < NOTICE_MS)
        return false;
    *last = l->conns.now;
    l->notices |= (unsigned)what;
    l->woken = true; /* the worker is to say it */
    return true;
}

/* ---- accepting ------------------------------------------------------------------------------------------------- */

static void pause_accepting(fw_loop *l)
{
    l->accept_on = NULL;
    l->to_try = 0;
    l->left_at = 0;
    if (!l->accepting)
        return;
    for (unsigned i = 0; i < l->nlisteners; i++)
        fw_poller_del(&l->conns.poller, l->listeners[i].fd);
    l->accepting = false;
}

/* The system cannot give us a socket: existing connections go on, accepting waits for better times. */
static void out_of_resources(fw_loop *l)
{
    notice(l, FW_NOTICE_DESCRIPTORS);
    fw_siblings_leave(&l->siblings);
    pause_accepting(l);
    l->retry_at = l->conns.now + RETRY_MS;
}

static int resume_accepting(fw_loop *l)
{
    l->accepting = true;
    l->retry_at = 0;
    fw_siblings_enter(&l->siblings);
    for (unsigned i = 0; i < l->nlisteners; i++) {
        int rc = fw_poller_add(&l->conns.poller, l->listeners[i].fd, FW_POLL_SHARED, &l->listeners[i]);
        if (rc == -ENOMEM || rc == -ENOSPC) {
            out_of_resources(l);
            return FW_OK;
        }
        if (rc != FW_OK && rc != -EEXIST)
            return rc;
    }
    return FW_OK;
}

static bool at_limit(const fw_loop *l)
{
    return l->conns.stats.connections >= l->conns.cfg.max_connections;
}

/* No further connection may be taken, not even to be told 503. */
static bool is_full(const fw_loop *l)
{
    const fw_config *cfg = &l->conns.cfg;
    if (fw_unlikely(cfg->max_ready != 0) && !cfg->overload_refuse && l->conns.nready >= cfg->max_ready)
        return true;
    return l->conns.stats.connections >= (uint64_t)cfg->max_connections + (cfg->overload_refuse ? REFUSE_SURPLUS : 0);
}

static void accept_client(fw_loop *l, int fd, const fw_listener *from, const struct sockaddr *address, socklen_t len)
{
    fw_conns *cs = &l->conns;
    const bool surplus = at_limit(l);
    fw_conn *c = fw_conn_open(cs, fd, from, address, len);
    if (c == NULL) {
        close(fd);
        out_of_resources(l);
    } else if (surplus) {
        fw_conn_refuse_now(cs, c, 503, "too many connections");
    } else {
        fw_conn_event(cs, c, FW_EVENT_IN); /* its request may be here already: one system call to know */
    }
}

static void accept_from(fw_loop *l, fw_listener *n)
{
    l->accept_on = n;
    l->accept_budget = ACCEPTS;
}

/* Goes on with what siblings have sent, if that is to be looked at. */
static void end_listening(fw_loop *l)
{
    l->accept_on = NULL;
    if (l->look)
        accept_from(l, &l->parcels);
    l->look = false;
}

/* Takes no more from this listener; goes on with the next one if all are being tried. */
static void end_accepting(fw_loop *l)
{
    if (l->to_try != 0) {
        accept_from(l, &l->listeners[--l->to_try]);
        return;
    }
    if (l->accept_on != &l->parcels)
        l->left_at = 0;
    end_listening(l);
}

static void try_all(fw_loop *l)
{
    l->to_try = l->nlisteners;
    if (l->to_try != 0)
        accept_from(l, &l->listeners[--l->to_try]);
}

static bool somebody_waits(const fw_listener *n)
{
    struct pollfd p = {.fd = n->fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

/* Leaves what waits at l->accept_on to a sibling, if one is to take it (siblings.h, rules 4 and 5). */
static FW_NOINLINE bool leave_to_sibling(fw_loop *l)
{
    const uint64_t n = l->conns.stats.connections, now = l->conns.now;
    if (n <= 1 && !fw_siblings_is_away(&l->siblings))
        return false; /* nobody has two fewer */
    if (l->left_at != 0 && now - l->left_at >= fw_siblings_patience(&l->siblings))
        return false; /* nobody has come for it */
    const int slot = fw_siblings_choose(&l->siblings, (uint32_t)n, now);
    if (slot < 0)
        return false;
    if (!somebody_waits(l->accept_on)) {
        end_accepting(l);
        return true;
    }
    const uint64_t since = l->left_at != 0 ? l->left_at : now;
    fw_siblings_ring(&l->siblings, slot, fw_deadline_clock());
    pause_accepting(l);
    end_listening(l);
    l->left_at = since;
    l->retry_at = now + FW_LEAVE_MS;
    return true;
}

/* The own bell has been rung: a sibling has left a connection to us. */
static void hear_bell(fw_loop *l)
{
    fw_siblings_hear(&l->siblings, l->bell_fd);
    if (!l->siblings.takes_part)
        return;
    if (l->left_at != 0)
        l->retry_at = 0; /* it listens again, unless it leaves this one, too */
    l->look = l->travel.to != 0 && fw_siblings_waits(&l->siblings);
    try_all(l);
}

/* ---- connections that travel between workers (travel.h) --------------------------------------------------------- */

#define PASS_MOST 32    /* requests that are passed on at once */
#define PASS_IDLE 8     /* idle connections for one sibling, before it is the next one's turn */
#define PASS_AGAIN_MS 2 /* until it is tried again when there is no room for more */

/* The listener that it was accepted on, by what the system knows it by, or by its number. */
static const fw_listener *listener_of(const fw_loop *l, const fw_note *note)
{
    for (unsigned i = 0; i < l->nlisteners; i++)
        if (note->cookie != 0 && l->listeners[i].cookie == note->cookie)
            return &l->listeners[i];
    return note->listener < l->nlisteners ? &l->listeners[note->listener] : NULL;
}

static bool may_take(const fw_loop *l)
{
    return l->siblings.takes_part && !fw_siblings_is_away(&l->siblings) && !at_limit(l);
}

/* It could not be received, and is tried again when accepting is. A worker that stops tries at every turn. */
static void leave_parcel(fw_loop *l)
{
    if (l->stopped == FW_STOP_NONE)
        out_of_resources(l);
}

/* Takes a connection that a sibling has sent. False: there is none, or it has to stay there. */
static FW_NOINLINE bool take_parcel(fw_loop *l)
{
    fw_parcel *p = malloc(sizeof *p);
    if (p == NULL) {
        leave_parcel(l);
        return false;
    }
    fw_siblings_set_waits(&l->siblings, false);
    const int rc = fw_travel_receive(&l->travel, p);
    if (rc != FW_RETRY)
        fw_siblings_set_waits(&l->siblings, true); /* there may be more */
    const fw_listener *listener = rc == FW_OK ? listener_of(l, &p->note) : NULL;
    if (listener != NULL)
        fw_conn_take_over(&l->conns, p, listener);
    else
        fw_parcel_clear(p);
    free(p);
    if (rc == FW_OK || rc == -EPROTO)
        return true;
    if (rc != FW_RETRY && rc != -EPROTONOSUPPORT)
        leave_parcel(l);
    return false;
}

bool fw_loop_look(fw_loop *l)
{
    if (l->travel.to == 0 || !fw_siblings_waits(&l->siblings))
        return false;
    if (l->accept_on != NULL)
        l->look = true;
    else
        accept_from(l, &l->parcels);
    return true;
}

bool fw_loop_pass_on(fw_loop *l)
{
    const bool waits = fw_siblings_waits(&l->siblings);
    if (l->travel.to == 0 || (l->stopped != FW_STOP_NONE && !l->conns.passes_on) || (!waits && l->conns.ready_head == NULL))
        return false;
    const uint64_t now = fw_deadline_clock();
    if (!fw_siblings_one_is_free(&l->siblings, now))
        return true;
    const unsigned n = fw_conns_pass_on_ready(&l->conns, &l->travel, PASS_MOST);
    if (n != 0)
        fw_siblings_set_waits(&l->siblings, true);
    if (n != 0 || (waits && now - l->rung_at >= FW_LEAVE_MS)) {
        l->rung_at = now;
        fw_siblings_ring_free(&l->siblings, n != 0 ? n : 1, now);
    }
    return true;
}

/* Takes one connection from l->accept_on, or ends the taking. */
static void accept_next(fw_loop *l)
{
    const fw_listener *from = l->accept_on;
    if (fw_unlikely(from == &l->parcels)) {
        if (!may_take(l) || !take_parcel(l))
            end_accepting(l);
        return;
    }
    if (fw_unlikely(l->siblings.takes_part) && leave_to_sibling(l))
        return;
    if (at_limit(l))
        notice(l, FW_NOTICE_CONNECTIONS);
    if (is_full(l)) {
        fw_siblings_leave(&l->siblings);
        pause_accepting(l);
        return;
    }
    if (l->accept_budget-- == 0)
        end_accepting(l);
    union {
        struct sockaddr any;
        struct sockaddr_storage room;
    } address;
    socklen_t len = sizeof address;
    int fd = accept_one(from->fd, &address.any, &len);
    if (fd >= 0) {
        l->left_at = 0;
        accept_client(l, fd, from, &address.any, len);
        return;
    }
    switch (errno) {
    case EINTR:
    case ECONNABORTED: /* that client has changed its mind */
    case EPERM:
    case EPROTO: return;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: out_of_resources(l); return;
    default: end_accepting(l); return; /* EAGAIN: nobody left */
    }
}

/* ---- stopping -------------------------------------------------------------------------------------------------- */

void fw_loop_abandon(fw_loop *l)
{
    fw_conns_release(&l->conns, &l->conns.cache, &l->conns.stats.bytes_out);
    l->at = l->nevents = 0; /* events of the closed; listeners and wake-up are reported again */
    fw_conn *end = &l->conns.all;
    for (fw_conn *c = end->next, *next; c != end; c = next) {
        next = c->next;
        fw_conn_close(&l->conns, c);
    }
    fw_conns_again(&l->conns); /* nobody reads any more: those closed while they waited to are handed to the reaper */
}

void fw_loop_reopen(fw_loop *l)
{
    atomic_store(&l->stop, FW_STOP_NONE);
    l->stopped = FW_STOP_NONE;
    l->pass_at = 0;
    l->conns.stopping = l->conns.passes_on = l->conns.to_pass_on = false;
}

/* Clients that the kernel has greeted for us already are served too: when the last process closes the listener, it would
 * reset them. */
static void accept_last(fw_loop *l)
{
    l->to_try = 0;
    for (unsigned i = 0; i < l->nlisteners && l->accepting; i++) {
        l->accept_on = &l->listeners[i];
        l->accept_budget = LAST_ACCEPTS;
        while (l->accept_on != NULL)
            accept_next(l);
    }
}

static void retire_all(fw_loop *l)
{
    fw_conn *end = &l->conns.all;
    for (fw_conn *c = end->next, *next; c != end; c = next) {
        next = c->next;
        fw_conn_retire(&l->conns, c);
    }
}

/* A sibling takes the connections of this worker, which stops. */
static bool has_heir(const fw_loop *l)
{
    return l->travel.to != 0 && fw_siblings_heir(&l->siblings, l->heir) >= 0;
}

/* Passes idle connections on to siblings, some of them. */
static void pass_on_idle(fw_loop *l)
{
    unsigned n = 0;
    bool full = false;
    fw_conn *end = &l->conns.all;
    const uint64_t before = l->conns.stats.passed_on;
    for (fw_conn *c = end->next, *next; c != end && n < PASS_IDLE && !full; c = next) {
        next = c->next;
        full = !fw_conn_pass_on(&l->conns, c, &l->travel);
        n = (unsigned)(l->conns.stats.passed_on - before);
    }
    l->pass_at = full ? l->conns.now + PASS_AGAIN_MS : n == PASS_IDLE ? l->conns.now : 0;
    if (n == 0)
        return;
    fw_siblings_set_waits(&l->siblings, true);
    l->heir = fw_siblings_heir(&l->siblings, l->heir);
    if (l->heir >= 0)
        fw_siblings_ring(&l->siblings, l->heir, fw_deadline_clock());
}

/* One turn of a graceful stop. Connections go to siblings that go on. When nobody does, those that are on their way are
 * taken back, and leave as they do where there are no siblings. True: one has been taken. */
static bool part(fw_loop *l)
{
    fw_conns *cs = &l->conns;
    cs->to_pass_on = false;
    if (cs->passes_on && has_heir(l))
        pass_on_idle(l);
    if (cs->passes_on && !has_heir(l)) { /* asked again: one that has left meanwhile may not have seen what was sent */
        cs->passes_on = false;
        l->pass_at = 0;
        retire_all(l);
    }
    if (cs->passes_on || l->travel.to == 0 || cs->now >= l->stop_at)
        return false;
    const fw_conn *last = cs->all.prev;
    if (!take_parcel(l))
        return false;
    if (cs->all.prev != last)
        fw_conn_retire(cs, cs->all.prev);
    return true;
}

static FW_NOINLINE void begin_stop(fw_loop *l, int how)
{
    if (l->left_at != 0)
        resume_accepting(l); /* the sibling that it was left to may be stopping, too */
    fw_siblings_leave(&l->siblings);
    if (how == FW_STOP_GRACEFUL)
        accept_last(l);
    l->stopped = how;
    l->conns.stopping = true;
    pause_accepting(l);
    l->look = false;
    l->retry_at = l->pass_at = 0;
    l->stop_at = how == FW_STOP_QUICK ? l->conns.now : l->conns.now + l->conns.cfg.graceful_ms;
    l->conns.passes_on = how == FW_STOP_GRACEFUL && has_heir(l);
    if (!l->conns.passes_on)
        retire_all(l);
}

/* ---- the loop -------------------------------------------------------------------------------------------------- */

static void drain_wakes(fw_loop *l)
{
    char sink[256];
    ssize_t n = read(l->wake_read, sink, sizeof sink); /* what is left is reported again */
    if (n > l->waking)
        l->woken = true;
    if (n > 0)
        l->waking = false;
}

/* The master is gone. Whoever is able to ends the process in time, from Python; not one whose interpreter is stuck. */
static void orphaned(fw_loop *l)
{
    fw_poller_del(&l->conns.poller, l->lifeline_fd);
    l->lifeline_fd = -1;
    l->orphan_end = l->conns.now + FW_ORPHAN_MS;
}

static void dispatch(fw_loop *l, const fw_event *e)
{
    switch (((const fw_handle *)e->data)->kind) {
    case FW_HANDLE_CONN: fw_conn_event(&l->conns, e->data, e->flags); return;
    case FW_HANDLE_LISTENER:
        if (l->accepting)
            accept_from(l, e->data);
        return;
    case FW_HANDLE_BELL: hear_bell(l); return;
    case FW_HANDLE_LIFELINE: orphaned(l); return;
    default: drain_wakes(l);
    }
}

static void expire(fw_loop *l)
{
    fw_deadline *d;
    while ((d = fw_deadline_expire(&l->conns.deadlines, l->polled_at)) != NULL)
        fw_conn_expire(&l->conns, fw_container(d, fw_conn, deadline));
}

static int sooner(int a, uint64_t when, uint64_t now)
{
    int b = when <= now ? 0 : when - now > 60000 ? 60000 : (int)(when - now);
    return a < 0 || b < a ? b : a;
}

/* Counters have moved since they were copied to the board. */
static bool has_news(const fw_loop *l)
{
    const fw_stats *s = &l->conns.stats;
    if (fw_unlikely(l->conns.metrics != NULL) && s->bytes_out != l->counted_bytes_out)
        return true;
    return s->bytes_in != l->counted_bytes || s->connections != l->counted_connections;
}

/* For whoever scrapes the metrics. To look at every connection takes time, so many are looked at less often. */
static void count_for_metrics(fw_loop *l)
{
    fw_conns *cs = &l->conns;
    fw_metrics *m = cs->metrics;
    memcpy(m->stats, &cs->stats, sizeof cs->stats);
    if (cs->cfg.access != NULL)
        m->lost_lines = atomic_load_explicit(&cs->cfg.access->batch.lost_ever, memory_order_relaxed);
    l->counted_bytes_out = cs->stats.bytes_out;
    if (cs->now < l->census_at)
        return;
    l->census_at = cs->now + cs->stats.connections / CENSUS_PER_MS;
    fw_conns_census(cs);
}

static FW_NOINLINE void count(fw_loop *l)
{
    const fw_conns *cs = &l->conns;
    if (fw_unlikely(cs->metrics != NULL))
        count_for_metrics(l);
    l->counted_at = cs->now;
    l->counted_bytes = cs->stats.bytes_in;
    l->counted_connections = cs->stats.connections;
    fw_board_count(l->board, &cs->stats, cs->nready, l->latency, fw_deadline_us());
}

static int patience(const fw_loop *l, bool again)
{
    if (again || l->conns.called || (l->conns.ready_head != NULL && l->serves))
        return 0;
    int t = fw_deadline_wait(&l->conns.deadlines, l->conns.now);
    if (l->patience >= 0 && (t < 0 || t > l->patience))
        t = l->patience;
    if (!l->serves && l->conns.stats.connections != 0 && (t < 0 || t > NAP_MS))
        t = NAP_MS; /* threads set deadlines meanwhile: few of them are so near that the poll must be cut short */
    if (l->retry_at != 0 && !is_full(l))
        t = sooner(t, l->retry_at, l->conns.now);
    if (fw_unlikely(l->orphan_end != 0))
        t = sooner(t, l->orphan_end, l->conns.now);
    if (fw_likely(l->board != NULL) && (fw_unlikely(has_news(l)) || l->conns.cfg.beat_ms != 0))
        t = sooner(t, l->counted_at + (has_news(l) ? COUNT_MS : l->conns.cfg.beat_ms), l->conns.now);
    if (fw_unlikely(l->conns.admission.overloaded))
        t = sooner(t, l->conns.admission.sweep_at, l->conns.now);
    if (fw_unlikely(l->conns.failed.untold != 0))
        t = sooner(t, l->failed_told_at + FAILED_MS, l->conns.now);
    if (fw_unlikely(l->conns.spent_at != 0))
        t = sooner(t, l->conns.spent_at, l->conns.now);
    if (fw_unlikely(l->rung_at != 0))
        t = sooner(t, l->rung_at + FW_LEAVE_MS, l->conns.now);
    if (l->conns.cfg.access != NULL && fw_access_log_waits(l->conns.cfg.access))
        t = sooner(t, l->conns.now + FW_BATCH_RETRY_MS, l->conns.now);
    if (l->stopped != FW_STOP_NONE) {
        t = sooner(t, l->conns.now < l->stop_at ? l->stop_at : l->stop_at + FORCE_MS, l->conns.now);
        t = l->pass_at != 0 ? sooner(t, l->pass_at, l->conns.now) : t;
    }
    return t;
}

/* An overload has begun, or has ended. The log has both lines of one, or none, if there are many. */
static void tell_overload(fw_loop *l)
{
    fw_admission *a = &l->conns.admission;
    a->told = a->overloaded;
    if (a->overloaded) {
        l->told_begin = notice(l, FW_NOTICE_OVERLOAD);
        l->overload.waiting = atomic_load_explicit(&l->conns.nready, memory_order_relaxed);
        l->overload.wait = a->wait;
    } else if (l->told_begin) {
        l->overload.ms = l->conns.now - a->since;
        l->overload.refused = a->refused;
        l->overload.longest = a->longest;
        l->notices |= FW_NOTICE_RELIEF;
        l->woken = true;
    }
}

/* Whoever has sent something sees to it that it does not stay in the socket. True: it looks itself. */
static FW_NOINLINE bool mind_parcels(fw_loop *l)
{
    if (!fw_siblings_waits(&l->siblings)) {
        l->rung_at = 0;
        return false;
    }
    if (l->conns.now < l->rung_at + FW_LEAVE_MS)
        return false;
    l->rung_at = l->conns.now;
    if (may_take(l))
        return fw_loop_look(l);
    fw_siblings_ring_free(&l->siblings, 1, l->conns.now);
    return false;
}

static FW_NOINLINE void mind_overload(fw_loop *l)
{
    const fw_admission *a = &l->conns.admission;
    if (a->overloaded != a->told)
        tell_overload(l);
    if (a->overloaded && l->conns.now >= a->sweep_at)
        fw_conns_refuse_late(&l->conns);
}

#define TRYING (FW_LOOP_POLL + 1) /* listeners are being tried: it is too early for a poll */

/* Between two polls: every event has been handled, so memory can be freed and time can pass judgement. */
static int safe_point(fw_loop *l)
{
    fw_conns_reap(&l->conns);
    if (!l->crowded)
        expire(l); /* nobody is late whose bytes still wait in the kernel */
    if (fw_unlikely(l->orphan_end != 0) && l->conns.now >= l->orphan_end)
        kill(getpid(), SIGKILL);
    if (l->board != NULL && l->conns.now - l->counted_at >= COUNT_MS) {
        count(l);
        if (fw_unlikely(may_take(l) && fw_loop_look(l))) /* it may have been full when it was told */
            return TRYING;
    }
    if (fw_unlikely(l->conns.admission.overloaded || l->conns.admission.told))
        mind_overload(l);
    if (fw_unlikely(l->conns.spent_at != 0) && l->conns.now >= l->conns.spent_at)
        fw_conns_refuse_spent(&l->conns);
    if (fw_unlikely(l->rung_at != 0) && mind_parcels(l))
        return TRYING;
    int how = atomic_load_explicit(&l->stop, memory_order_relaxed);
    if (fw_unlikely(how > l->stopped))
        begin_stop(l, how);
    if (fw_unlikely(l->stopped != FW_STOP_NONE)) {
        if (l->stopped == FW_STOP_GRACEFUL && part(l))
            return TRYING;
        if (l->conns.now >= l->stop_at) {
            fw_conns_refuse_ready(&l->conns, 503, "the server is stopping");
            fw_loop_abandon(l);
        }
        if (l->conns.stats.connections == 0 || l->conns.now >= l->stop_at + FORCE_MS) {
            if (l->board != NULL)
                count(l);
            return FW_LOOP_DONE;
        }
    } else if (!l->accepting && !is_full(l) && l->conns.now >= l->retry_at) {
        int rc = resume_accepting(l);
        if (rc != FW_OK)
            return rc;
        if (l->left_at != 0) /* it looks for what it has left, */
            try_all(l);
        if (fw_loop_look(l) || l->left_at != 0) /* ... and for what was sent while it took none */
            return TRYING;
    }
    return FW_LOOP_ON;
}

/* The first one at once, then one in a while, which stands for those that have failed meanwhile. */
static void tell_failed(fw_loop *l)
{
    l->counted_connections = UINT64_MAX; /* the counters are news, though no byte of a request has come */
    if (l->failed_told_at != 0 && l->conns.now - l->failed_told_at < FAILED_MS)
        return;
    l->failed_told_at = l->conns.now;
    l->failed = l->conns.failed;
    l->conns.failed.untold = 0;
    l->notices |= FW_NOTICE_HANDSHAKE;
    l->woken = true;
}

/* Lines of the access log, or bodies, are lost when the disk is full, say: the error log hears of it. */
static bool notice_losses(fw_loop *l)
{
    const fw_access_log *a = l->conns.cfg.access;
    if (fw_unlikely(l->conns.failed.untold != 0))
        tell_failed(l);
    if (fw_unlikely(l->conns.storage_error != 0)) {
        l->storage_error = l->conns.storage_error;
        l->conns.storage_error = 0;
        notice(l, FW_NOTICE_STORAGE);
    }
    if (fw_unlikely(a != NULL && atomic_load_explicit(&a->batch.lost, memory_order_relaxed) != 0))
        notice(l, FW_NOTICE_ACCESS);
    if (fw_unlikely(l->conns.sent_notes != NULL)) {
        l->notices |= FW_NOTICE_SENT;
        l->woken = true;
    }
    return l->woken;
}

bool fw_loop_due(const fw_loop *l)
{
    const fw_conns *cs = &l->conns;
    if (cs->again != NULL || cs->to_pass_on || (l->stopped != FW_STOP_NONE && cs->stats.connections == 0))
        return true;
    if (cs->ready_head != NULL && l->serves)
        return true;
    if (!l->accepting && l->stopped == FW_STOP_NONE && l->retry_at == 0 && !is_full(l))
        return true;
    if (fw_unlikely(cs->spent_at != 0) && cs->spent_at < l->wakes_at)
        return true;
    int t = fw_deadline_wait(&cs->deadlines, cs->now);
    return t >= 0 && cs->now + (uint64_t)t < l->wakes_at;
}

static int begin_poll(fw_loop *l)
{
    const uint32_t waiting = atomic_load_explicit(&l->conns.nready, memory_order_relaxed);
    const int rc = safe_point(l);
    if (rc != FW_LOOP_ON)
        return rc == TRYING ? FW_LOOP_ON : rc;
    const bool again = l->conns.again != NULL && fw_conns_again(&l->conns);
    if (l->conns.called || atomic_load_explicit(&l->conns.nready, memory_order_relaxed) != waiting)
        return FW_LOOP_ON; /* somebody is to be told before the wait */
    if (fw_unlikely(l->conns.metrics != NULL) && waiting != l->conns.metrics->waiting)
        fw_conns_show_waiting(&l->conns);
    l->at = l->nevents = 0;
    const int ms = fw_unlikely(notice_losses(l)) ? 0 : patience(l, again);
    l->wait_ms = ms;
    l->wakes_at = ms < 0 ? UINT64_MAX : l->conns.now + (uint64_t)ms;
    return FW_LOOP_POLL;
}

int fw_loop_poll(fw_loop *l)
{
    return fw_poller_wait(&l->conns.poller, l->events, l->wait_ms);
}

int fw_loop_polled(fw_loop *l, int rc)
{
    l->conns.now = l->conns.heard_at = l->polled_at = fw_deadline_clock();
    if (fw_unlikely(l->conns.timed))
        l->conns.us = fw_deadline_us();
    if (rc == FW_RETRY)
        return FW_LOOP_WAKE;
    if (rc < 0)
        return rc;
    l->nevents = rc;
    l->crowded = rc == EVENTS;
    if (fw_unlikely(l->woken)) {
        l->woken = false;
        return FW_LOOP_WAKE;
    }
    return FW_LOOP_ON;
}

int fw_loop_step(fw_loop *l)
{
    if (l->accept_on != NULL) {
        accept_next(l);
    } else if (l->at < l->nevents) {
        dispatch(l, &l->events[l->at++]);
    } else {
        return begin_poll(l);
    }
    if (fw_unlikely(l->woken)) {
        l->woken = false;
        return FW_LOOP_WAKE;
    }
    return FW_LOOP_ON;
}
