/* fuzz_turns.c - who is answered, by whom and in which order: the input is a script of events.
 *
 * Up to four clients (asker.c) send requests that are good, whole or in pieces. The loop answers for its health, refuses
 * what its queue does not hold and requests that arrive too slowly; the stub worker (worker.c) answers the others. Its
 * complete responses may be held and sent together, and pipelined ones share a send; the script does what the standby
 * does about it. The first three bytes choose the settings. Through all of it, besides what fuzz_conn.c checks:
 *
 * - a client receives the responses to its requests, each once and in order, from whom it asked, each with the body that
 *   its head and its request call for; without failing calls it receives all of them;
 * - only whoever may be refused is: the queue is full, the time of grace is over, the server stops;
 * - a request that arrives too slowly is refused when it is next read from, none waits in a queue that is full;
 * - output that is queued waits for a full socket or is held, and nothing is held while the worker rests.
 */
#include "asker.h"
#include "io/conn.h"
#include "threads/leader.h"
#include "events.h"
#include "faults.h"
#include "worker.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS 4
#define CONNECTIONS 64 /* more than a script can leave behind at once */
#define SCRIPT_MAX 2048
#define TURNS_AT_MOST 20000
#define WAKES_AT_MOST 8 /* in a row, with responses that are held */
#define SPINS 40   /* polls in vain */
#define DRAINS 400 /* rounds in which all that is left is sent, answered and received */

typedef struct seen {
    const fw_conn *c;
    uint32_t since, got;
} seen;

typedef struct world {
    tape script;
    fw_config cfg;
    rules r;
    worker w;
    int rc; /* what the loop said last */
    int unix_listener, tcp_listener;
    bool calm; /* no call fails, no client leaves, nothing breaks off */
    asker clients[CLIENTS];
    seen seen[CONNECTIONS]; /* at the last rest */
    unsigned nseen;
} world;

static world all; /* one at a time; too large for the stack */

static void connect_client(world *s, asker *a, unsigned how)
{
    client_close(&a->c, true);
    const bool tcp = (how & 7) == 7;
    const int fd = events_connect(tcp ? s->tcp_listener : s->unix_listener, tcp, (how & 8) != 0, (how & 16) != 0);
    if (fd >= 0)
        asker_open(a, &s->r, fd, tcp);
}

/* ---- the loop -------------------------------------------------------------------------------------------------- */

/* Responses may break off from now on. */
static void note_cuts(world *s)
{
    s->r.lenient |= s->w.cuts > 0 || s->w.loop->conns.stats.timeouts > 0;
}

/* Read from since the last rest, and slower than allowed. */
static bool is_too_slow(const world *s, const fw_conn *c)
{
    const fw_conns *cs = &s->w.loop->conns;
    const uint32_t elapsed = (uint32_t)cs->now - c->since;
    bool same = false;
    for (unsigned i = 0; i < s->nseen; i++)
        same |= s->seen[i].c == c && s->seen[i].since == c->since && s->seen[i].got == c->got;
    return !same && elapsed > s->cfg.min_rate_grace_ms && (uint64_t)c->got * 1000 < (uint64_t)s->cfg.min_rate * elapsed;
}

/* Between two polls. */
static void check_rest(world *s)
{
    const fw_conns *cs = &s->w.loop->conns;
    uint64_t n = 0;
    unsigned ready = 0;
    MUST(cs->nheld == 0);
    for (const fw_conn *c = cs->all.next; c != &cs->all; c = c->next) {
        n++;
        MUST(c->state != FW_STATE_CLOSED && c->state != FW_STATE_BUSY && !c->held);
        MUST((c->out.head != NULL) == (c->out.bytes != 0));
        ready += c->state == FW_STATE_READY && c->turn == FW_TURN_REQUEST;
        if (c->state == FW_STATE_READY)
            continue;
        MUST(c->polled || c->again);
        MUST(c->out.head == NULL || c->blocked);
        MUST(c->state != FW_STATE_FLUSH || c->out.head != NULL);
        if (s->cfg.min_rate != 0 && (c->state == FW_STATE_HEAD || c->state == FW_STATE_BODY))
            MUST(!is_too_slow(s, c));
    }
    MUST(n == cs->stats.connections);
    MUST(ready == cs->nready);
    MUST(poll_spins() < SPINS);
}

static void remember(world *s)
{
    const fw_conns *cs = &s->w.loop->conns;
    s->nseen = 0;
    for (const fw_conn *c = cs->all.next; c != &cs->all && s->nseen < CONNECTIONS; c = c->next)
        s->seen[s->nseen++] = (seen){c, c->since, c->got};
}

/* At most `turns` of them, or until the worker would rest. */
static void run(world *s, unsigned turns)
{
    fw_conn *c = NULL;
    unsigned woken = 0;
    for (unsigned i = 0; i < turns && s->rc >= 0 && s->rc != FW_NEXT_DONE; i++) {
        MUST(i < TURNS_AT_MOST);
        s->rc = worker_next(&s->w, &c);
        if (s->cfg.overload_refuse && s->cfg.max_ready != 0)
            MUST(s->w.loop->conns.nready <= s->cfg.max_ready);
        if (s->rc == FW_NEXT_WAKE && s->w.loop->conns.nheld != 0) { /* a notice came in between: it does not rest yet */
            MUST(++woken <= WAKES_AT_MOST);
        } else if (s->rc == FW_NEXT_WAKE) {
            check_rest(s);
            break;
        }
    }
    remember(s);
    note_cuts(s);
}

