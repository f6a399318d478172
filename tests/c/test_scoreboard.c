/* test_scoreboard.c - what others can read of a worker: calls that last, their phases, counters, the histogram. */
#include "apps.h"
#include "threads_fixture.h"
#include "faults.h"
#include "harness.h"
#include "http/globs.h"

#include <sys/socket.h>
#include <unistd.h>

#define THREADS 2

/* A board, as its reader finds it: read under the loop's lock here, because this process writes it. */
typedef struct watched {
    threads_fixture m;
    fw_board *board;
} watched;

static void open_watched(watched *w, unsigned threads)
{
    fw_config cfg = defaults();
    cfg.high_water = 2 * APP_BLOCK;
    w->board = calloc(1, fw_board_size(threads));
    CHECK(w->board != NULL);
    fw_board_init(w->board, 7, threads);
    threads_fixture_open(&w->m, &cfg, threads);
    fw_leader_lock(w->m.leader);
    w->m.loop->board = w->board;
    fw_leader_unlock(w->m.leader);
}

static void close_watched(watched *w)
{
    threads_fixture_close(&w->m);
    free(w->board);
}

static bool phase_is(const threads_fixture *m, enum fw_phase phase)
{
    for (unsigned i = 0; i < m->n; i++)
        if (m->loop->board->calls[i].phase == phase)
            return true;
    return false;
}

static bool one_is_in_the_application(const threads_fixture *m)
{
    return phase_is(m, FW_PHASE_APPLICATION);
}

static bool one_waits_for_its_client(const threads_fixture *m)
{
    return phase_is(m, FW_PHASE_CLIENT);
}

static bool nobody_is_shown(const threads_fixture *m)
{
    return !one_is_in_the_application(m) && !one_waits_for_its_client(m);
}

static uint64_t counted(const threads_fixture *m, size_t offset)
{
    return m->loop->board->counters[offset / sizeof(uint64_t)];
}

#define COUNTED(m, name) counted(m, offsetof(fw_stats, name))

static bool a_refusal_is_counted(const threads_fixture *m)
{
    return COUNTED(m, refused) == 1;
}

static uint64_t shown_calls(const threads_fixture *m)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < FW_BOARD_BUCKETS; i++)
        n += m->loop->latency[i];
    return n;
}

static void a_call_that_lasts_is_shown_until_it_ends(void)
{
    watched w;
    open_watched(&w, THREADS);
    const int client = threads_fixture_client(&w.m);
    const uint64_t before = fw_deadline_us();
    ask(client, "/checkpoint/0?colour=red");
    const int by = threads_fixture_entered(&w.m, 0);
    AWAIT(&w.m, one_is_in_the_application);
    fw_board_call call;
    CHECK(fw_thread_call(w.m.workers[by].thread, &call));
    CHECK(!fw_thread_call(w.m.workers[1 - by].thread, &call));
    CHECK(fw_thread_call(w.m.workers[by].thread, &call));
    CHECK_INT(strcmp(call.method, "GET"), 0);
    CHECK_INT(strcmp(call.target, "/checkpoint/0?colour=red"), 0);
    CHECK_INT(strcmp(call.client, "127.0.0.1"), 0);
    CHECK(call.since + 1000 >= before && call.since <= fw_deadline_us());
    CHECK_INT(call.seq % 2, 0);
    const uint32_t number = call.number;
    threads_fixture_open_checkpoint(&w.m, 0);
    CHECK_INT(answered(client, NULL, 0), 200);
    AWAIT(&w.m, nobody_is_shown);
    ask(client, "/checkpoint/1");
    const int next = threads_fixture_entered(&w.m, 1);
    AWAIT(&w.m, one_is_in_the_application);
    CHECK(fw_thread_call(w.m.workers[next].thread, &call));
    CHECK(next != by || call.number != number);
    threads_fixture_open_checkpoint(&w.m, 1);
    CHECK_INT(answered(client, NULL, 0), 200);
    close(client);
    close_watched(&w);
}

