/* test_conn_wait.c - what responses cost that wait for their clients: memory, and how slow a client may be. */
#include "apps.h"
#include "faults.h"
#include "harness.h"
#include "loop_fixture.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET "GET /x HTTP/1.1\r\nHost: cs\r\n\r\n"
#define SECONDS 60 /* that are tried at most */

static char got[4 << 20];

static fw_config config(void)
{
    fw_config cfg = defaults();
    cfg.high_water = 2 * APP_BLOCK;
    return cfg;
}

static void wait_ms(loop_fixture *s, unsigned ms)
{
    clock_advance(ms);
    loop_fixture_run(s);
    loop_fixture_run(s);
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

/* Takes so many bytes each second; returns the seconds until the server has ended the connection, or SECONDS. */
static unsigned seconds_for(loop_fixture *s, int client, size_t each)
{
    for (unsigned i = 0; i < SECONDS; i++) {
        if (s->loop->conns.stats.connections == 0)
            return i;
        for (size_t n = 0; n < each;) {
            const ssize_t r = hear(client, got, each - n);
            if (r <= 0)
                break;
            n += (size_t)r;
        }
        wait_ms(s, 1000);
    }
    return SECONDS;
}

static void a_client_that_takes_too_little_is_given_up(void)
{
    for (int streamed = 0; streamed < 2; streamed++) {
        for (size_t each = 0; each <= 100; each += 50) {
            fw_config cfg = config();
            cfg.min_rate = 1000;
            cfg.timeouts[FW_CLASS_WRITE] = SECONDS * 2000;
            loop_fixture s;
            fw_conn *c;
            app_state a = {0};
            trying("%zu bytes a second, streamed %d", each, streamed);
            loop_fixture_open(&s, &cfg);
            s.app = streamed ? app_stream : app_large;
            s.data = &a;
            const int client = loop_fixture_pair(&s, true, &c);
            SAY(client, GET);
            loop_fixture_run(&s);
            CHECK_INT(c->state, streamed ? FW_STATE_SUSPENDED : FW_STATE_FLUSH);
            const unsigned seconds = seconds_for(&s, client, each);
            CHECK(seconds > cfg.min_rate_grace_ms / 1000 && seconds < SECONDS);
            CHECK_INT(s.loop->conns.stats.timeouts, 1);
            CHECK_INT(s.gone, streamed);
            CHECK_INT(a.owned, 0);
            close(client);
            loop_fixture_close(&s);
        }
    }
}

static void a_client_that_takes_enough_is_served(void)
{
    fw_config cfg = config();
    cfg.min_rate = 1000;
    loop_fixture s;
    fw_conn *c;
    app_state a = {0};
    loop_fixture_open(&s, &cfg);
    s.app = app_stream;
    s.data = &a;
    const int client = loop_fixture_pair(&s, true, &c);
    SAY(client, GET);
    loop_fixture_run(&s);
    CHECK_INT(seconds_for(&s, client, APP_LARGE / 40), SECONDS);
    CHECK_INT(a.blocks, APP_BLOCKS);
    CHECK_INT(c->state, FW_STATE_IDLE);
    CHECK_INT(s.loop->conns.stats.timeouts, 0);
    close(client);
    loop_fixture_close(&s);
}

static void without_a_rate_a_byte_now_and_then_is_enough(void)
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
    for (int i = 0; i < 4; i++) { /* it takes what is there, just in time */
        wait_ms(&s, cfg.timeouts[FW_CLASS_WRITE] - 1);
        CHECK_INT(c->state, FW_STATE_FLUSH);
        CHECK(hear(client, got, 8192) > 0);
        while (hear(client, got, 1024) > 0 && c->out.bytes > APP_LARGE / 8)
            ;
        loop_fixture_run(&s);
        if (c->state != FW_STATE_FLUSH)
            break;
    }
    CHECK_INT(s.loop->conns.stats.timeouts, 0);
    close(client);
    loop_fixture_run(&s);
    loop_fixture_close(&s);
}

