/* fuzz_conn.c - connections under a script of random events: the input is the script.
 *
 * Up to four clients send, read, shut and reset their connections in pieces of any size; the stub worker (worker.c)
 * answers in every way a worker can; time passes; system calls fail; the loop is stopped.  Through all of it:
 *
 * - no connection makes a move that the table in conn.c does not hold (FW_DEBUG aborts);
 * - a connection that waits is known to the poller and has a deadline, and silence ends every connection;
 * - what a client reads is a well-framed sequence of its responses, each once and in order (client.c);
 * - every owner, peer and suspended response comes back exactly once; no memory and no descriptor stays behind;
 * - the loop never spins.
 */
#include "client.h"
#include "events.h"
#include "faults.h"
#include "io/loop.h"
#include "worker.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS 4
#define SCRIPT_MAX 4096
#define TURNS_AT_MOST 20000
#define SPINS 40 /* polls in vain */

typedef struct world {
    tape script;
    fw_config cfg;
    worker w;
    int rc; /* what the loop said last */
    int unix_listener, tcp_listener;
    client clients[CLIENTS];
    client *flood; /* it sends before each receive of the core */
    unsigned floods;
} world;

static world all; /* one at a time; too large for the stack */

static void connect_client(world *s, client *c, unsigned how)
{
    client_close(c, true);
    const bool tcp = (how & 7) == 7;
    const int fd = events_connect(tcp ? s->tcp_listener : s->unix_listener, tcp, (how & 8) != 0, (how & 16) != 0);
    if (fd >= 0)
        client_open(c, fd, tcp);
}

/* ---- the loop -------------------------------------------------------------------------------------------------- */

/* Of a loop that is not as it should be. */
static void tell(const world *s)
{
    const fw_conns *cs = &s->w.loop->conns;
    for (const fw_conn *c = cs->all.next; c != &cs->all; c = c->next)
        fprintf(stderr, "state %d, turn %d, %zu bytes queued, input %d, again %d, class %d, until %lld of %lld\n", c->state,
                c->turn, c->out.bytes, c->input, c->again, c->deadline.class,
                c->deadline.next != NULL ? (long long)c->deadline.when : -1, (long long)cs->now);
}

/* Between two polls. */
static void check_rest(world *s)
{
    const fw_conns *cs = &s->w.loop->conns;
    uint64_t n = 0;
    for (const fw_conn *c = cs->all.next; c != &cs->all; c = c->next) {
        n++;
        MUST(c->state != FW_STATE_CLOSED && c->state != FW_STATE_BUSY);
        if (c->state == FW_STATE_READY)
            continue; /* a signal came before it could be pulled */
        MUST(c->polled || c->again);
        MUST(c->deadline.next != NULL || cs->deadlines.span[FW_CLASS_HEADER] == 0);
        MUST((c->out.head != NULL) == (c->out.bytes != 0));
    }
    MUST(n == cs->stats.connections);
    MUST(cs->stats.connections <= (uint64_t)cs->cfg.max_connections + (cs->cfg.overload_refuse ? 64 : 0));
    if (poll_spins() >= SPINS)
        tell(s);
    MUST(poll_spins() < SPINS);
}

static void run(world *s)
{
    fw_conn *c = NULL;
    for (int i = 0; s->rc >= 0 && s->rc != FW_NEXT_DONE; i++) {
        MUST(i < TURNS_AT_MOST);
        s->rc = worker_next(&s->w, &c);
        if (s->rc == FW_NEXT_WAKE) {
            check_rest(s);
            return;
        }
    }
}

/* ---- the script ------------------------------------------------------------------------------------------------ */

static const char *const CANNED[] = {
    "GET / HTTP/1.1\r\nHost: cs\r\n\r\n",
    "GET /a%20b?c=d HTTP/1.1\r\nHost: cs\r\nAccept: */*\r\nCookie: a=1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: cs\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HEAD /x HTTP/1.1\r\nHost: cs\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: cs\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: cs\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: cs\r\nContent-Length: 300\r\nExpect: 100-continue\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: cs\r\nContent-Length: 3000000\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: cs\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: cs\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    "fffff;a=b\r\n",
    "3\r\nabc\r\n0\r\nT: v\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: cs\r\nBad Name: 1\r\n\r\n",
    "HEAD / HTTP/1.1\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "\r\n",
    "\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
};

