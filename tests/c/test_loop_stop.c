/* test_loop_stop.c - stopping, leaving and coming back, and children that keep descriptors. */
#include "faults.h"
#include "harness.h"
#include "loop_fixture.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GET "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"

/* One request and its answer. */
static void check_served(loop_fixture *s, int client)
{
    char got[4096];
    bool end;
    SAY(client, GET);
    const size_t n = loop_fixture_hear(s, client, got, sizeof got, 1, &end);
    CHECK(!end);
    CHECK_INT(responses_in(got, n), 1);
    CHECK(strstr(got, "GET /x 0 ") != NULL);
}

static void check_ended(loop_fixture *s, int client)
{
    char got[4096];
    bool end;
    const size_t n = loop_fixture_hear(s, client, got, sizeof got, 99, &end);
    CHECK(end);
    CHECK_INT(n, 0);
}

/* ---- stopping -------------------------------------------------------------------------------------------------- */

static void a_graceful_stop_answers_what_is_here(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    char got[4096];
    bool end;
    loop_fixture_open(&s, &cfg);
    const int idle = loop_fixture_client(&s), busy = loop_fixture_client(&s);
    check_served(&s, idle);
    check_served(&s, busy);
    SAY(busy, GET);
    fw_loop_stop(s.loop, FW_STOP_GRACEFUL);
    const size_t n = loop_fixture_hear(&s, busy, got, sizeof got, 99, &end);
    CHECK(end && responses_in(got, n) == 1);
    close(busy);
    clock_advance(1000);
    loop_fixture_run(&s);
    check_ended(&s, idle);
    CHECK_INT(loop_fixture_run(&s), FW_NEXT_DONE);
    close(idle);
    loop_fixture_close(&s);
}

static void a_graceful_stop_answers_clients_that_wait_to_be_accepted(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    char got[4096];
    bool end;
    loop_fixture_open(&s, &cfg);
    const int first = loop_fixture_client(&s);
    check_served(&s, first);
    const int waiting = loop_fixture_client(&s); /* connected: the kernel has done that */
    SAY(waiting, GET);
    fw_loop_stop(s.loop, FW_STOP_GRACEFUL);
    const size_t n = loop_fixture_hear(&s, waiting, got, sizeof got, 99, &end);
    CHECK(end && responses_in(got, n) == 1);
    close(waiting);
    close(first);
    clock_advance(1000);
    CHECK_INT(loop_fixture_run(&s), FW_NEXT_DONE);
    loop_fixture_close(&s);
}

/* ---- stopping while some have been postponed -------------------------------------------------------------------- */

static char block[FW_RECEIVE];

/* Before each of the next receives a block comes in: none of them finds the socket empty. */
typedef struct talker {
    int client;
    unsigned blocks;
} talker;

static void talk(void *data)
{
    talker *t = data;
    if (t->blocks > 0) {
        t->blocks--;
        say(t->client, block, sizeof block);
    }
}

/* The connection is read until it is the others' turn. */
static void postpone(loop_fixture *s, int client, fw_conn *c)
{
    talker t = {client, 8};
    fault_before(FAULT_RECV, talk, &t);
    fw_conn_event(&s->loop->conns, c, FW_EVENT_IN);
    fault_before(FAULT_RECV, NULL, NULL);
    CHECK(c->again);
}

/* A request for the health path that fills the receive buffer. */
static void fill_block_with_a_request(void)
{
    static const char LINE[] = "GET /health HTTP/1.1\r\nHost: h\r\n";
    const size_t quarter = (sizeof block - (sizeof LINE - 1) - 2) / 4;
    char *to = block;
    memset(block, 'x', sizeof block);
    memcpy(to, LINE, sizeof LINE - 1);
    to += sizeof LINE - 1;
    for (int i = 0; i < 4; i++) {
        char *end = i < 3 ? to + quarter : block + sizeof block - 2;
        memcpy(to, "X: ", 3);
        memcpy(end - 2, "\r\n", 2);
        to = end;
    }
    memcpy(to, "\r\n", 2);
}

