/* worker.c - the stub worker. */
#include "worker.h"
#include "client.h"
#include "threads/leader.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCKS 16
#define LARGEST 40000           /* bytes of a block */
#define FILE_BYTES (700 * 1024) /* of the file that is sent */

static char letters[LARGEST + LETTERS];
static int file = -1;

void worker_prepare(void)
{
    if (file >= 0)
        return;
    signal(SIGPIPE, SIG_IGN); /* as in an interpreter: sendfile cannot be told not to raise it */
    pattern(letters, sizeof letters);
    file = memfd_create("letters", MFD_CLOEXEC);
    MUST(file >= 0);
    char *all = malloc(FILE_BYTES);
    MUST(all != NULL);
    pattern(all, FILE_BYTES);
    MUST(pwrite(file, all, FILE_BYTES, 0) == FILE_BYTES); /* write may be made to fail */
    free(all);
}

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

/* Not yet out; NULL when there are no more of them. */
static token *token_new(worker *w, enum token_kind kind)
{
    if (w->used == TOKENS)
        return NULL;
    token *t = &w->tokens[w->used++];
    *t = (token){.kind = kind};
    return t;
}

static void *hand_in(worker *w, token *t)
{
    MUST(!t->out);
    t->out = true;
    w->out++;
    return t;
}

static token *take_back(worker *w, void *p, enum token_kind kind)
{
    token *t = p;
    MUST(t >= w->tokens && t < w->tokens + w->used);
    MUST(t->out && t->kind == kind);
    t->out = false;
    w->out--;
    return t;
}

static unsigned release_spent(worker *w)
{
    unsigned n = 0;
    for (token *t; (t = fw_thread_to_release(w->thread)) != NULL; n++) {
        MUST(t->kind != TOKEN_RESPONSE);
        take_back(w, t, t->kind);
        free(t->memory);
        t->memory = NULL;
    }
    return n;
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

static void read_body(worker *w, fw_request *r)
{
    char bite[3000];
    unsigned how = tape_byte(w->script);
    MUST(r->framing != FW_FRAMING_LENGTH || r->body.len == r->length);
    MUST(r->cfg->limit_body == 0 || r->body.len <= r->cfg->limit_body);
    MUST(r->body.fd >= 0 || r->body.len <= r->cfg->body_memory || r->body.own == NULL);
    if (how & 1)
        return; /* not interested */
    while (fw_body_left(&r->body) > 0) {
        const size_t want = 1 + how * 11 % sizeof bite;
        ssize_t n = (how & 2) != 0 ? fw_body_line(&r->body, want) : (ssize_t)want;
        if (n > 0)
            n = fw_body_read(&r->body, bite, (size_t)n < sizeof bite ? (size_t)n : sizeof bite);
        if (n <= 0) {
            MUST(n < 0); /* a call has been made to fail */
            return;
        }
        how = (how + 7) & 0xfe;
    }
}

/* A head that was recalled is what the parser would have made of it. */
static void check_recall(const worker *w, const fw_request *r)
{
    if (r->memo_use != FW_MEMO_FULL && r->memo_use != FW_MEMO_BLOCK)
        return;
    const token *built = fw_memo_user(r);
    MUST(built->out && built->kind == TOKEN_MEMO);
    fw_request *fresh = fw_request_open(w->loop->conns.api, w->cfg);
    if (fresh == NULL)
        return; /* a call has been made to fail */
    const enum fw_parse p = fw_request_parse(fresh, r->base, r->head_len);
    MUST(p == FW_PARSE_DONE || fresh->status >= 500);
    if (p == FW_PARSE_DONE) {
        MUST(fresh->head_len == r->head_len && fresh->framing == r->framing && fresh->minor == r->minor);
        MUST(fresh->method_id == r->method_id && fresh->keep_alive == r->keep_alive && fresh->names == r->names);
        MUST(fresh->asterisk == r->asterisk && fresh->expects == r->expects);
        MUST(memcmp(&fresh->method, &r->method, sizeof r->method) == 0);
        MUST(memcmp(&fresh->target, &r->target, sizeof r->target) == 0);
        MUST(memcmp(&fresh->path, &r->path, sizeof r->path) == 0);
        MUST(memcmp(&fresh->query, &r->query, sizeof r->query) == 0);
    }
    fw_request_close(fresh);
}

static void take_request(worker *w, fw_conn *c)
{
    fw_request *r = c->req;
    MUST(r != NULL && r->head_len > 0 && r->status == 0);
    check_recall(w, r);
    token *t;
    if (r->memo_use == FW_MEMO_FILL && (t = token_new(w, TOKEN_MEMO)) != NULL) {
        MUST(fw_memo_user(r) == NULL);
        fw_memo_fill(r, hand_in(w, t));
    }
    if (c->peer == NULL && (t = token_new(w, TOKEN_PEER)) != NULL)
        c->peer = hand_in(w, t);
    if (r->framing != FW_FRAMING_NONE)
        read_body(w, r);
}

/* ---- responses ------------------------------------------------------------------------------------------------- */

static void finish(worker *w, fw_conn *c, bool keep, bool cut)
{
    w->held = c;
    w->keep = keep;
    w->cut = cut;
    w->cuts += cut;
}

/* Which request the response answers, and whether it is the last one. */
static void describe(const fw_conn *c, const token *t, char *to, size_t room)
{
    const fw_request *r = c->req;
    snprintf(to, room, "X-Request: %.*s\r\n%s", (int)r->target.len, fw_request_at(r, r->target),
             t->closes ? "Connection: close\r\n" : "");
}

static bool put_head(worker *w, fw_conn *c, const token *t)
{
    token *peer = c->peer;
    char head[256], more[128] = "";
    if (peer == NULL)
        return false;
    if (w->strict)
        describe(c, t, more, sizeof more);
    const int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nX-Seq: %u\r\n%sContent-Length: %llu\r\n\r\n", peer->seq,
                           more, (unsigned long long)(t->blocks * t->block + t->cut));
    if (fw_outq_copy(&c->out, &w->thread->cache, head, (size_t)n) != FW_OK)
        return false;
    peer->seq++;
    return true;
}

