/* test_thread_stop.c - the end of a loop that threads are in, with calls on their way. */
#include "threads_fixture.h"
#include "faults.h"
#include "harness.h"

#include <pthread.h>
#include <unistd.h>

static fw_config config(void)
{
    fw_config cfg = defaults();
    cfg.health = "/health";
    return cfg;
}

static bool standby_leads(const threads_fixture *m)
{
    return m->leader->lead == FW_LEAD_STANDBY;
}

static bool the_loop_is_over(const threads_fixture *m)
{
    return m->leader->over;
}

static bool stopping(const threads_fixture *m)
{
    return m->loop->conns.stopping;
}

static bool the_call_is_cut_off(const threads_fixture *m)
{
    return m->loop->conns.all.next->broken;
}

static void a_graceful_stop_lets_calls_end(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 2);
    const int a = threads_fixture_client(&m), idle = threads_fixture_client(&m), asker = threads_fixture_client(&m);
    ask(idle, "/quick");
    ask(asker, "/quick");
    CHECK_INT(answered(idle, NULL, 0), 200);
    CHECK_INT(answered(asker, NULL, 0), 200);
    ask(a, "/checkpoint/0");
    threads_fixture_entered(&m, 0);
    fw_loop_stop(m.loop, FW_STOP_GRACEFUL);
    AWAIT(&m, stopping);
    ask(asker, "/health");
    CHECK_INT(answered(asker, NULL, 0), 503);
    CHECK_INT(ended(asker), 0);
    threads_fixture_pass(&m, cfg.timeouts[FW_CLASS_RETIRE]);
    CHECK_INT(ended(idle), 0);
    close(asker);
    threads_fixture_open_checkpoint(&m, 0);
    CHECK_INT(answered(a, NULL, 0), 200);
    CHECK_INT(ended(a), 0);
    close(a);
    threads_fixture_pass(&m, cfg.timeouts[FW_CLASS_LINGER]);
    threads_fixture_over(&m);
    for (unsigned i = 0; i < m.n; i++)
        CHECK_INT(m.workers[i].result, FW_NEXT_DONE);
    close(idle);
    threads_fixture_close(&m);
}

static void a_quick_stop_cuts_a_call_off(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 2);
    const int a = threads_fixture_client(&m), b = threads_fixture_client(&m);
    ask(a, "/checkpoint/0");
    threads_fixture_entered(&m, 0);
    SAY(b, "GET /");
    fw_loop_stop(m.loop, FW_STOP_QUICK);
    CHECK_INT(ended(b), 0);
    threads_fixture_open_checkpoint(&m, 0);
    threads_fixture_over(&m);
    CHECK_INT(ended(a), 0);
    close(a);
    close(b);
    threads_fixture_close(&m);
}

static void a_call_that_never_ends_does_not_hold_the_loop(void)
{
    const fw_config cfg = config();
    for (int quick = 0; quick < 2; quick++) {
        threads_fixture m;
        threads_fixture_open(&m, &cfg, 2);
        const int a = threads_fixture_client(&m);
        ask(a, "/checkpoint/0");
        const int by = threads_fixture_entered(&m, 0);
        AWAIT(&m, standby_leads);
        fw_loop_stop(m.loop, quick ? FW_STOP_QUICK : FW_STOP_GRACEFUL);
        AWAIT(&m, stopping);
        if (!quick)
            threads_fixture_pass(&m, cfg.graceful_ms);
        AWAIT(&m, the_call_is_cut_off);
        threads_fixture_pass(&m, 2000);
        AWAIT(&m, the_loop_is_over);
        worker *other = &m.workers[1 - by];
        CHECK(pthread_join(other->id, NULL) == 0);
        other->started = false;
        CHECK_INT(other->result, FW_NEXT_DONE);
        threads_fixture_open_checkpoint(&m, 0); /* it does, after all */
        threads_fixture_over(&m);
        CHECK_INT(m.workers[by].result, FW_NEXT_DONE);
        CHECK_INT(ended(a), 0);
        close(a);
        threads_fixture_close(&m);
    }
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(a_graceful_stop_lets_calls_end),
        T(a_quick_stop_cuts_a_call_off),
        T(a_call_that_never_ends_does_not_hold_the_loop),
    };
    return RUN_TESTS(TESTS);
}