static void a_call_that_has_ended_is_counted_by_its_time(void)
{
    watched w;
    open_watched(&w, 1);
    const int client = threads_fixture_client(&w.m);
    ask(client, "/checkpoint/0");
    threads_fixture_entered(&w.m, 0);
    AWAIT(&w.m, one_is_in_the_application);
    w.m.workers[0].thread->entered -= 3000000; /* as if it had begun earlier */
    threads_fixture_open_checkpoint(&w.m, 0);
    CHECK_INT(answered(client, NULL, 0), 200);
    AWAIT(&w.m, nobody_is_shown);
    fw_leader_lock(w.m.leader);
    CHECK_INT(w.m.loop->latency[fw_board_bucket(3000000)], 1);
    CHECK_INT(shown_calls(&w.m), 1);
    fw_leader_unlock(w.m.leader);
    close(client);
    close_watched(&w);
}

static void the_time_of_a_client_is_not_the_applications(void)
{
    const fw_conn c = {0}; /* of which nothing is left but its place */
    fw_board_call e = {0};
    fw_board_show(&e, 3, fw_conn_address(&c), c.req, 100, 0);
    CHECK_INT(e.tid, 3);
    CHECK_INT(e.phase, FW_PHASE_APPLICATION);
    CHECK_INT(strlen(e.method) + strlen(e.target) + strlen(e.client), 0);
    fw_board_phase(&e, FW_PHASE_CLIENT, 150);
    CHECK_INT(e.phase, FW_PHASE_CLIENT);
    fw_board_phase(&e, FW_PHASE_APPLICATION, 130);
    CHECK_INT(e.since, 130);
    CHECK_INT(e.number, 1);
    fw_board_hide(&e);
    CHECK_INT(e.phase, FW_PHASE_NONE);
    CHECK_INT(e.seq, 8);
}

static void a_call_may_take_as_long_as_its_path_says(void)
{
    const fw_glob list[] = {{"/checkpoint/0", 13, 5000000}, {"/checkpoint/1", 13, FW_NO_LIMIT}};
    const fw_globs limits = {.list = list, .n = 2};
    static const struct {
        const char *target;
        uint64_t limit;
    } CASES[] = {{"/checkpoint/0?x=1", 5000000}, {"/checkpoint/1", FW_NO_LIMIT}, {"/checkpoint/2", 0}};
    watched w;
    open_watched(&w, 1);
    fw_leader_lock(w.m.leader);
    w.m.loop->conns.cfg.time_limits = &limits;
    fw_leader_unlock(w.m.leader);
    const int client = threads_fixture_client(&w.m);
    for (unsigned i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        ask(client, CASES[i].target);
        threads_fixture_entered(&w.m, i);
        AWAIT(&w.m, one_is_in_the_application);
        fw_board_call call;
        CHECK(fw_thread_call(w.m.workers[0].thread, &call));
        CHECK_INT(call.limit, CASES[i].limit);
        threads_fixture_open_checkpoint(&w.m, i);
        CHECK_INT(answered(client, NULL, 0), 200);
        AWAIT(&w.m, nobody_is_shown);
    }
    close(client);
    close_watched(&w);
}

static void a_limit_that_is_set_in_a_call_counts_from_then_on(void)
{
    watched w;
    open_watched(&w, 1);
    const int client = threads_fixture_client(&w.m);
    ask(client, "/checkpoint/0");
    threads_fixture_entered(&w.m, 0);
    fw_thread *t = w.m.workers[0].thread;
    fw_board_call call;
    fw_thread_limit(t, 7000000); /* whether it is shown already or not */
    CHECK(fw_thread_call(t, &call));
    CHECK(call.limit >= 7000000 && call.limit <= 7000000 + fw_deadline_us() - call.since);
    fw_leader_lock(w.m.leader);
    w.m.loop->board->calls[0].since -= 3000000; /* as if it had begun earlier */
    fw_leader_unlock(w.m.leader);
    fw_thread_limit(t, 7000000);
    CHECK(fw_thread_call(t, &call));
    CHECK(call.limit >= 10000000 && call.limit <= 7000000 + fw_deadline_us() - call.since);
    fw_thread_limit(t, FW_NO_LIMIT);
    CHECK(fw_thread_call(t, &call));
    CHECK(call.limit == FW_NO_LIMIT);
    threads_fixture_open_checkpoint(&w.m, 0);
    CHECK_INT(answered(client, NULL, 0), 200);
    AWAIT(&w.m, nobody_is_shown);
    fw_thread_limit(t, 7000000); /* in no call */
    CHECK(!fw_thread_call(t, &call));
    close(client);
    close_watched(&w);
}

