/* test_takeover.c - a connection that leaves the loop for its application, and the descriptor's holders. */
#include "faults.h"
#include "harness.h"
#include "loop_fixture.h"

#include "io/takeover.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ASKS "GET /x HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
#define DAY_MS (24 * 3600 * 1000)

static char got[4096];

typedef struct scene {
    loop_fixture s;
    fw_conn *c;
    fw_takeover *held;
    int client;
    int at_start; /* descriptors */
} scene;

static fw_config strict(void)
{
    fw_config cfg = defaults();
    for (int i = 0; i < FW_CLASSES; i++)
        cfg.timeouts[i] = 1000;
    cfg.graceful_ms = 5000;
    return cfg;
}

/* A client whose request a thread has pulled. */
static void asked(scene *a, const char *bytes)
{
    const fw_config cfg = strict();
    fw_conn *c = NULL;
    memset(a, 0, sizeof *a);
    loop_fixture_open(&a->s, &cfg);
    a->at_start = descriptors();
    a->client = loop_fixture_pair(&a->s, false, &a->c);
    SAY(a->client, bytes);
    CHECK_INT(loop_fixture_next(&a->s, &c), FW_NEXT_TURN);
    CHECK(c == a->c);
}

static void taken(scene *a, const char *bytes)
{
    asked(a, bytes);
    CHECK_INT(fw_thread_take_over(a->s.thread, a->c, &a->held), FW_OK);
    CHECK_INT(a->held->fd, a->c->fd);
}

static void over(scene *a)
{
    if (a->client >= 0)
        close(a->client);
    loop_fixture_run(&a->s);
    CHECK_INT(a->s.loop->conns.stats.connections, 0);
    CHECK_INT(descriptors(), a->at_start);
    loop_fixture_close(&a->s);
}

static bool blocks(int fd)
{
    return (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
}

/* ---- what is offered --------------------------------------------------------------------------------------------- */

static void it_is_offered_to_those_who_ask(void)
{
    static const struct {
        const char *fields;
        bool offered;
    } CASES[] = {
        {"Connection: upgrade\r\nUpgrade: x\r\n", true},
        {"Upgrade: x\r\nConnection: close, UPGRADE\r\n", true},
        {"Connection: a\r\nConnection: upgrade\r\nUpgrade: x\r\n", true},
        {"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n", true},
        {"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\nb", false},
        {"Upgrade: x\r\n", false},
        {"Connection: upgrade\r\n", false},
        {"Connection: upgraded\r\nUpgrade: x\r\n", false},
        {"", false},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        scene a;
        char bytes[256];
        trying("%s", CASES[i].fields);
        snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\nHost: h\r\n%s%s", CASES[i].fields,
                 strstr(CASES[i].fields, "\r\n\r\n") == NULL ? "\r\n" : "");
        asked(&a, bytes);
        CHECK_INT(fw_conn_offers(a.c), CASES[i].offered);
        loop_fixture_finish(&a.s, a.c, false, true);
        over(&a);
    }
}

static void what_came_behind_the_request_is_early(void)
{
    scene a;
    size_t n;
    asked(&a, ASKS);
    CHECK(fw_conn_early(a.c, &n) == NULL && n == 0);
    loop_fixture_finish(&a.s, a.c, false, true);
    over(&a);
    asked(&a, ASKS "early");
    const char *early = fw_conn_early(a.c, &n);
    CHECK_BYTES(early, n, "early");
    loop_fixture_finish(&a.s, a.c, false, true);
    over(&a);
}

/* ---- the loop ------------------------------------------------------------------------------------------------------ */

