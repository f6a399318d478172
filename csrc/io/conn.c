/* conn.c - one connection: its states, the table of its moves, and the handlers of all events.
 *
 * It is one state machine, so it is one file of more than 500 lines: to see what a move leads to, nobody has to open
 * another one.
 *
 *                        .---------------- refused ----------------.
 *                        |                                         v
 *   OPEN --> HEAD --> BODY --> READY --> BUSY --> FLUSH --> LINGER --> CLOSED
 *             ^ \________________^  ^    |  |      |
 *             |                     |    v  |      |
 *           IDLE <----------------  SUSPENDED <-'  |      (any state but BUSY may go to CLOSED)
 *             ^------------------------------------'
 *
 * A connection without a byte of a request, or READY, may travel to another worker (travel.h): then it is CLOSED here.
 *
 * FILE is between a request for a file, which the loop answers itself (statics.h), and FLUSH: the file is opened or read,
 * by a job of the store, or it is the others' turn.
 *
 * STORE is BODY while a part of the body is being written to its file; it lies between whatever comes before BODY and
 * whatever follows it.
 *
 * Input. Reading is edge-triggered: conn->input says that the socket may have bytes, and is cleared by a read that finds
 * it empty. A client that sends without pause has a share of work per turn of the loop, then the others come first. Work
 * is counted, not timed: a byte received is one unit, and what a client can make dear counts as the bytes that it costs
 * as much as (chunks.c).
 *
 * Memory of waiting responses. The queues of all that wait are one sum. What an application may have queued before it
 * is held back, the mark, sinks from high_water to nothing as the sum grows from a quarter to half of
 * response_memory. At nothing a response asks for a block only when its client has taken all before it and the socket
 * has room: so the sum goes on growing by no more than what a socket leaves of a block, and each client that takes
 * its bytes is served on. A socket without a limit takes megabytes, until the system has none left and each leaves
 * most of a block with us: as the mark sinks, those of streams get a limit. A connection that an application thread
 * has (BUSY) is counted as it was before; there are few of those.
 *
 * Pace of clients. A client that the kernel has told of more bytes than it takes is measured from the moment that its
 * queue found the socket full until the queue is empty, or until the socket had room and the application nothing to
 * send. What a client has taken is what left the socket's own queue: what went into that says nothing. It is looked
 * at now and then, for the poller tells of room only when a good part of the socket is free, and a slow client may
 * take longer for that than it has.
 *
 * TLS. The handshake is part of reading in OPEN (or of flushing, if a connection is refused before): it takes no state of
 * its own, but a deadline. Reading may have to wait for the socket to take something, and the reverse: then an event of
 * the one direction counts for the other (tls_events). What is behind the goodbye is raw: LINGER has no TLS any more.
 */
#include "http/budget.h"
#include "http/globs.h"
#include "io/conns.h"
#include "io/health.h"
#include "io/input.h"
#include "io/statics.h"
#include "io/store.h"
#include "io/takeover.h"
#include "io/travel.h"
#include "observe/access_log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#if defined(__linux__)
#include <linux/sockios.h>
#endif
#include <netinet/tcp.h>
#include <unistd.h>

#define CROWD 8              /* waiting requests from which on one more gives the receive buffer back */
#define READS_PER_TURN 16    /* receives before the others get their turn */
#define WORK_PER_TURN 262144 /* ... and units of work */
#define WORK_ANSWER 4096     /* a request that is answered here */
#define FILE_SHARE 4         /* bytes of a file that cost as much as one that is received */
#define UNSENT_MOST 65536    /* bytes that a socket takes, a block more or less, without a client to take them */
#define PORTION 65536        /* bytes of a segment, if that is not known */
#define SEGMENTS 2           /* that a client may have taken before its kernel says so: Linux joins them in its queue */
#define SILENT_GRACES 4      /* times min_rate_grace, */
#define SILENT_MS 10000      /* ... but no less than this: then one that has said nothing is not believed to have taken any */
#define FIRST_IN_A_ROW 8     /* requests that are served first, while others wait */
#define GONE_MS 5            /* a request that has waited so long is worth the question whether its client is there */
#define SWEEP_MS 20          /* between two looks for requests that have waited too long */
#define HEALTHY "HTTP/1.1 200 OK\r\nServer: fastwsgi\r\n%sContent-Type: text/plain; charset=utf-8\r\n" \
                "Content-Length: 3\r\nCache-Control: no-store\r\n%s\r\n%s"

static void advance(fw_conns *cs, fw_conn *c);
static void decline(fw_conns *cs, fw_conn *c, const char *why, enum fw_reason because);
static void discard(fw_conns *cs, fw_conn *c);
static FW_NOINLINE void wait_for_client(fw_conns *cs, fw_conn *c, int rc);
static void read_input(fw_conns *cs, fw_conn *c);
static bool send_file(fw_conns *cs, fw_conn *c);
static bool answer_opened(fw_conns *cs, fw_conn *c);
static void go_on_with_file(fw_conns *cs, fw_conn *c);
static void postpone(fw_conns *cs, fw_conn *c);

/* ---- states, events and moves ------------------------------------------------------------------------------------ */

/* What happens to a connection, and moves it. */
enum event {
    EV_HEAD,      /* bytes of a head are here, not all */
    EV_BODY,      /* a head is accepted, its body is not complete */
    EV_LENT,      /* a part of the body is lent to a job, to be written */
    EV_COMPLETE,  /* a request is complete, and for a thread */
    EV_ANSWERED,  /* a request is complete, and the loop has answered it itself */
    EV_FETCH,     /* ... or will, when a disk has what it answers, or others have had their turn */
    EV_PULLED,    /* a thread takes it: for its request, or to go on with its response */
    EV_SUSPENDED, /* the response waits for the client to take what is queued */
    EV_DRAINED,   /* the client has taken enough, or is gone: the owner is to go on */
    EV_CONTINUED, /* the same, and the owner has waited for it; or does not want to wait any longer */
    EV_UNSENT,    /* the response is complete, and some of it stays queued */
    EV_EMPTY,     /* the response is sent, and nothing of a next request is here */
    EV_LEASED,    /* the request is over, and its application may still use the socket that it has taken over */
    EV_SHUT,      /* our side is shut: we have said all */
    EV_ENDED,     /* the descriptor is closed */
    EV_LEFT,      /* it is on its way to another worker, or its client has gone while its request waited */
    EV_ARRIVED,   /* it comes from there, between two requests */
    EVENTS
};

/* The table: in which states an event can happen, and the one state that it leads to. */
#define S(x) (1u << FW_STATE_##x)
#define BETWEEN (S(OPEN) | S(IDLE) | S(FLUSH) | S(BUSY)) /* a request may begin */
#define FILES (BETWEEN | ARRIVING | S(FILE))
#define ARRIVING (S(HEAD) | S(BODY) | S(STORE))           /* one is under way */
static const struct {
    uint16_t from;
    uint8_t to;
} MOVES[EVENTS] = {
    [EV_HEAD] = {BETWEEN, FW_STATE_HEAD},
    [EV_BODY] = {BETWEEN | ARRIVING, FW_STATE_BODY},
    [EV_LENT] = {BETWEEN | ARRIVING, FW_STATE_STORE},
    [EV_COMPLETE] = {BETWEEN | ARRIVING, FW_STATE_READY},
    [EV_ANSWERED] = {FILES, FW_STATE_IDLE},
    [EV_FETCH] = {FILES, FW_STATE_FILE},
    [EV_PULLED] = {S(READY), FW_STATE_BUSY},
    [EV_SUSPENDED] = {S(BUSY), FW_STATE_SUSPENDED},
    [EV_DRAINED] = {S(SUSPENDED), FW_STATE_READY},
    [EV_CONTINUED] = {S(SUSPENDED), FW_STATE_BUSY},
    [EV_UNSENT] = {FILES, FW_STATE_FLUSH},
    [EV_EMPTY] = {S(IDLE) | S(FLUSH) | S(BUSY), FW_STATE_IDLE},
    [EV_LEASED] = {S(BUSY), FW_STATE_LINGER},
    [EV_SHUT] = {FILES | S(LINGER), FW_STATE_LINGER},
    [EV_ENDED] = {FILES | S(LINGER), FW_STATE_CLOSED},
    [EV_LEFT] = {S(OPEN) | S(IDLE) | S(READY), FW_STATE_CLOSED},
    [EV_ARRIVED] = {S(OPEN), FW_STATE_IDLE},
};
#undef FILES
#undef BETWEEN
#undef ARRIVING
#undef S

/* A move that the table does not have. A debug build stops on it. Any other closes the connection as far as its state lets
 * the loop do so: one client is lost, and nothing else. */
static FW_NOINLINE void refuse_move(fw_conns *cs, fw_conn *c)
{
#ifdef FW_DEBUG
    (void)cs, (void)c;
    abort();
#else
    cs->illegal_moves++;
    if (c->held) /* the list of those sent together still has it, and drops what is broken */
        c->broken = true;
    else
        fw_conn_close(cs, c);
#endif
}

/* The only way into another state. False: the table has no such move, and whoever calls is to leave the connection alone.
 * Every build checks: `what` is a constant wherever this is called, so that costs 3 instructions. A request makes three
 * moves; callgrind finds at most 7 instructions more for a request, which is within its noise. */
static inline bool move(fw_conns *cs, fw_conn *c, enum event what)
{
    if (fw_unlikely((MOVES[what].from >> c->state & 1) == 0)) {
        refuse_move(cs, c);
        return false;
    }
    c->state = MOVES[what].to;
    return true;
}

/* ---- memory of waiting responses --------------------------------------------------------------------------------- */

/* What may be queued for one client while all together have queued `sum`. */
static size_t mark_at(const fw_config *cfg, size_t sum)
{
    const size_t full = cfg->response_memory / 4; /* the mark is whole up to here, and nothing from twice that on */
    if (sum <= full || cfg->response_memory == 0)
        return cfg->high_water;
    if (sum >= 2 * full)
        return 0;
    return (size_t)((uint64_t)cfg->high_water * (2 * full - sum) / full);
}

static void set_counted(fw_conns *cs, fw_conn *c, size_t now)
{
    cs->queued += now - c->counted;
    c->counted = now;
    const size_t mark = mark_at(&cs->cfg, cs->queued);
    if (mark != atomic_load_explicit(&cs->mark, memory_order_relaxed))
        atomic_store_explicit(&cs->mark, mark, memory_order_relaxed);
}

