/* test_sweep.c - every call that the core makes fails in turn, in every way that it can, through whole request cycles.
 *
 * For each scene, each call and each error: the first such call fails, then the second, and so on until the scene has
 * no such call left.  The connection at hand may be lost; nothing else may: what it received is right as far as it
 * goes, another connection is served, new ones are taken, and no memory, descriptor or owner is left behind.
 *
 * It has more than 500 lines because every scene is swept in the same ways, and a scene is no subject of its own.
 */
#include "observe/access_log.h"
#include "apps.h"
#include "faults.h"
#include "harness.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST "Host: h\r\n"
#define HEALTH "/health"
#define GET "GET /x HTTP/1.1\r\n" HOST "\r\n"
#define CALLS_AT_MOST 3000 /* of one kind in one scene */
#define CALLS_BESIDE 40    /* ... where the standby calls, too, for as long as it runs */

static char got[4 << 20];
static size_t heard; /* by the client at hand, all in all */
static app_state state;

/* ---- what a client may see ------------------------------------------------------------------------------------- */

static bool begins(const char *text, size_t n, const char *with)
{
    const size_t m = strlen(with);
    return memcmp(text, with, n < m ? n : m) == 0;
}

static void check_head(const char *head, size_t n)
{
    static const char *const HEADS[] = {
        "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 400 ", "HTTP/1.1 408 ",
        "HTTP/1.1 500 ",       "HTTP/1.1 503 ",                 "HTTP/1.1 507 ",
    };
    bool known = false;
    for (size_t i = 0; i < COUNT(HEADS); i++)
        known |= begins(head, n, HEADS[i]);
    if (!known)
        FAIL("no response of ours: %.200s", head);
}

static void check_body(const char *body, size_t n, size_t length)
{
    if (length == APP_LARGE)
        CHECK(memcmp(body, app_bytes, n) == 0);
    else
        CHECK(begins(body, n, "GET /") || begins(body, n, "POST /") || begins(body, n, "ok\n"));
    CHECK(n < length || length == APP_LARGE || body[n - 1] == '\n');
}

/* Everything in these bytes is a response of ours; the last one may be broken off. */
static void check_responses(const char *at, const char *end)
{
    while (at < end) {
        check_head(at, (size_t)(end - at));
        const char *blank = memmem(at, (size_t)(end - at), "\r\n\r\n", 4);
        if (blank == NULL)
            return;
        const char *field = memmem(at, (size_t)(blank - at), "Content-Length: ", 16);
        const size_t length = field != NULL ? strtoul(field + 16, NULL, 10) : 0;
        const char *body = blank + 4;
        const size_t have = (size_t)(end - body) < length ? (size_t)(end - body) : length;
        if (at[9] == '2' && length > 0)
            check_body(body, have, length);
        at = body + have;
    }
}

/* ---- scenes: what one client does ------------------------------------------------------------------------------ */

/* Sends and lets the server work; a server that has hung up is no fault here. */
static void tell(loop_fixture *s, int client, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = sendto(client, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
        if (sent < 0 && errno != EAGAIN)
            return;
        loop_fixture_run(s);
        if (sent < 0 && sendto(client, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0) < 0)
            return; /* the server does not read: its next event was made to fail */
        bytes += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t)sent : 0;
    }
}

static void tell_text(loop_fixture *s, int client, const char *text)
{
    tell(s, client, text, strlen(text));
}

static void listen_to(loop_fixture *s, int client)
{
    for (int i = 0; i < 400; i++) {
        const size_t more = loop_fixture_hear(s, client, got + heard, sizeof got - heard, 0, NULL);
        if (more == 0)
            break;
        heard += more;
    }
    check_responses(got, got + heard);
}

/* A client on a pair of sockets; -1 if there was no memory for its connection. */
static int visitor(loop_fixture *s, bool narrow)
{
    int ends[2];
    heard = 0;
    pair_open(ends, narrow);
    fw_conn *c = fw_conn_open(&s->loop->conns, ends[0], &s->local, NULL, 0);
    if (c == NULL) {
        close(ends[0]);
        close(ends[1]);
        return -1;
    }
    fw_conn_event(&s->loop->conns, c, FW_EVENT_IN);
    return ends[1];
}

