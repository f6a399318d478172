/* test_admission.c - when a queue is overloaded: requests are taken at times that the test says. */
#include "harness.h"
#include "io/admission.h"

#define TARGET 50

/* Takes `n` requests, one every `every` ms from `*now` on, each of which has waited `wait` ms, while `waiting` others wait, and
 * `more` more of them after every second one. True: some call reported a change. */
static bool take(fw_admission *a, uint64_t *now, int n, unsigned every, uint32_t wait, uint32_t waiting, int more)
{
    bool changed = false;
    for (int i = 0; i < n; i++) {
        *now += every;
        if (i % 2 != 0)
            waiting = (uint32_t)((int)waiting + more);
        changed |= fw_admission_look(a, wait, waiting, *now);
    }
    return changed;
}

static void a_queue_that_grows_is_overloaded_after_three_looks(void)
{
    fw_admission a;
    uint64_t now = 1000;
    fw_admission_init(&a, TARGET);
    CHECK(!take(&a, &now, 60, 5, 60, 10, 1)); /* the first one begins the first look */
    CHECK(!a.overloaded);
    CHECK(take(&a, &now, 1, 5, 60, 41, 1));
    CHECK(a.overloaded && a.since == now);
}

static void one_that_doubles_what_is_taken_is_so_after_two(void)
{
    fw_admission a;
    uint64_t now = 1000;
    fw_admission_init(&a, TARGET);
    CHECK(!take(&a, &now, 40, 5, 60, 10, 2));
    CHECK(!a.overloaded);
    CHECK(take(&a, &now, 1, 5, 60, 51, 2));
    CHECK(a.overloaded && a.since == now);
}

static void short_waits_prove_that_there_is_none(void)
{
    fw_admission a;
    uint64_t now = 1000;
    fw_admission_init(&a, TARGET);
    for (int i = 0; i < 50; i++) {
        CHECK(!take(&a, &now, 40, 5, 900, 10, 1)); /* 200 ms of long waits */
        CHECK(!take(&a, &now, 1, 5, TARGET, 50, 1));
    }
    CHECK(!a.overloaded);
}

static void what_a_stall_has_left_is_worked_off(void)
{
    fw_admission a;
    uint64_t now = 1000;
    fw_admission_init(&a, TARGET);
    CHECK(!take(&a, &now, 400, 5, 900, 500, -1)); /* two seconds, but the queue shrinks */
    CHECK(!a.overloaded);
}

static void a_pause_is_not_judged(void)
{
    fw_admission a;
    uint64_t now = 1000;
    fw_admission_init(&a, TARGET);
    for (uint32_t i = 0; i < 3; i++) /* calls of a second: four of them are the least for a look */
        CHECK(!take(&a, &now, 1, 1000, 900, 100 * i, 100));
    CHECK(!a.overloaded);
}

static void a_slow_application_has_more_time(void)
{
    fw_admission a;
    uint64_t now = 1000;
    fw_admission_init(&a, TARGET);
    CHECK(!take(&a, &now, 40, 50, 150, 1, 1)); /* ten requests would take 500 ms; 200 is the most */
    CHECK_INT(a.limit, 200);
    CHECK_INT(fw_admission_patience(&a), 800);
    CHECK(take(&a, &now, 40, 50, 250, 41, 1));
    CHECK(a.overloaded);
}

static void it_is_over_when_nobody_waits(void)
{
    fw_admission a;
    uint64_t now = 1000;
    fw_admission_init(&a, TARGET);
    CHECK(take(&a, &now, 70, 5, 60, 10, 1));
    CHECK(!take(&a, &now, 100, 5, 0, 1, 0)); /* newest first: that one has not waited says nothing */
    CHECK(a.overloaded);
    CHECK(take(&a, &now, 1, 5, 0, 0, 0));
    CHECK(!a.overloaded && a.limit == TARGET);
    CHECK(!take(&a, &now, 20, 5, 60, 10, 1)); /* the next one takes as long to be noticed */
}

static void without_a_target_nobody_judges(void)
{
    fw_admission a;
    uint64_t now = 1000;
    fw_admission_init(&a, 0);
    CHECK(!take(&a, &now, 1000, 5, 60000, 10, 1));
    CHECK(!a.overloaded);
}

static void time_wraps_around(void)
{
    fw_admission a;
    uint64_t now = 0x100000000 - 150;
    fw_admission_init(&a, TARGET);
    CHECK(take(&a, &now, 70, 5, 60, 10, 1));
    CHECK(a.overloaded);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        T(a_queue_that_grows_is_overloaded_after_three_looks),
        T(one_that_doubles_what_is_taken_is_so_after_two),
        T(short_waits_prove_that_there_is_none),
        T(what_a_stall_has_left_is_worked_off),
        T(a_pause_is_not_judged),
        T(a_slow_application_has_more_time),
        T(it_is_over_when_nobody_waits),
        T(without_a_target_nobody_judges),
        T(time_wraps_around),
    };
    return RUN_TESTS(tests);
}
