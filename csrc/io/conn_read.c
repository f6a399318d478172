/* conn_read.c - the input side of a connection: reading, and what the bytes amount to.
 *
 * Reading is edge-triggered: conn->input says that the socket may have bytes, and is cleared by a read that finds it
 * empty. A client that sends without pause has a share of work per turn of the loop, then the others come first. Work is
 * counted, not timed: a byte received is one unit, and what a client can make dear counts as the bytes that it costs as much
 * as (chunks.c).
 */
#include "observe/access_log.h"
#include "io/conn_parts.h"
#include "io/input.h"
#include "io/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define READS_PER_TURN 16    /* receives before the others get their turn */
#define WORK_PER_TURN 262144 /* ... and units of work */
#define WORK_ANSWER 4096     /* a request that is answered here */
#define HEALTHY "HTTP/1.1 200 OK\r\nServer: fastwsgi\r\n%sContent-Type: text/plain; charset=utf-8\r\n" \
                "Content-Length: 3\r\nCache-Control: no-store\r\n%s\r\n%s"

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

void fw_conn_discard(fw_conns *cs, fw_conn *c)
{
    const uint64_t end = cs->work + WORK_PER_TURN;
    for (int i = 0; c->input && i < READS_PER_TURN && cs->work < end; i++) {
        ssize_t n = fw_input_discard(cs, c);
        if (n == FW_RETRY)
            break;
        if (n <= 0) {
            fw_conn_die(cs, c);
            return;
        }
    }
    if (c->input)
        postpone(cs, c);
    fw_conn_arm(cs, c);
}

/* ---- refusing -------------------------------------------------------------------------------------------------- */

