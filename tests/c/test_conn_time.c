/* test_conn_time.c - what the clock does to a connection, and that nobody takes more than a fair turn. */
#include "faults.h"
#include "harness.h"
#include "loop_fixture.h"

#include <sys/socket.h>
#include <unistd.h>

#define GET "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST(n) "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: " n "\r\n\r\n"

static char got[65536];

/* A client whose connection has answered one request and is idle. */
static int idle_client(loop_fixture *s, fw_conn **c)
{
    const int client = loop_fixture_pair(s, false, c);
    SAY(client, GET);
    CHECK(loop_fixture_hear(s, client, got, sizeof got, 1, NULL) > 0);
    CHECK_INT((*c)->state, FW_STATE_IDLE);
    return client;
}

static void check_answer(loop_fixture *s, int client, const char *expected)
{
    const size_t n = loop_fixture_hear(s, client, got, sizeof got, 1, NULL);
    if (responses_in(got, n) != 1 || strstr(got, expected) == NULL)
        FAIL("not %s but: %s", expected, got);
}

static void check_end(loop_fixture *s, int client, const char *expected)
{
    bool end;
    const size_t n = loop_fixture_hear(s, client, got, sizeof got, 99, &end);
    CHECK(end);
    if (expected == NULL)
        CHECK_INT(n, 0);
    else if (strstr(got, expected) == NULL)
        FAIL("not %s but: %s", expected, got);
}