static void count(fw_conns *cs, fw_conn *c)
{
    const size_t now = c->out.head != NULL ? fw_outq_memory(&c->out) : 0;
    if (now != c->counted)
        set_counted(cs, c, now);
}

static void uncount(fw_conns *cs, fw_conn *c)
{
    if (c->counted != 0)
        set_counted(cs, c, 0);
}

void fw_conn_limit_unsent(fw_conn *c)
{
    c->limited = true;
#if defined(TCP_NOTSENT_LOWAT)
    const int most = UNSENT_MOST; /* of a unix socket it is refused, which has no more room than some blocks */
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof most);
#endif
}

/* ---- metrics ----------------------------------------------------------------------------------------------------- */

static uint64_t oldest_waiting(const fw_conns *cs)
{
    fw_conn *ends[] = {cs->ready_head, cs->first_tail != NULL ? cs->first_tail->link : NULL, cs->ready_tail};
    uint64_t oldest = 0;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends[i] != NULL && (oldest == 0 || fw_conn_timing(ends[i])->complete < oldest))
            oldest = fw_conn_timing(ends[i])->complete;
    return oldest;
}

/* The queue is in the order of arrival or, but for those that come first, in the opposite one. */
void fw_conns_show_waiting(fw_conns *cs)
{
    cs->metrics->waiting = atomic_load_explicit(&cs->nready, memory_order_relaxed);
    cs->metrics->oldest = cs->ready_head == NULL ? 0 : oldest_waiting(cs);
}

/* Requests have left the queue. One that is taken as soon as it has come is never shown. */
static inline void show_waiting(fw_conns *cs)
{
    if (fw_unlikely(cs->metrics != NULL) && (cs->metrics->waiting != 0 || cs->ready_head != NULL))
        fw_conns_show_waiting(cs);
}

/* At once: their difference is what is between two workers. */
static void show_travel(fw_conns *cs)
{
    if (cs->metrics == NULL)
        return;
    cs->metrics->stats[offsetof(fw_stats, passed_on) / sizeof(uint64_t)] = cs->stats.passed_on;
    cs->metrics->stats[offsetof(fw_stats, taken_over) / sizeof(uint64_t)] = cs->stats.taken_over;
}

/* Whoever waits for the end of a response is to be told of it. */
static void note_sent(fw_conns *cs, fw_timing *t)
{
    fw_sent_note *n = t->note;
    t->note = NULL;
    n->sent = cs->us;
    n->next = cs->sent_notes;
    cs->sent_notes = n;
}

/* A response of which something was not sent when it was handed over is over. */
static FW_NOINLINE void settle(fw_conns *cs, fw_conn *c)
{
    fw_timing *t = fw_conn_timing(c);
    c->unsettled = false;
    cs->us = fw_deadline_us();
    if (cs->metrics != NULL)
        fw_metrics_sent(cs->metrics, t, cs->us);
    if (t->note != NULL)
        note_sent(cs, t);
}

/* A request is complete. */
static inline void time_complete(fw_conns *cs, fw_conn *c)
{
    if (fw_likely(!cs->timed))
        return;
    if (fw_unlikely(c->unsettled)) /* the answer before it shares a send with its own */
        settle(cs, c);
    fw_conn_timing(c)->complete = cs->us;
}

static void time_pulled(fw_conns *cs, fw_conn *c)
{
    fw_timing *t = fw_conn_timing(c);
    if (fw_likely(c->turn == FW_TURN_REQUEST))
        *t = (fw_timing){.complete = t->complete, .pulled = cs->us};
    else
        t->waited += cs->us - t->parked;
}

static void time_handed_over(fw_conns *cs, fw_conn *c)
{
    fw_timing *t = fw_conn_timing(c);
    const bool sent = c->out.head == NULL && c->file == NULL;
    cs->us = t->handed_over != 0 && sent && !t->large ? t->handed_over : fw_deadline_us();
    c->unsettled = !sent && (cs->metrics != NULL || t->note != NULL);
    if (cs->metrics != NULL)
        fw_metrics_handed_over(cs->metrics, t, cs->us, sent);
    if (fw_unlikely(sent && t->note != NULL))
        note_sent(cs, t);
}

static void count_late(fw_conns *cs, enum fw_late what)
{
    if (fw_unlikely(cs->metrics != NULL))
        cs->metrics->late[what]++;
}

