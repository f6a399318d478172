/* conn.c - one connection: its table of moves, its life, its output, and its owner's side. Input: conn_read.c.
 *
 *                        .---------------- refused ----------------.
 *                        |                                         v
 *   OPEN --> HEAD --> BODY --> READY --> BUSY --> FLUSH --> LINGER --> CLOSED
 *             ^ \________________^  ^    |  |      |
 *             |                     |    v  |      |
 *           IDLE <----------------  SUSPENDED <-'  |      (any state but BUSY may go to CLOSED)
 *             ^------------------------------------'
 *
 * STORE is BODY while a part of the body is being written to its file; it lies between whatever comes before BODY and
 * whatever follows it.
 */
#include "io/conn_parts.h"
#include "io/input.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CROWD 8 /* waiting requests from which on one more gives the receive buffer back */

/* ---- the table ------------------------------------------------------------------------------------------------- */

#define S(x) (1u << FW_STATE_##x)
static const uint16_t MOVES[FW_STATES] = {
    [FW_STATE_OPEN] = S(IDLE) | S(HEAD) | S(BODY) | S(STORE) | S(READY) | S(FLUSH) | S(LINGER) | S(CLOSED),
    [FW_STATE_IDLE] = S(IDLE) | S(HEAD) | S(BODY) | S(STORE) | S(READY) | S(FLUSH) | S(LINGER) | S(CLOSED),
    [FW_STATE_HEAD] = S(IDLE) | S(HEAD) | S(BODY) | S(STORE) | S(READY) | S(FLUSH) | S(LINGER) | S(CLOSED),
    [FW_STATE_BODY] = S(IDLE) | S(BODY) | S(STORE) | S(READY) | S(FLUSH) | S(LINGER) | S(CLOSED),
    [FW_STATE_STORE] = S(IDLE) | S(BODY) | S(STORE) | S(READY) | S(FLUSH) | S(LINGER) | S(CLOSED),
    [FW_STATE_READY] = S(BUSY),
    [FW_STATE_BUSY] = S(IDLE) | S(HEAD) | S(BODY) | S(STORE) | S(READY) | S(SUSPENDED) | S(FLUSH) | S(LINGER) |
                      S(CLOSED),
    [FW_STATE_SUSPENDED] = S(READY) | S(BUSY), /* its owner's alone */
    [FW_STATE_FLUSH] = S(IDLE) | S(HEAD) | S(BODY) | S(STORE) | S(READY) | S(FLUSH) | S(LINGER) | S(CLOSED),
    [FW_STATE_LINGER] = S(CLOSED),
    [FW_STATE_CLOSED] = 0,
};

void fw_conn_move(fw_conn *c, enum fw_state to)
{
#ifdef FW_DEBUG
    if ((MOVES[c->state] & (1u << to)) == 0 || (c->again && to == FW_STATE_READY)) /* it cannot be in two lists */
        abort(); /* a bug of ours: the sanitizer build stops on it */
#else
    (void)MOVES;
#endif
    c->state = (uint8_t)to;
}

#undef S

/* ---- birth and death ------------------------------------------------------------------------------------------- */

fw_conn *fw_conn_open(fw_conns *cs, int fd, const fw_listener *listener, const struct sockaddr *address, socklen_t len)
{
    fw_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->handle.kind = FW_HANDLE_CONN;
    c->fd = fd;
    c->listener = listener;
    if (len > 0 && len <= sizeof c->address)
        memcpy(&c->address, address, len);
    c->prev = cs->all.prev;
    c->next = &cs->all;
    c->prev->next = c;
    cs->all.prev = c;
    cs->stats.accepted++;
    cs->stats.connections++;
    fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_HEADER, cs->now);
    return c;
}

