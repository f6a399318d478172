/* loop_fixture.c - the loop, its clients and the stub application. */
#include "loop_fixture.h"
#include "faults.h"
#include "harness.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define RUNS_AT_MOST 200000
#define PATIENCE 4000 /* polls of a client, of one millisecond each */

static void listen_here(loop_fixture *s)
{
    socklen_t len = sizeof s->address;
    s->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(s->listener >= 0 && bind(s->listener, (struct sockaddr *)&s->address, len) == 0);
    CHECK(listen(s->listener, 128) == 0);
    CHECK(getsockname(s->listener, (struct sockaddr *)&s->address, &len) == 0);
}

int loop_fixture_try_open(loop_fixture *s, const fw_config *cfg)
{
    *s = (loop_fixture){.cfg = *cfg, .app = loop_fixture_answer, .listener = -1};
    s->local.handle.kind = FW_HANDLE_LISTENER;
    s->local.fd = -1;
    int rc = fw_leader_open(&s->leader, parser(), &s->cfg);
    if (rc != FW_OK)
        return rc;
    s->loop = &s->leader->loop;
    if ((s->thread = fw_thread_open(s->leader)) == NULL) {
        fw_leader_close(s->leader);
        return -ENOMEM;
    }
    listen_here(s);
    CHECK_INT(fw_loop_listen(s->loop, s->listener, true), 0);
    return FW_OK;
}

void loop_fixture_open(loop_fixture *s, const fw_config *cfg)
{
    CHECK_INT(loop_fixture_try_open(s, cfg), FW_OK);
}

void loop_fixture_standby(loop_fixture *s)
{
    fw_thread_attach(s->thread);
    CHECK_INT(fw_standby_start(s->leader), FW_OK);
}

unsigned loop_fixture_release(loop_fixture *s)
{
    unsigned n = 0;
    for (int *owner; (owner = fw_thread_to_release(s->thread)) != NULL; n++)
        --*owner;
    return n;
}

/* As the worker does with the environ that it has built, or finds. */
static void remember(loop_fixture *s, fw_request *r)
{
    if (r->memo_use == FW_MEMO_FILL) {
        CHECK(fw_memo_user(r) == NULL);
        fw_memo_fill(r, &s->memos);
        s->memos++;
    } else if (r->memo_use != FW_MEMO_NONE) {
        CHECK(fw_memo_user(r) == &s->memos && r->memo->pins > 0);
        s->recalled++;
    }
}

static void give(loop_fixture *s, fw_conn *c)
{
    CHECK_INT(c->state, FW_STATE_BUSY);
    if (c->turn == FW_TURN_REQUEST) {
        s->requests++;
        remember(s, c->req);
        if (c->peer == NULL) {
            c->peer = &s->peers;
            s->peers++;
        }
    } else if (c->turn == FW_TURN_RESUME) {
        s->resumed++;
    } else {
        s->gone++;
    }
    if (c->turn == FW_TURN_GONE || c->broken)
        loop_fixture_finish(s, c, false, true);
    else
        s->app(s, c);
}

void loop_fixture_abandon(loop_fixture *s)
{
    fw_loop_abandon(s->loop);
    for (fw_conn *c; (c = fw_conn_pull(&s->loop->conns, &s->thread->owner, true)) != NULL;) {
        s->gone += c->turn == FW_TURN_GONE;
        fw_conn_finish(&s->loop->conns, c, false, true, false);
    }
}

void loop_fixture_close(loop_fixture *s)
{
    fw_conns *cs = &s->loop->conns;
    fw_standby_stop(s->leader);
    loop_fixture_abandon(s);
    CHECK_INT(cs->stats.connections, 0);
    loop_fixture_release(s);
    fw_thread_clear_up(s->thread);
    loop_fixture_release(s);
    CHECK_INT(s->memos, 0);
    CHECK_INT(s->peers, 0);
    fw_thread_close_all(s->leader);
    fw_leader_close(s->leader);
    close(s->listener);
}

int loop_fixture_next(loop_fixture *s, fw_conn **c)
{
    *c = NULL;
    return fw_thread_next(s->thread, NULL, false, false, false, c);
}

void loop_fixture_finish(loop_fixture *s, fw_conn *c, bool keep, bool cut)
{
    fw_thread_finish(s->thread, c, keep, cut);
}