/* The deadline of a connection has passed that neither sends nor waits for a response. */
static void count_expired(fw_conns *cs, const fw_conn *c)
{
    static const uint8_t LATE[FW_CLASSES] = {
        [FW_CLASS_HEADER] = FW_LATE_HEADER, [FW_CLASS_BODY] = FW_LATE_BODY,
        [FW_CLASS_KEEPALIVE] = FW_LATE_KEEPALIVE, [FW_CLASS_HANDSHAKE] = FW_LATE_HANDSHAKE,
    };
    const unsigned class = c->deadline.class;
    if (class != FW_CLASS_LINGER && class != FW_CLASS_RETIRE)
        count_late(cs, LATE[class]);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* A connection has come (1) or gone (-1). */
static void tally(fw_conns *cs, int change)
{
    cs->stats.connections += (uint64_t)(int64_t)change;
    if (cs->tally != NULL)
        atomic_store_explicit(cs->tally, (uint32_t)cs->stats.connections, memory_order_relaxed);
}

static fw_conn *open_conn(fw_conns *cs, int fd, const fw_listener *listener, const struct sockaddr *address, socklen_t len)
{
    fw_conn *c = calloc(1, sizeof *c + (fw_unlikely(cs->timed) ? sizeof(fw_timing) : 0));
    if (c == NULL)
        return NULL;
    c->handle.kind = FW_HANDLE_CONN;
    c->fd = fd;
    c->listener = listener;
    if (fw_unlikely(listener->tls != NULL) &&
        (c->tls = fw_tls_context_open(listener->tls, fd)) == NULL) {
        free(c);
        return NULL;
    }
    if (len > 0 && len <= sizeof c->address)
        memcpy(&c->address, address, len);
    fw_input_begin(cs, c);
    c->prev = cs->all.prev;
    c->next = &cs->all;
    c->prev->next = c;
    cs->all.prev = c;
    tally(cs, 1);
    return c;
}

fw_conn *fw_conn_open(fw_conns *cs, int fd, const fw_listener *listener, const struct sockaddr *address, socklen_t len)
{
    fw_conn *c = open_conn(cs, fd, listener, address, len);
    if (c == NULL)
        return NULL;
    cs->stats.accepted++;
    fw_deadline_set(&cs->deadlines, &c->deadline, c->tls != NULL ? FW_CLASS_HANDSHAKE : FW_CLASS_HEADER, cs->now);
    return c;
}

static void forget_tls(fw_conn *c)
{
    fw_tls_close(c->tls);
    c->tls = NULL;
}

/* The client hears that nothing is missing: only then is an end not taken for an attack (RFC 8446 6.1). A socket that is
 * full at this moment does not tell it. */
static FW_NOINLINE void end_tls(fw_conn *c)
{
    if (!c->broken && c->out.head == NULL)
        fw_tls_shut(c->tls);
    forget_tls(c);
}

static void close_file(fw_conn *c)
{
    fw_sending_close(c->file);
    free(c->file);
    c->file = NULL;
}

static FW_NOINLINE void drop_file(fw_conn *c)
{
    if (c->fetch != NULL)
        fw_job_disown(c->fetch);
    c->fetch = NULL;
    if (c->file != NULL)
        close_file(c);
}

static void release(fw_conns *cs, fw_conn *c)
{
    if (fw_unlikely(c->unsettled))
        settle(cs, c);
    fw_deadline_clear(&c->deadline);
    if (fw_unlikely(c->tls != NULL))
        end_tls(c);
    fw_outq_clear(&c->out, &cs->cache);
    uncount(cs, c);
    fw_input_clear(cs, c);
    if (fw_unlikely(c->file != NULL || c->fetch != NULL))
        drop_file(c);
    if (c->polled)
        fw_poller_del(&cs->poller, c->fd);
    if (fw_unlikely(c->taken != NULL))
        fw_takeover_close(c);
    else if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

/* It is CLOSED: gives back what it has, and leaves its memory to the safe point. */
static void forget(fw_conns *cs, fw_conn *c)
{
    release(cs, c);
    c->prev->next = c->next;
    c->next->prev = c->prev;
    tally(cs, -1);
    if (!c->again) { /* else the list of those to read again still points here */
        c->link = cs->to_free;
        cs->to_free = c;
    }
}

static void drop(fw_conns *cs, fw_conn *c)
{
    if (move(cs, c, EV_ENDED))
        forget(cs, c);
}

static void enqueue(fw_conn **head, fw_conn **tail, fw_conn *c)
{
    c->link = NULL;
    if (*tail != NULL)
        (*tail)->link = c;
    else
        *head = c;
    *tail = c;
}

static void reverse(fw_conn **head, fw_conn **tail)
{
    fw_conn *c = *head, *before = NULL;
    if (c == NULL)
        return;
    *tail = c;
    while (c != NULL) {
        fw_conn *next = c->link;
        c->link = before;
        before = c;
        c = next;
    }
    *head = before;
}

static fw_conn *dequeue(fw_conn **head, fw_conn **tail)
{
    fw_conn *c = *head;
    if (c != NULL && (*head = c->link) == NULL)
        *tail = NULL;
    return c;
}

/* ---- the queue of complete requests ------------------------------------------------------------------------------ */

/* Where the first of those is linked that wait their turn, behind those that are served first. */
static inline fw_conn **others(fw_conns *cs)
{
    return fw_likely(cs->first_tail == NULL) ? &cs->ready_head : &cs->first_tail->link;
}

/* `before` is the one before `c` in the queue, or NULL. */
static void unlink_ready(fw_conns *cs, fw_conn *before, fw_conn *c)
{
    if (before != NULL)
        before->link = c->link;
    else
        cs->ready_head = c->link;
    if (cs->ready_tail == c)
        cs->ready_tail = before;
    if (cs->first_tail == c)
        cs->first_tail = before;
}

static FW_NOINLINE void enqueue_among_first(fw_conns *cs, fw_conn *c)
{
    fw_conn **at = others(cs);
    c->link = *at;
    *at = c;
    if (c->link == NULL)
        cs->ready_tail = c;
    cs->first_tail = c;
}

/* The newest comes first, of those that wait their turn. */
static FW_NOINLINE void enqueue_newest(fw_conns *cs, fw_conn *c)
{
    fw_conn **at = others(cs);
    c->link = *at;
    *at = c;
    if (c->link == NULL)
        cs->ready_tail = c;
}

/* Some are served first, but others that wait get a turn now and then. */
static FW_NOINLINE fw_conn *dequeue_among_first(fw_conns *cs)
{
    fw_conn *last = cs->first_tail, *other = last->link;
    if (other == NULL)
        cs->in_a_row = 0;
    else if (cs->in_a_row++ == FIRST_IN_A_ROW) {
        cs->in_a_row = 0;
        unlink_ready(cs, last, other);
        return other;
    }
    fw_conn *c = cs->ready_head;
    unlink_ready(cs, NULL, c);
    return c;
}

static inline fw_conn *dequeue_ready(fw_conns *cs)
{
    if (fw_unlikely(cs->first_tail != NULL))
        return dequeue_among_first(cs);
    cs->in_a_row = 0;
    return dequeue(&cs->ready_head, &cs->ready_tail);
}

static bool has_priority(const fw_conns *cs, const fw_request *r)
{
    return fw_globs_find(cs->cfg.priorities, fw_request_at(r, r->path), r->path.len) != NULL;
}

static void set_worth(fw_conns *cs, fw_conn *c, uint64_t until)
{
    c->worth_until = until;
    if (until != 0 && (cs->spent_at == 0 || until < cs->spent_at))
        cs->spent_at = until;
}

/* A request is here: its time begins, or goes on if a proxy says when it came there. */
static FW_NOINLINE void begin_budget(fw_conns *cs, fw_conn *c)
{
    uint32_t left;
    const uint64_t wall = (c->req->follows & FW_FOLLOW_START) ? fw_deadline_wall() : 0;
    set_worth(cs, c, fw_budget_left(cs->cfg.budgets, c->req, wall, &left) ? cs->heard_at + left : 0);
}

static void ready(fw_conns *cs, fw_conn *c)
{
    const uint32_t waiting = atomic_load_explicit(&cs->nready, memory_order_relaxed);
    fw_deadline_clear(&c->deadline);
    if (fw_unlikely(waiting >= CROWD) && fw_input_compact(cs, c) != FW_OK) {
        drop(cs, c);
        return;
    }
    if (fw_unlikely(c->again)) { /* it cannot be in two lists */
        refuse_move(cs, c);
        return;
    }
    if (!move(cs, c, EV_COMPLETE))
        return;
    c->turn = FW_TURN_REQUEST;
    c->ready_at = (uint32_t)cs->heard_at;
    time_complete(cs, c);
    if (fw_unlikely(cs->cfg.budgets != NULL))
        begin_budget(cs, c);
    if (fw_unlikely(cs->cfg.priorities != NULL))
        c->first = has_priority(cs, c->req);
    if (fw_unlikely(c->first))
        enqueue_among_first(cs, c);
    else if (fw_unlikely(cs->admission.overloaded))
        enqueue_newest(cs, c);
    else
        enqueue(&cs->ready_head, &cs->ready_tail, c);
    atomic_store(&cs->nready, waiting + 1);
}

/* A suspended response can go on, or must end: its owner learns of it. */
static void call_owner(fw_conns *cs, fw_conn *c, enum fw_turn turn)
{
    fw_deadline_clear(&c->deadline);
    c->owner->called = cs->called = true;
    if (c->waiter) {
        c->waiter = false;
        move(cs, c, EV_CONTINUED);
        return;
    }
    if (!move(cs, c, EV_DRAINED))
        return;
    c->turn = (uint8_t)turn;
    enqueue(&c->owner->head, &c->owner->tail, c);
}

void fw_conn_close(fw_conns *cs, fw_conn *c)
{
    switch (c->state) {
    case FW_STATE_CLOSED: return;
    case FW_STATE_READY:
        c->broken = true;
        if (c->turn == FW_TURN_RESUME)
            c->turn = FW_TURN_GONE;
        return;
    case FW_STATE_BUSY:
        c->broken = true;
        if (c->taken != NULL)
            fw_takeover_shut(c);
        return;
    case FW_STATE_SUSPENDED:
        c->unsent = c->out.bytes;
        c->broken = true;
        fw_outq_clear(&c->out, &cs->cache);
        uncount(cs, c);
        call_owner(cs, c, FW_TURN_GONE);
        return;
    default: drop(cs, c);
    }
}

/* Everything that waits for the poller passes here.  False: the system refused, the connection is gone. */
bool fw_conn_arm(fw_conns *cs, fw_conn *c)
{
    if (fw_likely(c->polled))
        return true;
    if (fw_poller_add(&cs->poller, c->fd, FW_POLL_EDGE, c) != FW_OK) {
        fw_conn_close(cs, c);
        return false;
    }
    c->polled = true;
    return true;
}

/* ---- the pace of clients ----------------------------------------------------------------------------------------- */

/* Bytes in the socket that the client has not taken; 0 if the system does not tell. */
static int unacked(int fd)
{
    int n = 0;
#if defined(__linux__)
    if (ioctl(fd, SIOCOUTQ, &n) != 0)
        n = 0;
#elif defined(SO_NWRITE)
    socklen_t len = sizeof n;
    if (getsockopt(fd, SOL_SOCKET, SO_NWRITE, &n, &len) != 0)
        n = 0;
#else
    (void)fd;
#endif
    return n;
}

/* A client's kernel tells of what was read in steps: of some segments, and of larger ones if such have been seen. */
static uint64_t portion(const fw_conn *c)
{
    int n = 0;
    socklen_t len = sizeof n;
    const bool known = getsockopt(c->fd, IPPROTO_TCP, TCP_MAXSEG, &n, &len) == 0 && n > 0;
    const uint64_t least = SEGMENTS * (known ? (uint64_t)n : PORTION);
    return c->pace.step > least ? c->pace.step : least;
}

static void begin_to_measure(fw_conns *cs, fw_conn *c)
{
    fw_pace *p = &c->pace;
    p->since = p->moved_at = p->taken_at = (uint32_t)cs->now;
    p->moved = p->taken = p->step = 0;
    p->unacked = unacked(c->fd);
    atomic_store_explicit(&p->waits, true, memory_order_relaxed);
}

/* What the client has taken by now. */
static void measure(const fw_conns *cs, fw_conn *c)
{
    fw_pace *p = &c->pace;
    const int64_t taken = (int64_t)p->moved + p->unacked - unacked(c->fd);
    if (taken > (int64_t)p->taken) {
        if ((uint64_t)taken - p->taken > p->step)
            p->step = (uint64_t)taken - p->taken;
        p->taken = (uint64_t)taken;
        p->taken_at = (uint32_t)cs->now;
    }
}

static void await_client(fw_conns *cs, fw_conn *c)
{
    if (atomic_load_explicit(&cs->mark, memory_order_relaxed) < cs->cfg.high_water)
        fw_outq_compact(&c->out, &cs->cache);
    count(cs, c);
    if (atomic_load_explicit(&c->pace.waits, memory_order_relaxed))
        measure(cs, c); /* what was taken until now is not taken for progress at the next check */
    else
        begin_to_measure(cs, c);
    c->pace.moved_at = (uint32_t)cs->now;
    if (c->deadline.next == NULL || c->deadline.class != FW_CLASS_PACE)
        fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_PACE, cs->now);
}

/* Slower on average than min_rate, the time of grace past. */
static bool takes_too_slowly(const fw_conns *cs, const fw_conn *c)
{
    const fw_pace *p = &c->pace;
    const uint32_t now = (uint32_t)cs->now, elapsed = now - p->since, grace = cs->cfg.min_rate_grace_ms;
    if (cs->cfg.min_rate == 0)
        return false;
    if (elapsed <= grace || p->taken * 1000 >= (uint64_t)cs->cfg.min_rate * elapsed)
        return false;
    const uint64_t silent = (uint64_t)SILENT_GRACES * grace;
    if (now - p->taken_at > (silent > SILENT_MS ? silent : SILENT_MS))
        return true;
    return (p->taken + portion(c)) * 1000 < (uint64_t)cs->cfg.min_rate * elapsed;
}

/* It has taken nothing for the whole of the write timeout. One that is refused before its handshake has the time of that,
 * whatever it says meanwhile. */
static bool timed_out(const fw_conns *cs, const fw_conn *c)
{
    const uint32_t most = cs->cfg.timeouts[FW_CLASS_WRITE], now = (uint32_t)cs->now;
    if (fw_unlikely(c->tls != NULL) && !c->tls->established)
        return now - c->pace.since >= cs->cfg.timeouts[FW_CLASS_HANDSHAKE];
    return most != 0 && now - c->pace.moved_at >= most && now - c->pace.taken_at >= most;
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

/* `*moved`: bytes that the socket has taken, which are more than those of the response. */
static FW_NOINLINE int flush_tls(fw_conn *c, fw_chunk_cache *cache, uint64_t *moved)
{
    const uint64_t before = c->tls->sent;
    const int rc = fw_outq_flush_tls(&c->out, cache, c->tls);
    *moved = c->tls->sent - before;
    return rc;
}

int fw_conn_send(fw_conn *c, fw_chunk_cache *cache, uint64_t *sent)
{
    if (atomic_load_explicit(&c->broken, memory_order_relaxed))
        return -EPIPE;
    const size_t before = c->out.bytes;
    /* Said before it is tried: an event that comes behind the attempt takes it back, and none is lost. */
    atomic_store_explicit(&c->blocked, true, memory_order_relaxed);
    uint64_t moved = 0;
    int rc = fw_likely(c->tls == NULL) ? fw_outq_flush(&c->out, cache, c->fd) : flush_tls(c, cache, &moved);
    *sent += before - c->out.bytes;
    if (rc == FW_RETRY) {
        c->pace.moved += fw_likely(moved == 0) ? before - c->out.bytes : moved;
        return rc;
    }
    atomic_store_explicit(&c->blocked, false, memory_order_relaxed);
    atomic_store_explicit(&c->pace.waits, false, memory_order_relaxed);
    if (fw_unlikely(rc < 0)) {
        c->unsent = c->out.bytes;
        c->broken = true;
        fw_outq_clear(&c->out, cache);
    }
    return rc;
}

bool fw_conn_has_room(fw_conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLOUT};
    atomic_store_explicit(&c->blocked, true, memory_order_relaxed); /* first, as above */
    if (poll(&p, 1, 0) == 0)
        return false;
    atomic_store_explicit(&c->blocked, false, memory_order_relaxed);
    return true;
}

static int flush(fw_conns *cs, fw_conn *c)
{
    int rc = fw_conn_send(c, &cs->cache, &cs->stats.bytes_out);
    if (rc < 0 && rc != FW_RETRY)
        cs->stats.broken++;
    return rc;
}

/* What the owner left queued: tried again only if the socket may take more by now. */
static int flush_left(fw_conns *cs, fw_conn *c)
{
    if (c->out.head == NULL)
        return FW_OK;
    return atomic_load_explicit(&c->blocked, memory_order_relaxed) ? FW_RETRY : flush(cs, c);
}

void fw_conns_flush_ready(fw_conns *cs)
{
    for (fw_conn *c = cs->ready_head; c != NULL; c = c->link)
        if (c->out.head != NULL)
            flush(cs, c);
}

/* Our side says goodbye; the client may finish its sentence, so that no reset overtakes the response (RFC 9112 9.6).
 * Even one that has shut its side: what it said before may not have been read. */
static void linger(fw_conns *cs, fw_conn *c)
{
    fw_input_clear(cs, c);
    if (fw_unlikely(c->tls != NULL))
        end_tls(c);
    if (shutdown(c->fd, SHUT_WR) < 0) {
        drop(cs, c);
        return;
    }
    if (!move(cs, c, EV_SHUT))
        return;
    fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_LINGER, cs->now);
    c->input = true;
    discard(cs, c);
}

