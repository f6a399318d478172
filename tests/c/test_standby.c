/* test_standby.c - the standby leads while calls do not return: others are read, refused, answered, handed on. */
#include "apps.h"
#include "threads_fixture.h"
#include "faults.h"
#include "harness.h"

#include <sys/socket.h>
#include <unistd.h>

static fw_config config(void)
{
    fw_config cfg = defaults();
    cfg.high_water = 2 * APP_BLOCK;
    cfg.health = "/health";
    return cfg;
}

static bool standby_leads(const threads_fixture *m)
{
    return m->leader->lead == FW_LEAD_STANDBY;
}

/* While a call goes on: the standby, or another thread that was quicker. */
static bool somebody_leads(const threads_fixture *m)
{
    return standby_leads(m) || (m->leader->lead == FW_LEAD_THREAD && m->leader->attended);
}

static bool thread_leads(const threads_fixture *m)
{
    return m->leader->lead == FW_LEAD_THREAD && m->leader->attended;
}

static bool in_queued_mode(const threads_fixture *m)
{
    return atomic_load(&m->leader->queued);
}

static bool in_inline_mode(const threads_fixture *m)
{
    return !in_queued_mode(m);
}

/* One thread in a call at checkpoint 0. */
static int occupied(threads_fixture *m, const fw_config *cfg, unsigned threads)
{
    threads_fixture_open(m, cfg, threads);
    const int client = threads_fixture_client(m);
    ask(client, "/checkpoint/0");
    threads_fixture_entered(m, 0);
    return client;
}

static int status_of(threads_fixture *m, const char *request)
{
    const int client = threads_fixture_client(m);
    SAY(client, request);
    const int status = answered(client, NULL, 0);
    close(client);
    return status;
}

/* ---- one thread ------------------------------------------------------------------------------------------------ */

