/* test_conn_output.c - responses that wait for their client: flushed, suspended, or written by a thread that waits. */
#include "apps.h"
#include "faults.h"
#include "harness.h"
#include "loop_fixture.h"

#include <sys/socket.h>
#include <unistd.h>

#define GET "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"

static char got[4 << 20];

static fw_config config(void)
{
    fw_config cfg = defaults();
    cfg.high_water = 2 * APP_BLOCK;
    return cfg;
}

/* Lets time pass and the loop notice it. */
static void wait_ms(loop_fixture *s, unsigned ms)
{
    clock_advance(ms);
    loop_fixture_run(s);
    loop_fixture_run(s);
}

/* ---- output that waits ----------------------------------------------------------------------------------------- */

static void a_slow_reader_gets_everything_and_is_served_on(void)
{
    const fw_config cfg = config();
    loop_fixture s;
    fw_conn *c;
    app_state a = {0};
    loop_fixture_open(&s, &cfg);
    s.app = app_large;
    s.data = &a;
    const int client = loop_fixture_pair(&s, true, &c);
    SAY(client, GET GET);
    loop_fixture_run(&s);
    CHECK_INT(c->state, FW_STATE_FLUSH);
    CHECK_INT(a.owned, 1);
    const size_t n = loop_fixture_hear(&s, client, got, sizeof got, 2, NULL);
    CHECK_INT(responses_in(got, n), 2);
    CHECK_INT(c->state, FW_STATE_IDLE);
    CHECK_INT(a.owned, 0);
    close(client);
    loop_fixture_close(&s);
}

static void a_reader_that_does_not_read_is_given_up(void)
{
    const fw_config cfg = config();
    loop_fixture s;
    fw_conn *c;
    app_state a = {0};
    loop_fixture_open(&s, &cfg);
    s.app = app_large;
    s.data = &a;
    const int client = loop_fixture_pair(&s, true, &c);
    SAY(client, GET);
    loop_fixture_run(&s);
    wait_ms(&s, cfg.timeouts[FW_CLASS_WRITE] - 1);
    CHECK_INT(c->state, FW_STATE_FLUSH);
    while (hear(client, got, 4096) > 0) /* it takes something: the time starts anew */
        ;
    loop_fixture_run(&s);
    wait_ms(&s, cfg.timeouts[FW_CLASS_WRITE] - 1);
    CHECK_INT(c->state, FW_STATE_FLUSH);
    wait_ms(&s, cfg.timeouts[FW_CLASS_WRITE] / 8); /* it is looked at so often */
    CHECK_INT(s.loop->conns.stats.connections, 0);
    CHECK_INT(s.loop->conns.stats.timeouts, 1);
    CHECK_INT(a.owned, 0);
    close(client);
    loop_fixture_close(&s);
}

static void a_reader_that_leaves_frees_what_is_queued(void)
{
    const fw_config cfg = config();
    loop_fixture s;
    fw_conn *c;
    app_state a = {0};
    loop_fixture_open(&s, &cfg);
    s.app = app_large;
    s.data = &a;
    const int client = loop_fixture_pair(&s, true, &c);
    SAY(client, GET);
    loop_fixture_run(&s);
    close(client);
    loop_fixture_run(&s);
    loop_fixture_run(&s);
    CHECK_INT(s.loop->conns.stats.connections, 0);
    CHECK_INT(s.loop->conns.stats.broken, 1);
    CHECK_INT(a.owned, 0);
    loop_fixture_close(&s);
}

/* ---- suspended responses --------------------------------------------------------------------------------------- */

static void a_suspended_response_goes_on_when_the_client_has_read(void)
{
    const fw_config cfg = config();
    loop_fixture s;
    fw_conn *c;
    app_state a = {0};
    loop_fixture_open(&s, &cfg);
    s.app = app_stream;
    s.data = &a;
    const int client = loop_fixture_pair(&s, true, &c);
    SAY(client, GET);
    loop_fixture_run(&s);
    CHECK_INT(c->state, FW_STATE_SUSPENDED);
    CHECK(a.blocks < APP_BLOCKS && c->out.bytes <= cfg.high_water + APP_BLOCK + 200);
    SAY(client, GET); /* pipelined meanwhile: it waits */
    loop_fixture_run(&s);
    CHECK_INT(c->state, FW_STATE_SUSPENDED);
    const size_t n = loop_fixture_hear(&s, client, got, sizeof got, 2, NULL);
    CHECK_INT(responses_in(got, n), 2);
    CHECK(s.resumed > 2);
    CHECK(a.left > 0 && a.left <= cfg.high_water / 4); /* neither at once nor when all is gone */
    close(client);
    loop_fixture_close(&s);
}