/* The request is over, and its application may still use the socket that it has taken over: for as long as others
 * linger. */
static void lease(fw_conns *cs, fw_conn *c)
{
    fw_input_clear(cs, c);
    if (move(cs, c, EV_LEASED))
        fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_LINGER, cs->now);
}

void fw_conn_end_lease(fw_conns *cs, fw_conn *c)
{
    cs->now = fw_deadline_clock();
    if (fw_takeover_return(c))
        linger(cs, c);
    else
        drop(cs, c);
}

/* The goodbye of TLS is a part of the response: where that ends with the connection, it alone says that nothing is
 * missing. True: the socket is too full for it, and it will be tried again. */
static FW_NOINLINE bool owes_goodbye(fw_conns *cs, fw_conn *c)
{
    atomic_store_explicit(&c->blocked, true, memory_order_relaxed); /* first, as in fw_conn_send */
    if (c->broken || fw_tls_shut(c->tls) != FW_RETRY) {
        atomic_store_explicit(&c->blocked, false, memory_order_relaxed);
        return false;
    }
    wait_for_client(cs, c, FW_RETRY);
    return true;
}

/* All output is with the kernel: close, or go on with what has been received. */
static void after_flush(fw_conns *cs, fw_conn *c)
{
    if (fw_unlikely(c->file != NULL) && !send_file(cs, c))
        return;
    if (fw_unlikely(c->unsettled))
        settle(cs, c);
    if (!c->closing)
        advance(cs, c);
    else if (fw_unlikely(c->tls != NULL) && owes_goodbye(cs, c))
        return;
    else if (c->lingers)
        linger(cs, c);
    else
        drop(cs, c);
}

/* A flush has not sent it all. Apart from what is sent at once, which is to cost nothing for it. */
static void wait_for_client(fw_conns *cs, fw_conn *c, int rc)
{
    if (rc == FW_RETRY) {
        if (!move(cs, c, EV_UNSENT))
            return;
        await_client(cs, c);
        if (fw_input_compact(cs, c) == FW_OK) {
            fw_conn_arm(cs, c);
            return;
        }
    }
    drop(cs, c);
}

static void flush_or_wait(fw_conns *cs, fw_conn *c)
{
    const int rc = flush_left(cs, c);
    if (fw_likely(rc == FW_OK))
        after_flush(cs, c);
    else
        wait_for_client(cs, c, rc);
}

/* False: it is not held, and to be flushed. */
static bool hold(fw_conns *cs, fw_conn *c)
{
    if (cs->nheld >= atomic_load_explicit(&cs->held_most, memory_order_relaxed) || c->out.head == NULL ||
        atomic_load_explicit(&c->blocked, memory_order_relaxed))
        return false;
    if (!move(cs, c, EV_UNSENT))
        return true;
    c->held = true;
    cs->held[cs->nheld++] = c;
    return true;
}

void fw_conns_release(fw_conns *cs, fw_chunk_cache *cache, uint64_t *sent)
{
    const unsigned n = cs->nheld;
    cs->nheld = 0;
    cs->releases++;
    for (unsigned i = 0; i < n; i++)
        fw_conn_send(cs->held[i], cache, sent);
    for (unsigned i = 0; i < n; i++) {
        fw_conn *c = cs->held[i];
        c->held = false;
        if (c->broken)
            drop(cs, c);
        else
            flush_or_wait(cs, c);
    }
}

/* Some output of a waiting connection could be sent: what now? */
static void output_moved(fw_conns *cs, fw_conn *c, int rc)
{
    if (rc < 0 && rc != FW_RETRY) {
        fw_conn_close(cs, c);
        return;
    }
    switch (c->state) {
    case FW_STATE_FLUSH:
        if (rc != FW_OK) {
            await_client(cs, c);
        } else {
            uncount(cs, c);
            after_flush(cs, c);
        }
        return;
    case FW_STATE_SUSPENDED:
        if (c->out.bytes > atomic_load_explicit(&cs->mark, memory_order_relaxed) / 4) {
            await_client(cs, c);
        } else {
            count(cs, c);
            call_owner(cs, c, FW_TURN_RESUME);
        }
        return;
    default: return; /* an interim response while the body arrives */
    }
}

static void check_pace(fw_conns *cs, fw_conn *c)
{
    const size_t before = c->out.bytes;
    const uint32_t moved_at = c->pace.moved_at;
    /* The poller tells of room only when there is plenty, which a slow client makes seldom. */
    const int rc = c->out.head != NULL ? flush(cs, c) : FW_RETRY;
    if (rc != FW_RETRY || c->out.bytes != before) {
        output_moved(cs, c, rc);
        if (c->state != FW_STATE_FLUSH && c->state != FW_STATE_SUSPENDED)
            return;
    } else {
        await_client(cs, c);
        c->pace.moved_at = moved_at;
    }
    if (!timed_out(cs, c) && !takes_too_slowly(cs, c))
        return;
    cs->stats.timeouts++;
    count_late(cs, FW_LATE_WRITE);
    fw_conn_close(cs, c);
}

/* ---- the owner's side -------------------------------------------------------------------------------------------- */

/* What has become of the client, whether the poller has told of it or not: true if it has reset the connection. */
static bool is_lost(fw_conn *c)
{
#if defined(POLLRDHUP)
    const short shut = POLLRDHUP;
#else
    const short shut = 0;
#endif
    struct pollfd p = {.fd = c->fd, .events = shut};
    if (poll(&p, 1, 0) <= 0)
        return false;
    c->eof |= (p.revents & shut) != 0;
    return (p.revents & (POLLERR | POLLHUP)) != 0;
}

/* A client that has shut its side may be waiting still (RFC 9112 9.6), so it is not gone for that before its request has
 * been here for long. */
static bool has_left(const fw_conns *cs, uint32_t wait)
{
    return cs->cfg.drop_gone && wait > cs->cfg.queue_target_ms;
}

/* Nobody waits for the answer to this waiting request. */
static bool is_gone(const fw_conns *cs, fw_conn *c, uint32_t wait)
{
    c->broken |= is_lost(c);
    return c->broken || (c->eof && has_left(cs, wait));
}

void fw_conn_watch(fw_conns *cs, fw_conn *c)
{
    if (c->taken != NULL || c->broken)
        return;
    if (!c->polled && fw_poller_add(&cs->poller, c->fd, FW_POLL_EDGE, c) == FW_OK)
        c->polled = true;
    if (is_lost(c))
        atomic_store_explicit(&c->lost, true, memory_order_relaxed);
    if (c->eof)
        atomic_store_explicit(&c->shut, true, memory_order_relaxed);
}

bool fw_conn_is_gone(const fw_conns *cs, const fw_conn *c)
{
    if (atomic_load_explicit(&c->lost, memory_order_relaxed) || atomic_load_explicit(&c->broken, memory_order_relaxed))
        return true;
    return atomic_load_explicit(&c->shut, memory_order_relaxed) &&
           has_left(cs, (uint32_t)fw_deadline_clock() - c->ready_at);
}

/* What the poller tells of a connection that a thread has. */
static FW_NOINLINE void note_client(fw_conn *c, unsigned flags)
{
    atomic_store_explicit(&c->shut, true, memory_order_relaxed);
    if (flags & (FW_EVENT_ERR | FW_EVENT_HUP))
        atomic_store_explicit(&c->lost, true, memory_order_relaxed);
}

/* The first of the waiting requests, and how long it has waited, or NULL. */
static inline fw_conn *next_waiting(fw_conns *cs, uint32_t *wait)
{
    fw_conn *c = dequeue_ready(cs);
    if (c == NULL)
        return NULL;
    const uint32_t waiting = atomic_load_explicit(&cs->nready, memory_order_relaxed) - 1;
    atomic_store(&cs->nready, waiting);
    show_waiting(cs);
    *wait = (uint32_t)cs->now - c->ready_at;
    if (fw_unlikely(c->first) && waiting != 0)
        return c; /* that it has not waited says nothing of the others */
    if (fw_unlikely(fw_admission_look(&cs->admission, *wait, waiting, cs->now)))
        reverse(others(cs), &cs->ready_tail); /* from now on the newest comes first, or the oldest again */
    return c;
}

static bool is_spent(const fw_conns *cs, const fw_conn *c)
{
    return c->worth_until != 0 && cs->now >= c->worth_until;
}

static void refuse_spent(fw_conns *cs, fw_conn *c)
{
    if (!move(cs, c, EV_PULLED))
        return;
    c->owner = NULL;
    decline(cs, c, "the time for this request is over", FW_REFUSED_SPENT);
}

/* This one may be worth nothing: it and all behind it that are not are dropped or refused, up to one that is. */
static FW_NOINLINE fw_conn *skip_worthless(fw_conns *cs, fw_conn *c, uint32_t wait)
{
    for (; c != NULL; c = next_waiting(cs, &wait)) {
        if ((wait >= GONE_MS || c->broken) && is_gone(cs, c, wait)) {
            cs->stats.gone++;
            if (move(cs, c, EV_LEFT))
                forget(cs, c);
        } else if (is_spent(cs, c)) {
            refuse_spent(cs, c);
        } else {
            break;
        }
    }
    return c;
}

