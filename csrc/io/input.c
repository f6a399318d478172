/* input.c - from received bytes to complete requests.
 *
 * It has more than 500 lines because a request comes in four ways that share its buffers: as a head, behind a PROXY header,
 * as a packet, and from another worker.
 */
#include "io/input.h"
#include "http/budget.h"
#include "http/check.h"
#include "http/forwarded.h"
#include "http/proxy_header.h"
#include "http/uwsgi.h"
#include "io/store.h"
#include "io/travel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SMALLEST 512        /* bytes of the smallest buffer of a connection's own */
#define REQUESTS_AT_REST 8 /* as many as run at the same time, more or less */

/* ---- buffers --------------------------------------------------------------------------------------------------- */

static fw_buffer *buffer_new(uint32_t cap)
{
    fw_buffer *b = malloc(sizeof *b + cap);
    if (b == NULL)
        return NULL;
    b->next = NULL;
    b->pos = b->len = 0;
    b->cap = cap;
    return b;
}

static fw_buffer *buffer_take(fw_conns *cs)
{
    fw_buffer *b = cs->buffers;
    if (b == NULL)
        return buffer_new(FW_RECEIVE);
    cs->buffers = b->next;
    b->pos = b->len = 0;
    return b;
}

static void buffer_drop(fw_conns *cs, fw_buffer *b)
{
    if (b->cap == FW_RECEIVE && (cs->buffers == NULL || cs->buffers->next == NULL)) { /* two at rest are enough */
        b->next = cs->buffers;
        cs->buffers = b;
    } else {
        free(b);
    }
}

static void release_input(fw_conns *cs, fw_conn *c)
{
    if (c->in != NULL)
        buffer_drop(cs, c->in);
    c->in = NULL;
}

/* Where the request at hand begins; what lies before is done with. */
static uint32_t keep_from(const fw_conn *c)
{
    return c->req != NULL && c->req->base != NULL ? (uint32_t)(c->req->base - c->in->data) : c->in->pos;
}

/* Moves the bytes that matter to a buffer of `cap` bytes; spans follow because they count from req->base. */
static int move_input(fw_conns *cs, fw_conn *c, uint32_t cap)
{
    fw_buffer *old = c->in;
    const uint32_t from = keep_from(c);
    fw_buffer *b = buffer_new(cap);
    if (b == NULL)
        return -ENOMEM;
    b->len = old->len - from;
    b->pos = old->pos - from;
    memcpy(b->data, old->data + from, b->len);
    fw_request *r = c->req;
    if (r != NULL && r->base != NULL) {
        if (r->body.data != NULL && r->body.own == NULL) /* borrowed from the old buffer */
            r->body.data = b->data + (r->body.data - r->base);
        r->base = b->data;
    }
    buffer_drop(cs, old);
    c->in = b;
    return FW_OK;
}

int fw_input_compact(fw_conns *cs, fw_conn *c)
{
    if (c->in == NULL)
        return FW_OK;
    const uint32_t used = c->in->len - keep_from(c);
    if (used == 0) {
        release_input(cs, c);
        return FW_OK;
    }
    if (c->in->cap != FW_RECEIVE || used > FW_RECEIVE / 2)
        return FW_OK;
    return move_input(cs, c, used < SMALLEST ? SMALLEST : used);
}