static bool put_ref(worker *w, fw_conn *c, uint64_t at, size_t n)
{
    token *t = token_new(w, TOKEN_OWNER);
    char *memory = t != NULL ? malloc(n) : NULL;
    if (memory == NULL)
        return false;
    memcpy(memory, letters + at % LETTERS, n);
    if (fw_outq_ref(&c->out, &w->thread->cache, memory, n, t) != FW_OK) {
        free(memory);
        return false;
    }
    t->memory = memory;
    hand_in(w, t);
    return true;
}

static bool put_file(worker *w, fw_conn *c, uint64_t at, size_t n)
{
    token *t = token_new(w, TOKEN_OWNER);
    if (t == NULL || fw_outq_file(&c->out, &w->thread->cache, file, (off_t)(at % LETTERS), n, t) != FW_OK)
        return false;
    hand_in(w, t);
    return true;
}

static bool put_block(worker *w, fw_conn *c, uint64_t at, size_t n)
{
    const unsigned how = tape_byte(w->script);
    if (how & 8) { /* taken back, and put again */
        const fw_outq_mark mark = fw_outq_here(&c->out);
        put_ref(w, c, at, n);
        fw_outq_copy(&c->out, &w->thread->cache, letters, 1 + how);
        fw_outq_rollback(&c->out, &w->thread->cache, mark);
    }
    switch (how & 3) {
    case 0: return fw_outq_copy(&c->out, &w->thread->cache, letters + at % LETTERS, n) == FW_OK;
    case 1: return put_file(w, c, at, n);
    default: return put_ref(w, c, at, n);
    }
}

/* Goes on with a response block by block until it ends or has to wait for the client. */
static void stream(worker *w, fw_conn *c, token *t)
{
    while (t->blocks > 0) {
        t->blocks--;
        if (!put_block(w, c, t->at, t->block)) {
            finish(w, c, false, true);
            return;
        }
        t->at += t->block;
        const int rc = fw_thread_send(w->thread, c);
        if (rc == FW_RETRY && c->out.bytes > w->cfg->high_water) {
            fw_thread_suspend(w->thread, c, hand_in(w, t));
            return;
        }
        if (rc < 0 && rc != FW_RETRY) {
            finish(w, c, false, true);
            return;
        }
    }
    finish(w, c, !t->cut && !t->closes && c->req->keep_alive, t->cut);
}

/* The queue is the owner's alone again, as at the beginning of fw_thread_wait. */
static void end_gathering(fw_thread *t)
{
    atomic_store(&t->gathering, NULL);
    fw_thread_pend(t, false);
}

/* As fw_thread_wait, with nobody else there: the loop is led from here until it would sleep. */
static int wait_for_client(worker *w, fw_conn *c)
{
    fw_leader *l = w->leader;
    int rc = FW_LOOP_ON;
    end_gathering(w->thread);
    fw_leader_lock(l);
    if (!c->broken) {
        fw_lead_give_up(l, w->thread);
        fw_conn_wait(&l->loop.conns, c);
    }
    while (c->state == FW_STATE_SUSPENDED && rc == FW_LOOP_ON) {
        rc = fw_lead_step(l);
        fw_lead_wake_threads(l);
    }
    const bool waits = c->state == FW_STATE_SUSPENDED;
    if (waits)
        fw_conn_take_back(&l->loop.conns, c);
    MUST(c->state == FW_STATE_BUSY);
    fw_leader_unlock(l);
    if (c->broken || rc < 0) /* the loop has failed for good */
        return -EPIPE;
    return waits ? FW_RETRY : FW_OK;
}