static void a_call_that_waits_for_its_client_is_told_apart(void)
{
    watched w;
    open_watched(&w, 1);
    const int client = threads_fixture_narrow(&w.m);
    ask(client, "/write");
    AWAIT(&w.m, one_waits_for_its_client);
    fw_board_call call;
    CHECK(fw_thread_call(w.m.workers[0].thread, &call));
    CHECK_INT(strcmp(call.target, "/write"), 0);
    CHECK_INT(answered(client, NULL, 0), 200);
    AWAIT(&w.m, nobody_is_shown);
    fw_leader_lock(w.m.leader);
    CHECK_INT(shown_calls(&w.m), 1);
    fw_leader_unlock(w.m.leader);
    close(client);
    close_watched(&w);
}

static void counters_are_copied_even_if_no_application_is_called(void)
{
    watched w;
    open_watched(&w, 1);
    const int client = threads_fixture_client(&w.m);
    SAY(client, "GET / HTTP/1.1\r\nHo st: h\r\n\r\n");
    CHECK_INT(answered(client, NULL, 0), 400);
    clock_advance(1000);
    AWAIT(&w.m, a_refusal_is_counted);
    fw_leader_lock(w.m.leader);
    CHECK_INT(COUNTED(&w.m, accepted), 1);
    CHECK(COUNTED(&w.m, bytes_in) > 0);
    CHECK(w.board->written > 0);
    fw_leader_unlock(w.m.leader);
    close(client);
    close_watched(&w);
}

static void a_long_target_is_cut(void)
{
    watched w;
    open_watched(&w, 1);
    char target[1000] = "/checkpoint/0?";
    memset(target + strlen(target), 'x', sizeof target - 1 - strlen(target));
    const int client = threads_fixture_client(&w.m);
    SAY(client, "GET ");
    SAY(client, target);
    SAY(client, " HTTP/1.1\r\nHost: h\r\n\r\n");
    threads_fixture_entered(&w.m, 0);
    AWAIT(&w.m, one_is_in_the_application);
    fw_board_call call;
    CHECK(fw_thread_call(w.m.workers[0].thread, &call));
    CHECK_INT(strlen(call.target), sizeof call.target - 1);
    CHECK_INT(memcmp(call.target, target, sizeof call.target - 1), 0);
    threads_fixture_open_checkpoint(&w.m, 0);
    CHECK_INT(answered(client, NULL, 0), 200);
    close(client);
    close_watched(&w);
}

static void requests_that_nobody_has_taken_are_refused_at_the_end_of_a_stop(void)
{
    watched w;
    open_watched(&w, 1);
    const int a = threads_fixture_client(&w.m), b = threads_fixture_client(&w.m);
    ask(a, "/checkpoint/0");
    threads_fixture_entered(&w.m, 0);
    AWAIT(&w.m, one_is_in_the_application);
    ask(b, "/quick");
    fw_loop_stop(w.m.loop, FW_STOP_GRACEFUL);
    fw_loop_stop(w.m.loop, FW_STOP_QUICK);
    CHECK_INT(answered(b, NULL, 0), 503);
    ended(b);
    threads_fixture_open_checkpoint(&w.m, 0);
    threads_fixture_over(&w.m);
    close(a);
    close(b);
    close_watched(&w);
}

static void buckets_end_where_they_say(void)
{
    CHECK_INT(fw_board_bucket(0), 0);
    CHECK_INT(fw_board_bucket(2500), 0);
    CHECK_INT(fw_board_bucket(2501), 1);
    CHECK_INT(fw_board_bucket(10000000), FW_BOARD_BUCKETS - 2);
    CHECK_INT(fw_board_bucket(UINT64_MAX), FW_BOARD_BUCKETS - 1);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(a_call_that_lasts_is_shown_until_it_ends),
        T(a_call_that_has_ended_is_counted_by_its_time),
        T(the_time_of_a_client_is_not_the_applications),
        T(a_call_may_take_as_long_as_its_path_says),
        T(a_limit_that_is_set_in_a_call_counts_from_then_on),
        T(a_call_that_waits_for_its_client_is_told_apart),
        T(counters_are_copied_even_if_no_application_is_called),
        T(a_long_target_is_cut),
        T(requests_that_nobody_has_taken_are_refused_at_the_end_of_a_stop),
        T(buckets_end_where_they_say),
    };
    return RUN_TESTS(TESTS);
}
