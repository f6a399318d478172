/* test_doing.c - what threads in calls are doing, as the kernel tells it. */
#include "harness.h"
#include "observe/doing.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

typedef struct helper {
    pthread_t thread;
    _Atomic uint32_t tid;
    pthread_mutex_t lock;
} helper;

static void *waits(void *arg)
{
    helper *h = arg;
    atomic_store(&h->tid, fw_doing_tid());
    pthread_mutex_lock(&h->lock);
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

static void start(helper *h)
{
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_lock(&h->lock);
    atomic_init(&h->tid, 0);
    CHECK_INT(pthread_create(&h->thread, NULL, waits, h), 0);
}

static void stop(helper *h)
{
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    pthread_mutex_destroy(&h->lock);
}

static void pause_ms(long ms)
{
    const struct timespec t = {.tv_nsec = ms * 1000000};
    nanosleep(&t, NULL);
}

static bool tells(void)
{
#if defined(__linux__)
    return true;
#else
    return false;
#endif
}

static fw_board *opened(uint32_t tid, uint32_t number)
{
    fw_board *b = calloc(1, fw_board_size(1));
    CHECK(b != NULL);
    fw_board_init(b, 1, 1);
    b->calls[0].tid = tid;
    b->calls[0].number = number;
    b->calls[0].phase = FW_PHASE_APPLICATION;
    return b;
}

/* Looks until the thread is where it is to be; false after ten seconds. */
static uint64_t address_of(helper *h)
{
    uint64_t found = 0;
    for (int i = 0; i < 10000 && found == 0; i++, pause_ms(1))
        found = fw_doing_waits_at(atomic_load(&h->tid));
    return found;
}

static fw_seen seen_doing(fw_sampler *s, enum fw_doing what)
{
    fw_seen found = {0};
    for (int i = 0; i < 10000 && found.us[what] == 0; i++, pause_ms(1))
        found = fw_sampler_seen(s, 0, 7);
    return found;
}

static void a_thread_that_waits_is_seen_at_the_address_of_its_lock(void)
{
    helper h;
    if (!tells())
        return;
    start(&h);
    const uint64_t at = address_of(&h);
    CHECK(at >= (uint64_t)(uintptr_t)&h.lock && at < (uint64_t)(uintptr_t)(&h.lock + 1));
    CHECK_INT(fw_doing_waits_at(fw_doing_tid()), 0);
    stop(&h);
}

static void a_wait_for_a_lock_is_one_for_the_interpreter_lock_once_that_is_known(void)
{
    helper h;
    fw_sampler *s;
    if (!tells())
        return;
    start(&h);
    const uint64_t at = address_of(&h);
    fw_board *b = opened(atomic_load(&h.tid), 7);
    CHECK_INT(fw_sampler_open(&s, b), FW_OK);
    CHECK(seen_doing(s, FW_DOING_LOCK).us[FW_DOING_LOCK] != 0);
    fw_sampler_know_lock(s, at);
    CHECK(seen_doing(s, FW_DOING_GIL).us[FW_DOING_GIL] != 0);
    CHECK_INT(fw_sampler_seen(s, 0, 8).number, 0); /* another call */
    CHECK_INT(fw_sampler_seen(s, 9, 7).number, 0); /* no thread */
    fw_sampler_close(s);
    stop(&h);
    free(b);
}

static void whoever_runs_while_the_witness_waits_keeps_the_lock(void)
{
    helper h;
    fw_sampler *s;
    fw_seen found = {0};
    if (!tells())
        return;
    start(&h);
    const uint64_t at = address_of(&h);
    fw_board *b = opened(fw_doing_tid(), 7); /* this thread, which sleeps and runs */
    CHECK_INT(fw_sampler_open(&s, b), FW_OK);
    fw_sampler_know_lock(s, at);
    fw_sampler_witness(s, atomic_load(&h.tid), 1);
    for (int i = 0; i < 10000 && found.kept == 0; i++, pause_ms(1))
        found = fw_sampler_seen(s, 0, 7);
    CHECK(found.kept != 0);
    fw_sampler_close(s);
    stop(&h);
    free(b);
}

static void nobody_keeps_the_lock_from_a_witness_that_gets_it(void)
{
    helper h;
    fw_sampler *s;
    if (!tells())
        return;
    start(&h);
    const uint64_t at = address_of(&h);
    fw_board *b = opened(fw_doing_tid(), 7);
    CHECK_INT(fw_sampler_open(&s, b), FW_OK);
    fw_sampler_know_lock(s, at);
    for (uint32_t i = 0; i < 100; i++, pause_ms(1))
        fw_sampler_witness(s, atomic_load(&h.tid), i);
    CHECK_INT(fw_sampler_seen(s, 0, 7).kept, 0);
    fw_sampler_close(s);
    stop(&h);
    free(b);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        T(a_thread_that_waits_is_seen_at_the_address_of_its_lock),
        T(a_wait_for_a_lock_is_one_for_the_interpreter_lock_once_that_is_known),
        T(whoever_runs_while_the_witness_waits_keeps_the_lock),
        T(nobody_keeps_the_lock_from_a_witness_that_gets_it),
    };
    return RUN_TESTS(tests);
}