static void others_are_read_refused_and_told_of_health_while_a_call_goes_on(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    const int client = occupied(&m, &cfg, 1);
    CHECK_INT(status_of(&m, "GET / HTTP/1.1\r\nHo st: h\r\n\r\n"), 400);
    CHECK_INT(status_of(&m, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n"), 200);
    const int late = threads_fixture_client(&m);
    SAY(late, "GET /qui");
    CHECK_INT(status_of(&m, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n"), 200); /* who was earlier has been taken */
    threads_fixture_pass(&m, cfg.timeouts[FW_CLASS_HEADER]); /* times pass judgement, too */
    CHECK_INT(answered(late, NULL, 0), 408);
    const int waiting = threads_fixture_client(&m);
    ask(waiting, "/quick");
    CHECK_INT(status_of(&m, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n"), 200); /* so that one has been read, too */
    threads_fixture_open_checkpoint(&m, 0);
    CHECK_INT(answered(client, NULL, 0), 200);
    CHECK_INT(answered(waiting, NULL, 0), 200);
    close(client);
    close(late);
    close(waiting);
    threads_fixture_close(&m);
}

static void a_thread_that_comes_back_leads_again(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    const int client = occupied(&m, &cfg, 1);
    AWAIT(&m, standby_leads);
    threads_fixture_open_checkpoint(&m, 0);
    CHECK_INT(answered(client, NULL, 0), 200);
    AWAIT(&m, thread_leads);
    for (int i = 0; i < 20; i++) {
        ask(client, "/quick");
        CHECK_INT(answered(client, NULL, 0), 200);
    }
    close(client);
    threads_fixture_close(&m);
}

static void the_answer_before_a_slow_one_is_not_held_back(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    char body[16];
    threads_fixture_open(&m, &cfg, 1);
    const int client = threads_fixture_client(&m);
    for (int i = 0; i < 3; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "GET /quick HTTP/1.1\r\nHost: h\r\n\r\nGET /quick HTTP/1.1\r\nHost: h\r\n\r\n"
                 "GET /checkpoint/%d HTTP/1.1\r\nHost: h\r\n\r\n", i);
        SAY(client, text);
        CHECK_INT(answered(client, body, sizeof body), 200); /* the checkpoint is closed */
        CHECK_INT(answered(client, body, sizeof body), 200);
        CHECK_INT(threads_fixture_entered(&m, (unsigned)i), 0);
        threads_fixture_open_checkpoint(&m, (unsigned)i);
        CHECK_INT(answered(client, body, sizeof body), 200);
    }
    close(client);
    threads_fixture_close(&m);
}

/* A client waits in the queue with an answer that was to share a send, and nobody pulls its next request. */
static void the_answer_of_one_who_waits_in_the_queue_is_not_held_back(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 1);
    const int pipelining = threads_fixture_client(&m), slow = threads_fixture_client(&m);
    char text[256];
    snprintf(text, sizeof text, "GET /checkpoint/1 HTTP/1.1\r\nHost: h\r\n\r\nGET /quick HTTP/1.1\r\nHost: h\r\n\r\n");
    SAY(pipelining, text);
    threads_fixture_entered(&m, 1);
    ask(slow, "/checkpoint/0");
    AWAIT(&m, standby_leads);
    CHECK_INT(status_of(&m, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n"), 200); /* the slow one is ready, and the first */
    threads_fixture_open_checkpoint(&m, 1);
    threads_fixture_entered(&m, 0);
    CHECK_INT(answered(pipelining, NULL, 0), 200);
    threads_fixture_open_checkpoint(&m, 0);
    CHECK_INT(answered(pipelining, NULL, 0), 200);
    CHECK_INT(answered(slow, NULL, 0), 200);
    close(pipelining);
    close(slow);
    threads_fixture_close(&m);
}

/* ---- several ---------------------------------------------------------------------------------------------------- */

static void a_waiting_request_goes_to_an_idle_thread(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    char body[16];
    const int client = occupied(&m, &cfg, 2);
    const int by = threads_fixture_entered(&m, 0);
    const int other = threads_fixture_client(&m);
    for (int i = 0; i < 5; i++) {
        ask(other, "/quick");
        CHECK_INT(answered(other, body, sizeof body), 200);
        CHECK_INT(body[0], '1' - by);
    }
    threads_fixture_open_checkpoint(&m, 0);
    CHECK_INT(answered(client, NULL, 0), 200);
    close(client);
    close(other);
    threads_fixture_close(&m);
}

static void one_that_computes_is_replaced_after_a_while(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 2);
    atomic_store(&m.spins, true);
    const int client = threads_fixture_client(&m), other = threads_fixture_client(&m);
    ask(client, "/spin");
    AWAIT(&m, standby_leads);
    ask(other, "/quick");
    CHECK_INT(answered(other, NULL, 0), 200);
    atomic_store(&m.spins, false);
    CHECK_INT(answered(client, NULL, 0), 200);
    close(client);
    close(other);
    threads_fixture_close(&m);
}

static void every_thread_may_be_away_and_those_that_wait_are_served_in_order(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, WORKERS);
    int clients[WORKERS + 2];
    for (unsigned i = 0; i < WORKERS; i++) {
        char target[32];
        clients[i] = threads_fixture_client(&m);
        snprintf(target, sizeof target, "/checkpoint/%u", i);
        ask(clients[i], target);
        threads_fixture_entered(&m, i);
    }
    for (unsigned i = WORKERS; i < WORKERS + 2; i++) {
        char target[32];
        clients[i] = threads_fixture_client(&m);
        snprintf(target, sizeof target, "/checkpoint/%u", i);
        ask(clients[i], target);
        CHECK_INT(status_of(&m, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n"), 200); /* it is in the queue */
    }
    threads_fixture_open_checkpoint(&m, 2);
    const int by = threads_fixture_entered(&m, 2);
    CHECK_INT(answered(clients[2], NULL, 0), 200);
    CHECK_INT(threads_fixture_entered(&m, WORKERS), by); /* who was free first took who came first */
    CHECK(!threads_fixture_is_at(&m, WORKERS + 1));
    for (unsigned i = 0; i < WORKERS + 2; i++)
        threads_fixture_open_checkpoint(&m, i);
    for (unsigned i = 0; i < WORKERS + 2; i++) {
        if (i != 2)
            CHECK_INT(answered(clients[i], NULL, 0), 200);
        close(clients[i]);
    }
    threads_fixture_close(&m);
}

/* ---- queued mode -------------------------------------------------------------------------------------------- */

/* Slow calls, until they are expected. */
static void enter_queued_mode(threads_fixture *m, int client)
{
    for (unsigned checkpoint = 32; checkpoint < CHECKPOINTS; checkpoint++) {
        char target[32];
        fw_leader_lock(m->leader);
        const bool is = in_queued_mode(m);
        fw_leader_unlock(m->leader);
        if (is)
            return;
        snprintf(target, sizeof target, "/checkpoint/%u", checkpoint);
        ask(client, target);
        threads_fixture_entered(m, checkpoint);
        AWAIT(m, somebody_leads);
        threads_fixture_open_checkpoint(m, checkpoint);
        CHECK_INT(answered(client, NULL, 0), 200);
    }
    FAIL("slow calls do not begin queued mode");
}

static void slow_calls_begin_the_queued_mode_and_quick_ones_end_it(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 2);
    const int client = threads_fixture_client(&m);
    enter_queued_mode(&m, client);
    for (int i = 0; i < 2000; i++) {
        ask(client, "/quick");
        CHECK_INT(answered(client, NULL, 0), 200);
    }
    AWAIT(&m, in_inline_mode);
    AWAIT(&m, thread_leads);
    close(client);
    threads_fixture_close(&m);
}

static void in_queued_mode_every_thread_takes_requests(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, WORKERS);
    int clients[WORKERS + 1];
    clients[0] = threads_fixture_client(&m);
    enter_queued_mode(&m, clients[0]);
    unsigned seen = 0;
    for (unsigned i = 0; i <= WORKERS; i++) {
        char target[32];
        if (i > 0)
            clients[i] = threads_fixture_client(&m);
        snprintf(target, sizeof target, "/checkpoint/%u", i);
        ask(clients[i], target);
        if (i < WORKERS)
            seen |= 1u << threads_fixture_entered(&m, i);
    }
    CHECK_INT(seen, (1u << WORKERS) - 1);
    threads_fixture_open_checkpoint(&m, 0);
    threads_fixture_entered(&m, WORKERS);
    for (unsigned i = 0; i <= WORKERS; i++) {
        threads_fixture_open_checkpoint(&m, i);
        CHECK_INT(answered(clients[i], NULL, 0), 200);
        close(clients[i]);
    }
    threads_fixture_close(&m);
}

static bool waits_long(const threads_fixture *m)
{
    return m->leader->polling && (poll_patience() < 0 || poll_patience() >= 1000);
}

static bool waits_for_the_idle(const threads_fixture *m)
{
    const int idle = (int)m->loop->conns.cfg.timeouts[FW_CLASS_KEEPALIVE];
    return m->leader->polling && poll_patience() > 0 && poll_patience() <= idle;
}

/* The standby polls for long, as no connection has a deadline; the thread's connection gets a near one. */
static void a_deadline_that_a_thread_sets_shortens_the_wait_of_the_leader(void)
{
    fw_config cfg = config();
    cfg.timeouts[FW_CLASS_KEEPALIVE] = 300;
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 1);
    const int client = threads_fixture_client(&m);
    enter_queued_mode(&m, client);
    ask(client, "/checkpoint/0");
    threads_fixture_entered(&m, 0);
    AWAIT(&m, waits_long);
    const unsigned polls = fault_calls(FAULT_EPOLL_WAIT);
    threads_fixture_open_checkpoint(&m, 0);
    CHECK_INT(answered(client, NULL, 0), 200);
    AWAIT(&m, waits_for_the_idle);
    CHECK(fault_calls(FAULT_EPOLL_WAIT) - polls <= 4); /* woken, not polling all the time */
    threads_fixture_pass(&m, cfg.timeouts[FW_CLASS_KEEPALIVE]);
    CHECK_INT(ended(client), 0);
    close(client);
    threads_fixture_close(&m);
}

/* ---- waking ---------------------------------------------------------------------------------------------------- */

static bool main_has_woken(const threads_fixture *m)
{
    return m->workers[0].wakes > 0;
}

static void a_signal_reaches_the_main_thread_whoever_leads(void)
{
    const fw_config cfg = config();
    threads_fixture m;
    threads_fixture_open(&m, &cfg, 3);
    const int client = threads_fixture_client(&m);
    fw_loop_wake(m.loop);
    AWAIT(&m, main_has_woken);
    atomic_store(&m.workers[0].wakes, 0);
    ask(client, "/checkpoint/0"); /* perhaps the main thread itself */
    const bool main_is_away = threads_fixture_entered(&m, 0) == 0;
    AWAIT(&m, somebody_leads);
    fw_loop_wake(m.loop);
    if (main_is_away)
        threads_fixture_open_checkpoint(&m, 0);
    AWAIT(&m, main_has_woken); /* before the loop ends: then it need not */
    threads_fixture_open_checkpoint(&m, 0);
    CHECK_INT(answered(client, NULL, 0), 200);
    close(client);
    threads_fixture_close(&m);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(others_are_read_refused_and_told_of_health_while_a_call_goes_on),
        T(a_thread_that_comes_back_leads_again),
        T(the_answer_before_a_slow_one_is_not_held_back),
        T(the_answer_of_one_who_waits_in_the_queue_is_not_held_back),
        T(a_waiting_request_goes_to_an_idle_thread),
        T(one_that_computes_is_replaced_after_a_while),
        T(every_thread_may_be_away_and_those_that_wait_are_served_in_order),
        T(slow_calls_begin_the_queued_mode_and_quick_ones_end_it),
        T(in_queued_mode_every_thread_takes_requests),
        T(a_deadline_that_a_thread_sets_shortens_the_wait_of_the_leader),
        T(a_signal_reaches_the_main_thread_whoever_leads),
    };
    return RUN_TESTS(TESTS);
}