static void say_and_listen(loop_fixture *s, bool narrow, const char *const *texts, size_t n)
{
    const int client = visitor(s, narrow);
    if (client < 0)
        return;
    for (size_t i = 0; i < n; i++) {
        tell_text(s, client, texts[i]);
        listen_to(s, client);
    }
    close(client);
    loop_fixture_run(s);
}

static void newcomers_over_tcp(loop_fixture *s)
{
    for (int i = 0; i < 2; i++) {
        const int client = loop_fixture_client(s);
        heard = 0;
        tell_text(s, client, GET);
        listen_to(s, client);
        close(client);
        loop_fixture_run(s);
    }
}

static void one_request_after_another(loop_fixture *s)
{
    static const char *const TEXTS[] = {GET, GET, GET, "GET /y HTTP/1.1\r\n" HOST "\r\n"};
    say_and_listen(s, false, TEXTS, COUNT(TEXTS));
}

static void pipelined_requests(loop_fixture *s)
{
    static const char *const TEXTS[] = {
        GET "POST /1 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
            "POST /2 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nT: t\r\n\r\n" GET
            "GET /3 HTTP/1.1\r\nHo",
        "st: h\r\n\r\n" GET "\r\n",
        GET,
    };
    say_and_listen(s, false, TEXTS, COUNT(TEXTS));
}

static void heads_in_pieces(loop_fixture *s)
{
    char long_head[3000], fields[2000];
    size_t n = 0;
    for (int i = 0; i < 60; i++)
        n += (size_t)snprintf(fields + n, sizeof fields - n, "X-%d: value-%d\r\n", i, i);
    snprintf(long_head, sizeof long_head, "T /long HTTP/1.1\r\n" HOST "%s", fields);
    const char *const texts[] = {"GE", long_head, "\r\nGET /next HTTP/1.", "1\r\nHost: h\r\n\r\n"};
    say_and_listen(s, false, texts, COUNT(texts));
}

static void bodies_that_go_to_a_file(loop_fixture *s)
{
    static char body[70000];
    const int client = visitor(s, false);
    if (client < 0)
        return;
    tell_text(s, client, "POST /length HTTP/1.1\r\n" HOST "Content-Length: 70000\r\n\r\n");
    tell(s, client, body, sizeof body);
    listen_to(s, client);
    tell_text(s, client, "POST /chunked HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n11170\r\n");
    tell(s, client, body, sizeof body);
    tell_text(s, client, "\r\n0\r\n\r\n" GET);
    listen_to(s, client);
    close(client);
    loop_fixture_run(s);
}

static void bodies_in_memory(loop_fixture *s)
{
    static const char *const TEXTS[] = {
        "POST /e HTTP/1.1\r\n" HOST "Content-Length: 10\r\nExpect: 100-continue\r\n\r\n",
        "01234",
        "56789",
        "POST /c HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "lo\r\n0\r\nTrailer",
        ": t\r\n\r\n" GET,
    };
    say_and_listen(s, false, TEXTS, COUNT(TEXTS));
}

static void refusals(loop_fixture *s)
{
    static const char *const TEXTS[] = {GET "GET / HTTP/1.1\r\n\r\n", GET};
    say_and_listen(s, false, TEXTS, COUNT(TEXTS));
}

static void slow_requests(loop_fixture *s)
{
    const int client = visitor(s, false);
    if (client < 0)
        return;
    tell_text(s, client, "GET /slow");
    clock_advance(s->cfg.timeouts[FW_CLASS_HEADER]);
    listen_to(s, client);
    clock_advance(s->cfg.timeouts[FW_CLASS_LINGER]);
    loop_fixture_run(s);
    close(client);
    loop_fixture_run(s);
}