/* The request line as far as it is here, without its line end. */
static fw_text received_line(const fw_conn *c)
{
    const fw_request *r = c->req;
    if (r == NULL || r->base == NULL || c->in == NULL)
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

/* A refusal has its line in the access log, though no application hears of it. */
static void log_refusal(const fw_conns *cs, const fw_conn *c, int status, const char *why, bool head)
{
    const char *reason = fw_wire_reason(status);
    const bool receiving = c->state == FW_STATE_HEAD || c->state == FW_STATE_BODY || c->state == FW_STATE_STORE;
    const fw_entry e = {
        .req = c->req,
        .line = received_line(c),
        .client = fw_conn_address(c),
        .status = status,
        .reason = {reason, strlen(reason)},
        .bytes = head ? 0 : strlen(why) + 1,
        .us = receiving ? (uint64_t)((uint32_t)cs->now - c->since) * 1000 : 0,
    };
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

static void refuse(fw_conns *cs, fw_conn *c, int status, const char *why)
{
    const bool head = asks_head(c);
    cs->stats.refused++;
    if (cs->cfg.access != NULL)
        log_refusal(cs, c, status, why, head);
    c->closing = true;
    c->lingers = true;
    if (fw_wire_refusal(&c->out, &cs->cache, &cs->date, status, why, head) != FW_OK) {
        fw_conn_die(cs, c);
        return;
    }
    fw_input_clear(cs, c);
    fw_conn_settle(cs, c);
}

void fw_conn_refuse_request(fw_conns *cs, fw_conn *c)
{
    refuse(cs, c, c->req->status, c->req->why);
}

void fw_conn_refuse_now(fw_conns *cs, fw_conn *c, int status, const char *why)
{
    refuse(cs, c, status, why);
}

void fw_conns_refuse_ready(fw_conns *cs, int status, const char *why)
{
    fw_owner nobody = {0};
    fw_conn *c;
    while ((c = fw_conn_pull(cs, &nobody, true)) != NULL) {
        c->owner = NULL;
        fw_request_refuse(c->req, status, why);
        fw_conn_refuse_request(cs, c);
    }
}

/* ---- what the loop answers itself ------------------------------------------------------------------------------ */

static bool asks_for_health(const fw_conns *cs, const fw_request *r)
{
    if (fw_likely(cs->cfg.health == NULL))
        return false;
    const size_t n = strlen(cs->cfg.health);
    return (r->method_id == FW_METHOD_GET || fw_request_is_head(r)) && r->path.len == n && memcmp(fw_request_at(r, r->path), cs->cfg.health, n) == 0;
}

/* Whether threads are there or not: the process lives and takes requests. False: it has been refused. */
static bool tell_health(fw_conns *cs, fw_conn *c)
{
    const fw_request *r = c->req;
    const bool head = fw_request_is_head(r);
    if (cs->stopping) {
        refuse(cs, c, 503, "stopping");
        return false;
    }
    char text[512];
    c->closing = c->lingers = !r->keep_alive;
    const char *life = !r->keep_alive ? "Connection: close\r\n" : r->minor == 0 ? "Connection: keep-alive\r\n" : "";
    int n = snprintf(text, sizeof text, HEALTHY, fw_date_line(&cs->date), life, head ? "" : "ok\n");
    if (n < 0 || (size_t)n >= sizeof text || fw_outq_copy(&c->out, &cs->cache, text, (size_t)n) != FW_OK) {
        fw_conn_die(cs, c);
        return false;
    }
    c->served++;
    cs->work += WORK_ANSWER;
    fw_input_next(cs, c);
    if (c->closing)
        fw_conn_settle(cs, c);
    else
        fw_conn_move(c, FW_STATE_IDLE);
    return !c->closing;
}

/* A complete request: true if it has been answered here and the next one may be looked at. */
static bool answered(fw_conns *cs, fw_conn *c)
{
    if (fw_unlikely(asks_for_health(cs, c->req)))
        return tell_health(cs, c);
    if (fw_unlikely(cs->cfg.max_ready != 0) && cs->cfg.overload_refuse && cs->nready >= cs->cfg.max_ready)
        refuse(cs, c, 503, "too many requests are waiting");
    else
        fw_conn_ready(cs, c);
    return false;
}

/* The request at hand begins to arrive, or its body does. */
static void start_clock(const fw_conns *cs, fw_conn *c)
{
    c->since = (uint32_t)cs->now;
    c->got = 0;
}

/* Slower on average than allowed (min_rate), the time of grace past. */
static bool too_slow(const fw_conns *cs, const fw_conn *c)
{
    const uint32_t elapsed = (uint32_t)cs->now - c->since;
    return elapsed > cs->cfg.min_rate_grace_ms && (uint64_t)c->got * 1000 < (uint64_t)cs->cfg.min_rate * elapsed;
}

/* The client may keep its connection: its last response said so, even if a stop has begun since. */
static void become_idle(fw_conns *cs, fw_conn *c)
{
    if (c->in != NULL) { /* bytes without memory to parse them */
        fw_conn_die(cs, c);
        return;
    }
    if (c->state == FW_STATE_OPEN)
        return;
    fw_conn_move(c, FW_STATE_IDLE);
    fw_deadline_set(&cs->deadlines, &c->deadline, cs->stopping ? FW_CLASS_RETIRE : FW_CLASS_KEEPALIVE, cs->now);
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
    int rc = fw_conn_flush(cs, c);
    if (rc == FW_RETRY)
        fw_conn_arm(cs, c);
    else if (rc != FW_OK)
        fw_conn_die(cs, c);
}

/* ---- bodies that go to files ------------------------------------------------------------------------------------ */

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
    fw_conn_move(c, FW_STATE_STORE);
    fw_deadline_clear(&c->deadline);
    if (fw_input_compact(cs, c) != FW_OK)
        fw_conn_die(cs, c);
    else
        fw_conn_arm(cs, c);
    return true;
}

void fw_conn_stored(fw_conns *cs, fw_conn *c)
{
    cs->now = fw_deadline_clock();
    c->since += (uint32_t)cs->now - c->lent; /* the client has not spent that time */
    take_back(cs, c);
    fw_conn_digest(cs, c);
}

/* ---- what has been received ------------------------------------------------------------------------------------- */

/* Goes through the requests that are here as far as that is possible now. True: with the last of them it is done; else `*what`
 * is what the rest amounts to, and `*any` whether a response may be queued. */
static bool go_through(fw_conns *cs, fw_conn *c, enum fw_input *what, bool *any)
{
    for (;;) {
        *what = fw_input_parse(cs, c);
        if (fw_likely(*what == FW_INPUT_COMPLETE)) {
            if (!answered(cs, c))
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
void fw_conn_digest(fw_conns *cs, fw_conn *c)
{
    enum fw_input what;
    bool any = c->state == FW_STATE_BUSY; /* a response may be queued */
    if (go_through(cs, c, &what, &any))
        return;
    if (any && c->out.head != NULL && what != FW_INPUT_REFUSED) { /* nothing to share its send with */
        fw_conn_settle(cs, c);
        return;
    }
    switch (what) {
    case FW_INPUT_COMPLETE:
    case FW_INPUT_STORE: return; /* dealt with above */
    case FW_INPUT_REFUSED: fw_conn_refuse_request(cs, c); return;
    case FW_INPUT_HEAD:
        if (c->state != FW_STATE_HEAD) {
            start_clock(cs, c);
            fw_conn_move(c, FW_STATE_HEAD);
            fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_HEADER, cs->now);
        }
        break;
    case FW_INPUT_BODY:
        if (c->state != FW_STATE_BODY && c->state != FW_STATE_STORE)
            start_clock(cs, c);
        fw_conn_move(c, FW_STATE_BODY);
        fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_BODY, cs->now);
        if (fw_unlikely(c->req->expects))
            begin_body(cs, c);
        break;
    case FW_INPUT_EMPTY: become_idle(cs, c); break;
    }
    if (!awaits_input(c))
        return;
    if (c->input)
        fw_conn_read(cs, c);
    else if (fw_input_compact(cs, c) != FW_OK)
        fw_conn_die(cs, c);
    else
        fw_conn_arm(cs, c);
}

/* The input has ended, or broken. */
static void input_ended(fw_conns *cs, fw_conn *c, ssize_t n)
{
    if (n < 0)
        cs->stats.broken++;
    else if (c->state == FW_STATE_HEAD || c->state == FW_STATE_BODY)
        cs->stats.truncated++;
    fw_conn_die(cs, c);
}

void fw_conn_read(fw_conns *cs, fw_conn *c)
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
        c->input = false; /* digest must not come back here */
        fw_conn_digest(cs, c);
        c->got += (uint32_t)n;
        if (fw_unlikely(cs->cfg.min_rate != 0) && (c->state == FW_STATE_HEAD || c->state == FW_STATE_BODY) &&
            too_slow(cs, c)) {
            cs->stats.timeouts++;
            refuse(cs, c, 408, "the request arrives too slowly");
            return;
        }
        c->input |= more;
        if (!awaits_input(c))
            return;
        if (!more)
            return; /* digest has settled and armed it */
    }
    if (fw_input_compact(cs, c) != FW_OK) {
        fw_conn_die(cs, c);
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
            fw_conn_discard(cs, c);
        } else if (awaits_input(c)) {
            fw_conn_read(cs, c);
        }
        c = next;
    }
    return any;
}