static void it_leaves_the_loop(void)
{
    scene a;
    taken(&a, ASKS "early");
    CHECK(blocks(a.c->fd));
    CHECK_INT(a.s.loop->conns.stats.upgraded, 1);
    for (int i = 0; i < 5; i++) { /* neither its bytes nor the time are the loop's business */
        SAY(a.client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        clock_advance(DAY_MS);
        loop_fixture_run(&a.s);
        CHECK_INT(a.c->state, FW_STATE_BUSY);
        CHECK_INT(a.s.requests, 0);
    }
    CHECK(!a.c->polled && !a.c->broken);
    CHECK_INT(recv(a.held->fd, got, sizeof got, 0), 5 * 27);
    fw_takeover_let_go(a.held);
    loop_fixture_finish(&a.s, a.c, false, false);
    over(&a);
}

static void its_end_lingers(void)
{
    scene a;
    bool end = false;
    taken(&a, ASKS "early");
    SAY(a.held->fd, "last words");
    const int fd = a.held->fd;
    fw_takeover_let_go(a.held);
    loop_fixture_finish(&a.s, a.c, false, true); /* however the request has ended */
    CHECK_INT(a.c->state, FW_STATE_LINGER);
    CHECK(!blocks(fd));
    for (int i = 0; i < 3; i++)
        SAY(a.client, "the client does not listen yet");
    CHECK_INT(loop_fixture_hear(&a.s, a.client, got, sizeof got, 0, &end), 10);
    CHECK(end && !a.s.reset);
    CHECK_INT(a.s.loop->conns.stats.connections, 1);
    over(&a);
}

static void a_client_that_never_leaves_is_left(void)
{
    scene a;
    taken(&a, ASKS);
    fw_takeover_let_go(a.held);
    loop_fixture_finish(&a.s, a.c, false, false);
    clock_advance(1001);
    loop_fixture_run(&a.s);
    loop_fixture_run(&a.s);
    CHECK_INT(a.s.loop->conns.stats.connections, 0);
    over(&a);
}

/* ---- holders ------------------------------------------------------------------------------------------------------- */

static void the_last_holder_closes(void)
{
    scene a;
    taken(&a, ASKS);
    const int fd = a.held->fd;
    fw_takeover_hold(a.held); /* a call in another thread */
    fw_takeover_let_go(a.held);
    loop_fixture_finish(&a.s, a.c, false, false);
    close(a.client);
    a.client = -1;
    loop_fixture_run(&a.s);
    CHECK_INT(a.s.loop->conns.stats.connections, 0);
    CHECK_INT(descriptors(), a.at_start + 1);
    CHECK_INT(recv(fd, got, sizeof got, 0), 0); /* whoever waits is woken */
    fw_takeover_let_go(a.held);
    over(&a);
}

static void the_application_may_close_it_first(void)
{
    scene a;
    bool end = false;
    taken(&a, ASKS);
    SAY(a.held->fd, "bye");
    fw_thread_leave_socket(a.s.thread, a.held, false);
    CHECK(a.c->taken == NULL && a.c->fd < 0);
    fw_takeover_let_go(a.held);
    CHECK_INT(loop_fixture_hear(&a.s, a.client, got, sizeof got, 0, &end), 3);
    CHECK(end);
    CHECK_INT(a.s.loop->conns.stats.connections, 1); /* until its request ends */
    loop_fixture_finish(&a.s, a.c, false, false);
    over(&a);
}

static void it_may_be_given_away(void)
{
    scene a;
    taken(&a, ASKS);
    const int fd = a.held->fd;
    fw_thread_leave_socket(a.s.thread, a.held, true);
    fw_takeover_let_go(a.held);
    loop_fixture_finish(&a.s, a.c, false, false);
    loop_fixture_run(&a.s);
    CHECK_INT(a.s.loop->conns.stats.connections, 0);
    SAY(fd, "still here");
    CHECK_INT(hear(a.client, got, sizeof got), 10);
    close(fd);
    over(&a);
}

/* ---- leases -------------------------------------------------------------------------------------------------------- */

static void leased(scene *a)
{
    taken(a, ASKS);
    a->c->leased = true;
    loop_fixture_finish(&a->s, a->c, false, false);
    CHECK_INT(a->c->state, FW_STATE_LINGER);
    CHECK(blocks(a->held->fd));
    SAY(a->held->fd, "bye"); /* neither side is shut */
    CHECK_INT(hear(a->client, got, sizeof got), 3);
    CHECK_INT(hear(a->client, got, sizeof got), -EAGAIN);
    SAY(a->client, "bye yourself");
    loop_fixture_run(&a->s);
    CHECK_INT(recv(a->held->fd, got, sizeof got, 0), 12); /* nor does the loop read */
}

static void a_lease_ends_when_the_socket_is_closed(void)
{
    scene a;
    leased(&a);
    SAY(a.client, "not read");
    fw_thread_leave_socket(a.s.thread, a.held, false);
    fw_takeover_let_go(a.held);
    loop_fixture_run(&a.s);
    CHECK_INT(hear(a.client, got, sizeof got), 0); /* no reset */
    CHECK_INT(a.s.loop->conns.stats.connections, 1);
    over(&a);
}

static void a_lease_ends_when_the_time_to_linger_is_over(void)
{
    scene a;
    leased(&a);
    clock_advance(1001);
    loop_fixture_run(&a.s);
    loop_fixture_run(&a.s);
    CHECK_INT(a.s.loop->conns.stats.connections, 0);
    CHECK_INT(recv(a.held->fd, got, sizeof got, 0), 0);
    CHECK_INT(hear(a.client, got, sizeof got), 0);
    CHECK(!fw_takeover_has_conn(a.held));
    fw_thread_leave_socket(a.s.thread, a.held, false); /* there is nobody to be told */
    fw_takeover_let_go(a.held);
    over(&a);
}

static void a_leased_socket_may_be_given_away(void)
{
    scene a;
    leased(&a);
    const int fd = a.held->fd;
    fw_thread_leave_socket(a.s.thread, a.held, true);
    fw_takeover_let_go(a.held);
    loop_fixture_run(&a.s);
    CHECK_INT(a.s.loop->conns.stats.connections, 0);
    SAY(fd, "still here");
    CHECK_INT(hear(a.client, got, sizeof got), 10);
    close(fd);
    over(&a);
}

static void a_stop_ends_a_lease(void)
{
    scene a;
    leased(&a);
    fw_loop_stop(a.s.loop, FW_STOP_QUICK);
    loop_fixture_run(&a.s);
    CHECK_INT(recv(a.held->fd, got, sizeof got, 0), 0);
    fw_takeover_let_go(a.held);
    over(&a);
}

static void a_stop_shuts_it_when_its_time_is_over(void)
{
    for (int quick = 0; quick < 2; quick++) {
        scene a;
        trying("quick %d", quick);
        taken(&a, ASKS);
        fw_loop_stop(a.s.loop, quick ? FW_STOP_QUICK : FW_STOP_GRACEFUL);
        loop_fixture_run(&a.s);
        if (!quick) {
            CHECK(!a.c->broken);
            SAY(a.client, "x");
            CHECK_INT(recv(a.held->fd, got, sizeof got, 0), 1);
            clock_advance(5001);
            loop_fixture_run(&a.s);
            loop_fixture_run(&a.s);
        }
        CHECK(a.c->broken);
        CHECK_INT(recv(a.held->fd, got, sizeof got, 0), 0);
        CHECK_INT(hear(a.client, got, sizeof got), 0);
        fw_takeover_let_go(a.held);
        loop_fixture_finish(&a.s, a.c, false, false);
        over(&a);
    }
}

static void one_that_is_broken_cannot_be_taken(void)
{
    scene a;
    asked(&a, ASKS);
    a.c->broken = true;
    CHECK_INT(fw_thread_take_over(a.s.thread, a.c, &a.held), -EPIPE);
    CHECK(a.c->taken == NULL);
    loop_fixture_finish(&a.s, a.c, false, true);
    over(&a);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(it_is_offered_to_those_who_ask),
        T(what_came_behind_the_request_is_early),
        T(it_leaves_the_loop),
        T(its_end_lingers),
        T(a_client_that_never_leaves_is_left),
        T(the_last_holder_closes),
        T(the_application_may_close_it_first),
        T(it_may_be_given_away),
        T(a_lease_ends_when_the_socket_is_closed),
        T(a_lease_ends_when_the_time_to_linger_is_over),
        T(a_leased_socket_may_be_given_away),
        T(a_stop_ends_a_lease),
        T(a_stop_shuts_it_when_its_time_is_over),
        T(one_that_is_broken_cannot_be_taken),
    };
    return RUN_TESTS(TESTS);
}