/* Free space behind the received bytes, growing or compacting the buffer if there is none. */
static int make_room(fw_conns *cs, fw_conn *c)
{
    if (c->in == NULL) {
        c->in = buffer_take(cs);
        return c->in != NULL ? FW_OK : -ENOMEM;
    }
    if (c->in->len < c->in->cap)
        return FW_OK;
    const uint32_t used = c->in->len - keep_from(c);
    return move_input(cs, c, used < SMALLEST ? SMALLEST : used * 2); /* the head's limits bound this */
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

static fw_request *request_take(fw_conns *cs)
{
    fw_request *r = cs->requests;
    if (r == NULL)
        return fw_request_open(cs->api, &cs->cfg);
    cs->requests = r->at_rest;
    cs->nrequests--;
    fw_request_reset(r);
    return r;
}

static void request_drop(fw_conns *cs, fw_request *r)
{
    if (fw_unlikely(r->body.fd >= 0) && cs->store != NULL) {
        fw_store_release(cs->store, r->body.fd);
        r->body.fd = -1;
    }
    if (cs->nrequests == REQUESTS_AT_REST) {
        fw_request_close(r);
        return;
    }
    fw_body_close(&r->body);
    fw_memo_unpin(r);
    r->at_rest = cs->requests;
    cs->requests = r;
    cs->nrequests++;
}

void fw_input_next(fw_conns *cs, fw_conn *c)
{
    if (c->req != NULL)
        request_drop(cs, c->req);
    c->req = NULL;
    if (c->in != NULL && c->in->pos == c->in->len)
        release_input(cs, c);
}

void fw_input_clear(fw_conns *cs, fw_conn *c)
{
    if (c->req != NULL)
        request_drop(cs, c->req);
    c->req = NULL;
    release_input(cs, c);
}

void fw_input_clear_spares(fw_conns *cs)
{
    while (cs->buffers != NULL) {
        fw_buffer *b = cs->buffers;
        cs->buffers = b->next;
        free(b);
    }
    while (cs->requests != NULL) {
        fw_request *r = cs->requests;
        cs->requests = r->at_rest;
        fw_request_close(r);
    }
    cs->nrequests = 0;
}

/* ---- parsing --------------------------------------------------------------------------------------------------- */

/* What an accepted request with a body amounts to. */
static enum fw_input outcome(fw_conns *cs, fw_request *r)
{
    if (r->status != 0)
        return FW_INPUT_REFUSED;
    if (fw_body_due(&r->body, r->whole, &cs->cfg))
        return FW_INPUT_STORE;
    return r->whole ? FW_INPUT_COMPLETE : FW_INPUT_BODY;
}

/* Decodes chunked bytes; true if the body has come to its end, `*used` bytes on. */
static bool decode(fw_conns *cs, fw_request *r, const char *data, size_t n, size_t *used)
{
    r->whole = fw_request_chunks(r, data, n, used) == FW_PARSE_DONE;
    cs->work += r->work;
    r->work = 0;
    return r->whole;
}

/* Decodes the chunked bytes at in->pos; what follows the body stays where it is. */
static void parse_chunks(fw_conns *cs, fw_conn *c)
{
    fw_buffer *b = c->in;
    const uint32_t from = b->pos;
    size_t used;
    if (decode(cs, c->req, b->data + from, b->len - from, &used))
        b->pos += (uint32_t)used;
    else
        b->len = b->pos = from; /* decoded: the raw bytes are not needed */
}

/* Takes the bytes at in->pos that belong to a body of known length; one that will be a file waits until it is known that it
 * can be. */
static void parse_length(fw_conns *cs, fw_conn *c)
{
    fw_buffer *b = c->in;
    fw_request *r = c->req;
    const uint32_t have = b != NULL ? b->len - b->pos : 0;
    if (r->body.len == 0 && have >= r->length) {
        fw_body_borrow(&r->body, b->data + b->pos, (size_t)r->length);
        b->pos += (uint32_t)r->length;
        r->whole = true;
        return;
    }
    int rc = FW_OK;
    if (r->body.own == NULL && !r->body.spills)
        rc = fw_body_expect(&r->body, r->length, &cs->cfg);
    if (rc == FW_OK && r->body.spills && !r->body.probed)
        return;
    const uint64_t missing = r->length - r->body.len;
    const uint32_t n = have < missing ? have : (uint32_t)missing;
    if (rc == FW_OK && n > 0)
        rc = fw_body_append(&r->body, b->data + b->pos, n);
    if (rc != FW_OK) {
        fw_request_refuse_storage(r, rc);
        return;
    }
    if (n > 0 && n == have)
        b->len = b->pos; /* stored: the raw bytes are not needed */
    else if (n > 0)
        b->pos += n;
    r->whole = r->body.len == r->length;
}

static enum fw_input parse_body(fw_conns *cs, fw_conn *c)
{
    fw_request *r = c->req;
    if (fw_likely(r->framing == FW_FRAMING_NONE))
        return r->status != 0 ? FW_INPUT_REFUSED : FW_INPUT_COMPLETE;
    if (r->status == 0 && !r->whole) {
        if (r->framing == FW_FRAMING_LENGTH)
            parse_length(cs, c);
        else if (c->in->pos < c->in->len)
            parse_chunks(cs, c);
    }
    return outcome(cs, r);
}

/* The shortcut for a header block that has been seen before; MORE if it cannot be taken. */
static enum fw_parse recall(fw_conns *cs, fw_conn *c, const char *data, size_t n)
{
    if (!cs->cfg.memo)
        return FW_PARSE_MORE;
    enum fw_memo_use use;
    fw_memo *m = fw_memo_find(&cs->memos, c->memo_hint, data, n, c->origin, &use);
    if (m == NULL || fw_request_recall(c->req, m, use, data) != FW_PARSE_DONE)
        return FW_PARSE_MORE;
    if (fw_unlikely((c->req->names & cs->cfg.forwarded) != 0))
        fw_memo_followed(c->req);
    return FW_PARSE_DONE;
}

/* ---- proxies ---------------------------------------------------------------------------------------------------- */

static bool is_trusted(const fw_conns *cs, const fw_conn *c)
{
    const fw_forwarding *f = cs->cfg.forwarding;
    return f != NULL && (!c->listener->tcp || fw_networks_hold(&f->trusted, &c->address.any));
}

static bool may_send_proxy_header(const fw_conns *cs, const fw_conn *c)
{
    return !c->listener->tcp || fw_networks_hold(cs->cfg.proxy_from, &c->address.any);
}

void fw_input_begin(const fw_conns *cs, fw_conn *c)
{
    c->origin = c->listener->index << FW_ORIGIN_BITS | (is_trusted(cs, c) ? FW_ORIGIN_TRUSTED : 0);
    if (fw_unlikely(cs->cfg.proxy_protocol != FW_PROXY_OFF) && !c->listener->uwsgi)
        c->proxy = may_send_proxy_header(cs, c) ? FW_PROXY_DUE : FW_PROXY_FORBIDDEN;
}

void fw_input_begin_there(const fw_conns *cs, fw_conn *c, unsigned origin, uint8_t proxy)
{
    const fw_forwarding *f = cs->cfg.forwarding;
    const bool named = c->address.any.sa_family == AF_INET || c->address.any.sa_family == AF_INET6;
    const bool trusted = f != NULL && (!named || fw_networks_hold(&f->trusted, &c->address.any));
    c->origin = c->listener->index << FW_ORIGIN_BITS | (origin & FW_ORIGIN_TLS) | (trusted ? FW_ORIGIN_TRUSTED : 0);
    c->proxy = proxy;
}

/* The sender is who the header names. What came over a unix socket of the proxy's is not trusted for that. */
static void take_proxy_header(const fw_conns *cs, fw_conn *c, const fw_proxy_header *h)
{
    const fw_forwarding *f = cs->cfg.forwarding;
    if (h->named) {
        c->address = h->source;
        c->origin &= ~(unsigned)FW_ORIGIN_TRUSTED;
        if (f != NULL && fw_networks_hold(&f->trusted, &c->address.any))
            c->origin |= FW_ORIGIN_TRUSTED;
    }
    if (h->tls)
        c->origin |= FW_ORIGIN_TLS;
}

/* What has come in place of a request. False: there is no memory. */
static bool refuse_bytes(fw_conns *cs, fw_conn *c, const char *data, int status, const char *why)
{
    if (c->req == NULL && (c->req = request_take(cs)) == NULL)
        return false;
    c->req->base = data;
    fw_request_refuse(c->req, status, why);
    return true;
}

static const char NOT_FROM_THERE[] = "a PROXY header from an address that proxy_allow_from does not have";

/* Before the first request: COMPLETE when it may be parsed. */
static FW_NOINLINE enum fw_input parse_proxy_header(fw_conns *cs, fw_conn *c)
{
    fw_buffer *b = c->in;
    const char *data = b->data + b->pos;
    const size_t n = b->len - b->pos;
    fw_proxy_header h = {.status = 403, .why = NOT_FROM_THERE};
    enum fw_parse p;
    if (c->proxy == FW_PROXY_DUE) {
        p = fw_proxy_header_read(data, n, (enum fw_proxy_protocol)cs->cfg.proxy_protocol, &h);
    } else {
        p = fw_proxy_header_begins(data, n);
        p = p == FW_PARSE_MORE ? p : p == FW_PARSE_DONE ? FW_PARSE_REFUSED : FW_PARSE_DONE;
    }
    if (p == FW_PARSE_MORE)
        return FW_INPUT_HEAD;
    if (p == FW_PARSE_REFUSED) /* without memory as below */
        return refuse_bytes(cs, c, data, h.status, h.why) ? FW_INPUT_REFUSED : FW_INPUT_EMPTY;
    if (c->proxy == FW_PROXY_DUE)
        take_proxy_header(cs, c, &h);
    c->proxy = FW_PROXY_NOT_DUE;
    b->pos += (uint32_t)h.len;
    if (b->pos < b->len)
        return FW_INPUT_COMPLETE;
    release_input(cs, c);
    return c->state == FW_STATE_OPEN ? FW_INPUT_EMPTY : FW_INPUT_HEAD; /* the timeout goes on */
}

/* The head names what proxies say of the client. False: it is refused. */
static FW_NOINLINE bool read_forwarded(const fw_conns *cs, fw_conn *c)
{
    fw_request *r = c->req;
    const bool trusted = (c->origin & FW_ORIGIN_TRUSTED) != 0;
    const bool accepted = fw_forwarded_read(cs->cfg.forwarding, trusted, r) == FW_PARSE_DONE;
    if (cs->cfg.budgets != NULL && trusted)
        fw_budget_read(cs->cfg.budgets, r);
    if ((c->origin & FW_ORIGIN_TLS) && (cs->cfg.forwarding->follow & ~r->follows & FW_FOLLOW_SCHEME)) {
        r->follows |= FW_FOLLOW_SCHEME;
        r->followed.secure = true;
    }
    return accepted;
}

static bool may_send_packets(const fw_conns *cs, const fw_conn *c)
{
    return !c->listener->tcp || fw_networks_hold(cs->cfg.uwsgi_from, &c->address.any);
}

/* A packet of the uwsgi protocol. Whoever may send one says who the client is. */
static FW_NOINLINE enum fw_parse parse_packet(fw_conns *cs, fw_conn *c, char *data, size_t n)
{
    fw_request *r = c->req;
    if (!r->uwsgi && !may_send_packets(cs, c)) {
        r->uwsgi = true;
        return fw_request_refuse(r, 403, "this client may not speak the uwsgi protocol (uwsgi_allow_ips)");
    }
    const enum fw_parse p = fw_uwsgi_parse(r, data, n);
    if (p == FW_PARSE_DONE)
        fw_uwsgi_client(r, &c->address);
    if (p == FW_PARSE_DONE && cs->cfg.budgets != NULL)
        fw_budget_read(cs->cfg.budgets, r);
    return p;
}

/* A request that no memo knows. */
static enum fw_parse parse_head(fw_conns *cs, fw_conn *c, char *data, size_t n)
{
    if (fw_unlikely(c->listener->uwsgi))
        return parse_packet(cs, c, data, n);
    const enum fw_parse p = fw_request_parse(c->req, data, n);
    if (p != FW_PARSE_DONE)
        return p;
    if (fw_unlikely((c->req->names & cs->cfg.forwarded) != 0) && !read_forwarded(cs, c))
        return FW_PARSE_REFUSED;
    if (c->served != 0 && cs->cfg.memo)
        c->memo_hint = (uint8_t)fw_memo_note(&cs->memos, c->req, c->origin);
    return p;
}



enum fw_input fw_input_parse(fw_conns *cs, fw_conn *c)
{
    if (c->req != NULL && c->req->head_len != 0)
        return parse_body(cs, c);
    fw_buffer *b = c->in;
    if (b == NULL || b->pos == b->len)
        return FW_INPUT_EMPTY;
    if (fw_unlikely(c->proxy != FW_PROXY_NOT_DUE)) {
        const enum fw_input what = parse_proxy_header(cs, c);
        if (what != FW_INPUT_COMPLETE)
            return what;
    }
    const uint32_t from = b->pos;
    enum fw_parse p = FW_PARSE_MORE;
    if (c->req == NULL) {
        if ((c->req = request_take(cs)) == NULL)
            return FW_INPUT_EMPTY; /* no memory: conn.c sees that bytes are left and closes */
        p = recall(cs, c, b->data + from, b->len - from);
    }
    if (p == FW_PARSE_MORE) {
        p = parse_head(cs, c, b->data + from, b->len - from);
        if (p == FW_PARSE_MORE)
            return FW_INPUT_HEAD;
        if (p == FW_PARSE_REFUSED)
            return FW_INPUT_REFUSED;
    }
    b->pos = from + c->req->head_len;
    return parse_body(cs, c);
}

/* ---- from another worker ----------------------------------------------------------------------------------------- */

/* The body as it was: in memory, or in a file that is whole. */
static int restore_body(fw_request *r, fw_parcel *p)
{
    fw_body *b = &r->body;
    if (r->framing == FW_FRAMING_LENGTH && p->note.body != r->length)
        return -EPROTO;
    r->whole = true;
    if (!p->note.file)
        return p->note.memory != 0 ? fw_body_append(b, p->data + p->note.head, p->note.memory) : FW_OK;
    fw_body_adopt(b, p->file, p->note.body);
    p->file = -1;
    return FW_OK;
}

int fw_input_restore(fw_conns *cs, fw_conn *c, fw_parcel *p)
{
    const fw_note *note = &p->note;
    const uint32_t n = note->head + note->rest;
    if ((c->in = buffer_new(n > SMALLEST ? n : SMALLEST)) == NULL || (c->req = request_take(cs)) == NULL)
        return -ENOMEM;
    memcpy(c->in->data, p->data, note->head);
    memcpy(c->in->data + note->head, p->data + note->head + note->memory, note->rest);
    c->in->len = n;
    c->in->pos = note->head;
    fw_request *r = c->req;
    switch (fw_request_parse(r, c->in->data, note->head)) {
    case FW_PARSE_REFUSED: return FW_OK; /* by other settings than the sender's */
    case FW_PARSE_MORE: return -EPROTO;
    default: break;
    }
    if (fw_unlikely((r->names & cs->cfg.forwarded) != 0) && !read_forwarded(cs, c))
        return FW_OK;
    r->expects = false; /* its body is here */
    if (r->head_len != note->head || (r->framing == FW_FRAMING_NONE && note->body != 0))
        return -EPROTO;
    return r->framing == FW_FRAMING_NONE ? FW_OK : restore_body(r, p);
}

/* ---- receiving ------------------------------------------------------------------------------------------------- */

/* What has come up to now is a part of a PROXY header, or all of it: it is looked at first, so that no byte behind it is
 * taken, for those are TLS's. 1: the header is complete. FW_RETRY: it is not; FW_TLS_PLAIN: it is refused; -errno. */
static ssize_t take_header_bytes(fw_conns *cs, fw_conn *c, fw_buffer *b, size_t n)
{
    fw_proxy_header h;
    const size_t before = b->len;
    const enum fw_parse p = fw_proxy_header_read(b->data, before + n, (enum fw_proxy_protocol)cs->cfg.proxy_protocol, &h);
    if (p == FW_PARSE_REFUSED) {
        b->len += (uint32_t)n; /* for the log */
        return refuse_bytes(cs, c, b->data, h.status, h.why) ? FW_TLS_PLAIN : -ENOMEM;
    }
    const size_t taken = p == FW_PARSE_MORE ? n : h.len - before;
    if (recv(c->fd, b->data + before, taken, 0) != (ssize_t)taken)
        return -ECONNRESET;
    b->len += (uint32_t)taken;
    cs->work += taken;
    cs->stats.bytes_in += taken;
    if (p == FW_PARSE_MORE)
        return FW_RETRY;
    take_proxy_header(cs, c, &h);
    c->proxy = FW_PROXY_NOT_DUE;
    b->pos = b->len = 0;
    return 1;
}

/* On a TLS listener a PROXY header comes before the handshake, and in plain bytes. > 0: it has been read; else the result of
 * fw_input_receive. */
static FW_NOINLINE ssize_t receive_proxy_header(fw_conns *cs, fw_conn *c)
{
    for (;;) {
        const int rc = make_room(cs, c);
        if (rc != FW_OK)
            return rc;
        fw_buffer *b = c->in;
        const ssize_t n = recv(c->fd, b->data + b->len, b->cap - b->len, MSG_PEEK);
        if (n == 0)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            c->input = false;
            return errno == EAGAIN || errno == EWOULDBLOCK ? FW_RETRY : -errno;
        }
        const ssize_t what = take_header_bytes(cs, c, b, (size_t)n);
        if (what != FW_RETRY)
            return what;
    }
}