static void a_suspended_response_learns_that_its_client_is_gone(void)
{
    for (int way = 0; way < 4; way++) {
        fw_config cfg = config();
        loop_fixture s;
        fw_conn *c;
        app_state a = {0};
        trying("way %d", way);
        faults_clear();
        loop_fixture_open(&s, &cfg);
        s.app = app_stream;
        s.data = &a;
        int ends[2];
        pair_open(ends, true);
        const int client = ends[1];
        SAY(client, GET);
        loop_fixture_run(&s);
        if (way == 3) /* the poller does not take it when it is to wait for the first time */
            fault_fail(FAULT_EPOLL_CTL, 0, 1, ENOMEM);
        CHECK((c = fw_conn_open(&s.loop->conns, ends[0], &s.local, NULL, 0)) != NULL);
        fw_conn_event(&s.loop->conns, c, FW_EVENT_IN);
        loop_fixture_run(&s);
        CHECK(way == 3 || c->state == FW_STATE_SUSPENDED);
        if (way == 0)
            close(client);
        else if (way == 1)
            clock_advance(cfg.timeouts[FW_CLASS_WRITE]);
        else if (way == 2)
            fw_loop_stop(s.loop, FW_STOP_QUICK);
        loop_fixture_run(&s);
        loop_fixture_run(&s);
        CHECK_INT(s.gone, 1);
        CHECK_INT(s.loop->conns.stats.connections, 0);
        if (way != 0)
            close(client);
        loop_fixture_close(&s);
    }
}

/* ---- waiting inside an application (write) --------------------------------------------------------------------- */

static void a_write_waits_until_the_client_has_read(void)
{
    const fw_config cfg = config();
    loop_fixture s;
    fw_conn *c;
    app_state a = {0};
    loop_fixture_open(&s, &cfg);
    loop_fixture_standby(&s);
    s.app = app_write;
    s.data = &a;
    const int client = loop_fixture_pair(&s, true, &c);
    a.client = client;
    SAY(client, GET);
    for (int i = 0; i < 100; i++) {
        loop_fixture_run(&s);
        while (hear(client, got, 65536) > 0)
            ;
    }
    CHECK(a.turns > 0);
    CHECK_INT(a.rc, FW_OK);
    CHECK_INT(c->state, FW_STATE_IDLE);
    close(client);
    loop_fixture_close(&s);
}

static void a_write_that_is_given_up_hands_the_connection_back(void)
{
    const fw_config cfg = config();
    for (int talks_on = 0; talks_on < 2; talks_on++) {
        loop_fixture s;
        fw_conn *c;
        app_state a = {.client = -1, .give_up = true, .talks_on = talks_on != 0};
        loop_fixture_open(&s, &cfg);
        loop_fixture_standby(&s);
        s.app = app_write;
        s.data = &a;
        const int client = loop_fixture_pair(&s, true, &c);
        SAY(client, GET);
        loop_fixture_run(&s);
        CHECK_INT(a.turns, 1);
        CHECK_INT(c->state, FW_STATE_FLUSH);
        bool end;
        const size_t n = loop_fixture_hear(&s, client, got, sizeof got, 99, &end);
        CHECK(end && n > APP_LARGE);
        close(client);
        loop_fixture_close(&s);
    }
}

static void a_write_learns_that_its_client_is_gone(void)
{
    const fw_config cfg = config();
    for (int way = 0; way < 2; way++) {
        loop_fixture s;
        fw_conn *c;
        app_state a = {.client = -1};
        loop_fixture_open(&s, &cfg);
        loop_fixture_standby(&s);
        s.app = app_write;
        s.data = &a;
        const int client = loop_fixture_pair(&s, true, &c);
        SAY(client, GET);
        fw_conn *pulled;
        CHECK_INT(loop_fixture_next(&s, &pulled), FW_NEXT_TURN);
        if (way == 0)
            close(client);
        else
            fw_loop_stop(s.loop, FW_STOP_QUICK);
        app_write(&s, pulled);
        CHECK_INT(a.rc, -EPIPE);
        loop_fixture_run(&s);
        CHECK_INT(s.loop->conns.stats.connections, 0);
        if (way != 0)
            close(client);
        loop_fixture_close(&s);
    }
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(a_slow_reader_gets_everything_and_is_served_on),
        T(a_reader_that_does_not_read_is_given_up),
        T(a_reader_that_leaves_frees_what_is_queued),
        T(a_suspended_response_goes_on_when_the_client_has_read),
        T(a_suspended_response_learns_that_its_client_is_gone),
        T(a_write_waits_until_the_client_has_read),
        T(a_write_that_is_given_up_hands_the_connection_back),
        T(a_write_learns_that_its_client_is_gone),
    };
    return RUN_TESTS(TESTS);
}