static void flood(void *data)
{
    static const char FILLER[32768];
    world *s = data;
    client *c = s->flood;
    if (c == NULL || c->fd < 0 || c->shut || s->floods == 0)
        return;
    s->floods--;
    ssize_t n = sendto(c->fd, FILLER, sizeof FILLER, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
    (void)n;
}

enum action {
    SEND_RAW, SEND_CANNED, SEND_SOME, HEAR, RUN, CONNECT, SHUT, CLOSE, RESET, PASS, FLOOD, FAIL_CALL, WAKE, STOP, ACTIONS
};

static void act(world *s, unsigned byte)
{
    static const unsigned MS[] = {1, 90, 499, 999, 1001, 1999, 3001, 61000};
    tape *t = &s->script;
    client *c = &s->clients[byte >> 4 & 3];
    size_t n;
    switch ((enum action)((byte & 15) % ACTIONS)) {
    case SEND_RAW: {
        const unsigned most = tape_word(t);
        const char *bytes = tape_bytes(t, most & 0x7fff, &n);
        client_queue(c, bytes, n);
        if ((most & 0x8000) == 0)
            client_send(c, SIZE_MAX);
        return;
    }
    case SEND_CANNED: {
        const unsigned which = tape_byte(t);
        const char *text = CANNED[(which & 0x1f) % COUNT(CANNED)];
        for (unsigned i = 0; i <= which >> 6; i++) /* pipelined */
            client_queue(c, text, strlen(text));
        if (which & 0x20)
            client_send(c, 1 + tape_byte(t));
        else
            client_send(c, SIZE_MAX);
        return;
    }
    case SEND_SOME: client_send(c, 1 + tape_byte(t)); return;
    case HEAR: n = tape_byte(t); client_hear(c, n == 255 ? SIZE_MAX : n * n + 1); return;
    case CONNECT: connect_client(s, c, tape_byte(t)); return;
    case SHUT:
        if (c->fd >= 0 && shutdown(c->fd, SHUT_WR) == 0)
            c->shut = true;
        return;
    case CLOSE: client_close(c, false); return;
    case RESET: client_close(c, true); return;
    case PASS: clock_advance(MS[tape_byte(t) & 7]); return;
    case FLOOD: s->flood = c; s->floods = 1 + (tape_byte(t) & 63); return;
    case FAIL_CALL: events_fail_call(t); return;
    case WAKE: fw_loop_wake(s->w.loop); return;
    case STOP: fw_loop_stop(s->w.loop, (byte & 0x40) != 0 ? FW_STOP_QUICK : FW_STOP_GRACEFUL); return;
    default: run(s);
    }
}

/* The worker waits inside the application: the others go on.  False: it gives up. */
static bool meanwhile(void *data)
{
    world *s = data;
    const unsigned byte = tape_byte(&s->script);
    if (byte == 0)
        return false;
    if ((byte & 15) % ACTIONS != RUN)
        act(s, byte);
    return true;
}

/* ---- one run --------------------------------------------------------------------------------------------------- */

static fw_config limits(unsigned choice)
{
    fw_config cfg = defaults();
    const uint32_t timeouts[FW_CLASSES] = {[FW_CLASS_HEADER] = 3000, [FW_CLASS_BODY] = 2000,
                                           [FW_CLASS_WRITE] = 4000, [FW_CLASS_KEEPALIVE] = 5000,
                                           [FW_CLASS_LINGER] = 1000, [FW_CLASS_RETIRE] = 500};
    memcpy(cfg.timeouts, timeouts, sizeof timeouts);
    cfg.graceful_ms = 10000;
    if (choice & 1)
        cfg.body_memory = 16;
    if (choice & 2)
        cfg.high_water = 2000;
    if (choice & 4) {
        cfg.max_connections = 2;
        cfg.overload_refuse = (choice & 8) != 0;
    }
    cfg.memo = (choice & 16) == 0;
    if (choice & 32) {
        cfg.limit_line = 100;
        cfg.limit_header = 300;
        cfg.limit_body = 400;
    }
    return cfg;
}

/* Nobody says anything more: time alone has to end every connection. */
static void fall_silent(world *s)
{
    run(s); /* takes those who have just connected */
    for (int i = 0; i < 200 && s->w.loop->conns.stats.connections > 0 && s->rc >= 0 && s->rc != FW_NEXT_DONE; i++) {
        clock_advance(1000);
        run(s);
    }
    if (s->rc >= 0 && s->w.loop->conns.stats.connections > 0)
        tell(s);
    MUST(s->rc < 0 || s->w.loop->conns.stats.connections == 0);
}

static void stop(world *s, enum fw_stop how)
{
    fw_loop_stop(s->w.loop, how);
    for (int i = 0; i < 14 && s->rc >= 0 && s->rc != FW_NEXT_DONE; i++) {
        run(s);
        if (how == FW_STOP_GRACEFUL)
            clock_advance(1000);
    }
    MUST(s->rc < 0 || s->rc == FW_NEXT_DONE);
}

static void begin(world *s, unsigned choice)
{
    events_listen(&s->unix_listener, &s->tcp_listener);
    faults_clear();
    clock_reset();
    s->cfg = limits(choice);
    s->rc = FW_NEXT_WAKE;
    s->flood = NULL;
    for (int i = 0; i < CLIENTS; i++)
        s->clients[i].fd = -1;
    worker_open(&s->w, &s->script, &s->cfg);
    s->w.meanwhile = meanwhile;
    s->w.data = s;
    MUST(fw_loop_listen(s->w.loop, s->unix_listener, false) == 0);
    MUST(fw_loop_listen(s->w.loop, s->tcp_listener, true) == 1);
    fault_before(FAULT_RECV, flood, s);
    connect_client(s, &s->clients[0], choice >> 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > SCRIPT_MAX)
        return 0;
    world *s = &all;
    s->script = (tape){.at = data + 2, .end = data + size};
    parser();
    events_listen(&s->unix_listener, &s->tcp_listener);
    worker_prepare();
    const long blocks = blocks_in_use();
    const int lowest = fcntl(s->unix_listener, F_DUPFD_CLOEXEC, 0);
    close(lowest);

    begin(s, data[0]);
    while (tape_left(&s->script) > 0)
        act(s, tape_byte(&s->script));
    for (int i = 0; i < FAULT_COUNT; i++) /* the hook stays */
        fault_fail((enum fault)i, 0, 0, 0);
    switch (data[1] & 3) {
    case 0: fall_silent(s); break;
    case 1: stop(s, FW_STOP_GRACEFUL); break;
    case 2: stop(s, FW_STOP_QUICK); break;
    default: break; /* the worker leaves in the midst of it */
    }
    worker_close(&s->w);
    for (int i = 0; i < CLIENTS; i++) {
        client_hear(&s->clients[i], SIZE_MAX);
        client_close(&s->clients[i], true);
    }
    faults_clear();
    events_empty_backlog(s->unix_listener);
    events_empty_backlog(s->tcp_listener);
    MUST(blocks_in_use() == blocks);
    const int again = fcntl(s->unix_listener, F_DUPFD_CLOEXEC, 0);
    close(again);
    MUST(again == lowest);
    return 0;
}