static void large_response(loop_fixture *s, loop_fixture_app app)
{
    static const char *const TEXTS[] = {GET GET, GET};
    s->app = app;
    say_and_listen(s, true, TEXTS, COUNT(TEXTS));
    s->app = loop_fixture_answer;
}

static void large_responses(loop_fixture *s)
{
    large_response(s, app_large);
}

static void files(loop_fixture *s)
{
    large_response(s, app_file);
}

static void streams(loop_fixture *s)
{
    large_response(s, app_stream);
}

static void waiting_writes(loop_fixture *s)
{
    loop_fixture_standby(s);
    s->app = app_write;
    const int client = visitor(s, true);
    if (client >= 0) {
        state.turns = 0;
        state.client = client; /* it reads, and forgets what it reads */
        tell_text(s, client, GET);
        loop_fixture_run(s);
        state.client = -1;
        state.turns = 0;
        state.give_up = true;
        tell_text(s, client, GET);
        loop_fixture_run(s);
        state.give_up = false;
        close(client);
        loop_fixture_run(s);
    }
    s->app = loop_fixture_answer;
}

static void a_reader_that_leaves(loop_fixture *s)
{
    for (int i = 0; i < 2; i++) {
        s->app = i == 0 ? app_large : app_stream;
        const int client = visitor(s, true);
        if (client >= 0) {
            tell_text(s, client, GET);
            close(client);
            loop_fixture_run(s);
        }
    }
    s->app = loop_fixture_answer;
}

/* Two ask at once; there is room for one. */
static void a_full_queue(loop_fixture *s)
{
    static const char POST[] = "POST /x HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc";
    int clients[2];
    s->loop->conns.cfg.max_ready = 1;
    s->loop->conns.cfg.overload_refuse = true;
    for (size_t i = 0; i < COUNT(clients); i++)
        if ((clients[i] = visitor(s, false)) >= 0)
            sendto(clients[i], POST, sizeof POST - 1, MSG_NOSIGNAL, NULL, 0);
    loop_fixture_run(s);
    for (size_t i = 0; i < COUNT(clients); i++) {
        if (clients[i] < 0)
            continue;
        heard = 0;
        listen_to(s, clients[i]);
        close(clients[i]);
    }
    loop_fixture_run(s);
    s->loop->conns.cfg.max_ready = 0;
}

static void health_answers(loop_fixture *s)
{
    static const char *const TEXTS[] = {
        "GET " HEALTH " HTTP/1.1\r\n" HOST "\r\n" GET "GET " HEALTH " HTTP/1.1\r\n" HOST "\r\n",
        "HEAD " HEALTH " HTTP/1.0\r\n\r\n",
    };
    say_and_listen(s, false, TEXTS, COUNT(TEXTS));
}

static void log_and_answer(loop_fixture *s, fw_conn *c)
{
    fw_access_log *a = s->loop->conns.cfg.access;
    if (a != NULL) {
        const fw_entry e = {.req = c->req, .client = fw_conn_address(c), .status = 200, .reason = {"OK", 2}};
        fw_access_log_put(a, &e);
    }
    loop_fixture_answer(s, c);
}

static void logged_requests(loop_fixture *s)
{
    static const fw_log_piece PIECES[] = {{.atom = FW_ATOM_LINE}, {.atom = FW_ATOM_FIELD, .len = 4, .text = "host"}};
    static const char *const TEXTS[] = {
        GET, GET, GET, "POST /" HOST, "GET /y HTTP/1.1\r\n" HOST "\r\n", "GET / HTTP/1.1\r\n\r\n"};
    fw_access_log *a = NULL;
    const int fd = memfd_create("log", MFD_CLOEXEC);
    if (fw_access_log_open(&a, fd, PIECES, COUNT(PIECES), false, (fw_text){NULL, 0}) == FW_OK) {
        s->loop->conns.cfg.access = a;
        s->app = log_and_answer;
        say_and_listen(s, false, TEXTS, COUNT(TEXTS));
        fw_batch_flush(&a->batch);
        s->app = loop_fixture_answer;
        s->loop->conns.cfg.access = NULL;
        fw_access_log_close(a);
    }
    close(fd);
}