/* A connection may be idle and yet have more to say: each of its blocks was a whole request. */
static void a_stop_reads_on_where_reading_was_cut_short(void)
{
    fw_config cfg = defaults();
    cfg.health = "/health";
    cfg.limit_field_size = FW_RECEIVE;
    cfg.body_memory = 1000;
    for (unsigned order = 0; order < 2; order++) {
        loop_fixture s;
        fw_conn *idle, *body, *other;
        char got[8192];
        bool end;
        trying("order %u", order);
        loop_fixture_open(&s, &cfg);
        const int first = loop_fixture_pair(&s, false, &idle), second = loop_fixture_pair(&s, false, &body);
        const int third = loop_fixture_pair(&s, false, &other);
        SAY(second, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 294912\r\n\r\n"); /* 9 blocks */
        loop_fixture_run(&s);
        for (unsigned i = 0; i < 2; i++) {
            fill_block_with_a_request();
            if (i == order)
                postpone(&s, first, idle);
            else
                postpone(&s, second, body);
        }
        CHECK_INT(idle->state, FW_STATE_IDLE);
        CHECK_INT(body->state, FW_STATE_BODY);
        const ssize_t n = hear(first, got, sizeof got); /* the loop does not run meanwhile */
        CHECK(n > 0 && responses_in(got, (size_t)n) == 8);
        SAY(first, GET);
        SAY(third, GET);
        say(second, block, sizeof block);
        fw_loop_stop(s.loop, FW_STOP_GRACEFUL);
        CHECK_INT(responses_in(got, loop_fixture_hear(&s, first, got, sizeof got, 99, &end)), 1);
        CHECK(end);
        CHECK_INT(responses_in(got, loop_fixture_hear(&s, second, got, sizeof got, 99, &end)), 1);
        CHECK(end);
        CHECK_INT(responses_in(got, loop_fixture_hear(&s, third, got, sizeof got, 99, &end)), 1);
        CHECK(end);
        close(first);
        close(second);
        close(third);
        CHECK_INT(loop_fixture_run(&s), FW_NEXT_DONE);
        loop_fixture_close(&s);
    }
}

static void hold(loop_fixture *s, fw_conn *c)
{
    s->data = c;
}

/* A client whose response has begun, and keeps the connection, when a stop begins. */
static int stopped_within(loop_fixture *s, const fw_config *cfg)
{
    loop_fixture_open(s, cfg);
    s->app = hold;
    const int client = loop_fixture_client(s);
    SAY(client, GET);
    loop_fixture_run(s);
    CHECK(loop_fixture_head(s, s->data, 0));
    fw_loop_stop(s->loop, FW_STOP_GRACEFUL);
    loop_fixture_run(s);
    CHECK(s->loop->conns.stopping);
    return client;
}

/* What a head has said binds: a client that may keep its connection may have sent the next request already. */
static void a_stop_within_a_response_that_keeps_its_connection_answers_the_next_request(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    char got[4096];
    bool end;
    const int client = stopped_within(&s, &cfg);
    loop_fixture_finish(&s, s.data, true, false);
    s.app = loop_fixture_answer;
    CHECK_INT(responses_in(got, loop_fixture_hear(&s, client, got, sizeof got, 1, &end)), 1);
    CHECK(!end);
    SAY(client, GET);
    CHECK_INT(responses_in(got, loop_fixture_hear(&s, client, got, sizeof got, 99, &end)), 1);
    CHECK(end);
    close(client);
    CHECK_INT(loop_fixture_run(&s), FW_NEXT_DONE);
    loop_fixture_close(&s);
}

static void a_stop_does_not_wait_long_for_a_next_request(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    char got[4096];
    bool end;
    const int client = stopped_within(&s, &cfg);
    loop_fixture_finish(&s, s.data, true, false);
    CHECK_INT(responses_in(got, loop_fixture_hear(&s, client, got, sizeof got, 1, &end)), 1);
    clock_advance(cfg.timeouts[FW_CLASS_RETIRE]);
    loop_fixture_run(&s);
    check_ended(&s, client);
    CHECK_INT(loop_fixture_run(&s), FW_NEXT_DONE);
    close(client);
    loop_fixture_close(&s);
}

static void a_graceful_stop_ends_in_time(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    const int slow = loop_fixture_client(&s);
    SAY(slow, "GET / HTT");
    loop_fixture_run(&s);
    fw_loop_stop(s.loop, FW_STOP_GRACEFUL);
    CHECK_INT(loop_fixture_run(&s), FW_NEXT_WAKE);
    loop_fixture_run(&s);
    CHECK(poll_patience() > 0 && poll_patience() <= 30000);
    clock_advance(30000);
    loop_fixture_run(&s); /* time passes in the poll */
    CHECK_INT(loop_fixture_run(&s), FW_NEXT_DONE);
    close(slow);
    loop_fixture_close(&s);
}

static void a_quick_stop_closes_at_once(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    const int a = loop_fixture_client(&s), b = loop_fixture_client(&s);
    check_served(&s, a);
    SAY(b, "GET / HTT");
    loop_fixture_run(&s);
    fw_loop_stop(s.loop, FW_STOP_GRACEFUL);
    fw_loop_stop(s.loop, FW_STOP_QUICK);
    fw_loop_stop(s.loop, FW_STOP_GRACEFUL); /* too late to ask for less */
    for (int i = 0; i < 4 && s.rc != FW_NEXT_DONE; i++)
        loop_fixture_run(&s);
    CHECK_INT(s.rc, FW_NEXT_DONE);
    check_ended(&s, a);
    close(a);
    close(b);
    loop_fixture_close(&s);
}

/* A worker leaves its loop between two events of one poll, and comes back. */
static void events_of_the_closed_are_forgotten(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    int clients[8];
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    for (int i = 0; i < 8; i++) {
        clients[i] = loop_fixture_client(&s);
        check_served(&s, clients[i]);
    }
    for (int i = 0; i < 8; i++)
        SAY(clients[i], GET);
    CHECK_INT(loop_fixture_next(&s, &c), FW_NEXT_TURN); /* seven events are left */
    CHECK(s.loop->at < s.loop->nevents);
    loop_fixture_abandon(&s);
    loop_fixture_finish(&s, c, false, true);
    fw_conns_reap(&s.loop->conns);
    const int late = loop_fixture_client(&s);
    check_served(&s, late);
    for (int i = 0; i < 8; i++)
        close(clients[i]);
    close(late);
    loop_fixture_close(&s);
}

/* A child that the application forked keeps a connection's descriptor: the poller goes on reporting it. */
static void a_descriptor_kept_by_a_child_does_no_harm(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_client(&s), other = loop_fixture_client(&s);
    check_served(&s, client);
    check_served(&s, other);
    int gate[2];
    CHECK(pipe2(gate, O_CLOEXEC) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char c;
        close(gate[1]);
        _exit(recvfrom(gate[0], &c, 1, 0, NULL, NULL) == 0 || read(gate[0], &c, 1) == 0 ? 0 : 1);
    }
    close(gate[0]);
    clock_advance(cfg.timeouts[FW_CLASS_KEEPALIVE]);
    loop_fixture_run(&s); /* both are closed here, and live on in the child */
    loop_fixture_run(&s);
    CHECK_INT(s.loop->conns.stats.connections, 0);
    const int third = loop_fixture_client(&s);
    check_served(&s, third); /* the memory is used again */
    SAY(client, GET);
    SAY(other, GET);
    loop_fixture_run(&s);
    check_served(&s, third);
    close(gate[1]);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    close(client);
    close(other);
    close(third);
    loop_fixture_close(&s);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(a_graceful_stop_answers_what_is_here),
        T(a_graceful_stop_answers_clients_that_wait_to_be_accepted),
        T(a_stop_reads_on_where_reading_was_cut_short),
        T(a_stop_within_a_response_that_keeps_its_connection_answers_the_next_request),
        T(a_stop_does_not_wait_long_for_a_next_request),
        T(a_graceful_stop_ends_in_time),
        T(a_quick_stop_closes_at_once),
        T(events_of_the_closed_are_forgotten),
        T(a_descriptor_kept_by_a_child_does_no_harm),
    };
    return RUN_TESTS(TESTS);
}