/* As write() in the application: waits inside it. */
static void write_out(worker *w, fw_conn *c, token *t)
{
    for (; t->blocks > 0; t->blocks--, t->at += t->block) {
        if (!put_block(w, c, t->at, t->block)) {
            finish(w, c, false, true);
            return;
        }
        int rc = fw_thread_send(w->thread, c);
        if (rc != FW_RETRY || c->out.bytes <= w->cfg->high_water)
            continue; /* the next one tells, too, when the client is gone */
        w->depth++;
        while ((rc = wait_for_client(w, c)) == FW_RETRY && w->meanwhile(w->data))
            ;
        w->depth--;
        if (rc == FW_RETRY && (tape_byte(w->script) & 1) == 0) { /* a signal handler has raised */
            finish(w, c, false, true);
            return;
        }
    }
    finish(w, c, !t->cut && !t->closes && !c->broken && c->req->keep_alive, t->cut || c->broken);
}

static void respond(worker *w, fw_conn *c)
{
    static const size_t SIZES[] = {1, 100, 5000, 20000, LARGEST, 8192, 16384, 300};
    const unsigned how = tape_byte(w->script);
    token *t = token_new(w, TOKEN_RESPONSE);
    if (t == NULL) {
        finish(w, c, false, true);
        return;
    }
    t->blocks = (how >> 2 & 7) == 7 ? BLOCKS : how >> 2 & 7;
    t->block = SIZES[how >> 5];
    /* A response that breaks off has promised more than it sends. */
    t->cut = (how & 3) == 3 && !w->calm;
    if (w->strict)
        t->closes = !c->req->keep_alive || w->loop->conns.stopping || (tape_byte(w->script) & 7) == 7;
    if (!put_head(w, c, t)) {
        finish(w, c, false, true);
        return;
    }
    if (w->strict && c->req->method.len == 4 && memcmp(fw_request_at(c->req, c->req->method), "HEAD", 4) == 0)
        t->blocks = t->cut = 0;
    switch (how & 3) {
    case 0:
        for (; t->blocks > 0; t->blocks--, t->at += t->block)
            if (!put_block(w, c, t->at, t->block)) {
                finish(w, c, false, true);
                return;
            }
        finish(w, c, !t->closes && (w->strict || (tape_byte(w->script) & 1) == 0) && c->req->keep_alive, false);
        return;
    case 1: stream(w, c, t); return;
    case 2: write_out(w, c, t); return;
    default: stream(w, c, t);
    }
}

/* ---- turns ----------------------------------------------------------------------------------------------------- */

static void serve(worker *w, fw_conn *c)
{
    MUST(c->state == FW_STATE_BUSY);
    token *t;
    switch ((enum fw_turn)c->turn) {
    case FW_TURN_REQUEST:
        MUST(c->user == NULL);
        if (c->broken) {
            finish(w, c, false, true);
        } else {
            take_request(w, c);
            respond(w, c);
        }
        return;
    case FW_TURN_RESUME:
        t = take_back(w, c->user, TOKEN_RESPONSE);
        c->user = NULL;
        stream(w, c, t);
        return;
    case FW_TURN_GONE:
        take_back(w, c->user, TOKEN_RESPONSE);
        c->user = NULL;
        finish(w, c, false, true);
        return;
    }
}

void worker_open(worker *w, tape *script, const fw_config *cfg)
{
    w->script = script;
    w->cfg = cfg;
    w->used = w->out = w->depth = w->cuts = 0;
    w->strict = w->calm = false;
    w->held = NULL;
    MUST(fw_leader_open(&w->leader, parser(), cfg) == FW_OK);
    w->loop = &w->leader->loop;
    MUST((w->thread = fw_thread_open(w->leader)) != NULL);
}

int worker_next(worker *w, fw_conn **c)
{
    fw_conn *held = w->held;
    const bool hasty = held != NULL && (tape_byte(w->script) & 1) != 0;
    w->held = NULL;
    int rc = fw_thread_next(w->thread, held, w->keep, w->cut, hasty, c);
    while (release_spent(w) > 0 && rc == FW_NEXT_WAKE) /* it may have returned for that */
        rc = fw_thread_next(w->thread, NULL, false, false, false, c);
    if (rc == FW_RETRY)
        rc = fw_thread_next(w->thread, NULL, false, false, false, c);
    if (rc == FW_NEXT_TURN)
        serve(w, *c);
    return rc;
}

void worker_close(worker *w)
{
    fw_conns *cs = &w->loop->conns;
    if (w->held != NULL)
        fw_thread_finish(w->thread, w->held, false, true);
    fw_loop_abandon(w->loop);
    for (fw_conn *c; (c = fw_conn_pull(cs, &w->thread->owner, true)) != NULL;) {
        if (c->turn != FW_TURN_REQUEST) {
            take_back(w, c->user, TOKEN_RESPONSE);
            c->user = NULL;
        }
        fw_conn_finish(cs, c, false, true, false);
    }
    MUST(cs->stats.connections == 0);
    release_spent(w);
    fw_thread_clear_up(w->thread);
    release_spent(w);
    for (unsigned i = 0; i < w->used; i++)
        if (w->tokens[i].out)
            fprintf(stderr, "token %u, of kind %d, is still out\n", i, w->tokens[i].kind);
    MUST(w->out == 0);
    fw_thread_close_all(w->leader);
    fw_leader_close(w->leader);
}
