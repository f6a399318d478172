/* test_thread_travel.c - connections that travel between two workers with threads and standbys of their own. */
#include "faults.h"
#include "harness.h"
#include "threads_fixture.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOTS 2
#define KEPT 12
#define ROUNDS 60
#define VISITORS 3

typedef struct two {
    fw_siblings_page *page;
    int bells[SLOTS], ends[2];
    threads_fixture a, b;
    int kept[KEPT]; /* connections that a has accepted */
} two;

/* As fw_loop_share, for a loop that runs already. */
static void share(two *w, threads_fixture *m, unsigned slot)
{
    fw_leader_lock(m->leader);
    CHECK_INT(fw_loop_share(m->loop, w->page, w->bells, slot, w->bells[slot]), FW_OK);
    fw_loop_connect(m->loop, w->ends[0], w->ends[1]);
    fw_siblings_enter(&m->loop->siblings);
    fw_leader_unlock(m->leader);
}

static void open_two(two *w, unsigned threads)
{
    const fw_config cfg = defaults();
    CHECK((w->page = calloc(1, fw_siblings_size(SLOTS))) != NULL);
    for (unsigned i = 0; i < SLOTS; i++)
        CHECK((w->bells[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) >= 0);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, w->ends) == 0);
    threads_fixture_open(&w->a, &cfg, threads);
    threads_fixture_open(&w->b, &cfg, threads);
    for (unsigned i = 0; i < KEPT; i++) {
        w->kept[i] = threads_fixture_client(&w->a);
        ask(w->kept[i], "/quick");
        CHECK_INT(answered(w->kept[i], NULL, 0), 200);
    }
    share(w, &w->a, 0);
    share(w, &w->b, 1);
}

static void close_two(two *w)
{
    threads_fixture_close(&w->a);
    threads_fixture_close(&w->b);
    for (unsigned i = 0; i < KEPT; i++)
        close(w->kept[i]);
    for (unsigned i = 0; i < SLOTS; i++) {
        close(w->bells[i]);
        close(w->ends[i]);
    }
    free(w->page);
}

static uint64_t taken_over(threads_fixture *m)
{
    return fw_leader_stats(m->leader).taken_over;
}

/* The first `n` of the kept connections are in calls that stand. */
static void occupy(two *w, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char target[64];
        snprintf(target, sizeof target, "/checkpoint/%u", i);
        ask(w->kept[i], target);
        threads_fixture_entered(&w->a, i);
    }
}

static void let_go(two *w, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        threads_fixture_open_checkpoint(&w->a, i);
        CHECK_INT(answered(w->kept[i], NULL, 0), 200);
    }
}

static void nobody_waits_for_a_worker_that_is_in_calls(void)
{
    for (unsigned threads = 1; threads <= 2; threads++) {
        two w;
        trying("%u threads", threads);
        open_two(&w, threads);
        occupy(&w, threads);
        for (unsigned round = 0; round < 3; round++) {
            for (unsigned i = threads; i < KEPT; i++)
                ask(w.kept[i], "/quick");
            for (unsigned i = threads; i < KEPT; i++)
                CHECK_INT(answered(w.kept[i], NULL, 0), 200);
        }
        CHECK_INT(taken_over(&w.b), KEPT - threads);
        let_go(&w, threads);
        close_two(&w);
    }
}

static void a_worker_that_comes_back_first_takes_its_own_back(void)
{
    two w;
    open_two(&w, 1);
    occupy(&w, 1);
    ask(w.kept[1], "/quick"); /* b has it now */
    CHECK_INT(answered(w.kept[1], NULL, 0), 200);
    ask(w.kept[1], "/checkpoint/9");
    threads_fixture_entered(&w.b, 9);
    for (unsigned i = 2; i < KEPT; i++)
        ask(w.kept[i], "/quick"); /* nobody is free, or b is not known to be away yet */
    let_go(&w, 1);
    for (unsigned i = 2; i < KEPT; i++)
        CHECK_INT(answered(w.kept[i], NULL, 0), 200);
    threads_fixture_open_checkpoint(&w.b, 9);
    CHECK_INT(answered(w.kept[1], NULL, 0), 200);
    close_two(&w);
}

typedef struct visitor {
    two *w;
    pthread_t id;
    unsigned first;
    uint32_t dice;
} visitor;

/* Asks on its own connections, of which it does not know where they are. */
static void *visit(void *arg)
{
    visitor *v = arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = v->first; i < KEPT; i += VISITORS)
            ask(v->w->kept[i], dice(&v->dice) % 3 == 0 ? "/nap" : "/quick");
        for (unsigned i = v->first; i < KEPT; i += VISITORS)
            CHECK_INT(answered(v->w->kept[i], NULL, 0), 200);
    }
    return NULL;
}

static void all_travel_at_once(void)
{
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        two w;
        visitor visitors[VISITORS];
        trying("%u threads", threads);
        open_two(&w, threads);
        for (unsigned i = 0; i < VISITORS; i++) {
            visitors[i] = (visitor){.w = &w, .first = i, .dice = 77 + i};
            CHECK(pthread_create(&visitors[i].id, NULL, visit, &visitors[i]) == 0);
        }
        for (unsigned i = 0; i < VISITORS; i++)
            CHECK(pthread_join(visitors[i].id, NULL) == 0);
        const fw_stats a = fw_leader_stats(w.a.leader), b = fw_leader_stats(w.b.leader);
        CHECK_INT(a.requests + b.requests, KEPT + KEPT * ROUNDS);
        CHECK_INT(a.connections + b.connections, KEPT);
        CHECK_INT(a.passed_on + b.passed_on, a.taken_over + b.taken_over);
        close_two(&w);
    }
}

static void a_worker_that_stops_leaves_its_idle_connections_to_the_other(void)
{
    two w;
    open_two(&w, 2);
    fw_loop_stop(w.a.loop, FW_STOP_GRACEFUL);
    threads_fixture_over(&w.a);
    for (unsigned i = 0; i < KEPT; i++)
        ask(w.kept[i], "/quick");
    for (unsigned i = 0; i < KEPT; i++)
        CHECK_INT(answered(w.kept[i], NULL, 0), 200);
    CHECK_INT(taken_over(&w.b), KEPT);
    close_two(&w);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        T(nobody_waits_for_a_worker_that_is_in_calls),
        T(a_worker_that_comes_back_first_takes_its_own_back),
        T(all_travel_at_once),
        T(a_worker_that_stops_leaves_its_idle_connections_to_the_other),
    };
    return RUN_TESTS(tests);
}