static inline fw_conn *take_first(fw_conns *cs)
{
    uint32_t wait;
    fw_conn *c = next_waiting(cs, &wait);
    return fw_likely(c == NULL || (wait < GONE_MS && !c->broken && c->worth_until == 0)) ? c : skip_worthless(cs, c, wait);
}

fw_conn *fw_conn_pull(fw_conns *cs, fw_owner *owner, bool any)
{
    fw_conn *c = dequeue(&owner->head, &owner->tail);
    if (fw_likely(c == NULL)) {
        if (!any || (c = take_first(cs)) == NULL)
            return NULL;
        cs->stats.requests++;
    }
    if (!move(cs, c, EV_PULLED))
        return NULL;
    c->owner = owner;
    if (fw_unlikely(cs->timed))
        time_pulled(cs, c);
    return c;
}

/* Waits for the client with what is queued; an event that came while it was BUSY is not forgotten. */
static void await_drain(fw_conns *cs, fw_conn *c)
{
    cs->now = fw_deadline_clock();
    if (!move(cs, c, EV_SUSPENDED))
        return;
    await_client(cs, c);
    if (fw_unlikely(cs->timed))
        cs->us = fw_conn_timing(c)->parked = fw_deadline_us();
    if (fw_unlikely(cs->metrics != NULL))
        cs->metrics->suspended++;
    if (c->broken || fw_input_compact(cs, c) != FW_OK)
        fw_conn_close(cs, c);
    else if (fw_conn_arm(cs, c) && !atomic_load_explicit(&c->blocked, memory_order_relaxed))
        output_moved(cs, c, flush(cs, c));
}

void fw_conn_suspend(fw_conns *cs, fw_conn *c, void *user)
{
    c->user = user;
    await_drain(cs, c);
}

void fw_conn_wait(fw_conns *cs, fw_conn *c)
{
    c->waiter = true;
    await_drain(cs, c);
}

void fw_conn_take_back(fw_conns *cs, fw_conn *c)
{
    c->waiter = false;
    fw_deadline_clear(&c->deadline);
    move(cs, c, EV_CONTINUED);
}