/* A client that does not speak TLS has begun: says of what it sends. */
static void refuse_plain(fw_conns *cs, fw_conn *c)
{
    char first[16];
    const ssize_t n = recv(c->fd, first, sizeof first, MSG_PEEK);
    if (n <= 0 || fw_proxy_header_begins(first, (size_t)n) != FW_PARSE_DONE)
        refuse_bytes(cs, c, NULL, 400, "this port speaks TLS: ask by https");
    else if (c->proxy == FW_PROXY_FORBIDDEN)
        refuse_bytes(cs, c, NULL, 403, NOT_FROM_THERE);
    else
        refuse_bytes(cs, c, NULL, 400, fw_check_proxy_header(&cs->cfg));
}

/* Events tell of bytes in the socket. Those that have been received and not been read yet are noted in c->input. */
static FW_NOINLINE ssize_t receive_tls(fw_conns *cs, fw_conn *c, char *to, size_t room)
{
    const uint64_t before = c->tls->received;
    const ssize_t n = fw_tls_receive(c->tls, to, room);
    if (fw_unlikely(n == FW_TLS_PLAIN))
        refuse_plain(cs, c);
    cs->work += c->tls->received - before;
    if (n == 0)
        c->eof = true;
    else if (n == FW_RETRY || n > 0) /* an end that has been told of is still to be read, and no other event will come */
        c->input = fw_tls_has_more(c->tls, n) || (c->eof && !c->tls->wants_write);
    if (n > 0)
        cs->stats.bytes_in += (uint64_t)n;
    return n;
}