/* ---- what the loop reports ------------------------------------------------------------------------------------- */

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
    if (c->state == FW_STATE_BUSY || c->state == FW_STATE_READY || c->held)
        return;
    if ((flags & FW_EVENT_ERR) &&
        (c->state == FW_STATE_SUSPENDED || c->state == FW_STATE_FLUSH || c->state == FW_STATE_STORE)) {
        cs->stats.broken++;
        fw_conn_close(cs, c);
        return;
    }
    if ((flags & FW_EVENT_OUT) && (c->out.head != NULL || c->state == FW_STATE_SUSPENDED))
        fw_conn_output_moved(cs, c, fw_conn_flush(cs, c));
    if (c->input && awaits_input(c) && !c->again)
        fw_conn_read(cs, c);
    else if (c->input && c->state == FW_STATE_LINGER && !c->again)
        fw_conn_discard(cs, c);
}

void fw_conn_expire(fw_conns *cs, fw_conn *c)
{
    const bool receiving = c->state == FW_STATE_HEAD || c->state == FW_STATE_BODY;
    if (c->state == FW_STATE_FLUSH || c->state == FW_STATE_SUSPENDED) {
        fw_conn_look(cs, c);
        return;
    }
    cs->stats.timeouts += receiving;
    if (receiving)
        refuse(cs, c, 408, "the request took too long to arrive");
    else
        fw_conn_close(cs, c);
}

void fw_conn_retire(fw_conns *cs, fw_conn *c)
{
    if (c->state != FW_STATE_IDLE && c->state != FW_STATE_OPEN)
        return;
    c->input = true; /* a request that is here, or on its way, is still served */
    if (!c->again)   /* else it is read in this turn of the loop anyway, and is in no other list before */
        fw_conn_read(cs, c);
    if (c->state == FW_STATE_IDLE || c->state == FW_STATE_OPEN)
        fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_RETIRE, cs->now);
}