void fw_conn_finish(fw_conns *cs, fw_conn *c, bool keep, bool cut, bool more)
{
    cs->now = fw_deadline_clock(); /* the application may have taken long */
    if (fw_unlikely(cs->timed))
        time_handed_over(cs, c);
    const bool client_closes = c->req == NULL || !c->req->keep_alive;
    c->served++;
    c->user = NULL;
    fw_input_next(cs, c);
    if (c->broken) {
        drop(cs, c);
        return;
    }
    if (fw_unlikely(c->taken != NULL)) {
        if (c->leased)
            lease(cs, c);
        else
            fw_conn_end_lease(cs, c);
        return;
    }
    if (fw_unlikely(c->counted != 0))
        uncount(cs, c); /* counted anew if it waits again */
    if (!keep) { /* `keep` is what the head said: a stop that began later does not take it back */
        c->closing = true;
        c->lingers = !cut && (!client_closes || c->in != NULL || c->input);
        if (fw_unlikely(cut && c->tls != NULL))
            c->tls->cut = true;
    } else if (c->in != NULL && c->file == NULL && cs->shares && c->out.bytes < FW_SHARE &&
               !atomic_load_explicit(&c->blocked, memory_order_relaxed)) {
        advance(cs, c); /* pipelined: the next response may share the send */
        return;
    }
    if (!more || !hold(cs, c))
        flush_or_wait(cs, c);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

#define S(x) (1u << FW_STATE_##x)
static bool awaits_input(const fw_conn *c)
{
    return (S(OPEN) | S(IDLE) | S(HEAD) | S(BODY)) >> c->state & 1;
}
#undef S

/* There is more to read, but it is the others' turn. Until fw_conns_again comes to it, nobody else reads it: what it reads
 * may put it into another list. */
static void postpone(fw_conns *cs, fw_conn *c)
{
    if (c->again)
        return;
    c->again = true;
    c->link = cs->again;
    cs->again = c;
}

static void discard(fw_conns *cs, fw_conn *c)
{
    const uint64_t end = cs->work + WORK_PER_TURN;
    for (int i = 0; c->input && i < READS_PER_TURN && cs->work < end; i++) {
        ssize_t n = fw_input_discard(cs, c);
        if (n == FW_RETRY)
            break;
        if (n <= 0) {
            drop(cs, c);
            return;
        }
    }
    if (c->input)
        postpone(cs, c);
    fw_conn_arm(cs, c);
}

/* ---- refusing ---------------------------------------------------------------------------------------------------- */

/* The request line as far as it is here, without its line end. A packet has none. */
static fw_text received_line(const fw_conn *c)
{
    const fw_request *r = c->req;
    if (r == NULL || r->base == NULL || r->uwsgi || c->in == NULL)
        return (fw_text){NULL, 0};
    const char *s = r->base + r->start, *end = c->in->data + c->in->len;
    if (s >= end)
        return (fw_text){NULL, 0};
    const char *lf = memchr(s, '\n', (size_t)(end - s));
    size_t n = (size_t)((lf != NULL ? lf : end) - s);
    if (n > 0 && s[n - 1] == '\r')
        n--;
    return (fw_text){s, n};
}

/* What the access log says of a request that the loop itself answers: no thread had it, and no application took time. */
static fw_entry entry_of_loop(const fw_conn *c, int status)
{
    const char *reason = fw_wire_reason(status);
    return (fw_entry){
        .req = c->req,
        .client = fw_conn_client(c),
        .thread = -1,
        .queue_us = FW_NO_TIME,
        .application_us = FW_NO_TIME,
        .cpu_us = FW_NO_TIME,
        .lock_us = FW_NO_TIME,
        .send_us = FW_NO_TIME,
        .status = status,
        .reason = {reason, strlen(reason)},
    };
}

/* A refusal has its line in the access log, though no application hears of it. */
static void log_refusal(const fw_conns *cs, const fw_conn *c, int status, const char *why, bool head)
{
    const bool receiving = c->state == FW_STATE_HEAD || c->state == FW_STATE_BODY || c->state == FW_STATE_STORE;
    fw_entry e = entry_of_loop(c, status);
    if (c->req != NULL && c->req->uwsgi && c->req->method.len == 0)
        e.req = NULL; /* a packet not understood */
    e.line = received_line(c);
    e.bytes = head ? 0 : strlen(why) + 1;
    e.us = receiving ? (uint64_t)((uint32_t)cs->now - c->since) * 1000 : 0;
    fw_access_log_put(cs->cfg.access, &e);
}

/* True if the client asked by HEAD, as far as it is known: a refusal has no content then (RFC 9110 9.3.2). Of a head that
 * is unfinished, or was refused before its end, the received bytes tell. */
static bool asks_head(const fw_conn *c)
{
    if (c->req != NULL && c->req->head_len != 0)
        return fw_request_is_head(c->req);
    const fw_text line = received_line(c);
    return line.len >= 5 && memcmp(line.at, "HEAD ", 5) == 0;
}

static int queue_refusal(fw_conns *cs, fw_conn *c, int status, const char *why, bool head)
{
    char text[FW_REFUSAL_MOST];
    const size_t n = fw_wire_refusal(text, sizeof text, &cs->date, status, why, head, false);
    return n != 0 ? fw_outq_copy(&c->out, &cs->cache, text, n) : -ENOMEM;
}

static void count_refusal(fw_conns *cs, const fw_conn *c, int status, enum fw_reason because)
{
    cs->stats.refused++;
    if (fw_unlikely(cs->metrics != NULL))
        fw_metrics_refused(cs->metrics, c->req, status, because);
}

static void refuse_because(fw_conns *cs, fw_conn *c, int status, const char *why, enum fw_reason because)
{
    const bool head = asks_head(c);
    count_refusal(cs, c, status, because);
    if (cs->cfg.access != NULL)
        log_refusal(cs, c, status, why, head);
    c->closing = true;
    c->lingers = true;
    if (queue_refusal(cs, c, status, why, head) != FW_OK) {
        drop(cs, c);
        return;
    }
    fw_input_clear(cs, c);
    flush_or_wait(cs, c);
}

static void refuse(fw_conns *cs, fw_conn *c, int status, const char *why)
{
    refuse_because(cs, c, status, why, fw_metrics_reason(status));
}

static void refuse_request(fw_conns *cs, fw_conn *c)
{
    refuse(cs, c, c->req->status, c->req->why);
}

void fw_conn_refuse_now(fw_conns *cs, fw_conn *c, int status, const char *why)
{
    refuse_because(cs, c, status, why, FW_REFUSED_CONNECTIONS);
}

/* What the loop answers a complete request with need not end its connection. */
static bool may_keep(const fw_conns *cs, const fw_conn *c)
{
    return c->req->keep_alive && cs->cfg.timeouts[FW_CLASS_KEEPALIVE] != 0 &&
           !(cs->stopping && (!cs->passes_on || c->tls != NULL));
}

/* A complete request that is not served; its connection may live on. */
static void decline(fw_conns *cs, fw_conn *c, const char *why, enum fw_reason because)
{
    const fw_request *r = c->req;
    const bool head = fw_request_is_head(r), keep = may_keep(cs, c) && !c->broken;
    char text[FW_REFUSAL_MOST];
    count_refusal(cs, c, 503, because);
    if (cs->cfg.access != NULL)
        log_refusal(cs, c, 503, why, head);
    const size_t n = fw_wire_refusal(text, sizeof text, &cs->date, 503, why, head, keep);
    if (n == 0 || fw_outq_copy(&c->out, &cs->cache, text, n) != FW_OK) {
        drop(cs, c);
        return;
    }
    c->served++;
    c->closing = c->lingers = !keep;
    fw_input_next(cs, c);
    flush_or_wait(cs, c);
}

/* They are in the order of arrival. */
static fw_conn *cut_late_first(fw_conns *cs, uint32_t patience, uint32_t *n)
{
    fw_conn *late = cs->ready_head, *last = NULL;
    for (*n = 0; cs->ready_head != NULL && (uint32_t)cs->now - cs->ready_head->ready_at > patience; ++*n) {
        last = cs->ready_head;
        unlink_ready(cs, NULL, last);
    }
    if (last == NULL)
        return NULL;
    last->link = NULL;
    return late;
}

/* Takes those off the queue that have waited longest, and too long: in an overload they are its end. Those that are served
 * first are refused last: when there are no others. */
static fw_conn *cut_late(fw_conns *cs, uint32_t patience, uint32_t *n)
{
    if (fw_unlikely(cs->first_tail != NULL && cs->first_tail->link == NULL))
        return cut_late_first(cs, patience, n);
    fw_conn **at = others(cs), *last = cs->first_tail;
    while (*at != NULL && (uint32_t)cs->now - (*at)->ready_at <= patience) {
        last = *at;
        at = &last->link;
    }
    fw_conn *late = *at;
    *at = NULL;
    cs->ready_tail = last;
    *n = 0;
    for (fw_conn *c = late; c != NULL; c = c->link)
        ++*n;
    return late;
}

void fw_conns_refuse_late(fw_conns *cs)
{
    fw_admission *a = &cs->admission;
    uint32_t n;
    fw_conn *c = cut_late(cs, fw_admission_patience(a), &n);
    atomic_store(&cs->nready, atomic_load_explicit(&cs->nready, memory_order_relaxed) - n);
    show_waiting(cs);
    a->refused += n;
    a->sweep_at = cs->now + SWEEP_MS;
    while (c != NULL) {
        fw_conn *next = c->link;
        const uint32_t wait = (uint32_t)cs->now - c->ready_at;
        a->longest = wait > a->longest ? wait : a->longest;
        if (move(cs, c, EV_PULLED)) {
            c->owner = NULL;
            decline(cs, c, "overloaded", FW_REFUSED_OVERLOAD);
        }
        c = next;
    }
}

/* Takes those off the queue whose budgets are spent, and notes when the next one will be. */
static fw_conn *cut_spent(fw_conns *cs, uint32_t *n)
{
    fw_conn *spent = NULL, **end = &spent, *last = NULL;
    cs->spent_at = 0;
    *n = 0;
    for (fw_conn *c = cs->ready_head, *next; c != NULL; c = next) {
        next = c->link;
        if (!is_spent(cs, c)) {
            set_worth(cs, c, c->worth_until);
            last = c;
            continue;
        }
        unlink_ready(cs, last, c);
        *end = c;
        end = &c->link;
        ++*n;
    }
    *end = NULL;
    return spent;
}

void fw_conns_refuse_spent(fw_conns *cs)
{
    uint32_t n;
    fw_conn *c = cut_spent(cs, &n);
    atomic_store(&cs->nready, atomic_load_explicit(&cs->nready, memory_order_relaxed) - n);
    show_waiting(cs);
    if (cs->spent_at != 0 && cs->spent_at < cs->now + SWEEP_MS)
        cs->spent_at = cs->now + SWEEP_MS; /* the queue may be long */
    while (c != NULL) {
        fw_conn *next = c->link;
        refuse_spent(cs, c);
        c = next;
    }
}

void fw_conns_refuse_ready(fw_conns *cs, int status, const char *why)
{
    fw_owner nobody = {0};
    fw_conn *c;
    while ((c = fw_conn_pull(cs, &nobody, true)) != NULL) {
        c->owner = NULL;
        fw_request_refuse(c->req, status, why);
        refuse_because(cs, c, c->req->status, c->req->why, FW_REFUSED_STOPPING);
    }
}

/* ---- what the loop answers itself -------------------------------------------------------------------------------- */

/* Queues the answer to a probe. False: there is no memory for it. */
static bool queue_health(fw_conns *cs, fw_conn *c, const char *trouble, bool keep)
{
    const fw_request *r = c->req;
    const bool head = fw_request_is_head(r);
    const char *life = !keep ? "Connection: close\r\n" : r->minor == 0 ? "Connection: keep-alive\r\n" : "";
    char text[FW_REFUSAL_MOST];
    if (trouble != NULL) {
        const size_t n = fw_wire_refusal(text, sizeof text, &cs->date, 503, trouble, head, keep);
        return n != 0 && fw_outq_copy(&c->out, &cs->cache, text, n) == FW_OK;
    }
    const int n = snprintf(text, sizeof text, HEALTHY, fw_date_line(&cs->date), life, head ? "" : "ok\n");
    return n > 0 && (size_t)n < sizeof text && fw_outq_copy(&c->out, &cs->cache, text, (size_t)n) == FW_OK;
}

/* Whether threads are there or not. False: the connection is not to be looked at any more. It is no request that counts or
 * is logged, and no refusal. */
static FW_NOINLINE bool answer_health(fw_conns *cs, fw_conn *c, enum fw_probe probe)
{
    const bool keep = may_keep(cs, c);
    c->closing = c->lingers = !keep;
    if (!queue_health(cs, c, fw_health_trouble(cs, probe), keep)) {
        drop(cs, c);
        return false;
    }
    c->served++;
    cs->work += WORK_ANSWER;
    fw_input_next(cs, c);
    if (keep)
        return move(cs, c, EV_ANSWERED);
    flush_or_wait(cs, c);
    return false;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* It goes on with fw_conn_stored. False: there is no thread for it, or no memory, and it has been done at once. */
static bool fetch_file(fw_conns *cs, fw_conn *c)
{
    fw_job *j = cs->store != NULL ? fw_sending_lend(c->file, c) : NULL;
    if (j == NULL || !fw_store_put(cs->store, j)) {
        if (j != NULL)
            fw_sending_take_back(j);
        fw_sending_fetch(c->file);
        return false;
    }
    c->file = NULL;
    c->fetch = j;
    fw_deadline_clear(&c->deadline);
    if (move(cs, c, EV_FETCH)) {
        if (fw_input_compact(cs, c) != FW_OK)
            drop(cs, c);
        else
            fw_conn_arm(cs, c);
    }
    return true;
}

/* It has had its turn; fw_conns_again comes back to it. */
static void leave_file(fw_conns *cs, fw_conn *c)
{
    fw_deadline_clear(&c->deadline);
    if (!move(cs, c, EV_FETCH))
        return;
    if (fw_input_compact(cs, c) != FW_OK) {
        drop(cs, c);
        return;
    }
    postpone(cs, c);
    fw_conn_arm(cs, c);
}

/* Queues what comes next of the file; false: it waits, or is closed. */
static bool queue_file(fw_conns *cs, fw_conn *c)
{
    for (;;) {
        const int rc = fw_sending_next(c->file, &c->out, &cs->cache);
        if (rc == FW_RETRY) {
            if (fetch_file(cs, c))
                return false;
        } else if (rc < 0) {
            cs->stats.broken++;
            if (c->tls != NULL)
                c->tls->cut = true;
            drop(cs, c);
            return false;
        } else {
            if (rc == 0)
                close_file(c);
            return true;
        }
    }
}

/* Sends on, as far as client, disk and fairness allow. True: all of it is with the kernel. */
static bool send_file(fw_conns *cs, fw_conn *c)
{
    const uint64_t end = cs->work + WORK_PER_TURN;
    while (c->file != NULL) {
        if (cs->work >= end) {
            leave_file(cs, c);
            return false;
        }
        if (!queue_file(cs, c))
            return false;
        const size_t queued = c->out.bytes;
        const int rc = flush_left(cs, c);
        if (rc != FW_OK) {
            wait_for_client(cs, c, rc);
            return false;
        }
        cs->work += WORK_ANSWER + queued / FILE_SHARE;
    }
    return true;
}

/* The answer is with the kernel. True: the next request may be looked at. */
static bool end_file(fw_conns *cs, fw_conn *c)
{
    if (!c->closing)
        return move(cs, c, EV_ANSWERED);
    after_flush(cs, c);
    return false;
}

static void log_file(const fw_conns *cs, const fw_conn *c, const fw_sending *s)
{
    const uint64_t now = fw_deadline_us();
    fw_entry e = entry_of_loop(c, s->status);
    e.bytes = s->sent;
    e.us = now > s->began ? now - s->began : 0;
    fw_access_log_put(cs->cfg.access, &e);
}

/* It has been opened, or not: queues the head, and counts. False: there is no memory. */
static bool begin_answer(fw_conns *cs, fw_conn *c, fw_sending *s)
{
    const bool keep = may_keep(cs, c);
    if (fw_sending_head(s, c->req, &c->out, &cs->cache, &cs->date, keep) != FW_OK)
        return false;
    cs->stats.requests++;
    if (fw_unlikely(cs->metrics != NULL))
        fw_metrics_file(cs->metrics, c->req, s->status);
    if (fw_unlikely(cs->cfg.access != NULL))
        log_file(cs, c, s);
    c->served++;
    c->closing = c->lingers = !keep;
    fw_input_next(cs, c);
    return true;
}

/* What is left of the answer on the stack after its first window. False: there is no memory. */
static bool keep_file(fw_conn *c, fw_sending *s)
{
    if (s->fd < 0)
        return true;
    c->file = fw_sending_keep(s);
    return c->file != NULL;
}

/* Answers with what is open; small files need no memory of their own. True: the next request may be looked at. */
static bool answer_file(fw_conns *cs, fw_conn *c, fw_sending *s)
{
    if (!begin_answer(cs, c, s)) {
        fw_sending_close(s);
        drop(cs, c);
        return false;
    }
    if (fw_sending_is_small(s) && fw_sending_next(s, &c->out, &cs->cache) > 0)
        fw_sending_close(s);
    if (!keep_file(c, s)) {
        fw_sending_close(s);
        drop(cs, c);
        return false;
    }
    const int rc = c->file == NULL ? flush_left(cs, c) : FW_OK;
    cs->work += WORK_ANSWER;
    if (rc != FW_OK) {
        wait_for_client(cs, c, rc);
        return false;
    }
    return (c->file == NULL || send_file(cs, c)) && end_file(cs, c);
}

/* A request for a file, opened at once if the names are in memory. */
static FW_NOINLINE bool serve_file(fw_conns *cs, fw_conn *c, const fw_static *at, size_t taken)
{
    union {
        fw_sending s;
        char room[sizeof(fw_sending) + FW_SENDING_NAME];
    } on_stack;
    fw_sending *s = &on_stack.s;
    fw_sending_begin(s, cs->cfg.statics, at, c->req, taken);
    s->began = cs->cfg.access != NULL ? fw_deadline_us() : 0;
    if (fw_sending_open(s, true) == FW_OK)
        return answer_file(cs, c, s);
    c->file = fw_sending_keep(s);
    if (c->file == NULL) {
        drop(cs, c);
        return false;
    }
    return !fetch_file(cs, c) && answer_opened(cs, c);
}

/* The same for one that has been opened by a job. */
static bool answer_opened(fw_conns *cs, fw_conn *c)
{
    fw_sending *s = c->file;
    c->file = NULL;
    const bool more = answer_file(cs, c, s);
    free(s);
    return more;
}

/* The job is done. */
static void take_file_back(fw_conns *cs, fw_conn *c)
{
    c->file = fw_sending_take_back(c->fetch);
    c->fetch = NULL;
    go_on_with_file(cs, c);
}

/* It has waited for a disk or for its turn. */
static void go_on_with_file(fw_conns *cs, fw_conn *c)
{
    if (c->req != NULL ? answer_opened(cs, c) : send_file(cs, c) && end_file(cs, c))
        advance(cs, c);
}

/* Whether the loop answers a complete request itself; `*more` as `answered` returns it. */
static FW_NOINLINE bool answered_here(fw_conns *cs, fw_conn *c, bool *more)
{
    const enum fw_probe probe = fw_health_asked(&cs->cfg, c->req);
    size_t taken = 0;
    if (probe != FW_PROBE_NONE) {
        *more = answer_health(cs, c, probe);
        return true;
    }
    const fw_static *at = cs->cfg.statics != NULL ? fw_statics_find(cs->cfg.statics, c->req, &taken) : NULL;
    if (at != NULL)
        *more = serve_file(cs, c, at, taken);
    return at != NULL;
}

/* There is no room for one more. For one that is served first there is, until only such wait. */
static bool is_crowded(const fw_conns *cs, const fw_request *r)
{
    const bool full = cs->nready >= cs->cfg.max_ready;
    if (!full || cs->cfg.priorities == NULL || !has_priority(cs, r))
        return full;
    return (cs->first_tail != NULL && cs->first_tail->link == NULL) || cs->nready >= 2 * (uint64_t)cs->cfg.max_ready;
}

/* A complete request: true if it has been answered here and the next one may be looked at. */
static bool answered(fw_conns *cs, fw_conn *c)
{
    bool more;
    if (fw_unlikely(cs->answers) && answered_here(cs, c, &more))
        return more;
    if (fw_unlikely(cs->cfg.max_ready != 0) && cs->cfg.overload_refuse && is_crowded(cs, c->req))
        refuse_because(cs, c, 503, "too many requests are waiting", FW_REFUSED_QUEUE);
    else
        ready(cs, c);
    return false;
}

/* The request at hand begins to arrive, or its body does. */
static void start_clock(const fw_conns *cs, fw_conn *c)
{
    c->since = (uint32_t)cs->now;
    c->got = 0;
}

/* Slower on average than allowed (min_rate), the time of grace past. */
static bool arrives_too_slowly(const fw_conns *cs, const fw_conn *c)
{
    const uint32_t elapsed = (uint32_t)cs->now - c->since;
    return elapsed > cs->cfg.min_rate_grace_ms && (uint64_t)c->got * 1000 < (uint64_t)cs->cfg.min_rate * elapsed;
}

/* How long an idle connection may stay. In a stop it is passed on or leaves. */
static enum fw_class idle_class(fw_conns *cs, const fw_conn *c)
{
    if (fw_likely(!cs->stopping))
        return FW_CLASS_KEEPALIVE;
    if (c->tls != NULL)
        return FW_CLASS_RETIRE;
    cs->to_pass_on = cs->passes_on;
    return cs->passes_on ? FW_CLASS_KEEPALIVE : FW_CLASS_RETIRE;
}

/* The client may keep its connection: its last response said so, even if a stop has begun since. */
static void become_idle(fw_conns *cs, fw_conn *c)
{
    if (c->in != NULL) { /* bytes without memory to parse them */
        drop(cs, c);
        return;
    }
    if (c->state == FW_STATE_OPEN)
        return;
    if (!move(cs, c, EV_EMPTY))
        return;
    fw_deadline_set(&cs->deadlines, &c->deadline, idle_class(cs, c), cs->now);
}

/* The client waits for leave to send its body (RFC 9110 10.1.1); no need if some of it is here already. */
static void begin_body(fw_conns *cs, fw_conn *c)
{
    static const char CONTINUE[] = "HTTP/1.1 100 Continue\r\n\r\n";
    fw_request *r = c->req;
    r->expects = false; /* asked once */
    if (r->body.len > 0 || r->in_body)
        return;
    if (fw_outq_copy(&c->out, &cs->cache, CONTINUE, sizeof CONTINUE - 1) != FW_OK)
        return;
    int rc = flush(cs, c);
    if (rc == FW_RETRY)
        fw_conn_arm(cs, c);
    else if (rc != FW_OK)
        drop(cs, c);
}

/* ---- bodies that go to files ------------------------------------------------------------------------------------- */

/* The job is done, one way or the other. */
static void take_back(fw_conns *cs, fw_conn *c)
{
    const int rc = fw_body_take_back(&c->req->body);
    if (rc == FW_OK)
        return;
    cs->storage_error = -rc;
    fw_request_refuse_storage(c->req, rc);
}

/* What is due of its body is to be written. True: it has been lent for that, and goes on with fw_conn_stored. */
static bool lend_body(fw_conns *cs, fw_conn *c)
{
    fw_job *j = fw_body_lend(&c->req->body, c, &cs->cfg);
    if (j == NULL) {
        fw_request_refuse_storage(c->req, -ENOMEM);
        return false;
    }
    if (cs->store == NULL || !fw_store_put(cs->store, j)) {
        fw_job_run(j);
        take_back(cs, c);
        return false;
    }
    if (c->state != FW_STATE_BODY && c->state != FW_STATE_STORE)
        start_clock(cs, c);
    c->lent = (uint32_t)cs->now;
    if (!move(cs, c, EV_LENT))
        return true;
    fw_deadline_clear(&c->deadline);
    if (fw_input_compact(cs, c) != FW_OK)
        drop(cs, c);
    else
        fw_conn_arm(cs, c);
    return true;
}

void fw_conn_stored(fw_conns *cs, fw_conn *c)
{
    cs->now = fw_deadline_clock();
    if (c->fetch != NULL) {
        take_file_back(cs, c);
        return;
    }
    c->since += (uint32_t)cs->now - c->lent; /* the client has not spent that time */
    take_back(cs, c);
    advance(cs, c);
}

/* ---- what has been received -------------------------------------------------------------------------------------- */

/* It has been answered much, and there is more to answer: the others come first. */
static bool has_had_its_turn(fw_conns *cs, fw_conn *c, uint64_t end)
{
    if (cs->work < end || c->in == NULL || c->out.head != NULL)
        return false;
    fw_deadline_clear(&c->deadline);
    postpone(cs, c);
    fw_conn_arm(cs, c);
    return true;
}

/* Goes through the requests that are here as far as that is possible now. True: with the last of them it is done; else `*what`
 * is what the rest amounts to, and `*any` whether a response may be queued. */
static bool go_through(fw_conns *cs, fw_conn *c, enum fw_input *what, bool *any)
{
    const uint64_t end = cs->work + WORK_PER_TURN;
    for (;;) {
        *what = fw_input_parse(cs, c);
        if (fw_likely(*what == FW_INPUT_COMPLETE)) {
            if (!answered(cs, c) || has_had_its_turn(cs, c, end))
                return true;
            *any = true;
        } else if (*what != FW_INPUT_STORE || (*any && c->out.head != NULL)) {
            return false;
        } else if (lend_body(cs, c)) {
            return true;
        }
    }
}

/* Judges what has been received; moves to the state that it amounts to. */
static void advance(fw_conns *cs, fw_conn *c)
{
    enum fw_input what;
    bool any = c->state == FW_STATE_BUSY; /* a response may be queued */
    if (go_through(cs, c, &what, &any))
        return;
    if (any && c->out.head != NULL && what != FW_INPUT_REFUSED) { /* nothing to share its send with */
        flush_or_wait(cs, c);
        return;
    }
    switch (what) {
    case FW_INPUT_COMPLETE:
    case FW_INPUT_STORE: return; /* dealt with above */
    case FW_INPUT_REFUSED: refuse_request(cs, c); return;
    case FW_INPUT_HEAD:
        if (c->state != FW_STATE_HEAD) {
            start_clock(cs, c);
            if (!move(cs, c, EV_HEAD))
                return;
            fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_HEADER, cs->now);
        }
        break;
    case FW_INPUT_BODY:
        if (c->state != FW_STATE_BODY && c->state != FW_STATE_STORE)
            start_clock(cs, c);
        if (!move(cs, c, EV_BODY))
            return;
        fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_BODY, cs->now);
        if (fw_unlikely(c->req->expects))
            begin_body(cs, c);
        break;
    case FW_INPUT_EMPTY: become_idle(cs, c); break;
    }
    if (!awaits_input(c))
        return;
    if (c->input)
        read_input(cs, c);
    else if (fw_input_compact(cs, c) != FW_OK)
        drop(cs, c);
    else
        fw_conn_arm(cs, c);
}