/* A response that fills the largest buffers that a socket may have, which the poller tells of when much is free only. */
static void app_huge(loop_fixture *s, fw_conn *c)
{
    static const char bytes[16 << 20];
    app_state *a = s->data;
    CHECK(loop_fixture_head(s, c, sizeof bytes));
    CHECK_INT(fw_outq_ref(&c->out, &s->thread->cache, bytes, sizeof bytes, &a->owned), FW_OK);
    a->owned++;
    loop_fixture_finish(s, c, true, false);
}

/* A client by TCP, with the buffers that the system gives, which has asked. */
static int begin_tcp(loop_fixture *s)
{
    const int client = loop_fixture_client(s);
    CHECK(fcntl(client, F_SETFL, O_NONBLOCK) == 0);
    SAY(client, GET);
    loop_fixture_run(s);
    CHECK_INT(s->loop->conns.all.next->state, FW_STATE_FLUSH);
    return client;
}

static void takes(loop_fixture *s, int client, size_t bytes, unsigned ms)
{
    for (size_t n = 0; n < bytes;) {
        const ssize_t r = hear(client, got, bytes - n);
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    wait_ms(s, ms);
}

static void a_client_that_takes_a_little_all_the_time_is_not_late(void)
{
    const fw_config cfg = config();
    const unsigned most = cfg.timeouts[FW_CLASS_WRITE];
    loop_fixture s;
    app_state a = {0};
    loop_fixture_open(&s, &cfg);
    s.app = app_huge;
    s.data = &a;
    const int client = begin_tcp(&s);
    for (int i = 0; i < 20; i++) {
        takes(&s, client, 200000, most / 4);
        CHECK_INT(s.loop->conns.stats.connections, 1);
    }
    takes(&s, client, 0, most / 2);
    CHECK_INT(s.loop->conns.stats.connections, 1);
    for (int i = 0; i < 8 && s.loop->conns.stats.connections != 0; i++)
        takes(&s, client, 0, most / 8);
    CHECK_INT(s.loop->conns.stats.connections, 0);
    CHECK_INT(s.loop->conns.stats.timeouts, 1);
    close(client);
    loop_fixture_close(&s);
}

/* Its system says so in steps of some segments. */
static void a_client_that_takes_half_as_much_again_is_served(void)
{
    static const unsigned RATES[] = {2000, 20000, 50000, 200000};
    for (size_t i = 0; i < COUNT(RATES); i++) {
        fw_config cfg = config();
        cfg.min_rate = RATES[i];
        cfg.min_rate_grace_ms = 1000;
        loop_fixture s;
            app_state a = {0};
        trying("%u bytes a second", RATES[i]);
        loop_fixture_open(&s, &cfg);
        s.app = app_huge;
        s.data = &a;
        const int client = begin_tcp(&s);
        for (int n = 0; n < 40; n++) {
            takes(&s, client, RATES[i] * 3 / 8, 250);
            CHECK_INT(s.loop->conns.stats.connections, 1);
        }
        CHECK_INT(s.loop->conns.stats.timeouts, 0);
        close(client);
        loop_fixture_run(&s);
        loop_fixture_close(&s);
    }
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

enum end { READ, LEFT, TIMED_OUT, ABANDONED, QUICK_STOP, ENDS };

static void what_waits_is_counted_until_it_has_ended(void)
{
    static const loop_fixture_app APPS[] = {app_large, app_stream};
    for (size_t app = 0; app < COUNT(APPS); app++) {
        for (int end = 0; end < ENDS; end++) {
            const fw_config cfg = config();
            loop_fixture s;
            fw_conn *c;
            app_state a = {0};
            trying("application %zu, end %d", app, end);
            loop_fixture_open(&s, &cfg);
            const fw_conns *cs = &s.loop->conns;
            s.app = APPS[app];
            s.data = &a;
            const int client = loop_fixture_pair(&s, true, &c);
            SAY(client, GET);
            loop_fixture_run(&s);
            CHECK(cs->queued >= c->out.bytes && c->out.bytes > 0);
            switch (end) {
            case READ: loop_fixture_hear(&s, client, got, sizeof got, 1, NULL); break;
            case LEFT: close(client); break;
            case TIMED_OUT: clock_advance(cfg.timeouts[FW_CLASS_WRITE]); break;
            case ABANDONED: loop_fixture_abandon(&s); break;
            default: fw_loop_stop(s.loop, FW_STOP_QUICK);
            }
            loop_fixture_run(&s);
            loop_fixture_run(&s);
            CHECK_INT(cs->queued, 0);
            CHECK_INT(cs->mark, cfg.high_water);
            if (end != LEFT)
                close(client);
            loop_fixture_close(&s);
        }
    }
}

/* The first takes nothing of a response that is as large as all may have queued; the second is held back for it. */
static void a_response_is_held_back_earlier_when_others_have_queued_much(void)
{
    fw_config cfg = config();
    cfg.response_memory = APP_LARGE;
    loop_fixture s;
    fw_conn *first, *second;
    app_state large = {0}, stream = {0};
    loop_fixture_open(&s, &cfg);
    s.app = app_large;
    s.data = &large;
    const int hog = loop_fixture_pair(&s, true, &first);
    SAY(hog, GET);
    loop_fixture_run(&s);
    CHECK_INT(first->state, FW_STATE_FLUSH);
    CHECK_INT(s.loop->conns.mark, 0);

    s.app = app_stream;
    s.data = &stream;
    const int reader = loop_fixture_pair(&s, true, &second);
    SAY(reader, GET);
    loop_fixture_run(&s);
    CHECK_INT(second->state, FW_STATE_SUSPENDED);
    CHECK(stream.blocks <= 2 && second->out.bytes <= APP_BLOCK);
    const size_t n = loop_fixture_hear(&s, reader, got, sizeof got, 1, NULL); /* it reads, and is served to the end */
    CHECK_INT(responses_in(got, n), 1);
    CHECK_INT(stream.blocks, APP_BLOCKS);
    CHECK_INT(second->state, FW_STATE_IDLE);
    CHECK_INT(first->state, FW_STATE_FLUSH);

    s.data = &large;
    close(hog);
    loop_fixture_run(&s);
    loop_fixture_run(&s);
    CHECK_INT(s.loop->conns.queued, 0);
    CHECK_INT(s.loop->conns.mark, cfg.high_water);
    close(reader);
    loop_fixture_close(&s);
}

static void without_a_limit_nobody_is_held_back_for_others(void)
{
    fw_config cfg = config();
    cfg.response_memory = 0;
    loop_fixture s;
    fw_conn *c;
    app_state a = {0};
    loop_fixture_open(&s, &cfg);
    s.app = app_large;
    s.data = &a;
    const int client = loop_fixture_pair(&s, true, &c);
    SAY(client, GET);
    loop_fixture_run(&s);
    CHECK(s.loop->conns.queued > 0);
    CHECK_INT(s.loop->conns.mark, cfg.high_water);
    close(client);
    loop_fixture_run(&s);
    loop_fixture_run(&s);
    loop_fixture_close(&s);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(a_client_that_takes_too_little_is_given_up),
        T(a_client_that_takes_enough_is_served),
        T(without_a_rate_a_byte_now_and_then_is_enough),
        T(a_client_that_takes_half_as_much_again_is_served),
        T(a_client_that_takes_a_little_all_the_time_is_not_late),
        T(what_waits_is_counted_until_it_has_ended),
        T(a_response_is_held_back_earlier_when_others_have_queued_much),
        T(without_a_limit_nobody_is_held_back_for_others),
    };
    return RUN_TESTS(TESTS);
}