/* What the standby does at a tick, with the worker away. */
static void stand_by(world *s, unsigned how)
{
    fw_leader *l = s->w.leader;
    fw_thread *t = s->w.thread;
    const unsigned most = how & 31;
    fw_leader_lock(l);
    if (how & 32)
        fw_conns_flush_ready(&l->loop.conns);
    atomic_store(&l->loop.conns.held_most, most < FW_HELD ? most : FW_HELD);
    if (l->loop.conns.nheld > most || (how & 64) != 0)
        fw_conns_release(&l->loop.conns, &l->loop.conns.cache, &l->loop.conns.stats.bytes_out);
    if (how & 64)
        MUST(l->loop.conns.nheld == 0);
    fw_leader_unlock(l);
    if (!atomic_load(&t->pending))
        return;
    fw_thread_pend(t, false);
    fw_conn *c = atomic_load(&t->gathering);
    if (c != NULL && fw_conn_send(c, &t->cache, &t->bytes_out) == FW_RETRY) {
        fw_leader_lock(l);
        fw_conn_arm(&l->loop.conns, c);
        fw_leader_unlock(l);
    }
}

/* ---- the script ------------------------------------------------------------------------------------------------ */

enum action {
    ASK, ASK_LATER, SEND_SOME, HEAR, RUN, RUN_SOME, STAND_BY, PASS, CONNECT, SHUT, FAIL_CALL, LEAVE, STOP, MANY, ACTIONS
};

static void act(world *s, unsigned byte)
{
    static const unsigned MS[] = {1, 90, 499, 999, 1001, 1999, 3001, 5001};
    tape *t = &s->script;
    asker *a = &s->clients[byte >> 4 & 3];
    size_t n;
    switch ((enum action)((byte & 15) % ACTIONS)) {
    case ASK: asker_ask(a, tape_byte(t)); asker_send(a, SIZE_MAX); return;
    case ASK_LATER: asker_ask(a, tape_byte(t)); return;
    case SEND_SOME: asker_send(a, 1 + tape_byte(t)); return;
    case HEAR: n = tape_byte(t); asker_hear(a, n == 255 ? SIZE_MAX : n * n + 1); return;
    case RUN_SOME: run(s, 1 + (byte >> 4 & 7)); return;
    case STAND_BY: stand_by(s, tape_byte(t)); return;
    case PASS:
        n = MS[tape_byte(t) & 7];
        clock_advance((unsigned)n);
        s->r.now += n;
        return;
    case CONNECT:
        if (s->calm && a->c.fd >= 0)
            return;
        connect_client(s, a, tape_byte(t));
        return;
    case SHUT:
        if (a->c.fd >= 0 && a->c.queued == 0 && shutdown(a->c.fd, SHUT_WR) == 0)
            a->c.shut = true;
        return;
    case FAIL_CALL:
        if (!s->calm)
            events_fail_call(t);
        return;
    case LEAVE:
        if (!s->calm)
            client_close(&a->c, (byte & 0x40) != 0);
        return;
    case STOP:
        if ((byte & 0xc0) != 0xc0)
            return;
        s->r.stopping = true;
        s->r.lenient |= (tape_byte(t) & 1) != 0;
        fw_loop_stop(s->w.loop, s->r.lenient ? FW_STOP_QUICK : FW_STOP_GRACEFUL);
        return;
    case MANY: /* of all clients at once: the queue fills */
        n = tape_byte(t);
        for (unsigned i = 0; i < CLIENTS; i++)
            for (size_t k = 0; k <= n >> 6; k++) {
                asker_ask(&s->clients[i], (unsigned)n & 15);
                asker_send(&s->clients[i], SIZE_MAX);
            }
        return;
    default: run(s, TURNS_AT_MOST + 1);
    }
}

/* The worker waits inside the application: the others go on.  False: it gives up. */
static bool meanwhile(void *data)
{
    world *s = data;
    const unsigned byte = tape_byte(&s->script);
    if (byte == 0)
        return false;
    const unsigned action = (byte & 15) % ACTIONS;
    if (action != RUN && action != RUN_SOME && action < ACTIONS)
        act(s, byte);
    return true;
}

/* ---- one run --------------------------------------------------------------------------------------------------- */