/* A handshake has failed. Whoever has connected and left without a byte has not begun one. */
static FW_NOINLINE void count_failed_handshake(fw_conns *cs, const fw_conn *c, const char *why, int error)
{
    fw_failed_handshake *f = &cs->failed;
    cs->stats.failed_handshakes++;
    f->why = why;
    f->error = error;
    f->peer = c->address;
    f->untold++;
}

static void count_handshake_end(fw_conns *cs, const fw_conn *c, ssize_t n)
{
    const fw_tls *t = c->tls;
    if (t->established || !t->begun)
        return;
    if (n == 0)
        count_failed_handshake(cs, c, "the client has hung up", 0);
    else if (n == -EPROTO)
        count_failed_handshake(cs, c, t->why, 0);
    else
        count_failed_handshake(cs, c, NULL, (int)-n);
}

/* TLS has failed, or there is none. True: the client is told, by an alert that is sent already or by a refusal in plain
 * text; in either case it is to be able to read that. */
static FW_NOINLINE bool explain_tls(fw_conns *cs, fw_conn *c, ssize_t n)
{
    if (n == FW_TLS_PLAIN) {
        forget_tls(c);
        if (c->req != NULL)
            refuse_request(cs, c);
        else /* no memory */
            drop(cs, c);
        return true;
    }
    count_handshake_end(cs, c, n);
    if (n != -EPROTO)
        return false;
    cs->stats.broken++;
    forget_tls(c);
    fw_outq_clear(&c->out, &cs->cache);
    linger(cs, c);
    return true;
}