static ssize_t receive(fw_conns *cs, fw_conn *c, char *to, size_t room)
{
    if (fw_unlikely(c->tls != NULL))
        return receive_tls(cs, c, to, room);
    for (;;) {
        ssize_t n = recv(c->fd, to, room, 0);
        if (fw_likely(n > 0)) {
            cs->stats.bytes_in += (uint64_t)n;
            cs->work += (uint64_t)n;
            if ((size_t)n < room)
                c->input = c->eof; /* a short read empties the socket; the next edge will tell */
            return n;
        }
        if (n == 0) {
            c->eof = true;
            return 0;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            c->input = false;
            return FW_RETRY;
        }
        if (errno != EINTR)
            return -errno;
    }
}

/* Straight into the body's own memory: never past its end. */
static ssize_t receive_body(fw_conns *cs, fw_conn *c)
{
    fw_request *r = c->req;
    size_t room;
    char *to = fw_body_room(&r->body, &room, &cs->cfg);
    if (to == NULL)
        return -ENOMEM;
    if (r->length - r->body.len < room)
        room = (size_t)(r->length - r->body.len);
    ssize_t n = receive(cs, c, to, room);
    if (n > 0)
        fw_body_grew(&r->body, (size_t)n);
    return n;
}

/* Bytes that lie behind the body at hand: kept behind its head for the next request. */
static int keep_behind(fw_conns *cs, fw_conn *c, const char *data, uint32_t n)
{
    if (c->in->cap - c->in->len < n) {
        int rc = move_input(cs, c, c->in->len - keep_from(c) + n);
        if (rc != FW_OK)
            return rc;
    }
    memcpy(c->in->data + c->in->len, data, n);
    c->in->len += n;
    return FW_OK;
}