static void release(fw_conns *cs, fw_conn *c)
{
    fw_deadline_clear(&c->deadline);
    fw_outq_clear(&c->out, &cs->cache);
    fw_conn_uncount(cs, c);
    fw_input_clear(cs, c);
    if (c->polled)
        fw_poller_del(&cs->poller, c->fd);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

void fw_conn_die(fw_conns *cs, fw_conn *c)
{
    release(cs, c);
    fw_conn_move(c, FW_STATE_CLOSED);
    c->prev->next = c->next;
    c->next->prev = c->prev;
    cs->stats.connections--;
    if (!c->again) { /* else the list of those to read again still points here */
        c->link = cs->to_free;
        cs->to_free = c;
    }
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

static fw_conn *dequeue(fw_conn **head, fw_conn **tail)
{
    fw_conn *c = *head;
    if (c != NULL && (*head = c->link) == NULL)
        *tail = NULL;
    return c;
}

void fw_conn_ready(fw_conns *cs, fw_conn *c)
{
    const uint32_t waiting = atomic_load_explicit(&cs->nready, memory_order_relaxed);
    fw_deadline_clear(&c->deadline);
    if (fw_unlikely(waiting >= CROWD) && fw_input_compact(cs, c) != FW_OK) {
        fw_conn_die(cs, c);
        return;
    }
    fw_conn_move(c, FW_STATE_READY);
    c->turn = FW_TURN_REQUEST;
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
        fw_conn_move(c, FW_STATE_BUSY);
        return;
    }
    fw_conn_move(c, FW_STATE_READY);
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
    case FW_STATE_BUSY: c->broken = true; return;
    case FW_STATE_SUSPENDED:
        c->unsent = c->out.bytes;
        c->broken = true;
        fw_outq_clear(&c->out, &cs->cache);
        fw_conn_uncount(cs, c);
        call_owner(cs, c, FW_TURN_GONE);
        return;
    default: fw_conn_die(cs, c);
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

/* ---- output ---------------------------------------------------------------------------------------------------- */

int fw_conn_send(fw_conn *c, fw_chunk_cache *cache, uint64_t *sent)
{
    if (atomic_load_explicit(&c->broken, memory_order_relaxed))
        return -EPIPE;
    const size_t before = c->out.bytes;
    /* Said before it is tried: an event that comes behind the attempt takes it back, and none is lost. */
    atomic_store_explicit(&c->blocked, true, memory_order_relaxed);
    int rc = fw_outq_flush(&c->out, cache, c->fd);
    *sent += before - c->out.bytes;
    if (rc == FW_RETRY) {
        c->pace.moved += before - c->out.bytes;
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

int fw_conn_flush(fw_conns *cs, fw_conn *c)
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
    return atomic_load_explicit(&c->blocked, memory_order_relaxed) ? FW_RETRY : fw_conn_flush(cs, c);
}

void fw_conns_flush_ready(fw_conns *cs)
{
    for (fw_conn *c = cs->ready_head; c != NULL; c = c->link)
        if (c->out.head != NULL)
            fw_conn_flush(cs, c);
}

/* Our side says goodbye; the client may finish its sentence, so that no reset overtakes the response (RFC 9112 9.6).
 * Even one that has shut its side: what it said before may not have been read. */
static void linger(fw_conns *cs, fw_conn *c)
{
    fw_input_clear(cs, c);
    if (shutdown(c->fd, SHUT_WR) < 0) {
        fw_conn_die(cs, c);
        return;
    }
    fw_conn_move(c, FW_STATE_LINGER);
    fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_LINGER, cs->now);
    c->input = true;
    fw_conn_discard(cs, c);
}

/* All output is with the kernel: close, or go on with what has been received. */
static void after_flush(fw_conns *cs, fw_conn *c)
{
    if (!c->closing)
        fw_conn_digest(cs, c);
    else if (c->lingers)
        linger(cs, c);
    else
        fw_conn_die(cs, c);
}

/* A flush has not sent it all. Apart from what is sent at once, which is to cost nothing for it. */
static FW_NOINLINE void wait_for_client(fw_conns *cs, fw_conn *c, int rc)
{
    if (rc == FW_RETRY) {
        fw_conn_move(c, FW_STATE_FLUSH);
        fw_conn_await(cs, c);
        if (fw_input_compact(cs, c) == FW_OK) {
            fw_conn_arm(cs, c);
            return;
        }
    }
    fw_conn_die(cs, c);
}

void fw_conn_settle(fw_conns *cs, fw_conn *c)
{
    const int rc = flush_left(cs, c);
    if (fw_likely(rc == FW_OK))
        after_flush(cs, c);
    else
        wait_for_client(cs, c, rc);
}

/* False: it is not held, and to be settled. */
static bool hold(fw_conns *cs, fw_conn *c)
{
    if (cs->nheld >= atomic_load_explicit(&cs->held_most, memory_order_relaxed) || c->out.head == NULL ||
        atomic_load_explicit(&c->blocked, memory_order_relaxed))
        return false;
    fw_conn_move(c, FW_STATE_FLUSH);
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
            fw_conn_die(cs, c);
        else
            fw_conn_settle(cs, c);
    }
}

/* Some output of a waiting connection could be sent: what now? */
void fw_conn_output_moved(fw_conns *cs, fw_conn *c, int rc)
{
    if (rc < 0 && rc != FW_RETRY) {
        fw_conn_close(cs, c);
        return;
    }
    switch (c->state) {
    case FW_STATE_FLUSH:
        if (rc != FW_OK) {
            fw_conn_await(cs, c);
        } else {
            fw_conn_uncount(cs, c);
            after_flush(cs, c);
        }
        return;
    case FW_STATE_SUSPENDED:
        if (c->out.bytes > atomic_load_explicit(&cs->mark, memory_order_relaxed) / 4) {
            fw_conn_await(cs, c);
        } else {
            fw_conn_count(cs, c);
            call_owner(cs, c, FW_TURN_RESUME);
        }
        return;
    default: return; /* an interim response while the body arrives */
    }
}

/* ---- the owner's side ------------------------------------------------------------------------------------------ */

fw_conn *fw_conn_pull(fw_conns *cs, fw_owner *owner, bool any)
{
    fw_conn *c = dequeue(&owner->head, &owner->tail);
    if (fw_likely(c == NULL)) {
        if (!any || (c = dequeue(&cs->ready_head, &cs->ready_tail)) == NULL)
            return NULL;
        atomic_store(&cs->nready, atomic_load_explicit(&cs->nready, memory_order_relaxed) - 1);
        cs->stats.requests++;
    }
    fw_conn_move(c, FW_STATE_BUSY);
    c->owner = owner;
    return c;
}

/* Waits for the client with what is queued; an event that came while it was BUSY is not forgotten. */
static void rest(fw_conns *cs, fw_conn *c)
{
    cs->now = fw_deadline_clock();
    fw_conn_move(c, FW_STATE_SUSPENDED);
    fw_conn_await(cs, c);
    if (c->broken || fw_input_compact(cs, c) != FW_OK)
        fw_conn_close(cs, c);
    else if (fw_conn_arm(cs, c) && !atomic_load_explicit(&c->blocked, memory_order_relaxed))
        fw_conn_output_moved(cs, c, fw_conn_flush(cs, c));
}

void fw_conn_suspend(fw_conns *cs, fw_conn *c, void *user)
{
    c->user = user;
    rest(cs, c);
}

void fw_conn_wait(fw_conns *cs, fw_conn *c)
{
    c->waiter = true;
    rest(cs, c);
}

void fw_conn_take_back(fw_conn *c)
{
    c->waiter = false;
    fw_deadline_clear(&c->deadline);
    fw_conn_move(c, FW_STATE_BUSY);
}

void fw_conn_finish(fw_conns *cs, fw_conn *c, bool keep, bool cut, bool more)
{
    cs->now = fw_deadline_clock(); /* the application may have taken long */
    const bool client_closes = c->req == NULL || !c->req->keep_alive;
    c->served++;
    c->user = NULL;
    fw_input_next(cs, c);
    if (c->broken) {
        fw_conn_die(cs, c);
        return;
    }
    if (fw_unlikely(c->counted != 0))
        fw_conn_uncount(cs, c); /* counted anew if it waits again */
    if (!keep) { /* `keep` is what the head said: a stop that began later does not take it back */
        c->closing = true;
        c->lingers = !cut && (!client_closes || c->in != NULL || c->input);
    } else if (c->in != NULL && cs->shares && c->out.bytes < FW_SHARE &&
               !atomic_load_explicit(&c->blocked, memory_order_relaxed)) {
        fw_conn_digest(cs, c); /* pipelined: the next response may share the send */
        return;
    }
    if (!more || !hold(cs, c))
        fw_conn_settle(cs, c);
}
