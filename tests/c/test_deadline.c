/* test_deadline.c - the FIFOs of what can time out. */
#include "io/deadline.h"
#include "faults.h"
#include "harness.h"

#include <limits.h>

static const uint32_t SPAN[FW_CLASSES] = {[FW_CLASS_HEADER] = 100,
                                          [FW_CLASS_BODY] = 200,
                                          [FW_CLASS_WRITE] = 0,
                                          [FW_CLASS_KEEPALIVE] = 50};

static void nothing_set_never_expires(void)
{
    fw_deadlines d;
    fw_deadlines_init(&d, SPAN);
    CHECK(fw_deadline_expire(&d, UINT64_MAX) == NULL);
    CHECK_INT(fw_deadline_wait(&d, 0), -1);
    fw_deadline unset = {0};
    fw_deadline_clear(&unset);
    CHECK(unset.next == NULL);
}

static void a_deadline_passes_after_its_span(void)
{
    fw_deadlines d;
    fw_deadlines_init(&d, SPAN);
    fw_deadline e = {0};
    fw_deadline_set(&d, &e, FW_CLASS_HEADER, 1000);
    CHECK_INT(fw_deadline_wait(&d, 1000), 100);
    CHECK_INT(fw_deadline_wait(&d, 1099), 1);
    CHECK(fw_deadline_expire(&d, 1099) == NULL);
    CHECK_INT(fw_deadline_wait(&d, 1100), 0);
    CHECK_INT(fw_deadline_wait(&d, 5000), 0);
    CHECK(fw_deadline_expire(&d, 1100) == &e);
    CHECK_INT(e.class, FW_CLASS_HEADER);
    CHECK(e.next == NULL && e.prev == NULL);
    CHECK(fw_deadline_expire(&d, 9999) == NULL);
}

static void a_class_without_a_span_clears(void)
{
    fw_deadlines d;
    fw_deadlines_init(&d, SPAN);
    fw_deadline e = {0};
    fw_deadline_set(&d, &e, FW_CLASS_HEADER, 0);
    fw_deadline_set(&d, &e, FW_CLASS_WRITE, 0);
    CHECK(e.next == NULL);
    CHECK_INT(fw_deadline_wait(&d, 0), -1);
    fw_deadline_set(&d, &e, FW_CLASS_WRITE, 0);
    CHECK(e.next == NULL);
}

static void setting_again_moves_to_the_end(void)
{
    fw_deadlines d;
    fw_deadlines_init(&d, SPAN);
    fw_deadline a = {0}, b = {0};
    fw_deadline_set(&d, &a, FW_CLASS_BODY, 0);
    fw_deadline_set(&d, &b, FW_CLASS_BODY, 10);
    fw_deadline_set(&d, &a, FW_CLASS_BODY, 20);
    CHECK(fw_deadline_expire(&d, 215) == &b);
    CHECK(fw_deadline_expire(&d, 215) == NULL);
    CHECK(fw_deadline_expire(&d, 220) == &a);
}

static void the_soonest_of_all_classes_decides_the_wait(void)
{
    fw_deadlines d;
    fw_deadlines_init(&d, SPAN);
    fw_deadline slow = {0}, quick = {0};
    fw_deadline_set(&d, &slow, FW_CLASS_BODY, 0);
    CHECK_INT(fw_deadline_wait(&d, 0), 200);
    fw_deadline_set(&d, &quick, FW_CLASS_KEEPALIVE, 0);
    CHECK_INT(fw_deadline_wait(&d, 0), 50);
    fw_deadline_clear(&quick);
    CHECK_INT(fw_deadline_wait(&d, 0), 200);
}

static void a_distant_deadline_does_not_overflow_the_wait(void)
{
    const uint32_t spans[FW_CLASSES] = {[FW_CLASS_HEADER] = UINT32_MAX};
    fw_deadlines d;
    fw_deadlines_init(&d, spans);
    fw_deadline e = {0};
    fw_deadline_set(&d, &e, FW_CLASS_HEADER, 5);
    CHECK_INT(fw_deadline_wait(&d, 5), INT_MAX);
    CHECK(fw_deadline_expire(&d, (uint64_t)UINT32_MAX + 4) == NULL);
    CHECK(fw_deadline_expire(&d, (uint64_t)UINT32_MAX + 5) == &e);
}

/* Thousands of random moves beside a model that searches a plain array. */
static void random_moves_agree_with_a_plain_model(void)
{
    enum { MEMBERS = 40 };
    fw_deadlines d;
    fw_deadlines_init(&d, SPAN);
    fw_deadline e[MEMBERS] = {{0}};
    uint64_t due[MEMBERS] = {0}; /* 0 = unset */
    uint64_t now = 1;
    uint32_t seed = 7;
    for (int i = 0; i < 20000; i++) {
        const uint32_t at = dice(&seed) % MEMBERS, class = dice(&seed) % FW_CLASSES;
        now += dice(&seed) % 5;
        switch (dice(&seed) % 4) {
        case 0:
        case 1:
            fw_deadline_set(&d, &e[at], (enum fw_class)class, now);
            due[at] = SPAN[class] != 0 ? now + SPAN[class] : 0;
            break;
        case 2:
            fw_deadline_clear(&e[at]);
            due[at] = 0;
            break;
        default:
            for (fw_deadline *late; (late = fw_deadline_expire(&d, now)) != NULL;) {
                CHECK(due[late - e] != 0 && due[late - e] <= now);
                due[late - e] = 0;
            }
            for (int k = 0; k < MEMBERS; k++)
                CHECK(due[k] == 0 || due[k] > now);
        }
        uint64_t soonest = 0;
        for (int k = 0; k < MEMBERS; k++)
            if (due[k] != 0 && (soonest == 0 || due[k] < soonest))
                soonest = due[k];
        CHECK_INT(fw_deadline_wait(&d, now), soonest == 0 ? -1 : soonest <= now ? 0 : (int)(soonest - now));
    }
}

static void the_clock_counts_milliseconds(void)
{
    const uint64_t before = fw_deadline_clock();
    clock_advance(1234);
    CHECK_INT(fw_deadline_clock() - before, 1234);
}

int main(int argc, char **argv)
{
    static const test TESTS[] = {
        T(nothing_set_never_expires),
        T(a_deadline_passes_after_its_span),
        T(a_class_without_a_span_clears),
        T(setting_again_moves_to_the_end),
        T(the_soonest_of_all_classes_decides_the_wait),
        T(a_distant_deadline_does_not_overflow_the_wait),
        T(random_moves_agree_with_a_plain_model),
        T(the_clock_counts_milliseconds),
    };
    return RUN_TESTS(TESTS);
}