/* Into the loop's receive buffer, and decoded from there into the body. */
static ssize_t receive_chunks(fw_conns *cs, fw_conn *c)
{
    fw_buffer *via = buffer_take(cs);
    if (via == NULL)
        return -ENOMEM;
    ssize_t n = receive(cs, c, via->data, via->cap);
    size_t used;
    if (n > 0 && decode(cs, c->req, via->data, (size_t)n, &used) && used < (size_t)n) {
        int rc = keep_behind(cs, c, via->data + used, (uint32_t)((size_t)n - used));
        if (rc != FW_OK)
            n = rc;
    }
    buffer_drop(cs, via);
    return n;
}

ssize_t fw_input_receive(fw_conns *cs, fw_conn *c)
{
    const fw_request *r = c->req;
    if (r != NULL && r->head_len != 0)
        return r->framing == FW_FRAMING_LENGTH ? receive_body(cs, c) : receive_chunks(cs, c);
    if (fw_unlikely(c->proxy == FW_PROXY_DUE) && c->tls != NULL) {
        const ssize_t what = receive_proxy_header(cs, c);
        if (what <= 0)
            return what;
    }
    int rc = make_room(cs, c);
    if (rc != FW_OK)
        return rc;
    fw_buffer *b = c->in;
    ssize_t n = receive(cs, c, b->data + b->len, b->cap - b->len);
    if (n > 0)
        b->len += (uint32_t)n;
    else if (b->len == 0)
        release_input(cs, c);
    return n;
}

ssize_t fw_input_discard(fw_conns *cs, fw_conn *c)
{
    fw_buffer *via = buffer_take(cs);
    if (via == NULL)
        return -ENOMEM;
    ssize_t n = receive(cs, c, via->data, via->cap);
    buffer_drop(cs, via);
    return n;
}