static fw_config settings(const world *s, unsigned first, unsigned second)
{
    static const uint32_t READY[] = {0, 1, 2, 5}, RATES[] = {0, 100, 1000, 100000};
    fw_config cfg = defaults();
    const uint32_t timeouts[FW_CLASSES] = {[FW_CLASS_HEADER] = 3000, [FW_CLASS_BODY] = 2000,
                                           [FW_CLASS_WRITE] = 4000, [FW_CLASS_KEEPALIVE] = 5000,
                                           [FW_CLASS_LINGER] = 1000, [FW_CLASS_RETIRE] = 500};
    memcpy(cfg.timeouts, timeouts, sizeof timeouts);
    if (s->calm) /* nobody is closed for his silence */
        cfg.timeouts[FW_CLASS_HEADER] = cfg.timeouts[FW_CLASS_BODY] = cfg.timeouts[FW_CLASS_WRITE] =
            cfg.timeouts[FW_CLASS_KEEPALIVE] = 0;
    cfg.graceful_ms = 10000;
    cfg.health = (first & 1) != 0 ? HEALTH : NULL;
    if (first & 16)
        cfg.high_water = 2000;
    if (first & 32)
        cfg.body_memory = 2;
    cfg.memo = (first & 64) == 0;
    cfg.max_ready = READY[second & 3];
    cfg.overload_refuse = (second & 4) != 0;
    cfg.min_rate = RATES[second >> 3 & 3];
    cfg.min_rate_grace_ms = (second & 32) != 0 ? 1000 : 5000;
    return cfg;
}

static void begin(world *s, const uint8_t *choices)
{
    static const unsigned MOST[] = {0, 2, FW_HELD, 1};
    events_listen(&s->unix_listener, &s->tcp_listener);
    faults_clear();
    clock_reset();
    s->calm = (choices[0] & 128) == 0;
    s->cfg = settings(s, choices[0], choices[1]);
    s->r = (rules){.now = 1,
                   .linger = s->cfg.timeouts[FW_CLASS_LINGER],
                   .grace = s->cfg.min_rate != 0 ? &s->cfg.min_rate_grace_ms : NULL,
                   .health = s->cfg.health != NULL,
                   .queue = s->cfg.max_ready != 0 && s->cfg.overload_refuse,
                   .lenient = !s->calm};
    s->rc = FW_NEXT_WAKE;
    s->nseen = 0;
    for (int i = 0; i < CLIENTS; i++)
        s->clients[i].c.fd = -1;
    worker_open(&s->w, &s->script, &s->cfg);
    s->w.strict = true;
    s->w.calm = s->calm;
    s->w.meanwhile = meanwhile;
    s->w.data = s;
    s->w.loop->conns.shares = (choices[0] & 2) != 0;
    atomic_store(&s->w.loop->conns.held_most, MOST[choices[0] >> 2 & 3]);
    MUST(fw_loop_listen(s->w.loop, s->unix_listener, false) == 0);
    MUST(fw_loop_listen(s->w.loop, s->tcp_listener, true) == 1);
    for (unsigned i = 0; i <= (choices[2] & 3u); i++)
        connect_client(s, &s->clients[i], choices[2] >> 3);
}

/* All that has been asked is sent and answered, and all answers are received. */
static void drain(world *s)
{
    for (int i = 0; i < DRAINS; i++) {
        bool more = false;
        for (int k = 0; k < CLIENTS; k++) {
            asker *a = &s->clients[k];
            asker_send(a, SIZE_MAX);
            asker_hear(a, SIZE_MAX);
            more |= a->c.fd >= 0 && !a->c.ended && (a->c.queued > 0 || a->answered < a->asked || a->c.left > 0);
        }
        run(s, TURNS_AT_MOST + 1);
        if (!more)
            break;
    }
    for (int k = 0; k < CLIENTS; k++) {
        asker_hear(&s->clients[k], SIZE_MAX);
        asker_judge_end(&s->clients[k]);
    }
}

static void stop(world *s, enum fw_stop how)
{
    s->r.stopping = true;
    s->r.lenient |= how == FW_STOP_QUICK;
    fw_loop_stop(s->w.loop, how);
    for (int i = 0; i < 14 && s->rc >= 0 && s->rc != FW_NEXT_DONE; i++) {
        run(s, TURNS_AT_MOST + 1);
        if (how == FW_STOP_GRACEFUL)
            clock_advance(1000);
    }
    MUST(s->rc < 0 || s->rc == FW_NEXT_DONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > SCRIPT_MAX)
        return 0;
    world *s = &all;
    s->script = (tape){.at = data + 3, .end = data + size};
    parser();
    events_listen(&s->unix_listener, &s->tcp_listener);
    worker_prepare();
    const long blocks = blocks_in_use();
    const int lowest = fcntl(s->unix_listener, F_DUPFD_CLOEXEC, 0);
    close(lowest);

    begin(s, data);
    while (tape_left(&s->script) > 0)
        act(s, tape_byte(&s->script));
    faults_clear();
    drain(s);
    switch (data[1] >> 6) {
    case 1: stop(s, FW_STOP_GRACEFUL); break;
    case 2: stop(s, FW_STOP_QUICK); break;
    default: s->r.lenient = true; /* the worker leaves in the midst of it */
    }
    worker_close(&s->w);
    for (int i = 0; i < CLIENTS; i++) {
        asker_hear(&s->clients[i], SIZE_MAX);
        client_close(&s->clients[i].c, true);
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