/* A handshake is complete, and no byte of a request is here: its time begins. */
static FW_NOINLINE void after_handshake(fw_conns *cs, fw_conn *c)
{
    if (c->state == FW_STATE_OPEN && c->tls->established && c->deadline.next != NULL &&
        c->deadline.class == FW_CLASS_HANDSHAKE)
        fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_HEADER, cs->now);
}

/* The input has ended, or broken. */
static void input_ended(fw_conns *cs, fw_conn *c, ssize_t n)
{
    if (fw_unlikely(c->tls != NULL) && explain_tls(cs, c, n))
        return;
    if (n < 0)
        cs->stats.broken++;
    else if (c->state == FW_STATE_HEAD || c->state == FW_STATE_BODY)
        cs->stats.truncated++;
    drop(cs, c);
}

static void read_input(fw_conns *cs, fw_conn *c)
{
    const uint64_t end = cs->work + WORK_PER_TURN;
    for (int i = 0; i < READS_PER_TURN && cs->work < end; i++) {
        ssize_t n = fw_input_receive(cs, c);
        if (n == FW_RETRY)
            break;
        if (n <= 0) {
            input_ended(cs, c, n);
            return;
        }
        const bool more = c->input;
        c->input = false; /* advance must not come back here */
        advance(cs, c);
        c->got += (uint32_t)n;
        if (fw_unlikely(cs->cfg.min_rate != 0) && (c->state == FW_STATE_HEAD || c->state == FW_STATE_BODY) &&
            arrives_too_slowly(cs, c)) {
            cs->stats.timeouts++;
            count_late(cs, c->state == FW_STATE_HEAD ? FW_LATE_HEADER : FW_LATE_BODY);
            refuse(cs, c, 408, "the request arrives too slowly");
            return;
        }
        c->input |= more;
        if (!awaits_input(c))
            return;
        if (!more)
            return; /* advance has compacted and armed it */
    }
    if (fw_unlikely(c->tls != NULL))
        after_handshake(cs, c);
    if (fw_input_compact(cs, c) != FW_OK) {
        drop(cs, c);
        return;
    }
    if (c->input)
        postpone(cs, c);
    fw_conn_arm(cs, c);
}

bool fw_conns_again(fw_conns *cs)
{
    fw_conn *c = cs->again;
    cs->again = NULL;
    const bool any = c != NULL;
    while (c != NULL) {
        fw_conn *next = c->link;
        c->again = false;
        if (c->state == FW_STATE_CLOSED) {
            c->link = cs->to_free;
            cs->to_free = c;
        } else if (c->state == FW_STATE_LINGER) {
            discard(cs, c);
        } else if (c->state == FW_STATE_FILE) {
            go_on_with_file(cs, c);
        } else if (c->state == FW_STATE_IDLE && c->in != NULL) {
            advance(cs, c);
        } else if (awaits_input(c)) {
            read_input(cs, c);
        }
        c = next;
    }
    return any;
}

/* ---- what the loop reports --------------------------------------------------------------------------------------- */

/* What an event of one direction means for the other. */
static FW_NOINLINE unsigned tls_events(fw_conn *c, unsigned flags)
{
    if (flags & FW_EVENT_OUT)
        c->input |= c->tls->wants_write;
    if ((flags & FW_EVENT_IN) && c->tls->wants_read)
        flags |= FW_EVENT_OUT;
    return flags;
}

void fw_conn_event(fw_conns *cs, fw_conn *c, unsigned flags)
{
    if (c->state == FW_STATE_CLOSED)
        return;
    c->eof |= (flags & FW_EVENT_EOF) != 0;
    c->input |= (flags & FW_EVENT_IN) != 0;
    if ((flags & FW_EVENT_OUT) && atomic_exchange(&c->blocked, false) && c->state == FW_STATE_BUSY) {
        c->owner->writable = cs->called = true;
        atomic_store_explicit(&c->pace.waits, false, memory_order_relaxed); /* for the application, not for its client */
    }
    if (c->state == FW_STATE_BUSY || c->state == FW_STATE_READY || c->held) {
        if (fw_unlikely((flags & (FW_EVENT_EOF | FW_EVENT_ERR | FW_EVENT_HUP)) != 0))
            note_client(c, flags);
        return;
    }
    if (fw_unlikely(c->tls != NULL))
        flags = tls_events(c, flags);
    if ((flags & FW_EVENT_ERR) &&
        (c->state == FW_STATE_SUSPENDED || c->state == FW_STATE_FLUSH || c->state == FW_STATE_STORE ||
         c->state == FW_STATE_FILE)) {
        cs->stats.broken++;
        fw_conn_close(cs, c);
        return;
    }
    if ((flags & FW_EVENT_OUT) && (c->out.head != NULL || c->state == FW_STATE_SUSPENDED || c->state == FW_STATE_FLUSH))
        output_moved(cs, c, flush(cs, c));
    if (c->input && awaits_input(c) && !c->again)
        read_input(cs, c);
    else if (c->input && c->state == FW_STATE_LINGER && !c->again)
        discard(cs, c);
}

void fw_conn_expire(fw_conns *cs, fw_conn *c)
{
    const bool receiving = c->state == FW_STATE_HEAD || c->state == FW_STATE_BODY;
    if (c->state == FW_STATE_FLUSH || c->state == FW_STATE_SUSPENDED) {
        check_pace(cs, c);
        return;
    }
    cs->stats.timeouts += receiving;
    if (fw_unlikely(c->tls != NULL) && !c->tls->established)
        count_failed_handshake(cs, c, c->tls->begun ? "it took too long" : "the client has said nothing", 0);
    count_expired(cs, c);
    if (receiving)
        refuse(cs, c, 408, "the request took too long to arrive");
    else
        fw_conn_close(cs, c);
}

/* ---- to another worker and from there ---------------------------------------------------------------------------- */

#define S(x) (1u << FW_STATE_##x)
/* All that there is of it is its descriptor and what has been received. */
static bool may_travel(const fw_conn *c)
{
    if (c->tls != NULL)
        return false; /* its keys are here */
    if (c->listener->uwsgi)
        return false; /* a packet has been rewritten where it lies, and its connection ends with it */
    if (((S(OPEN) | S(IDLE) | S(READY)) >> c->state & 1) == 0 || c->again || c->out.head != NULL || atomic_load(&c->broken))
        return false;
    return c->state != FW_STATE_READY || c->turn == FW_TURN_REQUEST;
}
#undef S

/* FW_OK: it has left. */
static int pass_on(fw_conns *cs, fw_conn *c, const fw_travel *t)
{
    const uint64_t complete = cs->timed && c->state == FW_STATE_READY ? fw_conn_timing(c)->complete : 0;
    const int rc = may_travel(c) ? fw_travel_send(t, c, complete) : FW_TRAVEL_STAYS;
    if (rc == FW_OK) {
        cs->stats.passed_on++;
        show_travel(cs);
    }
    return rc;
}

bool fw_conn_pass_on(fw_conns *cs, fw_conn *c, const fw_travel *t)
{
    if (c->state != FW_STATE_OPEN && c->state != FW_STATE_IDLE)
        return true;
    const int rc = pass_on(cs, c, t);
    if (rc == FW_OK && move(cs, c, EV_LEFT))
        forget(cs, c);
    if (rc == FW_TRAVEL_STAYS && (c->deadline.next == NULL || c->deadline.class != FW_CLASS_RETIRE))
        fw_conn_retire(cs, c); /* once: its time runs */
    return rc != FW_RETRY;
}

unsigned fw_conns_pass_on_ready(fw_conns *cs, const fw_travel *t, unsigned most)
{
    unsigned n = 0;
    fw_conn *last = NULL;
    for (fw_conn *c = cs->ready_head, *next; c != NULL && n < most; c = next) {
        next = c->link;
        const int rc = pass_on(cs, c, t);
        if (rc == FW_RETRY)
            break;
        if (rc != FW_OK) {
            last = c;
            continue;
        }
        unlink_ready(cs, last, c);
        atomic_store(&cs->nready, atomic_load_explicit(&cs->nready, memory_order_relaxed) - 1);
        if (move(cs, c, EV_LEFT))
            forget(cs, c);
        n++;
    }
    show_waiting(cs);
    return n;
}

/* It has waited already: max_ready does not turn it away, and its time goes on. */
static void take_waited(fw_conns *cs, fw_conn *c, const fw_note *note)
{
    ready(cs, c);
    if (note->worth_until != 0)
        set_worth(cs, c, note->worth_until);
    if (cs->timed && note->complete != 0 && note->complete < cs->us)
        fw_conn_timing(c)->complete = note->complete;
}

bool fw_conn_take_over(fw_conns *cs, fw_parcel *p, const fw_listener *listener)
{
    fw_conn *c = open_conn(cs, p->fd, listener, &p->note.address.any, p->note.address_len);
    if (c == NULL) {
        fw_parcel_clear(p);
        return false;
    }
    p->fd = -1;
    fw_input_begin_there(cs, c, p->note.origin, p->note.proxy);
    c->served = p->note.served;
    cs->stats.taken_over++;
    show_travel(cs);
    if (p->note.kind == FW_TRAVEL_REQUEST) {
        const bool restored = fw_input_restore(cs, c, p) == FW_OK;
        fw_parcel_clear(p);
        c->input = true; /* more may have come meanwhile: it is read when this request is answered */
        if (restored && fw_input_parse(cs, c) == FW_INPUT_COMPLETE)
            take_waited(cs, c, &p->note);
        else if (restored && c->req->status == 0)
            advance(cs, c);
        else if (restored)
            refuse_request(cs, c);
        else
            drop(cs, c);
        return true;
    }
    fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_HEADER, cs->now);
    if (c->served != 0 && move(cs, c, EV_ARRIVED))
        fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_KEEPALIVE, cs->now);
    fw_conn_arm(cs, c); /* the poller tells what has come meanwhile */
    return true;
}

void fw_conn_retire(fw_conns *cs, fw_conn *c)
{
    if (c->state != FW_STATE_IDLE && c->state != FW_STATE_OPEN)
        return;
    c->input = true; /* a request that is here, or on its way, is still served */
    if (!c->again)   /* else it is read in this turn of the loop anyway, and is in no other list before */
        read_input(cs, c);
    if (c->state == FW_STATE_IDLE || c->state == FW_STATE_OPEN)
        fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_RETIRE, cs->now);
}