/* Responses wait for each other while there is another request to run. */
static void held_responses(loop_fixture *s)
{
    int clients[4], rc;
    fw_conn *c, *done = NULL;
    bool cut = false;
    for (size_t i = 0; i < COUNT(clients); i++)
        if ((clients[i] = visitor(s, false)) >= 0)
            sendto(clients[i], GET, strlen(GET), MSG_NOSIGNAL, NULL, 0);
    atomic_store(&s->loop->conns.held_most, FW_HELD);
    while ((rc = fw_thread_next(s->thread, done, !cut, cut, true, &c)) == FW_NEXT_TURN) {
        done = c;
        cut = !loop_fixture_head(s, c, 0);
    }
    if (rc == FW_RETRY)
        CHECK_INT(s->loop->conns.nheld, 0);
    loop_fixture_run(s);
    atomic_store(&s->loop->conns.held_most, 0);
    for (size_t i = 0; i < COUNT(clients); i++) {
        if (clients[i] < 0)
            continue;
        heard = 0;
        listen_to(s, clients[i]);
        close(clients[i]);
    }
    loop_fixture_run(s);
}

/* ---- the sweep ------------------------------------------------------------------------------------------------- */

static const struct {
    enum fault fault;
    int error; /* negative: a short call of that many bytes */
} WAYS[] = {
    {FAULT_MEMORY, ENOMEM},      {FAULT_RECV, EINTR},          {FAULT_RECV, EAGAIN},      {FAULT_RECV, ECONNRESET},
    {FAULT_RECV, ENOMEM},        {FAULT_RECV, -1},             {FAULT_SEND, EINTR},       {FAULT_SEND, EAGAIN},
    {FAULT_SEND, EPIPE},         {FAULT_SEND, ECONNRESET},     {FAULT_SEND, -1},          {FAULT_SENDMSG, EINTR},
    {FAULT_SENDMSG, EAGAIN},     {FAULT_SENDMSG, EPIPE},       {FAULT_SENDMSG, -1},       {FAULT_SENDFILE, EINTR},
    {FAULT_SENDFILE, EAGAIN},    {FAULT_SENDFILE, EINVAL},     {FAULT_SENDFILE, EIO},     {FAULT_SENDFILE, EPIPE},
    {FAULT_SENDFILE, -1},        {FAULT_ACCEPT, EINTR},        {FAULT_ACCEPT, EAGAIN},    {FAULT_ACCEPT, EMFILE},
    {FAULT_ACCEPT, ENFILE},      {FAULT_ACCEPT, ECONNABORTED}, {FAULT_ACCEPT, ENOMEM},    {FAULT_ACCEPT, EPERM},
    {FAULT_SHUTDOWN, ENOTCONN},  {FAULT_SETSOCKOPT, EINVAL},   {FAULT_EPOLL_CTL, ENOMEM}, {FAULT_EPOLL_CTL, ENOSPC},
    {FAULT_EPOLL_WAIT, EINTR},   {FAULT_READ, EAGAIN},         {FAULT_WRITE, EINTR},      {FAULT_WRITE, ENOSPC},
    {FAULT_WRITE, EIO},          {FAULT_WRITE, -1},            {FAULT_PREAD, EINTR},      {FAULT_PREAD, EIO},
    {FAULT_PREAD, -1},           {FAULT_OPEN, EMFILE},         {FAULT_OPEN, ENOSPC},      {FAULT_OPEN, EOPNOTSUPP},
};

/* The other one, and a newcomer, are served as if nothing had been. */
static void check_others_live_on(loop_fixture *s, int other)
{
    faults_clear();
    clock_advance(1000); /* a pause in accepting is over */
    loop_fixture_run(s);
    loop_fixture_run(s);
    const int fresh = loop_fixture_client(s);
    const int both[] = {other, fresh};
    for (size_t i = 0; i < COUNT(both); i++) {
        SAY(both[i], GET);
        const size_t n = loop_fixture_hear(s, both[i], got, sizeof got, 1, NULL);
        CHECK_INT(responses_in(got, n), 1);
        CHECK(strstr(got, "GET /x 0 ") != NULL);
    }
    close(fresh);
}