/* Lets time pass and the loop notice it. */
static void wait_ms(loop_fixture *s, unsigned ms)
{
    clock_advance(ms);
    loop_fixture_run(s);
    loop_fixture_run(s);
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

static void each_phase_has_its_time(void)
{
    fw_config cfg = defaults();
    cfg.timeouts[FW_CLASS_HEADER] = 1000;
    cfg.timeouts[FW_CLASS_BODY] = 2000;
    cfg.timeouts[FW_CLASS_KEEPALIVE] = 5000;
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    int client = loop_fixture_pair(&s, false, &c);
    wait_ms(&s, 999);
    CHECK_INT(c->state, FW_STATE_OPEN);
    wait_ms(&s, 1);
    check_end(&s, client, NULL); /* not a byte: silently */
    close(client);
    client = loop_fixture_pair(&s, false, &c);
    SAY(client, "GET ");
    loop_fixture_run(&s);
    for (int i = 0; i < 4; i++) { /* one byte now and then does not help */
        wait_ms(&s, 249);
        SAY(client, "x");
        loop_fixture_run(&s);
    }
    CHECK_INT(c->state, FW_STATE_HEAD);
    wait_ms(&s, 4);
    check_end(&s, client, "HTTP/1.1 408 ");
    close(client);
    client = loop_fixture_pair(&s, false, &c);
    SAY(client, POST("9"));
    loop_fixture_run(&s);
    for (int i = 0; i < 5; i++) { /* for a body each read starts the time anew */
        wait_ms(&s, 1999);
        SAY(client, "x");
        loop_fixture_run(&s);
    }
    CHECK_INT(c->state, FW_STATE_BODY);
    wait_ms(&s, 2000);
    check_end(&s, client, "HTTP/1.1 408 ");
    close(client);
    client = idle_client(&s, &c);
    wait_ms(&s, 4999);
    CHECK_INT(c->state, FW_STATE_IDLE);
    wait_ms(&s, 1);
    check_end(&s, client, NULL);
    close(client);
    CHECK_INT(s.loop->conns.stats.timeouts, 2);
    loop_fixture_close(&s);
}

/* More events than one poll reports: those it has not reported yet must not be taken for late. */
static void nobody_is_late_whose_bytes_wait_in_the_kernel(void)
{
    enum { EVENTS = 256 }; /* of loop.c */
    const fw_config cfg = defaults();
    loop_fixture s;
    static int clients[EVENTS + 10];
    static fw_conn *conns[EVENTS + 10];
    loop_fixture_open(&s, &cfg);
    for (size_t i = 0; i < COUNT(clients); i++) {
        clients[i] = loop_fixture_pair(&s, false, &conns[i]);
        SAY(clients[i], "GET /x HTTP/1.1\r\n");
    }
    loop_fixture_run(&s);
    for (size_t i = 0; i < COUNT(clients); i++)
        SAY(clients[i], "Host: h\r\n\r\n");
    clock_advance(cfg.timeouts[FW_CLASS_HEADER]);
    loop_fixture_run(&s);
    CHECK_INT(s.requests, COUNT(clients));
    CHECK_INT(s.loop->conns.stats.timeouts, 0);
    for (size_t i = 0; i < COUNT(clients); i++)
        close(clients[i]);
    loop_fixture_close(&s);
}

static void no_time_limit_means_none(void)
{
    fw_config cfg = defaults();
    memset(cfg.timeouts, 0, sizeof cfg.timeouts);
    loop_fixture s;
    fw_conn *c;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_pair(&s, false, &c);
    SAY(client, "GET / HTTP/1.1\r\n");
    wait_ms(&s, 1u << 31);
    SAY(client, "Host: h\r\n\r\n");
    check_answer(&s, client, "GET / 0 ");
    close(client);
    loop_fixture_close(&s);
}

/* ---- fairness -------------------------------------------------------------------------------------------------- */

static char large[65536];

/* A client that sends without pause: whenever the server reads, there is more. */
static void talk(void *data)
{
    while (sendto(*(int *)data, large, sizeof large, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0) > 0)
        ;
}

static void begin_talking(loop_fixture *s, int *client, fw_conn **c)
{
    *client = loop_fixture_pair(s, false, c);
    SAY(*client, "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n35a4e900\r\n");
    loop_fixture_run(s);
    CHECK_INT((*c)->state, FW_STATE_BODY);
    talk(client);
    fault_before(FAULT_RECV, talk, client);
}

static void one_that_talks_without_pause_does_not_keep_others_waiting(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c, *d, *pulled;
    int client;
    loop_fixture_open(&s, &cfg);
    const int other = idle_client(&s, &d);
    begin_talking(&s, &client, &c);
    for (int i = 0; i < 5; i++) {
        SAY(other, GET);
        CHECK_INT(loop_fixture_next(&s, &pulled), FW_NEXT_TURN);
        CHECK(pulled == d && c->again);
        CHECK(c->req->body.len < (uint64_t)(i + 2) * 600000); /* two turns at most for the talker */
        loop_fixture_answer(&s, pulled);
    }
    fault_before(FAULT_RECV, NULL, NULL);
    close(client);
    loop_fixture_run(&s);
    CHECK_INT(s.loop->conns.stats.connections, 1);
    CHECK_INT(s.loop->conns.stats.truncated, 1);
    close(other);
    loop_fixture_close(&s);
}

static void a_postponed_connection_may_be_closed_meanwhile(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    int client;
    for (int way = 0; way < 3; way++) {
        loop_fixture_open(&s, &cfg);
        begin_talking(&s, &client, &c);
        fw_conn_event(&s.loop->conns, c, FW_EVENT_IN);
        CHECK(c->again);
        if (way == 0)
            fw_conn_close(&s.loop->conns, c);
        else
            fw_conn_expire(&s.loop->conns, c); /* refused; what is still to come is thrown away */
        CHECK_INT(c->state, way == 0 ? FW_STATE_CLOSED : FW_STATE_LINGER);
        if (way == 2)
            fw_conn_close(&s.loop->conns, c);
        fw_conns_reap(&s.loop->conns);
        faults_clear();
        loop_fixture_run(&s);
        CHECK_INT(s.loop->conns.stats.connections, way == 1);
        close(client);
        loop_fixture_close(&s);
    }
}

static void a_postponed_connection_is_freed_with_the_loop(void)
{
    const fw_config cfg = defaults();
    loop_fixture s;
    fw_conn *c;
    int client;
    loop_fixture_open(&s, &cfg);
    begin_talking(&s, &client, &c);
    fw_conn_event(&s.loop->conns, c, FW_EVENT_IN);
    CHECK(c->again);
    faults_clear();
    loop_fixture_close(&s);
    close(client);
}

/* The body's own time limit is met by each byte; the average is what counts, after some grace. */
static void one_that_sends_too_slowly_on_average_is_refused(void)
{
    fw_config cfg = defaults();
    cfg.min_rate = 1000;
    loop_fixture s;
    fw_conn *c;
    bool end;
    loop_fixture_open(&s, &cfg);
    const int client = loop_fixture_pair(&s, false, &c);
    SAY(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    loop_fixture_run(&s);
    for (int i = 0; i < 2; i++) {
        clock_advance(cfg.min_rate_grace_ms / 2);
        loop_fixture_run(&s);
        SAY(client, "x");
        loop_fixture_run(&s);
        CHECK_INT(c->state, FW_STATE_BODY);
    }
    clock_advance(1);
    loop_fixture_run(&s);
    SAY(client, "x");
    loop_fixture_hear(&s, client, got, sizeof got, 0, &end);
    CHECK(memcmp(got, "HTTP/1.1 408 ", 13) == 0);
    CHECK_INT(s.loop->conns.stats.timeouts, 1);
    close(client);
    loop_fixture_close(&s);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(each_phase_has_its_time),
        T(nobody_is_late_whose_bytes_wait_in_the_kernel),
        T(no_time_limit_means_none),
        T(one_that_talks_without_pause_does_not_keep_others_waiting),
        T(a_postponed_connection_may_be_closed_meanwhile),
        T(a_postponed_connection_is_freed_with_the_loop),
        T(one_that_sends_too_slowly_on_average_is_refused),
    };
    return RUN_TESTS(TESTS);
}