int loop_fixture_run(loop_fixture *s)
{
    for (int i = 0; i < RUNS_AT_MOST; i++) {
        fw_conn *c;
        s->rc = loop_fixture_next(s, &c);
        const unsigned released = loop_fixture_release(s);
        if (s->rc == FW_NEXT_TURN)
            give(s, c);
        else if (s->rc != FW_NEXT_WAKE || released == 0) /* else it may have returned for that */
            return s->rc;
    }
    FAIL("the loop does not come to rest");
}

int loop_fixture_client(loop_fixture *s)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&s->address, sizeof s->address) == 0);
    return fd;
}

int loop_fixture_pair(loop_fixture *s, bool narrow, fw_conn **conn)
{
    int ends[2];
    pair_open(ends, narrow);
    fw_conn *c = fw_conn_open(&s->loop->conns, ends[0], &s->local, NULL, 0);
    CHECK(c != NULL);
    if (conn != NULL)
        *conn = c;
    fw_conn_event(&s->loop->conns, c, FW_EVENT_IN);
    return ends[1];
}

/* ---- the client's side ----------------------------------------------------------------------------------------- */

static size_t find(const char *bytes, size_t from, size_t n, const char *what)
{
    const char *at = memmem(bytes + from, n - from, what, strlen(what));
    return at != NULL ? (size_t)(at - bytes) : SIZE_MAX;
}

unsigned responses_in(const char *bytes, size_t n)
{
    unsigned count = 0;
    size_t at = 0;
    for (;;) {
        const size_t head = find(bytes, at, n, "\r\n\r\n");
        if (head == SIZE_MAX)
            return count;
        const size_t field = find(bytes, at, head, "Content-Length: ");
        const size_t body = field != SIZE_MAX ? strtoul(bytes + field + 16, NULL, 10) : 0;
        if (head + 4 + body > n)
            return count;
        at = head + 4 + body;
        count++;
    }
}

size_t loop_fixture_hear(loop_fixture *s, int client, char *to, size_t room, unsigned responses, bool *end)
{
    size_t got = 0;
    bool ended = false;
    for (int turn = 0; turn < PATIENCE; turn++) {
        loop_fixture_run(s);
        ssize_t n;
        while ((n = hear(client, to + got, room - 1 - got)) > 0)
            got += (size_t)n;
        ended = n != -EAGAIN;
        s->reset = n < 0 && ended;
        to[got] = '\0';
        if (ended || got == room - 1 || (responses > 0 && responses_in(to, got) >= responses))
            break;
        struct pollfd p = {.fd = client, .events = POLLIN};
        if (poll(&p, 1, responses > 0 ? 1 : 0) == 0 && responses == 0)
            break;
    }
    if (end != NULL)
        *end = ended;
    return got;
}

/* ---- the stub application -------------------------------------------------------------------------------------- */

bool loop_fixture_head(loop_fixture *s, fw_conn *c, size_t n)
{
    char head[128];
    const int len = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    return fw_outq_copy(&c->out, &s->thread->cache, head, (size_t)len) == FW_OK;
}

void loop_fixture_answer(loop_fixture *s, fw_conn *c)
{
    fw_request *r = c->req;
    char body[512], bite[4096];
    uint64_t total = 0;
    uint32_t sum = 0;
    ssize_t n;
    while ((n = fw_body_read(&r->body, bite, sizeof bite)) > 0) {
        total += (uint64_t)n;
        for (ssize_t i = 0; i < n; i++)
            sum = sum * 31 + (uint8_t)bite[i];
    }
    const int len =
        n < 0 ? 0
              : snprintf(body, sizeof body, "%.*s %.*s %llu %08x %u+%u %llx 1.%d %d\n", (int)r->method.len,
                         fw_request_at(r, r->method), r->target.len < 200 ? (int)r->target.len : 200,
                         fw_request_at(r, r->target), (unsigned long long)total, sum, r->path.len, r->query.len,
                         (unsigned long long)r->names, r->minor, r->keep_alive);
    char head[128];
    const int head_len = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len);
    fw_outq_mark mark = fw_outq_here(&c->out);
    if (n < 0 || fw_outq_copy(&c->out, &s->thread->cache, head, (size_t)head_len) != FW_OK ||
        fw_outq_copy(&c->out, &s->thread->cache, body, (size_t)len) != FW_OK) {
        fw_outq_rollback(&c->out, &s->thread->cache, mark);
        loop_fixture_finish(s, c, false, true); /* as when a worker has no memory for its response */
        return;
    }
    loop_fixture_finish(s, c, r->keep_alive && !s->loop->conns.stopping, false);
}