/* One run of a scene; true if it had a call number `k` that could fail, and more may follow. */
static bool once(void (*scene)(loop_fixture *), enum fault fault, unsigned k, unsigned times, int error)
{
    fw_config cfg = defaults();
    cfg.body_memory = 1000;
    cfg.health = HEALTH;
    cfg.high_water = 2 * APP_BLOCK;
    memset(cfg.timeouts, 0, sizeof cfg.timeouts);
    cfg.timeouts[FW_CLASS_HEADER] = cfg.timeouts[FW_CLASS_LINGER] = 60000;
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    s.data = &state;
    const int other = loop_fixture_client(&s);
    SAY(other, GET);
    CHECK(loop_fixture_hear(&s, other, got, sizeof got, 1, NULL) > 0);
    faults_clear();
    if (error < 0)
        fault_short(fault, k, times, (size_t)-error);
    else
        fault_fail(fault, k, times, error);
    scene(&s);
    const bool more = fault_hits(fault) > 0;
    check_others_live_on(&s, other);
    close(other);
    loop_fixture_close(&s);
    CHECK_INT(state.owned, 0);
    return more;
}

static void sweep(void (*scene)(loop_fixture *), unsigned times)
{
    const unsigned most = scene == waiting_writes ? CALLS_BESIDE : CALLS_AT_MOST;
    state.client = -1;
    state.file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    pattern(app_bytes, sizeof app_bytes);
    CHECK(pwrite(state.file, app_bytes, sizeof app_bytes, 0) == (ssize_t)sizeof app_bytes);
    const int open_before = descriptors();
    const long blocks = blocks_in_use();
    for (size_t i = 0; i < COUNT(WAYS); i++) {
        for (unsigned k = 0; k < most; k++) {
            trying("%s number %u and on, %u of them: %s", fault_name(WAYS[i].fault), k, times,
                   WAYS[i].error < 0 ? "short" : strerror(WAYS[i].error));
            const bool more = once(scene, WAYS[i].fault, k, times, WAYS[i].error);
            CHECK_INT(blocks_in_use(), blocks);
            CHECK_INT(descriptors(), open_before);
            if (!more)
                break;
        }
    }
    close(state.file);
}

#define SCENE(name)                                                                                                    \
    static void any_call_may_fail_with_##name(void)                                                                    \
    {                                                                                                                  \
        sweep(name, 1);                                                                                                \
    }                                                                                                                  \
    static void calls_may_go_on_failing_with_##name(void)                                                              \
    {                                                                                                                  \
        sweep(name, 7);                                                                                                \
    }

SCENE(newcomers_over_tcp)
SCENE(one_request_after_another)
SCENE(pipelined_requests)
SCENE(heads_in_pieces)
SCENE(bodies_that_go_to_a_file)
SCENE(bodies_in_memory)
SCENE(refusals)
SCENE(slow_requests)
SCENE(large_responses)
SCENE(files)
SCENE(streams)
SCENE(waiting_writes)
SCENE(a_reader_that_leaves)
SCENE(a_full_queue)
SCENE(health_answers)
SCENE(logged_requests)
SCENE(held_responses)

#define BOTH(name) T(any_call_may_fail_with_##name), T(calls_may_go_on_failing_with_##name)

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        BOTH(newcomers_over_tcp),
        BOTH(one_request_after_another),
        BOTH(pipelined_requests),
        BOTH(heads_in_pieces),
        BOTH(bodies_that_go_to_a_file),
        BOTH(bodies_in_memory),
        BOTH(refusals),
        BOTH(slow_requests),
        BOTH(large_responses),
        BOTH(files),
        BOTH(streams),
        BOTH(waiting_writes),
        BOTH(a_reader_that_leaves),
        BOTH(a_full_queue),
        BOTH(health_answers),
        BOTH(logged_requests),
        BOTH(held_responses),
    };
    return RUN_TESTS(TESTS);
}
